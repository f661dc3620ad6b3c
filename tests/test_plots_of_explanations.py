"""Do the figures of what a network looks at show what they are given?"""

import numpy as np
import pytest
from test_plots import assert_labelled, close_figures, titles  # noqa: F401

from emotions import plots
from emotions.plots.explanations import _tiled
from emotions.plots.style import TOO_FEW


def test_heat_maps_stand_below_their_images_on_one_scale_or_each_on_its_own():
    images = np.stack([np.full((8, 8, 3), value, np.uint8) for value in (50, 90)])
    warm, mask = np.full((2, 8, 8), 0.4), np.zeros((2, 8, 8), bool)
    warm[0, 0, 0], mask[:, 2:5, 2:5] = 0.1, True
    maps = {"one": warm, "another one": warm / 2}
    figure = plots.heat_maps(images, maps, ["angry", "happy"], {"mouth": mask}, ["red", "blue"], "caption")
    assert titles(figure)[:6] == ["angry", "happy", "", "", "", ""]
    assert [axis.get_ylabel() for axis in figure.axes[:6:2]] == ["image", "one", "another\none"]
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), images[1])
    np.testing.assert_array_equal(figure.axes[5].images[1].get_array(), maps["another one"][1])
    assert {axis.images[1].get_clim() for axis in figure.axes[2:6]} == {(0, 0.4)}
    figure = plots.heat_maps(images, maps, ["angry", "happy"], one_scale=False)
    assert [axis.images[1].get_clim() for axis in figure.axes[2:6]] == [(0.1, 0.4)] * 2 + [(0.05, 0.2)] * 2


def test_no_face_stands_below_a_mean_map_of_too_few():
    heat = np.full((2, 8, 8), 0.4)
    heat[1] = np.nan
    names = {"image": ["a", "b"], "mean": ["n = 9", "n = 1"]}
    figure = plots.heat_maps(np.full((2, 8, 8, 3), 50.0), {"mean": heat}, names)
    assert titles(figure)[:4] == ["a", "b", "n = 9", "n = 1"]
    assert [set(np.unique(axis.images[0].get_array())) for axis in figure.axes[2:4]] == [{50}, {TOO_FEW}]


def test_small_images_stand_in_rows_with_gaps_between():
    images = np.arange(3.0)[:, None, None] * np.ones((3, 2, 4))
    large = _tiled(images, columns=2)
    assert large.shape == (5, 9)
    assert (large[:2, :4] == 0).all() and (large[:2, 5:] == 1).all() and (large[3:, :4] == 2).all()
    assert np.isnan(large[2]).all() and np.isnan(large[:, 4]).all() and np.isnan(large[3:, 5:]).all()


def test_mosaics_show_numbers_with_a_colour_bar_and_rgb_without():
    values = np.linspace(-1, 1, 16).reshape(4, 2, 2)
    figure = plots.mosaics({"before": values, "after": -values}, columns=2, label="similarity", caption="four each")
    assert titles(figure) == ["before", "after", ""]
    assert figure.axes[-1].get_ylabel() == "similarity"
    before, after = (axis.images[0] for axis in figure.axes[:2])
    assert before.get_clim() == after.get_clim() == (-1, 1)
    assert np.array_equal(before.get_array().filled(9), (-after.get_array()).filled(9))
    assert before.get_array()[0, 0] == -1
    rgb = plots.mosaics({"rgb": np.zeros((4, 2, 2, 3))}, columns=2).axes[0].images[0].get_array()
    assert (rgb[0, 0] == 0.5).all() and (rgb[2] == 1).all(), "0 lies between the limits; gaps are white"


def test_attention_heads_show_every_head_of_every_block_as_multiples_of_uniform_attention():
    maps = np.full((2, 3, 10, 10), 0.1)  # depth, heads, tokens, tokens
    maps[1, 2, 0, 1:] = np.arange(9) / 36
    figure = plots.attention_heads(np.zeros((24, 24, 3), np.uint8), maps, "heads")
    figure.canvas.draw()
    over = [axis.images[1].get_array() for axis in figure.axes if len(axis.images) == 2]
    assert len(over) == 6
    np.testing.assert_allclose(over[0], 1)
    np.testing.assert_allclose(over[-1], 10 * np.arange(9).reshape(3, 3) / 36)
    assert {"block 1", "block 2"} <= set(titles(figure))
    assert {"head 1", "head 2", "head 3"} <= {axis.get_ylabel() for axis in figure.axes}


def test_attention_distances_have_a_dot_per_head():
    values = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.5]])
    figure = plots.attention_distances({"one": values, "other": values}, {"one": 0.5, "other": 0.6})
    assert_labelled(figure)
    dots, mean, uniform = figure.axes[1].lines
    assert list(dots.get_ydata()) == pytest.approx([10, 20, 30, 40, 50, 50])
    assert list(mean.get_ydata()) == pytest.approx([15, 35, 50])
    assert set(uniform.get_ydata()) == {60}
