"""What keypoints must fulfil to be lifted, in memory that does not grow with their number; errors name the sample."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lfmlib.rigs import Rig

CHUNK = 65_536  # samples looked at together

Glance = Callable[[Tensor, Tensor | None], bool]  # whether a batch is plainly good; False may be a false alarm


def usable(keypoints: Float[Tensor, "F N 2"], visible: Bool[Tensor, "F N"] | None = None) -> Bool[Tensor, " F"]:
    """Samples that can be lifted: at least 3 visible keypoints, all of them finite and not all in one place."""
    keep = torch.empty(len(keypoints), dtype=torch.bool, device=keypoints.device)
    for part in _parts(len(keypoints)):
        enough, finite, spread = _conditions(keypoints[part], None if visible is None else visible[part])
        torch.logical_and(enough & spread, finite.all(1), out=keep[part])
    return keep


def check_form(rig: Rig, keypoints: Any, visible: Any, frames: Sequence[int | str] | None) -> Tensor | None:
    """The mask on the keypoints' device, None where all are visible, once types and shapes fit.

    Raises:
        ValueError: as `lifting.lift` says.
    """
    if not isinstance(keypoints, Tensor):
        raise ValueError(f"keypoints are {type(keypoints).__name__}, expected a tensor (torch.as_tensor makes one)")
    if keypoints.ndim != 3 or keypoints.shape[2] != 2:
        raise ValueError(f"keypoints have shape {list(keypoints.shape)}, expected [F, N, 2]")
    if keypoints.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"keypoints have dtype {keypoints.dtype}, expected torch.float32 or torch.float64")
    if not len(keypoints):
        raise ValueError("keypoints hold no sample: F is 0")
    if keypoints.shape[1] != rig.n:
        order = ", ".join(rig.keypoints)
        raise ValueError(f"{keypoints.shape[1]} keypoints, but {rig.name} has {rig.n}, in this order: {order}")
    if frames is not None and len(frames) != len(keypoints):
        raise ValueError(f"{len(frames)} frame names for {len(keypoints)} samples")
    if visible is not None:
        if not isinstance(visible, Tensor) or visible.dtype != torch.bool:
            kind = getattr(visible, "dtype", type(visible).__name__)
            raise ValueError(f"visible is {kind}, expected a tensor of torch.bool")
        if visible.shape != keypoints.shape[:2]:
            raise ValueError(f"visible has shape {list(visible.shape)}, expected {list(keypoints.shape[:2])}")
        visible = visible.to(keypoints.device)
        if bool(visible.all()):
            visible = None
    return visible


def check_values(
    rig: Rig, keypoints: Tensor, visible: Tensor | None, frames: Sequence[int | str] | None, good: Glance
) -> None:
    """Raises ValueError, as `lifting.lift` says, for a sample that cannot be lifted; `good` spares looking closely."""
    if len(keypoints) <= CHUNK and good(keypoints, visible):
        return  # no slices: they are a tenth of lifting one sample
    for part in _parts(len(keypoints)):
        points, seen = keypoints[part], None if visible is None else visible[part]
        if not good(points, seen):
            _explain(rig, points, seen, frames, part.start)


def place(frames: Sequence[int | str] | None, f: int) -> str:
    """A sample's name in errors."""
    return f"sample {f}" if frames is None else f"frame {frames[f]}"


def _explain(rig: Rig, keypoints: Tensor, visible: Tensor | None, frames: Sequence[int | str] | None, at: int) -> None:
    """Raises ValueError for the first sample that cannot be lifted; `at` is the number of the first one given."""
    enough, finite, spread = _conditions(keypoints, visible)
    if len(bad := (~enough).nonzero()):
        f = int(bad[0])
        count = rig.n if visible is None else int(visible[f].sum())
        raise ValueError(f"{place(frames, at + f)} has {count} visible keypoints, expected at least 3")
    if len(bad := (~finite).nonzero()):
        f, n = bad[0].tolist()
        value = ", ".join(f"{v:g}" for v in keypoints[f, n].tolist())
        hint = "mark it as not visible if it is missing"
        raise ValueError(f"{place(frames, at + f)}, keypoint {rig.keypoints[n]} is ({value}), not finite; {hint}")
    if len(bad := (~spread).nonzero()):
        raise ValueError(f"{place(frames, at + int(bad[0]))}: all visible keypoints are in the same place")


def _conditions(keypoints: Tensor, visible: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """What a sample must fulfil: enough visible [B], visible or finite [B, N], some distance between them [B]."""
    if visible is None:
        visible = torch.ones(keypoints.shape[:2], dtype=torch.bool, device=keypoints.device)
    finite = keypoints.isfinite().all(-1) | ~visible
    low, high = (torch.where(visible[..., None], keypoints, v) for v in (torch.inf, -torch.inf))
    extent = (high.amax(1) - low.amin(1)).amax(1)
    return visible.sum(1) >= 3, finite, ~(extent <= 0)  # not finite is another fault


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, count, CHUNK))
