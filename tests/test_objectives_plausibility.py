"""The discriminator's view of a picture, its losses, and the 2D statistics behind it."""

import math

import pytest
import torch

from lfmlib import objectives as terms
from lfmlib.rigs import Rig

RIGS = (
    Rig("snake", tuple("abcdef"), edges=((0, 1), (1, 2), (2, 3), (3, 4), (4, 5))),
    Rig("star", tuple("abcd"), edges=((0, 1), (0, 2), (0, 3))),
)


def pictures(count: int, keypoints: int = 6, seed: int = 0) -> torch.Tensor:
    X = torch.randn(count, keypoints, 2, generator=torch.Generator().manual_seed(seed))
    X = X @ torch.tensor([[1.0, 0.3], [0.0, 0.5]]) + torch.arange(keypoints)[:, None] * 0.2
    return X


def gathered(rigs: tuple[Rig, ...] = RIGS[:1]) -> terms.PictureFeatures:
    features = terms.PictureFeatures(rigs)
    category = torch.arange(3000) % len(rigs)
    counts = torch.tensor([rig.n for rig in rigs])
    features.gather(pictures(3000), torch.arange(6) < counts[category][:, None], category)
    return features


def test_whitened_pictures_have_unit_covariance() -> None:
    features, X = gathered(), pictures(3000)
    seen = features(X, torch.ones(3000, 6, dtype=torch.bool), torch.zeros(3000, dtype=torch.long))
    assert seen.shape == (3000, features.size) and torch.equal(seen[:, :12], X.flatten(1))
    assert torch.allclose(seen[:, 12:24].T.cov(), torch.eye(12), atol=0.03)
    assert torch.allclose(seen[:, 24:26], 3 * (X[:, 0] - X[:, 1]))


def test_statistics_do_not_see_missing_keypoints() -> None:
    X, visible = pictures(3000), torch.rand(3000, 6, generator=torch.Generator().manual_seed(1)) < 0.7
    features = terms.PictureFeatures(RIGS[:1])
    features.gather(torch.where(visible[..., None], X, torch.nan), visible, torch.zeros(3000, dtype=torch.long))
    complete = gathered()
    assert torch.allclose(features.mean, complete.mean, atol=0.06)
    covariance = [torch.linalg.inv(f.whitener[0] @ f.whitener[0].T) for f in (features, complete)]
    assert torch.allclose(*covariance, atol=0.1)


def test_missing_and_padded_keypoints_are_zeros() -> None:
    features, X = gathered(RIGS), pictures(8)
    category, visible = torch.tensor([0, 1] * 4), torch.ones(8, 6, dtype=torch.bool)
    visible[1::2, 4:] = False
    visible[0, 2] = False
    seen = features(torch.where(visible[..., None], X, torch.nan), visible, category)
    assert seen.isfinite().all() and (seen[0, 4:6] == 0).all() and (seen[1::2, 8:12] == 0).all()
    assert (seen[0, 26:30] == 0).all() and (
        seen[1::2, 30:] == 0
    ).all()  # limbs with an end missing, limbs not in the rig
    wider = torch.nn.functional.pad(X, (0, 0, 0, 3), value=torch.nan), torch.nn.functional.pad(visible, (0, 3))
    assert torch.equal(features(*wider, category), features(X, visible, category))
    narrow = features(X[1::2, :4], visible[1::2, :4], category[1::2])
    assert torch.allclose(narrow, seen[1::2], atol=1e-6)


def test_a_category_without_pictures_is_named() -> None:
    with pytest.raises(ValueError, match="'star'"):
        terms.PictureFeatures(RIGS).gather(
            pictures(20), torch.ones(20, 6, dtype=torch.bool), torch.zeros(20, dtype=torch.long)
        )


def test_statistics_of_a_degenerate_category_are_finite() -> None:
    features = terms.PictureFeatures(RIGS[:1])
    features.gather(torch.zeros(1, 6, 2), torch.ones(1, 6, dtype=torch.bool), torch.zeros(1, dtype=torch.long))
    assert features.whitener.isfinite().all()


def test_losses_of_an_undecided_discriminator() -> None:
    zero = torch.zeros(5)
    assert math.isclose(terms.adversary(zero), math.log(2), rel_tol=1e-6)
    assert math.isclose(terms.discrimination(zero, zero), 2 * math.log(2), rel_tol=1e-6)
    assert terms.adversary(zero + 5) < terms.adversary(zero) < terms.adversary(zero - 5)
    assert terms.discrimination(zero + 5, zero - 5) < 0.02


def test_adversary_is_blind_to_which_sample_is_which() -> None:
    features, X, visible = gathered(), pictures(8), torch.ones(8, 6, dtype=torch.bool)
    judge = terms.Discriminator(features.size, 6, 1, torch.Generator().manual_seed(0), width=16)
    zero = torch.zeros(8, dtype=torch.long)
    value, shuffled = (terms.adversary(judge(features(x, visible, zero), visible, zero)) for x in (X, X.flip(0)))
    assert torch.allclose(value, shuffled)


def test_r1_is_half_the_squared_gradient() -> None:
    weight = torch.randn(9, generator=torch.Generator().manual_seed(0))

    class Linear(torch.nn.Module):
        def forward(self, features: torch.Tensor, visible: torch.Tensor, category: torch.Tensor) -> torch.Tensor:
            return features @ weight

    visible, category = torch.ones(4, 3, dtype=torch.bool), torch.zeros(4, dtype=torch.long)
    assert torch.allclose(terms.r1_penalty(Linear(), torch.ones(4, 9), visible, category), weight.square().sum() / 2)


def test_discriminator_knows_category_and_mask_and_its_start_is_drawn_from_the_generator() -> None:
    build = [terms.Discriminator(10, 6, 2, torch.Generator().manual_seed(seed), width=16) for seed in (0, 0, 1)]
    features, visible = torch.ones(3, 10), torch.ones(3, 6, dtype=torch.bool)
    visible[2, 0] = False
    category = torch.tensor([0, 1, 0])
    first, again, other = (network(features, visible, category) for network in build)
    assert torch.equal(first, again) and not torch.allclose(first, other)
    assert len(set(first.tolist())) == 3
    assert all(parameter.isfinite().all() for parameter in build[0].parameters())
