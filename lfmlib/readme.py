"""The README's results section, drawn from results/<profile>/*/: claim, paper, ours, floors, verdict."""

import csv
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

from lfmlib import files, provenance
from lfmlib.verdicts import Verdict

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
TABLE = "readme.csv"  # what a notebook wants shown besides its verdicts: report.table(frame, "readme")
_FLOORS = ("flat", "mean")


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
    """The section's text: where the numbers come from, then one row per verdict in the order of the notebooks.

    Raises:
        FileNotFoundError: there is no finished result of this profile.
    """
    folder = provenance.results_root(root) / profile
    summaries = sorted(folder.glob("*/summary.json"))
    if not summaries:
        raise FileNotFoundError(f"{folder}: no finished results; make them with ./run_all.sh --profile {profile}")
    lines = ["| claim | paper | ours | floors | verdict |", "|---|---|---|---|---|"]
    sources = []
    for path in summaries:
        summary = files.read_json(path)
        try:
            machine = summary["machine"]
            sources.append(f"{summary['notebook']} (torch {machine['torch']}, {machine['gpu'] or machine['cpu']})")
            lines += [_row(row, path.parent) for row in summary["verdicts"]]
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: not a summary that `Report.close` wrote ({error!r})") from error
    for path in sorted(folder.glob(f"*/{TABLE}")):
        lines += ["", f"`{path.parent.name}`, PA-MPJPE in % of the RMS radius and in mm, mean ± sd over seeds:", ""]
        lines += _markdown(path)
    lines += ["", f"Profile `{profile}`: {'; '.join(sources)}. Reasons: `results/{profile}/*/verdicts.csv`."]
    return "\n".join(lines)


def _markdown(path: Path) -> list[str]:
    """A csv as the lines of a markdown table."""
    with open(path, encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    cells = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(text.replace("|", "/") for text in line) + " |" for line in cells]


def _row(row: dict[str, Any], folder: Path) -> str:
    ours = Verdict(**row).ours()
    tags = ", ".join(text for text in (row["data"], row["category"], row["protocol"]) if text and text != "none")
    cells = (row["key"], row["printed"], f"{ours} ({tags})" if tags else ours, _floors(row, folder), row["verdict"])
    return "| " + " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in cells) + " |"


def _floors(row: dict[str, Any], folder: Path) -> str:
    """Means of the methods `flat` and `mean` in the folder's table.csv, on the verdict's category and error column."""
    table = folder / "table.csv"
    if not row["category"] or not row["column"] or not table.exists():
        return ""
    with open(table, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if rows and row["column"] not in rows[0]:
        raise ValueError(f"{table}: has no column {row['column']!r}, which the verdict on {row['key']} was measured in")
    texts = []
    for method in _FLOORS:
        same = (r for r in rows if (r["data"], r["category"], r["method"]) == (row["data"], row["category"], method))
        values = [float(r[row["column"]]) for r in same if r[row["column"]]]
        if values:
            texts.append(f"{method} {fmean(values):.4g}")
    return ", ".join(texts)
