"""Runs trained together end as they would alone; a diverged one hurts nobody; stacks are planned, split and resumed."""

import dataclasses
import json
import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lfmlib import stacks, training
from lfmlib.arms import Arm
from lfmlib.model import LifterConfig
from lfmlib.objectives import ObjectiveConfig
from lfmlib.runs import RunConfig, RunData, run_id
from lfmlib.steps import Steps
from lfmlib.store import RunStore, read_tensors
from lfmlib.training import train, train_stack

MODEL = LifterConfig(width=16, depth=2, heads=2, ff=2)
ADVERSARY = ObjectiveConfig(adversary=0.1, view_consistency=0.1, low_rank=0.01, read_out="snap")


def config(**changes):
    small = dict(
        categories=("synthetic_chair10",), model=MODEL, count=40, steps=50, batch=8, test_views=20, evaluations=2,
        precision="float64",
    )  # fmt: skip
    return RunConfig(**small | changes)


def model(**changes):
    return dataclasses.replace(MODEL, **changes)


GRIDS = {
    "eq1": [
        config(seed=1),
        config(seed=2, lr=3e-3, clip=0.1),
        config(model=model(alpha=10.0, encoding="vit", injection="input"), schedule="constant"),
        config(missing=0.2, ema=0.9),
        config(categories=("synthetic_sofa10",), views="fixed"),
        config(views="fixed", seed=5, warmup=5, weight_decay=0.1),
        config(views="fixed", seed=6, betas=(0.5, 0.9)),
        config(model=model(injection="none"), objective=ObjectiveConfig(reprojection=2.0)),
        config(categories=("synthetic_fourleg_chair10",), seed=3),
    ],
    "several objectives": [
        config(objective=ObjectiveConfig(low_rank=0.03, adversary=0.1), steps=20),
        config(objective=ObjectiveConfig(supervised_3d=1.0), steps=20),
        config(objective=ObjectiveConfig(camera="algebraic"), steps=20),
        config(views="fixed", objective=ObjectiveConfig(adversary=0.1), steps=20),
        config(objective=ObjectiveConfig(flow=0.01, low_rank_subsets=0.03), steps=20),
    ],
    "new views lifted": [config(objective=ADVERSARY, seed=seed, steps=20) for seed in (0, 1)],
    "category mixes": [
        config(categories=("synthetic_chair10", "synthetic_hand21"), seed=seed, temperature=t, waste=w, steps=20)
        for seed, t, w in ((0, None, 0.15), (1, 2.0, 1.0))
    ],
    "learned": [config(model=model(encoding="learned", alpha=a), steps=20) for a in (1.0, 10.0)],
}


pytestmark = pytest.mark.usefixtures("no_git")


def weights(store, record):
    return read_tensors(store.folder(record["id"]) / "model.safetensors")[0]


def close(one, two):
    return all(torch.allclose(one[name], two[name], rtol=1e-6, atol=1e-7) for name in one)


@pytest.mark.parametrize("grid", GRIDS)
def test_each_arm_ends_as_it_does_alone(tmp_path, monkeypatch, grid):
    monkeypatch.setattr(stacks, "arms_that_fit", lambda *_: 16)
    together, alone = RunStore(tmp_path / "together"), RunStore(tmp_path / "alone")
    records = train_stack(GRIDS[grid], together)
    assert {r["provenance"]["stacked"] for r in records} == {len(GRIDS[grid])}
    for run, record in zip(GRIDS[grid], records, strict=True):
        own = train(run, alone)
        assert record["id"] == own["id"] and record["status"] == own["status"] == "done"
        assert close(weights(together, record), weights(alone, own))
        for a, b in zip(together.curve(record["id"]), alone.curve(own["id"]), strict=True):
            assert a.keys() == b.keys() and math.isclose(a["loss"], b["loss"], rel_tol=1e-6)
            flips = (p["test"]["snap"][-1]["flip"] for p in (a, b))
            assert next(flips) == pytest.approx(next(flips), rel=1e-4)


@pytest.mark.parametrize("objective", [ObjectiveConfig(), ADVERSARY], ids=["eq1", "adversary"])
def test_a_diverged_arm_is_named_and_the_others_go_on(tmp_path, monkeypatch, caplog, objective):
    monkeypatch.setattr(stacks, "arms_that_fit", lambda *_: 16)
    runs = [config(seed=s, lr=lr, clip=0, steps=12, evaluations=4, objective=objective)
            for s, lr in ((0, 1e-3), (1, 1e30), (2, 1e-3))]  # fmt: skip
    told = []
    store = RunStore(tmp_path / "together")
    records = train_stack(runs, store, progress=lambda run, point: told.append((run.seed, point["loss"])))
    assert [r["status"] for r in records] == ["done", "diverged", "done"]
    assert records[1]["final"] is None and f"run {records[1]['id']} diverged" in caplog.text
    assert [loss for seed, loss in told if seed == 1][-1] is None
    assert sum(seed == 0 for seed, _ in told) == 4
    json.dumps(store.curve(records[1]["id"]), allow_nan=False)
    for run, record in ((runs[0], records[0]), (runs[2], records[2])):
        alone = RunStore(tmp_path / "alone")
        assert close(weights(store, record), weights(alone, train(run, alone)))


def test_a_stack_that_does_not_fit_is_halved_until_it_does(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(stacks, "arms_that_fit", lambda *_: 16)
    one, sizes = Steps.one, []

    def small_memory(self):
        sizes.append(len(self.arms))
        if len(self.arms) > 2:
            raise torch.OutOfMemoryError("out of memory")
        one(self)

    monkeypatch.setattr(Steps, "one", small_memory)
    records = train_stack([config(seed=s, steps=2, evaluations=1) for s in range(5)], RunStore(tmp_path))
    assert [r["status"] for r in records] == ["done"] * 5 and max(sizes) == 5
    assert [r["provenance"]["stacked"] for r in records] == [2, 2, 1, 2, 2] and "halving" in caplog.text
    monkeypatch.setattr(Steps, "one", lambda self: (_ for _ in ()).throw(torch.OutOfMemoryError("out of memory")))
    with pytest.raises(torch.OutOfMemoryError):  # one arm that does not fit cannot be helped
        train(config(seed=9), RunStore(tmp_path))


def test_a_stack_that_was_cut_goes_on_with_other_company(tmp_path, monkeypatch):
    """Checkpoints belong to runs: those of one stack are taken up in whatever stacks are planned next."""
    weighted = [ObjectiveConfig(low_rank=0.01, adversary=0.1 * s) for s in range(4)]
    runs = [config(seed=s, steps=12, evaluations=4, ema=0.3 * s, objective=o) for s, o in enumerate(weighted)]
    whole, cut = RunStore(tmp_path / "whole"), RunStore(tmp_path / "cut")
    expected = [train(run, whole) for run in runs]

    class Stopped(Exception):
        pass

    def stop(_, point):
        if point["step"] >= 6:
            raise Stopped

    monkeypatch.setattr(stacks, "arms_that_fit", lambda *_: 16)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(training, "CHECKPOINT_SECONDS", -1.0)
        train_stack(runs[:1], cut, progress=lambda *_: (_ for _ in ()).throw(Stopped))  # run 0 stops earlier
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(training, "CHECKPOINT_SECONDS", -1.0)
        train_stack(runs[1:], cut, progress=stop)
    started = []
    one = Steps.one
    monkeypatch.setattr(Steps, "one", lambda self: (started.append((len(self.arms), self.arms[0].step)), one(self))[1])
    for record, alone in zip(train_stack(runs, cut), expected, strict=True):
        assert close(weights(cut, record), weights(whole, alone))
        assert cut.curve(record["id"])[-1]["loss"] == pytest.approx(whole.curve(record["id"])[-1]["loss"], rel=1e-6)
    assert {(arms, step) for arms, step in started if step in (2, 5)} == {(1, 2), (1, 5), (3, 5)}  # where each was cut


class Asks(TorchDispatchMode):
    """Notes operations that on a GPU would make the program wait, or that a CUDA graph could not record."""

    WAITING = ("_local_scalar_dense", "nonzero", "unique", "lift_fresh", "equal", "repeat_interleave", "masked_select")

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name.removeprefix("aten::")
        if name.startswith(self.WAITING) or (name == "index" and any(_is_mask(i) for i in args[1])):
            self.found.append(name)
        return function(*args, **kwargs or {})


def _is_mask(index):
    return index is not None and index.dtype == torch.bool


@pytest.mark.parametrize(
    "changes",
    [{}, {"views": "fixed", "missing": 0.2}, {"categories": ("synthetic_chair10", "synthetic_hand21"), "waste": 1.0},
     {"model": model(injection="first_last", encoding="learned")}],
    ids=["one category", "fixed views, missing", "two categories", "learned"],
)  # fmt: skip
def test_a_step_of_eq1_asks_the_device_for_nothing(tmp_path, changes):
    """What a CUDA graph records must not depend on values: checked on the CPU, where the same code runs."""
    arms = [Arm(run, RunData.of(run), RunStore(tmp_path), "cpu") for run in (config(seed=s, **changes) for s in (0, 1))]
    steps = Steps(arms, [{}, {}], "cpu")
    steps.optimizer = torch.optim.SGD(
        steps.rows, lr=1e-3
    )  # the fused optimiser asks on a CPU, not where it is capturable
    steps.body(0)
    with Asks() as asks:
        steps.body(1)
    assert asks.found == []


def plan(runs, **options):
    named = {run_id(run, RunData.of(run)): run for run in runs}
    result = stacks.plan(named, **options)
    assert sorted(run for stack in result for run in stack) == sorted(named)  # each once
    return [[named[run] for run in stack] for stack in result]


def test_only_what_has_one_shape_is_stacked():
    same = [config(seed=s, lr=lr, model=model(alpha=a)) for s, lr, a in ((0, 1e-3, 1.0), (1, 1e-2, 10.0))]
    others = [
        config(steps=51), config(batch=9), config(evaluations=3), config(precision="float32"),
        config(model=model(width=8)),
        config(model=model(depth=3)), config(model=model(ff=3)), config(model=model(heads=4)),
        config(model=model(encoding="learned")), config(objective=ADVERSARY),
        config(categories=("synthetic_chair10", "synthetic_sofa10")),
    ]  # fmt: skip
    found = plan([*same, *others], most=16)
    assert len(found) == 1 + len(others) and same in found


def test_rigs_of_very_different_size_are_not_padded_to_one_another():
    runs = [config(categories=(name,)) for name in ("synthetic_chair10", "synthetic_face68", "synthetic_sofa10")]
    sizes = sorted(sorted(run.categories[0] for run in stack) for stack in plan(runs, most=16))
    assert sizes == [["synthetic_chair10", "synthetic_sofa10"], ["synthetic_face68"]]


def test_stacks_keep_to_the_limit_and_large_arms_stand_alone():
    runs = [config(seed=s) for s in range(10)]
    assert [len(stack) for stack in plan(runs, most=4)] == [4, 4, 2]
    wide = [config(seed=s, model=model(width=512, depth=16), batch=64) for s in range(3)]
    assert [len(stack) for stack in plan(wide)] == [1, 1, 1]
    assert all(len(stack) > 1 for stack in plan(runs))


def test_memory_of_an_arm_grows_with_what_it_holds():
    least = stacks.bytes_of(config(), 10)
    for larger in (
        config(batch=16),
        config(model=model(depth=4)),
        config(model=model(width=32)),
        config(objective=ADVERSARY),
    ):
        assert stacks.bytes_of(larger, 10) > least
    assert stacks.bytes_of(config(), 20) > least
