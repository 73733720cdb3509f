"""docs/data.md tells the truth: its commands exist, and its example of a new category works as it stands."""

import re
import shutil
from pathlib import Path

import pytest
import torch

from lfmlib import cli, rigs
from lfmlib.data import real, synthetic
from lfmlib.data.synthetic import catalogue


@pytest.fixture
def page(root):
    return (root / "docs" / "data.md").read_text(encoding="utf-8")


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page, re.S)


def test_the_commands_exist(page):
    lines = [line.split("  #")[0] for block in blocks(page, "bash") for line in block.splitlines()]
    actions = {cli._parser().parse_args(line.split()[1:]).action for line in lines if line.startswith("lfm ")}
    assert actions == {"list", "make", "fetch", "convert", "check"}
    named = set(re.findall(r"`(synthetic_\w+)`", page)) | {word for line in lines for word in line.split() if
                                                          word.startswith("synthetic_")}  # fmt: skip
    assert named <= set(synthetic.categories())


def test_the_layout_names_the_arrays_that_there_are(page):
    layout = page.split("## The layout of an .npz")[1].split("##")[0]
    named = set(re.findall(r"`(\w+)`", layout)) - {"real", "synthetic"}
    assert set(real.REQUIRED) <= named <= set(real.REQUIRED | real.OPTIONAL)


def test_the_example_of_a_new_category_works(page, tmp_path, monkeypatch):
    (example,) = blocks(page, "toml")
    shutil.copytree(Path(rigs.__file__).parent / "benchmark", tmp_path / "benchmark")
    shutil.copy(Path(rigs.__file__).with_name("rigs.toml"), tmp_path)
    (tmp_path / "benchmark" / "wolves.toml").write_text(example)
    monkeypatch.setattr(rigs, "__file__", str(tmp_path / "rigs.py"))
    caches = (rigs.benchmark, rigs._registry, catalogue._entries)
    try:
        for cache in caches:
            cache.cache_clear()
        wolves, dogs = (synthetic.generate(f"synthetic_{name}26", 50) for name in ("wolf", "dog"))
        assert wolves.rig.keypoints == dogs.rig.keypoints and synthetic.entry("synthetic_wolf26").samples == 700
        assert not torch.equal(wolves.points, dogs.points)
    finally:
        for cache in caches:
            cache.cache_clear()
