"""Keypoints as a detector gives them: jittered with heavy tails, at times far off or left for right, or not found; and
the COCO files in which they come."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lfmlib import files
from lfmlib.data.formats import LARGEST, Keypoints
from lfmlib.data.views import normalise, visible_or_all

TAIL = 3  # degrees of freedom of the jitter: finite variance, and one error in 50 beyond 4.5 times the scale
BELIEF = 0.2  # error in object sizes that halves a detector's confidence, or so
LEAST_LEFT = 3  # keypoints that stay in sight: a camera needs so many


@dataclass(frozen=True)
class DetectorNoise:
    """How a detector errs. Lengths are shares of the object's size, the RMS distance of its keypoints from their mean.

    Args:
        jitter: scale of every coordinate's error, Student's t with 3 degrees of freedom.
        outliers: chance that a keypoint is found somewhere else, anywhere in the object's bounding box.
        swaps: chance that the two keypoints of a mirror pair are taken for each other, where both are found.
    Raises:
        ValueError: jitter negative or not finite, a chance outside [0, 1].
    Source: ours. The papers print no error statistics of their detectors.
    """

    jitter: float | int = 0.04
    outliers: float | int = 0.02
    swaps: float | int = 0.03

    def __post_init__(self) -> None:
        if not 0 <= self.jitter < math.inf:
            raise ValueError(f"jitter is {self.jitter!r}: expected a share of the object's size, 0 or more")
        for name in ("outliers", "swaps"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)!r}: expected a chance in [0, 1]")

    def times(self, factor: float | int) -> "DetectorNoise":
        """The same kinds of error, so many times as large and as frequent."""
        return DetectorNoise(**{name: factor * value for name, value in asdict(self).items()})


class Detections(NamedTuple):
    """points: as found, in the input's unit; [B, N, 2]. confidence: in (0, 1], 0 where not visible; [B, N]."""

    points: Float[Tensor, "B N 2"]
    confidence: Float[Tensor, "B N"]


def gaussian(
    X: Float[Tensor, "B N 2"],
    share: float | int,
    generator: torch.Generator,
    visible: Bool[Tensor, "B N"] | None = None,
) -> Float[Tensor, "B N 2"]:
    """Keypoints with independent normal noise on x and y, its sd a share of the object's size.

    Args:
        X: keypoints, any unit; [B, N, 2].  share: standard deviation per coordinate, 0.05 is 5 % of the size.
        visible: keypoints that are disturbed and that make up the size, None = all; [B, N].
    Raises:
        ValueError: `share` is negative or not finite.
    """
    if not 0 <= share < math.inf:
        raise ValueError(f"share is {share!r}: expected a share of the object's size, 0 or more")
    size = normalise(X, visible)[2]
    noise = torch.randn(X.shape, generator=generator, dtype=X.dtype)
    return torch.where(visible_or_all(visible, X)[..., None], X + share * size[:, None, None] * noise, X)


def detect(
    X: Float[Tensor, "B N 2"],
    noise: DetectorNoise,
    generator: torch.Generator,
    visible: Bool[Tensor, "B N"] | None = None,
    pairs: Sequence[tuple[int, int]] = (),
) -> Detections:
    """What a detector makes of keypoints: pairs exchanged, then jitter, then outliers.

    The same generator state gives the same draws for every noise: errors of a weaker noise recur, larger, in a
    stronger one. Confidence falls with the error, but not reliably: exp(-u d^2 / (2 * 0.2^2)), d the error in object
    sizes, u uniform; a detector does not know that it has taken left for right.

    Args:
        X: true keypoints, any unit; [B, N, 2].  noise: see there.
        visible: keypoints that are found, None = all; the others stay as they are; [B, N].
        pairs: (left, right) keypoints that can be exchanged, see `Rig.symmetry`.
    """
    seen, size = visible_or_all(visible, X), normalise(X, visible)[2][:, None, None]
    B, N = X.shape[:2]
    draw = {"generator": generator, "dtype": X.dtype}
    points = X.clone()
    exchanged = torch.rand(B, len(pairs), **draw) < noise.swaps
    for number, (left, right) in enumerate(pairs):
        both = (exchanged[:, number] & seen[:, left] & seen[:, right])[:, None]
        points[:, left], points[:, right] = (
            torch.where(both, X[:, right], X[:, left]), torch.where(both, X[:, left], X[:, right]),
        )  # fmt: skip
    normal, chi = torch.randn(B, N, 2, **draw), torch.randn(B, N, 2, TAIL, **draw).square().mean(-1)
    error = noise.jitter * size * normal / chi.sqrt()
    inside = seen[..., None]
    low, high = (torch.where(inside, X, v) for v in (torch.inf, -torch.inf))
    low, high = low.amin(1, keepdim=True), high.amax(1, keepdim=True)
    anywhere = low + (high - low) * torch.rand(B, N, 2, **draw)
    lost = (torch.rand(B, N, **draw) < noise.outliers)[..., None]
    error = torch.where(lost, anywhere - points, error)
    squared = (error / size.clamp_min(torch.finfo(X.dtype).tiny)).square().sum(-1)
    belief = torch.exp(-torch.rand(B, N, **draw) * squared / (2 * BELIEF**2)).clamp_min(0.01)
    return Detections(torch.where(inside, points + error, X), torch.where(seen, belief, 0))


def hide(
    visible: Bool[Tensor, "B N"],
    share: float | int,
    generator: torch.Generator,
    edges: Sequence[tuple[int, int]] | None = None,
) -> Bool[Tensor, "B N"]:
    """Hides a share of each sample's visible keypoints, rounded, but leaves 3 in sight.

    Args:
        visible: keypoints in sight; [B, N].  share: in [0, 1].
        edges: None: keypoints at random; else the rig's edges: the nearest along them to a random keypoint, so that one
            connected part disappears, as behind an obstacle.
    Returns:
        What is still visible. The same generator state hides the same keypoints and more for a larger share.
    Raises:
        ValueError: `share` is out of range.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share!r}: expected a share of the keypoints in [0, 1]")
    order = torch.rand(visible.shape, generator=generator)
    if edges is not None:
        first = torch.where(visible, order, -1).argmax(1)
        order = torch.rand(visible.shape, generator=generator) + _hops(visible.shape[1], edges)[first]
    count = visible.sum(1)
    hidden = (share * count).round().clamp_max((count - LEAST_LEFT).clamp_min(0))
    rank = torch.where(visible, order, torch.inf).argsort(1).argsort(1)
    return visible & (rank >= hidden[:, None])


def _hops(n: int, edges: Sequence[tuple[int, int]]) -> Int[Tensor, "N N"]:
    """Edges between every two keypoints, N where none lead there."""
    hops = torch.full((n, n), n)
    hops.fill_diagonal_(0)
    for a, b in edges:
        hops[a, b] = hops[b, a] = 1
    for k in range(n):
        hops = torch.minimum(hops, hops[:, k, None] + hops[k])
    return hops.clamp_max(n)


def write_coco(path: str | os.PathLike, found: Detections, category: int = 1) -> None:
    """Writes detections as COCO's keypoint results: one object per picture, keypoints [x1, y1, c1, x2, ...] in pixels.

    Coordinates are rounded to hundredths, as detectors print them. Written atomically.

    Args:
        path: .json.  found: keypoints in pixels, confidence 0 where a keypoint is not there.
        category: COCO's number of the category.
    """
    triples = torch.cat([found.points.double(), found.confidence.double()[..., None]], -1)
    rows = [
        {"image_id": number, "category_id": category, "score": round(sum(one[2::3]) / (len(one) // 3), 4),
         "keypoints": [round(value, 4 if i % 3 == 2 else 2) for i, value in enumerate(one)]}
        for number, one in enumerate(triples.flatten(1).tolist())
    ]  # fmt: skip
    files.write_text(Path(path), json.dumps(rows, allow_nan=False) + "\n")


def read_coco(path: str | os.PathLike, least: float = 0.0) -> Keypoints:
    """Reads COCO's keypoint files: results (a list), or a data set with `annotations`, whose category names keypoints.

    Args:
        path: .json.
        least: a keypoint is missing unless its third number (confidence, or the flag 0, 1, 2) is above this.
    Returns:
        Keypoints in the file's order, one frame per object. A frame is called by its image_id, further objects of the
        image "7#2", "7#3".
    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, or several categories in it (names the file and the entry).
    """
    content = files.read_json(Path(path))
    names = None
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        named = [c["keypoints"] for c in content.get("categories", ()) if isinstance(c, dict) and "keypoints" in c]
        names = tuple(named[0]) if len(named) == 1 else None
        content = content["annotations"]
    if not isinstance(content, list) or not content:
        raise ValueError(f"{path}: expected COCO keypoint results, a list of objects, or a data set with annotations")
    triples = [_triples(f"{path}: object {number}", entry) for number, entry in enumerate(content)]
    if len({entry.get("category_id") for entry in content}) > 1:
        raise ValueError(f"{path}: objects of several categories: give each its own file")
    counts = sorted({len(row) for row in triples} | ({3 * len(names)} if names else set()))
    if len(counts) > 1:
        raise ValueError(f"{path}: {counts[0] // 3} keypoints in one place and {counts[1] // 3} in another")
    cells = torch.tensor(triples, dtype=torch.float64).view(len(triples), -1, 3)
    seen = cells[..., 2] > least
    points = torch.where(seen[..., None], cells[..., :2], 0).to(torch.float32)
    return Keypoints(points, seen, names, _frames([entry.get("image_id") for entry in content]))


def _triples(where: str, entry: Any) -> list[float]:
    """An object's x, y, confidence, one keypoint after the other."""
    row = entry.get("keypoints") if isinstance(entry, dict) else None
    if not isinstance(row, list) or not row or len(row) % 3:
        raise ValueError(f"{where}: keypoints is no list [x1, y1, c1, x2, ...] of three numbers each")
    for value in row:
        if type(value) not in (int, float) or not abs(value) <= LARGEST:
            raise ValueError(f"{where}: keypoints holds {str(value)[:40]}, expected finite numbers")
    return [float(value) for value in row]


def _frames(images: Sequence[Any]) -> tuple[int | str, ...]:
    """A name for every object: its image's, with a number from the second of the image on."""
    counts: dict[Any, int] = {}
    result = []
    for number, image in enumerate(images):
        image = number if image is None else image
        counts[image] = counts.get(image, 0) + 1
        result.append(image if counts[image] == 1 else f"{image}#{counts[image]}")
    return tuple(result)
