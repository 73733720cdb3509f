"""Fig. 4a: where the index encoding enters, and how strongly: injection x encoding weight x seed, per data set.

The encoding weight alpha is "appropriately" chosen in the paper and never printed, so it is an axis here. Nothing but
Eq. 1 trains these runs. What stops or selects with 3D labels is a row of its own, named so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lfmlib import claims, experiments, metrics, plots, verdicts
from lfmlib.data import real, synthetic
from lfmlib.model import INJECTIONS, LifterConfig
from lfmlib.runs import RunConfig
from lfmlib.store import RunStore
from lfmlib.verdicts import Verdict

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas

PASCAL = tuple(
    f"pascal3d_{name}"
    for name in ("aeroplane", "bicycle", "boat", "bottle", "bus", "chair", "diningtable", "sofa", "train", "tvmonitor")
)
# set -> categories trained together, and the data set of the paper that it stands in for
SETS = {
    "synthetic_body17": ("synthetic_body17",),
    "synthetic_aeroplane8": ("synthetic_aeroplane8",),
    "human17_cmu": ("human17_cmu",),
    "pascal3d_cad": PASCAL,
}
STANDS_FOR = {"human17_cmu": "H36M", "synthetic_body17": "H36M", "pascal3d_cad": "P3D", "synthetic_aeroplane8": "P3D"}
WEIGHTS = (1.0, 3.0, 10.0)
CLAIMS = {"input": "F4a-input", "first_last": "F4a-first-last", "every_2nd": "F4a-every2", "every": "F4a-every"}
MORE_STEPS = 1.6  # for the categories that share each batch
LITERAL = "paper-literal"  # Eq. 1, Eqs. 2 and 3 in every layer, encoding weight 1, last step, shape as fitted
BY_3D = "weight chosen by 3D"


def sets() -> dict[str, tuple[str, ...]]:
    """The data sets that are there: the synthetic ones, and the real ones where LFM_DATA names a folder with them."""
    found = set(real.available()) if real.folder() else set()
    return {name: cats for name, cats in SETS.items() if name.startswith("synthetic") or set(cats) <= found}


def grid(
    steps: int,
    width: int,
    depth: int,
    views: int,
    weights: Sequence[float] = WEIGHTS,
    seeds: int = 3,
    lr: float = 1e-3,
    profile: str = "cpu",
) -> list[tuple[str, RunConfig]]:
    """(data set, run) for every injection x alpha x seed; without injection alpha means nothing, so there is one run.

    Args:
        steps, width, depth, lr: size of a run; several categories trained together get MORE_STEPS times the steps.
        views: evaluation views of a data set, shared out among its categories.
        weights: encoding weights alpha, rising; first_last and every_2nd run with the outermost two.
        seeds: 0 .. seeds - 1.
        profile: caps the frames of synthetic categories, see `synthetic.cap`; full is for GPUs and multiplies in bf16.
    """
    return [
        (name, RunConfig(
            categories,
            model=LifterConfig(width=width, depth=depth, heads=max(4, width // 64), injection=injection, alpha=alpha),
            steps=steps if len(categories) == 1 else int(MORE_STEPS * steps), lr=lr, seed=seed,
            waste=1.0,  # as printed: all categories padded to N_max in one batch
            count=synthetic.cap(profile), evaluations=min(8, max(1, steps // 6)),
            test_views=max(20, views // len(categories)), precision="bf16" if profile == "full" else "float32",
        ))
        for name, categories in sets().items()
        for injection in INJECTIONS
        for alpha in _weights(injection, weights)
        for seed in range(seeds)
    ]  # fmt: skip


def _weights(injection: str, weights: Sequence[float]) -> tuple[float, ...]:
    """All weights for the two strategies that the claim is about, the outermost for the ones between them."""
    if injection == "none":
        return (1.0,)
    return tuple(weights if injection in ("input", "every") else dict.fromkeys((weights[0], weights[-1])))


@dataclass(frozen=True)
class Study:
    """What the notebook shows: result rows, curves over the steps, and the records that they come from."""

    table: "pandas.DataFrame"
    curves: "pandas.DataFrame"
    records: list[dict[str, Any]]


def measure(arms: Sequence[tuple[str, RunConfig]], workers: int | None = None, store: RunStore | None = None) -> Study:
    """Trains what is missing and gathers the rows; the floors are measured on the same views as the runs."""
    import pandas

    store = store or RunStore()
    records = experiments.run_grid([config for _, config in arms], workers, store)
    table, curves, first = [], [], {}
    for (name, config), record in zip(arms, records, strict=True):
        columns = {"set": name, "injection": config.model.injection, "alpha": config.model.alpha}
        table += [{**row, "method": _method(row)} for row in experiments.rows(record, **columns)]
        curves += [{**row, "method": _method(row)} for row in experiments.curve_rows(store, record, **columns)]
        first.setdefault(name, []).append(config)
    for name, configs in first.items():
        seeds = sorted({config.seed for config in configs})
        table += experiments.floor_rows(configs[0], seeds, set=name, injection="", alpha=float("nan"))
    frame = pandas.DataFrame(table)
    mean = frame["category"] == metrics.CLASS_MEAN
    frame.loc[mean, "category"] = frame["set"].map(_scored)
    front = ["data", "set", "category", "method", "injection", "alpha", "read_out", "stop", "seed", *experiments.ERRORS]
    return Study(frame[front + [c for c in frame.columns if c not in front]], pandas.DataFrame(curves), records)


def _method(row: dict[str, Any]) -> str:
    if row["injection"] == "every" and row["alpha"] == 1 and row["read_out"] == "fit" and row.get("stop") != "3d":
        return LITERAL
    extra = [f"weight {row['alpha']:g}"] if row["injection"] != "none" else []
    extra += ["snap"] if row["read_out"] == "snap" else []
    extra += ["stopped by 3D"] if row.get("stop") == "3d" else []
    return ", ".join([f"injection {row['injection']}", *extra])


def overall(study: Study) -> "pandas.DataFrame":
    """One row per arm and data set: its only category, or the class mean."""
    frame = study.table
    return frame[frame["category"] == frame["set"].map(_scored)]


def _scored(name: str) -> str:
    """The category that stands for a data set: its only one, or their mean."""
    return name if len(SETS[name]) == 1 else f"{name} ({metrics.CLASS_MEAN})"


def best_weights(study: Study) -> "pandas.DataFrame":
    """Per data set and injection: the error at weight 1, at the weight that the 2D loss picks, and at the one 3D picks.

    Choosing by 3D is what a paper does that tunes on its test metric; it is named so. Mean and sd over seeds of the
    last step, shape as fitted.
    """
    import pandas

    rows = overall(study)
    last = rows[(rows["stop"] == "last") & (rows["read_out"] == "fit")]
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
        last = mine[(mine["stop"] == "last") & (mine["read_out"] == "fit")]
        result[f"{name}: paper-literal"] = float(mine[mine["method"] == LITERAL]["flip"].mean())
        result[f"{name}: best arm ({BY_3D})"] = float(last.groupby(["injection", "alpha"])["flip"].mean().min())
        result |= {f"{name}: floor {floor}": value for floor, value in _floors(rows, name, "flip").items()}
    return result


def readme_table(study: Study) -> "pandas.DataFrame":
    """For the README: the paper-literal run, the best weight in every layer, the best arm, and the floors, in words."""
    import pandas

    rows = overall(study)
    last = rows[(rows["stop"] == "last") & (rows["read_out"] == "fit")]
    result = []
    for name, mine in last.groupby("set", sort=False):
        means = mine.groupby(["injection", "alpha"], sort=False)["flip"].mean()
        weight, arm = means["every"].idxmin(), means.idxmin()
        floors = rows[rows["set"] == name]
        chosen = {
            "paper-literal (every layer, weight 1)": mine[mine["method"] == LITERAL],
            f"every layer, weight {weight:g} ({BY_3D})": _arm(mine, "every", weight),
            f"injection {arm[0]}, weight {arm[1]:g} (arm chosen by 3D)": _arm(mine, *arm),
            "floor: flat": floors[floors["method"] == "flat"],
            "floor: mean shape (3D)": floors[floors["method"] == "mean"],
        }
        for how, runs in chosen.items():
            numbers = {c: _mean_sd(runs[c]) for c in experiments.ERRORS}
            data = f"{_scored(name)}, {runs['data'].iloc[0]}"
            result.append({"data": data, "run": how, **numbers, "seeds": len(runs)})
    return pandas.DataFrame(result).rename(columns={"o3": "O(3)", "so3": "SO(3)", "flip": "flip per category"})


def _arm(rows: "pandas.DataFrame", injection: str, alpha: float) -> "pandas.DataFrame":
    return rows[(rows["injection"] == injection) & (rows["alpha"] == alpha)]


def _mean_sd(values: "pandas.Series") -> str:
    return "" if values.isna().any() else f"{values.mean():.1f} ± {values.std():.1f}"


def figure_error(study: Study, column: str = "flip") -> "matplotlib.figure.Figure":
    """Error at the last step against injection, one colour per encoding weight; floors, and the paper's values."""
    rows = overall(study)
    names = list(dict.fromkeys(rows["set"]))
    figure, axes = plots.panels(1, len(names), width=3.4, height=3.2, squeeze=False)
    for ax, name in zip(axes[0], names, strict=True):
        mine = _labelled(rows[(rows["set"] == name) & (rows["stop"] == "last") & (rows["read_out"] == "fit")])
        plots.points(
            mine, "injection", column, "weight", ax=ax, floors=_floors(rows, name, column), title=name,
            paper=_paper(name, rows) if column == "flip" else None,
        )  # fmt: skip
        ax.set_ylim(0)
        ax.set_ylabel(plots.LABELS[column] if ax is axes[0, 0] else "")
    return _shared_legend(figure, axes[0])


def figure_training(study: Study, injections: Sequence[str] = ("input", "every")) -> "matplotlib.figure.Figure":
    """Error and Eq. 1 on validation pictures over the steps, per injection: does a run drift to the flat answer?"""
    rows, curves = overall(study), study.curves[study.curves["read_out"] == "fit"]
    names = list(dict.fromkeys(curves["set"]))
    kinds = [(y, injection) for y in ("flip", "eq1") for injection in injections]
    figure, axes = plots.panels(len(kinds), len(names), width=2.9, height=2.2, squeeze=False, sharex=True, sharey="row")
    for number, ((y, injection), row) in enumerate(zip(kinds, axes, strict=True)):
        for ax, name in zip(row, names, strict=True):
            mine = _labelled(curves[(curves["set"] == name) & (curves["injection"] == injection)])
            floors = _floors(rows, name, "flip") if y == "flip" else None
            plots.curves(mine, "step", y, "weight", ax=ax, floors=floors, log_y=y == "eq1")
            ax.set_title(f"{name}, injection {injection}", fontsize=9)
            ax.set_xlabel(plots.LABELS["step"] if number == len(kinds) - 1 else "")
            ax.set_ylabel({"flip": plots.LABELS["flip"], "eq1": "Eq. 1, validation"}[y] if ax is row[0] else "")
        if y == "flip":  # once all panels of the shared axis are filled: a limit that is set ends its growth
            row[0].set_ylim(bottom=0)
    return _shared_legend(figure, axes.flat)


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
        plots.points(mine, "weight", "flip", "how", ax=ax, floors=_floors(rows, name, "flip"), title=name)
        ax.set(ylim=(0, None), xlabel="injection every")
        ax.set_ylabel(plots.LABELS["flip"] if ax is axes[0, 0] else "")
    return _shared_legend(figure, axes[0])


def judge(study: Study) -> list[Verdict]:
    """Verdicts on Fig. 4a's claims: each printed value, and each ordering "every layer beats the others"."""
    rows = overall(study)
    result = []
    for name in dict.fromkeys(rows["set"]):
        if STANDS_FOR[name] in {STANDS_FOR[n] for n in rows["set"].unique() if not n.startswith("synthetic")} and (
            name.startswith("synthetic")
        ):
            continue  # the real data set speaks for this claim
        result += _judge_set(rows[rows["set"] == name], name)
    return result


def _judge_set(rows: "pandas.DataFrame", name: str) -> list[Verdict]:
    tag, paper = rows["data"].iloc[0], STANDS_FOR[name]
    metric = rows["mm"].notna().all()
    last = rows[(rows["stop"] == "last") & (rows["read_out"] == "fit")]
    length = f"last of {int(last['step'].max())} steps"
    protocol = f"PA-MPJPE, per-category flip, {length}, encoding weight 1"
    context = dict(data=tag, category=_scored(name), protocol=protocol)

    def errors(injection: str, alpha: float, column: str = "flip", frame: "pandas.DataFrame" = last) -> list[float]:
        return _arm(frame, injection, alpha).sort_values("seed")[column].tolist()

    result = []
    for injection, key in CLAIMS.items():
        column, unit = ("mm", "mm") if metric else ("flip", "% of RMS radius")
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
    stopped = rows[(rows["stop"] == "3d") & (rows["read_out"] == "fit")]
    result.append(verdicts.direction(
        "EARLYSTOP", errors("every", 1.0, frame=stopped), errors("every", 1.0), column="flip", unit="% of RMS radius",
        evidence="05_injection/fig_stopping.png",
        **{**context, "protocol": "paper-literal run: stopped by 3D validation error against last step"},
    ))  # fmt: skip
    return result


def _labelled(rows: "pandas.DataFrame") -> "pandas.DataFrame":
    return rows.assign(weight="weight " + rows["alpha"].map("{:g}".format))


def _floors(rows: "pandas.DataFrame", name: str, column: str) -> dict[str, float]:
    mine = rows[rows["set"] == name]
    return {floor: float(mine[mine["method"] == floor][column].mean()) for floor in ("flat", "mean")}


def _paper(name: str, rows: "pandas.DataFrame") -> dict[str, float] | None:
    """The printed millimetres as % of this data set's RMS radius; only where millimetres mean something (humans)."""
    mine = rows[(rows["set"] == name) & rows["mm"].notna()]
    if STANDS_FOR[name] != "H36M" or mine.empty:
        return None
    per_mm = float((mine["flip"] / mine["mm"]).mean())
    return {injection: claims.get(f"{key}-H36M").number * per_mm for injection, key in CLAIMS.items()}


def _shared_legend(figure: "matplotlib.figure.Figure", axes: Sequence[Any]) -> "matplotlib.figure.Figure":
    """One legend below all panels instead of one on each."""
    entries = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
        if ax.get_legend():
            ax.get_legend().remove()
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=min(len(entries), 7), fontsize=8)
    return figure
