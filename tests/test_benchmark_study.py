"""Notebook 01's study: every category is there, numbers are in range, verdicts follow, figures name what they show."""

import matplotlib.pyplot as plt
import pytest

from lfmlib import rigs
from lfmlib.data import synthetic
from lfmlib.report import RESULT_COLUMNS
from lfmlib.studies import benchmark as study
from lfmlib.studies import benchmark_figures as figures

FEW = ("synthetic_body17", "synthetic_car12", "synthetic_fly38")


@pytest.fixture(scope="module")
def table():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LFM_DATA", raising=False)
        return study.inventory(20)


@pytest.fixture
def closed():
    yield
    plt.close("all")


def test_every_synthetic_category_is_in_the_inventory(table):
    assert list(table["category"]) == list(synthetic.categories()) and set(table["data"]) == {"synthetic"}
    assert (table["rms_radius"] > 0).all() and table["hidden"].between(0, 0.7).all()
    assert table.set_index("category").loc["synthetic_fly38", "samples"] == 80


def test_measured_sets_join_where_there_are_some(real_data, monkeypatch):
    monkeypatch.setattr(synthetic, "categories", lambda: FEW)
    monkeypatch.setattr(study.listing.synthetic, "categories", lambda: FEW)
    found = study.inventory(20)
    real = found[found["data"] == "real"]
    assert {"human17_cmu", "pascal3d_bus"} <= set(real["category"]) and (real["licence"] != "").all()
    assert real.set_index("category")["hidden"].loc["pascal3d_bus"] > 0.1


def test_floors_have_the_columns_of_results(monkeypatch):
    monkeypatch.delenv("LFM_DATA", raising=False)
    rows = [row for row in study.listing.rows() if row.name in FEW]
    monkeypatch.setattr(study.listing, "rows", lambda: rows)
    found = study.floors(40, 20, 2)
    assert set(RESULT_COLUMNS) <= set(found.columns) and len(found) == len(FEW) * 2 * 2
    assert (found[["o3", "so3", "flip", "mm"]] > 0).all(axis=None)


def test_each_measured_set_stands_beside_a_category_of_its_kind():
    for real, ours in study.BESIDE.items():
        a, b = rigs.get(real), rigs.get(ours)
        assert a.family == b.family
        assert (a.keypoints == b.keypoints) == (real not in study.LOOSE)


def test_nothing_to_compare_without_measured_data(monkeypatch):
    monkeypatch.delenv("LFM_DATA", raising=False)
    assert study.comparison(40, 10, 1).empty


def test_the_benchmark_is_no_easier_than_measured_data(real_data, monkeypatch):
    """With few frames the numbers are rough; the committed table has the real ones."""
    found = study.comparison(1500, 200, 1)
    assert set(found["real"]) == set(study.BESIDE) and set(found["measure"]) == set(figures.MEASURES)
    means = found[found["comparable"]].groupby(["real", "measure"])["ratio"].mean()
    assert (means > 0.65).all(), means[means <= 0.65]
    assert (means >= study.EASIER).mean() > 0.95


def test_padding_stays_below_fifteen_percent_in_buckets():
    found = study.padding()
    assert (found[found["batches"] == "buckets"]["padding"] < 0.15).all()
    assert (found[found["batches"] == "one bucket"]["padding"] > 0.5).all()


def test_verdicts_say_what_was_counted(table):
    count, span = study.verdicts(table)
    assert count.verdict == "not testable here" and f"{len(table)} categories" in count.evidence
    assert span.verdict == "not testable here" and "37 to 1,000,000" in span.evidence


def test_figures_show_every_category(table, closed):
    drawn = figures.gallery(study.examples(list(table["category"])))
    titles = [ax.get_title() for ax in drawn.axes if ax.get_title()]
    assert sorted(titles) == sorted(name.removeprefix("synthetic_") for name in table["category"])
    chart = figures.radial_chart(table)
    texts = " ".join(text.get_text() for text in chart.axes[0].texts)
    assert all(name.removeprefix("synthetic_") in texts for name in table["category"]) and "1,000,000" in texts
    assert len(figures.radial_scene(table).data) == table["family"].nunique()


def test_figures_of_floors_and_comparison(table, closed):
    import pandas

    rows = [
        {"data": "synthetic", "category": name, "method": m, "seed": 0, "flip": 5.0}
        for name in FEW
        for m in ("flat", "mean")
    ]
    figure = figures.figure_floors(pandas.DataFrame(rows), table)
    assert len(figure.axes[0].get_yticklabels()) == len(FEW) and "%" in figure.axes[0].get_xlabel()
    pairs = [
        {"real": "human17_cmu", "measure": m, "ratio": r, "comparable": r > 0.6}
        for m, r in zip(figures.MEASURES, (0.5, 0.7, 1.0, 1.2, 2.0, 0.9), strict=True)
    ]
    figure = figures.figure_comparison(pandas.DataFrame(pairs))
    assert [ax.get_title() for ax in figure.axes] == list(figures.MEASURES.values())
