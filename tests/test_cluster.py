"""Grids as SLURM arrays: configurations travel as JSON, jobs ask for what was said and survive preemption."""

import importlib.util
import json
import os
import signal
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from tiny_runs import DONE, id_of, names, pretend, tiny

from lfmlib import cluster, leases
from lfmlib.workers import work

needs_submitit = pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="submitit is not installed")


pytestmark = pytest.mark.usefixtures("no_git")


def test_a_grid_travels_as_json(store):
    configs = [tiny(seed, lr=0.1) for seed in range(2)]
    path = cluster.write_grid(configs, store)
    assert cluster.read_grid(path) == configs and path == cluster.write_grid(configs, store)
    assert path != cluster.write_grid(configs[:1], store)
    for text, message in (("{", "not a JSON file"), ("{}", "not a list"), ("[{}]", "categories")):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            cluster.read_grid(path)


def test_gathering_waits_for_runs_not_for_jobs(store):
    configs = [tiny(1), tiny(0), tiny(1)]
    pending = SimpleNamespace(done=lambda: False, job_id="7")
    threading.Timer(0.2, lambda: work(configs, store, train=pretend)).start()
    records = cluster.gather([pending], configs, store, pause=0.05)
    assert [record["id"] for record in records] == [id_of(config) for config in configs]
    ended = SimpleNamespace(done=lambda: True, exception=lambda: ValueError("no GPU"), job_id="8")
    with pytest.raises(RuntimeError, match=r"1 of 2 runs are missing: .*seed 5\)\. job 8: no GPU"):
        cluster.gather([ended], [tiny(0), tiny(5)], store)


def test_calls_that_make_no_sense_are_refused(store, monkeypatch):
    with pytest.raises(ValueError, match="slurm, local"):
        cluster.submit_grid([tiny()], store, executor="pbs")
    with pytest.raises(ValueError, match="jobs is 0"):
        cluster.submit_grid([tiny()], store, jobs=0)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'lfmlib\[cluster\]'"):
        cluster.submit_grid([tiny()], store, executor="local")
    assert not store.root.exists()


@needs_submitit
def test_parameters_that_submitit_does_not_know_are_named(store):
    for parameters in ({"gpus": 1}, {"local_gpus": 1}, {"timeout_min": "long"}):
        with pytest.raises(ValueError, match="gpus|timeout_min"):
            cluster.submit_grid([tiny()], store, "local", **parameters)
    with pytest.raises(ValueError, match="configs is empty"):
        cluster.submit_grid([], store, "local")


@needs_submitit
def test_a_slurm_array_asks_for_what_was_said(store, tmp_path, monkeypatch):
    programs = {"sbatch": f'cp "$1" {tmp_path}/script; echo Submitted batch job 4711', "srun": "exit 1"}
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    jobs = cluster.submit_grid(
        [tiny(seed) for seed in range(5)], store, jobs=3, gpus_per_node=1, slurm_partition="gpu", timeout_min=30
    )
    assert [job.job_id for job in jobs] == ["4711_0", "4711_1", "4711_2"]
    script = (tmp_path / "script").read_text()
    for line in (
        "--array=0-2%3",
        "--gpus-per-node=1",
        "--partition=gpu",
        "--time=30",
        "--job-name=lfm",
        "--signal=USR2@90",
    ):
        assert f"#SBATCH {line}\n" in script
    asked = jobs[0].submission()
    grid, root, device, seconds, most = asked.args
    assert cluster.read_grid(grid) == [tiny(seed) for seed in range(5)] and root == str(store.root)
    assert (device, seconds, most) == ("cpu", leases.SECONDS, 2) and isinstance(asked.function, cluster.Worker)
    again = asked._checkpoint_function()  # what submitit calls when the job is preempted
    assert isinstance(again.function, cluster.Worker) and again.args == asked.args


@needs_submitit
def test_a_grid_on_this_machine_survives_preemption(store, root, monkeypatch):
    """End to end: a job is told to stop in the middle of its first run, and is queued again."""
    monkeypatch.setenv("PYTHONPATH", str(root))
    configs = [tiny(seed, steps=20) for seed in (1, 0, 2)]
    jobs = cluster.submit_grid(configs, store, "local", jobs=1)
    until, held = time.monotonic() + 120, []
    while not held:
        held = list(store.root.glob("*/.lease.1"))
        assert time.monotonic() < until
        time.sleep(0.01)
    while not (content := held[0].read_text()):
        pass
    os.kill(json.loads(content)["pid"], signal.SIGUSR2)
    records = cluster.gather(jobs, configs, store, pause=0.1)
    assert [record["config"]["seed"] for record in records] == [1, 0, 2]
    while not all(job.done() for job in jobs):
        time.sleep(0.1)
    logs = "".join(path.read_text() for path in store.root.glob(".jobs/*/*_log.out"))
    assert "Requeued job" in logs and logs.count("Job completed successfully") == 1
    assert all(names(store.folder(id_of(config))) == DONE for config in configs)
