"""What notebooks say in words comes from figures."""

from emotions import notebook, published


def test_scores_differences_and_recalls_in_words():
    metrics = {
        "accuracy": 0.6256,
        "accuracy_interval": [0.605, 0.6471],
        "n": 1964,
        "per_class": {"angry": {"recall": 0.512}, "happy": {"recall": 0.7}},
    }
    assert notebook.scored(metrics) == "62.6 % of 1,964 pictures [60.5, 64.7]"
    assert notebook.recalls(metrics) == "angry 51 %, happy 70 %"
    compared = {"accuracy_difference": -0.0123, "accuracy_low": -0.03, "accuracy_high": 0.004}
    assert notebook.points(compared) == "-1.2 points [-3.0, +0.4]"


def test_what_others_report_names_its_protocol():
    figure = published.of("fer2013", "resnet50v2-s1")
    sentence = notebook.reported("fer2013", "resnet50v2-s1")
    assert f"{100 * figure.accuracy:.1f} %" in sentence and figure.protocol in sentence and figure.source in sentence
    assert notebook.reported("fer2013", "logistic-regression") == ""
