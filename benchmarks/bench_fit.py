"""Exact weak-perspective fit against the pose that the paper describes, through torch.linalg.pinv and torch.linalg.svd.

    python benchmarks/bench_fit.py [--device cpu] [--runs 7] [--out results/benchmarks/fit.json]

fit: the camera alone, forward. loss: Eq. 1 and its gradient in X and Y. float32, 17 keypoints, nothing hidden.
Paired: ours and the other take turns, so that a busy machine slows both; the figure is the median ratio of adjacent
turns, after a warm-up. Nothing is asserted here.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from lfmlib.files import write_json
from lfmlib.geometry import fit_camera, reprojection

KEYPOINTS = 17
SIZES = (64, 1024, 65_536)
LEAST_SECONDS = 0.02  # a turn repeats short calls up to here: the clock and the scheduler are coarse


def pinv_svd(X: Tensor, Y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The paper's words as code: least squares, orthogonalised by an SVD, and the best scale for that rotation."""
    x, y = X - X.mean(1, keepdim=True), Y - Y.mean(1, keepdim=True)
    U, _, Vh = torch.linalg.svd((torch.linalg.pinv(y) @ x).mT, full_matrices=False)
    rows = U @ Vh  # [B, 2, 3]
    flat = y @ rows.mT
    s = (x * flat).sum((1, 2)) / flat.square().sum((1, 2))
    return s, rows, X.mean(1) - s[:, None] * (rows @ Y.mean(1)[..., None]).squeeze(-1)


def pinv_svd_loss(X: Tensor, Y: Tensor) -> Tensor:
    """Eq. 1 with that pose; its gradient runs through SVD and pseudo-inverse."""
    s, rows, t = pinv_svd(X, Y)
    return (s[:, None, None] * (Y @ rows.mT) + t[:, None] - X).square().sum()


def with_gradient(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], None]:
    """Forward and backward."""

    def step(X: Tensor, Y: Tensor) -> None:
        X, Y = X.detach().requires_grad_(), Y.detach().requires_grad_()
        loss(X, Y).backward()

    return step


CONTESTS = (
    ("fit_camera", fit_camera, "pinv + SVD", pinv_svd),
    ("loss and gradient", with_gradient(lambda X, Y: reprojection(X, Y).sum()), "autograd through pinv + SVD",
     with_gradient(pinv_svd_loss)),
)  # fmt: skip


def seconds(call: Callable[[Tensor, Tensor], object], X: Tensor, Y: Tensor, repeats: int) -> float:
    """Seconds per call."""
    wait = torch.cuda.synchronize if X.is_cuda else lambda: None
    wait()
    start = time.perf_counter()
    for _ in range(repeats):
        call(X, Y)
    wait()
    return (time.perf_counter() - start) / repeats


def measure(batch: int, device: torch.device, runs: int) -> list[dict]:
    """Both contests at one batch size."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(batch, KEYPOINTS, 2, generator=generator).to(device)
    Y = torch.randn(batch, KEYPOINTS, 3, generator=generator).to(device)
    records = []
    for name, ours, other_name, other in CONTESTS:
        repeats = [max(1, int(LEAST_SECONDS / seconds(call, X, Y, 2))) for call in (ours, ours, other)][1:]  # warm-up
        times: tuple[list[float], list[float]] = ([], [])
        for run in range(runs):
            for slot in (0, 1) if run % 2 == 0 else (1, 0):
                times[slot].append(seconds((ours, other)[slot], X, Y, repeats[slot]))
        ratios = [a / b for a, b in zip(*times, strict=True)]
        records.append({
            "name": name,
            "other": other_name,
            "ours_s": statistics.median(times[0]),
            "other_s": statistics.median(times[1]),
            "ratio": statistics.median(ratios),
            "runs": ratios,
            "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.machine(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "sizes": {"batch": batch, "keypoints": KEYPOINTS},
        })
    return records


def main(arguments: Sequence[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--runs", type=int, default=7, help="turns of each, at least 5 for a figure to quote")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/fit.json"))
    options = parser.parse_args(arguments)
    print(f"{'comparison':20}{'other':30}{'batch':>8}{'ours ms':>11}{'other ms':>11}{'x faster':>10}  range over runs")
    records = []
    for batch in SIZES:
        for record in measure(batch, torch.device(options.device), options.runs):
            records.append(record)
            print(
                f"{record['name']:20}{record['other']:30}{batch:8}{1e3 * record['ours_s']:11.3f}"
                f"{1e3 * record['other_s']:11.3f}{1 / record['ratio']:10.1f}"
                f"  {1 / max(record['runs']):.1f}-{1 / min(record['runs']):.1f}", flush=True
            )
    write_json(options.out, records)
    return records


if __name__ == "__main__":
    main()
