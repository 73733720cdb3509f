"""AcinoSet: cheetahs on the run, 3D positions of 20 joints from a trajectory fitted to several cameras."""

from pathlib import Path

import numpy as np

from lfmlib import rigs
from lfmlib.data.loaders import mocap
from lfmlib.data.loaders.base import Loader
from lfmlib.data.loaders.mocap import Recording
from lfmlib.data.loaders.unpickle import load_pickle
from lfmlib.data.shapes import ShapeSet

NAME = "cheetah20_acinoset"
KEYPOINTS = (
    "l_eye", "r_eye", "nose", "neck_base", "spine", "tail_base", "tail1", "tail2", "l_shoulder", "l_front_knee",
    "l_front_ankle", "r_shoulder", "r_front_knee", "r_front_ankle", "l_hip", "l_back_knee", "l_back_ankle", "r_hip",
    "r_back_knee", "r_back_ankle",
)  # fmt: skip
BONES = (
    "nose l_eye r_eye nose", "l_eye neck_base", "r_eye neck_base spine tail_base tail1 tail2",
    "neck_base l_shoulder l_front_knee l_front_ankle", "neck_base r_shoulder r_front_knee r_front_ankle",
    "tail_base l_hip l_back_knee l_back_ankle", "tail_base r_hip r_back_knee r_back_ankle",
)  # fmt: skip
FILES = ("fte.pickle", "traj_opt.pickle", "traj_results.pickle")


def read(path: Path, every: int) -> dict[str, ShapeSet]:
    """Reads <date>/<animal>/<run>/fte/fte.pickle (in older copies traj_opt.pickle): the field `positions`.

    The pickles are read by `unpickle`, which makes nothing but arrays, plain containers and numbers. The lure, which
    newer files add as a 21st point, is left out.

    Args:
        path: such a file, or a folder that is searched with all below it.
        every: keep every so-manieth frame.
    Returns:
        cheetah20_acinoset: metres, z up. No split is official: every fifth animal is test.
    Raises:
        FileNotFoundError: no such path, or no such file in it.
        ValueError: a file holds anything else; names the file and the field or frame.
    Source: African-Robotics-Unit/AcinoSet, src/lib/misc.py (order), src/lib/utils.py (content of the pickle) and
        src/all_optimizations.py (lengths in metres; head pitch and roll are bounded about z, which is up).
    """
    if path.is_file():
        found = [path]
    elif path.is_dir():
        found = sorted(p for name in FILES for p in path.rglob(name))
    else:
        raise FileNotFoundError(f"{path}: no such file or folder")
    if not found:
        raise FileNotFoundError(f"{path}: no {' or '.join(FILES)} in it")
    rig = rigs.build(
        NAME, KEYPOINTS, BONES, symmetry=mocap.mirror_pairs(KEYPOINTS), unit="m", mm=1000.0, up="+z",
        family="quadruped",
    )  # fmt: skip
    return {NAME: mocap.merged(rig, [_recording(file, every) for file in found], path)}


def _recording(path: Path, every: int) -> Recording:
    content = load_pickle(path)
    if not isinstance(content, dict) or "positions" not in content:
        raise ValueError(f"{path}: expected a dictionary with positions")
    try:
        points = np.array(content["positions"], np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: positions is not an array of numbers ({error})") from error
    if points.ndim != 3 or not len(points) or points.shape[1] not in (20, 21) or points.shape[2] != 3:
        raise ValueError(f"{path}: positions has shape {list(points.shape)}, expected [frames, 20, 3]")
    points = points[:, : len(KEYPOINTS)]
    if not np.isfinite(points).all():
        raise ValueError(f"{path}: positions of frame {int((~np.isfinite(points)).any((1, 2)).argmax())} not finite")
    run = path.parent
    while run.name.startswith(("fte", "full_traj")):  # the folder of results, within that of the run
        run = run.parent
    return Recording(path, run.parent.name, KEYPOINTS, (), points[::every])


LOADER = Loader(
    name="acinoset",
    title="AcinoSet cheetahs (fte.pickle)",
    get="github.com/African-Robotics-Unit/AcinoSet",
    licence="see the repository",
    expects="fte.pickle, or the folder with DATE/ANIMAL/RUN/fte/fte.pickle",
    gives="20 keypoints in world coordinates, metres, z up; every fifth animal is test",
    read=read,
)
