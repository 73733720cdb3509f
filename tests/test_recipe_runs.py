"""Runs with a recipe: their configuration, the wake phase in the store, the dreams they train on, and no true shape."""

import dataclasses
import json
import math

import pytest
import torch

from lfmlib import handedness, training
from lfmlib.data.batches import ViewSampler
from lfmlib.data.shapes import ShapeSet
from lfmlib.data.views import CameraConfig, EvaluationViews
from lfmlib.model import LifterConfig
from lfmlib.objectives import Objective, ObjectiveConfig
from lfmlib.recipe import wake
from lfmlib.recipe.config import RecipeConfig
from lfmlib.recipe.shape_model import ShapeModel
from lfmlib.recipe.sleep import DreamSampler
from lfmlib.recipe.wake import Woken, dreamt_set, training_pictures, wake_all, wake_id
from lfmlib.rigs import Rig
from lfmlib.runs import PHOTOGRAPHS, RunConfig, RunData, run_id
from lfmlib.store import RunStore
from lfmlib.training import train, train_stack

RECIPE = RecipeConfig(
    azimuths=8, elevations=(-15, 15), restarts=2, rigid=4, gaussian=2, mixture=1, components=(2,), samples=2
)
DREAMT = ObjectiveConfig(reprojection=0.0, dreamt_3d=1.0)
PLANE = "synthetic_aeroplane8"

pytestmark = pytest.mark.usefixtures("no_git")


def config(**changes):
    small = dict(
        categories=(PLANE,), model=LifterConfig(width=16, depth=1, heads=2, ff=2), objective=DREAMT, recipe=RECIPE,
        count=80, steps=6, batch=8, views="fixed", test_views=20, evaluations=2,
    )  # fmt: skip
    return RunConfig(**small | changes)


def woken_by(run, store):
    return wake_all(run, RunData.of(run), store)


def same(one, two):
    """Whether two wake phases say the same."""
    parts = ("shapes", "azimuth", "elevation", "visible")
    return all(torch.equal(getattr(one, p), getattr(two, p)) for p in parts) and all(
        torch.equal(getattr(a, p), getattr(b, p))
        for a, b in zip((one.model, *one.candidates), (two.model, *two.candidates), strict=True)
        for p in wake.PARTS
    )


def essence(record):
    """What a run found out; not how long it took, wake phases included."""
    body = {k: v for k, v in record.items() if k not in ("provenance", "digest", "files", "wake")}
    return json.dumps(body, sort_keys=True)


def lengths(shapes):
    """Distances between the keypoints of a shape: what no camera changes."""
    i, j = torch.triu_indices(shapes.shape[1], shapes.shape[1], 1)
    return (shapes[:, i] - shapes[:, j]).norm(dim=-1)


def apart(rows, others):
    """Distance of each row to the nearest of the others."""
    return torch.cdist(rows, others, compute_mode="donot_use_mm_for_euclid_dist").amin(1)


def refuse(*_, **__):
    raise AssertionError("a finished wake phase was computed again")


# configuration


def test_a_run_without_a_recipe_is_what_it_was():
    plain = config(objective=ObjectiveConfig(), recipe=None)
    content = plain.as_dict()
    assert "recipe" not in content and "dreamt_3d" not in content["objective"]
    assert RunConfig.from_dict(content) == plain
    assert plain.as_dict(complete=True)["recipe"] is None
    data = RunData.of(plain)
    assert run_id(plain, data) == run_id(RunConfig.from_dict(plain.as_dict(complete=True)), data)


def test_a_recipe_survives_json_and_back():
    run = config()
    content = json.loads(json.dumps(run.as_dict()))
    assert content == run.as_dict() and RunConfig.from_dict(content) == run
    assert content["recipe"]["elevations"] == [-15.0, 15.0]
    assert RecipeConfig(wobble=3) == RecipeConfig(wobble=3.0)  # one setting, with one hash
    ids = {run_id(r, RunData.of(r)) for r in (run, config(recipe=dataclasses.replace(RECIPE, samples=3)))}
    assert len(ids) == 2
    with pytest.raises(ValueError, match="not a run configuration.*azimuth"):
        RunConfig.from_dict(content | {"recipe": {"azimuth": 3}})
    with pytest.raises(ValueError, match="recipe: azimuths is 3"):
        RunConfig.from_dict(content | {"recipe": {"azimuths": 3}})


def test_a_recipe_and_its_term_belong_together():
    with pytest.raises(ValueError, match=r"dreamt_3d is 1\.0 with no recipe"):
        config(recipe=None)
    with pytest.raises(ValueError, match=r"dreamt_3d is 0\.0 with a recipe"):
        config(objective=ObjectiveConfig())
    with pytest.raises(ValueError, match="from true shapes or from dreamt ones"):
        ObjectiveConfig(supervised_3d=1.0, dreamt_3d=1.0)


# pictures


def shape_set(count=6, n=5, name="toy", seed=0, fingerprint=None):
    return ShapeSet(
        rig=Rig(name, tuple(f"k{i}" for i in range(n)), up="+y"),
        points=torch.randn(count, n, 3, generator=torch.Generator().manual_seed(seed)),
        known=torch.ones(count, n, dtype=torch.bool), split=torch.zeros(count, dtype=torch.int8),
        sequence=torch.arange(count), tag="synthetic", fingerprint=fingerprint or f"{name}{seed}",
    )  # fmt: skip


def test_a_few_cad_models_are_photographed_from_many_sides(seeded):
    cad, own = shape_set(6), shape_set(30, seed=1)
    data = RunData((cad, own), (cad, shape_set(9, seed=2)), (cad, shape_set(9, seed=3)))
    assert data.pictured("fresh") == data.train
    again, once = data.pictured("fixed")
    assert len(again) == PHOTOGRAPHS and once is own
    assert torch.equal(again.points[:12], cad.points.repeat(2, 1, 1))
    run = config()
    pictures, frames = (training_pictures(run, data, i, seeded(1)) for i in (0, 1))
    assert len(pictures.X) == PHOTOGRAPHS and len(pictures.X.flatten(1).unique(dim=0)) == PHOTOGRAPHS
    assert len(frames.X) == 30 and type(frames) is not EvaluationViews
    few = config(recipe=dataclasses.replace(RECIPE, evidence=50))
    assert len(training_pictures(few, data, 0, seeded(1)).X) == 10  # 50 keypoints, 5 a picture
    fresh = dataclasses.replace(few, views="fresh")
    assert len(training_pictures(fresh, data, 1, seeded(1)).X) == 10


def test_fixed_views_are_those_that_other_runs_see(seeded):
    """One photograph per frame, the same whether a run lifts or dreams."""
    run, data = config(seed=3), RunData.of(config())
    frames = len(data.train[0])
    pictures = training_pictures(run, data, 0, seeded(1)).X
    other = ViewSampler(data.train, run.cameras, fixed_views=seeded(3_000_003)).draw(20 * frames, seeded(2)).X
    assert len(pictures) == frames
    assert (apart(other.flatten(1), pictures.flatten(1)) < 1e-5).all()
    assert not torch.equal(pictures, training_pictures(config(seed=4), data, 0, seeded(1)).X)


# the wake phase in the store


def test_the_name_of_a_wake_phase_says_what_decides_it():
    run = config()
    data = RunData.of(run)
    other = [
        config(recipe=dataclasses.replace(RECIPE, samples=3)), config(cameras=CameraConfig(elevation=10)),
        config(views="fresh"), config(missing=0.1), config(seed=1),
    ]  # fmt: skip
    assert len({wake_id(r, data, 0) for r in (run, *other)}) == 6
    assert wake_id(config(count=60), RunData.of(config(count=60)), 0) != wake_id(run, data, 0)
    for alike in (config(lr=1), config(steps=9), config(model=LifterConfig(width=8, depth=1, heads=1))):
        assert wake_id(alike, data, 0) == wake_id(run, data, 0)


def test_a_wake_phase_is_kept_and_comes_back_as_it_was(store, monkeypatch):
    (first,) = woken_by(config(), store)
    frames = len(RunData.of(config()).train[0])
    most = round(RECIPE.samples * frames / (1 - RECIPE.imagined))
    assert len(first.azimuth) == frames and 0.5 * most < len(first.shapes) <= most
    assert [s["stage"] for s in first.record["stages"]][:2] == ["rigid", "gaussian"]
    assert len(first.candidates) == len(first.record["stages"])
    assert sum(s["chosen"] for s in first.record["stages"]) == 1
    assert math.isclose(sum(first.record["elevations"].values()), 1, rel_tol=1e-4)
    assert 0 <= first.record["dropped"] < 1 and first.record["pictures"] == frames
    assert same(first, *woken_by(config(), RunStore(store.root.parent / "other")))
    monkeypatch.setattr(wake, "learn", refuse)
    (again,) = woken_by(config(lr=0.1), store)
    assert same(first, again) and first.record == again.record
    with pytest.raises(AssertionError):
        woken_by(config(seed=1), store)


@pytest.mark.parametrize("name", ["model.safetensors", "record.json", "curve.json"])
def test_a_damaged_wake_phase_is_computed_again(store, caplog, name):
    (first,) = woken_by(config(), store)
    path = store.folder(first.record["id"]) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (again,) = woken_by(config(), store)
    assert same(first, again) and name in caplog.text and "damaged" in caplog.text
    assert store.record(first.record["id"]) == again.record


def test_a_share_of_the_dreams_comes_from_no_picture(store):
    """The others are the same with it and without."""
    runs = [config(recipe=dataclasses.replace(RECIPE, imagined=share)) for share in (0.0, 0.5)]
    some, more = (woken_by(run, store)[0].shapes for run in runs)
    assert torch.equal(more[: len(some)], some) and 1.5 * len(some) < len(more) < 2.5 * len(some)
    assert apart(lengths(more[len(some) :]), lengths(some)).min() > 1e-3


def test_where_every_dream_is_too_deep_the_rigid_shape_is_left(store, monkeypatch):
    monkeypatch.setattr(wake, "EXPLODED", 0.0)
    (woken,) = woken_by(config(), store)
    assert woken.shapes.shape == (1, 8, 3) and woken.record["dropped"] == 1.0
    assert math.isclose(float(woken.shapes.square().sum(2).mean()), 1, rel_tol=1e-5)


def test_the_wake_phase_reads_no_third_dimension(tmp_path, monkeypatch):
    honest, stores = ViewSampler.views_of, [RunStore(tmp_path / name) for name in "ab"]
    (first,) = woken_by(config(), stores[0])

    def blind(self, *arguments):
        views = honest(self, *arguments)
        views.Y = torch.full_like(views.Y, math.nan)
        return views

    monkeypatch.setattr(ViewSampler, "views_of", blind)
    assert same(first, *woken_by(config(), stores[1]))


def test_a_rig_that_knows_its_left_orients_what_it_dreams(tmp_path):
    """The pictures do not say which of two mirror images they show; two rigs that disagree about it each get theirs."""
    axes = ((0,), (1,)), ((0,), (2,)), ((0,), (3,))
    points = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(2)) * 0.15
    points[0, :4] += torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    points = points + 0.03 * torch.randn(60, 6, 3, generator=torch.Generator().manual_seed(3))
    run = config(recipe=dataclasses.replace(RECIPE, handed=True, rigid=15, gaussian=4, mixture=0))
    found = []
    for name, handed in (("a", axes), ("b", (axes[0][::-1], *axes[1:]))):
        rig = Rig("toy", tuple(f"k{i}" for i in range(6)), up="+y", handed=handed)
        sets = (dataclasses.replace(shape_set(60, 6), rig=rig, points=points),)
        found += wake_all(run, RunData(sets, sets, sets), RunStore(tmp_path / name))
        assert not handedness.mirrored(found[-1].shapes, rig)
    assert sorted(w.record["mirrored"] for w in found) == [False, True]
    assert torch.equal(found[0].model.means, found[1].model.mirrored().means)
    assert dict(found[0].record["elevations"]) == {
        f"{-float(e):g}": share for e, share in found[1].record["elevations"].items()
    }


# dreams


def some_woken(count=40, n=5, seed=0, samples=2, masked=False, roll=0.05, name="toy"):
    g = torch.Generator().manual_seed(seed)
    model = ShapeModel(
        torch.zeros(1, 3 * n), torch.eye(3 * n)[None], torch.zeros(1), 0.01, torch.eye(3)[None], torch.zeros(1),
        (0.1, 0.1, roll),
    )  # fmt: skip
    visible = torch.ones(count, n, dtype=torch.bool)
    azimuth, elevation = (torch.rand(2, count, generator=g) * 2 - 1) * torch.tensor([[3.1], [0.5]])
    if masked:
        visible[torch.arange(count), torch.where(azimuth > 0, 0, 1)] = False  # what is hidden follows from the side
    shapes = torch.randn(samples * count, n, 3, generator=g)
    return Woken(shapes, azimuth, elevation, visible, model, (model,), {"id": f"wake-{name}{seed}"})


def test_dreams_become_a_set_of_shapes():
    woken = some_woken(masked=True)
    woken.visible[:, 3] = False
    made = dreamt_set(woken, shape_set())
    assert torch.equal(made.points, woken.shapes) and made.known[0].tolist() == [True, True, True, False, True]
    assert made.rig.up == "+y" and made.fingerprint == "wake-toy0" and made.shares_shapes


def angles_of(sampler, count, generator):
    """Cameras that a sampler draws, and the pictures."""
    kept, draw = [], sampler._view

    def watched(*arguments):
        kept.append(draw(*arguments))
        return kept[-1]

    sampler._view = watched
    views = sampler.draw_with_truth(count, generator)
    return kept[0], views


def test_dreams_are_seen_from_everywhere_where_nothing_is_hidden(seeded):
    woken = some_woken()
    (angles, shown), views = angles_of(DreamSampler([woken], [shape_set()]), 8000, seeded(1))
    assert shown is None and views.visible is None
    turn = angles[0] / math.tau
    share = torch.histc(turn, 8, 0, 1) / 8000
    assert (turn >= 0).all() and (turn < 1).all() and (share - 1 / 8).abs().max() < 0.02
    assert torch.isin(angles[1], woken.elevation).all()  # those of pictures
    assert abs(float(angles[2].std()) - 0.05) < 0.003 and abs(float(angles[2].mean())) < 0.003


def test_what_is_hidden_stays_with_the_side_it_is_seen_from(seeded):
    woken = some_woken(masked=True)
    (angles, shown), views = angles_of(DreamSampler([woken], [shape_set()]), 500, seeded(1))
    partner = (angles[0][:, None] == woken.azimuth).nonzero()[:, 1]
    assert len(partner) == 500 and len(partner.unique()) == 40
    assert torch.equal(angles[1], woken.elevation[partner])
    assert torch.equal(shown, woken.visible[partner]) and torch.equal(views.visible, woken.visible[partner])
    assert views.known.all()  # a dream knows what its picture hides
    assert (views.X[~views.visible] == 0).all()


def test_dreams_can_hide_what_their_pictures_show(seeded):
    views = DreamSampler([some_woken(40, 20)], [shape_set(n=20)], missing=0.3).draw_with_truth(4000, seeded(1))
    assert views.known.all() and abs(float(views.visible.float().mean()) - 0.7) < 0.02
    assert (views.visible.sum(1) >= 4).all() and (views.X[~views.visible] == 0).all()


def test_hiding_in_dreams_leaves_the_wake_phase_and_the_ids_of_other_runs_alone(store):
    plain, hiding = config(), config(dream_missing=0.3)
    data = RunData.of(plain)
    assert wake_id(plain, data, 0) == wake_id(hiding, data, 0) and run_id(plain, data) != run_id(hiding, data)
    assert "dream_missing" not in plain.as_dict() and RunConfig.from_dict(hiding.as_dict()) == hiding


def test_without_dreams_nothing_can_be_hidden_in_them():
    with pytest.raises(ValueError, match="dream_missing is 0.3 with no recipe"):
        RunConfig(("synthetic_chair10",), dream_missing=0.3)


def test_each_category_dreams_with_its_own_pictures(seeded):
    """Padded to the larger rig, where one category has masks and the other none."""
    woken = [some_woken(30, 5), some_woken(50, 7, seed=1, masked=True)]
    sets = [shape_set(n=5), shape_set(n=7, name="other")]
    (angles, _), views = angles_of(DreamSampler(woken, sets, waste=1), 600, seeded(1))
    for c, n in enumerate((5, 7)):
        mine = views.category == c
        assert 200 < int(mine.sum()) < 400
        assert torch.isin(angles[0][mine], woken[c].azimuth).all() and (views.known[mine].sum(1) == n).all()
        assert (apart(lengths(views.Y[mine][:, :n]), lengths(woken[c].shapes)) < 1e-4).all()
    assert bool(views.visible[views.category == 0][:, :5].all())
    assert (views.visible[views.category == 1].sum(1) == 6).all()


def test_no_measured_shape_enters_a_dream(seeded):
    real = shape_set()
    garbage = dataclasses.replace(real, points=torch.full_like(real.points, 1e6))
    woken = [some_woken(masked=True)]
    one, two = (DreamSampler(woken, [s]).draw_with_truth(50, seeded(1)) for s in (real, garbage))
    assert torch.equal(one.X, two.X) and torch.equal(one.Y, two.Y) and torch.equal(one.visible, two.visible)


# training


def test_a_recipe_run_trains_and_says_how(store, tmp_path):
    record = train(config(), store)
    assert record["status"] == "done" and record["final"]["step"] == 6
    (phase,) = record["wake"]
    assert phase["category"] == PLANE and store.record(phase["id"]) == phase
    assert {"stages", "doubts", "elevations", "dropped", "seconds"} <= set(phase)
    assert RunConfig.from_dict(record["config"]) == config()
    assert record["final"]["dreamt_3d"] == record["final"]["loss"] > 0
    assert essence(train(config(), RunStore(tmp_path / "again"))) == essence(record)
    assert "wake" not in train(config(objective=ObjectiveConfig(), recipe=None), store)


@pytest.mark.parametrize("changes", [{"missing": 0.3}, {"views": "fresh"}, {"categories": (PLANE, "synthetic_boat7")}])
def test_recipe_runs_of_other_kinds(store, changes):
    record = train(config(**changes), store)
    assert record["status"] == "done" and len(record["wake"]) == len(record["config"]["categories"])


def test_training_lowers_the_error_on_dreams(store):
    train(config(steps=60, batch=16, lr=3e-3), store)
    run = config(steps=60, batch=16, lr=3e-3)
    curve = store.curve(run_id(run, RunData.of(run)))
    assert curve[-1]["dreamt_3d"] < 0.8 * curve[0]["dreamt_3d"]


def test_the_objective_gets_dreams_and_no_true_shape(store, monkeypatch):
    """Whatever is handed over as Y is a shape of the wake phase, turned; none is a shape of the data."""
    run, got, steps = config(objective=ObjectiveConfig(dreamt_3d=0.5)), [], Objective.steps

    def watched(self, views, generator=None, Y=None):
        got.append(Y)
        return steps(self, views, generator, Y)

    monkeypatch.setattr(Objective, "steps", watched)
    record = train(run, store)
    (woken,) = woken_by(run, store)
    given = lengths(torch.cat(got))
    assert len(given) == run.steps * run.batch and record["final"]["reprojection"] > 0
    assert apart(given, lengths(woken.shapes)).max() < 1e-4
    data = RunData.of(run)
    true = torch.cat([part[0].points for part in (data.train, data.validation, data.test)])
    unit = lambda d: d / d.square().mean(1, keepdim=True).sqrt()  # noqa: E731
    assert apart(unit(given), unit(lengths(true))).min() > 1e-3


class Stopped(Exception):
    pass


def test_a_run_cut_after_its_wake_phase_does_not_wake_again(tmp_path, monkeypatch):
    stores = [RunStore(tmp_path / name) for name in "ab"]
    whole = train(config(), stores[0])

    def stop(_):
        raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(training, "CHECKPOINT_SECONDS", -1.0)
        train(config(), stores[1], progress=stop)
    run = whole["id"]
    assert stores[1].record(run) is None and (stores[1].folder(run) / "checkpoint.safetensors").exists()
    monkeypatch.setattr(wake, "learn", refuse)
    assert essence(train(config(), stores[1])) == essence(whole)


def test_a_run_cut_in_its_wake_phase_starts_it_again(store, monkeypatch):
    def stop(*_):
        raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(wake, "dream", stop)
        train(config(), store)
    assert not store.root.exists() or all(store.record(f.name) is None for f in store.root.iterdir())
    assert train(config(), store)["status"] == "done"


def test_recipe_runs_end_in_a_stack_as_they_do_alone(tmp_path):
    runs = [config(precision="float64", seed=s, steps=4) for s in (0, 1)]
    runs.append(config(precision="float64", objective=ObjectiveConfig(supervised_3d=1.0), recipe=None, steps=4))
    together, alone = RunStore(tmp_path / "together"), RunStore(tmp_path / "alone")
    records = train_stack(runs, together)
    assert {r["provenance"]["stacked"] for r in records} == {3}
    for run, record in zip(runs, records, strict=True):
        assert math.isclose(record["final"]["loss"], train(run, alone)["final"]["loss"], rel_tol=1e-6)


def test_one_view_of_a_low_object_does_not_explode(store, monkeypatch):
    """The wake phase doubts, and what it dreams stays within its bounds."""
    honest = wake.learn

    def one_view(X, visible, *others):
        return honest(X[:1].expand(40, -1, -1) * torch.tensor([1.0, 0.1]), visible[:1].expand(40, -1), *others)

    monkeypatch.setattr(wake, "learn", one_view)
    (woken,) = woken_by(config(), store)
    assert any("depth is not determined" in doubt for doubt in woken.record["doubts"])
    assert wake.depth_ratio(woken.shapes).max() <= wake.EXPLODED
