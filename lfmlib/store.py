"""The run store: one folder per run, runs/<id>/, whose files are whole or absent and whose contents are checked.

    config.json             what was asked for
    checkpoint.safetensors  while it trains: weights, optimiser, generator, curve; a killed run goes on from it
    model.safetensors       when it is done: weights, with the configuration and the rigs in its header
    curve.json, record.json when it is done: metrics over steps; final metrics, data fingerprints, commit, machine
    .lease.<number>         while a worker has it: see `lfmlib.leases`

A run is done if and only if record.json is whole and the digests in it match the other files.
"""

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lfmlib import files, lease_files, processes, provenance

log = logging.getLogger(__name__)

STALE_SECONDS = 3600.0  # after which a half-written file of another machine is nobody's: a write takes seconds


def default_root() -> Path:
    """LFM_RUNS, or runs/ in the repository."""
    return Path(os.environ.get("LFM_RUNS") or provenance.repository_root() / "runs")


class RunStore:
    """Records and checkpoints of runs, by run id.

    Args:
        root: folder of the store; None: `default_root()`.
    """

    def __init__(self, root: str | os.PathLike | None = None) -> None:
        self.root = Path(root) if root is not None else default_root()

    def folder(self, run: str) -> Path:
        """Folder of a run."""
        return self.root / run

    def record(self, run: str) -> dict[str, Any] | None:
        """The record of a finished run, or None: unknown, unfinished or damaged (a damaged one is logged)."""
        folder = self.folder(run)
        if not (folder / "record.json").exists():
            return None
        try:
            record = files.read_json(folder / "record.json")
            digests = record["files"]
            for name, digest in digests.items():
                if files.sha256_of(folder / name) != digest:
                    raise ValueError(f"{folder / name}: content does not match its record")
            body = {key: value for key, value in record.items() if key != "digest"}
            if record["digest"] != _digest_of(body):
                raise ValueError(f"{folder / 'record.json'}: content does not match its digest")
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            log.warning("run %s is damaged and will be trained again: %s", run, error)
            return None
        return record

    def curve(self, run: str) -> list[dict[str, Any]]:
        """Metrics over the steps of a finished run."""
        return files.read_json(self.folder(run) / "curve.json")

    def finish(self, run: str, model: dict[str, Tensor], header: dict[str, str], curve: list, record: dict) -> dict:
        """Writes weights and curve, then the record that makes the run count as done; returns the record."""
        folder = self.folder(run)
        write_tensors(folder / "model.safetensors", model, header)
        files.write_json(folder / "curve.json", curve)
        names = ("model.safetensors", "curve.json")
        record = {**record, "files": {name: files.sha256_of(folder / name) for name in names}}
        record["digest"] = _digest_of(record)
        files.write_json(folder / "record.json", record)
        for left in (folder / "checkpoint.safetensors", *_leftovers(folder)):
            left.unlink(missing_ok=True)
        return record

    def save_checkpoint(self, run: str, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Replaces the run's checkpoint."""
        text = json.dumps(state, allow_nan=False)
        header = {"state": text, "digest": _checkpoint_digest(tensors, text)}
        write_tensors(self.folder(run) / "checkpoint.safetensors", tensors, header)

    def load_checkpoint(self, run: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The run's checkpoint, or None: there is none, or it is damaged (logged; the run starts again)."""
        path = self.folder(run) / "checkpoint.safetensors"
        if not path.exists():
            return None
        try:
            tensors, header = read_tensors(path)
            if header["digest"] != _checkpoint_digest(tensors, header["state"]):
                raise ValueError(f"{path}: content does not match its digest")
            return tensors, json.loads(header["state"])
        except (ValueError, KeyError, OSError) as error:
            log.warning("checkpoint of run %s is damaged, the run starts again: %s", run, error)
            return None


def write_tensors(path: Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    """Writes a safetensors file atomically, the same bytes for the same content."""
    from safetensors.torch import save

    content = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, metadata=header)
    end = 8 + int.from_bytes(content[:8], "little")
    # safetensors writes the header's entries in an order that differs from call to call
    entries = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    entries += b" " * (-len(entries) % 8)
    files.write_bytes(path, len(entries).to_bytes(8, "little") + entries + content[end:])


def read_tensors(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and header of a safetensors file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a whole safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safe_open(str(path), framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})
    except SafetensorError as error:
        raise ValueError(f"{path}: not a whole safetensors file ({error})") from error


def _leftovers(folder: Path) -> list[Path]:
    """Hidden files that no living writer can want: writes that a kill cut short, this process's own, old ones.

    Not among them: leases, and what another process may be writing this moment.
    """
    now = (folder / "record.json").stat().st_mtime  # just written: the file server's time, as that of the others
    left = []
    for path in folder.glob(".*"):
        writer = processes.NAME.search(path.name)
        if lease_files.NAME.fullmatch(path.name):
            continue
        try:
            old = now - path.stat().st_mtime > STALE_SECONDS
        except FileNotFoundError:  # the other writer's, whole by now
            continue
        if old or writer is None or writer[0] == processes.name() or processes.is_gone(writer[0]):
            left.append(path)
    return left


def _checkpoint_digest(tensors: dict[str, Tensor], state: str) -> str:
    digest = hashlib.sha256(state.encode())
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.view(torch.uint8).numpy().tobytes() if value.ndim else str(value.item()).encode())
    return digest.hexdigest()


def _digest_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()
