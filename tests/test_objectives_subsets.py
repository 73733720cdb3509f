"""The low-rank prior on subsets: a slow twin, what it is blind to, and what it sees that the global one does not."""

import pytest
import torch

from lfmlib import geometry
from lfmlib import objectives as terms
from lfmlib.objectives import ObjectiveConfig
from lfmlib.rigs import Rig


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def clusters(count: int = 6, size: int = 8, spread: float = 0.01) -> torch.Tensor:
    """Shapes near `count` centres that are far apart; cluster after cluster."""
    return randn(count, 1, 7, 3).expand(count, size, 7, 3).flatten(0, 1) + spread * randn(count * size, 7, 3, seed=1)


@pytest.mark.parametrize("kind", ["nuclear", "logdet"])
def test_every_subset_is_a_low_rank_of_its_own(kind: str) -> None:
    Y, category = randn(23, 7, 3), torch.tensor([0, 1] * 11 + [0])
    visible = torch.rand(23, 7, generator=generator(2)) < 0.8
    value = terms.low_rank_subsets(Y, generator(5), category, visible, 4, kind)
    each, g = [], generator(5)
    for c, count in ((0, 12), (1, 11)):
        rows = (category == c).nonzero()[:, 0]
        for a in rows[torch.rand(count, generator=g).argsort()[:3]].tolist():
            both = [visible[a] & visible[b] for b in rows]
            apart = [(Y[a] - Y[b])[m].square().sum() / m.sum() for b, m in zip(rows, both, strict=True)]
            near = rows[torch.stack(apart).argsort()[:4]]
            each.append(terms.low_rank(Y[near], None, visible[near], kind))
    assert len(each) == 6 and torch.allclose(value, torch.stack(each).mean(), rtol=1e-9)


@pytest.mark.parametrize("kind", ["nuclear", "logdet"])
def test_a_small_category_is_one_subset(kind: str) -> None:
    Y = randn(7, 5, 3)
    for size in (7, 50):
        value = terms.low_rank_subsets(Y, generator(), size=size, kind=kind)
        assert torch.allclose(value, terms.low_rank(Y, kind=kind), rtol=1e-9)
    assert terms.low_rank_subsets(Y[:1], generator()) == 0


def test_blind_to_how_subsets_lie_to_one_another() -> None:
    Y = clusters()
    value = terms.low_rank_subsets(Y, generator())
    cluster = torch.arange(48) // 8
    axis = torch.nn.functional.normalize(randn(6, 3, seed=3), dim=-1)
    R = geometry.axis_rotations(axis, 3 * randn(6, seed=4))[cluster]
    mirror = 1 - 2.0 * (cluster % 2)[:, None, None] * torch.tensor([0.0, 0, 1], dtype=Y.dtype)
    elsewhere = mirror * Y @ R.mT + 9 * randn(6, 1, 3, seed=5)[cluster]
    assert torch.allclose(value, terms.low_rank_subsets(elsewhere, generator()), rtol=1e-3)
    assert terms.low_rank(Y) > 10 * value  # the global prior sees little else
    assert terms.low_rank_subsets(Y[:1].expand(20, 7, 3), generator()) < 1e-9  # one shape for all pleases it


def test_a_bent_surface_of_shapes_is_simple_near_by() -> None:
    """Shapes along a curve that uses many modes: hardly more than one mode in any neighbourhood."""
    along = torch.rand(400, generator=generator(), dtype=torch.float64) * 6
    waves = torch.cat([(k * along[:, None] + torch.tensor([0.0, 1.57])).sin() for k in range(1, 6)], 1)
    curve = (waves @ randn(10, 21)).view(400, 7, 3)
    columns = enumerate(curve.flatten(1).T)  # the same numbers, but none goes with another
    cloud = torch.stack([c[torch.randperm(400, generator=generator(i))] for i, c in columns], 1).view(400, 7, 3)
    near, far = (terms.low_rank_subsets(Y, generator()) for Y in (curve, cloud))
    assert near / far < 0.4 * terms.low_rank(curve) / terms.low_rank(cloud)


def test_categories_do_not_mix_and_missing_keypoints_do_not_matter() -> None:
    Y, category = clusters(), torch.tensor([0, 1] * 24)
    shifted = Y + 5.0 * category[:, None, None]
    first, second = (terms.low_rank_subsets(y, generator(), category, size=4) for y in (Y, shifted))
    assert torch.allclose(first, second, rtol=1e-6)
    visible = torch.ones(48, 7, dtype=torch.bool)
    visible[:, 6] = False
    hidden = torch.cat([Y[:, :6], torch.full((48, 1, 3), torch.nan, dtype=Y.dtype)], 1).requires_grad_()
    value = terms.low_rank_subsets(hidden, generator(), None, visible)
    assert torch.allclose(value, terms.low_rank_subsets(Y[:, :6], generator()), rtol=1e-9)
    value.backward()
    assert hidden.grad.isfinite().all() and (hidden.grad[:, 6] == 0).all()


@pytest.mark.parametrize("case", ["equal", "a point", "flat", "one sample", "nothing in common"])
def test_value_and_gradient_are_finite_on_degenerate_batches(case: str) -> None:
    Y = {"equal": randn(1, 7, 3).expand(12, 7, 3), "a point": torch.ones(12, 7, 3, dtype=torch.float64),
         "one sample": randn(1, 7, 3)}.get(case, randn(12, 7, 3) * torch.tensor([1.0, 1, 0]))  # fmt: skip
    Y = Y.clone().requires_grad_()
    visible = torch.arange(7) % 2 == torch.arange(len(Y))[:, None] % 2 if case == "nothing in common" else None
    value = terms.low_rank_subsets(Y, generator(), None, visible)
    value.backward()
    assert value.isfinite() and Y.grad.isfinite().all()


def test_gradient_is_the_derivative() -> None:
    Y = randn(9, 5, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: terms.low_rank_subsets(y, generator(), size=3), Y, atol=1e-5, rtol=1e-3)


def test_what_makes_no_subset_is_refused() -> None:
    with pytest.raises(ValueError, match="trace"):
        terms.low_rank_subsets(randn(5, 7, 3), generator(), kind="trace")
    with pytest.raises(ValueError, match="at least 2.*size 1"):
        terms.low_rank_subsets(randn(5, 7, 3), generator(), size=1)


def test_as_a_switch_it_draws_from_the_generator_it_is_given() -> None:
    rig = Rig("chain", tuple("abcdefg"))
    config = ObjectiveConfig(low_rank_subsets=0.5, subset_size=4)
    shapes = randn(16, 7, 3)
    X = terms.pictures.NewViews(shapes[..., :2], torch.ones(16, 7, dtype=torch.bool), torch.zeros(16).long())
    objective = terms.Objective(config, (rig,))
    loss, found = objective(lambda *_: shapes, X, generator(3))
    canonical = terms.masked.normalised(shapes, None)
    expected = terms.low_rank_subsets(canonical, generator(3), X.category, X.visible, 4)
    assert torch.allclose(found["low_rank_subsets"], expected)
    assert torch.allclose(loss, found["reprojection"] + 0.5 * found["low_rank_subsets"])
    with pytest.raises(ValueError, match="low_rank_subsets is random and needs a generator"):
        objective(lambda *_: shapes, X)
