"""Figures, tables and verdicts of notebook 08."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lfmlib import experiments, plots, verdicts
from lfmlib.studies import robustness
from lfmlib.studies.beyond import RECIPE, TWIN
from lfmlib.studies.literal import LITERAL, STANDS_FOR, shared_legend
from lfmlib.studies.robustness import DETECTOR, GAUSSIAN, HIDDEN, HIDING, LIMBS, METHODS, PERSPECTIVE, WEIGHTED, Study
from lfmlib.verdicts import Verdict

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    import pandas

COLOURS = {
    LITERAL: "#d55e00", WEIGHTED: "#e69f00", RECIPE: "#0072b2", HIDING: "#56b4e9", TWIN: "#000000",
    **{name: plots.COLOURS[name] for name in robustness.FLOORS},
}  # fmt: skip
AXES = {
    GAUSSIAN: "Gaussian noise\n(sd, % of the object's size)", DETECTOR: "detector's errors\n(times the stated rates)",
    HIDDEN: "keypoints hidden at random (%)", LIMBS: "keypoints hidden limb-wise (%)",
    PERSPECTIVE: "camera distance (RMS radii)",
}  # fmt: skip
NOISY, MOST = 5.0, 10.0  # % of noise at which the floor counts, and up to which the growth does
MEAN_NORM = math.sqrt(math.pi / 2)  # mean displacement of a keypoint in sd per coordinate
GROWTH = 2.0  # times that displacement
HID_ENOUGH = 70.0  # % that must have been hidden at most, to say that something breaks at 60 or does not


def figure_noise(study: Study) -> "matplotlib.figure.Figure":
    """Error under Gaussian noise, a detector's errors and perspective, per data set; mean and spread over seeds."""
    table = study.table
    names, kinds = list(dict.fromkeys(table["set"])), (GAUSSIAN, DETECTOR, PERSPECTIVE)
    figure, axes = plots.panels(len(names), len(kinds), width=3.0, height=2.7, squeeze=False, sharey="row")
    for row, name in zip(axes, names, strict=True):
        for ax, kind in zip(row, kinds, strict=True):
            _lines(ax, table[(table["set"] == name) & (table["disturbance"] == kind)], "level", "flip")
            ax.set(title=_category(study, name), xlabel=AXES[kind] if name == names[-1] else "")
            if kind == PERSPECTIVE:
                levels = robustness.LEVELS[kind]
                ax.set_xticks(levels, ["∞" if not level else f"{100 / level:.0f}" for level in levels])
        row[0].set_ylabel(plots.LABELS["flip"])
        row[0].set_ylim(bottom=0)
    return shared_legend(figure, list(axes.flat))


def figure_hidden(study: Study) -> "matplotlib.figure.Figure":
    """Error of the visible and of the hidden keypoints apart, over the share that is hidden, per data set."""
    table = study.table[study.table["disturbance"].isin((HIDDEN, LIMBS))]
    names = list(dict.fromkeys(table["set"]))
    shown = [(kind, part) for kind in (HIDDEN, LIMBS) for part in ("visible", "hidden")]
    shown = [(kind, part) for kind, part in shown if bool((table["disturbance"] == kind).any())]
    figure, axes = plots.panels(len(names), len(shown), width=2.7, height=2.7, squeeze=False, sharey="row")
    for row, name in zip(axes, names, strict=True):
        for ax, (kind, part) in zip(row, shown, strict=True):
            mine = table[(table["set"] == name) & (table["disturbance"] == kind) & table[part].notna()]
            _lines(ax, mine.assign(share=mine["share hidden"].round()), "share", part)
            ax.set(title=f"{_category(study, name)}\n{part} keypoints", xlabel=AXES[kind] if name == names[-1] else "")
        row[0].set_ylabel("PA-MPJPE, flip per category\n(% of RMS radius)")
        row[0].set_ylim(bottom=0)
    return shared_legend(figure, list(axes.flat))


def _lines(ax: "matplotlib.axes.Axes", rows: "pandas.DataFrame", x: str, y: str) -> None:
    """A curve per method with its spread over seeds; floors dashed."""
    for method in (*robustness.FLOORS, *METHODS):
        points = rows[rows["method"] == method]
        if points.empty or points[y].isna().all():
            continue
        points = plots.summary(points, [x], y).sort_values(x)
        floor = method in robustness.FLOORS
        ax.errorbar(points[x], points["mean"], None if floor else points["std"], color=COLOURS[method], capsize=2,
                    marker=None if floor else "o", ms=3, lw=1.2, ls="--" if floor else "-",
                    label=f"floor: {method}" if floor else method)  # fmt: skip


def at(study: Study, kind: str, level: float | int = 0) -> "pandas.DataFrame":
    """The rows of one disturbance at one level, in the order of the seeds."""
    table = study.table
    return table[(table["disturbance"] == kind) & (table["level"] == level)].sort_values("seed")


def files_table(study: Study) -> "pandas.DataFrame":
    """Errors from COCO files beside those of the same detections handed over in memory, mean over seeds."""
    import pandas

    kinds = {
        "in memory": (DETECTOR, 1),
        robustness.COCO: (robustness.COCO, 1),
        robustness.COCO_SURE: (robustness.COCO_SURE, 1),
    }
    columns = {name: at(study, *kind).groupby(["set", "method"], sort=False)["flip"].mean()
               for name, kind in kinds.items()}  # fmt: skip
    frame = pandas.DataFrame(columns)
    frame["largest difference of a seed"] = _file_differences(study).groupby(["set", "method"]).max()
    return frame.reset_index()


def _file_differences(study: Study) -> "pandas.Series":
    keys = ["set", "method", "seed"]
    read, given = (at(study, kind, 1).set_index(keys)["flip"] for kind in (robustness.COCO, DETECTOR))
    return (read - given).abs()


def readme_table(study: Study) -> "pandas.DataFrame":
    """For the README: per-category flip under a few disturbances, mean ± sd over seeds, the floors in words."""
    import pandas

    shown = {
        "undisturbed": (GAUSSIAN, 0), "5 % Gaussian noise": (GAUSSIAN, 5), "detector's errors": (DETECTOR, 1),
        "40 % hidden": (HIDDEN, 40), "camera at 6 RMS radii": (PERSPECTIVE, 100 / 6),
    }  # fmt: skip
    words = {"flat": "floor: flat", "mean": "floor: mean shape (3D)", TWIN: "3D-supervised twin"}
    result = []
    for name in dict.fromkeys(study.table["set"]):
        for method in (*METHODS, *robustness.FLOORS):
            cells = {what: _mean_sd(_errors(at(study, *where), name, method)) for what, where in shown.items()}
            tag = study.table.loc[study.table["set"] == name, "data"].iloc[0]
            result.append({"data": f"{_category(study, name)}, {tag}", "run": words.get(method, method), **cells})
    return pandas.DataFrame(result)


def _mean_sd(values: Sequence[float]) -> str:
    import pandas

    column = pandas.Series(values)
    return "diverged" if column.isna().any() else f"{column.mean():.1f} ± {column.std():.1f}"


def _errors(rows: "pandas.DataFrame", name: str, method: str, column: str = "flip") -> list[float]:
    return rows[(rows["set"] == name) & (rows["method"] == method)].sort_values("seed")[column].tolist()


def _category(study: Study, name: str) -> str:
    return str(study.table.loc[study.table["set"] == name, "category"].iloc[0])


def degrades_gracefully(study: Study, name: str, method: str) -> tuple[bool, str]:
    """The criterion for "graceful degradation, no catastrophic failure" under Gaussian noise, and what decided.

    In every seed: at 5 % noise the error is below that of the mean shape; and up to 10 % it grows by no more than twice
    the mean displacement of the keypoints, sqrt(pi / 2) sd.
    """
    floor = _errors(at(study, GAUSSIAN, NOISY), name, "mean")
    noisy = _errors(at(study, GAUSSIAN, NOISY), name, method)
    clean = _errors(at(study, GAUSSIAN), name, method)
    below = all(error < level for error, level in zip(noisy, floor, strict=True))
    worst = max(
        (error - before) / (level * MEAN_NORM)
        for level in robustness.LEVELS[GAUSSIAN] if 0 < level <= MOST
        for error, before in zip(_errors(at(study, GAUSSIAN, level), name, method), clean, strict=True)
    )  # fmt: skip
    told = f"at {NOISY:g} % noise {'below' if below else 'not below'} the mean shape in every seed, undisturbed "
    told += f"{sum(clean) / len(clean):.1f} %; grows by up to {worst:.2f} times the keypoints' displacement"
    return below and worst <= GROWTH, told


def breaking_point(study: Study, name: str, method: str, kind: str = HIDDEN) -> list[float]:
    """Share hidden, in %, at which the error over all keypoints crosses that of the mean shape, for each seed.

    Linear between levels; the largest share that was tried where it never does.
    """
    rows = study.table[(study.table["set"] == name) & (study.table["disturbance"] == kind)]
    return [_crossing(rows[rows["seed"] == seed], method) for seed in sorted(rows["seed"].unique())]


def _crossing(rows: "pandas.DataFrame", method: str) -> float:
    ours, floor = (rows[rows["method"] == m].sort_values("level") for m in (method, "mean"))
    shares, over = ours["share hidden"].tolist(), (ours["flip"].to_numpy() - floor["flip"].to_numpy()).tolist()
    for i, excess in enumerate(over):
        if not excess < 0:  # a run that diverged breaks at once
            if i == 0 or math.isnan(excess):
                return 0.0
            return shares[i - 1] + (shares[i] - shares[i - 1]) * over[i - 1] / (over[i - 1] - excess)
    return float(shares[-1])


def breaking_table(study: Study) -> "pandas.DataFrame":
    """Where every method breaks under hidden keypoints: mean and sd over seeds of the share, per way of hiding."""
    import pandas

    rows = study.table
    return pandas.DataFrame([
        {"set": name, "method": method, "hidden": kind, "breaks at %": pandas.Series(found).mean(),
         "sd": pandas.Series(found).std(), "largest share tried %": mine["share hidden"].max()}
        for name in dict.fromkeys(rows["set"]) for kind in (HIDDEN, LIMBS)
        if len(mine := rows[(rows["set"] == name) & (rows["disturbance"] == kind)])
        for method in METHODS if method in set(mine["method"]) and (found := breaking_point(study, name, method, kind))
    ])  # fmt: skip


def headline(study: Study) -> dict[str, float]:
    """Per data set and method: per-category flip undisturbed and under a detector's errors; where hiding breaks it."""
    result = {}
    for name in dict.fromkeys(study.table["set"]):
        for method in (LITERAL, RECIPE, TWIN, "mean"):
            for what, where in (("undisturbed", (GAUSSIAN, 0)), ("detector's errors", (DETECTOR, 1))):
                found = _errors(at(study, *where), name, method)
                result[f"{name}: {method}, {what}"] = sum(found) / len(found)
        found = breaking_point(study, name, HIDING)
        result[f"{name}: {HIDING}, breaks at % hidden"] = sum(found) / len(found)
    return result


def judge(study: Study) -> list[Verdict]:
    """Verdicts on noise and ViTPose input, on people, and on hidden keypoints, where a rig has enough to hide."""
    result = []
    for name in dict.fromkeys(study.table["set"]):
        tag = str(study.table.loc[study.table["set"] == name, "data"].iloc[0])
        context = {"data": tag, "category": _category(study, name)}
        if STANDS_FOR[name] == "H36M":
            result += _judge_people(study, name, context)
        if study.table.loc[study.table["set"] == name, "share hidden"].max() < HID_ENOUGH:
            continue
        for method in (TWIN, RECIPE, HIDING):
            result.append(verdicts.value(
                "3D-occlusion", breaking_point(study, name, method), unit="% occluded", column="flip",
                protocol=f"{method}: share hidden at random at which the error crosses the mean shape's",
                evidence="08_robustness/breaking.csv", **context,
            ))  # fmt: skip
    return result


def _judge_people(study: Study, name: str, context: dict[str, str]) -> list[Verdict]:
    result = []
    for method in (LITERAL, WEIGHTED, RECIPE):
        holds, told = degrades_gracefully(study, name, method)
        result.append(verdicts.statement(
            "NOISE", holds, evidence="08_robustness/fig_noise.png", protocol=f"{method}: see the notebook's criterion",
            note=f"{method}: {told}", **context,
        ))  # fmt: skip
    for method in (LITERAL, RECIPE):
        rates = robustness.NOISE
        noise = f"t-noise of scale {rates.jitter:g}, outliers {rates.outliers:g}, left-right swaps {rates.swaps:g}"
        where = (DETECTOR, 0), (robustness.COCO, 1)
        clean, noisy = (_errors(at(study, *place), name, method, "mm") for place in where)
        result.append(verdicts.value(
            "S4.4-vitpose", noisy, unit="mm", column="mm", evidence="08_robustness/table.csv",
            protocol=f"{method}: PA-MPJPE, per-category flip, from a COCO file with {noise}",
            note=f"undisturbed {sum(clean) / len(clean):.1f} mm; the paper's ratio is 34.4 / 30.9 = 1.11, "
            f"ours {sum(noisy) / sum(clean):.2f}; ViTPose's detections on Human3.6M, converted, go through `lfm lift`",
            **context,
        ))  # fmt: skip
    return result


def results(study: Study) -> "pandas.DataFrame":
    """The table with the common columns first."""
    front = ["data", "set", "category", "method", "seed", "disturbance", "level", "share hidden", *experiments.ERRORS]
    return study.table[[*front, "visible", "hidden"]]
