"""BVH motion capture: a joint hierarchy with offsets, and joint angles for every frame."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lfmlib.data.loaders import mocap
from lfmlib.data.loaders.base import Loader
from lfmlib.data.loaders.mocap import Recording
from lfmlib.data.shapes import ShapeSet

CMU_MM = 25.4 / 0.45  # the CMU data base counts in units of 1/0.45 inch, and its BVH files kept them
CMU_JOINTS = {line[1] for line in mocap.CMU}
REST = 0.6  # a first frame with so many angles exactly 0 is the rest pose that the conversion put before the motion
CHANNELS = {f"{axis}{kind}" for axis in "XYZ" for kind in ("position", "rotation")}


class Joint(NamedTuple):
    """A joint or end site: index of its parent (-1: the root), offset from it, names of its channels."""

    name: str
    parent: int
    offset: np.ndarray
    channels: tuple[str, ...]


def read(path: Path, every: int) -> dict[str, ShapeSet]:
    """Reads .bvh files: joint positions by forward kinematics, end sites among them.

    Angles are applied in the order of the channels, the first outermost. Position channels of the root are added to
    its offset, those of another joint replace it. Joints that always lie on their parent are left out. CMU's joints
    give human22_cmu and human17_cmu in mm, without the rest pose that its conversion put before each motion.

    Args:
        path: a file, or a folder that is searched with all below it.
        every: keep every so-manieth frame.
    Returns:
        human22_cmu and human17_cmu, or one category named after the path, y up.
    Raises:
        FileNotFoundError: no such path, or no .bvh file in it.
        ValueError: a file is not BVH, or cut short; names the file and the joint or frame.
    Source: the layout as in una-dinosauria/cmu-mocap, e.g. 007/07_01.bvh (1/120 s, Zrotation Yrotation Xrotation).
    """
    recordings = [_recording(file, every) for file in mocap.find(path, ".bvh")]
    cmu = set(recordings[0].names) >= CMU_JOINTS
    return mocap.skeletons(recordings, path, "bvh", CMU_MM if cmu else None)


def _recording(path: Path, every: int) -> Recording:
    head, motion, tail = mocap.text_of(path).partition("MOTION")
    if not motion:
        raise ValueError(f"{path}: no MOTION (not a BVH file, or cut short)")
    joints = _hierarchy(path, head)
    angles = _motion(path, tail, sum(len(joint.channels) for joint in joints))
    if {joint.name for joint in joints} >= CMU_JOINTS and len(angles) > 1 and (angles[0] == 0).mean() >= REST:
        angles = angles[1:]
    at, R = [], []
    column = 0
    for joint in joints:
        here = dict(zip(joint.channels, angles[::every, column : column + len(joint.channels)].T, strict=True))
        column += len(joint.channels)
        turns = [channel for channel in joint.channels if channel.endswith("rotation")]
        order, degrees = "".join(turn[0] for turn in turns), [here[turn] for turn in turns]
        local = mocap.euler(order, np.array(degrees).reshape(len(turns), -1).T if turns else angles[::every, :0])
        moved = np.stack([here.get(f"{axis}position", np.zeros(len(local))) for axis in "XYZ"], 1)
        if joint.parent < 0:
            at.append(joint.offset + moved)
            R.append(local)
        else:
            offset = moved if _moves(joint) else np.broadcast_to(joint.offset, moved.shape)
            at.append(at[joint.parent] + (R[joint.parent] @ offset[..., None])[..., 0])
            R.append(R[joint.parent] @ local)
    new = [bool(joint.offset.any()) or _moves(joint) for joint in joints]
    kept, edges = mocap.contracted([joint.parent for joint in joints], new)
    names = tuple(joints[i].name for i in kept)
    return Recording(path, path.stem.split("_")[0], names, edges, np.stack([at[i] for i in kept], 1))


def _moves(joint: Joint) -> bool:
    return any(channel.endswith("position") for channel in joint.channels)


def _hierarchy(path: Path, text: str) -> list[Joint]:
    """The joints, parents before children."""
    words = iter(text.split())
    if next(words, "") != "HIERARCHY":
        raise ValueError(f"{path}: does not begin with HIERARCHY, so it is not a BVH file")
    joints: list[Joint] = []
    open_joints: list[int] = []
    for word in words:
        if word == "}":
            if not open_joints:
                raise ValueError(f"{path}: a closing brace too many in HIERARCHY")
            open_joints.pop()
        elif word in ("ROOT", "JOINT", "End"):
            if (word == "ROOT") != (not open_joints) or (word == "ROOT" and joints):
                raise ValueError(f"{path}: {word} where there can be none; expected one ROOT with all else inside")
            parent = open_joints[-1] if open_joints else -1
            name = " ".join(iter(lambda: next(words, "{"), "{"))
            if word == "End":
                joints.append(_joint(path, f"{joints[parent].name}_end", parent, words, site=True))
                if next(words, "") != "}":
                    raise ValueError(f"{path}: the end site of {joints[parent].name} is not closed")
            else:
                joints.append(_joint(path, name, parent, words))
                open_joints.append(len(joints) - 1)
        else:
            raise ValueError(f"{path}: {word!r} in HIERARCHY, expected JOINT, End Site or a closing brace")
    if open_joints or not joints:
        raise ValueError(f"{path}: HIERARCHY has no joint, or is cut short")
    return joints


def _joint(path: Path, name: str, parent: int, words: Iterator[str], site: bool = False) -> Joint:
    where = f"{path}: joint {name}"
    if next(words, "") != "OFFSET":
        raise ValueError(f"{where}: no OFFSET")
    offset = mocap.numbers([next(words, "") for _ in range(3)], f"{where}: OFFSET")
    if site:
        return Joint(name, parent, offset, ())
    if next(words, "") != "CHANNELS" or not (count := next(words, "")).isdecimal() or int(count) > 6:
        raise ValueError(f"{where}: no CHANNELS with a number of at most 6")
    channels = tuple(next(words, "") for _ in range(int(count)))
    if wrong := [channel for channel in channels if channel not in CHANNELS]:
        raise ValueError(f"{where}: channel {wrong[0]!r}, expected Xposition ... Zrotation")
    return Joint(name, parent, offset, channels)


def _motion(path: Path, text: str, count: int) -> np.ndarray:
    """The channels of every frame, [F, count]."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line.split(":")[-1].strip() for line in lines[:2]]
    if len(said) < 2 or not lines[0].startswith("Frames:") or not lines[1].startswith("Frame Time:"):
        raise ValueError(f"{path}: MOTION is not followed by 'Frames:' and 'Frame Time:'")
    rows = [line.split() for line in lines[2:]]
    if not said[0].isdecimal() or int(said[0]) != len(rows) or not rows:
        raise ValueError(f"{path}: 'Frames: {said[0]}', but there are {len(rows)} lines of motion")
    for frame, row in enumerate(rows):
        if len(row) != count:
            raise ValueError(f"{path}: frame {frame} has {len(row)} numbers, expected {count}")
    return mocap.numbers(rows, f"{path}: MOTION")


LOADER = Loader(
    name="bvh",
    title="Motion capture in BVH files, such as the CMU data base's",
    get="http://mocap.cs.cmu.edu; as BVH e.g. github.com/una-dinosauria/cmu-mocap",
    licence="CMU: free for all uses; others: their own",
    expects="a .bvh file, or a folder of them",
    gives="joint positions in world coordinates, y up; CMU's joints as human22_cmu and human17_cmu in mm; every fifth "
    "subject (the file name up to the first underscore) is test",
    read=read,
)
