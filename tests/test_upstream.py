"""Builders of the measured sets: small files in the layout of each repository, and what must come out of them."""

import json
import pickle

import numpy as np
import pytest
import torch
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from lfmlib import rigs
from lfmlib.data import listing, loaders, real
from lfmlib.data.upstream import SETS, aves, cmu
from lfmlib.data.upstream.common import rodrigues

GENERATOR = np.random.default_rng(0)
PARENTS = [0, *(max(1, i - i % 5) for i in range(1, 38))]  # 1-based, as the file has them


def clone_cmu(root):
    offsets = GENERATOR.normal(size=(38, 3)).round(3)
    source = f"parent = np.array({PARENTS})-1\n  offset = 70*np.array({offsets.flatten().tolist()})\n"
    (root / "src").mkdir(parents=True)
    (root / "src" / "forward_kinematics_cmu.py").write_text(f"import nothing\ndef _some_variables():\n  {source}")
    motions = {"train/walking/walking_1": 41, "train/running/running_1": 17, "test/walking/walking_1": 33}
    for name, frames in motions.items():
        path = root / "data" / "cmu_mocap" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(path, 0.4 * GENERATOR.normal(size=(frames, 117)), delimiter=",")
    again = root / "data" / "cmu_mocap" / "train" / "walking" / "walking_9.txt"
    again.write_bytes((root / "data" / "cmu_mocap" / "test" / "walking" / "walking_1.txt").read_bytes())


def clone_dog(root):
    folder = root / "retarget_motion" / "data"
    folder.mkdir(parents=True)
    for name in ("dog_pace", "dog_run01", "dog_walk00"):
        rows = GENERATOR.normal(size=(6, 81))
        np.savetxt(folder / f"{name}_joint_pos.txt", rows, delimiter=", " if name == "dog_run01" else " ")


def clone_mouse(root):
    for number, frames in ((1, 5), (2, 4)):
        points = GENERATOR.normal(size=(frames, 66))
        points[0, :3] = np.nan
        camera = {"data_3d": points, "data_2d": points[:, :44]}
        folder = root / "demo" / f"markerless_mouse_{number}"
        folder.mkdir(parents=True)
        cell = np.empty((1, 2), object)
        cell[0, 0] = cell[0, 1] = camera
        savemat(folder / "label3d_dannce.mat", {"labelData": cell})


def clone_fly(root):
    legs = [f"{side}{pair}_leg" for side in "LR" for pair in "FMH"]
    parts = ("Coxa", "Femur", "Tibia", "Tarsus", "Claw")
    walk = {leg: {part: {"raw_pos_aligned": GENERATOR.normal(size=(800, 3))} for part in parts} for leg in legs}
    groom = {name: GENERATOR.normal(size=(4600, k, 3)) for name, k in
             (("LF_leg", 5), ("RF_leg", 5), ("L_head", 2), ("R_head", 2), ("Thorax", 3))}  # fmt: skip
    for folder, name, content in (
        ("df3d_pose_result__210902_PR_Fly1", "pose_result__210902_PR_Fly1_aligned.pkl", walk),
        ("anipose_220525_aJO_Fly001_001/pose-3d", "converted_dict.pkl", groom),
    ):
        (root / "data" / folder).mkdir(parents=True)
        (root / "data" / folder / name).write_bytes(pickle.dumps(content))


def clone_hand(root):
    names = ["extra", *rigs.get("hand13_markers_dfki").keypoints]
    rows = GENERATOR.normal(size=(2000, 3 * len(names))).round(3)
    rows[10, 3:18] = 0  # five markers lost: too few are left
    rows[12, 3:6] = 0
    lines = ["NO_OF_FRAMES\t2000", "MARKER_NAMES\t" + "\t".join(names), "Frame\tTime\t..."]
    lines += [f"{i}\t{i / 100}\t" + "\t".join(map(str, row)) for i, row in enumerate(rows)]
    (root / "test" / "data").mkdir(parents=True)
    (root / "test" / "data" / "recording.tsv").write_text("\n".join(lines) + "\n")


def obj(vertices):
    return "# mesh\n" + "".join("v {} {} {}\n".format(*row) for row in vertices.round(4)) + "f 1 2 3\n"


def clone_face(root):
    folder = root / "FaceXModel"
    folder.mkdir(parents=True)
    folder.joinpath("vertex_indices.json").write_text(json.dumps({"idx_to_landmark_verts": list(range(5, 73))}))
    neutral = GENERATOR.normal(size=(80, 3))
    (folder / "generic_neutral_mesh.obj").write_text(obj(neutral))
    for name in ("identity000", "identity001", "jawOpen", "browDown_L", "browDown_R"):
        (folder / f"{name}.obj").write_text(obj(neutral + 0.1 * GENERATOR.normal(size=neutral.shape)))


def clone_bird(root):
    joints, count = 25, 40
    weights = GENERATOR.random((count, joints))
    content = {
        "kintree_table": np.stack([np.r_[-1, np.zeros(joints - 1)], np.arange(joints)]),
        "J": GENERATOR.normal(size=(joints, 3)), "weights": weights / weights.sum(1, keepdims=True),
        "vert2kpt": np.eye(18, count), "pose_cov": 0.01 * np.eye(72), "pose_mean": np.zeros(72),
        "bone_cov": 0.001 * np.eye(24), "bone_mean": np.ones(24), "F": np.zeros((4, 3), int),
    }  # fmt: skip
    (root / "models").mkdir(parents=True)
    torch.save(
        {name: torch.from_numpy(np.asarray(v)) for name, v in content.items()}, root / "models" / "aves_high_res.pt"
    )
    (root / "bird_meshes").mkdir()
    for species, binary in (("1.Mallard", False), ("2.Robin", True), ("template", False)):
        vertices = GENERATOR.normal(size=(count, 3)).astype("<f4")
        kind = "binary_little_endian" if binary else "ascii"
        head = f"ply\nformat {kind} 1.0\nelement vertex {count}\n" + "".join(f"property float {a}\n" for a in "xyz")
        head += "element face 0\nproperty list uchar int vertex_indices\nend_header\n"
        text = "".join("{} {} {}\n".format(*row) for row in vertices.tolist())
        (root / "bird_meshes" / f"{species}.ply").write_bytes(
            head.encode() + (vertices.tobytes() if binary else text.encode())
        )


def clone_chairs(root):
    chairs = []
    for i in range(6):
        ids = [k for k in range(21) if i % 2 or k not in (6, 7, 20)]
        points = [{"semantic_id": k, "xyz": GENERATOR.normal(size=3).tolist()} for k in ids]
        chairs.append({"class_id": "03001627", "model_id": f"m{i}", "keypoints": points})
    (root / "annotations").mkdir(parents=True)
    (root / "annotations" / "chair.json").write_text(json.dumps(chairs))
    (root / "splits").mkdir()
    (root / "splits" / "test.txt").write_text("03001627-m1\n")
    (root / "splits" / "val.txt").write_text("03001627-m2\n")


CLONES = {
    "cmu": clone_cmu, "ai4animation": clone_dog, "dannce": clone_mouse, "drosophila": clone_fly,
    "dfki_hand": clone_hand, "ict_face": clone_face, "aves": clone_bird, "keypointnet_chairs": clone_chairs,
}  # fmt: skip
FRAMES = {
    "human17_cmu": 10 + 4 + 8, "human22_cmu": 22, "dog26_ai4animation": 12, "mouse22_dannce": 9,
    "fly17_groom": 4300, "fly30_walk": 750, "hand13_markers_dfki": 949, "face68_ict": 10000, "bird18_aves": 1000,
    "chair21_keypointnet": 6, "chair10_keypointnet": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def clones(tmp_path_factory):
    roots = {}
    for module, make in CLONES.items():
        roots[module] = tmp_path_factory.mktemp(module)
        make(roots[module])
    return roots


@pytest.mark.parametrize("name", SETS)
def test_a_clone_becomes_the_set(clones, tmp_path, name):
    loader = loaders.get(name)
    found = loader.read(clones[SETS[name]], 1)
    assert list(found) == [name] and loader.name == name
    shapes = found[name]
    assert shapes.rig is rigs.get(name) and shapes.tag == "real" and len(shapes) == FRAMES[name]
    assert set(shapes.split.tolist()) == {0, 1}
    real.save(shapes, tmp_path / f"{name}.npz")
    again = real.load(tmp_path / f"{name}.npz")
    assert torch.equal(again.points, shapes.points) and torch.equal(again.known, shapes.known)
    assert torch.equal(again.split, shapes.split) and torch.equal(again.sequence, shapes.sequence)
    assert loader.licence == listing.source(name).licence and listing.source(name).commit[:10] in loader.get


@pytest.mark.parametrize("name", [n for n in SETS if "chair" not in n and "mouse" not in n])
def test_fewer_frames_on_request(clones, name):
    loader, root = loaders.get(name), clones[SETS[name]]
    every, third = (loader.read(root, k)[name] for k in (1, 3))
    assert len(every) / 4 < len(third) < len(every) / 2
    whole = {tuple(p.flatten().tolist()) for p in every.points}
    assert all(tuple(p.flatten().tolist()) in whole for p in third.points)


@pytest.mark.parametrize("name", SETS)
def test_an_empty_clone_names_what_is_absent(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        loaders.get(name).read(tmp_path, 1)


def test_recordings_that_are_there_twice_are_taken_once(clones):
    assert sorted(cmu.recordings(clones["cmu"])) == [
        "test/walking/walking_1",
        "train/running/running_1",
        "train/walking/walking_1",
    ]


def test_forward_kinematics_of_one_bone():
    parents, offsets = np.array([-1] + [0] * 37), np.zeros((38, 3))
    offsets[1] = [0, 2, 0]
    motion = np.zeros((1, 117))
    motion[0, :3] = [5, 6, 7]
    motion[0, 3:6] = [0, 0, np.pi / 2]  # the root turns: rows of offsets times R
    at = cmu.joints(motion, parents, offsets)[0] / cmu.MM
    assert np.allclose(at[0], [5, 6, 7]) and np.allclose(at[1] - at[0], [2, 0, 0]) and np.allclose(at[2], at[0])


def test_rotations_agree_with_another_implementation():
    r = GENERATOR.normal(size=(50, 3)) * 2
    assert np.allclose(rodrigues(r), Rotation.from_rotvec(r).as_matrix())
    assert np.allclose(rodrigues(np.zeros(3)), np.eye(3))


def test_a_bird_at_rest_is_its_mesh():
    joints = 4
    bird = {
        "kintree_table": np.array([[-1, 0, 1, 1], [0, 1, 2, 3]]), "J": GENERATOR.normal(size=(joints, 3)),
        "weights": np.full((6, joints), 1 / joints), "vert2kpt": np.eye(3, 6),
    }  # fmt: skip
    mesh = GENERATOR.normal(size=(6, 3))
    still = aves.keypoints(bird, mesh, np.zeros((1, joints, 3)), np.ones((1, joints)))
    assert np.allclose(still[0], mesh[:3])
    turned = np.zeros((1, joints, 3))
    turned[0, 0] = [0, 0, np.pi / 2]  # the root turns everything, about itself
    whole = aves.keypoints(bird, mesh, turned, np.ones((1, joints)))[0]
    R = Rotation.from_rotvec([0, 0, np.pi / 2]).as_matrix()
    assert np.allclose(whole, (mesh[:3] - bird["J"][0]) @ R.T + bird["J"][0])


TSV = "test/data/recording.tsv"
GROOM = "data/anipose_220525_aJO_Fly001_001/pose-3d"


def broken(root, module):
    """Clones with one thing wrong: (relative path, new content, what the message says)."""
    return {
        "cmu": [
            ("src/forward_kinematics_cmu.py", "parent = np.array([__import__('os')])-1", "no arrays `parent`"),
            ("data/cmu_mocap/train/walking/walking_1.txt", "1,2,3\n", "line 1 has 3 numbers, expected 117"),
            ("data/cmu_mocap/train/walking/walking_1.txt", "1,x\n", "line 1: could not convert"),
        ],
        "ai4animation": [("retarget_motion/data/dog_walk00_joint_pos.txt", "", "no frame")],
        "dannce": [("demo/markerless_mouse_2/label3d_dannce.mat", "not a mat file", "no labelData")],
        "drosophila": [(f"{GROOM}/converted_dict.pkl", "\x80garbage", "converted_dict.pkl")],
        "dfki_hand": [(TSV, "MARKER_NAMES\ta\nFrame\tTime\n1\t2\t3\n", "line 3 has 3 cells, expected 5"),
                      (TSV, "nothing\n", "no line MARKER_NAMES"),
                      (TSV, "MARKER_NAMES\ta\nFrame\tT\n1\t2\t3\t4\t5\n", "no marker 'hand_top'")],
        "ict_face": [("FaceXModel/jawOpen.obj", "v 1 2 3\n", "landmark 72 is beyond"),
                     ("FaceXModel/vertex_indices.json", "{}", "idx_to_landmark_verts is not a list")],
        "aves": [("models/aves_high_res.pt", "no model", "not the bird model"),
                 ("bird_meshes/1.Mallard.ply", "ply\nformat ascii 1.0\n", "not a .ply mesh")],
        "keypointnet_chairs": [("annotations/chair.json", "[{}]", "model 0: KeyError"),
                               ("annotations/chair.json", "{}", "expected a list")],
    }[module]  # fmt: skip


@pytest.mark.parametrize(("module", "case"), [(m, i) for m in CLONES for i in range(len(broken(None, m)))])
def test_a_damaged_clone_is_refused(tmp_path, module, case):
    CLONES[module](tmp_path)
    path, content, message = broken(tmp_path, module)[case]
    (tmp_path / path).write_text(content, encoding="latin-1")
    name = next(name for name, own in SETS.items() if own == module)
    with pytest.raises(ValueError, match=message) as error:
        loaders.get(name).read(tmp_path, 1)
    assert path.rsplit("/", 1)[1].split(".")[0] in str(error.value)


def test_what_is_known_of_the_measured_sets(real_data):
    """The frames that sources.toml promises are those of the files."""
    for name in SETS:
        assert len(real.load(name, real_data)) == listing.source(name).frames


def test_unknown_names_are_told_apart():
    with pytest.raises(ValueError, match="unknown format 'nothing'; there are acinoset, .*human17_cmu"):
        loaders.get("nothing")
