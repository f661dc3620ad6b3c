"""A classifier on videos that the tests draw: rows match frames, faces keep their numbers, bad files get a sentence."""

import cv2
import numpy as np
import pytest
from skimage import data

from emotions import cli, predict
from emotions.predict.faces import Face
from emotions.predict.video import Tracks, frames


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Two seconds at 10 frames per second: a face moves to the right for 12 frames, and then nobody is there."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (640, 360))
    portrait = cv2.resize(data.astronaut(), (300, 300), interpolation=cv2.INTER_AREA)
    for number in range(20):
        frame = np.full((360, 640, 3), 110, np.uint8)
        if number < 12:
            frame[30:330, 20 + 10 * number : 320 + 10 * number] = portrait
        writer.write(frame[..., ::-1])
    writer.release()
    return path


@pytest.fixture(scope="module")
def classifier():
    return predict.load()


def test_rows_match_frames_and_a_moving_face_keeps_its_number(clip, classifier):
    table = predict.predict_video(classifier, clip)
    assert table["frame"].tolist() == list(range(20))
    assert table["seconds"].tolist() == pytest.approx([number / 10 for number in range(20)])
    seen = table[:12]
    assert set(seen["face"]) == {1} and seen["x"].is_monotonic_increasing
    np.testing.assert_allclose(seen[list(classifier.class_names)].sum(axis=1), 1, atol=1e-5)
    assert set(seen["smoothed"]) <= set(classifier.class_names)
    assert table[12:].drop(columns=["frame", "seconds"]).isna().all(axis=None)
    some = predict.predict_video(classifier, clip, every=3)
    assert some["frame"].tolist() == list(range(0, 20, 3))


def test_the_annotated_copy_has_all_frames_with_boxes(clip, classifier, tmp_path):
    predict.predict_video(classifier, clip, 3, tmp_path / "new" / "copy.mp4")
    before, after = ([frame for *_, frame in frames(file)] for file in (clip, tmp_path / "new" / "copy.mp4"))
    assert [frame.shape for frame in after] == [frame.shape for frame in before]
    changed = [np.abs(one.astype(int) - two).max() for one, two in zip(before, after, strict=True)]
    assert min(changed[:12]) > 100 and max(changed[12:]) < 60


@pytest.mark.parametrize(("content", "sentence"), [
    (b"", "the file is empty"), (b"no video at all" * 50, "it is no video"), (None, "There is no file")])  # fmt: skip
def test_a_bad_file_gets_one_sentence(classifier, tmp_path, capsys, content, sentence):
    if content is not None:
        (tmp_path / "a.mp4").write_bytes(content)
    assert cli.main(["predict", str(tmp_path / "a.mp4")]) == 1
    assert sentence in capsys.readouterr().err


def test_a_truncated_video_gets_one_sentence(clip, classifier, tmp_path):
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:3000])
    with pytest.raises(ValueError, match="is damaged"):
        predict.predict_video(classifier, tmp_path / "cut.mp4")


def test_numbers_follow_faces_and_smoothing_is_slow():
    tracks = Tracks()
    left, right = Face(0, 0, 50, 50), Face(200, 0, 50, 50)
    first = tracks.assign([left, right], 0.0)
    for number, face in zip(first, (left, right), strict=True):
        tracks.smooth(number, face, 0.0, np.array([1.0, 0.0]))
    assert tracks.assign([right._replace(x=190), left._replace(x=10)], 0.1) == first[::-1]
    assert tracks.assign([Face(600, 0, 50, 50)], 0.1) == [3]
    average = tracks.smooth(1, left, 0.1, np.array([0.0, 1.0]))
    assert 0.7 < average[0] < 1
    assert tracks.assign([left], 5.0) == [4]  # away for too long
