"""Checks of 2D keypoints: every broken rule at once, what looks wrong, and never another verdict than reading them."""

import numpy as np
import pytest

from lfmlib.data import check, formats

N, F = 5, 40
NAMES = ("head", "left_foot", "right_foot", "left_hand", "right_hand")


def flat(**changes) -> dict:
    """A file without a fault: 40 pictures of a standing thing, y down; None takes an array away."""
    random = np.random.default_rng(0)
    base = np.array([[0, -1.8], [0.2, 0], [-0.2, 0], [0.6, -1], [-0.6, -1]])
    content = {
        "keypoints_2d": (base + random.normal(size=(F, N, 2)) * 0.05).astype(np.float32),
        "visible": np.ones((F, N), bool),
        "keypoint_names": np.array(NAMES),
        "frames": np.arange(F),
    }
    return {name: array for name, array in (content | changes).items() if array is not None}


def hidden(frame: int, keypoints) -> np.ndarray:
    visible = np.ones((F, N), bool)
    visible[frame, keypoints] = False
    return visible


def test_2d_keypoints(tmp_path):
    path = tmp_path / "flat.npz"
    np.savez(path, **flat())
    assert check.examine(path) == ("2D keypoints: 40 frames of 5 keypoints, 100 % visible", (), ())
    for changes, message in (
        (
            {"visible": hidden(3, [0, 1, 2])},
            "fewer than 3 visible keypoints in frame 3: lfm lift needs --skip-unusable",
        ),
        ({"visible": hidden(slice(None), 4)}, "never visible: right_hand"),
        ({"keypoint_names": None}, "no keypoint names"),
        ({"keypoints_2d": flat()["keypoints_2d"] * [1, -1]}, "head has the larger y than left_foot"),
    ):
        np.savez(path, **flat(**changes))
        report = check.examine(path)
        assert report.problems == () and len(report.warnings) == 1 and message in report.warnings[0]
        formats.read_keypoints(path)
    np.savez(
        path, **flat(visible=np.ones((F, N), np.int8), keypoint_names=np.array(["a", "b", "b", "a", "c"]),
                     frames=np.arange(F) // 2, kolour=np.zeros(1),
                     keypoints_2d=np.where(np.arange(N)[:, None] == [1, 0], np.nan, 1.0) + np.zeros((F, 1, 1)))
    )  # fmt: skip
    problems = check.examine(path).problems
    for message in ("visible is int8 [40, 5], expected bool", "keypoint_names has a, b more than once",
                    "frames has 0, 1, 2, 3, 4 more than once", "unexpected array kolour",
                    "only one of x and y is given in frame 0, keypoint 0 and 79 more"):  # fmt: skip
        assert any(message in problem for problem in problems), (message, problems)
    with pytest.raises(ValueError):
        formats.read_keypoints(path)
    np.savez(path, keypoints_2d=np.zeros((3, 4)))
    assert check.examine(path).problems == ("keypoints_2d is float64 [3, 4], expected numbers [F, N, 2]",)


def test_2d_text_files(tmp_path):
    path = tmp_path / "flat.csv"
    path.write_text("frame,keypoint,x,y\n" + "".join(f"0,{name},{i},{i * i}\n" for i, name in enumerate("abcd")))
    assert check.examine(path) == ("2D keypoints: 1 frames of 4 keypoints, 100 % visible", (), ())
    path.write_text("frame,keypoint,x\n0,a,1\n")
    assert check.examine(path).problems == (
        "line 1: column y is wrong or absent; expected frame, keypoint, x, y and optionally visible",
    )
