"""Exact depth of the bodies that hang on keypoints: rays against the capsules and faces of a `Surface`."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lfmlib.data.surface import SEAM, Surface
from lfmlib.geometry import centred

SIDE = 128  # pixels of a whole map, where nobody says otherwise
PAIRS = 1 << 19  # of a ray and a capsule or face that are held in memory at a time
GRAZING = 1e-12  # squared sine between a ray and an axis or a face below which they count as parallel


@dataclass(frozen=True, eq=False)
class PixelCamera:
    """Camera in pixels; pixel (column c, row r) covers [c, c + 1) x [r, r + 1).

        perspective:  x = f (Y_x, Y_y) / Y_z + c        orthographic:  x = f (Y_x, Y_y) + c

    Args:
        focal: f along x and y, in pixels (orthographic: in pixels per unit of length); [B, 2].
        centre: c, where the optical axis meets the picture, in pixels; [B, 2].
        perspective: or orthographic.
    """

    focal: Float[Tensor, "B 2"]
    centre: Float[Tensor, "B 2"]
    perspective: bool

    @staticmethod
    def of_intrinsics(K: Float[Tensor, "B 3 3"]) -> "PixelCamera":
        """The perspective camera of a calibration matrix without skew."""
        return PixelCamera(K[:, [0, 1], [0, 1]], K[:, :2, 2], True)

    @staticmethod
    def framing(
        Y: Float[Tensor, "B N 3"],
        height: int = SIDE,
        width: int = SIDE,
        known: Bool[Tensor, "B N"] | None = None,
        perspective: bool = False,
        fill: float = 0.8,
    ) -> "PixelCamera":
        """Cameras in whose pictures the keypoints' bounding box lies in the middle and fills a share of the side.

        Args:
            Y: shapes, camera frame (x right, y down, z away); for perspective in front of the camera; [B, N, 3].
            height, width: of the picture, in pixels.  known: keypoints that count, None = all; [B, N].
        Raises:
            ValueError: perspective and a known keypoint at depth 0 or less (names the sample); `fill` not in (0, 1].
        """
        if not 0 < fill <= 1:
            raise ValueError(f"fill is {fill!r}, expected a share in (0, 1]")
        known = torch.ones_like(Y[..., 0], dtype=torch.bool) if known is None else known
        if perspective and bool((behind := known & (Y[..., 2] <= 0)).any()):
            sample, keypoint = behind.nonzero()[0].tolist()
            raise ValueError(f"sample {sample}: keypoint {keypoint} is not in front of the camera")
        flat = Y[..., :2] / Y[..., 2:] if perspective else Y[..., :2]
        keep = known[..., None]
        low, high = torch.where(keep, flat, torch.inf).amin(1), torch.where(keep, flat, -torch.inf).amax(1)
        size = flat.new_tensor([width, height])
        focal = (fill * size / (high - low)).amin(-1, keepdim=True)
        focal = torch.where(focal.isfinite(), focal, 1).expand(-1, 2)  # keypoints that all coincide have no size
        return PixelCamera(focal, size / 2 - focal * (low + high) / 2, perspective)

    def project(self, Y: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 2"]:
        """Where points of the camera frame appear, in pixels; [B, N, 2]."""
        flat = Y[..., :2] / Y[..., 2:] if self.perspective else Y[..., :2]
        return self.focal[:, None] * flat + self.centre[:, None]

    def rays(self, pixels: Float[Tensor, "B P 2"]) -> tuple[Float[Tensor, "B P 3"], Float[Tensor, "B P 3"]]:
        """(origin o, direction d) of the rays o + z d through points of the picture, so that z is the depth."""
        flat = (pixels - self.centre[:, None]) / self.focal[:, None]
        zero, one = torch.zeros_like(flat[..., :1]), torch.ones_like(flat[..., :1])
        on_axis, through = torch.cat((0 * flat, zero), -1), torch.cat((flat, one if self.perspective else zero), -1)
        return (on_axis, through) if self.perspective else (through, torch.cat((0 * flat, one), -1))


class Body(NamedTuple):
    """What stands in the way of rays: capsules from a to b with a radius, and triangles, in the camera frame."""

    a: Float[Tensor, "B S 3"]
    b: Float[Tensor, "B S 3"]
    radius: Float[Tensor, "B S"]
    corners: Float[Tensor, "B T 3 xyz"]


def body_of(Y: Float[Tensor, "B N 3"], surface: Surface, known: Bool[Tensor, "B N"] | None = None) -> Body:
    """The bodies of shapes: their surface in place, its radii in the shapes' unit.

    Args:
        Y: shapes, camera frame, any unit; [B, N, 3].  surface: of their rig.
        known: None = all; a capsule or face of which a keypoint is unknown is left out; [B, N].
    """
    count = Y.shape[1] if known is None else known.sum(1).clamp_min(1)
    rms = (centred(Y, known).square().sum((1, 2)) / count).sqrt()
    if known is not None:
        Y = torch.where(known[..., None], Y, torch.nan)  # no ray meets what is not a number
    a, b = Y[:, surface.ends].unbind(2)
    return Body(a, b, rms[:, None] * surface.radius.to(Y), Y[:, surface.faces])


def depth_at(
    body: Body, camera: PixelCamera, pixels: Float[Tensor, "B P 2"], pairs: int = PAIRS
) -> Float[Tensor, "B P"]:
    """Exact depth of the nearest surface under points of the picture, by casting only these rays.

    Args:
        body: of each view.  camera: of each view; a perspective one stands outside the body.
        pixels: points of the picture; a pixel's own are its centre, (c + 0.5, r + 0.5); [B, P, 2].
        pairs: of a ray and a capsule or face at a time: memory, not the result.
    Returns:
        Depth z of the camera frame, in the body's unit; inf where the ray meets nothing; [B, P].
    """
    rays = max(1, pairs // max(1, body.radius.shape[1] + body.corners.shape[1]))
    views = max(1, rays // max(1, pixels.shape[1]))
    near = 0.0 if camera.perspective else -torch.inf  # what lies behind a perspective camera is not seen
    origin, direction = (ray.double() for ray in camera.rays(pixels))
    result = pixels.new_empty(pixels.shape[:2])
    for i in range(0, len(pixels), views):
        some = Body(*(part[i : i + views].double() for part in body))
        for j in range(0, pixels.shape[1], rays):
            at = slice(i, i + views), slice(j, j + rays)
            result[at] = _first_hit(some, origin[at], direction[at], near).to(result)
    return result


def depth_map(body: Body, camera: PixelCamera, height: int = SIDE, width: int = SIDE) -> Float[Tensor, "B H W"]:
    """Exact depth at the centre of every pixel; inf where there is background. See `depth_at`; [B, H, W]."""
    rows = torch.arange(height, dtype=camera.focal.dtype, device=camera.focal.device) + 0.5
    columns = torch.arange(width, dtype=camera.focal.dtype, device=camera.focal.device) + 0.5
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1).view(-1, 2)
    return depth_at(body, camera, grid.expand(len(body.a), -1, -1)).view(-1, height, width)


def _first_hit(body: Body, o: Tensor, d: Tensor, near: float) -> Tensor:
    """Least depth beyond `near` at which rays [B, P, 3] enter a part of the body; [B, P]."""
    hits = [torch.full_like(o[..., :1], torch.inf)]
    hits += [_spheres(o, d, end, body.radius) for end in (body.a, body.b)]
    hits += [_tubes(o, d, *body[:3]), _faces(o, d, body.corners)]
    return torch.stack([torch.where(hit > near, hit, torch.inf).amin(-1) for hit in hits if hit.shape[-1]]).amin(0)


def _spheres(o: Tensor, d: Tensor, centre: Tensor, radius: Tensor) -> Tensor:
    """Depth of entry into each ball: the smaller root of |o + z d - centre|^2 = radius^2; [B, P, S]."""
    square = d.square().sum(-1, keepdim=True)
    half = (o * d).sum(-1, keepdim=True) - d @ centre.mT
    rest = _square_distance(o, centre) - radius.square()[:, None]
    return _entry(square, half, rest)


def _tubes(o: Tensor, d: Tensor, a: Tensor, b: Tensor, radius: Tensor) -> Tensor:
    """Depth of entry into the side of each open cylinder about a..b; [B, P, S].

    The same quadratic with the components along the axis taken out, and the root must lie between the ends.
    """
    length = (b - a).norm(dim=-1, keepdim=True)
    axis = (b - a) / length.clamp_min(torch.finfo(a.dtype).tiny)
    along_d = d @ axis.mT
    along_o = o @ axis.mT - (a * axis).sum(-1)[:, None]
    square = d.square().sum(-1, keepdim=True)
    half = (o * d).sum(-1, keepdim=True) - d @ a.mT - along_d * along_o
    rest = _square_distance(o, a) - along_o.square() - radius.square()[:, None]
    across = square - along_d.square()
    z = _entry(torch.where(across > GRAZING * square, across, torch.nan), half, rest)
    place = along_o + z * along_d
    return torch.where((place >= 0) & (place <= length.mT), z, torch.inf)


def _faces(o: Tensor, d: Tensor, corners: Tensor) -> Tensor:
    """Depth at which rays cross each triangle a + s u + t v, s, t, 1 - s - t >= 0; [B, P, T]."""
    a, u, v = corners[:, :, 0], corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]
    n = torch.linalg.cross(u, v)
    area = n.square().sum(-1, keepdim=True)  # 0 for a triangle that is none: no number below is finite
    slope = d @ n.mT
    parallel = slope.square() <= GRAZING * d.square().sum(-1, keepdim=True) * area.mT
    z = ((a * n).sum(-1)[:, None] - o @ n.mT) / slope
    p, q = torch.linalg.cross(v, n) / area, torch.linalg.cross(n, u) / area  # dual to u and v
    s, t = ((o @ dual.mT - (a * dual).sum(-1)[:, None]) + z * (d @ dual.mT) for dual in (p, q))
    return torch.where((s > -SEAM) & (t > -SEAM) & (s + t < 1 + SEAM) & ~parallel, z, torch.inf)


def _square_distance(o: Tensor, points: Tensor) -> Tensor:
    return o.square().sum(-1, keepdim=True) - 2 * (o @ points.mT) + points.square().sum(-1)[:, None]


def _entry(square: Tensor, half: Tensor, rest: Tensor) -> Tensor:
    """Smaller root of square z^2 + 2 half z + rest, inf where there is none; square > 0."""
    inside = half.square() - square * rest
    return torch.where(inside > 0, (-half - inside.clamp_min(0).sqrt()) / square, torch.inf)
