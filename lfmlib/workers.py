"""One worker of a grid: any number of them, on any machines, share a store and agree by leases on who trains what."""

import hashlib
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lfmlib import leases, stacks, training
from lfmlib.runs import RunConfig, RunData, describe, run_id
from lfmlib.store import RunStore

log = logging.getLogger(__name__)

LONGEST_PAUSE = 5.0  # seconds between two looks at runs that are all others'

Train = Callable[[list[RunConfig], RunStore, str], Any]


class RunsFailed(RuntimeError):
    """Some runs could not be trained.

    Args:
        message: names them all.
        failures: why, by run id.
    """

    def __init__(self, message: str, failures: dict[str, str]) -> None:
        super().__init__(message, failures)  # both, or it could not be pickled
        self.message, self.failures = message, failures

    def __str__(self) -> str:
        return self.message


class LeasedStore(RunStore):
    """A store into which only the holder of a run's lease writes.

    Args:
        root: folder of the store.
        held: leases by run id.
    """

    def __init__(self, root: Path, held: dict[str, leases.Lease]) -> None:
        super().__init__(root)
        self.held = held

    def finish(self, run: str, *content: Any, **named: Any) -> dict:
        """As `RunStore.finish`. Raises LeaseLost, with nothing written, where the run is another worker's by now."""
        self._ensure(run)
        return super().finish(run, *content, **named)

    def save_checkpoint(self, run: str, *content: Any, **named: Any) -> None:
        """As `RunStore.save_checkpoint`. Raises LeaseLost, with nothing written, where the run is another's by now."""
        self._ensure(run)
        super().save_checkpoint(run, *content, **named)

    def _ensure(self, run: str) -> None:
        if run not in self.held:
            raise ValueError(f"run {run} is not one of those that were to be trained: has its data changed meanwhile?")
        self.held[run].ensure()


def work(
    configs: Iterable[RunConfig],
    store: RunStore | str | os.PathLike | None = None,
    device: str = "cpu",
    seconds: float | int = leases.SECONDS,
    most: int | None = None,
    train: Train | None = None,
) -> list[str]:
    """One worker: trains what nobody has, stack by stack, until all runs are done; takes over from workers that died.

    Args:
        configs: the whole grid, the same for every worker.
        store: where the runs live, on a file system that all workers share; None: the default store.
        device: "cpu" or "cuda".
        seconds: time after which a worker that gives no sign counts as dead.
        most: runs to take at once, at most; None: as many as train together well, which leaves little to other workers
            where the grid is small.
        train: trains runs into a store on a device; None: `training.train_stack`.
    Returns:
        Ids of the runs that this worker has finished.
    Raises:
        RunsFailed: runs failed here and nobody else has finished them; raised when the others are done.
        OSError: the store cannot be written.
    """
    if most is not None and most < 1:
        raise ValueError(f"most is {most!r}: expected 1 or more, or None")
    store = store if isinstance(store, RunStore) else RunStore(store)
    train = train or training.train_stack
    runs = {run_id(config, RunData.of(config)): config for config in configs}
    todo = picking_order(stacks.plan(runs, device, most), runs, uuid.uuid4().hex)
    trained: list[str] = []
    failures: dict[str, str] = {}
    waited = False

    def is_open(run: str) -> bool:
        return run not in failures and store.record(run) is None

    while todo := [left for stack in todo if (left := [run for run in stack if is_open(run)])]:
        for stack in todo:
            with leases.take_many([store.folder(run) for run in stack], seconds) as held:
                finished, failed = _train(held, runs, store, device, train)
            trained += finished
            failures |= failed
            if held:
                break
        else:
            if not waited:  # said once: it may take as long as a run, or as a lease of somebody who died
                log.warning("waiting for %d runs that other workers have", sum(map(len, todo)))
            waited = True
            time.sleep(min(LONGEST_PAUSE, seconds / 4))
    failures = {run: why for run, why in failures.items() if store.record(run) is None}
    if failures:
        told = "; ".join(f"{run} ({describe(runs[run])}): {why}" for run, why in failures.items())
        raise RunsFailed(f"{len(failures)} of {len(runs)} runs failed; the others are kept. {told}", failures)
    return trained


def picking_order(groups: list[list[str]], runs: dict[str, RunConfig], worker: str) -> list[list[str]]:
    """The same groups in a worker's own order, so that two seldom want the same one; those on equal data in a row."""
    shuffle = lambda *parts: hashlib.sha256(repr((worker, *parts)).encode()).digest()  # noqa: E731
    data = lambda config: (config.categories, config.count, config.data_seed)  # noqa: E731
    return sorted(groups, key=lambda group: (shuffle(data(runs[group[0]])), shuffle(group[0])))


def _train(
    held: list[leases.Lease], runs: dict[str, RunConfig], store: RunStore, device: str, train: Train
) -> tuple[list[str], dict[str, str]]:
    """Trains the leased runs; returns those that it finished, and why others failed. Lost ones are in neither."""
    leased = {lease.folder.name: lease for lease in held}
    missing = [run for run in leased if store.record(run) is None]  # some may have been finished since we looked
    for run in leased.keys() - set(missing):
        leased[run].discard()
    parts, finished, failures = [missing], [], {}
    for part in parts:
        if not part:
            continue
        error: Exception = RuntimeError("its training ended without a record")
        try:
            train([runs[run] for run in part], LeasedStore(store.root, leased), device)
        except (ValueError, OSError, RuntimeError) as problem:  # LeaseLost is one
            error = problem
        ours = [run for run in part if not leased[run].lost]
        ready = [run for run in ours if store.record(run) is not None]
        for run in ready:
            leased[run].discard()
        finished += ready
        left = [run for run in ours if run not in ready]
        if isinstance(error, leases.LeaseLost):
            log.warning("%s", error)  # the others go on from their checkpoints, in whoever takes them next
        elif len(left) == len(part) == 1:
            log.error("run %s failed: %s", left[0], error)
            failures[left[0]] = str(error)
        elif left:
            log.warning("a stack of %d runs failed, it is halved to find out which of them did: %s", len(part), error)
            parts += [left[: len(left) // 2], left[len(left) // 2 :]]
    return finished, failures
