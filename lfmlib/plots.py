"""Figures in one style: the same colour for a method everywhere, mean and spread over seeds, floors as lines, the
papers' values as open markers. Every helper draws into an axes and returns it; `Report.figure` writes it.

matplotlib, seaborn and plotly are imported by the functions: a user who lifts keypoints does not pay for them.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    import pandas

Number = int | float
# Okabe and Ito's colours, told apart with any colour vision; the floors and the truth keep theirs in every figure
COLOURS = {"flat": "#7f7f7f", "mean": "#8c6239", "truth": "#000000", "ours": "#0072b2", "paper": "#d55e00"}
CYCLE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#f0e442")
LABELS = {
    "o3": "PA-MPJPE, O(3)\n(% of RMS radius)",
    "so3": "PA-MPJPE, SO(3)\n(% of RMS radius)",
    "flip": "PA-MPJPE, flip per category\n(% of RMS radius)",
    "mm": "PA-MPJPE (mm)",
    "step": "training step",
    "loss": "Eq. 1 (share of the 2D variance)",
    "alpha": "encoding weight",
}


@lru_cache(maxsize=1)
def style() -> None:
    """Sets the project's look, once; every helper calls it."""
    import seaborn

    settings = {
        "figure.constrained_layout.use": True,
        "axes.titlesize": 10,
        "legend.frameon": False,
        "svg.fonttype": "none",
    }
    seaborn.set_theme(context="paper", style="ticks", palette=CYCLE, rc=settings)


def panels(
    rows: int = 1, columns: int = 1, width: float = 3.6, height: float = 2.9, **shared: Any
) -> "tuple[matplotlib.figure.Figure, Any]":
    """A figure of `rows` x `columns` axes of that size in inches; `sharex`, `sharey`, `subplot_kw` as matplotlib's."""
    from matplotlib import pyplot

    style()
    return pyplot.subplots(rows, columns, figsize=(width * columns, height * rows), **shared)


def colour(name: str, names: Sequence[str] = ()) -> str:
    """The colour of a method: its own, or the next of the cycle by its place among `names`."""
    if name in COLOURS:
        return COLOURS[name]
    others = [other for other in names if other not in COLOURS]
    return CYCLE[others.index(name) % len(CYCLE)] if name in others else CYCLE[0]


def summary(frame: "pandas.DataFrame", by: Sequence[str], y: str) -> "pandas.DataFrame":
    """Mean, standard deviation (0 for one seed) and number of the rows of each group, in the order of appearance.

    Raises:
        ValueError: the frame has no such column, or no row.
    """
    missing = [column for column in (*by, y) if column not in frame.columns]
    if missing:
        raise ValueError(f"no column {missing[0]!r} to draw; there are {', '.join(map(str, frame.columns))}")
    if not len(frame):
        raise ValueError(f"no rows to draw {y!r} from")
    return frame.groupby(list(by), sort=False)[y].agg(["mean", "std", "count"]).fillna({"std": 0.0}).reset_index()


def curves(
    frame: "pandas.DataFrame",
    x: str,
    y: str,
    hue: str | None = None,
    *,
    ax: "matplotlib.axes.Axes | None" = None,
    floors: Mapping[str, Number] | None = None,
    paper: Mapping[Number, Number] | None = None,
    title: str = "",
    log_x: bool = False,
    log_y: bool = False,
) -> "matplotlib.axes.Axes":
    """Lines of the mean over seeds with a band of one standard deviation.

    Args:
        frame: one row per point and seed.
        x, y, hue: its columns; one line per value of `hue`.
        floors: name ("flat", "mean") -> level.
        paper: x -> the value that the paper prints there.
    Returns:
        The axes, with titles from LABELS (unit included), or the column's own name.
    """
    ax, groups = _start(ax, frame, hue)
    for name, rows in groups.items():
        points = summary(rows, [x], y).sort_values(x)
        line = colour(name, list(groups))
        ax.plot(
            points[x], points["mean"], color=line, label=name or None, marker="o" if len(points) < 12 else None, ms=4
        )
        ax.fill_between(
            points[x], points["mean"] - points["std"], points["mean"] + points["std"], color=line, alpha=0.2, lw=0
        )
    if log_x:
        ax.set_xscale("log")
    if log_y:
        ax.set_yscale("log")
    return _finish(ax, x, y, floors, paper, title)


def points(
    frame: "pandas.DataFrame",
    x: str,
    y: str,
    hue: str | None = None,
    *,
    ax: "matplotlib.axes.Axes | None" = None,
    floors: Mapping[str, Number] | None = None,
    paper: Mapping[str, Number] | None = None,
    title: str = "",
) -> "matplotlib.axes.Axes":
    """Mean and standard deviation over seeds per category on the x axis; each seed as a faint dot.

    Args:
        paper: category of the x axis -> the value that the paper prints for it.
        The rest as in `curves`.
    """
    ax, groups = _start(ax, frame, hue)
    ticks = list(dict.fromkeys(frame[x].astype(str)))
    for number, (name, rows) in enumerate(groups.items()):
        shift = 0.6 * ((number + 0.5) / len(groups) - 0.5)
        line, means = colour(name, list(groups)), summary(rows.assign(**{x: rows[x].astype(str)}), [x], y)
        ax.plot([ticks.index(str(v)) + shift for v in rows[x]], rows[y], ls="", marker=".", color=line, alpha=0.3, ms=5)
        places = [ticks.index(text) + shift for text in means[x]]
        ax.errorbar(places, means["mean"], means["std"], fmt="o", color=line, capsize=3, ms=5, label=name or None)
    ax.set_xticks(range(len(ticks)), ticks, rotation=20 if max(map(len, ticks)) * len(ticks) > 40 else 0)
    ax.set_xlim(-0.5, len(ticks) - 0.5)
    placed = {ticks.index(str(name)): value for name, value in (paper or {}).items() if str(name) in ticks}
    return _finish(ax, x, y, floors, placed, title)


def skeleton_3d(
    ax: "matplotlib.axes.Axes",
    shape: Any,
    edges: Sequence[tuple[int, int]],
    visible: Any = None,
    label: str = "ours",
    line: str | None = None,
) -> "matplotlib.axes.Axes":
    """Draws a shape [N, 3] of the camera frame (x right, y down, z away) upright into 3D axes.

    Args:
        ax: axes of `panels(subplot_kw={"projection": "3d"})`.
        visible: keypoints to draw, bool [N]; None: all. An edge is drawn where both of its ends are.
        label: method, which gives the colour; `line` overrides it.
    """
    across, away, up, seen = _upright(shape, visible)
    line = line or colour(label)
    ax.scatter(across[seen], away[seen], up[seen], color=line, s=10, label=label, depthshade=False)
    for a, b in edges:
        if seen[a] and seen[b]:
            ax.plot(across[[a, b]], away[[a, b]], up[[a, b]], color=line, lw=1.5)
    ax.set(xlabel="x (right)", ylabel="z (away)", zlabel="-y (up)", aspect="equal")
    ax.tick_params(labelbottom=False, labelleft=False, labelright=False)
    return ax


def skeleton_scene(
    shapes: Mapping[str, Any],
    edges: Sequence[tuple[int, int]],
    visible: Any = None,
    title: str = "",
    names: Sequence[str] = (),
) -> Any:
    """Interactive plotly figure of several shapes [N, 3] of the camera frame, to be turned and switched on and off.

    Args:
        shapes: label -> shape.
        visible: keypoints to draw, bool [N]; None: all.
        names: of the keypoints, shown under the pointer.
    """
    from plotly import graph_objects

    figure = graph_objects.Figure()
    for label, shape in shapes.items():
        axes = _upright(shape, visible)
        seen = axes[3]
        drawn = [(a, b) for a, b in edges if seen[a] and seen[b]]
        ends = [[v for a, b in drawn for v in (float(axis[a]), float(axis[b]), None)] for axis in axes[:3]]
        joints = [[float(v) for v in axis[seen]] for axis in axes[:3]]
        text = [name for name, shown in zip(names, seen, strict=False) if shown] or None
        line = colour(label, list(shapes))
        lines = graph_objects.Scatter3d(
            x=ends[0],
            y=ends[1],
            z=ends[2],
            mode="lines",
            line={"color": line, "width": 5},
            name=label,
            legendgroup=label,
        )
        dots = graph_objects.Scatter3d(
            x=joints[0], y=joints[1], z=joints[2], mode="markers", marker={"color": line, "size": 4}, text=text
        )
        figure.add_traces([lines, dots.update(name=label, legendgroup=label, showlegend=False)])
    scene = {"xaxis_title": "x (right)", "yaxis_title": "z (away)", "zaxis_title": "-y (up)", "aspectmode": "data"}
    return figure.update_layout(title=title, scene=scene, margin={"l": 0, "r": 0, "t": 40 if title else 0, "b": 0})


def _upright(shape: Any, visible: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    xyz = np.asarray(shape, dtype=float)
    if xyz.ndim != 2 or xyz.shape[1] != 3:
        raise ValueError(f"a shape to draw must be [N, 3], not {list(xyz.shape)}")
    seen = np.ones(len(xyz), dtype=bool) if visible is None else np.asarray(visible, dtype=bool)
    if seen.shape != (len(xyz),):
        raise ValueError(f"visible must be [{len(xyz)}] to draw this shape, not {list(seen.shape)}")
    return xyz[:, 0], xyz[:, 2], -xyz[:, 1], seen


def _start(
    ax: "matplotlib.axes.Axes | None", frame: "pandas.DataFrame", hue: str | None
) -> "tuple[matplotlib.axes.Axes, dict[str, pandas.DataFrame]]":
    style()
    if hue is not None and hue not in frame.columns:
        raise ValueError(f"no column {hue!r} to draw; there are {', '.join(map(str, frame.columns))}")
    if ax is None:
        _, ax = panels()
    groups = {"": frame} if hue is None else {str(name): rows for name, rows in frame.groupby(hue, sort=False)}
    return ax, groups


def _finish(
    ax: "matplotlib.axes.Axes",
    x: str,
    y: str,
    floors: Mapping[str, Number] | None,
    paper: Mapping[Number, Number] | None,
    title: str,
) -> "matplotlib.axes.Axes":
    for name, level in (floors or {}).items():
        ax.axhline(level, color=colour(name), ls="--", lw=1, label=f"floor: {name}")
    if paper:
        ax.plot(
            list(paper), list(paper.values()), ls="", marker="D", mfc="none", mec=COLOURS["paper"], ms=6, label="paper"
        )
    ax.set(xlabel=LABELS.get(x, x), ylabel=LABELS.get(y, y), title=title)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(fontsize=7)
    return ax
