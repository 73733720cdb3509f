"""Table 2: a network per category against one network for all of them, and what happens as categories are added.

Eq. 1 alone trains these runs, at the encoding weight of the paper and at 10. A network for n categories sees as many
pictures of each as a network alone only if it trains n times as long: every arm's name says which it did.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lfmlib import evaluation, experiments, metrics, profiles, provenance, rigs, verdicts
from lfmlib.data import real, synthetic
from lfmlib.runs import RunConfig
from lfmlib.store import RunStore
from lfmlib.studies import beyond, literal
from lfmlib.studies.literal import LITERAL

if TYPE_CHECKING:
    import pandas

WEIGHTS = (1.0, 10.0)
ALONE, SCALE, EVERYTHING = "alone", "categories added", "every category there is"
FACTOR = "combined, {:g}x the steps"
EQUAL_STEPS, EQUAL_SAMPLES = "combined, equal steps", "combined, equal samples per category"
COUNTS = (1, 2, 4, 8)  # categories that a network learns together, then all of them
FRAMES = {"smoke": 40, "cpu": 400}  # of a synthetic category where every category is there
# row of Table 2 -> measured categories that stand for it; the ten of Pascal3D+ are a few CAD models each
ROWS = {
    "T2-aeroplane": ("pascal3d_aeroplane",), "T2-bottle": ("pascal3d_bottle",),
    "T2-chair": ("pascal3d_chair", "chair10_keypointnet"), "T2-sofa": ("pascal3d_sofa",),
    "T2-bicycle": ("pascal3d_bicycle",), "T2-car": ("pascal3d_car",), "T2-drosophilia": ("fly17_groom",),
}  # fmt: skip
STAND_INS = {
    "T2-aeroplane": "synthetic_aeroplane8", "T2-bottle": "synthetic_bottle7", "T2-chair": "synthetic_chair10",
    "T2-sofa": "synthetic_sofa10", "T2-bicycle": "synthetic_bicycle11", "T2-car": "synthetic_car12",
    "T2-drosophilia": "synthetic_fly38",
}  # fmt: skip
# of a car there is one mean shape alone, and the annotated aeroplanes show the shapes of pascal3d_aeroplane
LEFT_OUT = ("pascal3d_car", "pascal3d_aeroplane_views")


@dataclass(frozen=True)
class Size(literal.Size):
    """How large the study is.

    Args:
        combined: steps of the network for all categories, in units of `steps`; more than there are categories means as
            many as there are, where it sees as many pictures of each as the network that each had alone.
        keypoints: categories with more of them are left out of Table 2: every batch is padded to the largest.
    """

    combined: float | int = 4.0
    keypoints: int = 99


@dataclass(frozen=True)
class Arm:
    """A run: how it is trained ("paper-literal", "weight 10", "recipe"), together with what, and its configuration."""

    setting: str
    arm: str
    config: RunConfig

    @property
    def columns(self) -> dict[str, Any]:
        """What tells its rows from others."""
        together = len(self.config.categories)
        named = {"method": f"{self.setting}, {self.arm}", "setting": self.setting, "arm": self.arm}
        return {**named, "together": together, "steps": self.config.steps}


@dataclass(frozen=True)
class Study:
    """Result rows, curves over the steps, what each run trained on, and the categories of Table 2 in their order."""

    table: "pandas.DataFrame"
    curves: "pandas.DataFrame"
    records: list[dict[str, Any]]
    categories: tuple[str, ...]
    recipe: str  # where its rows come from, or why there are none


def categories(size: Size) -> tuple[str, ...]:
    """Measured categories that Table 2 has, then all others that are there; without any, synthetic ones for Table 2."""
    found = _measured() if size.profile != "smoke" else ()
    small = [name for name in found if _rig(name).n <= size.keypoints]
    listed = [name for key in ROWS for name in small if row_of(name) == key]
    return (*listed, *(name for name in small if name not in listed)) or tuple(STAND_INS.values())


def row_of(category: str) -> str | None:
    """The claim of Table 2 that a category stands for; None for all others."""
    bare = category.removeprefix("c3dpo_")
    return next((key for key in ROWS if bare in ROWS[key] or bare == STAND_INS[key]), None)


def grid(size: Size) -> list[Arm]:
    """Per weight and seed: each category alone, all of them in one network, and nested sets; then every category."""
    names, result = categories(size), []
    factor = min(size.combined, len(names))
    counts = [n for n in COUNTS if n < len(names)] + [len(names)]
    for weight in WEIGHTS:
        setting = LITERAL if weight == 1 else f"weight {weight:g}"
        for seed in range(size.seeds):
            result += [Arm(setting, ALONE, _run((name,), size, seed, weight)) for name in names]
            for steps in dict.fromkeys((1, factor)):
                result.append(Arm(setting, _combined(steps, len(names)), _run(names, size, seed, weight, steps)))
            for n in counts:  # the last of them is the combined run
                share = factor * n / len(names)
                result.append(Arm(setting, SCALE, _run(names[:n], size, seed, weight, share)))
    return result + [Arm(LITERAL, EVERYTHING, everything(size, seed)) for seed in range(size.seeds)]


def everything(size: Size, seed: int) -> RunConfig:
    """One network for all synthetic and measured categories, the paper-literal run."""
    names = (*synthetic.categories(), *(_measured() if size.profile != "smoke" else ()))
    count = FRAMES.get(size.profile, synthetic.CAP)
    return literal.run(names, size, seed, steps=size.steps, count=count, test_views=20, evaluations=1)


def measure(size: Size, workers: int | None = None, store: RunStore | None = None) -> Study:
    """Trains what is missing and gathers the rows; the floors are measured on the same views as the runs."""
    import pandas

    arms, store = grid(size), store or RunStore()
    workers = 0 if size.profile == "smoke" and workers is None else workers  # processes would take longer to start
    records = experiments.run_grid([arm.config for arm in arms], workers, store)
    table, curves, tags = [], [], {}
    for arm, record in zip(arms, records, strict=True):
        tags |= {name: entry["tag"] for name, entry in record["data"].items()}
        table += _rows(arm, record)
        points = experiments.curve_rows(store, record, **arm.columns, run=record["id"])
        curves += [row for row in points if row["read_out"] == "fit"]
    for names, config in {arm.config.categories: arm.config for arm in arms}.items():
        blank = {"setting": "", "arm": "", "together": len(names), "steps": 0}
        table += _categories_only(experiments.floor_rows(config, range(size.seeds), **blank))
    recipe, told = _recipe_rows(size.profile, workers, store)
    records += [store.record(run) for run in dict.fromkeys(row["run"] for row in recipe)]
    frame = pandas.DataFrame(table)
    frame["data"] = frame["category"].map(tags)  # a row's own tag: every category there is, is both
    frame = pandas.concat([frame, pandas.DataFrame(recipe)], ignore_index=True)
    front = ["data", "category", "method", "seed", *experiments.ERRORS]
    frame = frame[front + [c for c in frame.columns if c not in (*front, "read_out", "stop")]]
    return Study(frame, pandas.DataFrame(curves), experiments.run_summaries(records), categories(size), told)


def _run(names: Sequence[str], size: Size, seed: int, weight: float, factor: float | int = 1) -> RunConfig:
    steps = max(1, round(factor * size.steps))
    return literal.run(names, size, seed, {"alpha": weight}, steps=steps, test_views=max(20, size.views))


def _combined(factor: float | int, together: int) -> str:
    return EQUAL_STEPS if factor == 1 else EQUAL_SAMPLES if factor == together else FACTOR.format(factor)


def _measured() -> tuple[str, ...]:
    found = real.available() if real.folder() else ()
    return tuple(name for name in found if name not in LEFT_OUT)


def _rig(name: str) -> rigs.Rig:
    return rigs.get(name) if name in rigs.names() else real.load(name).rig


def _rows(arm: Arm, record: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per category: last step, shape as fitted; `frames` are those of the category that it was trained on."""
    depth = record["final"]["validation"]["depth"] if record["final"] else None
    mine = [r for r in experiments.rows(record, **arm.columns) if (r["stop"], r["read_out"]) == ("last", "fit")]
    return [
        {**row, "frames": record["data"][row["category"]]["frames"]["train"], "health": evaluation.health(depth)}
        for row in _categories_only(mine)
    ]


def _categories_only(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["category"] != metrics.CLASS_MEAN]


def _recipe_rows(profile: str, workers: int | None, store: RunStore) -> tuple[list[dict[str, Any]], str]:
    """The recipe alone and combined: runs that notebook 12 shares, trained by whichever comes first."""
    sizes = profiles.read(provenance.repository_root() / "notebooks" / "profiles.yml").get(profile, {}).get("12")
    if sizes is None:
        return [], f"profile {profile} has no notebook 12"
    size = replace(beyond.Size(**sizes), folds=0)
    if size.seeds < verdicts.MIN_SEEDS:
        return [], f"notebook 12 has {size.seeds} seed in profile {profile}"
    arms = beyond.arms(size, (beyond.RECIPE,)) + beyond.combined_arms(size)
    records = experiments.run_grid([arm.config for arm in arms], workers, store)
    names, result = beyond.categories(size), []
    for arm, record in zip(arms, records, strict=True):
        kind = ALONE if arm.method == beyond.RECIPE else _combined(size.combined, len(names))
        columns = Arm(beyond.RECIPE, kind, arm.config).columns
        result += [
            {**row, **columns, "frames": record["data"][row["category"]]["frames"]["train"]}
            for row in beyond.recipe_rows(arm, record) if row["method"] != beyond.HANDED
        ]  # fmt: skip
    return result, "runs of notebook 12"
