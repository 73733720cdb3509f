"""Notebook 12's study: what it trains, its tables, and the state of a run told without labels."""

import math

import pandas
import pytest

from lfmlib import evaluation
from lfmlib.store import RunStore
from lfmlib.studies import beyond, beyond_extra, beyond_figures, beyond_table
from lfmlib.studies.beyond import COMBINED, HELD_OUT, RECIPE, TWIN

SIZE = beyond.Size(steps=200, views=50, seeds=3, evidence=5000, folds=2)


def study(flip, o3=None):
    """A study with these errors: {(category, method): per-category flip of each seed}."""
    rows = [
        {"category": category, "data": "real", "method": method, "seed": seed, "steps": 1, "seconds": 1.0,
         "device": "cpu", "o3": (o3 or flip)[category, method][seed], "so3": value, "flip": value, "mm": None}
        for (category, method), values in flip.items() for seed, value in enumerate(values)
    ]  # fmt: skip
    return beyond.Study(pandas.DataFrame(rows), pandas.DataFrame(), pandas.DataFrame(), [])


def test_no_run_of_the_recipe_sees_a_label_and_the_twin_differs_in_nothing_else():
    ours, twin = (make(("synthetic_body17",), 1, SIZE) for make in (beyond.recipe, beyond.twin))
    assert ours.objective.supervised_3d == 0 and ours.objective.terms == ("dreamt_3d",) and ours.views == "fixed"
    same = ("model", "steps", "batch", "lr", "betas", "warmup", "ema", "clip", "schedule", "seed", "test_views")
    assert all(getattr(ours, name) == getattr(twin, name) for name in same)
    assert twin.objective.terms == ("supervised_3d",)


def test_the_paper_literal_run_holds_nothing_of_ours():
    config = beyond.literal(("synthetic_body17",), 0, SIZE)
    assert config.objective.is_eq1 and config.objective.read_out == "fit" and config.recipe is None
    assert (config.model.injection, config.model.alpha, config.model.mean_shape) == ("every", 1.0, False)
    assert config.ema == 0 and config.steps * config.batch == SIZE.steps * beyond.recipe(("x",), 0, SIZE).batch


def test_one_setting_for_every_category(monkeypatch):
    monkeypatch.delenv("LFM_DATA", raising=False)
    arms = [arm for arm in beyond.arms(SIZE) if arm.method == RECIPE]
    assert {arm.category for arm in arms} == set(beyond.STAND_INS)
    plain = [{k: v for k, v in arm.config.as_dict().items() if k not in ("categories", "seed")} for arm in arms]
    assert all(settings == plain[0] for settings in plain)
    (combined, *_) = beyond.combined_arms(SIZE)
    assert combined.config.categories == beyond.STAND_INS and combined.config.recipe == arms[0].config.recipe


def test_goals_are_compared_with_the_mean_over_seeds():
    name = "chair10_keypointnet"
    found = beyond_figures.goals(study({
        (name, RECIPE): [6.0, 7.0, 7.9], (name, TWIN): [4.0, 4.0, 5.0], (name, COMBINED): [8.0, 8.0, 8.0],
        (name, "mean"): [17.0, 17.0, 17.0], ("pascal3d_bus" + HELD_OUT, RECIPE): [9.0, 12.0],
        ("pascal3d_bus" + HELD_OUT, TWIN): [9.0, 9.0], ("pascal3d_bus", RECIPE): [1.0, 1.0, 1.0],
        ("pascal3d_bus", TWIN): [1.0, 1.0, 1.0],
    })).set_index("category")  # fmt: skip
    row = found.loc[name]
    assert row["reached"] and row["must"] == 7.0 and math.isclose(row["of twin"], 20.9 / 13)
    assert not row["within 1.5 x twin"] and row["one side"] and row["below mean shape"]
    assert math.isclose(row["combined / alone"], 24 / 20.9)
    assert not found.loc["CADs held out, mean"]["reached"]  # 10.5 against 10


def test_the_readmes_table_has_goals_methods_and_floors():
    name, held = "pascal3d_bus", "pascal3d_bus" + HELD_OUT
    table = study({
        (name, RECIPE): [1.0, 2.0, 3.0], (name, TWIN): [1.0, 1.0, 1.0], (name, "flat"): [30.0, 30.0, 30.0],
        (held, RECIPE): [5.0, 7.0], ("pascal3d_sofa" + HELD_OUT, RECIPE): [9.0],
    }).table  # fmt: skip
    found = beyond_table.readme(table, beyond_figures.goals_of(table)).set_index("flip per category")
    assert found.loc["bus", ["to be reached", "recipe", "recipe, one network for all", "floor: flat"]].tolist() == [
        2.0, "2.00 ± 1.00", "", "30.00 ± 0.00",
    ]  # fmt: skip
    assert found.loc["CADs held out, mean", "recipe"] == "7.00 ± 2.00"


def test_mirrored_samples_break_the_goal_of_one_side():
    name = "face68_ict"
    flips = {(name, RECIPE): [4.0, 4.0, 4.0], (name, TWIN): [4.0] * 3, (name, "mean"): [7.0] * 3}
    o3 = {**flips, (name, RECIPE): [4.0, 4.0, 3.7]}
    row = beyond_figures.goals(study(flips, o3)).iloc[0]
    assert not row["one side"] and math.isclose(row["flip over O(3), worst seed"], 4 / 3.7 - 1)


def test_rank_correlation_within_categories():
    likelier_is_better = pandas.DataFrame({
        "category": ["a"] * 4 + ["b"] * 4, "held_out": [1.0, 2, 3, 4, 100, 200, 300, 400],
        "flip": [40.0, 30, 20, 10, 8, 6, 4, 2],
    })  # fmt: skip
    found = beyond_extra.selection(likelier_is_better)
    assert found["rank correlation"].tolist() == pytest.approx([-1, -1, -1])
    assert found["models"].tolist() == [4, 4, 8]


def test_the_handed_row_takes_the_side_that_the_annotation_says():
    as_seen, mirrored = {"so3": 5.0, "flip": 5.0}, {"so3": 60.0, "flip": 5.0}
    assert beyond._with_bit(as_seen, False) == 5.0 and beyond._with_bit(mirrored, True) == 5.0
    assert beyond._with_bit(mirrored, False) == 60.0 and math.isnan(beyond._with_bit(as_seen, True))


@pytest.mark.parametrize(
    ("depth", "state"),
    [(0.0, "flat"), (0.1, "flat"), (0.7, "ok"), (2.9, "ok"), (4.0, "exploded"), (None, "diverged"),
     (math.nan, "diverged")],
)  # fmt: skip
def test_the_state_of_a_run_is_told_from_the_depth_of_its_shapes(depth, state):
    assert evaluation.health(depth) == state


def test_the_table_of_an_empty_store_has_no_rows(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("LFM_DATA", raising=False)
    monkeypatch.setenv("LFM_RUNS", str(tmp_path))
    size = beyond_table.size_of("smoke")
    assert size.short and beyond_table.finished(size, RunStore(tmp_path)) == ([], [])
    assert beyond_table.main(["--profile", "smoke"]) == 1 and "none of these runs" in capsys.readouterr().err


def test_an_unknown_profile_is_refused(capsys):
    assert beyond_table.main(["--profile", "huge"]) == 2 and "huge" in capsys.readouterr().err


def test_without_folds_no_category_is_held_out(monkeypatch):
    monkeypatch.delenv("LFM_DATA", raising=False)
    arms = beyond_table.arms_of([RECIPE, COMBINED], SIZE, folds=False)
    assert {arm.method for arm in arms} == {RECIPE, COMBINED}
    assert not any(arm.category.endswith(HELD_OUT) for arm in arms)
