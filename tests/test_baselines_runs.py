"""Runs of the baselines: each is trained, kept, found again, loaded as it was, and sees nothing that it may not."""

import dataclasses

import pytest
import torch

from lfmlib.baselines import methods, runs
from lfmlib.baselines.methods import METHODS, PICTURES, TRUTH
from lfmlib.metrics import CLASS_MEAN
from lfmlib.model import LifterConfig
from lfmlib.objectives import ObjectiveConfig
from lfmlib.recipe.config import RecipeConfig
from lfmlib.run_views import measuring_views
from lfmlib.runs import RunConfig, RunData
from lfmlib.store import RunStore

PLANE, CHAIR = "synthetic_aeroplane8", "synthetic_chair10"
RECIPE = RecipeConfig(
    azimuths=8, elevations=(-15, 15), restarts=2, rigid=4, gaussian=2, mixture=1, components=(2,), samples=2
)

pytestmark = pytest.mark.usefixtures("no_git")


def config(*categories, **changes):
    small = dict(count=80, steps=3, batch=16, test_views=20)
    return RunConfig(categories or (PLANE,), **small | changes)


def dreaming(**changes):
    return config(
        recipe=RECIPE, objective=ObjectiveConfig(reprojection=0, dreamt_3d=1), model=LifterConfig(width=16), **changes
    )  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_and_is_found_again_and_loads_as_it_was(name, tmp_path):
    run, store = dreaming() if name == methods.MLP else config(), RunStore(tmp_path)
    (record,) = runs.records([(name, run)], 0, store)
    assert {row["category"] for row in record["rows"]} == {PLANE} and record["parameters"] > 0
    assert record["config"]["method"] == name and record["provenance"]["machine"]
    assert runs.records([(name, run)], 0, store) == [record]
    (network,) = runs.networks(name, run, store)
    views = measuring_views(run, RunData.of(run).test)
    lifted = network.lift(views.X, views.visible)
    assert lifted.shape == views.Y.shape and bool(lifted.isfinite().all())
    found = runs._rows(name, lifted, views, run, RunData.of(run), 0.0)[0]
    assert found["o3"] == pytest.approx(record["rows"][0]["o3"], rel=1e-4)


@pytest.mark.parametrize("name", [methods.PAUL_NAME, methods.LFM, methods.NUCLEAR, methods.C3DPO_ALL])
def test_several_categories_give_a_row_each_and_a_mean(name, tmp_path):
    run, store = config(PLANE, CHAIR), RunStore(tmp_path)
    (record,) = runs.records([(name, run)], 0, store)
    rows = {row["category"]: row["flip"] for row in runs.rows([record])}
    assert list(rows) == [PLANE, CHAIR, CLASS_MEAN]
    assert rows[CLASS_MEAN] == pytest.approx((rows[PLANE] + rows[CHAIR]) / 2)
    assert len(runs.networks(name, run, store)) == (1 if METHODS[name].several else 2)


def test_a_network_of_its_own_does_not_depend_on_the_other_categories(tmp_path):
    store = RunStore(tmp_path)
    alone, both = (runs.networks(methods.PAUL_NAME, c, store)[0] for c in (config(), config(PLANE, CHAIR)))
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), both.parameters(), strict=True))


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if m.sees == PICTURES and not m.several])
def test_a_method_that_sees_pictures_does_not_change_with_the_truth(name, monkeypatch):
    """Depths are spoilt where a sampler hands them out; the network is the same."""
    from lfmlib.data.batches import ViewSampler

    def trained():
        run = config(steps=2)
        network, _ = runs._trained(METHODS[name], run, RunData.of(run).pictured(run.views), None)
        return runs._state(network)

    before, honest = trained(), ViewSampler.views_of

    def spoilt(self, *args, **kwargs):
        views = honest(self, *args, **kwargs)
        views.Y = views.Y * torch.tensor([1.0, 1.0, 7.0]) + 3
        return views

    monkeypatch.setattr(ViewSampler, "views_of", spoilt)
    after = trained()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", [methods.PAUL_NAME, methods.SIMPLE])
def test_the_search_tries_every_rate_once(name, store, monkeypatch):
    found = runs.search(name, config(), store)
    monkeypatch.setattr(runs, "_trained", lambda *_: pytest.fail("was trained again"))
    assert runs.search(name, config(), store) == found
    assert [row["lr"] for row in found] == list(METHODS[name].rates)
    assert len({row["held-out loss"] for row in found}) == len(found) and all(row["held-out loss"] > 0 for row in found)


def test_another_rate_is_another_run():
    run = config()
    ids = {runs.baseline_id(methods.PAUL_NAME, run, RunData.of(run), **changes) for changes in ({}, {"lr": 1e-2})}
    assert len(ids) == 2 and methods.method(methods.PAUL_NAME, lr=1e-2).lr == 1e-2
    same = {"lr": METHODS[methods.PAUL_NAME].lr}
    assert runs.baseline_id(methods.PAUL_NAME, run, RunData.of(run), **same) in ids


def test_what_uses_3d_says_so_in_its_name():
    assert all("3D" in name for name, known in METHODS.items() if known.sees == TRUTH)


def test_settings_and_data_make_the_id(tmp_path):
    run = config()
    ids = {
        runs.baseline_id(name, c, RunData.of(c))
        for name in (methods.PAUL_NAME, methods.C3DPO) for c in (run, dataclasses.replace(run, seed=1), config(CHAIR))
    }  # fmt: skip
    assert len(ids) == 6


def test_an_unknown_method_is_named(tmp_path):
    with pytest.raises(ValueError, match="unknown baseline 'magic'.*c3dpo"):
        runs.records([("magic", config())], 0, RunStore(tmp_path))


def test_changed_settings_make_another_run_and_unchanged_ones_the_same(tmp_path):
    run, store = config(), RunStore(tmp_path)
    jobs = [(methods.LFM, run), (methods.LFM, run, {"width": 64}), (methods.LFM, run, {"embedding": "linear"})]
    plain, same, linear = runs.records(jobs, 0, store)
    assert plain["id"] == same["id"] != linear["id"]
    assert linear["config"]["embedding"] == "linear" and linear["parameters"] > plain["parameters"]
    (network,) = runs.networks(methods.LFM, run, store, embedding="linear")
    assert network.embed is not None and runs.networks(methods.LFM, run, store)[0].embed is None
    views = measuring_views(run, RunData.of(run).test)
    found = runs._rows(methods.LFM, network.lift(views.X), views, run, RunData.of(run), 0.0)[0]
    assert found["o3"] == pytest.approx(linear["rows"][0]["o3"], rel=1e-4)


def test_c3dpo_without_object_info_gives_all_categories_the_same_places(tmp_path):
    run, store = config(PLANE, CHAIR, waste=1), RunStore(tmp_path)
    runs.records([(methods.C3DPO_ALL, run, {"object_info": False})], 0, store)
    (blind,) = runs.networks(methods.C3DPO_ALL, run, store, object_info=False)
    (told,) = runs.networks(methods.C3DPO_ALL, run, store)
    assert (blind.network.keypoints, told.network.keypoints) == (10, 18)
