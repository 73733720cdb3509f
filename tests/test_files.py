"""A file is either whole or what it was before."""

import errno
import os
import stat
from pathlib import Path

import pytest

from lfmlib import files


def test_writes_replace_and_read_back(tmp_path):
    path = tmp_path / "new" / "folder" / "a.json"
    files.write_json(path, {"a": [1, None, "é"]})
    files.write_json(path, {"b": 2})
    assert files.read_json(path) == {"b": 2}
    assert [entry.name for entry in path.parent.iterdir()] == ["a.json"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~files._umask()  # a temporary file's rights are narrower
    files.write_text(tmp_path / "b.txt", "é\n")
    assert (tmp_path / "b.txt").read_bytes() == "é\n".encode()


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), ValueError("x"), KeyboardInterrupt()]
)
def test_a_failed_write_changes_nothing(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)) as caught, files.atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    if isinstance(error, OSError):
        assert str(path) in str(caught.value) and caught.value.errno == errno.ENOSPC


def test_a_full_disk_at_the_last_moment(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="nothing was changed.*No space left"):
        files.write_bytes(tmp_path / "a.bin", b"x" * 100)
    assert not list(tmp_path.iterdir())


def test_the_temporary_file_keeps_the_suffix_and_the_folder(tmp_path):
    with files.atomic_path(tmp_path / "figure.svg") as temporary:
        assert temporary.suffix == ".svg" and temporary.parent == tmp_path and temporary.name.startswith(".")
        temporary.write_text("<svg/>")
    assert (tmp_path / "figure.svg").read_text() == "<svg/>"


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write to this folder") as caught:
        files.write_text(tmp_path / "file" / "a.txt", "x")
    assert str(tmp_path / "file" / "a.txt") in str(caught.value)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_has_no_word_for_nan(tmp_path, number):
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "a.json", {"a": number})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b'{"a": ', b"\xff\xfe", b""])
def test_what_is_no_json_names_the_file(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match="a.json: not a JSON file"):
        files.read_json(tmp_path / "a.json")


def test_sha256(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"abc")
    assert files.sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
