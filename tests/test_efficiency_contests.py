"""Every contest runs, at its smallest size; contestants do the same work; processes end; a GPU's code runs on a CPU."""

import multiprocessing
import os
from contextlib import ExitStack
from dataclasses import asdict, replace

import jaxtyping
import pytest
import torch

from lfmlib import profiles
from lfmlib.data.batches import ViewSampler
from lfmlib.data.views import CameraConfig
from lfmlib.efficiency import counting, data, fit, gpu_must, inference, inputs, step, subprocesses, suite, training
from lfmlib.efficiency import workers as processes
from lfmlib.efficiency.eager import EagerArm
from lfmlib.efficiency.hardware import Hardware
from lfmlib.efficiency.records import COUNTS
from lfmlib.efficiency.setting import Setting
from lfmlib.efficiency.timing import Effort
from lfmlib.geometry import random_rotations
from lfmlib.steps import Steps

TINY = Setting("smoke", "cpu", Effort(1, 0.0, 0.0))


@pytest.fixture
def unchecked():
    """No type checks at run time: torch's compiler gives them symbols in place of numbers."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("group", [g for g in suite.GROUPS if g not in ("import", "end_to_end")])
def test_every_contest_runs(group, unchecked):
    apart = {training.SPREAD, training.STACKS, inference.MEMORY}  # processes: tested by themselves
    contests = [c for c in suite.GROUPS[group](TINY) if not {c.name, c.other} & apart]
    assert contests
    for contest in contests:
        try:
            made = suite.run(contest, TINY, Hardware({"float32": 1e9, "bf16": 1e9}, 1e9), "here")
        except ImportError as missing:  # packages that users may leave out
            assert "onnx" in str(missing)
            continue
        assert made.ours_s > 0 and (made.other_s is None) == (contest.other == "")
        assert set(made.counts) <= set(COUNTS) and made.counts.get("work", 1) >= 1
        assert made.share is None or made.share > 0


def test_arms_in_processes_take_their_turns_and_the_processes_end():
    config = asdict(inputs.run_config(16, 1, 4, 5))
    with ExitStack() as keep:
        turn = processes.turns(config, 2, 1, keep, stacked=True)
        assert len(multiprocessing.active_children()) == 1 and turn() > 0
    assert not multiprocessing.active_children()
    assert processes.shares(8, 3) == [3, 3, 2] and processes.shares(1, 4) == [1]


def test_memory_is_measured_in_a_process_of_its_own():
    (contest,) = [c for c in inference.contests(TINY) if c.name == inference.MEMORY]
    made = suite.run(contest, TINY, Hardware(), "here")
    assert 0 <= made.counts["peak_bytes"] < 2**30 and made.counts["work"] == contest.sizes["samples"]


def test_the_peak_counts_what_was_held_and_given_back():
    before = subprocesses.restart_peak()
    block = torch.ones(2**26)  # 256 MiB
    del block
    peak = subprocesses.peak_bytes()
    assert peak - before > 200 * 2**20
    restarted = subprocesses.restart_peak()
    assert subprocesses.peak_bytes() - restarted < 200 * 2**20 or not os.access("/proc/self/clear_refs", os.W_OK)


def test_importing_is_timed_in_processes():
    turn, other = subprocesses._import("import json", False, None)
    assert 0 < turn() < 5 and callable(other)


def test_the_whole_is_run_with_results_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("LFM_ROOT", str(tmp_path))
    script = tmp_path / "run_all.sh"
    script.write_text('#!/bin/sh\n[ "$*" = "--profile smoke" ] && [ ! -e "$LFM_RUNS" ] && echo "$LFM_RESULTS" > seen\n')
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert subprocesses._run_all() > 0
    assert not (tmp_path / "seen").read_text().startswith(os.environ["LFM_RESULTS"])
    script.write_text("#!/bin/sh\necho no disk >&2; exit 3\n")
    with pytest.raises(RuntimeError, match="run_all.sh --profile smoke failed:\nno disk"):
        subprocesses._run_all()


def test_a_worker_that_dies_is_reported():
    config = asdict(inputs.run_config(16, 1, 4, 5)) | {"precision": "none such"}
    with ExitStack() as keep, pytest.raises(RuntimeError, match="ended before its time"):
        processes.turns(config, 1, 1, keep)


def test_the_eager_arm_does_the_step_that_the_stack_does():
    config = replace(inputs.run_config(16, 2, 8, 9), precision="float64")
    with ExitStack() as keep:
        eager = EagerArm(inputs.arms(config, 1, "cpu", keep)[0])
        (arm,) = stacked = inputs.arms(config, 1, "cpu", keep)
        steps = Steps(stacked, [{}], "cpu")
        for _ in range(3):
            eager.step()
            steps.one()
    for ours, theirs in zip(arm.lifter.parameters(), eager.arm.lifter.parameters(), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def test_a_step_may_be_taken_more_often_than_the_run_has_steps():
    config = replace(inputs.run_config(16, 1, 4, 5), steps=2)
    with ExitStack() as keep:
        arms = inputs.arms(config, 2, "cpu", keep)
        one = training.endless(Steps(arms, [{}] * 2, "cpu"))
        before = [p.clone() for p in arms[0].lifter.parameters()]
        for _ in range(5):
            one()
        assert any(not torch.equal(a, b) for a, b in zip(before, arms[0].lifter.parameters(), strict=True))


def test_the_grid_has_all_strategies_and_runs_as_many_steps_as_its_notebook(root):
    config = inputs.run_config(16, 2, 4, 5)
    with ExitStack() as keep:
        arms = inputs.arms(config, 15, "cpu", keep, strategies=True)
    strategies = [arm.config.model.injection for arm in arms]
    assert {strategies.count(s) for s in set(strategies)} == {3} and len(set(strategies)) == 5
    full = profiles.read(root / "notebooks" / "profiles.yml")["full"]["05"]
    assert gpu_must.GRID_STEPS == full["steps"]
    (grid,) = [c for c in gpu_must.contests(Setting("full")) if c.name == gpu_must.GRID]
    assert grid.sizes["arms"] == 15 and (grid.sizes["width"], grid.sizes["depth"]) == (full["width"], full["depth"])
    assert gpu_must.minutes_of_grid(0.03) == pytest.approx(20)


def test_the_opponents_answer_the_same_question(generator):
    """Where the fit is perfect, all cameras of the contest are the true one."""
    Y = torch.randn(50, 17, 3, generator=generator, dtype=torch.float64)
    R = random_rotations(50, generator, torch.float64)
    X = 2 * Y @ R[:, :2].mT + 3
    for name in (fit.FIT, fit.GRADIENT):
        assert set(fit.CALLS[name]) == {"ours", fit.SVD, fit.ROMA, fit.TWIN}
    for other in (fit.SVD, fit.TWIN, "ours"):
        s, rows, t = fit.CALLS[fit.FIT][other](X, Y)
        assert torch.allclose(s, torch.full_like(s, 2)) and torch.allclose(t, torch.full_like(t, 3))
        assert torch.allclose(rows[:, :2], R[:, :2])
    assert float(fit.pinv_svd_loss(X, Y)) < 1e-18 and float(fit.residual(X, Y)) < 1e-18


def test_the_twin_is_asked_for_in_the_environment():
    asked = []
    call = fit._twin(lambda X, Y: asked.append(os.environ.get("LFM_FIT")))
    call(torch.zeros(1), torch.zeros(1))
    assert asked == ["torch"] and "LFM_FIT" not in os.environ


def test_fewest_bytes_of_the_fit():
    assert fit.fewest_bytes(10, 17, 4, False) == 10 * 4 * (17 * 5 + 12)
    assert fit.fewest_bytes(10, 17, 4, True) == 10 * 4 * (17 * 10 + 1)


def test_operations_of_a_training_step_are_counted_in_full():
    """12 L D^2 weights, twice forward and twice that backward per token; attention and ends are the rest."""
    config = inputs.run_config(64, 4, 64, 17)
    counts = training.counts(config, 3)
    products = 3 * 64 * 17 * 6 * 12 * 4 * 64**2
    assert products < counts["flops"] < 1.15 * products and counts["work"] == 3
    assert counts["bytes"] == 3 * 24 * counts["parameters"]
    sizes = {"arms": 3, "width": 64, "depth": 4}
    assert gpu_must.products_flops(sizes) == products


def test_networks_of_the_step_contest():
    size = step.Size(32, 2, 4)
    lifter, bare, encoder = (step.network(name, size) for name in (step.NAME, step.BARE, step.ENCODER))
    assert counting.parameters(lifter) == counting.parameters(bare)  # an encoding from a formula has none
    assert bare.config.injection == "none" and lifter.config.injection == "every"
    assert abs(counting.parameters(encoder) / counting.parameters(lifter) - 1) < 0.02
    X = torch.zeros(3, step.KEYPOINTS, 2)
    assert encoder(X).shape == (3, step.KEYPOINTS, 3)
    for name in (step.NAME, step.ENCODER, step.SIMPLE, step.CANONICAL):
        loss = step.loss_of(name, step.network(name, size))(X, torch.ones(3, step.KEYPOINTS, 3))
        assert loss.ndim == 0 and loss.isfinite()


def test_draws_and_steps_come_to_the_same_buckets():
    sampler, seen = ViewSampler(inputs.data_of(5).train, CameraConfig()), ([], [])
    first, second = (data._several(sampler, lambda s=s: s.append(sampler.turn)) for s in seen)
    for call in (first, second, second, first):
        call()
    assert seen[0] == seen[1] == list(range(2 * data.STEPS))
