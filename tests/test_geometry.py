"""Laws of cameras and alignments: equivariance, masks, gradients, agreement with twins through SVD, refused input."""

import inspect
import math
import re

import pytest
import torch

from lfmlib import geometry
from lfmlib.geometry import (
    Camera,
    align,
    axis_rotations,
    check_pair,
    fit_camera,
    fit_camera_algebraic,
    project,
    random_rotations,
    reprojection,
    to_camera_frame,
)

EYE = torch.eye(3, dtype=torch.float64)
FITS = {"exact": fit_camera, "algebraic": fit_camera_algebraic}


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotations(count, seed=0):
    return random_rotations(count, torch.Generator().manual_seed(seed), torch.float64)


def mask(B, N, seed=0):
    visible = torch.rand(B, N, generator=torch.Generator().manual_seed(seed)) < 0.6
    visible[:, [0, 2, 3, 5]] = True
    return visible


def observed(B=20, N=9, noise=0.1):
    """Pictures of shapes, noisy enough for a residual and clear enough for one best camera."""
    Y, R = normal(B, N, 3), rotations(B, 1)
    return Y @ R[:, :2].mT + noise * normal(B, N, 2, seed=2), Y


def close(camera, other, atol=1e-6):
    for part, expected in zip(camera, other, strict=True):
        assert torch.allclose(part, expected, atol=atol)


def test_project_and_camera_frame_follow_the_convention():
    """x right, y down, z away; half a turn about x takes y up, z to the viewer there."""
    Y = torch.tensor([[[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]])
    half_turn = torch.diag(torch.tensor([1.0, -1, -1]))[None]
    camera = Camera(torch.tensor([2.0]), half_turn, torch.tensor([[10.0, 20.0]]))
    assert project(Y, camera).tolist() == [[[12, 20], [10, 18], [10, 20]]]
    assert to_camera_frame(Y, camera).tolist() == [[[12, 20, 0], [10, 18, 0], [10, 20, -2]]]
    turn = axis_rotations(torch.tensor([0.0, 0, 1]), torch.tensor([math.pi / 2]))  # x goes to y
    picture = project(Y, Camera(torch.ones(1), turn, torch.zeros(1, 2)))
    assert torch.allclose(picture[0, 0], torch.tensor([0.0, 1]), atol=1e-6)


@pytest.mark.parametrize("kind", FITS)
def test_a_true_camera_is_found_again(kind):
    Y, R = normal(20, 9, 3), rotations(20, 1)
    truth = Camera(0.1 + normal(20).abs(), R, normal(20, 2, seed=3))
    close(FITS[kind](project(Y, truth), Y), truth)
    assert reprojection(project(Y, truth), Y, None, kind).max() < 1e-12


@pytest.mark.parametrize("kind", FITS)
def test_equivariance(kind):
    X, Y = observed()
    fit, size = FITS[kind], reprojection(X, Y, None, kind)
    s, R, t = fit(X, Y)
    Q, c = rotations(20, 5), normal(20, 3, seed=6)
    turned = Camera(s, R @ Q.mT, t)
    close(fit(X, Y @ Q.mT), turned)  # the canonical frame is free
    close(fit(X, 3 * Y), Camera(s / 3, R, t))
    close(fit(3 * X, Y), Camera(3 * s, R, 3 * t))
    close(fit(X + c[:, None, :2], Y), Camera(s, R, t + c[:, :2]))
    close(fit(X, Y + c[:, None]), Camera(s, R, t - s[:, None] * (R[:, :2] @ c[..., None]).squeeze(-1)))
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    close(fit(X[:, order], Y[:, order]), Camera(s, R, t))
    roll = axis_rotations(torch.tensor([0, 0, 1.0], dtype=torch.float64), normal(20))  # turning the picture
    close(fit(X @ roll[:, :2, :2].mT, Y), Camera(s, roll @ R, (roll[:, :2, :2] @ t[..., None]).squeeze(-1)))
    for X2, Y2, factor in ((X, Y @ Q.mT, 1), (X, 3 * Y, 1), (3 * X, Y, 9), (X + c[:, None, :2], Y + c[:, None], 1)):
        assert torch.allclose(reprojection(X2, Y2, None, kind), factor * size)


@pytest.mark.parametrize("kind", FITS)
@pytest.mark.parametrize("hidden", [math.nan, math.inf, 1e30])
def test_masked_means_removed(kind, hidden):
    (X, Y), visible = observed(), mask(20, 9)
    X2, Y2 = (torch.where(visible[..., None], v, hidden) for v in (X, Y))
    camera, loss = FITS[kind](X2, Y2, visible), reprojection(X2, Y2, visible, kind)
    for b in range(20):
        x, y = X[b : b + 1, visible[b]], Y[b : b + 1, visible[b]]
        close([part[b : b + 1] for part in camera], FITS[kind](x, y))
        assert torch.allclose(loss[b], reprojection(x, y, None, kind)[0])
    X2.requires_grad_(), Y2.requires_grad_()
    for gradient in torch.autograd.grad(reprojection(X2, Y2, visible, kind).sum(), (X2, Y2)):
        assert gradient.isfinite().all() and gradient[~visible].abs().max() == 0


def test_the_algebraic_camera_is_the_one_through_pinv_and_svd():
    (X, Y), eye = observed(), torch.eye(3, dtype=torch.float64)
    x, y = X - X.mean(1, keepdim=True), Y - Y.mean(1, keepdim=True)
    U, _, Vh = torch.linalg.svd((torch.linalg.pinv(y) @ x).mT, full_matrices=False)
    rows = U @ Vh  # [B, 2, 3]
    flat = y @ rows.mT
    s, R, t = fit_camera_algebraic(X, Y)
    assert torch.allclose(R[:, :2], rows) and torch.allclose(R @ R.mT, eye) and torch.linalg.det(R).min() > 0
    assert torch.allclose(s, (x * flat).sum((1, 2)) / flat.square().sum((1, 2)))
    assert torch.allclose(t, X.mean(1) - s[:, None] * (Y.mean(1, keepdim=True) @ rows.mT)[:, 0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "name", ["line", "picture line", "nearly a line", "flat", "one point", "one picture point", "unlike units"]
)
def test_the_algebraic_camera_is_a_camera_for_every_shape(name, dtype):
    X, Y = observed()
    if name == "line":
        Y = Y[..., :1] * normal(20, 1, 3, seed=3)
    if name == "picture line":
        X = X[..., :1] * normal(20, 1, 2, seed=3)
    if name == "nearly a line":
        X = X[..., :1] * normal(20, 1, 2, seed=3) + 1e-6 * X
    if name == "flat":
        Y[..., 2] = 0
    if name == "one point":
        Y[:] = 0.1
    if name == "one picture point":
        X[:] = 0.1
    if name == "unlike units":
        X, Y = 1e6 * X, 1e-6 * Y
    X, Y = (v.to(dtype).requires_grad_() for v in (X, Y))
    s, R, t = fit_camera_algebraic(X, Y)
    accuracy = 8 * torch.finfo(dtype).eps
    assert (R @ R.mT - EYE.to(dtype)).abs().max() < accuracy and (torch.linalg.det(R) > 0).all()
    assert (s >= -accuracy * X.norm() / Y.norm()).all() and t.isfinite().all()
    loss = reprojection(X, Y, None, "algebraic")
    assert (loss <= (1 + 1e-5) * geometry.centred(X).square().sum((1, 2)) + 1e-12).all()  # never worse than a dot
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss.sum(), (X, Y)))


@pytest.mark.parametrize("kind", FITS)
@pytest.mark.parametrize("masked", [False, True])
def test_gradcheck(kind, masked):
    X, Y = (v.requires_grad_() for v in observed(2, 6, noise=0.5))
    visible = mask(2, 6) if masked else None
    assert torch.autograd.gradcheck(lambda X, Y: reprojection(X, Y, visible, kind), (X, Y))


def test_the_gradient_of_the_minimum_holds_the_camera_fixed():
    (X, Y), visible = (v.requires_grad_() for v in observed()), mask(20, 9)
    s, R, t = fit_camera(X, Y, visible)
    assert not any(part.requires_grad for part in (s, R, t))
    error = torch.where(visible[..., None], s[:, None, None] * (Y @ R[:, :2].mT) + t[:, None] - X, 0)
    by_X, by_Y = torch.autograd.grad(reprojection(X, Y, visible).sum(), (X, Y))
    assert torch.allclose(by_X, -2 * error)
    assert torch.allclose(by_Y, 2 * s[:, None, None] * (error @ R[:, :2]))


@pytest.mark.parametrize("kind", FITS)
@pytest.mark.parametrize("shape", ["solid", "flat", "coincident", "three points"])
def test_the_gradient_is_finite_at_equal_singular_values(kind, shape):
    Y = normal(8, 3 if shape == "three points" else 9, 3)
    if shape == "flat":
        Y[..., 2] = 0
    if shape == "coincident":
        Y[:, 3:] = Y[:, 3:4]
    X = 2 * Y[..., :2]  # an exact picture: both singular values of the least-squares map are 2 where it is unique
    X.requires_grad_(), Y.requires_grad_()
    loss = reprojection(X, Y, None, kind)
    gradients = torch.autograd.grad(loss.sum(), (X, Y))
    assert all(gradient.isfinite().all() for gradient in gradients)
    if kind == "exact" or shape != "three points":  # a tilted plane: its map has other singular values
        assert loss.max() < 1e-12 and max(gradient.abs().max() for gradient in gradients) < 1e-5


@pytest.mark.parametrize("mirror", ["so3", "o3"])
@pytest.mark.parametrize("masked", [False, True])
def test_align_undoes_a_similarity(mirror, masked):
    source, R, c = normal(20, 9, 3), rotations(20, 1), normal(20, 3, seed=2)
    visible = mask(20, 9) if masked else None
    if mirror == "o3":
        R[::2] = R[::2] @ torch.diag(torch.tensor([1.0, 1, -1], dtype=torch.float64))
    target = 0.7 * source @ R.mT + c[:, None]
    if masked:
        source, target = (torch.where(visible[..., None], v, math.nan) for v in (source, target))
    found = align(source, target, visible, mirror)
    close(found, (torch.full((20,), 0.7, dtype=torch.float64), R, c))
    distance = (found.apply(source) - target).norm(dim=-1)
    assert distance[visible if masked else slice(None)].max() < 1e-12


@pytest.mark.parametrize("masked", [False, True])
def test_align_agrees_with_roma(masked):
    import roma

    source, target, visible = normal(20, 9, 3), normal(20, 9, 3, seed=1), mask(20, 9)
    weights = visible.double() if masked else None
    R, t, s = roma.rigid_points_registration(source, target, weights, compute_scaling=True)
    close(align(source, target, visible if masked else None), (s, R, t))


def test_mirror_policies():
    source, target = normal(20, 9, 3), normal(20, 9, 3, seed=1)
    error = lambda mirror: (align(source, target, None, mirror).apply(source) - target).square().sum((1, 2))  # noqa: E731
    assert (torch.linalg.det(align(source, target).R) > 0).all()
    assert (error("o3") <= error("so3") + 1e-12).all() and (error("o3") < error("so3") - 1e-3).any()
    image = source * torch.tensor([1, 1, -1.0], dtype=torch.float64)
    assert (align(source, image, None, "o3").apply(source) - image).abs().max() < 1e-12
    assert (align(source, image, None, "so3").apply(source) - image).abs().amax((1, 2)).min() > 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mirror", ["so3", "o3"])
def test_align_is_finite_for_degenerate_shapes(mirror, dtype):
    point, shape = torch.full((4, 9, 3), 0.1, dtype=dtype), normal(4, 9, 3).to(dtype)
    flat, line = shape * torch.tensor([1, 1, 0], dtype=dtype), shape * torch.tensor([1, 0, 0], dtype=dtype)
    for source in (point, flat, line, shape):
        for target in (point, flat, line, shape):
            found = align(source, target, None, mirror)
            assert all(part.isfinite().all() for part in found) and (found.s >= 0).all()
            assert (found.R @ found.R.mT - EYE.to(dtype)).abs().max() < 1e-5
            if source is target:
                assert torch.allclose(found.apply(source), target, atol=1e-5)
    assert align(shape, point, None, mirror).s.abs().max() < 1e-6
    assert (align(point, shape, None, mirror).apply(point) - shape.mean(1, keepdim=True)).abs().max() < 1e-5


def test_random_rotations_are_uniform_and_repeatable(seeded):
    R = random_rotations(20_000, seeded(3), torch.float64)
    assert torch.equal(R, random_rotations(20_000, seeded(3), torch.float64))
    assert not torch.equal(R, random_rotations(20_000, seeded(4), torch.float64))
    assert (R @ R.mT - EYE).abs().max() < 1e-12 and torch.linalg.det(R).min() > 0.999
    assert R.mean(0).abs().max() < 0.02  # a uniform rotation has no mean direction
    assert abs(float(R.diagonal(dim1=1, dim2=2).sum(1).square().mean()) - 1) < 0.05  # E (tr R)^2 = 1
    assert (R.flatten(1).square().mean(0) - 1 / 3).abs().max() < 0.02
    assert random_rotations(0, seeded(0)).shape == (0, 3, 3) and random_rotations(2, seeded(0)).dtype == torch.float32


def test_axis_rotations_compose_invert_and_turn_right_handed():
    axis = torch.nn.functional.normalize(normal(12, 3), dim=-1)
    a, b = normal(12, seed=1), normal(12, seed=2)
    R = axis_rotations(axis, a)
    assert torch.allclose(R @ axis_rotations(axis, b), axis_rotations(axis, a + b))
    assert torch.allclose(R.mT, axis_rotations(axis, -a)) and torch.allclose(R @ R.mT, EYE.expand(12, 3, 3))
    assert torch.allclose((R @ axis[..., None]).squeeze(-1), axis)
    assert torch.allclose(R.diagonal(dim1=1, dim2=2).sum(1), 1 + 2 * a.cos())
    one = axis_rotations(torch.tensor([1.0, 0, 0]), torch.tensor([math.pi / 2, math.pi]))  # one axis for all
    assert torch.allclose(one[0] @ torch.tensor([0, 1.0, 0]), torch.tensor([0, 0, 1.0]), atol=1e-6)
    assert torch.allclose(one[1] @ torch.tensor([0, 1.0, 0]), torch.tensor([0, -1.0, 0]), atol=1e-6)


def refused(*parts):
    return pytest.raises(ValueError, match=".*".join(re.escape(part) for part in parts))


def test_what_no_camera_can_be_fitted_to_is_refused():
    X, Y = normal(4, 6, 2), normal(4, 6, 3)
    for bad in (X[0], X[..., :1], Y):
        with refused("X must have shape [B, N, 2]", str(list(bad.shape))):
            check_pair(bad, Y, None)
    for bad in (Y[0], Y[:3], Y[:, :5], X):
        with refused("Y must have shape [4, 6, 3]", str(list(bad.shape))):
            check_pair(X, bad, None)
    for pair in ((X.float(), Y), (X.long(), Y.long())):
        with refused("one floating dtype", str(pair[0].dtype), str(pair[1].dtype)):
            check_pair(*pair, None)
    for bad in (torch.ones(4, 5, dtype=torch.bool), torch.ones(6, dtype=torch.bool), torch.ones(4, 6)):
        with refused("visible must be bool of shape [4, 6]", str(bad.dtype), str(list(bad.shape))):
            check_pair(X, Y, bad)
    with refused("2 keypoints", "at least 3"):
        check_pair(X[:, :2], Y[:, :2], None)
    visible = torch.ones(4, 6, dtype=torch.bool)
    visible[2, 2:] = False
    for fit in FITS.values():
        with refused("sample 2 has 2 visible keypoints", "at least 3"):
            fit(X, Y, visible)
    check_pair(X, Y, torch.ones(4, 6, dtype=torch.bool))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_coordinates_that_are_not_finite_are_refused_where_they_are_visible(value):
    for which in (0, 1):
        pair = [normal(4, 6, 2), normal(4, 6, 3)]
        pair[which][3, 5, 1] = value
        for fit in FITS.values():
            with refused("XY"[which], "not finite at sample 3, keypoint 5"):
                fit(*pair)
        visible = torch.ones(4, 6, dtype=torch.bool)
        visible[0, 1] = False
        with refused("XY"[which], "not finite at sample 3, keypoint 5"):
            fit_camera(*pair, visible)
        visible[3, 5] = False
        assert fit_camera(*pair, visible).s.isfinite().all()


def test_coordinates_whose_sum_overflows_are_finite():
    X, Y = normal(4, 6, 2).float(), normal(4, 6, 3).float()
    X[:, :, 0] += 3e38
    assert not X.sum().isfinite()
    check_pair(X, Y, None)


def test_unknown_kinds_are_refused():
    X, Y = normal(4, 6, 2), normal(4, 6, 3)  # inspect.unwrap: without the type checks that only tests have
    with refused("'exact'", "'algebraic'", "'svd'"):
        inspect.unwrap(reprojection)(X, Y, None, "svd")
    with refused("'so3'", "'o3'", "'e3'"):
        inspect.unwrap(align)(Y, Y, None, "e3")
