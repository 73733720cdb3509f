"""Pieces of HTML that the page is made of: tables in boxes that scroll, figures as data URIs, folded parts, links."""

import base64
import struct
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from lfmlib import files

_KINDS = {".svg": "image/svg+xml", ".png": "image/png"}
_WIDE = 1.8  # width over height from which a figure takes the whole row: it has several panels beside each other
_LONG = 30  # characters from which a cell may break into lines


class Html(str):
    """Text that is HTML already; every other text is escaped."""


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], label: str, tall: bool = False) -> Html:
    """A table in a box of its own that scrolls; the first cell of a row is its header.

    Args:
        header: column names.
        rows: the values of each row.
        label: what a screen reader calls the box.
        tall: the box has a height of its own too.
    """
    return table_of(header, [("", row) for row in rows], label, tall)


def table_of(header: Sequence[str], rows: Iterable[tuple[str, Sequence[Any]]], label: str, tall: bool = False) -> Html:
    """`table` with a verdict per row, by which the page's script filters it."""
    head = "".join(f"<th scope='col'>{text(name)}</th>" for name in header)
    tags = ((f" data-verdict='{text(tag)}'" if tag else "", row) for tag, row in rows)
    body = "\n".join(f"<tr{tag}>{_cells(row)}</tr>" for tag, row in tags)
    return Html(
        f"<div class='scroll{' tall' if tall else ''}' role='region' aria-label='{text(label)}' tabindex='0'>\n"
        f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def text(value: Any) -> Html:
    """A value as HTML."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def lines(*parts: Any) -> Html:
    """Texts below each other; empty ones are left out."""
    return Html("<br>".join(text(part) for part in parts if part))


def soft(value: Any) -> Html:
    """Text of less weight."""
    return Html(f"<span class='soft'>{text(value)}</span>" if value else "")


def verdict(state: str) -> Html:
    """A verdict in its colour."""
    return Html(f"<span class='verdict {css_class(state)}'>{text(state)}</span>")


def css_class(state: str) -> str:
    """The name that page.css has for a verdict."""
    return state.replace(" ", "-")


def link(folder: Path, path: str, words: str = "") -> Html:
    """A link to a file below the page's folder; only its words where there is no such file."""
    shown = text(words or path)
    return Html(f"<a href='{text(path)}'>{shown}</a>") if (folder / path).is_file() else shown


def folded(summary: str, content: Html) -> Html:
    """A part that opens when its summary is clicked."""
    return Html(f"<details>\n<summary>{text(summary)}</summary>\n{content}\n</details>")


def headings(executed: Path) -> dict[str, str]:
    """What an executed notebook says of its figures and scenes: their name -> the heading of the section that draws it.

    The notebook's own title stands under "". Empty where there is no such notebook.
    """
    if not executed.exists():
        return {}
    found: dict[str, str] = {}
    heading = ""
    for cell in files.read_json(executed)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            heading = next((line.lstrip("# ") for line in source.splitlines() if line.startswith("#")), heading)
            found.setdefault("", heading)
        else:
            for quoted in source.split('"')[1::2]:
                found.setdefault(quoted, heading)
    return found


def figures(folder: Path, titles: dict[str, str]) -> Html:
    """Every figure of a folder, the smaller of its .svg and .png inside the page.

    Args:
        folder: results of one notebook.
        titles: what the figures show, by name; it is their alternative text, beside their name.
    """
    names = sorted({path.stem for kind in _KINDS for path in folder.glob(f"[!.]*{kind}")})
    shown = [_figure(folder, name, titles.get(name, "")) for name in names]
    return Html("<div class='figures'>\n" + "\n".join(shown) + "\n</div>" if shown else "")


def _figure(folder: Path, name: str, title: str) -> str:
    path = min((p for kind in _KINDS if (p := folder / f"{name}{kind}").exists()), key=lambda p: p.stat().st_size)
    source = f"data:{_KINDS[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"
    words = name.removeprefix("fig_").replace("_", " ")
    wide = " class='wide'" if _aspect(folder / f"{name}.png") > _WIDE else ""
    caption = f"{title} ({words})" if title else words
    image = f"<img src='{source}' alt='{text(f'{folder.name}: {caption}')}' loading='lazy'>"
    return f"<figure{wide}>{image}<figcaption>{text(caption)}</figcaption></figure>"


def _aspect(png: Path) -> float:
    """Width over height by the picture's header; 1 where there is none."""
    if not png.exists():
        return 1.0
    width, height = struct.unpack(">II", png.read_bytes()[16:24])
    return width / height


def _cells(row: Sequence[Any]) -> str:
    first, *others = (text(value) for value in row)
    return f"<th scope='row'>{first}</th>" + "".join(
        f"<td{' class=long' if len(value) > _LONG else ''}>{value}</td>" for value in others
    )
