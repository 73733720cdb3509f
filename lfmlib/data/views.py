"""Pictures: where cameras stand, how keypoints are normalised, and what a training step gets to see, which is no 3D."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

RANGES = "uniform"


@dataclass(frozen=True)
class CameraConfig:
    """Distribution of the viewing direction, relative to the upright object.

    The camera stands at (sin a cos e, sin e, cos a cos e) in the object's upright frame (y up, z to the front) and
    looks at its centre; roll turns the picture. Weak perspective: neither distance nor focal length matters.

    Args:
        source: "uniform" (the three ranges) or a set of annotated viewpoints (see `real.load_viewpoints`).
        azimuth, elevation, roll: half-widths of the uniform ranges in degrees.
    Raises:
        ValueError: a range is negative, not finite or beyond 180 (elevation: 90) degrees.
    Source: ours. The paper uses each data set's own cameras and prints no distribution.
    """

    source: str = RANGES
    azimuth: float | int = 180.0
    elevation: float | int = 20.0
    roll: float | int = 5.0

    def __post_init__(self) -> None:
        for name, limit in (("azimuth", 180), ("elevation", 90), ("roll", 180)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= limit:
                raise ValueError(f"camera {name} is {value!r}, expected degrees between 0 and {limit}")
            object.__setattr__(self, name, float(value))  # 90 and 90.0 are one setting, with one hash


@dataclass
class Views:
    """2D pictures of shapes, all that a 2D-only objective may see.

    Args:
        X: keypoints, x right, y down, centred on the visible mean, unit visible RMS; 0 where not visible; [B, N, 2].
        visible: None where every keypoint of every sample is; [B, N].
        category: index into the categories of the sampler; int64 [B].
    """

    X: Float[Tensor, "B N 2"]
    visible: Bool[Tensor, "B N"] | None
    category: Int[Tensor, " B"]


@dataclass
class EvaluationViews(Views):
    """Views with their truth, for measuring (and for methods that say that they use 3D).

    Args:
        Y: true shapes in the camera frame, in the category's own unit, 0 where unknown; [B, N, 3].
        known: keypoints that have a truth; [B, N].
    """

    Y: Float[Tensor, "B N 3"] = field(default=None)
    known: Bool[Tensor, "B N"] = field(default=None)


def normalise(
    X: Float[Tensor, "B N 2"], visible: Bool[Tensor, "B N"] | None = None
) -> tuple[Float[Tensor, "B N 2"], Float[Tensor, "B 2"], Float[Tensor, " B"]]:
    """Centres keypoints on their visible mean and divides by their visible RMS: weak perspective leaves scale unknown.

    Args:
        X: keypoints in any unit; anything where not visible; [B, N, 2].  visible: None = all; [B, N].
    Returns:
        (normalised X, 0 where not visible; the mean [B, 2]; the RMS [B]) with X = normalised * RMS + mean. Keypoints
        that all coincide have RMS 0 and become 0.
    """
    if visible is None:
        mean = X.mean(1)
        X = X - mean[:, None]
        count: Tensor | int = X.shape[1]
    else:
        X = torch.where(visible[..., None], X, 0)
        count = visible.sum(1).clamp_min(1)
        mean = X.sum(1) / count[:, None]
        X = torch.where(visible[..., None], X - mean[:, None], 0)
    rms = (X.square().sum((1, 2)) / count).sqrt()
    kind = torch.finfo(X.dtype)
    apart = rms > 8 * kind.eps * mean.abs().amax(1)  # less is the rounding of the mean, which is no picture
    rms = torch.where(apart, rms, 0)
    return torch.where(apart[:, None, None], X / rms.clamp_min(kind.tiny)[:, None, None], 0), mean, rms


def upright(up: str) -> Float[Tensor, "3 3"]:
    """Rotation that takes a data set's world-up axis to +y (and, for z-up data with y front to back, front to +z)."""
    axis, sign = "xyz".index(up[1]), 1.0 if up[0] == "+" else -1.0
    # rows of the +axis case; the - case follows by half a turn about the picture's z
    rows = {0: [[0, -1, 0], [1, 0, 0], [0, 0, 1]], 1: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
            2: [[1, 0, 0], [0, 0, 1], [0, -1, 0]]}[axis]  # fmt: skip
    half_turn = torch.diag(torch.tensor([sign, sign, 1.0]))
    return half_turn @ torch.tensor(rows, dtype=torch.float32)


def view_rotations(azimuth: Tensor, elevation: Tensor, roll: Tensor) -> Float[Tensor, "B 3 3"]:
    """Rotations from the upright frame (y up) to the camera (x right, y down, z away); angles in radians, [B] each."""
    (ca, sa), (ce, se), (cr, sr) = ((v.cos(), v.sin()) for v in (azimuth, elevation, roll))
    zero, one = torch.zeros_like(ca), torch.ones_like(ca)
    about_y = torch.stack([ca, zero, -sa, zero, one, zero, sa, zero, ca], -1).view(-1, 3, 3)
    about_x = torch.stack([one, zero, zero, zero, ce, -se, zero, se, ce], -1).view(-1, 3, 3)
    about_z = torch.stack([cr, -sr, zero, sr, cr, zero, zero, zero, one], -1).view(-1, 3, 3)
    R = about_z @ about_x @ about_y
    return torch.cat([R[:, :1], -R[:, 1:]], 1)  # y up, z to the viewer -> y down, z away


def visible_or_all(visible: Tensor | None, like: Tensor) -> Tensor:
    """The mask, or one that is True everywhere: [B, N] for `like` [B, N, *]."""
    return torch.ones(like.shape[:2], dtype=torch.bool, device=like.device) if visible is None else visible
