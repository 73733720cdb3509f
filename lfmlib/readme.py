"""The README's results section, drawn from the ledger of results/<profile>/: counts, what was judged, what is open."""

import csv
from collections.abc import Callable
from pathlib import Path

from lfmlib import files, ledger, ledger_report, provenance, verdicts

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
TABLE = "readme.csv"  # what a notebook wants shown besides its verdicts: report.table(frame, "readme")
_SHOWN = (verdicts.REPRODUCED, verdicts.SAME_DIRECTION, verdicts.CONTRADICTED)  # each claim in a line of its own


def update(profile: str = "cpu", root: Path | None = None, write: bool = True) -> bool:
    """Puts the section between the README's two markers.

    Args:
        profile: whose results.
        root: repository root; None: found by itself.
        write: False only compares.
    Returns:
        True where the README already said the same.
    Raises:
        ValueError: the README lacks the markers, or a result file is damaged (names it).
        FileNotFoundError: there is no README, or no results of this profile.
    """
    root = root or provenance.repository_root()
    return fill(root / "README.md", {"results": lambda: section(profile, root)}, write)


def fill(path: Path, sections: dict[str, Callable[[], str]], write: bool = True) -> bool:
    """Puts each section between its markers, <!-- name:begin --> and <!-- name:end -->.

    Returns:
        True where the page already said the same.
    Raises:
        ValueError: the page lacks a marker (names it).
    """
    old = new = path.read_text(encoding="utf-8")
    for name, text in sections.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        if new.count(begin) != 1 or new.count(end) != 1 or new.index(begin) > new.index(end):
            raise ValueError(f"{path}: needs one line {begin} and, after it, one line {end}")
        new = f"{new[: new.index(begin) + len(begin)]}\n{text()}\n{new[new.index(end) :]}"
    if write and new != old:
        files.write_text(path, new)
    return new == old


def update_data_page(root: Path | None = None, write: bool = True) -> bool:
    """Puts the tables of measured sets and of formats into docs/data.md; True where it already said the same."""
    from lfmlib.data import listing, loaders

    path = (root or provenance.repository_root()) / "docs" / "data.md"
    return fill(path, {"sources": listing.markdown, "formats": loaders.markdown}, write)


def section(profile: str = "cpu", root: Path | None = None) -> str:
    """The section's text: verdicts by part of the papers, the claims that got one line by line, the others by name;
    tables of the notebooks, and those of the full profile that there are.

    Raises:
        FileNotFoundError: there is no finished result of this profile.
    """
    found = ledger.read(profile, root)
    finished = [notebook for notebook in found.notebooks if notebook.finished]
    if not finished:
        raise FileNotFoundError(f"{found.folder}: no finished results; make them with ./run_all.sh --profile {profile}")
    parts = [ledger_report.table(("part of the papers", "claims", *ledger.STATES), ledger_report.counts(found))]
    for state in ledger.STATES:
        rows = [row for row in found.rows if row.state == state]
        if rows and state in _SHOWN:
            lines = [_line(row, found) for row in rows]
            parts += [f"**{state}**", ledger_report.table(("claim", "paper", "ours", "floors"), lines)]
        elif rows:
            parts.append(f"**{state}**: {', '.join(row.claim.key for row in rows)}.")
    for path in sorted(found.folder.glob(f"*/{TABLE}")):
        parts.append(f"`{path.parent.name}`, PA-MPJPE in % of the RMS radius and in mm, mean ± sd over seeds:")
        parts.append(_markdown(path))
    for path in sorted(found.folder.parent.glob(f"full/*/{TABLE}")) if profile != "full" else ():
        parts.append(f"`{path.parent.name}` of profile `full`, PA-MPJPE in % of the RMS radius, mean ± sd over seeds:")
        parts.append(_markdown(path))
    machines = "; ".join(f"{name} ({place})" for name, _, _, _, place in ledger_report.runs(found) if place)
    parts.append(f"Profile `{profile}`: {machines}. Claim by claim, with reasons: `results/{profile}/REPORT.md`.")
    return "\n\n".join(parts)


def _markdown(path: Path) -> str:
    """A csv as a markdown table."""
    with open(path, encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return ledger_report.table(header, rows)


def _line(row: ledger.Row, found: ledger.Ledger) -> tuple[str, ...]:
    on = ledger_report.measured_on(row.best.verdict)
    ours = f"{row.ours} ({on})" if on else row.ours
    others = f"; {row.votes}" if len(row.judged) > 1 else ""
    return row.claim.key, row.claim.printed, f"{ours}{others}", ledger_report.floor_text(row, found)
