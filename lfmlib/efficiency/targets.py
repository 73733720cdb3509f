"""What is to be reached, and what the records say about it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from lfmlib.efficiency import fit, gpu_must, inference, training
from lfmlib.efficiency.records import Record

MIB = 2**20


class Target(NamedTuple):
    """A goal: `at_least` (or at most) so much of what `of` reads from a record that `concerns` picks."""

    what: str
    goal: float | int
    unit: str
    concerns: Callable[[Record], bool]
    of: Callable[[Record], float | None]
    at_least: bool = True


class Reached(NamedTuple):
    """A row of the table of targets."""

    what: str
    against: str
    device: str
    goal: str
    measured: str
    met: bool


def _faster(record: Record) -> float | None:
    return None if record.ratio is None else 1 / record.ratio


def _share(record: Record) -> float | None:
    return None if record.share is None else 100 * record.share


def _is(group: str, name: str, other: str = "", **sizes: int) -> Callable[[Record], bool]:
    wanted = sizes.items()
    return lambda r: (r.group == group and r.name == name and r.other.startswith(other)
                      and all(r.sizes.get(k) == v for k, v in wanted))  # fmt: skip


_SMALL = {"width": 64, "depth": 4, "keypoints": 17}
_EIGHT = _SMALL | {"arms": 8, "batch": 64}
_LARGE = {"arms": 48, "width": 256, "depth": 16}
TARGETS = (
    Target("stack of 8 small arms: arm-steps per second", 1.3, "x",
           _is("training_arms", training.NAME, "one by one", **_EIGHT), _faster),
    Target("8 small arms as a grid trains them: arm-steps per second", 1.3, "x",
           _is("training_arms", training.GRID, **_EIGHT), _faster),
    Target("fit and gradient, B = 65,536", 10, "x", _is(fit.GROUP, fit.GRADIENT, fit.SVD, batch=65_536), _faster),
    Target("lift of one sample, ONNX Runtime", 3, "x",
           _is(inference.GROUP, f"{inference.LIFT}, {inference.ONNX}", samples=1, **_SMALL), _faster),
    Target("memory of a lift of 10^6", 1024, "MiB", _is(inference.GROUP, inference.MEMORY, samples=10**6, **_SMALL),
           lambda r: r.counts["peak_bytes"] / MIB, at_least=False),
    Target("48 arms stacked: arm-steps per second", 15, "x", _is(gpu_must.GROUP, gpu_must.STACK, **_LARGE), _faster),
    *(Target(f"{what}: share of the bf16 matrix rate", 35, "%", _is(gpu_must.GROUP, name, other, **_LARGE), _share)
      for what, name, other in (
          ("48 arms stacked, whole step", gpu_must.STACK, f"{training.EAGER}, bf16"),
          ("48 arms stacked, networks", gpu_must.NETWORK, ""),
          ("48 arms stacked, linear maps alone", gpu_must.PRODUCTS, ""),
      )),
    Target("fused fit and gradient, B = 65,536", 20, "x", _is(gpu_must.GROUP, fit.GRADIENT, batch=65_536), _faster),
    Target("fused fit and gradient: share of copy bandwidth", 60, "%",
           _is(gpu_must.GROUP, fit.GRADIENT, batch=65_536), _share),
    Target("grid of Fig. 4a, 5 strategies x 3 seeds x 2 sets", 20, "min",
           _is(gpu_must.GROUP, gpu_must.GRID, width=512, depth=16), lambda r: gpu_must.minutes_of_grid(r.ours_s),
           at_least=False),
)  # fmt: skip


def reached(records: Sequence[Record]) -> list[Reached]:
    """A row for each target and record that it concerns; targets that nothing was measured for have none."""
    rows = []
    for target in TARGETS:
        for record in records:
            if not target.concerns(record) or (value := target.of(record)) is None:
                continue
            met = value >= target.goal if target.at_least else value <= target.goal
            sign = ">=" if target.at_least else "<="
            against = record.other + (f", {record.dtype}" if record.dtype == "float64" else "")
            rows.append(Reached(target.what, against, record.device, f"{sign} {target.goal:g} {target.unit}",
                                f"{value:.4g} {target.unit}", met))  # fmt: skip
    return rows
