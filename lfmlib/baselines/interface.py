"""What a learned baseline is: a 2D-only loss for training and a lift for use. And what all of them share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lfmlib.data.views import Views
from lfmlib.objectives.masked import mean_square


@runtime_checkable
class Baseline(Protocol):
    """A method that learns from 2D pictures alone and then gives each picture a shape.

    Implementations are `nn.Module`s that draw their weights from a generator; `fitting.fit` trains them.
    """

    def loss(self, views: Views, generator: torch.Generator) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Training loss of one batch.

        Args:
            views: pictures; never their truth.
            generator: of all that the loss draws.
        Returns:
            (the weighted sum that is minimised, its terms by name, not weighted and without gradient).
        """
        ...

    def lift(self, X: Float[Tensor, "B N xy"], visible: Bool[Tensor, "B N"] | None = None) -> Float[Tensor, "B N xyz"]:
        """Shapes of pictures, as the network puts them: hidden keypoints included, visible ones not snapped.

        Args:
            X: keypoints, image frame, centred on the visible mean with unit visible RMS; anything where not visible;
                [B, N, 2].
            visible: None = all; [B, N].
        Returns:
            Camera frame (x right, y down, z away) in X's unit, depth centred on the visible keypoints; without
            gradient and with the network in evaluation mode, whatever mode it is in; [B, N, 3].
        """
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """The weights."""
        ...

    def train(self, mode: bool = True) -> nn.Module:
        """Training mode (batch statistics), or evaluation mode."""
        ...


def snapped(
    X: Float[Tensor, "B N xy"], shapes: Float[Tensor, "B N xyz"], visible: Bool[Tensor, "B N"] | None = None
) -> Float[Tensor, "B N xyz"]:
    """Lifted shapes with x and y of the visible keypoints as they were observed.

    Args:
        X: observed keypoints; [B, N, 2].  shapes: camera frame, in X's unit; [B, N, 3].  visible: None = all; [B, N].
    Returns:
        [B, N, 3]; depth, and what is hidden, as given.
    """
    picture = X if visible is None else torch.where(visible[..., None], X, shapes[..., :2])
    return torch.cat((picture, shapes[..., 2:]), -1)


def reprojection_error(baseline: Baseline, views: Views) -> float:
    """How well lifted shapes match their pictures: what settings can be compared by without 3D.

        mean_b 1/|V_b| sum_{i in V_b} || x_bi - P y_bi ||^2

    Blind to depth: the flat answer has 0. So it tells whether training went well, not whether a looser model is better.

    Returns:
        One number in squared units of X (RMS radii of the picture).
    """
    shapes = baseline.lift(views.X, views.visible)
    return float(mean_square(shapes[..., :2] - views.X, views.visible).mean())


def heldout_loss(baseline: Baseline, views: Views, seed: int = 0) -> float:
    """Training loss on pictures that training has not seen, in evaluation mode: the other 2D criterion for settings."""
    with evaluating(baseline):
        return float(baseline.loss(views, torch.Generator().manual_seed(seed))[0])


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """No gradient and evaluation mode inside; the mode that was before afterwards."""
    before = module.training
    module.train(False)
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(before)


def check_weights(**weights: float | int) -> None:
    """Raises ValueError where a weight is negative or not finite (names it)."""
    for name, value in weights.items():
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name} is {value!r}: expected a finite number, 0 or more")
