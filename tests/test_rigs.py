"""Rigs: the registry is consistent in itself and with the data it describes."""

import numpy as np
import pytest
import torch

from lfmlib import rigs
from lfmlib.data import real
from lfmlib.rigs import Rig

NAMES = ("a", "b", "c")


@pytest.mark.parametrize("name", rigs.names())
def test_registered_rig_is_sane(name):
    rig = rigs.get(name)
    assert rig.name == name and rig.n == len(rig.keypoints) >= 3
    mirror = torch.tensor(rig.mirror)
    assert torch.equal(mirror[mirror], torch.arange(rig.n))  # a mirror image of a mirror image is the original
    for left, right in rig.symmetry:
        a, b = rig.keypoints[left], rig.keypoints[right]
        assert not a.startswith("right") and not b.startswith("left"), f"{a} is not the left of {b}"


@pytest.mark.parametrize("name", ["synthetic_body17", "human17_cmu", "mouse22_dannce", "pascal3d_sofa", "fly30_walk"])
def test_left_names_are_all_paired(name):
    rig = rigs.get(name)
    lefts = {i for i, k in enumerate(rig.keypoints) if "left" in k or (k.startswith("L") and "fly" in name)}
    assert lefts <= {left for left, _ in rig.symmetry}


def test_units():
    mm = {name: rigs.get(name).mm for name in rigs.names()}
    assert mm["dog26_ai4animation"] == 1000 and mm["face68_ict"] == 10 and mm["human17_cmu"] == 1
    assert mm["pascal3d_bus"] is None and mm["bird18_aves"] is None
    assert all((mm[n] == 1) == (rigs.get(n).unit == "mm") for n in mm)


def test_unknown_name_offers_near_ones():
    with pytest.raises(ValueError, match="human17_cmu"):
        rigs.get("human17")
    with pytest.raises(ValueError, match="known: human17_cmu"):
        rigs.get("zzzz")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"keypoints": ("a", "b")}, "at least 3"),
        ({"keypoints": ("a", "b", "a")}, "given twice: a"),
        ({"edges": ((0, 3),)}, "edges has"),
        ({"edges": ((0, -1),)}, "edges has"),
        ({"edges": ((1, 1),)}, "with itself"),
        ({"edges": ((0, 1), (1, 0))}, "edge is given twice"),
        ({"symmetry": ((0, 1), (1, 2))}, "two symmetry pairs"),
        ({"mm": 0.0}, "mm is 0.0"),
        ({"mm": float("nan")}, "mm is nan"),
        ({"up": "y"}, "up is 'y'"),
        ({"handed": (((0,), (1,)), ((0,), (2,)))}, "handed is .* expected three pairs"),
        ({"handed": (((0,), (1,)), ((0,), (2,)), ((1,), (3,)))}, "indices in 0..2"),
        ({"handed": (((0,), (1,)), ((0,), (2,)), ((), (1,)))}, "none empty"),
        ({"handed": (((0,), (1,)), ((0,), (2,)), ((1, 2), (2,)))}, "or overlapping"),
    ],
)
def test_bad_rig_is_refused(fields, message):
    with pytest.raises(ValueError, match=f"rig 'r'.*{message}"):
        Rig(**{"name": "r", "keypoints": NAMES, **fields})


def test_directions_in_words():
    assert rigs.directions("r", NAMES, ["a > b", "a c > b"]) == (((0,), (1,)), ((0, 2), (1,)))
    with pytest.raises(ValueError, match="rig 'r'.*'d', which is no keypoint"):
        rigs.directions("r", NAMES, ["a > d"])
    with pytest.raises(ValueError, match="rig 'r'.*has 1 sides"):
        rigs.directions("r", NAMES, ["a b"])


def test_registry_and_files_agree(real_data):
    files = set(real.available(real_data))
    assert {n for n in rigs.names() if not n.startswith("synthetic")} <= files
    for name in files:
        assert len(real.load(name, real_data)) > 0  # load compares names and edges with the registry


# Their mean shapes are as good as symmetric, so that a wrong pair or a swapped axis would show.
SYMMETRIC = {"face68_ict": 0, "chair10_keypointnet": 0, "bird18_aves": 0} | {
    name: 0 for name in rigs.names() if name.startswith("pascal3d")
}


@pytest.mark.parametrize("name", SYMMETRIC)
def test_pairs_are_mirror_images_in_the_data(real_data, name):
    shapes = real.load(name, real_data)
    points = torch.where(shapes.known[..., None], shapes.points, torch.nan)
    mean = (points - points.nanmean(1, keepdim=True)).nanmean(0)
    flipped = mean[list(shapes.rig.mirror)] * torch.tensor([-1.0, 1.0, 1.0])
    assert (flipped - mean).abs().max() < 0.06 * mean.abs().max()


def test_up_axis_in_the_data(real_data):
    """The parts that stand on the ground are the lowest along `up`, by far."""
    low = {
        "human17_cmu": "ankle", "dog26_ai4animation": "toe", "chair21_keypointnet": "leg", "pascal3d_car": "wheel",
        "mouse22_dannce": "Hindpaw", "fly17_groom": "claw", "fly30_walk": "claw", "bird18_aves": "foot",
        "pascal3d_chair": "leg", "human22_cmu": "Foot",
    }  # fmt: skip
    for name, part in low.items():
        shapes = real.load(name, real_data)
        sign, axis = shapes.rig.up
        height = shapes.points[..., "xyz".index(axis)] * (1 if sign == "+" else -1)
        height = torch.where(shapes.known, height, torch.nan)
        ground = torch.tensor([part in keypoint for keypoint in shapes.rig.keypoints])
        drop = (height[:, ~ground].nanmean() - height[:, ground].nanmean()) / shapes.radius
        assert drop > 0.3, (name, float(drop))
        assert np.isfinite(shapes.radius)
