"""What a GPU has to reach: one large stack, its share of the matrix rate, the fused fit, and the papers' grid.

On a CPU it runs, too, at whatever sizes are asked for: that is how its code is tested.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor

from lfmlib.efficiency import fit, inputs, training
from lfmlib.efficiency.records import Contest
from lfmlib.efficiency.setting import Setting
from lfmlib.efficiency.timing import Turn
from lfmlib.model import INJECTIONS
from lfmlib.stack import StackedLifter

GROUP = "gpu_must"
STACK, NETWORK, PRODUCTS, GRID = "48 arms stacked", "their networks", "their matrix products", "grid of Fig. 4a"
SEEDS, DATA_SETS = 3, 2
GRID_STEPS = 20_000  # of a run of notebook 05 in profile full
SIZES = {
    "smoke": {"arms": 2, "width": 16, "depth": 2, "grid": (16, 2), "fit": 64},
    "cpu": {"arms": 8, "width": 64, "depth": 4, "grid": (64, 4), "fit": 4096},
    "full": {"arms": 48, "width": 256, "depth": 16, "grid": (512, 16), "fit": 65_536},
}
KEYPOINTS, BATCH = 17, 64


def contests(setting: Setting) -> Iterator[Contest]:
    """The stack against the same arms in eager mode, in bf16 and in float32; its parts; the fit; the grid."""
    size = SIZES[setting.profile]
    sizes = {"arms": size["arms"], "width": size["width"], "depth": size["depth"], "keypoints": KEYPOINTS,
             "batch": BATCH}  # fmt: skip
    config = inputs.run_config(size["width"], size["depth"], BATCH, KEYPOINTS, "bf16")
    counts = partial(training.counts, config, size["arms"])
    for precision in ("bf16", "float32"):
        yield Contest(GROUP, STACK, f"{training.EAGER}, {precision}", sizes,
                      partial(_stack, setting, sizes, precision), "bf16", setting.threads, counts)  # fmt: skip
    yield Contest(GROUP, NETWORK, "", sizes, partial(_networks, setting, sizes), "bf16", setting.threads, counts)
    yield Contest(GROUP, PRODUCTS, "", sizes, partial(_products, setting, sizes), "bf16", setting.threads,
                  lambda: {"flops": products_flops(sizes)})  # fmt: skip
    yield fit.contest(setting, fit.GRADIENT, fit.SVD, size["fit"], group=GROUP)
    width, depth = size["grid"]
    arms = len(INJECTIONS) * SEEDS
    grid = {"arms": arms, "width": width, "depth": depth, "keypoints": KEYPOINTS, "batch": BATCH}
    config = inputs.run_config(width, depth, BATCH, KEYPOINTS, "bf16", heads=8)
    yield Contest(GROUP, GRID, "", grid, lambda keep: (training.stacked(setting, config, arms, keep, True), None),
                  "bf16", setting.threads, partial(training.counts, config, arms))  # fmt: skip


def minutes_of_grid(seconds: float) -> float:
    """Device minutes of the whole grid from the seconds of one step of one data set's arms."""
    return seconds * GRID_STEPS * DATA_SETS / 60


def _stack(setting: Setting, sizes: dict[str, int], precision: str, keep: ExitStack) -> tuple[Turn, Turn]:
    ours, theirs = (inputs.run_config(sizes["width"], sizes["depth"], BATCH, KEYPOINTS, p) for p in ("bf16", precision))
    stack = training.stacked(setting, ours, sizes["arms"], keep)
    return stack, training.one_by_one(setting, theirs, sizes["arms"], training.EAGER, setting.threads, keep)


def _networks(setting: Setting, sizes: dict[str, int], keep: ExitStack) -> tuple[Turn, None]:
    """Forward and backward of all networks, without views, fit and optimiser."""
    config = inputs.run_config(sizes["width"], sizes["depth"], BATCH, KEYPOINTS, "bf16")
    arms = inputs.arms(config, sizes["arms"], setting.device, keep)
    model = StackedLifter([arm.lifter for arm in arms])
    lift = torch.compile(model, dynamic=False) if setting.device != "cpu" else model
    shape = (sizes["arms"], BATCH, KEYPOINTS)
    X = torch.randn(*shape, 2, generator=setting.generator(), device=setting.device)
    weight = torch.randn(*shape, 3, generator=setting.generator(1), device=setting.device)
    category = torch.zeros(shape[:2], dtype=torch.int64, device=setting.device)

    def step() -> None:
        with torch.autocast(setting.device, torch.bfloat16):
            Y = lift(X, None, category)
        (Y.float() * weight).sum().backward()
        model.take_gradients()

    return setting.timed(step, training.COMPILED_CALLS), None


def _shapes(sizes: dict[str, int]) -> list[tuple[int, int]]:
    """(inputs, outputs) of a layer's linear maps: queries, keys and values; out; up; down."""
    D = sizes["width"]
    return [(D, 3 * D), (D, D), (D, 4 * D), (4 * D, D)]


def products_flops(sizes: dict[str, int]) -> float:
    """Operations of the linear maps of a step: forward, and the two products of their derivatives."""
    tokens = sizes["arms"] * BATCH * KEYPOINTS
    return float(sum(3 * 2 * tokens * i * o for i, o in _shapes(sizes)) * sizes["depth"])


def _products(setting: Setting, sizes: dict[str, int], _: object) -> tuple[Turn, None]:
    """The batched products of the linear maps alone, in bf16: the share that their shapes allow."""
    A, T, generator = sizes["arms"], BATCH * KEYPOINTS, setting.generator()

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=setting.device).bfloat16()

    calls: list[Callable[[], Tensor]] = []
    for i, o in _shapes(sizes):
        z, weight, gradient = random(A, T, i), random(A, o, i), random(A, T, o)
        calls += [partial(torch.bmm, z, weight.mT), partial(torch.bmm, gradient, weight),
                  partial(torch.bmm, gradient.mT, z)]  # fmt: skip

    def layers() -> None:
        for _ in range(sizes["depth"]):
            for call in calls:
                call()

    return setting.timed(layers, 3), None
