"""Notebook 11 from records that the test makes up: curves, laws, tables, figures, verdicts; and the command."""

import json
import math
import os
import subprocess
import sys

import pytest
import torch

from lfmlib import verdicts
from lfmlib.efficiency import command, counting, fit, gpu_must, hardware, inference, step, suite, training
from lfmlib.efficiency.hardware import Hardware
from lfmlib.efficiency.records import Contest, Record, Results
from lfmlib.efficiency.setting import Setting
from lfmlib.model import Lifter, LifterConfig
from lfmlib.report import Report
from lfmlib.studies import efficiency as study
from lfmlib.studies import efficiency_figures as figures

CPU = Setting("cpu", threads=2)
LIMITS = Hardware({"float32": 1e11, "bf16": 1e14}, 1e10)


def made_up(contest: Contest, counts: dict | None = None) -> Record:
    """A record of a contest whose cost grows as the product of its sizes, and whose opponent takes twice as long."""
    cost = 1e-9 * math.prod(max(1, size) for size in contest.sizes.values())
    ratios = [0.5, 0.48, 0.55] if contest.other else [cost] * 3
    counts = {"flops": 1e9, "bytes": 1e6, "work": 4, "parameters": 1e6, "forward_flops": 1e6, "other_parameters": 4e6,
              "other_forward_flops": 2e6, "peak_bytes": 2**29} if counts is None else counts  # fmt: skip
    floor, by = LIMITS.floor(counts, contest.dtype)
    return Record(contest.group, contest.name, cost, contest.other, 2 * cost if contest.other else None,
                  0.5 if contest.other else None, ratios, "a CPU", dict(contest.sizes), contest.dtype,
                  contest.threads, "2.6", counts, floor, by)  # fmt: skip


@pytest.fixture(scope="module")
def measured():
    records = [made_up(c) for group in suite.groups() for c in suite.GROUPS[group](CPU)]
    return study.Study("a CPU", records, records)


def test_curves_hold_all_other_sizes_and_find_the_law(measured):
    curves = study.curves(measured)
    assert len(curves) == len(study.CURVES)
    for curve in curves:
        assert curve.sizes == sorted(set(curve.sizes)) and len(curve.sizes) >= 3
        assert curve.growth.exponent == pytest.approx(1) and curve.other_growth.exponent == pytest.approx(1)
    lengths = {(c.group, c.name, c.axis): len(c.sizes) for c in curves}
    assert lengths[(fit.GROUP, fit.FIT, "batch")] == 6 and lengths[(fit.GROUP, fit.FIT, "keypoints")] == 6
    assert lengths[("training_arms", training.NAME, "arms")] == len(training.AXES["cpu"]["arms"])
    table = study.growth_table(measured)
    assert len(table) == 2 * len(curves) and table["exponent"].round(6).eq(1).all()


def test_a_curve_needs_two_sizes(measured):
    few = [r for r in measured.records if r.group == fit.GROUP and r.sizes == {"batch": 1, "keypoints": 17}]
    assert study.curves(study.Study("a CPU", few, few)) == []


def test_the_table_has_a_row_for_each_record_of_any_device(measured):
    other = made_up(next(iter(gpu_must.contests(Setting("full")))))
    both = study.Study("a CPU", measured.records, [*measured.all, other])
    table = study.table(both)
    assert len(table) == len(both.all)
    pairs = table[table["other"] != ""]
    assert pairs["x_faster"].eq(2).all() and (pairs["x_lowest"] < 2).all() and (pairs["x_highest"] > 2).all()
    assert table[table["other"] == ""]["x_faster"].isna().all()
    assert table["floor_share"].notna().any() and table["batch"].dtype == "Int64"


def test_hardware_and_networks(measured):
    rates = study.hardware(measured)
    assert list(rates["what"]) == [hardware.RATE, hardware.BANDWIDTH] and (rates["value"] > 0).all()
    table = study.networks(measured)
    assert {step.SIMPLE, step.CANONICAL} < set(table["network"]) and table["M parameters"].is_monotonic_increasing
    assert len(table) == 2 + 2 * len(step.SIZES["cpu"])


def test_all_figures_are_drawn_and_written(measured, results):
    out = Report("11_efficiency", "smoke")
    drawn = (figures.figure_fit, figures.figure_training, figures.figure_variants, figures.figure_inference,
             figures.figure_networks, figures.figure_factors)  # fmt: skip
    for figure in drawn:
        out.figure(figure(measured), figure.__name__)
    assert len(list((results / "smoke" / "11_efficiency").glob("*.svg"))) == len(drawn)
    text = (results / "smoke" / "11_efficiency" / "figure_fit.svg").read_text()
    assert "fit and gradient: 1.00 ± 0.00" in text and "floor of the hardware" in text


def test_figures_do_without_what_was_left_out(measured):
    """No ONNX, no compiler, nothing counted: fewer lines, no failure."""
    left = [r for r in measured.records if r.group != inference.GROUP and r.other != training.SPREAD]
    left = [Record(**{**r.as_dict(), "floor_s": None}) for r in left]
    small = study.Study("a CPU", left, left)
    for figure in (figures.figure_fit, figures.figure_training, figures.figure_inference, figures.figure_factors):
        figure(small)


def test_verdicts_on_section_3_5(measured):
    rows = {(r.key, r.category): r for r in study.judge(measured, [(512, 8), (64, 4)])}
    full, small = rows["EFF-params", "Lifter D=512 L=8"], rows["EFF-params", "Lifter D=64 L=4"]
    assert full.verdict == verdicts.REPRODUCED and 25 < full.ours_mean < 26 and full.ours_sd == 0
    assert small.verdict == verdicts.CONTRADICTED
    (flops,) = [r for r in rows.values() if r.key == "EFF-flops"]
    assert flops.verdict == verdicts.REPRODUCED and 0 < flops.ours_mean < 2
    times = [r for r in rows.values() if r.key == "EFF-time"]
    assert len(times) == len(step.INJECTION_SIZES["cpu"]) and {r.n_seeds for r in times} == {3}
    assert all(r.verdict == verdicts.REPRODUCED and r.ours_mean < -45 for r in times)  # half the time, here


def test_operations_that_injection_adds_are_the_additions():
    """N * 3D sums a layer and N * D at the input, beside everything that is multiplied or added without them."""
    config = LifterConfig(width=32, depth=3)
    bare = LifterConfig(width=32, depth=3, injection="none")
    X = torch.zeros(1, 17, 2)
    counted = [counting.flops(lambda c=c: Lifter(c, [study.chain(17)])(X), counting.EVERYTHING) for c in (config, bare)]
    assert counted[0] - counted[1] == 17 * 32 * (3 * 3 + 1)
    assert study.injection_flops(32, 3) == pytest.approx(100 * (counted[0] / counted[1] - 1))


def test_parameters_of_a_depth():
    """12 D^2 a layer, and its norms and offsets."""
    assert study.model_parameters(64, 5) - study.model_parameters(64, 4) == pytest.approx((12 * 64**2 + 13 * 64) / 1e6)


def test_measuring_keeps_other_devices_and_names_what_failed(tmp_path, monkeypatch):
    path = tmp_path / "b.json"
    Results(path).add(made_up(next(iter(gpu_must.contests(Setting("full"))))))
    here = suite.device_name(Setting("smoke"))

    def run(call, env, code=0, **_):
        assert call[2:7] == ["lfmlib.efficiency.command", "--profile", "smoke", "--device", "cpu"]
        good = made_up(next(iter(fit.contests(Setting("smoke")))))
        Results(path).add(Record(**good.as_dict() | {"device": here}))
        return subprocess.CompletedProcess(call, code, "", "failed: fit: bad against x")

    monkeypatch.setattr(study.provenance, "commit", lambda: {"commit": "abc", "dirty": False})
    monkeypatch.setattr(study.subprocess, "run", run)
    found = study.measure("smoke", path)
    assert [r.name for r in found.records] == ["fit"] and len(found.all) == 2 == len(json.loads(path.read_text()))
    monkeypatch.setattr(study.subprocess, "run", lambda *a, **k: run(*a, code=1, **k))
    with pytest.raises(RuntimeError, match="failed: fit: bad against x"):
        study.measure("smoke", path)


def test_only_what_this_very_code_has_measured_is_not_measured_again(tmp_path, monkeypatch):
    path, asked = tmp_path / "b.json", []
    device = suite.device_name(Setting("smoke"))
    record = made_up(next(iter(fit.contests(Setting("smoke")))))

    def run(call, env, **_):
        asked.append("--resume" in call)
        return subprocess.CompletedProcess(call, 0, "", "")

    monkeypatch.setattr(study.subprocess, "run", run)
    monkeypatch.setattr(study.provenance, "commit", lambda: {"commit": "abc", "dirty": False})
    study.measure("smoke", path)
    for commit, dirty in (("abc", False), ("abc", True), ("old", False)):
        measured = {"commit": commit, "dirty": dirty}
        Results(path).add(Record(**record.as_dict() | {"device": device, "measured": measured}))
        study.measure("smoke", path)
    assert asked == [False, True, False, False]


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """The command measures in this process."""
    for name, value in command.ALLOCATOR.items():
        monkeypatch.setenv(name, value)


def test_the_command_measures_prints_and_writes(tmp_path, capsys, results):
    out = tmp_path / "b.json"
    assert command.main(["--device", "cpu", "--profile", "smoke", "--only", "hardware", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert hardware.RATE in said and "2 records in" in said and len(json.loads(out.read_text())) == 2
    assert command.main(["--device", "cpu", "--profile", "smoke", "--only", "hardware"]) == 0
    assert (results / "smoke" / "11_efficiency" / "benchmarks.json").exists()


def test_the_command_says_what_was_wrong(tmp_path, capsys, monkeypatch):
    assert command.main(["--device", "cpu", "--only", "nothing"]) == 2
    assert "unknown group 'nothing'" in capsys.readouterr().err
    if not torch.cuda.is_available():
        assert command.main(["--device", "cuda", "--only", "fit"]) == 2
        assert "no GPU" in capsys.readouterr().err
    (tmp_path / "b.json").write_text("{}")
    assert command.main(["--device", "cpu", "--out", str(tmp_path / "b.json"), "--only", "fit"]) == 2

    def fail(_):
        raise RuntimeError("broken")

    monkeypatch.setattr(
        suite, "GROUPS", {"hardware": lambda _: [], "fit": lambda _: [Contest("fit", "a", "b", {}, fail)]}
    )
    assert command.main(["--device", "cpu", "--only", "fit", "--out", str(tmp_path / "c.json")]) == 1
    assert "failed: fit: a against b" in capsys.readouterr().err


def test_the_script_starts_a_process_that_keeps_its_memory(root, monkeypatch, tmp_path):
    out = tmp_path / "b.json"
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_")
    call = [
        sys.executable,
        root / "benchmarks" / "run.py",
        "--device",
        "cpu",
        "--profile",
        "smoke",
        "--only",
        "hardware",
    ]
    done = subprocess.run(
        [*call, "--out", out], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(root)}
    )
    assert done.returncode == 0 and "2 records in" in done.stdout and len(json.loads(out.read_text())) == 2


def test_a_line_for_every_record(measured):
    for record in measured.records:
        text = command.line(record)
        assert record.name in text and ("2.00" in text or not record.other)
    assert "512 MiB" in command.line([r for r in measured.records if r.name == inference.MEMORY][0])
