"""Every benchmark, one after the other, into one file that says on which machine and commit it was measured.

    python benchmarks/run.py [--runs 7] [--full] [--out results/benchmarks.json]

Ratios are ours / other: below 1 is faster. Nothing is asserted here.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import bench_data
import bench_fit
import bench_import
import bench_step

from lfmlib import provenance
from lfmlib.files import read_json, write_json


def collect(module, options: list[str]) -> list[dict]:
    """Runs a benchmark's main with these options and reads what it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        out, given = Path(folder) / "records.json", sys.argv
        sys.argv = [module.__file__, *options, "--out", str(out)]
        try:
            module.main()
        finally:
            sys.argv = given
        return read_json(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--full", action="store_true", help="the training step also at the paper's width and depth")
    parser.add_argument("--out", type=Path, default=provenance.results_root() / "benchmarks.json")
    options = parser.parse_args()

    records = []
    full = ["--full"] if options.full else []
    for module, extra in ((bench_fit, []), (bench_import, []), (bench_step, full), (bench_data, [])):
        records += collect(module, ["--runs", str(options.runs), *extra])
        print(flush=True)
    print(f"{'comparison':46}{'other':30}{'size':46}{'ratio':>7}")
    for record in records:
        size = " ".join(f"{name}={value}" for name, value in record["sizes"].items())
        print(f"{record['name']:46}{record['other']:30}{size:46}{record['ratio']:7.3f}")
    write_json(options.out, {
        **provenance.commit(), "finished": provenance.now(), "machine": provenance.machine(), "benchmarks": records,
    })  # fmt: skip
    print(f"\n{options.out}")


if __name__ == "__main__":
    main()
