"""The switches that the paper leaves open, one at a time around its literal run: camera, Eq. 3, Eq. 2, early stopping.

No claim is judged here: the paper prints nothing on them. What stops by 3D labels says so in its name.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lfmlib import plots, verdicts
from lfmlib.experiments import ERRORS
from lfmlib.objectives import ObjectiveConfig
from lfmlib.store import RunStore
from lfmlib.studies import literal
from lfmlib.studies.literal import LITERAL, Arm, Size, Study, overall, scored, shared_legend

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas

AS_PRINTED = "as printed"
# switch -> (fields of LifterConfig, fields of RunConfig) that differ from the literal run
SWITCHES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    AS_PRINTED: ({}, {}),
    "camera by pinv + SVD": ({}, {"objective": ObjectiveConfig(camera="algebraic")}),
    "Eq. 3 on Q and K alone": ({"into": "qk"}, {}),
    "Eq. 3 without Eq. 2": ({"keep_input": False}, {}),
}
STOPS = {"last": AS_PRINTED, "2d": "stopped by Eq. 1", "3d": "stopped by 3D (uses labels)"}
WEIGHTS = (1.0, 10.0)


def grid(size: Size, weights: Sequence[float] = WEIGHTS, sets: int = 1) -> list[Arm]:
    """A run for every data set, switch, alpha and seed.

    Args:
        size: of the runs; with that of the study on injection, the literal runs are shared.
        weights: encoding weights alpha.
        sets: how many of the data sets, the people first.
    """
    return [
        Arm(name, {"switch": switch, "alpha": alpha},
            literal.run(categories, size, seed, {"alpha": alpha} | model, **changes))
        for name, categories in list(literal.sets().items())[:sets]
        for switch, (model, changes) in SWITCHES.items()
        for alpha in weights
        for seed in range(size.seeds)
    ]  # fmt: skip


def measure(arms: Sequence[Arm], workers: int | None = None, store: RunStore | None = None) -> Study:
    """Trains what is missing; one row per data set, switch or stop, alpha and seed, shape as fitted; floors."""
    import pandas

    study = literal.measure(arms, workers, store)
    rows = overall(study)
    last, by_3d = literal.as_fitted(rows), literal.as_fitted(rows, "3d")
    stopped = [
        by_3d[by_3d["switch"] == AS_PRINTED].assign(switch=STOPS["3d"]),
        stopped_by_eq1(study.curves[study.curves["switch"] == AS_PRINTED]).assign(switch=STOPS["2d"]),
    ]
    floors = rows[rows["alpha"].isna()].assign(switch="")
    parts = [frame.dropna(axis=1, how="all") for frame in (last, *stopped, floors)]
    table = pandas.concat(parts, ignore_index=True)
    ours = table["alpha"].notna()
    table.loc[ours, "method"] = [_method(row) for row in table[ours].to_dict("records")]
    front = ["data", "set", "category", "method", "switch", "alpha", "seed", *ERRORS, "eq1", "step"]
    return Study(table.reindex(columns=front), study.curves, study.records)


def _method(row: dict[str, Any]) -> str:
    if row["switch"] == AS_PRINTED and row["alpha"] == 1:
        return LITERAL
    return f"{row['switch']}, weight {row['alpha']:g}"


def stopped_by_eq1(curves: "pandas.DataFrame") -> "pandas.DataFrame":
    """The point of each run's curve with the least Eq. 1 on validation pictures: early stopping without 3D labels."""
    fitted = curves[curves["read_out"] == "fit"]
    chosen = fitted.loc[fitted.groupby(["set", "switch", "alpha", "seed"])["eq1"].idxmin()]
    return chosen.assign(category=chosen["set"].map(scored))


def effects(study: Study) -> "pandas.DataFrame":
    """What each switch does, paired by seed with the run as printed of the same weight.

        d_i = flip_i(switch) - flip_i(as printed);   low, high = mean d -+ t_{0.975, n-1} sd(d) / sqrt(n)

    Returns:
        Per data set, alpha and switch: mean error, sd, mean difference, its 95 % interval, Eq. 1, mean step.
    """
    import pandas

    ours, result = study.table[study.table["alpha"].notna()], []
    for (name, alpha), rows in ours.groupby(["set", "alpha"], sort=False):
        base = rows[rows["switch"] == AS_PRINTED].set_index("seed")["flip"]
        for switch, runs in rows.groupby("switch", sort=False):
            d = runs.set_index("seed")["flip"] - base
            half = verdicts.t95(len(d) - 1) * d.std() / math.sqrt(len(d))
            result.append({
                "set": name, "weight": alpha, "switch": switch, "error": runs["flip"].mean(), "sd": runs["flip"].std(),
                "difference": d.mean(), "low": d.mean() - half, "high": d.mean() + half,
                "Eq. 1": runs["eq1"].mean(), "step": runs["step"].mean(),
            })  # fmt: skip
    return pandas.DataFrame(result)


def figure(study: Study) -> "matplotlib.figure.Figure":
    """Error of each switch, a colour per encoding weight, with the floors."""
    rows = study.table
    names = list(dict.fromkeys(rows["set"]))
    figure, axes = plots.panels(len(names), 1, width=7.8, height=3.4, squeeze=False)
    for ax, name in zip(axes[:, 0], names, strict=True):
        mine = rows[(rows["set"] == name) & rows["alpha"].notna()]
        mine = mine.assign(weight="weight " + mine["alpha"].map("{:g}".format), switch=mine["switch"].map(_broken))
        plots.points(mine, "switch", "flip", "weight", ax=ax, floors=literal.floors(rows, name, "flip"), title=name)
        ax.tick_params(axis="x", rotation=0)
        ax.set(ylim=(0, None), xlabel="")
    return shared_legend(figure, axes[:, 0])


def _broken(words: str) -> str:
    """In two lines, to stand below an axis."""
    first, _, rest = words.partition(" ")
    second, _, last = rest.partition(" ")
    return f"{first} {second}\n{last}".strip()
