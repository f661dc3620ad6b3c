"""Reading one file: any mode, size and orientation to upright RGB."""

import cv2
import numpy as np
import pytest
from PIL import Image

from emotions.data.images import Store, decode, fit_all, is_grey


@pytest.mark.parametrize("mode, suffix", [
    ("L", "png"), ("L", "jpg"), ("LA", "png"), ("P", "png"), ("P", "gif"), ("1", "png"), ("CMYK", "jpg"),
    ("CMYK", "tiff"), ("RGBA", "png"), ("I;16", "png"), ("I;16", "tiff"), ("I", "tiff"), ("RGB", "webp"),
    ("RGB", "bmp")])
def test_every_kind_of_image_loads_as_rgb(tmp_path, mode, suffix):
    """Left half dark, right half light, whatever the file's mode."""
    grey = np.full((32, 40), 30, np.uint8)
    grey[:, 20:] = 220
    make = {"I": lambda: Image.fromarray(grey.astype(np.int32)),  # as wide as 32 bits, and values up to 255
            "I;16": lambda: Image.fromarray(grey.astype(np.uint16) * 256 + 77),
            "P": lambda: Image.fromarray(grey).convert("RGB").quantize(4),
            "1": lambda: Image.fromarray(grey > 128)}
    make.get(mode, lambda: Image.fromarray(grey).convert("RGB").convert(mode))().save(tmp_path / f"a.{suffix}")
    image = decode((tmp_path / f"a.{suffix}").read_bytes())
    assert image.shape == (32, 40, 3) and image.dtype == np.uint8
    tolerance = 35 if mode == "1" else 12
    assert np.abs(image[:, :16].astype(int) - 30).max() <= tolerance
    assert np.abs(image[:, 24:].astype(int) - 220).max() <= tolerance


def test_16_bit_colour_and_colour_order(tmp_path):
    red = np.zeros((8, 8, 3), np.uint16)
    red[..., 2] = 65535  # OpenCV's order: blue, green, red
    assert decode(cv2.imencode(".png", red)[1].tobytes())[4, 4].tolist() == [255, 0, 0]


def test_transparency_lies_on_white(tmp_path):
    Image.fromarray(np.zeros((8, 8, 4), np.uint8)).save(tmp_path / "a.png")
    assert (decode((tmp_path / "a.png").read_bytes()) == 255).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_turned_by_exif_load_upright(tmp_path, orientation, suffix):
    upright = np.zeros((24, 40, 3), np.uint8)
    upright[:8, :8, 0] = 255
    stored = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
              5: upright.transpose(1, 0, 2), 6: np.rot90(upright, 1), 7: upright[::-1, ::-1].transpose(1, 0, 2),
              8: np.rot90(upright, 3)}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / f"a.{suffix}", exif=exif)
    assert np.array_equal(decode((tmp_path / f"a.{suffix}").read_bytes()), upright)
    assert Store(tmp_path).shape_of(f"a.{suffix}") == (24, 40)


def test_resizing_is_antialiased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(fit_all(stripes[None], (16, 16)).astype(int) - 128).max() < 20


def test_store_ignores_hidden_files_and_other_files_are_an_error(tmp_path):
    for name in ("calm/0.png", "cross/0.png"):
        (tmp_path / "mine" / name).parent.mkdir(parents=True)
        (tmp_path / "mine" / name).write_bytes(b"x")
    (tmp_path / "mine" / ".cache").mkdir()
    (tmp_path / "mine" / ".cache" / "x.png").write_bytes(b"x")
    assert Store(tmp_path / "mine").files == ["calm/0.png", "cross/0.png"]
    (tmp_path / "x.rar").write_bytes(b"x")
    with pytest.raises(ValueError, match="neither a folder nor a zip"):
        Store(tmp_path / "x.rar")


def test_grey_images_are_resized_like_coloured_ones_and_stay_views():
    grey = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 1), np.uint8)
    resized = fit_all(np.broadcast_to(grey, (3, 20, 20, 3)), (33, 31))
    assert resized.shape == (3, 33, 31, 3) and resized.strides[-1] == 0 and is_grey(resized[0])
    assert np.array_equal(resized[1], fit_all(np.repeat(grey[1:2], 3, axis=-1), (33, 31))[0])
