"""AcinoSet: positions out of pickles that may hold nothing but arrays and plain containers."""

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from lfmlib.data import real
from lfmlib.data.loaders import acinoset

RNG = np.random.default_rng(0)


def write(path: Path, positions, **more) -> Path:
    """fte.pickle as save_optimised_cheetah writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    states = {"x": [[0.0] * 28] * len(positions), "dx": [[0.0] * 28], "start_frame": 30}
    path.write_bytes(pickle.dumps({"positions": positions} | states | more))
    return path


def run(folder: Path, frames: int = 4, points: int = 20, name: str = "fte.pickle") -> np.ndarray:
    """A run's file, its positions a list of arrays; returns them."""
    positions = RNG.normal(size=(frames, points, 3))
    write(folder / name, list(positions))
    return positions


def test_a_file(tmp_path):
    positions = run(tmp_path / "fte", 10)
    ((name, shapes),) = acinoset.read(tmp_path / "fte" / "fte.pickle", 1).items()
    assert name == "cheetah20_acinoset" and shapes.rig.keypoints == acinoset.KEYPOINTS and shapes.rig.n == 20
    assert (shapes.rig.unit, shapes.rig.mm, shapes.rig.up) == ("m", 1000.0, "+z") and len(shapes.rig.symmetry) == 7
    assert torch.equal(shapes.points, torch.from_numpy(positions.astype(np.float32))) and shapes.known.all()
    assert shapes.split.tolist() == shapes.sequence.tolist() == [0] * 8 + [1] * 2
    assert len(acinoset.read(tmp_path / "fte" / "fte.pickle", 3)[name]) == 4
    real.save(shapes, tmp_path / f"{name}.npz")
    assert torch.equal(real.load(tmp_path / f"{name}.npz").points, shapes.points)


def test_animals_are_split_and_the_lure_is_left_out(tmp_path):
    for animal, frames in (("jules", 4), ("lily", 5)):
        for attempt in ("flick1", "run2"):
            last = run(tmp_path / "2019_03_09" / animal / attempt / "fte", frames, 21)
    run(tmp_path / "2017_12_12" / "jules" / "run1", name="traj_opt.pickle")
    shapes = acinoset.read(tmp_path, 1)["cheetah20_acinoset"]
    assert shapes.points.shape == (22, 20, 3) and len(shapes.sequence.unique()) == 5
    assert [len(shapes.train), len(shapes.test)] == [12, 10]  # three runs of Jules, two of Lily
    assert torch.equal(shapes.test.points[-5:], torch.from_numpy(last[:, :20].astype(np.float32)))


def test_positions_as_one_array(tmp_path):
    positions = RNG.normal(size=(3, 20, 3))
    shapes = acinoset.read(write(tmp_path / "fte.pickle", positions), 1)["cheetah20_acinoset"]
    assert torch.equal(shapes.points, torch.from_numpy(positions.astype(np.float32)))


class Evil:
    def __reduce__(self):
        return eval, ("1/0",)


def with_nan() -> np.ndarray:
    positions = np.zeros((3, 20, 3))
    positions[2, 4, 1] = math.nan
    return positions


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "expected a dictionary with positions"),
        ({"position": []}, "expected a dictionary with positions"),
        ({"positions": []}, r"positions has shape \[0\]"),
        ({"positions": np.zeros((3, 19, 3))}, r"positions has shape \[3, 19, 3\], expected \[frames, 20, 3\]"),
        ({"positions": [np.zeros((20, 3)), np.zeros((21, 3))]}, "positions is not an array"),
        ({"positions": [["a"]]}, "positions is not an array of numbers"),
        ({"positions": with_nan()}, "positions of frame 2 not finite"),
        ({"positions": Evil()}, "eval"),
    ],
)
def test_broken_content(tmp_path, content, message):
    path = tmp_path / "fte.pickle"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=message) as error:
        acinoset.read(path, 1)
    assert "fte.pickle" in str(error.value)


def test_absent_empty_and_cut_short(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        acinoset.read(tmp_path / "none", 1)
    with pytest.raises(FileNotFoundError, match="no fte.pickle or"):
        acinoset.read(tmp_path, 1)
    path = tmp_path / "fte.pickle"
    run(tmp_path)
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"text"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="fte.pickle"):
            acinoset.read(tmp_path, 1)
