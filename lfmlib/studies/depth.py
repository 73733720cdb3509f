"""Fig. 4c: how deep the network is: layers x encoding weight x seed, the encoding in every layer; what depth costs."""

from collections.abc import Sequence
from dataclasses import replace
from math import log
from typing import TYPE_CHECKING, Any

import torch

from lfmlib import claims, plots, verdicts
from lfmlib.efficiency import counting
from lfmlib.model import Lifter
from lfmlib.runs import RunData
from lfmlib.store import RunStore
from lfmlib.studies import ablation, literal
from lfmlib.studies.ablation import beside_flat, errors
from lfmlib.studies.literal import LITERAL, STANDS_FOR, Arm, Size, Study, overall, scored, shared_legend
from lfmlib.verdicts import Verdict

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas

DEPTHS = (4, 8, 12, 16, 24)
WEIGHTS = (1.0, 10.0)
CLAIMS = {"P3D": (4, 12, 24), "H36M": (4, 24)}  # the depths whose errors are printed: F4c-<depth>L-<data set>
PERCENT = "% of RMS radius"
TABLE = "07_depth/table.csv"


def grid(size: Size, depths: Sequence[int] = DEPTHS, weights: Sequence[float] = WEIGHTS) -> list[Arm]:
    """A run for every data set, depth, alpha and seed.

    Args:
        size: of the runs, but for the depth.
        depths: numbers of layers, rising.
        weights: encoding weights alpha.
    """
    return [
        Arm(name, {"layers": depth, "alpha": alpha},
            literal.run(categories, replace(size, depth=depth), seed, {"alpha": alpha}))
        for name, categories in literal.sets().items()
        for depth in depths
        for alpha in weights
        for seed in range(size.seeds)
    ]  # fmt: skip


def measure(arms: Sequence[Arm], workers: int | None = None, store: RunStore | None = None) -> Study:
    """Trains what is missing and gathers the rows; weight 1 is as printed at every depth."""
    return ablation.name_methods(literal.measure(arms, workers, store), _describe, as_printed="")


def _describe(row: dict[str, Any]) -> str:
    weight = f"{LITERAL} (weight 1)" if row["alpha"] == 1 else f"weight {row['alpha']:g}"
    return f"{row['layers']:g} layers, {weight}"


def costs(arms: Sequence[Arm]) -> "pandas.DataFrame":
    """What a depth costs: parameters, and matrix operations per sample of one forward pass and of one training step.

    Args:
        arms: as `grid` returns them; one of each data set and depth is counted, on samples of its largest category.
    """
    import pandas

    first = {(arm.set, arm.columns["layers"]): arm for arm in reversed(arms)}
    result = []
    for (name, layers), arm in sorted(first.items(), key=lambda item: item[0]):
        rigs = [shapes.rig for shapes in RunData.of(arm.config).train]
        network = Lifter(arm.config.model, rigs)
        X = torch.randn(1, network.n_max, 2, generator=torch.Generator().manual_seed(0))
        inputs = X, torch.ones(1, network.n_max, dtype=torch.bool), torch.zeros(1, dtype=torch.int64)
        result.append({
            "set": name, "layers": layers, "parameters": counting.parameters(network),
            "forward MFLOP": counting.flops(lambda network=network, inputs=inputs: network(*inputs)) / 1e6,
            "training MFLOP": counting.training_flops(network, *inputs) / 1e6,
        })  # fmt: skip
    return pandas.DataFrame(result)


def table(study: Study, costs: "pandas.DataFrame") -> "pandas.DataFrame":
    """Cost of each depth beside its error at the last step, mean ± sd over seeds, weight by weight."""
    last = literal.as_fitted(overall(study))
    named = last.assign(column="error, weight " + last["alpha"].map("{:g}".format))
    found = named.groupby(["set", "layers", "column"], sort=False)["flip"].agg(["mean", "std"])
    text = found.apply(lambda row: f"{row['mean']:.1f} ± {row['std']:.1f}", axis=1).unstack()
    return costs.merge(text.reset_index(), on=["set", "layers"])


def readme_table(study: Study) -> "pandas.DataFrame":
    """For the README: the shallowest and the deepest network at each weight, and the floors, in words."""
    import pandas

    rows = overall(study)
    last, result = literal.as_fitted(rows), []
    for name, mine in last.groupby("set", sort=False):
        for layers in (mine["layers"].min(), mine["layers"].max()):
            for method, runs in mine[mine["layers"] == layers].groupby("method", sort=False):
                result.append(ablation.in_words(runs, name, method))
        result += ablation.floors_in_words(rows, name)
    return pandas.DataFrame(result)


def headline(study: Study) -> dict[str, float]:
    """Per data set and weight: flip of the shallowest and of the deepest network, % of the RMS radius."""
    last = literal.as_fitted(overall(study))
    return {
        f"{name}, weight {alpha:g}: {layers:g} layers": float(rows[rows["layers"] == layers]["flip"].mean())
        for (name, alpha), rows in last.groupby(["set", "alpha"], sort=False)
        for layers in (rows["layers"].min(), rows["layers"].max())
    }


def figure_error(study: Study) -> "matplotlib.figure.Figure":
    """Error at the last step against the number of layers, a colour per weight; floors, and the paper's values."""
    rows = overall(study)
    names = list(dict.fromkeys(rows["set"]))
    figure, axes = plots.panels(1, len(names), width=3.8, height=3.2, squeeze=False)
    for ax, name in zip(axes[0], names, strict=True):
        mine, unit = _labelled(literal.as_fitted(rows[rows["set"] == name])), literal.per_mm(rows, name)
        printed = {depth: claims.get(f"F4c-{depth}L-H36M").number for depth in CLAIMS["H36M"]}
        plots.curves(
            mine, "layers", "flip", "weight", ax=ax, floors=literal.floors(rows, name, "flip"), title=name,
            paper=unit and {depth: value * unit for depth, value in printed.items()},
        )  # fmt: skip
        ax.set(ylim=(0, None), xticks=sorted(set(mine["layers"])), xlabel="layers")
        ax.set_ylabel(plots.LABELS["flip"] if ax is axes[0, 0] else "")
    return shared_legend(figure, axes[0])


def figure_training(study: Study) -> "matplotlib.figure.Figure":
    """Error over the steps, a colour per depth: is a deep network worse, or not yet there?"""
    rows = overall(study)
    curves = study.curves[study.curves["read_out"] == "fit"]
    curves = curves.assign(depth=curves["layers"].map("{:g} layers".format))
    names, weights = list(dict.fromkeys(rows["set"])), list(dict.fromkeys(curves["alpha"]))
    figure, axes = plots.panels(len(names), len(weights), width=3.8, height=2.9, squeeze=False, sharey="row")
    for row, name in zip(axes, names, strict=True):
        for ax, alpha in zip(row, weights, strict=True):
            mine = curves[(curves["set"] == name) & (curves["alpha"] == alpha)]
            plots.curves(mine, "step", "flip", "depth", ax=ax, floors=literal.floors(rows, name, "flip"))
            ax.set_title(f"{name}, weight {alpha:g}")
            ax.set_xlabel(plots.LABELS["step"] if name == names[-1] else "")
            ax.set_ylabel(plots.LABELS["flip"] if ax is row[0] else "")
        row[0].set_ylim(bottom=0)
    return shared_legend(figure, axes.flat)


def judge(study: Study) -> list[Verdict]:
    """Verdicts on Fig. 4c: each printed value, "deeper is better" pair by pair, and the trend over all depths."""
    rows = overall(study)
    return [row for name in dict.fromkeys(rows["set"]) for row in _judge_set(rows[rows["set"] == name], name)]


def _judge_set(rows: "pandas.DataFrame", name: str) -> list[Verdict]:
    last, paper = literal.as_fitted(rows), STANDS_FOR[name]
    length = f"last of {int(last['step'].max())} steps"
    context = dict(data=rows["data"].iloc[0], category=scored(name), evidence=TABLE)
    (column, unit), result = literal.unit_of(rows), []
    depths = sorted(int(layers) for layers in set(last["layers"]))
    printed = [depth for depth in CLAIMS[paper] if depth in depths]
    for depth in printed:
        protocol = f"PA-MPJPE, per-category flip, {length}, encoding weight 1"
        result.append(verdicts.value(
            f"F4c-{depth}L-{paper}", errors(last, column, layers=depth, alpha=1.0), unit=unit, column=column,
            protocol=protocol, **context,
        ))  # fmt: skip
    for alpha, mine in last.groupby("alpha"):
        setting = f"encoding weight {alpha:g}, per-category flip, {length}"
        for deep, shallow in _pairs(printed):
            result.append(verdicts.direction(
                f"F4c-{deep}L-{paper}", errors(mine, layers=deep), errors(mine, layers=shallow),
                versus=f"F4c-{shallow}L-{paper}", column="flip", unit=PERCENT,
                protocol=f"{deep} layers against {shallow}, paired by seed, {setting}",
                note=beside_flat(errors(mine, layers=deep), rows, name), **context,
            ))  # fmt: skip
        by_seed = [runs.sort_values("layers")["flip"].tolist() for _, runs in mine.groupby("seed")]
        result.append(verdicts.trend(
            f"F4c-24L-{paper}", [log(depth) for depth in depths], by_seed, falls=True, column="flip", unit=PERCENT,
            protocol=f"trend over the logarithm of {', '.join(map(str, depths))} layers, {setting}",
            note=beside_flat(errors(mine, layers=depths[-1]), rows, name), **context,
        ))  # fmt: skip
    return result


def _pairs(depths: Sequence[int]) -> list[tuple[int, int]]:
    """(deeper, shallower), each pair once."""
    return [(deep, shallow) for deep in depths for shallow in depths if shallow < deep]


def _labelled(rows: "pandas.DataFrame") -> "pandas.DataFrame":
    return rows.assign(weight="weight " + rows["alpha"].map("{:g}".format))
