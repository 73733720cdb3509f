"""Downloads that go on where they broke off, over https alone and checked by SHA-256; archives unpacked safely."""

import http.client
import os
import shutil
import stat
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

from lfmlib import __version__

LOCAL = ("localhost", "127.0.0.1", "::1")
ATTEMPTS, PAUSE = 3, 1.0  # of a transfer that broke off; seconds before the next, times the number of the attempt
LEAST = 100.0  # bytes a second; a server that stays below them is given up
NOT_DATA = {  # how a file begins that stands in the place of the data
    b"version https://git-lfs.github.com/spec": "a Git LFS pointer in the place of the file",
    b"<!doctype html": "a web page (a log-in page of your network?)",
    b"<html": "a web page (a log-in page of your network?)",
}


def retrieve(url: str, target: Path, digest: str, timeout: float | int) -> None:
    """Downloads one file, which is put in place only once its checksum is right.

    Args:
        url: https; http only on this machine. Redirects are followed where they keep to that.
        target: file to write; while unfinished it is target.part, which stays when the transfer breaks off and is
            continued later, with the server's name for its version in target.part.etag.
        digest: SHA-256 of its bytes in hexadecimal; empty: any are taken.
        timeout: seconds that the server may stay silent, or keep below `LEAST` bytes a second.
    Raises:
        ValueError: the address is not https, the content is no data, or not the expected one; it is removed.
        ConnectionError: no network, no such file there, or the last of `ATTEMPTS` broke off; says where a file goes by
            hand.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    registry = {target.name: f"sha256:{digest}" if digest else None}
    store = pooch.create(path=target.parent, base_url="", registry=registry, urls={target.name: url})
    reason = ""
    try:
        store.fetch(target.name, downloader=lambda link, at, _: _download(link, at, target, bool(digest), timeout))
    except TimeoutError as error:
        reason = f"the server is too slow ({error})"
    except urllib.error.HTTPError as error:
        reason = f"the server answers {error.code} {error.reason}"
        error.close()
    except (urllib.error.URLError, ConnectionError, http.client.HTTPException) as error:
        reason = f"{getattr(error, 'reason', None) or error}"
    except ValueError as error:
        if str(error).startswith("SHA256 hash"):  # pooch's own; it has removed the file
            raise ValueError(f"{url} gives bytes of another SHA-256 than {digest}; they were removed") from error
        raise
    if reason:
        raise ConnectionError(
            f"{target.name} could not be fetched from {url}: {reason}. What came is kept and the same command "
            f"goes on from there; without a network, put the file at {target} by hand and give the command again"
        )


def _download(url: str, output: str | os.PathLike, target: Path, resumable: bool, timeout: float | int) -> None:
    """What pooch calls: downloads to `output` by way of target.part.

    `resumable`: go on even where the server names no version of the file, since a checksum will tell.
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
        if (coding := response.headers.get("Content-Encoding", "identity")) != "identity":
            raise ConnectionError(f"the server sent the file in the encoding {coding!r}, which was not asked for")
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
                Path(temporary, "content").mkdir()
                content.extractall(Path(temporary, "content"))
        except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
            raise ValueError(f"{archive}: not a zip archive that can be unpacked ({error})") from error
        Path(temporary, "content").rename(folder)


def _fault(member: zipfile.ZipInfo) -> str:
    name = member.orig_filename
    kind = stat.S_IFMT(member.external_attr >> 16)
    if name.startswith("/") or "\\" in name or name[1:2] == ":" or "\0" in name:
        return "is no relative path"
    if ".." in name.split("/"):
        return "leads out of the folder"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    return "is encrypted" if member.flag_bits & 1 else ""
