"""What holds for every 2D-only network that knows one category: hidden keypoints, order, degenerate pictures, seeds."""

from functools import partial

import pytest
import torch
from rigid_scene import mask, one_category

from lfmlib.baselines.deep_nrsfm import DeepNRSfM
from lfmlib.baselines.paul import PAUL
from lfmlib.data.views import Views, normalise

NETWORKS = {
    "paul": partial(PAUL, 9, code=3, width=32, blocks=1),
    "deep-nrsfm": partial(DeepNRSfM, 9, dictionaries=(24, 12, 4)),
}


@pytest.fixture(params=NETWORKS)
def small(request):
    """Makes a small network from a generator."""
    return lambda generator: NETWORKS[request.param](generator=generator)


@pytest.fixture
def visible(seeded):
    return mask(seeded(1), 4)


@pytest.fixture
def X(visible, generator):
    return normalise(torch.randn(12, 9, 2, generator=generator), visible)[0]


def test_what_is_hidden_reaches_neither_loss_nor_gradient_nor_lift(small, X, visible, seeded):
    results = []
    for hidden in (0.0, torch.nan):
        baseline = small(seeded(0))
        shown = torch.where(visible[..., None], X, hidden)
        total, _ = baseline.loss(one_category(shown, visible), seeded(3))
        total.backward()
        results.append((total, baseline.lift(shown, visible), *(p.grad for p in baseline.parameters())))
    assert all(a.isfinite().all() and torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert all(p.grad.any() for p in baseline.parameters())


def test_the_order_of_a_batch_does_not_matter(small, X, visible, seeded):
    baseline, order = small(seeded(0)), torch.randperm(12, generator=seeded(1))
    losses = [baseline.loss(one_category(X[i], visible[i]), seeded(2))[0] for i in (torch.arange(12), order)]
    assert torch.allclose(*losses, rtol=1e-4)
    lifted = baseline.lift(X, visible)
    assert torch.allclose(baseline.lift(X[order], visible[order]), lifted[order], atol=1e-5)
    assert torch.allclose(baseline.lift(X[:1], visible[:1]), lifted[:1], atol=1e-5)


def test_gradients_are_finite_where_all_points_coincide_or_lie_on_a_line(small, X, seeded):
    baseline = small(seeded(0))
    X[:5], X[5:8, :, 1] = 0, 0
    baseline.loss(one_category(X), seeded(1))[0].backward()
    assert all(p.grad.isfinite().all() for p in baseline.parameters())
    assert baseline.lift(X).isfinite().all()


def test_weights_come_from_the_generator_alone(small, X, seeded):
    before = torch.random.get_rng_state()
    one, two, other = (small(seeded(seed)).lift(X) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_other_keypoints_and_a_second_category_are_refused(small, X, generator):
    with pytest.raises(ValueError, match=r"expected \[B, 9, 2\]"):
        small(generator).lift(X[:, :8])
    with pytest.raises(ValueError, match=r"one category, got \[0, 1\]"):
        small(generator).loss(Views(X, None, torch.arange(12) % 2), generator)
