"""The exact weak-perspective fit against a slow twin, a search over all rotations, on random and adversarial shapes."""

import math

import pytest
import torch

from lfmlib import geometry
from lfmlib.geometry import fit_camera, fit_camera_algebraic, project, random_rotations
from lfmlib.kernels import fit_torch, fit_twin

EACH = 50  # cases per family
GRID = 1200  # viewing directions, some 6 degrees apart


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def near_views(Y, noise, seed):
    """Pictures of shapes from random sides, with noise in units of the picture's size."""
    R = random_rotations(len(Y), torch.Generator().manual_seed(seed), torch.float64)
    X = (Y - Y.mean(1, keepdim=True)) @ R[:, :2].mT
    size = X.square().mean((1, 2), keepdim=True).sqrt()
    return X / size + noise * normal(*X.shape, seed=seed + 1)


def shapes(name, seed):
    """Shapes [B, N, 3] of a family: what can go wrong in the second moments of Y."""
    n = {"three": 3, "four": 4, "face": 68}.get(name, 9)
    Y = normal(EACH, n, 3, seed=seed)
    widths = {"flat": (1, 1, 0), "nearly_flat": (1, 1, 1e-5), "needle": (1, 1e-2, 1e-2), "line": (1, 0, 0),
              "thin_needle": (1, 1e-4, 1e-4), "far_needle": (1, 1e-4, 1e-4)}  # fmt: skip
    if name in widths:
        Y = Y * torch.tensor(widths[name], dtype=torch.float64)
        Y = Y @ random_rotations(EACH, torch.Generator().manual_seed(seed + 5), torch.float64).mT
    if name == "anisotropic":
        Y = Y * torch.tensor([1, 0.1, 3e-3], dtype=torch.float64)
    if name == "coincident":
        Y[:, 3:] = Y[:, 3:4]
    if name == "coplanar_plus_one":
        Y[:, 1:, 2] = 0
    return Y


def case(name):
    """(X, Y, visible) of a family: half of it random pictures, which no camera explains, half near an exact fit."""
    seed = 100 + FAMILIES.index(name)
    Y = shapes(name, seed)
    X = near_views(Y, 1e-3, seed + 1000)
    X[EACH // 2 :] = normal(EACH - EACH // 2, Y.shape[1], 2, seed=seed + 2000)
    visible = None
    if name == "picture_line":
        X = X * torch.tensor([1.0, 0.0], dtype=torch.float64) + torch.tensor([0.0, 0.3], dtype=torch.float64)
    if name == "picture_coincident":
        X[:, 2:] = X[:, 2:3]
    if name == "far":
        X, Y = X + 1e3, Y + torch.tensor([1e3, -1e3, 1e3], dtype=torch.float64)
    if name == "far_needle":
        X, Y = X - 1e4, Y + 1e4
    if name == "tiny_unit":
        X, Y = X * 1e-6, Y * 1e-6
    if name == "huge_unit":
        X, Y = X * 1e6, Y * 1e6
    if name == "unlike_units":
        X, Y = X * 1e6, Y * 1e-6
    if name == "mask":
        visible = torch.rand(Y.shape[:2], generator=torch.Generator().manual_seed(seed)) < 0.6
        visible[:, :3] = True
        X, Y = (torch.where(visible[..., None], v, math.nan) for v in (X, Y))
    return X, Y, visible


FAMILIES = (
    "random", "face", "three", "four", "flat", "nearly_flat", "needle", "thin_needle", "line", "anisotropic",
    "coincident", "coplanar_plus_one", "picture_line", "picture_coincident", "far", "tiny_unit", "huge_unit",
    "unlike_units", "mask", "far_needle",
)  # fmt: skip


def centre(points, visible):
    if visible is None:
        return points - points.mean(1, keepdim=True)
    keep = visible[..., None]
    points = torch.where(keep, points, 0)
    return torch.where(keep, points - points.sum(1, keepdim=True) / keep.sum(1, keepdim=True), 0)


def explained(x, y, r):
    """sum |x|^2 minus the residual, for viewing directions r [B, G, 3]: planar Procrustes in complex numbers."""
    other = torch.where(r[..., :1].abs() < 0.6, torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0])).to(r)
    u = torch.nn.functional.normalize(torch.linalg.cross(r, other), dim=-1)
    v = torch.linalg.cross(r, u)
    z = torch.complex(u @ y.mT, v @ y.mT)  # [B, G, N]
    x = torch.complex(x[..., 0], x[..., 1])[:, :, None]
    across = z.abs().square().sum(-1)
    floor = 1e-14 * y.square().sum((1, 2))[:, None]  # an end-on view of a line shows rounding, magnified
    return torch.where(across > floor, (z.conj() @ x)[..., 0].abs().square() / across.clamp_min(1e-300), 0)


def brute_force(X, Y, visible=None):
    """Residual [B] of the best of all rotations: a grid of viewing directions, then a shrinking pattern search."""
    x, y = centre(X, visible), centre(Y, visible)
    index = torch.arange(GRID, dtype=torch.float64)
    height, turn = 1 - (2 * index + 1) / GRID, index * math.pi * (3 - math.sqrt(5))
    ring = (1 - height * height).sqrt()
    sphere = torch.stack([ring * turn.cos(), ring * turn.sin(), height], -1).expand(len(x), -1, -1)
    # a needle's best direction may be as near to its axis as it is thin, so the grid is logarithmic around the axes
    axes = torch.linalg.svd(y, full_matrices=False).Vh
    axes = torch.cat([axes, -axes], 1)[:, :, None, None]  # [B, 6, 1, 1, 3]
    radius = torch.logspace(-6, -0.5, 16, dtype=torch.float64)[:, None, None]
    turn = (torch.arange(12, dtype=torch.float64) * (math.pi / 6))[:, None]
    side, side2 = axes.roll(1, 1), torch.linalg.cross(axes, axes.roll(1, 1))
    near = torch.nn.functional.normalize(axes + radius * (turn.cos() * side + turn.sin() * side2), dim=-1)
    grid = torch.cat([sphere, near.flatten(1, 3)], 1)
    step = torch.cat([torch.full((GRID,), 0.05), (0.3 * radius).expand(16, 12, 1).flatten().repeat(6)])
    chosen = explained(x, y, grid).topk(6, dim=1).indices  # [B, 6]
    r, h = grid.gather(1, chosen[..., None].expand(-1, -1, 3)), step[chosen].to(x)
    best, uneven = explained(x, y, r), torch.tensor([1.0, -1, 1], dtype=torch.float64)
    for _ in range(55):
        a = torch.nn.functional.normalize(torch.linalg.cross(r, r.roll(1, -1) * uneven), dim=-1)
        b = torch.linalg.cross(r, a)
        tried = r[:, :, None] + h[..., None, None] * (turn.cos() * a[:, :, None] + turn.sin() * b[:, :, None])
        tried = torch.nn.functional.normalize(tried, dim=-1)  # [B, 6, 12, 3]
        value, at = explained(x, y, tried.flatten(1, 2)).unflatten(1, tried.shape[1:3]).max(2)
        better = value > best
        moved = tried.gather(2, at[..., None, None].expand(-1, -1, 1, 3)).squeeze(2)
        r, best = torch.where(better[..., None], moved, r), torch.where(better, value, best)
        h = torch.where(better, 1.5 * h, 0.5 * h)
    return x.square().sum((1, 2)) - best.amax(1)


def residual(X, Y, visible, camera):
    difference = project(Y, camera) - X
    if visible is not None:
        difference = torch.where(visible[..., None], difference, 0)
    return difference.square().sum((1, 2))


@pytest.fixture
def plain(monkeypatch):
    """PyTorch instead of compiled code."""
    monkeypatch.setenv("LFM_FIT", "torch")


@pytest.fixture(params=["compiled", "plain, small batches", "plain, large batches"])
def path(request, monkeypatch):
    """The compiled code, and its twin: small batches take Dinkelbach's way at once, large ones the short way first."""
    if request.param != "compiled":
        monkeypatch.setenv("LFM_FIT", "torch")
    if request.param == "plain, large batches":
        monkeypatch.setattr(fit_torch, "SMALL", 0)


@pytest.fixture(scope="module")
def truth():
    return {name: (brute_force(*case(name)), centre(*case(name)[::2]).square().sum((1, 2))) for name in FAMILIES}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_fit_is_the_best_of_all_rotations(name, truth, path):
    X, Y, visible = case(name)
    camera = fit_camera(X, Y, visible)
    best, size = truth[name]
    # an exact fit has residual 0, to which nothing can be relative
    error = (residual(X, Y, visible, camera) - best).abs() / (best + 1e-9 * size)
    assert error.max() < 1e-4
    eye = torch.eye(3, dtype=torch.float64)
    assert (camera.R @ camera.R.mT - eye).abs().max() < 1e-12 and (torch.linalg.det(camera.R) > 0).all()
    assert (camera.s >= 0).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_the_fit_is_never_above_the_algebraic_one(name, path):
    X, Y, visible = case(name)
    size = centre(X, visible).square().sum((1, 2))
    exact = residual(X, Y, visible, fit_camera(X, Y, visible))
    algebraic = residual(X, Y, visible, fit_camera_algebraic(X, Y, visible))
    assert ((exact - algebraic) / size).max() < 1e-12
    if name == "random":
        assert (exact < 0.99 * algebraic)[EACH // 2 :].double().mean() > 0.5  # what "via SVD" leaves behind


@pytest.mark.parametrize("name", FAMILIES)
def test_single_precision_gets_the_camera_of_double_precision(name, path):
    X, Y, visible = case(name)
    X, Y = X.float(), Y.float()
    single, double = fit_camera(X, Y, visible), fit_camera(X.double(), Y.double(), visible)
    assert {part.dtype for part in single} == {torch.float32}
    if name == "line":  # rounded to single precision it is a needle: the end-on views are taken for what they are
        assert (single.s * centre(Y, None).norm(dim=(1, 2)) < 2e6 * centre(X, None).norm(dim=(1, 2))).all()
        return
    for ours, exact in zip(single, double, strict=True):
        assert torch.equal(ours, exact.float())


def test_single_precision_still_looks_along_a_needle_of_1_to_100_000(path):
    X, Y = normal(EACH, 9, 2, seed=1).float(), (normal(EACH, 9, 3, seed=2) * torch.tensor([1, 1e-5, 1e-5])).float()
    for ours, exact in zip(fit_camera(X, Y), fit_camera(X.double(), Y.double()), strict=True):
        assert torch.equal(ours, exact.float())


def test_both_ways_agree_on_a_large_batch(plain):
    X, Y = normal(3000, 17, 2, seed=1), normal(3000, 17, 3, seed=2)
    together = residual(X, Y, None, fit_camera(X, Y))
    apart = torch.cat([residual(x, y, None, fit_camera(x, y)) for x, y in zip(X.split(500), Y.split(500), strict=True)])
    assert torch.allclose(together, apart, rtol=1e-9)


@pytest.mark.parametrize("masked", [False, True])
def test_the_size_of_the_chunks_does_not_matter(monkeypatch, masked, path):
    X, Y, visible = case("mask" if masked else "random")
    whole = fit_camera(X, Y, visible)
    monkeypatch.setattr(fit_twin, "MOMENT_CHUNK", 3)
    monkeypatch.setattr(fit_twin, "SOLVE_CHUNK", 7)
    monkeypatch.setattr("lfmlib.kernels.fit_numba.CHUNK", 3)
    parts = fit_camera(X, Y, visible)
    assert torch.allclose(residual(X, Y, visible, whole), residual(X, Y, visible, parts), atol=1e-12)
    unique = torch.ones(len(X), dtype=torch.bool) if visible is None else visible.sum(1) > 3  # three fit in two poses
    assert unique.double().mean() > 0.5
    for part, other in zip(whole, parts, strict=True):
        assert torch.allclose(part[unique], other[unique], atol=1e-6)


def test_a_bad_start_of_the_short_way_is_found_out(monkeypatch, plain):
    """The proof, not the start, makes the short way right: Newton's steps end in any stationary point nearby."""
    X, Y = normal(3000, 5, 2, seed=1), normal(3000, 5, 3, seed=2)
    parts = zip(X.split(1000), Y.split(1000), strict=True)
    best = torch.cat([residual(x, y, None, fit_camera(x, y)) for x, y in parts])
    anywhere = torch.nn.functional.normalize(normal(3, 3000, seed=3), dim=0)
    monkeypatch.setattr(fit_torch, "_rough_sphere_maximum", lambda r, c, b, n: list(anywhere.unbind(0)))
    assert torch.allclose(residual(X, Y, None, fit_camera(X, Y)), best, rtol=1e-6)


def test_most_random_samples_take_the_short_way(monkeypatch, plain):
    """Otherwise the speed is gone without anybody noticing."""
    sent, slow = [], fit_torch._dinkelbach
    monkeypatch.setattr(fit_torch, "_dinkelbach", lambda r, *rest: (sent.append(len(r)), slow(r, *rest))[1])
    fit_camera(normal(4000, 17, 2, seed=1), normal(4000, 17, 3, seed=2))
    assert sum(sent) < 400


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("place", [0.0, 0.1, 1000.1])
def test_shapes_and_pictures_that_are_one_point(dtype, place, path):
    X, Y = normal(3, 7, 2, seed=1).to(dtype), normal(3, 7, 3, seed=2).to(dtype)
    camera = fit_camera(X, torch.full_like(Y, place))
    assert camera.s.tolist() == [1, 1, 1] and all(part.isfinite().all() for part in camera)
    spread = centre(X, None).square().sum((1, 2))
    assert torch.allclose(residual(X, torch.full_like(Y, place), None, camera), spread, rtol=1e-3)
    camera = fit_camera(torch.full_like(X, place), Y)
    assert camera.s.tolist() == [0, 0, 0] and torch.equal(camera.t, torch.full_like(X[:, 0], place))
    for one in (X, torch.full_like(X, place)):  # both at once, and no warning from 0 / 0
        assert all(part.isfinite().all() for part in fit_camera(one, torch.full_like(Y, place)))


def test_a_shape_that_is_not_a_number_gives_no_number_and_harms_no_other(path):
    """A training run that diverges has to see NaN in its loss, not an exception from an eigenvalue routine."""
    X, Y, _ = case("random")
    broken = Y.clone()
    broken[3, 1, 2], broken[5] = math.nan, math.inf
    camera, whole = geometry.solve_camera(X, broken), geometry.solve_camera(X, Y)
    assert camera.s[[3, 5]].isnan().all()
    others = [i for i in range(EACH) if i not in (3, 5)]
    for part, other in zip(camera, whole, strict=True):
        assert torch.allclose(part[others], other[others], rtol=1e-9, atol=1e-9)
    assert geometry.reprojection(X, broken)[3].isnan()


def test_an_empty_batch_has_empty_cameras(path):
    camera = fit_camera(torch.zeros(0, 5, 2), torch.zeros(0, 5, 3))
    assert [list(part.shape) for part in camera] == [[0], [0, 3, 3], [0, 2]]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_the_gpu_agrees():
    for name in FAMILIES:
        X, Y, visible = case(name)
        size = centre(X, visible).square().sum((1, 2))
        here = residual(X, Y, visible, fit_camera(X, Y, visible))
        there = fit_camera(*(v if v is None else v.cuda() for v in (X, Y, visible)))
        error = residual(X, Y, visible, geometry.Camera(*(part.cpu() for part in there))) - here
        assert (error.abs() / (here + 1e-9 * size)).max() < 1e-4, name
