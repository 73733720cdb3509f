"""A category's shapes as a mixture of Gaussians, seen by cameras on a grid."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class ShapeModel:
    """Density of a category's shapes and of its pictures.

        k ~ w,   y ~ N(mu_k, Sigma_k),   g ~ cameras,   a x = P R_g y + T_kg e + noise,   e ~ N(0, I_3),   a > 0 free

    T_kg e is what a small turn of the camera away from its place on the grid does to the mean shape's picture.

    Args:
        means: mu, upright frame, unit RMS radius on average; [K, 3N].
        covariances: Sigma; [K, 3N, 3N].
        weights: log w; [K].
        noise: variance of a picture's keypoints, squared RMS radii of the shape.
        rotations: R, upright to camera frame; [G, 3, 3].
        cameras: log-probability of each; [G].
        wobble: sd of a camera about its place along the azimuth, the elevation and the roll, radians.
    """

    means: Float[Tensor, "K M"]
    covariances: Float[Tensor, "K M M"]
    weights: Float[Tensor, " K"]
    noise: float
    rotations: Float[Tensor, "G 3 3"]
    cameras: Float[Tensor, " G"]
    wobble: tuple[float, float, float]

    @property
    def keypoints(self) -> int:
        """N."""
        return self.means.shape[1] // 3

    def projections(self) -> Float[Tensor, "G P M"]:
        """P R_g for all keypoints at once; [G, 2N, 3N]."""
        N, P = self.keypoints, self.rotations[:, :2]
        eye = torch.eye(N, dtype=P.dtype, device=P.device)
        return torch.einsum("gcj,nm->gncmj", P, eye).reshape(len(P), 2 * N, 3 * N)

    def axes(self) -> Float[Tensor, "G axes 3"]:
        """What a camera wobbles about, in its own frame: the vertical, the picture's x, the viewing direction."""
        R = self.rotations
        x, z = (R.new_tensor(v).expand(len(R), 3) for v in ((1, 0, 0), (0, 0, 1)))
        return torch.stack([R[:, :, 1], x, z], 1)

    def tangents(self) -> Float[Tensor, "K G P axes"]:
        """T: how the mean shape's picture moves per sd of the wobble; [K, G, 2N, 3]."""
        shapes = torch.einsum("gij,knj->kgni", self.rotations, self.means.unflatten(1, (-1, 3)))  # camera frame
        turn = self.axes() * self.means.new_tensor(self.wobble)[:, None]  # [G, 3, 3]
        size = (3, *shapes.shape)
        moved = torch.linalg.cross(turn.permute(1, 0, 2)[:, None, :, None].expand(size), shapes.expand(size))
        return moved[..., :2].flatten(3).permute(1, 2, 3, 0)

    def collapsed(self) -> "ShapeModel":
        """One Gaussian with the mixture's mean and covariance."""
        w = self.weights.exp()
        mean = w @ self.means
        apart = self.means - mean
        covariance = (w[:, None, None] * self.covariances).sum(0) + (apart * w[:, None]).mT @ apart
        return replace(self, means=mean[None], covariances=covariance[None], weights=w.sum()[None].log())

    def mirrored(self) -> "ShapeModel":
        """The mirror image in the upright frame's x-y plane: explains every picture as well, from the other side."""
        sign = self.means.new_tensor([1.0, 1.0, -1.0]).repeat(self.keypoints)
        flip = torch.diag(self.means.new_tensor([1.0, 1.0, -1.0]))
        return replace(
            self, means=self.means * sign, covariances=self.covariances * sign[:, None] * sign,
            rotations=flip @ self.rotations @ flip,
        )  # fmt: skip
