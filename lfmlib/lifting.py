"""A trained lifter applied to somebody's keypoints: from a run's file and 2D points to shapes in the camera frame."""

import difflib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lfmlib import files, geometry
from lfmlib.data.views import normalise
from lfmlib.encodings import check_choice
from lfmlib.model import Lifter
from lfmlib.objectives.fitting import observed_with_depth
from lfmlib.objectives.fitting import read_out as read_out_shape
from lfmlib.objectives.masked import mean_square
from lfmlib.rigs import Rig
from lfmlib.runs import RunConfig
from lfmlib.store import RunStore, read_tensors
from lfmlib.training import fit

WEIGHTS = "model.safetensors"
READ_OUTS = ("snap", "fit")
LARGEST_BATCH = 2**26  # activations held at once, in numbers (256 MB): wide models get smaller batches than asked for


@dataclass(frozen=True)
class LoadedLifter:
    """A trained lifter with what is needed to use it.

    Args:
        lifter: the network.
        config: the run that made it.
        rigs: its categories, in the order of the category index.
    """

    lifter: Lifter
    config: RunConfig
    rigs: tuple[Rig, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The categories that it can lift."""
        return tuple(rig.name for rig in self.rigs)

    def rig(self, category: str | None = None) -> Rig:
        """Rig of a category; None stands for the only one.

        Raises:
            ValueError: the run does not know the category, or knows several and none is named.
        """
        if category is None and len(self.rigs) > 1:
            raise ValueError(f"this run has {len(self.rigs)} categories, name one of them: {', '.join(self.names)}")
        if category is not None:
            check_choice("category", category, self.names)
        return self.rigs[0 if category is None else self.names.index(category)]


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


def load(path: str | os.PathLike, store: RunStore | None = None, device: str | torch.device = "cpu") -> LoadedLifter:
    """The trained lifter of a run.

    Args:
        path: a model.safetensors file, the folder of a run, or the id of a run in the store.
        store: where ids are looked up; None: the default store.
        device: where the network goes.
    Raises:
        FileNotFoundError: no such file, folder or run, or a run that is not finished.
        ValueError: the file is cut short or damaged, holds no lifter, or comes from a version whose configuration
            this one does not know; names the file.
    """
    file = _locate(path, store or RunStore())
    tensors, header = read_tensors(file)
    if not {"config", "rigs"} <= set(header):
        what = "a checkpoint of an unfinished run" if "state" in header else "a safetensors file, but not of a lifter"
        raise ValueError(f"{file}: {what}; expected the {WEIGHTS} of a finished run")
    _check_digest(file)
    try:
        config, rigs = run_config(json.loads(header["config"])), _rigs(json.loads(header["rigs"]))
        lifter = Lifter(config.model, rigs, config.seed)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{file}: written by another version of lfmlib, or altered ({error})") from error
    try:
        lifter.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{file}: weights and configuration do not belong together ({reason})") from error
    if bad := [name for name, value in tensors.items() if not bool(value.isfinite().all())]:
        raise ValueError(f"{file}: {bad[0]} is not finite: the run diverged; train it again with a smaller lr")
    return LoadedLifter(lifter.to(device).eval().requires_grad_(False), config, rigs)


def lift(
    lifter: LoadedLifter,
    keypoints: Tensor,
    visible: Tensor | None = None,
    category: str | None = None,
    read_out: str | None = None,
    batch: int = 4096,
    frames: Sequence[int | str] | None = None,
) -> Lifted:
    """Shapes of 2D keypoints, seen from the camera.

        fit:   x, y of  s P R y_i + t  for every keypoint;  z = s (R y_i)_z - mean_V s (R y)_z
        snap:  the same, but a visible keypoint keeps the x, y that it was given

    Args:
        lifter: see `load`.
        keypoints: image frame (x right, y down), any unit and origin, the rig's order; float32 or float64 [F, N, 2].
        visible: keypoints that were seen, None = all; the others may hold anything; bool [F, N].
        category: what the keypoints show; None where the lifter knows one category.
        read_out: "snap" or "fit"; None: snap.
        batch: samples that go through the network at once, at most; results do not depend on it.
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
    check_choice("read-out", read_out or "snap", READ_OUTS)
    if not isinstance(batch, int) or batch < 1:
        raise ValueError(f"batch is {batch!r}: expected a whole number, 1 or more")
    visible = _checked(rig, keypoints, visible, frames)
    depth_only, complete = lifter.config.objective.output == "depth", bool(visible.all())
    if depth_only and read_out == "fit":
        raise ValueError("this run predicts depth only (objective.output='depth'): it has no read-out fit, only snap")
    if depth_only and not complete:
        f, n = (int(i) for i in (~visible).nonzero()[0])
        raise ValueError(
            f"{_place(frames, f)}, keypoint {rig.keypoints[n]} is missing, but this run predicts depth only "
            "(objective.output='depth') and cannot say where a keypoint lies that was not seen"
        )
    count, n = keypoints.shape[:2]
    shapes, canonical = keypoints.new_empty(count, n, 3), keypoints.new_empty(count, n, 3)
    residual = keypoints.new_empty(count)
    model = lifter.config.model
    rows = max(1, min(batch, LARGEST_BATCH // (n * model.width * (3 + model.ff))))
    with torch.inference_mode():
        for start in range(0, count, rows):
            part = slice(start, start + rows)
            seen = None if complete else visible[part]
            result = _lift_batch(lifter, rig, keypoints[part], seen, read_out or "snap")
            for whole, piece in zip((shapes, canonical, residual), result, strict=True):
                whole[part] = piece.to(whole)
    return Lifted(shapes, canonical, residual, visible)


def usable(keypoints: Float[Tensor, "F N 2"], visible: Bool[Tensor, "F N"] | None = None) -> Bool[Tensor, " F"]:
    """Samples that can be lifted: at least 3 visible keypoints, all of them finite and not all in one place."""
    visible = _everywhere(keypoints) if visible is None else visible
    enough, finite, spread = _conditions(keypoints, visible)
    return enough & finite.all(1) & spread


def _lift_batch(
    loaded: LoadedLifter, rig: Rig, keypoints: Tensor, visible: Tensor | None, kind: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Shapes, canonical shapes and residuals of one batch, in the input's unit but with the network's device."""
    parameter = loaded.lifter.category
    given = keypoints.to(parameter.device, torch.float64)  # pixels far from the origin keep their digits
    visible = None if visible is None else visible.to(parameter.device)
    X, mean, rms = normalise(given, visible)
    X = X.to(parameter.dtype)
    index = torch.full((len(X),), loaded.rigs.index(rig), device=X.device)
    Y = loaded.lifter(X, visible, index)
    if loaded.config.objective.output == "depth":
        shapes = Y = observed_with_depth(X, Y, visible)
        residual = torch.zeros_like(rms)
    else:
        camera = fit(X, Y, visible, loaded.config.objective.camera)
        shapes = read_out_shape(X, Y, camera, visible, kind)
        residual = mean_square(geometry.project(Y, camera) - X, visible).sqrt() * rms
    shapes = shapes.double() * rms[:, None, None]
    picture = shapes[..., :2] + mean[:, None]
    if kind == "snap":  # the input's own numbers, not their image after there and back
        picture = given if visible is None else torch.where(visible[..., None], given, picture)
    return torch.cat([picture, shapes[..., 2:]], -1), Y, residual


def _checked(rig: Rig, keypoints: Any, visible: Any, frames: Sequence[int | str] | None) -> Tensor:
    """The mask, once everything fits."""
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
    if visible is None:
        visible = _everywhere(keypoints)
    if not isinstance(visible, Tensor) or visible.dtype != torch.bool:
        kind = getattr(visible, "dtype", type(visible).__name__)
        raise ValueError(f"visible is {kind}, expected a tensor of torch.bool")
    if visible.shape != keypoints.shape[:2]:
        raise ValueError(f"visible has shape {list(visible.shape)}, expected {list(keypoints.shape[:2])}")
    visible = visible.to(keypoints.device)
    enough, finite, spread = _conditions(keypoints, visible)
    if len(bad := (~enough).nonzero()):
        f = int(bad[0])
        raise ValueError(f"{_place(frames, f)} has {int(visible[f].sum())} visible keypoints, expected at least 3")
    if len(bad := (~finite).nonzero()):
        f, n = bad[0].tolist()
        value = ", ".join(f"{v:g}" for v in keypoints[f, n].tolist())
        hint = "mark it as not visible if it is missing"
        raise ValueError(f"{_place(frames, f)}, keypoint {rig.keypoints[n]} is ({value}), not finite; {hint}")
    if len(bad := (~spread).nonzero()):
        raise ValueError(f"{_place(frames, int(bad[0]))}: all visible keypoints are in the same place")
    return visible


def _conditions(keypoints: Tensor, visible: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What a sample must fulfil: enough visible [F], visible or finite [F, N], some distance between them [F]."""
    finite = keypoints.isfinite().all(-1) | ~visible
    low, high = (torch.where(visible[..., None], keypoints, v).unbind(-1) for v in (torch.inf, -torch.inf))
    extent = torch.stack([h.amax(1) - v.amin(1) for h, v in zip(high, low, strict=True)], -1).amax(-1)
    return visible.sum(1) >= 3, finite, ~(extent <= 0)  # not finite is another fault


def _everywhere(keypoints: Tensor) -> Tensor:
    return torch.ones(keypoints.shape[:2], dtype=torch.bool, device=keypoints.device)


def _place(frames: Sequence[int | str] | None, f: int) -> str:
    return f"sample {f}" if frames is None else f"frame {frames[f]}"


def _locate(path: str | os.PathLike, store: RunStore) -> Path:
    """The weights' file that a path or a run's id means."""
    given = Path(path)
    if given.is_file():
        return given
    folder = given if given.is_dir() else store.folder(str(path))
    if (folder / WEIGHTS).is_file():
        return folder / WEIGHTS
    if (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder}: the run is not finished; the command that started it goes on with it")
    if given.is_dir():
        raise FileNotFoundError(f"{folder}: no {WEIGHTS} in this folder")
    known = sorted(file.parent.name for file in store.root.glob(f"*/{WEIGHTS}"))
    near = difflib.get_close_matches(str(path), known, n=3) or known[:3]
    there = f"finished runs there: {len(known)}{', such as ' * bool(near)}{', '.join(near)}"
    raise FileNotFoundError(f"{path}: neither a file, nor a folder, nor the id of a run in {store.root} ({there})")


def _check_digest(file: Path) -> None:
    """Compares the weights with the record that lies beside them, if one does."""
    record = file.with_name("record.json")
    if file.name != WEIGHTS or not record.is_file():
        return
    content = files.read_json(record)
    digests = content.get("files") if isinstance(content, dict) else None
    expected = digests.get(WEIGHTS) if isinstance(digests, dict) else None
    if files.sha256_of(file) != expected:
        raise ValueError(f"{file}: damaged: its content does not match record.json beside it; train the run again")


def run_config(content: dict[str, Any]) -> RunConfig:
    """Inverse of writing a configuration as JSON, which has no tuples; raises ValueError where it does not fit."""
    return RunConfig.from_dict({key: tuple(v) if isinstance(v, list) else v for key, v in content.items()})


def _rigs(content: list[dict[str, Any]]) -> tuple[Rig, ...]:
    """Inverse of writing rigs as JSON, which has no tuples."""
    pairs = {"edges", "symmetry"}
    return tuple(
        Rig(**{
            key: tuple(tuple(pair) for pair in value) if key in pairs else tuple(value) if key == "keypoints" else value
            for key, value in rig.items()
        })
        for rig in content
    )  # fmt: skip
