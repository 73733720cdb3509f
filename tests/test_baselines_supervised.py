"""SimpleBaseline on 3D truth: what its loss is blind to and what not, and a toy that it learns."""

import pytest
import torch

from lfmlib import geometry, metrics
from lfmlib.baselines.fitting import fit
from lfmlib.baselines.floors import constant, mean_shape
from lfmlib.baselines.interface import Baseline
from lfmlib.baselines.supervised import SupervisedMLP, camera_frame_error
from lfmlib.data.views import EvaluationViews, normalise
from lfmlib.efficiency.counting import parameters


def small(generator, **options):
    return SupervisedMLP(9, generator, **{"width": 64, "blocks": 1, "dropout": 0.0} | options)


def views_of(Y, visible=None):
    X, _, _ = normalise(Y[..., :2], visible)
    category, known = torch.zeros(len(Y), dtype=torch.long), torch.ones(Y.shape[:2], dtype=torch.bool)
    return EvaluationViews(X, visible, category, Y, known)


@pytest.fixture
def Y(generator):
    return torch.randn(12, 9, 3, generator=generator)


@pytest.fixture
def visible(seeded):
    mask = torch.rand(12, 9, generator=seeded(1)) < 0.7
    mask[:, :4] = True
    return mask


def test_the_error_is_that_of_a_slow_twin(Y, visible, generator):
    shapes = torch.randn(12, 9, 3, generator=generator)
    errors = []
    for shape, truth, known in zip(shapes, Y, visible, strict=True):
        truth = truth[known] - truth[known].mean(0)
        truth = truth / truth.norm(dim=-1).square().mean().sqrt()
        errors.append((shape[known] - truth).norm(dim=-1).square().mean())
    assert torch.allclose(camera_frame_error(shapes, Y, visible), torch.stack(errors).mean())


def test_the_error_is_blind_to_the_truths_place_and_unit_but_not_to_a_turn(Y, generator):
    shapes = Y / 3
    error = camera_frame_error(shapes, Y)
    assert torch.allclose(camera_frame_error(shapes, 40 * Y + 7), error, rtol=1e-4)
    turned = Y @ geometry.random_rotations(12, generator).mT
    assert camera_frame_error(turned, Y) > 2 * error
    centred = Y - Y.mean(1, keepdim=True)
    exact = centred / centred.square().sum(-1).mean(1).sqrt()[:, None, None]
    assert camera_frame_error(exact, Y) < 1e-10


def test_what_is_not_known_reaches_no_loss_and_no_gradient(Y, visible, seeded):
    baseline, gradients, losses = small(seeded(0)), [], []
    for hidden in (0.0, torch.nan):
        views = views_of(Y)
        views.known, views.Y = visible, torch.where(visible[..., None], Y, hidden)
        baseline.zero_grad()
        loss, _ = baseline.loss(views, seeded(1))
        loss.backward()
        losses.append(loss)
        gradients.append([p.grad.clone() for p in baseline.parameters()])
    assert torch.equal(*losses) and losses[0].isfinite()
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def test_hidden_keypoints_do_not_leak(Y, visible, seeded):
    baseline = small(seeded(0))
    views = views_of(Y, visible)
    poisoned = torch.where(visible[..., None], views.X, torch.nan)
    lifted = baseline.lift(views.X, visible)
    assert lifted.isfinite().all() and torch.equal(baseline.lift(poisoned, visible), lifted)
    loss = baseline.loss(views, seeded(1))[0]
    views.X = poisoned
    assert torch.equal(baseline.loss(views, seeded(1))[0], loss)


def test_the_lift_is_the_networks_shape_under_its_best_camera(Y, visible, seeded):
    baseline = small(seeded(0))
    views = views_of(Y, visible)
    lifted = baseline.lift(views.X, visible)
    raw = baseline.eval().network(views.X).detach()
    assert metrics.pa_mpjpe(lifted, raw, mirror="so3").max() < 1e-4
    assert torch.allclose((lifted[..., 2] * visible).sum(1), torch.zeros(12), atol=1e-4)
    residual = ((lifted[..., :2] - views.X).square().sum(-1) * visible).sum(1)
    assert torch.allclose(residual, geometry.reprojection(views.X, raw, visible), atol=1e-3)


def test_dropout_is_drawn_from_the_generator(Y, seeded):
    baseline, state = small(seeded(0), dropout=0.5), torch.random.get_rng_state()
    one, two, other = (baseline.loss(views_of(Y), seeded(seed))[0] for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_its_size_is_the_published_one(generator):
    assert 4e6 < parameters(SupervisedMLP(16, generator)) < 5e6
    assert SupervisedMLP(16, generator).network.dropout == 0.5


def test_what_does_not_fit_is_refused(Y, generator):
    views = views_of(Y)
    views.category = torch.arange(12) % 2
    with pytest.raises(ValueError, match=r"one category, got \[0, 1\]"):
        small(generator).loss(views, generator)
    with pytest.raises(ValueError, match=r"expected \[B, 9, 2\]"):
        small(generator).lift(views.X[:, :8])


def test_it_learns_the_depth_of_a_family_of_shapes(seeded):
    """Two numbers make the shape and show in the picture; the mean shape, which also needs labels, is the floor."""
    ways = torch.randn(3, 9, 3, generator=seeded(5))

    def draw(count, generator):
        a = torch.randn(count, 2, generator=generator)
        return views_of(ways[0] + torch.einsum("bk,knd->bnd", a, ways[1:]))

    baseline = small(seeded(0))
    assert isinstance(baseline, Baseline)
    record = fit(baseline, draw, 200, 64, lr=3e-3, points=4)
    assert record["camera_3d"][-1] < record["camera_3d"][0] / 10 and record["camera_3d"] == record["loss"]
    views = draw(200, seeded(9))
    floor = constant(mean_shape(draw(200, seeded(8)).Y), 200)
    errors = [float(metrics.pa_mpjpe(P, views.Y, mirror="so3").mean()) for P in (baseline.lift(views.X), floor)]
    assert errors[0] < 0.3 * errors[1], errors
