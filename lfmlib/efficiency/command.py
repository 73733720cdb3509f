"""Every benchmark, or some: paired timings, beside the floor that the hardware sets.

    python benchmarks/run.py                                        everything that a CPU can do, some minutes
    python benchmarks/run.py --device cuda --profile full --only gpu_must    what a GPU has to reach, one call
    python benchmarks/run.py --only fit training --profile smoke    these groups, does it run

Groups: see --only. Ratios are ours / other; the table shows the inverse, "x faster". Each record is written as soon as
it is measured and replaces an older one of the same thing, so that a call that is cut loses little; --resume leaves out
what the file holds already. Nothing is asserted here.
"""

import argparse
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from lfmlib import provenance
from lfmlib.efficiency import suite, targets
from lfmlib.efficiency.records import Record, Results
from lfmlib.efficiency.setting import PROFILES, Setting
from lfmlib.processes import WORKER_ENVIRONMENT

NOTEBOOK = "11_efficiency"
# read when a process starts: memory is kept as in the processes that train grids, for all contestants alike
ALLOCATOR = {name: value for name, value in WORKER_ENVIRONMENT.items() if name.startswith("MALLOC_")}


def line(record: Record) -> str:
    """A record as a row of the table."""
    size = " ".join(f"{name}={value:,}" for name, value in record.sizes.items())
    share = "" if record.share is None else f"{100 * record.share:6.1f} %"
    theirs = factor = spread = ""
    if record.ratio is not None:
        theirs, factor = f"{1e3 * record.other_s:.3f}", f"{1 / record.ratio:.2f}"
        spread = f"{1 / max(record.runs):.2f}-{1 / min(record.runs):.2f}"
    extra = f"  {record.counts['peak_bytes'] / 2**20:.0f} MiB" if "peak_bytes" in record.counts else ""
    what = f"{record.name} | {record.other}" if record.other else record.name
    return (f"{what:66}{size + ' ' + record.dtype:62}{1e3 * record.ours_s:12.3f}{theirs:>12}{factor:>9}"
            f"{spread:>14}{share:>9}{extra}")  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """0: all measured; 1: a contest failed; 2: the call itself was wrong.

    Measures in a process that keeps its memory, starting one unless this is one.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if ALLOCATOR.items() <= os.environ.items():
        return measure(arguments)
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "lfmlib.efficiency.command", *arguments]
    return subprocess.run(command, env=os.environ | ALLOCATOR | {"PYTHONPATH": path}).returncode


def measure(arguments: Sequence[str]) -> int:
    """As `main`, in this process."""
    parser = argparse.ArgumentParser(
        prog="run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--profile", choices=PROFILES, help="sizes; by default cpu, on a GPU full")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME",
                        help=f"groups, or beginnings of their names: {', '.join(suite.GROUPS)}")  # fmt: skip
    parser.add_argument("--out", type=Path, help=f"by default results/<profile>/{NOTEBOOK}/benchmarks.json")
    parser.add_argument("--resume", action="store_true", help="do not measure again what the file holds already")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    profile = options.profile or ("full" if options.device == "cuda" else "cpu")
    out = options.out or provenance.results_root() / profile / NOTEBOOK / "benchmarks.json"
    try:
        chosen = suite.groups(options.only)
        setting, results = Setting(profile, options.device), Results(out)
    except (ValueError, OSError) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    print(f"{suite.device_name(setting)}, {setting.threads} threads, torch {torch.__version__}, profile {profile}")
    print(f"{'ours | other':66}{'size':62}{'ours ms':>12}{'other ms':>12}{'x faster':>9}{'range':>14}{'floor':>9}")
    measured: list[Record] = []
    failures = suite.measure(chosen, setting, results, options.resume,
                             lambda r: (measured.append(r), print(line(r), flush=True)))  # fmt: skip
    rows = targets.reached([r for r in results.records if r.group in chosen])
    if rows:
        print("\nto be reached")
    for row in rows:
        print(f"  {'yes' if row.met else 'NO ':4}{row.what:52}{row.goal:>12}{row.measured:>12}  {row.against}")
    print(f"\n{len(measured)} records in {out}")
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
