"""Laws of the error measures: invariances, mirror policies, masks, and agreement with slow numpy twins."""

import math

import numpy as np
import pytest
import torch

from lfmlib import metrics as M
from lfmlib.geometry import align, random_rotations

EVERY = ("none", "depth", "centre", "scale", "so3", "o3")


def shapes(B, N, seed=0):
    return torch.randn(B, N, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def moved(shape, seed=1, scale=True):
    """The shape under a random similarity per sample."""
    g = torch.Generator().manual_seed(seed)
    R = random_rotations(len(shape), g, torch.float64)
    s = 0.2 + 3 * torch.rand(len(shape), 1, 1, generator=g, dtype=torch.float64) if scale else 1.0
    return s * shape @ R.mT + torch.randn(len(shape), 1, 3, generator=g, dtype=torch.float64)


def mask(B, N, seed=2):
    known = torch.rand(B, N, generator=torch.Generator().manual_seed(seed)) < 0.7
    known[:, :4] = True
    return known


def numpy_align(p, q, alignment):
    """One sample, known points only."""
    if alignment == "none":
        return p, q
    if alignment == "depth":
        z = np.array([0, 0, 1])
        return p - p.mean(0) * z, q - q.mean(0) * z
    p, q = p - p.mean(0), q - q.mean(0)
    if alignment == "scale":
        p = p * (p * q).sum() / (p * p).sum()
    if alignment in ("so3", "o3"):
        best = None
        for sign in (1, -1) if alignment == "o3" else (1,):
            u, s, vt = np.linalg.svd(p.T @ q)
            d = np.diag([1, 1, sign * np.sign(np.linalg.det(u @ vt))])
            candidate = (s * np.diag(d)).sum() / (p * p).sum() * p @ u @ d @ vt
            if best is None or ((candidate - q) ** 2).sum() < ((best - q) ** 2).sum():
                best = candidate
        p = best
    return p, q


@pytest.mark.parametrize("alignment", EVERY)
def test_distances_agree_with_a_loop(alignment):
    P, Y, known = shapes(12, 9), shapes(12, 9, 3), mask(12, 9)
    ours = M.distances(P, Y, known, alignment=alignment)
    for b in range(12):
        k = known[b].numpy()
        p, q = numpy_align(P[b].numpy()[k], Y[b].numpy()[k], alignment)
        assert np.allclose(ours[b].numpy()[k], np.linalg.norm(p - q, axis=1), atol=1e-9)
    assert float(ours[~known].abs().max()) == 0


def test_stress_pck_and_auc_agree_with_a_loop():
    P, Y, known = shapes(6, 8), shapes(6, 8, 3), mask(6, 8)
    stress = M.stress(P, Y, known)
    pck = M.pck(P, Y, known, threshold=1.5, alignment="centre")
    auc = M.auc(P, Y, known, up_to=3.0, alignment="centre", steps=7)
    for b in range(6):
        k = known[b].nonzero()[:, 0].tolist()
        pairs = [(i, j) for i in k for j in k if i < j]
        terms = [abs((P[b, i] - P[b, j]).norm() - (Y[b, i] - Y[b, j]).norm()) for i, j in pairs]
        assert float(stress[b]) == pytest.approx(float(sum(terms) / len(terms)))
        p, q = numpy_align(P[b].numpy()[k], Y[b].numpy()[k], "centre")
        distance = np.linalg.norm(p - q, axis=1)
        assert float(pck[b]) == pytest.approx((distance < 1.5).mean())
        assert float(auc[b]) == pytest.approx(np.mean([(distance < t).mean() for t in np.linspace(0, 3, 7)]))


def test_c3dpo_takes_the_better_depth_sign_and_nothing_else():
    P, Y, known = shapes(10, 7), shapes(10, 7, 3), mask(10, 7)
    ours, hip = M.c3dpo_mpjpe(P, Y, known), M.c3dpo_mpjpe(P, Y, known, root=0)
    for b in range(10):
        p, q, k = P[b].numpy(), Y[b].numpy(), known[b].numpy()
        both, rooted = [], []
        for sign in (1, -1):
            flipped = p * [1, 1, sign]
            a, c = numpy_align(flipped[k], q[k], "depth")
            both.append(np.linalg.norm(a - c, axis=1).mean())
            rooted.append(np.linalg.norm((flipped - flipped[0]) - (q - q[0]), axis=1)[k].mean())
        assert float(ours[b]) == pytest.approx(min(both))
        assert float(hip[b]) == pytest.approx(min(rooted))


def test_what_each_error_forgives():
    Y = shapes(8, 9)
    assert M.mpjpe(Y + 5, Y).max() < 1e-9 < M.mpjpe(2 * Y, Y).min()
    assert M.n_mpjpe(2 * Y + 5, Y).max() < 1e-9 < M.n_mpjpe(moved(Y), Y).min()
    assert M.pa_mpjpe(moved(Y), Y, mirror="so3").max() < 1e-9
    assert M.stress(moved(Y, scale=False), Y).max() < 1e-9 < M.stress(2 * Y, Y).min()
    assert M.c3dpo_mpjpe(M.mirrored(Y) + torch.tensor([0, 0, 3.0]), Y).max() < 1e-9
    assert M.c3dpo_mpjpe(Y + torch.tensor([1.0, 0, 0]), Y).min() > 0.99
    assert M.mpjpe(Y, Y[:, :1] * 0 + Y, root=2).max() < 1e-9


def test_pa_is_invariant_to_similarities_of_the_prediction():
    P, Y, known = shapes(8, 9), shapes(8, 9, 3), mask(8, 9)
    for mirror in ("so3", "o3"):
        same = M.pa_mpjpe(moved(P), Y, known, mirror=mirror)
        assert torch.allclose(same, M.pa_mpjpe(P, Y, known, mirror=mirror), atol=1e-9)
    o3 = M.pa_mpjpe(M.mirrored(P), Y, known, mirror="o3")
    assert torch.allclose(o3, M.pa_mpjpe(P, Y, known, mirror="o3"), atol=1e-9)


def test_mirrored_truth():
    Y, category = shapes(8, 9), torch.arange(8) % 2
    P = moved(M.mirrored(Y))
    assert M.pa_mpjpe(P, Y, mirror="o3").max() < 1e-9
    assert M.pa_mpjpe(P, Y, mirror="so3").min() > 0.1
    flip = M.per_category_flip(P, Y, None, category)
    assert flip.error.max() < 1e-9 and bool(flip.bit.all()) and not bool(flip.mistake.any())


def test_mirror_policies_are_ordered():
    P, Y, known = shapes(64, 9), shapes(64, 9, 3), mask(64, 9)
    squared = {m: M.distances(P, Y, known, alignment=m).square().sum(1) for m in ("so3", "o3")}
    assert (squared["o3"] <= squared["so3"] + 1e-9).all()  # what Procrustes minimises: for every sample
    category = torch.arange(64) % 3
    o3, so3 = (M.pa_mpjpe(P, Y, known, mirror=m) for m in ("o3", "so3"))
    flip = M.per_category_flip(P, Y, known, category).error
    for c in range(3):
        assert o3[category == c].mean() < flip[category == c].mean() <= so3[category == c].mean()


def test_planar_shapes_have_no_handedness():
    P, Y = shapes(6, 8), shapes(6, 8, 3)
    P[..., 2] = 0
    so3, o3 = (M.pa_mpjpe(moved(P), Y, mirror=m) for m in ("so3", "o3"))
    assert torch.allclose(so3, o3, atol=1e-9)
    flip = M.per_category_flip(P, Y, None, torch.zeros(6, dtype=torch.int64))
    assert torch.allclose(flip.error, so3, atol=1e-9) and not bool(flip.mistake.any())


def test_one_bit_per_category_and_the_mistakes_it_leaves():
    Y = shapes(10, 9)
    category = torch.tensor([0] * 5 + [1] * 5)
    inside_out = torch.tensor([1, 1, 1, 1, 0, 0, 0, 0, 0, 1], dtype=torch.bool)
    P = moved(torch.where(inside_out[:, None, None], M.mirrored(Y), Y))
    flip = M.per_category_flip(P, Y, None, category)
    assert flip.bit.tolist() == [True, False]
    assert flip.mistake.nonzero()[:, 0].tolist() == [4, 9]
    assert (flip.error[~flip.mistake] < 1e-9).all() and (flip.error[flip.mistake] > 0.1).all()


@pytest.mark.parametrize("value", [1e6, math.nan, math.inf])
def test_unknown_keypoints_do_not_count(value):
    P, Y, known = shapes(5, 9), shapes(5, 9, 3), mask(5, 9)
    dirty_p, dirty_y = P.clone(), Y.clone()
    dirty_p[~known] = value
    dirty_y[~known] = value
    for alignment in EVERY:
        assert torch.equal(
            M.distances(dirty_p, dirty_y, known, alignment=alignment), M.distances(P, Y, known, alignment=alignment)
        )
    assert torch.equal(M.stress(dirty_p, dirty_y, known), M.stress(P, Y, known))
    half = torch.zeros(5, 9, dtype=torch.bool)
    half[:, :5] = True
    for error in (M.mpjpe, M.n_mpjpe, M.c3dpo_mpjpe, M.stress, lambda *a: M.pa_mpjpe(*a, mirror="so3")):
        assert torch.allclose(error(P, Y, half), error(P[:, :5], Y[:, :5]), atol=1e-12)


def test_pck_and_auc_limits():
    Y = shapes(4, 7)
    P = Y + torch.tensor([0.0, 0.0, 1.0]) * torch.tensor([1, -1, 0, 0, 1, -1, 0]).double()[:, None]
    assert M.pck(P, Y, threshold=1.01, alignment="centre").tolist() == [1.0] * 4
    assert torch.allclose(M.pck(P, Y, threshold=0.99, alignment="centre"), torch.tensor(3 / 7).double())
    assert (M.auc(Y, Y, up_to=1.0, alignment="centre") > 0.96).all()  # all but the threshold 0
    with pytest.raises(ValueError, match="threshold is 0.0"):
        M.pck(P, Y, threshold=0.0, alignment="centre")
    with pytest.raises(ValueError, match="up_to is -1"):
        M.auc(P, Y, up_to=-1.0, alignment="centre")


def test_evaluate_per_category_class_mean_and_pooled():
    Y, P, known = shapes(9, 8), shapes(9, 8, 3), mask(9, 8)
    category = torch.tensor([0, 0, 0, 2, 2, 2, 2, 2, 2])
    setting = dict(radius=[2.0, 1.0, 50.0], mm=[10.0, None, None], names=("a", "b", "c"))
    records = M.evaluate(P, Y, known, category, **setting)
    by_name = {r["category"]: r for r in records}
    assert list(by_name) == ["a", "c", M.CLASS_MEAN, M.POOLED] and by_name["a"]["samples"] == 3
    so3 = M.pa_mpjpe(P, Y, known, mirror="so3")
    a, c = 100 * so3[:3] / 2, 100 * so3[3:] / 50
    assert by_name["a"]["so3"] == pytest.approx(float(a.mean()))
    assert by_name[M.CLASS_MEAN]["so3"] == pytest.approx(float((a.mean() + c.mean()) / 2))
    assert by_name[M.POOLED]["so3"] == pytest.approx(float(torch.cat((a, c)).mean()))
    assert by_name["a"]["mm"] == pytest.approx(by_name["a"]["flip"] / 100 * 2 * 10)
    assert by_name["c"]["mm"] is None and by_name[M.POOLED]["mm"] is None
    for r in records:
        assert r["flip"] <= r["so3"] and 0 <= r["mirror_mistakes"] <= 1
    alone = M.evaluate(P[:3], Y[:3], known[:3], radius=[2.0], mm=[10.0], names=("a",))
    assert len(alone) == 1 and alone[0] == by_name["a"]
    assert M.evaluate(P.float(), Y.float(), known, category, **setting)[0]["o3"] == pytest.approx(
        by_name["a"]["o3"], rel=1e-5
    )


def test_gradient_of_an_aligned_error_holds_the_alignment():
    P, Y = shapes(3, 6).requires_grad_(), shapes(3, 6, 3)
    M.pa_mpjpe(P, Y, mirror="so3").sum().backward()
    assert P.grad.isfinite().all() and align(P, Y).R.requires_grad is False


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda P, Y, k: k[2].copy_(torch.tensor([True, True] + [False] * 5)), "sample 2: 2 known keypoints"),
        (lambda P, Y, k: P.__setitem__((1, 3, 2), math.nan), "sample 1: prediction of keypoint 3 is not finite"),
        (lambda P, Y, k: Y.__setitem__((3, 0, 0), math.inf), "sample 3: truth of keypoint 0 is not finite"),
    ],
)
def test_bad_samples_are_named(change, message):
    P, Y, known = shapes(4, 7), shapes(4, 7, 3), torch.ones(4, 7, dtype=torch.bool)
    change(P, Y, known)
    for error in (M.mpjpe, M.n_mpjpe, M.stress, M.c3dpo_mpjpe, lambda *a: M.evaluate(*a, radius=[1.0])):
        with pytest.raises(ValueError, match=message):
            error(P, Y, known)


def test_bad_requests():
    P, known = shapes(4, 7), torch.ones(4, 7, dtype=torch.bool)
    known[1, 2] = False
    category = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ValueError, match="sample 1: root keypoint 2 is not known"):
        M.mpjpe(P, P, known, root=2)
    with pytest.raises(ValueError, match="root is keypoint 9, there are 7"):
        M.mpjpe(P, P, root=9)
    with pytest.raises(ValueError, match="2 names, 1 radii"):
        M.evaluate(P, P, None, category, radius=[1.0], names=("a", "b"))
    with pytest.raises(ValueError, match=r"category spans 1\.\.1, expected 0\.\.0"):
        M.evaluate(P, P, None, category + 1, radius=[1.0])
    with pytest.raises(ValueError, match="'all': radius is 0"):
        M.evaluate(P, P, radius=[0.0])
    with pytest.raises(ValueError, match="no samples"):
        M.evaluate(P[:0], P[:0], radius=[1.0])
