"""Figures of the benchmark: Fig. 3's radial chart, a gallery of every category, floors, variety beside real data."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lfmlib import plots, rigs
from lfmlib.data.views import upright, view_rotations
from lfmlib.studies.benchmark import EASIER, families

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

RINGS = {2: "100", 3: "1K", 4: "10K", 5: "100K", 6: "1M"}
INNER = 1.0  # log10 of the count at the hub
MEASURES = {
    "flat": "flat floor", "mean": "mean-shape floor", "rank": "participation ratio", "components": "components, 95 %",
    "bones": "bone-length variation", "neighbour": "train-test distance",
}  # fmt: skip


def _short(name: str) -> str:
    return name.removeprefix("synthetic_")


def _ordered(table: "DataFrame") -> "DataFrame":
    """Synthetic rows by family, the largest first."""
    made = table[table["data"] == "synthetic"]
    rank = {family: i for i, family in enumerate(families(list(made["category"])))}
    return made.assign(rank=made["family"].map(rank)).sort_values(["rank", "samples"], ascending=[True, False])


def _palette(names: Sequence[str]) -> dict[str, Any]:
    import seaborn

    return dict(zip(names, seaborn.color_palette("husl", len(names)), strict=True))


def radial_chart(table: "DataFrame") -> "Figure":
    """Samples per category on a logarithmic scale around a circle, coloured by family: the twin of Fig. 3."""
    from matplotlib import pyplot
    from matplotlib.patches import Patch

    plots.style()
    rows = _ordered(table)
    palette = _palette(list(dict.fromkeys(rows["family"])))
    figure, ax = pyplot.subplots(figsize=(8.6, 8.6), subplot_kw={"projection": "polar"})
    angle = np.linspace(0, 2 * math.pi, len(rows), endpoint=False)
    height = np.log10(rows["samples"]) - INNER
    ax.bar(angle, height, width=2 * math.pi / len(rows) * 0.86, color=[palette[f] for f in rows["family"]])
    top = 6 - INNER
    for at, name, count in zip(angle, rows["category"], rows["samples"], strict=True):
        turned = math.degrees(at)
        flip = 90 < turned < 270
        ax.text(
            at, top + 0.12, f"{_short(name)}  {count:,}" if not flip else f"{count:,}  {_short(name)}",
            rotation=turned - 180 if flip else turned, rotation_mode="anchor", ha="right" if flip else "left",
            va="center", fontsize=6,
        )  # fmt: skip
    ax.set_ylim(-0.6, top)
    ax.set_yticks([ring - INNER for ring in RINGS], list(RINGS.values()), fontsize=6, color="0.3")
    ax.set_rlabel_position(-180 / len(rows))  # between the first bar and the last
    ax.set_axisbelow(False)
    ax.grid(color="white", lw=0.5, alpha=0.7)
    ax.set_xticks([])
    ax.spines["polar"].set_visible(False)
    handles = [Patch(color=palette[family], label=family) for family in palette]
    figure.legend(handles=handles, loc="outside lower center", ncols=7, fontsize=7, frameon=False)
    figure.suptitle(f"{len(rows)} synthetic categories: samples each (log scale)", fontsize=10)
    return figure


def radial_scene(table: "DataFrame") -> Any:
    """The radial chart to hover over: name, family, keypoints and samples of each bar."""
    from plotly import graph_objects

    rows = _ordered(table)
    palette = _palette(list(dict.fromkeys(rows["family"])))
    figure = graph_objects.Figure()
    for family, part in rows.groupby("family", sort=False):
        text = [f"{n}<br>{k} keypoints<br>{s:,} samples" for n, k, s in
                zip(part["category"], part["keypoints"], part["samples"], strict=True)]  # fmt: skip
        colour = "rgb({},{},{})".format(*(round(255 * v) for v in palette[family]))
        names = [_short(name) for name in part["category"]]
        figure.add_trace(graph_objects.Barpolar(
            theta=names, r=np.log10(part["samples"]) - INNER, name=family, marker_color=colour, hovertext=text,
            hoverinfo="text",
        ))  # fmt: skip
    axis = {"tickvals": [ring - INNER for ring in RINGS], "ticktext": list(RINGS.values()), "range": [0, 5.2]}
    return figure.update_layout(
        polar={"radialaxis": axis, "angularaxis": {"tickfont": {"size": 8}}}, height=860,
        title=f"{len(rows)} synthetic categories, samples each (log scale)",
    )  # fmt: skip


def gallery(shapes: Mapping[str, Tensor], columns: int = 9) -> "Figure":
    """One shape of each category in a three-quarter view: left side blue, right side orange, the rest grey."""
    order = families(list(shapes))
    shapes = dict(sorted(shapes.items(), key=lambda item: order.index(rigs.get(item[0]).family)))
    rows = -(-len(shapes) // columns)
    figure, axes = plots.panels(rows, columns, 1.35, 1.5)
    for ax in np.atleast_1d(axes).flat:
        ax.set_axis_off()
    for ax, (name, shape) in zip(np.atleast_1d(axes).flat, shapes.items(), strict=False):
        _draw(ax, name, shape)
    return figure


def _draw(ax: Any, name: str, shape: Tensor) -> None:
    rig = rigs.get(name)
    R = view_rotations(*(torch.tensor([math.radians(v)], dtype=torch.float64) for v in (35.0, 18.0, 0.0)))[0]
    Y = (shape.double() @ upright(rig.up).double().T @ R.T).numpy()
    side = _sides(rig)
    for a, b in rig.edges:
        ends = side[a] or side[b]
        ax.plot(Y[[a, b], 0], -Y[[a, b], 1], color=_COLOUR[ends], lw=1.0, solid_capstyle="round")
    ax.scatter(Y[:, 0], -Y[:, 1], s=3, color=[_COLOUR[s] for s in side], zorder=3)
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.12)
    ax.set_title(f"{_short(name)}", fontsize=5.5, pad=1)


_COLOUR = {"left": "#0072b2", "right": "#e69f00", "": "#555555"}


def _sides(rig: rigs.Rig) -> list[str]:
    side = [""] * rig.n
    for left, right in rig.symmetry:
        side[left], side[right] = "left", "right"
    return side


def figure_floors(table: "DataFrame", inventory: "DataFrame") -> "Figure":
    """Flat and mean-shape floor of every category, per-category flip, mean over seeds; families apart."""
    from matplotlib.lines import Line2D

    family = inventory.set_index("category")["family"]
    figure, axes = plots.panels(1, 2, 4.6, 9.5)
    for ax, (tag, rows) in zip(axes, sorted(table.groupby("data"), reverse=True), strict=False):
        means = plots.summary(rows, ["category", "method"], "flip").pivot(index="category", columns="method")["mean"]
        order = {f: i for i, f in enumerate(families(list(means.index)))}
        means = means.iloc[np.lexsort((-means["mean"], means.index.map(family).map(order)))]
        y = np.arange(len(means))[::-1]
        ax.hlines(y, means[["flat", "mean"]].min(axis=1), means[["flat", "mean"]].max(axis=1), color="0.85", lw=1)
        for method in ("flat", "mean"):
            ax.plot(means[method], y, ls="", marker="o", ms=3.5, color=plots.colour(method))
        ax.set_yticks(y, [_short(name) for name in means.index], fontsize=6)
        ax.set(xlabel=plots.LABELS["flip"], title=tag, xlim=(0, None), ylim=(-1, len(means)))
        ax.grid(axis="x", lw=0.3)
    handles = [Line2D([], [], ls="", marker="o", color=plots.colour(m), label=f"floor: {m}") for m in ("flat", "mean")]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def figure_comparison(table: "DataFrame") -> "Figure":
    """The benchmark's value over the measured one, per measure; left of the dashed line the benchmark is easier."""
    measures = list(MEASURES)
    figure, axes = plots.panels(1, len(measures), 1.75, 4.4, sharey=True)
    means = plots.summary(table, ["real", "measure"], "ratio")
    order = list(dict.fromkeys(table["real"]))[::-1]
    comparable = {(r, m) for r, m, c in zip(table["real"], table["measure"], table["comparable"], strict=True) if c}
    for ax, measure in zip(axes, measures, strict=True):
        rows = means[means["measure"] == measure]
        for name, ratio in zip(rows["real"], rows["mean"], strict=True):
            shown = (name, measure) in comparable
            line = plots.COLOURS["ours"] if ratio >= EASIER else plots.COLOURS["paper"]
            ax.plot([ratio], [order.index(name)], marker="o", ms=4, color=line, mfc=line if shown else "none")
        ax.axvline(1, color="0.6", lw=0.8)
        ax.axvline(EASIER, color="0.6", lw=0.8, ls="--")
        ax.set_xscale("log")
        ax.set_xticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
        ax.minorticks_off()
        ax.set_title(MEASURES[measure], fontsize=7)
        ax.grid(axis="y", lw=0.3)
    axes[0].set_yticks(range(len(order)), order, fontsize=6)
    figure.supxlabel("synthetic / real (open: other keypoints, not comparable)", fontsize=8)
    return figure
