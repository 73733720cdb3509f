"""Figures of notebook 11: costs over sizes with their growth, ways to train arms, networks, and all factors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lfmlib import plots
from lfmlib.efficiency import fit, hardware, inference, step, timing, training
from lfmlib.efficiency.growth import Growth
from lfmlib.efficiency.records import Record
from lfmlib.studies.efficiency import Curve, Study, curves

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

OURS, THEIRS, OURS_2, THEIRS_2, FLOOR = "#0072b2", "#d55e00", "#56b4e9", "#e69f00", "#7f7f7f"
AXES = {"batch": "batch B", "keypoints": "keypoints N", "arms": "arms A", "depth": "layers L", "samples": "samples"}


def figure_fit(study: Study) -> "matplotlib.figure.Figure":
    """Seconds of the exact fit, alone and with gradient, over batch and keypoints; pinv + SVD beside it."""
    drawn = [c for c in curves(study) if c.group == fit.GROUP]
    figure, axes = plots.panels(1, 2, 5.0, 4.0, sharey=True)
    for ax, axis in zip(axes, ("batch", "keypoints"), strict=True):
        for curve in (c for c in drawn if c.axis == axis):
            ours, theirs = (OURS, THEIRS) if curve.name == fit.GRADIENT else (OURS_2, THEIRS_2)
            _line(ax, curve.sizes, curve.ours, ours, "o", curve.name, curve.growth)
            _line(ax, curve.sizes, curve.theirs, theirs, "s", f"{curve.name}, {curve.other}", curve.other_growth)
            if curve.name == fit.GRADIENT:
                _floor(ax, curve)
        _finish(ax, axis, _held(study, fit.GROUP, axis))
    axes[0].set_ylabel("seconds")
    return figure


def figure_training(study: Study) -> "matplotlib.figure.Figure":
    """Seconds of one training step of all arms, stacked and one by one, along each axis."""
    drawn = [c for c in curves(study) if c.group in training.GROUPS]
    figure, axes = plots.panels(1, max(1, len(drawn)), 3.3, 3.9, squeeze=False)
    for ax, curve in zip(axes[0], drawn, strict=False):
        _line(ax, curve.sizes, curve.ours, OURS, "o", "stacked", curve.growth)
        _line(ax, curve.sizes, curve.theirs, THEIRS, "s", "one by one, plain PyTorch", curve.other_growth)
        _floor(ax, curve)
        _finish(ax, curve.axis, _held(study, curve.group, curve.axis))
    axes[0, 0].set_ylabel("seconds for a step of all arms")
    return figure


def figure_variants(study: Study) -> "matplotlib.figure.Figure":
    """Arm-steps per second of every way to train the same arms on this machine, beside the stack's."""
    records = [r for r in study.records if r.group == "training_arms" and r.name == training.NAME]
    arms = [r.sizes["arms"] for r in records]
    chosen = max(sorted(set(arms)), key=arms.count)  # where the most ways were measured
    rows = sorted((r for r in records if r.sizes["arms"] == chosen), key=lambda r: -r.ratio)
    figure, ax = plots.panels(1, 1, 6.4, 0.9 + 0.4 * (len(rows) + 1))
    rate = timing.median([r.counts["work"] / r.ours_s for r in rows])
    ax.barh(0, 1, color=OURS, height=0.6)
    ax.text(1, 0, f"  {rate:.3g} arm-steps per second", va="center", fontsize=7)
    for place, r in enumerate(rows, 1):
        ax.barh(place, r.ratio, color=THEIRS, height=0.6)
        ax.plot([min(r.runs), max(r.runs)], [place, place], color="0.2", lw=1.2, marker="|", ms=6)
        ax.text(max(r.runs), place, f"  stacked: {_range(r)} times faster", va="center", fontsize=7)
    names = ["stacked", *(r.other for r in rows)]
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.invert_yaxis()
    ax.set(xlabel="arm-steps per second, share of the stack's (median and range of paired turns)",
           xlim=(0, 1.7 * max(1, *(max(r.runs) for r in rows))))  # fmt: skip
    ax.axvline(1, color=FLOOR, lw=0.8)
    ax.set_title(", ".join(f"{name} {value}" for name, value in rows[0].sizes.items()), fontsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def figure_inference(study: Study) -> "matplotlib.figure.Figure":
    """Time a sample over the number of samples, per engine."""
    drawn = [c for c in curves(study) if c.group == inference.GROUP]
    figure, ax = plots.panels(1, 1, 5.2, 3.8)
    colours = {inference.ONNX: OURS, inference.COMPILED: OURS_2}
    for number, curve in enumerate(drawn):
        engine = curve.name.removeprefix(f"{inference.LIFT}, ")
        _line(ax, curve.sizes, _per(curve.ours, curve.sizes), colours[engine], "o", engine, curve.growth)
        if number == 0:
            _line(ax, curve.sizes, _per(curve.theirs, curve.sizes), THEIRS, "s", inference.EAGER, curve.other_growth)
            floors = [f if f is None else 1e3 * f / n for f, n in zip(curve.floors, curve.sizes, strict=True)]
            _floor(ax, curve, floors)
    _finish(ax, "samples", _held(study, inference.GROUP, "samples"))
    ax.set_ylabel("milliseconds a sample")
    if ax.get_legend():
        ax.get_legend().set_title("name: exponent of growth of the seconds in all", prop={"size": 6.5})
    return figure


def figure_networks(study: Study) -> "matplotlib.figure.Figure":
    """How many times the Lifter's step takes that of the other networks, at each of its sizes."""
    rows = [r for r in study.records if r.group == step.GROUP]
    sizes = list(dict.fromkeys((r.sizes["width"], r.sizes["depth"]) for r in rows))
    others = list(dict.fromkeys(r.other for r in rows))
    figure, ax = plots.panels(1, 1, 5.6, 3.2)
    for number, size in enumerate(sizes):
        mine = {r.other: r for r in rows if (r.sizes["width"], r.sizes["depth"]) == size}
        places = [others.index(other) + 0.2 * (number - (len(sizes) - 1) / 2) for other in mine]
        values = [r.ratio for r in mine.values()]
        spread = [[v - min(r.runs) for v, r in zip(values, mine.values(), strict=True)],
                  [max(r.runs) - v for v, r in zip(values, mine.values(), strict=True)]]  # fmt: skip
        million = next(iter(mine.values())).counts["parameters"] / 1e6
        label = f"Lifter D={size[0]}, L={size[1]} ({million:.2g}M parameters)"
        ax.errorbar(places, values, spread, fmt="o", ms=5, capsize=3, color=plots.CYCLE[number], label=label)
    ax.axhline(1, color=FLOOR, lw=1)
    ax.set_yscale("log")
    _plain_ticks(ax.yaxis, ax.get_ylim())
    labels = {r.other: f"{r.other.removeprefix('torch.nn.')}\n{_size_of(r)}" for r in rows}
    ax.set_xticks(range(len(others)), [labels[o] for o in others], fontsize=8)
    ax.set_xlim(-0.5, len(others) - 0.5)
    ax.set_ylabel("the Lifter's step takes ... times as long")
    ax.legend(fontsize=7)
    return figure


def figure_factors(study: Study) -> "matplotlib.figure.Figure":
    """Every pair at its largest size: how many times faster ours is, with the range over the runs."""
    rows = _largest([r for r in study.records if r.ratio is not None and r.group not in (step.GROUP, "data")])
    figure, ax = plots.panels(1, 1, 8.6, 0.9 + 0.24 * len(rows))
    groups = list(dict.fromkeys(r.group for r in rows))
    rows.sort(key=lambda r: groups.index(r.group))
    for place, r in enumerate(rows):
        factor = 1 / r.ratio
        colour = plots.CYCLE[groups.index(r.group) % len(plots.CYCLE)]
        ax.plot([1 / max(r.runs), 1 / min(r.runs)], [place, place], color=colour, lw=2, alpha=0.5)
        ax.plot([factor], [place], marker="o", color=colour, ms=5)
        ax.annotate(
            f"{factor:.3g}", (1 / min(r.runs), place), (4, 0), textcoords="offset points", va="center", fontsize=7
        )
    ax.axvline(1, color="0.4", lw=1)
    ax.set_xscale("log")
    ax.set_yticks(range(len(rows)), [f"{r.name} | {r.other}  ({_sizes(r)})" for r in rows], fontsize=7)
    ax.invert_yaxis()
    ax.set_xlabel("times faster than the other (median, range over turns)")
    ax.margins(x=0.12)
    _plain_ticks(ax.xaxis, ax.get_xlim())
    ax.grid(axis="x", lw=0.3)
    return figure


def _line(
    ax: "matplotlib.axes.Axes",
    sizes: Sequence[int],
    costs: Sequence[float],
    colour: str,
    marker: str,
    label: str,
    law: Growth | None,
) -> None:
    """A curve whose legend says how it grows."""
    text = f"{label}: {law}" if law else label
    ax.plot(sizes, costs, color=colour, marker=marker, ms=4, lw=1.4, label=text)


def _floor(ax: "matplotlib.axes.Axes", curve: Curve, floors: Sequence[float | None] | None = None) -> None:
    """The hardware's floor of ours, as a dashed line."""
    points = [(n, f) for n, f in zip(curve.sizes, floors or curve.floors, strict=True) if f is not None]
    if points:
        ax.plot(*zip(*points, strict=True), color=FLOOR, ls="--", lw=1.2, label="floor of the hardware")


def _finish(ax: "matplotlib.axes.Axes", axis: str, title: str) -> None:
    ax.set(xscale="log", yscale="log", xlabel=AXES[axis])
    ax.set_title(title, fontsize=8)
    _plain_ticks(ax.yaxis, ax.get_ylim())
    ax.grid(lw=0.3, which="major")
    handles, labels = ax.get_legend_handles_labels()
    if axis in ("arms", "depth", "keypoints") and ax.lines:
        ticks = sorted({int(x) for line in ax.lines for x in line.get_xdata()})
        ax.set_xticks(ticks, [str(tick) for tick in ticks])
        ax.minorticks_off()
    if handles:
        legend = ax.legend(handles, labels, fontsize=6.5, loc="upper left", bbox_to_anchor=(0, -0.2), handlelength=1.8)
        legend.set_title("name: exponent of growth", prop={"size": 6.5})
        legend.set_alignment("left")


def _plain_ticks(axis: Any, limits: tuple[float, float]) -> None:
    """1, 2, 5, 10 on a logarithmic axis of up to two decades, where powers of ten alone would be one tick or two."""
    from matplotlib import ticker

    if max(limits) < 300 * min(limits):
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(ticker.NullFormatter())


def _held(study: Study, group: str, axis: str) -> str:
    """The sizes that stay the same along a curve."""
    for curve in curves(study):
        if (curve.group, curve.axis) == (group, axis):
            mine = [r for r in study.records if (r.group, r.name, r.other) == (group, curve.name, curve.other)
                    and r.sizes.get(axis) in curve.sizes]  # fmt: skip
            same = {k: v for k, v in mine[0].sizes.items() if k != axis and all(r.sizes[k] == v for r in mine)}
            return ", ".join(f"{name} {value:,}" for name, value in same.items())
    return ""


def _per(seconds: Sequence[float], counts: Sequence[int]) -> list[float]:
    """Milliseconds for each."""
    return [1e3 * s / n for s, n in zip(seconds, counts, strict=True)]


def _range(record: Record) -> str:
    return f"{1 / record.ratio:.2f} ({1 / max(record.runs):.2f}-{1 / min(record.runs):.2f})"


def _size_of(record: Record) -> str:
    if record.other == step.ENCODER:
        return "of the same size"
    return f"{record.counts['other_parameters'] / 1e6:.2g}M parameters"


def _largest(records: Sequence[Record]) -> list[Record]:
    """Of the records that differ in their sizes alone, the one with the most work."""
    best: dict[Any, Record] = {}
    for r in records:
        if r.group == hardware.GROUP:
            continue
        key = (r.group, r.name, r.other, r.dtype)
        if key not in best or r.other_s > best[key].other_s:
            best[key] = r
    return list(best.values())


def _sizes(record: Record) -> str:
    short = {"batch": "B", "keypoints": "N", "width": "D", "depth": "L", "arms": "A", "samples": "F"}
    sizes = " ".join(f"{short[k]}={v:,}" for k, v in record.sizes.items() if k in short)
    return f"{sizes} {record.dtype}".strip()
