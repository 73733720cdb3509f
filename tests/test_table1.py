"""Table 1's study: every method on the same views, the oracles where they belong, floors, order and verdicts."""

import pandas
import pytest

from lfmlib import verdicts
from lfmlib.baselines import methods
from lfmlib.metrics import CLASS_MEAN
from lfmlib.report import RESULT_COLUMNS, Report
from lfmlib.store import RunStore
from lfmlib.studies import literal, table1, table1_figures
from lfmlib.studies.literal import LITERAL

PLANE = "synthetic_aeroplane8"

pytestmark = pytest.mark.usefixtures("no_git")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LFM_DATA", raising=False)
        patch.setattr(literal, "sets", lambda: {PLANE: (PLANE,)})
        return table1.measure(literal.Size(2, 16, 2, 20), 2, 0, RunStore(tmp_path_factory.mktemp("runs")))


def test_every_method_stands_in_the_table_with_every_seed(study):
    rows = table1.last_rows(study)
    assert set(RESULT_COLUMNS) <= set(rows.columns)
    counts = rows.groupby("method").size()
    assert set(counts.index) == set(table1.ORDER) - {methods.C3DPO_ALL} and set(counts) == {3}
    assert len(table1.readme_table(study)) == len(counts)


def test_oracles_are_better_than_what_knows_nothing(study):
    means = table1.last_rows(study).groupby("method")["flip"].mean()
    assert means[table1.NEAREST] < means["mean"] and means[table1.DEPTH] < means[table1.DEPTH_ALL] < means["flat"]


def test_every_printed_value_and_every_order_is_judged(study):
    found = table1.judge(study)
    values = [v for v in found if v.measure == "value"]
    assert {v.key for v in values} == {f"{key}-P3D" for key in table1.PRINTED.values()}
    ordered = [v for v in found if v.measure == "difference"]
    assert {v.key for v in ordered} == {"T1-Ours-P3D"}
    assert len(ordered) == len(table1.PRINTED) - 2  # all but ours, and 3D-LFM, which is printed below ours
    assert all(v.verdict in verdicts.VERDICTS and v.n_seeds == 3 and v.evidence for v in found)


def test_the_order_is_sure_where_paired_differences_are(study):
    table = pandas.DataFrame([
        {"data": "synthetic", "set": PLANE, "category": PLANE, "method": method, "seed": seed, "read_out": "fit",
         "stop": "last", "o3": flip, "so3": flip, "flip": flip, "mm": None}
        for method, errors in {"a": (1, 2, 9), "b": (2, 3.1, 9.9), "c": (2.1, 3.0, 10)}.items()
        for seed, flip in enumerate(errors)
    ])  # fmt: skip
    order = table1.order(table1.Study(table, None, [], None)).set_index(["lower", "higher"])
    assert order.loc[("a", "b"), "sure"] and not order.loc[("b", "c"), "sure"]
    assert order.loc[("a", "b"), "difference"] == pytest.approx(1.0)


def test_every_table_is_one_that_the_report_takes(study, tmp_path):
    report = Report("03_table1", "smoke", tmp_path)
    for frame in (study.table, study.curves, study.searched, table1.readme_table(study), table1.order(study),
                  table1.below_floors(study)):  # fmt: skip
        assert len(report.table(frame))


def test_below_a_floor_means_in_every_seed(study):
    found = table1.below_floors(study).set_index("method")
    assert found.loc[table1.DEPTH, "below flat"] and found.loc[table1.NEAREST, "below mean"]
    assert LITERAL in found.index and "flat" not in found.index


def test_the_figure_shows_every_method(study):
    figure = table1_figures.figure_methods(study)
    (ax,) = figure.axes
    assert len(ax.get_yticks()) == len(table1.ORDER) - 3  # floors are lines


def test_the_class_mean_of_an_oracle_is_over_all_categories(monkeypatch):
    monkeypatch.delenv("LFM_DATA", raising=False)
    config = literal.run((PLANE, "synthetic_chair10"), literal.Size(2, 16, 2, 40), 0)
    rows = pandas.DataFrame(table1._oracles("both", config))
    for method in (table1.NEAREST, table1.DEPTH):
        mine = rows[rows["method"] == method].set_index("category")["flip"]
        assert mine[CLASS_MEAN] == pytest.approx((mine[PLANE] + mine["synthetic_chair10"]) / 2)
