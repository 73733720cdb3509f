"""Rigid factorization and nuclear-norm shapes: exact where they must be, and what they refuse or cannot know."""

import pytest
import torch

from lfmlib import geometry
from lfmlib.baselines.factorization import (
    PICTURES,
    Factorization,
    FittedBaseline,
    completed,
    factorize,
    metric_upgrade,
    nearest_frames,
    training_pictures,
)
from lfmlib.baselines.floors import flat
from lfmlib.baselines.linear_shapes import LinearShapes
from lfmlib.baselines.nuclear_norm import NuclearNorm, low_rank_shapes, shrunk
from lfmlib.data.views import normalise
from lfmlib.metrics import pa_mpjpe

METHODS = pytest.mark.parametrize("method", [Factorization, NuclearNorm])


def turned(shapes, generator):
    """Shapes before cameras all around: their pictures, in unit RMS, and their truth in that unit."""
    Y = shapes @ geometry.random_rotations(len(shapes), generator, shapes.dtype).mT
    X, mean, rms = normalise(Y[..., :2])
    Y = (Y - torch.cat((mean, Y[..., 2].mean(1)[:, None]), 1)[:, None]) / rms[:, None, None]
    return X, Y


def family(count, keypoints, spread, generator, modes=2):
    """A mean and a few directions of deformation."""
    mean, *ways = torch.randn(1 + modes, keypoints, 3, generator=generator, dtype=torch.float64)
    c = spread * torch.randn(count, modes, generator=generator, dtype=torch.float64)
    return mean + torch.einsum("fk,knj->fnj", c, torch.stack(ways))


def hidden(count, keypoints, generator, share=0.3):
    visible = torch.rand(count, keypoints, generator=generator) >= share
    visible[:, :4] = True
    return visible


def error(P, Y, mirror="o3"):
    """Mean error in units of the pictures."""
    return float(pa_mpjpe(P, Y, mirror=mirror).mean())


@METHODS
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_rigid_scene_without_noise_is_exact_up_to_its_mirror_image(method, share, generator):
    X, Y = turned(torch.randn(9, 3, generator=generator, dtype=torch.float64).expand(60, -1, -1), generator)
    visible = hidden(60, 9, generator, share)
    X = torch.where(visible[..., None], X, torch.nan)
    fitted = method().fit(X, visible, generator)
    lifted = fitted.lift(X, visible)
    assert isinstance(fitted, FittedBaseline)
    assert min(error(lifted, Y, "so3"), error(lifted * torch.tensor([1, 1, -1]), Y, "so3")) < 1e-4
    assert torch.allclose(lifted[visible][:, :2], X[visible], atol=1e-3)
    assert float(torch.where(visible, lifted[..., 2], 0).sum(1).abs().max()) < 1e-9


def test_deformation_is_beyond_the_rigid_one_and_not_beyond_the_other(generator):
    X, Y = turned(family(400, 12, 0.25, generator), generator)
    new, truth = X[:100], Y[:100]
    errors = [error(method().fit(X[100:], None, generator).lift(new), truth) for method in (NuclearNorm, Factorization)]
    assert errors[0] < 0.5 * errors[1] and errors[1] < error(flat(new), truth), errors


@METHODS
def test_turns_in_the_picture_and_the_order_of_pictures_change_nothing(method, generator):
    X, Y = turned(family(80, 8, 0.1, generator), generator)
    angle = 6 * torch.rand(80, generator=generator, dtype=torch.float64)
    spin = geometry.axis_rotations(torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), angle)[:, :2, :2]
    order = torch.randperm(80, generator=generator)
    lifts = [method().fit(pictures, None, generator).lift(X) for pictures in (X, X @ spin.mT, X[order])]
    assert error(lifts[0], lifts[1]) < 1e-5 and error(lifts[0], lifts[2]) < 1e-5


@METHODS
def test_keypoints_in_another_order_give_the_shape_in_that_order(method, generator):
    X, _ = turned(family(80, 8, 0.1, generator), generator)
    visible, order = hidden(80, 8, generator, 0.1), torch.randperm(8, generator=generator)
    there = method().fit(X[:, order], visible[:, order], generator).lift(X[:, order], visible[:, order])
    assert error(method().fit(X, visible, generator).lift(X, visible)[:, order], there) < 1e-4


@METHODS
def test_a_lift_knows_nothing_of_its_batch_nor_of_what_is_hidden(method, generator):
    X, _ = turned(family(40, 8, 0.1, generator), generator)
    visible, fitted = hidden(40, 8, generator), method().fit(X, None, generator)
    lifted = fitted.lift(X, visible)
    assert torch.allclose(fitted.lift(X[3:4], visible[3:4]), lifted[3:4], atol=1e-6)
    assert torch.equal(fitted.lift(torch.where(visible[..., None], X, torch.inf), visible), lifted)
    single = fitted.lift(X.float(), visible)
    assert single.dtype == torch.float32 and error(single.double(), lifted) < 1e-4


def test_completion_is_exact_for_a_rigid_scene_and_leaves_complete_pictures_alone(generator):
    W, _ = turned(torch.randn(7, 3, generator=generator, dtype=torch.float64).expand(50, -1, -1), generator)
    visible = hidden(50, 7, generator)
    X = torch.where(visible[..., None], W, 0)
    assert torch.equal(completed(W, torch.ones_like(visible)), W)
    assert torch.allclose(completed(X, visible), W, atol=1e-3) and not torch.allclose(X, W, atol=1e-1)


def test_factors_are_the_cameras_that_took_the_pictures(generator):
    shape = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    X, Y = turned(shape.expand(20, -1, -1), generator)
    found = factorize(X, torch.ones(20, 6, dtype=torch.bool))
    again = found.scale[:, None, None] * (found.shape @ found.cameras.mT)
    assert torch.allclose(again, X, atol=1e-6)
    assert torch.allclose(found.cameras @ found.cameras.mT, torch.eye(2, dtype=torch.float64).expand(20, 2, 2))
    assert float(found.shape.square().sum(-1).mean()) == pytest.approx(1)
    assert torch.allclose(found.scale, Y.square().sum(-1).mean(1).sqrt(), rtol=1e-6)


def test_a_metric_that_fits_is_found_and_an_indefinite_one_is_bounded(generator):
    frames, _ = nearest_frames(torch.randn(30, 2, 3, generator=generator, dtype=torch.float64))
    A = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    Q, inverse = metric_upgrade(frames @ A), torch.linalg.inv(A)
    assert torch.allclose(Q / Q.trace(), (inverse @ inverse.mT) / (inverse @ inverse.mT).trace())
    noisy = metric_upgrade(torch.randn(4, 2, 3, generator=generator, dtype=torch.float64))
    values = torch.linalg.eigvalsh(noisy)
    assert float(values[0] / values[-1]) > 0.99e-3


def test_nearest_frames_agree_with_the_singular_value_decomposition(generator):
    M = torch.randn(20, 2, 3, generator=generator, dtype=torch.float64)
    U, sizes, Vh = torch.linalg.svd(M, full_matrices=False)
    P, s = nearest_frames(M)
    assert torch.allclose(P, U @ Vh) and torch.allclose(s, sizes.mean(1))
    alike = torch.eye(3, dtype=torch.float64)[None, :2].requires_grad_()
    assert torch.autograd.gradcheck(lambda m: nearest_frames(m)[0], (alike,))
    nothing = torch.zeros(1, 2, 3, requires_grad=True)
    nearest_frames(nothing)[0].sum().backward()
    assert nothing.grad.isfinite().all()


def test_the_thresholded_shapes_are_the_minimum_of_what_they_minimise(generator):
    shapes = family(12, 5, 0.5, generator)

    def cost(Y):
        return 0.5 * (Y - shapes).square().sum() + 0.7 * torch.linalg.svdvals((Y - Y.mean(0)).flatten(1)).sum()

    best = shrunk(shapes, 0.7)
    near = [best + 1e-2 * torch.randn(best.shape, generator=generator, dtype=torch.float64) for _ in range(20)]
    assert all(cost(best) < cost(Y) for Y in (*near, shapes, shrunk(shapes, 0.6), shrunk(shapes, 0.8)))
    assert torch.allclose(shrunk(shapes, 1e6), shapes.mean(0).expand_as(shapes))


def test_the_shapes_have_one_answer_whatever_they_start_from(generator):
    X, _ = turned(family(20, 6, 0.3, generator), generator)
    cameras, _ = nearest_frames(torch.randn(20, 2, 3, generator=generator, dtype=torch.float64))
    seen = hidden(20, 6, generator)
    starts = torch.randn(2, 6, 3, generator=generator, dtype=torch.float64)
    one, other = (low_rank_shapes(X, seen, cameras, start, 0.5, 1000) for start in starts)
    assert error(one, other) < 1e-3


def test_no_likelier_shape_is_near_the_lift(generator):
    X, _ = turned(family(300, 8, 0.2, generator), generator)
    model = NuclearNorm().fit(X, None, generator).linear
    c = torch.randn(1, len(model.sd), generator=generator, dtype=torch.float64) * model.sd
    assert torch.allclose(
        (model.modes.flatten(1) @ model.modes.flatten(1).mT), torch.eye(len(c[0])).double(), atol=1e-9
    )
    shape = model.shapes(c)
    sharp = LinearShapes(model.mean, model.modes, 10 * model.sd, 1e-4)
    picture, truth = turned(shape, generator)
    assert error(sharp.lift(picture), truth) < 0.05 < error(model._replace(sd=model.sd[:0], modes=model.modes[:0])
                                                           .lift(picture), truth)  # fmt: skip


def test_pictures_are_thinned_evenly(generator):
    X = torch.randn(2 * PICTURES, 4, 2, generator=generator)
    kept, seen = training_pictures(X, None)
    assert torch.allclose(kept, normalise(X[::2].double())[0]) and bool(seen.all()) and kept.dtype == torch.float64


@METHODS
def test_what_holds_no_depth_is_refused(method, generator):
    spin = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    one = torch.randn(6, 2, generator=generator)
    with pytest.raises(ValueError, match="depth is not determined"):
        method().fit(torch.stack([one, 2 * one @ spin, one @ spin @ spin, one]), None, generator)
    plane = torch.cat((torch.randn(6, 2, generator=generator), torch.zeros(6, 1)), 1)
    X, _ = turned(plane.double().expand(30, -1, -1), generator)
    with pytest.raises(ValueError, match="depth is not determined"):
        method().fit(X, None, generator)
    with pytest.raises(ValueError, match="depth is not determined"):
        method().fit(torch.zeros(5, 6, 2), None, generator)
    X, _ = turned(torch.randn(6, 3, generator=generator, dtype=torch.float64).expand(2, -1, -1), generator)
    with pytest.raises(ValueError, match="too few directions of view"):
        method().fit(X[[0, 0, 1, 1]], None, generator)


@METHODS
def test_what_does_not_fit_is_refused(method, generator):
    X = torch.randn(9, 6, 2, generator=generator)
    visible = torch.ones(9, 6, dtype=torch.bool)
    for wrong in (X[:2], X[:, :3]):
        with pytest.raises(ValueError, match="needs 3 pictures of 4 keypoints or more"):
            method().fit(wrong, None, generator)
    for bad in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match="not finite at sample 2, keypoint 1"):
            method().fit(X.index_put((torch.tensor(2), torch.tensor(1)), torch.tensor(bad)), None, generator)
    with pytest.raises(ValueError, match="keypoint 5 is visible in 2 pictures"):
        method().fit(X, visible.index_put((torch.arange(7), torch.tensor(5)), torch.tensor(False)), generator)
    with pytest.raises(ValueError, match="sample 4 has 2 visible"):
        method().fit(X, visible.index_put((torch.tensor(4), torch.arange(4)), torch.tensor(False)), generator)
    with pytest.raises(ValueError, match="threshold is -1"):
        NuclearNorm(threshold=-1)
    with pytest.raises(ValueError, match="modes is 0"):
        NuclearNorm(modes=0)
