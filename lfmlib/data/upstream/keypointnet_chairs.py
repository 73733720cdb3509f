"""chair21_keypointnet, chair10_keypointnet: annotated ShapeNet chairs, and the four-legged complete ones of them."""

from pathlib import Path

import numpy as np

from lfmlib import files, rigs
from lfmlib.data.loaders.base import shape_set
from lfmlib.data.shapes import ShapeSet
from lfmlib.data.upstream.common import builder, need

FOUR_LEGS = (0, 1, 2, 3, 4, 5, 17, 18, 19, 20)  # semantic ids: back, seat, and one leg at each corner


def build(root: Path, every: int, name: str) -> ShapeSet:
    """Split of the repository, its validation part counted as test."""
    path = need(root, "annotations", "chair.json")
    chairs = files.read_json(path)
    held = {word for part in ("test", "val") for word in need(root, "splits", f"{part}.txt").read_text().split()}
    rig = rigs.get("chair21_keypointnet")
    if not isinstance(chairs, list) or not chairs:
        raise ValueError(f"{path}: expected a list of models")
    Y, split = np.full((len(chairs), rig.n, 3), np.nan), np.zeros(len(chairs), int)
    for i, chair in enumerate(chairs):
        try:
            split[i] = f"{chair['class_id']}-{chair['model_id']}" in held
            for point in chair["keypoints"]:
                Y[i, int(point["semantic_id"])] = [float(x) for x in point["xyz"]]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"{path}: model {i}: {error!r}") from error
    number = np.arange(len(chairs))
    if name == "chair10_keypointnet":
        keep = np.isfinite(Y[:, FOUR_LEGS]).all((1, 2))
        Y, split, number, rig = Y[keep][:, FOUR_LEGS], split[keep], number[keep], rigs.get(name)
    return shape_set(rig, Y[::every], split[::every], number[::every], str(path))


LOADERS = {
    name: builder(name, f"{rigs.get(name).n} keypoints in ShapeNet's unit, y up",
                  lambda path, every, name=name: build(path, every, name))
    for name in ("chair21_keypointnet", "chair10_keypointnet")
}  # fmt: skip
