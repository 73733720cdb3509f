"""What readers of recordings share: their files, who is held out, angles, left and right, and the joints of CMU."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lfmlib import rigs
from lfmlib.data.loaders.base import shape_set
from lfmlib.data.shapes import ShapeSet
from lfmlib.rigs import Rig

HOLD_OUT = 5  # every fifth subject is test

# Joints of the CMU data base: keypoint of human22_cmu, joint of its BVH files, bone of its ASF files that ends there.
# The BVH skeletons have no thorax segment; Spine1 is where the neck and the shoulders begin in both.
CMU = [said.split() for said in (
    "Hips Hips root, LUp LeftUpLeg lhipjoint, LLeg LeftLeg lfemur, LFoot LeftFoot ltibia, LToe LeftToeBase lfoot, "
    "LToeE LeftToeBase_end ltoes, RUp RightUpLeg rhipjoint, RLeg RightLeg rfemur, RFoot RightFoot rtibia, "
    "RToe RightToeBase rfoot, RToeE RightToeBase_end rtoes, Spine Spine lowerback, Spine1 Spine1 thorax, "
    "Neck1 Neck1 lowerneck, Head Head upperneck, HeadE Head_end head, LArm LeftArm lclavicle, "
    "LFore LeftForeArm lhumerus, LHand LeftHand lradius, RArm RightArm rclavicle, RFore RightForeArm rhumerus, "
    "RHand RightHand rradius"
).split(",")]  # fmt: skip
# human17_cmu, in its order: each is the mean of these
CMU17 = "LUp+RUp RUp RLeg RFoot LUp LLeg LFoot Spine Neck1 Head HeadE LArm LFore LHand RArm RFore RHand".split()


class Recording(NamedTuple):
    """What one file holds.

    Args:
        path: the file.
        group: subject or session; no group is in both splits.
        names: keypoints, in order.
        edges: index pairs that are bones.
        points: float64 [F, N, 3].
        known: None: every keypoint that is finite; [F, N].
    """

    path: Path
    group: str
    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    points: np.ndarray
    known: np.ndarray | None = None


def find(path: Path, suffix: str) -> list[Path]:
    """The file itself, or every file of that suffix in a folder and below, in the order of their names.

    Raises:
        FileNotFoundError: no such path, or no such file in it.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such file or folder")
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() == suffix and p.is_file())
    if not found:
        raise FileNotFoundError(f"{path}: no {suffix} file in it")
    return found


def text_of(path: Path) -> str:
    """A file's text; what is not UTF-8 becomes a mark that no parser takes for a number or a word of a format.

    Raises:
        ValueError: the file is empty; names it.
    """
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    if not text.strip():
        raise ValueError(f"{path}: the file is empty")
    return text


def numbers(cells: Sequence[str] | Sequence[Sequence[str]], where: str, first: int = 0) -> np.ndarray:
    """Text cells, or rows of them, as finite float64.

    Args:
        where: for error messages.
        first: number of the first row, where rows are frames.
    Raises:
        ValueError: a cell that is no finite number; says `where`, the frame and which.
    """
    try:
        values = np.array(cells, dtype=np.float64)
        fault = "" if np.isfinite(values).all() else f"{np.array(cells)[~np.isfinite(values)][0]} is not finite"
    except ValueError as error:
        fault = str(error)
    if fault and not isinstance(cells[0], str):
        for number, row in enumerate(cells, first):
            numbers(row, f"{where}, frame {number}")
    if fault:
        raise ValueError(f"{where}: {fault}")
    return values


def euler(order: str, degrees: np.ndarray) -> np.ndarray:
    """The product of rotations about coordinate axes, the first one leftmost: "ZX" is Rz @ Rx.

    Args:
        order: axes, any number of them.
        degrees: one angle per axis, [F, len(order)].
    Returns:
        [F, 3, 3].
    """
    R = np.broadcast_to(np.eye(3), (len(degrees), 3, 3))
    for axis, angle in zip(order.upper(), np.radians(degrees).T, strict=True):
        i = "XYZ".index(axis)
        j, k = (i + 1) % 3, (i + 2) % 3
        turn = np.zeros((len(degrees), 3, 3))
        turn[:, i, i] = 1
        turn[:, j, j] = turn[:, k, k] = np.cos(angle)
        turn[:, k, j] = np.sin(angle)
        turn[:, j, k] = -turn[:, k, j]
        R = R @ turn
    return R


def contracted(parents: Sequence[int], new: Sequence[bool]) -> tuple[list[int], tuple[tuple[int, int], ...]]:
    """Leaves joints out that always lie on their parent.

    Args:
        parents: index of each joint's parent, which stands before it; -1 for the root.
        new: False where a joint is to be left out; the root never is.
    Returns:
        (indices of the joints that stay, edges between them counted anew).
    """
    kept: list[int] = []
    stands_for: list[int] = []
    edges = []
    for i, parent in enumerate(parents):
        stays = parent < 0 or new[i]
        stands_for.append(len(kept) if stays else stands_for[parent])
        if stays and parent >= 0:
            edges.append((stands_for[parent], len(kept)))
        kept += [i] if stays else []
    return kept, tuple(edges)


def mirror_pairs(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """(left, right) index pairs of names that differ in left and right, or in an l and r before or behind the rest."""
    at = {name: i for i, name in enumerate(names)}
    swaps = (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"))
    letters = [r"^([lL])(?=.)", r"(?<=.)([lL])$", r"(?<=[_.\-\s(])([lL])(?=[_.\-\s)])"]
    pairs: list[tuple[int, int]] = []
    taken: set[int] = set()
    for i, name in enumerate(names):
        twins = [name.replace(word, twin) for word, twin in swaps]
        twins += [re.sub(letter, lambda m: "r" if m[1] == "l" else "R", name) for letter in letters]
        for twin in twins:
            if twin != name and twin in at and not {i, at[twin]} & taken:
                pairs.append((i, at[twin]))
                taken |= {i, at[twin]}
                break
    return tuple(pairs)


def category(path: Path, default: str) -> str:
    """A category's name after a file or folder: lower case, none of the registered ones."""
    name = re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_") or default
    return f"{name}_{default}" if name in rigs.names() else name


def split(recordings: Sequence[Recording]) -> tuple[np.ndarray, np.ndarray]:
    """Where a data set has no split of its own: every fifth group is test, or else every fifth file.

    The groups are counted in the order of their names; of fewer than five the last is test. A lone recording gives its
    last fifth, as a sequence of its own.

    Returns:
        (split, sequence) of every frame of all recordings, [F] each.
    """
    lengths = [len(recording.points) for recording in recordings]
    labels = [recording.group for recording in recordings]
    if len(set(labels)) == 1:
        labels = [str(recording.path) for recording in recordings]
    names = sorted(set(labels))
    if len(names) == 1 and len(recordings) == 1:
        late = np.arange(lengths[0]) >= lengths[0] - lengths[0] // HOLD_OUT
        return late.astype(np.int8), late.astype(np.int64)
    held = set(names[HOLD_OUT - 1 :: HOLD_OUT] or names[-1:]) if len(names) > 1 else set()
    return np.repeat([label in held for label in labels], lengths), np.repeat(np.arange(len(recordings)), lengths)


def merged(rig: Rig, recordings: Sequence[Recording], where: Path, camera: bool = False) -> ShapeSet:
    """All recordings as one set.

    Args:
        rig: its keypoints are the recordings', which must all have the same.
        where: for error messages.
        camera: the points are in camera coordinates, so that camera_R is the identity.
    Raises:
        ValueError: a file with other keypoints than the first, or with a frame that cannot be; names the file.
    """
    for recording in recordings:
        if recording.names != recordings[0].names:
            differ = sorted(set(recording.names) ^ set(recordings[0].names)) or ["their order"]
            raise ValueError(f"{recording.path}: other keypoints than {recordings[0].path}: {', '.join(differ[:9])}")
    points = np.concatenate([recording.points for recording in recordings])
    known = [np.isfinite(r.points).all(-1) if r.known is None else r.known for r in recordings]
    parts = split(recordings)
    eye = np.broadcast_to(np.eye(3), (len(points), 3, 3)) if camera else None
    return shape_set(rig, points, *parts, str(where), np.concatenate(known), eye)


def skeletons(recordings: Sequence[Recording], where: Path, default: str, mm: float | None) -> dict[str, ShapeSet]:
    """Recordings of joints: human22_cmu and human17_cmu where these are CMU's joints, else one category of all joints.

    Args:
        mm: millimetres per unit of the points; None: the file does not say.
    Raises:
        ValueError: as `merged`, or joints that no rig can have; names the file.
    """
    first = recordings[0]
    for column in (1, 2):
        joints = [line[column] for line in CMU]
        if set(joints) <= set(first.names) and mm is not None:
            merged(_rig(first, where, default, mm), recordings, where)  # the same joints everywhere
            chosen = [first.names.index(joint) for joint in joints]
            of22 = [r._replace(names=tuple(k for k, *_ in CMU), points=r.points[:, chosen] * mm) for r in recordings]
            index = {line[0]: i for i, line in enumerate(CMU)}
            means = [[index[part] for part in name.split("+")] for name in CMU17]
            of17 = [r._replace(points=np.stack([r.points[:, m].mean(1) for m in means], 1)) for r in of22]
            return {
                "human22_cmu": merged(rigs.get("human22_cmu"), of22, where),
                "human17_cmu": merged(rigs.get("human17_cmu"), of17, where),
            }
    rig = _rig(first, where, default, mm)
    return {rig.name: merged(rig, recordings, where)}


def _rig(recording: Recording, where: Path, default: str, mm: float | None) -> Rig:
    try:
        return Rig(
            name=category(where, default), keypoints=recording.names, edges=recording.edges,
            symmetry=mirror_pairs(recording.names), unit="mm" if mm == 1 else "file unit", mm=mm, family="human",
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(f"{recording.path}: {error}") from error
