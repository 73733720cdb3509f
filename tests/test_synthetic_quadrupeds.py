"""Quadrupeds: the rigs of the measured dog and mouse, legs that bend and stand as they should, gaits, sub-types."""

import pytest
import torch

from lfmlib import data, rigs
from lfmlib.data import synthetic
from lfmlib.data.synthetic import gaits, quadrupeds
from lfmlib.data.synthetic.draw import Cast
from lfmlib.studies.variety import variety

SPECIES = [name for name in synthetic.categories() if synthetic.entry(name).maker == "quadrupeds.quadruped"]
MOUSE = "synthetic_mouse22"
TOES = ("left_fore_toe", "right_fore_toe", "left_hind_toe", "right_hind_toe")
UP = torch.tensor([0.0, 1.0, 0.0]).double()


def made(species, motion, count=400):
    """Keypoints of a species that does one thing: name -> [F, 3]."""
    shape = synthetic.entry(species).shape | {"motions": [motion]}
    maker = getattr(quadrupeds, synthetic.entry(species).maker.split(".")[1])
    return maker(count, torch.Generator().manual_seed(0), **shape).at


def angle(at, a, b, c):
    """At b, degrees; [F]."""
    u, v = at[a] - at[b], at[c] - at[b]
    return torch.rad2deg(((u * v).sum(-1) / u.norm(dim=-1) / v.norm(dim=-1)).clamp(-1, 1).acos())


def lengths(shapes):
    a, b = torch.tensor(shapes.rig.edges).T
    return (shapes.points[:, a] - shapes.points[:, b]).double().norm(dim=-1)


def back(at):
    return (at["spine"] - at["pelvis"]).norm(dim=-1) + (at["neck_base"] - at["spine"]).norm(dim=-1)


def test_rigs_are_those_of_the_measured_animals():
    dog, mouse = rigs.get("dog26_ai4animation"), rigs.get("mouse22_dannce")
    assert len(SPECIES) >= 11
    for name in SPECIES:
        rig = rigs.get(name)
        assert (rig.keypoints, rig.edges, rig.symmetry, rig.up) == (dog.keypoints, dog.edges, dog.symmetry, "+y")
    rig = rigs.get(MOUSE)
    assert (rig.keypoints, rig.symmetry, rig.up) == (mouse.keypoints, mouse.symmetry, mouse.up)
    assert {frozenset(edge) for edge in rig.edges} == {frozenset(edge) for edge in mouse.edges}


@pytest.mark.parametrize("name", SPECIES)
def test_bones_are_constant_in_an_animal_equal_on_both_sides_and_differ_between_animals(name):
    shapes = synthetic.generate(name, 900)
    bones, who = lengths(shapes), shapes.sequence // quadrupeds.CLIPS
    animals = torch.stack([bones[who == animal].mean(0) for animal in who.unique()])
    assert (bones - animals[who]).abs().max() < 0.05  # mm: the rounding of the coordinates
    assert (animals.std(0) / animals.mean(0)).min() > 0.02
    swapped = [tuple(shapes.rig.mirror[i] for i in edge) for edge in shapes.rig.edges]
    other = [shapes.rig.edges.index(edge) for edge in swapped]
    assert torch.allclose(animals, animals[:, other], atol=0.02)


def test_mouse_bones_vary_only_by_the_skin_that_slides_over_them():
    shapes = synthetic.generate(MOUSE, 600)
    bones, who = lengths(shapes), shapes.sequence // quadrupeds.CLIPS
    stiff = ("EarL EarR", "EarL Snout", "ForepawL WristL", "WristR ElbowR", "HindpawL AnkleL", "Tail(mid) Tail(end)")
    edges = [tuple(shapes.rig.keypoints[i] for i in edge) for edge in shapes.rig.edges]
    for animal in who.unique()[:8]:
        spread = bones[who == animal].std(0) / bones[who == animal].mean(0)
        assert all(spread[edges.index(tuple(edge.split()))] < 0.01 for edge in stiff)
        assert spread.max() > 0.03


@pytest.mark.parametrize("name", SPECIES)
def test_left_is_plus_x_and_the_head_is_in_front(name):
    at = made(name, "look", 200)
    for left in [k for k in rigs.get(name).keypoints if k.startswith("left") and k.split("_")[1] in ("hip", "scapula")]:
        assert (at[left][:, 0] > at[left.replace("left", "right")][:, 0]).all()
    assert (at["neck_base"][:, 2] > at["spine"][:, 2]).all() and (at["spine"][:, 2] > at["pelvis"][:, 2]).all()
    assert (at["tail_base"][:, 2] < at["pelvis"][:, 2]).all()
    assert ((at["nose"] - at["neck_base"])[:, 2] > 0).double().mean() > 0.8  # some look back


def test_the_mouse_faces_minus_y_with_its_left_at_plus_x():
    at = made(MOUSE, "walk")
    assert (at["SpineF"][:, 1] < at["SpineM"][:, 1]).all() and (at["SpineM"][:, 1] < at["Tail(base)"][:, 1]).all()
    for part in ("Ear", "Shoulder", "Hindpaw"):
        assert (at[f"{part}L"][:, 0] > at[f"{part}R"][:, 0]).double().mean() > 0.95
    assert all(at[name][:, 2].min() > -1e-9 for name in ("HindpawL", "ForepawR", "Tail(end)", "Snout"))
    length = (at["Snout"] - at["Tail(base)"]).norm(dim=-1)
    assert length.min() > 45 and length.max() < 130


@pytest.mark.parametrize("name", SPECIES)
def test_joints_bend_the_right_way_and_within_their_limits(name):
    at = made(name, "walk")
    for side in ("left", "right"):
        shoulder, elbow, wrist = (at[f"{side}_{joint}"] for joint in ("shoulder", "elbow", "wrist"))
        hip, knee, hock, toe = (at[f"{side}_{joint}"] for joint in ("hip", "knee", "hock", "hind_toe"))
        bend = (2 * elbow - shoulder - wrist)[:, 2]
        assert (bend < 0).double().mean() > 0.97  # elbows point back
        assert ((2 * knee - hip - hock)[:, 2] > 0).all()  # knees point forward
        assert ((2 * hock - knee - toe)[:, 2] < 0).double().mean() > 0.9  # hocks point back
    everything = synthetic.generate(name, 600)
    points = dict(zip(everything.rig.keypoints, everything.points.double().unbind(1), strict=True))
    fold = synthetic.entry(name).shape["style"]["fold"][0]
    arm, leg = ("left_shoulder", "left_elbow", "left_wrist"), ("left_hip", "left_knee", "left_hock")
    for joints, least in ((arm, quadrupeds.ELBOW), (leg, fold)):
        found = angle(points, *joints)
        assert found.min() > least - 1 and found.max() < quadrupeds.STRAIGHT + 1


@pytest.mark.parametrize("name", SPECIES)
def test_animals_stand_on_the_ground(name):
    points = synthetic.generate(name, 600).points.double()
    assert points[..., 1].min() > -0.01
    at = made(name, "walk")
    feet = torch.stack([at[toe][:, 1] for toe in TOES]) / back(at)
    assert ((feet < 0.01).sum(0) >= 2).double().mean() > 0.98  # a walker has two or three feet down
    assert feet.max() > 0.03 and at["nose"][:, 1].min() >= -1e-9


def test_trotters_move_diagonal_legs_together_and_walkers_do_not():
    for motion, close in (("trot", True), ("walk", False)):
        at = made("synthetic_horse26", motion, 1000)
        roots = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
        ahead = torch.stack([at[toe][:, 2] - at[root][:, 2] for toe, root in zip(TOES, roots, strict=True)])
        ahead = ahead - ahead.mean(1, keepdim=True)
        together = torch.corrcoef(ahead)
        assert (together[0, 3] > 0.7) == close and together[0, 1] < -0.7 and together[2, 3] < -0.7


def test_a_gallop_bends_the_back_of_a_cheetah_more_than_that_of_a_horse():
    spread = {}
    for name in ("synthetic_cheetah26", "synthetic_dog26", "synthetic_horse26"):
        at = made(name, "gallop")
        up = (2 * at["spine"] - at["pelvis"] - at["neck_base"])[:, 1] / back(at)
        spread[name] = float(up.std())
    assert spread["synthetic_cheetah26"] > 1.2 * spread["synthetic_dog26"] > 1.5 * spread["synthetic_horse26"]


def test_motions_are_what_they_are_called():
    def most(at, part):
        return (at[part][:, 1] / back(at)).double()

    stand, sit, lie = (made("synthetic_dog26", motion) for motion in ("look", "sit", "lie"))
    assert most(stand, "pelvis").median() > 0.7
    low = most(sit, "pelvis") < 0.4
    assert low.double().mean() > 0.4 and (most(sit, "neck_base") > 1.5 * most(sit, "pelvis"))[low].double().mean() > 0.9
    assert most(lie, "neck_base").median() < 0.7 < 1.3 * most(stand, "neck_base").median()
    assert most(made("synthetic_horse26", "graze"), "nose").median() < 0.35
    jump = made("synthetic_deer26", "jump")
    assert torch.stack([most(jump, toe) for toe in TOES]).amin(0).max() > 0.1  # all four feet in the air
    mouse = made(MOUSE, "rear")
    assert ((mouse["SpineF"] - mouse["Tail(base)"])[:, 2] > 30).double().mean() > 0.3
    turn = made("synthetic_dog26", "turn")
    spine, thorax = turn["spine"] - turn["pelvis"], turn["neck_base"] - turn["spine"]
    bend = torch.rad2deg(torch.atan2(spine[:, 2] * thorax[:, 0] - spine[:, 0] * thorax[:, 2], (spine * thorax).sum(-1)))
    assert bend.max() > 10 and bend.min() < -10


def test_species_look_like_themselves():
    shown = {name.removeprefix("synthetic_")[:-2]: made(name, "look", 600) for name in SPECIES}

    def share(kind, bone):
        a, b = bone.split()
        return float(((shown[kind][a] - shown[kind][b]).norm(dim=-1) / back(shown[kind])).mean())

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
def test_every_sub_type_occurs_and_stretches_its_bones(name):
    shape = synthetic.entry(name).shape
    cast = Cast(3000, quadrupeds.CLIPS, torch.Generator().manual_seed(0))
    length, kind = quadrupeds.proportions(cast, shape["bones"], shape["kinds"])
    assert kind.unique().tolist() == list(range(len(shape["kinds"])))
    for i, said in enumerate(shape["kinds"].values()):
        for factor, bone in (("legs", "fore"), ("tail", "tail"), ("head", "head")):
            low, high = said.get(factor, quadrupeds.EITHER)
            size = torch.tensor(said["size"], dtype=torch.float64)
            found = length[bone][kind == i] / shape["bones"][bone]
            assert found.min() > 0.93 * low * size[0] and found.max() < 1.07 * high * size[1]


def test_limb_reaches_for_a_place():
    generator = torch.Generator().manual_seed(0)
    root, foot = (torch.randn(500, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    ankle, pole = 0.1 * UP.expand(500, 3), torch.tensor([[0.0, 0.0, 1.0]]).double().expand(500, 3)
    upper = torch.full((500,), 1.2).double()
    knee, end, toes = quadrupeds.limb(root, foot, ankle, upper, 0.9 * upper, pole, 20, 170)
    assert torch.allclose((knee - root).norm(dim=-1), upper) and torch.allclose((end - knee).norm(dim=-1), 0.9 * upper)
    assert torch.allclose(end - toes, ankle)
    asked = (foot + ankle - root).norm(dim=-1)
    near = (asked > 0.5) & (asked < 2.2)
    assert near.sum() > 100 and torch.allclose(toes[near], foot[near])
    at = {"root": root, "knee": knee, "end": end}
    assert angle(at, "root", "knee", "end").min() > 19.9 and angle(at, "root", "knee", "end").max() < 170.1
    along = torch.nn.functional.normalize(end - root, dim=-1)
    bent = knee - root - ((knee - root) * along).sum(-1, keepdim=True) * along
    assert ((bent * pole).sum(-1) > -1e-9).all()
    level = (foot + ankle - root)[:, 1].abs() < 2
    assert torch.allclose(toes[level][:, 1], foot[level][:, 1])  # out of reach, it moves level with the ground


def test_what_would_go_below_the_ground_lies_on_it():
    start = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]).double()
    step = torch.tensor([[0.0, -3.0, 4.0], [0.0, -0.5, 1.0]]).double()
    end = quadrupeds.laid(start, step, torch.zeros(2).double())
    assert torch.allclose((end - start).norm(dim=-1), step.norm(dim=-1))
    assert end[0, 1] == 0 and end[0, 2] > 4 and torch.allclose(end[1], (start + step)[1])


def test_keyed_passes_through_its_values():
    cycle = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0, 0.125]).double()
    assert torch.allclose(gaits.keyed(cycle, 1, 2, 5, 3), torch.tensor([1.0, 2, 5, 3, 1, 1.5]).double())


def test_unknown_motion():
    with pytest.raises(ValueError, match="no motion 'fly'; there are look, walk"):
        made("synthetic_dog26", "fly")


@pytest.mark.parametrize(("ours", "theirs"), [("synthetic_dog26", "dog26_ai4animation"), (MOUSE, "mouse22_dannce")])
def test_as_varied_as_measured_animals(real_data, ours, theirs):
    found, wanted = (variety(data.load(name, 1500, folder=real_data), 300, 800) for name in (ours, theirs))
    for field, mine, real in zip(found._fields, found, wanted, strict=True):
        assert mine > 0.7 * real, field
