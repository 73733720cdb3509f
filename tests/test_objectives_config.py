"""Settings of the objective that are refused, and settings that are the same."""

import dataclasses

import pytest

from lfmlib.objectives import ObjectiveConfig
from lfmlib.runs import RunConfig, RunData, run_id


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"low_rank": -0.1}, "low_rank.*-0.1"),
        ({"adversary": float("nan")}, "adversary.*nan"),
        ({"depth_guard": float("inf")}, "depth_guard.*inf"),
        ({"camera": "svd"}, "camera must be one of exact, algebraic.*svd"),
        ({"read_out": "raw"}, "read_out must be one of fit, snap"),
        ({"low_rank_kind": "trace"}, "low_rank_kind.*trace"),
        ({"output": "flow"}, "output must be one of canonical, depth"),
        ({"swap_mix": 1.5}, "swap_mix.*1.5"),
        ({"r1_every": 0}, "r1_every.*0"),
        ({"subset_size": 1}, "subset_size must be a whole number of shapes, at least 2, got 1"),
        ({"low_rank_subsets": -1}, "low_rank_subsets.*-1"),
        ({"adversary": 0.1, "flow": 0.1}, "adversary=0.1 and flow=0.1.*choose one"),
        ({"reprojection": 0}, "every weight is zero"),
        ({"output": "depth", "adversary": 1}, "zero by construction"),
        ({"output": "depth", "reprojection": 0, "adversary": 1, "camera": "algebraic"}, "algebraic"),
    ],
)
def test_contradictory_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ObjectiveConfig(**settings)


def test_equal_settings_are_equal_however_they_are_written() -> None:
    assert ObjectiveConfig(reprojection=1) == ObjectiveConfig() and isinstance(
        ObjectiveConfig(low_rank=1).low_rank, float
    )


def test_runs_keep_the_ids_that_they_had_before_there_were_later_switches() -> None:
    before = ObjectiveConfig(low_rank=0.03, read_out="snap", adversary=0.03, depth_cycle=0.5)
    for objective, name in ((ObjectiveConfig(), "791e95ecf149867f"), (before, "4f7f6b5d5474ddd8")):
        config = RunConfig(("synthetic_aeroplane8",), objective=objective)
        assert run_id(config, RunData.of(config)) == name
        assert not set(ObjectiveConfig.LATER) & set(config.as_dict()["objective"])
        assert RunConfig.from_dict(config.as_dict()) == config == RunConfig.from_dict(config.as_dict(complete=True))


@pytest.mark.parametrize("settings", [{"flow": 0.1}, {"low_rank_subsets": 0.1}, {"subset_size": 5}])
def test_later_switches_enter_the_id_once_they_are_set(settings: dict) -> None:
    config = RunConfig(("synthetic_aeroplane8",), objective=ObjectiveConfig(**settings))
    assert {name: config.as_dict()["objective"][name] for name in settings} == settings
    assert RunConfig.from_dict(config.as_dict()) == config
    assert len(config.as_dict(complete=True)["objective"]) == len(dataclasses.fields(ObjectiveConfig))


def test_every_term_but_eq_1_is_off_by_default() -> None:
    assert ObjectiveConfig().terms == ("reprojection",) and ObjectiveConfig().is_eq1
    assert not ObjectiveConfig(low_rank_subsets=1).uses_new_views and ObjectiveConfig(low_rank_subsets=1).needs_rigs
    assert ObjectiveConfig(flow=1).uses_new_views and ObjectiveConfig(flow=1).lifts == 1
