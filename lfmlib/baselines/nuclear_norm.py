"""Non-rigid factorization: the shapes of least nuclear norm that explain the pictures under the rigid cameras."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lfmlib import geometry
from lfmlib.baselines.factorization import NOISE, PICTURES, factorize, training_pictures
from lfmlib.baselines.interface import check_weights
from lfmlib.baselines.linear_shapes import LinearShapes


class NuclearNorm:
    """Shapes as alike as their pictures allow: cameras first, then shapes, each by one problem with one solution.

        s_f, R_f: by rigid factorization
        min over Y in R^{F x 3N} of  1/2 sum_{(f, i) seen} || x_fi / s_f - P R_f y_fi - t_f ||^2 + w || Y - mean Y ||_*
        w = threshold sqrt(F)

    A new picture is explained by the shapes' mean and principal directions, see `LinearShapes.lift`.

    Args:
        threshold: spread along a direction of shape space that costs more than it explains, RMS radii (the unit of Y).
        modes: principal directions that are kept, at most.
        iterations: of the accelerated proximal gradient.
        pictures: used at most, evenly spread.
    Raises:
        ValueError: a threshold that is negative or not finite; modes or iterations below 1, pictures below 3.
    Source: Dai, Li and He, "A simple prior-free method for non-rigid structure-from-motion factorization", CVPR 2012:
        the nuclear norm of the F x 3N matrix of shapes, its thresholding by fixed-point continuation; the linear model
        is Bregler's (CVPR 2000). Different here: cameras come from the rigid factorization and not from one of rank
        3K, so that objects without a rigid core are beyond it; the mean shape is free of charge; one threshold; scaled
        orthography and hidden keypoints. Ours: the threshold (3D errors of three categories hardly
        change from 0.02 to 0.07), and lifting pictures that were not in the fit.
    """

    linear: LinearShapes

    def __init__(
        self, threshold: float | int = 0.05, modes: int = 10, iterations: int = 200, pictures: int = PICTURES
    ) -> None:
        check_weights(threshold=threshold)
        for name, number, least in (("modes", modes, 1), ("iterations", iterations, 1), ("pictures", pictures, 3)):
            if number < least:
                raise ValueError(f"{name} is {number!r}: expected {least} or more")
        self.threshold, self.modes, self.iterations, self.pictures = threshold, modes, iterations, pictures

    def fit(
        self, X: Float[Tensor, "F N xy"], visible: Bool[Tensor, "F N"] | None, generator: torch.Generator
    ) -> "NuclearNorm":
        """See `FittedBaseline.fit`; draws nothing.

        Raises:
            ValueError: as `training_pictures` and `factorize`.
        """
        X, seen = training_pictures(X, visible, self.pictures)
        rigid = factorize(X, seen)
        X = X / rigid.scale[:, None, None]
        shapes = low_rank_shapes(
            X, seen, rigid.cameras, rigid.shape, self.threshold * math.sqrt(len(X)), self.iterations
        )
        left = geometry.centred(X - shapes @ rigid.cameras.mT, seen)[seen]
        self.linear = LinearShapes.of(shapes, self.modes, max(float(left.square().mean().sqrt()), NOISE))
        return self

    def lift(self, X: Float[Tensor, "B N xy"], visible: Bool[Tensor, "B N"] | None = None) -> Float[Tensor, "B N xyz"]:
        """See `Baseline.lift`."""
        return self.linear.lift(X, visible)


def low_rank_shapes(
    X: Float[Tensor, "F N xy"],
    seen: Bool[Tensor, "F N"],
    cameras: Float[Tensor, "F 2 3"],
    start: Float[Tensor, "N 3"],
    weight: float,
    iterations: int = 200,
) -> Float[Tensor, "F N xyz"]:
    """argmin_Y 1/2 sum_seen || x_fi - P R_f y_fi - t_f ||^2 + weight || Y - mean Y ||_*, convex, by FISTA with step 1.

    Args:
        X: pictures in the shapes' unit; [F, N, 2].  seen: [F, N].  cameras: P R; [F, 2, 3].
        start: of every shape; [N, 3].  weight, iterations: see the equation.
    Source: Beck and Teboulle, "A fast iterative shrinkage-thresholding algorithm", 2009. The step is exact: P R has
        perpendicular unit rows, so the picture's term has curvature 1.
    """
    Y = ahead = start.expand(len(X), -1, -1)
    momentum = 1.0
    for _ in range(iterations):
        left = geometry.centred(X - ahead @ cameras.mT, seen)  # centred: each picture has its best place
        new = shrunk(ahead + left @ cameras, weight)
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + (momentum - 1) / following * (new - Y)
        Y, momentum = new, following
    return Y


def shrunk(shapes: Float[Tensor, "F N xyz"], weight: float) -> Float[Tensor, "F N xyz"]:
    """Proximal map of weight || Y - mean Y ||_*: singular values of the deviations less `weight`, at least 0."""
    mean = shapes.mean(0)
    Z = (shapes - mean).flatten(1)
    squares, V = torch.linalg.eigh(Z.mT @ Z)
    sizes = squares.clamp_min(0).sqrt()
    left = (1 - weight / sizes.clamp_min(torch.finfo(sizes.dtype).tiny)).clamp_min(0)
    return mean + (Z @ (V * left) @ V.mT).view_as(shapes)
