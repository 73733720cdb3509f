"""Notebooks are thin: claim, parameters, set-up, measure, a cell per figure, verdict; nothing stored or defined."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

from lfmlib import profiles

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
MAX_CELL, MAX_FIGURE, MAX_PARAMETERS = 17, 10, 6
FORBIDDEN = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def complaints(notebook: nbformat.NotebookNode, name: str) -> list[str]:
    """Everything about a notebook that breaks the house's rules."""
    found = []
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    tagged = {tag: [c for c in code if tag in c.metadata.get("tags", [])] for tag in ("parameters", "setup", "verdict")}
    first = notebook.cells[0] if notebook.cells else None
    if first is None or first.cell_type != "markdown" or not first.source.startswith("# "):
        found.append("the first cell is no markdown title")
    for word in ("Claim", "Test", "Cost"):
        if first and not re.search(rf"\*\*{word}\.?\*\*", first.source):
            found.append(f"the first cell lacks **{word}**")
    found += [f"{len(cells)} cells tagged {tag}, expected one" for tag, cells in tagged.items() if len(cells) != 1]
    if code and "verdict" not in code[-1].metadata.get("tags", []):
        found.append("the last code cell is not the verdict")
    if len(tagged["parameters"]) == 1:
        try:
            known = profiles.declared(notebook, name)
            found += ["no parameter `profile`"] * ("profile" not in known)
            found += [f"{len(known)} parameters, at most {MAX_PARAMETERS}"] * (len(known) > MAX_PARAMETERS)
        except ValueError as error:
            found.append(str(error))
    for number, cell in enumerate(code):
        found += [f"code cell {number}: {text}" for text in cell_complaints(cell)]
    return found


def cell_complaints(cell: nbformat.NotebookNode) -> list[str]:
    lines = cell.source.splitlines()
    found = []
    if cell.get("outputs") or cell.get("execution_count") is not None:
        found.append("has stored output or an execution count")
    if any(re.match(r"\s*[!%]|\s*(?:pip|conda) ", line) for line in lines):
        return [*found, "has a magic, shell or install line"]
    limit = MAX_FIGURE if re.search(r"\.(?:figure|scene)\(", cell.source) else MAX_CELL
    if len(lines) > limit:
        found.append(f"has {len(lines)} lines, at most {limit}")
    for node in ast.walk(ast.parse(cell.source)):
        if isinstance(node, FORBIDDEN):
            found.append(f"defines something in line {node.lineno}")
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("input", "eval", "exec", "__import__"):
            found.append(f"calls {node.func.id}")
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or "."] if isinstance(node, ast.ImportFrom) else []
        found += [f"imports {module}" for module in modules if module.split(".")[0] != "lfmlib"]
    return found


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_notebook_keeps_the_house_rules(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert complaints(notebook, path.stem) == []
    assert re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem), "notebooks are called NN_name"


def test_numbers_are_unique():
    numbers = [path.name[:2] for path in PATHS]
    assert len(numbers) == len(set(numbers))


def test_every_profile_fits_its_notebooks():
    sections = profiles.read(FOLDER / "profiles.yml")
    assert set(sections) == {"smoke", "cpu", "full"}
    paths = {path.name[:2]: path for path in PATHS}
    for profile, section in sections.items():
        for number in set(section) - set(profiles.NUMBERS):
            assert number in paths, f"profile {profile} names notebook {number}, which is not there"
            name = paths[number].stem
            profiles.check(name, section[number], profiles.declared(nbformat.read(paths[number], as_version=4), name))


def good() -> nbformat.NotebookNode:
    v4 = nbformat.v4
    tags = {"tags": ["parameters"]}, {"tags": ["setup"]}, {"tags": ["verdict"]}
    return v4.new_notebook(
        cells=[
            v4.new_markdown_cell("# Title\n**Claim** c\n**Test** t\n**Cost** c"),
            v4.new_code_cell('profile = "cpu"\nsteps = 3', metadata=tags[0]),
            v4.new_code_cell(
                "from lfmlib import Report, plots\nreport = Report('05_x', profile=profile)", metadata=tags[1]
            ),
            v4.new_code_cell("report.close()", metadata=tags[2]),
        ]
    )


def test_the_rules_accept_a_good_notebook():
    assert complaints(good(), "x") == []


@pytest.mark.parametrize(
    ("cell", "source", "complaint"),
    [
        (0, "Title **Claim** **Test** **Cost**", "no markdown title"),
        (0, "# T\n**Claim** **Test**", "lacks **Cost**"),
        (1, "steps = 3", "no parameter `profile`"),
        (1, "\n".join(f"p{i} = {i}" for i in range(6)) + "\nprofile = 'x'", "7 parameters"),
        (1, "profile = str(3)", "not `name = literal`"),
        (2, "import torch", "imports torch"),
        (2, "from matplotlib import pyplot", "imports matplotlib"),
        (2, "def f():\n    pass", "defines something"),
        (2, "f = lambda x: x", "defines something"),
        (2, "class A:\n    pass", "defines something"),
        (2, "x = input()", "calls input"),
        (2, "%matplotlib inline", "magic"),
        (2, "!ls", "magic"),
        (2, "pip install x", "magic"),
        (2, "x = 1\n" * 18, "18 lines"),
        (3, "report.figure(fig, 'a')\n" + "x = 1\n" * 10, "11 lines"),
    ],
)
def test_the_rules_can_be_broken(cell, source, complaint):
    notebook = good()
    notebook.cells[cell].source = source
    assert any(complaint in text for text in complaints(notebook, "x"))


def test_the_rules_see_tags_and_stored_output():
    for cell, complaint in ((1, "tagged parameters"), (2, "tagged setup"), (3, "is not the verdict")):
        notebook = good()
        notebook.cells[cell].metadata = nbformat.NotebookNode()
        assert any(complaint in text for text in complaints(notebook, "x"))
    notebook = good()
    notebook.cells[3].execution_count = 1
    notebook.cells[2].outputs = [nbformat.v4.new_output("stream", text="x")]
    assert sum("stored output" in text for text in complaints(notebook, "x")) == 2
