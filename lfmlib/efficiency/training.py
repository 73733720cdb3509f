"""Arms trained as one stack against the same arms one by one, over arms, layers, keypoints and batch size."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial

import torch

from lfmlib.efficiency import counting, inputs, workers
from lfmlib.efficiency.eager import EagerArm
from lfmlib.efficiency.records import Contest, Number
from lfmlib.efficiency.setting import Setting
from lfmlib.efficiency.timing import Turn
from lfmlib.model import Lifter
from lfmlib.runs import RunConfig
from lfmlib.steps import Steps

NAME = "stack of arms"
GRID = "arms as a grid trains them"  # on a CPU: processes of one thread, a core each
EAGER = "one by one, plain PyTorch"
SINGLE = "one by one, own step"
SPREAD = "one by one, a process of one thread per core"
STACKS = "stacks, a process of one thread per core"
COMPILED_CALLS = 8  # steps until a step is compiled and recorded on a GPU

# each group: the axis that it varies, its values, and what is held
BASE = {
    "smoke": {"arms": 2, "width": 16, "depth": 2, "keypoints": 9, "batch": 8},
    "cpu": {"arms": 4, "width": 64, "depth": 4, "keypoints": 17, "batch": 64},
    "full": {"arms": 16, "width": 256, "depth": 16, "keypoints": 17, "batch": 64},
}
AXES = {
    "smoke": {"arms": (1, 2, 4), "depth": (2, 3), "keypoints": (9, 12), "batch": (8, 16)},
    "cpu": {"arms": (1, 2, 4, 8, 16), "depth": (4, 8, 16, 24), "keypoints": (17, 34, 68, 133),
            "batch": (64, 256, 1024, 4096)},
    "full": {"arms": (1, 4, 16, 32, 48, 64), "depth": (4, 8, 16, 24), "keypoints": (17, 34, 68, 133),
             "batch": (64, 256, 1024, 4096)},
}  # fmt: skip
GROUPS = {"training_arms": "arms", "training_depth": "depth", "training_keypoints": "keypoints",
          "training_batch": "batch"}  # fmt: skip
ALL_VARIANTS_AT = {"smoke": 4, "cpu": 8}  # arms at which every way of training one by one on a CPU is compared
LARGE_BATCH = 1024  # from which a step takes seconds on a CPU
FEW = 2  # arms of the sweep over batch sizes: the largest fill the machine


def contests(group: str, setting: Setting) -> Iterator[Contest]:
    """The sweep along one axis.

    Args:
        group: one of GROUPS.
        setting: see there.
    """
    axis, base = GROUPS[group], BASE[setting.profile]
    for value in AXES[setting.profile][axis]:
        sizes = base | {axis: value} | ({"arms": FEW} if axis == "batch" else {})
        yield contest(setting, group, EAGER, sizes, setting.threads)
        if setting.device == "cpu" and axis == "arms" and value == ALL_VARIANTS_AT[_small(setting.profile)]:
            ways = dict.fromkeys([(EAGER, 1), (SINGLE, setting.threads), (SINGLE, 1), (SPREAD, 1)])
            if setting.profile != "smoke":  # starting processes is most of what there is to wait for
                ways[STACKS, 1] = None
            for other, threads in ways:
                if (other, threads) != (EAGER, setting.threads):
                    yield contest(setting, group, other, sizes, threads)
            yield as_a_grid(setting, group, sizes)


def contest(
    setting: Setting, group: str, other: str, sizes: dict[str, int], threads: int, precision: str = "float32"
) -> Contest:
    """A stack on all threads against the same arms one by one on so many."""
    config = inputs.run_config(*(sizes[k] for k in ("width", "depth", "batch", "keypoints")), precision=precision)
    name = other if threads == setting.threads or other in (SPREAD, STACKS) else f"{other}, {threads} thread"
    make = partial(_make, setting, config, sizes["arms"], other, threads)
    return Contest(group, NAME, name, sizes, make, precision, setting.threads, partial(counts, config, sizes["arms"]))


def as_a_grid(setting: Setting, group: str, sizes: dict[str, int]) -> Contest:
    """Arms spread over processes, as `run_grid` does with arms of this size, against one by one on all threads."""
    config = inputs.run_config(*(sizes[k] for k in ("width", "depth", "batch", "keypoints")), precision="float32")

    def make(keep: ExitStack) -> tuple[Turn, Turn]:
        ours = workers.turns(asdict(config), sizes["arms"], setting.threads, keep)
        return ours, one_by_one(setting, config, sizes["arms"], EAGER, setting.threads, keep)

    return Contest(group, GRID, EAGER, sizes, make, "float32", setting.threads, partial(counts, config, sizes["arms"]))


def counts(config: RunConfig, count: int) -> dict[str, Number]:
    """Of one step of all arms: matrix operations of the networks, and what the weights and their moments move."""
    keypoints = int(config.categories[0].removeprefix("chain"))
    network = Lifter(config.model, (inputs.chain(keypoints),))
    sample = counting.training_flops(network, torch.zeros(1, keypoints, 2))
    parameters = counting.parameters(network)
    return {
        "flops": float(count * config.batch * sample), "bytes": count * counting.step_bytes(parameters),
        "work": count, "parameters": parameters,
    }  # fmt: skip


def _make(
    setting: Setting, config: RunConfig, count: int, other: str, threads: int, keep: ExitStack
) -> tuple[Turn, Turn]:
    return stacked(setting, config, count, keep), one_by_one(setting, config, count, other, threads, keep)


def stacked(setting: Setting, config: RunConfig, count: int, keep: ExitStack, strategies: bool = False) -> Turn:
    """A step of all arms as one stack."""
    made = inputs.arms(config, count, setting.device, keep, strategies)
    steps = Steps(made, [{}] * count, setting.device)
    return setting.timed(endless(steps), _warm_up(setting, config, compiled=True))


def one_by_one(setting: Setting, config: RunConfig, count: int, other: str, threads: int, keep: ExitStack) -> Turn:
    """A step of each arm, one after the other, or in processes."""
    if other in (SPREAD, STACKS):
        return workers.turns(asdict(config), count, setting.threads, keep, other == STACKS)
    made = inputs.arms(config, count, setting.device, keep)
    calls = [EagerArm(arm).step if other == EAGER else endless(Steps([arm], [{}], setting.device)) for arm in made]
    warm_up = _warm_up(setting, config, compiled=other == SINGLE)
    return setting.timed(lambda: [call() for call in calls], warm_up, threads)


def _warm_up(setting: Setting, config: RunConfig, compiled: bool) -> int:
    if setting.device != "cpu" and compiled:
        return COMPILED_CALLS
    return 1 if setting.device == "cpu" and config.batch >= LARGE_BATCH else 2


def endless(steps: Steps) -> Callable[[], None]:
    """A step that may be taken any number of times: the run's first one, again and again."""

    def step() -> None:
        steps.one()
        for arm in steps.arms:
            arm.step = 0

    return step


def _small(profile: str) -> str:
    return "smoke" if profile == "smoke" else "cpu"
