"""Grids of runs: nothing is trained twice, nothing is lost, and rows keep to the results format."""

import math
import os
import signal

import pytest
import torch

from lfmlib import experiments, metrics, training
from lfmlib.experiments import curve_rows, floor_rows, rows, run_grid
from lfmlib.model import LifterConfig
from lfmlib.report import RESULT_COLUMNS
from lfmlib.runs import RunConfig
from lfmlib.store import RunStore
from lfmlib.studies import injection

TINY = LifterConfig(width=16, depth=2, heads=2)


def tiny(seed: int = 0, **changes) -> RunConfig:
    settings = dict(model=TINY, steps=6, count=40, test_views=20, evaluations=2, seed=seed)
    return RunConfig(("synthetic_chair10",), **settings | changes)


def bare(record: dict) -> dict:
    return {key: value for key, value in record.items() if key not in ("provenance", "digest")}


def test_records_come_in_the_order_asked_for_and_equal_runs_are_trained_once(tmp_path, monkeypatch):
    trained, once = [], training.train_stack

    def train(configs, *rest):
        trained.extend(config.seed for config in configs)
        return once(configs, *rest)

    monkeypatch.setattr(training, "train_stack", train)
    records = run_grid([tiny(1), tiny(0), tiny(1)], workers=0, store=tmp_path)
    assert [record["config"]["seed"] for record in records] == [1, 0, 1]
    assert trained == [1, 0]
    again = run_grid([tiny(0), tiny(1)], workers=0, store=tmp_path)
    assert trained == [1, 0] and again == [records[1], records[0]]


def test_processes_give_the_records_of_this_process(tmp_path):
    here = run_grid([tiny(0), tiny(1)], workers=0, store=tmp_path / "here")  # on one thread (conftest), as they have
    there = run_grid([tiny(0), tiny(1)], workers=2, store=tmp_path / "there")
    assert [r["provenance"]["stacked"] for r in here + there] == [2, 2, 1, 1]  # all in one, or one in each process
    for one, two in zip(here, there, strict=True):
        assert one["final"].pop("loss") == pytest.approx(two["final"].pop("loss"), rel=1e-4)
        errors = [record["final"]["test"]["fit"][-1] for record in (one, two)]
        assert all(errors[0][name] == pytest.approx(errors[1][name], rel=0.01) for name in ("o3", "so3", "flip"))
        ignored = ("final", "stopped_by_3d", "files")
        assert {k: v for k, v in bare(one).items() if k not in ignored} == {
            k: v for k, v in bare(two).items() if k not in ignored
        }


def test_a_failing_run_is_named_and_the_others_are_kept(tmp_path, monkeypatch):
    once = training.train_stack

    def train(configs, *rest):
        if any(config.seed == 1 for config in configs):
            raise OSError("the disk is full")
        return once(configs, *rest)

    monkeypatch.setattr(training, "train_stack", train)
    with pytest.raises(RuntimeError, match=r"1 of 3 runs failed.*seed 1.*the disk is full"):
        run_grid([tiny(0), tiny(1), tiny(2)], workers=0, store=tmp_path)
    monkeypatch.setattr(training, "train_stack", once)
    assert len(list(tmp_path.glob("*/record.json"))) == 2
    assert len(run_grid([tiny(0), tiny(1), tiny(2)], workers=0, store=tmp_path)) == 3


def _die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_told_in_plain_words(tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "_work", _die)
    with pytest.raises(RuntimeError, match="its process died .*start again to go on"):
        run_grid([tiny(0)], workers=1, store=tmp_path)


def test_rows_keep_to_the_results_format_for_every_read_out_and_stop(tmp_path):
    config = tiny(3, evaluations=3)
    (record,) = run_grid([config], workers=0, store=tmp_path)
    result = rows(record, method="m")
    assert {(row["read_out"], row["stop"]) for row in result} == {
        (read_out, stop) for read_out in ("fit", "snap") for stop in ("last", "3d")
    }
    assert set(RESULT_COLUMNS) <= set(result[0])
    assert {row["data"] for row in result} == {"synthetic"} and {row["seed"] for row in result} == {3}
    curve = curve_rows(RunStore(tmp_path), record, method="m")
    assert [row["step"] for row in curve if row["read_out"] == "fit"] == [2, 4, 6]
    last = next(row for row in result if row["read_out"] == "fit" and row["stop"] == "last")
    assert last["flip"] == curve[-2]["flip"]


def test_a_run_stopped_by_3d_is_the_best_point_of_its_curve_on_validation(tmp_path):
    (record,) = run_grid([tiny(0, evaluations=3)], workers=0, store=tmp_path)
    curve = RunStore(tmp_path).curve(record["id"])
    best = min(curve, key=lambda point: point["validation"]["fit"][-1]["flip"])
    assert record["stopped_by_3d"] == best


def test_a_diverged_run_stays_in_sight_as_rows_of_nan(tmp_path):
    (record,) = run_grid([tiny(lr=1e30, clip=0.0)], workers=0, store=tmp_path)
    assert record["status"] == "diverged"
    assert all(math.isnan(row["flip"]) for row in rows(record, method="m"))


def test_floors_are_measured_on_the_views_of_the_runs():
    config = tiny()
    result = floor_rows(config, [0, 1], set="chairs")
    assert [row["method"] for row in result] == ["flat", "mean", "flat", "mean"]
    assert result[0]["flip"] != result[2]["flip"]  # other views
    assert result == floor_rows(config, [0, 1], set="chairs")
    flat, mean = result[:2]
    assert flat["o3"] == pytest.approx(flat["so3"])  # a plane is its own mirror image
    assert mean["flip"] < flat["flip"]  # chairs look much alike


def test_several_categories_have_a_class_mean(tmp_path):
    config = RunConfig(("synthetic_chair10", "synthetic_aeroplane8"), model=TINY, steps=3, count=40, test_views=20)
    (record,) = run_grid([config], workers=0, store=tmp_path)
    last = [row for row in rows(record, method="m") if (row["read_out"], row["stop"]) == ("fit", "last")]
    mine = {row["category"]: row for row in last}
    assert set(mine) == {*config.categories, metrics.CLASS_MEAN}
    single = [mine[name]["flip"] for name in config.categories]
    assert mine[metrics.CLASS_MEAN]["flip"] == pytest.approx(sum(single) / 2)


def test_the_injection_study_shows_and_judges_what_it_measured(tmp_path, monkeypatch):
    monkeypatch.delenv("LFM_DATA", raising=False)
    arms = [
        arm for arm in injection.grid(injection.Size(2, 16, 2, 20), weights=(1.0,)) if arm.set == "synthetic_aeroplane8"
    ]
    assert len(arms) == 5 * 3
    study = injection.measure(arms, workers=0, store=RunStore(tmp_path))
    assert set(RESULT_COLUMNS) <= set(study.table.columns)
    assert {"flat", "mean", injection.LITERAL, "injection none"} <= set(study.table["method"])
    literal = study.table[study.table["method"] == injection.LITERAL]
    assert len(literal) == 3 and set(literal["alpha"]) == {1.0} and set(literal["stop"]) == {"last"}
    verdicts = injection.judge(study)
    printed = [v for v in verdicts if v.verdict == "not testable here"]
    assert {v.key for v in printed} <= {f"{key}-P3D" for key in injection.CLAIMS.values()}
    assert all(v.n_seeds == 3 for v in verdicts)
    weights = injection.best_weights(study)
    assert {"floor: flat", "floor: mean", "weight 1", injection.BY_3D} <= set(weights["how"])


def test_the_number_of_processes_can_be_set_from_outside(monkeypatch):
    monkeypatch.setattr(experiments, "usable_cores", lambda: 7)
    monkeypatch.delenv("LFM_WORKERS", raising=False)
    assert experiments.default_workers() == 7
    for text, number in (("0", 0), ("3", 3), (" ", 7)):
        monkeypatch.setenv("LFM_WORKERS", text)
        assert experiments.default_workers() == number
    for text in ("-1", "two", "1.5"):
        monkeypatch.setenv("LFM_WORKERS", text)
        with pytest.raises(ValueError, match="LFM_WORKERS is"):
            experiments.default_workers()


def test_small_arms_train_together_without_being_asked(tmp_path):
    records = run_grid([tiny(seed) for seed in range(4)], workers=0, store=tmp_path)
    assert [record["provenance"]["stacked"] for record in records] == [4, 4, 4, 4]


def test_a_gpu_that_is_not_there_is_refused_with_the_way_out(tmp_path, monkeypatch):
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="torch sees no GPU: use device='cpu', or LFM_DEVICE=cpu"):
            run_grid([tiny(0)], store=tmp_path, device="cuda")
        assert training.default_device() == "cpu"
    monkeypatch.setenv("LFM_DEVICE", "cuda:1")
    assert training.default_device() == "cuda:1"
