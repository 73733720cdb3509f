"""Table 2's study: which runs it asks for, that its arms are what their names say, and what it judges."""

from dataclasses import replace

import pandas
import pytest

from lfmlib import claims, rigs, verdicts
from lfmlib.report import RESULT_COLUMNS
from lfmlib.runs import RunData, run_id
from lfmlib.store import RunStore
from lfmlib.studies import beyond, literal, table2, table2_figures, table2_tables, table2_verdicts
from lfmlib.studies.table2 import ALONE, EQUAL_SAMPLES, EQUAL_STEPS, EVERYTHING, SCALE, Size

TINY = Size(steps=2, width=16, depth=1, views=20, profile="smoke", combined=2)
NAMES = ("synthetic_aeroplane8", "synthetic_car12")
OWN = ("T2-", "SCALE-cat", "CAT-", "EPOCH-")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The study of two categories; "every category there is" are three."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LFM_DATA", raising=False)
        patch.setenv("LFM_ROOT", str(folder))  # asking git for the commit would be the longest part of a run
        patch.setattr(table2.profiles, "read", lambda path: {})
        patch.setattr(table2, "categories", lambda size: NAMES)
        patch.setattr(table2.synthetic, "categories", lambda: (*NAMES, "synthetic_bottle7"))
        return table2.measure(TINY, workers=0, store=RunStore(folder))


def test_the_arms_are_as_long_as_their_names_say(monkeypatch):
    monkeypatch.delenv("LFM_DATA", raising=False)
    size = replace(TINY, steps=10, combined=99)
    names, arms = table2.categories(size), table2.grid(size)
    assert names == tuple(table2.STAND_INS.values())
    steps = {(arm.arm, len(arm.config.categories)): arm.config.steps for arm in arms}
    assert steps[ALONE, 1] == steps[EQUAL_STEPS, 7] == 10
    assert steps[EQUAL_SAMPLES, 7] == 70
    assert {n: count for (arm, n), count in steps.items() if arm == SCALE} == {1: 10, 2: 20, 4: 40, 7: 70}
    four = {arm.arm: arm.config.steps for arm in table2.grid(replace(size, combined=4))}
    assert four["combined, 4x the steps"] == 40 and EQUAL_SAMPLES not in four
    assert {arm.config.model.alpha for arm in arms if arm.setting == literal.LITERAL} == {1.0}
    assert all(arm.config.waste == 1 and arm.config.temperature is None for arm in arms)  # Sec. 3.4: padded, balanced


def test_a_network_alone_is_the_paper_literal_run_that_other_studies_ask_for():
    alone = next(arm for arm in table2.grid(TINY) if arm.arm == ALONE)
    assert alone.config == literal.run(alone.config.categories, TINY, 0)


def test_the_last_of_the_nested_sets_is_the_combined_run():
    arms = [arm for arm in table2.grid(TINY) if arm.setting == literal.LITERAL and arm.config.seed == 0]
    combined = next(arm for arm in arms if arm.arm == "combined, 2x the steps")
    assert [arm for arm in arms if arm.arm == SCALE][-1].config == combined.config


def test_every_row_of_the_paper_has_a_stand_in_and_is_read_from_the_claims():
    assert {key for key in claims.load() if key.startswith("T2-")} == {*table2.ROWS, "T2-mean"}
    for key, name in table2.STAND_INS.items():
        assert table2.row_of(name) == key and name in rigs.names()
    assert table2.row_of("c3dpo_pascal3d_car") == "T2-car" and table2.row_of("human17_cmu") is None
    assert table2_tables.printed("T2-drosophilia")["paper samples"] == 80
    gains = [table2_tables.printed(key)["paper improvement %"] for key in table2.ROWS]
    assert sum(gains) / 7 == pytest.approx(claims.get("T2-mean").number, abs=0.1)
    assert set(table2_tables.printed(None).values()) == {None}


def test_measured_categories_are_cut_by_their_size_and_doubles_left_out(monkeypatch):
    there = ("face68_ict", "human17_cmu", "pascal3d_aeroplane", "pascal3d_aeroplane_views", "pascal3d_car")
    monkeypatch.setattr(table2.real, "available", lambda: there)
    monkeypatch.setattr(table2.real, "folder", lambda: "somewhere")
    measured = replace(TINY, profile="cpu")
    assert table2.categories(measured) == ("pascal3d_aeroplane", "face68_ict", "human17_cmu")
    assert table2.categories(replace(measured, keypoints=30)) == ("pascal3d_aeroplane", "human17_cmu")
    assert table2.categories(TINY) == tuple(table2.STAND_INS.values())


def test_the_study_shows_and_judges_what_it_measured(study):
    assert set(RESULT_COLUMNS) <= set(study.table.columns)
    assert {"flat", "mean", "paper-literal, alone", f"weight 10, {EQUAL_SAMPLES}"} <= set(study.table["method"])
    assert study.table[["data", "category", "method", "seed"]].notna().all(axis=None)
    told = {row.key: row for row in table2_verdicts.judge(study)}
    assert set(told) == {key for key in claims.load() if key.startswith(OWN)}
    assert told["T2-sofa"].verdict == "not testable here" and "lfm data convert" in told["T2-sofa"].evidence
    assert told["CAT-45"].ours_mean == 3 and told["CAT-45"].verdict == "contradicted"
    assert told["EPOCH-multi"].verdict == "not testable here" and "epochs, it takes 150" in told["EPOCH-multi"].note
    assert len(table2_tables.readme_table(study)) == 2 * 3 + 2
    for draw in (table2_figures.figure_slopes, table2_figures.figure_samples, table2_figures.figure_scale):
        assert draw(study).axes
    assert table2_tables.headline(study)["recipe"] == "profile smoke has no notebook 12"


def test_the_recipe_shares_its_runs_with_notebook_12(tmp_path, monkeypatch, no_git):
    monkeypatch.setattr(beyond, "SMOKE", NAMES[:1])
    twelve = {"steps": 2, "views": 20}
    found = {"smoke": {"12": twelve | {"seeds": 3}}, "full": {"12": twelve}}
    monkeypatch.setattr(table2.profiles, "read", lambda path: found)
    size, store = beyond.Size(**twelve, seeds=3, folds=0), RunStore(tmp_path)
    assert table2._recipe_rows("cpu", 0, store) == ([], "profile cpu has no notebook 12")
    assert table2._recipe_rows("full", 0, store) == ([], "notebook 12 has 1 seed in profile full")
    rows, told = table2._recipe_rows("smoke", 0, store)
    arms = beyond.arms(size, (beyond.RECIPE,)) + beyond.combined_arms(size)
    assert all(store.record(run_id(arm.config, RunData.of(arm.config))) for arm in arms)
    assert told == "runs of notebook 12"
    assert [row["method"] for row in rows] == 3 * ["recipe, alone"] + 3 * ["recipe, combined, 4x the steps"]
    assert {row["category"] for row in rows} == {NAMES[0]}
    assert run_id(arms[0].config, RunData.of(arms[0].config)) in {row["run"] for row in rows}


def made_up(alone: float, combined: float) -> table2.Study:
    """A study in which every category has these errors, give or take a little per seed."""
    rows = [
        {"data": "real", "category": name, "method": arm, "setting": literal.LITERAL, "arm": arm,
         "together": together, "steps": 10, "seed": seed, "flip": error + 0.01 * seed, "health": health, "frames": 100}
        for name in ("pascal3d_aeroplane", "human17_cmu") for seed in range(3)
        for arm, together, error, health in (
            (ALONE, 1, alone, "flat"), (EQUAL_SAMPLES, 2, combined, "ok"), (SCALE, 2, combined, "ok"),
            (EVERYTHING, 2, combined, "ok"),
        )
    ]  # fmt: skip
    rows += [row | {"arm": SCALE, "together": 1, "flip": alone} for row in rows if row["arm"] == ALONE][:3]
    rows += [
        {"data": "real", "category": name, "method": floor, "setting": "", "arm": "", "flip": 40.0, "seed": 0}
        for name in ("pascal3d_aeroplane", "human17_cmu") for floor in ("flat", "mean")
    ]  # fmt: skip
    return table2.Study(pandas.DataFrame(rows), pandas.DataFrame(), [], ("pascal3d_aeroplane", "human17_cmu"), "")


def test_the_verdicts_follow_the_errors(monkeypatch):
    none = verdicts.statement("EPOCH-single", None, evidence="")
    monkeypatch.setattr(table2_verdicts, "_judge_epochs", lambda *_: none)

    def told(alone, combined):
        rows = [row for row in table2_verdicts.judge(made_up(alone, combined))]
        return {(row.key, row.measure, row.category): row for row in rows}

    better, worse = told(15.2, 9.9), told(10.0, 15.0)
    row = "T2-aeroplane", "difference", "pascal3d_aeroplane"
    assert better[row].verdict == "reproduced" and "3 of 3 runs alone ended flat" in better[row].note
    assert worse[row].verdict == "contradicted" and "reversed" in worse[row].note
    stable = "SCALE-cat", "value", "class mean of 2 categories"
    assert told(50.0, 40.0)[stable].verdict == "not testable here"  # worse than the flat floor
    assert (better[stable].verdict, worse[stable].verdict) == ("reproduced", "contradicted")
    trend = "SCALE-cat", "fall", "pascal3d_aeroplane"
    assert (better[trend].verdict, worse[trend].verdict) == ("reproduced", "contradicted")
    mean = better["T2-mean", "value", "1 stand-ins for 1 of the 7 rows"]
    assert mean.verdict == "not testable here" and mean.ours_mean == pytest.approx(34.9, abs=0.1)
    frame = table2_tables.compare(made_up(20.0, 10.0))
    assert frame["improvement % mean"].tolist() == pytest.approx([50, 50], abs=0.1)
    assert frame["ended flat alone"].tolist() == [3, 3]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([9, 5, 1.05, 1], 30), ([1, 1, 1, 1], 10), ([9, 5, 3, 1], 40), ([1, 5, 1, 1], 30), ([0], 10)],
)
def test_a_curve_has_converged_where_it_stays_near_its_last_value(values, expected):
    assert table2_tables.close([10, 20, 30, 40][: len(values)], values) == expected


def test_epochs_count_pictures_in_units_of_the_training_frames(study):
    frame = table2_tables.epochs(study)
    config = table2.grid(TINY)[0].config
    alone = frame[(frame["arm"] == ALONE) & (frame["categories"] == NAMES[0])].iloc[0]
    assert alone["frames"] == len(RunData.of(config).train[0]) and alone["own frames"]
    assert alone["epochs of the run"] == pytest.approx(2 * 64 / alone["frames"])
    assert SCALE not in set(frame["arm"])


@pytest.mark.parametrize(("settled", "verdict"), [(70.0, "reproduced"), (30.0, "contradicted")])
def test_epochs_are_judged_on_runs_that_last_as_long_as_the_paper_says(monkeypatch, settled, verdict):
    rows = [
        {"training": literal.LITERAL, "arm": ALONE, "categories": name, "seed": seed, "criterion": "3D error",
         "own frames": own, "epochs of the run": length, "epochs until close": close}
        for seed in range(3) for name, own, length, close in (
            ("mouse22_dannce", True, 120.0, settled), ("human17_cmu", True, 2.0, 2.0),
            ("pascal3d_bus", False, 900.0, 9.0),
        )
    ]  # fmt: skip
    monkeypatch.setattr(table2_tables, "epochs", lambda study: pandas.DataFrame(rows))
    row = table2_verdicts._judge_epochs(made_up(2.0, 1.0), "EPOCH-single", "3D error")
    assert (row.verdict, row.ours_mean, row.category) == (verdict, settled, "mouse22_dannce")
