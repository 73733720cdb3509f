"""Shapes as a mean and a few directions with a Gaussian prior, and how a new picture is explained by them."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lfmlib import geometry
from lfmlib.data.views import visible_or_all
from lfmlib.objectives.fitting import read_out
from lfmlib.objectives.masked import cleaned

STARTS, ROUNDS = 2, 20  # directions that a picture starts along, both ways; rounds of camera and coefficients


class LinearShapes(NamedTuple):
    """y = mean + sum_k c_k modes_k,  c_k ~ N(0, sd_k^2).

    Args:
        mean: [N, 3].
        modes: orthonormal as vectors of 3N numbers; none for a rigid object; [K, N, 3].
        sd: of the coefficients, largest first; [K].
        noise: sd of a picture's coordinates about the projected shape, in the shape's unit.
    """

    mean: Float[Tensor, "N 3"]
    modes: Float[Tensor, "K N 3"]
    sd: Float[Tensor, " K"]
    noise: float

    @staticmethod
    def of(shapes: Float[Tensor, "F N 3"], count: int, noise: float) -> "LinearShapes":
        """Mean and principal directions of shapes in one frame; those without spread are left out.

        Args:
            shapes: [F, N, 3].  count: K, at most.  noise: see the class.
        """
        mean = shapes.mean(0)
        Z = (shapes - mean).flatten(1)
        squares, vectors = torch.linalg.eigh(Z.mT @ Z / len(Z))  # ascending
        sd = squares.clamp_min(0).sqrt().flip(0)[:count]
        kept = sd > 1e-6 * mean.norm()
        return LinearShapes(mean, vectors.flip(1).mT[:count][kept].unflatten(1, mean.shape), sd[kept], noise)

    def lift(self, X: Float[Tensor, "B N xy"], visible: Bool[Tensor, "B N"] | None = None) -> Float[Tensor, "B N xyz"]:
        """The likeliest shape of each picture, under its best camera.

            min over c, s, R, t of  sum_{i visible} || x_i - s P R y_i(c) - t ||^2 / (s noise)^2 + sum_k (c_k / sd_k)^2

        Camera (exact) and coefficients (ridge regression, closed form) take turns, from the mean shape and from one sd
        along each of the first two directions, both ways; the best of the five is kept.

        Args, Returns: as `Baseline.lift`; the same for a picture whatever its batch.
        Raises:
            ValueError: as `geometry.fit_camera`.
        """
        geometry.check_pair(X, X.new_zeros(*X.shape[:2], 3), visible)
        kind = X.dtype
        X, seen = cleaned(X, visible).to(self.mean), visible_or_all(visible, X)
        best, least = None, None
        for start in self._starts():
            c = start.expand(len(X), -1)
            for _ in range(ROUNDS if len(self.sd) else 0):
                c = self._coefficients(X, seen, geometry.solve_camera(X, self.shapes(c), seen))
            Y = self.shapes(c)
            camera = geometry.solve_camera(X, Y, seen)
            cost = self._cost(X, seen, c, Y, camera)
            shapes = read_out(X, Y, camera, seen)
            better = None if best is None else cost < least
            best = shapes if best is None else torch.where(better[:, None, None], shapes, best)
            least = cost if least is None else torch.where(better, cost, least)
        return best.to(kind)

    def shapes(self, c: Float[Tensor, "B K"]) -> Float[Tensor, "B N xyz"]:
        """mean + sum_k c_k modes_k."""
        return self.mean + torch.einsum("bk,knj->bnj", c, self.modes)

    def _starts(self) -> list[Tensor]:
        rows = torch.diag(self.sd)[: min(STARTS, len(self.sd))]
        return [torch.zeros_like(self.sd), *rows, *-rows]

    def _coefficients(self, X: Tensor, seen: Tensor, camera: geometry.Camera) -> Tensor:
        """Ridge regression of the picture, in the shape's unit, on the projected directions; both centred."""
        P = camera.R[:, :2]
        A = torch.einsum("bcj,knj->bnck", P, self.modes)
        rest = X / camera.s.clamp_min(1e-6)[:, None, None] - self.mean @ P.mT
        A, rest = (geometry.centred(v.flatten(2), seen).flatten(1).unflatten(1, (-1, size))
                   for v, size in ((A, len(self.sd)), (rest, 1)))  # fmt: skip
        normal = A.mT @ A + torch.diag((self.noise / self.sd).square())
        return torch.linalg.solve(normal, A.mT @ rest)[..., 0]

    def _cost(self, X: Tensor, seen: Tensor, c: Tensor, Y: Tensor, camera: geometry.Camera) -> Tensor:
        apart = cleaned(geometry.project(Y, camera) - X, seen).square().sum((1, 2))
        return apart / (camera.s.clamp_min(1e-6) * self.noise).square() + (c / self.sd).square().sum(1)
