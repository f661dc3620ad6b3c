"""Use of a saved model: what comes in, which faces are found, what is told of them, and what is said of bad input.

The model of most tests knows colours, so that every answer is known: its classes are blue, green and red.
"""

import io
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from emotions import cli, runs
from emotions.data import synthetic
from emotions.models import registry as models
from emotions import colors as palette
from emotions.predict import classifier as inference

COLOURS = {"blue": (0, 0, 200), "green": (0, 200, 0), "red": (200, 0, 0)}


def colour_model(size=32, fixed=None):
    inputs = keras.Input((fixed, fixed, 3))
    x = inputs if fixed else layers.Resizing(size, size, antialias=True)(inputs)
    x = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 50)(x))
    outputs = layers.Dense(3, activation="softmax", name="classes")
    model = keras.Model(inputs, outputs(x))
    outputs.set_weights([np.eye(3)[::-1], np.zeros(3)])
    return model


def save_colour_model(path, **card):
    models.save(colour_model(), path, {"class_names": list(COLOURS), **card})
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return save_colour_model(tmp_path_factory.mktemp("models") / "colours-test.keras")


@pytest.fixture(scope="module")
def classifier(file):
    return inference.load(file)


def patch(colour, height=48, width=48):
    return np.full((height, width, 3), COLOURS.get(colour, colour), np.uint8)


def write(path, picture, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, **options)
    return path


def encoded(picture):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


# What comes in


def test_every_form_of_a_picture_gives_the_same_answer_and_colours_are_rgb(classifier, tmp_path):
    picture = patch("red")
    path = write(tmp_path / "a.png", picture)
    pillow = Image.fromarray(picture)
    forms = [path, str(path), encoded(picture), pillow, pillow.convert("CMYK"), picture, [picture], picture[None],
             picture.astype(np.float32), picture.astype(np.int64), keras.ops.convert_to_tensor(picture)]
    for form in forms:
        table = classifier.predict(form)
        assert list(table["emotion"]) == ["red"] and table["error"].isna().all()
        assert table["red"][0] == pytest.approx(np.exp(4) / (np.exp(4) + 2), abs=1e-3)


def test_the_table_has_one_column_per_class_that_sum_to_one(classifier):
    table = classifier.predict(patch("green", 40, 50))
    assert list(table) == ["picture", "x", "y", "width", "height", "detected", "emotion", "confidence",
                           "blue", "green", "red", "error"]
    assert table[list(COLOURS)].sum(axis=1)[0] == pytest.approx(1)
    assert table["confidence"][0] == table["green"][0]
    assert table.loc[0, ["x", "y", "width", "height", "detected"]].tolist() == [0, 0, 50, 40, False]
    assert classifier.predict([]).empty


def test_grey_arrays_stand_for_three_equal_channels(classifier):
    for grey in (np.full((48, 48), 90, np.uint8), np.full((48, 48, 1), 90, np.uint8)):
        assert classifier.predict(grey).loc[0, list(COLOURS)].tolist() == pytest.approx([1 / 3] * 3, abs=1e-3)


def test_probabilities_are_the_models_own_at_any_size(tmp_path):
    keras.utils.set_random_seed(0)
    model = models.build("lenet", 3, size=32)
    models.save(model, tmp_path / "a.keras", {"class_names": ["angry", "happy", "sad"]})
    classifier = inference.load(tmp_path / "a.keras")
    for size in (24, 32, 64):
        pictures = synthetic.render([3, 0, 5], size=size)
        expected = keras.ops.convert_to_numpy(model(pictures.astype("float32"), training=False))
        found = classifier.predict(pictures)[["angry", "happy", "sad"]]
        assert np.abs(found - expected).to_numpy().max() < 0.01


def test_folders_keep_their_order_over_many_batches_and_neighbours_do_not_matter(classifier, tmp_path):
    names = [list(COLOURS)[i % 3] for i in range(2 * inference.BATCH + 5)]
    for i, name in enumerate(names):
        write(tmp_path / f"{i // 50}" / f"{i:03d}.png", patch(name, 30 + i % 40, 48))
    (tmp_path / "notes.txt").write_text("no picture")
    table = classifier.predict(tmp_path)
    assert list(table["emotion"]) == names
    assert table["picture"][60] == str(tmp_path / "1" / "060.png")
    alone = classifier.predict(table["picture"][60])
    assert table.loc[60, list(COLOURS)].tolist() == pytest.approx(alone.loc[0, list(COLOURS)].tolist(), abs=1e-5)


def test_a_folder_is_read_a_batch_at_a_time(classifier, tmp_path, monkeypatch):
    for i in range(inference.BATCH + 20):
        write(tmp_path / f"{i:03d}.png", patch("red", 4, 4))
    read, to_array = [], inference.to_array
    monkeypatch.setattr(inference, "to_array", lambda *given: read.append(1) or to_array(*given))
    stream = classifier.stream(tmp_path)
    next(stream)
    assert len(read) == inference.BATCH
    assert len(list(stream)) == inference.BATCH + 19


def test_lists_name_pictures_by_position_or_file(classifier, tmp_path):
    path = write(tmp_path / "a.png", patch("blue"))
    table = classifier.predict([patch("red"), path, np.stack([patch("green"), patch("red")])])
    assert list(table["picture"]) == ["0", str(path), "2/0", "2/1"]
    assert list(table["emotion"]) == ["red", "blue", "green", "red"]


def test_pictures_turned_by_exif_are_measured_upright(classifier, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = write(tmp_path / "a.jpg", patch("red", 40, 80), exif=exif)
    for form in (path, Image.open(path)):
        assert classifier.predict(form).loc[0, ["width", "height"]].tolist() == [40, 80]


# Bad input


@pytest.mark.parametrize("wrong, words", [
    (patch("red") / 255, "largest value is 0.784314; models take 0 to 255"),
    (np.zeros((48, 48, 3), np.uint8), "largest value is 0"),
    (np.ones((48, 48), bool), "largest value is 1"),
    (np.full((48, 48, 3), np.nan), "run from nan"),
    (patch("red").astype(int) - 1, "run from -1 to 199"),
    (patch("red").astype(int) * 2, "run from 0 to 400"),
    (np.full((48, 48, 4), 9), r"shape \(48, 48, 4\) is no picture"),
    (np.full((3, 48, 48), 9), r"shape \(3, 48, 48\)"),
    (np.zeros((0, 48, 48, 3)), r"shape \(0, 48, 48, 3\)"),
    (np.full((4, 4, 3), "a"), "array of <U1"),
    (7, "A int is no picture"),
    (b"no picture", "cannot be read as a picture: its format is unknown"),
])
def test_wrong_values_are_refused_with_the_reason_and_the_rest_of_a_list_goes_on(classifier, wrong, words):
    with pytest.raises(ValueError, match=words):
        classifier.predict(wrong)
    table = classifier.predict([patch("red"), wrong, patch("green")])
    assert list(table["emotion"].fillna("-")) == ["red", "-", "green"]
    assert re.search(words, table["error"][1])


def test_a_transparent_picture_is_the_same_as_a_file_and_as_a_pillow_picture(tmp_path):
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 200, 0, 0])
    palette.save(file := tmp_path / "a.png", transparency=1)
    from_file, opened = inference._read(file)[0], inference._read(Image.open(file))[0]
    assert (from_file == 255).all() and (opened == 255).all(), "the one colour is transparent"


def test_files_that_cannot_be_used_are_named_and_the_others_go_on(classifier, tmp_path):
    good = write(tmp_path / "pictures" / "a.png", patch("red"))
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3)).astype(np.uint8)
    cut = write(tmp_path / "pictures" / "b.jpg", noise)
    cut.write_bytes(cut.read_bytes()[:1500])
    (tmp_path / "pictures" / "c.png").write_text("no picture")
    (tmp_path / "empty").mkdir()
    table = classifier.predict([good.parent, tmp_path / "missing.jpg", tmp_path / "empty", good])
    assert list(table["emotion"].fillna("-")) == ["red", "-", "-", "-", "-", "red"]
    for row, words in {1: "b.jpg cannot be read as a picture: image file is truncated", 2: "c.png cannot be read",
                       3: "There is no file", 4: "no pictures in the folder"}.items():
        assert words in table["error"][row] and table["picture"][row] in table["error"][row]
    for name, error in (("pictures/b.jpg", ValueError), ("missing.jpg", FileNotFoundError), ("empty", ValueError)):
        with pytest.raises(error):
            classifier.predict(tmp_path / name)


def test_faults_of_ours_are_not_taken_for_faults_of_the_pictures(file):
    def broken(picture):
        raise KeyError("bug")

    loaded = inference.load(file)
    classifier = inference.Classifier(loaded.model, loaded.class_names, detector=broken)
    with pytest.raises(KeyError, match="bug"):
        classifier.predict([patch("red", 200, 200)])


def test_huge_pictures_are_made_small_first_and_bombs_refused(classifier, tmp_path, monkeypatch):
    turned = Image.Exif()
    turned[0x0112] = 6
    path = write(tmp_path / "a.jpg", patch("green", 2400, 4800), exif=turned)
    monkeypatch.setattr(inference, "HUGE", 1_000_000)
    sizes, to_array = [], inference.to_array
    monkeypatch.setattr(
        inference, "to_array", lambda picture, size: sizes.append(picture.size) or to_array(picture, size))
    given = Image.open(path)
    for form in (path, given):
        table = classifier.predict(form, faces=False)
        assert table.loc[0, ["width", "height", "emotion"]].tolist() == [2400, 4800, "green"]
    assert sizes == [(1600, 800)] * 2, "lying on its side, as in the file"
    assert given.size == (4800, 2400), "what was given stays as it was"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    with pytest.raises(ValueError, match=r"a\.jpg cannot be read as a picture: .*decompression bomb"):
        classifier.predict(path)


# Faces


def with_boxes(classifier, *boxes):
    return inference.Classifier(classifier.model, classifier.class_names, detector=lambda picture: list(boxes))


def test_several_faces_come_from_left_to_right_each_from_its_own_place(classifier):
    picture = patch((128, 128, 128), 300, 600)
    picture[50:150, 50:150] = COLOURS["green"]
    picture[100:200, 400:500] = COLOURS["blue"]
    table = with_boxes(classifier, (410, 110, 80, 80), (60, 60, 80, 80)).predict(picture)
    assert list(table["emotion"]) == ["green", "blue"] and table["detected"].all()
    assert table[["x", "y", "width", "height"]].to_numpy().tolist() == [[60, 60, 80, 80], [410, 110, 80, 80]]


def test_boxes_are_in_pixels_of_the_picture_as_given_however_large(classifier):
    table = with_boxes(classifier, (100, 200, 50, 50)).predict(patch("red", 2400, 3200))
    assert table.loc[0, ["x", "y", "width", "height"]].tolist() == [200, 400, 100, 100]


def test_a_photo_without_a_face_has_a_row_that_says_so(classifier):
    nobody = with_boxes(classifier)
    table = nobody.predict([patch("red", 200, 200), patch("red", 48, 48)])
    assert "No face was found in 0" in table["error"][0]
    assert table["emotion"][1] == "red" and not table["detected"][1]  # small enough to be a face already
    assert nobody.predict(patch("red", 200, 200), faces=False)["emotion"][0] == "red"
    assert "No face" in nobody.predict(patch("red", 200, 200))["error"][0]


def test_drawn_faces_are_found_where_they_are():
    faces = synthetic.render(np.arange(7), size=256, difficulty=0)
    photo = np.full((500, 2400, 3), 120, np.uint8)
    for i, face in enumerate(faces):
        photo[120:376, 340 * i + 20:340 * i + 276] = face
    boxes = inference.find_faces(photo)
    places = {(x + width // 2 - 20) // 340 for x, y, width, height in boxes}
    assert len(places) >= 5 and len(boxes) == len(places)
    assert all(100 < width < 256 and 200 < y + height // 2 < 300 for x, y, width, height in boxes)
    assert inference.find_faces(patch((120, 120, 120), 400, 400)) == []


def test_crops_are_square_with_a_margin_and_continue_the_edge():
    picture = np.arange(100 * 120 * 3).reshape(100, 120, 3) % 251
    assert np.array_equal(inference.crop(picture, (40, 30, 20, 20), margin=0.1), picture[28:52, 38:62])
    assert inference.crop(picture, (40, 30, 20, 40), margin=0).shape == (40, 40, 3)
    corner = inference.crop(picture, (-10, -10, 40, 40), margin=0)
    assert corner.shape == (40, 40, 3) and np.array_equal(corner[10:, 10:], picture[:30, :30])
    assert (corner[:10, :10] == picture[0, 0]).all()


def test_annotated_copies_show_boxes_and_leave_the_picture_alone(classifier):
    picture = patch("green", 400, 500)
    one = with_boxes(classifier, (100, 150, 200, 200))
    copy = inference.annotate(picture, one.predict(picture))
    assert copy.shape == picture.shape and (picture == COLOURS["green"]).all()
    other = palette.rgb("green")  # no emotion
    assert (copy[250, 100] == other).all() and (copy[150:350, 299] == other).all()
    assert (copy[200:300, 150:250] == COLOURS["green"]).all()
    assert (copy[:120] == COLOURS["green"]).all() and (copy[120:148, 100:200, 0] > 150).any()  # text above the box
    small = patch("red", 48, 48)
    assert inference.annotate(small, one.predict(small)).shape == (336, 336, 3)
    large = inference.annotate(patch("red", 2400, 3200), one.predict(patch("red", 2400, 3200)))
    assert large.shape == (1200, 1600, 3) and (large[250, 100] == palette.rgb("red")).all()
    empty = with_boxes(classifier)
    happy = one.predict(picture).assign(emotion="happy")
    assert (inference.annotate(picture, happy)[250, 100] == palette.rgb("happy")).all()
    assert np.array_equal(inference.annotate(picture, empty.predict(picture)), picture)


# Probabilities


def test_the_cards_temperature_calibrates_the_probabilities(classifier, tmp_path):
    warm = inference.load(save_colour_model(tmp_path / "warm.keras", temperature=2.0))
    assert warm.predict(patch("red"))["red"][0] == pytest.approx(np.exp(2) / (np.exp(2) + 2), abs=1e-3)
    assert classifier.predict(patch("red"))["red"][0] > 0.9


def test_low_confidence_is_unsure(classifier):
    pictures = np.stack([patch("red"), patch((90, 90, 100))])
    assert list(classifier.predict(pictures, unsure_below=0.5)["emotion"]) == ["red", "unsure"]
    assert list(classifier.predict(pictures)["emotion"]) == ["red", "blue"]


# Models


def test_the_default_is_a_model_of_the_repository():
    assert (runs.root() / "models" / f"{inference.DEFAULT}.keras").exists()


def test_models_are_found_by_name_in_the_current_directory_too(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    Path("models").mkdir(exist_ok=True)
    Path("models/colours-fer2013.keras").write_bytes(file.read_bytes())
    for name in ("colours-fer2013", "colours-fer2013.keras"):
        assert inference.load(name).class_names == ("blue", "green", "red")
    with pytest.raises(FileNotFoundError, match="no model named 'colour-fer2013'; did you mean 'colours-fer2013'"):
        inference.load("colour-fer2013")


@pytest.mark.parametrize("name", ["missing.h5", "some/where/missing.keras"])
def test_a_missing_model_file_is_an_error(name):
    with pytest.raises(FileNotFoundError, match=f"There is no file {name}"):
        inference.load(name)


@pytest.mark.parametrize("name", ["a.keras", "a.h5", "a.txt"])
def test_a_file_that_is_no_model_is_an_error(tmp_path, name):
    (tmp_path / name).write_bytes(b"no model")
    with pytest.raises(ValueError, match=rf"{name} is no model that Keras can load: (?!File not found)\S"):
        inference.load(tmp_path / name)


@pytest.mark.parametrize("name", ["a.keras", "a.h5"])
def test_files_without_class_names_need_them(tmp_path, name):
    colour_model(fixed=20).save(tmp_path / name)
    with pytest.raises(ValueError, match="class names are unknown: give them"):
        inference.load(tmp_path / name)
    with pytest.raises(ValueError, match="a model of 2 classes goes from"):
        inference.load(tmp_path / name, ["blue", "red"])
    classifier = inference.load(tmp_path / name, ["sad", "fear", "angry"])
    assert classifier.size == (20, 20)
    assert classifier.predict(patch("red"))["emotion"][0] == "angry"


def test_class_names_that_contradict_the_file_are_an_error(file):
    assert inference.load(file, ["blue", "green", "red"]).class_names == ("blue", "green", "red")
    with pytest.raises(ValueError, match="its classes are blue, green, red, not red, green, blue"):
        inference.load(file, ["red", "green", "blue"])


def test_the_size_is_that_of_the_largest_resizing_inside():
    inputs = keras.Input((None, None, 3))
    both = keras.Model(inputs, layers.average([colour_model(24)(inputs), colour_model(40)(inputs)]))
    assert inference.Classifier(both, tuple(COLOURS)).size == (40, 40)
    free = keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(inputs)))
    with pytest.raises(ValueError, match="resizes them nowhere"):
        inference.Classifier(free, tuple(COLOURS))


def test_use_needs_nothing_that_training_needs_and_any_backend(file, tmp_path):
    picture = write(tmp_path / "a.png", patch("red"))
    backend = "jax" if find_spec("jax") else keras.backend.backend()
    absent = ["sklearn", "matplotlib", "seaborn", "kagglehub", *(["tensorflow"] if backend == "jax" else [])]
    code = f"""
import sys
class Absent:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent)
from emotions.predict import classifier as inference
print(inference.load({str(file)!r}).predict({str(picture)!r})["red"][0])
print(*sorted(name for name in sys.modules if name.startswith("emotions.")))
"""
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(Path(inference.__file__).parents[1])}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    probability, ours = found.stdout.splitlines()
    assert float(probability) == pytest.approx(np.exp(4) / (np.exp(4) + 2), abs=1e-3)
    assert not {"emotions.training", "emotions.datasets", "emotions.plots", "emotions.evaluation"} & set(ours.split())


# Command line


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "photos" / "a.png", patch("red"))
    write(tmp_path / "photos" / "more" / "a.png", patch("blue"))
    return tmp_path


def test_command_line_prints_a_table(file, pictures, capsys):
    assert cli.main(["predict", "photos", "--model", str(file)]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[:6] for line in out.splitlines()[1:]] == [
        ["photos/a.png", "0", "0", "48", "48", "red"], ["photos/more/a.png", "0", "0", "48", "48", "blue"]]
    assert len({len(line) for line in out.splitlines()}) == 1 and err == ""


def test_command_line_prints_json_and_says_what_failed(file, pictures, capsys):
    Path("photos/b.png").write_text("no picture")
    assert cli.main(["predict", "photos", "missing.png", "--model", str(file), "--json"]) == 1
    out, err = capsys.readouterr()
    rows = json.loads(out)
    assert [(row["picture"], row["emotion"]) for row in rows] == [
        ("photos/a.png", "red"), ("photos/b.png", None), ("photos/more/a.png", "blue"), ("missing.png", None)]
    assert err.splitlines() == ["emotions: photos/b.png cannot be read as a picture: its format is unknown.",
                                "emotions: There is no file missing.png."]
    assert rows[0]["error"] is None and rows[3]["error"] == "There is no file missing.png."


def test_command_line_writes_annotated_copies_and_never_over_the_pictures(file, pictures, capsys):
    assert cli.main(["predict", "photos", "--model", str(file), "--annotate", "copies"]) == 0
    assert sorted(map(str, Path("copies").rglob("*.png"))) == ["copies/a.png", "copies/more/a.png"]
    assert Image.open("copies/more/a.png").size == (336, 336)
    assert cli.main(["predict", "photos", "--model", str(file), "--annotate", "photos"]) == 2
    assert "would replace it" in capsys.readouterr().err
    assert Image.open("photos/a.png").size == (48, 48)


def test_command_line_looks_for_faces_unless_told_not_to(file, pictures, capsys):
    write(pictures / "large.png", patch("green", 200, 200))
    assert cli.main(["predict", "large.png", "--model", str(file)]) == 1
    assert "emotions: No face was found in large.png" in capsys.readouterr().err
    assert cli.main(["predict", "large.png", "--model", str(file), "--no-faces", "--unsure-below", "0.99"]) == 0
    assert "unsure" in capsys.readouterr().out


def test_command_line_misused_is_status_2(pictures, capsys):
    assert cli.main(["predict", "photos", "--model", "photos/a.png"]) == 2
    assert "emotions: photos/a.png is no model that Keras can load" in capsys.readouterr().err
    colour_model().save("foreign.keras")
    assert cli.main(["predict", "photos/a.png", "--model", "foreign.keras"]) == 2
    assert cli.main(["predict", "photos/a.png", "--model", "foreign.keras", "--classes", "calm,cross,glad"]) == 0
    with pytest.raises(SystemExit) as stop:
        cli.main(["predict"])
    assert stop.value.code == 2
