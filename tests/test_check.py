"""Checks of a file of 3D shapes: every broken rule at once, what looks wrong, never another verdict than loading."""

import numpy as np
import pytest

from lfmlib.data import check, real, synthetic

N, F = 5, 40
NAMES = ("head", "left_foot", "right_foot", "left_hand", "right_hand")


def arrays(**changes) -> dict:
    """A file without a fault: 40 frames of a standing thing; None takes an array away."""
    random = np.random.default_rng(0)
    base = np.array([[0, 1.8, 0], [0.2, 0, 0.1], [-0.2, 0, 0.1], [0.6, 1, 0], [-0.6, 1, 0]])
    content = {
        "keypoints_3d": (base + random.normal(size=(F, N, 3)) * 0.05).astype(np.float32),
        "keypoint_names": np.array(NAMES),
        "skeleton": np.array([[0, 1], [0, 2]], np.int32),
        "split": (np.arange(F) >= 30).astype(np.int8),
        "sequence_id": (np.arange(F) // 5).astype(np.int32),
        "symmetry": np.array([[1, 2], [3, 4]], np.int32),
        "unit": np.array("m"),
        "mm": np.array(1000.0),
        "up": np.array("+y"),
    }
    return {name: array for name, array in (content | changes).items() if array is not None}


def examine(path, **changes) -> check.Report:
    np.savez(path, **arrays(**changes))
    return check.examine(path)


def points(frames=(), keypoints=slice(None), value=np.nan) -> np.ndarray:
    changed = arrays()["keypoints_3d"]
    changed[frames, keypoints] = value
    return changed


def turned(matrix) -> np.ndarray:
    return np.tile(np.float32(matrix), (F, 1, 1))


def at(array, index, value) -> np.ndarray:
    array = arrays()[array].copy()
    array[index] = value
    return array


def test_a_sound_file_has_no_fault(tmp_path):
    report = examine(tmp_path / "thing.npz")
    assert report.problems == report.warnings == ()
    assert report.content == (
        "3D shapes: 40 frames of 5 keypoints, 30 train and 10 test, 8 sequences, 100 % visible, unit m"
    )


BROKEN = [
    ({"split": None}, "split missing, expected int8 [F]"),
    ({"keypoints_3d": None, "skeleton": None}, "skeleton missing"),
    ({"colour": np.zeros(3)}, "unexpected array colour; optional ones are visibility"),
    ({"keypoint_name": np.array(["a"])}, "unexpected array keypoint_name; did you mean keypoint_names?"),
    ({"keypoints_3d": points().astype(np.float64)}, "keypoints_3d is float64, expected float32"),
    ({"keypoints_3d": points()[..., :2]}, "keypoints_3d has shape [40, 5, 2]"),
    ({"split": np.zeros(F, np.int64)}, "split is int64, expected int8"),
    ({"sequence_id": np.zeros((F, 1), np.int32)}, "sequence_id has shape [40, 1]"),
    ({"skeleton": np.array([[0, 5], [2, 2]], np.int32)}, "skeleton has an index outside 0..4"),
    ({"skeleton": np.array([[2, 2], [0, -1]], np.int32)}, "edges pairs keypoint 2 with itself"),
    ({"skeleton": np.array([[0, 1], [1, 0]], np.int32)}, "an edge is given twice"),
    ({"symmetry": np.array([[1, 2], [2, 3]], np.int32)}, "a keypoint stands in two symmetry pairs"),
    ({"symmetry": np.array([[1, 7]], np.int32)}, "symmetry has an index outside 0..4"),
    ({"keypoint_names": np.array(["a", "b", "c", "a", "e"])}, "names given twice: a"),
    ({"split": at("split", [3, 35], 3)}, "split has a value other than 0 and 1 in frame 3 and 1 more"),
    ({"keypoints_3d": points(4, 1, np.inf)}, "infinite coordinate in frame 4"),
    ({"keypoints_3d": points(4, (1, 2, 3))}, "fewer than 3 known keypoints in frame 4"),
    ({"keypoints_3d": np.where(np.arange(3) == 1, np.nan, points()).astype(np.float32)}, "contradicts visibility"),
    ({"visibility": np.arange(F * N).reshape(F, N) != 12}, "contradicts visibility in frame 2, keypoint 2: all three"),
    ({"camera_R": turned(2 * np.eye(3))}, "camera_R is not a rotation in frame 0 and 39 more"),
    ({"camera_R": turned(np.diag([1, 1, -1]))}, "camera_R is not a rotation"),
    ({"camera_R": turned(np.full((3, 3), np.inf))}, "camera_R is not a rotation"),
    ({"sequence_id": np.zeros(F, np.int32)}, "sequence 0 is in both splits"),
    ({"cad_view_visibility": np.zeros((F, 2, N), np.int8)}, "without cad_view_azimuth"),
    ({"tag": np.array("guess")}, "tag is 'guess'"),
    ({"up": np.array("north")}, "up is 'north'"),
    ({"mm": np.array(np.nan)}, "mm is nan"),
    ({"family": np.array(["a", "b"])}, "family has shape [2]"),
    ({"tag": np.array(object())}, "tag cannot be read as a plain array"),
    ({k: v[:0] for k, v in arrays().items() if len(np.shape(v)) and len(v) == F}, "no frame"),
]


@pytest.mark.parametrize(("changes", "message"), BROKEN, ids=[message[:30] for _, message in BROKEN])
def test_each_broken_rule_is_named(tmp_path, changes, message):
    path = tmp_path / "thing.npz"
    problems = examine(path, **changes).problems
    assert any(message in problem for problem in problems), problems
    with pytest.raises(ValueError):
        real.load(path)


def test_all_problems_are_named_at_once(tmp_path):
    changes = {
        "split": np.zeros(3, np.int8),
        "sequence_id": None,
        "colour": np.zeros(2),
        "tag": np.array("guess"),
        "up": np.array("north"),
        "mm": np.array(-1.0),
        "skeleton": np.array([[0, 9], [1, 1]], np.int32),
        "symmetry": np.array([[1, 2], [2, 3]], np.int32),
        "keypoint_names": np.array(["a", "b", "c", "a", "e"]),
        "camera_R": turned(np.zeros((3, 3))),
        "keypoints_3d": points(4, 1, np.inf),
    }
    problems = examine(tmp_path / "thing.npz", **changes).problems
    for message in (
        "sequence_id missing", "unexpected array colour", "split has shape [3]", "infinite coordinate in frame 4",
        "camera_R is not a rotation", "tag is", "skeleton has an index outside", "given twice: a", "up is 'north'",
        "mm is -1.0", "edges pairs keypoint 1 with itself", "stands in two symmetry pairs",
    ):  # fmt: skip
        assert sum(message in problem for problem in problems) == 1, (message, problems)
    assert len(problems) == 12


@pytest.mark.parametrize("i", range(len(BROKEN)))
def test_two_faults_hide_neither_verdict(tmp_path, i):
    assert examine(tmp_path / "thing.npz", **{**BROKEN[i - 1][0], **BROKEN[i][0]}).problems


def test_what_is_no_archive(tmp_path):
    path = tmp_path / "thing.npz"
    for content in (b"", b"text", b"PK\x03\x04"):
        path.write_bytes(content)
        assert "not an .npz file" in check.examine(path).problems[0]
    with pytest.raises(FileNotFoundError, match="no.npz: no such file"):
        check.examine(tmp_path / "no.npz")


def test_a_registered_name_must_keep_to_its_rig(tmp_path):
    problems = examine(tmp_path / "chair10_keypointnet.npz").problems
    assert any("keypoint_names differ from the registered rig chair10_keypointnet" in p for p in problems)
    assert any("skeleton differs" in p for p in problems)
    shapes = synthetic.generate("synthetic_body17", 60)
    path = tmp_path / "synthetic_body17.npz"
    real.save(shapes, path)
    assert check.examine(path)[1:] == ((), ())
    content = dict(np.load(path)) | {"unit": np.array("cm")}
    np.savez(path, **content)
    assert check.examine(path).warnings == ("unit is 'cm', but the file's name is that of a registered rig with 'mm'",)


HIDDEN_HAND = points(slice(None), 4)
OTHER_UNIT = points()
OTHER_UNIT[[7, 8]] *= 1000
COPIED = points()
COPIED[35] = COPIED[3] + 2
FROZEN = points()
FROZEN[6:9] = FROZEN[5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoints_3d": points(12, slice(None), 1.0)}, "all keypoints in one place in frame 12"),
        ({"keypoints_3d": FROZEN}, "the same pose as in the frame before in frame 6 and 2 more"),
        ({"keypoints_3d": COPIED}, "test poses that are training poses, too, in frame 35"),
        ({"keypoints_3d": HIDDEN_HAND}, "never visible: right_hand"),
        ({"keypoints_3d": OTHER_UNIT}, "size differs from the usual one more than 10 times in frame 7 and 1 more"),
        ({"keypoints_3d": points() * np.float32([1, 1, 0])}, "every shape is flat: z does not vary"),
        ({"split": np.zeros(F, np.int8)}, "no test frame (split 1)"),
        ({"split": np.ones(F, np.int8)}, "no training frame (split 0): nothing to train on"),
        ({"unit": None}, "unit missing"),
        ({"mm": None}, "unit is 'm', but mm is missing, expected 1000.0"),
        ({"symmetry": None}, "left and right by name, but no pair in symmetry: left_foot - right_foot, left_hand"),
        ({"symmetry": None, "keypoint_names": np.array(["a", "EarL", "EarR", "b", "c"])}, "symmetry: EarL - EarR"),
        ({"symmetry": None, "keypoint_names": np.array(["a", "LArm", "RArm", "b", "c"])}, "symmetry: LArm - RArm"),
        ({"symmetry": None, "keypoint_names": np.array(["a", "l_eye", "r_eye", "b", "c"])}, "symmetry: l_eye - r_eye"),
        ({"symmetry": None, "keypoint_names": np.array(["a", "LF_hip", "RF_hip", "b", "c"])}, "symmetry: LF_hip - RF"),
        ({"up": None}, "up missing: +y"),
        ({"up": np.array("+z")}, "up is +z, but from left_foot to head it goes along +y"),
        ({"up": np.array("-y")}, "up is -y, but from left_foot to head it goes along +y"),
    ],
)
def test_what_looks_like_a_mistake_is_a_warning(tmp_path, changes, message):
    report = examine(tmp_path / "thing.npz", **changes)
    assert report.problems == () and any(message in warning for warning in report.warnings), report.warnings
    real.load(tmp_path / "thing.npz")
    if len(changes) == 1:
        assert len(report.warnings) == 1


def test_real_files_have_no_problem(real_data):
    for path in sorted(real_data.glob("*.npz")):
        report = check.examine(path)
        assert report.problems == () and all("same pose" in warning for warning in report.warnings), report
