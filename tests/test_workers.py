"""Workers of one grid: every run is trained once, none is lost, and what a dead worker left is taken over."""

import logging
import os
import pickle
import subprocess
import sys
import threading

import pytest
import torch
from tiny_runs import DONE, id_of, names, pretend, tiny

from lfmlib import cluster, leases, workers
from lfmlib.store import RunStore, read_tensors
from lfmlib.workers import work

pytestmark = pytest.mark.usefixtures("no_git")


FOUR = """
import json, multiprocessing, os, sys, time
import torch
torch.set_num_threads(1)
from lfmlib import cluster, processes, store, training, workers

def train(configs, *rest):
    with open(sys.argv[1] + "/log", "a") as log:
        log.writelines(f"{config.seed}\\n" for config in configs)
    training.train_stack(configs, *rest)

def hang(self, run, tensors, state):
    save(self, run, tensors, state)
    if state["step"] == 4:
        in_the_middle.set()
        time.sleep(1000)

def load_and_tell(self, run):
    loaded = load(self, run)
    with open(sys.argv[1] + "/loaded", "a") as log:
        log.write(f"{run} {loaded and loaded[1]['step']}\\n")
    return loaded

def victim():
    training.CHECKPOINT_SECONDS = -1.0
    store.RunStore.save_checkpoint = hang
    workers.work(configs[:1], runs, seconds=1.0, train=train)

def one():
    store.RunStore.load_checkpoint = load_and_tell
    barrier.wait()
    workers.work(configs, runs, train=train, most=1)

save, load = store.RunStore.save_checkpoint, store.RunStore.load_checkpoint
processes.is_gone = lambda name: False  # as if each were on a machine of its own: only time tells
workers.LONGEST_PAUSE = 0.2
configs, runs = cluster.read_grid(sys.argv[2]), sys.argv[1] + "/runs"
training.train(configs[0], store.RunStore(sys.argv[1] + "/whole"))
context = multiprocessing.get_context("fork")
in_the_middle, barrier = context.Event(), context.Barrier(4)
first = context.Process(target=victim)
first.start()
if not in_the_middle.wait(120):
    first.kill()
    sys.exit("the first worker came to nothing")
others = [context.Process(target=one) for _ in range(3)]
for worker in others:
    worker.start()
barrier.wait()
first.kill()
for worker in (first, *others):
    worker.join()
print(json.dumps([worker.exitcode for worker in (first, *others)]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_four_workers_one_of_them_killed_train_every_run_once_and_lose_none(tmp_path, root):
    configs = [tiny(seed, steps=9) for seed in range(6)]
    grid = cluster.write_grid(configs, RunStore(tmp_path))
    four = subprocess.run(
        [sys.executable, "-c", FOUR, str(tmp_path), str(grid)], capture_output=True, text=True, timeout=300,
        env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert four.stdout == "[-9, 0, 0, 0]\n", four.stderr
    assert sorted((tmp_path / "log").read_text().split()) == list("0012345")
    loaded = sorted(line.split() for line in (tmp_path / "loaded").read_text().splitlines())
    assert loaded == sorted([id_of(config), "None" if config.seed else "4"] for config in configs)
    store, whole = RunStore(tmp_path / "runs"), RunStore(tmp_path / "whole")
    for config in configs:
        assert store.record(id_of(config))["status"] == "done" and names(store.folder(id_of(config))) == DONE
    ends = [read_tensors(s.folder(id_of(configs[0])) / "model.safetensors")[0] for s in (store, whole)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[1])


def test_a_worker_waits_for_what_others_have(store):
    """Until they finish it, or give it up."""
    configs = [tiny(0), tiny(1), tiny(2)]
    finished, given_up = (store.folder(id_of(config)) for config in configs[:2])
    go = threading.Event()

    def others():
        with leases.take(finished) as one, leases.take(given_up) as two:
            assert one and two
            ready.set()
            go.wait(60)
            store.finish(finished.name, {"a": torch.ones(2)}, {}, [], {"id": finished.name, "by": "other"})
            one.discard()

    def train(some, *rest):
        assert [config.seed for config in some] in ([2], [1])
        pretend(some, *rest)
        go.set()

    ready = threading.Event()
    other = threading.Thread(target=others)
    other.start()
    assert ready.wait(60)
    assert work(configs, store, seconds=1.0, train=train) == [id_of(configs[2]), id_of(configs[1])]
    other.join()
    assert store.record(finished.name)["by"] == "other"


def test_who_lost_a_run_writes_nothing_over_it(store, caplog):
    config = tiny()
    run, thief = id_of(config), None

    def train(configs, leased, device):
        nonlocal thief
        path = next(store.folder(run).glob(".lease.*"))
        os.utime(path, (0, 0))  # as if this process had slept
        thief = leases.take(store.folder(run))
        lease = thief.__enter__()
        with pytest.raises(leases.LeaseLost):
            leased.save_checkpoint(run, {"a": torch.ones(1)}, {"step": 1})
        assert not (store.folder(run) / "checkpoint.safetensors").exists()
        store.finish(run, {"a": torch.zeros(2)}, {}, [], {"id": run, "by": "thief"})
        lease.ensure()
        pretend(configs, leased, device)

    with caplog.at_level(logging.WARNING):
        assert work([config], store, train=train) == []
    assert store.record(run)["by"] == "thief" and "the lease on it is lost" in caplog.text
    assert any(name.startswith(".lease.") for name in names(store.folder(run)))  # the thief's
    thief.__exit__(None, None, None)


def test_failing_runs_are_found_in_their_stack_named_and_the_others_kept(store, monkeypatch):
    configs, calls = [tiny(seed) for seed in range(6)], []
    monkeypatch.setattr(workers.stacks, "plan", lambda runs, *rest: [list(runs)])

    def train(some, *rest):
        calls.append([config.seed for config in some])
        for config in some:
            if config.seed in (2, 5):
                raise OSError(f"the disk is full at seed {config.seed}")
            pretend([config], *rest)

    with pytest.raises(
        workers.RunsFailed, match=r"2 of 6 runs failed; the others are kept.*seed 2\): the disk is full"
    ) as e:
        work(configs, store, train=train)
    failed = {id_of(configs[seed]): f"the disk is full at seed {seed}" for seed in (2, 5)}
    assert e.value.failures == failed == pickle.loads(pickle.dumps(e.value)).failures  # noqa: S301
    assert calls == [[0, 1, 2, 3, 4, 5], [2, 3], [4, 5], [2], [3], [5]]
    assert [store.record(id_of(config)) is None for config in configs] == [False, False, True, False, False, True]
    assert set(work(configs, store, train=pretend)) == {id_of(configs[2]), id_of(configs[5])}


def test_what_fails_here_and_not_elsewhere_is_no_failure(store):
    def train(configs, *rest):
        pretend(configs, store, "cpu")  # another worker, as it were
        raise RuntimeError("out of memory")

    assert work([tiny()], store, train=train) == [id_of(tiny())]
    with pytest.raises(RuntimeError, match="ended without a record"):
        work([tiny(1)], store, train=lambda *_: None)
    with pytest.raises(RuntimeError, match="is not one of those that were to be trained: has its data changed"):
        work([tiny(2)], store, train=lambda configs, *rest: pretend([tiny(3)], *rest))
    with pytest.raises(KeyError):  # a mistake in the program stops it, and frees the run
        work([tiny(4)], store, train=lambda *_: {}["x"])
    assert work([tiny(4)], store, train=pretend) == [id_of(tiny(4))]


def test_a_store_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="no lease can be taken in this folder") as caught:
        work([tiny()], tmp_path / "file" / "runs", train=pretend)
    assert str(tmp_path / "file") in caught.value.filename
    with pytest.raises(ValueError, match="most is 0"):
        work([tiny()], tmp_path, most=0)
    assert work([], tmp_path) == []


def test_workers_pick_in_orders_of_their_own():
    runs = {f"{count}-{seed}": tiny(seed, count=count) for count in (40, 50, 60) for seed in range(4)}
    groups = [[run] for run in runs]
    orders = [workers.picking_order(groups, runs, worker) for worker in "abc"]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert orders[0] == workers.picking_order(groups[::-1], runs, "a")
    for order in orders:
        assert sorted(order) == sorted(groups)
        blocks = [group[0].split("-")[0] for group in order]
        assert all(len(set(blocks[i : i + 4])) == 1 for i in (0, 4, 8))  # data are read once
