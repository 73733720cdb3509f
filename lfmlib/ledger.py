"""The ledger: every claim of the papers beside the verdict that the notebooks of one profile reached on it.

A claim that several rows judge keeps all of them; one speaks for it, chosen by a rule (`headline`), never by hand.
Which notebook judges what, and what nobody may ship, stands in ledger.toml.
"""

import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from lfmlib import claims, files, provenance, verdicts
from lfmlib.claims import Claim
from lfmlib.verdicts import Verdict

NAME = "99_report"  # the notebook that draws the ledger, and so judges nothing
NOT_RUN, CONTEXT = "not run", "context"
STATES = (*verdicts.VERDICTS, NOT_RUN)  # of a claim; context is only listed
# the worst first; a row that could not test the claim says least, so any other goes before it
SEVERITY = (
    verdicts.CONTRADICTED,
    verdicts.SELF_CONTRADICTORY,
    verdicts.SAME_DIRECTION,
    verdicts.REPRODUCED,
    verdicts.NOT_TESTABLE,
)
TAGS = ("real", "none", "synthetic")  # "none": a count or a law, which needs no data
_PARTS = ("verdicts", "headline", "parameters", "commit", "dirty", "machine", "date")  # of a summary


@dataclass(frozen=True)
class Notebook:
    """One notebook's folder of results; `summary` is empty where it was not run to its end."""

    name: str
    folder: Path
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return bool(self.summary)


@dataclass(frozen=True)
class Judged:
    """One verdict, the notebook that reached it, and the file of the profile's results that shows it."""

    verdict: Verdict
    notebook: str
    evidence: str


@dataclass(frozen=True)
class Row:
    """One claim: the verdict that speaks for it (`best`), all verdicts on it, and what it takes to judge it (`how`).

    `state` is one of STATES, or CONTEXT for a number that is listed and not judged.
    """

    claim: Claim
    group: str
    state: str
    best: Judged | None
    judged: tuple[Judged, ...]
    notebook: str
    how: str

    @property
    def ours(self) -> str:
        """The measurement that speaks for the claim, as text."""
        return self.best.verdict.ours() if self.best else ""

    @property
    def votes(self) -> str:
        """How many rows gave which verdict, the worst first."""
        found = Counter(entry.verdict.verdict for entry in self.judged)
        return ", ".join(f"{found[state]} {state}" for state in SEVERITY if found[state])


@dataclass(frozen=True)
class Ledger:
    """Everything that one profile's notebooks say about the claims, in the order of claims.csv."""

    profile: str
    folder: Path
    notebooks: tuple[Notebook, ...]
    rows: tuple[Row, ...]

    def row(self, key: str) -> Row:
        """The row of a claim.

        Raises:
            ValueError: there is none (names the nearest keys).
        """
        claim = claims.get(key)
        return next(row for row in self.rows if row.claim == claim)

    @property
    def counts(self) -> dict[str, int]:
        """State -> claims, in the order of STATES."""
        found = Counter(row.state for row in self.rows)
        return {state: found[state] for state in STATES}

    @property
    def groups(self) -> dict[str, list[Row]]:
        """Part of the papers -> the claims in it, without the context; both in the order of claims.csv."""
        result: dict[str, list[Row]] = {}
        for row in self.rows:
            if row.state != CONTEXT:
                result.setdefault(row.group, []).append(row)
        return result


def read(profile: str = "cpu", root: Path | None = None) -> Ledger:
    """Reads what the notebooks of a profile found out; an unfinished one counts as not run.

    Args:
        profile: whose results.
        root: repository root; None: found by itself.
    Raises:
        ValueError: a summary is damaged, or judges a claim that is not in claims.csv (names the file).
    """
    root = root or provenance.repository_root()
    folder = provenance.results_root(root) / profile
    names = {path.stem[:2]: path.stem for path in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))}
    notebooks = tuple(_notebooks(folder, names.values()))
    found: dict[str, list[Judged]] = {}
    for notebook in notebooks:
        for entry in _judged(notebook):
            found.setdefault(entry.verdict.key, []).append(entry)
    finished = {notebook.name[:2] for notebook in notebooks if notebook.finished}
    rows = [
        _row(claim, found.get(claim.key, []), names, finished, profile)
        if claim.kind == "claim"
        else Row(claim, CONTEXT, CONTEXT, None, (), "", "")
        for claim in claims.load().values()
    ]
    return Ledger(profile, folder, notebooks, tuple(rows))


def headline(claim: Claim, judged: Sequence[Judged]) -> Judged | None:
    """The row that speaks for a claim: measured on the data set that it was printed for before others, then real data
    before synthetic, then the worst verdict, then the first in the notebooks' order. None where there is no row.
    """

    def rank(entry: Judged) -> tuple[bool, int, int]:
        same = claim.dataset in ("-", "all") or entry.verdict.category == claim.dataset
        return not same, TAGS.index(entry.verdict.data), SEVERITY.index(entry.verdict.verdict)

    return min(judged, key=rank, default=None)


@cache
def plan() -> dict[str, tuple[dict[str, Any], ...]]:
    """ledger.toml: "judge" and "needs", each a list of entries with patterns of keys."""
    with open(Path(__file__).with_name("ledger.toml"), "rb") as file:
        return {name: tuple(entries) for name, entries in tomllib.load(file).items()}


def planned(key: str) -> dict[str, Any]:
    """The entry of ledger.toml that says where a claim belongs and who judges it.

    Raises:
        ValueError: no entry fits the key.
    """
    entry = _first(plan()["judge"], key)
    if entry is None:
        raise ValueError(f"{Path(__file__).with_name('ledger.toml')}: no entry of `judge` fits claim {key!r}")
    return entry


def _row(claim: Claim, judged: list[Judged], names: dict[str, str], finished: set[str], profile: str) -> Row:
    entry, needs, best = planned(claim.key), _first(plan()["needs"], claim.key), headline(claim, judged)
    number = entry["notebook"]
    if best:
        state = best.verdict.verdict
    else:
        state = verdicts.NOT_TESTABLE if needs and not needs["stand_in"] else NOT_RUN
    how = ""
    if state == verdicts.NOT_TESTABLE and needs:
        how = f"needs {needs['what']}: {needs['command']}"
    elif state == NOT_RUN and number not in names:
        how = f"notebook {number}, which is not there yet"
    elif state == NOT_RUN and number in finished:
        how = f"{names[number]} was run in profile {profile} without a verdict on it"
    elif state == NOT_RUN:
        how = f"./run_all.sh --profile {profile} {number}"
    notebook = best.notebook if best else names.get(number, number)
    return Row(claim, entry["group"], state, best, tuple(judged), notebook, how)


def _notebooks(folder: Path, names: Iterable[str]) -> Iterable[Notebook]:
    """Those of `names` and those with a folder of results, in their order, without the one that draws the ledger."""
    there = {path.name for path in folder.glob("[0-9][0-9]_*") if path.is_dir()}
    for name in sorted(there.union(names) - {NAME}):
        path = folder / name / "summary.json"
        summary = files.read_json(path) if path.exists() else {}
        missing = [part for part in _PARTS if part not in summary]
        if path.exists() and missing:
            raise ValueError(f"{path}: not a summary that `Report.close` wrote, it has no {missing[0]!r}")
        yield Notebook(name, folder / name, summary)


def _judged(notebook: Notebook) -> Iterable[Judged]:
    path = notebook.folder / "summary.json"
    try:
        found = [Verdict(**row) for row in notebook.summary["verdicts"]] if notebook.finished else []
    except TypeError as error:  # a field that a verdict does not have, or lacks
        raise ValueError(f"{path}: not a summary that `Report.close` wrote ({error})") from error
    for verdict in found:
        if verdict.key not in claims.load():
            raise ValueError(f"{path}: judges {verdict.key!r}, which is no claim of claims.csv")
        shown = verdict.evidence and (notebook.folder.parent / verdict.evidence).is_file()
        yield Judged(verdict, notebook.name, verdict.evidence if shown else f"{notebook.name}/verdicts.csv")


def _first(entries: Iterable[dict[str, Any]], key: str) -> dict[str, Any] | None:
    return next((entry for entry in entries if any(fnmatch(key, pattern) for pattern in entry["keys"])), None)
