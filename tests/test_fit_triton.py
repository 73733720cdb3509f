"""The Triton kernels of the exact fit, run by Triton's interpreter, against their twin; and compiled for a GPU.

The interpreter must be chosen before Triton is imported, so this file runs itself in a second process: `answers` hands
it every case at once.
"""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

triton = pytest.importorskip("triton", reason="Triton is not installed")

from fit_families import DTYPES, EACH, FAMILIES, agree, families, left_over, minimum, pair, part, size_of  # noqa: E402

from lfmlib.geometry import fit_camera_algebraic, random_rotations  # noqa: E402
from lfmlib.kernels import fit_triton, fit_twin  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
NAMES = {torch.float32: "single", torch.float64: "double"}
SIZES = (3, 4, 17, 20, 21, 64, 83, 133, 256)  # keypoints: both sides of every change of the kernel's shape


STEP = 1e-5


def nudges():
    """A sample for each side of each of its 25 coordinates, three samples in all: finite differences."""
    values = torch.cat([v.flatten(1) for v in pair(3, 5, seed=7)], 1)  # [3, 25]
    moved = values[:, None] + STEP * torch.cat([torch.eye(25), -torch.eye(25)]).double()
    moved = moved.flatten(0, 1)  # [150, 25]
    return moved[:, :10].unflatten(1, (5, 2)), moved[:, 10:].unflatten(1, (5, 3))


def cases():
    """Every question to the interpreter, by name: X, Y, visible, weight and the samples per program."""
    asked = {}
    for dtype in DTYPES:
        name, (X, Y, visible) = NAMES[dtype], families(dtype)
        asked[f"families {name}"] = X, Y, visible, 256
        asked[f"a third {name}"] = X[1::3], Y[1::3], visible[1::3], 64
        X, Y = (v.to(dtype) for v in pair(35, 17))
        asked[f"whole {name}"] = X, Y, None, 32
        asked[f"all seen {name}"] = X, Y, torch.ones(35, 17).bool(), 32
        broken_X, broken_Y = X.clone(), Y.clone()
        broken_X[5, 3, 0], broken_Y[3, 1, 2], broken_Y[33] = math.inf, math.nan, math.nan
        asked[f"broken {name}"] = broken_X, broken_Y, None, 32
        asked[f"one {name}"] = X[:1], Y[:1], None, 32
        Q = random_rotations(1, torch.Generator().manual_seed(9), torch.float64)[0].to(dtype)
        asked[f"turned {name}"] = 2.5 * X + 4, Y @ Q.mT - 1, None, 64
    for N in SIZES:
        X, Y = (v.float() for v in pair(3, N, seed=N))
        visible = torch.rand(3, N, generator=torch.Generator().manual_seed(N)) < 0.6
        visible[:, -4:] = True
        asked[f"{N} keypoints"] = X, Y, None, 32
        asked[f"{N} masked"] = X, Y, visible, 32
    X, Y = pair(512, 5, noise=0.05)
    asked["nearly flat"] = X.float(), (Y * torch.tensor([1, 0.8, 0.03])).float(), None, 512
    asked["nudges"] = *nudges(), None, 256
    wide = torch.cat([v.float() for v in pair(4, 17)], -1)  # [4, 17, 5]
    asked["strided"] = wide[:, :9, :2], wide[:, 8:, 2:], (wide[..., 0] > -9)[:, ::2], 32
    return {name: (*case[:3], weights(len(case[0]), case[0].dtype), case[3]) for name, case in asked.items()}


def weights(B, dtype):
    return torch.linspace(-1, 2, B, dtype=torch.float64).to(dtype)


def interpret(questions, answers):
    """Answers the cases of a file into another one; runs where TRITON_INTERPRET is set."""
    found = {}
    for name, (X, Y, visible, weight, samples) in torch.load(questions).items():
        fit_triton.SAMPLES = samples  # fewer and larger programs are faster here
        camera = fit_triton.fit(X, Y, visible)
        found[name] = *camera, *fit_triton.gradient(X, Y, visible, *camera[:3], weight)
    torch.save(found, answers)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """name -> (X, Y, visible, weight), (s, R, t, residual, gX, gY)."""
    folder = tmp_path_factory.mktemp("interpreter")
    asked = cases()
    torch.save(asked, folder / "questions")
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-B", "-W", "ignore", __file__, str(folder / "questions"), str(folder / "answers")]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    found = torch.load(folder / "answers")
    return {name: (asked[name][:4], found[name]) for name in asked}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FAMILIES)
def test_it_finds_the_twins_minimum(answers, name, dtype):
    minimum(name, *([v[part(name)] for v in group] for group in answers[f"families {NAMES[dtype]}"]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FAMILIES)
def test_rotations_are_rotations_and_no_residual_is_above_the_algebraic_one(answers, name, dtype):
    case, found = ([v[part(name)] for v in group] for group in answers[f"families {NAMES[dtype]}"])
    X, Y, visible, _ = case
    s, R, t, residual, *_ = found
    accuracy = 1e-6 if dtype == torch.float32 else 1e-12
    eye = torch.eye(3, dtype=dtype)
    assert (R @ R.mT - eye).abs().max() < accuracy and (torch.linalg.det(R) > 0).all() and (s >= 0).all()
    if name == "line" and dtype == torch.float32:
        return  # the algebraic one looks along it, and sees its rounding
    X, Y = (torch.where(visible[..., None], v, 0).double() for v in (X, Y))
    algebraic = fit_camera_algebraic(X, Y, visible)
    assert (residual <= left_over(X, Y, visible, *algebraic[:2]) + accuracy * size_of(X, visible)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_points_that_coincide(answers, dtype):
    (X, Y, *_), (s, R, t, residual, gX, gY) = answers[f"families {NAMES[dtype]}"]
    alike = part("same_shape")
    assert s[alike].tolist() == [1] * EACH
    assert torch.allclose(residual[alike].double(), size_of(X[alike], None), rtol=1e-5)
    alike = part("same_picture")
    assert s[alike].tolist() == [0] * EACH and residual[alike].tolist() == [0] * EACH
    assert torch.equal(t[alike], X[alike, 0]) and not gX[alike].any() and not gY[alike].any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sample_gets_the_same_bits_in_any_company(answers, dtype):
    for whole, few, chosen in (("families", "a third", slice(1, None, 3)), ("whole", "one", slice(1))):
        whole, few = answers[f"{whole} {NAMES[dtype]}"][1][:4], answers[f"{few} {NAMES[dtype]}"][1][:4]
        for one, other in zip(whole, few, strict=True):
            assert torch.equal(one[chosen], other)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mask_that_hides_nothing_changes_nothing(answers, dtype):
    whole, masked = answers[f"whole {NAMES[dtype]}"][1], answers[f"all seen {NAMES[dtype]}"][1]
    for one, other in zip(whole, masked, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_a_number_stays_in_its_sample(answers, dtype):
    whole, broken = answers[f"whole {NAMES[dtype]}"][1], answers[f"broken {NAMES[dtype]}"][1]
    bad = torch.zeros(35, dtype=torch.bool)
    bad[[3, 5, 33]] = True
    for one, other in zip(whole, broken, strict=True):
        assert torch.equal(one[~bad], other[~bad])
    s, R, t, residual, gX, gY = (v[bad] for v in broken)
    assert not (s.isfinite().any() or t.isfinite().any() or residual.isfinite().any())
    assert not (gX.isfinite().any() or gY.isfinite().any())


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_camera_turns_with_the_shape_and_scales_with_the_picture(answers, dtype):
    whole, turned = answers[f"whole {NAMES[dtype]}"][1], answers[f"turned {NAMES[dtype]}"][1]
    Q = random_rotations(1, torch.Generator().manual_seed(9), torch.float64)[0].to(dtype)
    accuracy = 1e-5 if dtype == torch.float32 else 1e-12
    assert torch.allclose(turned[0], 2.5 * whole[0], rtol=accuracy)
    assert torch.allclose(turned[1], whole[1] @ Q.mT, atol=accuracy)
    moved = turned[0][:, None] * turned[1][:, :2].sum(2)  # the shape was shifted by -1
    assert torch.allclose(turned[2], 2.5 * whole[2] + 4 + moved, rtol=accuracy, atol=10 * accuracy)
    assert torch.allclose(turned[3], 6.25 * whole[3], rtol=10 * accuracy)


@pytest.mark.parametrize("kind", ["keypoints", "masked"])
@pytest.mark.parametrize("N", SIZES)
def test_any_number_of_keypoints(answers, N, kind):
    case, found = answers[f"{N} {kind}"]
    agree(case, found, 1e-5, None if N == 3 else 1e-5)  # three fit exactly, in two poses


def test_many_samples_that_are_nearly_ambiguous(answers):
    """A shape and its mirror image in depth explain the picture of a nearly flat shape almost equally well."""
    agree(*answers["nearly flat"], 1e-5)


def test_strided_input(answers):
    agree(*answers["strided"], 1e-5, 1e-4)


def test_the_gradient_is_that_of_the_twins_residual(answers):
    for name in ("families single", "families double", "whole single", "17 masked", "133 masked", "strided"):
        (X, Y, visible, weight), (s, R, t, _, *found) = answers[name]
        X, Y = (v if visible is None else torch.where(visible[..., None], v, 0) for v in (X, Y))
        X, Y = (v.double().requires_grad_() for v in (X, Y))
        s, R, t = s.double(), R.double(), t.double()
        error = s[:, None, None] * (Y @ R[:, :2].mT) + t[:, None] - X
        error = error if visible is None else torch.where(visible[..., None], error, 0)
        (weight * error.square().sum((1, 2))).sum().backward()
        accuracy = 2e-6 if found[0].dtype == torch.float32 else 1e-13
        # rounding is relative to the terms of the error, which cancel far from the origin
        terms = (s[:, None, None] * Y.abs() @ R[:, :2].mT.abs() + t[:, None].abs() + X.abs()).amax((1, 2)).detach()
        terms = weight.abs() * terms
        assert ((found[0] - X.grad).abs().amax((1, 2)) <= accuracy * terms).all(), name
        assert ((found[1] - Y.grad).abs().amax((1, 2)) <= accuracy * terms * s).all(), name
        if visible is not None:
            assert not found[0][~visible].any() and not found[1][~visible].any()


def test_the_gradient_is_that_of_finite_differences(answers):
    """Through the fit, not with the camera held: the envelope theorem."""
    residual = answers["nudges"][1][3].view(3, 2, 25)
    slope = (residual[:, 0] - residual[:, 1]) / (2 * STEP)
    X, Y = pair(3, 5, seed=7)
    gX, gY = fit_twin.gradient(X, Y, None, *fit_twin.fit(X, Y, None)[:3], torch.ones(3, dtype=torch.float64))
    assert torch.allclose(slope, torch.cat([gX.flatten(1), gY.flatten(1)], 1), rtol=1e-6, atol=1e-7)


def test_an_empty_batch_needs_no_kernel():
    X, Y = torch.zeros(0, 5, 2), torch.zeros(0, 5, 3)
    s, R, t, residual = fit_triton.fit(X, Y)
    assert [list(v.shape) for v in (s, R, t, residual)] == [[0], [0, 3, 3], [0, 2], [0]]
    gX, gY = fit_triton.gradient(X, Y, None, s, R, t, s)
    assert [list(v.shape) for v in (gX, gY)] == [[0, 5, 2], [0, 5, 3]]


def test_it_says_what_it_is_not_made_for():
    with pytest.raises(ValueError, match="up to 256 keypoints of a sample at hand, got 257"):
        fit_triton.fit(torch.zeros(1, 257, 2), torch.zeros(1, 257, 3))
    with pytest.raises(ValueError, match="float16"):
        fit_triton.fit(torch.zeros(1, 5, 2).half(), torch.zeros(1, 5, 3).half())
    with pytest.raises(ValueError, match="float32 and torch.float64"):
        fit_triton.fit(torch.zeros(1, 5, 2), torch.zeros(1, 5, 3).double())


@pytest.mark.parametrize("kernel", ["_fit_kernel", "_gradient_kernel"])
def test_it_compiles_for_a_gpu_without_spilling(kernel, tmp_path, monkeypatch):
    """17 keypoints in float32: everything in registers, nothing exchanged between threads."""
    compiler, backends = pytest.importorskip("triton.compiler"), pytest.importorskip("triton.backends.compiler")
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    if not tool.is_file():
        pytest.skip("this Triton has no compiler for NVIDIA GPUs")
    if tuple(int(v) for v in triton.__version__.split(".")[:2]) < (3, 3):
        pytest.skip("compiling ahead of time was called otherwise before Triton 3.3")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    function = getattr(fit_triton, kernel)
    constants = {"N": 17, "MASKED": False} | (
        {"ROWS": 32, "SAMPLES": 32} if kernel == "_fit_kernel" else {"POINTS": fit_triton.POINTS}
    )
    kinds = {
        name: "constexpr" if name in constants else "i32" if name == "B" else "*fp32" for name in function.arg_names
    }
    source = compiler.ASTSource(function, kinds, {(function.arg_names.index(k),): v for k, v in constants.items()})
    warps = fit_triton.warps(17, torch.float32) if kernel == "_fit_kernel" else 4
    options = {"num_warps": warps, "num_stages": 1, "enable_fp_fusion": True}
    binary = triton.compile(source, target=backends.GPUTarget("cuda", 90, 32), options=options).asm["cubin"]
    (tmp_path / "kernel.cubin").write_bytes(binary)
    used = subprocess.run([tool, "--dump-resource-usage", tmp_path / "kernel.cubin"], capture_output=True, text=True)
    usage = {key: int(value) for key, value in re.findall(r"(REG|STACK|SHARED|LOCAL):(\d+)", used.stdout)}
    assert usage["SHARED"] == usage["LOCAL"] == 0 and usage["REG"] <= 168, usage
    assert usage["STACK"] <= 32, usage  # a few addresses that wait out the float64 branch


if __name__ == "__main__":
    interpret(*sys.argv[1:])
