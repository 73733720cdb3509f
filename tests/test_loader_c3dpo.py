"""C3DPO's .json: classes apart and with their names, masks, scale, splits, and every field that can be wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lfmlib import rigs
from lfmlib.data import real
from lfmlib.data.formats import Keypoints
from lfmlib.data.loaders import c3dpo

CLASSES = {
    "aeroplane": 8, "car": 12, "tvmonitor": 8, "sofa": 10, "motorbike": 10, "diningtable": 12, "chair": 10, "bus": 12,
    "bottle": 7, "boat": 7, "bicycle": 11, "train": 17,
}  # fmt: skip
START = {name: sum(list(CLASSES.values())[:i]) for i, name in enumerate(CLASSES)}
RNG = np.random.default_rng(0)


def pascal(kind: str, undefined: tuple[int, ...] = ()) -> dict:
    """An entry: all 124 keypoints, a mask of the class's own and of those that its CAD model has."""
    mask, defined = np.zeros(124), np.zeros(124)
    own = slice(START[kind], START[kind] + CLASSES[kind])
    mask[own] = defined[own] = 1
    defined[[START[kind] + i for i in undefined]] = 0
    shape = RNG.normal(size=(3, 124)).round(4) * mask
    return {
        "kp_loc": shape[:2].tolist(), "kp_loc_3d": shape.tolist(), "kp_vis": (mask * (RNG.random(124) < 0.7)).tolist(),
        "class_mask": mask.tolist(), "kp_defined": defined.tolist(), "image_path": "a.jpg",
        "p3d_info": {"p3d_class": kind, "bbox": [0, 0, 10, 10]},
    }  # fmt: skip


def human(action: str, scale: float | int | None = 250.0) -> dict:
    shape = RNG.normal(size=(3, 17)).round(4)
    entry = {"kp_loc": shape[:2].tolist(), "kp_loc_3d": shape.tolist(), "kp_vis": [1] * 17}
    return entry | {"h36m_info": {"action_name": action} | ({} if scale is None else {"scale": scale})}


def up3d() -> dict:
    shape = RNG.normal(size=(3, 79)).round(4)
    return {"kp_loc": shape[:2].tolist(), "kp_loc_3d": shape.tolist(), "kp_vis": [1] * 79}


def bird() -> dict:
    return {"kp_loc": RNG.normal(size=(2, 15)).round(4).tolist(), "kp_vis": [0, 1] * 7 + [1], "image_path": "b.jpg"}


def write(folder: Path, name: str, entries: list, bare: bool = False) -> Path:
    (folder / f"{name}.json").write_text(json.dumps(entries if bare else {"dataset": name, "data": entries}))
    return folder / f"{name}.json"


def points(entries: list[dict], start: int = 0, count: int | None = None) -> torch.Tensor:
    stacked = np.array([entry["kp_loc_3d"] for entry in entries], np.float32).transpose(0, 2, 1)
    return torch.from_numpy(stacked[:, start:][:, :count].copy())


def test_the_twelve_classes(tmp_path):
    train = [pascal(kind) for kind in CLASSES for _ in range(2)]
    test = [pascal(kind) for kind in CLASSES]
    write(tmp_path, "pascal3d_train", train)
    write(tmp_path, "pascal3d_val", test, bare=True)
    found = c3dpo.read(tmp_path, 1)
    assert sorted(found) == sorted(f"c3dpo_pascal3d_{kind}" for kind in CLASSES)
    for i, (kind, count) in enumerate(CLASSES.items()):
        shapes = found[f"c3dpo_pascal3d_{kind}"]
        assert torch.equal(shapes.points, points(train[2 * i : 2 * i + 2] + test[i : i + 1], START[kind], count))
        assert shapes.split.tolist() == [0, 0, 1] and len(shapes.sequence.unique()) == 3 and shapes.known.all()
        assert torch.equal(shapes.camera_R, torch.eye(3).expand(3, 3, 3)) and shapes.rig.up == "-y"
        assert list(shapes.rig.keypoints) == sorted(shapes.rig.keypoints)
        if kind != "motorbike":
            own = rigs.get(f"pascal3d_{kind}")
            assert sorted(own.keypoints) == list(shapes.rig.keypoints)
            for field in ("edges", "symmetry"):
                named = [{frozenset(r.keypoints[i] for i in p) for p in getattr(r, field)} for r in (own, shapes.rig)]
                assert named[0] == named[1]


# lines of the stick figures in dataset/dataset_configs.py
STICKS = {
    "chair": {(9, 1): ("seat_upper_right", "back_upper_right"), (7, 3): ("seat_lower_right", "leg_lower_right")},
    "sofa": {(1, 5): ("front_bottom_right", "seat_bottom_right"), (8, 9): ("top_left_corner", "top_right_corner")},
    "aeroplane": {(1, 4): ("left_wing", "right_wing"), (5, 6): ("rudder_lower", "rudder_upper")},
    "motorbike": {(2, 9): ("head_center", "right_handle_center"), (5, 8): ("left_front_wheel", "right_front_wheel")},
    "car": {(1, 3): ("left_back_wheel", "left_front_wheel"), (0, 4): ("left_back_trunk", "right_back_trunk")},
}


@pytest.mark.parametrize("kind", STICKS)
def test_names_agree_with_the_stick_figures(tmp_path, kind):
    (shapes,) = c3dpo.read(write(tmp_path, "pascal3d_train", [pascal(kind)]), 1).values()
    for pair, names in STICKS[kind].items():
        assert tuple(shapes.rig.keypoints[i] for i in pair) == names


def test_keypoints_that_a_model_lacks(tmp_path):
    entries = [pascal("car", (2, 5)), pascal("car")]
    entries[0]["kp_loc_3d"][1][START["car"] + 2] = float("nan")  # what is not defined may hold anything
    shapes = c3dpo.read(write(tmp_path, "pascal3d_hrnet_train", entries), 1)["c3dpo_pascal3d_hrnet_car"]
    assert (~shapes.known).nonzero().tolist() == [[0, 2], [0, 5]]
    assert shapes.points[0, 2].tolist() == [0, 0, 0] and shapes.shares_shapes


def test_people_in_millimetres(tmp_path):
    train, test = [human("Walking"), human("Walking", 100), human("Sitting")], [human("Walking")]
    write(tmp_path, "h36m_train", train)
    write(tmp_path, "h36m_val", test)
    shapes = c3dpo.read(tmp_path, 1)["c3dpo_h36m"]
    scale = torch.tensor([250.0, 100, 250, 250])[:, None, None]
    torch.testing.assert_close(shapes.points, points(train + test) * scale)
    assert (shapes.rig.unit, shapes.rig.mm) == ("mm", 1.0) and shapes.rig.keypoints[9] == "neck_nose"
    assert shapes.split.tolist() == [0, 0, 0, 1]
    assert shapes.sequence[0] == shapes.sequence[1] and len(shapes.sequence.unique()) == 3
    real.save(shapes, tmp_path / "c3dpo_h36m.npz")
    again = real.load(tmp_path / "c3dpo_h36m.npz")
    assert torch.equal(again.points, shapes.points) and again.rig == shapes.rig
    bare = c3dpo.read(write(tmp_path, "h36m_hourglass_train", [human("Walking", None)]), 1)["c3dpo_h36m_hourglass"]
    assert bare.rig.unit == "unit" and bare.rig.mm is None


def test_79_keypoints_and_three_files(tmp_path):
    parts = {ending: [up3d(), up3d()] for ending in ("train", "val", "test")}
    for ending, entries in parts.items():
        write(tmp_path, f"up3d_79kp_{ending}", entries)
    shapes = c3dpo.read(tmp_path, 1)["c3dpo_up3d_79kp"]
    assert shapes.rig.n == 79 and shapes.rig.keypoints[78] == "keypoint_78"
    order = torch.cat([points(parts[ending]) for ending in ("train", "val", "test")])
    assert torch.equal(shapes.points, order) and shapes.split.tolist() == [0, 0, 0, 0, 1, 1]
    (tmp_path / "up3d_79kp_test.json").unlink()
    assert c3dpo.read(tmp_path, 1)["c3dpo_up3d_79kp"].split.tolist() == [0, 0, 1, 1]
    assert len(c3dpo.read(tmp_path / "up3d_79kp_val.json", 2)["c3dpo_up3d_79kp"]) == 1


def test_birds_have_two_dimensions(tmp_path):
    entries = [bird(), bird()]
    found = c3dpo.read(write(tmp_path, "cub_birds_train", entries), 1)["c3dpo_cub_birds_train"]
    assert isinstance(found, Keypoints) and found.visible[0].tolist() == [False, True] * 7 + [True]
    assert found.names[6] == "left_eye" and found.points.shape == (2, 15, 2) and found.points[0, 0].tolist() == [0, 0]
    assert found.points[1, 1].tolist() == pytest.approx([entries[1]["kp_loc"][axis][1] for axis in (0, 1)])


def entries_with(change, make=lambda: pascal("car")) -> list:
    entries = [make() for _ in range(4)]
    change(entries[2])
    return entries


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "no list of entries"),
        ([3], "no list of entries"),
        (entries_with(lambda e: e.pop("p3d_info")), "entry 2 has no p3d_info"),
        (entries_with(lambda e: e.pop("class_mask")), "class_mask is absent in entry 2"),
        (entries_with(lambda e: e.pop("kp_defined")), "kp_defined is absent in entry 2"),
        (entries_with(lambda e: e.pop("kp_loc_3d")), "kp_loc_3d is absent in entry 2"),
        (entries_with(lambda e: e["kp_loc_3d"].pop()), "kp_loc_3d: not as many numbers"),
        (entries_with(lambda e: e.update(kp_loc_3d="a")), "kp_loc_3d: not as many numbers"),
        (entries_with(lambda e: e["kp_loc_3d"][0].__setitem__(START["car"], float("nan"))), "frame 2 is not finite"),
        (entries_with(lambda e: e["class_mask"].__setitem__(0, 1)), "class_mask differs in entry 2"),
        (entries_with(lambda e: e["class_mask"].pop()), "class_mask: not as many numbers"),
        (entries_with(lambda e: e.pop("kp_loc_3d"), up3d), "kp_loc_3d is absent in entry 2"),
        ([{**up3d(), "kp_loc_3d": 3}], r"kp_loc_3d: shape \[1\]|0 keypoints"),
        ([{**up3d(), "kp_loc_3d": [[1, 2], [1, 2], [1, 2]]}], "2 keypoints, expected at least 3"),
        (entries_with(lambda e: e["kp_loc_3d"][0].__setitem__(3, float("inf")), up3d), "3d: frame 2 is not finite"),
        (entries_with(lambda e: e["h36m_info"].update(scale=float("nan")), lambda: human("a")), "scale: frame 2"),
        (entries_with(lambda e: e.pop("kp_vis"), bird), "kp_vis is absent in entry 2"),
        (entries_with(lambda e: e["kp_loc"].pop(), bird), "kp_loc: not as many numbers"),
    ],
)
def test_bad_entries(tmp_path, entries, message):
    with pytest.raises(ValueError, match=f"x_train.json: .*({message})"):
        c3dpo.read(write(tmp_path, "x_train", entries), 1)


def test_the_place_of_a_fault_survives_thinning(tmp_path):
    entries = entries_with(lambda e: e.pop("kp_defined"))
    with pytest.raises(ValueError, match="kp_defined is absent in entry 2"):
        c3dpo.read(write(tmp_path, "x_train", entries), 2)


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no \*_train\.json"):
        c3dpo.read(tmp_path, 1)
    with pytest.raises(FileNotFoundError, match="absent"):
        c3dpo.read(tmp_path / "absent", 1)
    with pytest.raises(ValueError, match="pascal.json: the name ends neither"):
        c3dpo.read(write(tmp_path, "pascal", [up3d()]), 1)
    path = write(tmp_path, "up3d_train", [up3d()])
    for content in ("", path.read_text()[:-30]):
        path.write_text(content)
        with pytest.raises(ValueError, match="up3d_train.json: not a JSON file"):
            c3dpo.read(path, 1)
    path.write_text("3")
    with pytest.raises(ValueError, match="up3d_train.json: no list of entries"):
        c3dpo.read(path, 1)
    write(tmp_path, "up3d_train", [up3d()])
    write(tmp_path, "up3d_val", [human("Walking")])
    with pytest.raises(ValueError, match="the files of c3dpo_up3d have different keypoints"):
        c3dpo.read(tmp_path, 1)
