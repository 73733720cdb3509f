"""Human3.6M: 3D positions of the 32 joints per subject and action, reduced to the 17 that move."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lfmlib import rigs
from lfmlib.data.formats import Keypoints
from lfmlib.data.loaders.base import Loader, shape_set, split_by
from lfmlib.data.loaders.unpickle import numbers
from lfmlib.data.shapes import ShapeSet
from lfmlib.rigs import Rig

TRAIN, TEST = ("S1", "S5", "S6", "S7", "S8"), ("S9", "S11")
# of the 32: hip, right and left leg, spine to head, left and right arm; the others are copies or never move
KEPT = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
CORRUPT = ("S11", "Directions")  # its video is damaged; the usual protocol leaves it out


def rig17(name: str, **fields: Any) -> Rig:
    """The 17 joints under another name, with their names and bones as in human17_cmu; `fields`: unit, mm, up."""
    return replace(rigs.get("human17_cmu"), name=name, **fields)


def from_recordings(rig: Rig, recordings: Iterable[tuple[str, str, str, Any]], every: int, where: str) -> ShapeSet:
    """The shapes of recordings (subject, action, where, positions [T, 32, 3] or [T, 17, 3]); S9 and S11 are the test.

    Raises:
        ValueError: positions of another shape or not finite, a subject other than the seven, or no recording at all.
    """
    points, subjects, sequence = [], [], []
    for number, (subject, action, place, positions) in enumerate(recordings):
        if subject not in TRAIN + TEST:
            raise ValueError(f"{place}: subject {subject!r}, expected one of {', '.join(TRAIN + TEST)}")
        if (subject, action) == CORRUPT:
            continue
        joints = 17 if isinstance(positions, np.ndarray) and positions.shape[1:] == (17, 3) else 32
        kept = numbers(positions, ("T", joints, 3), place)[::every]
        points.append((kept if joints == 17 else kept[:, KEPT]).astype(np.float32))
        subjects += [subject] * len(kept)
        sequence += [number] * len(kept)
    if not subjects:
        raise ValueError(f"{where}: no recording")
    return shape_set(rig, np.concatenate(points), split_by(subjects, TEST), np.array(sequence), where)


def read(path: Path, every: int) -> dict[str, ShapeSet | Keypoints]:
    """The 17 joints in mm, world frame with z up.

    Args:
        path: folder with the subjects' folders S1, S5, ...; in each of them the files MyPoses/3D_positions/*.h5, or
            MyPoseFeatures/D3_Positions/*.cdf.mat.
        every: keep every so-manieth frame of each recording (they have 50 per second).
    Raises:
        FileNotFoundError: no such folder, or no such file in it.
        ValueError: a file cannot be read, or its positions are not as stated; names the file and the field or frame.

    Source: data/prepare_data_h36m.py in github.com/facebookresearch/VideoPose3D (both kinds of file), src/data_utils.py
    in github.com/una-dinosauria/3d-pose-baseline (names of the joints, subjects of the split). z is up: the cameras in
    VideoPose3D's common/h36m_dataset.py all stand at z = 1.5 to 1.6 m.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder")
    recordings = []
    for subject in TRAIN + TEST:
        files = list((path / subject / "MyPoses" / "3D_positions").glob("*.h5"))
        files = files or list((path / subject / "MyPoseFeatures" / "D3_Positions").glob("*.cdf.mat"))
        recordings += [(subject, file) for file in sorted(files, key=_action)]
    if not recordings:
        raw = any(path.glob("S*/MyPoseFeatures/D3_Positions/*.cdf"))
        hint = "; the .cdf files there need VideoPose3D's data/tools/convert_cdf_to_mat.m first" if raw else ""
        raise FileNotFoundError(
            f"{path}: no S*/MyPoses/3D_positions/*.h5 and no S*/MyPoseFeatures/D3_Positions/*.cdf.mat{hint}"
        )
    read_one = {".h5": _h5, ".mat": _mat}
    found = ((subject, _action(file), str(file), read_one[file.suffix](file)) for subject, file in recordings)
    return {"human36m17": from_recordings(rig17("human36m17", unit="mm", mm=1.0, up="+z"), found, every, str(path))}


def _action(file: Path) -> str:
    return file.name.split(".")[0]


def _h5(file: Path) -> np.ndarray:
    import h5py

    try:
        with h5py.File(file) as archive:
            positions = archive["3D_positions"][()]
    except (OSError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: no HDF5 file with the data set 3D_positions ({error})") from error
    return numbers(positions, (96, "T"), f"{file}: 3D_positions").T.reshape(-1, 32, 3)


def _mat(file: Path) -> np.ndarray:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        positions = loadmat(file)["data"][0, 0]
    except (MatReadError, ValueError, TypeError, LookupError, OSError, NotImplementedError, EOFError) as error:
        raise ValueError(f"{file}: no MATLAB file (up to version 7) with the cell data{{1, 1}} ({error})") from error
    return numbers(positions, ("T", 96), f"{file}: data").reshape(-1, 32, 3)


LOADER = Loader(
    name="human36m",
    title="Human3.6M, positions as .h5 (3d-pose-baseline's h36m.zip) or .cdf.mat",
    get="http://vision.imar.ro/human3.6m (registration)",
    licence="academic use only",
    expects="the folder with S1, S5, S6, S7, S8, S9 and S11: S*/MyPoses/3D_positions/*.h5 or "
    "S*/MyPoseFeatures/D3_Positions/*.cdf.mat",
    gives="human36m17: 17 joints in mm, world frame, z up; S9 and S11 are the test, without S11's damaged Directions",
    read=read,
)
