"""Downloads: what breaks off goes on, wrong bytes and wrong addresses are refused; archives unpack whole or not."""

import stat
import threading
import time
import zipfile
from pathlib import Path

import pytest
from file_server import CONTENT, DIGEST, all_files, running

from lfmlib.data import download


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "PAUSE", 0.0)
    with running() as server:
        yield server


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "in" / "a file.bin"


@pytest.fixture
def get(server, target):
    """get(digest, timeout) downloads the server's file to `target`."""

    def call(digest: str = DIGEST, timeout: float | int = 30) -> None:
        download.retrieve(f"{server.url}/a%20file.bin", target, digest, timeout)

    return call


def part_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


@pytest.mark.parametrize("etag", ['"one"', ""])
def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(server, get, target, tmp_path, monkeypatch, etag):
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    server.etag = etag
    server.how = lambda handler, start: handler.give(start, 100_000) or True
    with pytest.raises(ConnectionError, match="closed after 200000 of 256000 bytes") as info:
        get()
    for part in (server.url, str(target), "goes on from there"):
        assert part in str(info.value)
    assert part_of(target).read_bytes() == CONTENT[:200_000]
    server.how = None
    get()
    assert [start for _, start in server.asked] == [0, 100_000, 200_000]
    assert target.read_bytes() == CONTENT and all_files(tmp_path) == ["in/a file.bin"]


def test_a_cut_transfer_is_tried_again_within_one_call(server, get, target):
    server.how = lambda handler, start: not start and (handler.give(start, 1000) or True)
    get("")
    assert [start for _, start in server.asked] == [0, 1000] and target.read_bytes() == CONTENT


@pytest.mark.parametrize("etag", ['"two"', ""])
def test_an_unpinned_file_is_not_pieced_together_from_two_versions(server, get, target, etag):
    target.parent.mkdir(parents=True)
    part_of(target).write_bytes(b"old" * 10)
    if etag:  # the server's is now "one"
        target.with_name(f"{target.name}.part.etag").write_text(etag)
    get("")
    assert target.read_bytes() == CONTENT and server.asked[0][1] == (30 if etag else 0)


def test_an_unfinished_file_that_is_whole_or_too_long(server, get, target):
    part = part_of(target)
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    get()
    assert target.read_bytes() == CONTENT and [start for _, start in server.asked] == [len(CONTENT)]
    target.unlink()
    part.write_bytes(CONTENT + b"more")
    get()
    assert target.read_bytes() == CONTENT and server.asked[-1][1] == 0


def test_wrong_bytes_are_refused_and_removed(server, get, tmp_path):
    with pytest.raises(
        ValueError, match=f"{server.url}.* gives bytes of another SHA-256 than {'a' * 64}; they were rem"
    ):
        get("a" * 64)
    assert all_files(tmp_path) == []


@pytest.mark.parametrize(("status", "times"), [(404, 1), (503, 3)])
def test_what_the_server_does_not_have(server, get, tmp_path, status, times):
    server.how = lambda handler, start: handler.answer(status, {}) or True
    with pytest.raises(ConnectionError, match=rf"the server answers {status} .*put the file at .*a file\.bin"):
        get()
    assert len(server.asked) == times and all_files(tmp_path) == []


def test_redirects_are_followed_but_never_off_https(server, get, target, tmp_path):
    def elsewhere(place: str):
        return lambda handler, start: "moved" not in handler.path and (handler.answer(302, {"Location": place}) or True)

    for place, message in (
        ("http://example.org/x", "http://example.org/x: refused, expected an https address"),
        ("ftp://example.org/x", "ftp://example.org/x: refused, expected an https address"),
        ("file:///etc/hostname", "is not allowed"),
    ):
        server.how = elsewhere(place)
        with pytest.raises((ValueError, ConnectionError), match=message):
            get()
        assert all_files(tmp_path) == []
    server.how = elsewhere(f"{server.url}/moved")
    get()
    assert server.asked[-1][0] == "/moved" and target.read_bytes() == CONTENT
    with pytest.raises(ValueError, match="http://example.org/a: refused"):
        download.retrieve("http://example.org/a", tmp_path / "a", "", 1)


@pytest.mark.parametrize("trickle", [False, True])
def test_a_slow_server_is_given_up(server, get, target, monkeypatch, trickle):
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    stop = threading.Event()

    def slow(handler, start) -> bool:
        handler.give(start, 10)
        while not stop.wait(0.02):
            if trickle:
                handler.wfile.write(b"x")
        return True

    server.how = slow
    began = time.monotonic()
    try:
        with pytest.raises(ConnectionError, match="server is too slow"):
            get(timeout=0.15)
    finally:
        stop.set()
    assert time.monotonic() - began < 2 and part_of(target).read_bytes().startswith(CONTENT[:10])


def test_without_a_network_the_message_says_what_to_do(server, get, target):
    server.shutdown()
    server.server_close()
    with pytest.raises(ConnectionError, match="could not be fetched") as info:
        get()
    for part in (f"{server.url}/a%20file.bin", f"put the file at {target}"):
        assert part in str(info.value)


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\noid", b"<!DOCTYPE html><p>log in"])
def test_what_stands_in_the_place_of_data_is_refused(server, get, tmp_path, content):
    server.content = content
    with pytest.raises(ValueError, match="gives a .*(pointer|page).*it was removed"):
        get("")
    assert all_files(tmp_path) == []


def archive(path: Path, *members: str | zipfile.ZipInfo) -> Path:
    with zipfile.ZipFile(path, "w") as content:
        for member in ("good/a.txt", *members):
            content.writestr(member, "text")
    return path


def link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("good/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    "member", ["../out.txt", "good/../../out.txt", "/out.txt", "C:/out.txt", "a\\..\\out.txt", link()]
)
def test_an_archive_that_leads_out_is_refused_before_anything_is_extracted(tmp_path, member):
    folder = tmp_path / "in" / "to"
    with pytest.raises(ValueError, match="nothing was extracted"):
        download.unpack(archive(tmp_path / "a.zip", member), folder)
    assert all_files(tmp_path) == ["a.zip"] and not folder.exists()


def test_a_good_archive_is_unpacked_whole_or_not_at_all(tmp_path):
    download.unpack(archive(tmp_path / "a.zip", "b.txt"), tmp_path / "to")
    assert all_files(tmp_path / "to") == ["b.txt", "good/a.txt"]
    with pytest.raises(FileExistsError):
        download.unpack(tmp_path / "a.zip", tmp_path / "to")
    (tmp_path / "cut.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"cut\.zip: not a zip archive"):
        download.unpack(tmp_path / "cut.zip", tmp_path / "other")
