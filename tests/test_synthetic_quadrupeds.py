"""Quadrupeds: the rigs of the measured dog and mouse, legs that bend and stand as they should, gaits, sub-types."""

import pytest
import torch
from shapes_of import angle, apart, at_of, doing, edges_of, form, lengths, means, shapes_of, spread, within

from lfmlib import data, rigs
from lfmlib.data import synthetic
from lfmlib.data.synthetic import gaits, quadrupeds
from lfmlib.data.synthetic.quadruped_motions import keyed
from lfmlib.studies.variety import variety

SPECIES = [name for name in synthetic.categories() if synthetic.entry(name).maker == "quadrupeds.quadruped"]
MOUSE = "synthetic_mouse22"
TOES = ("left_fore_toe", "right_fore_toe", "left_hind_toe", "right_hind_toe")


def back(at):
    return apart(at, "spine", "pelvis") + apart(at, "neck_base", "spine")


def test_rigs_are_those_of_the_measured_animals():
    dog, mouse = rigs.get("dog26_ai4animation"), rigs.get("mouse22_dannce")
    assert len(SPECIES) >= 11
    for name in SPECIES:
        rig = rigs.get(name)
        assert (rig.keypoints, rig.edges, rig.symmetry, rig.up) == (dog.keypoints, dog.edges, dog.symmetry, "+y")
    rig = rigs.get(MOUSE)
    assert form(rig) == form(mouse) and rig.symmetry == mouse.symmetry


@pytest.mark.parametrize("name", SPECIES)
def test_bones_are_constant_in_an_animal_equal_on_both_sides_and_differ_between_animals(name):
    shapes = shapes_of(name, 900)
    bones, who = lengths(at_of(shapes), edges_of(shapes.rig)), shapes.sequence // gaits.CLIPS
    assert within(bones, who) < 0.05  # mm: the rounding of the coordinates
    assert spread(bones, who) > 0.02
    swapped = [tuple(shapes.rig.mirror[i] for i in edge) for edge in shapes.rig.edges]
    other = [shapes.rig.edges.index(edge) for edge in swapped]
    animals = means(bones, who)
    assert torch.allclose(animals, animals[:, other], atol=0.02)


def test_mouse_bones_vary_only_by_the_skin_that_slides_over_them():
    shapes = shapes_of(MOUSE, 600)
    edges = edges_of(shapes.rig)
    bones, who = lengths(at_of(shapes), edges), shapes.sequence // gaits.CLIPS
    stiff = ("EarL EarR", "EarL Snout", "ForepawL WristL", "WristR ElbowR", "HindpawL AnkleL", "Tail(mid) Tail(end)")
    for animal in who.unique()[:8]:
        loose = bones[who == animal].std(0) / bones[who == animal].mean(0)
        assert all(loose[edges.index(tuple(edge.split()))] < 0.01 for edge in stiff)
        assert loose.max() > 0.03


@pytest.mark.parametrize("name", SPECIES)
def test_left_is_plus_x_and_the_head_is_in_front(name):
    at = doing(name, "look", 200)
    for left in [k for k in rigs.get(name).keypoints if k.startswith("left") and k.split("_")[1] in ("hip", "scapula")]:
        assert (at[left][:, 0] > at[left.replace("left", "right")][:, 0]).all()
    assert (at["neck_base"][:, 2] > at["spine"][:, 2]).all() and (at["spine"][:, 2] > at["pelvis"][:, 2]).all()
    assert (at["tail_base"][:, 2] < at["pelvis"][:, 2]).all()
    assert ((at["nose"] - at["neck_base"])[:, 2] > 0).double().mean() > 0.8  # some look back


def test_the_mouse_faces_minus_y_with_its_left_at_plus_x():
    at = doing(MOUSE, "walk")
    assert (at["SpineF"][:, 1] < at["SpineM"][:, 1]).all() and (at["SpineM"][:, 1] < at["Tail(base)"][:, 1]).all()
    for part in ("Ear", "Shoulder", "Hindpaw"):
        assert (at[f"{part}L"][:, 0] > at[f"{part}R"][:, 0]).double().mean() > 0.95
    assert all(at[name][:, 2].min() > -1e-9 for name in ("HindpawL", "ForepawR", "Tail(end)", "Snout"))
    length = apart(at, "Snout", "Tail(base)")
    assert length.min() > 45 and length.max() < 130


@pytest.mark.parametrize("name", SPECIES)
def test_joints_bend_the_right_way_and_within_their_limits(name):
    at = doing(name, "walk")
    for side in ("left", "right"):
        shoulder, elbow, wrist = (at[f"{side}_{joint}"] for joint in ("shoulder", "elbow", "wrist"))
        hip, knee, hock, toe = (at[f"{side}_{joint}"] for joint in ("hip", "knee", "hock", "hind_toe"))
        bend = (2 * elbow - shoulder - wrist)[:, 2]
        assert (bend < 0).double().mean() > 0.97  # elbows point back
        assert ((2 * knee - hip - hock)[:, 2] > 0).all()  # knees point forward
        assert ((2 * hock - knee - toe)[:, 2] < 0).double().mean() > 0.9  # hocks point back
    points = at_of(shapes_of(name, 600))
    fold = synthetic.entry(name).shape["style"]["fold"][0]
    arm, leg = ("left_shoulder", "left_elbow", "left_wrist"), ("left_hip", "left_knee", "left_hock")
    for joints, least in ((arm, quadrupeds.ELBOW), (leg, fold)):
        found = angle(points, *joints)
        assert found.min() > least - 1 and found.max() < quadrupeds.STRAIGHT + 1


@pytest.mark.parametrize("name", SPECIES)
def test_animals_stand_on_the_ground(name):
    assert shapes_of(name, 600).points[..., 1].min() > -0.01
    at = doing(name, "walk")
    feet = torch.stack([at[toe][:, 1] for toe in TOES]) / back(at)
    assert ((feet < 0.01).sum(0) >= 2).double().mean() > 0.98  # a walker has two or three feet down
    assert feet.max() > 0.03 and at["nose"][:, 1].min() >= -1e-9


def test_trotters_move_diagonal_legs_together_and_walkers_do_not():
    for motion, close in (("trot", True), ("walk", False)):
        at = doing("synthetic_horse26", motion, 1000)
        roots = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
        ahead = torch.stack([at[toe][:, 2] - at[root][:, 2] for toe, root in zip(TOES, roots, strict=True)])
        ahead = ahead - ahead.mean(1, keepdim=True)
        together = torch.corrcoef(ahead)
        assert (together[0, 3] > 0.7) == close and together[0, 1] < -0.7 and together[2, 3] < -0.7


def test_a_gallop_bends_the_back_of_a_cheetah_more_than_that_of_a_horse():
    spread = {}
    for name in ("synthetic_cheetah26", "synthetic_dog26", "synthetic_horse26"):
        at = doing(name, "gallop")
        up = (2 * at["spine"] - at["pelvis"] - at["neck_base"])[:, 1] / back(at)
        spread[name] = float(up.std())
    assert spread["synthetic_cheetah26"] > 1.2 * spread["synthetic_dog26"] > 1.5 * spread["synthetic_horse26"]


def test_motions_are_what_they_are_called():
    def most(at, part):
        return (at[part][:, 1] / back(at)).double()

    stand, sit, lie = (doing("synthetic_dog26", motion) for motion in ("look", "sit", "lie"))
    assert most(stand, "pelvis").median() > 0.7
    low = most(sit, "pelvis") < 0.4
    assert low.double().mean() > 0.4 and (most(sit, "neck_base") > 1.5 * most(sit, "pelvis"))[low].double().mean() > 0.9
    assert most(lie, "neck_base").median() < 0.7 < 1.3 * most(stand, "neck_base").median()
    assert most(doing("synthetic_horse26", "graze"), "nose").median() < 0.35
    jump = doing("synthetic_deer26", "jump")
    assert torch.stack([most(jump, toe) for toe in TOES]).amin(0).max() > 0.1  # all four feet in the air
    mouse = doing(MOUSE, "rear")
    assert ((mouse["SpineF"] - mouse["Tail(base)"])[:, 2] > 30).double().mean() > 0.3
    turn = doing("synthetic_dog26", "turn")
    spine, thorax = turn["spine"] - turn["pelvis"], turn["neck_base"] - turn["spine"]
    bend = torch.rad2deg(torch.atan2(spine[:, 2] * thorax[:, 0] - spine[:, 0] * thorax[:, 2], (spine * thorax).sum(-1)))
    assert bend.max() > 10 and bend.min() < -10


def test_species_look_like_themselves():
    shown = {name.removeprefix("synthetic_")[:-2]: doing(name, "look", 600) for name in SPECIES}

    def share(kind, bone):
        a, b = bone.split()
        return float((apart(shown[kind], a, b) / back(shown[kind])).mean())

    neck, legs = "head neck_base", "left_wrist left_elbow"
    assert share("giraffe", neck) > 1.5 * share("deer", neck) > 1.5 * share("pig", neck)
    assert share("giraffe", legs) > share("horse", legs) > share("hippo", legs)
    assert share("elephant", "nose head") == max(share(kind, "nose head") for kind in shown)  # the trunk
    assert share("cat", "tail_tip tail_mid") > 2 * share("pig", "tail_tip tail_mid")
    height = {kind: at["neck_base"][:, 1] for kind, at in shown.items()}
    ranges = {
        "cat": (80, 450), "dog": (130, 1000), "sheep": (280, 900), "pig": (120, 1150), "cheetah": (220, 1000),
        "horse": (700, 2000), "cow": (600, 1800), "elephant": (700, 3800), "giraffe": (1100, 3800),
    }  # fmt: skip
    for kind, (least, most) in ranges.items():
        assert height[kind].min() > least and height[kind].max() < most
    assert height["giraffe"].mean() > height["horse"].mean() > height["dog"].mean() > height["cat"].mean()


@pytest.mark.parametrize("name", [*SPECIES, MOUSE])
def test_every_sub_type_occurs_and_stretches_its_bones(name, generator):
    shape = synthetic.entry(name).shape
    cast, length = gaits.animals(3000, generator, shape["bones"], shape["kinds"], quadrupeds.PARTS)
    assert cast.kind.unique().tolist() == list(range(len(shape["kinds"])))
    for i, said in enumerate(shape["kinds"].values()):
        for factor, bone in (("legs", "fore"), ("tail", "tail"), ("head", "head")):
            low, high = said.get(factor, gaits.EITHER)
            size = torch.tensor(said["size"], dtype=torch.float64)
            found = length[bone][cast.kind == i] / shape["bones"][bone]
            assert found.min() > 0.93 * low * size[0] and found.max() < 1.07 * high * size[1]


def test_keyed_passes_through_its_values():
    cycle = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0, 0.125]).double()
    assert torch.allclose(keyed(cycle, 1, 2, 5, 3), torch.tensor([1.0, 2, 5, 3, 1, 1.5]).double())


def test_unknown_motion():
    with pytest.raises(ValueError, match="no motion 'fly'; there are look, walk"):
        doing("synthetic_dog26", "fly")


@pytest.mark.parametrize(("ours", "theirs"), [("synthetic_dog26", "dog26_ai4animation"), (MOUSE, "mouse22_dannce")])
def test_as_varied_as_measured_animals(real_data, ours, theirs):
    found, wanted = (variety(data.load(name, 1500, folder=real_data), 300, 800) for name in (ours, theirs))
    for field, mine, real in zip(found._fields, found, wanted, strict=True):
        assert mine > 0.7 * real, field
