"""Beyond the paper: lifting from 2D alone with the recipe, against floors, other methods and the 3D-supervised twin.

The recipe learns a shape model from each category's pictures (`lfmlib.recipe`) and trains the Lifter on what that model
dreams. No 3D label enters it anywhere; nothing is stopped or chosen by 3D.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lfmlib import evaluation, experiments, metrics
from lfmlib.baselines import methods
from lfmlib.baselines import runs as baseline_runs
from lfmlib.data import real, synthetic
from lfmlib.model import LifterConfig
from lfmlib.objectives import ObjectiveConfig
from lfmlib.recipe import evaluation as wake_runs
from lfmlib.recipe.config import RecipeConfig
from lfmlib.recipe.preset import recipe_run
from lfmlib.runs import RunConfig, RunData
from lfmlib.store import RunStore

if TYPE_CHECKING:
    import pandas

# category -> what must be reached and what is aimed at: per-category flip, % of the RMS radius
GOALS = {
    "human17_cmu": (7.3, 5.7), "pascal3d_aeroplane": (1.5, 0.8), "pascal3d_bus": (2.0, 0.8),
    "pascal3d_bottle": (4.0, 0.8), "pascal3d_bicycle": (4.0, 0.8), "pascal3d_sofa": (6.0, 2.0),
    "chair10_keypointnet": (7.0, 5.0), "face68_ict": (3.8, 2.5), "bird18_aves": (8.0, 6.0),
    "fly17_groom": (5.5, 4.0), "dog26_ai4animation": (8.5, 6.0),
}  # fmt: skip
HELD_OUT_GOAL = (10.0, 6.0)  # mean over the CAD categories, every CAD held out once
HELD_OUT = "-heldout"
STAND_INS = ("synthetic_body17", "synthetic_aeroplane8", "synthetic_dog26")  # where no measured data is there
SMOKE = ("synthetic_aeroplane8",)
SHORT = 100  # steps below which a run only shows that the code works
TWIN_FACTOR = 1.5  # of the 3D-supervised twin's error
FLIP_EXCESS = 0.05  # of the O(3) error, by which the per-category flip error may exceed it

RECIPE, COMBINED, HANDED, SHAPE_MODEL = "recipe", "recipe-combined", "recipe-handed", "shape model"
LITERAL, LOW_RANK, LOCAL, TWIN = "paper-literal", "low-rank", "local-low-rank", "twin-3d"
BASELINES = (methods.C3DPO, methods.PAUL_NAME, methods.MLP)
READ_OUT = {LITERAL: "fit"}  # all others: snap


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Args:
        steps: of training, for every method.
        views: evaluation views per category.
        seeds: 0 .. seeds - 1; None: three, or one where it only tries the code.
        evidence: see `RecipeConfig`.
        folds: CAD models that are held out, one after the other, per category; 0: none.
        combined: steps of the network for all categories, in units of `steps`; as many as there are categories and it
            sees as many pictures of each as the network that each had alone.
    """

    steps: int
    views: int
    seeds: int | None = None
    evidence: int = 140_000
    folds: int = 99
    combined: float | int = 4.0

    def __post_init__(self) -> None:
        if self.seeds is None:
            object.__setattr__(self, "seeds", 1 if self.short else 3)

    @property
    def short(self) -> bool:
        """Whether this only tries the code."""
        return self.steps < SHORT


@dataclass(frozen=True)
class Arm:
    """A run of the study: what it is called in the tables, and its configuration."""

    category: str
    method: str
    config: RunConfig


def categories(size: Size) -> tuple[str, ...]:
    """The measured categories of the goals that are there, or synthetic ones in their place."""
    if size.short:
        return SMOKE
    found = set(real.available()) if real.folder() else set()
    return tuple(name for name in GOALS if name in found) or STAND_INS


def recipe_config(size: Size, **changes: Any) -> RecipeConfig:
    """The recipe at the study's size."""
    if size.short:
        changes = {"rigid": 10, "gaussian": 5, "mixture": 3, "components": (2,), "restarts": 2} | changes
    return RecipeConfig(**{"evidence": size.evidence} | changes)


def recipe(names: Sequence[str], seed: int, size: Size, **changes: Any) -> RunConfig:
    """Run of the recipe: one setting for every category.

    Args:
        names: categories that one network learns together.
        seed, size: of the run.
        changes: fields of RunConfig that differ.
    """
    plain = recipe_run(
        names, recipe=recipe_config(size), steps=size.steps, seed=seed, evaluations=min(4, size.steps),
        count=synthetic.cap("smoke" if size.short else "cpu"), test_views=size.views,
    )  # fmt: skip
    return replace(plain, **changes)


def twin(names: Sequence[str], seed: int, size: Size, **changes: Any) -> RunConfig:
    """The 3D-supervised twin: the same network, optimiser and steps, with true shapes for dreamt ones.

    A shape can be seen from all sides, so the twin has fresh views: what 3D buys is not held back from it.
    """
    same = recipe(names, seed, size)
    return replace(
        same, objective=ObjectiveConfig(reprojection=0, supervised_3d=1), recipe=None, views="fresh", **changes
    )  # fmt: skip


def literal(names: Sequence[str], seed: int, size: Size, **changes: Any) -> RunConfig:
    """Eq. 1 alone, the encoding in every layer, weight 1, batch 64: nothing of ours. As many pictures as the recipe."""
    plain = replace(
        recipe(names, seed, size), model=LifterConfig(), objective=ObjectiveConfig(), recipe=None, lr=1e-3,
        betas=(0.9, 0.999), warmup=0, ema=0.0, batch=64, steps=max(1, size.steps // 2),
    )  # fmt: skip
    return replace(plain, **changes)


def low_rank(names: Sequence[str], seed: int, size: Size) -> RunConfig:
    """Eq. 1 with a nuclear norm on canonical shapes, encoding weight 10 at the input."""
    model = LifterConfig(injection="input", alpha=10.0)
    return literal(names, seed, size, model=model, objective=ObjectiveConfig(low_rank=0.03, read_out="snap"))


def local_low_rank(names: Sequence[str], seed: int, size: Size) -> RunConfig:
    """The same with the norm on subsets of shapes that look alike, as ALLRAP has it."""
    model = LifterConfig(injection="input", alpha=10.0)
    return literal(names, seed, size, model=model, objective=ObjectiveConfig(low_rank_subsets=0.03, read_out="snap"))


METHODS = {RECIPE: recipe, LITERAL: literal, LOW_RANK: low_rank, LOCAL: local_low_rank, TWIN: twin}


def arms(size: Size, methods: Sequence[str] = tuple(METHODS)) -> list[Arm]:
    """Every method on every category with every seed; held-out CADs for the recipe and its twin."""
    names = categories(size)
    result = [
        Arm(name, method, METHODS[method]((name,), seed, size))
        for seed in range(size.seeds) for method in methods for name in names
    ]  # fmt: skip
    for method in (RECIPE, TWIN):
        if method in methods:
            result += [
                Arm(name + HELD_OUT, method, METHODS[method]((name,), fold, size, fold=fold))
                for name in names for fold in range(min(size.folds, _shapes(name)))
            ]  # fmt: skip
    return result


def _shapes(name: str) -> int:
    """CAD models of a category that can be held out; 0 where it has a test split of its own."""
    (shapes,) = RunData.of(RunConfig((name,), count=10)).train if name.startswith("pascal3d_") else (None,)
    return 0 if shapes is None else len(shapes)


def combined_arms(size: Size) -> list[Arm]:
    """One network for all categories, per seed.

    Half as wide again as the network of one category, and with a code of its own for every keypoint of every category:
    the analytic code is the same for the third keypoint of a person and of a chair. Chosen without 3D: in 1,500 steps
    on 11 categories (one seed) the loss on dreams fell from 0.0210 to 0.0123, Eq. 1 on other pictures from 0.0144 to
    0.0052.
    """
    names, steps = categories(size), round(size.combined * size.steps)
    arms = [recipe(names, seed, size, steps=steps, lr=4e-3) for seed in range(size.seeds)]
    model = replace(arms[0].model, width=96, encoding="learned")
    return [Arm("", COMBINED, replace(config, model=model)) for config in arms]


def label_arms(size: Size, shares: Sequence[float] = (0.01, 0.1)) -> list[Arm]:
    """The twin with few labels: a share of the training frames has 3D, the others are not used."""
    names = [n for n in categories(size) if n in ("human17_cmu", "dog26_ai4animation", "synthetic_body17", *SMOKE)]
    return [
        Arm(name, f"{TWIN}, {100 * share:g} % of labels", twin((name,), seed, size, share=share))
        for name in names for share in shares for seed in range(size.seeds)
    ]  # fmt: skip


@dataclass(frozen=True)
class Study:
    """Result rows, curves over the steps, the shape models' candidates, and where they come from, run by run."""

    table: "pandas.DataFrame"
    curves: "pandas.DataFrame"
    candidates: "pandas.DataFrame"
    records: list[dict[str, Any]]


def measure(size: Size, workers: int | None = None, store: RunStore | None = None) -> Study:
    """Trains what is missing and gathers the rows; floors are measured on the same views as the runs."""
    import pandas

    store = store or RunStore()
    every = arms(size) + combined_arms(size) + label_arms(size)
    records = experiments.run_grid([arm.config for arm in every], workers, store)
    rows, curves = [], []
    for arm, record in zip(every, records, strict=True):
        rows += recipe_rows(arm, record)
        curves += [row for row in experiments.curve_rows(store, record, method=arm.method)
                   if row["read_out"] == READ_OUT.get(arm.method, "snap")]  # fmt: skip
    names = categories(size)
    for name in names:
        floors = experiments.floor_rows(recipe((name,), 0, size), range(size.seeds), steps=0, seconds=0.0, device="")
        rows += [row for row in floors if row["category"] == name]
    alone = [recipe((name,), seed, size) for name in names for seed in range(size.seeds)]
    jobs = [(method, config) for config in alone for method in BASELINES]
    trained = baseline_runs.records(jobs, workers, store)
    rows += baseline_runs.rows(trained)
    found = wake_runs.rows(alone, workers, store)
    rows += [{**row, "method": SHAPE_MODEL} for row in found if row["chosen"]]
    found = [{**row, "method": f"{SHAPE_MODEL}: {row['stage']}, {row['components']}"} for row in found]
    return Study(
        in_columns(rows), pandas.DataFrame(curves), pandas.DataFrame(found),
        experiments.run_summaries([*records, *trained]),
    )  # fmt: skip


def in_columns(rows: Sequence[dict[str, Any]]) -> "pandas.DataFrame":
    """A table of results, its common columns first."""
    import pandas

    table = pandas.DataFrame(rows)
    front = ["category", "data", "method", "seed", "steps", "seconds", "device", *experiments.ERRORS]
    return table[[*front, *(c for c in table.columns if c not in front)]]


def recipe_rows(arm: Arm, record: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per category of a run: last step, the method's own read-out."""
    wanted = READ_OUT.get(arm.method, "snap")
    seconds, device = record["provenance"]["seconds"], record["provenance"]["device"]
    wake = {w["category"]: w for w in record.get("wake", ())}
    result = []
    for row in experiments.rows(record):
        if row["stop"] != "last" or row["read_out"] != wanted or row["category"] == metrics.CLASS_MEAN:
            continue
        result.append({
            "data": row["data"], "category": arm.category or row["category"], "method": arm.method,
            "seed": row["seed"], "steps": arm.config.steps,
            "seconds": round(seconds + sum(w["seconds"] for w in wake.values()), 1), "device": device,
            **{name: row[name] for name in experiments.ERRORS}, "mirror_mistakes": row["mirror_mistakes"],
            "health": evaluation.health(record["final"]["validation"]["depth"] if record["final"] else None),
            "run": row["run"],
        })  # fmt: skip
        bit = wake[row["category"]]["mirrored"] if arm.method == RECIPE else None
        if bit is not None:
            result.append({**result[-1], "method": HANDED, "so3": _with_bit(row, bit)})
    return result


def _with_bit(row: dict[str, Any], bit: bool) -> float:
    """SO(3) error once the rig's annotation has said which of a category's two sides the dreams are."""
    mirrored = row["so3"] > row["flip"]
    if bit == mirrored:
        return row["flip"]
    return row["so3"] if mirrored else float("nan")  # a wrong bit: the error of the other side was not measured
