"""The files that leases are made of: how a folder is taken, and when a lease on it has expired. See `lfmlib.leases`."""

import json
import math
import os
import re
import socket
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lfmlib import processes

NAME = re.compile(r"\.lease\.([1-9][0-9]{0,14})")


def path_of(folder: Path, number: int) -> Path:
    """The file of a folder's lease with this number."""
    return folder / f".lease.{number}"


def numbers(folder: Path) -> list[int]:
    """Numbers of a folder's leases, ascending; 0, which no lease has, is always there."""
    try:
        names = os.listdir(folder)  # opening a folder makes NFS look again, unlike a test for one name
    except FileNotFoundError:
        names = []
    except OSError as error:
        raise _refused(folder, error) from error
    return [0, *sorted(int(match[1]) for name in names if (match := NAME.fullmatch(name)))]


def touch(path: Path) -> float:
    """Sets a file's mtime to the file server's time, and returns it."""
    os.utime(path)
    return path.stat().st_mtime


class Clock:
    """The file server's time, asked for once, when it is first needed: an older now only makes leases look younger."""

    def __init__(self) -> None:
        self._time: float | None = None

    def now(self, folder: Path) -> float:
        """Seconds on the scale of mtimes; a probe file in `folder` is touched and removed."""
        if self._time is None:
            probe = folder / f".clock.{processes.name()}.{uuid.uuid4().hex[:8]}"
            try:
                probe.touch(exist_ok=False)
                self._time = touch(probe)
                probe.unlink()
            except OSError as error:
                raise _refused(folder, error) from error
        return self._time


def next_number(folder: Path, seconds: float | int, clock: Clock) -> int | None:
    """The number that would take the folder, or None: somebody has it.

    Args:
        seconds: lifetime of a lease that does not tell its own.
    """
    highest = numbers(folder)[-1]
    if not highest:
        return 1
    try:
        now = clock.now(folder)
        with open(path_of(folder, highest), "rb") as file:  # opening makes NFS ask for the mtime
            touched, content = os.fstat(file.fileno()).st_mtime, parsed(file.read(4096))
    except FileNotFoundError:
        return None  # removed this moment: its work is done
    expired = now - touched > content.get("seconds", seconds) or processes.is_gone(content.get("process", ""))
    return highest + 1 if expired else None


def parsed(text: bytes) -> dict[str, Any]:
    """{"process", "seconds"} of a lease file; less, or nothing, where it was cut short or is garbage."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    kinds = {"process": str, "seconds": int | float}
    known = {name: content[name] for name, kind in kinds.items() if isinstance(content.get(name), kind)}
    if not 0 < known.get("seconds", 1) < math.inf:
        del known["seconds"]
    return known


def create(folder: Path, number: int, seconds: float | int) -> bool:
    """Creates a lease file; returns whether this call was the one that did.

    Raises:
        OSError: the folder cannot be written (names it).
    """
    content = {
        "process": processes.name(), "host": socket.gethostname(), "pid": os.getpid(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": seconds, "token": uuid.uuid4().hex,
    }  # fmt: skip
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refused(folder, error) from error
    try:
        with open(path_of(folder, number), "x") as file:  # x: O_CREAT | O_EXCL
            json.dump(content, file)
    except FileExistsError:
        return False
    except OSError as error:
        raise _refused(folder, error) from error
    return True


def _refused(folder: Path, error: OSError) -> OSError:
    return OSError(error.errno, f"no lease can be taken in this folder ({error.strerror})", str(folder))
