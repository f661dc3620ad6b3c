"""A saved model on files, folders and arrays: what goes in, which faces are detected, what comes out, bad input.

The model of most tests knows colours, so every answer is known: its classes are blue, green and red.
"""

import base64
import io
import json
import os
import re
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import cv2
import keras
import numpy as np
import PIL.features
import pytest
from keras import layers
from PIL import Image, ImageColor
from synthetic_runs import save_model

from emotions import DEFAULT_MODEL, cli, colors, predict, runner
from emotions.data import synthetic
from emotions.data.images import decode
from emotions.models import resize
from emotions.predict import classifier as classifiers
from emotions.predict import faces, inputs

COLOURS = {"blue": (0, 0, 200), "green": (0, 200, 0), "red": (200, 0, 0)}


def colour_model(size=None):
    image = keras.Input((size, size, 3))
    x = image if size else resize(32)(image)
    x = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 50)(x))
    outputs = layers.Dense(3, activation="softmax")
    model = keras.Model(image, outputs(x))
    outputs.set_weights([np.eye(3)[::-1], np.zeros(3)])
    return model


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("home") / "models" / "colours-test.keras"
    save_model(colour_model(), path, {"class_names": list(COLOURS)})
    return path


@pytest.fixture(scope="module")
def classifier(file):
    return predict.load(file)


def patch(colour, height=48, width=48):
    return np.full((height, width, 3), COLOURS.get(colour, colour), np.uint8)


def write(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return path


def encoded(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


# What goes in


def test_every_form_of_an_image_gives_the_same_answer_and_colours_are_rgb(classifier, tmp_path):
    image = patch("red")
    path = write(tmp_path / "a.png", image)
    pillow = Image.fromarray(image)
    forms = [path, str(path), path.open("rb"), io.BytesIO(encoded(image)), encoded(image), pillow,
             pillow.convert("CMYK"), image, [image], image[None], image.astype(np.float32), image.astype(np.int64),
             keras.ops.convert_to_tensor(image)]  # fmt: skip
    for form in forms:
        table = classifier.predict(form)
        assert list(table["emotion"]) == ["red"] and table["error"].isna().all()
        assert table["red"][0] == pytest.approx(np.exp(4) / (np.exp(4) + 2), abs=1e-3)


def test_a_threshold_that_is_no_confidence_is_refused(classifier):
    with pytest.raises(ValueError, match="unsure_below is 95; a confidence lies between 0 and 1"):
        classifier.predict(patch("red"), unsure_below=95)


def test_the_table_has_one_column_per_class_that_sum_to_one(classifier):
    table = classifier.predict(patch("green", 40, 50))
    assert list(table) == ["image", "x", "y", "width", "height", "detected", "emotion", "confidence",
                           "blue", "green", "red", "note", "error"]  # fmt: skip
    assert table[list(COLOURS)].sum(axis=1)[0] == pytest.approx(1)
    assert table["confidence"][0] == table["green"][0]
    assert table.loc[0, ["x", "y", "width", "height", "detected"]].tolist() == [0, 0, 50, 40, False]
    assert classifier.predict([]).empty


def test_grey_arrays_stand_for_three_equal_channels(classifier):
    for grey in (np.full((48, 48), 90, np.uint8), np.full((48, 48, 1), 90, np.uint8)):
        assert classifier.predict(grey).loc[0, list(COLOURS)].tolist() == pytest.approx([1 / 3] * 3, abs=1e-3)


def test_probabilities_are_the_models_own_at_any_size(tmp_path):
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 5, strides=4, activation="relu")(layers.Rescaling(1 / 255)(resize(32)(image)))
    model = keras.Model(image, layers.Dense(3, activation="softmax")(layers.Flatten()(x)))
    model.save(tmp_path / "a.keras")
    classifier = predict.load(tmp_path / "a.keras", ["angry", "happy", "sad"])
    for size in (24, 32, 64):
        images = synthetic.render([3, 0, 5], size=size)
        expected = keras.ops.convert_to_numpy(model(images.astype("float32"), training=False))
        assert np.ptp(expected[:, 0]) > 0.01, "the images differ to the model"
        assert np.abs(classifier.predict(images)[["angry", "happy", "sad"]] - expected).to_numpy().max() < 0.01


def test_faces_are_resized_as_the_models_do_inside(classifier):
    image = np.random.default_rng(0).integers(0, 256, (150, 150, 3)).astype(np.uint8)
    inside = keras.ops.convert_to_numpy(resize(32)(image[None].astype("float32")))[0]
    assert np.abs(classifier.resize(image) - inside).max() < 2


def test_folders_keep_their_order_over_many_batches_read_one_at_a_time(classifier, tmp_path, monkeypatch):
    names = [list(COLOURS)[i % 3] for i in range(2 * classifiers.BATCH + 5)]
    for i, name in enumerate(names):
        write(tmp_path / f"{i // 50}" / f"{i:03d}.png", patch(name, 10 + i % 40, 12))
    read, original = [], inputs.read
    monkeypatch.setattr(inputs, "read", lambda source: read.append(1) or original(source))
    stream = classifier.rows(inputs.single_images(tmp_path), (), faces=True, unsure_below=0.0)
    rows = next(stream)
    assert len(read) == classifiers.BATCH
    table = classifier.table(rows + [row for more in stream for row in more])
    assert list(table["emotion"]) == names and table["image"][60] == str(tmp_path / "1" / "060.png")
    alone = classifier.predict(table["image"][60])
    assert table.loc[60, list(COLOURS)].tolist() == pytest.approx(alone.loc[0, list(COLOURS)].tolist(), abs=1e-5)


def test_every_file_of_a_folder_is_used_or_has_a_row_that_says_why(classifier, tmp_path):
    good = write(tmp_path / "images" / "a.png", patch("red"))
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3)).astype(np.uint8)
    cut = write(good.parent / "b.jpg", noise)
    cut.write_bytes(cut.read_bytes()[:1500])
    heic = b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + bytes(100)
    (good.parent / "c.heic").write_bytes(heic)
    (good.parent / "d.jpg").write_bytes(heic)
    (good.parent / "e.txt").write_text("a note")
    write(good.parent / ".ipynb_checkpoints" / "a-checkpoint.png", patch("red"))
    (good.parent / ".DS_Store").write_text("hidden")
    (tmp_path / "empty").mkdir()
    table = classifier.predict([good.parent, tmp_path / "missing.jpg", tmp_path / "empty", good])
    assert list(table["emotion"].fillna("-")) == ["red", "-", "-", "-", "-", "-", "-", "red"]
    reasons = ["b.jpg cannot be read as an image: it is cut off", "c.heic cannot be read as an image",
               "d.jpg cannot be read as an image", "e.txt .*: it is not an image", "There is no file",
               "There are no files in the folder"]  # fmt: skip
    for row, reason in enumerate(reasons, start=1):
        assert re.search(reason, table["error"][row]) and table["image"][row] in table["error"][row]
    for name, error in (("images/b.jpg", ValueError), ("missing.jpg", FileNotFoundError), ("empty", ValueError)):
        with pytest.raises(error):
            classifier.predict(tmp_path / name)


@pytest.mark.skipif(".avif" not in Image.registered_extensions(), reason="this Pillow reads no AVIF")
def test_avif_files_are_read(classifier, tmp_path):
    write(tmp_path / "a.avif", patch("blue"))
    assert list(classifier.predict(tmp_path)["emotion"]) == ["blue"]


def test_lists_name_images_by_position_or_file(classifier, tmp_path):
    path = write(tmp_path / "a.png", patch("blue"))
    table = classifier.predict([patch("red"), path, np.stack([patch("green"), patch("red")])])
    assert list(table["image"]) == ["0", str(path), "2/0", "2/1"]
    assert list(table["emotion"]) == ["red", "blue", "green", "red"]


def test_a_black_image_is_one(classifier):
    assert classifier.predict(np.zeros((48, 48, 3), np.uint8))["error"].isna().all()


@pytest.mark.parametrize("wrong, words", [
    (patch("red") / 255, "range from 0 to 0.784314; models take 0 to 255"),
    (np.zeros((48, 48, 3)), "range from 0 to 0"),
    (np.ones((48, 48), bool), "An array of bool"),
    (np.full((48, 48, 3), np.nan), "range from nan"),
    (patch("red").astype(int) - 1, "range from -1 to 199"),
    (patch("red").astype(int) * 2, "range from 0 to 400"),
    (np.full((48, 48, 4), 9), r"shape \(48, 48, 4\) is not an image"),
    (np.full((3, 48, 48), 9), r"shape \(3, 48, 48\)"),
    (np.zeros((0, 48, 48, 3)), r"shape \(0, 48, 48, 3\)"),
    (np.full((4, 4, 3), "a"), "array of <U1"),
    (7, "An object of type int is not an image"),
    (b"not an image", "The input cannot be read as an image: it is not an image"),
])  # fmt: skip
def test_wrong_values_are_refused_with_the_reason_and_the_rest_of_a_list_goes_on(classifier, wrong, words):
    with pytest.raises(ValueError, match=words):
        classifier.predict(wrong)
    table = classifier.predict([patch("red"), wrong, patch("green")])
    assert list(table["emotion"].fillna("-")) == ["red", "-", "green"]
    assert re.search(words, table["error"][1])


def test_transparent_pixels_are_white_in_files_and_pillow_images(tmp_path):
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 200, 0, 0])
    palette.save(file := tmp_path / "a.png", transparency=1)
    for source in (file, Image.open(file)):
        assert (inputs.read(source)[0] == 255).all()


def test_our_own_faults_are_not_reported_as_faults_of_the_images(classifier, monkeypatch):
    def broken(image):
        raise KeyError("bug")

    monkeypatch.setattr(predict.classifier, "find_faces", broken)
    with pytest.raises(KeyError, match="bug"):
        classifier.predict([patch("red", 200, 200)])


def test_large_images_are_upright_reduced_and_measured_as_given(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "LARGEST", 200)
    turned = Image.Exif()
    turned[0x0112] = 6
    for name in ("a.jpg", "a.png"):
        path = write(tmp_path / name, patch("green", 300, 600), exif=turned)
        for huge in (inputs.HUGE, 100_000):
            monkeypatch.setattr(inputs, "HUGE", huge)
            given = Image.open(path)
            for form in (path, given, np.asarray(given).transpose(1, 0, 2)):
                assert [inputs.read(source)[0].shape for _, source in inputs.single_images(form)] == [(200, 100, 3)]
                table = classifier.predict(form, faces=False)
                assert table.loc[0, ["width", "height", "emotion"]].tolist() == [300, 600, "green"]
            assert given.size == (600, 300), "what was given stays as it was"


def test_bombs_are_refused_and_images_of_half_their_size_read_without_a_warning(classifier, tmp_path, monkeypatch):
    path = write(tmp_path / "a.png", patch("green", 100, 100))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(classifier.predict(path, faces=False)) == 1
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4_000)
    with pytest.raises(ValueError, match=r"a\.png cannot be read .*: it has \d+ megapixels; at most \d+ are read"):
        classifier.predict(path)
    assert not any(entry[2] is Image.DecompressionBombWarning for entry in warnings.filters)


# Faces


@pytest.fixture
def with_boxes(classifier, monkeypatch):
    """A classifier whose detector finds what it is told."""

    def told(*boxes):
        monkeypatch.setattr(predict.classifier, "find_faces", lambda image: [faces.Face(*box) for box in boxes])
        return classifier

    return told


def test_several_faces_come_from_left_to_right_each_from_its_own_place(with_boxes):
    image = patch((128, 128, 128), 300, 600)
    image[50:150, 50:150] = COLOURS["green"]
    image[100:200, 400:500] = COLOURS["blue"]
    table = with_boxes((410, 110, 80, 80), (60, 60, 80, 80)).predict(image)
    assert list(table["emotion"]) == ["green", "blue"] and table["detected"].all()
    assert table[["x", "y", "width", "height"]].to_numpy().tolist() == [[60, 60, 80, 80], [410, 110, 80, 80]]
    larger = with_boxes((100, 200, 50, 50)).predict(patch("red", 2400, 3200))  # seen at half its size
    assert larger.loc[0, ["x", "y", "width", "height"]].tolist() == [200, 400, 100, 100]


def test_a_photo_without_a_face_has_a_row_that_says_so(with_boxes):
    nobody = with_boxes()
    table = nobody.predict([patch("red", 200, 200), patch("red", 48, 48)])
    assert "No face was detected in 0" in table["error"][0]
    assert table["emotion"][1] == "red" and not table["detected"][1]  # small enough to be a cropped face
    assert nobody.predict(patch("red", 200, 200), faces=False)["emotion"][0] == "red"
    assert "No face" in nobody.predict(patch("red", 200, 200))["error"][0]


def test_drawn_faces_are_detected_where_they_are():
    drawn = synthetic.render(np.arange(7), size=256, difficulty=0)
    photo = np.full((500, 2400, 3), 120, np.uint8)
    for i, face in enumerate(drawn):
        photo[120:376, 340 * i + 20 : 340 * i + 276] = face
    boxes = faces.find_faces(photo)
    places = {(face.x + face.width // 2 - 20) // 340 for face in boxes}
    assert len(places) >= 5 and len(boxes) == len(places)
    assert all(100 < face.width < 256 and 200 < face.y + face.height // 2 < 300 for face in boxes)
    assert faces.find_faces(patch((120, 120, 120), 400, 400)) == []


@pytest.fixture(scope="module")
def portrait():
    from skimage import data

    return data.astronaut()


def turned(image, degrees):
    side = image.shape[0]
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), degrees, 1)
    return cv2.warpAffine(image, turn, (side, side), borderMode=cv2.BORDER_REPLICATE)


@pytest.mark.parametrize("degrees", [0, 25, -40])
def test_a_tilted_face_is_found_and_levelled(portrait, degrees):
    (face,) = faces.find_faces(turned(portrait, degrees))
    assert abs(face.tilt + degrees) < 10
    (level,) = faces.find_faces(portrait)
    upright, levelled = (cv2.resize(faces.crop(image, one), (48, 48)).ravel()
                         for image, one in ((portrait, level), (turned(portrait, degrees), face)))
    assert np.corrcoef(upright, levelled)[0, 1] > 0.85


def test_a_strongly_tilted_blurred_face_is_found_by_turning_the_image(portrait):
    x, y, side = 150, 40, 150
    blurred = cv2.resize(cv2.resize(portrait[y : y + side, x : x + side], (16, 16), interpolation=cv2.INTER_AREA),
                         (200, 200), interpolation=cv2.INTER_CUBIC)  # fmt: skip
    image = turned(np.pad(blurred, ((150, 150), (150, 150), (0, 0)), "edge"), 45)
    assert faces.find_faces(image, turns=(0,)) == []
    (face,) = faces.find_faces(image)
    assert abs(face.tilt + 45) < 10 and abs(face.x + face.width / 2 - 250) < 40 > abs(face.y + face.width / 2 - 250)


def test_grass_has_no_faces():
    from skimage import data

    assert faces.find_faces(np.dstack([data.grass()] * 3)) == []


def test_dark_and_small_faces_are_found(portrait):
    dark = (0.15 * portrait).astype(np.uint8)
    assert len(faces.find_faces(dark)) == 1
    crowd = np.full((2048, 2048, 3), 110, np.uint8)
    small = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)
    for x, y in ((100, 100), (900, 300), (1500, 1400)):
        crowd[y : y + 256, x : x + 256] = small
    assert len(faces.find_faces(crowd)) == 3


def test_a_buckle_beside_a_face_is_not_taken_for_one(portrait):
    """In this JPEG, MTCNN gives a part of the suit a score of 0.91."""
    stream = io.BytesIO()
    Image.fromarray(portrait).save(stream, "JPEG", quality=75)
    assert len(faces.find_faces(np.asarray(Image.open(stream)))) == 1


def test_a_small_photo_of_a_person_is_not_taken_for_a_face(classifier, portrait):
    small = cv2.resize(portrait, (72, 72), interpolation=cv2.INTER_AREA)
    table = classifier.predict(small)
    assert table["detected"][0] and table["width"][0] < 36


def test_crops_are_square_and_repeat_the_edge():
    image = (np.arange(100 * 120 * 3).reshape(100, 120, 3) % 251).astype(np.uint8)
    assert np.array_equal(faces.crop(image, faces.Face(38, 28, 24, 24)), image[28:52, 38:62])
    corner = faces.crop(image, faces.Face(-10, -10, 40, 40))
    assert corner.shape == (40, 40, 3) and np.array_equal(corner[10:, 10:], image[:30, :30])
    assert (corner[:10, :10] == image[0, 0]).all()


def test_annotated_copies_show_boxes_and_leave_the_image_alone(with_boxes):
    image = patch("green", 400, 500)
    one = with_boxes((100, 150, 200, 200))
    copy = predict.annotate(image, one.predict(image))
    assert copy.shape == image.shape and (image == COLOURS["green"]).all()
    other = ImageColor.getrgb(colors.OTHER)  # green is not an emotion
    assert (copy[250, 100] == other).all() and (copy[150:350, 299] == other).all()
    assert (copy[200:300, 150:250] == COLOURS["green"]).all()
    assert (copy[:120] == COLOURS["green"]).all() and (copy[120:148, 100:200, 0] > 150).any()  # text above the box
    happy = one.predict(image).assign(emotion="happy")
    assert (predict.annotate(image, happy)[250, 100] == ImageColor.getrgb(colors.EMOTION_COLORS["happy"])).all()
    small, large = patch("red"), patch("red", 2400, 3200)
    assert predict.annotate(small, one.predict(small)).shape == (336, 336, 3)
    copy = predict.annotate(large, one.predict(large))
    assert copy.shape == (1200, 1600, 3) and (copy[250, 100] == other).all()
    assert np.array_equal(predict.annotate(image, with_boxes().predict(image)), image)


@pytest.mark.parametrize("name", ["photo.heic", "photo.jpg", "photo.avif"])
def test_photos_of_phones_are_read_under_any_name(classifier, tmp_path, name):
    if name.endswith("avif"):
        if not PIL.features.check("avif"):
            pytest.skip("this Pillow reads no AVIF")
        write(tmp_path / name, patch("red", 120, 120))
    else:
        heif = pytest.importorskip("pillow_heif")
        heif.from_pillow(Image.fromarray(patch("red", 120, 120))).save(tmp_path / "a.heic")
        (tmp_path / "a.heic").rename(tmp_path / name)
    assert classifier.predict(tmp_path / name, faces=False)["emotion"][0] == "red"


@pytest.mark.parametrize("form", ["GIF", "WEBP"])
def test_of_an_animation_the_first_frame_is_used_and_the_row_says_so(classifier, tmp_path, form, capsys):
    red, blue = (Image.fromarray(patch(name, 48, 48)) for name in ("red", "blue"))
    file = tmp_path / f"a.{form.lower()}"
    red.save(file, form, save_all=True, append_images=[blue, red])
    table = classifier.predict([file, patch("red")])
    assert list(table["emotion"]) == ["red", "red"]
    assert list(table["note"].fillna("-")) == ["the first of 3 frames", "-"]
    assert cli.main(["predict", str(file)]) == 0
    assert f"{file}: the first of 3 frames" in capsys.readouterr().err


def test_a_video_among_images_gets_a_row_that_says_how_to_use_it(classifier, tmp_path):
    write(tmp_path / "a.png", patch("red"))
    (tmp_path / "b.MOV").write_bytes(b"\0\0\0\x14ftypqt  " + bytes(100))
    table = classifier.predict(tmp_path)
    assert list(table["emotion"].fillna("-")) == ["red", "-"]
    assert "it is a video, to be given by itself" in table["error"][1]


def test_a_format_that_is_not_read_names_the_package(tmp_path):
    for brand, package in {b"heic": "pillow-heif", b"avif": "pillow>=11.3"}.items():
        (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x24ftyp" + brand + bytes(100))
        assert package in inputs._unknown(tmp_path / "a.jpg")


# Probabilities


def test_the_cards_temperature_calibrates_the_probabilities(classifier):
    warm = predict.Classifier(classifier.model, classifier.class_names, card={"temperature": 2.0})
    assert warm.predict(patch("red"))["red"][0] == pytest.approx(np.exp(2) / (np.exp(2) + 2), abs=1e-3)


def test_low_confidence_is_unsure(classifier):
    images = np.stack([patch("red"), patch((90, 90, 100))])
    assert list(classifier.predict(images, unsure_below=0.5)["emotion"]) == ["red", "unsure"]
    assert list(classifier.predict(images)["emotion"]) == ["red", "blue"]


# Models


def test_the_default_is_a_model_of_the_repository():
    assert predict.find().stem == predict.find("").stem == DEFAULT_MODEL


def test_a_models_name_may_have_a_dot(tmp_path, monkeypatch):
    (file := tmp_path / "models" / "champion-mine.v2.keras").parent.mkdir()
    file.touch()
    monkeypatch.setenv("EMOTIONS_HOME", str(tmp_path))
    assert predict.find("champion-mine.v2") == file
    with pytest.raises(FileNotFoundError, match=r"There is no file theirs\.h5\.$"):
        predict.find("theirs.h5")


def test_models_are_found_by_name_in_the_current_directory_and_in_emotions_home(file, monkeypatch):
    home = file.parents[1]
    for enter in (lambda: monkeypatch.chdir(home), lambda: monkeypatch.setenv("EMOTIONS_HOME", str(home))):
        with monkeypatch.context() as monkeypatch:
            enter()
            for name in ("colours-test", "colours-test.keras"):
                assert predict.find(name).samefile(file)
            with pytest.raises(FileNotFoundError, match=r'no model "colour-test"; did you mean "colours-test"\? There'):
                predict.load("colour-test")
            with pytest.raises(FileNotFoundError, match=r'There is no model "nosuch"\. There are .*colours-test'):
                predict.load("nosuch")
            with pytest.raises(FileNotFoundError, match=r"no file no\.keras, and no model of that name in models/\."):
                predict.load("no.keras")
    with pytest.raises(FileNotFoundError, match='There is no model "colours-test"'):
        predict.load("colours-test")


@pytest.mark.parametrize("name", ["missing.h5", "some/where/missing.keras"])
def test_a_missing_model_file_is_an_error(name):
    with pytest.raises(FileNotFoundError, match=f"There is no file {name}"):
        predict.load(name)


@pytest.mark.parametrize("name", ["a.keras", "a.h5", "a.txt"])
def test_a_file_that_is_not_a_model_is_an_error(tmp_path, name):
    (tmp_path / name).write_bytes(b"not a model")
    with pytest.raises(ValueError, match=rf"{name} is not a model that Keras can load: (?!File not found)\S"):
        predict.load(tmp_path / name)


@pytest.mark.parametrize("name", ["a.keras", "a.h5"])
def test_files_without_class_names_need_them(tmp_path, name):
    colour_model(size=20).save(tmp_path / name)
    with pytest.raises(ValueError, match=r"class names of .* are unknown: give them"):
        predict.load(tmp_path / name)
    with pytest.raises(ValueError, match="a model of 2 classes goes from"):
        predict.load(tmp_path / name, ["blue", "red"])
    classifier = predict.load(tmp_path / name, ["sad", "fear", "angry"])
    assert classifier.size == (20, 20)
    assert classifier.predict(patch("red"))["emotion"][0] == "angry"


@pytest.mark.parametrize("name", ["x", "error", "unsure"])
def test_a_class_named_like_a_column_of_the_answers_is_an_error(tmp_path, name):
    colour_model(size=20).save(tmp_path / "a.keras")
    with pytest.raises(ValueError, match=f'has a class "{name}"'):
        predict.load(tmp_path / "a.keras", ["sad", name, "angry"])


@pytest.mark.parametrize("path", ["", "https://example.com/a.jpg"])
def test_an_empty_path_and_an_address_are_no_files(classifier, path):
    with pytest.raises(ValueError, match="is no file or folder of this machine"):
        classifier.predict(path)


def test_class_names_that_contradict_the_file_are_an_error(file):
    assert predict.load(file, ["blue", "green", "red"]).class_names == ("blue", "green", "red")
    with pytest.raises(ValueError, match="are blue, green, red, not red, green, blue"):
        predict.load(file, ["red", "green", "blue"])


def test_a_model_with_one_channel_gets_grey_images(tmp_path):
    model = keras.Sequential([keras.Input((48, 48, 1)), layers.GlobalAveragePooling2D(), layers.Dense(2, "softmax")])
    model.set_weights([np.array([[-1.0, 1.0]]), np.array([100.0, -100.0])])  # bright above 100
    model.save(tmp_path / "grey.keras")
    classifier = predict.load(tmp_path / "grey.keras", ["dark", "bright"])
    images = [patch("blue"), patch("green", 60, 60), np.full((50, 40), 20, np.uint8), np.full((50, 40), 220, np.uint8)]
    assert list(classifier.predict(images)["emotion"]) == ["dark", "bright", "dark", "bright"]  # blue is dark


def test_the_size_is_that_of_the_resizing_inside(classifier):
    assert classifier.size == (32, 32)
    image = keras.Input((None, None, 3))
    x = layers.Resizing(24, 20)(image)
    resizing = keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    assert predict.Classifier(resizing, tuple(COLOURS)).size == (24, 20)
    free = keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(image)))
    with pytest.raises(ValueError, match="does not resize its images"):
        predict.Classifier(free, tuple(COLOURS))


def test_predictions_need_nothing_that_training_needs_and_any_backend(file, tmp_path):
    image = write(tmp_path / "a.png", patch("red"))
    backend = "jax" if find_spec("jax") else keras.backend.backend()
    absent = ["sklearn", "matplotlib", "seaborn", "kagglehub", *(["tensorflow"] if backend == "jax" else [])]
    code = f"""
import sys
class Absent:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent)
from emotions import predict
print(predict.load({str(file)!r}).predict({str(image)!r})["red"][0])
print(*sorted({{name.split(".")[1] for name in sys.modules if name.startswith("emotions.")}}))
"""
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(Path(predict.__file__).parents[2])}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    probability, ours = result.stdout.splitlines()
    assert float(probability) == pytest.approx(np.exp(4) / (np.exp(4) + 2), abs=1e-3)
    assert not {"training", "plots", "evaluation"} & set(ours.split())


# Camera


class Camera:
    def __init__(self, image):
        self.image = image

    def read(self):
        return self.image is not None, self.image

    def release(self):
        pass


@pytest.fixture
def names():
    """What notebook 14 has written out when it comes to the camera."""
    cells = [source for _, source in runner.code_cells(*runner.find(["14"]))]
    take, use = (next(cell for cell in cells if words in cell) for words in ("def take_photo", "own = IMAGE or"))
    exec(take, names := {"IMAGE": "", "CAMERA": True})
    return names | {"use": lambda: exec(use, names)}


def test_the_cameras_image_is_rgb_and_without_a_camera_a_sentence_says_what_to_do(names, monkeypatch, capsys):
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: Camera(np.full((4, 6, 3), (200, 0, 0), np.uint8)))
    image = names["take_photo"]()
    assert image.shape == (4, 6, 3) and (image == COLOURS["blue"]).all()
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: Camera(None))
    names["use"]()
    assert "If no image came from a camera" in capsys.readouterr().out


def test_the_browsers_image_is_decoded_and_its_refusal_told(names, monkeypatch, capsys):
    url = "data:image/png;base64," + base64.b64encode(encoded(patch("blue"))).decode()
    output = SimpleNamespace(eval_js=lambda program: url)
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace(output=output))
    assert (decode(names["take_photo"]()) == patch("blue")).all()

    def refuse(program):
        raise RuntimeError("NotAllowedError: Permission denied")

    output.eval_js = refuse
    assert names["take_photo"]() is None
    assert "Permission denied" in capsys.readouterr().out


# Command line


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "photos" / "a.png", patch("red"))
    write(tmp_path / "photos" / "more" / "a.png", patch("blue"))
    return tmp_path / "photos"


def test_command_line_prints_a_table(file, photos, capsys):
    assert cli.main(["predict", "photos", "--model", str(file)]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[:6] for line in out.splitlines()[1:]] == [
        ["photos/a.png", "0", "0", "48", "48", "red"],
        ["photos/more/a.png", "0", "0", "48", "48", "blue"],
    ]
    assert len({len(line) for line in out.splitlines()}) == 1 and err == ""


def test_command_line_prints_json_and_says_what_failed(file, photos, capsys):
    Path("photos/b.png").write_text("not an image")
    assert cli.main(["predict", "photos", "missing.png", "--model", str(file), "--json"]) == 1
    out, err = capsys.readouterr()
    rows = json.loads(out)
    assert [(row["image"], row["emotion"]) for row in rows] == [
        ("photos/a.png", "red"), ("photos/b.png", None), ("photos/more/a.png", "blue"), ("missing.png", None)
    ]  # fmt: skip
    assert err.splitlines() == [f"emotions: {row['error']}" for row in rows if row["error"]]
    assert rows[0]["error"] is None and rows[3]["error"] == "There is no file missing.png."


def test_command_line_writes_annotated_copies_and_never_over_the_images(file, photos, capsys):
    for folder in ("copies", "photos"):
        assert cli.main(["predict", "photos", "--model", str(file), "--annotate", folder]) == 0
        copies = [f"{folder}/a.png.annotated.jpg", f"{folder}/more/a.png.annotated.jpg"]
        assert sorted(map(str, Path(folder).rglob("*.jpg"))) == copies
        assert Image.open(copies[1]).size == (336, 336)
    assert cli.main(["predict", "photos", "--model", str(file), "--annotate", "photos"]) == 0  # no copies of copies
    assert "Copies of 2 images are in photos" in capsys.readouterr().out
    table = predict.load(file).predict("photos")  # nor does anything else that reads the folder
    assert table["image"].tolist() == ["photos/a.png", "photos/more/a.png"]
    assert Image.open("photos/a.png").size == (48, 48)


def test_command_line_detects_faces_unless_told_not_to(file, photos, capsys):
    write(photos / "large.png", patch("green", 200, 200))
    assert cli.main(["predict", "photos/large.png", "--model", str(file)]) == 1
    assert "emotions: No face was detected in photos/large.png" in capsys.readouterr().err
    options = ["--model", str(file), "--no-faces", "--unsure-below", "0.99"]
    assert cli.main(["predict", "photos/large.png", *options]) == 0
    assert "unsure" in capsys.readouterr().out


def test_command_line_misused_is_status_2(photos, capsys):
    assert cli.main(["predict", "photos", "--model", "photos/a.png"]) == 2
    assert "emotions: photos/a.png is not a model that Keras can load" in capsys.readouterr().err
    colour_model().save("foreign.keras")
    assert cli.main(["predict", "photos/a.png", "--model", "foreign.keras"]) == 2
    assert cli.main(["predict", "photos/a.png", "--model", "foreign.keras", "--classes", "calm,cross,glad"]) == 0
    assert cli.main(["predict"]) == 2
