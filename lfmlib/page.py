"""index.html of a profile: every figure, table and verdict of its notebooks on one page that needs nothing but itself.

Figures are inside the page; scenes and executed notebooks are linked beside it. The same results give the same bytes.
"""

import csv
import json
from pathlib import Path

from lfmlib import contradictions, files, ledger_report, readme
from lfmlib.ledger import CONTEXT, NAME, STATES, Ledger, Notebook, Row
from lfmlib.page_parts import (
    Html,
    css_class,
    figures,
    folded,
    headings,
    lines,
    link,
    soft,
    table,
    table_of,
    text,
    verdict,
)

PAGE = "index.html"
_SHORT = 8  # rows of headline numbers that are shown without a click
# of the ledger's own figures: its notebook is executed only after the page is written
_TITLES = {
    "fig_bars": "Claims per part of the papers and verdict",
    "fig_radar": "Share of each part's claims per verdict",
}


def write(ledger: Ledger) -> Path:
    """Writes results/<profile>/index.html and returns its path."""
    path = ledger.folder / PAGE
    files.write_text(path, html(ledger))
    return path


def html(ledger: Ledger) -> str:
    """The page's text."""
    here = Path(__file__)
    style, script = (here.with_suffix(kind).read_text(encoding="utf-8") for kind in (".css", ".js"))
    sections = [_verdicts(ledger), _contradictions(ledger)]
    sections += [_notebook(notebook, ledger) for notebook in ledger.notebooks]
    sections.append(_provenance(ledger))
    content = "\n".join(f"<section>\n{section}\n</section>" for section in sections)
    return f"""<!doctype html>
<html lang='en'>
<head>
<meta charset='utf-8'>
<meta name='viewport' content='width=device-width, initial-scale=1'>
<link rel='icon' href='data:,'>
<title>2D-LFM and 3D-LFM, measured: profile {text(ledger.profile)}</title>
<style>
{style}</style>
</head>
<body>
{_header(ledger)}
<main id='content'>
{content}
</main>
<script>
{script}</script>
</body>
</html>
"""


def _header(ledger: Ledger) -> str:
    tiles = "".join(
        f"<li class='{css_class(state)}'><b>{count}</b><span>{state}</span></li>"
        for state, count in ledger.counts.items()
    )
    anchors = {"verdicts": "Verdicts", "contradictions": "Contradictions"}
    anchors |= {notebook.name: notebook.name.replace("_", " ") for notebook in ledger.notebooks}
    anchors |= {"provenance": "Provenance"}
    items = "".join(f"<li><a href='#{text(anchor)}'>{text(words)}</a></li>" for anchor, words in anchors.items())
    return f"""<a class='skip' href='#content'>Skip to the content</a>
<header>
<h1>2D-LFM and 3D-LFM, measured</h1>
<p>{sum(ledger.counts.values())} claims of two papers beside what the notebooks of profile <b>{text(ledger.profile)}</b>
measured: the printed value, ours, the floors, and a verdict by a rule that was fixed before any run.</p>
<ul class='tiles'>{tiles}</ul>
</header>
<nav aria-label='Sections'><ul>{items}</ul></nav>"""


def _verdicts(ledger: Ledger) -> str:
    states = [state for state in (*STATES, CONTEXT) if any(row.state == state for row in ledger.rows)]
    buttons = "".join(
        f"<button type='button' data-verdict='{state}' aria-pressed='false'>{state or 'all'}</button>"
        for state in ("", *states)
    )
    header = ("claim", "paper", "ours", "verdict", "evidence")
    rows = [(row.state, _claim(row, ledger)) for row in ledger.rows]
    return f"""<h2 id='verdicts'>Verdicts</h2>
<p>Where several rows judge a claim, the one on the data it was printed for speaks, then real data before synthetic,
then the worst verdict. Errors are PA-MPJPE in % of a category's RMS radius, or in millimetres. The floors are the flat
answer (<i>flat</i>) and the rigid mean shape (<i>mean</i>), which uses 3D.{_short(ledger)}</p>
{figures(ledger.folder / NAME, _TITLES)}
<div class='filter' id='filter' role='group' aria-label='Filter the claims' hidden>{buttons}
<label>with the words <input type='search'></label><span id='shown' class='soft' role='status'></span></div>
<div id='claims'>{table_of(header, rows, "Claims", tall=True)}</div>"""


def _short(ledger: Ledger) -> str:
    return "" if ledger.profile == "full" else f" {text(ledger_report.SHORT.replace('*', '').replace('`', ''))}"


def _claim(row: Row, ledger: Ledger) -> tuple[Html, ...]:
    what = f"{row.claim.paper}, {row.claim.where}: {row.claim.setting}, {row.claim.dataset}".removesuffix(", -")
    paper = f"{row.claim.printed} {row.claim.unit}".removesuffix(" statement").removesuffix(" direction")
    found = ledger_report.floor_text(row, ledger)
    on = ledger_report.measured_on(row.best.verdict) if row.best else ""
    ours = lines(row.ours, soft(on), soft(f"floors: {found}" if found else ""))
    votes = soft(row.votes if len(row.judged) > 1 else "")
    shown = lines(link(ledger.folder, row.best.evidence), soft(row.best.verdict.note)) if row.best else Html()
    verdict_cell = lines(verdict(row.state), votes)
    return lines(row.claim.key, soft(what)), text(paper), ours, verdict_cell, lines(shown, soft(row.how))


def _contradictions(ledger: Ledger) -> str:
    found = contradictions.load()
    rows = [(entry.what, lines(*entry.versions), lines(*entry.answers(ledger)), entry.rule) for entry in found]
    header = ("what", "printed", "measured", "how it is answered")
    return f"""<h2 id='contradictions'>{len(found)} contradictions in the papers</h2>
<p>What the papers print in more than one version, and what was measured instead of choosing one.</p>
{table(header, rows, "Contradictions", tall=True)}"""


def _notebook(notebook: Notebook, ledger: Ledger) -> str:
    titles = headings(notebook.folder / "executed.ipynb")
    title = f"<h2 id='{text(notebook.name)}'>{text(titles.get('') or notebook.name.replace('_', ' '))}</h2>"
    if not notebook.finished:
        return f"{title}\n<p>Not run to its end in this profile.</p>"
    parts = [title, _links(notebook, titles)]
    if headline := notebook.summary["headline"]:
        rows = [(name, f"{value:.4g}" if isinstance(value, float) else value) for name, value in headline.items()]
        shown = table(("headline number", "value"), rows, f"{notebook.name}: headline numbers", tall=True)
        parts.append(shown if len(rows) <= _SHORT else folded(f"{len(rows)} headline numbers", shown))
    if (notebook.folder / readme.TABLE).exists():
        with open(notebook.folder / readme.TABLE, encoding="utf-8", newline="") as file:
            header, *cells = csv.reader(file)
        parts.append(table(header, cells, f"{notebook.name}: results"))
    if rows := _verdict_rows(notebook, ledger):
        header = ("claim", "paper", "ours", "verdict", "note")
        parts.append(folded(f"{len(rows)} verdicts", table(header, rows, f"{notebook.name}: verdicts", tall=True)))
    return "\n".join((*parts, figures(notebook.folder, titles)))


def _links(notebook: Notebook, titles: dict[str, str]) -> str:
    """The executed notebook and the interactive scenes."""
    root = notebook.folder.parent
    links = [link(root, f"{notebook.name}/executed.ipynb", "executed notebook")] if titles else []
    for path in sorted(notebook.folder.glob("[!.]*.html")):
        links.append(link(root, f"{notebook.name}/{path.name}", f"interactive: {titles.get(path.stem) or path.stem}"))
    return f"<p class='soft'>{' · '.join(links)}</p>"


def _verdict_rows(notebook: Notebook, ledger: Ledger) -> list[tuple[Html, ...]]:
    found = [entry.verdict for row in ledger.rows for entry in row.judged if entry.notebook == notebook.name]
    return [
        (
            text(v.key),
            text(v.printed),
            lines(v.ours(), soft(ledger_report.measured_on(v))),
            verdict(v.verdict),
            text(v.note),
        )
        for v in found
    ]


def _provenance(ledger: Ledger) -> str:
    header = ("notebook", "state", "date", "commit", "machine", "parameters")
    rows = [
        (*line, json.dumps(notebook.summary.get("parameters", {}), sort_keys=True).strip("{}"))
        for line, notebook in zip(ledger_report.runs(ledger), ledger.notebooks, strict=True)
    ]
    return f"""<h2 id='provenance'>Provenance</h2>
<p>The page is made from these alone. A commit with * had files that differed from it.</p>
{table(header, rows, "Provenance")}"""
