"""The sleep phase's material: shapes drawn from the posterior of every picture, and the cameras they were seen by."""

from typing import NamedTuple

import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lfmlib.geometry import centred
from lfmlib.recipe.evidence import EStep, Evidence, per_camera
from lfmlib.recipe.shape_model import ShapeModel


class Dreams(NamedTuple):
    """What the pictures of a category are believed to show.

    shapes: S posterior samples per picture, upright frame, one after the other, [S B, N, 3]; azimuth and elevation of
    each picture's camera, radians [B].
    """

    shapes: Tensor
    azimuth: Tensor
    elevation: Tensor


def dream(evidence: Evidence, model: ShapeModel, samples: int, generator: torch.Generator) -> Dreams:
    """Draws shapes from the posterior of each picture under its likeliest camera and Gaussian (Matheron's rule); with
    samples 0 the posterior's mean.

        y ~ N(mu, Sigma),  x~ = P R y + T e + noise,   y + Sigma (P R)^T C^-1 (a x - x~)  is a draw given a x

    Together they are the aggregated posterior: a density of shapes that is closer to the pictures than the mixture.
    """
    found = EStep(evidence, model)
    r, B, M = found.likeliest(), len(evidence), model.means.shape[1]
    shapes = evidence.X.new_zeros(max(1, samples), B, M)
    angles = evidence.X.new_zeros(2, B)
    x = evidence.X.flatten(1)
    for k in range(len(model.means)):
        root = torch.linalg.cholesky(model.covariances[k])
        for picture, camera, pull, _, undo in found.pulls(r, k):
            seen = evidence.visible[picture]
            most_likely = found.shapes(k, camera, pull)
            angles[:, picture] = camera_angles(wobbled(model, found.tangents[k][camera], camera, pull))
            shapes[0, picture] = most_likely
            for s in range(samples):
                dy = _normal(generator, (len(picture), M), x) @ root.mT
                dx = per_camera(camera, found.H.mT, dy)
                e = _normal(generator, (len(picture), 3), x)
                dx = dx + torch.einsum("ba,bpa->bp", e, found.tangents[k][camera])
                dx = dx + model.noise**0.5 * _normal(generator, dx.shape, x)
                dx = centred(dx.unflatten(1, (-1, 2)), seen).flatten(1)
                shapes[s, picture] = most_likely + dy - per_camera(camera, found.spread[k], undo(dx))
    return Dreams(shapes.flatten(0, 1).unflatten(1, (-1, 3)), *angles)


def imagine(model: ShapeModel, count: int, generator: torch.Generator) -> Float[Tensor, "count N 3"]:
    """Shapes from one Gaussian with the mixture's mean and covariance, upright frame."""
    whole = model.collapsed()
    drawn = _normal(generator, (count, whole.means.shape[1]), whole.means)
    return (whole.means + drawn @ torch.linalg.cholesky(whole.covariances[0]).mT).unflatten(1, (-1, 3))


def camera_angles(R: Float[Tensor, "B 3 3"]) -> Float[Tensor, "two B"]:
    """Azimuth and elevation of cameras, radians: inverse of `data.views.view_rotations` but for the roll."""
    away = R[:, 2]  # the viewing direction in the upright frame
    return torch.stack([torch.atan2(-away[:, 0], -away[:, 2]), (-away[:, 1]).clamp(-1, 1).asin()])


def wobbled(
    model: ShapeModel, tangents: Float[Tensor, "B P 3"], camera: Tensor, pull: Float[Tensor, "B P"]
) -> Float[Tensor, "B 3 3"]:
    """Cameras turned from their places on the grid to where the pictures pull them."""
    turn = torch.einsum("bp,bpa->ba", pull, tangents) * pull.new_tensor(model.wobble)  # radians
    axis = torch.einsum("ba,baj->bj", turn, model.axes()[camera])
    return roma.rotvec_to_rotmat(axis) @ model.rotations[camera]


def lift(model: ShapeModel, X: Float[Tensor, "B N xy"], visible: Bool[Tensor, "B N"]) -> Float[Tensor, "B N 3"]:
    """Camera-frame shapes by the shape model itself: posterior mean under the likeliest camera and Gaussian.

    Observed x and y are kept (the snap read-out); depth is centred on what is visible.
    """
    found = EStep(Evidence(X, visible), model)
    r = found.likeliest()
    Y = X.new_zeros(*X.shape[:2], 3)
    for k in range(len(model.means)):
        for picture, camera, pull, *_ in found.pulls(r, k):
            shape = found.shapes(k, camera, pull)
            R = wobbled(model, found.tangents[k][camera], camera, pull)
            scaled = shape.unflatten(1, (-1, 3)) / found.scale[picture, k, camera, None, None]
            Y[picture] = scaled @ R.mT
    Y = Y - torch.where(visible[..., None], Y, 0).sum(1, keepdim=True) / visible.sum(1)[:, None, None]
    return torch.cat([torch.where(visible[..., None], X, Y[..., :2]), Y[..., 2:]], -1)


def _normal(generator: torch.Generator, size: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.randn(size, generator=generator, device=generator.device).to(like)
