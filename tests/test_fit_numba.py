"""The exact fit compiled for the CPU: agreement with its twin, independence of batch and threads, ways around it."""

import hashlib
import logging
import math
import subprocess
import sys
import tracemalloc

import numba
import pytest
import torch

from lfmlib import geometry
from lfmlib.geometry import random_rotations, reprojection, solve_camera
from lfmlib.kernels import fit, fit_numba, fit_numba_solve, fit_torch, fit_twin, numba_jit

DTYPES = (torch.float32, torch.float64)


def normal(*shape, seed, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def pairs(B, N, dtype=torch.float64, masked=False):
    """Pictures and shapes, a third of them far from any fit, a third flat, a third near a fit."""
    Y = normal(B, N, 3, seed=N)
    Y[1::3, :, 2] = 0
    X = 2 * Y @ random_rotations(B, torch.Generator().manual_seed(N), torch.float64)[:, :2].mT + 3
    X = X + torch.tensor([1.0, 0.01, 0.1], dtype=torch.float64).repeat(B)[:B, None, None] * normal(B, N, 2, seed=N + 1)
    visible = None
    if masked:
        visible = torch.rand(B, N, generator=torch.Generator().manual_seed(N)) < 0.6
        visible[:, -3:] = True
        X, Y = (torch.where(visible[..., None], v, math.nan) for v in (X, Y))
    return X.to(dtype), Y.to(dtype), visible


def same_bits(found, others):
    assert all(torch.equal(part, other) for part, other in zip(found, others, strict=True))


@pytest.fixture
def threads():
    """Sets torch's number of threads, for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("N", [3, 4, 17, 83, 300])
def test_fit_and_gradient_are_those_of_the_twin(N, masked, dtype):
    pair = pairs(200, N, dtype, masked)
    found, expected = fit_numba.fit(*pair), fit_twin.fit(*pair)
    size = geometry.centred(pair[0], pair[2]).square().sum((1, 2))
    accuracy = 1e-5 if dtype == torch.float32 else 1e-10
    assert ((found[3] - expected[3]).abs() / size).max() < accuracy
    assert {part.dtype for part in found} == {dtype}
    R = found[1]
    assert (R @ R.mT - torch.eye(3, dtype=dtype)).abs().max() < 8 * torch.finfo(dtype).eps
    assert (torch.linalg.det(R) > 0).all() and (found[0] >= 0).all()
    if N > 4:  # few keypoints, and flat shapes, have two cameras that are equally good
        for part, other in zip(found, expected, strict=True):
            assert torch.allclose(part[::3], other[::3], atol=1e-4)
    weight, arguments = normal(200, seed=3, dtype=dtype), (*pair, *found[:3])
    rounding = 10 * accuracy * (1 + found[0].square())[:, None, None]
    for ours, other in zip(fit_numba.gradient(*arguments, weight), fit_twin.gradient(*arguments, weight), strict=True):
        assert ((ours - other).abs() < rounding).all()
        assert pair[2] is None or not ours[~pair[2]].any()


@pytest.mark.parametrize("backend", ["compiled", "plain"])
def test_the_gradient_is_the_one_of_finite_differences(backend, monkeypatch):
    if backend == "plain":
        monkeypatch.setenv("LFM_FIT", "torch")
    X, Y, visible = (v[::3] for v in pairs(6, 6, masked=True))
    X, Y = (torch.where(visible[..., None], v, 0).requires_grad_() for v in (X, Y))
    assert torch.autograd.gradcheck(lambda X, Y: reprojection(X, Y, visible), (X, Y))
    assert torch.autograd.gradcheck(lambda Y: reprojection(X.detach(), Y, visible), Y)


def test_a_second_derivative_is_refused():
    """It would take the camera's derivative, which the envelope theorem spares the first."""
    X, Y, _ = pairs(4, 7)
    factor = torch.ones(4, dtype=X.dtype, requires_grad=True)
    (by_Y,) = torch.autograd.grad((factor * reprojection(X, Y.requires_grad_())).sum(), Y, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        by_Y.sum().backward()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("masked", [False, True])
def test_a_sample_does_not_depend_on_its_batch_or_on_threads(masked, dtype, threads):
    pair = pairs(2500, 9, dtype, masked)
    whole = fit_numba.fit(*pair)
    weight = torch.ones(2500, dtype=dtype)
    gradients = fit_numba.gradient(*pair, *whole[:3], weight)
    order = torch.randperm(2500, generator=torch.Generator().manual_seed(0))
    moved = [v if v is None else v[order] for v in pair]
    same_bits(fit_numba.fit(*moved), [part[order] for part in whole])
    for count in (2, 3):
        threads(count)
        same_bits(fit_numba.fit(*pair), whole)
        same_bits(fit_numba.gradient(*pair, *whole[:3], weight), gradients)
    for one in (0, 1, 2, 1700, 2499):
        alone = [v if v is None else v[one : one + 1] for v in pair]
        same_bits(fit_numba.fit(*alone), [part[one : one + 1] for part in whole])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_what_is_not_finite_stays_with_its_sample(value, which):
    pair = list(pairs(70, 9))
    whole = fit_numba.fit(*pair)
    pair[which] = pair[which].clone()
    pair[which][5, 3, 1] = value
    broken = fit_numba.fit(*pair)
    assert not any(part[5].isfinite().any() for part in broken)
    others = torch.arange(70) != 5
    same_bits([part[others] for part in broken], [part[others] for part in whole])
    visible = torch.ones(70, 9, dtype=torch.bool)
    visible[5, 3] = False
    hidden = fit_numba.fit(pair[0], pair[1], visible)
    assert all(part.isfinite().all() for part in hidden)
    by_X, by_Y = fit_numba.gradient(*pair[:2], visible, *broken[:3], torch.ones(70, dtype=torch.float64))
    assert by_X[5, 3].tolist() == [0, 0] and by_Y[5, 3].tolist() == [0, 0, 0]


def test_a_sample_without_visible_keypoints_is_a_point_at_the_origin():
    X, Y, _ = pairs(3, 5)
    s, R, t, residual = fit_numba.fit(X, Y, torch.zeros(3, 5, dtype=torch.bool))
    assert s.tolist() == [1, 1, 1] and not t.any() and not residual.any()
    assert torch.allclose(R @ R.mT, torch.eye(3, dtype=torch.float64).expand(3, 3, 3))


def test_far_from_the_origin_the_residual_keeps_its_digits():
    X, Y, _ = pairs(100, 9, torch.float32)
    X, Y = ((v * 1024).round() / 1024 for v in (X, Y))  # so that moving them rounds nothing away
    there = fit_numba.fit(X + 1024, Y - 1024, None)
    here = fit_numba.fit(X, Y, None)
    same_bits([there[k] for k in (0, 1, 3)], [here[k] for k in (0, 1, 3)])


@pytest.mark.parametrize("masked", [False, True])
def test_memory_in_any_order_is_read_right(masked):
    X, Y, visible = pairs(50, 9, masked=masked)
    expected = fit_numba.fit(X, Y, visible)
    turned = [v if v is None else v.transpose(0, 1).contiguous().transpose(0, 1) for v in (X, Y, visible)]
    assert not turned[0].is_contiguous()
    same_bits(fit_numba.fit(*turned), expected)
    weight = torch.ones((), dtype=X.dtype).expand(50)
    cameras = expected[:3]
    same_bits(fit_numba.gradient(*turned, *cameras, weight), fit_numba.gradient(X, Y, visible, *cameras, weight))


def test_a_wrong_shape_or_type_is_refused_before_memory_is_read():
    X, Y, _ = pairs(4, 6)
    visible = torch.ones(4, 6, dtype=torch.bool)
    for bad in ((X[:, :5], Y, None), (X, Y[:3], None), (X.float(), Y, None), (X, Y, visible[:, 1:]), (Y, X, None)):
        with pytest.raises(ValueError, match=r"expected X \[B, N, 2\].*got .*6"):
            fit_numba._arrays(*bad)
    with pytest.raises(ValueError, match="int64"):
        fit_numba._arrays(X, Y, visible.long())


def test_most_samples_take_the_short_way():
    """Otherwise the speed is gone without anybody noticing."""
    X, Y = normal(4000, 17, 2, seed=1), normal(4000, 17, 3, seed=2)
    _, C, H = fit_twin._moments(X, Y, None)
    cameras = torch.empty(10, 4000, dtype=torch.float64).numpy()
    assert fit_numba_solve.solve(torch.cat([C, H]).numpy(), 1e-14, cameras) < 40


def test_the_constants_are_those_of_the_twin():
    for name in ("TINY", "STEPS", "NEWTON", "THIN", "TOLERANCE", "THIRD"):
        assert getattr(fit_numba_solve, name) == getattr(fit_torch, name)


def test_memory_is_bounded():
    X, Y = normal(100_000, 3, 2, seed=1), normal(100_000, 3, 3, seed=2)
    fit_numba.fit(X[:10], Y[:10], None)
    tracemalloc.start()
    fit_numba.fit(X, Y, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000  # beside its results, which torch allocates


def test_the_environment_and_the_type_choose_the_backend(monkeypatch):
    X, Y, _ = pairs(4, 6)
    assert fit.backend(X, Y) is fit.backend(X.float(), Y.float()) is fit_numba
    assert fit.backend(X.half(), Y.half()) is fit.backend(X.float(), Y) is fit_twin
    assert fit.backend(X.to("meta"), Y.to("meta")) is fit_twin
    half = solve_camera(X.bfloat16(), Y.bfloat16())
    assert {part.dtype for part in half} == {torch.bfloat16}
    monkeypatch.setenv("LFM_FIT", "torch")
    assert fit.backend(X, Y) is fit_twin


def test_without_numba_plain_pytorch_serves_and_says_so_once(monkeypatch, caplog):
    X, Y, _ = pairs(20, 6)
    expected = reprojection(X, Y)
    monkeypatch.setitem(sys.modules, "lfmlib.kernels.fit_numba", None)  # an import of it fails
    fit._compiled.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                assert torch.allclose(reprojection(X, Y), expected)
    finally:
        fit._compiled.cache_clear()
    assert len(caplog.messages) == 1 and "no numba" in caplog.text


def test_where_no_cache_can_be_written_it_compiles_without(monkeypatch):
    njit = numba.njit

    def refusing(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(numba, "njit", refusing)
    assert numba_jit.compiled(lambda x: x + 1)(2) == 3


def test_no_gradient_where_none_is_wanted():
    X, Y, _ = pairs(6, 7)
    with torch.inference_mode():
        assert torch.equal(reprojection(X, Y), fit_numba.fit(X, Y, None)[3])
    Y.requires_grad_()
    with torch.no_grad():
        assert not reprojection(X, Y).requires_grad
    camera = solve_camera(X, Y)
    assert not any(part.requires_grad for part in camera)


def run(code, root):
    """Output of a fresh process: without type checks, and with nothing imported yet."""
    command = [sys.executable, "-c", "import sys, torch, lfmlib.geometry\n" + code]
    done = subprocess.run(command, cwd=root, timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def digest(X, Y):
    """Fingerprint of losses and gradients."""
    loss = reprojection(X, Y.requires_grad_())
    results = loss.detach(), torch.autograd.grad(loss.sum(), Y)[0]
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in results)).hexdigest()


FORK = """
import os, warnings
assert not {"numba", "triton"} & set(sys.modules), "imported before it is needed"
sys.path.insert(0, "tests")
from test_fit_numba import digest, pairs
torch.set_num_threads(1)  # torch's own threads do not survive a fork either
X, Y, _ = pairs(2000, 9, torch.float32)
torch.set_num_threads(2)
print(digest(X, Y), flush=True)
warnings.simplefilter("ignore")
if hasattr(os, "fork"):
    child = os.fork()
    if child == 0:
        print(digest(X, Y), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""

COMPILED = """
X, Y, visible = torch.randn(6, 7, 2), torch.randn(6, 7, 3, requires_grad=True), torch.rand(6, 7) < 0.7
for seen in (None, visible):
    loss = lambda X, Y: 3 * lfmlib.geometry.reprojection(X, 2 * Y, seen).sum()
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True, dynamic=True)
    for count in (6, 4):
        seen = None if seen is None else visible[:count]
        assert torch.allclose(compiled(X[:count], Y[:count]), loss(X[:count], Y[:count]))
        ours, expected = (torch.autograd.grad(f(X[:count], Y[:count]), Y)[0] for f in (compiled, loss))
        assert torch.allclose(ours, expected)
"""


def test_processes_agree_also_after_a_fork(root):
    """Threads do not survive a fork: a pool that is not renewed would wait for ever."""
    assert set(run(FORK, root).split()) == {digest(*pairs(2000, 9, torch.float32)[:2])}


def test_torch_compile_sees_one_operation(root):
    run(COMPILED, root)
