"""Figures draw the mean and spread of the seeds, the floors and the paper's values, and nothing that is not visible."""

import numpy as np
import pandas as pd
import pytest

from lfmlib import plots

EDGES = ((0, 1), (1, 2))


@pytest.fixture(autouse=True)
def closed():
    from matplotlib import pyplot

    yield
    pyplot.close("all")


@pytest.fixture
def frame() -> pd.DataFrame:
    rows = [
        {"step": step, "method": method, "seed": seed, "o3": 30 + 10 * (method == "b") - step / 100 + seed}
        for step in (0, 100, 200)
        for method in ("a", "b", "flat")
        for seed in (0, 1, 2)
    ]
    return pd.DataFrame(rows)


def test_curves_draw_means_floors_and_the_paper(frame):
    ax = plots.curves(frame, "step", "o3", "method", floors={"mean": 20.0}, paper={100: 8.1}, title="t")
    lines = {line.get_label(): line for line in ax.get_lines()}
    np.testing.assert_allclose(lines["a"].get_ydata(), [31, 30, 29])
    np.testing.assert_allclose(lines["b"].get_ydata(), [41, 40, 39])
    assert lines["flat"].get_color() == plots.COLOURS["flat"]
    assert set(lines["floor: mean"].get_ydata()) == {20.0} and lines["floor: mean"].get_color() == plots.COLOURS["mean"]
    assert list(lines["paper"].get_ydata()) == [8.1] and lines["paper"].get_markerfacecolor() == "none"
    assert "%" in ax.get_ylabel() and ax.get_xlabel() == "training step"
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx(32) and band.min() == pytest.approx(28)  # the seeds' standard deviation is 1


def test_points_stand_at_their_category(frame):
    ax = plots.points(frame, "method", "o3", paper={"b": 26.1, "elsewhere": 1.0})
    assert [text.get_text() for text in ax.get_xticklabels()] == ["a", "b", "flat"]
    marker = next(line for line in ax.get_lines() if line.get_label() == "paper")
    assert list(marker.get_xdata()) == [1] and list(marker.get_ydata()) == [26.1]
    assert len(plots.points(frame, "step", "o3", "method").containers) == 3


def test_one_seed_has_no_spread():
    frame = pd.DataFrame({"x": [1, 2], "y": [3.0, 4.0]})
    assert list(plots.summary(frame, ["x"], "y")["std"]) == [0.0, 0.0]


def test_a_method_keeps_its_colour():
    assert plots.colour("flat", ["x", "flat"]) == plots.colour("flat", ["flat"]) == plots.COLOURS["flat"]
    assert (
        plots.colour("x", ["flat", "x", "y"]) == plots.CYCLE[0]
        and plots.colour("y", ["flat", "x", "y"]) == plots.CYCLE[1]
    )


def test_skeletons_are_drawn_upright_and_without_hidden_keypoints():
    shape = np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [np.nan] * 3])
    visible = [True, True, False]
    _, ax = plots.panels(subplot_kw={"projection": "3d"})
    plots.skeleton_3d(ax, shape, EDGES, visible)
    assert len(ax.get_lines()) == 1
    np.testing.assert_allclose(ax.get_lines()[0].get_data_3d(), [[0, 3], [2, 5], [-1, -4]])  # x, away, up

    scene = plots.skeleton_scene({"ours": shape, "truth": shape}, EDGES, visible, names=("hip", "knee", "foot"))
    lines, dots = scene.data[:2]
    assert list(lines.x) == [0, 3, None] and list(lines.z) == [-1, -4, None]
    assert list(dots.text) == ["hip", "knee"] and len(scene.data) == 4


@pytest.mark.parametrize("draw", [plots.curves, plots.points])
def test_says_which_column_is_missing(frame, draw):
    with pytest.raises(ValueError, match="no column 'o4' to draw; there are step, method, seed, o3"):
        draw(frame, "step", "o4")
    with pytest.raises(ValueError, match="no column 'arm' to draw"):
        draw(frame, "step", "o3", "arm")
    with pytest.raises(ValueError, match="no rows to draw 'o3'"):
        draw(frame[:0], "step", "o3")


def test_refuses_what_is_no_shape():
    _, ax = plots.panels(subplot_kw={"projection": "3d"})
    with pytest.raises(ValueError, match=r"must be \[N, 3\], not \[4, 2\]"):
        plots.skeleton_3d(ax, np.zeros((4, 2)), ())
    with pytest.raises(ValueError, match=r"visible must be \[3\]"):
        plots.skeleton_scene({"a": np.zeros((3, 3))}, (), visible=[True])
