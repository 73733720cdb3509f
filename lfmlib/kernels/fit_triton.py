"""The exact orthographic fit and its gradient on CUDA: one fused kernel each, in Triton.

A thread fits a whole sample with its keypoints in registers (several warps share one where there are many keypoints),
so a sample is read once and its camera and residual are all that is written.

float32 samples take `fit_torch`'s short way in float32. What it cannot prove there, or what float32's moments are too
coarse for (views along an elongated shape, extreme units), is done again in float64, moments included, in a branch
that a block without such a sample skips. float64 samples always take that branch's way.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
import triton
import triton.language as tl
from jaxtyping import Bool, Float
from torch import Tensor

from lfmlib.kernels.fit_triton_samples import fit_double, fit_single
from lfmlib.kernels.fit_triton_solve import dot
from lfmlib.kernels.triton_jit import jit

MOST_KEYPOINTS = 256
SAMPLES = 32  # per program: the threads of a warp
POINTS = 512  # keypoints per program of the gradient
KEPT, KEPT_ALONE = 16, 20  # keypoints of a sample that a thread keeps in registers, shared with others or alone


def fit(
    X: Float[Tensor, "B N 2"], Y: Float[Tensor, "B N 3"], visible: Bool[Tensor, "B N"] | None = None
) -> tuple[Float[Tensor, " B"], Float[Tensor, "B 3 3"], Float[Tensor, "B 2"], Float[Tensor, " B"]]:
    """Weak-perspective pose of a known shape and what it leaves, Eq. 1's inner minimum, in one kernel.

        s*, R*, t* = argmin sum_{i visible} || x_i - s P R y_i - t ||^2,   P = [I | 0],  s >= 0,  R in SO(3)

    Semantics are those of `geometry.solve_camera` and `geometry.reprojection`. It never waits for the GPU, so it can
    be captured in a CUDA graph.

    Args:
        X: observed keypoints, image frame, any unit, float32 or float64; [B, N, 2], N at most 256.
        Y: canonical shape, any unit; [B, N, 3].
        visible: keypoints that take part, None = all; what is not visible may hold NaN; [B, N].
    Returns:
        s [B], R [B, 3, 3], t [B, 2] and the residual sum of squares [B], without gradient. A sample that is not
        finite gets a result that is not finite.
    Raises:
        ValueError: more keypoints or another dtype than the kernel is made for.
    Source: Eq. 1; the solver is `fit_torch`'s.
    """
    X, Y, mask = _prepared(X, Y, visible)
    B, N = X.shape[:2]
    s, residual = X.new_empty(B), X.new_empty(B)
    R, t = X.new_empty(B, 3, 3), X.new_empty(B, 2)
    if B:
        with _device_of(X):
            _fit_kernel[(triton.cdiv(B, SAMPLES),)](
                X, Y, mask, s, R, t, residual, B, N=N, ROWS=triton.next_power_of_2(N), MASKED=visible is not None,
                SAMPLES=SAMPLES, num_warps=warps(N, X.dtype), num_stages=1, enable_fp_fusion=True,
            )  # fmt: skip
    return s, R, t, residual


def gradient(
    X: Float[Tensor, "B N 2"],
    Y: Float[Tensor, "B N 3"],
    visible: Bool[Tensor, "B N"] | None,
    s: Float[Tensor, " B"],
    R: Float[Tensor, "B 3 3"],
    t: Float[Tensor, "B 2"],
    weight: Float[Tensor, " B"],
) -> tuple[Float[Tensor, "B N 2"], Float[Tensor, "B N 3"]]:
    """Gradient of sum_b weight_b residual_b by the envelope theorem: the camera is held fixed at its optimum.

        e_i = s P R y_i + t - x_i,   d/dx_i = -2 w e_i,   d/dy_i = 2 w s (P R)^T e_i,   0 where not visible

    Args:
        X, Y, visible: as in `fit`.
        s, R, t: the camera that `fit` returned.
        weight: incoming gradient of each residual; [B].
    Returns:
        Gradients in X [B, N, 2] and in Y [B, N, 3].
    Raises:
        ValueError: as in `fit`.
    """
    X, Y, mask = _prepared(X, Y, visible)
    B, N = X.shape[:2]
    gX, gY = torch.empty_like(X), torch.empty_like(Y)
    if B:
        s, R, t, weight = (v.detach().contiguous() for v in (s, R, t, weight))
        with _device_of(X):
            _gradient_kernel[(triton.cdiv(B * N, POINTS),)](
                X, Y, mask, s, R, t, weight, gX, gY, B, N=N, MASKED=visible is not None, POINTS=POINTS,
                enable_fp_fusion=True,
            )  # fmt: skip
    return gX, gY


def warps(N: int, dtype: torch.dtype) -> int:
    """Warps that share a block of samples, so that the keypoints stay in registers."""
    return 1 if N <= KEPT_ALONE or dtype == torch.float64 else triton.next_power_of_2(N) // KEPT


def _prepared(X: Tensor, Y: Tensor, visible: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    if X.dtype not in (torch.float32, torch.float64) or Y.dtype != X.dtype:
        raise ValueError(f"X and Y must both be float32 or float64, got {X.dtype} and {Y.dtype}")
    if X.shape[1] > MOST_KEYPOINTS:
        raise ValueError(f"the kernel keeps up to {MOST_KEYPOINTS} keypoints of a sample at hand, got {X.shape[1]}")
    X, Y = X.detach().contiguous(), Y.detach().contiguous()
    return X, Y, X if visible is None else visible.contiguous().view(torch.uint8)


def _device_of(X: Tensor) -> AbstractContextManager:
    """Makes X's GPU the current one, on which Triton launches; Triton's interpreter needs none."""
    return torch.cuda.device(X.device) if X.is_cuda else nullcontext()


# compiled once per dtype, keypoint count and kind of mask: neither batch size nor alignment matters to it
@jit(do_not_specialize=["X", "Y", "mask", "s_out", "R_out", "t_out", "residual_out", "B"])
def _fit_kernel(
    X, Y, mask, s_out, R_out, t_out, residual_out, B,
    N: tl.constexpr, ROWS: tl.constexpr, MASKED: tl.constexpr, SAMPLES: tl.constexpr,
):  # fmt: skip
    start = tl.program_id(0).to(tl.int64) * SAMPLES
    index = start + tl.arange(0, SAMPLES)
    sample = tl.minimum(index, B - 1)  # the last block repeats its last sample
    left = index < B
    if X.dtype.element_ty == tl.float32:
        left = fit_single(
            X, Y, mask, s_out, R_out, t_out, residual_out, sample, left, start, B, N, ROWS, MASKED, SAMPLES
        )
    if tl.max(tl.where(left, 1, 0), 0) > 0:
        fit_double(X, Y, mask, s_out, R_out, t_out, residual_out, sample, left, N, MASKED)


@jit(do_not_specialize=["X", "Y", "mask", "s_in", "R_in", "t_in", "weight_in", "gX", "gY", "B"])
def _gradient_kernel(
    X, Y, mask, s_in, R_in, t_in, weight_in, gX, gY, B, N: tl.constexpr, MASKED: tl.constexpr, POINTS: tl.constexpr
):
    start = tl.program_id(0).to(tl.int64) * POINTS
    first = start // N  # sample of the block's first keypoint: the long division is done once
    offset = (start - first * N).to(tl.int32) + tl.arange(0, POINTS)
    sample = first + offset // N
    point = start + tl.arange(0, POINTS)
    ours = sample < B
    seen = ours
    if MASKED:
        seen = ours & (tl.load(mask + point, mask=ours, other=0) != 0)
    x0, x1 = tl.load(X + 2 * point, mask=seen, other=0.0), tl.load(X + 2 * point + 1, mask=seen, other=0.0)
    y0, y1 = tl.load(Y + 3 * point, mask=seen, other=0.0), tl.load(Y + 3 * point + 1, mask=seen, other=0.0)
    y2 = tl.load(Y + 3 * point + 2, mask=seen, other=0.0)
    s = tl.load(s_in + sample, mask=ours, other=0.0)
    R_in += 9 * sample
    a0, a1 = s * tl.load(R_in, mask=ours, other=0.0), s * tl.load(R_in + 1, mask=ours, other=0.0)
    a2, b0 = s * tl.load(R_in + 2, mask=ours, other=0.0), s * tl.load(R_in + 3, mask=ours, other=0.0)
    b1, b2 = s * tl.load(R_in + 4, mask=ours, other=0.0), s * tl.load(R_in + 5, mask=ours, other=0.0)
    t0 = tl.load(t_in + 2 * sample, mask=ours, other=0.0)
    t1 = tl.load(t_in + 2 * sample + 1, mask=ours, other=0.0)
    twice = 2 * tl.load(weight_in + sample, mask=ours, other=0.0)
    e0 = tl.where(seen, twice * (dot(a0, a1, a2, y0, y1, y2) + t0 - x0), 0.0)
    e1 = tl.where(seen, twice * (dot(b0, b1, b2, y0, y1, y2) + t1 - x1), 0.0)
    tl.store(gX + 2 * point, -e0, mask=ours)
    tl.store(gX + 2 * point + 1, -e1, mask=ours)
    tl.store(gY + 3 * point, tl.where(seen, a0 * e0 + b0 * e1, 0.0), mask=ours)
    tl.store(gY + 3 * point + 1, tl.where(seen, a1 * e0 + b1 * e1, 0.0), mask=ours)
    tl.store(gY + 3 * point + 2, tl.where(seen, a2 * e0 + b2 * e1, 0.0), mask=ours)
