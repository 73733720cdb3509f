"""The ledger reads back what the papers print; the verdict rule does what its text says, case by case."""

import csv
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfmlib import claims, verdicts

BLIND = {"data": "real", "category": "human17_cmu"}


def test_the_ledger_is_whole():
    ledger = claims.load()
    with open(Path(claims.__file__).with_name("claims.csv"), encoding="utf-8", newline="") as file:
        keys = [row["key"] for row in csv.DictReader(file)]
    assert len(keys) == len(set(keys)) == len(ledger) >= 89
    for claim in ledger.values():
        assert claim.kind in ("claim", "context") and claim.paper and claim.where and claim.unit
        assert len(claim.spans) == (1 + claim.also.count(";") + bool(claim.also) if claim.spans else 0), claim.key


def test_the_ledger_knows_where_the_paper_contradicts_itself():
    torn = {key for key, claim in claims.load().items() if claim.contradicts_itself}
    assert {
        "T1-Ours-P3D",
        "T1-Ours-H36M",
        "T1-ViTin-P3D",
        "F4a-input-H36M",
        "F4b-Lap-P3D",
        "FIG1-vggt",
        "PE-second",
    } <= torn
    assert not torn & {"F4a-every2-P3D", "F4c-4L-P3D", "EFF-params", "EFF-time", "SIGMA"}
    assert (
        claims.get("T1-ViTin-P3D").printed == "92.3 (Table 1); 100.3 (Sec 4.3.1); 100 (Fig 4a); >150 (Table 1 caption)"
    )


def test_an_unknown_claim_names_its_neighbours():
    with pytest.raises(ValueError, match="unknown claim 'F4a-evry-P3D'; nearest: F4a-every-P3D"):
        claims.get("F4a-evry-P3D")


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("8.1", 8.1, 8.1), ("<2", -math.inf, 2), (">100", 100, math.inf), ("45+", 45, math.inf), ("50-100", 50, 100)]
    + [("40 %", 40, 40), ("1,953", 1953, 1953), ("10 to 13", 10, 13)],
)
def test_printed_numbers_are_read(text, low, high):
    assert claims.parse(text) == claims.Span(float(low), float(high))


@pytest.mark.parametrize("text", ["", "works", "38.2->5.7", "1M+", "37 to 1M+", "36.7 PA / 64.0 MPJPE", "-3"])
def test_what_is_no_number_is_not_read(text):
    assert claims.parse(text) is None


def test_a_pair_is_before_and_after():
    assert claims.get("T2-chair").pair == (38.2, 5.7) and claims.get("SIGMA").pair is None
    with pytest.raises(ValueError, match=r"'T2-chair' prints '38.2->5.7', which is no single number"):
        _ = claims.get("T2-chair").number


# --- a printed value


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        ([25.0, 25.1, 24.9], verdicts.REPRODUCED),
        ([27.4, 27.4, 27.4], verdicts.REPRODUCED),  # within 10 %
        ([27.6, 27.6, 27.6], verdicts.CONTRADICTED),
        ([22.4, 22.4, 22.4], verdicts.CONTRADICTED),
        ([28.0, 32.0, 36.0], verdicts.REPRODUCED),  # sd 4: 7 off is within 2 sd
        ([30.0, 34.0, 38.0], verdicts.CONTRADICTED),
    ],
)
def test_a_value_is_reproduced_within_two_sd_or_ten_percent(ours, verdict):
    row = verdicts.value("EFF-params", ours, data="none", category="-", unit="M parameters")
    assert row.verdict == verdict and row.n_seeds == 3 and row.ours_mean == pytest.approx(sum(ours) / 3)


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [([1, 2, 1], verdicts.REPRODUCED), ([3.1] * 3, verdicts.CONTRADICTED), ([3.1, 3.3, 2.9], verdicts.REPRODUCED)],
)
def test_a_bound_leaves_room_already(ours, verdict):
    assert verdicts.value("EFF-time", ours, data="none", category="-", unit="% training time").verdict == verdict


def test_a_value_is_testable_only_where_it_was_printed():
    here = {"data": "real", "category": "Human3.6M", "unit": "mm"}
    assert verdicts.value("S4.4-vitpose", [34.4] * 3, **here).verdict == verdicts.REPRODUCED
    for change in ({"category": "human17_cmu"}, {"unit": "% of RMS radius"}):
        row = verdicts.value("S4.4-vitpose", [34.4] * 3, **(here | change))
        assert row.verdict == verdicts.NOT_TESTABLE and row.ours_mean == pytest.approx(34.4)
        assert "printed for Human3.6M in mm" in row.note


def test_a_torn_value_is_the_papers_own_contradiction_and_ours_stands_beside():
    row = verdicts.value("T1-Ours-H36M", [30.9] * 3, data="real", category="Human3.6M", unit="mm")
    assert row.verdict == verdicts.SELF_CONTRADICTORY and row.ours_mean == pytest.approx(30.9)
    assert "38.1 (Sec 4.3.2)" in row.printed


# --- a direction


def test_a_direction_is_reproduced_when_its_size_is_near_the_printed_one():
    printed = {"versus": "F4a-input-P3D"}  # 26.1 against 100.3, 92.3, 100, >150: 72 to 83 % lower
    high = [100.0, 101.0, 99.0]
    assert (
        verdicts.direction("F4a-every2-P3D", [26.0, 27.0, 25.0], high, **printed, **BLIND).verdict
        == verdicts.REPRODUCED
    )
    assert (
        verdicts.direction("F4a-every2-P3D", [63.0, 64.0, 62.0], high, **printed, **BLIND).verdict
        == verdicts.REPRODUCED
    )
    row = verdicts.direction("F4a-every2-P3D", [70.0, 71.0, 69.0], high, **printed, **BLIND)
    assert row.verdict == verdicts.SAME_DIRECTION and row.ours_mean == pytest.approx(30) and "against" in row.printed


def test_an_effect_far_above_the_printed_one_is_only_the_same_direction():
    row = verdicts.direction("3DLFM-amass", [1.0, 1.0, 1.0], [2.0, 2.0, 2.01], **BLIND)  # printed: 0.6 % lower
    assert row.verdict == verdicts.SAME_DIRECTION


def test_absent_and_reversed_are_told_apart():
    absent = verdicts.direction("3D-procrustes", [10.0, 12.0, 11.0], [11.0, 11.0, 11.5], **BLIND)
    assert absent.verdict == verdicts.CONTRADICTED and absent.note.startswith("absent: 95 % interval")
    reverse = verdicts.direction("3D-procrustes", [12.0, 13.0, 14.0], [10.0, 11.1, 12.0], **BLIND)
    assert reverse.verdict == verdicts.CONTRADICTED and reverse.note.startswith("reversed")


def test_pairing_by_seed_counts():
    low, high = [10.0, 20.0, 30.0], [11.0, 21.1, 31.0]
    assert verdicts.direction("3D-procrustes", low, high, **BLIND).verdict == verdicts.REPRODUCED
    assert verdicts.direction("3D-procrustes", low, high[::-1], **BLIND).verdict == verdicts.CONTRADICTED


def test_a_direction_that_the_paper_prints_both_ways():
    row = verdicts.direction("F4a-first-last-H36M", [60.0] * 3, [70.0] * 3, versus="F4a-input-H36M", **BLIND)
    assert row.verdict == verdicts.SELF_CONTRADICTORY
    with pytest.raises(ValueError, match=r"'F4a-input-P3D': the paper prints the opposite"):
        verdicts.direction("F4a-input-P3D", [1.0] * 3, [2.0] * 3, versus="F4a-every-P3D", **BLIND)


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=12))
def test_exchanging_the_settings_turns_the_verdict_round(differences):
    zero = [100.0] * len(differences)
    there = verdicts.direction("3D-procrustes", zero, [100 + d for d in differences], **BLIND)
    back = verdicts.direction("3D-procrustes", [100 + d for d in differences], zero, **BLIND)
    assert there.ours_mean == pytest.approx(-back.ours_mean)
    assert (there.verdict == verdicts.REPRODUCED) == back.note.startswith("reversed")


def test_a_trend_is_the_direction_of_each_seeds_line():
    x, falling = [1, 2, 4], [[9.0, 8.0, 6.0], [9.5, 8.5, 6.5], [9.1, 8.0, 6.1]]
    row = verdicts.trend("SCALE-cat", x, falling, falls=True, **BLIND)
    assert row.verdict == verdicts.REPRODUCED and row.ours_mean == pytest.approx(3, abs=0.05)
    assert row.ours().startswith("falls by 2.993")
    assert verdicts.trend("SCALE-cat", x, falling, falls=False, **BLIND).note.startswith("reversed")
    with pytest.raises(ValueError, match="2 errors for 3 values"):
        verdicts.trend("SCALE-cat", x, [[1.0, 2.0]] * 3, falls=True, **BLIND)
    with pytest.raises(ValueError, match="increasing"):
        verdicts.trend("SCALE-cat", [1, 1, 2], falling, falls=True, **BLIND)


@pytest.mark.parametrize(
    ("holds", "verdict"), [(True, verdicts.REPRODUCED), (False, verdicts.CONTRADICTED), (None, verdicts.NOT_TESTABLE)]
)
def test_a_statement_holds_or_not(holds, verdict):
    row = verdicts.statement("PROP1", holds, evidence="max difference 1e-7")
    assert row.verdict == verdict and row.ours() == "max difference 1e-7" and row.ours_mean is None


def test_three_finite_paired_seeds_are_needed():
    with pytest.raises(ValueError, match="'EFF-params': 2 seeds, at least 3"):
        verdicts.value("EFF-params", [25.0, 25.0], data="none", category="-", unit="M parameters")
    with pytest.raises(ValueError, match="2 seeds"):
        verdicts.direction("T2-chair", [1.0, 1.0], [2.0, 2.0], **BLIND)
    with pytest.raises(ValueError, match="3 runs against 4"):
        verdicts.direction("T2-chair", [1.0] * 3, [2.0] * 4, **BLIND)
    with pytest.raises(ValueError, match="not finite"):
        verdicts.direction("T2-chair", [1.0, math.nan, 1.0], [2.0] * 3, **BLIND)
    with pytest.raises(ValueError, match="no single number: use `direction`"):
        verdicts.value("T2-chair", [1.0] * 3, data="real", category="chair", unit="mm")
    with pytest.raises(ValueError, match="data tag 'fake'"):
        verdicts.statement("PROP1", True, evidence="", data="fake")


def test_students_t():
    known = {1: 12.7062, 2: 4.3027, 4: 2.7764, 9: 2.2622, 30: 2.0423, 31: 2.0395, 60: 2.0003, 1000: 1.9623}
    for degrees, quantile in known.items():
        assert verdicts.t95(degrees) == pytest.approx(quantile, abs=1e-4)
    assert all(verdicts.t95(d) > verdicts.t95(d + 1) for d in range(1, 100))
    with pytest.raises(ValueError, match="at least 1 degree"):
        verdicts.t95(0)
