"""The run store: a run is done only while its files are whole, and no byte of them can change unnoticed."""

import errno
import json
import logging
import os
import subprocess
import sys

import pytest
import torch

from lfmlib import leases, processes
from lfmlib.store import RunStore, default_root, read_tensors, write_tensors

MODEL = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.tensor([True, False])}
CURVE = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}]
STATE = {"step": 7, "curve": CURVE, "sums": {"loss": [1.25, 2]}, "seconds": 0.1}
DONE = {"model.safetensors", "curve.json", "record.json"}


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


def finish(store, run="r"):
    return store.finish(run, MODEL, {"config": "{}"}, CURVE, {"id": run, "status": "done", "final": {"mm": 1.5}})


def names(store, run="r"):
    return {entry.name for entry in store.folder(run).iterdir()}


def flipped(path, at=None):
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 1
    path.write_bytes(content)


def test_a_finished_run_comes_back_as_it_was(store):
    record = finish(store)
    assert store.record("r") == record and record["final"] == {"mm": 1.5} and names(store) == DONE
    assert store.curve("r") == CURVE
    tensors, header = read_tensors(store.folder("r") / "model.safetensors")
    assert header == {"config": "{}"} and tensors.keys() == MODEL.keys()
    assert all(torch.equal(tensors[name], MODEL[name]) for name in MODEL)


def test_an_unknown_or_unfinished_run_has_no_record(store, caplog):
    assert store.record("r") is None and store.load_checkpoint("r") is None
    store.save_checkpoint("r", MODEL, STATE)
    assert store.record("r") is None and not caplog.records


@pytest.mark.parametrize("name", sorted(DONE))
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_a_damaged_file_undoes_the_run_and_is_named(store, caplog, name, damage):
    finish(store)
    path = store.folder("r") / name
    if damage == "flip":
        flipped(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    if damage == "empty":
        path.write_bytes(b"")
    if damage == "gone":
        path.unlink()
    assert store.record("r") is None
    if name == "record.json" and damage == "gone":
        assert not caplog.records  # that is what unfinished means
    else:
        assert caplog.records[0].levelno == logging.WARNING and name in caplog.text
        assert "will be trained again" in caplog.text
    assert finish(store) == store.record("r")


@pytest.mark.parametrize("content", ["[]", "null", "3", "{}", '{"files": 1}', '{"files": {}, "digest": "0"}'])
def test_a_record_of_another_form_counts_as_damaged(store, caplog, content):
    finish(store)
    (store.folder("r") / "record.json").write_text(content)
    assert store.record("r") is None and "damaged" in caplog.text


def test_an_edited_number_in_a_record_is_found(store):
    finish(store)
    path = store.folder("r") / "record.json"
    path.write_text(path.read_text().replace("1.5", "1.4"))
    assert store.record("r") is None


def test_a_checkpoint_comes_back_and_goes_when_the_run_is_done(store):
    odd = {"scalar": torch.tensor(3.0), "bytes": torch.arange(5, dtype=torch.uint8), "none": torch.ones(0, 2)}
    tensors = MODEL | odd
    store.save_checkpoint("r", MODEL, {"step": 1})
    store.save_checkpoint("r", tensors, STATE)
    loaded, state = store.load_checkpoint("r")
    assert state == STATE and loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[k], v) and loaded[k].dtype == v.dtype for k, v in tensors.items())
    (store.folder("r") / ".checkpoint.killed.safetensors").write_bytes(b"half")
    finish(store)
    assert names(store) == DONE and store.load_checkpoint("r") is None


def test_finishing_removes_what_the_dead_left_and_nothing_of_the_living(store):
    folder = store.folder("r")
    me, machine = processes.name(), processes.name().split("-")[0]
    removed = [f".{me}.0.model.safetensors", f".{machine}-9999999999.0.curve.json", ".config.killed.json",
               f".{'0' * 12}-7.0.old.json"]  # fmt: skip
    kept = [f".{machine}-{os.getppid()}.0.model.safetensors", f".{'0' * 12}-7.0.curve.json"]  # another machine's
    with leases.take(folder) as lease:
        for name in removed + kept:
            (folder / name).write_bytes(b"half")
        os.utime(folder / removed[-1], (1e9, 1e9))
        finish(store)
        assert names(store) == DONE | set(kept) | {lease.path.name}
        lease.ensure()


RACE = """
import multiprocessing, sys
import torch
from lfmlib.store import RunStore

def finish(barrier, failed):
    store = RunStore(sys.argv[1])
    try:
        for run in range(20):
            barrier.wait()
            store.save_checkpoint(str(run), {"a": torch.ones(9)}, {"step": run})
            store.finish(str(run), {"a": torch.ones(9)}, {}, [], {"id": str(run)})
        failed.put(None)
    except Exception as error:
        barrier.abort()
        failed.put(repr(error))

context = multiprocessing.get_context("fork")
barrier, failed = context.Barrier(3), context.SimpleQueue()
workers = [context.Process(target=finish, args=(barrier, failed)) for _ in range(3)]
for worker in workers:
    worker.start()
sys.exit("; ".join(filter(None, [failed.get() for _ in workers])) or 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_processes_that_finish_one_run_at_once_leave_it_whole(store, root):
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    race = subprocess.run(
        [sys.executable, "-c", RACE, str(store.root)], env=environment, capture_output=True, text=True
    )
    assert race.returncode == 0, race.stderr
    for run in range(20):
        assert store.record(str(run))["id"] == str(run)
        assert names(store, str(run)) - {"checkpoint.safetensors"} == DONE


def test_every_flipped_byte_and_every_cut_of_a_checkpoint_is_found(store, caplog):
    """Also in its header, where the step and the curve are."""
    store.save_checkpoint("r", {"a": torch.arange(3.0)}, STATE)
    path = store.folder("r") / "checkpoint.safetensors"
    whole = path.read_bytes()
    for at in range(len(whole)):
        flipped(path, at)
        assert store.load_checkpoint("r") is None, at
        path.write_bytes(whole)
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        assert store.load_checkpoint("r") is None, length
    assert "checkpoint of run r is damaged, the run starts again" in caplog.text
    path.write_bytes(whole)
    assert store.load_checkpoint("r")[1] == STATE


def test_a_full_disk_leaves_the_old_checkpoint(store, monkeypatch):
    store.save_checkpoint("r", MODEL, STATE)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        store.save_checkpoint("r", MODEL, STATE | {"step": 8})
    assert "checkpoint.safetensors" in str(caught.value) and names(store) == {"checkpoint.safetensors"}
    assert store.load_checkpoint("r")[1] == STATE


def test_numbers_that_json_lacks_are_refused_before_anything_is_written(store):
    with pytest.raises(ValueError):
        store.save_checkpoint("r", MODEL, {"loss": float("nan")})
    assert not store.root.exists()


def test_reading_tensors_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="a.safetensors: no such file"):
        read_tensors(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(ValueError, match="b.safetensors: not a whole safetensors file"):
        read_tensors(tmp_path / "b.safetensors")
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path)


def test_tensors_that_share_memory_or_have_strides_are_written_in_full(tmp_path):
    base = torch.arange(6.0).view(2, 3)
    write_tensors(tmp_path / "a.safetensors", {"whole": base, "turned": base.T}, {})
    tensors, _ = read_tensors(tmp_path / "a.safetensors")
    assert torch.equal(tensors["whole"], base) and torch.equal(tensors["turned"], base.T)


def test_the_same_run_has_the_same_bytes(tmp_path):
    for folder in "abcdef":  # one of two orders comes six times in a row by chance once in 32
        store = RunStore(tmp_path / folder)
        store.finish("r", MODEL, {"config": "{}", "rigs": "é"}, CURVE, {"id": "r"})
        assert read_tensors(store.folder("r") / "model.safetensors")[1] == {"config": "{}", "rigs": "é"}
    for name in DONE:
        assert len({(tmp_path / folder / "r" / name).read_bytes() for folder in "abcdef"}) == 1
    assert json.loads((tmp_path / "a/r/record.json").read_text())["files"].keys() == DONE - {"record.json"}


def test_where_runs_live(tmp_path, monkeypatch):
    monkeypatch.setenv("LFM_RUNS", str(tmp_path / "here"))
    assert default_root() == tmp_path / "here" == RunStore().root and RunStore("x").root.name == "x"
    monkeypatch.delenv("LFM_RUNS")
    monkeypatch.setenv("LFM_ROOT", str(tmp_path))
    assert default_root() == tmp_path / "runs"
