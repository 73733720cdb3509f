"""Fetching a set: checksums are recorded and held to, one process at a time writes, the converter is its own."""

import json
import os
import socket
import stat
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from file_server import CONTENT, DIGEST, all_files, running

from lfmlib import rigs
from lfmlib.data import download, fetch, listing, loaders, real, synthetic
from lfmlib.data.listing import Source
from lfmlib.data.loaders.base import Loader

COMMIT = "0" * 40


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "PAUSE", 0.0)
    with running() as server:
        monkeypatch.setattr(listing, "HOST", server.url)
        yield server


@pytest.fixture
def one(monkeypatch):
    """one(sha256=..., paths=...) makes the known sets be one, "beast"."""

    def make(sha256: str | None = DIGEST, paths: tuple[str, ...] = ("data/a file.bin",), **fields) -> Source:
        pinned = {} if sha256 is None else dict.fromkeys(paths, sha256)
        said = {"repository": "some/body", "commit": COMMIT, "paths": paths, "sha256": pinned} | fields
        source = Source("beast", "A beast", "MIT", 3, **said)
        monkeypatch.setattr(listing, "sources", lambda: {"beast": source})
        return source

    return make


@pytest.fixture
def dead() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        pass
    return process.pid


TARGET = "upstream/some+body/data/a file.bin"


def test_a_pinned_file_arrives_and_is_recorded(server, one, tmp_path):
    one()
    seen = []
    assert fetch.fetch("beast", tmp_path, report=lambda *words: seen.append(words)) == tmp_path / "upstream/some+body"
    assert (tmp_path / TARGET).read_bytes() == CONTENT and seen == [(TARGET, DIGEST)]
    assert server.asked == [(f"/some/body/{COMMIT}/data/a%20file.bin", 0)]
    url = f"{server.url}/some/body/{COMMIT}/data/a%20file.bin"
    record = json.loads((tmp_path / "fetched.json").read_text())
    assert record == {TARGET: {"url": url, "sha256": DIGEST, "bytes": len(CONTENT)}}
    assert all_files(tmp_path) == ["fetched.json", TARGET]
    assert stat.S_IMODE((tmp_path / TARGET).stat().st_mode) == stat.S_IMODE((tmp_path / "fetched.json").stat().st_mode)
    fetch.fetch("beast", tmp_path)
    assert len(server.asked) == 1  # what is there is not asked for again


def test_a_file_without_checksum_needs_consent_and_then_stays_what_it_is(server, one, tmp_path):
    one(sha256=None)
    with pytest.raises(ValueError, match="1 of 1 files have no known checksum.*--accept-unpinned.*000000"):
        fetch.fetch("beast", tmp_path)
    assert all_files(tmp_path) == [] and not server.asked
    fetch.fetch("beast", tmp_path, accept_unpinned=True)
    fetch.fetch("beast", tmp_path)  # recorded: known from now on
    (tmp_path / TARGET).write_bytes(b"changed here")
    with pytest.raises(ValueError, match=f"has SHA-256 .*, expected {DIGEST} .fetched.json.; nothing was changed"):
        fetch.fetch("beast", tmp_path, accept_unpinned=True)
    assert (tmp_path / TARGET).read_bytes() == b"changed here"
    (tmp_path / TARGET).unlink()
    server.content = b"changed there"
    with pytest.raises(ValueError, match=f"another SHA-256 than {DIGEST}"):
        fetch.fetch("beast", tmp_path, accept_unpinned=True)
    assert all_files(tmp_path) == ["fetched.json"]
    one(sha256=None, commit="1" * 40)
    with pytest.raises(ValueError, match="was fetched from .*0000.*but this version asks for .*1111"):
        fetch.fetch("beast", tmp_path, accept_unpinned=True)


def test_a_file_put_there_by_hand_is_taken(server, one, tmp_path):
    one()
    (tmp_path / TARGET).parent.mkdir(parents=True)
    (tmp_path / TARGET).write_bytes(CONTENT)
    fetch.fetch("beast", tmp_path)
    assert not server.asked and TARGET in json.loads((tmp_path / "fetched.json").read_text())


@pytest.mark.parametrize("content", ["[1]", '{"a": 3}', "{"])
def test_a_broken_record_is_named(one, tmp_path, content):
    one()
    (tmp_path / "fetched.json").write_text(content)
    with pytest.raises(ValueError, match="fetched.json: not a"):
        fetch.fetch("beast", tmp_path)


def test_a_set_without_licence_is_refused(one, tmp_path):
    one(refused="it has no licence")
    with pytest.raises(ValueError, match="beast cannot be fetched: it has no licence"):
        fetch.fetch("beast", tmp_path)


def test_what_broke_off_goes_on_with_the_same_call(server, one, tmp_path, monkeypatch):
    one()
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    server.how = lambda handler, start: handler.give(start, 100_000) or True
    with pytest.raises(ConnectionError, match="closed after 100000 of 256000 bytes"):
        fetch.fetch("beast", tmp_path)
    assert all_files(tmp_path) == [f"{TARGET}.part", f"{TARGET}.part.etag"]
    server.how = None
    fetch.fetch("beast", tmp_path)
    assert [start for _, start in server.asked] == [0, 100_000] and all_files(tmp_path) == ["fetched.json", TARGET]


def test_an_archive_is_unpacked_beside_itself(server, one, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as content:
        content.writestr("good/a.txt", "text")
    server.content = (tmp_path / "a.zip").read_bytes()
    one(sha256=None, paths=("z/a.zip",))
    clone = fetch.fetch("beast", tmp_path / "data", accept_unpinned=True)
    assert all_files(clone) == ["z/a.zip", "z/a/good/a.txt"]


def test_two_processes_do_not_fetch_to_one_folder_at_once(server, one, tmp_path):
    one()
    refusals = []

    def second(handler, start) -> bool:
        with pytest.raises(BlockingIOError) as info:
            fetch.fetch("beast", tmp_path)
        refusals.append(str(info.value))
        return False

    server.how = second
    fetch.fetch("beast", tmp_path)
    who = f"process {os.getpid()} on {socket.gethostname()} is fetching to this folder"
    assert len(refusals) == 1 and f"{tmp_path}: {who}" in refusals[0]
    assert f"delete {tmp_path / 'fetching.lock'}" in refusals[0] and ".gate" not in refusals[0]
    assert (tmp_path / TARGET).read_bytes() == CONTENT and all_files(tmp_path) == ["fetched.json", TARGET]


def test_the_lock_of_a_process_is_respected_until_it_is_dead(server, one, tmp_path):
    one()
    words = [sys.executable, "-S", "-c", "input()"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as other:
        (tmp_path / "fetching.lock").write_text(f"{other.pid} {socket.gethostname()}")
        with pytest.raises(BlockingIOError, match=f"process {other.pid} on .* is fetching"):
            fetch.fetch("beast", tmp_path)
        assert all_files(tmp_path) == ["fetching.lock"] and not server.asked
        other.kill()
    fetch.fetch("beast", tmp_path)
    assert all_files(tmp_path) == ["fetched.json", TARGET]


@pytest.mark.parametrize(
    "text", ["{dead} elsewhere", "", "{dead}", "what is this", "-1 {here}", "9" * 5000 + " {here}"]
)
def test_a_lock_that_tells_of_no_dead_process_is_left_alone(one, tmp_path, dead, monkeypatch, text):
    one()
    monkeypatch.setattr(fetch, "PAUSE", 0.0)
    content = text.format(dead=dead, here=socket.gethostname())
    (tmp_path / "fetching.lock").write_text(content)
    with pytest.raises(BlockingIOError, match="if it does not run any more, delete .*fetching.lock$"):
        fetch.fetch("beast", tmp_path)
    assert (tmp_path / "fetching.lock").read_text() == content and all_files(tmp_path) == ["fetching.lock"]


@pytest.mark.parametrize("trial", range(5))
def test_of_many_that_find_a_dead_lock_one_takes_it_over(tmp_path, dead, trial):
    (tmp_path / "fetching.lock").write_text(f"{dead} {socket.gethostname()}")
    together, over = threading.Barrier(8), threading.Barrier(8)

    def enter(_) -> bool:
        together.wait(10)
        try:
            with fetch._alone(tmp_path):
                over.wait(10)
                return True
        except BlockingIOError:
            over.wait(10)
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(enter, range(8))) == 1
    assert all_files(tmp_path) == []


def test_building_uses_the_converter_of_the_sets_name(server, one, tmp_path, monkeypatch):
    one()
    fetch.fetch("beast", tmp_path)
    assert fetch.build("beast", tmp_path) is None
    shapes, asked = synthetic.generate("synthetic_body17", 12), []
    reader = Loader("beast", "", "", "", "", "", lambda path, every: asked.append((path, every)) or {"beast": shapes})
    monkeypatch.setattr(loaders, "get", lambda name: reader)
    assert fetch.build("beast", tmp_path) == tmp_path / "beast.npz"
    assert asked == [(tmp_path / "upstream/some+body", 1)]
    assert torch.equal(real.load(tmp_path / "beast.npz").points, shapes.points)
    monkeypatch.setattr(loaders, "get", lambda name: reader._replace(read=lambda path, every: {"other": shapes}))
    with pytest.raises(ValueError, match="converter of beast gave other"):
        fetch.build("beast", tmp_path)


def test_the_sources_are_whole():
    known = listing.sources()
    assert set(known) <= set(rigs.names()) - set(synthetic.categories())
    fetched = [source for source in known.values() if not source.refused]
    assert len(fetched) == 11 and all(source.licence != "none stated" for source in fetched)
    for source in fetched:
        assert len(source.commit) == 40 and int(source.commit, 16) and source.repository.count("/") == 1
        assert source.paths and len(set(source.paths)) == len(source.paths) and source.frames > 0
        assert not any(path.startswith("/") or ".." in path.split("/") for path in source.paths)
        assert set(source.sha256) <= set(source.paths)
        assert all(len(digest) == 64 and int(digest, 16) for digest in source.sha256.values())
        assert source.url("a").startswith(f"https://raw.githubusercontent.com/{source.repository}/{source.commit}/")
    assert known["human22_cmu"].paths == known["human17_cmu"].paths and len(known["human17_cmu"].paths) == 98
    for source in known.values():
        assert not source.refused or not source.paths
    with pytest.raises(ValueError, match="no measured set 'human17'; did you mean human17_cmu"):
        listing.source("human17")
    with pytest.raises(ValueError, match="no measured set 'zzzz'; there are human17_cmu"):
        listing.source("zzzz")


def test_the_sources_say_what_the_files_are(real_data):
    for name, source in listing.sources().items():
        if name in real.available(real_data):
            assert len(real.load(name, real_data)) == source.frames, name
