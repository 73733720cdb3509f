"""Downloads of what the measured sets are built from: tied to a commit, resumed where they stopped, checked by SHA-256."""

import difflib
import http.client
import os
import shutil
import stat
import tempfile
import time
import tomllib
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from lfmlib import __version__, files

HOST = "https://raw.githubusercontent.com"
RECORD = "fetched.json"
LOCAL = ("localhost", "127.0.0.1", "::1")
ATTEMPTS, PAUSE = 3, 1.0  # of a transfer that broke off; seconds before the next, times the number of the attempt
LEAST = 100.0  # bytes a second; a server that stays below them is given up
NOT_DATA = {  # how a file begins that stands in the place of the data
    b"version https://git-lfs.github.com/spec": "a Git LFS pointer in the place of the file",
    b"<!doctype html": "a web page (a log-in page of your network?)",
    b"<html": "a web page (a log-in page of your network?)",
}


@dataclass(frozen=True)
class Source:
    """Where a measured set comes from.

    Args:
        name: the category.
        title: what it shows, in a line.
        licence: what its owners allow, in a word or two.
        frames: how many it has.
        repository: "owner/name" on GitHub; empty where none is known.
        commit: the one that the set was built from, 40 hexadecimal digits.
        paths: the files that it is built from, within the repository.
        sha256: path -> checksum of its bytes, for the files whose bytes are known.
        refused: why there is no download; empty where there is one.
    """

    name: str
    title: str
    licence: str
    frames: int
    repository: str = ""
    commit: str = ""
    paths: tuple[str, ...] = ()
    sha256: dict[str, str] = field(default_factory=dict)
    refused: str = ""

    def clone(self, root: Path) -> Path:
        """The folder below `root` that is laid out as a clone of the repository."""
        return root / "upstream" / self.repository.replace("/", "+")

    def url(self, path: str) -> str:
        """Address of a file, with the commit in it."""
        return f"{HOST}/{self.repository}/{self.commit}/{urllib.parse.quote(path)}"


@cache
def sources() -> dict[str, Source]:
    """Every set of sources.toml, by its category."""
    with open(Path(__file__).with_name("sources.toml"), "rb") as file:
        content = tomllib.load(file)
    found = {}
    for name, own in content.items():
        entry = content.get(own.get("like", ""), {}) | own
        paths = [str(PurePosixPath(folder, f)) for folder, names in entry.get("files", {}).items() for f in names]
        said = {key: value for key, value in entry.items() if key not in ("files", "like")}
        found[name] = Source(name=name, paths=tuple(paths), **said)
    return found


def source(name: str) -> Source:
    """Where a measured set comes from.

    Raises:
        ValueError: no such set; the message offers the nearest names.
    """
    if name not in sources():
        near = difflib.get_close_matches(name, sources(), n=3, cutoff=0.4)
        there = [other for other, known in sources().items() if not known.refused]
        hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(there)}"
        raise ValueError(f"no measured set {name!r}; {hint}")
    return sources()[name]


def fetch(
    name: str,
    root: str | os.PathLike,
    accept_unpinned: bool = False,
    timeout: float | int = 30,
    report: Callable[[str, str], None] | None = None,
) -> Path:
    """Brings the upstream files of a set to root/upstream/OWNER+NAME, laid out as a clone of the repository.

    What is there and right is kept, what broke off is continued. The checksum of every file is written to
    root/fetched.json; from then on no other bytes are accepted in its place.

    Args:
        name: the set, one of `sources()`.
        root: folder to write to; created if need be.
        accept_unpinned: take files whose checksum is not known in advance, too.
        timeout: seconds that a server may stay silent, or keep below `LEAST` bytes a second.
        report: called with (path within `root`, SHA-256) after each file.
    Returns:
        The folder of the clone.
    Raises:
        ValueError: no such set, one that must not be fetched, a file without a known checksum, or one whose bytes are
            not the expected ones (a downloaded one is removed; one that was there stays).
        ConnectionError: no network, no such file there, or the transfer broke off; says where a file goes by hand.
    """
    what, root = source(name), Path(root)
    if what.refused:
        raise ValueError(f"{name} cannot be fetched: {what.refused}")
    record = _record(root)
    clone = what.clone(root)
    expected = {}
    for path in what.paths:
        known = record.get(_within(root, clone / path), {"url": what.url(path), "sha256": ""})
        if known["url"] != what.url(path):
            raise ValueError(
                f"{clone / path} was fetched from {known['url']}, but this version asks for {what.url(path)}; "
                f"use another folder, or move {clone} and {root / RECORD} away"
            )
        expected[path] = what.sha256.get(path) or known["sha256"]
    unpinned = [path for path, digest in expected.items() if not digest]
    if unpinned and not accept_unpinned:
        raise ValueError(
            f"{name}: {len(unpinned)} of {len(expected)} files have no known checksum (such as {unpinned[-1]}), so a "
            f"changed file would go unnoticed; --accept-unpinned takes what {HOST} gives for commit {what.commit[:12]} "
            f"and notes each SHA-256 in {root / RECORD}, after which no other bytes are accepted"
        )
    for path, digest in expected.items():
        target = clone / path
        if not target.exists():
            _retrieve(what.url(path), target, digest, timeout)
        found = files.sha256_of(target)
        if digest and found != digest:
            raise ValueError(
                f"{target} has SHA-256 {found}, expected {digest} ({'pinned' if path in what.sha256 else RECORD}); "
                "nothing was changed; delete the file to fetch it again"
            )
        within = _within(root, target)
        if within not in record:
            record[within] = {"url": what.url(path), "sha256": found, "bytes": target.stat().st_size}
            files.write_json(root / RECORD, record)
        if target.suffix == ".zip" and not target.with_suffix("").exists():
            unpack(target, target.with_suffix(""))
        if report is not None:
            report(within, found)
    return clone


def build(name: str, root: str | os.PathLike) -> Path | None:
    """Converts the fetched files of a set to root/NAME.npz.

    Returns:
        The file, or None where this version has no converter for the set.
    Raises:
        FileNotFoundError, ValueError: the converter refuses the files (names the file and the field).
    """
    from lfmlib.data import loaders, real

    what, target = source(name), Path(root) / f"{name}.npz"
    try:
        loader = loaders.get(name)
    except ValueError:
        return None
    shapes = loader.read(what.clone(Path(root)), 1)
    if name not in shapes:
        raise ValueError(f"the converter of {name} gave {', '.join(shapes) or 'nothing'}")
    real.save(shapes[name], target)
    return target


def _within(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _record(root: Path) -> dict[str, dict[str, Any]]:
    path = root / RECORD
    if not path.exists():
        return {}
    record = files.read_json(path)
    entries = list(record.values()) if isinstance(record, dict) else [None]
    if not all(isinstance(entry, dict) and {"url", "sha256"} <= set(entry) for entry in entries):
        raise ValueError(f"{path}: not a record of fetched files (expected path -> url, sha256)")
    return record


def _retrieve(url: str, target: Path, digest: str, timeout: float | int) -> None:
    """One file by pooch, which puts it in place only once its checksum is right."""
    import pooch

    pooch.get_logger().setLevel("WARNING")
    registry = {target.name: f"sha256:{digest}" if digest else None}
    store = pooch.create(path=target.parent, base_url="", registry=registry, urls={target.name: url})
    reason = ""
    try:
        store.fetch(target.name, downloader=lambda link, at, _: download(link, at, target, bool(digest), timeout))
    except TimeoutError as error:
        reason = f"the server is too slow ({error})"
    except urllib.error.HTTPError as error:
        reason = f"the server answers {error.code} {error.reason}"
        error.close()
    except (urllib.error.URLError, ConnectionError, http.client.HTTPException) as error:
        reason = f"{getattr(error, 'reason', None) or error}"
    except ValueError as error:
        if "hash" in str(error):
            raise ValueError(f"{url} gives bytes of another SHA-256 than {digest}; they were removed") from error
        raise
    if reason:
        raise ConnectionError(
            f"{target.name} could not be fetched: {reason}. What came is kept and the same command goes on from there; "
            f"or get {url} on another machine, put it at {target}, and give the command again"
        )


def download(url: str, output: str | os.PathLike, target: Path, resumable: bool, timeout: float | int) -> None:
    """Downloads to `output`, by way of target.part, which stays when the transfer breaks off and is continued later.

    Args:
        url: https; http only on this machine. Redirects are followed where they keep to that.
        output: file to replace when everything has come.
        target: final place; the unfinished file lies beside it, with the server's name for its version in .part.etag.
        resumable: continue even where the server names no version, since a checksum will tell.
        timeout: seconds that the server may stay silent, or keep below `LEAST` bytes a second.
    Raises:
        TimeoutError, urllib.error.URLError, ConnectionError: the last of `ATTEMPTS` broke off.
        ValueError: the address is not https, or the content is no data.
    """
    part = target.with_name(f"{target.name}.part")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _transfer(url, part, resumable, timeout)
            break
        except (OSError, http.client.HTTPException) as error:
            final = isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code != 429
            if attempt == ATTEMPTS or final:
                raise
            time.sleep(PAUSE * attempt)
    _etag(part).unlink(missing_ok=True)
    with open(part, "rb") as file:
        start = file.read(100).lower()
    for beginning, word in NOT_DATA.items():
        if start.startswith(beginning):
            part.unlink()
            raise ValueError(f"{url} gives {word}; it was removed")
    os.replace(part, output)


def _etag(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _transfer(url: str, part: Path, resumable: bool, timeout: float | int) -> None:
    """One attempt; appends to `part` what is missing, or starts anew where the server does not go on."""
    have = part.stat().st_size if part.exists() else 0
    tag = _etag(part).read_text() if _etag(part).exists() else ""
    have = have if tag or resumable else 0
    headers = {"Accept-Encoding": "identity", "User-Agent": f"lfmlib/{__version__}"}
    if have:
        headers |= {"Range": f"bytes={have}-"} | ({"If-Range": tag} if tag else {})
    _check_address(url)
    try:
        response = urllib.request.build_opener(_Redirects).open(
            urllib.request.Request(url, headers=headers), timeout=timeout
        )
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # all of it is here, or more than there is
            whole = error.headers.get("Content-Range", "").rpartition("/")[2] == str(have)
            error.close()
            if whole:
                return
            part.unlink()
            raise ConnectionError("the unfinished file does not fit to what the server has; it was removed") from error
        raise
    with response:
        goes_on = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if response.status == 206 and not goes_on:
            part.unlink(missing_ok=True)
            raise ConnectionError("the server sent another part of the file than the one asked for")
        length = response.headers.get("Content-Length", "")
        wanted = (have if goes_on else 0) + int(length) if length.isdecimal() else None
        if not goes_on:
            strong = response.headers.get("ETag", "").startswith('"')
            _etag(part).write_text(response.headers["ETag"]) if strong else _etag(part).unlink(missing_ok=True)
        with open(part, "ab" if goes_on else "wb") as file:
            since, moved = time.monotonic(), 0
            while chunk := response.read1(1 << 16):
                file.write(chunk)
                moved += len(chunk)
                if (seconds := time.monotonic() - since) > timeout:
                    if moved < LEAST * seconds:
                        raise TimeoutError(f"{moved} bytes in {seconds:.0f} seconds")
                    since, moved = time.monotonic(), 0
    if wanted is not None and (size := part.stat().st_size) != wanted:
        raise ConnectionError(f"the connection was closed after {size} of {wanted} bytes")


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_address(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL):
        raise ValueError(f"{url}: refused, expected an https address (nobody can change what comes over it)")


def unpack(archive: str | os.PathLike, folder: str | os.PathLike) -> None:
    """Unpacks a zip archive to a new folder: all of it, or nothing.

    Raises:
        ValueError: no zip archive, a damaged one, or a member that would land outside `folder`, is a link or a device,
            or is encrypted (names it); nothing is extracted.
        FileExistsError: the folder is there.  OSError: the disk is too small.
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} exists")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        try:
            with zipfile.ZipFile(archive) as content:
                for member in content.infolist():
                    if fault := _fault(member):
                        raise ValueError(f"{archive}: {member.orig_filename!r} {fault}; nothing was extracted")
                needed, free = sum(m.file_size for m in content.infolist()), shutil.disk_usage(folder.parent).free
                if needed > free:
                    raise OSError(f"{archive} unpacks to {needed / 2**30:.1f} GiB, but {free / 2**30:.1f} GiB are free")
                content.extractall(Path(temporary, "content"))
        except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
            raise ValueError(f"{archive}: not a zip archive that can be unpacked ({error})") from error
        Path(temporary, "content").rename(folder)


def _fault(member: zipfile.ZipInfo) -> str:
    name = member.orig_filename
    kind = stat.S_IFMT(member.external_attr >> 16)
    if name.startswith("/") or "\\" in name or ":" in name or "\0" in name:
        return "is no relative path"
    if ".." in name.split("/"):
        return "leads out of the folder"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    return "is encrypted" if member.flag_bits & 1 else ""
