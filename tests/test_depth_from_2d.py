"""What docs/depth_from_2d.md says, as laws: what one picture hides, what many tell, and what no number of them does."""

import dataclasses
import functools
import math
import re

import matplotlib.pyplot
import pytest
import torch

from lfmlib import geometry, rigs
from lfmlib.data.views import normalise, view_rotations
from lfmlib.handedness import mirrored
from lfmlib.recipe.config import RecipeConfig
from lfmlib.recipe.dreams import lift
from lfmlib.recipe.evidence import EStep, Evidence
from lfmlib.recipe.learn import learn
from lfmlib.studies import depth_from_2d as study

# the rigid stage alone is enough for one object
RIGID_STAGE = RecipeConfig(
    azimuths=12, elevations=(-15, -5, 5, 15), restarts=4, rigid=40, gaussian=0, mixture=0, components=()
)


@pytest.fixture(scope="module")
def people():
    """Pictures of people, shapes of others, and one Gaussian of those."""
    Y, seen = study.material(study.PEOPLE)
    evidence = study.pictures(seen[:150], 0)
    return evidence, Y, study.fitted(evidence, study.gaussian(Y))


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    matplotlib.pyplot.close("all")


def learned_from(evidence, seed=0):
    return learn(evidence.X, evidence.visible, None, RIGID_STAGE, torch.Generator().manual_seed(seed))


def depth_over_width(shape):
    """Smaller over larger horizontal extent of an upright shape, about any vertical."""
    x, _, z = study.facing(shape[None]).std((0, 1)).tolist()
    return z / x


# one picture


def test_any_depth_explains_one_picture(generator):
    X = normalise(torch.randn(40, 9, 2, generator=generator, dtype=torch.float64))[0]
    for depth in (0.0, 1.0, 50.0):
        z = depth * torch.randn(40, 9, 1, generator=generator, dtype=torch.float64)
        assert geometry.reprojection(X, torch.cat([X, z], -1)).max() < 1e-9


def test_the_four_answers_differ_from_the_side_alone():
    table, answers, X = study.ambiguity()
    (front, side), found = answers[..., :2], table.set_index("answer")
    assert found["eq1"].max() < 1e-18 and torch.allclose(front, X[0].expand_as(front))
    assert found["nearest"][["true depth", "mirrored"]].max() < 1e-6
    assert found["nearest"][["flat", "doubled"]].min() > 3
    assert torch.allclose(side[0], X[1]) and (side[3] - X[1]).abs().max() > 0.1


# many pictures


@pytest.mark.parametrize("name", [study.RIGID, study.PEOPLE])
def test_many_pictures_are_likeliest_under_the_true_depth(name):
    found = study.depth_curve(name, stretches=(0.5, 0.8, 1.0, 1.2, 2.0)).set_index("stretch")
    values = found["log_likelihood"]
    assert values.idxmax() == 1 and (values.loc[:1].is_monotonic_increasing and values.loc[1:].is_monotonic_decreasing)
    assert (values + 2 * found["error"])[[0.5, 2.0]].max() < -2


def test_a_shape_per_picture_learns_nothing_from_them():
    found = study.blind_curve(stretches=(0.0, 0.5, 1.0, 2.0)).set_index("stretch")
    assert found["own"].max() < 1e-4 and found["shared"].idxmin() == 1  # % of the picture's RMS
    assert found["shared"][0] > 10 * found["shared"][1]


def test_the_likelihood_does_not_reward_less_noise_by_itself(people):
    """Scaled with its noise a model says the same of normalised pictures; so must its likelihood."""
    evidence, _, model = people
    half = dataclasses.replace(
        model, means=model.means / 2, covariances=model.covariances / 4, noise=model.noise / 4
    )
    assert torch.allclose(study.likelihood(evidence, half), study.likelihood(evidence, model), atol=1e-6)


def test_the_recipe_finds_the_depth_of_a_rigid_object():
    Y, seen = study.material(study.RIGID)
    learned = learned_from(study.pictures(seen, 0))
    assert learned.doubts == ()
    assert math.isclose(depth_over_width(learned.rigid.shape.double()), depth_over_width(Y[0]), rel_tol=0.1)


# what cannot be had


def test_depth_is_free_where_cameras_hardly_turn(monkeypatch):
    monkeypatch.setattr(study, "TRIED", (*study.TRIED[:-2:2], 180.0))
    found = study.turning_curves(stretches=(0.5, 1.0, 2.0))
    lost = found.pivot(index="reach", columns="stretch", values="log_likelihood")[[0.5, 2.0]].max(axis=1)
    assert lost[180.0] < lost[60.0] < lost[30.0] < lost[10.0] + 0.1
    assert lost[180.0] < -5 and abs(lost[10.0]) < 0.1


def test_the_recipe_does_not_notice_that_cameras_hardly_turn():
    """It takes them for cameras from everywhere, and the shape for a shallower one."""
    Y, seen = study.material(study.RIGID)
    learned = learned_from(study.pictures(seen, 0, reach=10.0, elevation=0.0))
    assert learned.doubts == () and depth_over_width(learned.rigid.shape.double()) < 0.5 * depth_over_width(Y[0])


def test_one_view_planes_and_few_pictures_are_doubted(monkeypatch):
    _, seen = study.material(study.RIGID)
    few = study.pictures(seen[:10], 0).X
    alike = study.pictures(seen[:1], 0).X.expand(100, -1, -1)  # as of a bottle: the same from every side
    noisy = study.pictures(study.stretched(seen, 0.0), 0).X
    monkeypatch.setattr(study, "NOISE", 0.0)
    plane, view = study.pictures(study.stretched(seen, 0.0), 0).X, study.pictures(seen, 0, 0.0, 0.0).X
    for X, words in ((few, "too few"), (alike, "span a plane"), (plane, "span a plane"), (view, "span a plane")):
        learned = learned_from(Evidence(X, torch.ones(X.shape[:2], dtype=torch.bool)))
        assert any(words in doubt for doubt in learned.doubts) and len(learned.model.means) == 1
        assert torch.equal(learned.model.means[0], learned.rigid.shape.flatten())
    learned = learned_from(Evidence(noisy, torch.ones(noisy.shape[:2], dtype=torch.bool)))
    assert not any("span a plane" in doubt for doubt in learned.doubts)  # noise gives a plane some thickness


def test_a_plane_has_two_answers_in_every_picture():
    _, seen = study.material(study.RIGID)
    model = study.gaussian(study.stretched(seen[:1], 0.0))
    log = EStep(study.pictures(study.stretched(seen[:50], 0.0), 0), model).log.view(50, 24, 4)
    assert torch.allclose(log, log.flip(1, 2), atol=1e-6)  # from the other side and the other elevation


def test_keypoints_on_the_axis_have_no_depth():
    stick = study.material(study.RIGID)[0] * torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    stick = stick / stick.square().sum(-1).mean().sqrt()
    evidence = study.pictures(stick.expand(50, -1, -1), 0)
    one, two = (study.likelihood(evidence, study.gaussian(study.stretched(stick, c))) for c in (0.5, 2.0))
    assert torch.allclose(one, two)


def test_the_mirror_image_is_as_likely(people):
    evidence, _, model = people
    other = model.mirrored()
    assert torch.allclose(study.likelihood(evidence, other), study.likelihood(evidence, model), atol=1e-6)
    both = dataclasses.replace(
        model, means=torch.cat([model.means, other.means]), weights=torch.full((2,), math.log(0.5)).double(),
        covariances=torch.cat([model.covariances, other.covariances]),
    )  # fmt: skip
    assert torch.allclose(study.likelihood(evidence, both), study.likelihood(evidence, model), atol=1e-6)


def test_whoever_knows_that_cameras_look_down_knows_the_handedness():
    Y, seen = study.material(study.PEOPLE)
    above = math.radians(35)
    azimuth = torch.rand(150, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * math.tau
    R = view_rotations(azimuth, torch.full_like(azimuth, above), torch.zeros_like(azimuth))
    X = normalise((seen[:150] @ R.mT)[..., :2])[0]
    evidence = Evidence(X, torch.ones(X.shape[:2], dtype=torch.bool))
    model = study.fitted(evidence, study.gaussian(Y, elevations=(30.0, 40.0)))
    other = model.mirrored()  # with cameras that look up
    told = dataclasses.replace(other, rotations=model.rotations)
    levels = [study.likelihood(evidence, m).mean() for m in (model, other, told)]
    assert torch.allclose(levels[0], levels[1], atol=1e-6) and levels[2] < levels[0] - 1


def test_one_gaussian_of_people_prefers_one_hand():
    found = study.mixed_curve(shares=(0.0, 0.25, 0.5, 1.0)).set_index("share")["log_likelihood"]
    assert abs(found[0.0] - found[1.0]) < 1e-6 and found[0.5] < found[0.25] < -0.5


def test_one_bit_turns_all_people_round(people):
    evidence, _, model = people
    rig = rigs.get(study.HANDED)
    assert rig.keypoints == rigs.get(study.PEOPLE).keypoints
    one, two = (lift(m, evidence.X, evidence.visible) for m in (model, model.mirrored()))
    assert not mirrored(one, rig) and mirrored(two, rig)
    assert torch.allclose(study.stretched(two, -1.0), one, atol=1e-6)
    values = study.mirror_images()
    assert (values["model"][0] > 0).double().mean() > 0.85


def test_near_cameras_are_not_weak_perspective():
    Y, _ = study.material(study.PEOPLE)
    Y = Y[:50]
    residuals = []
    for distance in (3.0, 10.0, 100.0):  # RMS radii
        X = normalise(distance * Y[..., :2] / (distance + Y[..., 2:]))[0]
        residuals.append(float(geometry.reprojection(X, Y).mean()))
    assert residuals[0] > 4 * residuals[1] > 16 * residuals[2]


# figures and page


def test_figures_have_their_panels(monkeypatch):
    for name, few in (("depth_curve", (0.5, 1.0)), ("blind_curve", (0.5, 1.0)), ("turning_curves", (0.5, 1.0)),
                      ("mixed_curve", (0.0, 1.0))):  # fmt: skip
        key = "shares" if name == "mixed_curve" else "stretches"
        monkeypatch.setattr(study, name, functools.partial(getattr(study, name), **{key: few}))
    monkeypatch.setattr(study, "TRIED", (90.0, 180.0))
    monkeypatch.setattr(study, "REACHES", (180.0, 60.0))
    assert len(study.fig_ambiguity().axes) == 10
    for figure in (study.fig_likelihood(), study.fig_limits()):
        assert len(figure.axes) == 3 and all(ax.get_xlabel() and ax.get_title() for ax in figure.axes)


def test_the_page_shows_the_figures_of_this_study(root):
    text = (root / "docs" / "depth_from_2d.md").read_text()
    shown = re.findall(r"\]\(\.\./results/cpu/12_beyond/(fig_\w+)\.png\)", text)
    assert shown == ["fig_ambiguity", "fig_likelihood", "fig_limits"] and all(hasattr(study, f) for f in shown)
    for path in re.findall(r"`((?:lfmlib|notebooks|tests|docs)/[\w/]+\.\w+)`", text):
        assert (root / path).exists(), path
