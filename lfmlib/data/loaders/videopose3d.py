"""VideoPose3D's data_3d_h36m.npz: Human3.6M in one file, reduced to the 17 joints that move."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lfmlib.data.formats import Keypoints
from lfmlib.data.loaders.base import Loader
from lfmlib.data.loaders.human36m import from_recordings, rig17
from lfmlib.data.loaders.unpickle import load_npz_objects
from lfmlib.data.shapes import ShapeSet

FILE = "data_3d_h36m.npz"


def read(path: Path, every: int) -> dict[str, ShapeSet | Keypoints]:
    """The 17 joints in metres, world frame with z up.

    Args:
        path: data_3d_h36m.npz, or the folder that holds it. Its positions_3d is subject -> action -> [T, 32, 3].
        every: keep every so-manieth frame of each recording (they have 50 per second).
    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, holds other classes, or lacks positions_3d; a recording of another shape, not
            finite or of an unknown subject; names the file, the subject and the action.

    Source: common/h36m_dataset.py and data/prepare_data_h36m.py in github.com/facebookresearch/VideoPose3D.
    """
    path = path / FILE if path.is_dir() else path
    subjects = load_npz_objects(path, ("positions_3d",)).get("positions_3d")
    if not isinstance(subjects, dict):
        raise ValueError(f"{path}: no dictionary positions_3d")
    rig = rig17("videopose3d17", unit="m", mm=1000.0, up="+z")
    return {rig.name: from_recordings(rig, _recordings(path, subjects), every, str(path))}


def _recordings(path: Path, subjects: dict) -> Iterator[tuple[str, str, str, Any]]:
    for subject, actions in subjects.items():
        if not isinstance(actions, dict):
            raise ValueError(f"{path}: positions_3d: {subject} is no dictionary of actions")
        for action, positions in actions.items():
            yield str(subject), str(action), f"{path}: {subject} {action}", positions


LOADER = Loader(
    name="videopose3d",
    title="Human3.6M as VideoPose3D keeps it (data_3d_h36m.npz)",
    get="made by data/prepare_data_h36m.py of https://github.com/facebookresearch/VideoPose3D",
    licence="academic use only (Human3.6M)",
    expects="data_3d_h36m.npz, or the folder that holds it",
    gives="videopose3d17: 17 joints in metres, world frame, z up; S9 and S11 are the test, without S11's damaged "
    "Directions",
    read=read,
)
