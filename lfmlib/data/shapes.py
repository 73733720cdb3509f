"""A category's 3D shapes as every loader and generator hands them on: points, what is known of them, and the split."""

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int, Int8
from torch import Tensor

from lfmlib.data.surface import Surface
from lfmlib.rigs import Rig

PICTURES = "pictures"  # tag of sets that hold no shapes


@dataclass(frozen=True, eq=False)
class CadViews:
    """Self-occlusion table of CAD shapes: which keypoints are seen from which side.

    Args:
        azimuth: degrees, [V].
        elevation: degrees, [V].
        visible: 1 where the keypoint is seen, 0 where the shape itself hides it (or lacks it); [F, V, N].
    """

    azimuth: Float[Tensor, " V"]
    elevation: Float[Tensor, " V"]
    visible: Int8[Tensor, "F V N"]


@dataclass(frozen=True, eq=False)
class ShapeSet:
    """Shapes of one category, ground truth for measuring and the source of 2D views.

    Args:
        rig: the category; its unit and up axis are those of `points`.
        points: shapes in the rig's unit, 0 where unknown; float32 [F, N, 3].
        known: keypoints whose position is known; [F, N].
        split: 0 train, 1 test; [F]. No sequence is in both.
        sequence: recording, subject or instance that a frame belongs to; [F].
        tag: "real" (measured, or a CAD model that others made), "synthetic", or "pictures": 2D keypoints with z = 0, no
            shapes; every camera sees them as they are, and nothing can be measured on them (`data.pictures`).
        fingerprint: SHA-256 in hexadecimal; the same for the same frames of the same data.
        camera_R: object-to-camera rotation where the data has one (x right, y down, z away); [F, 3, 3].
        cad_views: self-occlusion table where the data has one.
        surface: what hides keypoints from view, where the data has one; `cad_views` goes before it.
    Raises:
        ValueError: fields of different lengths, fewer than 3 known keypoints in a frame, a value that is not finite, a
            split other than 0 or 1, a sequence in both splits, or no frame at all; names the category and the field.
    """

    rig: Rig
    points: Float[Tensor, "F N 3"]
    known: Bool[Tensor, "F N"]
    split: Int8[Tensor, " F"]
    sequence: Int[Tensor, " F"]
    tag: Literal["real", "synthetic", "pictures"]
    fingerprint: str
    camera_R: Float[Tensor, "F 3 3"] | None = None
    cad_views: CadViews | None = None
    surface: Surface | None = None

    def __post_init__(self) -> None:
        if problem := self._problem():
            raise ValueError(f"shapes of {self.rig.name}: {problem}")

    def _problem(self) -> str | None:
        n = self.rig.n
        frames = len(self.points)
        expected = {"points": (frames, n, 3), "known": (frames, n), "split": (frames,), "sequence": (frames,)}
        if self.camera_R is not None:
            expected["camera_R"] = (frames, 3, 3)
        for field, shape in expected.items():
            if tuple(getattr(self, field).shape) != shape:
                return f"{field} has shape {list(getattr(self, field).shape)}, expected {list(shape)}"
        if self.cad_views is not None:
            shape = (frames, len(self.cad_views.azimuth), n)
            if tuple(self.cad_views.visible.shape) != shape:
                return f"cad_views has shape {list(self.cad_views.visible.shape)}, expected {list(shape)}"
        if frames == 0:
            return "no frame"
        if not torch.isfinite(self.points).all():
            return f"points of frame {_first(~torch.isfinite(self.points).flatten(1).all(1))} are not finite"
        if (few := self.known.sum(1) < 3).any():
            return f"frame {_first(few)} has {int(self.known[_first(few)].sum())} known keypoints, expected at least 3"
        if not ((self.split == 0) | (self.split == 1)).all():
            return f"split is {int(self.split[_first((self.split != 0) & (self.split != 1))])}, expected 0 or 1"
        both = set(self.sequence[self.split == 0].tolist()) & set(self.sequence[self.split == 1].tolist())
        return f"sequence {min(both)} is in both splits" if both else None

    def __len__(self) -> int:
        return len(self.points)

    def subset(self, frames: Tensor) -> "ShapeSet":
        """The chosen frames, as a set of their own (with a fingerprint of their own).

        Args:
            frames: bool mask [F], or integer indices [*].
        Raises:
            ValueError: no frame is chosen, or the mask has another length; IndexError: an index is out of range.
        """
        if frames.dtype == torch.bool:
            if frames.shape != self.split.shape:
                raise ValueError(f"mask of {list(frames.shape)} for {len(self)} shapes of {self.rig.name}")
            frames = frames.nonzero().squeeze(1)
        if len(frames) == len(self) and bool((frames == torch.arange(len(self))).all()):
            return self
        index = frames.to(torch.int64).contiguous()
        digest = hashlib.sha256(self.fingerprint.encode() + index.numpy().tobytes()).hexdigest()
        per_frame = {f: getattr(self, f)[index] for f in ("points", "known", "split", "sequence")}
        cad = self.cad_views and replace(self.cad_views, visible=self.cad_views.visible[index])
        camera = None if self.camera_R is None else self.camera_R[index]
        return replace(self, **per_frame, fingerprint=digest, camera_R=camera, cad_views=cad)

    def thinned(self, count: int) -> "ShapeSet":
        """At most `count` frames, evenly spread; each split keeps its share and at least one frame.

        Raises:
            ValueError: `count` is below the number of splits that have frames.
        """
        if count >= len(self):
            return self
        splits = self.split.unique().tolist()
        if count < len(splits):
            raise ValueError(f"count is {count}, expected at least {len(splits)} for the shapes of {self.rig.name}")
        keep = []
        for split in splits:
            frames = (self.split == split).nonzero().squeeze(1)
            n = max(1, count * len(frames) // len(self))
            keep.append(frames[torch.arange(n) * len(frames) // n])
        return self.subset(torch.cat(keep).sort().values)

    @property
    def train(self) -> "ShapeSet":
        """The frames of split 0."""
        return self.subset(self.split == 0)

    @property
    def shares_shapes(self) -> bool:
        """True where no frame has split 1, so that testing means new views of the shapes that training saw."""
        return not bool((self.split == 1).any())

    @property
    def test(self) -> "ShapeSet":
        """The frames of split 1, or all of them where `shares_shapes`."""
        return self if self.shares_shapes else self.subset(self.split == 1)

    def hold_out_validation(self, fraction: float = 0.15) -> tuple["ShapeSet", "ShapeSet"]:
        """Divides the frames of split 0 into (train, validation) by whole sequences; split 1 is in neither.

        The sequences are taken in the order of a hash of their number, so the choice is the same everywhere and follows
        no order of recording, for as long as they fit into `fraction` of the frames; the shortest one if none fits.
        A lone sequence gives its tail. A lone frame is both, since only its views can differ.

        Args:
            fraction: wanted share of the frames, in (0, 1).
        Raises:
            ValueError: `fraction` is out of range, or there is no frame of split 0.
        """
        if not 0 < fraction < 1:
            raise ValueError(f"fraction is {fraction}, expected a number between 0 and 1")
        train = self.train
        if len(train) == 1:
            return train, train
        wanted = fraction * len(train)
        numbers, sizes = (x.tolist() for x in train.sequence.unique(return_counts=True))
        if len(numbers) == 1:
            held = torch.arange(len(train)) >= len(train) - max(1, round(wanted))
        else:
            chosen, taken = [], 0
            for number, size in sorted(zip(numbers, sizes, strict=True), key=lambda pair: _hash(pair[0])):
                if taken + size <= wanted:
                    chosen.append(number)
                    taken += size
            held = torch.isin(train.sequence, torch.tensor(chosen or [numbers[sizes.index(min(sizes))]]))
        return train.subset(~held), train.subset(held)

    @property
    def radius(self) -> float:
        """Mean over the frames of the known points' RMS distance from their mean, in the rig's unit."""
        weight = self.known[..., None].to(torch.float64)
        count = weight.sum(1, keepdim=True)  # [F, 1, 1]
        points = self.points.to(torch.float64)
        offset = (points - (points * weight).sum(1, keepdim=True) / count) * weight
        return float((offset.square().sum((1, 2)) / count.flatten()).sqrt().mean())


def _first(mask: Tensor) -> int:
    return int(mask.nonzero()[0, 0])


def _hash(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()
