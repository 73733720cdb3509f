"""Tables from the runs of `table2`: Table 2 beside ours, the error as categories are added, and epochs."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lfmlib import claims, experiments
from lfmlib.studies.table2 import ALONE, EVERYTHING, SCALE, Study, row_of

if TYPE_CHECKING:
    import pandas

CLOSE = 0.1  # of the last value: a curve that stays this near to it has converged
FIRST, MEAN = "first category", "mean of all, % of flat"
CRITERIA = {"eq1": "Eq. 1 on validation pictures (2D)", "flip": "3D error"}


def compare(study: Study) -> "pandas.DataFrame":
    """Per training, combined network and category: ours alone and combined, beside the row of Table 2.

    The improvement 1 - combined / alone is taken seed by seed; errors are the per-category flip in % of the RMS radius.
    """
    import pandas

    result = []
    for (setting, arm), rows in _combined(study).groupby(["setting", "arm"], sort=False):
        for category, ours in rows.groupby("category", sort=False):
            alone, gain = rows_of(study, setting, ALONE, category), _gain(study, setting, arm, category)
            result.append({
                "category": category, "training": setting, "against": arm,
                **printed(row_of(category)), "frames": int(ours["frames"].iloc[0]),
                "alone mean": alone["flip"].mean(), "alone sd": alone["flip"].std(),
                "combined mean": ours["flip"].mean(), "combined sd": ours["flip"].std(),
                "improvement % mean": gain.mean(), "improvement % sd": gain.std(),
                "ended flat alone": int((alone["health"] == "flat").sum()), "seeds": len(ours),
                **{f"floor: {name}": level for name, level in floors(study, [category]).items()},
            })  # fmt: skip
    return pandas.DataFrame(result)


def scale(study: Study) -> "pandas.DataFrame":
    """Per training, number of categories and seed: the error of the first one, and the mean in % of the flat floors."""
    import pandas

    result = []
    rows = study.table[study.table["arm"] == SCALE]
    for (setting, together, seed), mine in rows.groupby(["setting", "together", "seed"], sort=False):
        flat = mine["category"].map(lambda name: floors(study, [name])["flat"])
        first = mine[mine["category"] == study.categories[0]]
        result.append({
            "training": setting, "categories": together, "seed": seed, "steps": int(mine["steps"].iloc[0]),
            FIRST: float(first["flip"].iloc[0]), MEAN: float((100 * mine["flip"] / flat).mean()),
        })  # fmt: skip
    return pandas.DataFrame(result)


def epochs(study: Study) -> "pandas.DataFrame":
    """Per run, how many epochs it lasts and after how many it stays within 10 % of its last value.

    An epoch is as many pictures as there are training frames. `own frames` is False where these are a few CAD models,
    each seen anew in every picture: an epoch of them means nothing.
    """
    import pandas

    summary, result = {record["id"]: record for record in study.records}, []
    curves = study.curves[study.curves["arm"] != SCALE]
    for (setting, arm, run), points in curves.groupby(["setting", "arm", "run"], sort=False):
        record, points = summary[run], points.sort_values("step")
        data = record["data"].values()
        frames = sum(entry["frames"]["train"] for entry in data)
        per_step = record["config"]["batch"] / frames
        names = ", ".join(record["data"]) if len(data) == 1 else f"{len(data)} categories"
        for column, criterion in CRITERIA.items():
            result.append({
                "training": setting, "arm": arm, "categories": names,
                "seed": record["config"]["seed"], "criterion": criterion, "frames": frames,
                "own frames": any(entry["fingerprint"]["train"] != entry["fingerprint"]["test"] for entry in data),
                "epochs of the run": record["config"]["steps"] * per_step,
                "epochs until close": close(points["step"].tolist(), points[column].tolist()) * per_step,
            })  # fmt: skip
    return pandas.DataFrame(result)


def readme_table(study: Study) -> "pandas.DataFrame":
    """For the README: class means alone and combined per training, mean ± sd over seeds, and the floors."""
    import pandas

    result = []
    for setting in settings(study):
        own = study.table[study.table["setting"] == setting]
        arms = [arm for arm in dict.fromkeys(own["arm"]) if arm not in (SCALE, EVERYTHING)]
        names = names_of(study, setting)
        for arm in arms:
            means = rows_of(study, setting, arm).groupby("seed")[list(experiments.ERRORS[:3])].mean()
            numbers = {column: f"{means[column].mean():.1f} ± {means[column].std():.1f}" for column in means}
            result.append({"data": data_of(names), "run": f"{setting}, {arm}", **numbers, "seeds": len(means)})
        for floor in ("flat", "mean"):
            rows = study.table[(study.table["method"] == floor) & study.table["category"].isin(names)]
            means = rows.groupby("category")[list(experiments.ERRORS[:3])].mean().mean()
            numbers = {column: f"{means[column]:.1f}" for column in means.index}
            result.append(
                {"data": data_of(names), "run": f"floor: {floor}", **numbers, "seeds": rows["seed"].nunique()}
            )
    frame = pandas.DataFrame(result).drop_duplicates()
    return frame.rename(columns={"o3": "O(3)", "so3": "SO(3)", "flip": "flip per category"})


def headline(study: Study) -> dict[str, Any]:
    """Mean improvement of Table 2's rows per training, in %; and where the recipe's rows come from."""
    listed = [name for name in study.categories if row_of(name)]
    gains = {
        f"{setting}, {main_arm(study, setting)}: mean improvement, %":
            float(mean_gain(study, setting, [n for n in listed if n in names_of(study, setting)]).mean())
        for setting in settings(study)
    }  # fmt: skip
    return gains | {"recipe": study.recipe}


def floors(study: Study, names: list[str]) -> dict[str, float]:
    """Mean over the categories of each floor."""
    mine = study.table[study.table["category"].isin(names)]
    return {floor: float(mine[mine["method"] == floor]["flip"].mean()) for floor in ("flat", "mean")}


def main_arm(study: Study, setting: str) -> str:
    """The combined network that was trained longest: the nearest to equal samples per category."""
    rows = _combined(study)
    return str(rows[rows["setting"] == setting].sort_values("steps")["arm"].iloc[-1])


def settings(study: Study) -> list[str]:
    """The trainings that have a network alone and a combined one."""
    return list(dict.fromkeys(_combined(study)["setting"]))


def names_of(study: Study, setting: str) -> list[str]:
    return list(dict.fromkeys(rows_of(study, setting, ALONE)["category"])) or list(study.categories)


def rows_of(study: Study, setting: str, arm: str, category: str | None = None) -> "pandas.DataFrame":
    rows = study.table[(study.table["setting"] == setting) & (study.table["arm"] == arm)]
    return (rows if category is None else rows[rows["category"] == category]).sort_values("seed")


def mean_gain(study: Study, setting: str, names: list[str]) -> "pandas.Series":
    """Mean over the categories of the improvement in %, by seed."""
    return sum(_gain(study, setting, main_arm(study, setting), name) for name in names) / len(names)


def class_mean(study: Study, setting: str, arm: str, names: list[str]) -> "pandas.Series":
    rows = rows_of(study, setting, arm)
    return rows[rows["category"].isin(names)].groupby("seed")["flip"].mean()


def tag(study: Study) -> str:
    return "real" if (study.table["data"] == "real").any() else "synthetic"


def data_of(names: list[str]) -> str:
    return f"class mean of {len(names)} categories"


def _combined(study: Study) -> "pandas.DataFrame":
    return study.table[study.table["arm"].str.startswith("combined")]


def _gain(study: Study, setting: str, arm: str, category: str) -> "pandas.Series":
    """Improvement in % by seed."""
    alone, ours = (rows_of(study, setting, a, category).set_index("seed")["flip"] for a in (ALONE, arm))
    return 100 * (1 - ours / alone)


def close(steps: Sequence[int], values: Sequence[float | int]) -> float:
    """The first step from which on a curve stays within CLOSE of its last value."""
    near = [abs(value - values[-1]) <= CLOSE * abs(values[-1]) for value in values]
    last_far = max((i for i, ok in enumerate(near) if not ok), default=-1)
    return float(steps[min(last_far + 1, len(steps) - 1)])


def printed(key: str | None) -> dict[str, Any]:
    """What Table 2 prints in that row: samples, both errors in its "mm", improvement in %."""
    if key is None:
        return dict.fromkeys(("paper row", "paper samples", "paper alone", "paper combined", "paper improvement %"))
    claim = claims.get(key)
    samples = int(re.search(r"n=(\d+)", claim.setting)[1])
    before, after = claim.pair
    gain = 100 * (1 - after / before)
    return {"paper row": key, "paper samples": samples, "paper alone": before, "paper combined": after,
            "paper improvement %": gain}  # fmt: skip
