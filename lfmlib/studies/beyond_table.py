"""Notebook 12's table of results, method by method.

    python -m lfmlib.studies.beyond_table --profile full recipe twin-3d

The full profile takes hours on a CPU. This trains the named methods at a profile's sizes, each run once and resumably,
and writes results/<profile>/12_beyond/: recipe.csv, the rows of all runs that the store holds by then and the floors;
goals.csv, what was to be reached, and readme.csv, the same for the README; records.json; summary.json.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lfmlib import experiments, profiles, provenance
from lfmlib.report import Report
from lfmlib.runs import RunData, run_id
from lfmlib.store import RunStore
from lfmlib.studies import beyond, beyond_figures
from lfmlib.studies.beyond import COMBINED, METHODS, Arm, Size

if TYPE_CHECKING:
    import pandas

NOTEBOOK, NUMBER = "12_beyond", "12"
MOST = 5  # seeds
COLUMNS = {
    beyond.RECIPE: "recipe", COMBINED: "recipe, one network for all", beyond.TWIN: "3D-supervised twin",
    "mean": "floor: mean shape (3D)", "flat": "floor: flat",
}  # fmt: skip


def size_of(profile: str) -> Size:
    """The notebook's sizes in a profile.

    Raises:
        ValueError: there is no such profile, or it has no sizes for the notebook.
    """
    known = profiles.read(provenance.repository_root() / "notebooks" / "profiles.yml")
    if NUMBER not in known.get(profile, {}):
        raise ValueError(f"no sizes of notebook {NUMBER} in profile {profile!r}; there are {', '.join(known)}")
    return Size(**known[profile][NUMBER])


def arms_of(methods: Sequence[str], size: Size, folds: bool = True) -> list[Arm]:
    """The runs of these methods; without `folds` no CAD is held out."""
    chosen = beyond.arms(size, [m for m in methods if m != COMBINED])
    chosen = [arm for arm in chosen if folds or not arm.category.endswith(beyond.HELD_OUT)]
    return chosen + (beyond.combined_arms(size) if COMBINED in methods else [])


def finished(size: Size, store: RunStore) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows and records of every run of the study that the store holds, of `MOST` seeds at most."""
    rows, records = [], []
    for arm in arms_of((*METHODS, COMBINED), replace(size, seeds=MOST)):
        if (record := store.record(run_id(arm.config, RunData.of(arm.config)))) is not None:
            rows += beyond.recipe_rows(arm, record)
            records.append(record)
    return rows, records


def readme(table: "pandas.DataFrame", goals: "pandas.DataFrame") -> "pandas.DataFrame":
    """For the README: what was to be reached beside what is, mean ± sd over seeds (of held-out CADs over all folds)."""
    import pandas

    rows = []
    for goal in goals.to_dict("records"):
        name = goal["category"]
        held = table["category"].str.endswith(beyond.HELD_OUT)
        mine = table[held if name == beyond_figures.ALL_HELD_OUT else table["category"] == name]
        said = {label: _spread(mine[mine["method"] == method]["flip"]) for method, label in COLUMNS.items()}
        rows.append({"flip per category": beyond_figures.short(name), "to be reached": goal["must"],
                     "aim": goal["aim"], **said})  # fmt: skip
    return pandas.DataFrame(rows)


def _spread(errors: "pandas.Series") -> str:
    return f"{errors.mean():.2f} ± {errors.std():.2f}" if len(errors) else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains and writes; returns an exit code."""
    parser = argparse.ArgumentParser(prog="python -m lfmlib.studies.beyond_table", description=__doc__)
    parser.add_argument("methods", nargs="*", choices=[*METHODS, COMBINED, []], help="to train; none: only the table")
    parser.add_argument("--profile", default="full", help="whose sizes (full)")
    parser.add_argument("--no-folds", action="store_true", help="hold no CAD out")
    parser.add_argument("--seeds", type=int, choices=range(1, MOST + 1), help="how many (the profile's)")
    parser.add_argument("--workers", type=int, help="processes (one per core)")
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        size = size_of(args.profile)
    except ValueError as error:
        print(f"beyond_table: {error}", file=sys.stderr)
        return 2
    size = replace(size, seeds=args.seeds or size.seeds)
    store = RunStore()
    wanted = arms_of(args.methods, size, not args.no_folds)
    if wanted:
        experiments.run_grid([arm.config for arm in wanted], args.workers, store)
    rows, records = finished(size, store)
    for name in dict.fromkeys(row["category"] for row in rows if not row["category"].endswith(beyond.HELD_OUT)):
        floors = experiments.floor_rows(beyond.recipe((name,), 0, size), range(size.seeds), steps=0, seconds=0.0)
        rows += [{**row, "device": ""} for row in floors if row["category"] == name]
    if not rows:
        print("beyond_table: the store holds none of these runs yet", file=sys.stderr)
        return 1
    report = Report(NOTEBOOK, args.profile)
    table = report.table(beyond.in_columns(rows), "recipe")
    report.table(goals := beyond_figures.goals_of(table), "goals")
    report.table(readme(table, goals), "readme")
    report.records(experiments.run_summaries(records))
    report.close(**beyond_figures.headline(beyond.Study(table, table[:0], table[:0], [])))
    print(table.groupby(["category", "method"], sort=False)["flip"].agg(["mean", "std", "count"]).round(2).to_string())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
