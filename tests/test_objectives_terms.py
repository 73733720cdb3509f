"""Laws of the single terms: what each is blind to and what not, slow twins, and what happens on degenerate batches."""

import pytest
import torch

from lfmlib import geometry
from lfmlib import objectives as terms
from lfmlib.objectives import masked

EDGES = torch.tensor([[0, 1], [1, 2], [2, 3], [3, 4]])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=dtype)


def rotations(count: int, seed: int = 0) -> torch.Tensor:
    axis = torch.nn.functional.normalize(randn(count, 3, seed=seed), dim=-1)
    return geometry.axis_rotations(axis, 3 * randn(count, seed=seed + 1))


def pictures(Y: torch.Tensor) -> torch.Tensor:
    return masked.normalised(Y[..., :2], None)


def no_view(Y: torch.Tensor, visible: torch.Tensor | None) -> torch.Tensor:
    return terms.new_view(Y, torch.eye(3, dtype=Y.dtype).expand(len(Y), 3, 3), visible)


# Every term as a function of shapes and a mask, so that the laws they all obey are stated once.
TERMS = {
    "reprojection": lambda Y, v: terms.reprojection(randn(*Y.shape[:2], 2, seed=9).to(Y), Y, v),
    "nuclear": lambda Y, v: terms.low_rank(masked.normalised(Y, v), None, v),
    "logdet": lambda Y, v: terms.low_rank(masked.normalised(Y, v), None, v, kind="logdet"),
    "view_consistency": lambda Y, v: terms.view_consistency(masked.normalised(Y, v), torch.ones_like(Y), v),
    "depth_cycle": lambda Y, v: terms.depth_cycle(Y, no_view(Y, v), v),
    "depth_guard": lambda Y, v: terms.depth_guard(Y * torch.tensor([1.0, 1, 8]).to(Y), v),
    "limb_constancy": lambda Y, v: terms.limb_constancy(Y, EDGES, v),
    "supervised_3d": lambda Y, v: terms.supervised_3d(Y, randn(*Y.shape, seed=8).to(Y), v),
}
BY_SAMPLE = {"reprojection", "supervised_3d"}  # the ones whose second argument above is drawn by position in the batch


@pytest.mark.parametrize("name", TERMS)
def test_missing_keypoints_do_not_matter(name: str) -> None:
    Y = randn(6, 7, 3)
    visible = torch.rand(6, 7, generator=generator(3)) < 0.8
    visible[:, :5] = True
    hidden = ~visible[..., None]
    other = torch.where(hidden, torch.nan, Y).requires_grad_()
    value = TERMS[name](other, visible)
    assert torch.allclose(value, TERMS[name](torch.where(hidden, 1e3, Y), visible), rtol=1e-6, atol=1e-9)
    value.backward()
    assert other.grad.isfinite().all() and (other.grad[~visible] == 0).all()


@pytest.mark.parametrize("name", TERMS)
def test_masked_out_is_the_same_as_absent(name: str) -> None:
    Y = randn(6, 5, 3)
    padded = torch.cat([Y, randn(6, 3, 3, seed=4)], 1)
    visible = torch.arange(8).expand(6, 8) < 5
    if name in BY_SAMPLE:
        truth = randn(6, 8, 3, seed=5)
        term = terms.supervised_3d if name == "supervised_3d" else lambda a, b, v: terms.reprojection(b[..., :2], a, v)
        assert torch.allclose(term(Y, truth[:, :5], None), term(padded, truth, visible), rtol=1e-6)
    else:
        assert torch.allclose(TERMS[name](Y, None), TERMS[name](padded, visible), rtol=1e-6)


@pytest.mark.parametrize("name", sorted(set(TERMS) - BY_SAMPLE))
def test_order_of_samples_does_not_matter(name: str) -> None:
    Y, order = randn(9, 7, 3), torch.randperm(9, generator=generator(1))
    assert torch.allclose(TERMS[name](Y, None), TERMS[name](Y[order], None), rtol=1e-9)


DEGENERATE = {
    "one sample": randn(1, 7, 3),
    "equal samples": randn(1, 7, 3).expand(5, 7, 3),
    "a point": torch.ones(5, 7, 3),
    "flat": randn(5, 7, 3) * torch.tensor([1.0, 1, 0]),
    "a line along z": randn(5, 7, 3) * torch.tensor([0.0, 0, 1]),
    "fewer samples than modes": randn(3, 7, 3),
    "tiny": 1e-12 * randn(5, 7, 3),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("name", TERMS)
def test_value_and_gradient_are_finite_on_degenerate_batches(name: str, case: str, dtype: torch.dtype) -> None:
    Y = DEGENERATE[case].to(dtype).clone().requires_grad_()
    value = TERMS[name](Y, None)
    value.backward()
    assert value.dtype == dtype and value.isfinite() and Y.grad.isfinite().all()


@pytest.mark.parametrize("name", sorted(set(TERMS)))
def test_gradient_is_the_derivative(name: str) -> None:
    Y = randn(4, 6, 3).requires_grad_()
    visible = torch.ones(4, 6, dtype=torch.bool)
    visible[1, 5] = visible[2, 0] = False
    assert torch.autograd.gradcheck(lambda y: TERMS[name](y, visible), Y, eps=1e-6, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("camera", ["exact", "algebraic"])
def test_reprojection_is_blind_to_depth(camera: str) -> None:
    X = pictures(randn(8, 7, 3))
    Y = torch.cat([X, 2 * randn(8, 7, 1, seed=1)], -1)
    moved = 3 * Y @ rotations(8).mT + randn(8, 1, 3, seed=2)
    assert terms.reprojection(X, Y, camera=camera) < 1e-12
    assert terms.reprojection(X, moved, camera=camera) < 1e-12
    assert terms.reprojection(X, randn(8, 7, 3, seed=3), camera=camera) > 0.01


def test_reprojection_is_a_mean_over_visible_keypoints_and_samples() -> None:
    X, Y = randn(3, 7, 2), randn(3, 7, 3, seed=1)
    visible = torch.ones(3, 7, dtype=torch.bool)
    visible[0, 4:] = False
    each = [geometry.reprojection(X[i : i + 1, m], Y[i : i + 1, m])[0] / m.sum() for i, m in enumerate(visible)]
    assert torch.allclose(terms.reprojection(X, Y, visible), torch.stack(each).mean(), rtol=1e-6)


def test_solved_camera_gives_the_exact_value_and_gradient() -> None:
    X, Y = randn(5, 7, 2), randn(5, 7, 3, seed=1).requires_grad_()
    solved = terms.reprojection(X, Y, None, geometry.solve_camera(X, Y.detach()))
    exact = terms.reprojection(X, Y)
    assert torch.allclose(solved, exact, rtol=1e-6)
    first, second = (torch.autograd.grad(value, Y)[0] for value in (solved, exact))
    assert torch.allclose(first, second, atol=1e-6)


def test_read_outs() -> None:
    X, Y = pictures(randn(5, 7, 3)), randn(5, 7, 3, seed=1)
    visible = torch.ones(5, 7, dtype=torch.bool)
    visible[:, 6] = False
    camera = geometry.solve_camera(X, Y, visible)
    fit, snap = (terms.read_out(X, Y, camera, visible, kind) for kind in ("fit", "snap"))
    assert torch.equal(snap[:, :6, :2], X[:, :6]) and torch.equal(snap[:, 6], fit[:, 6])
    assert torch.equal(snap[..., 2], fit[..., 2])
    assert torch.allclose(fit[:, :6, 2].mean(1), torch.zeros(5, dtype=X.dtype), atol=1e-9)
    error = (fit[:, :6, :2] - X[:, :6]).square().sum((1, 2)) / 6
    assert torch.allclose(error.mean(), terms.reprojection(X, Y, visible), rtol=1e-6)
    with pytest.raises(ValueError, match="fit or snap"):
        terms.read_out(X, Y, camera, visible, "both")


@pytest.mark.parametrize("kind", ["nuclear", "logdet"])
@pytest.mark.parametrize("samples", [5, 40])  # below and above 3N: either Gram matrix
def test_low_rank_sees_the_spectrum_only(kind: str, samples: int) -> None:
    Y = randn(samples, 7, 3)
    value = terms.low_rank(Y, kind=kind)
    assert torch.allclose(value, terms.low_rank(Y + randn(1, 7, 3, seed=1), kind=kind), rtol=1e-6)
    assert torch.allclose(value, terms.low_rank(Y @ rotations(1).mT, kind=kind), rtol=1e-6)
    assert not torch.allclose(value, terms.low_rank(Y @ rotations(samples).mT, kind=kind), rtol=1e-3)
    assert terms.low_rank(Y[:1].expand(samples, 7, 3), kind=kind).abs() < 1e-9
    sigma = torch.linalg.svdvals((Y - Y.mean(0)).flatten(1))
    naive = {
        "nuclear": sigma.sum() / samples,
        "logdet": 0.5 * torch.log1p(sigma.square() / samples / 0.01).sum(),
    }
    assert torch.allclose(value, naive[kind], rtol=1e-3)


def test_low_rank_prefers_few_modes_at_equal_spread() -> None:
    modes, weights = randn(20, 21), randn(60, 20, seed=1)
    few, many = weights[:, :2] @ modes[:2], weights @ modes
    few, many = (shapes / shapes.std() for shapes in (few, many))
    for kind in ("nuclear", "logdet"):
        low, high = (terms.low_rank(shapes.view(60, 7, 3), kind=kind) for shapes in (few, many))
        assert low < 0.7 * high


def test_low_rank_adds_up_over_categories_and_knows_no_other_kind() -> None:
    Y, category = randn(12, 7, 3), torch.tensor([0, 2] * 6)
    apart = (terms.low_rank(Y[::2]) + terms.low_rank(Y[1::2])) / 2
    assert torch.allclose(terms.low_rank(Y, category), apart, rtol=1e-9)
    shifted = Y + 5.0 * category[:, None, None]  # categories may differ as they like
    assert torch.allclose(terms.low_rank(shifted, category), apart, rtol=1e-6)
    with pytest.raises(ValueError, match="trace"):
        terms.low_rank(Y, kind="trace")


def test_new_view_is_a_centred_picture_of_unit_size() -> None:
    Y, turn = randn(6, 7, 3), rotations(6)
    visible = torch.ones(6, 7, dtype=torch.bool)
    visible[:, 5] = False
    seen = terms.new_view(Y, turn, visible)
    assert (seen[:, 5] == 0).all() and seen.sum(1).abs().max() < 1e-9
    assert torch.allclose(masked.mean_square(seen[..., :2], visible), torch.ones(6, dtype=Y.dtype), atol=1e-4)
    assert torch.allclose(seen, terms.new_view(7 * Y + 3, turn, visible), atol=1e-6)
    turned = torch.einsum("bij,bnj->bni", turn, masked.normalised(Y, visible))
    assert torch.allclose(masked.normalised(seen, visible), turned, atol=1e-6)
    back = terms.new_view(seen, turn.mT, visible)
    assert torch.allclose(back, terms.new_view(Y, torch.eye(3, dtype=Y.dtype).expand(6, 3, 3), visible), atol=1e-4)
    end_on = no_view(randn(2, 7, 3) * torch.tensor([0.0, 0, 1]), None)
    assert end_on.isfinite().all() and end_on.abs().max() < 3e3


def test_consistency_is_blind_to_what_it_says() -> None:
    Y, other = randn(5, 7, 3), randn(5, 7, 3, seed=1)
    assert terms.view_consistency(Y, Y) == 0 < terms.view_consistency(Y, other)
    flat = torch.cat([other[..., :2], Y[..., 2:] + 4], -1)  # other x and y, depth shifted as a whole
    assert terms.depth_cycle(flat, Y) < 1e-20 < terms.depth_cycle(other, Y)


def test_depth_guard_is_silent_inside_its_limit() -> None:
    Y = randn(5, 7, 3)
    Y = torch.cat([pictures(Y), masked.normalised(Y[..., 2:], None)], -1)  # width 1, depth 1
    inside, outside = (Y * torch.tensor([1, 1, depth]) for depth in (2.9, 3.5))
    inside.requires_grad_()
    value = terms.depth_guard(inside)
    value.backward()
    assert value == 0 and (inside.grad == 0).all()
    assert torch.allclose(terms.depth_guard(outside), torch.tensor(3.5**2 - 9, dtype=Y.dtype), rtol=1e-4)
    assert torch.allclose(terms.depth_guard(outside), terms.depth_guard(100 * outside + 7), rtol=1e-4)


def test_limb_constancy_is_blind_to_size_and_pose() -> None:
    shape = randn(1, 7, 3)
    scale = 0.1 + torch.rand(6, 1, 1, generator=generator(), dtype=torch.float64)
    copies = scale * shape @ rotations(6).mT + randn(6, 1, 3, seed=1)
    assert terms.limb_constancy(copies, EDGES) < 1e-20
    stretched = copies.clone()
    stretched[0, 1] += scale[0, 0]
    assert terms.limb_constancy(stretched, EDGES) > 1e-3
    hidden = torch.ones(6, 7, dtype=torch.bool)
    hidden[1:, 1] = False  # each limb at keypoint 1 is left in one sample only, which can vary from nothing
    twice = terms.limb_constancy(stretched[1:], EDGES, hidden[1:])
    assert twice < 0.1 and terms.limb_constancy(copies, torch.zeros(0, 2, dtype=torch.long)) == 0


def test_limb_constancy_is_blind_to_mirrors_and_to_endless_depth() -> None:
    Y = randn(8, 5, 3)
    mirror = torch.tensor([1.0, 1, -1], dtype=Y.dtype).where(torch.arange(8)[:, None, None] % 2 == 0, 1)
    assert torch.allclose(terms.limb_constancy(mirror * Y, EDGES), terms.limb_constancy(Y, EDGES), rtol=1e-9)
    depth = torch.tensor([0.0, 2, 1, 3, 5], dtype=Y.dtype)[:, None].expand(8, 5, 1)  # the same for wrong x and y
    deep = [terms.limb_constancy(torch.cat([Y[..., :2], scale * depth], -1), EDGES) for scale in (1, 10, 100)]
    assert deep[0] > 20 * deep[1] > 400 * deep[2]
    bent = torch.cat([Y[:1, :4], Y[:1, 3:4] + (Y[:1, 4:] - Y[:1, 3:4]) @ rotations(1).mT], 1)
    assert terms.limb_constancy(torch.cat([Y[:1], bent]), EDGES) > 1e-4  # a bent body has another size, so it is seen


def test_limbs_of_each_category_are_compared_with_their_own() -> None:
    from lfmlib.objectives.limbs import limb_constancy_by_rig

    Y, category = randn(8, 7, 3), torch.tensor([0, 1, 1, 1] * 2)
    value = limb_constancy_by_rig(Y, (EDGES, EDGES[:2]), category)
    first, second = Y[category == 0], Y[category == 1]
    expected = 0.25 * terms.limb_constancy(first, EDGES) + 0.75 * terms.limb_constancy(second, EDGES[:2])
    assert torch.allclose(value, expected)


def test_supervision_forgives_a_similarity_but_no_mirror() -> None:
    Y = randn(6, 7, 3)
    moved = 3 * Y @ rotations(6).mT + randn(6, 1, 3, seed=1)
    assert terms.supervised_3d(moved, Y) < 1e-9
    assert torch.allclose(terms.supervised_3d(moved, 5 * Y), terms.supervised_3d(moved, Y), atol=1e-9)
    assert terms.supervised_3d(moved * torch.tensor([1, 1, -1]), Y) > 0.01
