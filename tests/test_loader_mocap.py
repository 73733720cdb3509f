"""Motion capture files: tiny skeletons whose joints are worked out by hand, and one motion written both ways."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from lfmlib import rigs
from lfmlib.data import real
from lfmlib.data.loaders import asf_amc, bvh, mocap

MM = 25.4 / 0.45
LEGS = """HIERARCHY
ROOT hip
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
  JOINT left_knee
  {
    OFFSET 2 0 0
    CHANNELS 2 %s %s
    End Site
    {
      OFFSET 0 3 0
    }
  }
  JOINT right_knee
  {
    OFFSET -2 0 0
    CHANNELS 1 Xrotation
  }
}
"""
STILL = "0 0 0 0 0 0 0 0 0"
MOVED = "1 2 3 90 0 0 90 90 0"  # the root turns about z, the left knee by 90 degrees about both of its axes


def legs(path: Path, *frames: str, count: int | None = None, order=("Zrotation", "Xrotation")) -> Path:
    """A .bvh file: a hip, a left knee with an end site, a right knee without."""
    frames = frames or (STILL, MOVED)
    path.parent.mkdir(parents=True, exist_ok=True)
    motion = f"MOTION\nFrames: {len(frames) if count is None else count}\nFrame Time: .0083333\n"
    path.write_text(LEGS % order + motion + "\n".join(frames) + "\n")
    return path


def test_bvh_by_hand(tmp_path):
    (shapes,) = bvh.read(legs(tmp_path / "legs.bvh"), 1).values()
    assert shapes.rig.name == "legs" and shapes.rig.keypoints == ("hip", "left_knee", "left_knee_end", "right_knee")
    assert shapes.rig.edges == ((0, 1), (1, 2), (0, 3)) and shapes.rig.symmetry == ((1, 3),)
    assert shapes.rig.up == "+y" and shapes.rig.mm is None and shapes.known.all()
    # the knee's Z X applied to (0, 3, 0) is (0, 0, 3), which the root's turn about z leaves as it is
    by_hand = [[[0, 0, 0], [2, 0, 0], [2, 3, 0], [-2, 0, 0]], [[1, 2, 3], [1, 4, 3], [1, 4, 6], [1, 0, 3]]]
    torch.testing.assert_close(shapes.points, torch.tensor(by_hand, dtype=torch.float32), atol=1e-5, rtol=0)


def test_bvh_channels_apply_in_their_order(tmp_path):
    path = legs(tmp_path / "legs.bvh", "0 0 0 0 0 0 90 90 0", order=("Xrotation", "Zrotation"))
    shapes = bvh.read(path, 1)["legs"]  # X Z on (0, 3, 0): first Z to (-3, 0, 0), which X leaves
    torch.testing.assert_close(shapes.points[0, 2], torch.tensor([2.0 - 3, 0, 0]), atol=1e-5, rtol=0)


def test_bvh_position_channels_of_a_joint_replace_its_offset(tmp_path):
    path = legs(tmp_path / "a.bvh", "0 0 0 0 0 90 7 8 0", order=("Yposition", "Zposition"))
    points = bvh.read(path, 1)["a"].points[0]  # (0, 7, 8) turned by 90 degrees about x
    torch.testing.assert_close(points[1], torch.tensor([0.0, -8, 7]), atol=1e-5, rtol=0)


def test_joints_that_lie_on_their_parent_are_left_out(tmp_path):
    path = tmp_path / "a.bvh"
    path.write_text(legs(path).read_text().replace("OFFSET 2 0 0", "OFFSET 0 0 0"))
    rig = bvh.read(path, 1)["a"].rig
    assert rig.keypoints == ("hip", "left_knee_end", "right_knee") and rig.edges == ((0, 1), (0, 2))


def test_a_joint_may_be_called_like_an_end_site(tmp_path):
    path = legs(tmp_path / "a.bvh")
    path.write_text(path.read_text().replace("right_knee", "hip_end"))
    assert bvh.read(path, 1)["a"].rig.keypoints == ("hip", "left_knee", "left_knee_end", "hip_end")


def test_every(tmp_path):
    frames = [f"{i} 0 0 0 0 0 0 0 0" for i in range(10)]
    shapes = bvh.read(legs(tmp_path / "a.bvh", *frames), 3)["a"]
    assert shapes.points[:, 0, 0].tolist() == [0, 3, 6, 9]


ASF = """# AST/ASF file generated using VICON BodyLanguage
:version 1.10
:name VICON
:units
  mass 1.0
  length 0.45
  angle deg
:documentation
   text
:root
   order %(order)s
   axis XYZ
   position 0 0 0
   orientation 0 0 0
:bonedata
  begin
     id 1
     name thigh
     direction 0 -1 0
     length 2
     axis 0 0 0   XYZ
    dof rx ry rz
    limits (-160.0 20.0)
           (-70.0 70.0)
           (-60.0 70.0)
  end
  begin
     id 2
     name shin
     direction %(shin)s
     length 3
     axis %(axis)s   XYZ
    dof rx
    limits (-10.0 170.0)
  end
  begin
     id 3
     name arm
     direction 1 0 0
     length 1
     axis 10 20 30  XYZ
  end
:hierarchy
  begin
    root thigh arm
    thigh shin
  end
"""
SAID = {"order": "TX TY TZ RX RY RZ", "shin": "1 0 0", "axis": "0 0 90"}


def acclaim(folder: Path, *frames: str, header: str = ":DEGREES", name: str = "07_01", **said: str) -> Path:
    """An .asf and an .amc file; a frame is "root; thigh; shin"."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name.split('_')[0]}.asf").write_text(ASF % (SAID | said))
    lines = ["#!OML:ASF F:\\VICON\\07.ASF", ":FULLY-SPECIFIED", header]
    for number, frame in enumerate(frames, 1):
        values = dict(zip(("root", "thigh", "shin"), frame.split(";"), strict=True))
        lines += [str(number), *(f"{bone} {value.strip()}" for bone, value in values.items())]
    path = folder / f"{name}.amc"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_asf_by_hand(tmp_path):
    path = acclaim(tmp_path, "0 9 0 0 0 0; 0 0 0; 0", "1 9 0 0 0 90; 90 0 0; 90")
    (shapes,) = asf_amc.read(path, 1).values()
    assert shapes.rig.keypoints == ("root", "thigh", "arm", "shin") and shapes.rig.edges == ((0, 1), (0, 2), (1, 3))
    assert (shapes.rig.unit, shapes.rig.mm, shapes.rig.up) == ("mm", 1.0, "+y")
    # frame 1: the thigh turns (0, -2, 0) to (0, 0, -2). The shin's axes are turned by 90 degrees about z, so its rx
    # turns about y: (3, 0, 0) to (0, 0, -3), which the thigh turns about x to (0, 3, 0). Last the root, about z.
    rest = [[0, 9, 0], [0, 7, 0], [1, 9, 0], [3, 7, 0]]
    moved = [[1, 9, 0], [1, 9, -2], [1, 10, 0], [-2, 9, -2]]
    torch.testing.assert_close(shapes.points / MM, torch.tensor([rest, moved], dtype=torch.float32), atol=1e-5, rtol=0)


def test_asf_angles_of_a_bone_turn_in_the_order_of_its_dof(tmp_path):
    shapes = asf_amc.read(acclaim(tmp_path, "0 0 0 0 0 0; 90 0 90; 0"), 1)["07_01"]
    # x first: (0, -2, 0) to (0, 0, -2), which z leaves; the other way round it would be (2, 0, 0)
    torch.testing.assert_close(shapes.points[0, 1] / MM, torch.tensor([0.0, 0, -2]), atol=1e-5, rtol=0)


def test_asf_root_order_and_radians(tmp_path):
    plain = asf_amc.read(acclaim(tmp_path / "a", "1 2 3 10 20 30; 5 6 7; 8"), 1)["07_01"]
    turned = " ".join(str(np.radians(angle)) for angle in (10, 20, 30))
    frame = f"{turned} 1 2 3; {' '.join(str(np.radians(a)) for a in (5, 6, 7))}; {np.radians(8)}"
    other = acclaim(tmp_path / "b", frame, header=":RADIANS", order="RX RY RZ TX TY TZ")
    torch.testing.assert_close(asf_amc.read(other, 1)["07_01"].points, plain.points, atol=1e-3, rtol=0)


def test_the_same_motion_written_both_ways(tmp_path):
    generator = np.random.default_rng(0)
    frames = generator.uniform(-80, 80, (6, 10))  # tx ty tz, rx ry rz; thigh; shin
    text = [" ".join(f"{v:.9f}" for v in row) for row in frames]
    split = [f"{' '.join(t.split()[:6])}; {' '.join(t.split()[6:9])}; {t.split()[9]}" for t in text]
    acclaimed = asf_amc.read(acclaim(tmp_path / "asf", *split, axis="25 -40 65", shin="0.6 0.8 0"), 1)["07_01"]

    def degrees(local: Rotation) -> np.ndarray:
        return local.as_euler("ZYX", degrees=True)  # capital letters: each about the axes that the last one left

    C = Rotation.from_euler("xyz", [25, -40, 65], degrees=True)
    turns = [Rotation.from_euler("xyz", frames[:, 3:6], degrees=True)]
    turns += [Rotation.from_euler("xyz", frames[:, 6:9], degrees=True)]
    turns += [C * Rotation.from_euler("x", frames[:, 9:], degrees=True) * C.inv()]
    channels = "CHANNELS 3 Zrotation Yrotation Xrotation"
    (tmp_path / "b.bvh").write_text(
        f"HIERARCHY\nROOT root\n{{\nOFFSET 0 0 0\nCHANNELS 6 Xposition Yposition Zposition {channels[11:]}\n"
        f"JOINT thigh\n{{\nOFFSET 0 0 0\n{channels}\nJOINT shin\n{{\nOFFSET 0 -2 0\n{channels}\n"
        "End Site\n{\nOFFSET 1.8 2.4 0\n}\n}\n}\n"
        f"JOINT arm\n{{\nOFFSET 0 0 0\nCHANNELS 0\nEnd Site\n{{\nOFFSET 1 0 0\n}}\n}}\n}}\n"
        "MOTION\nFrames: 6\nFrame Time: 0.01\n"
        + "\n".join(
            " ".join(f"{v:.9f}" for v in row)
            for row in np.concatenate([frames[:, :3], *(degrees(turn) for turn in turns)], 1)
        )
    )
    shapes = bvh.read(tmp_path / "b.bvh", 1)["b"]
    assert shapes.rig.keypoints == ("root", "shin", "shin_end", "arm_end")
    order = [acclaimed.rig.keypoints.index(name) for name in ("root", "thigh", "shin", "arm")]
    torch.testing.assert_close(shapes.points * MM, acclaimed.points[:, order], atol=0.02, rtol=0)


CHAINS = """Hips LHipJoint* LeftUpLeg LeftLeg LeftFoot LeftToeBase
Hips RHipJoint* RightUpLeg RightLeg RightFoot RightToeBase
Hips LowerBack* Spine Spine1 Neck* Neck1 Head
Spine1 LeftShoulder* LeftArm LeftForeArm LeftHand
Spine1 RightShoulder* RightArm RightForeArm RightHand"""


def cmu_bvh(path: Path, *angles: float) -> Path:
    """A file with CMU's joints (* lies on its parent), each at (+-1, 2, 3) from its parent, and one angle per frame."""
    children: dict[str, list[str]] = {}
    for chain in CHAINS.splitlines():
        names = chain.split()
        for parent, child in zip(names, names[1:], strict=False):
            children.setdefault(parent.rstrip("*"), []).append(child)

    def joint(name: str) -> str:
        inside = [joint(child) for child in children.get(name.rstrip("*"), ())] or ["End Site { OFFSET 1 2 3 }"]
        offset = "0 0 0" if name.endswith("*") else "-1 2 3" if name.startswith("Right") else "1 2 3"
        channels = f"OFFSET {offset} CHANNELS 3 Zrotation Yrotation Xrotation"
        return f"JOINT {name.rstrip('*')}\n{{ {channels}\n{' '.join(inside)} }}\n"

    root = "OFFSET 0 0 0 CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation"
    text = f"HIERARCHY\nROOT Hips\n{{ {root}\n{' '.join(joint(child) for child in children['Hips'])} }}\n"
    count = text.count("rotation") + 3
    frames = "\n".join(" ".join(["5"] * 3 + [str(angle)] * (count - 3)) for angle in angles)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}MOTION\nFrames: {len(angles)}\nFrame Time: .0083333\n{frames}\n")
    return path


def test_cmu_joints_give_the_registered_rigs_in_mm(tmp_path):
    for subject in ("07", "08", "09"):
        cmu_bvh(tmp_path / subject / f"{subject}_01.bvh", 0, 10, 20)
    found = bvh.read(tmp_path, 1)
    assert list(found) == ["human22_cmu", "human17_cmu"]
    many, few = found.values()
    assert many.rig is rigs.get("human22_cmu") and few.rig is rigs.get("human17_cmu")
    assert len(many) == 6  # the first frame of each file is the rest pose
    assert many.split.tolist() == few.split.tolist() == [0, 0, 0, 0, 1, 1]
    assert many.sequence.tolist() == [0, 0, 1, 1, 2, 2]
    at = {name: many.points[:, i] for i, name in enumerate(many.rig.keypoints)}
    length = (at["LLeg"] - at["LUp"]).norm(dim=1)
    torch.testing.assert_close(length, torch.full((6,), MM * 14**0.5), rtol=1e-4, atol=0)
    torch.testing.assert_close(few.points[:, 0], (at["LUp"] + at["RUp"]) / 2)
    torch.testing.assert_close(few.points[:, 13], at["LHand"])
    assert len(bvh.read(cmu_bvh(tmp_path / "10_01.bvh", 10, 20), 1)["human17_cmu"]) == 2  # no rest pose
    real.save(few, tmp_path / "human17_cmu.npz")
    assert torch.equal(real.load(tmp_path / "human17_cmu.npz").points, few.points)


def test_cmu_bones_give_the_registered_rigs(tmp_path):
    chains = ["root lhipjoint lfemur ltibia lfoot ltoes", "root rhipjoint rfemur rtibia rfoot rtoes"]
    chains += ["root lowerback upperback thorax lowerneck upperneck head", "thorax lclavicle lhumerus lradius"]
    chains += ["thorax rclavicle rhumerus rradius"]
    pairs = [pair for chain in chains for pair in zip(chain.split(), chain.split()[1:], strict=False)]
    bones = "".join(
        f"begin\nid {i}\nname {name}\ndirection 0 1 0\nlength 1\naxis 0 0 0 XYZ\nend\n"
        for i, (_, name) in enumerate(pairs, 1)
    )
    hierarchy = "".join(f"{parent} {child}\n" for parent, child in pairs if parent not in ("root", "thorax"))
    hierarchy += "root lhipjoint rhipjoint lowerback\nthorax lowerneck lclavicle rclavicle\n"
    head = ":units\nlength 0.45\nangle deg\n:root\norder TX TY TZ RX RY RZ\naxis XYZ\n"
    (tmp_path / "01.asf").write_text(f"{head}:bonedata\n{bones}:hierarchy\nbegin\n{hierarchy}end\n")
    (tmp_path / "01_01.amc").write_text(":FULLY-SPECIFIED\n:DEGREES\n1\nroot 0 0 0 0 0 0\n")
    shapes = asf_amc.read(tmp_path, 1)["human22_cmu"]
    up = dict(zip(shapes.rig.keypoints, (shapes.points[0, :, 1] / MM).round().tolist(), strict=True))
    assert up["LUp"] == 1 and up["LToeE"] == 5 and up["Spine"] == 1 and up["Spine1"] == 3 and up["HeadE"] == 6
    assert up["LArm"] == 4 and up["RHand"] == 6


def test_every_fifth_group_is_test():
    def recording(name: str, group: str, frames: int = 2) -> mocap.Recording:
        return mocap.Recording(Path(name), group, ("a", "b", "c"), (), np.zeros((frames, 3, 3)))

    by_subject = [recording(f"{i}_{trial}", str(i)) for i in range(10) for trial in range(2)]
    split, sequence = mocap.split(by_subject)
    assert split.reshape(10, 4).tolist() == [[int(i in (4, 9))] * 4 for i in range(10)]
    assert sequence.tolist() == [i for i in range(20) for _ in range(2)]
    assert mocap.split([recording(f"s_{i}", "s") for i in range(3)])[0].tolist() == [0, 0, 0, 0, 1, 1]
    split, sequence = mocap.split([recording("s", "s", 11)])
    assert split.tolist() == [0] * 9 + [1] * 2 == sequence.tolist()
    assert mocap.split([recording("s", "s", 1)])[0].tolist() == [0]


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (("left_eye", "right_eye", "nose"), ((0, 1),)),
        (("LeftArm", "RightArm", "lowerback"), ((0, 1),)),
        (("lfemur", "lowerback", "rfemur"), ((0, 2),)),
        (("EarL", "EarR", "Tail"), ((0, 1),)),
        (("eye_l", "eye_r", "l"), ((0, 1),)),
        (("paw_L_front", "paw_R_front", "L"), ((0, 1),)),
        (("tail", "spine", "nose"), ()),
    ],
)
def test_mirror_pairs(names, pairs):
    assert mocap.mirror_pairs(names) == pairs


def spoil(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("HIERARCHY", "", "does not begin with HIERARCHY"),
        ("MOTION", "", "no MOTION"),
        ("Frames: 2", "Frames: 3", "'Frames: 3', but there are 2 lines"),
        ("Frames: 2", "Frames: x", "but there are 2 lines"),
        ("Frame Time:", "Time:", "not followed by"),
        (MOVED, MOVED[:-2], "frame 1 has 8 numbers, expected 9"),
        (MOVED, MOVED.replace("3", "x"), "MOTION, frame 1: could not convert"),
        (MOVED, MOVED.replace("3", "nan"), "MOTION, frame 1: nan is not finite"),
        ("OFFSET 2 0 0", "OFFSET 2 0", "left_knee: OFFSET: could not convert string"),
        ("CHANNELS 1 Xrotation", "CHANNELS 1 Wrotation", "right_knee: channel 'Wrotation'"),
        ("CHANNELS 1 Xrotation", "", "right_knee: no CHANNELS"),
        ("OFFSET -2 0 0", "", "right_knee: no OFFSET"),
        ("JOINT right_knee", "JOINT left_knee", "keypoint names given twice: left_knee"),
        ("JOINT right_knee", "ROOT right_knee", "ROOT where there can be none"),
        ("}\nMOTION", "MOTION", "cut short"),
        ("}\nMOTION", "}\n}\nMOTION", "a closing brace too many"),
    ],
)
def test_broken_bvh(tmp_path, old, new, message):
    with pytest.raises(ValueError, match=message) as error:
        bvh.read(spoil(legs(tmp_path / "a.bvh"), old, new), 1)
    assert "a.bvh" in str(error.value)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("07.asf", ":units", ":unit", "no section :units"),
        ("07.asf", "length 0.45", "long 0.45", ":units needs a length"),
        ("07.asf", "length 0.45", "length 0", ":units length is 0"),
        ("07.asf", "angle deg", "angle turns", "not 'turns'"),
        ("07.asf", "axis 10 20 30  XYZ", "axis 10 20 30", "bone arm: axis"),
        ("07.asf", "direction 0 -1 0", "direction 0 -1", "bone thigh: expected 3 numbers"),
        ("07.asf", "dof rx\n", "dof l\n", "shin has the degree of freedom 'l'"),
        ("07.asf", "thigh shin", "thigh", "bone shin is not in :hierarchy"),
        ("07.asf", "thigh shin", "thigh shin foot", ":hierarchy has 'foot'"),
        ("07.asf", "  end\n:hierarchy", ":hierarchy", ":bonedata has no bone, or is cut short"),
        ("07.asf", "length 3", "length nan", "bone shin: length: nan is not finite"),
        ("07_01.amc", "shin 0", "shin", "frame 2 has 0 values for shin, expected 1"),
        ("07_01.amc", "shin 0", "", "frame 2 has 0 values for shin"),
        ("07_01.amc", "thigh 0 0 0", "thigh 0 nan 0", "bone thigh, frame 2: nan is not finite"),
        ("07_01.amc", "shin 0", "shin 0\nfoot 1", "'foot' is no bone"),
        ("07_01.amc", "\n1\nroot 0 0 0 0 0 0\n", "\nroot 0 0 0 0 0 0\n", "before the first frame number"),
    ],
)
def test_broken_acclaim(tmp_path, file, old, new, message):
    path = acclaim(tmp_path, "0 0 0 0 0 0; 0 1 0; 8", "0 0 0 0 0 0; 0 0 0; 0")
    spoil(tmp_path / file, old, new)
    with pytest.raises(ValueError, match=message) as error:
        asf_amc.read(path, 1)
    assert file in str(error.value)


def test_files_that_are_absent_empty_or_differ(tmp_path):
    for reader in (bvh.read, asf_amc.read):
        with pytest.raises(FileNotFoundError, match="no such file"):
            reader(tmp_path / "none", 1)
        with pytest.raises(FileNotFoundError, match="no .bvh file|no .amc file"):
            reader(tmp_path, 1)
    (tmp_path / "a.bvh").write_text("")
    with pytest.raises(ValueError, match="the file is empty"):
        bvh.read(tmp_path, 1)
    legs(tmp_path / "a.bvh")
    spoil(legs(tmp_path / "b.bvh"), "right_knee", "other_knee")
    with pytest.raises(ValueError, match="b.bvh: other keypoints than .*other_knee, right_knee"):
        bvh.read(tmp_path, 1)
    path = acclaim(tmp_path / "amc", "0 0 0 0 0 0; 0 0 0; 0")
    (tmp_path / "amc" / "07.asf").unlink()
    with pytest.raises(FileNotFoundError, match="expected one .asf"):
        asf_amc.read(path, 1)
    path.write_bytes(bytes(range(256)))
    (tmp_path / "amc" / "07.asf").write_text(ASF % SAID)
    with pytest.raises(ValueError, match="07_01.amc"):
        asf_amc.read(path, 1)
