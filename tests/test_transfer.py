"""3D-LFM's study: what it trains and tests, that its probes can fail, and that its verdicts follow the errors."""

import math
from dataclasses import replace

import pandas
import pytest
import torch
from matplotlib import pyplot

from lfmlib import claims, rigs
from lfmlib.baselines import runs
from lfmlib.baselines.lfm3d import LFM3D
from lfmlib.baselines.methods import C3DPO_ALL, LFM, METHODS, TRUTH
from lfmlib.data.shapes import ShapeSet
from lfmlib.report import RESULT_COLUMNS
from lfmlib.rigs import Rig
from lfmlib.runs import RunData
from lfmlib.store import RunStore
from lfmlib.studies import transfer, transfer_figures, transfer_probes, transfer_tables, transfer_verdicts
from lfmlib.studies import transfer_measure as measuring
from lfmlib.studies.transfer import CHEETAH, EMBEDDING, ITSELF, OTHERS, THIRTY, UNSEEN, VIEWPOINT, Size
from lfmlib.studies.transfer_measure import TRAINING_MEAN, Study

TINY = Size(steps=2, batch=4, views=6, width=8, widths=(8, 128), profile="smoke")
MEASURED = (*transfer.PASCAL, "human17_cmu", "human22_cmu", "dog26_ai4animation", "mouse22_dannce", "bird18_aves")


@pytest.fixture
def measured(monkeypatch):
    """A folder with the measured categories, as far as names go."""
    monkeypatch.setattr(transfer.real, "available", lambda: MEASURED)
    monkeypatch.setattr(transfer.real, "folder", lambda: "somewhere")
    return replace(TINY, profile="cpu", seeds=1)


def test_what_is_unseen_is_not_trained_on_and_what_uses_3d_says_so(measured):
    arms = transfer.grid(measured)
    unseen = [arm for arm in arms if (arm.part, arm.training) == (UNSEEN, OTHERS)]
    assert {arm.tested[0] for arm in unseen} >= {CHEETAH, "dog26_ai4animation", "pascal3d_train"}
    assert all(not set(arm.tested) & set(arm.config.categories) for arm in unseen)
    assert all("(3D)" in arm.name for arm in arms if METHODS[arm.method].sees == TRUTH)
    assert all(set(arm.tested) <= set(arm.config.categories) for arm in arms if arm.method != LFM)


def test_measured_rigs_are_taken_where_they_are_there_and_never_in_smoke(measured):
    there = {name for arm in transfer.grid(measured) for name in arm.config.categories if arm.part != THIRTY}
    assert set(MEASURED) <= there
    smoke = transfer.grid(replace(measured, profile="smoke"))
    assert all(name.startswith("synthetic_") for arm in smoke for name in arm.config.categories)


def test_networks_train_equally_long_except_where_all_are_trained_together():
    arms = transfer.grid(replace(TINY, steps=100, seeds=1))
    equal = (UNSEEN, transfer.RIGS, transfer.IMBALANCE)
    assert {arm.config.steps for arm in arms if arm.part in equal} == {100, 25}  # faces get a quarter
    long = {len(arm.config.categories): arm.config.steps for arm in arms if arm.part in (transfer.TOGETHER, THIRTY)}
    assert long[1] == 100 and long[max(long)] == 200 and max(long) >= 30


def test_the_same_run_in_two_parts_is_one_run():
    arms = transfer.grid(replace(TINY, widths=(8,), seeds=1))
    hippo = [
        arm for arm in arms if arm.config.categories == (transfer.HIPPO,) and arm.changes.get("embedding") != "linear"
    ]
    ids = {runs.baseline_id(a.method, a.config, RunData.of(a.config), **a.changes) for a in hippo}
    assert {arm.part for arm in hippo} >= {EMBEDDING, transfer.IMBALANCE} and len(ids) == 1


def test_networks_are_measured_on_the_same_views_with_their_floors(tmp_path, monkeypatch, no_git):
    monkeypatch.setattr(transfer, "FRAMES", 40)
    arms = [a for a in transfer.grid(TINY) if a.part == UNSEEN and a.tested == (CHEETAH,) and a.config.seed == 0]
    store = RunStore(tmp_path)
    study = measuring.measure(arms, 0, store)
    assert set(RESULT_COLUMNS) <= set(study.table.columns) and len(study.records) == 2
    assert set(study.table["method"]) == {*(arm.name for arm in arms), "flat", "mean", TRAINING_MEAN}
    assert not study.table[["o3", "so3", "flip"]].isna().any(axis=None)
    first, second = (measuring.tested_on(arm.config, CHEETAH)[0] for arm in arms)
    assert torch.equal(first.X, second.X)
    alone = next(record for record in study.records if record["config"]["categories"] == [CHEETAH])
    stored = store.record(alone["id"])["rows"][0]
    ours = transfer_tables.rows_of(study, UNSEEN, ITSELF, CHEETAH)
    assert ours["o3"].iloc[0] == pytest.approx(stored["o3"], rel=1e-4)


@pytest.mark.parametrize("told", [True, False])
def test_c3dpo_lifts_one_of_its_categories_with_and_without_object_info(told, tmp_path, monkeypatch, no_git):
    monkeypatch.setattr(transfer, "FRAMES", 40)
    wanted = "own places as object info" if told else "no object info"
    arm = next(a for a in transfer.grid(TINY) if a.name == f"{C3DPO_ALL}, {wanted}")
    networks = runs.networks(arm.method, arm.config, RunStore(tmp_path), **arm.changes)
    for name in arm.tested:
        views, data = measuring.tested_on(arm.config, name)
        lifted = measuring.lifted(networks, arm, name, views, data.test[0].rig)
        assert lifted.shape == views.Y.shape and bool(lifted.isfinite().all())


def test_the_mean_of_categories_needs_the_same_keypoints():
    assert measuring.mean_shape((transfer.DOG, transfer.CAT), 40).shape == (26, 3)
    assert measuring.mean_shape((transfer.DOG, transfer.BODY17), 40) is None


def test_permuting_a_rig_and_back_changes_nothing():
    rig = rigs.get(transfer.BODY17)
    order = torch.randperm(rig.n, generator=torch.Generator().manual_seed(0)).tolist()
    back = [order.index(i) for i in range(rig.n)]
    twice = transfer_probes.permuted(transfer_probes.permuted(rig, order), back)
    assert twice.keypoints == rig.keypoints and twice.edges == rig.edges


@pytest.mark.parametrize("n", [3, 20])
def test_reordering_is_followed_by_3d_lfm_and_not_by_a_network_that_counts(n):
    generator = torch.Generator().manual_seed(0)
    rig = transfer_probes.random_rig(n, generator)
    network = LFM3D([rig], generator, width=16, layers=2).double()
    assert len(rig.edges) == n - 1
    assert transfer_probes.reordering_error(network, rig, generator) < transfer_probes.SAME

    class Counting(LFM3D):
        def forward(self, X, visible=None, category=None):
            return super().forward(X, visible, category) + torch.arange(X.shape[1])[:, None]

    counting = Counting([rig], generator, width=16, layers=2).double()
    assert transfer_probes.reordering_error(counting, rig, generator) > 0.01


@pytest.mark.parametrize("elevation", [-80, 0, 60])
def test_a_vertical_edge_shrinks_with_the_cosine_of_the_elevation(elevation):
    rig = Rig("cross", ("centre", "top", "left", "front"), ((0, 1), (0, 2), (0, 3)))
    points = torch.tensor([[0.0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]])[None]
    zero = torch.zeros(1, dtype=torch.int64)
    known = torch.ones(1, 4, dtype=torch.bool)
    shapes = ShapeSet(rig, points, known, torch.zeros(1, dtype=torch.int8), zero, "synthetic", "none")
    generator = torch.Generator().manual_seed(0)
    views = transfer_probes.seen_from(RunData((shapes,), (shapes,), (shapes,)), elevation, 90, 5, generator)
    edge = views.Y[:, 1] - views.Y[:, 0]
    assert edge[:, :2].norm(dim=1).numpy() == pytest.approx(math.cos(math.radians(elevation)), abs=1e-5)
    assert edge[:, 1].numpy() == pytest.approx(-math.cos(math.radians(elevation)), abs=1e-5)  # y points down
    front = (views.Y[:, 3] - views.Y[:, 0])[:, 0].abs()
    assert bool((front > math.cos(math.pi / 4) - 1e-5).all())  # from the side, the front points across the picture


def made_up(error, floors=(30.0, 25.0, 27.0)):
    """A study without training: `error(arm, category)` is each network's O(3) error, give or take a little per seed."""
    table = []
    for arm in transfer.grid(TINY):
        seed = arm.config.seed
        common = {"data": "synthetic", "part": arm.part, "seed": seed, "mm": 1.0}
        for name in arm.tested:
            told = {"method": arm.name, "training": arm.training, "together": len(arm.config.categories)}
            value = error(arm, name) + 0.01 * seed * (1 + len(arm.training) % 3)
            rows = [{**told, "o3": value, "mirror_mistakes": 0.5, "steps": arm.config.steps}]
            rows += [{"method": m, "training": "", "o3": v} for m, v in zip(("flat", "mean"), floors, strict=False)]
            if arm.part == UNSEEN and name == CHEETAH:
                rows.append({"method": TRAINING_MEAN, "training": "", "o3": floors[2]})
            table += [{**common, "category": name, **row, "so3": row["o3"] + 1, "flip": row["o3"] + 1} for row in rows]
    frame = pandas.DataFrame(table).drop_duplicates(["part", "category", "method", "seed"])
    return Study(frame, [])


def seen(inside, outside):
    rows = [
        {"method": "3d-lfm (3D)", "side": "front", "elevation": e, "seed": s, "o3": outside if abs(e) >= 60 else inside}
        for e in transfer_probes.ELEVATIONS for s in range(3)
    ]  # fmt: skip
    return pandas.DataFrame(rows + [row | {"method": m, "o3": 20.0} for row in rows for m in ("flat", "mean")])


ORDER = pandas.DataFrame({"keypoints": [3, 120], "float64": [1e-15, 1e-14], "float32": [1e-7, 1e-6]})


def judged(study, viewpoints=None, order=ORDER):
    return transfer_verdicts.judge(study, seen(10.0, 30.0) if viewpoints is None else viewpoints, order)


def verdicts_of(rows, key):
    return {row.verdict for row in rows if row.key == key}


def test_every_claim_of_the_notebook_is_judged():
    own = {key for key, claim in claims.load().items() if claim.paper == "3D-LFM" and claim.kind == "claim"}
    assert {row.key for row in judged(made_up(lambda arm, name: 20.0))} == own - {"3D-occlusion"}


def test_verdicts_follow_the_errors():
    def helped(arm, name):
        better = (
            len(arm.config.categories) > 1 or arm.changes.get("graph") or arm.training.startswith(("tpe", "aligned"))
        )
        return 12.0 if better else 20.0

    good, bad = judged(made_up(helped)), judged(made_up(lambda arm, name: 32.0 - helped(arm, name)))
    for key in ("3D-ood", "3D-imbalance", "3D-procrustes", "3D-tpe", "3D-rig"):
        assert verdicts_of(good, key) == {"reproduced"}, key
    for key in ("3D-imbalance", "3D-procrustes", "3D-tpe", "3DLFM-S431", "3DLFM-openmonkey"):
        assert verdicts_of(bad, key) == {"contradicted"}, key
    assert verdicts_of(good, "3DLFM-animals") == {"reproduced"}
    assert all(row.measure == "difference" for row in good if row.key == "3DLFM-S431")


def test_a_network_that_never_got_below_a_floor_tells_nothing():
    rows = judged(made_up(lambda arm, name: 50.0), seen(30.0, 40.0))
    assert verdicts_of(rows, "3D-ood") == verdicts_of(rows, "3D-limit") == {"not testable here"}
    lost = judged(made_up(lambda arm, name: 50.0 if arm.training == OTHERS else 10.0))
    assert verdicts_of(lost, "3D-ood") == {"contradicted"}


def test_failing_from_above_and_losing_the_order_are_seen():
    study = made_up(lambda arm, name: 20.0)
    assert verdicts_of(judged(study), "3D-limit") == {"reproduced"}
    assert verdicts_of(judged(study, seen(10.0, 12.0)), "3D-limit") == {"contradicted"}
    assert verdicts_of(judged(study), "3D-equivariance") == {"reproduced"}
    assert verdicts_of(judged(study, order=ORDER.assign(float64=0.1)), "3D-equivariance") == {"contradicted"}


def test_tables_and_figures_show_the_study():
    study = made_up(lambda arm, name: 20.0)
    table = transfer_tables.readme_table(study)
    assert {"floor: flat", "floor: mean shape (3D)"} <= set(table["run"]) and set(table["seeds"]) == {3}
    assert transfer_tables.headline(study)["mirror mistakes of 3D-LFM, %"] == 50
    shares = transfer_tables.mirror_mistakes(study)
    assert set(shares["mirror mistakes %"]) == {50} and VIEWPOINT in set(shares["part"])
    drawn = [getattr(transfer_figures, f"figure_{name}")(study) for name in ("unseen", "rigs", "widths", "together")]
    drawn += [transfer_figures.figure_switches(study), transfer_figures.figure_viewpoints(seen(10.0, 30.0))]
    assert all(figure.axes for figure in drawn)
    pyplot.close("all")
