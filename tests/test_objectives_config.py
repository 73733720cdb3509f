"""Settings of the objective that are refused, and settings that are the same."""

import pytest

from lfmlib.objectives import ObjectiveConfig


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
