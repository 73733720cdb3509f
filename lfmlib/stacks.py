"""Which runs train together: those whose tensors have one shape, as many as memory and machine make worthwhile."""

from collections.abc import Mapping

import torch

from lfmlib.data.mix import WASTE
from lfmlib.runs import RunConfig, RunData

MOST_CUDA = 64  # arms; beyond it nothing is gained
CPU_NUMBERS = 64 * 17 * 64  # batch x keypoints x width from which a CPU is as fast with one arm at a time
MOST_CPU = 8
SHARE = 0.7  # of the memory that is free, for what the estimate leaves out


def plan(runs: Mapping[str, RunConfig], device: str = "cpu", most: int | None = None) -> list[list[str]]:
    """Splits runs into stacks.

    Args:
        runs: configurations by run id.
        device: "cpu" or "cuda"; decides how many arms pay and how much memory there is.
        most: arms in a stack at most; None: as many as pay on the device and fit its memory.
    Returns:
        Run ids, stack by stack; each run once.
    """
    alike: dict[tuple, list[tuple[int, str]]] = {}
    for run, config in runs.items():
        n = max(s.rig.n for s in RunData.of(config).train)
        alike.setdefault(_shape(config, n), []).append((n, run))
    result: list[list[str]] = []
    for members in alike.values():
        stack: list[str] = []
        limit = n_least = 0
        for n, run in sorted(members, key=lambda member: member[0]):
            if not stack or len(stack) >= limit or n_least < (1 - WASTE) * n:
                stack, n_least = [], n
                result.append(stack)
            stack.append(run)
            fitting = arms_that_fit(runs[run], n, device)
            limit = fitting if most is None else min(most, fitting)
    return result


def arms_that_fit(config: RunConfig, keypoints: int, device: str = "cpu") -> int:
    """How many arms like this one are worth stacking; at least 1."""
    if device.startswith("cuda"):
        free = torch.cuda.mem_get_info()[0]
        return max(1, min(MOST_CUDA, int(SHARE * free / bytes_of(config, keypoints))))
    return max(1, min(MOST_CPU, CPU_NUMBERS // (config.batch * keypoints * config.model.width)))


def bytes_of(config: RunConfig, keypoints: int) -> int:
    """Memory that one arm takes in training: weights four times over, and what the backward pass keeps."""
    model = config.model
    weights = model.depth * model.width**2 * (4 + 2 * model.ff) * 16
    tokens = config.batch * keypoints
    kept = tokens * model.depth * (model.width * (10 + 2 * model.ff) + model.heads * keypoints)
    return weights + 4 * kept * config.objective.lifts


def _shape(config: RunConfig, keypoints: int) -> tuple:
    """What the tensors of two runs must have in common."""
    m = config.model
    return (
        m.width, m.depth, m.heads, m.ff, m.outputs, len(config.categories), config.batch, config.steps,
        config.evaluations, config.precision, config.objective.lifts,
        m.mean_shape, keypoints if m.encoding == "learned" or m.mean_shape else 0,
    )  # fmt: skip
