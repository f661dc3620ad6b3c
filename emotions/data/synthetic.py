"""Draw faces whose expression, label noise and copies are known: data with no download.

A face is a set of outlines in face coordinates: x to the right, y down, the unit is half the height of the face.
Facial action units (Ekman & Friesen 1978, Facial Action Coding System) move them, the head's pose projects them,
all faces of a batch at once; then OpenCV fills them, and light, blur and noise follow."""

from collections import namedtuple
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd

from emotions.data.dataset import Dataset, Split
from emotions.data.images import progress
from emotions.data.reading import Contents

EMOTIONS = {"angry": (4, 5, 7, 23), "disgust": (9, 15, 16), "fear": (1, 2, 4, 5, 20, 26), "happy": (6, 12),
            "neutral": (), "sad": (1, 4, 15), "surprise": (1, 2, 5, 26)}       # the action units of each
CLASS_NAMES = tuple(EMOTIONS)
PARTS = ("mouth", "eyes", "brows", "nose")
EXPRESSIVE = PARTS[:3]  # what makes an expression
UNSEEN = {"difficulty": 0.5, "seed": 1}  # other persons than those of the data set "synthetic", whose seed is 0
QUICK = {"train": 1400, "validation": 350, "test": 700, "side": 48, "difficulty": 0.25}  # "synthetic-quick"

# What each action unit adds when fully contracted, in face units, so that negative moves up. The lids and the lips'
# height are shares of the eye's and of themselves; "round" and the creases run from 0 to 1.
ACTION_UNITS = {
    1: {"brow_inner": -0.20, "forehead_crease": 0.5},                                           # inner brow raiser
    2: {"brow_outer": -0.14, "brow_arch": -0.03, "forehead_crease": 0.4},                       # outer brow raiser
    4: {"brow_inner": 0.11, "brow_outer": 0.03, "brow_gap": -0.05, "brow_crease": 0.9},         # brow lowerer
    5: {"lid_upper": 0.50},                                                                     # upper lid raiser
    6: {"lid_upper": -0.15, "lid_lower": 0.85, "cheek": 1.0, "eye_crease": 0.8},                # cheek raiser
    7: {"lid_upper": -0.40, "lid_lower": 0.65},                                                 # lid tightener
    9: {"nose": -0.05, "nose_crease": 1.0, "brow_inner": 0.08, "lid_upper": -0.35, "lid_lower": 0.5,
        "open_upper": 0.04, "mouth": -0.02, "cheek_crease": 0.7},                               # nose wrinkler
    12: {"corner": -0.17, "mouth_width": 0.10, "cheek_crease": 0.6},                            # lip corner puller
    15: {"corner": 0.15, "mouth_width": -0.02},                                                 # lip corner depressor
    16: {"open_lower": 0.08, "lips": 0.1},                                                      # lower lip depressor
    20: {"mouth_width": 0.14, "corner": 0.10, "open_lower": -0.06, "lips": -0.3},               # lip stretcher
    23: {"lips": -0.65, "mouth_width": -0.03},                                                  # lip tightener
    25: {"open_upper": 0.03, "open_lower": 0.06},                                               # lips part
    26: {"open_upper": 0.11, "open_lower": 0.22, "mouth_width": -0.12, "jaw_drop": 0.12, "round": 1.0},   # jaw drop
}

IDENTITY = {  # the least and the most over people, drawn evenly
    "face_width": (0.76, 0.88), "jaw_shape": (0.60, 0.90), "skin": (0, 1), "eye_gap": (0.34, 0.39), "eye": (0.17, 0.21),
    "eye_tilt": (-0.01, 0.03), "iris": (0, 1), "brow_height": (0.36, 0.42), "brow_weight": (0.025, 0.055),
    "nose_width": (0.10, 0.16), "nose_length": (0.20, 0.28), "mouth_height": (0.53, 0.58), "mouth_half": (0.26, 0.33),
    "lip": (0.04, 0.08), "hair": (0, 1), "style": (0, 0.999), "parting": (-0.3, 0.3), "beard": (0, 1),
    "glasses": (0, 1), "talking": (-1.2, 1)}
NUISANCE = {  # the most at difficulty 1, either way, drawn evenly: angles in radians, shifts in shares of the image
    "roll": 0.40, "yaw": 0.54, "pitch": 0.27, "shift_x": 0.10, "shift_y": 0.08, "zoom": 0.22, "light": 0.45,
    "exposure": 0.40, "warmth": 0.16, "gaze": 0.25, "blur": 2.0, "noise": 27, "cover": 1, "cover_x": 0.6,
    "cover_y": 0.9, "cover_size": 0.2}

SKINS = ((255, 226, 204), (246, 203, 170), (230, 178, 136), (200, 140, 98), (150, 98, 66), (110, 70, 50))
HAIRS = ((44, 36, 38), (70, 46, 36), (112, 70, 44), (168, 86, 48), (222, 182, 116), (184, 180, 180))
IRISES = ((66, 40, 26), (96, 60, 32), (110, 112, 60), (70, 120, 110), (76, 128, 176))
HAIR = ("volume", "hairline", "fall", "curl", "curls", "bun")    # `fall` is how far it reaches down, `bun` a radius
STYLES = ((0, -2, 0, 0, 0, 0), (0.06, -0.82, 0, 0, 0, 0), (0.13, -0.76, 0, 0.01, 22, 0), (0.15, -0.75, 0.85, 0, 0, 0),
          (0.14, -0.80, 1.6, 0, 0, 0), (0.22, -0.72, 0.7, 0.022, 17, 0), (0.34, -0.75, 0.3, 0.012, 26, 0),
          (0.08, -0.82, 0, 0, 0, 0.27), (0.15, -0.66, 1.2, 0, 0, 0))
T = np.linspace(-1, 1, 17)                          # along a feature
ANGLE = np.linspace(0, 2 * np.pi, 33)[:-1]          # around one, from the right, downwards

# One outline per image: points, N x P x 2 in shares of the image; colour, N x 3; shown, N.
Layer = namedtuple("Layer", "points colour shown part")


def render(labels, size=64, seed=0, difficulty=0.5, masks=False, numbers=None):
    """Draw one face per label, a position in CLASS_NAMES.

    Args:
        size: side of the images, in pixels.
        seed: another seed draws other people.
        difficulty: from 0 (frontal, strong expressions, clean) to 1 (turned, faint, noisy, half hidden).
        masks: return the ground truth as well.
        numbers: N integers from 0, each a person in a situation; by default 0 to N - 1. The same number under several
            labels is one person with several expressions, and any image can be drawn again alone.

    Returns images, uint8, N x size x size x 3, RGB; with `masks` also a dict of what is visible of "mouth", "eyes",
    "brows" and "nose", each bool, N x size x size."""
    labels = np.asarray(labels, dtype=int)
    numbers = np.arange(len(labels)) if numbers is None else np.asarray(numbers, dtype=int)
    if labels.size and not 0 <= labels.min() <= labels.max() < len(CLASS_NAMES):
        raise ValueError(f"Found labels from {labels.min()} to {labels.max()}; use 0 to 6, positions in {CLASS_NAMES}.")
    if not 0 <= difficulty <= 1:
        raise ValueError(f"Found the difficulty {difficulty}; use a number from 0 to 1.")
    if labels.shape != numbers.shape:
        raise ValueError(f"Found {len(labels)} labels and {len(numbers)} numbers; give one number per label.")
    images = np.empty((len(labels), size, size, 3), np.uint8)
    parts = {part: np.empty(images.shape[:3], bool) for part in PARTS if masks}
    starts = range(0, len(labels), 256)               # outlines of 256 faces at once: little memory
    for start in progress(starts, "Drawing faces", len(starts)):
        generators = [np.random.default_rng((seed, number)) for number in numbers[start:start + 256]]
        face = _face(labels[start:start + 256], generators, difficulty)
        head, shadows = list(_head(face)), list(_shadows(face))
        features = [*_nose(face), *_eyes(face), *_mouth(face), *_front(face)]
        for row, generator in enumerate(generators):
            images[start + row] = _paint(face, head, shadows, features, row, size, generator)
            for part, mask in parts.items():
                mask[start + row] = _mask(features, part, row, size)
    return (images, parts) if masks else images


def load(train=3500, validation=700, test=1400, size=64, seed=0, difficulty=0.5, label_noise=0.0,
         duplicates=0.0) -> Dataset:
    """Draw a data set with balanced classes and nobody twice; numbers of images are by split.

    `label_noise` is the share of the labels of every split that name another class (the ids end in the class drawn),
    `duplicates` that of the test images that also stand in train, pixel for pixel; `copied` has their ids."""
    if not 0 <= label_noise <= 1 or not 0 <= duplicates * test <= min(train, test):
        raise ValueError(f"Found label_noise={label_noise} and duplicates={duplicates}; use shares from 0 to 1, and no "
                         f"more copies than there are training images ({train}).")
    rng, count = np.random.default_rng((seed, train, validation, test)), len(CLASS_NAMES)
    names, ends = ("train", "validation", "test"), [train, train + validation]
    numbers = dict(zip(names, np.split(np.arange(train + validation + test), ends), strict=True))
    labels = {name: rng.permutation(np.arange(len(numbers[name])) % count) for name in names}
    copies = rng.permutation(test)[:round(duplicates * test)]
    places = rng.permutation(train)[:len(copies)]
    for values in (labels, numbers):
        values["train"][places] = values["test"][copies]
    splits = {}
    for name, drawn in labels.items():
        ids = np.array([f"{name}_{row:05d}_{CLASS_NAMES[label]}" for row, label in enumerate(drawn)])
        flipped = rng.permutation(len(drawn))[:round(label_noise * len(drawn))]
        given = drawn.copy()
        given[flipped] = (drawn[flipped] + rng.integers(1, count, len(flipped))) % count
        splits[name] = Split(render(drawn, size, seed, difficulty, numbers=numbers[name]), given, ids)
    notes = (f"Drawn faces of difficulty {difficulty}; {label_noise:.0%} of the labels name another class; "
             f"{len(copies)} test images also stand in train.",)
    copied = frozenset(splits["test"].ids[copies].tolist())
    return Dataset("synthetic", CLASS_NAMES, **splits, copied=copied, notes=notes)


def contents(size=None, seed=0, side=64, **options) -> Contents:
    """Draw a data set that is known by name: squares of `size` (height, width), or of `side`; options as of `load`."""
    if size and size[0] != size[1]:
        raise ValueError(f"Drawn faces are squares, not {size[0]} x {size[1]} pixels.")
    dataset = load(size=size[0] if size else side, seed=seed, **options)
    names, splits = np.array(dataset.class_names), dataset.splits()
    table = pd.concat([pd.DataFrame({"id": split.ids, "label": names[split.labels], "part": part, "group": split.ids})
                       for part, split in splits.items()], ignore_index=True)
    return Contents(np.concatenate([split.images for split in splits.values()]), table, list(dataset.notes))


def drawn_faces(class_names=CLASS_NAMES, count=504):
    """Draw faces that no model was trained on, evenly of those of the classes that can be drawn.

    Returns images, uint8, N x 64 x 64 x 3; labels, N positions in `class_names`, or -1 where none of them can be drawn
    and every expression is instead; and masks of mouth, eyes and brows, each bool, N x 64 x 64."""
    names = [name for name in class_names if name in CLASS_NAMES] or CLASS_NAMES
    drawn = np.arange(count) % len(names)
    codes = np.array([CLASS_NAMES.index(name) for name in names])
    images, masks = render(codes[drawn], masks=True, **UNSEEN)
    return images, pd.Index(class_names).get_indexer(names)[drawn], {part: masks[part] for part in EXPRESSIVE}


def _face(labels, generators, difficulty):
    """All that describes the faces: arrays N x 1, colours N x 3."""
    draws = np.stack([g.random(len(IDENTITY) + len(NUISANCE) + 2 * len(ACTION_UNITS) + 20) for g in generators])
    values = iter(draws.T[:, :, None])
    f = {name: low + (high - low) * next(values) for name, (low, high) in IDENTITY.items()}
    f |= {name: difficulty * most * (2 * next(values) - 1) for name, most in NUISANCE.items()}
    strength = 1 - (0.1 + 0.68 * difficulty) * next(values)
    for unit, moves in ACTION_UNITS.items():
        active = np.array([[unit in EMOTIONS[CLASS_NAMES[label]]] for label in labels])
        amount = active * strength * (1 - 0.54 * difficulty * next(values))
        amount = np.maximum(amount, 1.2 * difficulty * (next(values) - 0.65))    # some people move what others don't
        amount = np.maximum(amount, f["talking"] if unit == 25 else 0)
        for name in moves:
            f[name] = f.get(name, 0) + moves[name] * amount
    # Dark skin seldom comes with fair hair or light eyes.
    for name, palette, at in (("skin", SKINS, f["skin"]), ("hair", HAIRS, f["hair"] * (1 - 0.6 * f["skin"])),
                              ("iris", IRISES, f["iris"] * (1 - 0.9 * f["skin"]))):
        steps = np.linspace(0, 1, len(palette))
        f[name] = np.stack([np.interp(at[:, 0], steps, channel) for channel in np.array(palette).T], 1)
    style = np.array(STYLES)[(f["style"][:, 0] * len(STYLES)).astype(int)]
    f |= dict(zip(HAIR, style.T[:, :, None], strict=True))
    # Beards go with short hair: 0 is none, up to 0.5 stubble, up to 1 full.
    f["beard"] = np.where((f["fall"] < 0.5) & (f["bun"] == 0), np.maximum(0, 2 * f["beard"] - 1), 0)
    f["beard_colour"] = _mix(f["skin"], 0.8 * f["hair"], np.where(f["beard"] > 0.5, 0.85, 0.12))
    f |= {"scale": 0.40 * (1 + f["zoom"]), "shade": f["skin"] * (0.62, 0.52, 0.50), "cover_colour": 255 * draws[:, -3:],
          "shirt": 60 + 160 * draws[:, -6:-3],
          "background": 255 * (0.86 - (0.3 + 0.3 * difficulty) * draws[:, -18:-6].reshape(-1, 2, 2, 3))}
    return SimpleNamespace(**f)


def _place(f, x, y, lift=None):
    """Face coordinates to shares of the image. Points some height above the curved face (`lift`) turn with the head."""
    if lift is not None:
        depth = lift + 0.75 * np.sqrt(np.maximum(0, 1 - (x / (1.03 * f.face_width)) ** 2 - (y / 1.3) ** 2))
        x, y = x * np.cos(f.yaw) + depth * np.sin(f.yaw), y * np.cos(f.pitch) + depth * np.sin(f.pitch)
    c, s = np.cos(f.roll), np.sin(f.roll)
    return np.stack([0.5 + f.shift_x + f.scale * (c * x - s * y), 0.55 + f.shift_y + f.scale * (s * x + c * y)], -1)


def _power(x, exponent):
    return np.sign(x) * np.abs(x) ** exponent


def _oval(f, x, y, width, height, lift=None, power=1.0):
    """An ellipse by its centre and half axes; a lower power makes it squarer."""
    return _place(f, x + width * _power(np.cos(ANGLE), power), y + height * _power(np.sin(ANGLE), power), lift)


def _band(f, x, top, bottom, lift=None):
    """The area between two curves over the same x."""
    return np.concatenate([_place(f, x, top, lift), _place(f, x, bottom, lift)[:, ::-1]], 1)


def _stroke(f, x, y, width, lift=0.0, taper=1.0):
    """A line of some width that thins towards its ends."""
    points = _place(f, x, y, lift)
    along = np.gradient(points, axis=1)
    across = np.stack([-along[..., 1], along[..., 0]], -1) / (np.linalg.norm(along, axis=-1, keepdims=True) + 1e-9)
    across *= (f.scale * width / 2 * (1 - taper * np.linspace(-1, 1, points.shape[1]) ** 2))[..., None]
    return np.concatenate([points + across, (points - across)[:, ::-1]], 1)


def _mix(colour, other, share):
    return colour + (np.asarray(other) - colour) * share


def _layer(points, colour, shown=True, part=None):
    n = len(points)
    return Layer(points, np.broadcast_to(colour, (n, 3)).tolist(), np.broadcast_to(np.ravel(shown), n), part)


def _crease(f, x, y, depth):
    """A wrinkle, from none (0) to deep (1)."""
    depth = np.clip(depth, 0, 1)
    return _layer(_stroke(f, x, y, 0.012 + 0.018 * depth), _mix(f.skin, f.shade, 0.85 * depth), depth > 0.08)


def _skull(f, angle, grow=0.0):
    """The outline of the head, larger by `grow`."""
    c, s = np.cos(angle), np.sin(angle)
    x = (f.face_width + grow) * _power(c, np.where(s > 0, f.jaw_shape, 0.9)) * (1 - 0.08 * np.maximum(s, 0) ** 2)
    return x, s * np.where(s > 0, 1 + f.jaw_drop, 1.02 + grow)


def _head(f):
    """All that lies behind the features, in flat colours: hair, neck, shirt, ears, head, beard, hair again."""
    wave, s = 1 + 2 * f.curl * np.cos(f.curls * ANGLE), np.sin(ANGLE)
    y = np.where(s < 0, 1.02 + f.volume, f.fall) * _power(s, 0.6)
    yield _layer(_place(f, (f.face_width + f.volume) * _power(np.cos(ANGLE), 0.7) * wave, y * wave), f.hair * 0.8,
                 f.volume > 0)
    yield _layer(_oval(f, 0, -1.15, f.bun, f.bun), f.hair * 0.9, f.bun > 0)
    yield _layer(_band(f, 0.38 * T, 0.6, 1.6), f.skin * 0.9)
    yield _layer(_band(f, 1.5 * T, 1.12 + 0.3 * T**2, 4), f.shirt)
    for side in (-1, 1):
        x = side * f.face_width - 0.08 * f.yaw
        yield _layer(_oval(f, x, 0.03, 0.10, 0.18), f.skin * 0.93)
        yield _layer(_oval(f, x + 0.03 * side, 0.02, 0.04, 0.10), f.skin * 0.78)
    yield _layer(_place(f, *_skull(f, ANGLE)), f.skin)
    x, y = _skull(f, np.linspace(0.02, 0.98, 33) * np.pi)
    u = x / f.face_width
    edge = _place(f, 0.98 * x, f.mouth_height - 0.20 + 0.15 * u**2 - 0.35 * u**8, 0.0)[:, ::-1]
    yield _layer(np.concatenate([_place(f, x, y), edge], 1), f.beard_colour, f.beard > 0)
    for row in (-0.66, -0.74):
        yield _crease(f, 0.36 * T, row - 0.02 * T**2, f.forehead_crease)
    angle, t = np.linspace(0.98, 2.02, 33) * np.pi, np.linspace(1, -1, 33)
    wave, (x, y) = 1 + 2 * f.curl * np.cos(f.curls * angle), _skull(f, angle, f.volume)
    line = f.hairline * (1 - (abs(t - f.parting) / (1 + abs(f.parting))) ** 3) * (1 + f.curl * np.cos(20 * t))
    front = np.concatenate([_place(f, x * wave, y * wave), _place(f, f.face_width * t, line, 0.02)], 1)
    yield _layer(front, f.hair, f.volume > 0)


def _shadows(f):
    """Soft light and shadow: each colour multiplies what it falls on, 200 being neutral."""
    lit, nose = np.where(f.light < -0.1, -1, 1), f.nose_length + f.nose
    yield _layer(_place(f, *_skull(f, ANGLE)), (166, 152, 150))
    yield _layer(_oval(f, 0.09 * lit, -0.08, f.face_width * 0.93, 0.96 + f.jaw_drop, None, 0.85), (200, 200, 200))
    yield _layer(_oval(f, 0, 1.10 + f.jaw_drop, 0.5, 0.08), (150, 132, 130))
    for side in (-1, 1):
        yield _layer(_oval(f, side * f.eye_gap, -0.16, 0.24, 0.15, 0.0), (186, 178, 176))
        blush = _mix(np.array([200, 188, 187]), (212, 176, 173), np.clip(f.cheek, 0, 1))
        yield _layer(_oval(f, side * 0.46, 0.28 - 0.05 * f.cheek, 0.18, 0.14, 0.0), blush)
    yield _layer(_band(f, -lit * (0.06 + 0.06 * T), 0.1 * T - 0.05, nose + 0.07, 0.1), (176, 166, 164))
    yield _layer(_oval(f, 0.03 * lit, 0.6 * nose, 0.04, 0.14, 0.12), (222, 222, 220))
    yield _layer(_oval(f, 0, f.mouth_height + f.open_lower + 0.2, 0.17, 0.04, 0.0), (178, 168, 168))


def _nose(f):
    end, wing = f.nose_length + f.nose, f.nose_width
    whole = _band(f, T * wing, end - 0.3 * (1 - abs(T)) ** 0.7, end + 0.06 - 0.06 * T**2, 0.12)
    yield _layer(whole, f.skin, False, "nose")        # its mask alone; shadows and lines draw it
    yield _layer(_stroke(f, T * 0.62 * wing, end + 0.055 - 0.02 * np.cos(2 * np.pi * T), 0.026, 0.1), f.shade)
    for side in (-1, 1):
        yield _layer(_oval(f, side * 0.5 * wing, end + 0.03, 0.036, 0.02, 0.1), f.shade * 0.75)
        yield _layer(_stroke(f, side * (wing + 0.012 - 0.02 * T**2), end - 0.015 + 0.05 * T, 0.026, 0.08), f.shade)
        for row in (-0.12, -0.04):
            yield _crease(f, side * (0.08 - 0.02 * T), row + 0.035 * T, f.nose_crease)
        yield _crease(f, side * (wing + 0.10 + 0.08 * T + 0.04 * T**2), end + 0.11 + 0.11 * T, f.cheek_crease)


def _eyes(f):
    """Eyes and brows, from the nose outwards; the iris is a circle that the lids cut off."""
    high = f.eye * np.maximum(0.14, 0.62 * (1 + f.lid_upper))
    low = np.maximum(f.eye * 0.38 * (1 - 1.15 * f.lid_lower), 0.07 * f.eye - 0.5 * high)

    def lids(u):
        return -0.10 - f.eye_tilt * u - high * (1 - abs(u) ** 2.2), -0.10 - f.eye_tilt * u + low * (1 - u**2)

    t = (T + 1) / 2                                                       # along the brow
    brow = f.brow_inner * (1 - t) ** 1.3 + f.brow_outer * t + 0.03 * t - f.brow_height
    brow, thick = brow - (0.05 - f.brow_arch) * np.sin(np.pi * t**1.3), f.brow_weight * (1 - 0.75 * t**2)
    for side in (-1, 1):
        x, (upper, lower) = side * (f.eye_gap + f.eye * T), lids(T)
        yield _layer(_band(f, x, upper, lower, 0.0), (246, 243, 240), True, "eyes")
        gaze = side * f.gaze
        for u, y, radius, colour in ((gaze, -0.125, 0.56, f.iris * 0.6), (gaze, -0.125, 0.48, f.iris),
                                     (gaze, -0.125, 0.26, (22, 18, 18)), (gaze + side * 0.2, -0.165, 0.17, 3 * [255])):
            u = u + radius * np.cos(ANGLE)
            y = np.clip(y + radius * f.eye * np.sin(ANGLE), *lids(u))
            yield _layer(_place(f, side * (f.eye_gap + f.eye * u), y, 0.0), colour)
        yield _layer(_stroke(f, x, upper - 0.008, 0.05, taper=0.6), _mix(f.shade, (40, 26, 26), 0.75))
        yield _layer(_stroke(f, x, lower + 0.006, 0.018), f.shade)
        yield _layer(_stroke(f, x, upper - 0.065 + 0.03 * f.lid_upper, 0.018), _mix(f.skin, f.shade, 0.7))
        for row in (-1, 0, 1):
            x = side * (f.eye_gap + f.eye + 0.08 + 0.035 * T)
            yield _crease(f, x, row * (0.04 + 0.02 * T) - 0.09, f.eye_crease)
        x = side * (0.14 + f.brow_gap + (f.eye_gap + 0.11) * t)
        yield _layer(_band(f, x, brow - thick, brow + thick, 0.03), f.hair * 0.8, True, "brows")
        yield _crease(f, side * (0.055 + 0.01 * T), -0.35 + 0.08 * T, f.brow_crease)


def _mouth(f):
    x, arch = (f.mouth_half + f.mouth_width) * T, (1 - T**2) ** (1 - 0.45 * np.clip(f.round, 0, 1))
    middle = f.mouth_height + f.mouth + f.corner * (T**2 - 0.35)
    top, bottom = middle - np.maximum(0, f.open_upper) * arch, middle + np.maximum(0, f.open_lower) * arch
    lip = f.lip * np.maximum(0.2, 1 + f.lips)
    above = top - lip * (1 - T**2) ** 0.8 * (1 - 0.3 * np.exp(-((T / 0.14) ** 2)))
    red, parted = _mix(f.skin, (186, 60, 70), 0.5), f.open_upper + f.open_lower > 0.015
    moustache = _band(f, 0.95 * x, above - 0.09 + 0.07 * T**2, above + 0.02 * T**4, 0.05)
    yield _layer(moustache, f.beard_colour, f.beard > 0.5)
    yield _layer(_band(f, x, above, bottom + 1.25 * lip * arch**0.7, 0.02), red, True, "mouth")
    yield _layer(_band(f, x, above, top, 0.02), red * 0.9)
    yield _layer(_stroke(f, x, middle, 0.022, 0.02), red * 0.5)
    yield _layer(_band(f, 0.95 * x, top, bottom, 0.02), (84, 26, 32), parted)
    tongue = _band(f, 0.7 * x, np.maximum(bottom - 0.1 * arch, top), bottom, 0.02)
    yield _layer(tongue, (206, 98, 98), f.open_lower > 0.12)
    yield _layer(_band(f, 0.86 * x, top, np.minimum(top + 0.08 * arch, bottom), 0.02), (250, 247, 240), parted)


def _front(f):
    """What lies before the face: glasses, and things that hide a part of it."""
    frame, c, s = _mix(f.hair, (30, 30, 40), 0.6), np.cos(np.append(ANGLE, 0)), np.sin(np.append(ANGLE, 0))
    for side in (-1, 1):
        lens = _stroke(f, side * f.eye_gap + 0.27 * _power(c, 0.6), 0.22 * _power(s, 0.6) - 0.08, 0.035, 0.08, 0)
        yield _layer(lens, frame, f.glasses > 0.8)
    yield _layer(_stroke(f, (f.eye_gap - 0.27) * T, -0.12 - 0.03 * (1 - T**2), 0.035, 0.1, 0), frame, f.glasses > 0.8)
    size = 0.3 + f.cover_size
    yield _layer(_oval(f, f.cover_x, f.cover_y, size, 0.7 * size, None, 0.7), f.cover_colour, f.cover > 0.3, "cover")


def _fill(canvas, layers, row, colour=None):
    for layer in layers:
        points = np.clip(layer.points[row], -9, 9) * 16 * len(canvas) - 8               # in 1/16 pixels
        cv2.fillPoly(canvas, [np.round(points).astype(np.int32)], colour or layer.colour[row], cv2.LINE_AA, 4)


def _paint(f, head, shadows, features, row, size, generator):
    """One image, drawn at twice its size."""
    canvas = cv2.resize(f.background[row].astype(np.uint8), (2 * size, 2 * size))
    shadow = np.full((size, size, 3), 200, np.uint8)
    _fill(canvas, [layer for layer in head if layer.shown[row]], row)
    _fill(shadow, shadows, row)
    shadow = cv2.resize(cv2.GaussianBlur(shadow, (0, 0), 0.03 * size), (2 * size, 2 * size))
    canvas = cv2.multiply(canvas, shadow, scale=1 / 200)
    _fill(canvas, [layer for layer in features if layer.shown[row]], row)
    image = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    side, warm = f.light[row, 0] + 0.1, f.warmth[row, 0]
    light = (1 + f.exposure[row, 0]) * np.array([[1.05 - side, 1.05 + side], [0.9 - side, 0.9 + side]], np.float32)
    image *= cv2.resize(light, (size, size))[..., None] * np.array([1 + warm, 1, 1 - warm], np.float32)
    blur = f.blur[row, 0] * size / 64
    image = cv2.GaussianBlur(image, (0, 0), blur) if blur > 0.3 else image
    image += abs(f.noise[row, 0]) * generator.standard_normal(image.shape, np.float32)
    return np.clip(image, 0, 255).astype(np.uint8)


def _mask(features, part, row, size):
    canvas = np.zeros((2 * size, 2 * size), np.uint8)
    _fill(canvas, [layer for layer in features if layer.part == part], row, 255)
    _fill(canvas, [layer for layer in features if layer.part == "cover" and layer.shown[row]], row, (0,))
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA) > 127
