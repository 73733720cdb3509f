"""Records are written as they come, merged, resumed; what fails is named and loses nothing; floors and counts."""

import json
import math
from dataclasses import fields

import pytest
import torch
from torch import nn

from lfmlib.efficiency import counting, hardware, suite, targets
from lfmlib.efficiency.hardware import Hardware
from lfmlib.efficiency.records import Contest, Record, Results, key_of
from lfmlib.efficiency.setting import Setting
from lfmlib.efficiency.timing import Effort

ASKED = ("name", "ours_s", "other", "other_s", "ratio", "runs", "device", "sizes")
SETTING = Setting("smoke", "cpu", Effort(3, 1.0, 0.0))


def contest(name="a", other="b", group="g", seconds=(1.0, 4.0), sizes=None, **more):
    ours, theirs = (lambda s=s: s for s in seconds)
    return Contest(group, name, other, sizes or {"n": 3}, lambda _: (ours, theirs if other else None), **more)


def record(**changes):
    made = suite.run(contest(), SETTING, Hardware(), "here")
    return Record(**{f.name: getattr(made, f.name) for f in fields(Record)} | changes)


@pytest.fixture
def groups(monkeypatch):
    """Replaces the groups of the suite."""

    def set_groups(**made):
        monkeypatch.setattr(suite, "GROUPS", {name: lambda _, c=c: iter(c) for name, c in made.items()})

    return set_groups


def test_a_record_has_what_was_asked_for_and_ratio_is_ours_over_other():
    made = suite.run(contest(), SETTING, Hardware(), "here")
    content = json.loads(json.dumps(made.as_dict(), allow_nan=False))
    assert set(ASKED) <= set(content)
    assert (made.ours_s, made.other_s, made.ratio, made.runs) == (1.0, 4.0, 0.25, [0.25] * 3)
    assert made.torch == torch.__version__ and made.device == "here" and made.measured["date"]
    alone = suite.run(contest(other=""), SETTING, Hardware(), "here")
    assert (alone.other_s, alone.ratio, alone.runs) == (None, None, [1.0] * 3)


def test_a_contest_built_afresh_gives_one_run_for_each_time():
    built = []

    def make(_):
        built.append(float(len(built) + 1))
        return lambda s=built[-1]: s, lambda: 4.0

    made = suite.run(Contest("g", "a", "b", {}, make, afresh=4), SETTING, Hardware(), "here")
    assert made.runs == [0.25, 0.5, 0.75, 1.0] and made.ratio == 0.625


def test_records_of_one_thing_replace_each_other_and_others_stay(tmp_path):
    path = tmp_path / "folder" / "b.json"
    results = Results(path)
    for made in (record(), record(device="there"), record(sizes={"n": 4}), record(ours_s=9.0)):
        results.add(made)
        assert [r.key for r in Results(path).records] == [r.key for r in results.records]  # after each
    assert [r.ours_s for r in Results(path).records] == [9.0, 1.0, 1.0]
    results.drop("g", "here", {record().key})
    assert [(r.device, r.sizes) for r in Results(path).records] == [("here", {"n": 3}), ("there", {"n": 3})]
    assert isinstance(json.loads(path.read_text()), list)


@pytest.mark.parametrize("content", ["{}", "[3]", '[{"name": "a"}]', "[", '"x"'])
def test_a_file_that_holds_no_records_is_refused(tmp_path, content):
    path = tmp_path / "b.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="b.json"):
        Results(path)
    assert path.read_text() == content


def test_a_cut_run_goes_on_where_it_was(tmp_path, groups):
    path, made = tmp_path / "b.json", []

    def counted(name, error=None):
        def make(_):
            made.append(name)
            if error:
                raise error
            return lambda: 1.0, lambda: 2.0

        return Contest("g", name, "other", {}, make)

    groups(hardware=[], g=[counted("one"), counted("two", KeyboardInterrupt()), counted("three")])
    with pytest.raises(KeyboardInterrupt):
        suite.measure(["hardware", "g"], SETTING, Results(path))
    assert [r.name for r in Results(path).records] == ["one"]
    groups(hardware=[], g=[counted("one"), counted("two"), counted("three")])
    told = []
    assert suite.measure(["hardware", "g"], SETTING, Results(path), True, lambda r: told.append(r.name)) == []
    assert told == ["two", "three"] and made == ["one", "two", "two", "three"]
    assert [r.name for r in Results(path).records] == ["one", "two", "three"]
    suite.measure(["hardware", "g"], SETTING, Results(path))  # without resuming all is measured again
    assert made[-3:] == ["one", "two", "three"] and len(Results(path).records) == 3


def test_a_contest_that_fails_is_named_and_the_others_go_on(groups, caplog):
    def fail(error):
        def make(_):
            raise error

        return make

    errors = (RuntimeError("broken\nin two"), ImportError("no roma"), torch.OutOfMemoryError("too large"))
    groups(g=[Contest("g", f"c{i}", "x", {"n": i}, fail(e)) for i, e in enumerate(errors)] + [contest("last")])
    results = Results()
    failures = suite.measure(["g"], SETTING, results)
    assert failures == ["g: c0 against x (n=0 float32): broken in two"]
    assert [r.name for r in results.records] == ["last"]
    assert "c1 against x (n=1 float32) is left out: no roma" in caplog.text and "too large" in caplog.text


def test_what_a_group_no_longer_measures_is_dropped_and_other_groups_stay(groups):
    results = Results()
    groups(g=[contest("old")], h=[contest("kept", group="h")])
    suite.measure(["g", "h"], SETTING, results)
    groups(g=[contest("new")])
    suite.measure(["g"], SETTING, results)
    assert {r.name for r in results.records} == {"new", "kept"}


def test_a_clock_that_stands_still_is_no_record():
    with pytest.raises(RuntimeError, match="too coarse"):
        suite.run(contest(seconds=(0.0, 1.0)), SETTING, Hardware(), "here")


def test_groups_by_name_or_beginning():
    assert suite.groups(["training"]) == ["hardware", *(g for g in suite.GROUPS if g.startswith("training"))]
    assert suite.groups(["end_to_end", "fit"]) == ["hardware", "fit", "end_to_end"]
    assert set(suite.GROUPS) - set(suite.groups()) == set(suite.ON_REQUEST)
    with pytest.raises(ValueError, match="'fits'.*hardware, injection, fit"):
        suite.groups(["fits"])


def test_settings():
    assert Setting("smoke").threads == 1 and Setting("cpu").threads >= 1
    for wrong, what in ((("medium",), "unknown profile 'medium'"), (("cpu", "tpu"), "unknown device 'tpu'")):
        with pytest.raises(ValueError, match=what):
            Setting(*wrong)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no GPU: use --device cpu"):
            Setting("cpu", "cuda")


def test_the_floor_is_the_larger_time_and_comes_from_the_fastest_turn():
    limits = Hardware()
    assert limits.floor({"flops": 1e9}, "float32") == (None, "")
    rate = record(group="hardware", name="matrix rate", runs=[2.0, 1.0, 3.0], counts={"flops": 1e9})
    limits.learn(rate)
    limits.learn(record(group="hardware", name="copy bandwidth", runs=[4.0], counts={"bytes": 1e9}))
    assert limits.rates == {"float32": 1e9} and limits.bandwidth == 2.5e8
    assert limits.floor({"flops": 3e9, "bytes": 1e8}, "float32") == (3.0, "matrix rate")
    assert limits.floor({"flops": 3e7, "bytes": 1e8}, "float32") == (0.4, "copy bandwidth")
    assert limits.floor({"flops": 3e9, "bytes": 1e8}, "float64") == (0.4, "copy bandwidth")  # no such rate
    assert limits.floor({"work": 3}, "float32") == (None, "")
    made = suite.run(contest(counts=lambda: {"flops": 5e8}), SETTING, limits, "here")
    assert made.floor_s == 0.5 and made.floor_by == "matrix rate" and made.share == 0.5


def test_the_hardware_is_measured(caplog):
    results = Results()
    assert suite.measure(["hardware"], SETTING, results) == []
    assert [r.name for r in results.records] == [hardware.RATE, hardware.BANDWIDTH]
    assert all(math.isfinite(v) and v > 0 for r in results.records for v in r.runs)


def test_counting_operations_and_parameters():
    linear = nn.Linear(5, 7)
    X = torch.zeros(3, 5)
    assert counting.flops(lambda: linear(X)) == 2 * 3 * 5 * 7
    assert counting.training_flops(linear, X) == 2 * 2 * 3 * 5 * 7  # the input has no derivative
    assert linear.weight.grad is None
    assert counting.parameters(linear) == 5 * 7 + 7
    assert counting.parameters(linear.requires_grad_(False)) == 0
    assert counting.flops(lambda: X + 1) == 0
    assert counting.flops(lambda: X.clone().add_(1), counting.EVERYTHING) == 15


def test_attention_is_counted_as_its_two_products():
    q = torch.randn(2, 4, 9, 16, generator=torch.Generator().manual_seed(0))
    attention = lambda: nn.functional.scaled_dot_product_attention(q, q, q)  # noqa: E731
    assert counting.flops(attention) == 2 * (2 * 2 * 4 * 9 * 9 * 16)


def test_targets_are_met_or_not():
    fast = record(group="fit", name="fit and gradient", other="pinv + SVD", sizes={"batch": 65_536, "keypoints": 17},
                  ratio=0.05)  # fmt: skip
    slow = record(**{f.name: getattr(fast, f.name) for f in fields(Record)} | {"ratio": 0.5, "dtype": "float64"})
    memory = record(group="inference", name="memory of a lift", other="", ratio=None, counts={"peak_bytes": 2**30},
                    sizes={"samples": 10**6, "width": 64, "depth": 4, "keypoints": 17})  # fmt: skip
    rows = targets.reached([fast, slow, memory, record()])
    assert [(row.goal, row.measured, row.met) for row in rows] == [
        (">= 10 x", "20 x", True), (">= 10 x", "2 x", False), ("<= 1024 MiB", "1024 MiB", True),
    ]  # fmt: skip


@pytest.mark.parametrize("profile", ["smoke", "cpu", "full"])
def test_no_two_contests_of_a_group_are_the_same(profile):
    for group in suite.GROUPS:
        keys = [key_of(made, "here") for made in suite.GROUPS[group](Setting(profile))]
        assert keys and len(keys) == len(set(keys)), group
