"""Results are written whole or not at all, the same bytes each time, in one format; the README says what they say."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lfmlib import files, provenance, readme, report, verdicts
from lfmlib.report import Report

ROW = {
    "data": "real",
    "category": "human17_cmu",
    "method": "flat",
    "seed": 0,
    "o3": 20.2,
    "so3": 40,
    "flip": 30,
    "mm": 89.2,
}


@pytest.fixture
def table() -> pd.DataFrame:
    errors = {"flat": 20.2, "mean": 20.0, "ours": 17.123456789}
    return pd.DataFrame([ROW | {"method": m, "seed": s, "o3": e + s} for m, e in errors.items() for s in range(3)])


def plot():
    from matplotlib.figure import Figure

    figure = Figure()
    ax = figure.subplots()
    ax.plot([0, 1], [1, 2], label="line")
    ax.fill_between([0, 1], [0, 1], [2, 3])
    ax.legend()
    return figure


def finish(folder_name: str = "05_x", profile: str = "cpu", **figures) -> Report:
    out = Report(folder_name, profile=profile, steps=3)
    out.table(pd.DataFrame([ROW, ROW | {"method": "mean", "o3": 20.0}]))
    rows = [
        verdicts.direction(
            "T2-chair",
            [1.0, 1.1, 0.9],
            [9.0, 9.1, 9.2],
            data="real",
            category="human17_cmu",
            column="o3",
            protocol="O(3)",
            unit="%",
        ),
        verdicts.statement("PROP1", True, evidence="holds to 1e-7"),
    ]
    out.verdicts(rows)
    out.close(best=17.5)
    return out


def test_a_table_has_six_digits_and_the_same_bytes(results, table):
    out = Report("05_x", profile="smoke")
    assert out.table(table) is table
    path = results / "smoke" / "05_x" / "table.csv"
    first = path.read_bytes()
    assert first.splitlines()[7].split(b",")[4] == b"17.1235" and b"\r" not in first
    out.table(table)
    assert path.read_bytes() == first


@pytest.mark.parametrize("column", report.RESULT_COLUMNS)
def test_a_table_of_results_has_every_column(table, column, results):
    with pytest.raises(ValueError, match=rf"table.csv: a table of results needs column '{column}'"):
        Report("05_x").table(table.drop(columns=column))
    assert not list(results.rglob("*.csv"))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("data", "fake", "column 'data' holds 'fake'"),
        ("o3", -1.0, "negative error, -1"),
        ("method", None, "'method' is empty in row 0"),
    ],
)
def test_a_table_of_results_makes_sense(table, column, value, message):
    table.loc[0, column] = value
    with pytest.raises(ValueError, match=message):
        Report("05_x").table(table)


def test_a_run_that_diverged_and_data_without_metres_may_be_written(table):
    table.loc[0, ["o3", "mm"]] = np.nan
    Report("05_x").table(table)


def test_another_table_may_have_any_columns():
    Report("05_x").table(pd.DataFrame({"encoding": ["rff"], "condition": [1.6]}), "conditioning")


def test_figures_have_the_same_bytes_each_time(results):
    folder, out = results / "cpu" / "05_x", Report("05_x")
    out.figure(plot(), "fig")
    first = [(folder / name).read_bytes() for name in ("fig.png", "fig.svg")]
    out.figure(plot().axes[0], "fig")  # an axes is as good as its figure
    assert [(folder / name).read_bytes() for name in ("fig.png", "fig.svg")] == first
    assert first[0].startswith(b"\x89PNG") and b"<svg" in first[1] and b"dc:date" not in first[1]


def test_scenes_share_one_script(results):
    from plotly import graph_objects

    out = Report("05_x")
    out.scene(graph_objects.Figure(graph_objects.Scatter3d(x=[0], y=[1], z=[2])), "scene")
    page = (results / "cpu" / "05_x" / "scene.html").read_text()
    assert len(page) < 30_000 and 'src="../../plotly.min.js"' in page and 'id="05_x-scene"' in page
    assert (results / "plotly.min.js").stat().st_size > 1_000_000
    assert page.index("plotly.min.js") < page.index("https://cdn.plot.ly/plotly-") < page.index("Plotly.newPlot")
    assert "<\\/script>')</script>" in page  # an unescaped one would end the script that writes it
    out.scene(graph_objects.Figure(graph_objects.Scatter3d(x=[0], y=[1], z=[2])), "scene")
    assert (results / "cpu" / "05_x" / "scene.html").read_text() == page


def test_records_become_plain_numbers(results):
    rows = [
        {"a": np.float32(0.5), "b": torch.tensor([1, 2]), "c": float("nan"), "d": Path("x"), 5: {"e": (True, None)}}
    ]
    Report("05_x").records(rows)
    stored = files.read_json(results / "cpu" / "05_x" / "records.json")
    assert stored == [{"a": 0.5, "b": [1, 2], "c": None, "d": "x", "5": {"e": [True, None]}}]
    with pytest.raises(ValueError, match="of type object, which JSON has no word for"):
        Report("05_x").records([{"a": object()}])
    assert files.read_json(results / "cpu" / "05_x" / "records.json") == stored


def test_the_summary_tells_all_and_old_files_go(results):
    folder = results / "cpu" / "05_x"
    folder.mkdir(parents=True)
    for name in ("old.csv", "old.png", "old.svg", "old.html", "old.json"):
        (folder / name).write_text("from another run")
    for name in ("executed.ipynb", "notes.txt"):
        (folder / name).write_text("not ours to remove")
    finish()
    summary = files.read_json(folder / "summary.json")
    assert {path.name for path in folder.iterdir()} == {
        "executed.ipynb",
        "notes.txt",
        *summary["files"],
        "summary.json",
    }
    assert summary["files"] == ["table.csv", "verdicts.csv"]
    assert (
        summary["parameters"] == {"steps": 3} and summary["headline"] == {"best": 17.5} and summary["profile"] == "cpu"
    )
    assert [row["verdict"] for row in summary["verdicts"]] == [verdicts.REPRODUCED] * 2
    assert {"cpu", "cores", "os", "gpu", "python", "torch", "lfmlib"} == set(summary["machine"])
    assert summary["date"].endswith("+00:00")
    assert os.uname().nodename not in json.dumps(summary["machine"])


def test_a_run_that_was_cut_off_has_no_summary(results, table):
    finish()
    out = Report("05_x")
    assert (results / "cpu" / "05_x" / "summary.json").exists()  # nothing new yet: the old run still stands
    out.table(table)
    assert not (results / "cpu" / "05_x" / "summary.json").exists()


@pytest.mark.parametrize("what", ["table", "figure", "scene", "records", "close"])
def test_a_full_disk_leaves_no_partial_file(results, table, monkeypatch, what):
    from plotly import graph_objects

    out, folder = Report("05_x"), results / "cpu" / "05_x"
    (results / "plotly.min.js").write_text("an older one")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    acts = {
        "table": lambda: out.table(table),
        "figure": lambda: out.figure(plot(), "fig"),
        "scene": lambda: out.scene(graph_objects.Figure(), "scene"),
        "records": lambda: out.records([{"a": 1}]),
        "close": out.close,
    }
    with pytest.raises(OSError, match="could not be written, nothing was changed.*No space left"):
        acts[what]()
    assert list(folder.iterdir()) == [] and (results / "plotly.min.js").read_text() == "an older one"


def test_an_unwritable_folder_is_named_at_once(results):
    (results / "cpu").write_text("a file where a folder should be")
    with pytest.raises(OSError, match="results folder cannot be written.*LFM_RESULTS") as caught:
        Report("05_x")
    assert str(results / "cpu" / "05_x") in str(caught.value)


@pytest.mark.parametrize("names", [("../x", "cpu"), ("05_x", "a/b"), ("", "cpu")])
def test_names_are_folder_names(names):
    with pytest.raises(ValueError, match="must be a plain folder name"):
        Report(names[0], profile=names[1])


def test_the_root_may_be_named(tmp_path, monkeypatch):
    monkeypatch.delenv("LFM_RESULTS")
    monkeypatch.setenv("LFM_ROOT", str(tmp_path))
    assert Report("05_x").folder == tmp_path.resolve() / "results" / "cpu" / "05_x"
    assert provenance.commit() == {"commit": None, "dirty": None}  # no repository there
    monkeypatch.setenv("LFM_ROOT", str(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError, match="LFM_ROOT=.*absent.* is not a folder"):
        provenance.repository_root()


def test_the_commit_and_whether_the_code_differs(tmp_path):
    import subprocess

    def git(*arguments):
        subprocess.run(["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *arguments], check=True)

    git("init", "-q")
    (tmp_path / "code.py").write_text("1")
    git("add", ".")
    git("commit", "-qm", "first")
    assert provenance.commit(tmp_path)["dirty"] is False and len(provenance.commit(tmp_path)["commit"]) == 40
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "table.csv").write_text("a result makes no code dirty")
    assert provenance.commit(tmp_path)["dirty"] is False
    (tmp_path / "code.py").write_text("2")
    assert provenance.commit(tmp_path)["dirty"] is True


# --- the README


@pytest.fixture
def house(tmp_path, monkeypatch) -> Path:
    monkeypatch.delenv("LFM_RESULTS")
    monkeypatch.setenv("LFM_ROOT", str(tmp_path))
    (tmp_path / "README.md").write_text(f"# Title\n\n{readme.BEGIN}\nstale\n{readme.END}\n\nafter\n")
    finish()
    return tmp_path


def test_the_readme_is_drawn_from_the_results(house, capsys):
    assert report.main(["readme", "--check"]) == 1 and "stale" in (house / "README.md").read_text()
    assert report.main(["readme"]) == 0
    text = (house / "README.md").read_text()
    assert report.main(["readme", "--check"]) == 0
    assert text.startswith("# Title\n") and text.endswith("\n\nafter\n") and "stale" not in text
    ours = "lower by 8.1 ± 0.17 %, 3 seeds (real, human17_cmu, O(3))"
    assert f"| T2-chair | 38.2->5.7 | {ours} | flat 20.2, mean 20 |" in text
    assert "| PROP1 | f(PX)=Pf(X) and L2D invariant | holds to 1e-7 (property test) |" in text
    assert "**not run**: T1-C3DPO-P3D" in text and "| Table 2 | 8 | 1 |" in text
    assert "profile `full`" not in text
    full = house / "results" / "full" / "12_beyond"
    full.mkdir(parents=True)
    (full / readme.TABLE).write_text("category,recipe\nbus,2.0 ± 0.1\n")
    assert report.main(["readme"]) == 0
    text = (house / "README.md").read_text()
    assert "`12_beyond` of profile `full`" in text and "| bus | 2.0 ± 0.1 |" in text
    (house / "results" / "cpu" / "05_x" / "table.csv").write_text(
        "data,category,method,seed,o3\nreal,human17_cmu,flat,0,9\n"
    )
    assert report.main(["readme", "--check"]) == 1  # a changed result is noticed
    assert "differs" in capsys.readouterr().err


def test_a_readme_that_cannot_be_drawn_says_why(house, capsys):
    assert report.main(["readme", "--profile", "full"]) == 2
    assert "no finished results; make them with ./run_all.sh --profile full" in capsys.readouterr().err
    (house / "results" / "cpu" / "05_x" / "summary.json").write_text('{"verdicts": [')
    assert report.main(["readme"]) == 2 and "summary.json: not a JSON file" in capsys.readouterr().err
    (house / "results" / "cpu" / "05_x" / "summary.json").write_text("{}")
    assert report.main(["readme"]) == 2 and "not a summary" in capsys.readouterr().err
    (house / "README.md").write_text("no markers")
    assert report.main(["readme"]) == 2 and readme.BEGIN in capsys.readouterr().err


def test_this_readme_says_what_the_committed_results_say(root, monkeypatch):
    monkeypatch.delenv("LFM_RESULTS")
    if not list((root / "results" / "cpu").glob("*/summary.json")):
        pytest.skip("no results of the cpu profile here")
    assert readme.update("cpu", root, write=False), "run `python -m lfmlib.report readme`"


def test_the_data_page_says_what_the_code_says(root):
    assert readme.update_data_page(root, write=False), "run `python -m lfmlib.report data`"


def test_a_page_without_its_markers_is_left_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- a:begin -->old<!-- a:end --> kept <!-- b:end --><!-- b:begin -->")
    assert not readme.fill(page, {"a": lambda: "new"}, write=False) and "old" in page.read_text()
    with pytest.raises(ValueError, match="needs one line <!-- b:begin -->"):
        readme.fill(page, {"a": lambda: "new", "b": lambda: "newer"})
    assert "old" in page.read_text()
    assert not readme.fill(page, {"a": lambda: "new"}) and readme.fill(page, {"a": lambda: "new"})
    assert page.read_text() == "<!-- a:begin -->\nnew\n<!-- a:end --> kept <!-- b:end --><!-- b:begin -->"
