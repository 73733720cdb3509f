"""The network that comes with the package: it loads, may be passed on, beats the flat answer, and its card is true."""

import pytest
import torch

from lfmlib import experiments, lifting, loading
from lfmlib.baselines import floors
from lfmlib.data import listing, synthetic
from lfmlib.files import read_json
from lfmlib.metrics import pa_mpjpe
from lfmlib.run_views import measuring_views
from lfmlib.runs import RunConfig, RunData
from lfmlib.studies import shipped


@pytest.fixture(scope="module")
def lifter():
    return lifting.load("shipped")


def test_it_was_trained_on_nothing_but_what_may_be_passed_on(lifter):
    measured = [name for name in lifter.names if name not in synthetic.categories()]
    assert len(lifter.names) >= 45
    assert all(listing.sources()[name].licence in shipped.OPEN for name in measured)


def test_no_label_entered_it(lifter):
    config = lifter.config
    assert config.objective.terms == ("dreamt_3d",) and config.views == "fixed" and config.recipe is not None


@pytest.mark.parametrize("name", ["synthetic_body17", "synthetic_chair10", "synthetic_dog26"])
def test_its_shapes_are_nearer_than_the_flat_answer(lifter, name):
    config = RunConfig((name,), count=300, test_views=100)
    views = measuring_views(config, RunData.of(config).test)
    lifted = lifting.lift(lifter, views.X, category=name).shapes
    ours, flat = (pa_mpjpe(P, views.Y, mirror="o3").mean() for P in (lifted, floors.flat(views.X)))
    assert ours < 0.8 * flat


def test_missing_keypoints_have_a_place(lifter):
    config = RunConfig(("synthetic_body17",), count=300, test_views=50, missing=0.2)
    views = measuring_views(config, RunData.of(config).test)
    lifted = lifting.lift(lifter, views.X, views.visible, "synthetic_body17").shapes
    errors = (pa_mpjpe(P, views.Y, mirror="o3").mean() for P in (lifted, floors.flat(views.X)))
    assert next(errors) < 0.8 * next(errors) and bool(torch.isfinite(lifted).all())


def test_the_card_says_what_the_record_says(lifter):
    record = read_json(loading.SHIPPED / "record.json")
    card = (loading.SHIPPED / shipped.CARD).read_text(encoding="utf-8")
    assert record["id"] in card and f"{record['parameters']:,} parameters" in card
    assert sum(p.numel() for p in lifter.lifter.parameters()) == record["parameters"]
    lines = {line.split("`")[1]: line for line in card.splitlines() if line.startswith("| `")}
    assert set(lines) == set(lifter.names)
    for row in experiments.rows(record):
        if (row["read_out"], row["stop"]) == ("snap", "last") and row["category"] in lines:
            assert f"| {row['flip']:.1f} | {row['o3']:.1f} |" in lines[row["category"]]
