"""What only a GPU can show of the exact fit's kernels: agreement with float64 on the CPU, graphs, no waiting, size."""

import math

import pytest
import torch

if not torch.cuda.is_available():
    pytest.skip("no CUDA GPU", allow_module_level=True)
pytest.importorskip("triton", reason="Triton is not installed")

from fit_families import DTYPES, FAMILIES, agree, families, left_over, minimum, normal, pair, part, size_of

from lfmlib import geometry
from lfmlib.kernels import fit_triton, fit_twin

SIZES = (3, 4, 17, 20, 21, 26, 64, 68, 83, 133, 256)


def there(*values):
    return [v if v is None else v.cuda() for v in values]


def here(values):
    return [v.cpu() for v in values]


@pytest.mark.parametrize("dtype", DTYPES)
def test_it_finds_the_twins_minimum(dtype):
    case = families(dtype)
    found = here(fit_triton.fit(*there(*case)))
    for name in FAMILIES:
        minimum(name, [v[part(name)] for v in case], [v[part(name)] for v in found])
    eye = torch.eye(3, dtype=dtype)
    assert (found[1] @ found[1].mT - eye).abs().max() < (2e-6 if dtype == torch.float32 else 1e-12)
    assert (torch.linalg.det(found[1]) > 0).all() and (found[0] >= 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N", SIZES)
def test_any_number_of_keypoints_in_any_number_of_samples(N, dtype):
    for B, masked in ((1, False), (33, True), (1000, False)):
        X, Y = (v.to(dtype) for v in pair(B, N, seed=N))
        visible = None
        if masked:
            visible = torch.rand(B, N, generator=torch.Generator().manual_seed(N)) < 0.6
            visible[:, -3:] = True
            X, Y = (torch.where(visible[..., None], v, math.nan) for v in (X, Y))
        three = N == 3 or (masked and int(visible.sum(1).min()) == 3)  # three keypoints fit exactly, in two poses
        agree((X, Y, visible), here(fit_triton.fit(*there(X, Y, visible))), 1e-5, None if three else 3e-5)


@pytest.mark.parametrize("kind", ["noisy", "random", "elongated", "flattish"])
def test_single_precision_against_double_on_many_samples(kind):
    B = 100_000
    X, Y = pair(B, 17)
    if kind == "random":
        X = normal(B, 17, 2, seed=5)
    if kind in ("elongated", "flattish"):
        Y = normal(B, 17, 3, seed=6) * torch.tensor((1, 0.3, 0.1) if kind == "elongated" else (1, 0.8, 0.03)).double()
    X, Y = X.float(), Y.float()
    s, R, t, residual = here(fit_triton.fit(*there(X, Y)))
    expected = fit_twin.fit(X.double(), Y.double(), None)
    best = left_over(X, Y, None, *expected[:2])
    for value in (residual.double(), left_over(X, Y, None, s, R)):
        assert ((value - best).abs() <= 1e-5 * (best + 1e-4 * size_of(X, None))).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gradient_is_that_of_the_twin(dtype):
    for N, masked in ((17, False), (17, True), (83, True)):
        X, Y = (v.to(dtype) for v in pair(1000, N))
        visible = torch.rand(1000, N, generator=torch.Generator().manual_seed(1)) < 0.6 if masked else None
        weight = normal(1000, seed=3).to(dtype)
        camera = fit_twin.fit(X, Y, visible)[:3]
        found = here(fit_triton.gradient(*there(X, Y, visible, *camera, weight)))
        expected = fit_twin.gradient(*(v if v is None or not v.is_floating_point() else v.double()
                                       for v in (X, Y, visible, *camera, weight)))  # fmt: skip
        for one, other in zip(found, expected, strict=True):
            assert (one - other).abs().max() < (1e-4 if dtype == torch.float32 else 1e-12)
            assert visible is None or not one[~visible].any()


def test_the_loss_and_its_gradient_go_through_the_kernels():
    X, Y = (v.float() for v in pair(200, 17))
    losses, slopes = [], []
    for device in ("cpu", "cuda"):
        x, y = (v.to(device).requires_grad_() for v in (X, Y))
        loss = geometry.reprojection(x, y)
        loss.square().sum().backward()
        losses.append(loss.detach().cpu())
        slopes.append((x.grad.cpu(), y.grad.cpu()))
    assert torch.allclose(*losses, rtol=1e-4)
    for one, other in zip(*slopes, strict=True):
        assert (one - other).abs().max() < 1e-4 * other.abs().max()


def test_a_captured_graph_repeats_it():
    X, Y = there(*(v.float() for v in pair(3000, 17)))
    weight = torch.ones(3000, device="cuda")

    def step():
        found = fit_triton.fit(X, Y)
        return *found, *fit_triton.gradient(X, Y, None, *found[:3], weight)

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()  # compiled outside the capture
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    for seed in (1, 2):
        for old, new in zip((X, Y), pair(3000, 17, seed=seed), strict=True):
            old.copy_(new)
        X[7, 3], Y[2990] = math.nan, 1.5  # both branches run in the graph
        graph.replay()
        for one, other in zip(captured, step(), strict=True):
            assert torch.equal(one.nan_to_num(-7), other.nan_to_num(-7))


def test_it_never_waits_for_the_gpu():
    X, Y = there(*(v.float() for v in pair(100, 17)))
    visible = torch.ones(100, 17, dtype=torch.bool, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        s, R, t, _ = fit_triton.fit(X, Y, visible)
        fit_triton.gradient(X, Y, visible, s, R, t, s)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sample_gets_the_same_bits_in_any_company(dtype):
    case = there(*families(dtype))
    forwards, backwards = fit_triton.fit(*case), fit_triton.fit(*(v.flip(0) for v in case))
    for one, other in zip(forwards, backwards, strict=True):
        assert torch.equal(one, other.flip(0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_a_number_stays_in_its_sample(dtype):
    X, Y = there(*(v.to(dtype) for v in pair(70, 17)))
    whole = fit_triton.fit(X, Y)
    X, Y = X.clone(), Y.clone()
    X[5, 3, 0], Y[3, 1, 2], Y[68] = math.inf, math.nan, math.nan
    broken = fit_triton.fit(X, Y)
    good = torch.ones(70, dtype=torch.bool)
    good[[3, 5, 68]] = False
    for one, other in zip(whole, broken, strict=True):
        assert torch.equal(one[good], other[good])
    assert not any(v[~good].isfinite().any() for v in (broken[0], broken[2], broken[3]))


def test_a_batch_beyond_32_bit_addresses():
    B, N = 2_900_000, 256  # 2.2e9 numbers in Y
    if torch.cuda.mem_get_info()[0] < 48e9:
        pytest.skip("needs 48 GB of GPU memory")
    X, Y = there(*(v.float() for v in pair(1000, N)))
    few = fit_triton.fit(X, Y)
    few_gradients = fit_triton.gradient(X, Y, None, *few[:3], few[0])
    X, Y = X.repeat(B // 1000, 1, 1), Y.repeat(B // 1000, 1, 1)
    many = fit_triton.fit(X, Y)
    many_gradients = fit_triton.gradient(X, Y, None, *many[:3], many[0])
    for one, other in zip((*few, *few_gradients), (*many, *many_gradients), strict=True):
        assert torch.equal(one, other[-1000:])
