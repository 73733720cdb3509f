"""hand13_markers_dfki: optical markers on a glove, one recording as tab-separated text."""

from pathlib import Path

import numpy as np

from lfmlib import rigs
from lfmlib.data.loaders.base import shape_set
from lfmlib.data.shapes import ShapeSet
from lfmlib.data.upstream.common import builder, need

NAME = "hand13_markers_dfki"
STEP = 2  # 100 to 50 frames a second
LEAST = 9  # markers of a frame that is used
TRAIN, GAP = 0.75, 100  # share of the frames to train; so many before the cut are left out


def markers(path: Path) -> tuple[list[str], np.ndarray]:
    """Names, and positions in mm [F, M, 3], NaN where a marker was lost (written as zeros).

    Raises:
        ValueError: the head lines are absent, or a line has too few cells; names file and line.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    names = next((line.split("\t")[1:] for line in lines if line.startswith("MARKER_NAMES")), None)
    head = next((i for i, line in enumerate(lines) if line.startswith("Frame\t")), None)
    if not names or head is None:
        raise ValueError(f"{path}: no line MARKER_NAMES or no line that begins with Frame")
    width = 2 + 3 * len(names)
    rows = []
    for at, line in enumerate(lines[head + 1 :], head + 2):
        if not line.strip():
            continue
        cells = line.split("\t")
        try:
            row = [float(cell) if cell.strip() else np.nan for cell in cells[2:width]]
        except ValueError as error:
            raise ValueError(f"{path}: line {at}: {error}") from None
        if len(row) != width - 2:
            raise ValueError(f"{path}: line {at} has {len(cells)} cells, expected {width}")
        rows.append(row)
    if not rows:
        raise ValueError(f"{path}: no frame")
    P = np.array(rows).reshape(len(rows), -1, 3)
    P[(P == 0).all(-1)] = np.nan
    return names, P


def build(root: Path, every: int) -> ShapeSet:
    """Every second frame that has 9 markers or more; split by time, with a gap."""
    path = need(root, "test", "data", "recording.tsv")
    names, P = markers(path)
    rig = rigs.get(NAME)
    if absent := [keypoint for keypoint in rig.keypoints if keypoint not in names]:
        raise ValueError(f"{path}: no marker {absent[0]!r}; there are {', '.join(names)}")
    P = P[:, [names.index(keypoint) for keypoint in rig.keypoints]]
    frame = np.arange(len(P))[:: STEP * every]
    frame = frame[np.isfinite(P[frame]).all(-1).sum(1) >= LEAST]
    cut = int(TRAIN * len(P))
    frame = frame[(frame < cut - GAP) | (frame >= cut)]
    split = (frame >= cut).astype(int)
    return shape_set(rig, P[frame], split, split, str(path))


LOADERS = {NAME: builder(NAME, "13 markers in mm; split by time", build)}
