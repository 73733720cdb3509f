"""The sleep phase: pictures of dreams, with the dreamt shapes as what the lifter should have said."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lfmlib.data.batches import ViewSampler
from lfmlib.data.mix import WASTE, Generators, uniform
from lfmlib.data.shapes import ShapeSet
from lfmlib.data.views import CameraConfig
from lfmlib.model import Lifter
from lfmlib.recipe.wake import Woken, dreamt_set


class DreamSampler(ViewSampler):
    """Draws pictures of dreams: a dreamt shape, the camera of another picture of the category, and what that shows.

    Where every picture shows everything the camera's azimuth is drawn anew; where not, it stays with the mask, because
    what is hidden depends on the side from which one looks. Roll is that of the wobble.

    Args:
        woken: the categories' wake phases.
        measured: the sets that they come from, for their rigs; no shape of them is used.
        device, temperature, waste, missing: see `ViewSampler`.
    """

    def __init__(
        self,
        woken: Sequence[Woken],
        measured: Sequence[ShapeSet],
        device: str | torch.device = "cpu",
        temperature: float | int | None = None,
        waste: float | int = WASTE,
        missing: float = 0.0,
    ) -> None:
        sets = [dreamt_set(w, s) for w, s in zip(woken, measured, strict=True)]
        super().__init__(sets, CameraConfig(), missing, device=device, temperature=temperature, waste=waste)
        self.cameras_seen = torch.cat([torch.stack([w.azimuth, w.elevation]) for w in woken], 1).to(self.device)
        pictures = torch.tensor([len(w.azimuth) for w in woken], device=self.device)
        self.pictures, self.first_picture = pictures, pictures.cumsum(0) - pictures
        self.roll = torch.tensor([w.model.wobble[2] for w in woken], device=self.device)
        most = max(self.size.tolist())
        masks = [torch.nn.functional.pad(w.visible, (0, most - w.visible.shape[1])) for w in woken]
        self.masks = None
        if any(not bool(w.visible.all()) for w in woken):
            self.masks = torch.cat(masks).to(self.device)

    def _view(self, frame: Tensor, category: Tensor, generator: Generators) -> tuple[Tensor, Tensor | None]:
        inside = uniform(generator, (len(frame),), dtype=torch.float64)
        partner = self.first_picture[category] + (inside * self.pictures[category]).long()
        turn, roll = uniform(generator, (2, len(frame)), axis=1)
        azimuth, elevation = self.cameras_seen[:, partner]
        if self.masks is None:
            azimuth = turn * (2 * torch.pi)
        roll = (roll * 2 - 1) * 3**0.5 * self.roll[category]  # uniform, with the wobble's standard deviation
        return torch.stack([azimuth, elevation, roll]), None if self.masks is None else self.masks[partner]


@torch.no_grad()
def start_at_means(lifter: Lifter, woken: Sequence[Woken]) -> None:
    """Sets a lifter's mean shapes to those of the shape models; a lifter without wake phase keeps its zeros."""
    for shape, w in zip(lifter.mean_shape, woken, strict=False):
        mean = w.model.collapsed().means.view(-1, 3)
        shape[: len(mean)] = mean.to(shape)
