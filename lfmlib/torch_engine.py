"""One batch of keypoints to shapes in PyTorch, on any device: normalise, network, fit, read-out."""

import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from lfmlib import geometry
from lfmlib.data.views import normalise
from lfmlib.evaluation import fit
from lfmlib.model import Lifter
from lfmlib.objectives import ObjectiveConfig
from lfmlib.objectives.fitting import observed_with_depth, read_out
from lfmlib.objectives.masked import mean_square

_log = logging.getLogger(__name__)


class Batch(NamedTuple):
    """Results of a batch, see `lifting.Lifted`; an engine writes them where the caller wants them."""

    shapes: Tensor  # [B, N, 3]
    canonical: Tensor  # [B, N, 3]
    residual: Tensor  # [B]


@runtime_checkable  # tests check types
class Engine(Protocol):
    """What turns checked keypoints into shapes."""

    def __call__(self, keypoints: Tensor, visible: Tensor | None, category: int, kind: str, result: Batch) -> None:
        """Lifts one batch.

        Args:
            keypoints: any unit, float32 or float64 [B, N, 2].  visible: None = all; [B, N].
            category: index of the category that they all show.  kind: read-out, snap or fit.
            result: contiguous, of the type and device of the keypoints; overwritten.
        """

    def plainly_good(self, keypoints: Tensor, visible: Tensor | None) -> bool:
        """Whether every sample is fit to be lifted, at a glance; False may be a false alarm."""


class TorchEngine:
    """Plain PyTorch.

    Args:
        network: the lifter, or the lifter compiled.
        objective: decides the camera, and whether there is one.
    """

    def __init__(self, network: "Lifter | Compiled", objective: ObjectiveConfig) -> None:
        self.network, self.objective = network, objective

    @torch.inference_mode()
    def __call__(self, keypoints: Tensor, visible: Tensor | None, category: int, kind: str, result: Batch) -> None:
        """See `Engine`."""
        parameter = self.network.category
        given = keypoints.to(parameter.device, torch.float64)  # pixels far from the origin keep their digits
        visible = None if visible is None else visible.to(parameter.device)
        X, mean, rms = normalise(given, visible)
        X = X.to(parameter.dtype)
        Y = self.network(X, visible, torch.full((len(X),), category, device=X.device))
        if self.objective.output == "depth":
            shapes = Y = observed_with_depth(X, Y, visible)
            residual = torch.zeros_like(rms)
        else:
            camera = fit(X, Y, visible, self.objective.camera)
            shapes = read_out(X, Y, camera, visible, kind)
            residual = mean_square(geometry.project(Y, camera) - X, visible).sqrt() * rms
        shapes = shapes.double() * rms[:, None, None]
        picture = shapes[..., :2] + mean[:, None]
        if kind == "snap":  # the input's own numbers, not their image after there and back
            picture = given if visible is None else torch.where(visible[..., None], given, picture)
        result.shapes[..., :2] = picture
        result.shapes[..., 2:] = shapes[..., 2:]
        result.canonical.copy_(Y)
        result.residual.copy_(residual)

    def plainly_good(self, keypoints: Tensor, visible: Tensor | None) -> bool:
        """See `Engine`."""
        if visible is not None or keypoints.shape[1] < 3:
            return False
        low, high = torch.aminmax(keypoints, dim=1)
        extent = (high - low).amax(1)  # not a number, or infinite, if any coordinate is
        return bool(((extent > 0) & (extent < torch.inf)).all())


class Compiled:
    """A lifter that goes through torch.compile at its first call, once for all batch sizes.

    Where that fails, for want of a compiler above all, a note is logged and the lifter runs as it is.
    """

    def __init__(self, lifter: Lifter) -> None:
        self.lifter = lifter
        self.compiled: Callable[[Tensor, Tensor | None, Tensor], Tensor] | None = None
        self.works = True

    @property
    def category(self) -> Tensor:
        """A parameter of the network: says its device and type."""
        return self.lifter.category

    def __call__(self, X: Tensor, visible: Tensor | None, category: Tensor) -> Tensor:
        """See `Lifter.forward`."""
        if self.works and len(X) > 1:  # torch compiles a batch of one apart, for seconds
            try:
                if self.compiled is None:
                    self.compiled = torch.compile(self.lifter, dynamic=True)
                return self.compiled(X, visible, category)
            except Exception as error:  # whatever a compiler can raise: torch has no common class for it
                reason = " ".join(str(error).split())[:200]
                _log.warning("torch.compile does not work here, the network runs uncompiled (%s)", reason)
                self.works = False
        return self.lifter(X, visible, category)
