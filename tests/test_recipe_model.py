"""The recipe's parts: cameras, rigid start, E-step and M-step, each against a slow twin or a law."""

import dataclasses
import math

import pytest
import torch

from lfmlib.data.views import normalise, view_rotations
from lfmlib.recipe import em as em_module
from lfmlib.recipe import evidence as evidence_module
from lfmlib.recipe.cameras import PSEUDO, CameraGrid
from lfmlib.recipe.config import RecipeConfig
from lfmlib.recipe.em import k_means, m_step, posterior_means, split
from lfmlib.recipe.evidence import NEGLIGIBLE, EStep, Evidence
from lfmlib.recipe.rigid import best_scale, fit_rigid
from lfmlib.recipe.shape_model import ShapeModel

GRID = CameraGrid(8, (-15.0, 15.0))
WOBBLE = (0.1, 0.05, 0.04)
FREE = RecipeConfig(shrink=0.0, smoothing=0.0, floor=1e-9)  # nothing that holds a step back
BASE = torch.randn(6, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def unit(shape):
    shape = shape - shape.mean(-2, keepdim=True)
    return shape / shape.square().sum(-1, keepdim=True).mean(-2, keepdim=True).sqrt()


def cut(X, visible):
    """Pictures without their hidden keypoints: centred on what is seen, 0 elsewhere."""
    return normalise(X, visible)[0]


def seen_by(shapes, azimuth, elevation, roll=None):
    """Pictures of upright shapes, one camera each."""
    R = view_rotations(azimuth, elevation, torch.zeros_like(azimuth) if roll is None else roll)
    return normalise((shapes @ R.mT)[..., :2])[0]


def turning(shapes, generator, reach=20.0, noise=0.0):
    """Pictures from all azimuths, within `reach` degrees of the horizon."""
    azimuth, elevation = torch.rand(2, len(shapes), generator=generator, dtype=torch.float64) * 2 - 1
    X = seen_by(shapes, azimuth * math.pi, elevation * math.radians(reach))
    return normalise(X + noise * torch.randn(X.shape, generator=generator, dtype=torch.float64))[0]


def masks(count, N, generator, least=3):
    """Masks that show at least so many keypoints."""
    score = torch.rand(count, N, generator=generator)
    return (score > 0.4).scatter(1, score.topk(least, 1).indices, True)


def some_model(K=2, N=5, grid=GRID, wobble=WOBBLE, noise=0.02, spread=0.1, seed=0):
    """Any mixture."""
    g = torch.Generator().manual_seed(seed)
    centring = torch.kron(torch.eye(N) - 1 / N, torch.eye(3)).double()
    root = centring @ torch.randn(K, 3 * N, 3 * N, generator=g, dtype=torch.float64) * spread / math.sqrt(3 * N)
    means = unit(torch.randn(K, N, 3, generator=g, dtype=torch.float64))
    weights = torch.rand(K, generator=g, dtype=torch.float64) + 0.5
    covariances = root @ root.mT + 1e-6 * torch.eye(3 * N, dtype=torch.float64)
    weights = (weights / weights.sum()).log()
    rotations, cameras = grid.rotations().double(), grid.logs().double()
    return ShapeModel(means.flatten(1), covariances, weights, noise, rotations, cameras, wobble)


def gaussian_pictures(count, model, generator, noise=0.02):
    """Shapes of a model's first Gaussian seen by cameras of its grid, and the shapes."""
    M = model.means.shape[1]
    draws = torch.randn(count, M, generator=generator, dtype=torch.float64)
    Y = (model.means[0] + draws @ torch.linalg.cholesky(model.covariances[0]).mT).unflatten(1, (-1, 3))
    at = torch.randint(len(model.rotations), (count,), generator=generator)
    X = (Y @ model.rotations[at].mT)[..., :2]
    return normalise(X + noise * torch.randn(X.shape, generator=generator, dtype=torch.float64))[0], Y


# cameras


def test_a_grid_holds_a_camera_for_each_azimuth_and_elevation():
    grid = CameraGrid(6, (-20.0, 0.0, 40.0), (0.2, 0.5, 0.3))
    R, p = grid.rotations(), grid.logs().exp()
    assert R.shape == (18, 3, 3) and torch.allclose(R @ R.mT, torch.eye(3).expand_as(R), atol=1e-6)
    at = torch.tensor([math.tau / 6 * 4]), torch.tensor([math.radians(40)]), torch.zeros(1)
    assert torch.allclose(R[4 * 3 + 2], view_rotations(*at)[0], atol=1e-6)
    assert math.isclose(float(p.sum()), 1, rel_tol=1e-5)
    assert torch.allclose(p.view(6, 3).sum(0), torch.tensor([0.2, 0.5, 0.3])) and p.view(6, 3).std(0).max() < 1e-7


def test_learned_shares_stay_a_distribution_and_never_reach_zero():
    grid = CameraGrid(4, (-30.0, -10.0, 10.0, 30.0))
    mass = torch.zeros(4, 4)
    mass[:, 2] = 5.0
    used = grid.used(mass.flatten())
    assert math.isclose(sum(used.shares), 1, rel_tol=1e-5) and min(used.shares) >= 0.99 * PSEUDO / 4
    assert used.shares[2] > 0.99 and used.elevations == grid.elevations
    near = grid.near_horizon(10.0)
    assert near.elevations == (-10.0, 10.0)
    wide = grid.widened(near.used(torch.tensor([3.0, 1.0] * 4)))
    assert math.isclose(sum(wide.shares), 1, rel_tol=1e-6)
    assert wide.shares[1] > wide.shares[2] > wide.shares[0] == wide.shares[3] > 0
    few = used.pruned()
    assert few.elevations == (10.0,) and few.shares == (1.0,) and few.steps().tolist() == [5.0]
    assert grid.pruned() is grid  # nothing learned, nothing dropped
    alike = CameraGrid(4, tuple(float(e) for e in range(-88, 89, 2)))
    even = alike.used(torch.ones(4 * 89)).pruned()
    assert len(even.elevations) > 1  # all are rarer than UNUSED: some stay
    assert grid.steps().tolist() == [7.5] * 4 and CameraGrid(4, (0.0, 4.0, 30.0)).steps().tolist() == [2.0, 2.0, 7.5]


def test_a_grid_that_makes_no_sense_is_refused():
    for azimuths, elevations, shares, expected in (
        (3, (0.0,), None, "3 azimuths"), (8, (), None, "at least one elevation"),
        (8, (0.0, 5.0), (1.0,), "1 shares for 2 elevations"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=expected):
            CameraGrid(azimuths, elevations, shares)


# the rigid start


def test_the_best_scale_beats_a_grid_of_others(generator):
    square, d = torch.rand(20, generator=generator) + 0.1, torch.randint(2, 30, (20,), generator=generator).float()
    cross = torch.randn(20, generator=generator) * 5
    a = best_scale(square, cross, d)
    value = lambda a: d * a.log() - 0.5 * (a.square() * square - 2 * a * cross)  # noqa: E731
    others = torch.logspace(-4, 4, 4001)[:, None] * torch.ones(20)
    assert (a > 0).all() and (value(a) >= value(others).amax(0) - 1e-4).all()
    assert (value(a) - value(others).amax(0)).max() < 0.01  # and the grid comes near it


def off_by(found, true):
    """RMS distance of two unit shapes, up to a turn about the vertical and the mirror image."""
    errors = []
    for sign in (1.0, -1.0):
        a, b = unit(found)[:, [0, 2]] * torch.tensor([1.0, sign]).to(found), unit(true)[:, [0, 2]]
        U, _, Vh = torch.linalg.svd(a.mT @ b)
        turn = U @ torch.diag(torch.tensor([1.0, float(torch.linalg.det(U @ Vh).sign())]).to(a)) @ Vh
        level = (unit(found)[:, 1] - unit(true)[:, 1]).square().sum()
        errors.append(float(((a @ turn - b).square().sum() + level) / len(a)) ** 0.5)
    return min(errors)


RIGID_GRID = CameraGrid(12, (-15.0, -5.0, 5.0, 15.0))


@pytest.mark.parametrize("hidden", [False, True])
def test_a_rigid_shape_is_recovered_from_turning_views(seeded, hidden):
    g = seeded(1)
    X = turning(BASE.expand(200, -1, -1), g)
    visible = masks(200, 6, g, 4) if hidden else torch.ones(200, 6, dtype=torch.bool)
    found = fit_rigid(cut(X, visible), visible, RIGID_GRID, g, restarts=4, iterations=40)
    assert off_by(found.shape, BASE) < 0.1 and found.variance < 0.02
    assert math.isclose(float(found.shape.square().sum(1).mean()), 1, rel_tol=1e-6)
    assert found.shape.mean(0).abs().max() < 1e-6


def test_the_rigid_likelihood_does_not_fall(seeded):
    X = turning(BASE.expand(100, -1, -1), seeded(2), noise=0.03)
    visible = masks(100, 6, seeded(3), 4)
    X = cut(X, visible)
    values = [fit_rigid(X, visible, RIGID_GRID, seeded(4), 1, i).likelihood for i in range(1, 16)]
    assert all(after >= before - 1e-3 for before, after in zip(values, values[1:], strict=False))
    assert values[-1] > values[0] + 1


def test_what_a_hidden_keypoint_holds_changes_nothing(seeded):
    X = turning(BASE.expand(40, -1, -1), seeded(2))
    visible = masks(40, 6, seeded(3))
    X = cut(X, visible)
    garbage = torch.where(visible[..., None], X, 7.0 + torch.randn(X.shape, generator=seeded(4)).double())
    one, two = (fit_rigid(x, visible, GRID, seeded(5), 2, 5) for x in (X, garbage))
    assert torch.equal(one.shape, two.shape) and one[1:] == two[1:]
    model = some_model(N=6)
    one, two = (EStep(Evidence(x, visible), model) for x in (X, garbage))
    assert torch.equal(one.log, two.log) and torch.equal(one.scale, two.scale)
    assert torch.equal(m_step(one, FREE, GRID)[0].means, m_step(two, FREE, GRID)[0].means)


def test_mirrored_pictures_are_as_likely(seeded):
    X, visible = turning(BASE.expand(120, -1, -1), seeded(2), noise=0.02), torch.ones(120, 6, dtype=torch.bool)
    flip = torch.tensor([-1.0, 1.0]).double()
    one, two = (fit_rigid(x, visible, RIGID_GRID, seeded(4), 4, 30) for x in (X, X * flip))
    assert abs(one.likelihood - two.likelihood) < 0.02 and off_by(one.shape, two.shape) < 0.02


# the E-step


def basis(n):
    """Orthonormal pictures of n keypoints whose mean is 0; [2n - 2, 2n]."""
    ones = torch.ones(n, n, dtype=torch.float64) / n
    return torch.kron(torch.linalg.eigh(ones)[1][:, :-1].mT.contiguous(), torch.eye(2, dtype=torch.float64))


def picture_density(model, grid, seen, k, g):
    """Slow twin: mean, covariance and basis of the centred picture of what is seen, by numbers, not by formulas."""
    step = 1e-4
    azimuth = torch.tensor([math.tau * (g // len(grid.elevations)) / grid.azimuths], dtype=torch.float64)
    elevation = torch.tensor([math.radians(grid.elevations[g % len(grid.elevations)])], dtype=torch.float64)
    angles = torch.stack([azimuth, elevation, torch.zeros_like(azimuth)])
    Y = model.means[k].view(-1, 3)
    picture = lambda a: (Y @ view_rotations(*a)[0].mT)[:, :2]  # noqa: E731
    tangents = []
    for axis, sd in enumerate(model.wobble):
        turn = torch.zeros(3, 1, dtype=torch.float64)
        turn[axis] = step
        tangents.append((picture(angles + turn) - picture(angles - turn))[seen].flatten() * sd / (2 * step))
    T, n = torch.stack(tangents, 1), int(seen.sum())
    H = torch.kron(torch.eye(len(Y), dtype=torch.float64), view_rotations(*angles)[0, :2])
    H = H[seen.repeat_interleave(2)]
    C = H @ model.covariances[k] @ H.mT + T @ T.mT + model.noise * torch.eye(2 * n, dtype=torch.float64)
    U = basis(n)
    return torch.distributions.MultivariateNormal(U @ (H @ model.means[k]), U @ C @ U.mT), U, H


def test_the_e_step_is_the_density_of_centred_pictures(seeded, monkeypatch):
    """Of a x in the 2n - 2 numbers that a centred picture has; up to a constant of the mask and the noise."""
    model = some_model()
    visible = torch.ones(12, 5, dtype=torch.bool)
    visible[9:] = torch.tensor([[1, 1, 0, 1, 1], [1, 0, 1, 1, 1], [0, 1, 1, 0, 1]]).bool()
    X = cut(torch.randn(12, 5, 2, generator=seeded(1)).double(), visible)
    monkeypatch.setattr(evidence_module, "ACTIVE", 100)
    shared = EStep(Evidence(X, visible), model)
    assert [len(group.rows) for group in shared.shared] == [9]
    monkeypatch.setattr(evidence_module, "ALIKE", 100)
    alone = EStep(Evidence(X, visible), model)
    assert not alone.shared
    constants = {n: [] for n in (3, 4, 5)}
    assert torch.allclose(shared.log, alone.log, atol=1e-9) and torch.allclose(shared.scale, alone.scale, atol=1e-9)
    for b in (0, 3, 9, 11):
        seen = visible[b]
        d = 2 * int(seen.sum()) - 2
        for k in range(2):
            for g in range(0, len(GRID.rotations()), 3):
                density, U, _ = picture_density(model, GRID, seen, k, g)
                x, a = U @ X[b][seen].flatten(), shared.scale[b, k, g]
                score = lambda a, x=x, p=density, d=d: p.log_prob(a * x) + d * a.log()  # noqa: E731
                constants[int(seen.sum())].append(
                    float(shared.log[b, k, g] - score(a) - model.weights[k] - model.cameras[g])
                )
                assert score(a) > score(a * 1.01) and score(a) > score(a * 0.99)
    assert all(max(values) - min(values) < 1e-3 for values in constants.values())
    assert torch.allclose(shared.likelihood(), shared.log.flatten(1).exp().sum(1).log())
    assert torch.allclose(shared.responsibilities().sum((1, 2)), torch.ones(12).double())


def test_a_hidden_keypoint_is_as_good_as_none(seeded, monkeypatch):
    monkeypatch.setattr(evidence_module, "ACTIVE", 100)
    model, here = some_model(N=6), torch.tensor([0, 2, 3, 5])
    visible = torch.zeros(10, 6, dtype=torch.bool)
    visible[:, here] = True
    X = cut(torch.randn(10, 6, 2, generator=seeded(1)).double(), visible)
    numbers = (3 * here[:, None] + torch.arange(3)).flatten()
    smaller = dataclasses.replace(
        model, means=model.means[:, numbers], covariances=model.covariances[:, numbers][:, :, numbers]
    )
    for count in (10, 3):  # with a factorisation in common, and without
        whole = EStep(Evidence(X[:count], visible[:count]), model)
        cut_out = EStep(Evidence(X[:count, here], visible[:count, here]), smaller)
        assert torch.allclose(whole.log, cut_out.log, atol=1e-9)
        r = whole.responsibilities()
        for k in range(2):
            for one, two in zip(whole.pulls(r, k), cut_out.pulls(r, k), strict=True):
                pull = one.pull.unflatten(1, (-1, 2))
                assert torch.equal(one.picture, two.picture) and torch.equal(one.camera, two.camera)
                assert torch.allclose(pull[:, here].flatten(1), two.pull, atol=1e-9)
                assert not pull[:, [1, 4]].any()


def test_leaving_out_cameras_that_do_not_matter_changes_no_likelihood(seeded, monkeypatch):
    monkeypatch.setattr(evidence_module, "ALIKE", 100)  # each picture has factorisations of its own
    grid = CameraGrid(12, (-20.0, 0.0, 20.0))
    model = some_model(K=1, N=6, grid=grid, noise=0.005, spread=0.05)
    X, _ = gaussian_pictures(40, model, seeded(1))
    evidence = Evidence(X, torch.ones(40, 6, dtype=torch.bool))
    whole = EStep(evidence, model)
    again = EStep(evidence, model, search=False)
    assert again.log.isinf().float().mean() > 0.3 and not whole.log.isinf().any()
    assert (again.likelihood() - whole.likelihood()).abs().max() < 1e-4
    near = dataclasses.replace(model, means=model.means + 0.01)
    moved, searched = EStep(evidence, near, search=False).likelihood(), EStep(evidence, near).likelihood()
    assert (moved - searched).abs().max() < 1e-3


def test_rows_meet_the_matrix_of_their_camera(seeded):
    g = seeded(1)
    v, matrices = torch.randn(50, 4, generator=g).double(), torch.randn(7, 4, 3, generator=g).double()
    camera = torch.tensor([0, 2, 2, 5, 6]).repeat_interleave(10)[torch.randperm(50, generator=g)]  # 1, 3, 4: no rows
    slow = torch.stack([row @ matrices[c] for row, c in zip(v, camera, strict=True)])
    assert torch.allclose(evidence_module.per_camera(camera, matrices, v), slow, atol=1e-12)


def test_another_grid_is_searched_anew(seeded):
    X, visible = turning(BASE.expand(12, -1, -1), seeded(1)), torch.ones(12, 6, dtype=torch.bool)
    visible[:3, 0] = False
    X = cut(X, visible)
    for K in (1, 2):
        evidence = Evidence(X, visible)
        EStep(evidence, some_model(K=K, N=6, grid=CameraGrid(12, (0.0, 10.0))))
        model = some_model(K=K, N=6, grid=CameraGrid(8, (0.0,)))
        later, fresh = EStep(evidence, model, search=False), EStep(Evidence(X, visible), model)
        assert torch.equal(later.log, fresh.log)


def test_one_gaussian_has_the_mixtures_moments():
    model = some_model(K=3)
    one, w = model.collapsed(), model.weights.exp()
    second = sum(p * (S + torch.outer(m, m)) for p, m, S in zip(w, model.means, model.covariances, strict=True))
    mean = sum(p * m for p, m in zip(w, model.means, strict=True))
    assert torch.allclose(one.means[0], mean) and torch.allclose(one.covariances[0], second - torch.outer(mean, mean))
    assert one.weights.shape == (1,) and abs(float(one.weights)) < 1e-12 and one.noise == model.noise


def test_tangents_are_derivatives_of_pictures():
    model, step = some_model(K=2, N=5), 1e-4
    azimuth = torch.arange(8).double().repeat_interleave(2) * math.tau / 8
    elevation = torch.tensor(GRID.elevations).double().deg2rad().repeat(8)
    angles = torch.stack([azimuth, elevation, torch.zeros_like(azimuth)])
    shapes = model.means.unflatten(1, (-1, 3))
    for axis in range(3):
        turn = torch.zeros(3, 1, dtype=torch.float64)
        turn[axis] = step
        before, after = (view_rotations(*(angles + s * turn)) for s in (-1, 1))
        moved = torch.einsum("gij,knj->kgni", after - before, shapes)[..., :2] / (2 * step)
        found = model.tangents()[..., axis] / WOBBLE[axis]
        expected = moved.flatten(2)
        assert min((found - sign * expected).abs().max() for sign in (1, -1)) < 1e-5


def test_the_mirror_image_explains_every_picture_as_well(seeded):
    visible = masks(20, 5, seeded(3))
    X = cut(torch.randn(20, 5, 2, generator=seeded(1)).double(), visible)
    model = some_model(grid=CameraGrid(8, (-15.0, 5.0, 30.0), (0.5, 0.2, 0.3)))
    mirrored = model.mirrored()
    assert torch.allclose(EStep(Evidence(X, visible), model).log, EStep(Evidence(X, visible), mirrored).log, atol=1e-8)
    back = mirrored.mirrored()
    assert torch.equal(back.means, model.means) and torch.equal(back.rotations, model.rotations)
    # the same cameras will do where they stand as often below as above
    model = some_model(grid=CameraGrid(8, (-15.0, 0.0, 15.0), (0.3, 0.4, 0.3)))
    same_cameras = dataclasses.replace(model.mirrored(), rotations=model.rotations)
    everywhere = torch.ones(20, 5, dtype=torch.bool)
    X = cut(X, everywhere)
    one, two = (EStep(Evidence(X, everywhere), m).likelihood() for m in (model, same_cameras))
    assert torch.allclose(one, two, atol=1e-5)


# the M-step


@pytest.mark.parametrize("K", [1, 2])
@pytest.mark.parametrize("hidden", [False, True])
def test_the_likelihood_never_falls(seeded, K, hidden):
    still = (0.0, 0.0, 0.0)
    X, _ = gaussian_pictures(150, some_model(K=1, N=5, seed=3, wobble=still, spread=0.3), seeded(1))
    visible = torch.ones(150, 5, dtype=torch.bool)
    if hidden:
        visible[::2, 1] = visible[::3, 4] = False
    evidence, model, grid = Evidence(cut(X, visible), visible), some_model(K=K, wobble=still, noise=0.1), GRID
    values = []
    for _ in range(8):
        found = EStep(evidence, model)
        values.append(float(found.likelihood().mean()))
        model, grid = m_step(found, FREE, grid)
    assert all(after >= before - 1e-3 for before, after in zip(values, values[1:], strict=False)), values
    assert values[-1] > values[0] + 0.5


@pytest.mark.parametrize("hidden", [False, True])
def test_an_m_step_solves_the_normal_equations(seeded, monkeypatch, hidden):
    """Mean and covariance by the sums over pictures and cameras that they are defined by."""
    monkeypatch.setattr(em_module, "RIDGE", 0.0)
    model = some_model(K=1)
    visible = torch.ones(9, 5, dtype=torch.bool)
    if hidden:
        visible[torch.arange(5), torch.arange(5)] = False
    X = cut(gaussian_pictures(9, some_model(K=1, seed=3), seeded(1))[0], visible)
    found = EStep(Evidence(X, visible), model)
    r, M = found.responsibilities()[:, 0], 15
    stiff, force, E, mass = torch.zeros(M, M).double(), torch.zeros(M).double(), [], 0.0
    for b in range(9):
        for g in range(len(r[0])):
            if r[b, g] <= NEGLIGIBLE:
                continue
            density, U, H = picture_density(model, GRID, visible[b], 0, g)
            inverse, P = density.precision_matrix, U @ H
            rest = found.scale[b, 0, g] * (U @ X[b][visible[b]].flatten()) - P @ model.means[0]
            stiff += r[b, g] * P.mT @ inverse @ P
            force += r[b, g] * P.mT @ inverse @ rest
            gain = model.covariances[0] @ P.mT @ inverse
            E.append((r[b, g], model.means[0] + gain @ rest, model.covariances[0] - gain @ P @ model.covariances[0]))
            mass += r[b, g]
    mean = model.means[0] + torch.linalg.solve(stiff + 1e-6 * torch.eye(M), force)
    covariance = sum(w * (S + torch.outer(y - mean, y - mean)) for w, y, S in E) / mass
    size = mean.square().sum() / 5
    after, _ = m_step(found, FREE, GRID)
    assert torch.allclose(after.means[0], mean / size.sqrt(), atol=1e-5)
    assert torch.allclose(after.covariances[0], covariance / size, atol=1e-5)


def test_the_order_of_the_pictures_does_not_matter(seeded):
    visible = masks(60, 5, seeded(2), 4)
    visible[:20] = True
    X = cut(gaussian_pictures(60, some_model(K=1, seed=3), seeded(1))[0], visible)
    order = torch.randperm(60, generator=seeded(4))
    one, two = (EStep(Evidence(x, v), some_model()) for x, v in ((X, visible), (X[order], visible[order])))
    assert torch.allclose(one.log[order], two.log, atol=1e-9)
    (a, grid_a), (b, grid_b) = (m_step(found, RecipeConfig(), GRID) for found in (one, two))
    for name in ("means", "covariances", "weights", "cameras"):
        assert torch.allclose(getattr(a, name), getattr(b, name), atol=1e-6), name
    assert math.isclose(a.noise, b.noise, rel_tol=1e-6) and torch.allclose(grid_a.logs(), grid_b.logs())


def test_an_m_step_gives_a_model(seeded):
    X, _ = gaussian_pictures(60, some_model(K=1, seed=3), seeded(1))
    model, grid = some_model(K=3), GRID
    for _ in range(3):
        model, grid = m_step(EStep(Evidence(X, torch.ones(60, 5, dtype=torch.bool)), model), RecipeConfig(), grid)
    assert math.isclose(float(model.weights.exp().sum()), 1, rel_tol=1e-5)
    assert math.isclose(float(model.cameras.exp().sum()), 1, rel_tol=1e-5)
    assert torch.allclose(model.covariances, model.covariances.mT, atol=1e-7)
    assert torch.linalg.eigvalsh(model.covariances).min() > 0 and model.noise >= RecipeConfig().floor
    radius = (model.weights.exp() @ model.means.square().sum(1)) / 5
    assert math.isclose(float(radius), 1, rel_tol=1e-5)


def test_means_come_nearer_to_the_shapes(seeded):
    truth = some_model(K=1, N=6, seed=3, spread=0.2)
    X, Y = gaussian_pictures(300, truth, seeded(1))
    start = dataclasses.replace(truth, means=truth.means + 0.15 * torch.randn(1, 18, generator=seeded(2)).double())
    evidence, model, grid = Evidence(X, torch.ones(300, 6, dtype=torch.bool)), start, GRID
    before = posterior_means(EStep(evidence, model))
    for _ in range(6):
        model, grid = m_step(EStep(evidence, model), FREE, grid)
    after = posterior_means(EStep(evidence, model))
    far = lambda shapes: sum(off_by(a.view(-1, 3), b) for a, b in zip(shapes, Y, strict=True)) / 300  # noqa: E731
    assert far(after) < 0.7 * far(before)


def test_the_noise_is_found(seeded):
    truth = some_model(K=1, N=8, seed=3, spread=0.0)
    X, _ = gaussian_pictures(200, truth, seeded(1), noise=0.1)
    model, grid = dataclasses.replace(truth, noise=0.05, wobble=(0.0, 0.0, 0.0)), GRID
    for _ in range(8):
        model, grid = m_step(EStep(Evidence(X, torch.ones(200, 8, dtype=torch.bool)), model), FREE, grid)
    assert 0.6 * 0.01 < model.noise < 1.2 * 0.01


# from one Gaussian to several


def test_k_means_separates_clusters_and_repeats_itself(seeded):
    centres = 5 * torch.randn(3, 4, generator=seeded(1))
    label = torch.arange(90) % 3
    Y = centres[label] + 0.1 * torch.randn(90, 4, generator=seeded(2))
    found, at = k_means(Y, 3, seeded(3))
    assert all(len(found[label == k].unique()) == 1 for k in range(3)) and len(found.unique()) == 3
    assert torch.cdist(at, centres).amin(0).max() < 0.2
    again, at_again = k_means(Y, 3, seeded(3))
    assert torch.equal(found, again) and torch.equal(at, at_again)
    found, at = k_means(torch.ones(5, 4), 3, seeded(3))  # nothing to tell apart
    assert at.isfinite().all() and found.unique().tolist() == [0]


def test_a_split_puts_a_gaussian_on_each_cluster(seeded):
    one = some_model(K=1, N=6, spread=0.4)
    two = dataclasses.replace(one, means=some_model(K=1, N=6, seed=9).means)
    X = torch.cat([gaussian_pictures(60, m, seeded(i))[0] for i, m in enumerate((one, two))])
    both = dataclasses.replace(
        one, means=torch.cat([one.means, two.means]), covariances=one.covariances.repeat(2, 1, 1),
        weights=torch.tensor([0.5, 0.5]).double().log(),
    )  # fmt: skip
    found = EStep(Evidence(X, torch.ones(120, 6, dtype=torch.bool)), both.collapsed())
    parts, again = (split(found, 2, seeded(3)) for _ in range(2))
    assert torch.equal(parts.means, again.means) and torch.equal(parts.covariances, again.covariances)
    assert torch.cdist(parts.means, both.means).amin(1).max() < 0.5 * torch.dist(*both.means)
    assert parts.means.shape == (2, 18) and torch.linalg.eigvalsh(parts.covariances).min() > 0
    assert math.isclose(float(parts.weights.exp().sum()), 1, rel_tol=1e-6)
    with pytest.raises(ValueError, match="only one Gaussian can be split, got 2"):
        split(EStep(found.evidence, both), 2, seeded(3))
