"""The audit finds what is planted, and FER2013's known flaws where EMOTIONS_DATA has it."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from emotions.data import Dataset, Split, audit, load

REAL = next((Path(place) for place in os.environ.get("EMOTIONS_DATA", "").split(os.pathsep)
             if place and (Path(place) / "fer2013.csv.xz").is_file()), None)


def faces(count: int, seed: int = 0, side: int = 48) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (count, 6, 6, 3), np.uint8)
    return np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC) for image in noise])


def encoded(image: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def dataset(train, validation, test, labels=None) -> Dataset:
    """Two classes in turn, or the labels given for training."""
    splits = {}
    for name, images in (("train", train), ("validation", validation), ("test", test)):
        codes = np.arange(len(images)) % 2 if labels is None or name != "train" else np.asarray(labels)
        splits[name] = Split(images, codes, np.array([f"{name}{index}" for index in range(len(images))]))
    return Dataset("planted", ("calm", "cross"), **splits)


def test_digest_is_equal_exactly_when_images_are():
    image, other = faces(2)
    changed = image.copy()
    changed[3, 4, 1] ^= 1
    grey = np.broadcast_to(image[..., :1], image.shape)
    assert audit.digest(image) == audit.digest(image[:, ::-1][:, ::-1].copy())
    assert audit.digest(grey) == audit.digest(grey.copy())
    digests = {audit.digest(image) for image in (image, other, changed, grey, image.reshape(24, 96, 3))}
    assert len(digests) == 5


@pytest.mark.parametrize("change", [
    lambda image: encoded(image, 60),
    lambda image: (image * 0.6).astype(np.uint8),
    lambda image: cv2.resize(cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA), (48, 48)),
    lambda image: cv2.GaussianBlur(image, (3, 3), 0),
], ids=["compressed", "darkened", "resized", "blurred"])
def test_near_duplicates_are_found_and_strangers_are_not(change):
    originals = faces(60)
    images = np.concatenate([originals, np.stack([change(image) for image in originals[:20]])])
    found = {tuple(pair) for pair in audit.near_duplicates(images).tolist()}
    planted = {(index, 60 + index) for index in range(20)}
    assert len(found & planted) >= 19
    assert not found - planted


def test_close_hashes_alone_make_no_near_duplicate():
    ramp = np.tile(np.linspace(0, 250, 48), (48, 1))
    step = np.where(np.arange(48) < 44, np.arange(48) / 10, 250)[None].repeat(48, axis=0)
    images = [np.stack([grey] * 3, axis=-1).astype(np.uint8) for grey in (ramp, step, ramp + 5)]
    images = np.stack(images)
    assert audit.close_pairs(audit.measure(images)["hash"].to_numpy(), 64).tolist() == [[0, 1], [0, 2], [1, 2]]
    assert audit.near_duplicates(images, distance=64).tolist() == [[0, 2]]


def test_close_pairs_are_all_pairs_within_the_distance():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2 ** 63, 2500, dtype=np.uint64)
    hashes[2100] = hashes[3] ^ np.uint64(0b111)
    hashes[1500] = hashes[1400] ^ np.uint64(1 << 62)
    hashes[7] = hashes[6]
    assert audit.close_pairs(hashes, 3).tolist() == [[3, 2100], [6, 7], [1400, 1500]]
    assert audit.close_pairs(hashes, 2).tolist() == [[6, 7], [1400, 1500]]
    assert audit.close_pairs(hashes, 0).tolist() == [[6, 7]]


def test_groups_join_what_is_connected_directly_or_not():
    groups = audit.group(np.array([[0, 2], [2, 4], [1, 5]]), 7)
    assert groups[0] == groups[2] == groups[4] and groups[1] == groups[5]
    assert len(set(groups)) == 4
    assert audit.linked(["a", "b", "a", "c", "a"]).tolist() == [[0, 2], [0, 4]]


def test_measures():
    flat, sharp = np.full((1, 40, 40, 3), 80, np.uint8), faces(1, side=40)
    blurred = cv2.GaussianBlur(sharp[0], (9, 9), 3)[None]
    table = audit.measure(np.concatenate([flat, sharp, blurred]))
    assert table["brightness"][0] == 80 and table["contrast"][0] == 0 and table["sharpness"][0] == 0
    assert table["sharpness"][1] > 2 * table["sharpness"][2] > 0
    assert table["contrast"][1] == np.ptp(sharp)
    red = np.zeros((1, 40, 40, 3), np.uint8)
    red[..., 0] = 200
    assert audit.measure(red)["contrast"][0] == 0, "one colour is constant, whatever its channels"


def test_outliers_are_those_far_from_the_median():
    values = np.r_[np.linspace(90, 110, 501), 127, 124, 76, 73]  # median 100, median absolute deviation 5
    assert np.flatnonzero(audit.outliers(values)).tolist() == [501, 504]  # 3.5 / 0.6745 * 5 = 26
    assert not audit.outliers(np.full(10, 7.0)).any()


def test_the_audit_finds_what_is_planted():
    train, validation, test = faces(40, 1), faces(20, 2), faces(20, 3)
    train[5] = train[4]                     # a copy with another label
    train[7], train[9] = 128, 128           # constant
    test[0], test[1] = train[10], train[11]
    validation[3] = test[2]
    validation[4] = train[12]
    test[6] = encoded(train[20], 70)        # a near duplicate
    planted = dataset(train, validation, test)
    report = audit.audit(planted)
    assert report.findings()["distinct images"] == 80 - 1 - 1 - 2 - 1 - 1
    assert report.copies.loc["test", "train"] == 2 and report.near.loc["test", "train"] == 3
    assert report.copies.loc["validation", "train"] == 1
    assert report.copies.loc["test", "validation"] == report.copies.loc["validation", "test"] == 1
    assert report.copies.loc["train", "train"] == 2  # one of each pair could go
    ids = report.images.set_index("id")
    assert ids.index[ids["constant"]].tolist() == ["train7", "train9"]
    assert ids.loc[["train4", "train5"], "copies with conflicting labels"].all()
    findings = report.findings()
    assert findings["test images also in training"] == 2
    assert findings["images under 32 pixels"] == 0
    text = str(report)
    assert "test images also in training" in text and "near duplicates" in text


def test_conflicts_are_counted_by_group_of_identical_images():
    train = faces(8)
    train[[1, 2]] = train[0]
    train[4] = train[3]
    train[6] = train[5]
    report = audit.audit(dataset(train, faces(4, 1), faces(4, 2), labels=[0, 0, 1, 0, 1, 1, 1, 0]))
    assert report.findings()["groups of identical images with conflicting labels"] == 2


def test_tiny_images_are_reported():
    report = audit.audit(dataset(faces(8, side=24), faces(4, 1, side=24), faces(4, 2, side=24)))
    assert report.findings()["images under 32 pixels"] == 16


@pytest.mark.slow
@pytest.mark.skipif(REAL is None, reason="EMOTIONS_DATA names no folder with fer2013.csv.xz")
def test_fer2013_has_the_known_flaws():
    leak_free = load("fer2013", REAL / "fer2013.csv.xz")
    assert [len(split) for split in leak_free.splits().values()] == [28006, 3589, 3589]
    assert len(leak_free.copied) == 288
    report = audit.audit(load("fer2013", REAL / "fer2013.csv.xz", keep_copies=True))
    findings = report.findings()
    assert findings["images"] == 35887
    assert findings["distinct images"] == 34034
    assert findings["validation images also in training"] == 280
    assert findings["test images also in training"] == 288
    assert findings["test images also in validation"] == 44
    assert findings["groups of identical images with conflicting labels"] == 57
    assert findings["constant images"] == 12
    assert report.counts.loc["train"].tolist() == [3995, 436, 4097, 7215, 4965, 4830, 3171]
