"""A grid on a SLURM cluster, or in processes here: job arrays of workers, by way of submitit.

    jobs = cluster.submit_grid(configs, store, jobs=16, device="cuda", gpus_per_node=1, slurm_partition="gpu")
    records = cluster.gather(jobs, configs, store)

Workers may be started by any other means as well: each is a call of `workers.work`.
"""

import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from lfmlib import files, leases
from lfmlib.encodings import check_choice
from lfmlib.runs import RunConfig, RunData, describe, run_id
from lfmlib.store import RunStore
from lfmlib.workers import LONGEST_PAUSE, work

EXECUTORS = ("slurm", "local")
TIMEOUT_MINUTES = 240
REQUEUES = 1000  # a job that runs out of time goes on where it was; there is no number of times that is too many


class Worker:
    """What a job does: `work`, on the grid of a file. A job that is preempted or out of time is queued again."""

    def __call__(self, grid: str, root: str, device: str, seconds: float | int, most: int) -> list[str]:
        """Runs `work`; see there.

        Args:
            grid: file that `write_grid` wrote.
            root: folder of the store.
        """
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
        if device == "cpu":
            torch.set_num_threads(1)  # the tensors are small: threads only fight each other
        return work(read_grid(grid), root, device, seconds, most)

    def checkpoint(self, *arguments: Any) -> Any:
        """What submitit puts into the queue when the job has to stop: the same call. Runs go on where they were."""
        return _submitit().helpers.DelayedSubmission(self, *arguments)


def submit_grid(
    configs: Iterable[RunConfig],
    store: RunStore | str | os.PathLike | None = None,
    executor: str = "slurm",
    jobs: int = 8,
    device: str = "cpu",
    seconds: float | int = leases.SECONDS,
    **parameters: Any,
) -> list[Any]:
    """Submits workers for a grid, as one job array; returns at once.

    Args:
        configs: the runs.
        store: where the runs live, on a file system that the machines share; None: the default store. Job files and
            logs go to its folder .jobs.
        executor: slurm, or local: processes on this machine.
        jobs: workers, one per job.
        device, seconds: see `work`.
        parameters: submitit's, such as timeout_min (240), cpus_per_task, mem_gb, gpus_per_node, slurm_partition,
            slurm_account, slurm_array_parallelism.
    Returns:
        The submitit jobs, for `gather`.
    Raises:
        ValueError: a parameter makes no sense (names it).
        ModuleNotFoundError: submitit is not installed.
        RuntimeError: this machine has no SLURM.
    """
    check_choice("executor", executor, EXECUTORS)
    if jobs < 1:
        raise ValueError(f"jobs is {jobs!r}: expected 1 or more")
    submitit = _submitit()
    store = store if isinstance(store, RunStore) else RunStore(store)
    if not (configs := list(configs)):
        raise ValueError("configs is empty: there is nothing to train")
    grid, most = write_grid(configs, store), math.ceil(len(configs) / jobs)
    submitter = submitit.AutoExecutor(grid.parent, cluster=executor, **{f"{executor}_max_num_timeout": REQUEUES})
    try:
        submitter.update_parameters(**{"name": "lfm", "timeout_min": TIMEOUT_MINUTES} | parameters)
    except (NameError, AssertionError, TypeError) as error:  # submitit's words for a parameter that it does not take
        raise ValueError(f"submitit does not take these parameters: {error}") from error
    arguments = (str(grid), str(store.root.absolute()), device, seconds, most)
    return submitter.map_array(Worker(), *([argument] * jobs for argument in arguments))


def gather(
    jobs: Sequence[Any],
    configs: Iterable[RunConfig],
    store: RunStore | str | os.PathLike | None = None,
    pause: float | int = LONGEST_PAUSE,
) -> list[dict[str, Any]]:
    """Waits for the runs of a grid and returns their records in the order asked for.

    It does not wait for jobs that are still in the queue when the runs are done: they will find nothing to do.

    Args:
        jobs: what `submit_grid` returned.
        pause: seconds between two looks.
    Raises:
        RuntimeError: all jobs have ended and runs are missing; names them and what the jobs said.
    """
    store = store if isinstance(store, RunStore) else RunStore(store)
    configs = list(configs)
    ids = [run_id(config, RunData.of(config)) for config in configs]
    asked = dict(zip(ids, configs, strict=True))
    records: dict[str, Any] = {}
    while True:
        ended = all(job.done() for job in jobs)  # before the look at the store, or a last record could be missed
        records |= {run: record for run in asked if run not in records and (record := store.record(run)) is not None}
        if ended or len(records) == len(asked):
            break
        time.sleep(pause)
    missing = {run: config for run, config in asked.items() if run not in records}
    if missing:
        names = "; ".join(f"{run} ({describe(config)})" for run, config in missing.items())
        said = "; ".join(
            f"job {job.job_id}: {str(error)[-1000:]}" for job in jobs if (error := job.exception()) is not None
        )
        raise RuntimeError(f"all jobs have ended and {len(missing)} of {len(asked)} runs are missing: {names}. {said}")
    return [records[run] for run in ids]


def write_grid(configs: Iterable[RunConfig], store: RunStore) -> Path:
    """Writes the configurations as JSON into the store's folder .jobs, named after their content; returns the file."""
    content = [config.as_dict() for config in configs]
    name = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    path = store.root.absolute() / ".jobs" / name / "grid.json"
    files.write_json(path, content)
    return path


def read_grid(path: str | os.PathLike) -> list[RunConfig]:
    """Inverse of `write_grid`. Raises ValueError where the file is no grid."""
    content = files.read_json(path)
    if not isinstance(content, list):
        raise ValueError(f"{path}: not a list of run configurations")
    return [RunConfig.from_dict(entry) for entry in content]


def _submitit() -> Any:
    try:
        import submitit
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("submitting jobs needs submitit: pip install 'lfmlib[cluster]'") from error
    return submitit
