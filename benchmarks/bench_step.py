"""Training step of the Lifter: injection "every" against "none", and against torch.nn.TransformerEncoder.

    python benchmarks/bench_step.py [--full] [--out results/benchmarks/step.json] [--runs 7]

Paired: the two contestants take steps in turn, within one process. A run builds both afresh (where the memory falls
is worth a percent), and its ratio is the median over adjacent pairs of steps, which a busy machine slows alike; the
figure is the median ratio over the runs. Nothing is asserted here.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lfmlib.files import write_json
from lfmlib.model import Lifter, LifterConfig
from lfmlib.rigs import Rig


@dataclass(frozen=True)
class Size:
    width: int
    depth: int
    heads: int = 4
    batch: int = 64
    keypoints: int = 17

    def __str__(self) -> str:
        return f"D={self.width} L={self.depth} H={self.heads} B={self.batch} N={self.keypoints}"


class Encoder(nn.Module):
    """The yardstick: torch's own encoder between the same linear layers."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            size.width, size.heads, 4 * size.width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.embed = nn.Linear(2, size.width)
        self.encoder = nn.TransformerEncoder(
            layer, size.depth, norm=nn.LayerNorm(size.width), enable_nested_tensor=False
        )
        self.head = nn.Linear(size.width, 3)

    def forward(self, X: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(X)))


def chain(n: int) -> Rig:
    names = tuple(f"k{i}" for i in range(n))
    edges = tuple((i, i + 1) for i in range(n - 1))
    return Rig(name="chain", keypoints=names, edges=edges, symmetry=(), unit="unit", mm=None, up="+y", family="chain")


def step_of(model: nn.Module, X: Tensor, target: Tensor) -> Callable[[], None]:
    """One training step: forward, squared error, backward, AdamW."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        (model(X) - target).square().mean().backward()
        optimiser.step()

    return step


def seconds(step: Callable[[], None], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def paired(
    make_ours: Callable, make_other: Callable, device: torch.device, runs: int, steps: int
) -> list[tuple[float, float, float]]:
    """(ours, other, ratio) per run: median seconds per step, and median ratio of adjacent steps."""
    results = []
    for run in range(runs):
        makers = (make_ours, make_other)
        contestants = [makers[slot]() for slot in ((0, 1) if run % 2 == 0 else (1, 0))]
        contestants = contestants if run % 2 == 0 else contestants[::-1]
        for step in contestants * 3:
            step()
        times = ([], [])
        for index in range(steps):
            for slot in (0, 1) if index % 2 == 0 else (1, 0):
                times[slot].append(seconds(contestants[slot], device))
        ratio = statistics.median(a / b for a, b in zip(*times, strict=True))
        results.append((statistics.median(times[0]), statistics.median(times[1]), ratio))
    return results


def measure(size: Size, device: torch.device, runs: int, steps: int) -> list[dict]:
    """The comparisons at one size."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(size.batch, size.keypoints, 2, generator=generator).to(device)
    target = torch.randn(size.batch, size.keypoints, 3, generator=generator).to(device)

    def lifter(injection: str) -> Callable[[], None]:
        config = LifterConfig(width=size.width, depth=size.depth, heads=size.heads, injection=injection)
        return step_of(Lifter(config, [chain(size.keypoints)]).to(device), X, target)

    def encoder() -> Callable[[], None]:
        torch.manual_seed(0)
        return step_of(Encoder(size).to(device), X, target)

    records = []
    for name, other, make in (
        ("injection every against none", "Lifter, injection none", lambda: lifter("none")),
        ("Lifter against TransformerEncoder", "torch.nn.TransformerEncoder", encoder),
    ):
        pairs = paired(lambda: lifter("every"), make, device, runs, steps)
        records.append({
            "name": name,
            "other": other,
            "ours_s": statistics.median(ours for ours, _, _ in pairs),
            "other_s": statistics.median(other for _, other, _ in pairs),
            "ratio": statistics.median(ratio for _, _, ratio in pairs),
            "runs": [ratio for _, _, ratio in pairs],
            "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.machine(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "sizes": asdict(size),
        })
    return records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="also D=512, L=16 (minutes on a CPU)")
    parser.add_argument("--small", action="store_true", help="D=64, L=4 alone")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/step.json"))
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)

    plan = [(Size(64, 4), 40)]
    if not arguments.small:
        plan.append((Size(256, 8), 8))
    if arguments.full:
        plan.append((Size(512, 16, heads=8), 3))
    records = []
    print(f"{'comparison':36}{'size':30}{'ours ms':>10}{'other ms':>10}{'ratio':>8}  range over runs")
    for size, steps in plan:
        for record in measure(size, device, arguments.runs, steps):
            records.append(record)
            print(
                f"{record['name']:36}{str(size):30}{1e3 * record['ours_s']:10.2f}{1e3 * record['other_s']:10.2f}"
                f"{record['ratio']:8.3f}  {min(record['runs']):.3f}-{max(record['runs']):.3f}", flush=True
            )
    write_json(arguments.out, records)


if __name__ == "__main__":
    main()
