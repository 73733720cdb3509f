"""Fig. 4b: which index encoding enters: encoding x injection x encoding weight x seed, per data set; sigma of the RFF.

The runs with the analytic RFF are those of the study on injection. Nothing but Eq. 1 trains these runs; a weight that
3D errors choose is named so.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch

from lfmlib import encodings
from lfmlib.encodings import RANDOM, condition_number, encode, neighbour_similarity
from lfmlib.rigs import Rig
from lfmlib.runs import RunData
from lfmlib.store import RunStore
from lfmlib.studies import ablation, injection, literal
from lfmlib.studies.literal import Arm, Size, Study, overall

if TYPE_CHECKING:
    import pandas

PRINTED = "rff"  # the encoding, its frequency scale, and the strategies that the paper compares
SIGMA = 2.5
STRATEGIES = ("input", "first_last", "every_2nd", "every")
KINDS = tuple(kind for kind in encodings.ENCODINGS if kind != "none")
SIGMAS = (0.5, 1.0, 2.5, 5.0, 10.0)
WEIGHTS = (1.0, 10.0)
BY_EQ1 = "weight chosen by Eq. 1"


def grid(
    size: Size,
    kinds: Sequence[str] = KINDS,
    injections: Sequence[str] = ("input", "every"),
    weights: Sequence[float] = WEIGHTS,
    sigmas: Sequence[float] = SIGMAS,
) -> list[Arm]:
    """A run for every data set, encoding, injection, alpha and seed; one without encoding; the sweep of sigma.

    Args:
        size: of the runs.
        kinds: encodings besides the analytic RFF; a data set for which one of them cannot be made is left out.
        injections: of these encodings; the RFF runs with all four of the paper's, to compare the two ranges.
        weights: encoding weights alpha, rising.
        sigmas: frequency scales of the RFF, run on the first data set, in every layer, with the last weight.
    Raises:
        ValueError: an unknown encoding.
    """
    for kind in kinds:
        encodings.check_choice("encoding", kind, KINDS)
    arms = []
    for name, categories in literal.sets().items():
        settings = [("none", "none", 1.0, SIGMA)]
        settings += [(PRINTED, where, alpha, SIGMA) for where in STRATEGIES for alpha in weights]
        others = [kind for kind in kinds if kind != PRINTED and not without_graph(kind, rigs(categories, size))]
        settings += [(kind, where, alpha, SIGMA) for kind in others for where in injections for alpha in weights]
        if name == next(iter(literal.sets())):
            settings += [(PRINTED, "every", weights[-1], sigma) for sigma in sigmas if sigma != SIGMA]
        arms += [_arm(name, categories, size, seed, *setting) for setting in settings for seed in range(size.seeds)]
    return arms


def _arm(
    name: str, categories: Sequence[str], size: Size, seed: int, kind: str, where: str, alpha: float, sigma: float
) -> Arm:
    model = {"injection": where, "alpha": alpha}
    if kind not in ("none", PRINTED) or sigma != SIGMA:
        model |= {"encoding": kind, "sigma": sigma}
    columns = {"encoding": kind, "injection": where, "alpha": alpha, "sigma": sigma}
    return Arm(name, columns, literal.run(categories, size, seed, model))


def rigs(categories: Sequence[str], size: Size) -> tuple[Rig, ...]:
    """The rigs that a run on these categories encodes."""
    return tuple(shapes.rig for shapes in RunData.of(literal.run(categories, size, 0)).train)


def without_graph(kind: str, chosen: Sequence[Rig]) -> list[str]:
    """Rigs for which a graph encoding is asked and which have no edges: there it would be the identity, no graph."""
    return [rig.name for rig in chosen if not rig.edges] if kind == "laplacian" else []


def left_out(size: Size, kinds: Sequence[str]) -> list[str]:
    """What `grid` does not run, in words."""
    return [
        f"{name}: no {kind}, because {', '.join(bare)} has no edges"
        for name, categories in literal.sets().items()
        for kind in kinds
        if (bare := without_graph(kind, rigs(categories, size)))
    ]


def measure(arms: Sequence[Arm], workers: int | None = None, store: RunStore | None = None) -> Study:
    """Trains what is missing and gathers the rows, each with the name of its method."""
    study = literal.measure(arms, workers, store)
    return ablation.name_methods(study, _describe, f"{PRINTED}, injection every, weight 1")


def _describe(row: dict[str, Any]) -> str:
    if row["encoding"] == "none":
        return "no encoding"
    sigma = "" if row["sigma"] == SIGMA else f", sigma {row['sigma']:g}"
    return f"{row['encoding']}, injection {row['injection']}, weight {row['alpha']:g}{sigma}"


def at_sigma(rows: "pandas.DataFrame") -> "pandas.DataFrame":
    """The rows at the printed sigma, the floors among them."""
    return rows[rows["sigma"].isna() | (rows["sigma"] == SIGMA)]


def sweep(study: Study) -> "pandas.DataFrame":
    """The runs of the sweep of sigma, those at the printed one among them; last step, as fitted."""
    last = literal.as_fitted(overall(study))
    swept = last[last["sigma"].notna() & (last["sigma"] != SIGMA)]
    same = ["set", "encoding", "injection", "alpha"]
    return last.merge(swept[same].drop_duplicates(), on=same).sort_values(["sigma", "seed"])


def best_weights(study: Study) -> "pandas.DataFrame":
    """Per data set, encoding and injection: the error at weight 1, at the weight that Eq. 1 picks, at that of 3D.

    Eq. 1 is measured on validation pictures: a choice that a 2D-only method can make; the one by 3D it cannot.
    """
    import pandas

    parts = [
        injection.best_weights(replace(study, table=rows)).assign(encoding=kind)
        for kind, rows in at_sigma(study.table).groupby("encoding", sort=False)
    ]
    table = pandas.concat(parts, ignore_index=True)
    front = ["set", "encoding", "injection", "how", "weight"]
    return table[front + [column for column in table.columns if column not in front]]


def codes(study: Study, size: Size) -> "pandas.DataFrame":
    """How far each code tells tokens apart, beside the error of its runs in every layer.

    Args:
        study: its encodings and sigmas.
        size: of the runs: their rigs and the width of the code.
    Returns:
        One row per data set, encoding and sigma: neighbour similarity (mean over the categories), condition number (the
        worst of them; both means over the seeds for random codes), and the mean flip at each weight.
    """
    import pandas

    last = literal.as_fitted(overall(study))
    every, result = last[last["injection"] == "every"], []
    for (name, kind, sigma), runs in every.groupby(["set", "encoding", "sigma"], sort=False):
        seeds = sorted(set(runs["seed"])) if kind in RANDOM else [0]
        phis = [[_code(kind, rig, size.width, sigma, seed) for rig in rigs(literal.SETS[name], size)] for seed in seeds]
        means = runs.groupby("alpha")["flip"].mean()
        result.append({
            "set": name, "encoding": kind, "sigma": sigma,
            "neighbour similarity": fmean(neighbour_similarity(phi) for one in phis for phi in one),
            "condition number": fmean(max(map(condition_number, one)) for one in phis),
            **{f"error, weight {alpha:g}": error for alpha, error in means.items()},
        })  # fmt: skip
    return pandas.DataFrame(result)


def _code(kind: str, rig: Rig, width: int, sigma: float, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return encode(kind, rig, width, sigma=sigma, generator=generator, dtype=torch.float64)


def readme_table(study: Study) -> "pandas.DataFrame":
    """For the README: each encoding in every layer at the weights that Eq. 1 and 3D choose, and the floors."""
    import pandas

    rows = at_sigma(overall(study))
    last, chosen, result = literal.as_fitted(rows), best_weights(study), []
    for name in dict.fromkeys(rows["set"]):
        mine = chosen[(chosen["set"] == name) & (chosen["injection"] == "every")]
        mine = mine[mine["how"].isin([BY_EQ1, injection.BY_3D])]
        for (kind, weight), picks in mine.groupby(["encoding", "weight"], sort=False):
            runs = last[(last["set"] == name) & (last["injection"] == "every")]
            runs = runs[(runs["encoding"] == kind) & (runs["alpha"] == weight)]
            run = f"{kind}, every layer, weight {weight:g} ({'; '.join(picks['how'])})"
            result.append(ablation.in_words(runs, name, run))
        result += ablation.floors_in_words(rows, name)
    return pandas.DataFrame(result)


def headline(study: Study) -> dict[str, float]:
    """Per data set: the range of the errors over encodings and over injections, weight by weight; % of RMS radius."""
    last = at_sigma(literal.as_fitted(overall(study)))
    result = {}
    for (name, alpha), rows in last[last["encoding"] != "none"].groupby(["set", "alpha"], sort=False):
        for what, values in ranges(rows).items():
            result[f"{name}, weight {alpha:g}: range over {what}"] = fmean(values)
    return {key: value for key, value in result.items() if math.isfinite(value)}


def ranges(rows: "pandas.DataFrame", column: str = "flip") -> dict[str, list[float]]:
    """Largest minus smallest error, seed by seed: over encodings in every layer, and over injections of the RFF.

    Args:
        rows: of one data set and one weight.
        column: which error.
    """
    parts = {
        "encodings (every layer)": rows[rows["injection"] == "every"],
        "injections (rff)": rows[rows["encoding"] == PRINTED],
    }
    return {
        what: part.groupby("seed")[column].agg(lambda e: e.max() - e.min()).tolist() for what, part in parts.items()
    }
