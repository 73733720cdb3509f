"""Every benchmark, or some: see `python benchmarks/run.py --help`."""

import sys

from lfmlib.efficiency.command import main

if __name__ == "__main__":
    sys.exit(main())
