"""What the terms pass to one another: batches of pictures, and batches of lifted shapes."""

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor

from lfmlib.geometry import Camera


@runtime_checkable
class Pictures(Protocol):
    """A batch of 2D views, and all that training may see: X [B, N, 2], visible [B, N] or None, category [B]."""

    X: Tensor
    visible: Tensor | None
    category: Tensor


class NewViews(NamedTuple):
    """Pictures of turned shapes, without gradient."""

    X: Float[Tensor, "B N 2"]
    visible: Bool[Tensor, "B N"]
    category: Int[Tensor, " B"]


class Lifted(NamedTuple):
    """Shapes in the camera frame (as read out) and in the canonical frame (normalised).

    R leads from the canonical to the camera frame; `camera` is the fit, None for a depth network (nothing to fit).
    """

    camera_frame: Float[Tensor, "B N 3"]
    canonical: Float[Tensor, "B N 3"]
    R: Float[Tensor, "B 3 3"]
    camera: Camera | None
