"""Table 1: every method on people and on the CAD categories, each trained on the same shapes as the paper-literal run.

What the paper takes from other papers is trained here: same shapes, cameras, batches and number of steps, and learning
rates that held-out pictures choose. What uses 3D says so in its name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lfmlib import claims, evaluation, experiments, metrics, verdicts
from lfmlib.baselines import methods, scene_depth
from lfmlib.baselines import runs as baseline_runs
from lfmlib.baselines.methods import METHODS
from lfmlib.baselines.nearest import nearest_shape_oracle
from lfmlib.data.shapes import ShapeSet
from lfmlib.objectives.plausibility import resized
from lfmlib.run_views import measuring_views
from lfmlib.runs import RunConfig, RunData
from lfmlib.store import RunStore
from lfmlib.studies import ablation, encodings, literal
from lfmlib.studies.literal import LITERAL, STANDS_FOR, Arm, Size, overall
from lfmlib.verdicts import Verdict

if TYPE_CHECKING:
    import pandas

INPUT_VIT, INPUT_RFF, INPUT_LAP = "ViT at the input", "Fourier at the input", "Laplacian at the input"
DEPTH, DEPTH_ALL = "scene depth, oracle (3D)", "scene depth, oracle, hidden too (3D)"
NEAREST = "nearest training shape, oracle (3D)"
PRINTED = {  # method -> claims of its row, without the data set
    methods.C3DPO: "T1-C3DPO", methods.PAUL_NAME: "T1-PAUL", methods.LFM: "T1-3DLFM", methods.SIMPLE: "T1-SB",
    DEPTH: "T1-VGGT", INPUT_VIT: "T1-ViTin", INPUT_RFF: "T1-FouIn", INPUT_LAP: "T1-LapIn", LITERAL: "T1-Ours",
}  # fmt: skip
BASELINES = tuple(name for name, known in METHODS.items() if known.sees != methods.DREAMS)
ORDER = (
    "flat", "mean", NEAREST, methods.FACTORIZATION, methods.NUCLEAR, methods.C3DPO, methods.C3DPO_ALL,
    methods.PAUL_NAME, methods.DEEP, DEPTH, DEPTH_ALL, methods.SIMPLE, methods.LFM, INPUT_VIT, INPUT_RFF, INPUT_LAP,
    LITERAL,
)  # fmt: skip
EVIDENCE = "03_table1/table.csv"
SAME_RATE = {methods.C3DPO_ALL: methods.C3DPO}
SMOKE = {methods.FACTORIZATION: {"pictures": 150}, methods.NUCLEAR: {"pictures": 150, "iterations": 10}}  # no steps


@dataclass(frozen=True)
class Study(literal.Study):
    """Rows, curves and records of all methods; and what learning rates were tried."""

    searched: "pandas.DataFrame"


def arms(size: Size) -> list[Arm]:
    """The paper's own rows: the encoding in every layer, and three encodings at the input, at weight 1."""
    result = []
    for name, categories in literal.sets().items():
        models = {LITERAL: {}, INPUT_RFF: {"injection": "input"}, INPUT_VIT: {"injection": "input", "encoding": "vit"}}
        if not encodings.without_graph("laplacian", encodings.rigs(categories, size)):
            models[INPUT_LAP] = {"injection": "input", "encoding": "laplacian"}
        result += [
            Arm(name, {"method": method}, literal.run(categories, size, seed, {"alpha": 1.0} | model))
            for method, model in models.items() for seed in range(size.seeds)
        ]  # fmt: skip
    return result


def measure(size: Size, steps: int, workers: int | None = None, store: RunStore | None = None) -> Study:
    """Trains what is missing and gathers the rows of every method.

    Args:
        size: of the paper-literal runs.
        steps: of every baseline's network.
        workers, store: see `experiments.run_grid`.
    """
    import pandas

    store = store or RunStore()
    own = literal.measure(arms(size), workers, store)
    searched, rates = search(size, steps, workers, store)
    jobs, sets = [], []
    for name, categories in literal.sets().items():
        several = len(categories) > 1
        for method in BASELINES:
            if METHODS[method].several and not several and method != methods.LFM:
                continue  # with one category it is the method beside it
            for seed in range(size.seeds):
                changes = SMOKE.get(method, {}) if size.profile == "smoke" else {}
                if (rate := rates.get((name, SAME_RATE.get(method, method)))) is not None:
                    changes = changes | {"lr": rate}
                jobs.append((method, replace(literal.run(categories, size, seed), steps=steps), changes))
                sets.append(name)
    trained = baseline_runs.records(jobs, workers, store)
    rows = [
        {**row, "set": name, "stop": "last", "read_out": "fit"}
        for name, record in zip(sets, trained, strict=True)
        for row in baseline_runs.rows([record], baseline_runs.AS_GIVEN)
    ]
    known = [(name, literal.run(c, size, seed)) for name, c in literal.sets().items() for seed in range(size.seeds)]
    rows += experiments.spread(_oracles, known, workers)
    extra = pandas.DataFrame(rows)
    mean = extra["category"] == metrics.CLASS_MEAN
    extra.loc[mean, "category"] = extra["set"].map(literal.scored)
    table = pandas.concat([own.table, extra], ignore_index=True)
    return Study(table, own.curves, [*own.records, *experiments.run_summaries(trained)], searched)


def search(
    size: Size, steps: int, workers: int | None, store: RunStore
) -> tuple["pandas.DataFrame", dict[tuple[str, str], float]]:
    """Learning rates that each baseline was offered, on the first category of each set; the best, by set and method.

    Judged by a method's own loss on held-out pictures after the steps that it gets here: a rate that is right for long
    training has hardly begun after short.
    """
    import pandas

    tried = [
        (name, method, replace(literal.run(categories[:1], size, 0), steps=steps), str(store.root))
        for name, categories in literal.sets().items() for method in BASELINES if METHODS[method].rates
    ]  # fmt: skip
    searched = pandas.DataFrame(experiments.spread(_searched, tried, workers))
    best = searched.loc[searched.groupby(["set", "method"])["held-out loss"].idxmin()]
    searched["used"] = searched.index.isin(best.index)
    return searched, {(row["set"], row["method"]): row["lr"] for row in best.to_dict("records")}


def _searched(name: str, method: str, config: RunConfig, root: str) -> list[dict[str, Any]]:
    return [{"set": name, **row} for row in baseline_runs.search(method, config, RunStore(root))]


def _oracles(name: str, config: RunConfig) -> list[dict[str, Any]]:
    """Rows of what knows the truth: the nearest training shape, and perfect depth of the body."""
    run_data = RunData.of(config)
    views = measuring_views(config, run_data.test)
    P = views.Y.clone()
    for number, (train, test) in enumerate(zip(run_data.train, run_data.test, strict=True)):
        at, n = views.category == number, test.rig.n
        few = train.thinned(4000)
        found = nearest_shape_oracle(few.points, views.Y[at, :n], few.known, views.known[at, :n])
        P[at] = resized(found, P.shape[1])
    rows = [_row(name, config, NEAREST, r, run_data.test) for r in evaluation.errors(P, views, run_data.test)]
    depths: dict[str, list[dict[str, Any]]] = {DEPTH: [], DEPTH_ALL: []}
    for shapes in run_data.test:
        if shapes.surface is None and not shapes.rig.edges:
            continue  # no body
        found = scene_depth.oracle_rows(shapes, config.cameras, config.test_views, config.seed)
        for method, record in zip(depths, found, strict=True):
            depths[method].append({**record, "category": shapes.rig.name})
    for method, records in depths.items():
        rows += [_row(name, config, method, record, run_data.test) for record in records]
        if len(run_data.test) > 1 and len(records) == len(run_data.test):
            mean = {key: sum(r[key] for r in records) / len(records) for key in ("o3", "so3", "flip")}
            rows.append(_row(name, config, method, {"category": metrics.CLASS_MEAN, **mean}, run_data.test))
    return rows


def _row(
    name: str, config: RunConfig, method: str, record: dict[str, Any], sets: Sequence[ShapeSet]
) -> dict[str, Any]:
    tag = "real" if any(s.tag == "real" for s in sets) else "synthetic"
    errors = {key: record.get(key, float("nan")) for key in experiments.ERRORS}
    return {"data": tag, "set": name, "category": record["category"], "method": method, "seed": config.seed,
            "read_out": "fit", "stop": "last", **errors}  # fmt: skip


def last_rows(study: Study) -> "pandas.DataFrame":
    """One row per method, set and seed: last step, shapes as the method gives them; and the floors."""
    rows = overall(study)
    return rows[rows["method"].isin(["flat", "mean"]) | ((rows["stop"] == "last") & (rows["read_out"] == "fit"))]


def readme_table(study: Study) -> "pandas.DataFrame":
    """For the README: every method, mean ± sd over seeds."""
    import pandas

    rows = last_rows(study)
    words = {"flat": "floor: flat", "mean": "floor: mean shape (3D)"}
    return pandas.DataFrame([
        ablation.in_words(mine, name, words.get(method, method))
        for name in dict.fromkeys(rows["set"]) for method in ORDER
        if len(mine := rows[(rows["set"] == name) & (rows["method"] == method)])
    ])  # fmt: skip


def order(study: Study) -> "pandas.DataFrame":
    """Neighbours in the order of mean errors: paired difference over the seeds, its 95 % interval, and is it sure."""
    import pandas

    rows, result = last_rows(study), []
    for name in dict.fromkeys(rows["set"]):
        wide = rows[rows["set"] == name].pivot(index="seed", columns="method", values="flip").dropna(axis=1)
        ranked = wide.mean().sort_values().index
        for better, worse in zip(ranked, ranked[1:], strict=False):
            d = wide[worse] - wide[better]
            half = verdicts.t95(len(d) - 1) * d.std() / len(d) ** 0.5
            result.append({"set": name, "lower": better, "higher": worse, "difference": d.mean(), "± 95 %": half,
                           "seeds": len(d), "sure": bool(d.mean() > half)})  # fmt: skip
    return pandas.DataFrame(result)


def below_floors(study: Study) -> "pandas.DataFrame":
    """Per set and method: is its per-category flip below the flat floor, and below the mean shape, in every seed."""
    import pandas

    rows, result = last_rows(study), []
    for (name, method), mine in rows[~rows["method"].isin(["flat", "mean"])].groupby(["set", "method"], sort=False):
        floor = literal.floors(rows, name, "flip")
        result.append({"set": name, "method": method, "mean flip": mine["flip"].mean(), "mean O(3)": mine["o3"].mean(),
                       **{f"below {f}": bool((mine["flip"] < value).all()) for f, value in floor.items()}})  # fmt: skip
    return pandas.DataFrame(result)


def judge(study: Study) -> list[Verdict]:
    """Verdicts on every printed value of Table 1, and on its order: ours below each other row."""
    rows = last_rows(study)
    result = []
    for name in dict.fromkeys(rows["set"]):
        mine, paper = rows[rows["set"] == name], STANDS_FOR[name]
        column, unit = literal.unit_of(mine[mine["method"] == LITERAL])
        context = dict(data=mine["data"].iloc[0], category=literal.scored(name), evidence=EVIDENCE)
        ours = ablation.errors(mine, method=LITERAL)
        for method, key in PRINTED.items():
            errors = ablation.errors(mine, column, method=method)
            if len(errors) < verdicts.MIN_SEEDS or any(error != error for error in errors):
                continue
            protocol = "PA-MPJPE, per-category flip, last step" + (", visible keypoints" if method == DEPTH else "")
            result.append(verdicts.value(
                f"{key}-{paper}", errors, unit=unit, column=column, protocol=f"{method}: {protocol}", **context
            ))  # fmt: skip
            if method != LITERAL and not _printed_below(key, paper):
                result.append(verdicts.direction(
                    f"T1-Ours-{paper}", ours, ablation.errors(mine, method=method), versus=f"{key}-{paper}",
                    column="flip", unit="% of RMS radius", **context,
                    protocol=f"paper-literal against {method}, paired by seed, per-category flip, last step",
                ))  # fmt: skip
    return result


def _printed_below(key: str, paper: str) -> bool:
    """Whether the paper prints a lower error for this row than for its own."""
    return claims.get(f"{key}-{paper}").number < claims.get(f"T1-Ours-{paper}").number


def headline(study: Study) -> dict[str, float]:
    """Per data set: the paper-literal run, the best 2D-only baseline and the floors; mean per-category flip in %."""
    rows, result = last_rows(study), {}
    for name in dict.fromkeys(rows["set"]):
        means = rows[rows["set"] == name].groupby("method")["flip"].mean()
        only_2d = means[[m for m in means.index if m in METHODS and "3D" not in m]]
        result[f"{name}: paper-literal"] = float(means[LITERAL])
        result[f"{name}: best 2D-only baseline ({only_2d.idxmin()})"] = float(only_2d.min())
        result |= {f"{name}: floor {f}": value for f, value in literal.floors(rows, name, "flip").items()}
    return result
