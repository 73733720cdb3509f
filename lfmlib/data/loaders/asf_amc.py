"""Acclaim motion capture: a skeleton of bones (.asf) and their angles for every frame (.amc), as CMU publishes them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from lfmlib.data.loaders import mocap
from lfmlib.data.loaders.base import Loader
from lfmlib.data.loaders.mocap import Recording
from lfmlib.data.shapes import ShapeSet

INCH = 25.4  # mm; a length of the file is in inches once divided by the `length` of its units


class Bone(NamedTuple):
    """A bone: vector from start to end at rest (file unit), its axis frame, and the angles that it has.

    Args:
        dof: e.g. "rx", "rz"; for the root also "tx" and so on.
    """

    name: str
    vector: np.ndarray
    axis: np.ndarray
    dof: tuple[str, ...]


class Skeleton(NamedTuple):
    """Bones with parents before children; the first is the root. mm: per unit; degrees: whether angles are."""

    bones: tuple[Bone, ...]
    parent: tuple[int, ...]
    mm: float
    degrees: bool


def read(path: Path, every: int) -> dict[str, ShapeSet]:
    """Reads .amc files with the .asf skeletons that lie beside them: where each bone ends, by forward kinematics.

    A bone turns by C M C^-1 in its parent, where C is its axis and M its angles; of each, the first named axis turns
    first. Bones of length 0 are left out. CMU's bones give human22_cmu and human17_cmu.

    Args:
        path: an .amc file, or a folder that is searched with all below it. Its skeleton is the .asf in the same folder
            with the name that the .amc's has before the underscore, or the only one there.
        every: keep every so-manieth frame.
    Returns:
        human22_cmu and human17_cmu, or one category named after the path; mm, y up.
    Raises:
        FileNotFoundError: no such path, no .amc file in it, or no .asf beside one.
        ValueError: a file breaks the format or is cut short; names the file and the bone or frame.
    Source: CalciferZh/AMCParser, amc_parser.py (layout and kinematics); unit: mocap.cs.cmu.edu/faqs.php, 1/0.45 inch.
    """
    skeletons: dict[Path, Skeleton] = {}
    recordings = []
    for file in mocap.find(path, ".amc"):
        asf = _asf_of(file)
        if asf not in skeletons:
            skeletons[asf] = _skeleton(asf)
        recordings.append(_recording(file, skeletons[asf], every))
    return mocap.skeletons(recordings, path, "asf_amc", 1.0)


def _asf_of(amc: Path) -> Path:
    there = sorted(p for p in amc.parent.iterdir() if p.suffix.lower() == ".asf")
    named = [p for p in there if p.stem in (amc.stem, amc.stem.rpartition("_")[0])]
    if len(named or there) != 1:
        raise FileNotFoundError(f"{amc}: expected one .asf of its name beside it, found {len(named or there)}")
    return (named or there)[0]


def _skeleton(path: Path) -> Skeleton:
    sections = _sections(path)
    if missing := [s for s in ("units", "root", "bonedata", "hierarchy") if s not in sections]:
        raise ValueError(f"{path}: no section :{missing[0]} (not an ASF file, or cut short)")
    units = {line[0]: line[-1] for line in sections["units"]}
    angle = units.get("angle", "deg").lower()
    if angle not in ("deg", "rad") or "length" not in units:
        raise ValueError(f"{path}: :units needs a length, and an angle that is deg or rad, not {angle!r}")
    length = mocap.numbers([units["length"]], f"{path}: :units length")[0]
    if length <= 0:
        raise ValueError(f"{path}: :units length is {length}, expected more than 0")
    said = {line[0]: line[1:] for line in sections["root"]}
    turned = [*said.get("orientation", ["0", "0", "0"]), *said.get("axis", ["XYZ"])]
    order = tuple(word.lower() for word in said.get("order", ()))
    start = mocap.numbers(said.get("position", ["0", "0", "0"]), f"{path}: :root position")
    bones = [Bone("root", start, _axis(path, "root", turned, angle), order)]
    for words in _blocks(path, sections["bonedata"]):
        bones.append(_bone(path, words, angle))
    for bone in bones:
        if wrong := [d for d in bone.dof if d not in ("rx", "ry", "rz") and (bone.name != "root" or d[:1] != "t")]:
            raise ValueError(f"{path}: bone {bone.name} has the degree of freedom {wrong[0]!r}, expected rx, ry or rz")
    children = {line[0]: line[1:] for line in sections["hierarchy"] if line[0] not in ("begin", "end")}
    by_name = {bone.name: bone for bone in bones}
    ordered, parent = ["root"], [-1]
    for i, name in enumerate(ordered):  # grows while it runs, so that parents stand before their children
        for child in children.get(name, []):
            if child not in by_name or child in ordered:
                raise ValueError(f"{path}: :hierarchy has {child!r}, which is no bone, or stands there twice")
            ordered.append(child)
            parent.append(i)
    if lost := set(by_name) - set(ordered):
        raise ValueError(f"{path}: bone {sorted(lost)[0]} is not in :hierarchy")
    return Skeleton(tuple(by_name[name] for name in ordered), tuple(parent), INCH / length, angle == "deg")


def _sections(path: Path) -> dict[str, list[list[str]]]:
    sections: dict[str, list[list[str]]] = {}
    lines: list[list[str]] = []
    for line in mocap.text_of(path).splitlines():
        words = line.partition("#")[0].split()
        if words and words[0].startswith(":"):
            lines = sections[words[0][1:].lower()] = [words[1:]] if words[1:] else []
        elif words:
            lines.append(words)
    return sections


def _blocks(path: Path, lines: list[list[str]]) -> list[dict[str, list[str]]]:
    """What stands between each `begin` and `end`; the limits go over several lines and are not used."""
    blocks: list[dict[str, list[str]]] = []
    inside = False
    for words in lines:
        if words[0] in ("begin", "end"):
            if inside == (words[0] == "begin"):
                raise ValueError(f"{path}: :bonedata has {words[0]!r} twice in a row")
            inside = not inside
            if inside:
                blocks.append({})
        elif inside:
            blocks[-1][words[0]] = words[1:]
    if inside or not blocks:
        raise ValueError(f"{path}: :bonedata has no bone, or is cut short")
    return blocks


def _bone(path: Path, words: dict[str, list[str]], angle: str) -> Bone:
    name = " ".join(words.get("name", ["?"]))
    if missing := [field for field in ("name", "direction", "length", "axis") if not words.get(field)]:
        raise ValueError(f"{path}: bone {name} has no {missing[0]}")
    direction = mocap.numbers(words["direction"], f"{path}: bone {name}: direction")
    length = mocap.numbers(words["length"], f"{path}: bone {name}: length")
    if direction.shape != (3,) or length.shape != (1,) or length[0] < 0:
        raise ValueError(f"{path}: bone {name}: expected 3 numbers of direction and a length of 0 or more")
    dof = tuple(word.lower() for word in words.get("dof", ()))
    return Bone(name, length * direction, _axis(path, name, words["axis"], angle), dof)


def _axis(path: Path, name: str, words: list[str], angle: str) -> np.ndarray:
    if len(words) != 4 or sorted(words[3].upper()) != ["X", "Y", "Z"]:
        raise ValueError(f"{path}: bone {name}: axis is {' '.join(words)!r}, expected three angles and e.g. XYZ")
    # the angles stand as x y z, the letters say in which order they are applied
    angles = dict(zip("XYZ", mocap.numbers(words[:3], f"{path}: bone {name}: axis"), strict=True))
    order = words[3].upper()[::-1]
    degrees = np.array([[angles[letter] for letter in order]])
    return mocap.euler(order, degrees if angle == "deg" else np.degrees(degrees))[0]


def _recording(path: Path, skeleton: Skeleton, every: int) -> Recording:
    values = _frames(path, skeleton, every)
    at: list[np.ndarray] = []
    R: list[np.ndarray] = []
    for bone, parent in zip(skeleton.bones, skeleton.parent, strict=True):
        turns = [dof for dof in bone.dof if dof[0] == "r"][::-1]
        degrees = values[bone.name][:, [bone.dof.index(dof) for dof in turns]]
        M = mocap.euler("".join(dof[1] for dof in turns), degrees)
        local = bone.axis @ M @ bone.axis.T
        if parent < 0:
            slides = [bone.dof.index(f"t{axis}") if f"t{axis}" in bone.dof else None for axis in "xyz"]
            moved = [np.zeros(len(M)) if i is None else values[bone.name][:, i] for i in slides]
            R.append(local)
            at.append(bone.vector + np.stack(moved, 1))
        else:
            R.append(R[parent] @ local)
            at.append(at[parent] + R[-1] @ bone.vector)
    kept, edges = mocap.contracted(skeleton.parent, [bool(bone.vector.any()) for bone in skeleton.bones])
    names = tuple(skeleton.bones[i].name for i in kept)
    points = np.stack([at[i] for i in kept], 1) * skeleton.mm
    return Recording(path, path.stem.rpartition("_")[0] or path.stem, names, edges, points)


def _frames(path: Path, skeleton: Skeleton, every: int) -> dict[str, np.ndarray]:
    """Bone -> its values in every kept frame, [F, number of its dof], angles in degrees."""
    frames: list[dict[str, list[str]]] = []
    degrees = skeleton.degrees
    for line in mocap.text_of(path).splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        if words[0].startswith(":"):
            degrees = {":DEGREES": True, ":RADIANS": False}.get(words[0].upper(), degrees)
        elif len(words) == 1 and words[0].isdecimal():
            frames.append({})
        elif not frames:
            raise ValueError(f"{path}: {words[0]!r} before the first frame number (not an AMC file)")
        else:
            frames[-1][words[0]] = words[1:]
    if not frames:
        raise ValueError(f"{path}: no frame (not an AMC file, or cut short)")
    values = {}
    for bone in skeleton.bones:
        for number, frame in enumerate(frames, 1):
            if len(frame.get(bone.name, ())) != len(bone.dof):
                fault = f"{len(frame.get(bone.name, ()))} values for {bone.name}, expected {len(bone.dof)}"
                raise ValueError(f"{path}: frame {number} has {fault}")
        rows = [frame.get(bone.name, []) for frame in frames]
        numbers = mocap.numbers(rows, f"{path}: bone {bone.name}", 1)[::every]
        turning = np.array([dof[0] == "r" for dof in bone.dof], bool)
        values[bone.name] = np.where(turning & (not degrees), np.degrees(numbers), numbers)
    if unknown := set().union(*frames) - set(values):
        raise ValueError(f"{path}: {sorted(unknown)[0]!r} is no bone of its skeleton")
    return values


LOADER = Loader(
    name="asf_amc",
    title="CMU motion capture in Acclaim files (.asf and .amc)",
    get="http://mocap.cs.cmu.edu (allasfamc.zip)",
    licence="free for all uses",
    expects="an .amc file with its .asf beside it, or a folder of them (subjects/07/07.asf, 07_01.amc, ...)",
    gives="joint positions in world coordinates, y up, mm; CMU's bones as human22_cmu and human17_cmu; every fifth "
    "subject (the file name up to the last underscore) is test",
    read=read,
)
