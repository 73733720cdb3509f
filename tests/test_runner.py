"""The runner refuses what is misspelt before anything runs; an executed notebook and one line always remain."""

import json
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lfmlib import executed, profiles, runner

PROFILES = """
default:
  cell_timeout: 60
smoke:
  "01": {steps: 3, seeds: [0]}
  "02": {steps: 5}
cpu: {}
"""
PARAMETERS = 'profile = "cpu"\nsteps = 100\nrate = 0.5\nseeds = [0, 1]\nsnap = True'


def notebook(*code: str, parameters: str = PARAMETERS) -> nbformat.NotebookNode:
    cells = [new_markdown_cell("# title"), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    cells += [new_code_cell(text) for text in code]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    return new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "elsewhere", "display_name": "x", "language": "python"}}
    )


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small repository: 01 works, 02 fails in its second cell."""
    folder = tmp_path / "house"
    (folder / "notebooks").mkdir(parents=True)
    good = notebook(
        "import os, sys, lfmlib\nprint(profile, steps, seeds, os.getcwd(), sys.stderr.write('sa' + 'id\\n'))",
        "object()",
    )
    nbformat.write(good, folder / "notebooks" / "01_good.ipynb")
    bad = notebook("print('before')", "raise RuntimeError('no such luck\\nsecond line')", "print('never')")
    nbformat.write(bad, folder / "notebooks" / "02_bad.ipynb")
    (folder / "notebooks" / "profiles.yml").write_text(PROFILES)
    monkeypatch.setenv("LFM_ROOT", str(folder))
    return folder


def test_goes_on_after_a_failed_notebook(house, results, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(house / "no_home"))
    assert runner.main(["--profile", "smoke", "02", "1"]) == 1
    said = capsys.readouterr()
    bad, good = said.out.splitlines()
    assert bad.split()[:2] == ["02_bad", "failed"] and bad.endswith("RuntimeError: no such luck")
    assert good.split()[:2] == ["01_good", "ok"]
    assert (
        "said\n" in said.err and "WARNING" not in said.err and "1 of 2 notebooks failed" in said.err
    )  # a cell's progress reaches the terminal
    assert not (house / "no_home").exists()

    text = (results / "smoke" / "01_good" / "executed.ipynb").read_text()
    stored = nbformat.reads(text, as_version=4)
    nbformat.validate(stored)
    printed = [out["text"] for cell in stored.cells for out in cell.get("outputs", []) if out.get("name") == "stdout"]
    assert printed == ["smoke 3 [0] . 5\n"]  # the profile's parameters, at the repository root
    assert str(house) not in text and "said" not in text and "papermill" not in text and "0x..." in text
    failed = (results / "smoke" / "02_bad" / "executed.ipynb").read_text()
    assert "before" in failed and "no such luck" in failed and "An Exception was encountered" not in failed


@pytest.mark.parametrize("profile", ["smoke", "cpu"])
def test_notebooks_side_by_side_then_times_and_the_report_by_themselves(house, results, capfd, monkeypatch, profile):
    monkeypatch.setattr(runner, "usable_cores", lambda: 2)
    monkeypatch.delenv("LFM_WORKERS", raising=False)
    two = PROFILES.replace("cell_timeout: 60", "cell_timeout: 60\n  at_once: 2")
    (house / "notebooks" / "profiles.yml").write_text(two)
    nbformat.write(notebook("import time; time.sleep(1)"), house / "notebooks" / "03_slow.ipynb")
    count = f"import pathlib; print(len(list(pathlib.Path({str(results)!r}).rglob('executed.ipynb'))))"
    workers = "import os; print(os.environ.get('LFM_WORKERS'))"
    for name, text in (("99_report", count), ("11_times", f"{count}\n{workers}"), ("04_side", workers)):
        nbformat.write(notebook(text), house / "notebooks" / f"{name}.ipynb")
    assert runner.main(["--profile", profile]) == 1
    order = [line.split()[0] for line in capfd.readouterr().out.splitlines()][:6]
    late = ["99_report"] if profile == "smoke" else ["11_times", "99_report"]
    assert order[-len(late) :] == late
    assert set(order) == {"01_good", "02_bad", "03_slow", "04_side", "11_times", "99_report"}

    def said(name):
        stored = nbformat.read(results / profile / name / "executed.ipynb", as_version=4)
        return "".join(out["text"] for cell in stored.cells for out in cell.get("outputs", [])).split()

    assert (said("99_report"), said("04_side")) == (["5"], ["0"])
    assert said("11_times")[1] == "0" if profile == "smoke" else said("11_times") == ["4", "None"]


def test_a_cell_that_takes_too_long_is_a_failure(house, results):
    slow = notebook("print('started')", "import time\ntime.sleep(60)")
    outcome = runner.run(runner.Job("03", "03_slow", slow, {"profile": "smoke"}, 1), house)
    assert "Timeout" in outcome.error and outcome.seconds < 30
    assert "started" in (results / "smoke" / "03_slow" / "executed.ipynb").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "smok"], "unknown profile 'smok', expected one of smoke, cpu; did you mean 'smoke'?"),
        (["--profile", "default"], "unknown profile 'default'"),
        (["01", "07"], "no notebook 07; there are: 01, 02"),
    ],
)
def test_refuses_a_wrong_call(house, results, capsys, arguments, message):
    assert runner.main(arguments) == 2
    said = capsys.readouterr()
    assert message in said.err and not said.out and not list(results.rglob("*.ipynb"))


def test_refuses_an_unknown_option(house):
    with pytest.raises(SystemExit, match="2"):
        runner.main(["--profil", "cpu", "--fast"])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{stepz: 3}", "notebook 01_good declares no parameter 'stepz'; did you mean 'steps'?"),
        ("{zzz: 3}", "declares no parameter 'zzz'; declared: profile, steps, rate, seeds, snap"),
        ("{steps: 3.5}", "parameter steps = 3.5 is float, declared as 100 (int)"),
        ("{steps: '3'}", "parameter steps = '3' is str"),
        ("{steps: true}", "parameter steps = True is bool"),
        ("{snap: 1}", "parameter snap = 1 is int, declared as True (bool)"),
        ("{seeds: [a]}", "parameter seeds = ['a'] is list"),
        ("{rate: null}", "parameter rate = None is NoneType"),
    ],
)
def test_refuses_a_parameter_before_anything_runs(house, results, entry, message):
    (house / "notebooks" / "profiles.yml").write_text(f'cpu:\n  "01": {entry}\n')
    with pytest.raises(ValueError) as caught:
        runner.plan("cpu")
    assert message in str(caught.value)
    assert not list(results.rglob("*.ipynb"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cpu: [1, 2]", "expected {profile"),
        ("cpu: {cell_timeout: -1}", "cell_timeout is -1"),
        ("cpu: {cell_timeout: soon}", "cell_timeout is 'soon'"),
        ("cpu: {at_once: 0}", "at_once is 0"),
        ('cpu: {"01": 3}', "entry '01': 3"),
        ("cpu: {fast: {}}", "entry 'fast'"),
        ("cpu: [", "not YAML"),
        ("cpu: !!python/object/apply:os.getcwd []", "not YAML"),
        ('cpu: {"05": {}}', "no notebook 05; there are: 01, 02"),
    ],
)
def test_refuses_damaged_profiles(house, text, message):
    (house / "notebooks" / "profiles.yml").write_text(text)
    with pytest.raises(ValueError, match="profiles.yml") as caught:
        runner.plan("cpu", ["01"])
    assert message in str(caught.value)


def test_profiles_lie_over_the_default(tmp_path):
    path = tmp_path / "profiles.yml"
    path.write_text('default: {cell_timeout: 9, "05": {a: 1, b: 1}}\ncpu: {5: {b: 2}}\nfull: {cell_timeout: 7}\n')
    merged = profiles.read(path)
    assert merged["cpu"] == {"cell_timeout": 9, "at_once": 1, "05": {"a": 1, "b": 2}}
    assert merged["full"] == {"cell_timeout": 7, "at_once": 1, "05": {"a": 1, "b": 1}}
    assert "default" not in merged


def test_an_int_is_good_for_a_float_and_a_list_may_have_another_length():
    profiles.check("x", {"rate": 1, "seeds": [0, 1, 2]}, {"rate": 0.5, "seeds": [0]})


@pytest.mark.parametrize("source", ["steps = 3 + len('a')", "import os", "a = b = 1", "f(3)"])
def test_parameters_are_literals(source):
    with pytest.raises(ValueError, match=r"notebook x: .* is not `name = literal`"):
        profiles.declared(notebook(parameters=source), "x")


def test_one_parameters_cell():
    with pytest.raises(ValueError, match="notebook x: 0 cells tagged `parameters`"):
        profiles.declared(new_notebook(cells=[new_code_cell("a = 1")]), "x")


def test_refuses_an_unwritable_results_folder(house, results, capsys):
    (results / "cpu").write_text("a file where the folder should be")
    assert runner.main([]) == 2
    said = capsys.readouterr().err
    assert "results folder cannot be written" in said and str(results / "cpu") in said and "LFM_RESULTS" in said


def test_refuses_a_damaged_notebook(house):
    (house / "notebooks" / "01_good.ipynb").write_text('{"cells": [')
    with pytest.raises(ValueError, match="01_good.ipynb: not a notebook"):
        runner.plan("cpu")


def test_clean_takes_the_machine_out(tmp_path):
    text = f"{tmp_path}/a.py {tmp_path}2/b.py /var/x/ipykernel_12/345.py <object at 0x7fab> s{tmp_path}"
    cell = new_code_cell("x", outputs=[{"output_type": "stream", "name": "stdout", "text": text}])
    cleaned = json.loads(executed.clean(json.dumps(new_notebook(cells=[cell])), tmp_path, tmp_path / "s", failed=False))
    expected = f"./a.py {tmp_path}2/b.py cell.py <object at 0x...> s{tmp_path}"
    assert cleaned["cells"][0]["outputs"][0]["text"] == expected


def test_clean_gives_the_same_bytes_for_the_same_run(tmp_path):
    def raw(draw: str) -> str:
        cell = new_code_cell(
            "x", metadata={"papermill": {"duration": draw}, "tags": ["injected-parameters"]}, id=f"id{draw}"
        )
        cell.outputs = [{"output_type": "stream", "name": "stderr", "text": f"epoch 1 took {draw} s"}]
        cell.metadata.execution = {"iopub.execute_input": draw}
        return json.dumps(new_notebook(cells=[cell], metadata={"papermill": {"end_time": draw}, "widgets": {draw: 1}}))

    first, second = (executed.clean(raw(draw), tmp_path, tmp_path / "s", failed=False) for draw in ("17", "23"))
    assert first == second
    assert "epoch 1" in executed.clean(raw("17"), tmp_path, tmp_path / "s", failed=True)
