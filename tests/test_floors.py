"""The floors: the flat answer and the rigid mean shape."""

import math

import pytest
import torch

from lfmlib.baselines.floors import constant, flat, mean_shape
from lfmlib.geometry import random_rotations, reprojection
from lfmlib.metrics import mirrored, pa_mpjpe


def family(F, N, noise, seed=0):
    """One base shape, deformed, each under its own similarity."""
    g = torch.Generator().manual_seed(seed)
    base = torch.randn(N, 3, generator=g, dtype=torch.float64)
    points = base + noise * torch.randn(F, N, 3, generator=g, dtype=torch.float64)
    R = random_rotations(F, g, torch.float64)
    scale = 0.5 + torch.rand(F, 1, 1, generator=g, dtype=torch.float64)
    return base, scale * points @ R.mT + torch.randn(F, 1, 3, generator=g, dtype=torch.float64)


def error(shape, points, known=None):
    return float(pa_mpjpe(constant(shape, len(points)), points, known, mirror="so3").mean())


def test_flat_makes_eq_1_zero_and_has_no_depth():
    X = torch.randn(5, 9, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    Y = flat(X)
    assert reprojection(X, Y).max() < 1e-9
    assert torch.equal(Y[..., :2], X) and float(Y[..., 2].abs().max()) == 0


def test_mean_of_copies_is_the_shape_and_keeps_its_handedness():
    base, points = family(20, 8, 0.0)
    assert error(mean_shape(points), base[None]) < 1e-7
    assert error(mirrored(mean_shape(points)[None])[0], base[None]) > 0.1


def test_mean_has_the_mean_size_and_is_centred():
    _, points = family(20, 8, 0.1)
    mean = mean_shape(points)
    radius = lambda p: (p - p.mean(-2, keepdim=True)).square().sum(-1).mean(-1).sqrt()  # noqa: E731
    assert float(radius(mean)) == pytest.approx(float(radius(points).mean()))
    assert float(mean.mean(0).abs().max()) < 1e-9


def test_mean_beats_every_shape_of_the_set_and_finds_the_base():
    base, points = family(60, 8, 0.2)
    mean = mean_shape(points)
    assert error(mean, points) < min(error(shape, points) for shape in points)
    assert error(mean, base[None]) < 0.1


def test_mean_does_not_depend_on_poses():
    _, points = family(30, 7, 0.2)
    turned = 2.5 * points @ random_rotations(30, torch.Generator().manual_seed(9), torch.float64).mT + 1
    assert error(mean_shape(turned), mean_shape(points)[None]) < 1e-5
    assert torch.equal(mean_shape(points), mean_shape(points))  # deterministic


@pytest.mark.parametrize("value", [1e5, math.nan])
def test_unknown_keypoints_are_filled_from_the_others(value):
    base, points = family(40, 8, 0.0)
    known = torch.rand(40, 8, generator=torch.Generator().manual_seed(3)) < 0.7
    known[:, :4] = True
    known[:, 7] &= torch.arange(40) > 20
    points[~known] = value
    assert error(mean_shape(points, known), base[None]) < 1e-6
    known[:, 6] = False  # known to none
    mean = mean_shape(points, known)
    assert mean.isfinite().all() and float(mean[6].abs().max()) == 0


def test_float32_and_a_single_shape():
    base, points = family(1, 6, 0.0)
    mean = mean_shape(points.float())
    assert mean.dtype == torch.float32 and error(mean.double(), base[None]) < 1e-5


def test_bad_sets():
    _, points = family(4, 6, 0.0)
    known = torch.ones(4, 6, dtype=torch.bool)
    known[2, 2:] = False
    with pytest.raises(ValueError, match="shape 2 has fewer than 3"):
        mean_shape(points, known)
    with pytest.raises(ValueError, match="at least one shape"):
        mean_shape(points[:0])
