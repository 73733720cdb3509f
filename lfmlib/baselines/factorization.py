"""Rigid factorization: one shape and all cameras from the singular value decomposition of a stack of pictures."""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lfmlib import geometry
from lfmlib.baselines.linear_shapes import LinearShapes
from lfmlib.data.views import normalise, visible_or_all

PICTURES = 2000  # of the training pictures, evenly spread: a shape needs no more
THIRD = 1e-4  # third singular value over the first: below it pictures differ by a plane's views, or not at all
DETERMINED = 1e-9  # second smallest singular value of the metric constraints over the largest: below it Q is open
DEPTH = 1e-3  # smallest eigenvalue of the metric over the largest: a positive definite one is needed
ROUNDS, SETTLED = 100, 1e-5  # of the completion: at most, and the relative change that ends it
ANYWHERE, NEARLY = 1e3, 1e-7  # variances of a picture's place, and of what a covariance of low rank would exclude
TINY = 1e-12  # squared length of a camera's row that counts as none
NOISE = 0.01  # smallest sd of a picture's coordinates, RMS radii


@runtime_checkable
class FittedBaseline(Protocol):
    """A method that is fitted to all its pictures at once, and then gives new ones a shape each."""

    def fit(
        self, X: Float[Tensor, "F N xy"], visible: Bool[Tensor, "F N"] | None, generator: torch.Generator
    ) -> "FittedBaseline":
        """Learns from pictures of one category.

        Args:
            X: keypoints, image frame; anything where not visible; [F, N, 2].  visible: None = all; [F, N].
            generator: of all that the fit draws.
        Returns:
            Itself.
        """
        ...

    def lift(self, X: Float[Tensor, "B N xy"], visible: Bool[Tensor, "B N"] | None = None) -> Float[Tensor, "B N xyz"]:
        """See `Baseline.lift`."""
        ...


class Factors(NamedTuple):
    """X_f = scale_f shape @ cameras_f^T + a place of its own.

    Args:
        shape: centred, unit RMS radius, handedness arbitrary; [N, 3].
        cameras: first two rows of a rotation; [F, 2, 3].
        scale: in the pictures' unit; [F].
        noise: RMS of what is left over, per coordinate, in units of the shape.
    """

    shape: Tensor
    cameras: Tensor
    scale: Tensor
    noise: float


class Factorization:
    """Rigid structure from motion: all pictures show one shape.

        W = [ x_1; ...; x_F ] = M S,   M in R^{2F x 3},  S in R^{3 x N},   by the three largest singular values
        M Q M^T: rows of a picture alike in length and perpendicular,   Q = G G^T,   cameras M G,  shape G^-1 S

    A new picture is the mean shape under its best camera. What deforms is beyond it.

    Args:
        pictures: used at most, evenly spread.
    Raises:
        ValueError: fewer than 3 pictures are asked for.
    Source: Tomasi and Kanade, "Shape and motion from image streams under orthography", IJCV 1992; scaled orthography
        after Poelman and Kanade, PAMI 1997. Ours: the completion of hidden keypoints (`completed`), and the bound that
        keeps the metric positive definite where deformation makes it indefinite.
    """

    linear: LinearShapes

    def __init__(self, pictures: int = PICTURES) -> None:
        if pictures < 3:
            raise ValueError(f"pictures is {pictures!r}: expected 3 or more")
        self.pictures = pictures

    def fit(
        self, X: Float[Tensor, "F N xy"], visible: Bool[Tensor, "F N"] | None, generator: torch.Generator
    ) -> "Factorization":
        """See `FittedBaseline.fit`; draws nothing.

        Raises:
            ValueError: as `training_pictures` and `factorize`.
        """
        found = factorize(*training_pictures(X, visible, self.pictures))
        none = found.shape.new_zeros(0, *found.shape.shape)
        self.linear = LinearShapes(found.shape, none, none.new_zeros(0), found.noise)
        return self

    def lift(self, X: Float[Tensor, "B N xy"], visible: Bool[Tensor, "B N"] | None = None) -> Float[Tensor, "B N xyz"]:
        """See `Baseline.lift`."""
        return self.linear.lift(X, visible)


def training_pictures(
    X: Float[Tensor, "F N xy"], visible: Bool[Tensor, "F N"] | None, most: int = PICTURES
) -> tuple[Float[Tensor, "G N xy"], Bool[Tensor, "G N"]]:
    """At most so many pictures, evenly spread, normalised as `data.views` has it, in double precision; and their mask.

    Raises:
        ValueError: fewer than 3 pictures or 4 keypoints; a picture with fewer than 3 visible keypoints; a visible
            coordinate that is not finite; a keypoint that is visible in fewer than 3 pictures.
    """
    if X.ndim != 3 or len(X) < 3 or X.shape[1] < 4:
        raise ValueError(f"X has shape {list(X.shape)}: factorization needs 3 pictures of 4 keypoints or more")
    geometry.check_pair(X, X.new_zeros(*X.shape[:2], 3), visible)
    kept = torch.arange(min(most, len(X)), device=X.device) * len(X) // min(most, len(X))
    seen = visible_or_all(visible, X)[kept]
    if bool((seen.sum(0) < 3).any()):
        keypoint = int((seen.sum(0) < 3).nonzero()[0])
        raise ValueError(f"keypoint {keypoint} is visible in {int(seen[:, keypoint].sum())} pictures, expected 3")
    return normalise(X[kept].double(), seen)[0], seen


def completed(X: Float[Tensor, "F N xy"], seen: Bool[Tensor, "F N"]) -> Float[Tensor, "F N xy"]:
    """Pictures with their hidden keypoints where the others lead to expect them, centred on all.

        rows of pictures ~ N(anything 1, C):   W_f = E[ row | seen, C ],   C <- mean of W_f W_f^T + cov[ row | seen, C ]

    The covariance has full rank: completion by a matrix of rank 3 finds wrong ranks where shapes deform.

    Source: expectation-maximisation for a Gaussian with missing values (Dempster, Laird and Rubin, 1977). The free
        place of a picture is ours: a wide prior along (1, .., 1).
    """
    if bool(seen.all()):
        return X
    N, w = X.shape[1], seen.to(X)
    eye = torch.eye(N, dtype=X.dtype, device=X.device)
    centre, hidden = eye - 1 / N, torch.diag_embed(1 - w)
    C = centre
    for _ in range(ROUNDS):
        wide = C + ANYWHERE + NEARLY * eye
        cross = wide * w[:, :, None]  # covariance of what is seen with all, [F, N, N]
        factor = torch.linalg.cholesky(cross * w[:, None] + hidden)
        gain = torch.cholesky_solve(cross, factor)
        W = centre @ (gain.mT @ X)
        rest = (wide * len(X) - torch.einsum("fji,fjk->ik", cross, gain)) * 2  # of both coordinates
        new = (torch.einsum("fnc,fmc->nm", W, W) + centre @ rest @ centre) / (2 * len(X))
        change, C = (new - C).norm() / new.norm(), new
        if change < SETTLED:
            break
    return W


def factorize(X: Float[Tensor, "F N xy"], seen: Bool[Tensor, "F N"]) -> Factors:
    """Shape and cameras that explain pictures of a rigid object.

    Exact without noise, up to the mirror image (shape and cameras turned inside out explain the pictures as well).

    Args:
        X: centred pictures; 0 where not seen; double precision; [F, N, 2].  seen: [F, N].
    Raises:
        ValueError: the pictures hold no depth (all alike up to turns in the picture, or of coplanar points), or too few
            directions of view to tell lengths in depth.
    """
    W = completed(X, seen)
    U, sizes, Vh = torch.linalg.svd(W.mT.flatten(0, 1), full_matrices=False)  # rows: x of picture 1, y of picture 1, ..
    if sizes[2] < THIRD * sizes[0] or sizes[0] == 0:
        raise ValueError(
            f"singular values {[f'{float(v):.2g}' for v in sizes[:3]]}: the pictures are all alike, or the points lie "
            "in a plane; depth is not determined"
        )
    M = U[:, :3].unflatten(0, (-1, 2))  # [F, 2, 3]
    G = torch.linalg.cholesky(metric_upgrade(M))
    M, shape = M @ G, (torch.linalg.inv(G) @ (sizes[:3, None] * Vh[:3])).mT
    radius = shape.square().sum(-1).mean().sqrt()
    cameras, scale = nearest_frames(M)
    left = W - scale[:, None, None] * (shape @ cameras.mT)
    noise = float((left / (scale * radius)[:, None, None])[seen].square().mean().sqrt())
    return Factors(shape / radius, cameras, scale * radius, max(noise, NOISE))


def metric_upgrade(M: Float[Tensor, "F 2 3"]) -> Float[Tensor, "3 3"]:
    """The metric that makes the two rows of each picture perpendicular and alike in length.

        min_{|Q| = 1} sum_f (a_f Q a_f - b_f Q b_f)^2 + (2 a_f Q b_f)^2,   M_f = [a_f; b_f],   Q symmetric

    With the factor 2 a turn of a picture in its plane changes nothing.

    Returns:
        Q, positive definite: eigenvalues below 1e-3 of the largest are raised to it.
    Raises:
        ValueError: several Q fit alike (too few directions of view).
    """
    a, b = M.unbind(1)
    i, j = torch.triu_indices(3, 3).unbind()
    twice = torch.where(i == j, 1.0, 2.0**0.5).to(M)  # so that |q| = |Q|

    def row(p: Tensor, r: Tensor) -> Tensor:
        return (p[:, i] * r[:, j] + p[:, j] * r[:, i]) / 2 * twice

    _, sizes, Vh = torch.linalg.svd(torch.cat((row(a, a) - row(b, b), 2 * row(a, b))), full_matrices=False)
    if sizes[-2] < DETERMINED * sizes[0]:
        raise ValueError("the pictures show too few directions of view: lengths in depth are not determined")
    Q = M.new_zeros(3, 3)
    Q[i, j] = Q[j, i] = Vh[-1] / twice
    values, vectors = torch.linalg.eigh(Q * Q.trace().sign())
    return (vectors * values.clamp_min(DEPTH * values[-1])) @ vectors.mT


def nearest_frames(M: Float[Tensor, "B 2 3"]) -> tuple[Float[Tensor, "B 2 3"], Float[Tensor, " B"]]:
    """Perpendicular unit rows P nearest to M, and the scale: argmin || M - s P ||, without a decomposition.

        P = (M M^T)^(-1/2) M,   s = < M, P > / 2

    Differentiable, also where both rows are alike in length; rows that are 0 give 0, with a finite gradient.
    """
    (a, b), (_, c) = ((M @ M.mT) + TINY * torch.eye(2, dtype=M.dtype, device=M.device)).permute(1, 2, 0)
    root = (a * c - b * b).clamp_min(TINY**2).sqrt()
    inverse = torch.stack((c + root, -b, -b, a + root), -1).unflatten(-1, (2, 2))
    P = inverse @ M / (root * (a + c + 2 * root).sqrt())[:, None, None]
    return P, (M * P).sum((1, 2)) / 2
