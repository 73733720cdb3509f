"""dog26_ai4animation: joint positions of one dog, text files."""

from pathlib import Path

import numpy as np

from lfmlib import rigs
from lfmlib.data.loaders.base import shape_set
from lfmlib.data.shapes import ShapeSet
from lfmlib.data.upstream.common import builder, numbers

NAME = "dog26_ai4animation"
JOINTS, DOUBLE = 27, 1  # joint 1 lies where the pelvis is
LOOPS = ("dog_pace", "dog_trot")  # cut out of walk00 and walk03
TEST = ("dog_run01", "dog_walk02", "dog_walk05", "dog_turn00")
SUFFIX = "_joint_pos"


def build(root: Path, every: int) -> ShapeSet:
    """Every clip that is no loop out of another one; four clips are the test split."""
    files = sorted((root / "retarget_motion" / "data").glob(f"dog_*{SUFFIX}.txt"))
    if not files:
        raise FileNotFoundError(f"{root / 'retarget_motion' / 'data'}: no dog_*{SUFFIX}.txt")
    points, split, sequence = [], [], []
    clips = [path for path in files if path.stem.removesuffix(SUFFIX) not in LOOPS]
    for number, path in enumerate(clips):
        frames = numbers(path, 3 * JOINTS).reshape(-1, JOINTS, 3)[::every]
        points.append(np.delete(frames, DOUBLE, axis=1))
        split += [int(path.stem.removesuffix(SUFFIX) in TEST)] * len(frames)
        sequence += [number] * len(frames)
    return shape_set(rigs.get(NAME), np.concatenate(points), np.array(split), np.array(sequence), str(root))


LOADERS = {NAME: builder(NAME, "26 joints in about metres, y up; four clips to test", build)}
