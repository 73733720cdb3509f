"""Training: one loop for a whole stack of runs, or for one; deterministic, resumable after a kill at any moment.

Early stopping is absent on purpose: the papers stop on the validation MPJPE, which needs 3D labels. The curve keeps the
3D metrics of a validation split so that such a stop can be shown beside the last step, as a row of its own name.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from lfmlib import distributed, stacks
from lfmlib.arms import Arm
from lfmlib.distributed import Ranks
from lfmlib.runs import RunConfig, RunData, run_id
from lfmlib.steps import Steps
from lfmlib.store import RunStore

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 20.0  # between checkpoints, or ten times as long as one takes to write
Progress = Callable[[RunConfig, dict[str, Any]], None]


def train(
    config: RunConfig,
    store: RunStore | None = None,
    device: str = "cpu",
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Trains a run, or takes it up where it was cut, or returns the record of the finished one.

    Args:
        config: the run.
        store: where it lives; None: the default store.
        device: "cpu" or "cuda".
        progress: called with each new point of the curve.
    Returns:
        The record: configuration, data, final metrics per category and read-out, the point that 3D early stopping would
        have chosen, provenance. `record["status"]` is "done" or "diverged".
    Raises:
        ValueError: a CUDA device is asked for and there is none; a category is unknown.
    """
    return train_stack([config], store, device, None if progress is None else lambda _, point: progress(point))[0]


def train_stack(
    configs: Sequence[RunConfig],
    store: RunStore | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Trains runs together, as one batched model wherever their shapes and the memory allow it.

    Each run's record is what it would be alone, to rounding. A run that diverges is frozen and says so in its record;
    the others go on.

    Args:
        configs: the runs; equal ones are trained once, finished ones not again.
        store: where they live; None: the default store.
        device: "cpu" or "cuda".
        progress: called with a run and each new point of its curve.
    Returns:
        Their records, in the order asked for; see `train`.
    Raises:
        ValueError: a CUDA device is asked for and there is none; a category is unknown.
    """
    check_device(device)
    store = store or RunStore()
    with distributed.group(device) as (ranks, device):
        return _train_missing(configs, store, device, progress or (lambda *_: None), ranks)


def _train_missing(
    configs: Sequence[RunConfig], store: RunStore, device: str, progress: Progress, ranks: Ranks
) -> list[dict[str, Any]]:
    wanted = [(run_id(config, data := RunData.of(config)), config, data) for config in configs]
    records = {run: record for run, _, _ in wanted if (record := store.record(run)) is not None}
    ranks.wait()  # all have looked before the first one writes
    missing = {run: (config, data) for run, config, data in wanted if run not in records}
    for config, _ in missing.values():
        ranks.check(config)
    for runs in stacks.plan({run: config for run, (config, _) in missing.items()}, device):
        for record in _train_arms([missing[run] for run in runs], store, device, progress, ranks):
            records[record["id"]] = record
    return [records[run] for run, _, _ in wanted]


def default_device() -> str:
    """LFM_DEVICE, or "cuda" where torch sees a GPU, or "cpu"."""
    return os.environ.get("LFM_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")


def check_device(device: str) -> None:
    """Raises ValueError where a GPU is asked for and there is none."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} was asked for and torch sees no GPU: use device='cpu', or LFM_DEVICE=cpu")


def _train_arms(
    runs: list[tuple[RunConfig, RunData]], store: RunStore, device: str, progress: Progress, ranks: Ranks
) -> list[dict[str, Any]]:
    """Trains one stack; halves it and goes on from the checkpoints where the device's memory does not suffice."""
    try:
        arms = [Arm(config, data, store, device) for config, data in runs]
        states = [arm.begin() for arm in arms]
        by_step: dict[int, list[int]] = {}
        for index, arm in enumerate(arms):
            by_step.setdefault(arm.step, []).append(index)
        records = []
        for chosen in by_step.values():  # runs that were cut at different steps go on in stacks of their own
            stack = _Stack([arms[i] for i in chosen], [states[i] for i in chosen], device, ranks)
            records += stack.run(progress)
        return records
    except torch.OutOfMemoryError:
        if len(runs) == 1 or ranks.world > 1:
            raise
        log.warning("a stack of %d runs does not fit the memory of %s: halving it", len(runs), device)
    stack = arms = states = None  # frees the memory, now that the exception is gone
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    half = len(runs) // 2
    return [r for part in (runs[:half], runs[half:]) for r in _train_arms(part, store, device, progress, ranks)]


class _Stack:
    """Arms at one step: trains them to the end."""

    def __init__(self, arms: list[Arm], states: list[dict], device: str, ranks: Ranks) -> None:
        order = Steps.order(arms)
        self.ranks, self.arms = ranks, [arms[i] for i in order]
        self.steps = Steps(self.arms, [states[i] for i in order], device, ranks)

    def run(self, progress: Progress) -> list[dict[str, Any]]:
        """Trains; returns the records."""
        config = self.arms[0].config
        points = {max(1, round(config.steps * (i + 1) / config.evaluations)) for i in range(config.evaluations)}
        started = saved = time.monotonic()
        pause = CHECKPOINT_SECONDS
        if self.arms[0].step == 0:
            self.steps.views.prepare()
        while self.arms[0].step < config.steps and (training := self._training()):
            self.steps.one()
            if self.arms[0].step in points:
                self._points(progress)
            for arm in training if self.ranks.first else ():
                if arm.status != "training":
                    progress(arm.config, arm.curve[-1])
            now = time.monotonic()
            if now - saved > pause and self.arms[0].step < config.steps:
                self._clock(now - started)
                started = now
                self.steps.save()
                saved = time.monotonic()
                pause = max(CHECKPOINT_SECONDS, 10 * (saved - now)) if CHECKPOINT_SECONDS > 0 else CHECKPOINT_SECONDS
        self._clock(time.monotonic() - started)
        records = [arm.finish(len(self.arms)) for arm in self.arms] if self.ranks.first else []
        self.ranks.wait()
        return records or [self.arms[0].store.record(arm.id) for arm in self.arms]

    def _points(self, progress: Progress) -> None:
        self.steps.hand_out_means()
        for arm in self._training() if self.ranks.first else ():
            arm.point()
            if arm.status == "training":
                progress(arm.config, arm.curve[-1])
        for arm, status in zip(self.arms, self.ranks.agreed([arm.status for arm in self.arms]), strict=True):
            arm.status = status
        self.steps.freeze()

    def _training(self) -> list[Arm]:
        return [arm for arm in self.arms if arm.status == "training"]

    def _clock(self, seconds: float) -> None:
        for arm in self.arms:  # a run's share of the time that they took together
            arm.seconds += seconds / len(self.arms)
