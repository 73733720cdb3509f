"""Converted data as files: what is written reads back, with the same bytes each time, and the folder is one."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from lfmlib import files
from lfmlib.data import formats, npz_files, synthetic
from lfmlib.data.formats import Keypoints

FLAT = Keypoints(
    torch.arange(24.0).reshape(3, 4, 2), torch.tensor([[True] * 4, [True, False, True, True], [True] * 4]),
    ("a", "b", "c", "d"), (5, 6, 9),
)  # fmt: skip


def entries(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_keypoints_without_names_and_with_long_numbers(tmp_path):
    given = FLAT._replace(names=None, frames=("a", 10**30, 3))
    npz_files.write_keypoints(tmp_path / "a.npz", given)
    again = formats.read_keypoints(tmp_path / "a.npz")
    assert again.names is None and again.frames == ("a", str(10**30), "3")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as content:
        assert np.isnan(content["keypoints_2d"][1, 1]).all()


def test_the_same_keypoints_give_the_same_bytes(tmp_path):
    for name in "ab":
        npz_files.write_keypoints(tmp_path / f"{name}.npz", FLAT)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    again = formats.read_keypoints(tmp_path / "a.npz")
    assert again.names == FLAT.names and again.frames == FLAT.frames and torch.equal(again.visible, FLAT.visible)
    assert torch.equal(again.points[FLAT.visible], FLAT.points[FLAT.visible])


def test_what_is_refused_leaves_nothing(tmp_path):
    shapes = synthetic.generate("synthetic_body17", 12)
    for contents, message in (
        ({}, "nothing to write"),
        ({tmp_path / "a.npz": FLAT, tmp_path / "b" / "a.npz": shapes}, "not in the folder of the other files"),
    ):
        with pytest.raises(ValueError, match=message):
            npz_files.write_all(contents)
    assert entries(tmp_path) == []
    npz_files.write_all({tmp_path / "a.npz": FLAT, tmp_path / "b.npz": shapes})
    with pytest.raises(ValueError, match=r"b\.npz exists; --force replaces it"):
        npz_files.write_all({tmp_path / "b.npz": FLAT, tmp_path / "c.npz": FLAT})
    assert entries(tmp_path) == ["a.npz", "b.npz"]


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("step", ["write", "move"])
def test_all_files_are_written_or_none(tmp_path, monkeypatch, there, step):
    contents = {"body": synthetic.generate("synthetic_body17", 12), "flat": FLAT, "third": FLAT}
    if there:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "body.npz").write_text("old")
        (tmp_path / "out" / "third.npz").write_text("old, too")
    before = {name: (tmp_path / name).is_dir() or (tmp_path / name).read_text() for name in entries(tmp_path)}
    place, count = os.replace, 0

    def full(*paths) -> None:
        nonlocal count
        if step == "write":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count += Path(paths[1]).parent == tmp_path / "out" and Path(paths[0]).parent.name == "new"
        if count == 3:
            count += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(paths[1]))
        place(*paths)

    monkeypatch.setattr(files.os, "fsync" if step == "write" else "replace", full)
    with pytest.raises(OSError, match="No space left") as info:
        npz_files.write_all({tmp_path / "out" / f"{name}.npz": content for name, content in contents.items()}, True)
    monkeypatch.undo()
    assert str(tmp_path / "out") in str(info.value) and ".convert." not in str(info.value)
    after = {name: (tmp_path / name).is_dir() or (tmp_path / name).read_text() for name in entries(tmp_path)}
    assert after == before
