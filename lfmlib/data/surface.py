"""Self-occlusion: which keypoints a shape's own surface hides from a distant camera.

A surface hangs on the keypoints: capsules (a segment between two keypoints with a radius: limbs, trunks, tubes) and
flat faces (triangles between keypoints: bodywork, table tops, screens). It moves and deforms with them, so it needs no
table per shape and no mesh.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lfmlib.rigs import Rig

GIRTH = 0.06  # radius of a bone that nobody described, as a share of the shape's RMS radius
MARGIN = 0.02  # what hides a keypoint lies in front of it by more than this share of the RMS radius
TINY = 1e-9  # squared lengths and areas below it are none
SEAM = 1e-6  # share of its edges by which a triangle is larger than drawn, so that nothing shows between two


@dataclass(frozen=True, eq=False)
class Surface:
    """Capsules and faces between the keypoints of a rig.

    Args:
        ends: keypoint indices of each capsule's two ends; int64 [S, 2].
        radius: of each capsule, as a share of the shape's RMS radius; [S].
        faces: keypoint indices of each triangle; int64 [T, 3].
    """

    ends: Int[Tensor, "S 2"]
    radius: Float[Tensor, " S"]
    faces: Int[Tensor, "T 3"]

    @staticmethod
    def of(
        rig: Rig, capsules: Iterable[str] | None = None, faces: Iterable[str] = (), girth: float = GIRTH
    ) -> "Surface":
        """A surface written in words.

        Args:
            capsules: "a b 0.1" (two keypoints, radius as a share of the RMS radius); None: every edge of the rig is
                one, with radius `girth`.
            faces: "a b c d ...": a convex polygon, corners in order; a fan of triangles about the first one.
        Raises:
            ValueError: an unknown keypoint, a radius that is not positive, a face with fewer than 3 corners; names the
                rig and the entry.
        """
        at = {keypoint: i for i, keypoint in enumerate(rig.keypoints)}

        def corners(said: str, names: list[str], least: int) -> list[int]:
            if len(set(names)) < least or any(name not in at for name in names):
                raise ValueError(f"rig {rig.name!r}: surface {said!r}: expected {least} or more keypoints of the rig")
            return [at[name] for name in names]

        ends, radius, triangles = [list(edge) for edge in rig.edges], [girth] * len(rig.edges), []
        if capsules is not None:
            ends, radius = [], []
            for said in capsules:
                *names, share = said.split()
                ends.append(corners(said, names, 2))
                radius.append(float(share))
                if len(names) != 2 or not 0 < radius[-1] < 2:
                    raise ValueError(f"rig {rig.name!r}: surface {said!r}: expected two keypoints and a radius")
        for said in faces:
            first, *rest = corners(said, said.split(), 3)
            triangles += [[first, b, c] for b, c in zip(rest, rest[1:], strict=False)]
        return Surface(
            torch.tensor(ends, dtype=torch.int64).reshape(-1, 2),
            torch.tensor(radius),
            torch.tensor(triangles, dtype=torch.int64).reshape(-1, 3),
        )

    def to(self, device: torch.device | str) -> "Surface":
        """The same surface on a device."""
        return Surface(self.ends.to(device), self.radius.to(device), self.faces.to(device))


class Surfaces:
    """The surfaces of several categories, as one batched operation.

    Args:
        surfaces: one per category; None: nothing of that category is ever hidden.
    """

    def __init__(self, surfaces: Sequence[Surface | None], device: torch.device | str = "cpu") -> None:
        every = [s or Surface(torch.zeros(0, 2).long(), torch.zeros(0), torch.zeros(0, 3).long()) for s in surfaces]
        # a capsule of radius 0 and a face without area hide nothing: they fill up
        self.ends = pad_sequence([s.ends for s in every], batch_first=True).to(device)  # [C, S, 2]
        self.radius = pad_sequence([s.radius for s in every], batch_first=True).to(device)  # [C, S]
        self.faces = pad_sequence([s.faces for s in every], batch_first=True).to(device)  # [C, T, 3]
        self.sizes = [(len(s.ends), len(s.faces)) for s in every]

    def among(self, categories: Sequence[int]) -> "Surfaces":
        """The same, for batches of these categories alone: filled up no further than they need."""
        capsules, faces = (max(self.sizes[c][i] for c in categories) for i in range(2))
        trimmed = copy.copy(self)
        trimmed.ends, trimmed.radius = self.ends[:, :capsules], self.radius[:, :capsules]
        trimmed.faces = self.faces[:, :faces]
        return trimmed

    def hide(
        self, Y: Float[Tensor, "B N 3"], category: Int[Tensor, " B"], known: Bool[Tensor, "B N"] | None = None
    ) -> Bool[Tensor, "B N"]:
        """Keypoints that a distant camera does not see because the shape itself stands in front of them.

        A capsule hides what lies behind its front, unless the keypoint is one of its ends (joints lie inside the body)
        or lies inside it. A face hides what lies behind it, except its own corners.

        Args:
            Y: shapes in the camera frame (x right, y down, z away), any unit; [B, N, 3].
            category: index into the surfaces; [B].
            known: keypoints that the shape has (no padding); None: all; [B, N].
        Returns:
            True where hidden; [B, N].
        """
        unit = normalised(Y, known)
        hidden = torch.zeros(Y.shape[:2], dtype=torch.bool, device=Y.device)
        if self.ends.shape[1]:
            hidden = _behind_capsules(unit, self.ends[category], self.radius[category].to(Y.dtype))
        if self.faces.shape[1]:
            hidden = hidden | _behind_faces(unit, self.faces[category])
        return hidden


def _corners(Y: Tensor, index: Tensor) -> tuple[Tensor, ...]:
    """Positions of the keypoints that each column of index [B, S, k] names; k times [B, S, 3]."""
    return tuple(Y.gather(1, i[..., None].expand(-1, -1, 3)) for i in index.unbind(-1))


def _is_own(index: Tensor, keypoints: int) -> Tensor:
    """Whether keypoint n is named by entry s of index [B, S, k]; [B, N, S]."""
    result = torch.zeros(len(index), keypoints, index.shape[1], dtype=torch.bool, device=index.device)
    return result.scatter_(1, index.mT, True)


def _behind_capsules(Y: Tensor, ends: Tensor, radius: Tensor) -> Tensor:
    # everything is a product of keypoints with capsules, [B, N, 3] @ [B, 3, S]: nothing has both axes and three
    # coordinates
    a, b = _corners(Y, ends)
    axis, x, y = b - a, Y[..., :1], Y[..., 1:2]  # [B, S, 3], [B, N, 1]
    towards = Y @ axis.mT - (a * axis).sum(-1)[:, None]  # (p - a) . axis
    flat = towards - (Y[..., 2:] - a[:, None, :, 2]) * axis[:, None, :, 2]  # the same in the picture
    length, short = axis.square().sum(-1)[:, None], axis[..., :2].square().sum(-1)[:, None]
    along = (flat / short.clamp_min(TINY)).clamp(0, 1)
    along = torch.where(short < 1e-6, (axis[:, None, :, 2] < 0).to(Y.dtype), along)  # end on: the nearer end
    dx, dy = x - a[:, None, :, 0], y - a[:, None, :, 1]
    flat_apart = dx.square() + dy.square()
    beside = flat_apart - along * (2 * flat - along * short)
    thick = radius.square()[:, None]  # [B, 1, S]
    depth = Y[..., 2:] - a[:, None, :, 2]
    front = along * axis[:, None, :, 2] - (thick - beside).clamp_min(0).sqrt()
    covered = (beside < thick) & (front < depth - MARGIN)
    on = (towards / length.clamp_min(TINY)).clamp(0, 1)
    inside = flat_apart + depth.square() - on * (2 * towards - on * length) < thick
    return (covered & ~inside & ~_is_own(ends, Y.shape[1])).any(-1)


def _behind_faces(Y: Tensor, faces: Tensor) -> Tensor:
    a, b, c = _corners(Y, faces)
    u, v = b - a, c - a  # [B, T, 3]
    area = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    broad = area.abs() > TINY  # seen edge on, a face hides nothing
    safe = torch.where(broad, area, 1)[..., None]
    # barycentric coordinates s, t of a keypoint, and the face's depth there, are affine in its x and y
    to_s = torch.stack((v[..., 1], -v[..., 0]), -1) / safe
    to_t = torch.stack((-u[..., 1], u[..., 0]), -1) / safe
    to_z = to_s * u[..., 2:] + to_t * v[..., 2:]

    def at(slope: Tensor) -> Tensor:
        return Y[..., :2] @ slope.mT - (a[..., :2] * slope).sum(-1)[:, None]  # [B, N, T]

    s, t = at(to_s), at(to_t)
    within = broad[:, None] & (s > -SEAM) & (t > -SEAM) & (s + t < 1 + SEAM)
    behind = Y[..., 2:] - a[:, None, :, 2] - at(to_z) > MARGIN
    return (within & behind & ~_is_own(faces, Y.shape[1])).any(-1)


def normalised(Y: Tensor, known: Tensor | None) -> Tensor:
    """Shapes centred, of RMS radius 1 over the known keypoints; [B, N, 3]."""
    if known is None:
        known = torch.ones(Y.shape[:2], dtype=torch.bool, device=Y.device)
    weight = known[..., None].to(Y.dtype)
    count = weight.sum(1, keepdim=True).clamp_min(1)
    Y = (Y - (Y * weight).sum(1, keepdim=True) / count) * weight
    return Y / (Y.square().sum((1, 2), keepdim=True) / count).sqrt().clamp_min(torch.finfo(Y.dtype).tiny)
