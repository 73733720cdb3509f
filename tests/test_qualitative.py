"""Pictures are chosen by a rule, failures counted by criteria, and the overview says what the configuration says."""

import math

import pandas
import pytest
import torch

from lfmlib import metrics
from lfmlib.data.shapes import ShapeSet
from lfmlib.data.views import EvaluationViews, normalise
from lfmlib.geometry import random_rotations
from lfmlib.model import Lifter, LifterConfig
from lfmlib.report import RESULT_COLUMNS
from lfmlib.rigs import build, get
from lfmlib.store import RunStore
from lfmlib.studies import beyond, failure_modes, literal, overview_figure, qualitative, qualitative_figures, robustness
from lfmlib.studies.beyond import LITERAL, RECIPE, TWIN
from lfmlib.studies.failure_modes import limbs, rates
from lfmlib.studies.qualitative import Pictures, Study

EDGES = ((0, 1), (1, 2), (0, 3))
RIG = build("toy", ["a", "b", "c", "d"], ["a b c", "a d"], unit="mm", mm=1.0)


def truth_of(Y, known=None):
    known = torch.ones(Y.shape[:2], dtype=torch.bool) if known is None else known
    X = normalise(Y[..., :2], known)[0]
    return EvaluationViews(X, None, torch.zeros(len(Y), dtype=torch.int64), Y, known)


def everything(Y):
    return torch.ones(Y.shape[:2], dtype=torch.bool)


def random_shapes(count=40, n=4, seed=0):
    return torch.randn(count, n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def counted(P, Y, visible=None, known=None):
    every = everything(Y)
    known = every if known is None else known
    whole = limbs(P, Y, known, every, EDGES)
    return rates(whole, limbs(P, Y, known, every if visible is None else visible, EDGES))


def test_the_truth_fails_in_no_mode_whatever_its_size():
    Y = random_shapes()
    visible = everything(Y)
    visible[:, 1] = False
    found = counted(Y, Y, visible)
    assert set(found) == set(failure_modes.MODES) and all(value == 0 for value in found.values())
    assert counted(9 * Y, 9 * Y, visible) == found


def test_a_shape_that_is_inside_out_has_all_its_limbs_flipped_and_none_shortened():
    Y = random_shapes()
    found = counted(metrics.mirrored(Y), Y)
    assert found["flipped"] == 100 and found["shortened"] == found["shortened, across"] == 0


def test_the_flat_answer_shortens_what_points_at_the_camera_and_flips_nothing():
    Y = random_shapes(400)
    found = counted(Y * torch.tensor([1, 1, 0]), Y)
    assert found["flipped"] == 0 and found["shortened"] == 100 and found["shortened, across"] == 0


def test_each_mode_counts_only_the_limbs_in_question():
    Y = torch.tensor([[[0, 0, 0], [0, 0, 1.0], [1, 0, 1.0], [1.0, 0, 0.1]]])  # along z; along x; nearly along x
    P = Y.clone()
    P[0, 1, 2] = -0.4  # the limb a-b is flipped and shorter than half; b-c, longer, has no depth that counts
    P[0, 3, 2] = -0.1  # flipped, but hardly tilted
    whole = limbs(P, Y, everything(Y), everything(Y), EDGES)
    assert whole.tilted.tolist() == [[True, False, False]] and (whole.flipped & whole.tilted).tolist() == [
        [True, False, False]
    ]
    assert whole.pointing.tolist() == [[True, False, False]] and whole.across.tolist() == [[False, True, True]]
    assert whole.collapsed.tolist() == [[True, False, False]]


def test_collapse_is_told_apart_by_what_was_hidden():
    Y = random_shapes()
    visible = everything(Y)
    visible[:, 3] = False
    P = Y.clone()
    P[:, 3] = Y[:, 0] + 0.3 * (Y[:, 3] - Y[:, 0])
    found = counted(P, Y, visible)
    assert found["collapsed"] == 100 and found["collapsed, seen"] == 0


def test_limbs_without_a_truth_are_not_counted():
    Y = random_shapes()
    known = everything(Y)
    known[:, 1] = False  # two of the three limbs
    P = Y.clone()
    P[:, 1] = math.nan
    found = counted(P, Y, known=known)
    assert found["flipped"] == 0 and math.isnan(found["collapsed"])  # nothing is hidden


def test_alignment_undoes_pose_scale_and_one_mirror_bit(generator):
    Y = random_shapes(30)
    R = random_rotations(30, generator, torch.float64)
    for P in (Y, metrics.mirrored(Y)):
        moved = 0.3 * P @ R.mT + 5
        assert torch.allclose(qualitative.aligned(moved, truth_of(Y)), Y, atol=1e-6)
    half = torch.where((torch.arange(30) < 10)[:, None, None], metrics.mirrored(Y), Y)
    error = (qualitative.aligned(half, truth_of(Y)) - Y).norm(dim=-1).mean(1)
    assert bool((error[:10] > 0.05).all() and (error[10:] < 1e-6).all())  # what is inside out stays so


def shape_set(Y):
    count = len(Y)
    known, split = torch.ones(Y.shape[:2], dtype=torch.bool), torch.zeros(count, dtype=torch.int8)
    return ShapeSet(RIG, Y.float(), known, split, torch.arange(count), "synthetic", "made up")


def made_up(count=41, seed=0):
    """Pictures of the toy whose recipe errs more from view to view."""
    Y = random_shapes(count, seed=seed)
    noise = torch.randn(Y.shape, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    growing = Y + noise * torch.linspace(0.01, 2, count, dtype=torch.float64)[:, None, None]
    shapes = {"flat": Y * torch.tensor([1, 1, 0]), "mean": Y + noise, LITERAL: 0.4 * Y + 0.5 * noise, RECIPE: growing,
              TWIN: Y + 0.1 * noise}  # fmt: skip
    visible = everything(Y)
    visible[::2, 2] = False
    measured = {m: {"o3": 9.0, "so3": 9.0, "flip": 9.0, "mm": 90.0} for m in shapes}
    return Pictures(shape_set(Y), truth_of(Y), visible, measured, shapes, shapes)


def study():
    rows = [row for seed in range(3) for row in qualitative._rows(made_up(seed=seed), seed)]
    oracle = [
        {"data": "synthetic", "category": qualitative.BODY, "method": qualitative.ORACLE, "seed": seed,
         "o3": 5.0, "so3": 5.0, "flip": 5.0, "mm": 40.0 + seed, "keypoints": k}
        for k in ("visible", "all") for seed in range(3)
    ]  # fmt: skip
    return Study(pandas.DataFrame(rows), pandas.DataFrame(oracle), {"toy": made_up()}, [])


def test_the_views_shown_are_the_median_and_the_middle_of_the_worst_decile():
    pictures = made_up()
    errors = pictures.errors(RECIPE)
    chosen = pictures.chosen()
    assert int((errors < errors[chosen["median"]]).sum()) == 20
    assert int((errors > errors[chosen["worst decile"]]).sum()) == 2  # of 41


def test_an_example_is_the_median_view_among_those_that_fail():
    pictures = made_up()
    view, failed = qualitative.example(pictures, RECIPE, "flipped")
    whole, _ = pictures.limbs(RECIPE)
    counts = (whole.flipped & whole.tilted).sum(1)
    assert len(failed) == int(counts[view]) == int(counts[counts > 0].sort().values[int((counts > 0).sum()) // 2])
    pictures.whole[TWIN] = pictures.truth.Y.double()
    assert qualitative.example(pictures, TWIN, "shortened") is None


def test_what_is_shown_and_judged():
    from matplotlib import pyplot

    made = study()
    assert set(RESULT_COLUMNS) <= set(made.table.columns)
    found = {v.protocol.split(":")[0]: v for v in qualitative.judge(made)}
    assert {v.key for v in found.values()} == {"FAIL-modes", "FIG1-vggt"}
    assert found[LITERAL].verdict == "reproduced" and "flipped" in found[LITERAL].note
    fig1 = next(v for v in found.values() if v.key == "FIG1-vggt")
    assert fig1.verdict == "the paper contradicts itself" and fig1.ours_mean == 41.0 and "not VGGT" in fig1.note
    assert list(qualitative_figures.readme_table(made)["run"])[:2] == ["floor: flat", "floor: mean shape (3D)"]
    assert all(math.isfinite(v) for v in qualitative_figures.headline(made).values())
    figures = [qualitative_figures.figure_gallery(made, which) for which in ("median", "worst decile")]
    figures += [qualitative_figures.figure_rates(made), qualitative_figures.figure_modes(made)]
    for figure in figures:
        pyplot.close(figure)
    assert len(figures[0].axes) == 5  # input, three methods, oracle
    scene = qualitative_figures.scene(made, "toy")
    shown = {trace.name: trace.visible for trace in scene.data}
    assert shown == {"ground truth": True, RECIPE: True} | dict.fromkeys(
        (LITERAL, TWIN, qualitative.ORACLE), "legendonly"
    )
    colours = {trace.name: trace.line.color for trace in scene.data if trace.mode == "lines"}
    assert (colours["ground truth"], colours[RECIPE]) == (qualitative_figures.TRUE, qualitative_figures.PREDICTED)


def test_a_mode_that_never_occurs_contradicts():
    made = study()
    made.table.loc[(made.table["method"] == RECIPE) & (made.table["seed"] == 1), "collapsed"] = 0.5
    found = {v.protocol.split(":")[0]: v.verdict for v in qualitative.judge(made)}
    assert found[RECIPE] == "contradicted" and found[LITERAL] == "reproduced"


def test_the_oracle_reads_the_depth_of_the_very_view():
    pictures = made_up()
    P, seen = qualitative.oracle_shapes(pictures, 3)
    Y = pictures.truth.Y[3]
    assert bool(seen.all()) and float((P - Y).norm(dim=-1).max()) < 0.5 * float(Y.norm(dim=-1).max())


def test_runs_are_notebook_12s(monkeypatch):
    monkeypatch.delenv("LFM_DATA", raising=False)
    size = beyond.Size(steps=200, views=20, seeds=2, evidence=5000, folds=2)
    every = qualitative.arms(size)
    of_12 = {(a.category, a.method, a.config.seed): a.config for a in beyond.arms(size)}
    assert {a.method for a in every} == {*qualitative.METHODS, robustness.HIDING}
    for arm in every:
        if arm.method != robustness.HIDING:
            assert arm.config == of_12[arm.category, arm.method, arm.config.seed]
        else:
            assert arm.category in {names[0] for names in literal.sets().values()}


def test_a_run_is_lifted_whole_and_obstructed(tmp_path, monkeypatch):
    monkeypatch.delenv("LFM_DATA", raising=False)
    size = beyond.Size(steps=4, views=20, seeds=1, evidence=500)
    arm = beyond.Arm("synthetic_aeroplane8", LITERAL, beyond.literal(("synthetic_aeroplane8",), 0, size))
    monkeypatch.setattr(qualitative, "arms", lambda size, most: [arm])
    made = qualitative.measure(size, 12, workers=0, store=RunStore(tmp_path))
    assert list(made.table["method"]) == ["flat", "mean", LITERAL]
    pictures = made.pictures["synthetic_aeroplane8"]
    row = made.table[made.table["method"] == LITERAL].iloc[0]
    assert row["flip"] == pytest.approx(float(pictures.errors(LITERAL).mean()), rel=1e-4)
    assert int((~pictures.visible).sum()) == 12 * 2  # 30 % of 8
    assert set(made.oracle["category"]) == {"synthetic_aeroplane8", qualitative.BODY}
    assert set(made.oracle["keypoints"]) == {"visible", "all"} and made.oracle["flip"].notna().all()


@pytest.mark.parametrize(
    ("changes", "boxes", "arrows"),
    [({"depth": 4}, 10, 5), ({"depth": 4, "injection": "input"}, 10, 1), ({"injection": "none"}, 10, 0),
     ({"depth": 16, "injection": "every_2nd", "keep_input": False}, 11, 3)],
)  # fmt: skip
def test_the_overview_says_what_the_configuration_says(changes, boxes, arrows):
    from matplotlib import pyplot
    from matplotlib.patches import FancyBboxPatch

    config, rig = LifterConfig(width=32, **changes), get("human17_cmu")
    figure = overview_figure.fig_overview(config, rig)
    (ax,) = figure.axes
    assert len([p for p in ax.patches if type(p) is FancyBboxPatch]) == boxes
    found = [a for a in ax.texts if getattr(a, "arrow_patch", None) is not None]
    assert len([a for a in found if a.arrowprops.get("color") == overview_figure.CODE]) == arrows
    parameters = sum(p.numel() for p in Lifter(config, [rig]).parameters())
    assert f"{config.depth} layers, width 32" in ax.get_title() and f"{parameters:,} parameters" in ax.get_title()
    pyplot.close(figure)


def test_the_gallerys_categories_come_first(monkeypatch):
    size = beyond.Size(steps=4, views=20, seeds=1, evidence=500)
    names = ("synthetic_body17", "synthetic_aeroplane8", "synthetic_dog26")
    monkeypatch.delenv("LFM_DATA", raising=False)
    monkeypatch.setattr(beyond, "categories", lambda _: names)
    monkeypatch.setattr(qualitative, "GALLERY", ("synthetic_dog26", "elsewhere"))
    assert qualitative.categories(size) == ["synthetic_dog26", "synthetic_body17", "synthetic_aeroplane8"]
    assert {arm.category for arm in qualitative.arms(size, 1)} == {"synthetic_dog26"}
