"""The data side: drawing a batch of views against the training step that uses it, and generating a million people.

    python benchmarks/bench_data.py [--out results/benchmarks/data.json] [--runs 7]

A draw and a whole step (draw, forward, Eq. 1, backward, AdamW) take turns in one process; a run's ratio is the median
over adjacent pairs, the figure the median over the runs. Below 0.1 the data side is under a tenth of a step. Sizes:
D=64, L=4, B=64, everything on. Nothing is asserted here.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from lfmlib import geometry
from lfmlib.data import synthetic
from lfmlib.data.batches import ViewSampler
from lfmlib.data.views import CameraConfig
from lfmlib.files import write_json
from lfmlib.model import Lifter, LifterConfig

BATCH = 64
SETTINGS = {
    "one category": {"names": ("synthetic_body17",)},
    "one category, 30 % missing": {"names": ("synthetic_body17",), "missing": 0.3},
    "one category, self-occlusion": {"names": ("synthetic_body17",), "self_occlusion": True},
    "all categories in buckets": {"names": synthetic.categories()},
    "all categories, missing and self-occlusion": {
        "names": synthetic.categories(), "missing": 0.3, "self_occlusion": True,
    },
}  # fmt: skip


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def step_of(sampler: ViewSampler, seed: int) -> Callable[[], None]:
    """A training step that draws its own batch."""
    model = Lifter(LifterConfig(width=64, depth=4), sampler.rigs, seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    generator = torch.Generator().manual_seed(seed)

    def step() -> None:
        views = sampler.draw(BATCH, generator)
        Y = model(views.X, views.visible, views.category)
        optimiser.zero_grad(set_to_none=True)
        geometry.reprojection(views.X, Y, views.visible).mean().backward()
        optimiser.step()

    return step


def share(settings: dict, runs: int, steps: int = 40) -> list[tuple[float, float, float]]:
    """(draw, step, ratio) per run."""
    options = {key: value for key, value in settings.items() if key != "names"}
    shapes = [synthetic.generate(name, 500) for name in settings["names"] if synthetic.entry(name).samples >= 2]
    result = []
    for seed in range(runs):
        sampler = ViewSampler(shapes, CameraConfig(), **options)
        generator, step = torch.Generator().manual_seed(seed), step_of(sampler, seed)
        pairs = []
        for number in range(steps + 5):
            sampler.turn = number  # the draw and the step that follows it take the same bucket
            drawn = timed(lambda: sampler.draw(BATCH, generator))  # noqa: B023
            sampler.turn = number
            pairs.append((drawn, timed(step)))
        pairs = pairs[5:]  # warm-up
        whole = statistics.fmean(p[0] for p in pairs) / statistics.fmean(p[1] for p in pairs)
        result.append((statistics.median(p[0] for p in pairs), statistics.median(p[1] for p in pairs), whole))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    records = []
    for name, settings in SETTINGS.items():
        found = share(settings, options.runs)
        drawn, step, ratio = (statistics.median(values) for values in zip(*found, strict=True))
        print(f"{name:44}{1e3 * drawn:8.2f} ms of {1e3 * step:7.2f} ms: {ratio:6.3f}", flush=True)
        records.append({
            "name": f"draw: {name}", "ours_s": drawn, "other": "training step", "other_s": step, "ratio": ratio,
            "runs": options.runs, "device": "cpu", "sizes": {"B": BATCH, "D": 64, "L": 4},
        })  # fmt: skip
    for count in (10**5, 10**6):
        seconds = timed(lambda: synthetic.generate("synthetic_body17", count))  # noqa: B023
        print(f"{count:,} people in {seconds:.1f} s", flush=True)
        records.append({
            "name": "generate synthetic_body17", "ours_s": seconds, "other": "60 s per 10^6 (asked for)",
            "other_s": 60 * count / 10**6, "ratio": seconds / (60 * count / 10**6), "runs": 1, "device": "cpu",
            "sizes": {"frames": count},
        })  # fmt: skip
    if options.out:
        write_json(options.out, records)


if __name__ == "__main__":
    main()
