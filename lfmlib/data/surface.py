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
        most = max(int(index.max()) + 1 if index.numel() else 0 for index in (self.ends, self.faces))
        self.own_ends, self.own_faces = _own(self.ends, most), _own(self.faces, most)  # [C, N, S], [C, N, T]

    def among(self, categories: Sequence[int]) -> "Surfaces":
        """The same, for batches of these categories alone: filled up no further than they need."""
        capsules, faces = (max(self.sizes[c][i] for c in categories) for i in range(2))
        trimmed = copy.copy(self)
        trimmed.ends, trimmed.radius = self.ends[:, :capsules], self.radius[:, :capsules]
        trimmed.faces = self.faces[:, :faces]
        trimmed.own_ends, trimmed.own_faces = self.own_ends[..., :capsules], self.own_faces[..., :faces]
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
        for index, own, behind, more in (
            (self.ends, self.own_ends, _behind_capsules, (self.radius.to(Y.dtype),)),
            (self.faces, self.own_faces, _behind_faces, ()),
        ):
            if index.shape[1]:
                found = behind(unit, *_corners(unit, index[category]), *(m[category] for m in more))  # [B, N, S]
                n = min(found.shape[1], own.shape[1])  # no surface names a keypoint beyond
                found[:, :n] &= ~own[category, :n]
                hidden |= found.any(-1)
        return hidden


def _corners(Y: Tensor, index: Tensor) -> tuple[Tensor, ...]:
    """Positions of the keypoints that each column of index [B, S, k] names; k times [B, S, 3]."""
    return tuple(Y.gather(1, i[..., None].expand(-1, -1, 3)) for i in index.unbind(-1))


def _own(index: Tensor, keypoints: int) -> Tensor:
    """Whether keypoint n is named by entry s of index [C, S, k]; [C, N, S]."""
    result = torch.zeros(len(index), keypoints, index.shape[1], dtype=torch.bool, device=index.device)
    return result.scatter_(1, index.mT, True)


def _affine(Y: Tensor, slope: Tensor, constant: Tensor) -> Tensor:
    """slope . y + constant of each keypoint with each capsule or face; [B, N, k], [B, S, k], [B, S] -> [B, N, S].

    Everything below is made of these products: nothing has both axes and three coordinates, which would cost several
    times the memory traffic.
    """
    return torch.baddbmm(constant[:, None], Y, slope.mT)


def _behind_capsules(Y: Tensor, a: Tensor, b: Tensor, radius: Tensor) -> Tensor:
    axis, thick = b - a, radius.square()[:, None]  # [B, S, 3], [B, 1, S]
    short, length = axis[..., :2].square().sum(-1), axis.square().sum(-1)  # [B, S], in the picture and in space
    end_on = short < 1e-6  # its nearer end is in front
    flat = torch.where(end_on, 0, 1 / short.clamp_min(TINY))[..., None] * axis[..., :2]
    start = torch.where(end_on, (axis[..., 2] < 0).to(Y.dtype), -(a[..., :2] * flat).sum(-1))
    place = _affine(Y[..., :2], flat, start)  # along the axis as the picture shows it, 0 at a, 1 at b
    along = place.clamp_min(0).clamp_max_(1)
    apart = _affine(Y[..., :2], -2 * a[..., :2], a[..., :2].square().sum(-1)) + Y[..., :2].square().sum(-1, True)
    slack = thick - apart + (2 * place).sub_(along).mul_(along).mul_(short[:, None])  # radius^2 - distance^2
    depth = Y[..., 2:] - a[:, None, :, 2]
    behind = (depth + slack.clamp_min(0).sqrt_()).addcmul_(along, axis[:, None, :, 2], value=-1)
    covered = (slack > 0) & (behind > MARGIN)
    full = axis / length.clamp_min(TINY)[..., None]
    place = _affine(Y, full, -(a * full).sum(-1))
    along = place.clamp_min(0).clamp_max_(1)
    outside = apart.addcmul_(depth, depth).sub_(place.mul_(2).sub_(along).mul_(along).mul_(length[:, None])) >= thick
    return covered & outside


def _behind_faces(Y: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    u, v = b - a, c - a  # [B, T, 3]
    area = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    broad = area.abs() > TINY  # seen edge on, a face hides nothing
    scale = torch.where(broad, 1 / torch.where(broad, area, 1), 0)[..., None]
    # barycentric coordinates s and t, and the face's depth, are affine in a keypoint's x and y
    to_s = torch.stack((v[..., 1], -v[..., 0]), -1) * scale
    to_t = torch.stack((-u[..., 1], u[..., 0]), -1) * scale
    to_z = to_s * u[..., 2:] + to_t * v[..., 2:]
    s_a, t_a, z_a = ((a[..., :2] * slope).sum(-1) for slope in (to_s, to_t, to_z))
    s = _affine(Y[..., :2], to_s, torch.where(broad, -s_a, -1))
    t = _affine(Y[..., :2], to_t, -t_a)
    rest = _affine(Y[..., :2], -to_s - to_t, 1 + s_a + t_a)
    within = (s > -SEAM) & (t > -SEAM) & (rest > -SEAM)  # five times as fast as the least of the three
    behind = _affine(Y, torch.cat((-to_z, torch.ones_like(area)[..., None]), -1), z_a - a[..., 2])
    return within & (behind > MARGIN)


def normalised(Y: Tensor, known: Tensor | None) -> Tensor:
    """Shapes centred, of RMS radius 1 over the known keypoints; [B, N, 3]."""
    if known is None:
        known = torch.ones(Y.shape[:2], dtype=torch.bool, device=Y.device)
    weight = known[..., None].to(Y.dtype)
    count = weight.sum(1, keepdim=True).clamp_min(1)
    Y = (Y - (Y * weight).sum(1, keepdim=True) / count) * weight
    return Y / (Y.square().sum((1, 2), keepdim=True) / count).sqrt().clamp_min(torch.finfo(Y.dtype).tiny)
