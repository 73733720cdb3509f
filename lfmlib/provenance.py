"""Where a number came from: root folder, git commit, library versions and machine, without host or user names."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lfmlib import __version__, processes


def repository_root() -> Path:
    """The folder that relative paths are anchored at: LFM_ROOT, or the folder that holds the `lfmlib` package.

    Raises:
        FileNotFoundError: LFM_ROOT names no folder.
    """
    named = os.environ.get("LFM_ROOT")
    if named and not Path(named).is_dir():
        raise FileNotFoundError(f"LFM_ROOT={named!r} is not a folder")
    return Path(named).resolve() if named else Path(__file__).resolve().parent.parent


def results_root(root: Path | None = None) -> Path:
    """The folder that results go to: LFM_RESULTS, or results/ in the repository (or in `root`)."""
    named = os.environ.get("LFM_RESULTS")
    return Path(named).absolute() if named else (root or repository_root()) / "results"


def commit(root: Path | None = None) -> dict[str, Any]:
    """Git commit of the code: {"commit": hash or None, "dirty": bool or None}.

    `dirty` says that a file other than a result differs from the commit. Both are None where there is no git or no
    commit: a copy of the sources inside somebody else's repository does not borrow that one's commit.
    """
    root = root or repository_root()
    unknown = {"commit": None, "dirty": None}
    if not (root / ".git").exists():
        return unknown

    def git(*arguments: str) -> str:
        call = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, timeout=60, check=True)
        return call.stdout.strip()

    try:
        changes = git("status", "--porcelain", "--", ".", ":(exclude)results", ":(exclude)README.md")
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changes)}
    except (OSError, subprocess.SubprocessError):
        return unknown


def machine() -> dict[str, Any]:
    """CPU model, cores that may be used, operating system, GPU, Python and library versions; no host or user name."""
    import torch

    return {
        "cpu": _cpu_model(),
        "cores": processes.usable_cores(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "os": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lfmlib": __version__,
    }


def of_run(seconds: float, device: str = "cpu", **more: Any) -> dict[str, Any]:
    """Where a run's numbers come from: its time, device and threads, the code and the machine."""
    import torch

    return {
        "seconds": round(seconds, 2), **more, "threads": torch.get_num_threads(), "device": device, "finished": now(),
        **commit(), "machine": machine(),
    }  # fmt: skip


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
