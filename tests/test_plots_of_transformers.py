"""Do the figures of a transformer's inside show what they were given?"""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from test_plots import assert_labelled, close_figures, shown, titles  # noqa: F401

from emotions.plots import figures as plots


def test_tiles_stand_in_rows_with_gaps_between():
    pictures = np.arange(3.0)[:, None, None] * np.ones((3, 2, 4))
    large = plots.tiles(pictures, columns=2)
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

    figure = plots.mosaics({"rgb": np.zeros((4, 2, 2, 3))}, columns=2)
    (picture,) = shown(figure)
    assert (picture[0, 0] == 0.5).all(), "0 lies between the limits"
    assert (picture[2] == 1).all(), "gaps are white"


def test_attention_heads_show_every_head_of_every_block_as_multiples_of_no_preference():
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
    dots, mean, alike = figure.axes[1].lines
    assert list(dots.get_ydata()) == pytest.approx([10, 20, 30, 40, 50, 50])
    assert list(mean.get_ydata()) == pytest.approx([15, 35, 50])
    assert set(alike.get_ydata()) == {60}


def test_a_long_caption_has_several_lines():
    figure = plots.captioned(plt.figure(figsize=(4, 3)), "caption " * 20)
    assert figure.get_supxlabel().count("\n") == 3  # 160 letters, 13 to an inch


def test_learning_rates_are_drawn_over_the_training():
    rates = {"head": np.linspace(1e-3, 0, 11), "first": np.linspace(1e-4, 0, 11)}
    figure = plots.learning_rates(rates, "rates")
    assert_labelled(figure)
    (axis,) = figure.axes
    assert [line.get_label() for line in axis.lines] == ["head", "first"]
    assert np.array_equal(axis.lines[1].get_ydata(), rates["first"])
    assert axis.lines[0].get_xdata()[-1] == 100
