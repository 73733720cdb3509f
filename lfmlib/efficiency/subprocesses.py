"""Measurements that need a process of their own: imports, peak memory, and everything at once.

`python -m lfmlib.efficiency.subprocesses WHAT ...` makes one and prints its numbers.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from lfmlib import __all__ as public
from lfmlib import provenance
from lfmlib.efficiency.records import Contest
from lfmlib.efficiency.setting import Setting
from lfmlib.efficiency.timing import Turn

IMPORT, END_TO_END = "import", "end_to_end"
STATEMENTS = {"import lfmlib": "import lfmlib", "every public name": f"from lfmlib import {', '.join(public)}"}
OTHER = "import torch"


def imports(setting: Setting) -> Iterator[Contest]:
    """Names of lfmlib load on first use, so both are measured: the bare import, and every public name together."""
    for name, statement in list(STATEMENTS.items())[: 1 if setting.profile == "smoke" else None]:
        yield Contest(IMPORT, name, OTHER, {"names": len(public) if name != "import lfmlib" else 0},
                      partial(_import, statement, setting.profile != "smoke"),
                      pairs={"smoke": 1, "cpu": 3}.get(setting.profile))  # fmt: skip


def end_to_end(setting: Setting) -> Iterator[Contest]:
    """Every notebook of the repository, as a new user would run them to see whether all is in place."""
    yield Contest(END_TO_END, "run_all.sh --profile smoke", "", {}, lambda _: (_run_all, None), pairs=1)


def call(*arguments: str) -> tuple[float, ...]:
    """Runs a measurement in a process of its own and returns its numbers.

    Raises:
        RuntimeError: it failed (with the end of what it said).
    """
    return tuple(json.loads(_run([sys.executable, "-m", __name__, *arguments]).splitlines()[-1]))


def _import(statement: str, warm: bool, _: object) -> tuple[Turn, Turn]:
    def turn(what: str) -> float:
        clock = f"import time; start = time.perf_counter(); {what}; print(time.perf_counter() - start)"
        return float(_run([sys.executable, "-c", clock]))

    for warm_up in (statement, OTHER) if warm else ():  # files into the cache, bytecode onto the disk
        turn(warm_up)
    return partial(turn, statement), partial(turn, OTHER)


def _run_all() -> float:
    """Wall seconds, with results and runs of its own, so that nothing is taken over from before."""
    with TemporaryDirectory(prefix="lfmlib-") as scratch:
        settings = {"LFM_RESULTS": f"{scratch}/results", "LFM_RUNS": f"{scratch}/runs", "VIRTUAL_ENV": sys.prefix}
        start = time.perf_counter()
        _run([str(provenance.repository_root() / "run_all.sh"), "--profile", "smoke"], settings)
        return time.perf_counter() - start


def _run(command: Sequence[str], settings: dict[str, str] | None = None) -> str:
    package = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"PYTHONPATH": package} | (settings or {})
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)[:200]} failed:\n{(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def memory(samples: int, width: int, depth: int, device: str, threads: int) -> tuple[float, float]:
    """Seconds of a lift, and bytes by which the process's peak lies above what it holds before there are keypoints."""
    import torch

    from lfmlib import lifting
    from lfmlib.efficiency.inference import KEYPOINTS, loaded

    torch.set_num_threads(threads)
    lifter = loaded(width, depth, device)
    lifting.lift(lifter, torch.randn(1, KEYPOINTS, 2, generator=torch.Generator().manual_seed(0)))  # compiles the fit
    before = restart_peak()
    keypoints = torch.randn(samples, KEYPOINTS, 2, generator=torch.Generator().manual_seed(0))
    start = time.perf_counter()
    lifting.lift(lifter, keypoints)
    return time.perf_counter() - start, float(max(0, peak_bytes() - before))


def restart_peak() -> int:
    """Bytes that this process holds now, from where `peak_bytes` counts on.

    Where the system does not let the peak be set back, it is that of the process's whole life: too high, if anything.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux
        return peak_bytes()


def peak_bytes() -> int:
    """The most bytes that this process has held since `restart_peak`."""
    import resource

    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    what, *numbers = sys.argv[1:]
    if what != "memory":
        sys.exit(f"unknown measurement {what!r}, expected memory")
    sys.stdout.write(json.dumps(memory(int(numbers[0]), int(numbers[1]), int(numbers[2]), numbers[3], int(numbers[4]))))
