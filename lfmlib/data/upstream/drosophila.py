"""fly17_groom, fly30_walk: one tethered fly each, pickled arrays of a triangulation."""

from pathlib import Path
from typing import Any

import numpy as np

from lfmlib import rigs
from lfmlib.data.loaders.base import shape_set
from lfmlib.data.loaders.unpickle import load_pickle
from lfmlib.data.shapes import ShapeSet
from lfmlib.data.upstream.common import builder, need

WALK = ("data", "df3d_pose_result__210902_PR_Fly1", "pose_result__210902_PR_Fly1_aligned.pkl")
GROOM = ("data", "anipose_220525_aJO_Fly001_001", "pose-3d", "converted_dict.pkl")
PARTS = ("Coxa", "Femur", "Tibia", "Tarsus", "Claw")
# Frames up to the first number train, from the second on test; the gap keeps them from resembling each other.
CUTS = {"fly30_walk": (700, 750), "fly17_groom": (4200, 4500)}


def _at(content: Any, path: Path, *keys: str) -> np.ndarray:
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            raise ValueError(f"{path}: no field {'/'.join(keys)}")
        content = content[key]
    array = np.asarray(content, float)
    if array.ndim not in (2, 3) or array.shape[-1] != 3:
        raise ValueError(f"{path}: {'/'.join(keys)} has shape {list(array.shape)}, expected [F, 3] or [F, K, 3]")
    return array


def build(root: Path, every: int, name: str) -> ShapeSet:
    """Split by time, with a gap between the two."""
    path = need(root, *(WALK if name == "fly30_walk" else GROOM))
    content = load_pickle(path)
    if name == "fly30_walk":
        legs = [f"{side}{pair}_leg" for side in "LR" for pair in "FMH"]
        Y = np.stack([_at(content, path, leg, part, "raw_pos_aligned") for leg in legs for part in PARTS], 1)
    else:
        Y = np.concatenate([_at(content, path, k) for k in ("LF_leg", "RF_leg", "L_head", "R_head", "Thorax")], 1)
    train, test = CUTS[name]
    frame = np.arange(len(Y))
    keep = ((frame < train) | (frame >= test)) & (frame % every == 0)
    split = (frame >= test).astype(int)[keep]
    return shape_set(rigs.get(name), Y[keep], split, split, str(path))


LOADERS = {
    name: builder(name, f"{rigs.get(name).n} keypoints, z up; split by time",
                  lambda path, every, name=name: build(path, every, name))
    for name in CUTS
}  # fmt: skip
