"""The command line: what it writes and says, its exit codes, a cut run goes on, and nothing is half written."""

import argparse
import csv
import errno
import io
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lfmlib import cli, cli_train, doctor, encodings, files, lifting, model, rigs, training
from lfmlib.data import formats, real, synthetic
from lfmlib.objectives import ObjectiveConfig
from lfmlib.recipe.preset import recipe_run
from lfmlib.runs import RunConfig
from lfmlib.steps import Steps
from lfmlib.store import RunStore

CHAIR = "synthetic_chair10"
RIG = rigs.get(CHAIR)
SIZES = ["--width", "8", "--depth", "1", "--heads", "2", "--batch", "16", "--set", "count=60", "--set", "test_views=20"]
TINY = [*SIZES, "--injection", "input", "--alpha", "10", "--set", "missing=0.1", "--set", "evaluations=2"]


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Path:
    """A store with one finished run."""
    folder = tmp_path_factory.mktemp("cli_runs")
    assert cli.main(["train", CHAIR, "--steps", "30", "--runs", str(folder), *TINY]) == 0
    return folder


@pytest.fixture(scope="session")
def run(runs) -> str:
    (folder,) = runs.iterdir()
    return folder.name


@pytest.fixture
def lfm(runs, capsys):
    """lfm("lift", ...) -> (exit code, stdout, stderr); --runs is added."""

    def call(*words) -> tuple[int, str, str]:
        words = [str(word) for word in words]
        capsys.readouterr()
        code = cli.main([*words, *([] if "--runs" in words else ["--runs", str(runs)])])
        return code, *capsys.readouterr()

    return call


def chairs(count: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of chairs in pixels, one keypoint missing."""
    shapes = synthetic.generate(CHAIR, 60, 1)
    points = shapes.points[:count, :, :2].numpy() * 0.3 * [1, -1] + [400, 300]
    visible = np.ones(points.shape[:2], bool)
    visible[1, 2] = False
    return points.astype(np.float32), visible


def write(path: Path, kind: str) -> Path:
    """The same chairs in each format; the named ones with the keypoints in reverse order."""
    points, visible = chairs()
    ids, names, back = range(7, 12), RIG.keypoints, range(len(RIG.keypoints))[::-1]
    path = path / {"npz": "in.npz", "long": "in.csv", "wide": "in.csv", "json": "in.json"}[kind]
    if kind == "npz":
        np.savez(path, keypoints_2d=points, visible=visible, frames=np.array(ids))
    elif kind == "json":
        frames = [[points[f, n].tolist() if visible[f, n] else None for n in range(RIG.n)] for f in range(5)]
        path.write_text(json.dumps({"frames": frames, "frame_ids": list(ids)}))
    else:
        cells = {(f, n): [repr(float(v)) for v in points[f, n]] if visible[f, n] else ["", ""]
                 for f in range(5) for n in back}  # fmt: skip
        with open(path, "w", newline="") as file:
            table = csv.writer(file)
            if kind == "long":
                table.writerow(["frame", "keypoint", "x", "y"])
                table.writerows([ids[f], names[n], *cell] for (f, n), cell in cells.items())
            else:
                table.writerow(["frame", *(f"{names[n]}_{axis}" for n in back for axis in "xy")])
                table.writerows([ids[f], *(v for n in back for v in cells[f, n])] for f in range(5))
    return path


def read(path: Path) -> np.ndarray:
    """Lifted shapes of a file."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as content:
            assert content["frames"].tolist() == list(range(7, 12)) and content["keypoint_names"][0] == RIG.keypoints[0]
            return content["keypoints_3d"]
    if path.suffix == ".json":
        return np.array(json.loads(path.read_text())["frames"])
    with open(path, newline="") as file:
        rows = [[float(row[axis]) for axis in "xyz"] for row in csv.DictReader(file)]
    return np.array(rows).reshape(5, -1, 3)


@pytest.mark.parametrize("kind, suffix", [("npz", "npz"), ("long", "csv"), ("wide", "json"), ("json", "npz")])
def test_every_format_is_lifted_alike(lfm, runs, run, tmp_path, kind, suffix):
    points, visible = (torch.from_numpy(v) for v in chairs())
    code, out, err = lfm("lift", write(tmp_path, kind), tmp_path / f"out.{suffix}", "--model", run)
    assert (code, out) == (0, "")
    for part in (f"5 frames of 10 keypoints ({CHAIR})", "x right, y down, z away", "unit of the input"):
        assert part in err
    assert "1 missing keypoints have a predicted position" in err and "trust" not in err  # this run hid some
    expected = lifting.lift(lifting.load(runs / run), points, visible).shapes.numpy()
    np.testing.assert_allclose(read(tmp_path / f"out.{suffix}"), expected, rtol=0, atol=1e-3)
    assert visible.sum() == 49 and np.array_equal(expected[visible][:, :2], points[visible])


def test_options_of_lift(lfm, run, tmp_path):
    source, seen = write(tmp_path, "npz"), chairs()[1]
    for name, options in {"a": [], "b": ["--mirror"], "c": ["--read-out", "fit"]}.items():
        assert lfm("lift", source, tmp_path / f"{name}.npz", "--model", run, "--category", CHAIR, *options)[0] == 0
    plain, mirrored, fitted = (read(tmp_path / f"{name}.npz") for name in "abc")
    assert np.array_equal(mirrored, plain * [1, 1, -1]) and np.abs(plain[..., 2]).max() > 1
    assert np.array_equal(fitted[..., 2], plain[..., 2]) and not np.array_equal(fitted[seen], plain[seen])
    points, visible = chairs()
    np.savez(tmp_path / "up.npz", keypoints_2d=points * [1, -1], visible=visible, frames=np.arange(7, 12))
    assert lfm("lift", tmp_path / "up.npz", tmp_path / "d.npz", "--y-up", "--model", run)[0] == 0
    assert np.array_equal(read(tmp_path / "d.npz"), plain)


def test_frames_that_cannot_be_lifted_are_named_or_left_out(lfm, run, tmp_path):
    points, visible = chairs()
    visible[3, 2:] = False
    source, target = tmp_path / "in.npz", tmp_path / "out.json"
    np.savez(source, keypoints_2d=points, visible=visible, frames=np.array(list("abcde")))
    code, _, err = lfm("lift", source, target, "--model", run)
    assert code == 2 and err == f"lfm: error: {source}: frame d has 2 visible keypoints, expected at least 3\n"
    assert not target.exists()
    code, _, err = lfm("lift", source, target, "--model", run, "--skip-unusable")
    assert code == 0 and "4 frames of 10" in err and "1 frames left out" in err
    assert json.loads(target.read_text())["frame_ids"] == ["a", "b", "c", "e"]
    np.savez(source, keypoints_2d=points, visible=visible & False)
    assert "no frame has 3 visible" in lfm("lift", source, target, "--model", run, "--skip-unusable", "--force")[2]


def test_faults_of_lift_are_one_line_each(lfm, runs, run, tmp_path):
    source, target = write(tmp_path, "npz"), tmp_path / "out.npz"
    np.savez(tmp_path / "nine.npz", keypoints_2d=chairs()[0][:, :9])
    (tmp_path / "cut.npz").write_bytes(source.read_bytes()[:100])
    (tmp_path / "bytes.csv").write_bytes(b"\x1b[31mframe\x07,x\n1,2\n")
    (tmp_path / "old.npz").write_text("precious")
    (tmp_path / "cut.safetensors").write_bytes((runs / run / "model.safetensors").read_bytes()[:500])
    for words, message in {
        (tmp_path / "no.csv", target): "no.csv: no such file",
        (tmp_path / "nine.npz", target): "nine.npz: 9 keypoints, but synthetic_chair10 has 10",
        (tmp_path / "cut.npz", target): "cut.npz: not an .npz file",
        (tmp_path / "bytes.csv", target): "no column 'frame'",
        (source, tmp_path / "out.txt"): "out.txt: unknown suffix '.txt'",
        (source, tmp_path): "is a folder",
        (source, source, "--force"): "OUT is the same file as IN",
        (source, tmp_path / "old.npz"): "old.npz exists; --force replaces it",
        (source, source / "out.npz"): "out.npz",  # its folder is a file
        (source, target, "--category", "synthetic_chair"): "did you mean 'synthetic_chair10'",
        (source, target, "--model", "nosuchrun"): "nor the id of a run",
        (source, target, "--model", tmp_path / "cut.safetensors"): "not a whole safetensors file",
    }.items():
        before = sorted(tmp_path.iterdir())
        code, out, err = lfm("lift", "--model", run, *words)
        assert (code, out) == (2, "") and err.startswith("lfm: error: ") and message in err and err.count("\n") == 1
        assert "\x1b" not in err and sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "old.npz").read_text() == "precious"
    assert lfm("lift", source, tmp_path / "old.npz", "--model", run, "--force")[0] == 0
    read(tmp_path / "old.npz")


@pytest.mark.parametrize("suffix", ["npz", "csv", "json"])
def test_a_full_disk_leaves_the_old_result(lfm, run, tmp_path, monkeypatch, suffix):
    source, target = write(tmp_path, "npz"), tmp_path / f"out.{suffix}"
    target.write_text("old")
    before = sorted(tmp_path.iterdir())

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    code, _, err = lfm("lift", source, target, "--model", run, "--force")
    assert code == 2 and err == (
        f"lfm: error: {target}: could not be written, nothing was changed (No space left on device)\n"
    )
    assert target.read_text() == "old" and sorted(tmp_path.iterdir()) == before


def test_debug_shows_where_an_error_came_from(lfm, run, tmp_path):
    _, _, err = lfm("lift", tmp_path / "no.csv", tmp_path / "o.csv", "--model", run, "--debug")
    assert "Traceback" in err and err.splitlines()[-1].startswith("lfm: error: ")


def test_help_is_instant_and_true():
    code = "import sys; from lfmlib import cli; sys.exit(cli.main(['train', '--help']) or 'torch' in sys.modules)"
    root = Path(__file__).parent.parent
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    text = " ".join(result.stdout.split())
    assert result.returncode == 0 and result.stderr == ""
    assert ", ".join(model.INJECTIONS) in text
    assert set(encodings.ENCODINGS) == set(re.findall(r"\w+", cli_train.OPTIONS["encoding"][2])) - {"default"}
    default = cli_train.dotted(RunConfig(("?",)).as_dict(), "")
    for name, (kind, key, text) in cli_train.OPTIONS.items():
        if said := re.search(r"\(([\w.-]+?)(;.*)?\)", text):
            assert said[1] == "default" or kind(said[1]) == default[key], name


def test_the_guide_tells_the_truth():
    text = (Path(__file__).parent.parent / "docs" / "lift_your_keypoints.md").read_text()
    commands = [line.split()[1:] for line in text.splitlines() if line.startswith("    lfm ")]
    assert {cli._parser().parse_args(words).command for words in commands} == {"train", "lift"}
    named = set(re.findall(r"`(synthetic_\w+)`", text))
    assert named and named <= set(synthetic.categories())
    option, offered = r"--[a-z][a-z-]+", "".join(map(help_of, cli.COMMANDS))
    assert set(re.findall(option, text)) <= set(re.findall(option, offered))
    for setting in re.findall(r"--set ([\w.]+)=", text):
        assert setting in cli_train.dotted(recipe_run(("?",)).as_dict(complete=True), "")


def help_of(name: str) -> str:
    parser = argparse.ArgumentParser()
    cli.COMMANDS[name].arguments(parser)
    return parser.format_help() + " --debug"


def test_exit_codes_of_a_wrong_command_line(capsys):
    for words in ([], ["lit"], ["lift", "a.csv"], ["train", "--steps", "many"], ["lift", "a", "b", "--mod", "x"]):
        assert cli.main(words) == 2
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("lfm ")


def test_train_shows_its_errors_beside_the_floors(lfm, runs, run):
    code, out, err = lfm("train", CHAIR, "--steps", "30", *TINY)  # the fixture's own run
    assert code == 0 and "finished before" in err and "step" not in err.split("finished before")[1]
    assert f"run {runs / run}" in out and f"lfm lift IN OUT --model {runs / run}" in out
    record = RunStore(runs).record(run)
    for method, number in {"fit": "fit", "snap": "snap"}.items():
        row = record["final"]["test"][number][0]
        assert re.search(rf"{CHAIR} +this run, {method} +{row['o3']:.1f} +{row['so3']:.1f} +{row['flip']:.1f}", out)
    assert re.search(rf"{CHAIR} +floor: flat +[\d.]+", out) and re.search(rf"{CHAIR} +floor: mean shape", out)


def test_train_takes_a_file_of_shapes(lfm, tmp_path):
    shapes = synthetic.generate(CHAIR, 60, 3)
    real.save(shapes, tmp_path / "mine.npz")
    code, out, err = lfm("train", tmp_path / "mine.npz", CHAIR, "--steps", "2", *TINY)
    assert code == 0 and "step 1/2 | loss" in err and "step 2/2 | loss" in err and "\r" not in err
    assert "class mean" in out
    folder = out.splitlines()[0].removeprefix("run ")
    target = tmp_path / "out.npz"
    code, _, err = lfm("lift", write(tmp_path, "npz"), target, "--model", folder)
    assert code == 2 and "2 categories, name one of them: mine, synthetic_chair10" in err
    assert lfm("lift", tmp_path / "in.npz", target, "--model", folder, "--category", "mine")[0] == 0


def test_faults_of_train(lfm, tmp_path, monkeypatch):
    monkeypatch.delenv("LFM_DATA", raising=False)
    files.write_json(tmp_path / "list.json", [1])
    files.write_json(tmp_path / "new.json", {"model": {"widht": 3}})
    (tmp_path / "cut.json").write_text("{")
    np.savez(tmp_path / "flat.npz", keypoints_2d=np.zeros((3, 4, 2)))
    for words, message in {
        (): "no CATEGORY to train on",
        ("synthetic_chair",): "unknown category 'synthetic_chair'; did you mean synthetic_chair10",
        ("human17_cmu",): "LFM_DATA",
        (tmp_path / "no.npz",): "no.npz: no such file",
        (tmp_path / "flat.npz",): "flat.npz: 0 frames have 4 or more visible keypoints",
        (CHAIR, CHAIR): "named twice",
        (CHAIR, "--width", "9"): "width is 9",
        (CHAIR, "--width", "10", "--heads", "4"): "not divisible",
        (CHAIR, "--injection", "evry"): "did you mean 'every'",
        (CHAIR, "--steps", "0"): "steps is 0",
        (CHAIR, "--set", "objective.lowrank=1"): "no setting 'objective.lowrank'; did you mean objective.low_rank",
        (CHAIR, "--set", "alpha"): "expected key=value",
        (CHAIR, "--set", "steps=ten"): "steps is 'ten', expected a whole number",
        (CHAIR, "--set", "self_occlusion=1"): "self_occlusion is 1, expected true or false",
        (CHAIR, "--set", "betas=[0.9]"): "betas is [0.9], expected a list",
        (CHAIR, "--set", "model=3"): "no setting 'model'",
        (CHAIR, "--config", tmp_path / "no.json"): "no.json",
        (CHAIR, "--config", tmp_path / "cut.json"): "cut.json: not a JSON file",
        (CHAIR, "--config", tmp_path / "list.json"): "list.json: the file is list",
        (CHAIR, "--config", tmp_path / "new.json"): "new.json: no setting 'model.widht'; did you mean model.width",
        (CHAIR, "--steps", "1", "--runs", tmp_path / "cut.json", *SIZES): "cut.json",
    }.items():
        code, out, err = lfm("train", *words)
        assert (code, out) == (2, ""), words
        assert message in err and err.splitlines()[-1].startswith("lfm: error: "), (words, err)


def test_settings_go_from_the_file_to_options_to_set(lfm, tmp_path):
    content = {"categories": [CHAIR], "steps": 7, "lr": 1, "model": {"width": 8, "alpha": 3}, "betas": [0, 0.99]}
    files.write_json(tmp_path / "c.json", content)
    words = ["--config", tmp_path / "c.json", "--steps", "8", "--width", "16", "--set", "model.width=32",
             "--set", "objective.camera=algebraic"]  # fmt: skip
    code, out, _ = lfm("train", "--print-config", *words)
    expected = RunConfig(
        (CHAIR,), steps=8, lr=1.0, betas=(0.0, 0.99), model=model.LifterConfig(width=32, alpha=3.0),
        objective=ObjectiveConfig(camera="algebraic"),
    )  # fmt: skip
    assert code == 0 and json.loads(out) == expected.as_dict()


def test_a_stopped_run_goes_on_to_the_same_record(lfm, runs, run, tmp_path, monkeypatch, capsys):
    words = ["train", CHAIR, "--steps", "30", *TINY, "--runs", str(tmp_path)]
    one, count = Steps.one, 0

    def stop(self):
        nonlocal count
        count += 1
        if count == 20:
            raise KeyboardInterrupt
        one(self)

    with monkeypatch.context() as patch:
        patch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(Steps, "one", stop)
        assert cli.main(words) == 130
    err = capsys.readouterr().err
    assert "lfm train synthetic_chair10 --steps 30" in err and "Traceback" not in err
    (folder,) = tmp_path.iterdir()
    assert folder.name == run and not (folder / "record.json").exists()
    code, _, err = lfm("lift", write(tmp_path, "npz"), tmp_path / "out.npz", "--model", folder)
    assert code == 2 and "the run is not finished" in err
    assert cli.main(words) == 0
    assert "step 15/30" not in capsys.readouterr().err  # that half was not done again
    assert RunStore(tmp_path).record(run)["final"] == RunStore(runs).record(run)["final"]


def test_a_run_that_diverges_says_so(lfm):
    code, out, err = lfm("train", CHAIR, "--steps", "20", *TINY, "--lr", "1e30", "--set", "clip=0")
    assert code == 1 and out.startswith("run ") and "| diverged |" in err and "error: the run diverged" in err
    with pytest.raises(ValueError, match="is not finite: the run diverged"):
        lifting.load(out.split()[1])


def test_progress_is_one_line_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    point = {"loss": 0.5, "test": {"eq1": 0.1, "fit": [{"flip": 30.0}], "snap": [{"flip": 25.0}]}}
    progress = cli_train.Progress(20)
    for step in (10, 20):
        progress(point | {"step": step})
    progress.close()
    first, second = sys.stderr.getvalue().split("\r")[1:]
    assert "step 10/20 | loss 0.5 | Eq. 1 0.1, error 30.0 % (fit), 25.0 % (snap)" in first and "\n" not in first
    assert second.endswith("\n") and second.count("\n") == 1
    sys.stderr = Terminal()
    progress = cli_train.Progress(20)
    progress.close()
    assert sys.stderr.getvalue() == ""
    progress({"step": 3, "loss": None})
    assert "diverged" in sys.stderr.getvalue()


def test_notes_of_the_library_reach_the_user_and_no_handler_stays(lfm, monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "doctor", cli.COMMANDS["doctor"]._replace(
        run=lambda args: logging.getLogger("lfmlib.store").warning("mind") or 0))  # fmt: skip
    assert lfm("doctor")[2] == "lfm: note: mind\n"
    assert not logging.getLogger("lfmlib").handlers


def test_doctor_finds_nothing_on_a_sound_machine(lfm, monkeypatch):
    monkeypatch.delenv("LFM_DATA", raising=False)
    code, out, _ = lfm("doctor")
    lines = [line for line in out.splitlines() if not line.startswith("      -> ")]
    assert code == 0 and lines.pop().endswith("0 fail")
    assert all(line.split()[0] in doctor.STATUSES for line in lines)
    parts = ("python 3", "torch 2", "threads on", "LFM_DATA is not set", "results/", "runs/", "exact fit", "step")
    assert all(any(part in line for line in lines) for part in parts)


def test_doctor_names_what_is_wrong(lfm, capsys, monkeypatch, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    real.save(synthetic.generate(CHAIR, 20, 0), data / "good.npz")
    (data / "cut.npz").write_bytes((data / "good.npz").read_bytes()[:300])
    (data / "viewpoints.npz").write_text("no archive")
    monkeypatch.setenv("LFM_DATA", str(data))
    monkeypatch.setenv("LFM_RESULTS", str(data / "cut.npz"))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: shutil_usage(2**20))
    monkeypatch.setattr(doctor.torch, "get_num_threads", lambda: 4096)
    monkeypatch.setattr(doctor.geometry, "reprojection", lambda X, Y: torch.ones(len(X), dtype=torch.float64))
    monkeypatch.setattr(doctor, "train", lambda *_: 1 / 0)
    code, out, _ = lfm("doctor")
    assert code == 1
    for line in ("fail  data: .*cut.npz: not an .npz file", "fail  data: .*viewpoints.npz",
                 r"ok    LFM_DATA=.*good \(20\)", "fail  results/: .* cannot be written",
                 "fail  runs/: .* 0.0 GiB free", "warn  4096 threads on",
                 "fail  exact fit", "fail  one_step: ZeroDivisionError"):  # fmt: skip
        assert re.search(f"^{line}", out, re.M), line
    assert out.count("      -> ") == out.count("\nfail  ") + out.count("\nwarn  ")
    monkeypatch.setenv("LFM_DATA", str(data / "good.npz"))
    assert "is not a folder" in lfm("doctor")[1]


def shutil_usage(free: int):
    return type("usage", (), {"free": free})


def test_frame_numbers_beyond_64_bits_are_written_without_pickle(tmp_path):
    formats.write_shapes(tmp_path / "a.npz", torch.zeros(1, 3, 3), frames=[10**30])
    with np.load(tmp_path / "a.npz", allow_pickle=False) as content:
        assert content["frames"].tolist() == [str(10**30)]


def test_a_reader_that_stops_reading_is_no_error(root):
    """`lfm data list | head -1`"""
    code = "import sys; from lfmlib.cli import main; sys.exit(main(['data', 'list']))"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], cwd=root, **pipes) as lfm:
        lfm.stdout.close()
        assert lfm.stderr.read() == b"" and lfm.wait() == 0
