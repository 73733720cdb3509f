"""REPORT.md of a profile: the ledger claim by claim, the papers' contradictions, and where the numbers come from."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from lfmlib import contradictions, files
from lfmlib.ledger import NOT_RUN, STATES, Ledger, Row
from lfmlib.verdicts import NOT_TESTABLE, Verdict

PAGE = "REPORT.md"
FLOORS = ("flat", "mean")
_HEAD = ("claim", "what", "paper", "ours", "floors", "verdict", "shown by")


def write(ledger: Ledger) -> Path:
    """Writes results/<profile>/REPORT.md and returns its path."""
    path = ledger.folder / PAGE
    files.write_text(path, text(ledger))
    return path


SHORT = (
    "The runs of this profile are short and narrow; every row names its steps. *Contradicted* says that the effect is "
    "not there at that size. The papers' sizes are those of the profile `full`."
)


def text(ledger: Ledger) -> str:
    """The report in markdown; the same results give the same text."""
    judged = sum(ledger.counts.values()) - ledger.counts[NOT_RUN]
    parts = [
        f"# The papers' claims, one by one: profile `{ledger.profile}`",
        f"{sum(ledger.counts.values())} claims, {judged} with a verdict. Each stands beside what it was judged by: "
        "printed value, measurement (mean ± sd over seeds), floors, verdict and the file that shows it. Where several "
        "rows judge a claim, the one on the data it was printed for speaks, then real data before synthetic, then the "
        "worst verdict; all of them are in `99_report/claims_all.csv`.",
        *([SHORT] if ledger.profile != "full" else []),
        "## Counts",
        table(("part", "claims", *STATES), counts(ledger)),
    ]
    for group, rows in ledger.groups.items():
        parts += [f"## {group}", table(_HEAD, [_line(row, ledger) for row in rows])]
    parts += ["## What it takes to judge the rest", table(("claim", "verdict", "how"), _open(ledger))]
    rows = contradictions.table(ledger)[["contradiction", "what", "printed", "ours", "rule"]]
    parts += [f"## {len(rows)} contradictions in the papers", table(tuple(rows.columns), rows.to_numpy().tolist())]
    parts += [
        "## Where the numbers come from",
        table(("notebook", "state", "date", "commit", "machine"), runs(ledger)),
    ]
    return "\n\n".join(parts) + "\n"


def counts(ledger: Ledger) -> list[tuple[str, int, *tuple[int, ...]]]:
    """Part of the papers, its claims, and how many are in each of STATES; the sum of all parts last."""
    found = [(group, [row.state for row in rows]) for group, rows in ledger.groups.items()]
    found.append(("all", [state for _, states in found for state in states]))
    return [(group, len(states), *(states.count(state) for state in STATES)) for group, states in found]


def floor_text(row: Row, ledger: Ledger) -> str:
    """The floors of the row that speaks for a claim, in its unit; empty where it has none."""
    if not row.best:
        return ""
    found = floors(row.best.verdict, ledger.folder / row.best.notebook)
    return ", ".join(f"{name} {value:.4g}" for name, value in found.items())


def floors(verdict: Verdict, folder: Path) -> dict[str, float]:
    """Means of the floors in the notebook's table.csv, on the verdict's category and error column; empty without them.

    Raises:
        ValueError: the table lacks the column that the verdict names.
    """
    table = folder / "table.csv"
    if not verdict.category or not verdict.column or not table.exists():
        return {}
    with open(table, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if rows and verdict.column not in rows[0]:
        raise ValueError(f"{table}: has no column {verdict.column!r}, which {verdict.key} was measured in")
    found = {}
    for method in FLOORS:
        same = [r for r in rows if (r["data"], r["category"], r["method"]) == (verdict.data, verdict.category, method)]
        if values := [float(r[verdict.column]) for r in same if r[verdict.column]]:
            found[method] = fmean(values)
    return found


def measured_on(verdict: Verdict) -> str:
    """Data tag, category and protocol of a verdict, as far as it has them."""
    return ", ".join(said for said in (verdict.data, verdict.category, verdict.protocol) if said and said != "none")


def runs(ledger: Ledger) -> list[tuple[str, str, str, str, str]]:
    """Per notebook: name, finished or not run, date, commit (with * where files differed from it) and machine."""
    lines = []
    for notebook in ledger.notebooks:
        if not notebook.finished:
            lines.append((notebook.name, NOT_RUN, "", "", ""))
            continue
        found = notebook.summary
        commit = f"{found['commit'][:10]}{'*' if found['dirty'] else ''}" if found["commit"] else "unknown"
        machine = found["machine"]
        place = f"{machine['gpu'] or machine['cpu']}, torch {machine['torch']}, Python {machine['python']}"
        lines.append((notebook.name, "finished", found["date"], commit, place))
    return lines


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A markdown table; a value's bars and line breaks are taken out, so that it stays one cell."""
    cells = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in cells)


def _line(row: Row, ledger: Ledger) -> tuple[str, ...]:
    on = measured_on(row.best.verdict) if row.best else ""
    ours = f"{row.ours} ({on})" if on else row.ours
    shown = row.best.evidence if row.best else f"notebook {row.notebook}"
    verdict = f"{row.state} ({row.votes})" if len(row.judged) > 1 else row.state
    what = f"{row.claim.setting}, {row.claim.dataset}" if row.claim.dataset != "-" else row.claim.setting
    return (row.claim.key, what, row.claim.printed, ours, floor_text(row, ledger), verdict, shown)


def _open(ledger: Ledger) -> list[tuple[str, str, str]]:
    return [
        (row.claim.key, row.state, row.how) for row in ledger.rows if row.state in (NOT_RUN, NOT_TESTABLE) and row.how
    ]


def _cell(value: Any) -> str:
    return str(value).replace("|", "/").replace("\n", " ").replace("<", "&lt;")
