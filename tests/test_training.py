"""Training runs: one seed gives one set of bytes, killed or not; no label reaches a 2D-only run; clear failures."""

import dataclasses
import errno
import json
import logging
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lfmlib import evaluation, training
from lfmlib.data.batches import ViewSampler
from lfmlib.data.views import CameraConfig, EvaluationViews, Views
from lfmlib.model import LifterConfig
from lfmlib.objectives import Objective, ObjectiveConfig
from lfmlib.runs import SCHEDULES, RunConfig, RunData, run_id
from lfmlib.steps import Steps, learning_rate_factor
from lfmlib.store import RunStore, read_tensors
from lfmlib.training import train

MODEL = LifterConfig(width=16, depth=1, heads=2, ff=2)
ADVERSARY = ObjectiveConfig(adversary=0.1, view_consistency=0.1)
FLOW = ObjectiveConfig(flow=0.01, low_rank_subsets=0.1)
SUPERVISED = ObjectiveConfig(supervised_3d=1.0)


def config(**changes):
    small = dict(
        categories=("synthetic_chair10",), model=MODEL, count=40, steps=12, batch=8, test_views=20, evaluations=3
    )
    return RunConfig(**small | changes)


pytestmark = pytest.mark.usefixtures("no_git")


def essence(store, record):
    """All of a run but when, where and how fast it was made."""
    run = record["id"]
    body = {k: v for k, v in record.items() if k not in ("provenance", "digest")}
    return body, (store.folder(run) / "model.safetensors").read_bytes(), (store.folder(run) / "curve.json").read_bytes()


def weights(store, record):
    return read_tensors(store.folder(record["id"]) / "model.safetensors")[0]


def same(one, two):
    return all(torch.equal(one[name], two[name]) for name in one)


def refuse(constant):
    raise ValueError(f"{constant} is no JSON")


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path):
    stores = [RunStore(tmp_path / name) for name in "abc"]
    records = [train(config(seed=seed, missing=0.1), s) for seed, s in zip((3, 3, 4), stores, strict=True)]
    assert essence(stores[0], records[0]) == essence(stores[1], records[1])
    assert records[2]["id"] != records[0]["id"]
    assert not same(weights(stores[0], records[0]), weights(stores[2], records[2]))


def test_the_record_says_what_was_done(store):
    points = []
    record = train(config(), store, progress=points.append)
    assert record == store.record(record["id"]) and record["status"] == "done"
    assert RunConfig.from_dict(record["config"]) == config()
    assert [p["step"] for p in points] == [4, 8, 12] and store.curve(record["id"]) == points
    assert record["final"] == points[-1]  # the last step, not the best
    assert record["stopped_by_3d"] == min(points, key=lambda p: p["validation"]["fit"][-1]["flip"])
    described = record["data"]["synthetic_chair10"]
    assert described["tag"] == "synthetic" and set(described["fingerprint"]) == {"train", "validation", "test"}
    assert sum(described["frames"].values()) == 40
    assert record["provenance"].keys() >= {"seconds", "threads", "device", "finished", "commit", "dirty", "machine"}
    for part in ("validation", "test"):
        assert record["final"][part].keys() == {"eq1", "depth", "fit", "snap"}
        for row in record["final"][part]["fit"]:
            assert 0 < row["o3"] <= row["so3"] + 1e-6 and 0 < row["flip"]
    tensors, header = read_tensors(store.folder(record["id"]) / "model.safetensors")
    assert RunConfig.from_dict(json.loads(header["config"])) == config()
    assert json.loads(header["rigs"])[0]["name"] == "synthetic_chair10"
    assert sum(v.numel() for v in tensors.values()) >= record["parameters"]
    assert {f.name for f in store.folder(record["id"]).iterdir()} == {
        "config.json", "curve.json", "model.safetensors", "record.json",
    }  # fmt: skip


def test_the_last_step_counts_and_the_best_one_stands_beside_it(store, monkeypatch):
    calls, honest = [], evaluation.evaluate

    def rising(*arguments):
        result = honest(*arguments)
        calls.append(result)
        for row in result["fit"]:
            row["flip"] = float(len(calls))
        return result

    monkeypatch.setattr(evaluation, "evaluate", rising)
    record = train(config(), store)
    assert record["final"]["step"] == 12 and record["stopped_by_3d"]["step"] == 4


def test_training_lowers_the_loss(store):
    record = train(config(steps=60, batch=16, lr=3e-3), store)
    curve = store.curve(record["id"])
    assert curve[-1]["loss"] < 0.7 * curve[0]["loss"]


def test_a_finished_run_is_not_trained_again(store, monkeypatch):
    record = train(config(), store)
    monkeypatch.setattr(training, "_Stack", None)
    assert train(config(), store) == record


@pytest.mark.parametrize("name", ["record.json", "model.safetensors", "curve.json"])
def test_a_damaged_run_is_trained_again(store, caplog, name):
    record = train(config(steps=3), store)
    before = essence(store, record)
    path = store.folder(record["id"]) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert essence(store, train(config(steps=3), store)) == before
    assert "will be trained again" in caplog.text and name in caplog.text


class Stopped(Exception):
    pass


def interrupted(run, store, monkeypatch, after=2):
    """A run that was cut after so many points of its curve, with a checkpoint of the last step."""

    def stop(point):
        if point["step"] >= after * run.steps // run.evaluations:
            raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(training, "CHECKPOINT_SECONDS", -1.0)
        train(run, store, progress=stop)
    return store.folder(run_id(run, RunData.of(run))) / "checkpoint.safetensors"


@pytest.mark.parametrize("damage", ["none", "flip", "cut"])
def test_a_damaged_checkpoint_starts_the_run_again(tmp_path, monkeypatch, caplog, damage):
    stores = [RunStore(tmp_path / name) for name in "ab"]
    whole = train(config(), stores[0])
    path = interrupted(config(), stores[1], monkeypatch)
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-40] ^= 1
    path.write_bytes(content[:-5] if damage == "cut" else content)
    taken, one = [], Steps.one
    monkeypatch.setattr(Steps, "one", lambda self: (taken.append(self.arms[0].step), one(self))[1])
    record = train(config(), stores[1])
    assert essence(stores[1], record) == essence(stores[0], whole)
    if damage == "none":
        assert len(taken) == 12 - 7 and not caplog.records  # the last checkpoint was that of step 7
    else:
        assert len(taken) == 12 and "is damaged, the run starts again" in caplog.text


DRIVER = '''
import json, os, signal, sys, time
import torch
torch.set_num_threads(1)
import safetensors.torch, torch._dynamo  # what the first step would import: once, not in every child
from lfmlib import files, runs, store, training
from lfmlib.steps import Steps

def kill_at(kind, at):
    """Kills this very process, as kill -9 would, at a chosen moment."""
    die = lambda: os.kill(os.getpid(), signal.SIGKILL)
    training.CHECKPOINT_SECONDS = -1.0
    if kind == "step":  # with the checkpoint a few steps old
        one, save = Steps.one, Steps.save
        Steps.one = lambda self: die() if self.arms[0].step == at else one(self)
        Steps.save = lambda self: save(self) if self.arms[0].step % 3 == 0 else None
    if kind in ("before", "after"):  # the rename that makes a file whole
        count, replace = [0], os.replace
        def moved(source, target):
            count[0] += os.path.basename(target) == at[0]
            if count[0] == at[1] and kind == "before":
                die()
            replace(source, target)
            if count[0] == at[1]:
                die()
        os.replace = moved

root, plan = sys.argv[1], json.loads(sys.argv[2])
for name, content in plan["configs"].items():
    config = runs.RunConfig.from_dict(content)
    runs.RunData.of(config)  # loaded once, shared by the children
    for folder, kills in (("whole", []), ("killed", plan["kills"][name])):
        for kill in [*kills, None]:
            sys.stdout.flush()
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    if kill and kill[0] != "time":
                        kill_at(*kill)
                    elif kill:
                        training.CHECKPOINT_SECONDS = 0.005
                    training.train(config, store.RunStore(os.path.join(root, name, folder)))
                    status = 0
                finally:
                    os._exit(status)
            if kill and kill[0] == "time":
                time.sleep(kill[1])
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                continue
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if code != (-signal.SIGKILL if kill else 0):
                sys.exit(f"{name}: {kill} ended with {code}")
'''


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_run_killed_at_any_moment_ends_with_the_same_bytes(tmp_path, root):
    configs = {
        "plain": config(missing=0.1, categories=("synthetic_chair10", "synthetic_hand21"), schedule="trapezoid"),
        "average": config(ema=0.9, views="fixed", warmup=5),
        "adversary": config(objective=ADVERSARY),
        "flow": config(objective=FLOW),
        "depth": config(
            model=dataclasses.replace(MODEL, outputs=1),
            objective=ObjectiveConfig(reprojection=0.0, output="depth", depth_cycle=1.0),
        ),
    }
    kills = {
        "plain": [
            ("before", ("checkpoint.safetensors", 1)), ("step", 5), ("after", ("checkpoint.safetensors", 2)),
            ("time", 0.1), ("before", ("model.safetensors", 1)), ("after", ("curve.json", 1)),
            ("before", ("record.json", 1)),
        ],
        "average": [("step", 1), ("step", 8)],
        "adversary": [("step", 8)],
        "flow": [("step", 8)],
        "depth": [("step", 8)],
    }  # fmt: skip
    plan = json.dumps({"configs": {name: c.as_dict() for name, c in configs.items()}, "kills": kills})
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    driver = subprocess.run(
        [sys.executable, "-c", DRIVER, str(tmp_path), plan], env=environment, capture_output=True, text=True
    )
    assert driver.returncode == 0, driver.stderr[-2000:]
    for name, run in configs.items():
        found = {}
        for folder in ("whole", "killed"):
            store = RunStore(tmp_path / name / folder)
            record = store.record(run_id(run, RunData.of(run)))
            assert record is not None and record["status"] == "done", name
            found[folder] = essence(store, record)
            assert len(list(store.folder(record["id"]).iterdir())) == 4  # no checkpoint, no half-written file
        assert found["killed"] == found["whole"], name


def test_other_data_is_another_run():
    run = config()
    data = RunData.of(run)
    (shapes,) = data.train
    changed = dataclasses.replace(data, train=(dataclasses.replace(shapes, fingerprint="0" * 64),))
    assert run_id(run, data) == run_id(run, RunData.of(run)) != run_id(run, changed)
    for other in (config(count=41), config(data_seed=1), config(categories=("synthetic_hand21",)), config(seed=1)):
        assert run_id(other, RunData.of(other)) != run_id(run, data)
    assert run_id(config(lr=1), data) == run_id(config(lr=1.0), data)  # one setting, one run


def test_validation_is_held_out_of_training():
    data = RunData.of(config(count=200))
    for train_set, validation, test in zip(data.train, data.validation, data.test, strict=True):
        sequences = [set(s.sequence.tolist()) for s in (train_set, validation, test)]
        assert not sequences[0] & sequences[1] and not sequences[0] & sequences[2] and not sequences[1] & sequences[2]


def test_evaluating_more_often_changes_no_weight(tmp_path):
    stores = [RunStore(tmp_path / name) for name in "ab"]
    records = [train(config(evaluations=n), s) for n, s in zip((1, 6), stores, strict=True)]
    assert same(*(weights(s, r) for s, r in zip(stores, records, strict=True)))


def blind(monkeypatch):
    """Whatever is drawn with its truth during training has a false one."""
    honest = ViewSampler.draw_with_truth

    def lying(self, count, generator, mixed=False):
        views = honest(self, count, generator, mixed)
        return EvaluationViews(views.X, views.visible, views.category, torch.flip(views.Y, (1,)) ** 2, views.known)

    monkeypatch.setattr(ViewSampler, "draw_with_truth", lying)


@pytest.mark.parametrize("objective", [ObjectiveConfig(), ADVERSARY, FLOW, SUPERVISED],
                         ids=["eq1", "adversary", "flow", "3d"])  # fmt: skip
def test_no_label_reaches_a_run_that_does_not_say_so(tmp_path, monkeypatch, objective):
    run, seen = config(objective=objective, steps=5), []
    steps, eq1 = Objective.steps, Steps._eq1

    def watched(self, views, generator=None, Y=None):
        seen.append((type(views), Y is not None))
        return steps(self, views, generator, Y)

    def watched_eq1(self, batch):
        assert batch.own == () and len(batch) == 4  # pictures, what is visible of them, categories
        seen.append((Views, False))
        return eq1(self, batch)

    monkeypatch.setattr(Objective, "steps", watched)
    monkeypatch.setattr(Steps, "_eq1", watched_eq1)
    stores = [RunStore(tmp_path / name) for name in "ab"]
    honest = train(run, stores[0])
    blind(monkeypatch)
    blinded = train(run, stores[1])
    supervised = objective is SUPERVISED
    assert set(seen) == {(EvaluationViews, True) if supervised else (Views, False)}
    assert same(weights(stores[0], honest), weights(stores[1], blinded)) != supervised


@pytest.mark.parametrize(
    "objective",
    [ObjectiveConfig(), ObjectiveConfig(camera="algebraic"), SUPERVISED, ADVERSARY, FLOW],
    ids=["exact", "algebraic", "3d", "adversary", "flow"],
)
@pytest.mark.parametrize("lr", [1e6, 1e25])
def test_a_diverging_run_says_so(store, monkeypatch, objective, lr):
    run = config(objective=objective, lr=lr, clip=0, schedule="constant", evaluations=12)
    record = train(run, store)
    folder = store.folder(record["id"])
    assert record["status"] == "diverged" and record["final"] is None and record["stopped_by_3d"] is None
    for name in ("record.json", "curve.json", "config.json"):
        json.loads((folder / name).read_text(), parse_constant=refuse)
    assert store.curve(record["id"])[-1]["loss"] is None
    assert {f.name for f in folder.iterdir()} == {"config.json", "curve.json", "model.safetensors", "record.json"}
    monkeypatch.setattr(training, "_Stack", None)
    assert train(run, store) == record  # once is enough


def test_an_error_that_is_no_divergence_is_passed_on(store, monkeypatch):
    def broken(*_, **__):
        raise ValueError("not about numbers")

    monkeypatch.setattr(Objective, "steps", broken)
    with pytest.raises(ValueError, match="not about numbers"):
        train(config(objective=SUPERVISED), store)


def test_a_runs_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write to this folder") as caught:
        train(config(), RunStore(tmp_path / "file" / "runs"))
    assert str(tmp_path / "file" / "runs") in str(caught.value)


@pytest.mark.parametrize("written", range(4))
def test_a_full_disk_leaves_nothing_half_done(store, monkeypatch, written):
    order = ["config.json", "model.safetensors", "curve.json", "record.json"]
    run, sync, count = config(steps=2, evaluations=1), os.fsync, []

    def full(handle):
        count.append(handle)
        if len(count) > written:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="nothing was changed.*No space left") as caught:
            train(run, store)
    assert order[written] in str(caught.value)
    (folder,) = store.root.iterdir()
    assert {f.name for f in folder.iterdir()} == set(order[:written])
    assert store.record(folder.name) is None
    assert train(run, store)["status"] == "done"  # once there is room again


def test_devices_and_categories_that_are_not_there(store, monkeypatch):
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="'cuda' was asked for and torch sees no GPU"):
            train(config(), store, device="cuda")
    monkeypatch.delenv("LFM_DATA", raising=False)
    with pytest.raises((ValueError, FileNotFoundError), match="synthetic_chiar10"):
        train(config(categories=("synthetic_chiar10",)), store)
    assert not store.root.exists()


def test_a_configuration_survives_json_and_back():
    for run in (config(), config(objective=ADVERSARY, cameras=CameraConfig(roll=0), betas=(0.5, 0.9), clip=0, lr=1)):
        content = json.loads(json.dumps(run.as_dict()))
        assert content == run.as_dict() and RunConfig.from_dict(content) == run
    assert RunConfig.from_dict({"categories": ["a", "b"]}).categories == ("a", "b")


@pytest.mark.parametrize(
    ("change", "field"),
    [({"stpes": 3}, "stpes"), ({"model": {"widht": 8}}, "widht"), ({"objective": {"rank": 1.0}}, "rank"),
     ({"cameras": {"tilt": 1.0}}, "tilt"), ({"model": 3}, "mapping")],
)  # fmt: skip
def test_a_misspelt_field_is_named(change, field):
    with pytest.raises(ValueError, match=f"not a run configuration.*{field}"):
        RunConfig.from_dict(config().as_dict() | change)
    with pytest.raises(ValueError, match="not a run configuration.*categories"):
        RunConfig.from_dict({})


def unchecked(**changes):
    """A configuration as it is made outside of tests, where nobody checks the types in a signature."""
    made = object.__new__(RunConfig)
    for name, value in (vars(config()) | changes).items():
        object.__setattr__(made, name, value)
    made.__post_init__()
    return made


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("categories", ("chair", ()), "a tuple of at least one name"),
        ("categories", (("a", "b", "a"),), "a category is named twice"),
        *[(n, (0, -1, 1.5, True, "3", None), "a whole number, 1 or more") for n in
          ("steps", "batch", "evaluations", "test_views")],
        ("count", (9, 20.0), "a whole number, 10 or more"),
        *[(n, (-1, 0.5, True), "a whole number, 0 or more") for n in ("warmup", "seed", "data_seed")],
        *[(n, (-1e-9, math.nan, math.inf, True, "1", None), "a finite number, 0 or more") for n in
          ("lr", "weight_decay", "clip")],
        *[(n, (-0.1, 1, 1.0, math.nan, False, "0"), "a number in [0, 1)") for n in ("ema", "missing", "dream_missing")],
        ("waste", (0, -0.1, 1.1, math.nan, True, "0"), "a share in (0, 1]"),
        ("temperature", (0, -1, math.inf, math.nan, True, "0"), "a number > 0, or none for balanced"),
        ("betas", ((0.9,), (0.9, 1.0), (-0.1, 0.9), (0.9, 0.99, 0.999), (math.nan, 0.9)), "two numbers in [0, 1)"),
        ("schedule", ("linear",), "constant, cosine, trapezoid"),
        ("views", ("new",), "fresh, fixed"),
        ("self_occlusion", (1, "yes"), "true or false"),
        ("objective", (ObjectiveConfig(reprojection=0.0, output="depth", low_rank=1.0),), "needs model.outputs=1"),
        ("model", (LifterConfig(outputs=1),), "needs model.outputs=3"),
    ],
)  # fmt: skip
def test_values_that_make_no_sense_are_refused(name, values, expected):
    for value in values:
        with pytest.raises(ValueError, match=re.escape(expected)) as caught:
            unchecked(**{name: value})
        if name not in ("objective", "model"):
            assert repr(value) in str(caught.value)


def test_learning_rate_schedules():
    def rates(schedule, warmup=0):
        run = config(schedule=schedule, steps=100, warmup=warmup)
        return [learning_rate_factor(run, step) for step in range(100)]

    assert rates("constant") == [1.0] * 100
    cosine = rates("cosine")
    assert cosine[0] == 1 and math.isclose(cosine[50], 0.5) and 0 < cosine[99] < 1e-3
    trapezoid = rates("trapezoid")
    assert trapezoid[:34] == [1.0] * 34 and math.isclose(trapezoid[67], 1.5 * 0.33) and trapezoid[99] == 0.02
    for schedule in SCHEDULES:
        flat, warm = rates(schedule), rates(schedule, 10)
        assert all(a >= b > 0 for a, b in zip(flat, flat[1:], strict=False))
        assert [round(w / f, 9) for w, f in zip(warm[:12], flat, strict=False)] == [
            0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1, 1,
        ]  # fmt: skip


def test_the_optimiser_gets_the_scheduled_rate(store, monkeypatch):
    rates, step = [], torch.optim.AdamW.step

    def watched(self, *arguments):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    run = config(lr=2e-3)
    train(run, store)
    assert rates == [2e-3 * learning_rate_factor(run, i) for i in range(12)]


def test_the_average_of_the_weights_is_what_is_kept(tmp_path):
    stores = [RunStore(tmp_path / name) for name in "ab"]
    last, average = (train(config(ema=ema), s) for ema, s in zip((0.0, 0.99), stores, strict=True))
    one, two = (weights(s, r) for s, r in zip(stores, (last, average), strict=True))
    assert one.keys() == two.keys() and not same(one, two)
    assert last["final"]["loss"] == average["final"]["loss"]  # training itself is the same
    assert last["final"]["test"] != average["final"]["test"]


def test_the_log_is_quiet_when_nothing_goes_wrong(store, caplog):
    with caplog.at_level(logging.WARNING):
        train(config(steps=2, evaluations=1), store)
    assert not caplog.records and Path(store.root).is_dir()
