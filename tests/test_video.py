"""A classifier on videos that the tests draw: rows match frames, faces keep their numbers, bad files get a sentence."""

import json
import os
import re
import shutil
import sys
import wave
from types import SimpleNamespace
from unittest.mock import Mock

import cv2
import numpy as np
import pandas as pd
import pytest
from skimage import data

from emotions import cli, predict
from emotions.predict import video
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
    with pytest.raises(ValueError, match="every is 0"):
        predict.predict_video(classifier, clip, every=0)


def test_the_name_of_a_video_need_not_be_utf_8(clip, tmp_path, capsys):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.mp4")  # OpenCV ends the process over the text of such a name
    shutil.copy(clip, path)
    sys.stdout.reconfigure(errors="backslashreplace")  # as `python -m emotions` does
    for option in ([], ["--json"]):
        assert cli.main(["predict", path, str(clip), "--every", "10", *option]) == 0
    assert "clip.mp4:" in capsys.readouterr().out


class Uneven:
    """A video as a browser records it: no fixed rate, but the ticks of a clock; five frames in 0.4 seconds."""

    def __init__(self, file):
        self.number = -1

    def read(self):
        self.number += 1
        return self.number < 5, np.full((64, 64, 3), 110, np.uint8)

    def get(self, what):
        times = (0, 50, 100, 300, 400)
        return {cv2.CAP_PROP_FPS: 1000, cv2.CAP_PROP_FRAME_COUNT: 400,
                cv2.CAP_PROP_POS_MSEC: times[min(self.number, 4)]}.get(what, 0)  # fmt: skip

    def release(self):
        pass


def test_seconds_are_those_of_the_frames(classifier, tmp_path, monkeypatch, capsys):
    (tmp_path / "a.webm").write_bytes(b"x")
    with monkeypatch.context() as patched:
        patched.setattr(cv2, "VideoCapture", Uneven)
        table = predict.predict_video(classifier, tmp_path / "a.webm", annotated=tmp_path / "copy.mp4")
    assert table["seconds"].tolist() == pytest.approx([0, 0.05, 0.1, 0.3, 0.4])
    assert "truncated" not in capsys.readouterr().err
    assert [seconds for _, seconds, _ in frames(tmp_path / "copy.mp4")][-1] == pytest.approx(0.4)


def test_the_annotated_copy_has_all_frames_with_boxes(clip, classifier, tmp_path):
    predict.predict_video(classifier, clip, 3, tmp_path / "new" / "copy.mp4")
    before, after = ([frame for *_, frame in frames(file)] for file in (clip, tmp_path / "new" / "copy.mp4"))
    assert [frame.shape for frame in after] == [frame.shape for frame in before]
    changed = [np.abs(one.astype(int) - two).max() for one, two in zip(before, after, strict=True)]
    assert min(changed[:12]) > 100 and max(changed[12:]) < 60


def test_boxes_leave_the_rest_of_a_large_frame_as_it_is():
    frame = np.random.default_rng(0).integers(0, 255, (1080, 1920, 3), np.uint8)
    row = {"smoothed": "happy", "confidence": 0.9, "x": 900, "y": 500, "width": 100, "height": 100}
    copy = video.drawn(frame, [row])
    assert (copy[:400] == frame[:400]).all() and (copy[700:] == frame[700:]).all()
    assert (copy[500, 900:1000] != frame[500, 900:1000]).any(axis=1).all()


def test_the_annotated_copy_replaces_a_file_only_when_it_is_whole(clip, classifier, tmp_path, monkeypatch):
    (tmp_path / "copy.mp4").write_bytes(before := clip.read_bytes())
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(video, "drawn", Mock(side_effect=[np.zeros((360, 640, 3), np.uint8), KeyboardInterrupt]))
        predict.predict_video(classifier, clip, 3, tmp_path / "copy.mp4")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [before]
    predict.predict_video(classifier, tmp_path / "copy.mp4", 3, tmp_path / "copy.mp4")
    assert len(list(frames(tmp_path / "copy.mp4"))) == len(list(frames(clip)))
    assert [file.name for file in tmp_path.iterdir()] == ["copy.mp4"]
    assert (tmp_path / "copy.mp4").read_bytes() != before


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


def test_a_video_that_ends_early_is_used_as_far_as_it_goes_and_a_sentence_says_so(classifier, tmp_path, capfd):
    writer = cv2.VideoWriter(str(tmp_path / "cut.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (320, 240))
    for number in range(40):
        writer.write(np.full((240, 320, 3), 5 * number, np.uint8))
    writer.release()
    whole = (tmp_path / "cut.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    table = predict.predict_video(classifier, tmp_path / "cut.avi")
    out, err = capfd.readouterr()
    assert 5 < len(table) < 35 and out == ""
    assert re.fullmatch(rf".*cut\.avi ends after {len(table)} of 40 frames: it is truncated\.", err.splitlines()[-1])


def test_a_video_with_sound_alone_gets_one_sentence_without_native_messages(classifier, tmp_path, capfd):
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000))
    (tmp_path / "sound.wav").rename(tmp_path / "sound.mp4")
    for content in (None, b"", b"not a video" * 50):
        if content is not None:
            (tmp_path / "sound.mp4").write_bytes(content)
        capfd.readouterr()
        with pytest.raises(ValueError, match="has no frame that can be read"):
            predict.predict_video(classifier, tmp_path / "sound.mp4")
        assert capfd.readouterr().err == ""


def test_a_video_without_a_face_has_its_rows_and_a_sentence(clip, tmp_path, capsys):
    writer = cv2.VideoWriter(str(tmp_path / "wall.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (320, 240))
    for _ in range(3):
        writer.write(np.full((240, 320, 3), 120, np.uint8))
    writer.release()
    assert cli.main(["predict", str(tmp_path / "wall.mp4"), "--json"]) == 1
    out, err = capsys.readouterr()
    assert [row["frame"] for row in json.loads(out)] == [0, 1, 2] and "No face was detected in" in err
    assert cli.main(["predict", *[str(tmp_path / "wall.mp4")] * 2, "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 6 and {row["video"] for row in rows} == {str(tmp_path / "wall.mp4")}
    assert cli.main(["predict", *[str(tmp_path / "wall.mp4")] * 2, "--annotate", str(tmp_path)]) == 2
    assert "have the same name" in capsys.readouterr().err


def test_long_videos_have_the_same_rows_and_low_confidence_is_unsure(clip, classifier, monkeypatch):
    table = predict.predict_video(classifier, clip, 3)
    monkeypatch.setattr(video, "ROWS", 2)
    pd.testing.assert_frame_equal(predict.predict_video(classifier, clip, 3), table)
    unsure = predict.predict_video(classifier, clip, 3, unsure_below=1.0)
    assert set(unsure["emotion"].dropna()) == set(unsure["smoothed"].dropna()) == {"unsure"}


# The camera's live picture


class Camera:
    """Shows the same frame five times."""

    def __init__(self, frame):
        self.frame, self.left = frame, 5

    def read(self):
        self.left -= 1
        return self.left >= 0, self.frame

    def release(self):
        pass


def test_the_live_picture_shows_boxes_and_is_recorded(clip, classifier, tmp_path, monkeypatch):
    frame = next(frames(clip))[2][..., ::-1]
    shown = []
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:     QT5")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "imshow", lambda name, picture: shown.append(picture))
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: None)
    monkeypatch.setattr(cv2, "waitKey", lambda wait: ord("q") if len(shown) == 3 else -1)
    camera_was = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: Camera(frame))
    video.watch(classifier, tmp_path / "copies" / "camera.mp4")
    monkeypatch.setattr(cv2, "VideoCapture", camera_was)
    assert len(shown) == 3 and shown[0].shape == frame.shape and np.abs(shown[0].astype(int) - frame).max() > 100
    recorded = [picture for *_, picture in frames(tmp_path / "copies" / "camera.mp4")]
    assert recorded and recorded[0].shape == frame.shape
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: SimpleNamespace(read=lambda: (False, None), release=list))
    with pytest.raises(ValueError, match="No image came from a camera"):
        video.watch(classifier)


@pytest.mark.parametrize(("build", "screen"), [("NONE", ":0"), ("QT5", "")])
def test_without_windows_the_camera_is_one_sentence(capsys, monkeypatch, build, screen):
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: f"  GUI:      {build}")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", screen) if screen else monkeypatch.delenv("DISPLAY", raising=False)
    assert cli.main(["predict", "--camera"]) == 2
    assert "shows no windows" in (said := capsys.readouterr().err) and "web/" in said and said.count("\n") == 1
    for arguments in (["predict"], ["predict", "a.jpg", "--camera"], ["predict", "--camera", "--ray", "rows"]):
        assert cli.main(arguments) == 2
        assert "Give files and folders, or --camera (without --ray)." in capsys.readouterr().err
    assert cli.main(["predict", "--camera", "--no-faces"]) == 2 and "--camera takes" in capsys.readouterr().err


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


def test_a_resting_face_keeps_its_number_whatever_appears_elsewhere():
    tracks, resting, leaving = Tracks(), Face(250, 100, 100, 100), Face(340, 100, 100, 100)
    for number, face in zip(tracks.assign([resting, leaving], 0), (resting, leaving), strict=True):
        tracks.smooth(number, face, 0, np.ones(2))
    assert tracks.assign([resting, Face(85, 135, 30, 30)], 0.04) == [1, 3]
