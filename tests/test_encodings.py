"""Laws of the index encodings and of TPE."""

import math

import pytest
import torch

from lfmlib import encodings as E
from lfmlib.rigs import Rig

# a human-like tree: its two arms and its two legs make repeated eigenvalues; and a tree without any symmetry
BODY = ((0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (0, 7), (7, 8), (8, 9), (9, 10), (8, 11), (11, 12), (12, 13),
        (8, 14), (14, 15), (15, 16))
TREE = ((0, 1), (1, 2), (2, 3), (3, 4), (2, 5), (5, 6), (6, 7), (3, 8))


def rig(n, edges, name="test"):
    return Rig(name=name, keypoints=tuple(f"k{i}" for i in range(n)), edges=tuple(edges), unit="unit", mm=None)


def permuted(edges, order):
    """The same graph where old keypoint i is new keypoint order[i]."""
    return [(int(order[a]), int(order[b])) for a, b in edges]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def gram(phi):
    return phi.double() @ phi.double().T


def test_vit_is_the_closed_formula():
    phi = E.encode("vit", rig(17, BODY), 64)
    for i in (0, 1, 16):
        for k in (0, 1, 31):
            angle = i * 10000 ** (-2 * k / 64)
            assert phi[i, 2 * k] == pytest.approx(math.sin(angle), abs=1e-6)
            assert phi[i, 2 * k + 1] == pytest.approx(math.cos(angle), abs=1e-6)


def test_rff_frequencies_invert_the_error_function():
    phi = E.rff(2, 64, sigma=2.5)
    w = torch.atan2(phi[1, 0::2], phi[1, 1::2])[:24]  # the angle of token 1; from k = 25 on it is above pi and wraps
    assert torch.allclose(torch.erf(w / 2.5), 2 * torch.arange(24).double() / 64, atol=1e-12)
    assert torch.allclose(E.rff(2, 64, 2.5, sqrt2=True), E.rff(2, 64, 2.5 * math.sqrt(2)), atol=1e-12)


@pytest.mark.parametrize("kind", ["vit", "rff", "rff_sqrt2", "rff_mc"])
def test_sinusoids_are_shift_invariant(kind):
    g = gram(E.encode(kind, rig(17, BODY), 64, generator=generator()))
    for offset in range(17):
        diagonal = g.diagonal(offset)
        assert torch.allclose(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4)


@pytest.mark.parametrize("sqrt2, variance", [(False, 0.5), (True, 1.0)])
def test_analytic_rff_has_the_gaussian_kernel_of_its_quantiles(sqrt2, variance):
    sigma, width = 0.7, 8192
    g = gram(E.rff(6, width, sigma, sqrt2)) / (width / 2)
    offset = torch.arange(6).double()
    expected = torch.exp(-0.5 * variance * (sigma * (offset[:, None] - offset)) ** 2)
    assert torch.allclose(g, expected, atol=2e-3)


def test_monte_carlo_average_is_the_kernel_of_the_sqrt2_variant():
    g = generator()
    draws = torch.stack([gram(E.rff_mc(5, 64, 0.7, g)) / 32 for _ in range(2000)]).mean(0)
    wide = {width: gram(E.rff(5, width, 0.7, sqrt2=True)) / (width / 2) for width in (64, 4096)}
    assert (draws - wide[4096]).abs().max() < 0.01
    assert (draws - wide[4096]).abs().max() < (draws - wide[64]).abs().max()  # it converges as D grows
    assert (draws - gram(E.rff(5, 4096, 0.7)) / 2048).abs().max() > 0.1  # the printed formula has another kernel


@pytest.mark.parametrize("kind", [k for k in E.ENCODINGS if k not in ("none", "learned")])
@pytest.mark.parametrize("n, width", [(17, 64), (68, 64), (5, 16)])
def test_rows_have_norm_sqrt_half_width(kind, n, width):
    path = [(i, i + 1) for i in range(n - 1)]
    phi = E.encode(kind, rig(n, path), width, generator=generator())
    assert phi.shape == (n, width) and phi.dtype == torch.float32
    assert torch.allclose(phi.norm(dim=1), torch.full((n,), math.sqrt(width / 2)), rtol=1e-4)


def test_learned_rows_have_that_norm_on_average_and_none_is_zero():
    phi = E.encode("learned", rig(17, BODY), 2048, generator=generator())
    assert float(phi.square().sum(1).mean()) == pytest.approx(1024, rel=0.05)
    assert float(E.encode("none", rig(17, BODY), 64).abs().max()) == 0


def test_orthonormal_rows():
    phi = E.encode("orthonormal", rig(17, BODY), 64, generator=generator())
    assert torch.allclose(gram(phi), 32 * torch.eye(17).double(), atol=1e-4)
    assert E.condition_number(phi) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("edges, n", [(BODY, 17), (TREE, 9), (((0, 1), (2, 3)), 6), ((), 5)])
def test_laplacian_eigen_is_an_eigenbasis(edges, n):
    r = rig(n, edges)
    values, vectors = E.laplacian_eigen(r)
    assert torch.allclose(vectors.T @ vectors, torch.eye(n).double(), atol=1e-10)
    assert torch.allclose(vectors * values @ vectors.T, E.laplacian_matrix(r), atol=1e-7)
    assert values.min() > -1e-9 and values.max() < 2 + 1e-9
    for column in vectors.T:
        tied = column.abs() > column.abs().max() - 1e-6
        simple = ((values - values[(vectors.T == column).all(1)]).abs() < 1e-6).sum() == 1
        assert not simple or column[tied][0] > 0  # the sign rule


def test_laplacian_zero_eigenvalues_count_components_and_no_edges_give_the_identity():
    values, _ = E.laplacian_eigen(rig(7, ((0, 1), (1, 2), (3, 4))))  # two components and two isolated keypoints
    assert int((values.abs() < 1e-9).sum()) == 4
    values, vectors = E.laplacian_eigen(rig(5, ()))
    assert torch.equal(vectors, torch.eye(5).double()) and float(values.abs().max()) == 0
    with pytest.raises(ValueError, match="has no edges"):
        E.encode("laplacian", rig(5, ()), 20)


def test_laplacian_rows_follow_the_keypoints_up_to_sign():
    order = torch.randperm(9, generator=generator(3))
    values, a = E.laplacian_eigen(rig(9, TREE))
    assert values.diff().min() > 1e-3  # a simple spectrum
    _, b = E.laplacian_eigen(rig(9, permuted(TREE, order)))
    assert torch.allclose(b[order].abs(), a.abs(), atol=1e-9)
    signs = (b[order] * a).sum(0)
    assert torch.allclose(signs.abs(), torch.ones(9).double(), atol=1e-9)


@pytest.mark.parametrize("edges, n", [(BODY, 17), (TREE, 9), (((0, 1), (2, 3)), 6)])
def test_laplacian_gram_follows_the_keypoints_also_with_repeated_eigenvalues(edges, n):
    order = torch.randperm(n, generator=generator(4))
    width = 4 * n  # whole copies: a cut through a repeated eigenvalue would depend on the basis
    a, b = (gram(E.encode("laplacian", rig(n, e), width)) for e in (edges, permuted(edges, order)))
    assert torch.allclose(b[order][:, order], a, atol=1e-4)
    assert (b - a).abs().max() > 0.1


def test_laplacian_makes_neighbours_alike():
    g = gram(E.encode("laplacian", rig(17, BODY), 68))
    linked = torch.zeros(17, 17, dtype=torch.bool)
    for a, b in BODY:
        linked[a, b] = linked[b, a] = True
    assert g[linked].min() > g[~linked & ~torch.eye(17, dtype=torch.bool)].max()


def test_laplacian_ignores_edge_order_and_direction():
    phi = E.encode("laplacian", rig(17, BODY), 64)
    assert torch.equal(phi, E.encode("laplacian", rig(17, [(b, a) for a, b in reversed(BODY)]), 64))


@pytest.mark.parametrize("kind", E.RANDOM)
def test_random_kinds_follow_their_generator(kind):
    r = rig(17, BODY)
    before = torch.get_rng_state()
    a, b, c = (E.encode(kind, r, 64, generator=generator(s)) for s in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(ValueError, match="pass a torch.Generator"):
        E.encode(kind, r, 64)


def test_padding_adds_zero_rows():
    r = rig(9, TREE)
    for kind in E.ENCODINGS:
        padded = E.encode(kind, r, 16, generator=generator(), n_max=12)
        assert torch.equal(padded[:9], E.encode(kind, r, 16, generator=generator()))
        assert padded.shape == (12, 16) and float(padded[9:].abs().max()) == 0


def test_conditioning():
    r = rig(17, BODY)
    rff, vit = E.encode("rff", r, 64), E.encode("vit", r, 64)
    assert E.neighbour_similarity(rff) == pytest.approx(math.exp(-(2.5**2) / 4), abs=0.02)
    assert E.neighbour_similarity(vit) == pytest.approx(0.966, abs=0.001)
    assert E.condition_number(rff) < 2
    assert E.condition_number(E.encode("vit", r, 256, dtype=torch.float64)) == pytest.approx(9e9, rel=0.1)
    assert E.condition_number(E.encode("rff", r, 256)) == pytest.approx(1.58, abs=0.01)
    assert E.condition_number(torch.zeros(3, 4)) == math.inf
    assert E.neighbour_similarity(torch.zeros(3, 4)) == 0


def test_tpe_is_its_formula_and_approximates_a_gaussian_kernel():
    w, b = E.draw_tpe(4096, 1.5, generator())
    X = torch.randn(6, 2, generator=generator(1)) * 0.5
    features = E.tpe(X, w, b)
    by_hand = torch.cat((torch.sin(X @ w + b), torch.cos(X @ w + b)), dim=1) * math.sqrt(2 / 4096)
    assert torch.allclose(features, by_hand, atol=1e-6)
    assert torch.allclose(features.norm(dim=1), torch.ones(6), atol=1e-5)
    expected = torch.exp(-0.5 * (1.5 * torch.cdist(X, X)) ** 2)
    assert torch.allclose(features @ features.T, expected, atol=0.06)
    assert torch.allclose(E.tpe(X.view(2, 3, 2), w, b).view(6, -1), features, atol=1e-6)


@pytest.mark.parametrize(
    "kind, width, n_max, message",
    [
        ("laplacain", 64, None, "did you mean 'laplacian'"),
        ("rff", 63, None, "width is 63"),
        ("rff", 64, 8, "n_max is 8, but rig 'test' has 9"),
    ],
)
def test_bad_requests_say_what_is_wrong(kind, width, n_max, message):
    with pytest.raises(ValueError, match=message):
        E.encode(kind, rig(9, TREE), width, n_max=n_max)
