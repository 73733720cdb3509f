"""Figures of the study on encodings, and its verdicts on Fig. 4b, Table 1's input-only rows and the printed sigma."""

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from lfmlib import claims, plots, verdicts
from lfmlib.studies import literal
from lfmlib.studies.ablation import beside_flat, errors
from lfmlib.studies.encodings import PRINTED, SIGMA, at_sigma, ranges, sweep
from lfmlib.studies.literal import STANDS_FOR, Study, overall, scored, shared_legend
from lfmlib.verdicts import Verdict

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas

# (encoding, injection) -> the claim that prints its error, without the data set
CLAIMS = {
    ("rff", "every"): "F4b-RFF", ("laplacian", "every"): "F4b-Lap", ("vit", "input"): "T1-ViTin",
    ("rff", "input"): "T1-FouIn", ("laplacian", "input"): "T1-LapIn",
}  # fmt: skip
# (lower, higher): the orderings that the paper prints, and the data sets on which it prints them
ORDERINGS = {
    (("laplacian", "every"), ("rff", "every")): ("H36M", "P3D"),
    (("rff", "input"), ("vit", "input")): ("H36M", "P3D"),
    (("laplacian", "input"), ("vit", "input")): ("H36M", "P3D"),
    (("laplacian", "input"), ("rff", "input")): ("H36M",),  # 40 and 40 on Pascal3D+
}
MEASURES = ("neighbour similarity", "condition number")
PERCENT = "% of RMS radius"
TABLE = "06_encodings/table.csv"


def figure_error(study: Study, injections: Sequence[str] = ("input", "every")) -> "matplotlib.figure.Figure":
    """Error at the last step against encoding, a panel per data set and injection, one colour per encoding weight."""
    rows = overall(study)
    last = at_sigma(literal.as_fitted(rows))
    names = list(dict.fromkeys(rows["set"]))
    figure, axes = plots.panels(len(names), len(injections), width=4.4, height=3.0, squeeze=False, sharey="row")
    for row, name in zip(axes, names, strict=True):
        for ax, where in zip(row, injections, strict=True):
            mine = last[(last["set"] == name) & last["injection"].isin([where, "none"])]
            mine = mine.assign(weight="weight " + mine["alpha"].map("{:g}".format))
            plots.points(
                mine, "encoding", "flip", "weight", ax=ax, floors=literal.floors(rows, name, "flip"),
                title=f"{name}, injection {where}", paper=_paper(name, where, rows),
            )  # fmt: skip
            ax.tick_params(axis="x", rotation=20)
            ax.set(xlabel="", ylabel=plots.LABELS["flip"] if ax is row[0] else "")
        row[0].set_ylim(bottom=0)
    return shared_legend(figure, axes.flat)


def _paper(name: str, where: str, rows: "pandas.DataFrame") -> dict[str, float] | None:
    """The printed millimetres as % of this data set's RMS radius; only where millimetres mean something (humans)."""
    unit = literal.per_mm(rows, name)
    return unit and {k: claims.get(f"{key}-H36M").number * unit for (k, i), key in CLAIMS.items() if i == where}


def figure_codes(codes: "pandas.DataFrame", study: Study) -> "matplotlib.figure.Figure":
    """Error in every layer against how alike neighbouring tokens are and how hard single tokens are to read out."""
    rows = overall(study)
    names = list(dict.fromkeys(codes["set"]))
    weights = [column for column in codes.columns if column.startswith("error, ")]
    long = codes.melt(["set", "encoding", "sigma", *MEASURES], weights, "weight", "flip").dropna(subset="flip")
    long["weight"] = long["weight"].str.removeprefix("error, ")
    figure, axes = plots.panels(len(names), 2, width=4.4, height=3.0, squeeze=False, sharey="row")
    for row, name in zip(axes, names, strict=True):
        mine = long[long["set"] == name]
        for ax, measure in zip(row, MEASURES, strict=True):
            for floor, level in literal.floors(rows, name, "flip").items():
                ax.axhline(level, color=plots.colour(floor), ls="--", lw=1, label=f"floor: {floor}")
            for kind, points in mine.groupby("encoding", sort=False):
                for weight, marker in zip(dict.fromkeys(long["weight"]), "ov^s", strict=False):
                    these = points[points["weight"] == weight]
                    ax.plot(these[measure], these["flip"], ls="", marker=marker, ms=5, label=f"{kind}, {weight}",
                            color=plots.colour(kind, list(dict.fromkeys(long["encoding"]))))  # fmt: skip
            ax.set(title=name, xlabel=measure, ylabel=plots.LABELS["flip"] if ax is row[0] else "")
        row[1].set_xscale("log")
        row[0].set_ylim(bottom=0)
    return shared_legend(figure, axes.flat)


def figure_sigma(study: Study) -> "matplotlib.figure.Figure":
    """Error against the frequency scale of the analytic RFF; the printed sigma as a line."""
    rows, swept = overall(study), sweep(study)
    name, alpha = swept["set"].iloc[0], swept["alpha"].iloc[0]
    figure, ax = plots.panels(width=4.4, height=3.2)
    plots.curves(swept, "sigma", "flip", ax=ax, floors=literal.floors(rows, name, "flip"), log_x=True)
    ax.axvline(SIGMA, color=plots.COLOURS["paper"], ls=":", lw=1, label=f"paper: {SIGMA:g}")
    ax.set(ylim=(0, None), title=f"{name}, every layer, weight {alpha:g}", xlabel="sigma (radians per token)")
    ax.set_xticks(sorted(set(swept["sigma"])), [f"{sigma:g}" for sigma in sorted(set(swept["sigma"]))], minor=False)
    ax.minorticks_off()
    return shared_legend(figure, [ax])


def judge(study: Study) -> list[Verdict]:
    """Verdicts on the printed errors, on their orderings, on "the type is secondary", and on sigma = 2.5."""
    rows = overall(study)
    sets = [row for name in dict.fromkeys(rows["set"]) for row in _judge_set(rows[rows["set"] == name], name)]
    return sets + _judge_sigma(sweep(study), rows)


def _judge_set(rows: "pandas.DataFrame", name: str) -> list[Verdict]:
    last, paper = at_sigma(literal.as_fitted(rows)), STANDS_FOR[name]
    length = f"last of {int(last['step'].max())} steps"
    context = dict(data=rows["data"].iloc[0], category=scored(name), evidence=TABLE)
    (column, unit), result = literal.unit_of(rows), []

    def of(arm: tuple[str, str], alpha: float, column: str = "flip") -> list[float]:
        return errors(last, column, encoding=arm[0], injection=arm[1], alpha=alpha)

    for arm, key in CLAIMS.items():
        if of(arm, 1.0):
            protocol = f"PA-MPJPE, per-category flip, {length}, encoding weight 1"
            result.append(verdicts.value(
                f"{key}-{paper}", of(arm, 1.0, column), unit=unit, column=column, protocol=protocol, **context
            ))  # fmt: skip
    weights = sorted(set(last["alpha"]))
    for (lower, higher), printed in ORDERINGS.items():
        for alpha in weights:
            if paper in printed and of(lower, alpha) and of(higher, alpha):
                words = [f"{kind} ({'every layer' if where == 'every' else where})" for kind, where in (lower, higher)]
                protocol = f"{words[0]} against {words[1]}, encoding weight {alpha:g}, paired by seed, flip, {length}"
                result.append(verdicts.direction(
                    f"{CLAIMS[lower]}-{paper}", of(lower, alpha), of(higher, alpha),
                    versus=f"{CLAIMS[higher]}-{paper}", column="flip", unit=PERCENT, protocol=protocol,
                    note=beside_flat(of(lower, alpha), rows, name), **context,
                ))  # fmt: skip
    for alpha in weights:
        if set(last[(last["alpha"] == alpha) & (last["injection"] == "every")]["encoding"]) - {PRINTED}:
            result += _judge_types(last[last["alpha"] == alpha], (column, unit), alpha, length, context)
    return result


def _judge_types(
    rows: "pandas.DataFrame", unit: tuple[str, str], alpha: float, length: str, context: dict[str, str]
) -> list[Verdict]:
    """The spread over encodings as a number, and that it is smaller than the one over injections as a statement."""
    column, name = unit
    over_types, over_injections = ranges(rows, column).values()
    share = f"{', '.join(dict.fromkeys(rows[rows['injection'] == 'every']['encoding']))}; weight {alpha:g}, {length}"
    printed = "the paper's 10-13 is where the errors of all types lie, ours is the largest less the smallest"
    low, high = fmean(over_types), fmean(over_injections)
    return [
        verdicts.value(
            "PE-second", over_types, unit="mm spread" if name == "mm" else name, note=printed, column=column,
            protocol=f"largest less smallest error over encodings in every layer: {share}", **context,
        ),
        verdicts.statement(
            "PE-second", low < high, note=f"{low:.3g} against {high:.3g} {name}, means over seeds",
            protocol=f"range over encodings in every layer below range over the RFF's injections: {share}", **context,
        ),
    ]  # fmt: skip


def _judge_sigma(swept: "pandas.DataFrame", rows: "pandas.DataFrame") -> list[Verdict]:
    """That the printed sigma has the least mean error of those tried, and the printed one against each other."""
    if swept.empty:
        return []
    length = f"last of {int(swept['step'].max())} steps"
    setting = f"every layer, encoding weight {swept['alpha'].iloc[0]:g}, per-category flip, {length}"
    name, ours = swept["set"].iloc[0], errors(swept, sigma=SIGMA)
    context = dict(data=swept["data"].iloc[0], category=scored(name), evidence="06_encodings/fig_sigma.png")
    means = swept.groupby("sigma")["flip"].mean()
    tried = ", ".join(f"{sigma:g}: {error:.3g}" for sigma, error in means.items())
    result = [verdicts.statement(
        "SIGMA", bool(means.idxmin() == SIGMA), note=f"mean over seeds in {PERCENT} of sigma {tried}",
        protocol=f"sigma {SIGMA:g} has the least mean error, {setting}", **context,
    )]  # fmt: skip
    for sigma in sorted(set(means.index) - {SIGMA}):
        protocol = f"sigma {SIGMA:g} against {sigma:g}, paired by seed, {setting}"
        result.append(verdicts.direction(
            "SIGMA", ours, errors(swept, sigma=sigma), column="flip", unit=PERCENT, protocol=protocol,
            note=beside_flat(ours, rows, name), **context,
        ))  # fmt: skip
    return result
