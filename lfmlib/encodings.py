"""Index encodings Phi [N, D] that tell tokens apart, and the coordinate encoding TPE.

Every encoding has rows of norm sqrt(D / 2) (the natural norm of D / 2 sine-cosine pairs), so that one encoding weight
alpha, which the model applies, means the same for all of them. Built in float64 on the CPU.
"""

import difflib
import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from lfmlib.rigs import Rig

ENCODINGS = ("vit", "rff", "rff_sqrt2", "rff_mc", "laplacian", "learned", "orthonormal", "none")
RANDOM = ("rff_mc", "learned", "orthonormal")
TIE = 1e-8  # eigenvalues and entries closer than this count as equal: far above float64 noise, far below a rig's gaps


def check_choice(what: str, value: str, allowed: Iterable[str]) -> None:
    """Raises ValueError with near matches where `value` is not one of `allowed`."""
    allowed = tuple(allowed)
    if value not in allowed:
        near = difflib.get_close_matches(str(value), allowed, n=2)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(f"unknown {what} {value!r}: expected one of {', '.join(allowed)}{hint}")


def sinusoid(frequencies: Float[Tensor, " K"], n: int) -> Float[Tensor, "N D"]:
    """Sine and cosine of each frequency at the token indices 0..N-1, interleaved.

        Phi[i, 2k] = sin(w_k i),   Phi[i, 2k + 1] = cos(w_k i)

    Returns:
        [N, 2K]; every row has norm sqrt(K); inner products depend on i - j only.
    Source: Eq. 4. The paper does not say whether i starts at 0 or 1; a shift leaves the Gram matrix as it is.
    """
    angles = torch.arange(n, dtype=frequencies.dtype)[:, None] * frequencies
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)


def vit(n: int, width: int) -> Float[Tensor, "N D"]:
    """The sinusoid of the standard transformer, w_k = 10000^(-2k / D), k = 0..D/2-1; row norm sqrt(D / 2).

    Source: Sec. 3.4.
    """
    k = torch.arange(width // 2, dtype=torch.float64)
    return sinusoid(10000.0 ** (-2 * k / width), n)


def rff(n: int, width: int, sigma: float = 2.5, sqrt2: bool = False) -> Float[Tensor, "N D"]:
    """Analytic random Fourier features: frequencies at evenly spaced quantiles of a Gaussian.

        w_k = sigma erfinv(2k / D),  k = 0..D/2-1

    Args:
        n: tokens. width: D, even.
        sigma: frequency scale, radians per index step.
        sqrt2: multiply w by sqrt(2). As printed the formula gives the quantiles of N(0, sigma^2 / 2), hence the kernel
            exp(-sigma^2 (i - j)^2 / 4); the factor makes it the N(0, sigma^2) that Monte-Carlo features draw from.
    Returns:
        [N, D], row norm sqrt(D / 2). The k = 0 pair is the constant (0, 1).
    Source: Sec. 3.4.
    """
    k = torch.arange(width // 2, dtype=torch.float64)
    return sinusoid(sigma * (math.sqrt(2) if sqrt2 else 1.0) * torch.erfinv(2 * k / width), n)


def rff_mc(n: int, width: int, sigma: float, generator: torch.Generator) -> Float[Tensor, "N D"]:
    """Monte-Carlo random Fourier features, w_k ~ N(0, sigma^2); row norm sqrt(D / 2).

    Source: the baseline that Sec. 3.4 replaces by quantiles.
    """
    return sinusoid(sigma * torch.randn(width // 2, dtype=torch.float64, generator=generator), n)


def laplacian_matrix(rig: Rig) -> Float[Tensor, "N N"]:
    """Symmetrically normalised graph Laplacian of the rig's edges, float64.

        L = S - D^(-1/2) A D^(-1/2),   S = 1 on keypoints that have an edge, 0 on isolated ones

    Returns:
        [N, N]; eigenvalues in [0, 2]; the zero matrix for a rig without edges.
    Source: Sec. 3.4 "Graph PE"; the normalisation is not printed, this is the one of the work that it cites.
    """
    adjacency = torch.zeros(rig.n, rig.n, dtype=torch.float64)
    for a, b in rig.edges:
        adjacency[a, b] = adjacency[b, a] = 1.0
    degree = adjacency.sum(1)
    half = torch.where(degree > 0, degree, 1.0).rsqrt()
    return torch.diag((degree > 0).double()) - half[:, None] * adjacency * half


def laplacian_eigen(rig: Rig) -> tuple[Float[Tensor, " N"], Float[Tensor, "N N"]]:
    """Eigenvalues (ascending) and eigenvectors (columns) of `laplacian_matrix`, the same on every machine.

    An eigensolver leaves signs, and whole bases of repeated eigenvalues, to chance; only the projector onto an
    eigenspace is unique. So the basis is read off the projector: its column with the largest diagonal entry (the first
    of equals), normalised; that direction is removed; and so on. For a simple eigenvalue this is the eigenvector whose
    largest entry is positive; for a rig without edges it is the identity.

    Returns:
        values [N], vectors [N, N] with orthonormal columns, float64.
    """
    values, vectors = torch.linalg.eigh(laplacian_matrix(rig))
    start = 0
    for stop in range(1, rig.n + 1):
        if stop < rig.n and values[stop] - values[stop - 1] < TIE:
            continue
        projector = vectors[:, start:stop] @ vectors[:, start:stop].T
        for column in range(start, stop):
            diagonal = projector.diagonal()
            pivot = int((diagonal > diagonal.max() - TIE).nonzero()[0])
            direction = projector[:, pivot] / projector[:, pivot].norm()
            vectors[:, column] = direction
            projector = projector - torch.outer(direction, direction)
        values[start:stop] = values[start:stop].mean()
        start = stop
    return values, vectors


def laplacian(rig: Rig, width: int) -> Float[Tensor, "N D"]:
    """Graph encoding: Laplacian eigenvectors, once plain and once damped by their eigenvalue, repeated to fill D.

        Phi = rows of [V, V (1 - lambda / 2), V, V (1 - lambda / 2), ...][:, :D], scaled to norm sqrt(D / 2)

    The plain half alone would be an orthonormal code that knows nothing of the graph (V V^T = I); the damped half is a
    step of a lazy random walk and makes neighbours alike. Repeating serves every attention head, low frequencies first.

    Args:
        rig: edges may form several components or be absent.
        width: D; below N the highest frequencies are cut.
    Returns:
        [N, D], row norm sqrt(D / 2); a keypoint without part in the kept eigenvectors (width < N only) is 0.
    Source: Sec. 3.4 "Graph PE" (eigenvectors and eigenvalues; how they are combined is not printed).
    """
    values, vectors = laplacian_eigen(rig)
    block = torch.cat((vectors, vectors * (1 - values / 2)), dim=1)
    return _unit_rows(block.repeat(1, -(-width // block.shape[1]))[:, :width]) * math.sqrt(width / 2)


def orthonormal(n: int, width: int, generator: torch.Generator) -> Float[Tensor, "N D"]:
    """Random orthogonal rows (Haar), norm sqrt(D / 2); for N > D rows of norm sqrt(D / 2) of a random tight frame."""
    q, r = torch.linalg.qr(torch.randn(max(n, width), min(n, width), dtype=torch.float64, generator=generator))
    q = q * torch.where(r.diagonal() < 0, -1.0, 1.0)
    return _unit_rows(q.T if n <= width else q) * math.sqrt(width / 2)


def learned(n: int, width: int, generator: torch.Generator) -> Float[Tensor, "N D"]:
    """First values of a learned table, entries ~ N(0, 1/2), so that the expected squared row norm is D / 2."""
    return torch.randn(n, width, dtype=torch.float64, generator=generator) * math.sqrt(0.5)


def encode(
    kind: str,
    rig: Rig,
    width: int,
    *,
    sigma: float = 2.5,
    generator: torch.Generator | None = None,
    n_max: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "N D"]:
    """Index encoding Phi of a rig's keypoints, by name.

    Args:
        kind: one of `ENCODINGS`.
        rig: the category; only `laplacian` looks at its edges, the others at its number of keypoints.
        width: D, even.
        sigma: frequency scale of the rff family.
        generator: CPU generator, needed by the kinds in `RANDOM`.
        n_max: pad with rows of 0 to this many keypoints (default: no padding).
        dtype: of the result; rounding to float32 hides condition numbers above 1e8.
    Returns:
        [N, D] or [n_max, D], rows of norm sqrt(D / 2) (`learned`: in expectation; `none`: 0).
    Raises:
        ValueError: unknown kind; odd width; n_max below the rig's size; a random kind without generator; a Laplacian of
            a rig without edges.
    Source: Sec. 3.4.
    """
    check_choice("encoding", kind, ENCODINGS)
    if width < 2 or width % 2:
        raise ValueError(f"encoding width is {width}: expected an even number, 2 or more (sine-cosine pairs)")
    if n_max is not None and n_max < rig.n:
        raise ValueError(f"n_max is {n_max}, but rig {rig.name!r} has {rig.n} keypoints")
    if kind in RANDOM and generator is None:
        raise ValueError(f"encoding {kind!r} is random: pass a torch.Generator")
    if kind == "vit":
        phi = vit(rig.n, width)
    elif kind in ("rff", "rff_sqrt2"):
        phi = rff(rig.n, width, sigma, sqrt2=kind == "rff_sqrt2")
    elif kind == "rff_mc":
        phi = rff_mc(rig.n, width, sigma, generator)
    elif kind == "laplacian":
        if not rig.edges:
            raise ValueError(f"rig {rig.name!r} has no edges: the encoding 'laplacian' needs a graph")
        phi = laplacian(rig, width)
    elif kind == "learned":
        phi = learned(rig.n, width, generator)
    elif kind == "orthonormal":
        phi = orthonormal(rig.n, width, generator)
    else:
        phi = torch.zeros(rig.n, width, dtype=dtype)
    padded = torch.zeros(n_max or rig.n, width, dtype=dtype)
    padded[: rig.n] = phi
    return padded


def draw_tpe(
    width: int, sigma: float, generator: torch.Generator
) -> tuple[Float[Tensor, "2 K"], Float[Tensor, " K"]]:
    """Frequencies w ~ N(0, sigma^2) and phases b ~ U[0, 2 pi) of `tpe`, drawn once; K = D / 2, float32."""
    w = sigma * torch.randn(2, width // 2, generator=generator)
    return w, 2 * math.pi * torch.rand(width // 2, generator=generator)


def tpe(X: Float[Tensor, "*B 2"], w: Float[Tensor, "2 K"], b: Float[Tensor, " K"]) -> Float[Tensor, "*B D"]:
    """Token positional encoding: fixed random Fourier features of the 2D coordinates.

        TPE(x) = sqrt(2 / D) [sin(x w + b); cos(x w + b)],   D = 2K

    Args:
        X: keypoints, image frame, unit RMS; [..., 2]. w, b: from `draw_tpe`.
    Returns:
        [..., D], rows of norm 1.
    Source: Eq. 5, after 3D-LFM; neither prints the distribution of w and b: Gaussian and uniform here.
    """
    phase = torch.addmm(b, X.reshape(-1, 2), w).view(*X.shape[:-1], -1)
    return torch.cat((phase.sin(), phase.cos()), dim=-1) * math.sqrt(1 / b.shape[0])


def neighbour_similarity(phi: Float[Tensor, "N D"]) -> float:
    """Mean cosine between the encodings of adjacent indices i, i + 1: near 1, adjacent tokens look the same."""
    rows = _unit_rows(phi.double())
    return float((rows[1:] * rows[:-1]).sum(-1).mean())


def condition_number(phi: Float[Tensor, "N D"]) -> float:
    """Largest over smallest of the min(N, D) singular values: how hard single tokens are to read out linearly.

    Returns:
        1 for orthogonal rows of equal norm; inf where the rows are linearly dependent to the precision given.
    """
    values = torch.linalg.svdvals(phi)
    return float(values[0] / values[-1]) if float(values[-1]) > 0 else math.inf


def _unit_rows(rows: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
    norm = rows.norm(dim=-1, keepdim=True)
    return torch.where(norm > TIE, rows / norm.clamp_min(TIE), 0.0)
