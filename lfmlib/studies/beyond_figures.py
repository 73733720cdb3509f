"""Figures and summary tables of notebook 12."""

from typing import TYPE_CHECKING, Any

import numpy as np

from lfmlib import experiments, plots
from lfmlib.studies import beyond, beyond_extra
from lfmlib.studies.beyond import COMBINED, GOALS, HELD_OUT, LITERAL, LOCAL, LOW_RANK, RECIPE, SHAPE_MODEL, TWIN, Study
from lfmlib.studies.beyond_extra import Extra

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas

COLOURS = {  # in the order of the tables
    "flat": plots.COLOURS["flat"], "mean": plots.COLOURS["mean"], LITERAL: "#d55e00", LOW_RANK: "#e69f00",
    LOCAL: "#f0e442", "c3dpo": "#cc79a7", "paul": "#56b4e9", SHAPE_MODEL: "#009e73", "recipe-mlp": "#6a8fb3",
    RECIPE: "#0072b2", COMBINED: "#003f63", TWIN: "#000000",
}  # fmt: skip
ORDER = tuple(COLOURS)
ALL_HELD_OUT = "CADs held out, mean"
FLIP = "PA-MPJPE, flip per category (% of RMS radius)"


def short(category: str) -> str:
    """A category's name without the name of its data set."""
    name = category.removesuffix(HELD_OUT).removeprefix("pascal3d_").removeprefix("synthetic_").split("_")[0]
    return f"{name} (held out)" if category.endswith(HELD_OUT) else name


def overview(study: Study) -> "pandas.DataFrame":
    """Mean and standard deviation over seeds (held-out CADs: over folds) per category and method, flip, last step."""
    rows = study.table[study.table["method"].isin(ORDER)]
    found = rows.groupby(["category", "method"], sort=False)["flip"].agg(["mean", "std", "count"])
    text = found.apply(lambda r: f"{r['mean']:.1f} ± {r['std']:.1f}" if r["count"] > 1 else f"{r['mean']:.1f}", axis=1)
    wide = text.unstack()
    return wide[[m for m in ORDER if m in wide.columns]].fillna("")


def readme_table(study: Study) -> "pandas.DataFrame":
    """For the README: per-category flip of every method, mean ± sd over seeds, the floors in words."""
    names = {"flat": "floor: flat", "mean": "floor: mean shape (3D)", TWIN: "3D-supervised twin",
             COMBINED: "recipe, one network for all"}  # fmt: skip
    wide = overview(study).rename(columns=names)
    wide.index = [short(name) for name in wide.index]
    return wide.rename_axis("flip per category").rename_axis(columns=None).reset_index()


def goals(study: Study) -> "pandas.DataFrame":
    """What was to be reached, and whether the recipe does: mean over seeds, last step."""
    return goals_of(study.table)


def goals_of(table: "pandas.DataFrame") -> "pandas.DataFrame":
    """The same from result rows; categories for which recipe and twin are there."""
    import pandas

    rows = []
    mean = table.groupby(["category", "method"])[["o3", "so3", "flip"]].mean()
    for name in dict.fromkeys(table["category"]):
        if not {(name, RECIPE), (name, TWIN)} <= set(mean.index) or name.endswith(HELD_OUT):
            continue
        must, aim = GOALS.get(name, (float("nan"), float("nan")))
        ours, twin = mean.loc[(name, RECIPE)], mean.loc[(name, TWIN)]
        runs = table[(table["category"] == name) & (table["method"] == RECIPE)]
        excess = (runs["flip"] / runs["o3"] - 1).max()
        combined = mean["flip"].get((name, COMBINED), float("nan"))
        floor = mean["flip"].get((name, "mean"), float("nan"))
        rows.append({
            "category": name, "recipe": ours["flip"], "must": must, "aim": aim, "reached": ours["flip"] <= must,
            "twin": twin["flip"], "of twin": ours["flip"] / twin["flip"],
            "within 1.5 x twin": ours["flip"] <= beyond.TWIN_FACTOR * twin["flip"],
            "flip over O(3), worst seed": excess, "one side": excess < beyond.FLIP_EXCESS,
            "combined": combined, "combined / alone": combined / ours["flip"],
            "below mean shape": bool((runs["flip"] < floor).all()),
        })  # fmt: skip
    held = table[table["category"].str.endswith(HELD_OUT) & (table["method"] == RECIPE)]
    if len(held):
        must, aim = beyond.HELD_OUT_GOAL
        average = held.groupby("category")["flip"].mean().mean()
        rows.append({"category": ALL_HELD_OUT, "recipe": average, "must": must, "aim": aim,
                     "reached": average <= must})  # fmt: skip
    return pandas.DataFrame(rows)


def figure_methods(study: Study) -> "matplotlib.figure.Figure":
    """Error of every method per category at the last step, mean and spread over seeds, on a logarithmic axis."""
    rows = study.table[study.table["method"].isin(ORDER)]
    names = list(dict.fromkeys(rows["category"]))
    methods = [m for m in ORDER if m in set(rows["method"])]
    figure, ax = plots.panels(width=max(5.0, 0.85 * len(names)), height=3.8)
    for i, method in enumerate(methods):
        mine = rows[rows["method"] == method].groupby("category")["flip"].agg(["mean", "std"])
        x = [names.index(name) + 0.075 * (i - len(methods) / 2) for name in mine.index]
        look = {"fmt": "_", "ms": 7, "mew": 2} if method in ("flat", "mean") else {"fmt": "o", "ms": 4}
        ax.errorbar(x, mine["mean"], mine["std"].fillna(0), color=COLOURS[method], lw=1, label=method, **look)
    goal = [(names.index(n), GOALS[n][0]) for n in names if n in GOALS]
    if goal:
        ax.plot(*zip(*goal, strict=True), ls="", marker="D", mfc="none", mec="#888888", ms=9, label="to be reached")
    ax.set_yscale("log")
    ax.set_ylabel(FLIP.replace(" (", "\n("))
    ax.set_xticks(range(len(names)), [short(n) for n in names], rotation=35, ha="right")
    ax.legend(ncols=1, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def figure_phase(extra: Extra, study: Study) -> "matplotlib.figure.Figure":
    """Where Eq. 1 alone ends up: depth of what it lifts against its error, a trajectory per encoding weight."""
    phase = extra.phase[extra.phase["read_out"] == "snap"]
    names = list(dict.fromkeys(phase["category"]))
    figure, axes = plots.panels(1, len(names) * 2, width=3.6, height=3.3, squeeze=False, sharey=True)
    for i, name in enumerate(names):
        floors = study.table[study.table["category"] == name].groupby("method")["flip"].mean()
        for j, injection in enumerate(beyond_extra.PHASE_INJECTIONS):
            ax = axes[0, 2 * i + j]
            for k, alpha in enumerate(beyond_extra.PHASE_WEIGHTS):
                run = phase[(phase["category"] == name) & (phase["method"] == f"{injection}, weight {alpha:g}")]
                ax.plot(run["depth"], run["flip"], "-", color=plots.CYCLE[k], lw=1)
                ax.scatter(run["depth"], run["flip"], s=np.linspace(4, 30, len(run)), color=plots.CYCLE[k],
                           label=f"weight {alpha:g}")  # fmt: skip
            ax.plot(0, floors["flat"], "s", color=plots.COLOURS["flat"], ms=8, label="flat")
            ax.axhline(floors["mean"], color=plots.COLOURS["mean"], ls="--", lw=1, label="mean shape (3D)")
            recipe = study.curves[(study.curves["method"] == RECIPE) & (study.curves["category"] == name)]
            if recipe["depth"].notna().any():
                last = recipe[recipe["step"] == recipe["step"].max()]
                ax.plot(last["depth"], last["flip"], "*", color=COLOURS[RECIPE], ms=11, ls="", label="recipe, end")
            ax.set(title=f"{short(name)}: injection {injection}", xlim=(-0.05, None), ylim=(0, None))
            ax.set_xlabel("RMS depth of the lifted shapes\n(picture's RMS)")
    axes[0, 0].set_ylabel(FLIP.replace(" (", "\n("))
    axes[0, -1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def figure_ablation(extra: Extra, study: Study) -> "matplotlib.figure.Figure":
    """The recipe with one part changed, per seed; dashed: the recipe as it is, and its shape model by itself."""
    rows = extra.ablation
    names, methods = list(dict.fromkeys(rows["category"])), list(dict.fromkeys(rows["method"]))
    figure, axes = plots.panels(1, len(names), width=5.4, height=3.4, squeeze=False)
    for ax, name in zip(axes[0], names, strict=True):
        mine = rows[rows["category"] == name]
        for i, method in enumerate(methods):
            values = mine[mine["method"] == method]["flip"]
            ax.plot(values, [i] * len(values), ".", color=COLOURS[RECIPE], alpha=0.4)
            ax.errorbar(values.mean(), i, xerr=values.std(), fmt="o", color=COLOURS[RECIPE], ms=5, capsize=3)
        whole = study.table[study.table["category"] == name].groupby("method")["flip"].mean()
        for method in (RECIPE, SHAPE_MODEL, "mean", TWIN):
            ax.axvline(whole[method], ls="--", lw=1, color=COLOURS[method], label=method)
        ax.set_yticks(range(len(methods)), [m.removeprefix(f"{RECIPE}: ") for m in methods])
        ax.invert_yaxis()
        ax.set(title=short(name), xlabel=FLIP, xlim=(0, None))
        ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def figure_labels(study: Study) -> "matplotlib.figure.Figure":
    """How much 3D supervision buys: the twin with a share of the labels against the recipe, which has none."""
    rows = study.table
    shares = {f"{TWIN}, 1 % of labels": 1, f"{TWIN}, 10 % of labels": 10, TWIN: 100}
    names = list(dict.fromkeys(rows[rows["method"].str.startswith(f"{TWIN},")]["category"]))
    figure, axes = plots.panels(1, max(1, len(names)), width=3.3, height=2.9, squeeze=False)
    for ax, name in zip(axes[0], names, strict=False):
        mine = rows[rows["category"] == name]
        twin = [mine[mine["method"] == m]["flip"] for m in shares]
        ax.errorbar(list(shares.values()), [v.mean() for v in twin], [v.std() for v in twin], fmt="o-",
                    color=COLOURS[TWIN], capsize=3, ms=5, label="3D-supervised twin")  # fmt: skip
        ours = mine[mine["method"] == RECIPE]["flip"]
        ax.axhline(ours.mean(), color=COLOURS[RECIPE], label="recipe, no label")
        ax.axhspan(ours.mean() - ours.std(), ours.mean() + ours.std(), color=COLOURS[RECIPE], alpha=0.2, lw=0)
        floor = mine[mine["method"] == "mean"]["flip"].mean()
        ax.axhline(floor, color=COLOURS["mean"], ls="--", label="mean shape (3D)")
        ax.set_xscale("log")
        ax.set_xticks([1, 10, 100], ["1 %", "10 %", "100 %"])
        ax.set(title=short(name), xlabel="training frames with a 3D label", ylim=(0, None))
    axes[0, 0].set_ylabel(FLIP.replace(" (", "\n("))
    axes[0, -1].legend(fontsize=7)
    return figure


def figure_details(extra: Extra) -> "matplotlib.figure.Figure":
    """Shape error by azimuth and by keypoint, and how often a sample comes out as its mirror image, by azimuth."""
    rows = extra.details
    figure, axes = plots.panels(1, 3, width=3.9, height=3.2)
    edges = np.arange(-180, 181, 30)
    middle = (edges[:-1] + edges[1:]) / 2
    views = rows.groupby("view").agg({"azimuth": "first", "error": "mean", "mirrored": "first"})
    bins = np.digitize(views["azimuth"], edges[1:-1])
    for ax, column, factor in ((axes[0], "error", 1), (axes[1], "mirrored", 100)):
        of_bin = [factor * views[column][bins == b].mean() for b in range(len(middle))]
        ax.bar(middle, of_bin, width=26, color=COLOURS[RECIPE])
        ax.set_xticks([-180, -90, 0, 90, 180])
        ax.set_xlabel("azimuth of the camera (degrees)")
    axes[0].set_ylabel("error, O(3) (% of RMS radius)")
    axes[1].set(ylabel="samples mirrored against\ntheir category (%)", ylim=(0, max(1.0, axes[1].get_ylim()[1])))
    keypoints = rows.groupby("keypoint", sort=False)["error"].mean()
    axes[2].barh(range(len(keypoints)), keypoints, color=COLOURS[RECIPE])
    axes[2].set_yticks(range(len(keypoints)), keypoints.index, fontsize=7)
    axes[2].invert_yaxis()
    axes[2].set_xlabel("error, O(3) (% of RMS radius)")
    return figure


def figure_selection(study: Study) -> "matplotlib.figure.Figure":
    """Held-out likelihood, a score that sees pictures only, against the true error: ranks within each category."""
    frame = study.candidates
    ranked = frame.groupby("category")[["held_out", "flip"]].rank(pct=True)
    figure, ax = plots.panels(width=4.2, height=3.4)
    stages = list(dict.fromkeys(frame["stage"]))
    for i, stage in enumerate(stages):
        mine = ranked[frame["stage"] == stage]
        ax.plot(mine["held_out"], mine["flip"], ".", color=plots.CYCLE[i], label=stage, ms=7, alpha=0.7)
    rho = beyond_extra.selection(frame)["rank correlation"].iloc[-1]
    ax.set_xlabel("rank of the held-out likelihood\n(pictures only; 1: likeliest)")
    ax.set_ylabel("rank of the true error (1: worst)")
    ax.set_title(f"{len(frame)} shape models, rank correlation {rho:.2f}")
    ax.legend(fontsize=8)
    return figure


def figure_cameras(extra: Extra) -> "matplotlib.figure.Figure":
    """Errors of shape models learned from, and tested on, cameras that the recipe was not made for."""
    rows = extra.cameras
    worlds = list(beyond_extra.WORLDS)
    figure, ax = plots.panels(width=5.2, height=2.8)
    for i, world in enumerate(worlds):
        mine = rows[rows["cameras"] == world]
        for shift, column, colour in ((-0.12, "o3", "#56b4e9"), (0.12, "flip", COLOURS[RECIPE])):
            label = {"o3": "O(3)", "flip": "flip per category"}[column] if i == 0 else None
            ax.plot(mine[column], [i + shift] * len(mine), ".", color=colour, alpha=0.4)
            mean, sd = mine[column].mean(), mine[column].std()
            ax.errorbar(mean, i + shift, xerr=sd, fmt="o", color=colour, capsize=3, label=label)
    ax.set_yticks(range(len(worlds)), worlds)
    ax.invert_yaxis()
    ax.set(xlabel="PA-MPJPE of the shape model (% of RMS radius)", xlim=(0, None))
    ax.legend(fontsize=8)
    return figure


def headline(study: Study) -> dict[str, Any]:
    """Per category the recipe, its twin and the mean shape: mean per-category flip; and how many goals are reached."""
    mean = study.table.groupby(["category", "method"])["flip"].mean()
    found = goals(study)
    result = {f"{c}: {m}": float(mean[(c, m)]) for c in dict.fromkeys(study.table["category"])
              for m in (RECIPE, TWIN, "mean") if (c, m) in mean.index}  # fmt: skip
    counted, twins = found[found["must"].notna()], found[found["twin"].notna()]
    near = int(twins["within 1.5 x twin"].astype(bool).sum())
    return result | {
        "goals reached": f"{int(counted['reached'].astype(bool).sum())} of {len(counted)}",
        "within 1.5 x twin": f"{near} of {len(twins)}",
    }


def errors_beside(study: Study) -> "pandas.DataFrame":
    """All three mirror policies of the recipe, its handed row, and millimetres where the data has them."""
    rows = study.table[study.table["method"].isin((RECIPE, COMBINED, beyond.HANDED))]
    return rows.groupby(["category", "method"], sort=False)[list(experiments.ERRORS)].mean().round(2)
