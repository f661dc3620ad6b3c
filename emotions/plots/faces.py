"""Composites: mean faces of many people, which show what a model confuses and belong to nobody."""

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from emotions.colors import colors
from emotions.data.dataset import Split
from emotions.plots.style import TOO_FEW, bare, captioned, grid

LEAST, MOST = 8, 64  # different photos in a composite: fewer could be recognised, more change little
SIDE = 96  # pixels
PASSES = 2  # of alignment, each to the mean of the one before
SHARE = 0.6  # of the aligned faces, those most like the mean: heads seen from the side would blur it
NEAR_COPY = 0.92  # correlation of aligned faces: copies in FER2013 reach 0.96 to 1, different people 0.8
OVAL = cv2.ellipse(np.zeros((SIDE // 2, SIDE // 2), np.uint8), (SIDE // 4, SIDE // 4), (20, 23), 0, 0, 360, 255, -1)


def composite(group, reference=None) -> tuple[np.ndarray, int]:
    """Average aligned, contrast-normalised images of different photos into one face, uint8, 96 x 96 x 3; return it and
    the number of images in it: those that align and are most like the mean. Of fewer than eight photos, a composite
    could show a person: the image is grey then, and the number 0.

    The group is a `Split`, whose `groups` say which images are of one photo, or uint8 images, N x H x W x 3, RGB. Only
    the first 64 photos are used, each once (without `groups`, identical images are one). They are aligned first to
    `reference`, a contrast-normalised face; by default their own mean."""
    images, photos = (group.images, group.groups) if isinstance(group, Split) else (group, None)
    too_few = np.full((SIDE, SIDE, 3), TOO_FEW, np.uint8), 0
    faces = [_normalised(np.asarray(images[i])) for i in _different(images, photos)]
    if len(faces) < LEAST:
        return too_few
    reference = np.mean(faces, axis=0) if reference is None else reference
    for _ in range(PASSES):
        reference = _standard((reference + reference[:, ::-1]) / 2)  # upright and centred
        aligned = [face for face in (_aligned(face, reference) for face in faces) if face is not None]
        used = _nearest(_without_near_copies(aligned), reference)
        if len(used) < LEAST:
            return too_few
        reference = np.mean(used, axis=0, dtype=float)
    return np.clip(_standard(reference) * 52 + 122, 0, 255).astype(np.uint8), len(used)


def _different(images, photos) -> list[int]:
    """Return the positions of the first 64 images from different photos."""
    chosen: dict = {}
    for i in range(len(images)):
        chosen.setdefault(np.asarray(images[i]).tobytes() if photos is None else photos[i], i)
        if len(chosen) == MOST:
            break
    return list(chosen.values())


def _nearest(faces: list, reference) -> list:
    """Return the share of faces that are most like the reference between brow and chin, and eight at least."""
    features = [_small(face, 48)[6:-6, 8:-8].ravel() for face in [reference, *faces]]
    order = np.argsort(-np.corrcoef(features)[0, 1:], kind="stable")
    return [faces[i] for i in order[: max(LEAST, round(SHARE * len(faces)))]]


def _small(face, side: int) -> np.ndarray:
    """Return a face in grey, `side` x `side`."""
    return cv2.resize(face.mean(axis=-1), (side, side), interpolation=cv2.INTER_AREA)


def _without_near_copies(faces: list) -> list:
    """Return the aligned faces without those that nearly equal an earlier one: other crops of one photo."""
    if len(faces) < 2:
        return faces
    alike = np.corrcoef([_small(face, 32)[4:-4, 4:-4].ravel() for face in faces]) >= NEAR_COPY
    kept: list[int] = []
    for i in range(len(faces)):
        if not alike[i, kept].any():
            kept.append(i)
    return [faces[i] for i in kept]


def _normalised(image) -> np.ndarray:
    """Return an image at 96 x 96 with the grey values of its face at mean 0 and standard deviation 1."""
    larger = cv2.INTER_CUBIC if image.shape[0] < SIDE else cv2.INTER_AREA
    return _standard(cv2.resize(image.astype(np.float32), (SIDE, SIDE), interpolation=larger))


def _standard(face) -> np.ndarray:
    middle = face[SIDE // 8 : -SIDE // 8, SIDE // 6 : -SIDE // 6].mean(axis=-1)
    return ((face - middle.mean()) / max(middle.std(), 1e-6)).astype(np.float32)


def _aligned(face, reference) -> np.ndarray | None:
    """Return the face moved, turned and scaled onto the reference, or None where that does not converge.

    The enhanced correlation coefficient (Evangelidis and Psarakis 2008) is maximised over rotations and shifts, then
    over affine maps, of which the similarity is kept where it stays near."""
    small = [_small(image, SIDE // 2) for image in (reference, face)]
    warp, similarity = np.eye(2, 3, dtype=np.float32), None
    for motion, blur, steps in ((cv2.MOTION_EUCLIDEAN, 7, 30), (cv2.MOTION_AFFINE, 5, 20)):
        stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, steps, 1e-3)
        try:
            _, warp = cv2.findTransformECC(*small, warp.copy(), motion, stop, OVAL, blur)
        except cv2.error:  # OpenCV's way to say that it does not converge
            break
        if (near := _similarity(warp)) is None:
            break
        similarity = near
    if similarity is None:
        return None
    return cv2.warpAffine(face, similarity, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                          borderMode=cv2.BORDER_REPLICATE)


def _similarity(warp) -> np.ndarray | None:
    """Return the similarity nearest to an affine map at half size, or None where it moves the face too far."""
    a, b = (warp[0, 0] + warp[1, 1]) / 2, (warp[1, 0] - warp[0, 1]) / 2
    turned, half, whole = np.array([[a, -b], [b, a]]), np.full(2, (SIDE // 2 - 1) / 2), np.full(2, (SIDE - 1) / 2)
    shift = 2 * (warp[:, :2] @ half + warp[:, 2] - half)  # of the centre
    near = 0.75 < np.hypot(a, b) < 1.33 and abs(np.arctan2(b, a)) < 0.4 and np.abs(shift).max() < SIDE / 5
    return np.column_stack([turned, whole + shift - turned @ whole]).astype(np.float32) if near else None


def composites(groups: dict, caption: str = "", frames=None, columns: int = 7) -> plt.Figure:
    """Show a composite of each group of images, or an empty panel where there are too few.

    Groups are, by title, as of `composite`; `frames` are colours, by default those of the classes in the titles."""
    faces, titles = [], []
    for title, group in groups.items():
        face, used = composite(group)
        faces.append(face)
        words = f"{used} of {len(group):,}" if 0 < used < len(group) else f"{len(group):,}"
        titles.append(f"{title}\nn = {words}" + ("" if used else ", too few align"))
    return image_grid(faces, titles, colors(groups) if frames is None else frames, columns, caption=caption)


def confusion_faces(predictions, split: Split, title: str = "") -> plt.Figure:
    """Draw the confusion matrix in composites of the most confident images, found in the split by their ids."""
    names = predictions.class_names
    # The mean of all images is a clearer face than that of a cell, where a laugh or a turned head can prevail.
    some = split.images[:: max(1, len(split) // 500)]
    reference = np.mean([_normalised(np.asarray(image)) for image in some], axis=0)
    pairs = list(np.ndindex(len(names), len(names)))
    cells = [_cell(predictions, split, *pair) for pair in pairs]
    frames = [colors(names)[true] if true == predicted else None for true, predicted in pairs]
    about = f"{title}\nmean of those most alike of the {MOST} most confident; grey: fewer than {LEAST} align"
    figure = image_grid([composite(cell, reference)[0] for cell in cells], [f"{len(cell):,}" for cell in cells],
                        frames, len(names), names)
    figure.suptitle(about)
    for axis, name in zip(figure.axes[-len(names) :], names, strict=True):
        axis.set_xlabel(name)
    figure.supylabel("true class")
    figure.supxlabel("predicted class")
    return figure


def mistakes(predictions, split: Split, title: str = "") -> plt.Figure:
    """Show the six most frequent confusions, each a composite of its most confident images in the split."""
    names, wrong = predictions.class_names, predictions.predicted != predictions.labels
    pairs, sizes = np.unique([predictions.labels[wrong], predictions.predicted[wrong]], axis=1, return_counts=True)
    largest = pairs.T[np.argsort(-sizes, kind="stable")][:6]
    groups = {f"true: {names[t]}\npredicted: {names[p]}": _cell(predictions, split, t, p) for t, p in largest}
    about = f"each face: of the {MOST} most confident, mean of the n most alike; frame: true class"
    figure = composites(groups or {"no mistakes": split.take([])}, about, colors(names[t] for t, _ in largest) or None)
    figure.suptitle(title)
    figure.set_figheight(figure.get_figheight() + 0.3)
    return figure


def _cell(predictions, split: Split, true: int, predicted: int) -> Split:
    """Return the images of one class that were predicted as another, the most confident first."""
    cell = np.flatnonzero((predictions.labels == true) & (predictions.predicted == predicted))
    cell = cell[np.argsort(-predictions.probabilities[cell, predicted], kind="stable")]
    positions = pd.Index(split.ids).get_indexer(predictions.ids[cell])
    if (positions < 0).any():
        raise ValueError(f"The split has no image {predictions.ids[cell][positions < 0][0]}, which was predicted.")
    return split.take(positions)


def image_grid(images, titles=None, frames=None, columns: int = 7, labels=None, caption: str = "") -> plt.Figure:
    """Show images in rows, such as composites or feature maps: H x W x 3, RGB, 0-255, or H x W, drawn in colours from
    their lowest to their highest value. Each has a title and the colour of its frame; `labels` are the rows'."""
    columns = min(columns, len(images))
    rows, titles = -(-len(images) // columns), [""] * len(images) if titles is None else titles
    lines = 1 + max(title.count("\n") for title in titles)
    figure, axes = grid(rows, columns, (max(1.6 * columns, 5), (1.45 + 0.2 * lines) * rows + (0.4 if caption else 0.1)))
    figure.get_layout_engine().set(w_pad=0.06)  # inches: frames must not touch
    for axis in axes.flat[len(images) :]:
        axis.remove()
    for k, (axis, image, title) in enumerate(zip(axes.flat, images, titles, strict=False)):
        axis.imshow(np.round(image).astype(np.uint8) if np.ndim(image) == 3 else image, cmap="viridis")
        axis.set_title(title, fontsize=10)
        bare(axis, frames[k] if frames is not None else None)
        axis.set_anchor("S")  # any free height lies above, between the figure's title and those of the images
    for axis, label in zip(axes[:, 0], labels or [], strict=False):
        axis.set_ylabel(label, fontsize=10)
    return captioned(figure, caption)
