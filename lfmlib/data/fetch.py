"""What measured sets are built from, brought here from their repositories: tied to a commit, each checksum recorded."""

import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lfmlib import files
from lfmlib.data import download
from lfmlib.data.listing import HOST, Source, source

RECORD = "fetched.json"
LOCK = "fetching.lock"  # there while a process writes to the folder; holds its id and its computer's name
ATTEMPTS, PAUSE = 20, 0.05  # to take over the lock of a dead process while others try, too; seconds between them


def fetch(
    name: str,
    root: str | os.PathLike,
    accept_unpinned: bool = False,
    timeout: float | int = 30,
    report: Callable[[str, str], None] | None = None,
) -> Path:
    """Brings the upstream files of a set to root/upstream/OWNER+NAME, laid out as a clone of the repository.

    What is there and right is kept, what broke off is continued. The checksum of every file is written to
    root/fetched.json; from then on no other bytes are accepted in its place. One process at a time writes to `root`.

    Args:
        name: the set, one of `listing.sources()`.
        root: folder to write to; created if need be.
        accept_unpinned: take files whose checksum is not known in advance, too.
        timeout: seconds that a server may stay silent, or keep below `download.LEAST` bytes a second.
        report: called with (path within `root`, SHA-256) after each file.
    Returns:
        The folder of the clone.
    Raises:
        ValueError: no such set, one that must not be fetched, a file without a known checksum, or one whose bytes are
            not the expected ones (a downloaded one is removed; one that was there stays).
        ConnectionError: no network, no such file there, or the transfer broke off; says where a file goes by hand.
        BlockingIOError: another process is fetching to `root`.
    """
    what, root = source(name), Path(root)
    if what.refused:
        raise ValueError(f"{name} cannot be fetched: {what.refused}")
    _expected(what, root, _record(root), accept_unpinned)  # what is refused leaves no trace
    with _alone(root):
        record = _record(root)  # another process may have written to it before this one's turn
        for path, digest in _expected(what, root, record, accept_unpinned).items():
            found = _bring(what, root, path, digest, record, timeout)
            if report is not None:
                report(_within(what, root, path), found)
    return what.clone(root)


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


def _within(what: Source, root: Path, path: str) -> str:
    return (what.clone(root) / path).relative_to(root).as_posix()


def _record(root: Path) -> dict[str, dict[str, Any]]:
    path = root / RECORD
    if not path.exists():
        return {}
    record = files.read_json(path)
    entries = list(record.values()) if isinstance(record, dict) else [None]
    if not all(isinstance(entry, dict) and {"url", "sha256"} <= set(entry) for entry in entries):
        raise ValueError(f"{path}: not a record of fetched files (expected path -> url, sha256)")
    return record


def _expected(what: Source, root: Path, record: dict[str, dict[str, Any]], accept_unpinned: bool) -> dict[str, str]:
    """Path in the repository -> SHA-256 that is pinned or recorded; empty where any bytes will do."""
    clone = what.clone(root)
    expected = {}
    for path in what.paths:
        known = record.get(_within(what, root, path), {"url": what.url(path), "sha256": ""})
        if known["url"] != what.url(path):
            raise ValueError(
                f"{clone / path} was fetched from {known['url']}, but this version asks for {what.url(path)}; "
                f"use another folder, or move {clone} and {root / RECORD} away"
            )
        expected[path] = what.sha256.get(path) or known["sha256"]
    unpinned = [path for path, digest in expected.items() if not digest]
    if unpinned and not accept_unpinned:
        raise ValueError(
            f"{what.name}: {len(unpinned)} of {len(expected)} files have no known checksum (such as {unpinned[-1]}), "
            f"so a changed file would go unnoticed; --accept-unpinned takes what {HOST} gives for commit "
            f"{what.commit[:12]} and notes each SHA-256 in {root / RECORD}, after which no other bytes are accepted"
        )
    return expected


def _bring(
    what: Source, root: Path, path: str, digest: str, record: dict[str, dict[str, Any]], timeout: float | int
) -> str:
    """Downloads one file unless it is there, checks, records and unpacks it; returns its SHA-256."""
    target, within = what.clone(root) / path, _within(what, root, path)
    if not target.exists():
        download.retrieve(what.url(path), target, digest, timeout)
    found = files.sha256_of(target)
    if digest and found != digest:
        raise ValueError(
            f"{target} has SHA-256 {found}, expected {digest} ({'pinned' if path in what.sha256 else RECORD}); "
            "nothing was changed; delete the file to fetch it again"
        )
    if within not in record:
        record[within] = {"url": what.url(path), "sha256": found, "bytes": target.stat().st_size}
        files.write_json(root / RECORD, record)
    if target.suffix == ".zip" and not target.with_suffix("").exists():
        download.unpack(target, target.with_suffix(""))
    return found


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Keeps other processes from fetching to `root`; takes over what a process of this computer left as it died."""
    lock, gate = root / LOCK, root / f"{LOCK}.gate"
    root.mkdir(parents=True, exist_ok=True)
    if not _take(lock, gate):
        process, _, host = _holder(lock).partition(" ")
        who = f"process {process} on {host}" if host else "another process"
        left = f" and {gate.name}" if gate.exists() else ""
        raise BlockingIOError(
            f"{root}: {who} is fetching to this folder; wait for it, or use another folder; "
            f"if it does not run any more, delete {lock}{left}"
        )
    try:
        yield
    finally:
        if _holder(lock) == _own():  # it is another's after a user has deleted it
            lock.unlink()


def _take(lock: Path, gate: Path) -> bool:
    """Makes the lock; False where another process keeps it."""
    for _ in range(ATTEMPTS):
        if _claim(lock):
            return True
        holder = _holder(lock)
        if holder and not _is_dead(holder):
            return False
        # Of several that find a dead holder one may remove its lock: the next would remove the lock of the first.
        if holder and _claim(gate):
            try:
                if _is_dead(_holder(lock)):
                    lock.unlink(missing_ok=True)
            finally:
                gate.unlink()
        else:
            time.sleep(PAUSE)
    return False


def _claim(path: Path) -> bool:
    """Makes the file; False where it is there already. Of several processes one succeeds."""
    try:
        with open(path, "x") as file:
            file.write(_own())
    except FileExistsError:
        return False
    return True


def _own() -> str:
    return f"{os.getpid()} {socket.gethostname()}"


def _holder(lock: Path) -> str:
    """What the lock says: "ID COMPUTER"; empty where it is gone, or not yet written."""
    try:
        return lock.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def _is_dead(holder: str) -> bool:
    """Whether the process is known to run no more; one of another computer cannot be asked."""
    process, _, host = holder.partition(" ")
    if os.name != "posix" or host != socket.gethostname() or not re.fullmatch("[0-9]{1,9}", process):
        return False
    try:
        os.kill(int(process), 0)  # sends nothing
    except ProcessLookupError:
        return True
    except PermissionError:  # it runs, as another user's
        pass
    return False
