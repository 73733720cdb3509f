"""Fig. 4a: where the index encoding enters, and how strongly: injection x encoding weight x seed, per data set.

The encoding weight alpha is "appropriately" chosen in the paper and never printed, so it is an axis here. Nothing but
Eq. 1 trains these runs. What stops or selects with 3D labels is a row of its own, named so.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lfmlib import claims, experiments, plots, verdicts
from lfmlib.model import INJECTIONS
from lfmlib.store import RunStore
from lfmlib.studies import ablation, literal
from lfmlib.studies.literal import LITERAL, STANDS_FOR, Arm, Size, Study, overall, scored, shared_legend
from lfmlib.verdicts import Verdict

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas

WEIGHTS = (1.0, 3.0, 10.0)
CLAIMS = {"input": "F4a-input", "first_last": "F4a-first-last", "every_2nd": "F4a-every2", "every": "F4a-every"}
BY_3D = "weight chosen by 3D"


def grid(size: Size, weights: Sequence[float] = WEIGHTS) -> list[Arm]:
    """A run for every data set, injection, alpha and seed; without injection alpha means nothing, so there is one.

    Args:
        size: of the runs.
        weights: encoding weights alpha, rising; first_last and every_2nd run with the outermost two.
    """
    return [
        Arm(name, {"injection": injection, "alpha": alpha},
            literal.run(categories, size, seed, {"injection": injection, "alpha": alpha}))
        for name, categories in literal.sets().items()
        for injection in INJECTIONS
        for alpha in _weights(injection, weights)
        for seed in range(size.seeds)
    ]  # fmt: skip


def _weights(injection: str, weights: Sequence[float]) -> tuple[float, ...]:
    """All weights for the two strategies that the claim is about, the outermost for the ones between them."""
    if injection == "none":
        return (1.0,)
    return tuple(weights if injection in ("input", "every") else dict.fromkeys((weights[0], weights[-1])))


def measure(arms: Sequence[Arm], workers: int | None = None, store: RunStore | None = None) -> Study:
    """Trains what is missing and gathers the rows, each with the name of its method."""
    study = literal.measure(arms, workers, store)
    return ablation.name_methods(study, _describe, "injection every, weight 1")


def _describe(row: dict[str, Any]) -> str:
    weight = f", weight {row['alpha']:g}" if row["injection"] != "none" else ""
    return f"injection {row['injection']}{weight}"


def best_weights(study: Study) -> "pandas.DataFrame":
    """Per data set and injection: the error at weight 1, at the weight that the 2D loss picks, and at the one 3D picks.

    Choosing by 3D is what a paper does that tunes on its test metric; it is named so. Mean and sd over seeds of the
    last step, shape as fitted.
    """
    import pandas

    rows = overall(study)
    last = literal.as_fitted(rows)
    result = []
    for (name, injection), arms in last.groupby(["set", "injection"], sort=False):
        means = arms.groupby("alpha")[["flip", "eq1"]].mean()
        chosen = {"weight 1": 1.0, "weight chosen by Eq. 1": means["eq1"].idxmin(), BY_3D: means["flip"].idxmin()}
        for how, alpha in chosen.items():
            runs = arms[arms["alpha"] == alpha]
            result.append({"set": name, "injection": injection, "how": how, "weight": alpha, **_spread(runs)})
    for (name, method), runs in rows[rows["method"].isin(["flat", "mean"])].groupby(["set", "method"], sort=False):
        result.append({"set": name, "injection": "", "how": f"floor: {method}", **_spread(runs)})
    return pandas.DataFrame(result)


def _spread(runs: "pandas.DataFrame") -> dict[str, Any]:
    numbers = {f"{c} {f}": getattr(runs[c], f)() for c in experiments.ERRORS for f in ("mean", "std")}
    return {**numbers, "seeds": len(runs)}


def headline(study: Study) -> dict[str, float]:
    """Per data set: paper-literal run, best arm of all, and floors; mean per-category flip in % of the RMS radius."""
    rows, result = overall(study), {}
    for name, mine in rows.groupby("set", sort=False):
        last = literal.as_fitted(mine)
        result[f"{name}: paper-literal"] = float(mine[mine["method"] == LITERAL]["flip"].mean())
        result[f"{name}: best arm ({BY_3D})"] = float(last.groupby(["injection", "alpha"])["flip"].mean().min())
        result |= {f"{name}: floor {floor}": value for floor, value in literal.floors(rows, name, "flip").items()}
    return result


def readme_table(study: Study) -> "pandas.DataFrame":
    """For the README: the paper-literal run, the best weight in every layer, the best arm, and the floors, in words."""
    import pandas

    rows = overall(study)
    last = literal.as_fitted(rows)
    result = []
    for name, mine in last.groupby("set", sort=False):
        means = mine.groupby(["injection", "alpha"], sort=False)["flip"].mean()
        weight, arm = means["every"].idxmin(), means.idxmin()
        chosen = {
            "paper-literal (every layer, weight 1)": mine[mine["method"] == LITERAL],
            f"every layer, weight {weight:g} ({BY_3D})": _arm(mine, "every", weight),
            f"injection {arm[0]}, weight {arm[1]:g} (arm chosen by 3D)": _arm(mine, *arm),
        }
        result += [ablation.in_words(runs, name, how) for how, runs in chosen.items()]
        result += ablation.floors_in_words(rows, name)
    return pandas.DataFrame(result)


def _arm(rows: "pandas.DataFrame", injection: str, alpha: float) -> "pandas.DataFrame":
    return rows[(rows["injection"] == injection) & (rows["alpha"] == alpha)]


def figure_error(study: Study, column: str = "flip") -> "matplotlib.figure.Figure":
    """Error at the last step against injection, one colour per encoding weight; floors, and the paper's values."""
    rows = overall(study)
    names = list(dict.fromkeys(rows["set"]))
    figure, axes = plots.panels(1, len(names), width=3.4, height=3.2, squeeze=False)
    for ax, name in zip(axes[0], names, strict=True):
        mine = _labelled(rows[(rows["set"] == name) & (rows["stop"] == "last") & (rows["read_out"] == "fit")])
        plots.points(
            mine, "injection", column, "weight", ax=ax, floors=literal.floors(rows, name, column), title=name,
            paper=_paper(name, rows) if column == "flip" else None,
        )  # fmt: skip
        ax.set_ylim(0)
        ax.set_ylabel(plots.LABELS[column] if ax is axes[0, 0] else "")
    return shared_legend(figure, axes[0])


def figure_training(study: Study, injections: Sequence[str] = ("input", "every")) -> "matplotlib.figure.Figure":
    """Error and Eq. 1 on validation pictures over the steps, per injection: does a run drift to the flat answer?"""
    rows, curves = overall(study), study.curves[study.curves["read_out"] == "fit"]
    names = list(dict.fromkeys(curves["set"]))
    kinds = [(y, injection) for y in ("flip", "eq1") for injection in injections]
    figure, axes = plots.panels(len(kinds), len(names), width=2.9, height=2.2, squeeze=False, sharex=True, sharey="row")
    for number, ((y, injection), row) in enumerate(zip(kinds, axes, strict=True)):
        for ax, name in zip(row, names, strict=True):
            mine = _labelled(curves[(curves["set"] == name) & (curves["injection"] == injection)])
            floors = literal.floors(rows, name, "flip") if y == "flip" else None
            plots.curves(mine, "step", y, "weight", ax=ax, floors=floors, log_y=y == "eq1")
            ax.set_title(f"{name}, injection {injection}", fontsize=9)
            ax.set_xlabel(plots.LABELS["step"] if number == len(kinds) - 1 else "")
            ax.set_ylabel({"flip": plots.LABELS["flip"], "eq1": "Eq. 1, validation"}[y] if ax is row[0] else "")
        if y == "flip":  # once all panels of the shared axis are filled: a limit that is set ends its growth
            row[0].set_ylim(bottom=0)
    return shared_legend(figure, axes.flat)


def figure_stopping(study: Study) -> "matplotlib.figure.Figure":
    """What the papers' early stopping on 3D validation error hides: last step against the step that it would choose."""
    rows = overall(study)
    names = list(dict.fromkeys(rows["set"]))
    figure, axes = plots.panels(1, len(names), width=3.4, height=3.0, squeeze=False)
    for ax, name in zip(axes[0], names, strict=True):
        mine = rows[(rows["set"] == name) & (rows["read_out"] == "fit") & (rows["injection"] == "every")]
        mine = _labelled(mine).assign(
            how=mine["stop"].map({"last": "last step", "3d": "stopped by 3D (uses labels)"})
        )
        plots.points(mine, "weight", "flip", "how", ax=ax, floors=literal.floors(rows, name, "flip"), title=name)
        ax.set(ylim=(0, None), xlabel="injection every")
        ax.set_ylabel(plots.LABELS["flip"] if ax is axes[0, 0] else "")
    return shared_legend(figure, axes[0])


def judge(study: Study) -> list[Verdict]:
    """Verdicts on Fig. 4a's claims: each printed value, and each ordering "every layer beats the others"."""
    rows = overall(study)
    return [row for name in dict.fromkeys(rows["set"]) for row in _judge_set(rows[rows["set"] == name], name)]


def _judge_set(rows: "pandas.DataFrame", name: str) -> list[Verdict]:
    tag, paper = rows["data"].iloc[0], STANDS_FOR[name]
    last = literal.as_fitted(rows)
    length = f"last of {int(last['step'].max())} steps"
    protocol = f"PA-MPJPE, per-category flip, {length}, encoding weight 1"
    context = dict(data=tag, category=scored(name), protocol=protocol)

    def errors(injection: str, alpha: float, column: str = "flip", frame: "pandas.DataFrame" = last) -> list[float]:
        return _arm(frame, injection, alpha).sort_values("seed")[column].tolist()

    result = []
    for injection, key in CLAIMS.items():
        column, unit = literal.unit_of(rows)
        result.append(verdicts.value(
            f"{key}-{paper}", errors(injection, 1.0, column), unit=unit, column=column,
            evidence="05_injection/table.csv", **context,
        ))  # fmt: skip
    for other in ("input", "first_last", "every_2nd"):
        for alpha in sorted(last[last["injection"] == other]["alpha"].unique()):
            protocol = f"every against {other}, encoding weight {alpha:g}, paired by seed, per-category flip, {length}"
            result.append(verdicts.direction(
                f"F4a-every-{paper}", errors("every", alpha), errors(other, alpha), versus=f"{CLAIMS[other]}-{paper}",
                column="flip", unit="% of RMS radius", evidence="05_injection/table.csv",
                **{**context, "protocol": protocol},
            ))  # fmt: skip
    stopped = literal.as_fitted(rows, "3d")
    result.append(verdicts.direction(
        "EARLYSTOP", errors("every", 1.0, frame=stopped), errors("every", 1.0), column="flip", unit="% of RMS radius",
        evidence="05_injection/fig_stopping.png",
        **{**context, "protocol": "paper-literal run: stopped by 3D validation error against last step"},
    ))  # fmt: skip
    return result


def _labelled(rows: "pandas.DataFrame") -> "pandas.DataFrame":
    return rows.assign(weight="weight " + rows["alpha"].map("{:g}".format))


def _paper(name: str, rows: "pandas.DataFrame") -> dict[str, float] | None:
    """The printed millimetres as % of this data set's RMS radius; only where millimetres mean something (humans)."""
    unit = literal.per_mm(rows, name)
    return unit and {injection: claims.get(f"{key}-H36M").number * unit for injection, key in CLAIMS.items()}
