"""PAUL's lift under the exact camera, what its loss looks at, and a rigid shape learned from its pictures."""

import pytest
import torch
from rigid_scene import centred_shape, check_that_it_learns, mask, one_category, pictures

from lfmlib import geometry, metrics
from lfmlib.baselines.interface import evaluating, reprojection_error
from lfmlib.baselines.paul import PAUL, lifted_in_canonical_frame
from lfmlib.data.views import normalise


def small(generator, **options):
    return PAUL(9, generator, **{"code": 3, "width": 32, "blocks": 1} | options)


@pytest.fixture
def visible(seeded):
    return mask(seeded(1), 4)


@pytest.fixture
def X(visible, generator):
    return normalise(torch.randn(12, 9, 2, generator=generator), visible)[0]


@pytest.fixture
def shape(generator):
    return centred_shape(generator)


def test_the_lift_of_a_shapes_own_picture_is_the_shape(generator, visible):
    Y = torch.randn(12, 9, 3, generator=generator, dtype=torch.float64)
    R = geometry.random_rotations(12, generator, torch.float64)
    s, t = 0.5 + torch.rand(12, generator=generator).double(), torch.randn(12, 2, generator=generator).double()
    camera = geometry.Camera(s, R, t)
    X = geometry.project(Y, camera)
    assert torch.allclose(lifted_in_canonical_frame(X, Y, camera), Y)
    hidden = torch.where(visible[..., None], X + 1, torch.nan)
    lifted = lifted_in_canonical_frame(hidden, Y, camera, visible)
    assert torch.equal(torch.isclose(lifted, Y).all(-1), ~visible)  # hidden ones are the shape's own, others moved
    depth = (Y @ R.mT)[..., 2]
    assert torch.allclose((lifted @ R.mT)[..., 2], depth) and torch.allclose(
        geometry.project(lifted, camera)[visible], hidden[visible]
    )


def test_the_lift_turns_with_the_canonical_frame(generator, X, visible):
    Y = torch.randn(12, 9, 3, generator=generator)
    Q = geometry.random_rotations(12, generator)
    lifted = lifted_in_canonical_frame(X, Y, geometry.solve_camera(X, Y, visible), visible)
    turned = lifted_in_canonical_frame(X, Y @ Q.mT, geometry.solve_camera(X, Y @ Q.mT, visible), visible)
    assert torch.allclose(turned, lifted @ Q.mT, atol=1e-3)


def test_the_decoder_term_is_equation_1_and_what_the_lift_leaves(X, visible, generator):
    baseline = small(generator)
    with evaluating(baseline):
        _, terms = baseline.loss(one_category(X, visible), generator)
        Y = baseline.decode(baseline.encode(X, visible))
    expected = (geometry.reprojection(X, Y, visible) / visible.sum(1)).mean()
    assert torch.allclose(terms["decoder"], expected)
    seen = baseline.lift(X, visible)
    left = ((seen[..., :2] - X).square().sum(-1) * visible).sum(1) / visible.sum(1)
    assert torch.allclose(left.mean(), expected, rtol=1e-4)
    assert reprojection_error(baseline, one_category(X, visible)) == pytest.approx(float(expected), rel=1e-4)


def test_a_network_that_knows_the_shape_has_no_loss(shape, seeded):
    """Constant decoder, so also a constant auto-encoder; the code alone is charged."""
    baseline = small(seeded(0), regulariser=0)
    with torch.no_grad():
        baseline.f_d[-1].weight.zero_()
        baseline.f_d[-1].bias.copy_(shape.flatten())
    views, truth = pictures(shape, 30, seeded(1))
    total, _ = baseline.loss(views, seeded(2))
    assert float(total.detach()) < 1e-5
    errors = metrics.pa_mpjpe(baseline.lift(views.X), truth, mirror="so3")
    assert float(errors.max()) < 1e-2


def test_the_loss_is_the_weighted_sum_of_its_terms_and_draws_nothing(X, visible, generator, seeded):
    state = generator.get_state()
    baseline = small(seeded(0), autoencoder=0.3, regulariser=0.2)
    total, terms = baseline.loss(one_category(X, visible), generator)
    assert torch.equal(generator.get_state(), state)
    assert torch.allclose(total, terms["decoder"] + 0.3 * terms["autoencoder"] + 0.2 * terms["code"])
    assert all(term > 0 and not term.requires_grad for term in terms.values())


def test_the_auto_encoder_term_teaches_all_three_nets(X, generator):
    baseline = small(generator)
    baseline.loss(one_category(X), generator)[0].backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in baseline.parameters())


def test_what_does_not_fit_is_refused(generator):
    with pytest.raises(ValueError, match="code is 0"):
        small(generator, code=0)
    with pytest.raises(ValueError, match="regulariser is -0.1"):
        small(generator, regulariser=-0.1)


def test_it_lifts_a_rigid_shape_from_its_pictures(shape, seeded):
    """With a code that has room for more than a rigid object needs. The flat answer is the floor."""
    baseline = small(seeded(1), width=64)
    check_that_it_learns(baseline, shape, seeded, steps=200, lr=3e-3, loss_falls=10, of_flat=0.1)
