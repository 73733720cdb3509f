"""Grids of runs: trains what is missing, over processes, and turns records into the rows that results are made of."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import torch

from lfmlib import evaluation, stacks, training
from lfmlib.baselines import floors
from lfmlib.environment import environment
from lfmlib.processes import WORKER_ENVIRONMENT, usable_cores
from lfmlib.run_views import measuring_views
from lfmlib.runs import RunConfig, RunData, describe, run_id
from lfmlib.store import RunStore
from lfmlib.workers import RunsFailed, work

log = logging.getLogger(__name__)

ERRORS = ("o3", "so3", "flip", "mm")


def run_grid(
    configs: Iterable[RunConfig],
    workers: int | None = None,
    store: RunStore | str | os.PathLike | None = None,
    device: str | None = None,
) -> list[dict[str, Any]]:
    """Records of all runs, in the order asked for; runs that the store holds are not trained again.

    Runs of one shape train together as one batched model, as far as that pays and fits the memory. Other processes, on
    this machine or on others, may work on the same store at the same time: each run is trained by one of them.

    Args:
        configs: the runs; equal ones are trained once.
        workers: processes, one thread each; None: see `default_workers`; 0: in this process.
        store: where the runs live; None: the default store.
        device: "cpu" or "cuda" (one process then); None: see `training.default_device`.
    Returns:
        Records (see `training.train`).
    Raises:
        RuntimeError: a run failed or its process died; names them all, after the others are done. Nothing is lost: the
            finished ones are in the store and the cut ones go on from their checkpoints.
        ValueError: a GPU is asked for and there is none.
    """
    configs, device = list(configs), device or training.default_device()
    training.check_device(device)
    store = store if isinstance(store, RunStore) else RunStore(store)
    ids = [run_id(config, RunData.of(config)) for config in configs]
    records = {run: record for run in dict.fromkeys(ids) if (record := store.record(run)) is not None}
    missing = {run: config for run, config in zip(ids, configs, strict=True) if run not in records}
    workers = default_workers() if workers is None else workers
    here = workers == 0 or device != "cpu"
    # two stacks for each process, so that none is idle for long while the last ones end
    planned = stacks.plan(missing, device, None if here else max(1, -(-len(missing) // (2 * workers))))
    started, failures = time.monotonic(), {}
    if missing:
        told = (len(set(ids)), len(records), len(missing), len(planned))
        log.info("%d runs, %d of them in the store, %d to train in %d stacks", *told)
    train = _train_here if here or not missing else _train_in_processes
    for runs, failed in train([{run: missing[run] for run in stack} for stack in planned], store, workers, device):
        failures |= failed
        for run in runs:
            if (record := store.record(run)) is None:
                log.error("run %s failed: %s", run, failures.setdefault(run, "it ended without a record"))
                continue
            records[run] = record
            _progress(len(records), len(set(ids)), time.monotonic() - started, describe(missing[run]), record)
    failures = {run: told for run, told in failures.items() if run not in records}
    if failures:
        named = "; ".join(f"{run} ({describe(missing[run])}): {told}" for run, told in failures.items())
        raise RuntimeError(f"{len(failures)} of {len(set(ids))} runs failed; the others are kept. {named}")
    return [records[run] for run in ids]


def default_workers() -> int:
    """LFM_WORKERS, or one process per usable core.

    Raises:
        ValueError: LFM_WORKERS is no whole number of 0 or more.
    """
    named = os.environ.get("LFM_WORKERS", "").strip()
    if named and not named.isdecimal():
        raise ValueError(f"LFM_WORKERS is {named!r}: expected the number of processes, 0 for none")
    return int(named) if named else usable_cores()


Runs = dict[str, RunConfig]  # a stack, by run id
Outcome = tuple[Runs, dict[str, str]]  # a stack, and why runs of it failed


def _train_here(planned: list[Runs], store: RunStore, workers: int, device: str) -> Iterator[Outcome]:
    for runs in planned:
        yield runs, _work(runs, store, device)


def _train_in_processes(planned: list[Runs], store: RunStore, workers: int, device: str) -> Iterator[Outcome]:
    with _pool(min(workers, len(planned))) as pool:
        jobs = {pool.submit(_work, runs, str(store.root), device): runs for runs in planned}
        for job in as_completed(jobs):
            try:
                yield jobs[job], job.result()
            except BrokenProcessPool:
                told = "its process died (killed, or out of memory); start again to go on"
                yield jobs[job], dict.fromkeys(jobs[job], told)


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes with one thread each."""
    start = torch.set_num_threads, (1,)
    with environment(WORKER_ENVIRONMENT), ProcessPoolExecutor(processes, get_context("spawn"), *start) as pool:
        yield pool


def spread(
    measure: Callable[..., list[dict[str, Any]]], jobs: Sequence[tuple[Any, ...]], workers: int | None = None
) -> list[dict[str, Any]]:
    """Rows that a function finds for each job, in the jobs' order, over processes.

    Args:
        measure: importable by name, called with a job's values.
        jobs: arguments that can be pickled.
        workers: processes, one thread each; None: see `default_workers`; 0: this process.
    """
    workers = min(default_workers() if workers is None else workers, len(jobs))
    if workers == 0:
        return [row for job in jobs for row in measure(*job)]
    with _pool(workers) as pool:
        return [row for rows in pool.map(measure, *zip(*jobs, strict=True)) for row in rows]


def _work(runs: Runs, store: RunStore | str, device: str) -> dict[str, str]:
    """Trains runs, unless somebody else does; why some failed, by run id."""
    try:
        work(runs.values(), store, device)
    except RunsFailed as error:
        return error.failures
    except OSError as error:
        return dict.fromkeys(runs, str(error))
    return {}


def _progress(done: int, total: int, seconds: float, what: str, record: dict[str, Any]) -> None:
    final = record["final"]
    error = record["status"]
    if final:
        fit = final["test"]["fit"]
        error = f"flip {fit[-1]['flip']:.1f} %" if fit else f"Eq. 1 {final['test']['eq1']:.3g}"
    line = f"{done}/{total} runs, {seconds:.0f} s: {what}: {error}"
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{line}" + ("\n" if done == total else ""))
        sys.stderr.flush()
    else:
        log.info(line)


def rows(record: dict[str, Any], **columns: Any) -> list[dict[str, Any]]:
    """Result rows of a record: category x read-out x stop ("last" step, or the step that "3d" validation would choose).

    A diverged run gives rows of NaN, so that it stays in sight.

    Args:
        record: of a run.
        columns: added to every row, before the record's own.
    """
    config, result, tag = record["config"], [], tag_of(record)
    for stop, point in (("last", record["final"]), ("3d", record["stopped_by_3d"])):
        for read_out in ("fit", "snap"):
            for entry in point["test"][read_out] if point else [{"category": name} for name in record["data"]]:
                result.append({
                    "data": tag, "category": entry["category"], **columns,
                    "seed": config["seed"], "read_out": read_out, "stop": stop,
                    **{name: entry.get(name, float("nan")) for name in ERRORS},
                    "mirror_mistakes": entry.get("mirror_mistakes"),
                    "eq1": point["validation"]["eq1"] if point else None,
                    "step": point["step"] if point else None, "run": record["id"],
                })  # fmt: skip
    return result


def curve_rows(store: RunStore, record: dict[str, Any], **columns: Any) -> list[dict[str, Any]]:
    """One row per point of a run's curve: training loss, 2D validation criterion, class-mean (or only) test error."""
    result, tag = [], tag_of(record)
    for point in store.curve(record["id"]):
        if "test" not in point:
            continue
        for read_out in ("fit", "snap"):
            last = point["test"][read_out][-1]
            result.append({
                "data": tag, "category": last["category"], **columns, "seed": record["config"]["seed"],
                "read_out": read_out, "step": point["step"],
                "loss": point["loss"], "eq1": point["validation"]["eq1"], "depth": point["validation"].get("depth"),
                **{name: last[name] for name in ERRORS},
            })  # fmt: skip
    return result


def floor_rows(config: RunConfig, seeds: Sequence[int], **columns: Any) -> list[dict[str, Any]]:
    """Rows of the flat answer and the rigid mean shape, on the very views that runs with these seeds are tested on."""
    run_data = RunData.of(config)
    means = [floors.mean_shape((few := s.thinned(4000)).points, few.known) for s in run_data.train]
    n_max = max(len(mean) for mean in means)
    padded = torch.stack([torch.nn.functional.pad(mean, (0, 0, 0, n_max - len(mean))) for mean in means])
    result, tag = [], "real" if any(s.tag == "real" for s in run_data.test) else "synthetic"
    for seed in seeds:
        views = measuring_views(replace(config, seed=seed), run_data.test)
        for method, P in (("flat", floors.flat(views.X)), ("mean", padded[views.category])):
            result += [
                {"data": tag, "category": r["category"], **columns, "method": method, "seed": seed, "read_out": "",
                 "stop": "", **{name: r[name] for name in ERRORS}}
                for r in evaluation.errors(P, views, run_data.test)
            ]  # fmt: skip
    return result


def tag_of(record: dict[str, Any]) -> str:
    """"real" where any of the run's categories is."""
    return "real" if "real" in {entry["tag"] for entry in record["data"].values()} else "synthetic"


def run_summaries(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is stored beside a table: id, configuration, data, parameters and provenance of each run, once."""
    keys = ("id", "status", "config", "data", "parameters", "wake", "provenance")
    return [{key: record[key] for key in keys if key in record} for record in {r["id"]: r for r in records}.values()]


