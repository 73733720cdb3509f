"""Figures of notebook 02, from the tables that `what_2d_determines` measures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pandas import DataFrame

from lfmlib import plots
from lfmlib.studies.what_2d_determines import (
    ARMS,
    FACTORS,
    HALF,
    KINDS,
    MIRRORED,
    PRINTED_SIGMA,
    SINGULAR,
    ZERO,
    Category,
)

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

def figure_permutations(deviations: DataFrame, losses: DataFrame) -> "matplotlib.figure.Figure":
    """Left: how far networks are from equivariance. Right: what permuting does to Eq. 1 of equivariant answers."""
    figure, (left, right) = plots.panels(1, 2, width=4.8, height=2.7)
    names = list(dict.fromkeys(losses["category"]))
    answered = {"as_is": "as it is", "both_permuted": "input and output permuted", "outputs_permuted": "output alone"}
    looks = dict(zip(answered, (("o", 6, "#009e73"), ("x", 4, "#e69f00"), ("D", 5, "#d55e00")), strict=True))
    for ax, frame, kind in ((left, deviations, "arm"), (right, losses, "answer")):
        rows = list(dict.fromkeys(frame[kind]))
        ax.set_yticks(range(len(rows)), rows)
        ax.set_ylim(len(rows) - 0.5, -0.5)
        for number, name in enumerate(names):
            mine = frame[frame["category"] == name]
            places = [rows.index(row) + 0.13 * (2 * number - len(names) + 1) for row in mine[kind]]
            if ax is left:
                look = {"marker": "os"[number], "color": plots.colour(name, names), "alpha": 0.6}
                ax.plot(mine["deviation"], places, ls="", ms=5, label=name, **look)
                continue
            for column, (marker, size, colour) in looks.items():
                label = answered[column] if number == 0 else None
                values = mine[column].clip(lower=ZERO)
                ax.plot(values, places, ls="", marker=marker, ms=size, color=colour, mfc="none", label=label)
    left.set(xscale="log", xlim=(1e-16, 1e2), xlabel="largest |f(PX) - P f(X)|\n(share of f's RMS coordinate)")
    right.set(xscale="log", xlim=(ZERO / 5, 10), xlabel="Eq. 1 (share of the 2D variance)\n0 is drawn at the left edge")
    for ax in (left, right):
        ax.grid(axis="x", alpha=0.3)
        ax.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, columnspacing=1, handletextpad=0.2)
    return figure


def figure_zero_loss(family: DataFrame) -> "matplotlib.figure.Figure":
    """Left: error along the line (x, y, c z), on which Eq. 1 is 0. Right: Eq. 1 of (x, y, random depth)."""
    figure, (left, right) = plots.panels(1, 2, width=4.4, height=3.4)
    line = family[family["family"] == "true depth times"]
    names, tags = list(dict.fromkeys(line["category"])), list(dict.fromkeys(family["data"]))
    for name in names:
        for column, style, policy in (("o3_error", "-", "O(3)"), ("so3_error", ":", "SO(3)")):
            means = line[line["category"] == name].groupby("amplitude")[column].mean()
            left.plot(means.index, means, ls=style, color=plots.colour(name, names), label=f"{name}, {policy}")
    left.axvline(0, color=plots.COLOURS["flat"], lw=1, ls="--", label="flat answer")
    left.axvline(1, color=plots.COLOURS["truth"], lw=1, ls="--", label="truth")
    left.set(xlabel="c of the answer (x, y, c times the true depth)", ylabel="PA-MPJPE (% of RMS radius)")
    left.set(ylim=(0, None), xlim=(min(FACTORS), max(FACTORS)), title="Eq. 1 is 0 everywhere on this axis")
    for tag in tags:
        drawn = family[(family["data"] == tag) & (family["family"] == "random depth")].groupby("amplitude")
        levels = {"median": (drawn["median"].median(), "o-"), "worst sample": (drawn["worst"].max(), "^:")}
        for what, (level, style) in levels.items():
            right.plot(level.index, level, style, ms=4, color=plots.colour(tag, tags), label=f"{tag}, {what}")
    usual = family[family["family"] == "mean shape"]["median"].median()
    right.axhline(usual, color=plots.COLOURS["mean"], ls="--", lw=1, label="mean shape, median (for scale)")
    right.set(xscale="log", yscale="log", ylim=(1e-27, 10), xlabel="sd of the random depth (RMS radii of the picture)")
    right.set(ylabel=plots.LABELS["loss"], title="answer (x, y, random): what the solver finds")
    for ax in (left, right):
        ax.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.19), ncols=3 if ax is left else 2)
    return figure


def figure_training(curves: DataFrame, table: DataFrame) -> "matplotlib.figure.Figure":
    """Eq. 1 (top) and the most forgiving error (bottom) over the steps, one line per run; floors as lines."""
    names = list(dict.fromkeys(curves["category"]))
    figure, axes = plots.panels(2, len(names), width=4.2, height=2.4, squeeze=False, sharex="col", sharey="row")
    for name, top, bottom in zip(names, *axes, strict=True):
        own = table[table["category"] == name]
        for (method, seed), run in curves[curves["category"] == name].groupby(["method", "seed"], sort=False):
            line, label = plots.colour(method, list(ARMS.values())), f"{method} (a line per seed)"
            for ax, column in ((top, "loss"), (bottom, "o3")):
                ax.plot(run["step"], run[column], color=line, lw=1.2, label=label if seed == 0 else None)
        for floor, style in (("flat", "--"), ("mean", ":")):
            level = own[own["method"] == floor]["o3"].mean()
            bottom.axhline(level, color=plots.colour(floor), ls=style, lw=1.5, label=f"floor: {floor}")
        top.set(yscale="log", title=name)
        bottom.set(xlabel=plots.LABELS["step"], ylim=(0, None))
    axes[0, 0].set_ylabel("Eq. 1 in training\n(share of the 2D variance)")
    axes[1, 0].set_ylabel(plots.LABELS["o3"])
    return _legend(figure, axes[1, 0], "outside lower center", 2 * len(names))


def figure_floors(table: DataFrame, categories: Sequence[Category]) -> "matplotlib.figure.Figure":
    """What a method has to beat per category; whiskers: sd over seeds of the pictures."""
    figure, ax = plots.panels(width=6.4, height=_height(categories))
    rows = _category_axis(ax, categories)
    said = {"flat": "flat answer (x, y, 0): no learning", "mean": "mean shape: needs 3D labels"}
    for floor, shift in (("flat", -0.2), ("mean", 0.2)):
        means = plots.summary(table[table["method"] == floor], ["category"], "flip")
        places = [rows[name] + shift for name in means["category"]]
        look = {"color": plots.colour(floor), "label": said[floor], "error_kw": {"lw": 1}}
        ax.barh(places, means["mean"], 0.38, xerr=means["std"], **look)
    ax.set(xlabel=plots.LABELS["flip"].replace("\n", " ") + "; whiskers: sd over seeds")
    return _legend(figure, ax, "outside upper center", 2)


def figure_mirror(table: DataFrame, categories: Sequence[Category]) -> "matplotlib.figure.Figure":
    """The truth in a mirror under the three policies: every sample mirrored (left), every second one (right)."""
    figure, axes = plots.panels(1, 2, width=4.2, height=_height(categories), sharex=True, sharey=True)
    looks = {"o3": ("O(3)", "o", 7, "#009e73"), "so3": ("SO(3)", "s", 4, "#d55e00"),
             "flip": ("flip per category", "D", 3.5, "#0072b2")}  # fmt: skip
    panels = {MIRRORED: "every sample mirrored", HALF: "every second sample mirrored"}
    for ax, (method, title) in zip(axes, panels.items(), strict=True):
        rows = _category_axis(ax, categories, note=ax is axes[0])
        for column, (label, marker, size, colour) in looks.items():
            means = table[table["method"] == method].groupby("category", sort=False)[column].mean()
            face = "none" if column == "o3" else colour
            places = [rows[name] for name in means.index]
            ax.plot(means, places, ls="", marker=marker, ms=size, color=colour, mfc=face, label=label)
        ax.set(xlabel="PA-MPJPE (% of RMS radius)", xlim=(-3, None), title=title)
    return _legend(figure, axes[0], "outside upper center", 3)


def figure_residuals(
    ratios: DataFrame, categories: Sequence[Category], limit: float = 100.0
) -> "matplotlib.figure.Figure":
    """How far above the minimum the algebraic fit stays: median and middle 90 % of the samples; arrows go on."""
    figure, ax = plots.panels(width=6.4, height=_height(categories))
    rows, shapes = _category_axis(ax, categories), list(dict.fromkeys(ratios["shape"]))
    for shape, shift in zip(shapes, (-0.18, 0.18), strict=True):
        mine = ratios[ratios["shape"] == shape]
        places, line = [rows[name] + shift for name in mine["category"]], plots.colour(shape, shapes)
        ax.hlines(places, mine["q05"], mine["q95"].clip(upper=limit), color=line, lw=2)
        ax.plot(mine["q50"], places, ls="", marker="o", ms=4, color=line, label=f"{shape}: median, middle 90 %")
        beyond = [place for place, q95 in zip(places, mine["q95"], strict=True) if q95 > limit]
        ax.plot([limit] * len(beyond), beyond, ls="", marker=">", ms=5, color=line, clip_on=False)
    ax.axvline(1, color=plots.COLOURS["truth"], lw=1)
    ax.set(xscale="log", xlim=(0.95, limit), xlabel="residual of the algebraic fit / exact minimum of Eq. 1 (ratio)")
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100) if tick <= limit]
    ax.set_xticks(ticks, map(str, ticks))
    ax.minorticks_off()
    return _legend(figure, ax, "outside upper center", 2)


def figure_encodings(frame: DataFrame, sweep: str) -> "matplotlib.figure.Figure":
    """Neighbour similarity and condition number over N ("tokens") or "sigma"; one row of panels per width D.

    Lines are medians over the draws, bands their range.
    """
    x, label = {"tokens": ("N", "number of tokens N"), "sigma": ("sigma", "sigma (radians per index step)")}[sweep]
    frame = frame[frame["sweep"] == sweep]
    titles = {
        "neighbour_similarity": "cosine of adjacent tokens",
        "condition_number": "condition number of Phi\n(drawn up to 1e16)",
    }
    widths = list(dict.fromkeys(frame["D"]))
    figure, axes = plots.panels(len(widths), 2, width=3.9, height=2.3, sharex=True, sharey="col", squeeze=False)
    for panels, width in zip(axes, widths, strict=True):
        for ax, (column, title) in zip(panels, titles.items(), strict=True):
            for kind, rows in frame[frame["D"] == width].groupby("encoding", sort=False):
                spread = rows.groupby(x)[column].agg(["median", "min", "max"]).clip(upper=SINGULAR)
                line = plots.colour(kind, KINDS)
                ax.plot(spread.index, spread["median"], color=line, label=kind, marker="o", ms=2.5, lw=1)
                ax.fill_between(spread.index, spread["min"], spread["max"], color=line, alpha=0.15, lw=0)
            if sweep == "sigma":
                ax.axvline(PRINTED_SIGMA, color="#000000", ls="--", lw=1, label="printed sigma")
            ax.set(xlabel=label if width == widths[-1] else "", ylabel=title, title=f"D = {width}")
            ax.set_xscale("log" if sweep == "sigma" else "linear")
            ax.set_yscale("log" if column == "condition_number" else "linear")
    return _legend(figure, axes[0, 0], "outside lower center", 7)


def _height(categories: Sequence[Category]) -> float:
    return 1.1 + 0.22 * len(categories)


def _category_axis(ax: "matplotlib.axes.Axes", categories: Sequence[Category], note: bool = True) -> dict[str, int]:
    """One row per category from the top, a line between synthetic and real ones; returns name -> row."""
    tags, shared = [c.test.tag for c in categories], [c.test.shares_shapes for c in categories]
    marks = [" *" * few + " (1 shape)" * (len(c.test) == 1) for c, few in zip(categories, shared, strict=True)]
    ax.set_yticks(range(len(tags)), [c.name + mark for c, mark in zip(categories, marks, strict=True)])
    ax.set_ylim(len(tags) - 0.5, -0.5)
    ax.grid(axis="x", alpha=0.3)
    for row in (row for row in range(1, len(tags)) if tags[row] != tags[row - 1]):
        ax.axhline(row - 0.5, color="#000000", lw=0.8)
    if note and any(shared):
        place = {"xy": (0, 0), "xytext": (-6, -40), "xycoords": "axes fraction", "textcoords": "offset points"}
        ax.annotate("* tests on new views of its training shapes", ha="right", fontsize=7, **place)
    return {category.name: row for row, category in enumerate(categories)}


def _legend(
    figure: "matplotlib.figure.Figure", ax: "matplotlib.axes.Axes", place: str, columns: int
) -> "matplotlib.figure.Figure":
    """One legend for all panels, outside them."""
    figure.legend(*ax.get_legend_handles_labels(), loc=place, ncols=columns, fontsize=8, columnspacing=1.2)
    return figure
