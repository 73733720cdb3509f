"""The recipe from pictures to shapes: what it learns of toys, what it doubts, and what it dreams."""

import dataclasses
import math

import pytest
import torch

from lfmlib import geometry
from lfmlib.data.views import normalise, view_rotations
from lfmlib.recipe.config import RecipeConfig
from lfmlib.recipe.dreams import camera_angles, dream, imagine, lift
from lfmlib.recipe.evidence import EStep, Evidence
from lfmlib.recipe.learn import DEEPEST, depth_ratio, learn, oriented
from lfmlib.recipe.shape_model import ShapeModel

N = 8
SMALL = RecipeConfig(
    azimuths=12, elevations=(-15, 0, 15), restarts=3, rigid=20, gaussian=8, mixture=5, components=(2,), samples=1
)


def some_shapes(count, seed):
    Y = torch.randn(count, N, 3, generator=torch.Generator().manual_seed(seed))
    Y = Y - Y.mean(1, keepdim=True)
    return Y / Y.square().sum((1, 2), keepdim=True).div(N).sqrt()


def photographed(shapes, generator, low=-20.0, high=20.0, turn=180.0, noise=0.0):
    """Pictures, from azimuths within `turn` and elevations between `low` and `high`, and shapes as the cameras see."""
    azimuth, elevation = torch.rand(2, len(shapes), generator=generator)
    azimuth, elevation = (2 * azimuth - 1) * math.radians(turn), (low + (high - low) * elevation).deg2rad()
    Y = shapes @ view_rotations(azimuth, elevation, torch.zeros(len(shapes))).mT
    return normalise(Y[..., :2] + noise * torch.randn(len(Y), N, 2, generator=generator))[0], Y


def everywhere(X):
    return torch.ones(X.shape[:2], dtype=torch.bool)


def learned_from(X, generator, config=SMALL, visible=None, held_out=None):
    return learn(X, everywhere(X) if visible is None else visible, held_out, config, generator)


def error(lifted, Y):
    """RMS distance in radii after the best similarity, the mirror image of all pictures allowed."""
    flips = (lifted * torch.tensor([1.0, 1.0, sign]) for sign in (1, -1))
    centred = Y - Y.mean(1, keepdim=True)
    radius = centred.square().sum((1, 2))
    moved = (geometry.align(Z, Y, everywhere(Z), mirror="so3").apply(Z) - Y for Z in flips)
    return min(float((d.square().sum((1, 2)) / radius).sqrt().mean()) for d in moved)


def errors(learned, X, Y):
    """Of the model, of its rigid start, and of no depth."""
    parts = {f.name: getattr(learned.model, f.name) for f in dataclasses.fields(ShapeModel)}
    rigid = parts | dict(
        means=learned.rigid.shape.flatten()[None], covariances=1e-5 * torch.eye(3 * N)[None], weights=torch.zeros(1),
        noise=learned.rigid.variance,
    )  # fmt: skip
    flat = torch.cat([X, torch.zeros_like(X[..., :1])], -1)
    lifted = [lift(model, X, everywhere(X)) for model in (learned.model, ShapeModel(**rigid))]
    return [error(shapes, Y) for shapes in (*lifted, flat)]


def stage_names(learned):
    return [(s["stage"], s["components"]) for s in learned.stages]


def chosen(learned):
    (stage,) = (s for s in learned.stages if s["chosen"])
    return stage["stage"], stage["components"]


# what is learned


def test_two_kinds_of_rigid_shapes_become_a_mixture(seeded):
    g, both = seeded(1), some_shapes(1, 7) + 0.5 * some_shapes(2, 8)
    X, Y = photographed(both[torch.arange(400) % 2], g)
    learned = learned_from(X[:300], g, held_out=Evidence(X[300:], everywhere(X[300:])))
    assert learned.doubts == () and chosen(learned) == ("mixture", 2)
    assert stage_names(learned) == [("rigid", 1), ("gaussian", 1), ("mixture", 2)]
    ours, rigid, flat = errors(learned, X[300:], Y[300:])
    assert ours < 0.2 * rigid and ours < 0.1 * flat
    scores = [s["held_out"] for s in learned.stages]
    assert scores == sorted(scores) and all(s["seconds"] >= 0 for s in learned.stages)


def test_a_shape_that_bends_is_one_gaussian(seeded):
    g, mean = seeded(2), some_shapes(1, 3)
    modes = 0.35 * some_shapes(2, 5)
    Y = mean + torch.einsum("fk,knj->fnj", torch.randn(400, 2, generator=g), modes)
    X, Y = photographed(Y, g)
    learned = learned_from(X[:300], g, held_out=Evidence(X[300:], everywhere(X[300:])))
    ours, rigid, flat = errors(learned, X[300:], Y[300:])
    assert ours < 0.6 * rigid and ours < 0.4 * flat
    values = torch.linalg.eigvalsh(learned.model.covariances[0])
    assert values[0] > 0 and values[-2:].sum() > 0.5 * values.sum()


def test_one_seed_gives_one_model(seeded):
    X, _ = photographed(some_shapes(1, 3).expand(60, -1, -1), seeded(2), noise=0.02)
    one, two, other = (learned_from(X, seeded(seed)) for seed in (4, 4, 5))
    assert torch.equal(one.model.means, two.model.means) and one.rigid.likelihood == two.rigid.likelihood
    assert not torch.equal(one.model.means, other.model.means)
    assert stage_names(one) == [("rigid", 1), ("gaussian", 1)]  # nothing held out: nothing chosen
    assert one.stages[0]["held_out"] is None


def test_elevations_of_cameras_are_learned(seeded):
    g = seeded(3)
    X, Y = photographed(some_shapes(1, 3).expand(300, -1, -1), g, low=25.0, high=45.0)
    grid = dataclasses.replace(SMALL, elevations=(-35, -15, 0, 15, 35, 55), gaussian=10)
    learned = learned_from(X[:250], g, grid)
    share = dict(zip(learned.grid.elevations, learned.grid.shares, strict=True))
    outer = max(share.get(35.0, 0), share.get(-35.0, 0))  # its mirror image is seen from below
    assert outer > 0.8 and learned.doubts == ()
    ours, _, flat = errors(learned, X[250:], Y[250:])
    assert ours < 0.3 * flat


def test_the_mirror_image_is_seen_from_the_other_side_of_the_horizon(seeded):
    g = seeded(3)
    X, _ = photographed(some_shapes(1, 3).expand(80, -1, -1), g, low=5.0, high=20.0)
    learned = learned_from(X, g)
    turned = oriented(learned)
    before, after = (EStep(Evidence(X, everywhere(X)), m.model).likelihood() for m in (learned, turned))
    assert torch.allclose(before, after, atol=1e-3)
    assert turned.grid.elevations == tuple(-e for e in learned.grid.elevations)
    assert turned.grid.shares == learned.grid.shares and len(turned.candidates) == len(learned.stages)
    assert torch.equal(turned.rigid.shape, learned.rigid.shape * torch.tensor([1.0, 1.0, -1.0]))
    dreams = [dream(Evidence(X, everywhere(X)), m.model, 1, seeded(4)) for m in (learned, turned)]
    assert torch.allclose(dreams[0].elevation, -dreams[1].elevation, atol=1e-3)
    assert {round(float(e), 3) for e in camera_angles(turned.model.rotations)[1].rad2deg()} == {
        round(e, 3) for e in turned.grid.elevations
    }


# dreams


def test_camera_angles_are_those_of_the_view(generator):
    azimuth, elevation, roll = torch.rand(3, 50, generator=generator) * 2 - 1
    azimuth, elevation = azimuth * math.pi, elevation * 1.4
    found = camera_angles(view_rotations(azimuth, elevation, roll))
    assert torch.allclose(found, torch.stack([azimuth, elevation]), atol=1e-4)


def posterior(model, x, seen, k, g, scale):
    """Mean and covariance of the shape, from the joint Gaussian of shape and centred picture."""
    n = int(seen.sum())
    J = torch.kron(torch.eye(n) - 1 / n, torch.eye(2)).double()
    H = J @ model.projections()[g][seen.repeat_interleave(2)]
    T = J @ model.tangents()[k, g][seen.repeat_interleave(2)]
    S = model.covariances[k]
    C = H @ S @ H.mT + T @ T.mT + model.noise * torch.eye(2 * n).double()
    gain = torch.linalg.solve(C, H @ S).mT
    return model.means[k] + gain @ (scale * x[seen].flatten() - H @ model.means[k]), S - gain @ H @ S


@pytest.mark.parametrize("copies", [1, 8])
@pytest.mark.parametrize("hidden", [False, True])
def test_dreams_are_draws_from_the_posterior(seeded, copies, hidden):
    """Of one picture, alone or among others that show the same keypoints."""
    g, n = seeded(6), 5
    root = 0.3 * torch.randn(3 * n, 3 * n, generator=g).double() / math.sqrt(3 * n)
    azimuth = torch.arange(8) * math.tau / 8
    model = ShapeModel(
        some_shapes(1, 1)[:, :n].flatten(1).double(), (root @ root.mT)[None] + 1e-3 * torch.eye(3 * n).double(),
        torch.zeros(1).double(), 0.01, view_rotations(azimuth, azimuth * 0, azimuth * 0).double(),
        torch.full((8,), 1 / 8).log().double(), (0.1, 0.1, 0.05),
    )  # fmt: skip
    seen = torch.ones(copies, n, dtype=torch.bool)
    seen[:, 2] = not hidden
    X = normalise(torch.randn(1, n, 2, generator=g).double().expand(copies, -1, -1), seen)[0]
    evidence, count = Evidence(X, seen), 2000 // copies
    found = EStep(evidence, model)
    at = int(found.log[0, 0].argmax())
    mean, covariance = posterior(model, X[0], seen[0], 0, at, found.scale[0, 0, at])
    shapes = dream(evidence, model, count, g).shapes.flatten(1)
    assert shapes.shape == (2000, 3 * n)
    sd = covariance.diagonal().sqrt()
    assert ((shapes.mean(0) - mean).abs() < 4.5 * sd / 2000**0.5).all()
    assert torch.allclose(dream(evidence, model, 0, g).shapes.flatten(1), mean.expand(copies, -1), atol=1e-6)
    off = (shapes.mT.cov() - covariance) / (sd[:, None] * sd)
    assert off.abs().max() < 4.5 * (2 / 2000) ** 0.5


def test_what_is_imagined_has_the_moments_of_the_mixture(seeded):
    g, n = seeded(6), 4
    root = 0.3 * torch.randn(2, 3 * n, 3 * n, generator=g) / math.sqrt(3 * n)
    model = ShapeModel(
        some_shapes(2, 1)[:, :n].flatten(1), root @ root.mT + 1e-4 * torch.eye(3 * n),
        torch.tensor([0.3, 0.7]).log(), 0.01, torch.eye(3)[None], torch.zeros(1), (0.1, 0.1, 0.05),
    )  # fmt: skip
    whole, drawn = model.collapsed(), imagine(model, 4000, g).flatten(1)
    sd = whole.covariances[0].diagonal().sqrt()
    assert ((drawn.mean(0) - whole.means[0]).abs() < 4.5 * sd / 4000**0.5).all()
    assert ((drawn.mT.cov() - whole.covariances[0]) / (sd[:, None] * sd)).abs().max() < 4.5 * (2 / 4000) ** 0.5


def test_a_dream_looks_like_its_picture(seeded):
    g = seeded(2)
    X, _ = photographed(some_shapes(1, 3).expand(120, -1, -1), g, noise=0.02)
    learned = learned_from(X, g, dataclasses.replace(SMALL, wobble=0.0))
    samples = 3
    dreams = dream(Evidence(X, everywhere(X)), learned.model, samples, g)
    R = view_rotations(dreams.azimuth, dreams.elevation, torch.zeros(120)).repeat(samples, 1, 1)
    again = normalise((dreams.shapes @ R.mT)[..., :2])[0]
    far = (again - X.repeat(samples, 1, 1)).square().sum(-1).mean(1).sqrt()
    assert far.median() < 3 * (2 * learned.model.noise) ** 0.5 + 0.05 and (far < 0.4).float().mean() > 0.95
    assert depth_ratio(dreams.shapes).max() < 6


def test_a_lift_keeps_what_is_seen(seeded):
    g = seeded(2)
    X, _ = photographed(some_shapes(1, 3).expand(80, -1, -1), g, noise=0.02)
    model = learned_from(X, g).model
    visible = torch.rand(80, N, generator=g) > 0.3
    visible[:, :4] = True
    X = normalise(X, visible)[0]
    Y = lift(model, torch.where(visible[..., None], X, 5.0), visible)
    assert torch.equal(Y[..., :2][visible], X[visible])
    depth = torch.where(visible, Y[..., 2], 0)
    assert depth.sum(1).abs().max() < 1e-4 and Y.abs().max() < 6


def test_how_deep_a_shape_is_from_its_worst_side():
    box = torch.tensor([[x, y, z] for x in (-1.0, 1) for y in (-2.0, 2) for z in (-3.0, 3)])
    turned = box @ view_rotations(*torch.tensor([[0.7], [0.0], [0.0]]))[0].mT
    expected = torch.full((2,), 3 / 5**0.5)
    assert torch.allclose(depth_ratio(torch.stack([box, turned + 9])), expected)
    stick = box * torch.tensor([0.0, 0.0, 1.0])
    assert depth_ratio(stick[None]) > 100


# bad input


def check_doubts(X, generator, words, visible=None):
    """The pictures are doubted, and shapes are neither flat nor exploded all the same."""
    learned = learned_from(X, generator, visible=visible)
    assert any(words in doubt for doubt in learned.doubts), learned.doubts
    assert chosen(learned) == ("rigid", 1) and len(learned.model.means) == 1
    assert torch.equal(learned.model.means[0], learned.rigid.shape.flatten())
    seen = everywhere(X) if visible is None else visible
    dreams = dream(Evidence(X, seen), learned.model, 1, generator).shapes
    Y = lift(learned.model, X, seen)
    assert depth_ratio(learned.rigid.shape[None]) <= DEEPEST + 0.01 and (depth_ratio(dreams) <= 6).all()
    assert Y.isfinite().all()
    centred = Y - Y.mean(1, keepdim=True)
    wide, deep = centred[..., :2].square().sum(-1).mean(1).sqrt(), centred[..., 2].square().mean(1).sqrt()
    assert (deep <= 6 * wide).all()
    return learned


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [1, 2, 10])
def test_a_few_pictures_teach_no_variation(seeded, seed, count):
    X, _ = photographed(some_shapes(1, 3).expand(count, -1, -1), seeded(seed))
    check_doubts(X, seeded(seed), f"{count} pictures are too few to learn how shapes of 8 keypoints vary")


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_one_view_has_no_depth(seeded, seed, noise, hidden):
    X, _ = photographed(some_shapes(1, 3 + seed).expand(60, -1, -1), seeded(seed), 10.0, 10.0, 0.0, noise)
    visible = everywhere(X)
    if hidden:
        visible = torch.rand(60, N, generator=seeded(seed)) > 0.3
        visible[:, :4] = True
        X = normalise(X, visible)[0]
    check_doubts(X, seeded(seed), "depth is not determined", visible)


@pytest.mark.parametrize("seed", [8, 34, 47])
def test_one_view_of_what_is_low_does_not_explode(seeded, seed):
    """A low shape can have any depth: what fits best is often ten times as deep as wide."""
    low = some_shapes(1, seed)
    low[..., 1] *= 0.2
    X, _ = photographed(low.expand(40, -1, -1), seeded(seed), 10.0, 10.0, 0.0, 0.01)
    learned = check_doubts(X, seeded(seed), "times deeper than wide")
    assert math.isclose(float(depth_ratio(learned.rigid.shape[None])), DEEPEST, rel_tol=1e-4)
    assert math.isclose(float(learned.rigid.shape.square().sum(1).mean()), 1, rel_tol=1e-5)


def test_a_stick_stays_a_stick(seeded):
    stick = some_shapes(1, 41) * torch.tensor([0.1, 0.1, 1.0])
    X, Y = photographed(stick.expand(80, -1, -1), seeded(1))
    learned = learned_from(X, seeded(2))
    assert len(learned.doubts) == 1 and "times deeper than wide" in learned.doubts[0]
    assert depth_ratio(learned.rigid.shape[None]) > 6 and errors(learned, X, Y)[0] < 0.2


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_keypoints_in_one_plane(seeded, axis):
    flat = some_shapes(1, 3)
    flat[..., axis] = 0
    X, Y = photographed(flat.expand(100, -1, -1), seeded(1))
    learned = check_doubts(X, seeded(2), "one plane")
    if axis != 1:  # cameras that turn about a plane show that it is one; those that turn in it see little of it
        ours, _, nothing = errors(learned, X, Y)
        assert ours < 0.3 * nothing


def test_five_visible_keypoints_are_enough_for_a_lift(seeded):
    g = seeded(4)
    X, Y = photographed(some_shapes(1, 3).expand(200, -1, -1), g)
    visible = torch.zeros(200, N, dtype=torch.bool).scatter(1, torch.rand(200, N, generator=g).topk(5, 1).indices, True)
    X = normalise(X, visible)[0]
    config = dataclasses.replace(SMALL, gaussian=0, mixture=0)
    learned = learned_from(X, g, config, visible)
    assert learned.doubts == ()
    Z = lift(learned.model, X, visible)
    assert error(Z, Y) < 0.3 and (depth_ratio(dream(Evidence(X, visible), learned.model, 1, g).shapes) <= 6).all()


def test_pictures_that_cannot_be_used_are_named(seeded):
    X, _ = photographed(some_shapes(1, 3).expand(60, -1, -1), seeded(1))
    visible = everywhere(X)
    with pytest.raises(ValueError, match="needs pictures, got no picture"):
        learned_from(X[:0], seeded(2))
    visible[7, 2:] = False
    with pytest.raises(ValueError, match="picture 7: 2 visible keypoints, a camera needs at least 3"):
        learned_from(X, seeded(2), visible=visible)
    for value in (math.nan, math.inf):
        wrong = X.clone()
        wrong[11, 3, 1] = value
        with pytest.raises(ValueError, match="picture 11: a coordinate is not finite"):
            learned_from(wrong, seeded(2))
    point = X.clone()
    point[5] = 0
    with pytest.raises(ValueError, match="picture 5: all its keypoints coincide"):
        learned_from(point, seeded(2))
    with pytest.raises(ValueError, match="held-out picture 5: all its keypoints coincide"):
        learned_from(X, seeded(2), held_out=Evidence(point, everywhere(point)))


def test_what_a_hidden_keypoint_holds_is_not_read(seeded):
    X, _ = photographed(some_shapes(1, 3).expand(60, -1, -1), seeded(1), noise=0.02)
    visible = everywhere(X)
    visible[::2, 3] = False
    X = normalise(X, visible)[0]
    config = dataclasses.replace(SMALL, gaussian=1)
    one, two = (
        learned_from(torch.where(visible[..., None], X, value), seeded(2), config, visible) for value in (0.0, math.nan)
    )
    assert torch.equal(one.model.means, two.model.means) and one.doubts == two.doubts


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"evidence": 0}, "evidence is 0"), ({"azimuths": 3}, "azimuths is 3"), ({"samples": -1}, "samples is -1"),
        ({"wobble": -1}, "wobble is -1"), ({"shrink": math.inf}, "shrink is inf"), ({"floor": 0}, "floor is 0"),
        ({"elevations": ()}, "elevations are"), ({"elevations": (0, 91)}, "elevations are"),
        ({"elevations": (40, 50)}, "is within horizon=20"), ({"components": (2, 1)}, "components are"),
        ({"imagined": 1}, "imagined is 1"), ({"imagined": -0.1}, "imagined is -0.1"),
    ],
)  # fmt: skip
def test_a_recipe_that_makes_no_sense_is_refused(changes, expected):
    with pytest.raises(ValueError, match=expected):
        dataclasses.replace(SMALL, **changes)
