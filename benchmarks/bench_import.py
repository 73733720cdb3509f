"""Time to import lfmlib against the time to import torch, each in a fresh process.

    python benchmarks/bench_import.py [--runs 7] [--out results/benchmarks/import.json]

Names of lfmlib load on first use, so both are measured: the bare import, and every public name together. Paired: the
processes take turns; the figure is the median ratio of adjacent ones. Nothing is asserted here.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lfmlib import __all__ as public
from lfmlib.files import write_json

OTHER = "import torch"
CONTESTS = (("import lfmlib", "import lfmlib"), ("every public name", f"from lfmlib import {', '.join(public)}"))
CLOCK = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def seconds(statement: str) -> float:
    """Seconds that a statement takes in a process of its own, without the interpreter's start."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    call = [sys.executable, "-c", CLOCK.format(statement)]
    return float(subprocess.run(call, env=environment, capture_output=True, text=True, check=True).stdout)


def measure(name: str, statement: str, runs: int) -> dict:
    """One contest."""
    for warm_up in (statement, OTHER):  # files into the cache, bytecode onto the disk
        seconds(warm_up)
    times: tuple[list[float], list[float]] = ([], [])
    for run in range(runs):
        for slot in (0, 1) if run % 2 == 0 else (1, 0):
            times[slot].append(seconds((statement, OTHER)[slot]))
    ratios = [a / b for a, b in zip(*times, strict=True)]
    return {
        "name": name,
        "other": OTHER,
        "ours_s": statistics.median(times[0]),
        "other_s": statistics.median(times[1]),
        "ratio": statistics.median(ratios),
        "runs": ratios,
        "device": platform.machine(),
        "sizes": {"names": len(public) if name != "import lfmlib" else 0},
    }


def main(arguments: Sequence[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7, help="processes of each, at least 5 for a figure to quote")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/import.json"))
    options = parser.parse_args(arguments)
    print(f"{'comparison':24}{'other':16}{'ours s':>10}{'other s':>10}{'ratio':>8}  range over runs")
    records = []
    for name, statement in CONTESTS:
        record = measure(name, statement, options.runs)
        records.append(record)
        print(
            f"{name:24}{OTHER:16}{record['ours_s']:10.3f}{record['other_s']:10.3f}{record['ratio']:8.3f}"
            f"  {min(record['runs']):.3f}-{max(record['runs']):.3f}", flush=True
        )
    write_json(options.out, records)
    return records


if __name__ == "__main__":
    main()
