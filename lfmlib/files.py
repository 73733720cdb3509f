"""Files that are either whole or absent: every write goes to a temporary neighbour first and is renamed at the end."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lfmlib import processes


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Temporary path beside `path` that replaces it when the block succeeds and vanishes when it fails.

    Args:
        path: final file; its folder is created if need be.
    Yields:
        The path to write to, in the same folder (so that the rename cannot cross file systems), same suffix.
    Raises:
        OSError: the folder cannot be written, or the disk is full; names `path`, which keeps its old content.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # its name says whose it is, so that what a kill leaves behind can be told from what somebody is writing now
        prefix = f".{path.stem}.{processes.name()}."
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=path.suffix)
    except OSError as error:
        raise OSError(error.errno, f"cannot write to this folder ({error.strerror})", str(path)) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        reason = f"could not be written, nothing was changed ({error.strerror})"
        raise OSError(error.errno, reason, str(path)) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)  # the only portable way to read it is to set it
    os.umask(mask)
    return mask


def short_hash(content: Any) -> str:
    """16 hex digits of a content of plain types; the order of a dict's keys does not matter."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Writes `content` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike, content: str) -> None:
    """Writes `content` as UTF-8, atomically."""
    write_bytes(path, content.encode())


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Writes `content` as indented JSON, atomically. NaN and infinities are refused: JSON has no word for them."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike) -> Any:
    """Reads a JSON file.

    Raises:
        ValueError: the file is not JSON (names the file and the place).
    """
    try:
        return json.loads(Path(path).read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a JSON file ({error})") from error


def sha256_of(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
