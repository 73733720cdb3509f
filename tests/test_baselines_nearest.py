"""The nearest training shape against trying them all, and what the oracle refuses."""

import pytest
import torch

from lfmlib.baselines.nearest import explained_share, nearest_shape_oracle
from lfmlib.geometry import align, random_rotations
from lfmlib.metrics import mirrored

MIRROR = pytest.mark.parametrize("mirror", ["so3", "o3"])


@pytest.fixture
def training(generator):
    return torch.randn(40, 7, 3, generator=generator, dtype=torch.float64)


@pytest.fixture
def truth(generator):
    return 3 + 2 * torch.randn(150, 7, 3, generator=generator, dtype=torch.float64)


def squared(P, Y, known, mirror):
    return ((align(P, Y, known, mirror).apply(P) - Y).square().sum(-1) * known).sum(1)


@MIRROR
def test_it_is_the_best_of_all_tried_one_by_one(training, truth, generator, mirror):
    known = torch.rand(150, 7, generator=generator) < 0.8
    known[:, :4] = True
    have = torch.ones(40, 7, dtype=torch.bool)
    have[5:20, 6] = False
    every = torch.stack([
        torch.where((known & ~row).any(1), torch.inf, squared(P.expand_as(truth), truth, known, mirror))
        for P, row in zip(training, have, strict=True)
    ])  # fmt: skip
    shapes = nearest_shape_oracle(torch.where(have[..., None], training, torch.nan), truth, have, known, mirror)
    found = ((shapes - truth).square().sum(-1) * known).sum(1)
    assert torch.allclose(found, every.min(0).values) and float(shapes[~known].abs().max()) == 0


@MIRROR
def test_the_share_is_what_a_similarity_explains(training, truth, mirror):
    known, have = torch.ones(150, 7, dtype=torch.bool), torch.ones(40, 7, dtype=torch.bool)
    size = (truth - truth.mean(1, keepdim=True)).square().sum((1, 2))
    left = torch.stack([squared(P.expand_as(truth), truth, known, mirror) for P in training], 1) / size[:, None]
    assert torch.allclose(explained_share(training, have, truth, known, mirror).square(), 1 - left, atol=1e-9)


@MIRROR
def test_a_moved_training_shape_is_found_exactly_and_its_mirror_image_where_allowed(training, generator, mirror):
    R = random_rotations(40, generator, torch.float64)
    moved = 5 * training @ R.mT + 1
    assert torch.allclose(nearest_shape_oracle(training, moved, mirror=mirror), moved)
    other = mirrored(moved)
    assert torch.allclose(nearest_shape_oracle(training, other, mirror=mirror), other) == (mirror == "o3")


def test_coplanar_shapes_lines_and_points_are_compared(training):
    plane = training * torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    assert torch.allclose(nearest_shape_oracle(plane, plane), plane - 0, atol=1e-9)
    line = training * torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    assert torch.allclose(nearest_shape_oracle(line, line), line, atol=1e-6)
    assert nearest_shape_oracle(torch.zeros_like(training), training).isfinite().all()


def test_neither_order_nor_size_nor_thinning_beyond_it_matters(training, truth, generator):
    found = nearest_shape_oracle(training, truth)
    order = torch.randperm(40, generator=generator)
    assert torch.allclose(nearest_shape_oracle(1e3 * training[order], truth), found)
    assert torch.allclose(nearest_shape_oracle(training, truth, most=20), nearest_shape_oracle(training[::2], truth))
    single = nearest_shape_oracle(training.float(), truth.float())
    assert single.dtype == torch.float32 and torch.allclose(single.double(), found, atol=1e-3)


def test_what_does_not_fit_is_refused(training, truth):
    with pytest.raises(ValueError, match="0 training shapes"):
        nearest_shape_oracle(training[:0], truth)
    with pytest.raises(ValueError, match="true shape 2 is not finite"):
        nearest_shape_oracle(training, truth.index_fill(0, torch.tensor(2), torch.nan))
    few = torch.ones(40, 7, dtype=torch.bool).index_put((torch.tensor(3), torch.arange(5)), torch.tensor(False))
    with pytest.raises(ValueError, match="training shape 3 has fewer than 3"):
        nearest_shape_oracle(training, truth, few)
    lacking = torch.ones(40, 7, dtype=torch.bool).index_fill(1, torch.tensor(0), False)
    with pytest.raises(ValueError, match="true shape 0: no training shape knows"):
        nearest_shape_oracle(training, truth, lacking)
