"""Where cameras may stand: a grid of rotations about a category's vertical, and how often each elevation is used."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from lfmlib.data.views import view_rotations

PSEUDO = 1e-2  # share of all pictures that is spread evenly over the elevations, so that none dies out early
UNUSED = 0.02  # an elevation that fewer pictures than this use is dropped in the end
RARE = 0.1  # of the least used elevation so far: how often one is expected that has not been tried


@dataclass(frozen=True)
class CameraGrid:
    """Viewing directions that are tried for every picture, and how likely each is.

    Azimuths are equally likely and stay so: were they learned, a flexible enough family of shapes would explain all
    pictures by itself and let one camera do. Elevations are learned.

    Args:
        azimuths: A, evenly over the full turn.
        elevations: in degrees; E of them.
        shares: how often each elevation is used; None: alike.
    Raises:
        ValueError: fewer than 4 azimuths, no elevation, or shares that are not one per elevation.
    """

    azimuths: int
    elevations: tuple[float, ...]
    shares: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.azimuths < 4:
            raise ValueError(f"{self.azimuths} azimuths: expected 4 or more, evenly over the full turn")
        if not self.elevations:
            raise ValueError("a camera grid needs at least one elevation")
        if self.shares is not None and len(self.shares) != len(self.elevations):
            raise ValueError(f"{len(self.shares)} shares for {len(self.elevations)} elevations")

    def rotations(self) -> Float[Tensor, "G 3 3"]:
        """Rotations from the upright frame (y up) to the camera; G = A E, elevations fastest."""
        azimuth = torch.arange(self.azimuths) * (2 * math.pi / self.azimuths)
        elevation = torch.tensor(self.elevations).deg2rad()
        azimuth, elevation = torch.cartesian_prod(azimuth, elevation).view(-1, 2).unbind(1)
        return view_rotations(azimuth, elevation, torch.zeros_like(azimuth))

    def logs(self) -> Float[Tensor, " G"]:
        """Log-probability of each camera."""
        even = (1 / len(self.elevations),) * len(self.elevations)
        return (torch.tensor(self.shares or even) / self.azimuths).log().repeat(self.azimuths)

    def used(self, responsibilities: Float[Tensor, " G"]) -> "CameraGrid":
        """The grid whose elevations are as likely as they were used (summed responsibilities of the cameras)."""
        rows = responsibilities.view(self.azimuths, -1).sum(0)
        rows = (1 - PSEUDO) * rows / rows.sum() + PSEUDO / len(self.elevations)
        return replace(self, shares=tuple(rows.tolist()))

    def near_horizon(self, degrees: float) -> "CameraGrid":
        """The part of the grid within so many degrees of the horizon."""
        return CameraGrid(self.azimuths, tuple(e for e in self.elevations if abs(e) <= degrees))

    def widened(self, learned: "CameraGrid") -> "CameraGrid":
        """This grid with the shares that a part of it has learned; the other elevations start as rare ones."""
        shares = dict(zip(learned.elevations, learned.shares or (), strict=False))
        rare = RARE * min(shares.values(), default=1.0)
        raw = [shares.get(e, rare) for e in self.elevations]
        return replace(self, shares=tuple(s / sum(raw) for s in raw))

    def pruned(self) -> "CameraGrid":
        """Without the elevations that hardly any picture uses."""
        if self.shares is None:
            return self
        kept = [i for i, share in enumerate(self.shares) if share >= min(UNUSED, max(self.shares))]
        total = sum(self.shares[i] for i in kept)
        return CameraGrid(
            self.azimuths, tuple(self.elevations[i] for i in kept), tuple(self.shares[i] / total for i in kept)
        )

    def mirrored(self) -> "CameraGrid":
        """Where the cameras stand for the mirror image of a shape: as far below the horizon as above it, and back."""
        return replace(self, elevations=tuple(-e for e in self.elevations))

    def steps(self) -> Float[Tensor, " E"]:
        """Half the distance in degrees from each elevation to its neighbours, at most 7.5: how far it speaks for."""
        e = torch.tensor(self.elevations)
        if len(e) == 1:
            return torch.tensor([5.0])
        gaps = (e[:, None] - e).abs().fill_diagonal_(math.inf).amin(1)
        return (gaps / 2).clamp_max(7.5)
