"""The page needs nothing but itself: pictures inside, links that lead somewhere, nothing from a network, same bytes."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from ledger_results import direction, finish, notebooks

from lfmlib import files, ledger, page, page_parts, verdicts
from lfmlib.report import Report
from lfmlib.studies import ledger_figures

VOID = {"meta", "link", "img", "br", "input"}
HERE = Path(page.__file__).parent

pytestmark = pytest.mark.usefixtures("no_git")


class Reader(HTMLParser):
    """Every element with its attributes, the text by element, and whether all that opened was closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.faults, self.words = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        self.faults += [f"<{tag}> has {name} twice" for name in set(names) if names.count(name) > 1]
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes something else")

    def handle_data(self, text):
        self.words.append(text)

    def of(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two finished notebooks, an unfinished one, the ledger's own figures; drawn once, changed by no test."""
    root = tmp_path_factory.mktemp("root")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LFM_ROOT", str(root))
        patch.setenv("LFM_RESULTS", str(root / "results"))
        notebooks(root, "04_y", "05_x", "11_z")
        finish("05_x", [direction("T2-chair", note="<script>alert(1)</script> & 'quoted'")], scene=True)
        folder = finish("11_z", [direction("PROP1", 20.0), verdicts.statement("CAT-45", None, evidence="counted")])
        (folder / "executed.ipynb").unlink()
        files.write_text(root / "results" / "cpu" / "04_y" / "fig_old.png", "from a run that was cut off")
        found, report = ledger.read("cpu"), Report("99_report")
        report.figure(ledger_figures.figure_radar(found), "fig_radar")
        report.figure(ledger_figures.figure_bars(found), "fig_bars")
        page.write(found)
    return root


@pytest.fixture
def tree(root, monkeypatch):
    monkeypatch.setenv("LFM_RESULTS", str(root / "results"))
    return ledger.read("cpu", root)


@pytest.fixture(scope="module")
def path(root):
    return root / "results" / "cpu" / "index.html"


@pytest.fixture(scope="module")
def read(path):
    return Reader(path.read_text(encoding="utf-8"))


def test_the_page_is_well_formed(read):
    assert not read.faults and not read.open
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert read.of("html")[0]["lang"] == "en" and len(read.of("h1")) == 1 and read.of("main")


def test_every_picture_is_inside_and_described(read, tree):
    pictures = read.of("img")
    assert len(pictures) == 2 + 2 * 2, "the ledger's two figures and those of two finished notebooks"
    for picture in pictures:
        kind, _, content = picture["src"].partition(";base64,")
        start = {"data:image/png": b"\x89PNG", "data:image/svg+xml": b"<?xml"}[kind]
        assert base64.b64decode(content, validate=True).startswith(start)
        assert len(picture["alt"]) > len("05_x: ")
    alternatives = [picture["alt"] for picture in pictures]
    assert "05_x: Error at the last step (wide)" in alternatives, "the section's heading and the figure's name"
    assert "05_x: narrow" in alternatives and "11_z: wide" in alternatives, "the name where no section draws it"


def test_the_smaller_file_of_a_figure_is_taken_and_a_wide_one_gets_the_row():
    folder = finish()
    for small, large in ((".svg", ".png"), (".png", ".svg")):
        kept = (folder / f"fig_narrow{small}").read_bytes()
        (folder / f"fig_narrow{large}").write_bytes((folder / f"fig_narrow{large}").read_bytes() + b" " * len(kept) * 9)
        shown = page_parts.figures(folder, {})
        assert base64.b64encode(kept).decode() in shown
        (folder / f"fig_narrow{small}").write_bytes(kept + b" " * len(kept) * 99)
    assert shown.count("<figure>") == 1 and shown.count("<figure class='wide'>") == 1


def test_nothing_comes_from_elsewhere(read, path):
    ids = {attributes.get("id") for _, attributes in read.elements}
    links = [a["href"] for a in read.of("a", "link")]
    for link in links:
        if link.startswith("#"):
            assert link[1:] in ids
        elif link != "data:,":
            assert not re.match(r"[a-z]+:|/|\.\.", link) and (path.parent / link).is_file(), link
    assert {"05_x/executed.ipynb", "05_x/turn.html"} <= set(links)
    assert not read.of("iframe", "object", "embed", "base") and not any("src" in a for a in read.of("script"))
    style, script = ((HERE / f"page.{kind}").read_text() for kind in ("css", "js"))
    assert "url(" not in style and "@import" not in style
    assert not re.search(r"fetch|XMLHttpRequest|import\(|https?:|innerHTML|eval", script)


def test_the_same_results_give_the_same_bytes(path, tree):
    first = path.read_bytes()
    assert page.write(tree) == path and path.read_bytes() == first
    assert len(first) < 15e6


def test_what_others_wrote_is_text(read, path):
    text = path.read_text(encoding="utf-8")
    assert text.count("<script>") == 1 and "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#x27;quoted" in text
    words = " ".join(read.words)
    assert "best <error>" in words and "17.54" in words and "a | b <i>" in words and "05 A title & more" in words


def test_tables_scroll_in_named_boxes_and_have_headers(read):
    boxes = [a for a in read.of("div") if "scroll" in a.get("class", "")]
    assert len(boxes) == len(read.of("table")) >= 5
    assert all(box["role"] == "region" and box["aria-label"] and box["tabindex"] == "0" for box in boxes)
    assert {a.get("scope") for a in read.of("th")} == {"col", "row"}


def test_the_filter_knows_every_row(read, tree):
    buttons = [a["data-verdict"] for a in read.of("button")]
    rows = [a["data-verdict"] for a in read.of("tr") if "data-verdict" in a]
    assert len(rows) == len(tree.rows) and set(buttons) == {"", *rows}
    assert any("hidden" in a for a in read.of("div") if a.get("id") == "filter"), "without scripts there is no filter"
    script = (HERE / "page.js").read_text()
    ids = {a.get("id") for _, a in read.elements}
    assert set(re.findall(r'getElementById\("(\w+)"\)', script)) | {"claims"} <= ids and "#claims" in script


def test_an_unfinished_notebook_is_said_not_shown(read):
    words = " ".join(read.words)
    assert "Not run to its end in this profile." in words and any(a.get("id") == "04_y" for a in read.of("h2"))
    assert not any("old" in a["alt"] for a in read.of("img"))


def test_the_page_of_no_results_is_a_page(tmp_path):
    read = Reader(page.html(ledger.read("full", tmp_path)))
    assert not read.faults and not read.of("img") and len(read.of("table")) == 3


def _luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_text_can_be_read_in_light_and_dark():
    light, dark = re.findall(r":root \{(.*?)\}", (HERE / "page.css").read_text(), re.DOTALL)
    for block in (light, dark):
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
        for ink in ("ink", "soft", "link", "good", "near", "bad", "torn", "mute"):
            for ground in ("paper", "raised"):
                low, high = sorted((_luminance(colours[ink]), _luminance(colours[ground])))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground)


def test_every_verdict_has_a_colour():
    style = (HERE / "page.css").read_text()
    for state in (*ledger.STATES, ledger.CONTEXT):
        assert f".{page_parts.css_class(state)}" in style
