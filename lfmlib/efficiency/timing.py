"""Paired timing: contestants take turns in one process, so that a busy machine slows them alike.

A turn is a call that returns the seconds that one piece of work took in it. The figure is the median over the ratios
of adjacent turns; their range is kept.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

Turn = Callable[[], float]
Clock = Callable[[], float]
LEAST_PAIRS = 3  # whatever they take: a mean and a spread need three


class Effort(NamedTuple):
    """How long to measure.

    pairs: turns of each contestant, at most.
    seconds: for all pairs together; when they have passed no pair is begun, but three are always made.
    least: of a turn; shorter work is repeated within it, for the clock and the scheduler are coarse.
    """

    pairs: int
    seconds: float | int
    least: float | int


class Pairs(NamedTuple):
    """Seconds of each turn; ours[i] and other[i] are adjacent."""

    ours: list[float]
    other: list[float]

    @property
    def ratios(self) -> list[float]:
        """Ours over the other's: below 1 is faster."""
        return [a / b for a, b in zip(self.ours, self.other, strict=True)]


def paired(ours: Turn, other: Turn, effort: Effort, clock: Clock = time.perf_counter) -> Pairs:
    """Lets two contestants take turns, A B, B A, A B, ...; each has warmed up by the time that it is passed in."""
    start, pairs = clock(), Pairs([], [])
    while _goes_on(len(pairs.ours), start, effort, clock):
        for slot in (0, 1) if len(pairs.ours) % 2 == 0 else (1, 0):
            pairs[slot].append((ours, other)[slot]())
    return pairs


def alone(turn: Turn, effort: Effort, clock: Clock = time.perf_counter) -> list[float]:
    """Seconds of each turn of something that is measured by itself."""
    start, times = clock(), []
    while _goes_on(len(times), start, effort, clock):
        times.append(turn())
    return times


def timed(
    call: Callable[[], object],
    effort: Effort,
    device: str = "cpu",
    warm_up: int = 2,
    threads: int | None = None,
    clock: Clock = time.perf_counter,
) -> Turn:
    """A turn that makes a call, as often as a turn needs to be long enough, and waits until the device has done it.

    Args:
        call: the work.
        effort: see there.
        device: "cpu" or "cuda".
        warm_up: calls before the first turn, at least 1: they compile, fill caches and pools.
        threads: torch's number of threads in these turns; None: as it is.
        clock: seconds.
    """
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None

    def seconds(repeats: int) -> float:
        with threads_of_torch(threads):
            wait()
            start = clock()
            for _ in range(repeats):
                call()
            wait()
            return (clock() - start) / repeats

    for _ in range(max(1, warm_up)):
        one = seconds(1)
    repeats = max(1, int(effort.least / one)) if one > 0 else 1
    return lambda: seconds(repeats)


@contextmanager
def threads_of_torch(count: int | None) -> Iterator[None]:
    """Sets torch's number of threads for a block; None leaves it."""
    before = torch.get_num_threads()
    if count is not None and count != before:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def median(values: list[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def _goes_on(done: int, start: float, effort: Effort, clock: Clock) -> bool:
    return done < min(LEAST_PAIRS, effort.pairs) or (done < effort.pairs and clock() - start < effort.seconds)
