"""Deep NRSfM++: its steps against their definitions, turned pictures, what is hidden, and a rigid shape learned."""

import pytest
import torch
from rigid_scene import centred_shape, check_that_it_learns, mask, one_category

from lfmlib import geometry
from lfmlib.baselines.deep_nrsfm import DeepNRSfM, shrunk_blocks
from lfmlib.baselines.interface import evaluating, reprojection_error
from lfmlib.data.views import normalise


def small(generator, **options):
    return DeepNRSfM(9, generator, **{"dictionaries": (24, 12, 4)} | options)


@pytest.fixture
def visible(seeded):
    return mask(seeded(1), 4)


@pytest.fixture
def X(visible, generator):
    return normalise(torch.randn(12, 9, 2, generator=generator), visible)[0]


def test_shrinking_is_the_proximal_map_of_the_blocks_sizes(generator):
    blocks = torch.randn(5, 3, 2, 3, generator=generator, dtype=torch.float64)
    threshold = torch.tensor([0.0, 1.0, 9.0], dtype=torch.float64)
    best = shrunk_blocks(blocks, threshold)

    def cost(Z):
        return (0.5 * (Z - blocks).square().sum((2, 3)) + threshold * Z.square().sum((2, 3)).sqrt()).sum()

    near = [best + 1e-2 * torch.randn(best.shape, generator=generator, dtype=torch.float64) for _ in range(20)]
    assert all(cost(best) < cost(Z) for Z in (*near, blocks))
    assert torch.equal(best[:, 2], torch.zeros(5, 2, 3).double()) and torch.allclose(best[:, 0], blocks[:, 0])


def test_encoder_and_decoder_are_the_sums_that_they_stand_for(X, seeded):
    """One level, no threshold: the code is linear in the picture once the camera is known."""
    baseline = DeepNRSfM(9, seeded(0), dictionaries=(3,), threshold=0).requires_grad_(False)
    with evaluating(baseline):
        code, R = baseline.encode(X)
        Y = baseline.decode(code)
    blocks = [[sum(baseline.shapes[n, :, k, None] * X[b, n] for n in range(9)) for k in range(3)] for b in range(12)]
    expected = torch.tensor([[float((block.mT * R[b, :2]).sum() / 2) for block in blocks[b]] for b in range(12)])
    assert torch.allclose(code, expected, atol=1e-5)
    assert torch.allclose(Y, sum(code[:, k, None, None] * baseline.shapes[..., k] for k in range(3)), atol=1e-5)
    assert torch.allclose(R @ R.mT, torch.eye(3).expand(12, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(R), torch.ones(12), atol=1e-5)


def test_the_lift_turns_with_the_picture(X, visible, seeded):
    baseline, turn = small(seeded(0)), geometry.axis_rotations(torch.tensor([0.0, 0.0, 1.0]), torch.arange(12.0))
    lifted = baseline.lift(X @ turn[:, :2, :2].mT, visible)
    assert torch.allclose(lifted, baseline.lift(X, visible) @ turn.mT, atol=1e-4)
    with evaluating(baseline):
        codes = [baseline.encode(picture, visible)[0] for picture in (X, X @ turn[:, :2, :2].mT)]
    assert torch.allclose(*codes, atol=1e-4)


def test_keypoints_in_another_order_need_only_the_first_dictionary_in_that_order(X, visible, seeded):
    baseline, order = small(seeded(0)), torch.randperm(9, generator=seeded(1))
    lifted = baseline.lift(X, visible)
    with torch.no_grad():
        baseline.shapes.copy_(baseline.shapes[order])
    assert torch.allclose(baseline.lift(X[:, order], visible[:, order]), lifted[:, order], atol=1e-4)


def test_the_loss_is_what_the_lift_leaves_and_draws_nothing(X, visible, seeded, generator):
    state = generator.get_state()
    baseline = small(seeded(0))
    total, terms = baseline.loss(one_category(X, visible), generator)
    assert torch.equal(generator.get_state(), state) and torch.equal(total.detach(), terms["reprojection"])
    assert reprojection_error(baseline, one_category(X, visible)) == pytest.approx(float(total.detach()), rel=1e-4)
    depth = torch.where(visible, baseline.lift(X, visible)[..., 2], 0)
    assert torch.allclose(depth.sum(1), torch.zeros(12), atol=1e-5) and bool(depth.abs().amax(1).gt(1e-3).all())


def test_what_does_not_fit_is_refused(generator):
    for sizes in ((), (8, 0)):
        with pytest.raises(ValueError, match="dictionaries are"):
            small(generator, dictionaries=sizes)
    with pytest.raises(ValueError, match="threshold is -0.1"):
        small(generator, threshold=-0.1)


def test_it_lifts_a_rigid_shape_from_its_pictures(seeded):
    baseline, shape = small(seeded(1), dictionaries=(24, 12, 2)), centred_shape(seeded(7))
    check_that_it_learns(baseline, shape, seeded, steps=150, lr=1e-2, loss_falls=10, of_flat=0.25, everywhere=True)
