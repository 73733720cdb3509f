"""The 2D-LFM paper's method as printed, at a profile's size: the run that every ablation of the paper changes.

Eq. 1 alone with the exact camera, Eqs. 2 and 3 in every layer, encoding weight 1, last step, shape as fitted. Studies
that ask for the same run share it through the run store.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lfmlib import experiments, metrics
from lfmlib.data import real, synthetic
from lfmlib.model import LifterConfig
from lfmlib.runs import RunConfig
from lfmlib.store import RunStore

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas

PASCAL = tuple(
    f"pascal3d_{name}"
    for name in ("aeroplane", "bicycle", "boat", "bottle", "bus", "chair", "diningtable", "sofa", "train", "tvmonitor")
)
# set -> categories trained together; a synthetic one stands in where its measured twin is absent
SETS = {
    "human17_cmu": ("human17_cmu",), "pascal3d_cad": PASCAL,
    "synthetic_body17": ("synthetic_body17",), "synthetic_aeroplane8": ("synthetic_aeroplane8",),
}  # fmt: skip
STANDS_FOR = {"human17_cmu": "H36M", "synthetic_body17": "H36M", "pascal3d_cad": "P3D", "synthetic_aeroplane8": "P3D"}
MORE_STEPS = 1.6  # for the categories that share each batch
LITERAL = "paper-literal"


@dataclass(frozen=True)
class Size:
    """How large the runs of a study are.

    Args:
        steps, width, depth: of a run; several categories trained together get MORE_STEPS times the steps.
        views: evaluation views of a data set, shared out among its categories.
        profile: caps the frames of synthetic categories, see `synthetic.cap`; full is for GPUs and multiplies in bf16.
        seeds: 0 .. seeds - 1.
        lr: of AdamW.
    """

    steps: int
    width: int
    depth: int
    views: int
    profile: str = "cpu"
    seeds: int = 3
    lr: float | int = 1e-3


def sets() -> dict[str, tuple[str, ...]]:
    """Data sets by name, one for each of the paper's: measured where LFM_DATA has it, else synthetic."""
    found = set(real.available()) if real.folder() else set()
    there = {name: cats for name, cats in SETS.items() if name.startswith("synthetic") or set(cats) <= found}
    first: dict[str, str] = {}
    for name in there:
        first.setdefault(STANDS_FOR[name], name)
    return {name: there[name] for name in first.values()}


def run(
    categories: Sequence[str], size: Size, seed: int, model: dict[str, Any] | None = None, **changes: Any
) -> RunConfig:
    """A paper-literal run with some things changed.

    Args:
        categories: trained together.
        size, seed: of the run.
        model: fields of LifterConfig that differ.
        changes: fields of RunConfig that differ.
    """
    several = len(categories) > 1
    steps = int(MORE_STEPS * size.steps) if several else size.steps
    network = {"width": size.width, "depth": size.depth, "heads": max(4, size.width // 64)} | (model or {})
    settings = {
        "model": LifterConfig(**network), "steps": steps, "lr": size.lr, "seed": seed,
        "waste": 1.0,  # as printed: all categories padded to N_max in one batch
        "count": synthetic.cap(size.profile), "evaluations": min(8, max(1, size.steps // 6)),
        "test_views": max(20, size.views // len(categories)),
        "precision": "bf16" if size.profile == "full" else "float32",
    }  # fmt: skip
    return RunConfig(tuple(categories), **settings | changes)


@dataclass(frozen=True)
class Arm:
    """A run of a study: its data set, the columns that tell it from others, and its configuration."""

    set: str
    columns: dict[str, Any]
    config: RunConfig


@dataclass(frozen=True)
class Study:
    """What a notebook shows: result rows, curves over the steps, and where they come from, run by run."""

    table: "pandas.DataFrame"
    curves: "pandas.DataFrame"
    records: list[dict[str, Any]]


def measure(arms: Iterable[Arm], workers: int | None = None, store: RunStore | None = None) -> Study:
    """Trains what is missing and gathers the rows; the floors are measured on the same views as the runs."""
    import pandas

    arms, store = list(arms), store or RunStore()
    records = experiments.run_grid([arm.config for arm in arms], workers, store)
    table, curves, first = [], [], {}
    for arm, record in zip(arms, records, strict=True):
        columns = {"set": arm.set, "method": "", **arm.columns}
        table += experiments.rows(record, **columns)
        curves += experiments.curve_rows(store, record, **columns)
        first.setdefault(arm.set, []).append(arm.config)
    blank = {name: float("nan") if isinstance(value, int | float) else "" for name, value in arms[0].columns.items()}
    for name, configs in first.items():
        seeds = sorted({config.seed for config in configs})
        table += experiments.floor_rows(configs[0], seeds, **{"set": name, **blank})
    frame = pandas.DataFrame(table)
    mean = frame["category"] == metrics.CLASS_MEAN
    frame.loc[mean, "category"] = frame["set"].map(scored)
    front = ["data", "set", "category", "method", *(c for c in arms[0].columns if c != "method"), "read_out", "stop",
             "seed", *experiments.ERRORS]  # fmt: skip
    frame = frame[front + [c for c in frame.columns if c not in front]]
    return Study(frame, pandas.DataFrame(curves), experiments.run_summaries(records))


def overall(study: Study) -> "pandas.DataFrame":
    """One row per arm, read-out, stop and data set: its only category, or the class mean."""
    frame = study.table
    return frame[frame["category"] == frame["set"].map(scored)]


def as_fitted(rows: "pandas.DataFrame", stop: str = "last") -> "pandas.DataFrame":
    """The rows of one stop, shape as fitted."""
    return rows[(rows["stop"] == stop) & (rows["read_out"] == "fit")]


def scored(name: str) -> str:
    """The category that stands for a data set: its only one, or their mean."""
    return name if len(SETS[name]) == 1 else f"{name} ({metrics.CLASS_MEAN})"


def floors(rows: "pandas.DataFrame", name: str, column: str) -> dict[str, float]:
    """Means over seeds of a data set's floors, by their names."""
    mine = rows[rows["set"] == name]
    return {floor: float(mine[mine["method"] == floor][column].mean()) for floor in ("flat", "mean")}


def per_mm(rows: "pandas.DataFrame", name: str) -> float | None:
    """% of the RMS radius that a printed millimetre is on a data set; None where its millimetres mean nothing."""
    mine = rows[(rows["set"] == name) & rows["mm"].notna()]
    return None if STANDS_FOR[name] != "H36M" or mine.empty else float((mine["flip"] / mine["mm"]).mean())


def unit_of(rows: "pandas.DataFrame") -> tuple[str, str]:
    """Column and unit in which a printed value is judged: millimetres where the data is metric."""
    return ("mm", "mm") if rows["mm"].notna().all() else ("flip", "% of RMS radius")


def shared_legend(figure: "matplotlib.figure.Figure", axes: Iterable[Any]) -> "matplotlib.figure.Figure":
    """One legend below all panels instead of one on each."""
    entries = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
        if ax.get_legend():
            ax.get_legend().remove()
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=min(len(entries), 7), fontsize=8)
    return figure
