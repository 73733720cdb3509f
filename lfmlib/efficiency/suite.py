"""Runs the benchmarks: which groups there are, how a contest becomes a record, and what is done when one fails."""

import gc
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache, partial

import torch

from lfmlib import provenance
from lfmlib.efficiency import data, fit, gpu_must, hardware, inference, step, subprocesses, timing, training
from lfmlib.efficiency.hardware import Hardware
from lfmlib.efficiency.records import Contest, Record, Results, key_of
from lfmlib.efficiency.setting import Setting
from lfmlib.efficiency.timing import Effort, Pairs

log = logging.getLogger(__name__)

GROUPS: dict[str, Callable[[Setting], Iterator[Contest]]] = {
    hardware.GROUP: hardware.contests,
    step.INJECTION_GROUP: step.injection,
    fit.GROUP: fit.contests,
    **{group: partial(training.contests, group) for group in training.GROUPS},
    step.GROUP: step.contests,
    data.GROUP: data.contests,
    inference.GROUP: inference.contests,
    subprocesses.IMPORT: subprocesses.imports,
    gpu_must.GROUP: gpu_must.contests,
    subprocesses.END_TO_END: subprocesses.end_to_end,
}
ON_REQUEST = (gpu_must.GROUP, subprocesses.END_TO_END)  # the notebooks, of which one measures; sizes for a GPU


def groups(only: Sequence[str] = ()) -> list[str]:
    """The groups to measure, the hardware's first.

    Args:
        only: names, or beginnings of them ("training"); none: all but those on request.
    Raises:
        ValueError: no group has that name.
    """
    if not only:
        return [group for group in GROUPS if group not in ON_REQUEST]
    for name in only:
        if not any(group.startswith(name) for group in GROUPS):
            raise ValueError(f"unknown group {name!r}, expected one of {', '.join(GROUPS)}")
    chosen = [group for group in GROUPS if any(group.startswith(name) for name in only)]
    return list(dict.fromkeys([hardware.GROUP, *chosen]))


def measure(
    chosen: Sequence[str],
    setting: Setting,
    results: Results,
    resume: bool = False,
    told: Callable[[Record], None] | None = None,
) -> list[str]:
    """Measures groups; each record is in the results, and in their file, as soon as it is there.

    Args:
        chosen: see `groups`.
        setting: see there.
        results: where records go; those of other groups stay.
        resume: leave out what the results hold already for this device, but the hardware.
        told: called with each new record.
    Returns:
        One line for each contest that failed; what lacks a package or memory is logged and left out.
    """
    device, limits, failures = device_name(setting), Hardware(), []
    for group in chosen:
        seen = set()
        for contest in GROUPS[group](setting):
            seen.add(key_of(contest, device))
            if resume and group != hardware.GROUP and results.has(contest, device):
                continue
            try:
                record = run(contest, setting, limits, device)
            except (ImportError, torch.OutOfMemoryError) as problem:
                log.warning("%s is left out: %s", _describe(contest), _line(problem))
                continue
            except (RuntimeError, ValueError, OSError) as problem:
                log.error("%s failed: %s", _describe(contest), problem)
                failures.append(f"{_describe(contest)}: {_line(problem)}")
                continue
            limits.learn(record)
            results.add(record)
            if told:
                told(record)
        results.drop(group, device, seen)
    return failures


def run(contest: Contest, setting: Setting, limits: Hardware, device: str) -> Record:
    """Times a contest and describes it."""
    effort = setting.effort
    if contest.pairs is not None:
        effort = effort._replace(pairs=min(contest.pairs, effort.pairs))
    if contest.afresh > 1:
        effort = Effort(effort.pairs, effort.seconds / contest.afresh, effort.least)
    with timing.threads_of_torch(setting.threads):
        builds = [_turns(contest, effort, setting.device) for _ in range(contest.afresh)]
        counts = contest.counts()
    ours = [time for build in builds for time in build.ours]
    other = [time for build in builds for time in build.other]
    if not other:
        runs = ours
    elif contest.afresh > 1:
        runs = [timing.median(build.ratios) for build in builds]
    else:
        runs = builds[0].ratios
    if not all(math.isfinite(value) and value > 0 for value in (*ours, *other)):
        raise RuntimeError(f"a turn took {min(*ours, *other)} s: the clock is too coarse for it")
    seconds = timing.median(ours)
    floor, by = limits.floor(counts, contest.dtype)
    return Record(
        contest.group, contest.name, seconds, contest.other, timing.median(other) if other else None,
        timing.median(runs) if other else None, runs, device, dict(contest.sizes), contest.dtype, contest.threads,
        torch.__version__, counts, floor, by, {**_commit(), "date": provenance.now()},
    )  # fmt: skip


@cache
def _commit() -> dict[str, object]:
    return provenance.commit()  # asks git, which takes longer than many a contest


def device_name(setting: Setting) -> str:
    """The GPU's, or the CPU's."""
    machine = provenance.machine()
    return machine["gpu"] if setting.device == "cuda" else machine["cpu"]


def _turns(contest: Contest, effort: Effort, device: str) -> Pairs:
    try:
        with ExitStack() as keep:
            ours, other = contest.make(keep)
            return Pairs(timing.alone(ours, effort), []) if other is None else timing.paired(ours, other, effort)
    finally:
        ours = other = None
        if device == "cuda":
            gc.collect()  # networks and recordings hold one another in circles
            torch.cuda.empty_cache()
            torch.compiler.reset()  # else networks of earlier contests count towards the compiler's limit


def _describe(contest: Contest) -> str:
    sizes = " ".join(f"{name}={value}" for name, value in contest.sizes.items())
    against = f" against {contest.other}" if contest.other else ""
    return f"{contest.group}: {contest.name}{against} ({sizes} {contest.dtype})"


def _line(problem: Exception) -> str:
    return " ".join(str(problem).split())[:200]
