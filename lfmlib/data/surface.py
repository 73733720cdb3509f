"""Self-occlusion: which keypoints a shape's own surface hides from a distant camera.

A surface hangs on the keypoints: capsules (a segment between two keypoints with a radius: limbs, trunks, tubes) and
flat faces (triangles between keypoints: bodywork, table tops, screens). It moves and deforms with them, so it needs no
table per shape and no mesh.
"""

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
            faces: "a b c d ...": a flat convex polygon, corners in order.
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
        ends, radius, faces = self.ends[category], self.radius[category].to(Y.dtype), self.faces[category]
        return _behind_capsules(unit, ends, radius) | _behind_faces(unit, faces)


def _corners(Y: Tensor, index: Tensor) -> tuple[Tensor, ...]:
    """Positions of the keypoints that each column of index [B, S, k] names; k times [B, 1, S, 3]."""
    return tuple(Y.gather(1, i[..., None].expand(-1, -1, 3))[:, None] for i in index.unbind(-1))


def _is_own(index: Tensor, keypoints: int) -> Tensor:
    """Whether keypoint n is named by entry s of index [B, S, k]; [B, N, S]."""
    return (index[:, None] == torch.arange(keypoints, device=index.device)[:, None, None]).any(-1)


def _behind_capsules(Y: Tensor, ends: Tensor, radius: Tensor) -> Tensor:
    a, b = _corners(Y, ends)
    p, axis = Y[:, :, None], b - a  # [B, N, 1, 3], [B, 1, S, 3]
    flat = axis[..., :2]
    short = flat.square().sum(-1)
    along = (((p - a)[..., :2] * flat).sum(-1) / short.clamp_min(TINY)).clamp(0, 1)  # [B, N, S]
    along = torch.where(short < 1e-6, (axis[..., 2] < 0).to(Y.dtype), along)  # seen end on, the nearer end is in front
    beside = (p[..., :2] - a[..., :2] - along[..., None] * flat).square().sum(-1)
    thick = radius.square()[:, None]  # [B, 1, S]
    front = a[..., 2] + along * axis[..., 2] - (thick - beside).clamp_min(0).sqrt()
    covered = (beside < thick) & (front < p[..., 2] - MARGIN)
    on = (((p - a) * axis).sum(-1) / axis.square().sum(-1).clamp_min(TINY)).clamp(0, 1)
    inside = (p - a - on[..., None] * axis).square().sum(-1) < thick
    return (covered & ~inside & ~_is_own(ends, Y.shape[1])).any(-1)


def _behind_faces(Y: Tensor, faces: Tensor) -> Tensor:
    a, b, c = _corners(Y, faces)
    u, v, w = b - a, c - a, Y[:, :, None] - a
    area = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    broad = area.abs() > TINY  # seen edge on, a face hides nothing
    safe = torch.where(broad, area, 1)
    s = (w[..., 0] * v[..., 1] - w[..., 1] * v[..., 0]) / safe
    t = (u[..., 0] * w[..., 1] - u[..., 1] * w[..., 0]) / safe
    within = broad & (s > -SEAM) & (t > -SEAM) & (s + t < 1 + SEAM)
    front = s * u[..., 2] + t * v[..., 2]  # of the plane there, from a
    return (within & (front < w[..., 2] - MARGIN) & ~_is_own(faces, Y.shape[1])).any(-1)


def normalised(Y: Tensor, known: Tensor | None) -> Tensor:
    """Shapes centred, of RMS radius 1 over the known keypoints; [B, N, 3]."""
    if known is None:
        known = torch.ones(Y.shape[:2], dtype=torch.bool, device=Y.device)
    weight = known[..., None].to(Y.dtype)
    count = weight.sum(1, keepdim=True).clamp_min(1)
    Y = (Y - (Y * weight).sum(1, keepdim=True) / count) * weight
    return Y / (Y.square().sum((1, 2), keepdim=True) / count).sqrt().clamp_min(torch.finfo(Y.dtype).tiny)
