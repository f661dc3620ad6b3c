"""Loading: every shape of every data set, on images made here."""

import os
import shutil
import sys
import types
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from emotions import runner
from emotions.data import kinds, load, reading, synthetic
from emotions.data.dataset import Split, limit, select
from emotions.data.fer2013 import FER2013_CLASSES, FER2013_PARTS
from emotions.data.ferplus import FERPLUS_VOTES, ferplus_votes, majority, plurality
from emotions.data.human_emotions import source_photo
from emotions.data.splits import hold_out


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """No data but what a test makes: no EMOTIONS_DATA, an empty current directory, Kaggle out of reach."""
    def unreachable(handle):
        raise ConnectionError(f"no network for {handle}")

    monkeypatch.delenv("EMOTIONS_DATA", raising=False)
    monkeypatch.setenv("EMOTIONS_CACHE", "")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("emotions.data.places.REPOSITORY_DATA", tmp_path / "repository")
    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=unreachable))


def face(seed: int, size=(48, 48)) -> np.ndarray:
    """A smooth random image, unlike any of another seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC)


def write(path: Path, image: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)


def class_folders(root: Path, classes=("calm", "cross"), count=10, size=(40, 40)) -> Path:
    for code, name in enumerate(classes):
        for index in range(count):
            write(root / name / f"{index}.png", face(1000 * code + index, size))
    return root


@pytest.fixture
def fer2013() -> pd.DataFrame:
    """A FER2013 of 70 rows; training rows 0 and 1 are copies of a validation and a test image."""
    rng = np.random.default_rng(0)
    usage = np.repeat(list(FER2013_PARTS), [42, 14, 14])
    images = np.stack([face(seed)[..., 0] for seed in range(70)])
    emotion = np.arange(70) % 7
    images[[0, 1]] = images[[42 + 7, 56 + 8]]
    order = rng.permutation(70)  # rows of the three splits may come in any order
    rows = [" ".join(map(str, image.ravel())) for image in images]
    return pd.DataFrame({"emotion": emotion, "pixels": rows, "Usage": usage}).iloc[order].reset_index(drop=True)


def as_folders(frame: pd.DataFrame, root: Path, quality: int = 95) -> Path:
    for row, (emotion, pixels, usage) in enumerate(frame.itertuples(index=False)):
        folder = root / ("train" if usage == "Training" else "test") / FER2013_CLASSES[emotion]
        image = np.array(pixels.split(), np.uint8).reshape(48, 48)
        write(folder / f"{usage}_{(row * 7919) % 1000}.jpg", image, quality=quality)
    return root


def zipped(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return target


# FER2013


def test_csv_gives_the_three_splits_and_drops_copies_from_training_only(fer2013, tmp_path):
    fer2013.to_csv(tmp_path / "fer2013.csv", index=False)
    dataset = load("fer2013", tmp_path)
    assert dataset.class_names == tuple(sorted(FER2013_CLASSES))
    assert [len(split) for split in dataset.splits().values()] == [40, 14, 14]
    assert dataset.train.images.shape == (40, 48, 48, 3) and dataset.train.images.dtype == np.uint8
    assert len(dataset.dropped["copy of a validation or test image"]) == 2
    assert len(dataset.copied) == 1 and dataset.copied <= set(dataset.test.ids)
    for split in dataset.splits().values():
        for image, label, name in zip(split.images, split.labels, split.ids, strict=True):
            usage, row = name.split("_")
            assert usage == fer2013["Usage"][int(row)]
            assert dataset.class_names[label] == FER2013_CLASSES[fer2013["emotion"][int(row)]]
            assert " ".join(map(str, image[..., 1].ravel())) == fer2013["pixels"][int(row)]


def test_the_codes_of_the_csv_are_fer2013s(fer2013, tmp_path):
    fer2013.to_csv(tmp_path / "fer2013.csv", index=False)
    test = load("fer2013", tmp_path).test
    codes = [fer2013["emotion"][int(name.split("_")[1])] for name in test.ids]
    names = {0: "angry", 1: "disgust", 2: "fear", 3: "happy", 4: "sad", 5: "surprise", 6: "neutral"}
    alphabetical = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
    assert [alphabetical[label] for label in test.labels] == [names[code] for code in codes]


def test_copies_stay_in_training_on_request(fer2013, tmp_path):
    fer2013.to_csv(tmp_path / "fer2013.csv", index=False)
    dataset = load("fer2013", tmp_path, keep_copies=True)
    assert len(dataset.train) == 42 and len(dataset.copied) == 1
    assert dataset.variants == ("with duplicates",) and load("fer2013", tmp_path).variants == ()


def test_where_there_are_no_copies_keeping_them_is_no_variant_but_a_note(tmp_path):
    dataset = load(f"folder:{class_folders(tmp_path / 'mine')}", keep_copies=True)
    assert dataset.variants == () and any("Keeping copies changes nothing" in note for note in dataset.notes)


@pytest.mark.parametrize("name", ["fer2013.csv", "fer2013.csv.gz", "fer2013.csv.xz", "fer2013.csv.zip"])
def test_csv_loads_plain_and_compressed(fer2013, tmp_path, name):
    fer2013.to_csv(tmp_path / name, index=False)
    assert load("fer2013", tmp_path).describe().equals(load("fer2013", tmp_path / name).describe())
    assert load("fer2013", tmp_path).describe().to_numpy().sum() == 68


def test_kaggles_csv_has_blanks_in_its_header_and_another_order_of_columns(fer2013, tmp_path):
    fer2013.rename(columns={"Usage": " Usage", "pixels": " pixels"})[["emotion", " Usage", " pixels"]].to_csv(
        tmp_path / "icml_face_data.csv", index=False)
    assert load("fer2013", tmp_path).describe().to_numpy().sum() == 68


@pytest.mark.parametrize("shape", ["folders", "zip of folders", "zip of folders in a folder", "zip of a CSV"])
def test_folders_and_zips_give_the_same_splits_and_labels_as_the_csv(fer2013, tmp_path, shape):
    csv, other = tmp_path / "csv" / "fer2013.csv", tmp_path / "other"
    csv.parent.mkdir()
    fer2013.to_csv(csv, index=False)
    if shape == "zip of a CSV":
        path = zipped(csv.parent, tmp_path / "archive.zip")
    elif shape == "folders":
        path = as_folders(fer2013, other)
    else:
        as_folders(fer2013, other / ("fer2013" if "in a folder" in shape else ""))
        path = zipped(other, tmp_path / "archive.zip")
    one, two = load("fer2013", csv), load("fer2013", path)
    assert one.describe().equals(two.describe())
    assert len(one.copied) == len(two.copied)
    for mine, theirs in zip(one.splits().values(), two.splits().values(), strict=True):
        difference = np.abs(mine.images[:, None].astype(int) - theirs.images[None]).mean(axis=(2, 3, 4))
        nearest = difference.argmin(axis=1)
        assert difference.min(axis=1).max() < 3
        assert sorted(nearest) == list(range(len(theirs)))
        assert (mine.labels == theirs.labels[nearest]).all()


def test_fer2013_3_is_the_angry_happy_and_sad_part(fer2013, tmp_path):
    fer2013.to_csv(tmp_path / "fer2013.csv", index=False)
    seven, three = load("fer2013", tmp_path), load("fer2013-3", tmp_path)
    assert three.name == "fer2013-3"
    assert three.describe().equals(seven.describe()[["angry", "happy", "sad"]])
    assert three.copied <= set(three.test.ids)


def test_the_recut_takes_its_validation_folder_as_test_and_holds_validation_out(tmp_path):
    for part, count, start in (("train", 16, 0), ("validation", 4, 500)):
        class_folders(tmp_path / "images" / part, ("angry", "happy"), count)
        for index in range(count):
            write(tmp_path / "images" / part / "angry" / f"{index}.png", face(start + index))
            write(tmp_path / "images" / part / "happy" / f"{index}.png", face(start + index + 5000))
    dataset = load("fer2013-recut", tmp_path)
    assert dataset.describe().to_numpy().tolist() == [[14, 14], [2, 2], [4, 4]]
    assert all("validation/" in name for name in dataset.test.ids)


def test_a_row_of_the_wrong_length_is_named(fer2013, tmp_path):
    fer2013.loc[3, "pixels"] += " 7"
    fer2013.to_csv(tmp_path / "fer2013.csv", index=False)
    with pytest.raises(ValueError, match=r"Row 3 of .* has 2305 pixels"):
        load("fer2013", tmp_path)


@pytest.mark.parametrize("column, wrong", [("emotion", 9), ("emotion", -1), ("Usage", "Trainin")])
def test_a_row_of_an_unknown_emotion_or_usage_is_named(fer2013, tmp_path, column, wrong):
    fer2013.loc[3, column] = wrong
    fer2013.to_csv(tmp_path / "fer2013.csv", index=False)
    with pytest.raises(ValueError, match=rf"Row 3 of .* has the emotion .*{wrong}.*: emotions run from 0 to 6"):
        load("fer2013", tmp_path)


def test_classes_are_selected_in_the_order_of_the_data_set(fer2013, tmp_path):
    fer2013.to_csv(tmp_path / "fer2013.csv", index=False)
    dataset = load("fer2013", tmp_path)
    one, other = select(dataset, ("sad", "angry")), select(dataset, ("angry", "sad"))
    assert one.class_names == other.class_names == ("angry", "sad")
    names = dict(zip(dataset.test.ids, np.array(dataset.class_names)[dataset.test.labels], strict=True))
    assert [names[name] for name in one.test.ids] == list(np.array(one.class_names)[one.test.labels])
    with pytest.raises(ValueError, match="glad"):
        select(dataset, ("angry", "glad"))


# FER+


def ferplus(frame: pd.DataFrame) -> pd.DataFrame:
    """Eight votes for the label and two for unknown; row 5 and the first test row: not a face."""
    columns = {"angry": "anger", "happy": "happiness", "sad": "sadness"}
    votes = pd.DataFrame(0, index=frame.index, columns=["neutral", "happiness", "surprise", "sadness", "anger",
                                                        "disgust", "fear", "contempt", "unknown", "NF"])
    for row, emotion in enumerate(frame["emotion"]):
        name = FER2013_CLASSES[emotion]
        votes.loc[row, columns.get(name, name)] = 6
        votes.loc[row, "fear" if name != "fear" else "disgust"] += 2
        votes.loc[row, "unknown"] = 2
    nobody = _not_faces(frame)
    votes.loc[nobody] = 0
    votes.loc[nobody, "NF"] = 10
    names = pd.Series([f"fer{row:07d}.png" for row in frame.index], name="Image name")
    return pd.concat([frame["Usage"], names, votes], axis=1)


def _not_faces(frame):
    return [np.flatnonzero(frame["Usage"] == usage)[4] for usage in ("Training", "PrivateTest")]


@pytest.mark.parametrize("place", [".", "fer2013"])
def test_votes_lie_in_data_or_beside_fer2013_there(fer2013, tmp_path, monkeypatch, place):
    monkeypatch.setenv("EMOTIONS_DATA", str(tmp_path))
    (tmp_path / "fer2013").mkdir()
    fer2013.to_csv(tmp_path / "fer2013" / "fer2013.csv", index=False)
    ferplus(fer2013).to_csv(tmp_path / place / "fer2013new.csv", index=False)
    assert len(ferplus_votes(["Training_00000"])) == 1


@pytest.mark.parametrize("stray", ["fer2013new.csv", "archive.zip"])
def test_what_is_named_alike_does_not_hide_the_data_set_in_a_folder_below(fer2013, tmp_path, monkeypatch, stray):
    monkeypatch.setenv("EMOTIONS_DATA", str(tmp_path))
    (tmp_path / "mine").mkdir()
    fer2013.to_csv(tmp_path / "mine" / "fer2013.csv", index=False)
    if stray == "archive.zip":
        zipped(class_folders(tmp_path / "elsewhere"), tmp_path / stray)
    else:
        ferplus(fer2013).to_csv(tmp_path / stray, index=False)
    assert len(load("fer2013").test) == 14


def test_votes_are_found_by_the_ids_of_images_alone(fer2013, tmp_path, monkeypatch):
    monkeypatch.setenv("EMOTIONS_DATA", str(tmp_path))
    votes = ferplus(fer2013)
    votes.to_csv(tmp_path / "fer2013new.csv", index=False)
    rows = np.flatnonzero(fer2013["Usage"] == "PrivateTest")[::-1]
    found = ferplus_votes([f"PrivateTest_{row:05d}" for row in rows])
    assert len(found) == len(rows) and list(found.index) == list(range(len(rows)))
    assert found["happy"].tolist() == votes["happiness"][rows].tolist()
    assert found["NF"].tolist() == votes["NF"][rows].tolist()
    assert set(FERPLUS_VOTES.values()) | {"contempt", "unknown", "NF"} == set(found.columns)
    for other in (f"Training_{rows[0]:05d}", "PrivateTest_88305421", "angry/one"):
        with pytest.raises(ValueError, match="do not name rows of"):
            ferplus_votes([f"PrivateTest_{rows[0]:05d}", other])
    (tmp_path / "fer2013new.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"get it from https://github\.com/microsoft/FERPlus"):
        ferplus_votes(["PrivateTest_00001"])


@pytest.mark.parametrize("votes, winner, plural", [
    ({"happy": 6, "sad": 4}, "happy", True),
    ({"happy": 5, "sad": 5}, "", False),  # exactly half is no majority
    ({"happy": 4, "sad": 2, "NF": 2, "fear": 1, "angry": 1}, "", True),  # nor after single votes have gone
    ({"happy": 3, "sad": 2, "fear": 1, "angry": 1, "neutral": 1, "disgust": 1, "NF": 1}, "happy", True),  # 3 of 5
    ({"happy": 4, "unknown": 4, "fear": 2}, "", False),
    ({"contempt": 6, "NF": 4}, "contempt", True),
    ({"unknown": 6, "happy": 4}, "unknown", False),
    ({"NF": 9, "happy": 1}, "NF", False),
    ({"happy": 1, "sad": 1}, "", False),
])
def test_a_majority_is_more_than_half_of_the_votes_without_single_ones(votes, winner, plural):
    columns = [*FERPLUS_VOTES.values(), "contempt", "unknown", "NF"]
    table = pd.DataFrame([votes], columns=columns).fillna(0).astype(int)
    assert majority(table).tolist() == [winner] and plurality(table).tolist() == [plural]


@pytest.fixture
def voted(fer2013, tmp_path):
    """FER2013 with votes; one image of each split shows contempt, one of each has no majority."""
    votes = ferplus(fer2013)
    neutral = (fer2013["emotion"] == 6) & (votes["NF"] == 0)
    for usage in FER2013_PARTS:
        contempt, undecided, *_ = np.flatnonzero(neutral & (fer2013["Usage"] == usage))
        votes.loc[contempt, ["neutral", "contempt"]] = 0, 6
        votes.loc[undecided, ["neutral", "happiness", "unknown"]] = 4, 4, 0
    fer2013.to_csv(tmp_path / "fer2013.csv", index=False)
    votes.to_csv(tmp_path / "fer2013new.csv", index=False)
    return votes


def test_ferplus_takes_its_labels_and_soft_labels_from_the_votes(voted, tmp_path):
    dataset = load("ferplus", tmp_path)
    assert dataset.class_names == ("angry", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    assert [len(split) for split in dataset.splits().values()] == [42 - 2 - 2, 14 - 1, 14 - 2]
    assert dataset.describe()["contempt"].tolist() == [1, 1, 1] and dataset.variants == ()
    counts = voted.rename(columns=FERPLUS_VOTES)[list(dataset.class_names)].to_numpy()
    for split in dataset.splits().values():
        rows = [int(name.split("_")[1]) for name in split.ids]
        assert split.targets.dtype == np.float32
        assert np.allclose(split.targets, counts[rows] / counts[rows].sum(axis=1, keepdims=True))
        assert (split.targets.argmax(axis=1) == split.labels).all()
    gone = {reason: len(ids) for reason, ids in dataset.dropped.items()}
    assert gone == {"no majority of FER+'s votes": 3, "the majority of FER+'s votes says not a face": 2,
                    "copy of a validation or test image": 2}
    assert any("40 training, 13 validation and 12 test images have a label" in note for note in dataset.notes)


def test_ferplus_does_not_train_on_copies_of_test_images_unless_asked(voted, tmp_path):
    dataset, kept = load("ferplus", tmp_path), load("ferplus", tmp_path, keep_copies=True)
    for split in (dataset.validation, dataset.test):
        assert not set(split.groups) & set(dataset.train.groups) and set(split.groups) & set(kept.train.groups)
    assert len(dataset.copied) == 1 and dataset.copied == kept.copied <= set(dataset.test.ids)
    assert kept.variants == ("with duplicates",)


def test_voters_teach_by_their_shares_and_where_there_are_none_the_label_does(voted, tmp_path, monkeypatch):
    """As written out in notebook 10."""
    monkeypatch.setenv("EMOTIONS_DATA", str(tmp_path))
    faces = load("fer2013")
    rows = [int(name.split("_")[1]) for name in faces.train.ids]
    voted.loc[rows[5], list(FERPLUS_VOTES)] = 0
    voted.to_csv(tmp_path / "fer2013new.csv", index=False)
    (cell,) = [source for _, source in runner.code_cells(*runner.find(["10"])) if "def voters" in source]
    labels = np.eye(7)[faces.train.labels]
    names = {"np": np, "ferplus_votes": ferplus_votes, "faces": faces, "labels": labels, "TEACHERS": ""}
    exec(cell, names)
    counts = voted.rename(columns=FERPLUS_VOTES)[list(faces.class_names)].to_numpy()[rows]
    taught, voted_on = names["voters"](), counts.sum(axis=1) > 0
    assert not voted_on[5] and np.array_equal(taught[~voted_on], labels[~voted_on])
    assert np.allclose(taught[voted_on], counts[voted_on] / counts[voted_on].sum(axis=1, keepdims=True))


def test_ferplus_needs_the_votes_and_the_csv(voted, fer2013, tmp_path):
    with pytest.raises(ValueError, match="images in folders have other names"):
        load("ferplus", as_folders(fer2013, tmp_path / "folders"))
    voted.iloc[::-1].to_csv(tmp_path / "fer2013new.csv", index=False)
    with pytest.raises(ValueError, match="do not name rows of"):
        load("ferplus", tmp_path)
    (tmp_path / "fer2013new.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"FER\+'s fer2013new.csv was not found"):
        load("ferplus", tmp_path)


def test_a_class_of_three_photos_has_one_in_each_split_and_no_photo_is_in_two(tmp_path):
    for name, count in (("calm", 3), ("cross", 20), ("joyful", 4)):
        for photo in range(count):
            image = face(100 * len(name) + photo, (40, 40))
            for copy in range(2):
                write(tmp_path / "mine" / name / f"{photo}_{copy}.png", image)
    dataset = load(f"folder:{tmp_path / 'mine'}")
    photos = {split: set(part.groups) for split, part in dataset.splits().items()}
    assert not photos["train"] & photos["test"] | photos["train"] & photos["validation"]
    assert not photos["test"] & photos["validation"]
    assert (dataset.describe() > 0).all(axis=None)
    assert dataset.describe().loc["test", ["calm", "joyful"]].tolist() == [2, 2]  # one photo with its copy


# Human Emotions


def human_emotions(root: Path) -> Path:
    """As its author made it: each photo with turned and darkened copies, a quarter of the files moved to test."""
    rng = np.random.default_rng(0)
    for code, name in enumerate(("angry", "happy", "sad")):
        for photo in range(12):
            image = face(100 * code + photo, (64, 64))
            copies = {f"p{photo}.jpg": image}
            for turn in (1, 2):
                copies[f"p{photo}.jpg_rotation_{turn}.jpg"] = np.rot90(image, turn).copy()
                copies[f"p{photo}.jpg_brightness_{turn}.jpg"] = (image * (1 - 0.2 * turn)).astype(np.uint8)
            for file, copy in copies.items():
                write(root / ("test" if rng.random() < 0.25 else "train") / name / file, copy)
    return root


def test_human_emotions_keeps_all_copies_of_a_photo_on_one_side(tmp_path):
    human_emotions(tmp_path / "Emotions Dataset" / "Emotions Dataset")
    dataset = load("human-emotions", tmp_path)
    assert dataset.class_names == ("angry", "happy", "sad")
    counts = dataset.describe().sum(axis=1)
    assert counts.sum() == 180
    assert counts["test"] == pytest.approx(36, abs=6) and counts["validation"] == pytest.approx(29, abs=6)
    photos = {split: {(name.split("/")[-2], source_photo(name)) for name in part.ids}
              for split, part in dataset.splits().items()}
    assert not photos["train"] & photos["test"]
    assert not photos["train"] & photos["validation"]
    assert not photos["validation"] & photos["test"]
    assert any("180 images come from 36 photos" in note for note in dataset.notes)


def test_human_emotions_finds_renamed_copies_by_their_looks(tmp_path):
    for code, name in enumerate(("angry", "happy", "sad")):
        for photo in range(10):
            image = face(100 * code + photo, (64, 64))
            write(tmp_path / "train" / name / f"a{photo}.jpg", image)
            write(tmp_path / "test" / name / f"b{photo}.jpg", (image * 0.8).astype(np.uint8))
    assert any("60 images come from 30 photos" in note for note in load("human-emotions", tmp_path).notes)


def test_human_emotions_says_when_no_copy_was_found(tmp_path):
    for part, start in (("train", 0), ("test", 5000)):
        for code, name in enumerate(("angry", "happy", "sad")):
            for photo in range(8):
                write(tmp_path / part / name / f"{part}{photo}.jpg", face(start + 100 * code + photo, (64, 64)))
    assert any("grouping changed nothing" in note for note in load("human-emotions", tmp_path).notes)


def test_human_emotions_as_distributed_keeps_the_test_folder_and_knows_its_copies(tmp_path):
    human_emotions(tmp_path)
    dataset = load("human-emotions-as-distributed", tmp_path)
    assert {name.split("/")[1] for name in dataset.test.ids} == {"test"}
    assert {name.split("/")[1] for split in (dataset.train, dataset.validation) for name in split.ids} == {"train"}
    assert len(dataset.validation) == pytest.approx(0.2 * (len(dataset.train) + len(dataset.validation)), abs=1)
    photos = {(name.split("/")[2], source_photo(name)) for split in (dataset.train, dataset.validation)
              for name in split.ids}
    assert dataset.copied == {name for name in dataset.test.ids
                              if (name.split("/")[2], source_photo(name)) in photos}
    assert len(dataset.copied) > 30


def test_ids_of_human_emotions_are_the_same_whatever_folders_it_lies_in(tmp_path):
    plain = load("human-emotions", human_emotions(tmp_path / "plain"))
    wrapped = load("human-emotions", human_emotions(tmp_path / "archive/Emotions Dataset/Emotions Dataset"))
    assert wrapped.test.ids.tolist() == plain.test.ids.tolist()
    assert all(name.startswith("Emotions Dataset/t") for name in plain.test.ids)


def test_the_kind_of_a_file_of_human_emotions_is_read_from_its_name():
    assert kinds(["a.jpg", "a.jpg_rotation_1.jpg", "A.JPG_Brightness_2.jpg"]).tolist() == [
        "original", "rotated", "darkened"]


def test_human_emotions_never_pools_the_two_copies_of_the_download(tmp_path):
    download = Path("data/human-emotions")
    human_emotions(download / "EmotionsDataset_Splitted" / "data")
    human_emotions(download / "Emotions Dataset" / "Emotions Dataset")
    dataset = load("human-emotions")
    assert dataset.describe().to_numpy().sum() == 180
    assert all("Splitted" not in name for split in dataset.splits().values() for name in split.ids)
    assert any("EmotionsDataset_Splitted/data/" in note for note in dataset.notes)
    other = load("human-emotions", download / "EmotionsDataset_Splitted" / "data")
    assert other.describe().to_numpy().sum() == 180


@pytest.mark.parametrize("name", ["human-emotions", "human-emotions-as-distributed"])
def test_fer2013_in_folders_does_not_pass_for_human_emotions(fer2013, tmp_path, monkeypatch, name):
    """It has angry, happy and sad folders too."""
    refusal = "hold other classes too: disgust, fear, neutral, surprise"
    folders = as_folders(fer2013, tmp_path / "folders")
    with pytest.raises(FileNotFoundError, match=refusal):
        load(name, folders)
    monkeypatch.setenv("EMOTIONS_DATA", str(folders))
    with pytest.raises(FileNotFoundError, match=refusal):
        load(name)
    Path("data").mkdir()
    monkeypatch.setenv("EMOTIONS_DATA", str(zipped(folders, Path("data/archive.zip"))))
    with pytest.raises(FileNotFoundError, match=refusal):
        load(name)
    human_emotions(Path("data/human-emotions"))  # beside it, the real one is found
    monkeypatch.delenv("EMOTIONS_DATA")
    assert load(name).class_names == ("angry", "happy", "sad")
    with pytest.raises(FileNotFoundError, match=r"no train\|test/angry\|happy\|sad folders"):
        load(name, class_folders(tmp_path / "mine"))


@pytest.mark.parametrize("name, photo", [
    ("p.jpg", "p"), ("p.jpg_rotation_1.jpg", "p"), ("x/P.JPG_brightness_22.jpg", "p"),
    ("p_rotation_1.jpg_brightness_2.jpg", "p"), ("my_rotation.png", "my_rotation")])
def test_source_photo_strips_what_augmentation_added(name, photo):
    assert source_photo(name) == photo


# Folders


def test_a_folder_of_ones_own_is_known_by_its_images(tmp_path):
    first = class_folders(tmp_path / "first" / "mine")
    assert load(str(first)).digest == load(str(shutil.copytree(first, tmp_path / "second" / "mine"))).digest
    write(first / "calm" / "more.png", face(99, (40, 40)))
    assert load(str(first)).digest != load(str(tmp_path / "second" / "mine")).digest
    assert load("synthetic-quick").digest is None  # its name says it
    named_alike = load(str(shutil.copytree(first, tmp_path / "human-emotions-mine")))
    assert not named_alike.by_photo and replace(named_alike, digest=None).by_photo


def test_a_folder_by_name_is_that_folder(tmp_path, monkeypatch):
    class_folders(tmp_path / "kaggle" / "train", ("angry", "sad"))
    class_folders(tmp_path / "own" / "mine[1]")
    class_folders(tmp_path / "own" / "mine1", ("one", "two"))
    monkeypatch.setenv("EMOTIONS_DATA", f"{tmp_path / 'kaggle'}{os.pathsep}{tmp_path / 'own'}")
    assert load("mine[1]").class_names == ("calm", "cross") and load("mine1").class_names == ("one", "two")


def test_a_folder_by_name_is_none_that_lies_deeper(tmp_path, monkeypatch):
    for folder, count in (("data/faces", 8), ("sets/more/x/faces", 5)):
        class_folders(tmp_path / folder, count=count)
    monkeypatch.setenv("EMOTIONS_DATA", f"{tmp_path / 'sets'}{os.pathsep}{tmp_path / 'data'}")
    assert sum(map(len, load("faces").splits().values())) == 16
    assert sum(map(len, load(tmp_path / "sets/more/x/faces").splits().values())) == 10


def test_files_that_are_no_images_by_their_names_are_told(tmp_path):
    class_folders(tmp_path / "mine", count=8)
    names = sorted((tmp_path / "mine").rglob("*.png"))
    names[0].rename(names[0].with_suffix(".jfif"))  # JPEG's name in some Windows programs; what is inside counts
    names[1].rename(names[1].with_suffix(".psd"))
    names[2].rename(os.fsdecode(os.fsencode(names[2].parent) + b"/\xe9.png"))
    faces = load(f"folder:{tmp_path / 'mine'}")
    assert sum(map(len, faces.splits().values())) == 14
    (note,) = [note for note in faces.notes if "do not end like an image" in note]
    assert note.startswith("Left out: 2 files") and note.isascii()


def test_a_near_duplicate_in_two_small_classes_can_be_split():
    labels, groups = np.array([0] * 3 + [1] * 5), np.array([0, 1, 2, 0, 3, 4, 5, 6])
    held = hold_out(labels, groups, 5, 0, ("calm", "cross"))
    assert set(labels[held]) == {0, 1} and len(held) < len(labels)
    assert not set(groups[held]) & set(np.delete(groups, held))


def test_class_folders_are_split_by_class_with_copies_on_one_side(tmp_path):
    root = class_folders(tmp_path / "mine", ("calm", "cross", "keen"), 25)
    for index in range(6):
        write(root / "calm" / f"copy{index}.png", face(index, (40, 40)))
    dataset = load(f"folder:{root}")
    assert dataset.name == "mine" and dataset.class_names == ("calm", "cross", "keen")
    assert dataset.train.images.shape[1:] == (40, 40, 3)
    assert dataset.describe().to_numpy().sum() == 81
    seen = {}
    for split, part in dataset.splits().items():
        assert (np.bincount(part.labels) >= 3).all()
        for image in part.images:
            assert seen.setdefault(image.tobytes(), split) == split
    again = load(f"folder:{root}")
    assert all(np.array_equal(one.ids, two.ids)
               for one, two in zip(dataset.splits().values(), again.splits().values(), strict=True))
    other = load(f"folder:{root}", seed=1)
    assert not np.array_equal(dataset.test.ids, other.test.ids)


def test_given_splits_are_respected_and_leaking_training_images_dropped(tmp_path):
    root = class_folders(tmp_path / "mine" / "train", count=12).parent
    for code, name in enumerate(("calm", "cross")):
        for index in range(4):
            write(root / "Val" / name / f"{index}.png", face(7000 + 100 * code + index, (40, 40)))
            write(root / "test" / name / f"{index}.png", face(8000 + 100 * code + index, (40, 40)))
    write(root / "train" / "calm" / "leak.png", face(8000, (40, 40)))
    dataset = load(f"folder:{root}")
    assert dataset.describe().to_numpy().tolist() == [[12, 12], [4, 4], [4, 4]]
    assert dataset.dropped["copy of a validation or test image"] == ("train/calm/leak.png",)
    assert dataset.copied == {"test/calm/0.png"}
    assert len(load(f"folder:{root}", keep_copies=True).train) == 25


def test_a_folder_named_like_one_of_its_classes_loads(tmp_path):
    for name in ("calm", "cross"):
        for number in range(5):
            write(tmp_path / "calm" / name / f"{number}.png", face(10 * number + ord(name[1])))
    assert load(f"folder:{tmp_path / 'calm'}").class_names == ("calm", "cross")


@pytest.mark.parametrize("name", ["label", "unsure", "face"])  # in predictions.csv, in answers, in a video's rows
def test_a_class_named_like_a_column_is_refused_before_it_is_trained_on(tmp_path, name):
    class_folders(tmp_path / "mine", ("calm", name))
    with pytest.raises(ValueError, match=f'has a class "{name}"'):
        load(f"folder:{tmp_path / 'mine'}")


def test_folders_that_are_links_are_named(tmp_path):
    class_folders(tmp_path / "mine", ("calm", "cross"))
    (tmp_path / "more").mkdir()
    (tmp_path / "mine" / "calm" / "later").symlink_to(tmp_path / "more")
    notes = load(f"folder:{tmp_path / 'mine'}").notes
    assert any(note.startswith("Left out, since links") and "calm/later" in note for note in notes)
    (tmp_path / "mine" / "glad").symlink_to(tmp_path / "more")
    with pytest.raises(ValueError, match=r"Links and locked folders: .*glad"):
        load(f"folder:{tmp_path / 'mine'}")


def test_a_folder_in_data_loads_by_its_name(tmp_path):
    class_folders(Path("data/mine"))
    assert load("mine").describe().to_numpy().sum() == 20
    zipped(Path("data/mine"), Path("data/packed.zip"))
    Path("data/mine").rename("moved")
    assert load("packed").describe().equals(load("folder:moved").describe())
    Path("data/packed.zip").rename("PACKED.ZIP")  # as some systems write it
    assert load("folder:PACKED.ZIP").name == "PACKED"
    with pytest.raises(ValueError, match="Unknown data set"):
        load("mine")


@pytest.mark.parametrize("name", ["fer2013", "FER2013", "human-emotions", "synthetic", "fer2013-3.zip"])
def test_a_folder_named_like_a_known_data_set_is_refused(tmp_path, name):
    """It would be read as that one, and its results would land among that one's."""
    root = class_folders(tmp_path / "mine")
    path = zipped(root, tmp_path / name) if name.endswith(".zip") else root.rename(tmp_path / name)
    known = name.lower().removesuffix(".zip")
    with pytest.raises(ValueError, match=f'is named like the data set "{known}": rename the folder'):
        load(f"folder:{path}")


def test_mixed_sizes_come_out_as_one(tmp_path):
    root = class_folders(tmp_path / "mine", size=(40, 40))
    write(root / "calm" / "large.png", face(1, (400, 300)))
    write(root / "calm" / "small.png", face(2, (20, 24)))
    dataset = load(f"folder:{root}")
    assert dataset.train.images.shape[1:] == (40, 40, 3)
    assert any("3 sizes" in note for note in dataset.notes) and any("1 images are tiny" in n for n in dataset.notes)
    assert load(f"folder:{root}", size=24).test.images.shape[1:] == (24, 24, 3)
    assert load(f"folder:{root}", size=(24, 30)).test.images.shape[1:] == (24, 30, 3)


# Wrong input: one clear sentence, nothing lost


def test_images_that_do_not_decode_are_skipped_counted_and_listed(tmp_path):
    root = class_folders(tmp_path / "mine", count=10, size=(64, 64))
    write(root / "calm" / "half.jpg", face(77, (64, 64)))
    whole = (root / "calm" / "half.jpg").read_bytes()
    (root / "calm" / "half.jpg").write_bytes(whole[:len(whole) // 2])
    (root / "cross" / "text.jpg").write_text("I am no image")
    (root / "cross" / "empty.png").write_bytes(b"")
    (root / "cross" / "notes.txt").write_text("not meant as a image")
    dataset = load(f"folder:{root}")
    assert dataset.describe().to_numpy().sum() == 20
    assert dataset.dropped["unreadable"] == ("calm/half.jpg", "cross/empty.png", "cross/text.jpg")
    assert any("3 of 23 images" in note and "cross/text.jpg" in note for note in dataset.notes)


def test_an_empty_class_is_an_error(tmp_path):
    root = class_folders(tmp_path / "mine")
    (root / "keen").mkdir()
    with pytest.raises(ValueError, match=r'class folder "keen" .* holds no readable image'):
        load(f"folder:{root}")
    (root / "keen" / "text.jpg").write_text("I am no image")
    with pytest.raises(ValueError, match=r'class folder "keen" .* holds no readable image'):
        load(f"folder:{root}")


def test_a_folder_without_class_folders_is_an_error(tmp_path):
    write(tmp_path / "mine" / "a.png", face(0))
    with pytest.raises(ValueError, match=r"no class folder in .* \(1 images lie directly in it\)"):
        load(f"folder:{tmp_path / 'mine'}")


def test_one_class_only_is_an_error(tmp_path):
    with pytest.raises(ValueError, match='one class only, "calm"'):
        load(f"folder:{class_folders(tmp_path / 'mine', ('calm',))}")


def test_a_class_too_small_to_split_is_an_error(tmp_path):
    root = class_folders(tmp_path / "mine")
    for index in range(3):
        write(root / "keen" / f"{index}.png", face(999, (40, 40)))
    with pytest.raises(ValueError, match='class "keen" has too few distinct'):
        load(f"folder:{root}")


@pytest.mark.parametrize("names", [("SAD ", "Happy"), ("sad", "HAPPY")])
def test_capitals_and_blanks_of_class_folders_do_not_count(tmp_path, names):
    root = class_folders(tmp_path / "mine", names)
    class_folders(tmp_path / "mine" / "more", ("x",), 0)
    assert load(str(root)).class_names == ("happy", "sad")


def test_classes_below_wrapping_folders_are_found(tmp_path):
    class_folders(tmp_path / "mine" / "data" / "images")
    assert load(str(tmp_path / "mine")).class_names == ("calm", "cross")


def test_a_zip_written_on_windows_is_read_and_one_that_only_leads_out_is_refused(tmp_path):
    root = class_folders(tmp_path / "mine")
    with zipfile.ZipFile(tmp_path / "windows.zip", "w") as archive:
        for file in root.rglob("*.png"):
            archive.writestr(str(file.relative_to(root)).replace("/", "\\"), file.read_bytes())
    assert load(str(tmp_path / "windows.zip")).describe().to_numpy().sum() == 20
    with zipfile.ZipFile(tmp_path / "climbing.zip", "w") as archive:
        archive.writestr("../calm/a.png", b"")
    with pytest.raises(ValueError, match=r"lead out of it, such as \.\./calm/a\.png"):
        load(str(tmp_path / "climbing.zip"))


@pytest.mark.parametrize(("pixels", "message"), [("", "has 0 pixels"), (" ".join(["300"] * 2304), "a pixel of 300")])
def test_pixels_that_cannot_be_are_an_error(fer2013, tmp_path, pixels, message):
    fer2013.loc[3, "pixels"] = pixels
    fer2013.to_csv(tmp_path / "fer2013.csv", index=False)
    with pytest.raises(ValueError, match=f"Row 3 of .* {message}"):
        load("fer2013", tmp_path)


def test_an_image_under_two_classes_is_named_and_left_out(tmp_path):
    root = class_folders(tmp_path / "mine", count=12)
    write(root / "cross" / "again.png", face(3, (40, 40)))  # calm/3.png
    dataset = load(str(root))
    (reason, ids), = dataset.dropped.items()
    assert reason.startswith("the same image is in two classes") and set(ids) == {"calm/3.png", "cross/again.png"}
    assert dataset.describe().to_numpy().sum() == 23
    assert any("2 images were left out" in note for note in dataset.notes)


def test_near_duplicates_stay_on_one_side_and_a_small_test_part_is_told(tmp_path):
    root = class_folders(tmp_path / "mine", count=12)
    for index in range(12):
        darker = (face(index, (40, 40)) * 0.8).astype(np.uint8)
        write(root / "calm" / f"darker{index}.png", darker)
    dataset = load(str(root))
    sides = {}
    for split, part in dataset.splits().items():
        for name in part.ids[np.char.startswith(part.ids, "calm")]:
            sides.setdefault(name.replace("darker", ""), set()).add(split)
    assert all(len(splits) == 1 for splits in sides.values())
    assert any("95 % interval" in note for note in dataset.notes)


def test_test_images_without_training_images_are_an_error(tmp_path):
    class_folders(tmp_path / "mine" / "test")
    with pytest.raises(ValueError, match="no training images"):
        load(f"folder:{tmp_path / 'mine'}")


def test_an_unknown_name_gets_the_nearest_one_if_one_is_near(tmp_path):
    for misspelt in ("fer2103", "FER2013"):
        with pytest.raises(ValueError, match=f'Unknown data set "{misspelt}"; did you mean "fer2013"[?] There are'):
            load(misspelt)
    with pytest.raises(ValueError, match=r'Unknown data set "nosuch"\. There are synthetic'):
        load("nosuch")
    class_folders(Path("data/students"))
    with pytest.raises(ValueError, match='did you mean "students"'):
        load("student")


def test_not_found_says_what_was_tried(monkeypatch, tmp_path):
    Path("data").mkdir()
    with pytest.raises(FileNotFoundError) as error:
        load("fer2013")
    for part in ("EMOTIONS_DATA (not set)", str(Path("data").resolve()), "Kaggle, msambare/fer2013", "no network",
                 "“synthetic” needs no download", "data/README.md"):
        assert part in str(error.value)
    with pytest.raises(FileNotFoundError, match="does not hold fer2013"):
        load("fer2013", tmp_path / "here")
    with pytest.raises(FileNotFoundError, match="There is no"):
        load("fer2013", tmp_path / "missing.csv")
    monkeypatch.setenv("EMOTIONS_DATA", str(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError, match=r"EMOTIONS_DATA names .*missing, which does not exist"):
        load("fer2013")


def test_places_are_looked_at_in_order(fer2013, monkeypatch, tmp_path):
    sizes = {}
    for place, rows in (("path", 70), ("first", 69), ("second", 68), ("here/data", 67), ("kaggle", 66)):
        (tmp_path / place).mkdir()
        fer2013.iloc[:rows].to_csv(tmp_path / place / "fer2013.csv", index=False)
        sizes[place] = rows

    def images(**options):
        return load("fer2013", keep_copies=True, **options).describe().to_numpy().sum()

    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=lambda _: tmp_path / "kaggle"))
    monkeypatch.setenv("EMOTIONS_DATA", os.pathsep.join([str(tmp_path / "first"), str(tmp_path / "second")]))
    assert images(path=tmp_path / "path") == sizes["path"]
    assert images() == sizes["first"]
    (tmp_path / "first" / "fer2013.csv").unlink()
    assert images() == sizes["second"]
    monkeypatch.delenv("EMOTIONS_DATA")
    assert images() == sizes["here/data"]
    (tmp_path / "here" / "data" / "fer2013.csv").unlink()
    assert images() == sizes["kaggle"]


@pytest.mark.parametrize("above", ["", "some-competition", "datasets/owner/fer2013"])
def test_a_data_set_is_found_wherever_kaggle_puts_it(fer2013, monkeypatch, tmp_path, above):
    (folder := tmp_path / "input" / above).mkdir(parents=True)
    fer2013.to_csv(folder / "fer2013.csv", index=False)
    monkeypatch.setenv("EMOTIONS_DATA", str(tmp_path / "input"))
    assert load("fer2013", keep_copies=True).describe().to_numpy().sum() == len(fer2013)


def test_an_archive_with_paths_outside_writes_nothing(tmp_path):
    root = class_folders(tmp_path / "mine")
    with zipfile.ZipFile(tmp_path / "here" / "evil.zip", "w") as archive:
        for file in sorted(root.rglob("*.png")):
            archive.write(file, file.relative_to(root))
        archive.writestr("../outside.png", (root / "calm" / "0.png").read_bytes())
    before = sorted(tmp_path.rglob("*"))
    assert load(f"folder:{tmp_path / 'here' / 'evil.zip'}").describe().to_numpy().sum() == 20
    assert sorted(tmp_path.rglob("*")) == before


# Splits


def test_take_keeps_a_grey_set_one_channel(fer2013, tmp_path):
    fer2013.to_csv(tmp_path / "fer2013.csv", index=False)
    dataset = load("fer2013", tmp_path)
    for split in (dataset.train, dataset.train.take([1, 2]), dataset.train.take(slice(3))):
        assert split.images.strides[-1] == 0
    part = dataset.train.take([3, 1])
    assert list(part.groups) == list(dataset.train.groups[[3, 1]])
    assert isinstance(part, Split) and list(part.ids) == list(dataset.train.ids[[3, 1]])
    assert np.array_equal(part.images, dataset.train.images[[3, 1]])
    assert load("fer2013", tmp_path, size=24).train.images.shape == (40, 24, 24, 3)


def test_a_limited_split_keeps_its_order_and_its_proportions():
    labels = np.repeat([0, 1, 2], [60, 30, 10])[np.random.default_rng(0).permutation(100)]
    split = Split(np.zeros((100, 4, 4, 3), np.uint8), labels, np.array([f"{row:03d}" for row in range(100)]))
    part = limit(split, 50)
    assert np.abs(np.bincount(part.labels) - [30, 15, 5]).max() <= 1 and len(part) == 50
    assert list(part.ids) == sorted(part.ids) and [labels[int(name)] for name in part.ids] == list(part.labels)
    assert limit(split, 100) is split


# The cache


def same(one, two) -> bool:
    return one.notes == two.notes and one.dropped == two.dropped and one.copied == two.copied and all(
        np.array_equal(mine.ids, theirs.ids) and np.array_equal(mine.images, theirs.images)
        and np.array_equal(mine.labels, theirs.labels) and np.array_equal(mine.groups, theirs.groups)
        and mine.images.strides[-1] == theirs.images.strides[-1]
        for mine, theirs in zip(one.splits().values(), two.splits().values(), strict=True))


@pytest.fixture
def reads(monkeypatch) -> list:
    """Files that were decoded."""
    decoded, decode = [], reading.decode
    monkeypatch.setattr(reading, "decode", lambda *arguments: decoded.append(1) or decode(*arguments))
    return decoded


def test_what_was_read_comes_from_the_cache_beside_it_until_files_or_options_change(tmp_path, monkeypatch, reads):
    monkeypatch.delenv("EMOTIONS_CACHE")
    archive = zipped(human_emotions(tmp_path / "files"), tmp_path / "human-emotions.zip")
    (tmp_path / "files").rename(tmp_path / "moved")
    (tmp_path / "moved" / "train" / "sad" / "bad.jpg").write_bytes(b"not an image")
    first, count = load("human-emotions", archive), len(reads)
    assert count == 180 and len(list((tmp_path / "cache").iterdir())) == 1
    assert same(load("human-emotions", tmp_path), first) and len(reads) == count
    load("human-emotions-as-distributed", archive, seed=1)
    assert len(reads) == count
    load("human-emotions", archive, size=24)
    assert len(reads) == 2 * count
    zipped(tmp_path / "moved", archive)
    changed = load("human-emotions", archive)
    assert len(reads) == 3 * count and changed.dropped["unreadable"] == ("train/sad/bad.jpg",)
    assert same(load("human-emotions", archive), changed) and len(reads) == 3 * count


def test_a_cache_that_cannot_be_written_is_said_and_the_data_loads(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("EMOTIONS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="is not cached in"):
        assert len(load("human-emotions", human_emotions(tmp_path / "files")).test)


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
def test_a_damaged_cache_is_made_anew(tmp_path, monkeypatch, reads, damage):
    monkeypatch.setenv("EMOTIONS_CACHE", str(tmp_path / "cache"))
    first, count = load("human-emotions", human_emotions(tmp_path / "files")), len(reads)
    file, = (tmp_path / "cache").iterdir()
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 1
    file.write_bytes({"cut": whole[:-999], "flipped": whole, "emptied": b""}[damage])
    with pytest.warns(UserWarning, match="is damaged and made anew"):
        assert same(load("human-emotions", tmp_path / "files"), first)
    assert len(reads) == 2 * count
    assert same(load("human-emotions", tmp_path / "files"), first) and len(reads) == 2 * count


def test_where_data_are_read_only_the_cache_is_the_users_and_own_folders_are_not_cached(tmp_path, monkeypatch):
    monkeypatch.delenv("EMOTIONS_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    files = human_emotions(tmp_path / "data" / "files")
    files.parent.chmod(0o555)
    load("human-emotions", files)
    files.parent.chmod(0o755)
    assert [file.suffix for file in (tmp_path / "home" / ".cache" / "emotions").iterdir()] == [".npz"]
    load(f"folder:{files.rename(tmp_path / 'mine')}")
    assert sorted(tmp_path.rglob("cached-*")) == sorted((tmp_path / "home").rglob("cached-*"))


# Drawn faces


def test_drawn_faces_have_names_and_are_drawn_once(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOTIONS_CACHE", str(tmp_path / "cache"))
    sizes = {}
    def draw(train=40, validation=14, test=20, **options):
        sizes[options["size"]] = train, validation, test, options.pop("difficulty", 0.5)
        return draw_faces(14, 7, 7, difficulty=0, **options)
    draw_faces = synthetic.load
    monkeypatch.setattr(synthetic, "load", draw)
    quick, plain = load("synthetic-quick"), load()
    assert (quick.name, plain.name) == ("synthetic-quick", "synthetic")
    assert sizes == {48: (1400, 350, 700, 0.25), 64: (40, 14, 20, 0.5)}
    assert quick.train.images.shape == (14, 48, 48, 3) and plain.class_names == synthetic.CLASS_NAMES
    expected = draw_faces(14, 7, 7, size=48, difficulty=0)
    assert np.array_equal(quick.test.images, expected.test.images) and list(quick.test.ids) == list(expected.test.ids)
    sizes.clear()
    assert same(load("synthetic-quick"), quick) and not sizes
    load("synthetic-quick", seed=1)
    load("synthetic", size=16)
    assert set(sizes) == {48, 16}
    with pytest.raises(ValueError, match="squares, not 16 x 20"):
        load("synthetic", size=(16, 20))
