"""A trained lifter applied to somebody's keypoints: 2D points in, shapes in the camera frame out, in bounded memory."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lfmlib.encodings import check_choice
from lfmlib.lifting_checks import check_form, check_values, place, usable
from lfmlib.loading import ENGINES, WEIGHTS, LoadedLifter, load, run_config, with_engine
from lfmlib.torch_engine import Batch

__all__ = [
    "ENGINES", "READ_OUTS", "WEIGHTS", "Lifted", "LoadedLifter", "lift", "load", "run_config", "usable",
    "with_engine",
]  # fmt: skip

READ_OUTS = ("snap", "fit")
BATCH_PER_THREAD, BATCH_GPU = 128, 32_768  # samples at once; on the CPU the fastest measured: they fit a core's cache
LARGEST_BATCH = 2**26  # activations held at once, in numbers (256 MB): wide models get smaller batches than asked for


class Lifted(NamedTuple):
    """Lifted keypoints.

    shapes: camera frame (x right, y down, z away), the input's unit, x and y where the input has them; the visible
        keypoints' mean depth is 0; [F, N, 3].
    canonical: the same shapes in the network's own frame and unit; [F, N, 3].
    residual: RMS distance of the visible keypoints from the picture of the canonical shape, Eq. 1, input's unit; [F].
    visible: keypoints that the input had; the position of the others is predicted; [F, N].
    """

    shapes: Float[Tensor, "F N 3"]
    canonical: Float[Tensor, "F N 3"]
    residual: Float[Tensor, " F"]
    visible: Bool[Tensor, "F N"]


def lift(
    lifter: LoadedLifter,
    keypoints: Tensor,
    visible: Tensor | None = None,
    category: str | None = None,
    read_out: str | None = None,
    batch: int | None = None,
    frames: Sequence[int | str] | None = None,
) -> Lifted:
    """Shapes of 2D keypoints, seen from the camera.

        fit:   x, y of  s P R y_i + t  for every keypoint;  z = s (R y_i)_z - mean_V s (R y)_z
        snap:  the same, but a visible keypoint keeps the x, y that it was given

    Beside its results it holds one batch at a time.

    Args:
        lifter: see `load`.
        keypoints: image frame (x right, y down), any unit and origin, the rig's order; float32 or float64 [F, N, 2].
        visible: keypoints that were seen, None = all; the others may hold anything; bool [F, N].
        category: what the keypoints show; None where the lifter knows one category.
        read_out: "snap" or "fit"; None: snap.
        batch: samples that go through the network at once, at most; results do not depend on it, to rounding. None:
            what is fast on the network's device.
        frames: names of the samples, for errors; [F].
    Returns:
        Lifted, with the dtype and device of `keypoints`; it carries no gradient. Not-visible keypoints are predicted.
    Raises:
        ValueError: wrong type, shape or dtype; and, naming the sample: fewer than 3 visible keypoints, a visible one
            that is not finite, or visible ones that all coincide; unknown category or read-out; a lifter that
            predicts depth only (output="depth") and keypoints that are missing, or read-out fit.
    Source: the read-outs as in `objectives.read_out`. Which one the paper reports is not said.
    """
    rig = lifter.rig(category)
    kind = read_out or "snap"
    check_choice("read-out", kind, READ_OUTS)
    if batch is None:
        batch = BATCH_PER_THREAD * torch.get_num_threads() if lifter.device.type == "cpu" else BATCH_GPU
    if not isinstance(batch, int) or batch < 1:
        raise ValueError(f"batch is {batch!r}: expected a whole number, 1 or more")
    visible = check_form(rig, keypoints, visible, frames)
    keypoints = keypoints.detach()
    check_values(rig, keypoints, visible, frames, lifter.engine.plainly_good)
    if lifter.config.objective.output == "depth":
        if kind == "fit":
            raise ValueError(
                "this run predicts depth only (objective.output='depth'): it has no read-out fit, only snap"
            )
        if visible is not None:
            f, n = (int(i) for i in (~visible).nonzero()[0])
            raise ValueError(
                f"{place(frames, f)}, keypoint {rig.keypoints[n]} is missing, but this run predicts depth only "
                "(objective.output='depth') and cannot say where a keypoint lies that was not seen"
            )
    count, n = keypoints.shape[:2]
    model = lifter.config.model
    rows = max(1, min(batch, LARGEST_BATCH // (n * model.width * (3 + model.ff))))
    result = Batch(keypoints.new_empty(count, n, 3), keypoints.new_empty(count, n, 3), keypoints.new_empty(count))
    index = lifter.rigs.index(rig)
    if count <= rows:
        lifter.engine(keypoints, visible, index, kind, result)
    else:
        for start in range(0, count, rows):
            part = slice(start, start + rows)
            seen = None if visible is None else visible[part]
            lifter.engine(keypoints[part], seen, index, kind, Batch(*(whole[part] for whole in result)))
    if visible is None:
        visible = torch.ones(count, n, dtype=torch.bool, device=keypoints.device)
    return Lifted(*result, visible)
