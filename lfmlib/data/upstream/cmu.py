"""human17_cmu, human22_cmu: CMU motion capture as exponential maps, through its own skeleton's forward kinematics."""

import ast
import re
from pathlib import Path

import numpy as np

from lfmlib import rigs
from lfmlib.data.loaders.base import shape_set
from lfmlib.data.shapes import ShapeSet
from lfmlib.data.upstream.common import builder, need, numbers, rodrigues

MM = 25.4 / 0.45  # a CMU unit in millimetres
JOINTS = 38
STEP = 4  # 120 to 30 frames a second
# keypoint of human22_cmu -> joint of the skeleton; fingers carry no captured motion (note of CMU) and are left out
JOINT_OF = {
    "Hips": 0, "LUp": 2, "LLeg": 3, "LFoot": 4, "LToe": 5, "LToeE": 6, "RUp": 8, "RLeg": 9, "RFoot": 10, "RToe": 11,
    "RToeE": 12, "Spine": 14, "Spine1": 15, "Neck1": 17, "Head": 18, "HeadE": 19, "LArm": 21, "LFore": 22, "LHand": 23,
    "RArm": 30, "RFore": 31, "RHand": 32,
}  # fmt: skip
# Human3.6M order; the pelvis is the middle of the hips
H36M = ("RUp", "RLeg", "RFoot", "LUp", "LLeg", "LFoot", "Spine", "Neck1", "Head", "HeadE", "LArm", "LFore", "LHand",
        "RArm", "RFore", "RHand")  # fmt: skip


def skeleton(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Parents (-1: the root) and offsets [38, 3] out of the repository's own source file, as literals.

    Raises:
        ValueError: the file does not hold the two arrays of 38 joints; names it.
    """
    text = path.read_text(encoding="utf-8")
    parent = re.search(r"parent\s*=\s*np\.array\((\[.*?\])\)\s*-\s*1", text, re.S)
    offset = re.search(r"offset\s*=\s*70\s*\*\s*np\.array\(\s*(\[.*?\])\s*\)", text, re.S)
    try:
        parents = np.array(ast.literal_eval(parent[1])) - 1
        offsets = np.array(ast.literal_eval(offset[1]), float).reshape(-1, 3)
    except (TypeError, ValueError, SyntaxError) as error:
        raise ValueError(f"{path}: no arrays `parent` and `offset` of the CMU skeleton ({error})") from error
    if parents.shape != (JOINTS,) or offsets.shape != (JOINTS, 3) or (parents >= np.arange(JOINTS)).any():
        raise ValueError(f"{path}: skeleton of {len(parents)} joints, expected {JOINTS}, parents before children")
    return parents, offsets


def joints(motion: np.ndarray, parents: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Joint positions in mm, y up, of frames [F, 117]: the root's place and 38 exponential maps; [F, 38, 3].

    Vectors are rows here: a child lies at offset @ R of its parent.
    """
    local = rodrigues(motion[:, 3:].reshape(len(motion), JOINTS, 3))
    turned: list[np.ndarray] = []
    placed: list[np.ndarray] = []
    for joint, parent in enumerate(parents):
        if parent < 0:
            turned.append(local[:, joint])
            placed.append(motion[:, :3])
        else:
            turned.append(local[:, joint] @ turned[parent])
            placed.append(offsets[joint] @ turned[parent] + placed[parent])
    return MM * np.stack(placed, 1)


def recordings(root: Path) -> dict[str, np.ndarray]:
    """Motions by "train/action/file" or "test/..."; of one that is there twice, the test one is kept."""
    files = sorted((root / "data" / "cmu_mocap").glob("*/*/*.txt"))
    if not files:
        raise FileNotFoundError(f"{root / 'data' / 'cmu_mocap'}: no recording (*/*/*.txt)")
    found = {}
    for path in files:
        split = path.parent.parent.name
        if split not in ("train", "test"):
            raise ValueError(f"{path}: lies in {split!r}, expected train or test")
        found[f"{split}/{path.parent.name}/{path.stem}"] = numbers(path, 3 + 3 * JOINTS)
    first: dict[tuple, str] = {}
    for name in sorted(found, key=lambda name: not name.startswith("test")):
        motion = found[name]
        first.setdefault((len(motion), motion[0].round(5).tobytes(), motion[-1].round(5).tobytes()), name)
    return {name: motion for name, motion in found.items() if name in set(first.values())}


def build(root: Path, every: int, name: str) -> ShapeSet:
    """All frames at 30 a second; the first of each file is the T pose of a conversion and is left out."""
    parents, offsets = skeleton(need(root, "src", "forward_kinematics_cmu.py"))
    points, split, sequence = [], [], []
    for number, (recording, motion) in enumerate(recordings(root).items()):
        frames = joints(motion[1 :: STEP * every], parents, offsets)
        points.append(frames)
        split += [int(recording.startswith("test"))] * len(frames)
        sequence += [number] * len(frames)
    P = np.concatenate(points)
    at = {keypoint: P[:, joint] for keypoint, joint in JOINT_OF.items()}
    if name == "human17_cmu":
        Y = np.stack([(at["LUp"] + at["RUp"]) / 2, *(at[joint] for joint in H36M)], 1)
    else:
        Y = np.stack([at[keypoint] for keypoint in rigs.get(name).keypoints], 1)
    return shape_set(rigs.get(name), Y, np.array(split), np.array(sequence), str(root))


LOADERS = {
    name: builder(name, f"{rigs.get(name).n} joints in mm, y up, 30 Hz; split of the repository",
                  lambda path, every, name=name: build(path, every, name))
    for name in ("human17_cmu", "human22_cmu")
}  # fmt: skip
