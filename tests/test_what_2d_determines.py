"""Laws of the study of what 2D determines, on tiny sizes: each would fail if the measurement did not measure it."""

import matplotlib.pyplot
import pandas
import pytest
import torch

from lfmlib import experiments, geometry
from lfmlib.runs import RunConfig
from lfmlib.store import RunStore
from lfmlib.studies import what_2d_determines as study
from lfmlib.studies import what_2d_figures as figures


@pytest.fixture(scope="module")
def categories():
    """Synthetic only, whatever data the machine has: two seeds of 24 pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LFM_DATA", raising=False)
        return study.load(frames=100, views=24, seeds=2)


@pytest.fixture(scope="module")
def trained(categories, tmp_path_factory):
    """Records of runs of a few steps, and their store."""
    store = RunStore(tmp_path_factory.mktemp("runs"))
    return experiments.run_grid(study.runs(categories, steps=4, frames=100), workers=0, store=store), store


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    matplotlib.pyplot.close("all")


def test_without_a_data_folder_there_are_synthetic_categories_and_a_hint(categories):
    assert {category.test.tag for category in categories} == {"synthetic"}
    assert "LFM_DATA" in study.inventory(categories)


def test_seeds_are_different_pictures_and_the_same_ones_every_time(categories, monkeypatch):
    monkeypatch.delenv("LFM_DATA", raising=False)
    again = study.load(frames=100, views=24, seeds=2)
    for old, new in zip(categories, again, strict=True):
        assert torch.equal(old.views[1].X, new.views[1].X)
        assert not torch.equal(old.views[0].X, old.views[1].X)


def test_equivariance_holds_without_encoding_and_in_pairs_and_breaks_with_it(categories):
    worst = study.equivariance(categories, permutations=3).groupby("arm")["deviation"].agg(["min", "max"])
    for arm in ("injection none", "injection input, Phi permuted too", "injection every, Phi permuted too"):
        assert worst.loc[arm, "max"] < 1e-12
    for arm in ("injection input", "injection every"):
        assert worst.loc[arm, "min"] > 0.1


def test_permuting_outputs_alone_raises_eq1_and_permuting_both_leaves_it(categories, trained):
    records, store = trained
    losses = study.permuted_losses(categories, records, permutations=3, store=store)
    assert set(losses["answer"]) == {"flat answer", "untrained network", "trained network"}
    assert (losses["change_both"] < 1e-9).all()
    assert (losses["outputs_permuted"] > losses["as_is"] + 0.1).all()
    flat = losses[losses["answer"] == "flat answer"]
    assert (flat["as_is"] < 1e-12).all() and (flat["outputs_permuted"] > 0.5).all()


def test_prop_1_is_judged_by_its_conclusion(categories):
    deviations = study.equivariance(categories, permutations=2)
    losses = study.permuted_losses(categories, [], permutations=2)
    assert [row.verdict for row in study.judge(deviations, losses)] == ["contradicted"]
    invariant = losses.assign(outputs_permuted=losses["as_is"])
    assert [row.verdict for row in study.judge(deviations, invariant)] == ["reproduced"]
    off = deviations.assign(deviation=1.0)
    assert [row.verdict for row in study.judge(off, invariant)] == ["contradicted"]


def test_any_depth_has_zero_loss_and_the_true_one_no_error(categories):
    family = study.zero_loss_family(categories)
    free = family[family["family"] != "mean shape"]
    assert free["worst"].max() < 1e-9
    assert family[family["family"] == "mean shape"]["median"].min() > 1e-3
    line = family[family["family"] == "true depth times"].set_index("amplitude")
    assert line.loc[1.0, "so3_error"].max() < 1e-3 < 1 < line.loc[-1.0, "so3_error"].min()
    assert line.loc[-1.0, "o3_error"].max() < 1e-3 < 1 < line.loc[0.0, "o3_error"].min()


def test_floors_and_mirrored_truth_score_as_defined(categories):
    rows = pandas.DataFrame(study.answers(categories)).set_index("method")
    assert len(rows) == 4 * 2 * len(categories)
    assert rows.loc[study.MIRRORED, ["o3", "flip"]].to_numpy().max() < 1e-3
    assert rows.loc[study.MIRRORED, "so3"].min() > 5
    assert rows.loc[study.HALF, "o3"].max() < 1e-3 < 2 < rows.loc[study.HALF, "flip"].min()
    flat = rows.loc["flat", ["o3", "so3", "flip"]]
    assert (flat.max(axis=1) - flat.min(axis=1)).max() < 1e-3, "a planar shape is its own mirror image"
    assert rows[["o3", "so3", "flip", "mm"]].notna().all(axis=None)


def test_a_mirrored_shape_looks_the_same_from_behind_and_only_from_there(categories):
    pictures = study.mirror_pictures(categories)
    assert pictures["other_side"].max() < 1e-12 < 0.1 < pictures["same_side"].min()


def test_the_exact_camera_is_never_above_the_algebraic_one(categories):
    ratios = study.residual_ratios(categories)
    assert len(ratios) == 2 * len(categories)
    assert (ratios["smallest"] >= 1 - 1e-9).all()
    assert (ratios["ratio_of_sums"] > 1).all()
    assert (ratios["q05"] <= ratios["q50"]).all() and (ratios["q50"] <= ratios["q95"]).all()


def test_eq1_is_the_share_of_the_visible_variance(categories):
    views = categories[0].views[0]
    Y = torch.zeros(*views.X.shape[:2], 3)  # a shape that is a point leaves everything unexplained
    assert torch.allclose(study.eq1(views.X, Y, None), torch.ones(24, dtype=torch.float64), atol=1e-5)
    visible = torch.arange(views.X.shape[1]).expand(24, -1) < 5
    left = geometry.centred(views.X, visible).double().square().sum((1, 2)) / 5
    assert torch.allclose(study.eq1(views.X, Y, visible), left, atol=1e-5)


def test_encodings_are_compared_at_every_size_and_orthonormal_is_best():
    frame = study.conditioning(seeds=2, sizes=(8, 12), widths=(32,), tokens=10)
    tokens = frame[frame["sweep"] == "tokens"].set_index("encoding")
    assert set(tokens["N"]) == {8, 10, 12} and set(tokens.index) == set(study.KINDS)
    assert tokens.loc["orthonormal", "condition_number"].max() < 1 + 1e-9
    assert tokens.loc["vit", "condition_number"].min() > 1e3 > tokens.loc["rff", "condition_number"].max()
    assert list(study.conditioning_table(frame, 10).index) == list(study.KINDS)
    fine = frame[(frame["sweep"] == "sigma") & (frame["encoding"] == "rff")].set_index("sigma")["neighbour_similarity"]
    assert fine.loc[0.1] > 0.99 > 0.3 > fine.loc[2.5] > fine.loc[10.0]


def test_runs_are_the_papers_and_their_rows_carry_the_results_columns(categories, trained):
    records, store = trained
    configs = [RunConfig.from_dict(record["config"]) for record in records]
    assert {(c.lr, c.weight_decay, c.batch, c.schedule, c.model.alpha) for c in configs} == {
        (1e-4, 1e-4, 64, "constant", 1.0)
    }
    assert {c.objective.terms for c in configs} == {("reprojection",)}
    table = study.results(categories, records)
    assert {"flat", "mean", study.MIRRORED, study.HALF, *study.ARMS.values()} == set(table["method"])
    assert (table.groupby(["category", "method"])["seed"].nunique() == 2).all()
    assert list(table.columns[:8]) == ["data", "category", "method", "seed", *experiments.ERRORS]
    assert study.run_curves(records, store)["step"].max() == 4


def test_a_trained_network_is_the_one_that_was_scored(categories, trained):
    records, store = trained
    record = records[0]
    name, seed = record["config"]["categories"][0], record["config"]["seed"]
    category = next(c for c in categories if c.name == name)
    with torch.no_grad():
        score = category.score(study.trained(record, store)(category.views[seed].X), seed)
    assert score["o3"] == pytest.approx(record["final"]["test"]["fit"][0]["o3"], rel=1e-4)


def test_depths_tell_truth_from_chance(categories, trained, monkeypatch):
    records, store = trained
    deep = study.depths(categories, records, store)
    assert len(deep) == len(records) and deep[["correlation", "by_chance"]].max(axis=None) <= 1
    known = {id(views.X): views.Y for category in categories for views in category.views}
    monkeypatch.setattr(study, "_lift", lambda model, X, codes=None: known[id(X)])
    told = study.depths(categories, records, store)
    assert told["correlation"].min() > 0.999 > 0.9 > told["by_chance"].max()
    assert told["thickness"].to_numpy() == pytest.approx(told["true_thickness"].to_numpy())


def test_every_figure_names_its_axes_with_units(categories, trained):
    records, store = trained
    table = study.results(categories, records)
    frame = study.conditioning(seeds=1, sizes=(8,), widths=(16,), tokens=9)
    losses = study.permuted_losses(categories, records, permutations=2, store=store)
    drawn = [
        figures.figure_permutations(study.equivariance(categories, permutations=2), losses),
        figures.figure_zero_loss(study.zero_loss_family(categories)),
        figures.figure_training(study.run_curves(records, store), table),
        figures.figure_floors(table, categories),
        figures.figure_mirror(table, categories),
        figures.figure_residuals(study.residual_ratios(categories), categories),
        figures.figure_encodings(frame, "tokens"),
        figures.figure_encodings(frame, "sigma"),
    ]
    for figure in drawn:
        bottom = [ax for ax in figure.axes if ax.get_subplotspec().is_last_row()]
        assert all(ax.get_xlabel() for ax in bottom)
        assert figure.legends or all(ax.get_legend() for ax in figure.axes)
        figure.canvas.draw()
    head = study.headline(table, study.zero_loss_family(categories), study.residual_ratios(categories),
                          study.depths(categories, records, store))  # fmt: skip
    assert set(head) == {"synthetic_body17"} and all(isinstance(v, float) for v in head["synthetic_body17"].values())
