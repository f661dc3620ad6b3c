"""One colour for each emotion, the same in every figure and on every annotated image."""

# Okabe and Ito's palette: distinguishable with every kind of colour vision.
EMOTION_COLORS = {"angry": "#D55E00", "contempt": "#F0E442", "disgust": "#009E73", "fear": "#CC79A7",
                  "happy": "#E69F00", "neutral": "#7F7F7F", "sad": "#0072B2", "surprise": "#56B4E9"}
OTHER = "#444444"  # any other class


def colors(class_names) -> list[str]:
    """Return the colour of each class as "#RRGGBB"."""
    return [EMOTION_COLORS.get(name, OTHER) for name in class_names]
