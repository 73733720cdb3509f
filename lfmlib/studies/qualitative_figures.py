"""Figures, scenes and tables of notebook 09."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from lfmlib import plots
from lfmlib.studies import qualitative
from lfmlib.studies.beyond import LITERAL, RECIPE, TWIN
from lfmlib.studies.failure_modes import MODES
from lfmlib.studies.literal import shared_legend
from lfmlib.studies.qualitative import GALLERY, METHODS, ORACLE, Pictures, Study
from lfmlib.studies.robustness import HIDING
from lfmlib.studies.robustness_figures import COLOURS

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    import pandas

PREDICTED, TRUE, FAILED = "#1f4e9e", "#c8102e", "#ff9900"  # Fig. 1: ground truth red, predictions blue
WORDS = {TWIN: "3D-supervised twin"}
SHOWN = ("flipped", "shortened", "collapsed")


def shown(study: Study) -> list[str]:
    """Categories in the galleries: those of GALLERY that are there, else the first four."""
    return [name for name in GALLERY if name in study.pictures] or list(study.pictures)[:4]


def figure_gallery(study: Study, which: str) -> "matplotlib.figure.Figure":
    """Input, every method's shape and the scene-depth oracle's beside each other, a row per category; see `chosen`.

    Args:
        which: "median" or "worst decile" of the recipe's errors on the first seed's test views.
    """
    names, methods = shown(study), (*METHODS, ORACLE)
    figure = _figure(len(names), 1 + len(methods))
    for row, name in enumerate(names):
        pictures = study.pictures[name]
        view = pictures.chosen()[which]
        ax = figure.add_subplot(len(names), 1 + len(methods), row * (1 + len(methods)) + 1)
        _picture(ax, pictures, view)
        ax.set_title("input" if row == 0 else "", fontsize=9)
        ax.set_ylabel(name.replace("_", "\n"), fontsize=8)
        for column, method in enumerate(methods):
            place = row * (1 + len(methods)) + column + 2
            ax = figure.add_subplot(len(names), 1 + len(methods), place, projection="3d")
            title = _compare(ax, pictures, view, method)
            ax.set_title(f"{WORDS.get(method, method)}\n{title}" if row == 0 else title, fontsize=8)
    return shared_legend(figure, figure.axes)


def _figure(rows: int, columns: int, side: float = 1.9) -> "matplotlib.figure.Figure":
    from matplotlib import pyplot

    plots.style()
    return pyplot.figure(figsize=(side * columns, side * rows + 0.3))


def _picture(ax: "matplotlib.axes.Axes", pictures: Pictures, view: int) -> None:
    X, known = pictures.truth.X[view], pictures.truth.known[view]
    for a, b in pictures.shapes.rig.edges:
        if known[a] and known[b]:
            ax.plot(X[[a, b], 0], X[[a, b], 1], color="#555555", lw=1)
    ax.plot(X[known, 0], X[known, 1], ".", color="#111111", ms=4)
    ax.set(aspect="equal", xticks=[], yticks=[])
    ax.invert_yaxis()
    ax.margins(0.15)


def _compare(ax: "matplotlib.axes.Axes", pictures: Pictures, view: int, method: str) -> str:
    """Draws truth and prediction of a view; returns its error in words."""
    P, seen = _shape(pictures, view, method)
    _pair(ax, pictures, view, P, seen)
    if P is None:
        return "diverged"
    if method != ORACLE:
        return f"{float(pictures.errors(method)[view]):.1f} %"
    distance = (P - pictures.truth.Y[view]).norm(dim=-1)[seen]
    return f"{100 * float(distance.mean()) / pictures.shapes.radius:.1f} %"


def _shape(pictures: Pictures, view: int, method: str) -> tuple[Tensor | None, Tensor]:
    if method == ORACLE:
        return qualitative.oracle_shapes(pictures, view)
    P = pictures.whole.get(method)
    return None if P is None else P[view], pictures.truth.known[view]


def _pair(ax: "matplotlib.axes.Axes", pictures: Pictures, view: int, P: Tensor | None, seen: Tensor) -> None:
    edges = pictures.shapes.rig.edges
    plots.skeleton_3d(ax, pictures.truth.Y[view], edges, pictures.truth.known[view], "ground truth", TRUE)
    if P is not None:
        plots.skeleton_3d(ax, P, edges, seen, "prediction", PREDICTED)
    ax.set(xlabel="", ylabel="", zlabel="")
    ax.view_init(elev=18, azim=-50)


def scene(study: Study, name: str, which: str = "median") -> Any:
    """Interactive plotly figure of the view that the gallery shows: truth red, the recipe blue, others to switch on."""
    pictures = study.pictures[name]
    view = pictures.chosen()[which]
    colours = {"ground truth": TRUE, RECIPE: PREDICTED, ORACLE: "#8b5cf6"} | {m: COLOURS[m] for m in (LITERAL, TWIN)}
    found = {m: _shape(pictures, view, m)[0] for m in (RECIPE, LITERAL, TWIN, ORACLE)}
    shapes = {"ground truth": pictures.truth.Y[view]} | {m: P for m, P in found.items() if P is not None}
    rig = pictures.shapes.rig
    known = pictures.truth.known[view]
    title = f"{name}, {which} of the recipe's errors, view {view}"
    figure = plots.skeleton_scene(shapes, rig.edges, known, title, rig.keypoints)
    for trace in figure.data:
        part = trace.line if trace.mode == "lines" else trace.marker
        part.color = colours[trace.name]
        trace.visible = True if trace.name in ("ground truth", RECIPE) else "legendonly"
    return figure


def figure_rates(study: Study) -> "matplotlib.figure.Figure":
    """Failure rates per category and method, mean and spread over seeds; the floors fail, too."""
    table = study.table
    names = list(dict.fromkeys(table["category"]))
    methods = [m for m in ("flat", "mean", *METHODS, HIDING) if bool((table["method"] == m).any())]
    figure, axes = plots.panels(len(MODES), 1, width=max(7.5, 1.0 + 0.8 * len(names)), height=1.7, sharex=True)
    for ax, (mode, among) in zip(axes, MODES.items(), strict=True):
        for number, method in enumerate(methods):
            rows = plots.summary(table[table["method"] == method], ["category"], mode)
            places = [names.index(name) + 0.7 * ((number + 0.5) / len(methods) - 0.5) for name in rows["category"]]
            ax.errorbar(places, rows["mean"], rows["std"], fmt="_" if method in ("flat", "mean") else "o", ms=4,
                        color=COLOURS[method], capsize=2, lw=1,
                        label=f"floor: {method}" if method in ("flat", "mean") else method)  # fmt: skip
        ax.set(ylabel="%", ylim=(0, None), xlim=(-0.5, len(names) - 0.5))
        ax.set_title(f"{mode}: share of {among}", fontsize=8, loc="left")
    axes[-1].set_xticks(range(len(names)), [name.replace("_", "\n") for name in names], fontsize=7)
    return shared_legend(figure, list(axes))


def figure_modes(study: Study, category: str | None = None) -> "matplotlib.figure.Figure":
    """One example of each failure mode, the failed limbs marked; which view is shown is the rule of `example`."""
    pictures = study.pictures[category or next(iter(study.pictures))]
    methods = [method for method in (LITERAL, RECIPE) if method in pictures.whole]
    figure = _figure(len(methods), len(SHOWN), 2.4)
    for row, method in enumerate(methods):
        for column, mode in enumerate(SHOWN):
            ax = figure.add_subplot(len(methods), len(SHOWN), row * len(SHOWN) + column + 1, projection="3d")
            ax.set_title(f"{method}: {mode}", fontsize=8)
            found = qualitative.example(pictures, method, mode)
            if found is None:
                ax.set_axis_off()
                ax.set_title(f"{method}: {mode}\n(in no view)", fontsize=8)
                continue
            view, failed = found
            P = (pictures.obstructed if mode == "collapsed" else pictures.whole)[method][view]
            _pair(ax, pictures, view, P, pictures.truth.known[view])
            for edge in failed.tolist():
                ends = P[list(pictures.shapes.rig.edges[edge])]
                ax.plot(ends[:, 0], ends[:, 2], -ends[:, 1], color=FAILED, lw=3, label="failed limb")
    return shared_legend(figure, figure.axes)


def rates_table(study: Study) -> "pandas.DataFrame":
    """Mean rates over seeds, per category and method."""
    return study.table.groupby(["category", "method"], sort=False)[["flip", *MODES]].mean().round(1).reset_index()


def readme_table(study: Study) -> "pandas.DataFrame":
    """For the README: failure rates of people (or the first category), mean ± sd over seeds, floors in words."""
    import pandas

    rows = study.table[study.table["category"] == study.table["category"].iloc[0]]
    words = {"flat": "floor: flat", "mean": "floor: mean shape (3D)"} | WORDS
    result = []
    for method, mine in rows.groupby("method", sort=False):
        cells = {f"{mode}, % of {MODES[mode]}": f"{mine[mode].mean():.1f} ± {mine[mode].std():.1f}" for mode in SHOWN}
        data = f"{mine['category'].iloc[0]}, {mine['data'].iloc[0]}"
        result.append({"data": data, "run": words.get(method, method), **cells, "seeds": len(mine)})
    return pandas.DataFrame(result)


def headline(study: Study) -> dict[str, float]:
    """Failure rates of people (or the first category), and the oracle's error over visible keypoints."""
    name = study.table["category"].iloc[0]
    mean = study.table[study.table["category"] == name].groupby("method")[list(SHOWN)].mean()
    result = {f"{name}: {m}, {mode} %": float(mean.loc[m, mode]) for m in METHODS if m in mean.index for mode in SHOWN}
    visible = study.oracle[study.oracle["keypoints"] == "visible"].groupby("category", sort=False)["flip"].mean()
    return result | {f"{category}: {ORACLE}, visible keypoints": float(value) for category, value in visible.items()}
