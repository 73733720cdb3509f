"""The embedded benchmark: deterministic, split by instance, constant limbs, and varied enough to be a benchmark."""

import hashlib
import subprocess
import sys

import pytest
import torch

from lfmlib import data, rigs
from lfmlib.data import synthetic

ALL = synthetic.categories()


def part(shapes, name):
    return shapes.points[:, shapes.rig.keypoints.index(name)].double()


def lengths(shapes):
    """Length of each edge in each frame; [F, E]."""
    a, b = torch.tensor(shapes.rig.edges).T
    return (shapes.points[:, a] - shapes.points[:, b]).double().norm(dim=-1)


def aligned(shapes):
    """Unit-size shapes turned onto a common mean (rotations only), and that mean; float64."""
    p = shapes.points.double()
    p = p - p.mean(1, keepdim=True)
    p = p / p.square().sum(-1).mean(1).sqrt()[:, None, None]
    mean = p[0]
    for _ in range(8):
        U, _, Vt = torch.linalg.svd(p.mT @ mean)
        flip = torch.ones(len(p), 3, dtype=p.dtype)
        flip[:, 2] = torch.linalg.det(U @ Vt).sign()
        turned = p @ (U * flip[:, None, :] @ Vt)
        mean = turned.mean(0)
        mean = mean / mean.square().sum(-1).mean().sqrt()
    return turned, mean


@pytest.mark.parametrize("category", ALL)
def test_same_arguments_same_shapes(category):
    a, b = synthetic.generate(category, 120, 3), synthetic.generate(category, 120, 3)
    assert torch.equal(a.points, b.points) and torch.equal(a.split, b.split) and a.fingerprint == b.fingerprint
    for other in (synthetic.generate(category, 120, 4), synthetic.generate(category, 121, 3)):
        assert other.fingerprint != a.fingerprint and not torch.equal(other.points[:50], a.points[:50])


def test_another_process_makes_the_same_bytes():
    code = (
        "import hashlib\nfrom lfmlib.data import synthetic\n"
        "for c in synthetic.categories():\n"
        "    s = synthetic.generate(c, 300, 5)\n"
        "    print(hashlib.sha256(s.points.numpy().tobytes() + s.split.numpy().tobytes()).hexdigest(), s.fingerprint)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    here = []
    for category in ALL:
        shapes = synthetic.generate(category, 300, 5)
        here += [
            hashlib.sha256(shapes.points.numpy().tobytes() + shapes.split.numpy().tobytes()).hexdigest(),
            shapes.fingerprint,
        ]
    assert out == here


def test_the_global_generator_is_left_alone():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    for category in ALL:
        synthetic.generate(category, 60)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("category", ALL)
@pytest.mark.parametrize("count", [2, 60, 1003])
def test_form(category, count):
    shapes = synthetic.generate(category, count)
    assert len(shapes) == count and shapes.rig is rigs.get(category) and shapes.tag == "synthetic"
    assert shapes.points.dtype == torch.float32 and shapes.known.all()
    assert shapes.rig.mm == 1


@pytest.mark.parametrize("category", ALL)
def test_a_fifth_is_test_and_no_person_is_in_both(category):
    shapes = synthetic.generate(category, 4000)
    assert 0.15 <= (shapes.split == 1).double().mean() <= 0.25
    members = {"synthetic_body17": len(synthetic.MOTIONS), "synthetic_hand21": len(synthetic.GESTURES)}.get(category, 1)
    who = shapes.sequence // members
    assert not set(who[shapes.split == 0].tolist()) & set(who[shapes.split == 1].tolist())
    assert len(who.unique()) >= 30


@pytest.mark.parametrize(("category", "members"), [("synthetic_body17", 5), ("synthetic_hand21", 4)])
def test_bones_are_constant_in_a_person_and_differ_between_people(category, members):
    shapes = synthetic.generate(category, 2000)
    bones, who = lengths(shapes), shapes.sequence // members
    for person in who.unique()[:10]:
        own = bones[who == person]
        assert (own - own[0]).abs().max() < 0.05  # mm: the rounding of the coordinates
    people = torch.stack([bones[who == person].mean(0) for person in who.unique()])
    assert (people.std(0) / people.mean(0)).min() > 0.02


def test_left_and_right_limbs_are_equally_long():
    bones = lengths(synthetic.generate("synthetic_body17", 500)).mean(0)
    edges = {edge: i for i, edge in enumerate(rigs.get("synthetic_body17").edges)}
    for right, left in (((1, 2), (4, 5)), ((2, 3), (5, 6)), ((14, 15), (11, 12)), ((15, 16), (12, 13))):
        assert bones[edges[right]] == pytest.approx(bones[edges[left]].item(), abs=0.02)


def test_people_stand_and_walk_upright():
    shapes = synthetic.generate("synthetic_body17", 5000)
    motion = shapes.sequence % len(synthetic.MOTIONS)
    walking = motion <= 1
    head, pelvis = part(shapes, "head_top")[:, 1], part(shapes, "pelvis")[:, 1]
    feet = torch.minimum(part(shapes, "left_ankle")[:, 1], part(shapes, "right_ankle")[:, 1])
    assert (head > pelvis)[walking].all() and (pelvis > feet).all()
    bones = {frozenset(edge): length for edge, length in zip(shapes.rig.edges, lengths(shapes).T, strict=True)}
    tall = feet + sum(bones[frozenset(e)] for e in ((1, 2), (2, 3), (0, 7), (7, 8), (8, 9), (9, 10)))
    assert tall.min() > 1400 and tall.max() < 2100  # stretched out
    assert (head / tall)[motion == 0].min() > 0.8 and (head < tall + 100).all()
    assert (feet > 50).all() and (feet < 120).all()  # ankles above the ground at y = 0
    assert head[motion == 3].min() < 1300  # some do sit


def test_joints_bend_the_right_way():
    shapes = synthetic.generate("synthetic_body17", 3000)
    left = part(shapes, "left_hip") - part(shapes, "right_hip")
    forward = torch.linalg.cross(left, part(shapes, "thorax") - part(shapes, "pelvis"))
    assert ((part(shapes, "neck_nose") - part(shapes, "thorax")) * forward).sum(-1).double().mean() > 0
    for side in ("left", "right"):
        knee = 2 * part(shapes, f"{side}_knee") - part(shapes, f"{side}_hip") - part(shapes, f"{side}_ankle")
        bent = knee.norm(dim=-1) > 60
        assert ((knee * forward).sum(-1) > 0)[bent].double().mean() > 0.9


def test_legs_of_a_walker_swing_against_each_other():
    shapes = synthetic.generate("synthetic_body17", 5000)
    walking = shapes.sequence % len(synthetic.MOTIONS) == 0
    left, up = part(shapes, "left_hip") - part(shapes, "right_hip"), torch.tensor([0.0, 1.0, 0.0]).double()
    forward = torch.linalg.cross(left, up.expand_as(left))
    feet = [part(shapes, f"{side}_ankle") - part(shapes, "pelvis") for side in ("left", "right")]
    ahead = torch.stack([(foot * forward).sum(-1)[walking] for foot in feet])
    assert torch.corrcoef(ahead)[0, 1] < -0.5


def test_the_wrist_is_the_far_end_of_every_hand():
    shapes = synthetic.generate("synthetic_hand21", 2000)
    wrist = part(shapes, "wrist")
    knuckle = (part(shapes, "middle_mcp") - wrist).norm(dim=-1)
    assert knuckle.min() > 65 and knuckle.max() < 120
    reach = (shapes.points.double() - wrist[:, None]).norm(dim=-1).amax(1)
    assert reach.min() > 70 and reach.max() < 250
    straight = (part(shapes, "middle_tip") - wrist).norm(dim=-1) / knuckle
    assert straight.min() < 1.2 and straight.max() > 1.9  # closed and open hands
    palm = torch.linalg.cross(part(shapes, "index_mcp") - wrist, part(shapes, "little_mcp") - wrist)
    curl = part(shapes, "middle_tip") - part(shapes, "middle_mcp")
    closed = straight < 1.5
    assert ((palm * curl).sum(-1) > 0)[closed].double().mean() > 0.95  # a right hand: fingers close to one side


def test_chairs_stand_on_four_legs():
    shapes = synthetic.generate("synthetic_chair10", 2000)
    y = {name: part(shapes, name)[:, 1] for name in shapes.rig.keypoints}
    assert all((y[name] == 0).all() for name in y if name.startswith("leg"))
    assert (y["seat_front_left"] > 200).all() and (y["back_top_left"] > y["seat_back_left"]).all()
    x = part(shapes, "seat_front_right")[:, 0]
    assert (x > 140).all() and (x < 420).all()
    assert (part(shapes, "seat_back_left")[:, 2] > part(shapes, "seat_front_left")[:, 2]).all()
    mirrored = shapes.points[:, list(shapes.rig.mirror)] * torch.tensor([-1.0, 1.0, 1.0])
    assert torch.equal(mirrored, shapes.points)


def test_aeroplanes_look_like_some():
    shapes = synthetic.generate("synthetic_aeroplane8", 2000)
    mirrored = shapes.points[:, list(shapes.rig.mirror)] * torch.tensor([-1.0, 1.0, 1.0])
    assert torch.equal(mirrored, shapes.points)
    length = part(shapes, "tail")[:, 1] - part(shapes, "noselanding")[:, 1]
    span = 2 * part(shapes, "right_wing")[:, 0]
    assert length.min() > 4500 and length.max() < 75000 and (span > 0).all()
    assert (span / length).min() < 0.85 and (span / length).max() > 1.8
    assert (part(shapes, "rudder_upper")[:, 2] > part(shapes, "tail")[:, 2]).all()
    assert (part(shapes, "right_elevator")[:, 0] < span / 2).all()


@pytest.mark.parametrize(
    ("category", "rank", "floor"),
    [
        ("synthetic_body17", 3.5, 0.22),
        ("synthetic_hand21", 3.5, 0.25),
        ("synthetic_chair10", 2.0, 0.15),
        ("synthetic_aeroplane8", 1.5, 0.15),
    ],
)
def test_shapes_deform(category, rank, floor):
    """Participation ratio of the aligned shapes, and what a single mean shape leaves, as a share of the RMS radius."""
    turned, mean = aligned(synthetic.generate(category, 1500))
    power = torch.linalg.svdvals((turned - turned.mean(0)).flatten(1)).square()
    assert power.sum().square() / power.square().sum() > rank
    residual = (turned - mean).square().sum(-1).mean().sqrt()
    assert floor < residual < 0.6
    thickness = torch.linalg.svdvals(mean)
    assert thickness[2] > 0.05 * thickness[0]  # not flat: its mirror image is another shape


def test_about_as_varied_as_measured_shapes(real_data):
    for ours, theirs in (("synthetic_body17", "human17_cmu"), ("synthetic_chair10", "chair10_keypointnet")):
        rest = []
        for name in (ours, theirs):
            turned, mean = aligned(data.load(name, 1500, folder=real_data))
            rest.append((turned - mean).square().sum(-1).mean().sqrt())
        assert 0.7 < rest[0] / rest[1] < 1.5


def test_failures():
    with pytest.raises(ValueError, match="no synthetic category 'synthetic_cat'; there are synthetic_body17"):
        synthetic.generate("synthetic_cat", 10)
    with pytest.raises(ValueError, match="count is 1"):
        synthetic.generate(ALL[0], 1)


def test_load_generates():
    assert len(data.load(ALL[0], 50, seed=2)) == 50
    assert data.load(ALL[1], 50, 2).fingerprint == synthetic.generate(ALL[1], 50, 2).fingerprint
    assert len(data.load(ALL[2])) == synthetic.DEFAULT_COUNT
