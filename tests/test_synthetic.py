"""The embedded benchmark as a whole: deterministic, in mm, split by individual, and varied enough to be a benchmark."""

import hashlib
import subprocess
import sys
from collections import Counter

import pytest
import torch

from lfmlib import data, rigs
from lfmlib.baselines import floors
from lfmlib.data import synthetic
from lfmlib.geometry import align, centred
from lfmlib.studies.variety import variety

ALL = synthetic.categories()
PASCAL = {
    "aeroplane": 8, "bicycle": 11, "boat": 7, "bottle": 7, "bus": 12, "car": 12, "chair": 10, "diningtable": 12,
    "motorbike": 10, "sofa": 10, "train": 17, "tvmonitor": 8,
}  # fmt: skip
TABLE_2 = {
    "aeroplane8": 1953, "bottle7": 1601, "chair10": 949, "sofa10": 669, "bicycle11": 904, "car12": 5531, "fly38": 80,
}  # fmt: skip


def test_there_are_as_many_categories_as_the_paper_has():
    assert len(ALL) >= 48 and len(set(ALL)) == len(ALL)
    families = Counter(rigs.get(name).family for name in ALL)
    assert len(families) >= 8 and min(families.values()) >= 1
    assert all(name.startswith("synthetic_") and name.endswith(str(rigs.get(name).n)) for name in ALL)


@pytest.mark.parametrize(("name", "keypoints"), PASCAL.items())
def test_pascal_categories_have_their_keypoints(name, keypoints):
    ours = rigs.get(f"synthetic_{name}{keypoints}")
    assert ours.n == keypoints
    if (real_name := f"pascal3d_{name}") in rigs.names():
        theirs = rigs.get(real_name)
        assert (ours.keypoints, ours.up) == (theirs.keypoints, theirs.up)
        assert {frozenset(e) for e in ours.edges} == {frozenset(e) for e in theirs.edges}
        assert {frozenset(p) for p in ours.symmetry} == {frozenset(p) for p in theirs.symmetry}


def test_sample_counts_are_the_papers_and_have_a_long_tail():
    for name, count in TABLE_2.items():
        assert synthetic.entry(f"synthetic_{name}").samples == count
    counts = sorted(synthetic.entry(name).samples for name in ALL)
    assert counts[0] == 37 and counts[-1] == 10**6
    decades = Counter(len(str(count)) for count in counts)
    assert all(decades[digits] >= 1 for digits in (2, 3, 4, 5, 6)), decades


@pytest.mark.parametrize("category", ALL)
def test_same_arguments_same_shapes(category):
    a, b = synthetic.generate(category, 120, 3), synthetic.generate(category, 120, 3)
    assert torch.equal(a.points, b.points) and torch.equal(a.split, b.split) and a.fingerprint == b.fingerprint
    for other in (synthetic.generate(category, 120, 4), synthetic.generate(category, 121, 3)):
        assert other.fingerprint != a.fingerprint and not torch.equal(other.points[:50], a.points[:50])


def test_another_process_makes_the_same_bytes():
    code = (
        "import hashlib, torch\ntorch.set_num_threads(2)\nfrom lfmlib.data import synthetic\n"
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
@pytest.mark.parametrize("count", [2, 37, 1003])
def test_form(category, count):
    shapes = synthetic.generate(category, count)
    assert len(shapes) == count and shapes.rig is rigs.get(category) and shapes.tag == "synthetic"
    assert shapes.points.dtype == torch.float32 and shapes.known.all() and shapes.surface is not None
    assert shapes.rig.mm == 1 and 0.3 < shapes.radius < 60_000  # a fly to an airliner, in mm
    bits = synthetic.entry(category).bits
    grid = shapes.points.double() * 2.0**bits
    assert torch.equal(grid, grid.round()) and shapes.radius * 2.0**bits > 1000  # rounding is under 0.1 %


@pytest.mark.parametrize("category", ALL)
def test_a_fifth_is_test_and_no_sequence_is_in_both(category):
    shapes = synthetic.generate(category, 4000)
    assert 0.12 <= (shapes.split == 1).double().mean() <= 0.28
    assert not set(shapes.sequence[shapes.split == 0].tolist()) & set(shapes.sequence[shapes.split == 1].tolist())
    train, validation = shapes.hold_out_validation()
    assert not set(train.sequence.tolist()) & set(validation.sequence.tolist())


@pytest.mark.parametrize("category", ALL)
def test_shapes_are_no_copies_and_not_flat(category):
    """Several modes of deformation, other shapes in the test split, and a third dimension worth lifting."""
    found = variety(synthetic.generate(category, 1200), views=200, frames=800)
    assert found.flat > 8 and found.mean > 4 and found.rank > 1.05 and found.components >= 2
    assert found.neighbour > 0.5  # the test split is no copy of the training split
    shapes = synthetic.generate(category, 400)
    assert len(shapes.points.flatten(1).unique(dim=0)) == 400


@pytest.mark.parametrize("category", [c for c in ALL if rigs.get(c).symmetry])
def test_left_is_left(category):
    """The mean shape is nearly its own mirror image with the pairs swapped, so no pair is wrong or forgotten."""
    shapes = synthetic.generate(category, 1000)
    mean = centred(floors.mean_shape(shapes.points, shapes.known).double()[None])
    image = mean[:, list(shapes.rig.mirror)] * torch.tensor([-1.0, 1, 1])
    left = (align(image, mean).apply(image) - mean).norm(dim=-1).mean() / mean.norm(dim=-1).mean()
    assert left < 0.2


def test_failures():
    with pytest.raises(ValueError, match="no synthetic category 'synthetic_bodi17'; did you mean synthetic_body17"):
        synthetic.generate("synthetic_bodi17", 10)
    with pytest.raises(ValueError, match="no synthetic category 'zzz'; there are synthetic_"):
        synthetic.entry("zzz")
    with pytest.raises(ValueError, match="count is 1"):
        synthetic.generate(ALL[0], 1)


def test_load_generates():
    assert len(data.load(ALL[0], 50, seed=2)) == 50
    assert data.load(ALL[1], 50, 2).fingerprint == synthetic.generate(ALL[1], 50, 2).fingerprint
    assert len(data.load("synthetic_body17")) == synthetic.CAP
    assert len(data.load("synthetic_fly38")) == 80  # its own number, below the cap


def test_entries_are_written_once_and_like_something_that_is_there(tmp_path, monkeypatch):
    (tmp_path / "benchmark").mkdir()
    monkeypatch.setattr(rigs, "__file__", str(tmp_path / "rigs.py"))
    base = '[one]\nsamples = 5\nmaker = "m.f"\nkeypoints = ["a", "b", "c"]\n'
    for content, message in (
        (base + '[two]\nlike = "three"\n', "a.toml: two is like 'three'"),
        ({"a": base, "b": base}, "b.toml: one is given twice"),
    ):
        for name, text in (content if isinstance(content, dict) else {"a": content}).items():
            (tmp_path / "benchmark" / f"{name}.toml").write_text(text)
        rigs.benchmark.cache_clear()
        with pytest.raises(ValueError, match=message):
            rigs.benchmark()
    (tmp_path / "benchmark" / "b.toml").write_text('[two]\nlike = "one"\nsamples = 9\n')
    assert rigs.benchmark()["two"] == {"samples": 9, "maker": "m.f", "keypoints": ["a", "b", "c"]}
    monkeypatch.undo()
    rigs.benchmark.cache_clear()


def test_bones_in_words():
    rig = rigs.build("r", ("left_a", "right_a", "b", "c"), ("left_a b c", "right_a b"))
    assert rig.edges == ((0, 2), (2, 3), (1, 2)) and rig.symmetry == ((0, 1),)
    assert rigs.mirror_pairs(("body_left_x", "body_right_x", "left_only", "plain")) == ((0, 1),)
    with pytest.raises(ValueError, match="rig 'r': bone 'b q' names 'q'"):
        rigs.build("r", ("a", "b", "c"), ("b q",))
