"""What lifting and its training cost: Sec. 3.5's claims counted and timed, growth curves, and what is to be reached."""

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lfmlib import provenance, verdicts
from lfmlib.efficiency import command, counting, fit, inference, step, suite, targets, training
from lfmlib.efficiency.growth import Growth, growth
from lfmlib.efficiency.inputs import chain
from lfmlib.efficiency.records import Record, Results
from lfmlib.efficiency.setting import Setting
from lfmlib.model import Lifter, LifterConfig
from lfmlib.verdicts import Verdict

if TYPE_CHECKING:
    import pandas

AXES = ("arms", "width", "depth", "batch", "keypoints", "samples")
SAME = 3  # a count is the same for every seed; the rule for verdicts wants it three times
# what "our full model" can mean: Sec. 3.5's 25M, Fig. 4's 16 layers, Sec. 4.3.3's best with 24, all at width 512
FULL_MODELS = ((512, 8), (512, 16), (512, 24))
# curves: group, contest, opponent, axis, and whether the opponent is drawn, too
CURVES = (
    (fit.GROUP, fit.FIT, fit.SVD, "batch"),
    (fit.GROUP, fit.GRADIENT, fit.SVD, "batch"),
    (fit.GROUP, fit.FIT, fit.SVD, "keypoints"),
    (fit.GROUP, fit.GRADIENT, fit.SVD, "keypoints"),
    *((group, training.NAME, training.EAGER, axis) for group, axis in training.GROUPS.items()),
    (inference.GROUP, f"{inference.LIFT}, {inference.ONNX}", f"{inference.LIFT}, {inference.EAGER}", "samples"),
    (inference.GROUP, f"{inference.LIFT}, {inference.COMPILED}", f"{inference.LIFT}, {inference.EAGER}", "samples"),
)


@dataclass(frozen=True)
class Study:
    """Records of one device; `all` holds those of others, too, that the file has."""

    device: str
    records: list[Record]
    all: list[Record]


@dataclass(frozen=True)
class Curve:
    """Median seconds over one size, the others held; the opponent's beside it, and the hardware's floor."""

    group: str
    name: str
    other: str
    axis: str
    sizes: list[int]
    ours: list[float]
    theirs: list[float]
    floors: list[float | None]

    @property
    def growth(self) -> Growth | None:
        """Of ours."""
        return growth(self.sizes, self.ours)

    @property
    def other_growth(self) -> Growth | None:
        """Of the opponent's."""
        return growth(self.sizes, self.theirs)


def measure(profile: str, path: Path, device: str = "auto") -> Study:
    """Measures all groups but those on request, in a process of its own: see `efficiency.command`.

    What this very commit has measured on this device is not measured again.

    Args:
        profile: smoke, cpu or full.
        path: of the file; records of other devices and of groups on request stay in it.
        device: "cpu", "cuda", or "auto": a GPU in profile full, if there is one, else the CPU.
    Raises:
        RuntimeError: contests failed; names them, after all others were measured and written.
    """
    if device == "auto":
        device = "cuda" if profile == "full" and torch.cuda.is_available() else "cpu"
    setting = Setting(profile, device)
    call = [sys.executable, "-m", command.__name__, "--profile", profile, "--device", device, "--out", str(path)]
    call += ["--resume"] if _is_current(path, suite.device_name(setting)) else []
    package = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(call, env=os.environ | {"PYTHONPATH": package}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the benchmarks did not all go well:\n{done.stderr[-3000:]}")
    here, records = suite.device_name(setting), Results(path).records
    return Study(here, [r for r in records if r.device == here], records)


def _is_current(path: Path, device: str) -> bool:
    """Whether the code, without changes, measured all that the file holds of this device."""
    mine, code = [r for r in Results(path).records if r.device == device], provenance.commit()
    return bool(mine) and all(
        (r.measured.get("commit"), r.measured.get("dirty")) == (code["commit"], False) for r in mine
    )


def table(study: Study) -> "pandas.DataFrame":
    """One row per record: what, against what, sizes, seconds, how many times faster (median and range), floor."""
    import pandas

    rows = []
    for r in study.all:
        factors = sorted(1 / run for run in r.runs) if r.ratio is not None else [float("nan")]
        counts = {name: r.counts.get(name) for name in ("parameters", "forward_flops", "peak_bytes")}
        rows.append({
            "group": r.group, "name": r.name, "other": r.other, **{axis: r.sizes.get(axis) for axis in AXES},
            "dtype": r.dtype, "threads": r.threads, "device": r.device, "ours_s": r.ours_s, "other_s": r.other_s,
            "x_faster": None if r.ratio is None else 1 / r.ratio, "x_lowest": factors[0], "x_highest": factors[-1],
            "runs": len(r.runs), "floor_s": r.floor_s, "floor_by": r.floor_by, "floor_share": r.share, **counts,
        })  # fmt: skip
    frame = pandas.DataFrame(rows)
    return frame.astype({axis: "Int64" for axis in AXES})


def hardware(study: Study) -> "pandas.DataFrame":
    """The ceilings, from the fastest turn."""
    import pandas

    rows = []
    for r in study.records:
        if r.group == "hardware":
            amount, unit = ("flops", "GFLOP/s") if "flops" in r.counts else ("bytes", "GB/s")
            value = r.counts[amount] / min(r.runs) / 1e9
            rows.append({"what": r.name, "dtype": r.dtype, "value": value, "unit": unit, "threads": r.threads})
    return pandas.DataFrame(rows)


def reached(study: Study) -> "pandas.DataFrame":
    """The targets and what was measured for them, on any device that the file knows."""
    import pandas

    rows = [row._asdict() for row in targets.reached(study.all)]
    return pandas.DataFrame(rows, columns=list(targets.Reached._fields))


def curves(study: Study) -> list[Curve]:
    """The growth curves that can be drawn from at least two sizes, in float32."""
    found = []
    for group, name, other, axis in CURVES:
        key = (group, name, other, "float32")
        mine = _line([r for r in study.records if (r.group, r.name, r.other, r.dtype) == key], axis)
        if len(mine) > 1:
            found.append(Curve(
                group, name, other, axis, [r.sizes[axis] for r in mine], [r.ours_s for r in mine],
                [r.other_s for r in mine], [r.floor_s for r in mine],
            ))  # fmt: skip
    return found


def _line(records: Sequence[Record], axis: str) -> list[Record]:
    """The records along the axis whose other sizes are the most frequent ones, in rising order."""
    held = {}
    for record in records:
        rest = tuple(sorted((k, v) for k, v in record.sizes.items() if k != axis))
        held.setdefault(rest, []).append(record)
    longest = max(held.values(), key=len, default=[])
    return sorted(longest, key=lambda record: record.sizes[axis])


def growth_table(study: Study) -> "pandas.DataFrame":
    """Fitted exponents: cost = factor * size^exponent over the upper half of the sizes."""
    import pandas

    rows = []
    for curve in curves(study):
        for who, law in ((curve.name, curve.growth), (curve.other, curve.other_growth)):
            if law is not None:
                rows.append({"group": curve.group, "who": who, "in": curve.axis, "exponent": law.exponent,
                             "standard_error": law.error, "from": round(law.start)})  # fmt: skip
    return pandas.DataFrame(rows)


def networks(study: Study) -> "pandas.DataFrame":
    """Parameters and forward operations of each network for one sample, and milliseconds of a step at batch 64."""
    import pandas

    rows = {}
    for r in study.records:
        if r.group != step.GROUP:
            continue
        size = f"D={r.sizes['width']}, L={r.sizes['depth']}"
        sized = f"{r.other}, {size}" if r.other == step.ENCODER else r.other
        for who, prefix, seconds in ((f"{r.name}, {size}", "", r.ours_s), (sized, "other_", r.other_s)):
            row = rows.setdefault(who, {
                "network": who, "M parameters": r.counts[f"{prefix}parameters"] / 1e6,
                "forward MFLOPs a sample": r.counts[f"{prefix}forward_flops"] / 1e6, "times": [],
            })  # fmt: skip
            row["times"].append(1e3 * seconds)
    frame = pandas.DataFrame([
        {**{k: v for k, v in row.items() if k != "times"}, "ms a step": statistics.median(row["times"])}
        for row in rows.values()
    ])  # fmt: skip
    return frame.sort_values("M parameters", ignore_index=True) if len(frame) else frame


def injection_flops(width: int, depth: int, keypoints: int = 17) -> float:
    """Operations that injection in every layer adds to a forward pass, %; additions count as one each."""
    config = LifterConfig(width=width, depth=depth, heads=max(4, width // 64))
    X = torch.zeros(1, keypoints, 2)
    every, none = (
        counting.flops(lambda c=c: Lifter(c, [chain(keypoints)])(X), counting.EVERYTHING)
        for c in (config, replace(config, injection="none"))
    )
    return 100 * (every / none - 1)


def model_parameters(width: int, depth: int) -> float:
    """Millions of parameters of a lifter."""
    config = LifterConfig(width=width, depth=depth, heads=max(4, width // 64))
    return counting.parameters(Lifter(config, [chain(17)])) / 1e6


def judge(study: Study, models: Sequence[Sequence[int]] = FULL_MODELS) -> list[Verdict]:
    """Verdicts on Sec. 3.5: parameters of the full model, operations and training time that injection adds."""
    rows = []
    for width, depth in models:
        name = f"Lifter D={width} L={depth}"
        rows.append(verdicts.value(
            "EFF-params", [model_parameters(width, depth)] * SAME, data="none", category=name, unit="M parameters",
            protocol=f"{name}, one category, counted", evidence="11_efficiency/networks.csv",
            note="the paper does not say which depth its full model has; an encoding from a formula adds none",
        ))  # fmt: skip
    width, depth = models[0]
    name = f"Lifter D={width} L={depth}, 17 keypoints"
    rows.append(verdicts.value(
        "EFF-flops", [injection_flops(width, depth)] * SAME, data="none", category=name, unit="% FLOPs",
        protocol=f"{name}, forward pass, every layer against none, additions counted", evidence="counted",
    ))  # fmt: skip
    for record in study.records:
        if record.group == step.INJECTION_GROUP and len(record.runs) >= verdicts.MIN_SEEDS:
            sizes = record.sizes
            name = (
                f"Lifter D={sizes['width']} L={sizes['depth']}, {sizes['keypoints']} keypoints, batch {sizes['batch']}"
            )
            rows.append(verdicts.value(
                "EFF-time", [100 * (ratio - 1) for ratio in record.runs], data="none", category=name,
                unit="% training time", evidence="11_efficiency/benchmarks.json",
                protocol=f"{name}, {record.threads} threads, {record.device}, paired steps, built anew for each run",
            ))  # fmt: skip
    return rows


def headline(study: Study) -> dict[str, float | str]:
    """The device and how many times faster than the obvious alternative the main pieces are."""
    found: dict[str, float | str] = {"device": study.device}
    for row in targets.reached(study.all):
        found[f"{row.what} against {row.against}" if row.against else row.what] = row.measured
    return found
