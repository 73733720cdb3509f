"""`lfm data`: what it lists, writes and says; the same seed gives the same bytes; nothing is half written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lfmlib import cli, cli_data, rigs
from lfmlib.data import download, fetch, formats, listing, loaders, real, synthetic
from lfmlib.data.formats import Keypoints
from lfmlib.data.loaders.base import Loader

BODY = "synthetic_body17"
FLAT = Keypoints(
    torch.arange(24.0).reshape(3, 4, 2), torch.tensor([[True] * 4, [True, False, True, True], [True] * 4]),
    ("a", "b", "c", "d"), (5, 6, 9),
)  # fmt: skip


@pytest.fixture
def data(capsys, monkeypatch):
    """data("list", ...) -> (exit code, stdout, stderr)."""
    monkeypatch.delenv("LFM_DATA", raising=False)

    def call(*words) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main(["data", *(str(word) for word in words)])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def reader(monkeypatch):
    """reader(found) makes "fake" the only format; its files hold `found`. Returns the calls that it got."""

    def make(found: dict) -> list:
        asked: list = []
        loader = Loader("fake", "Fake files", "example.org", "MIT", "a folder", "shapes",
                        lambda path, every: asked.append((path, every)) or found)  # fmt: skip
        monkeypatch.setattr(loaders, "LOADERS", ("fake",))
        monkeypatch.setattr(loaders, "get", {"fake": loader}.__getitem__)
        return asked

    return make


def entries(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_list_shows_every_category(data, monkeypatch, tmp_path):
    code, out, err = data("list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert (code, err) == (0, "") and set(rows) == set(rigs.names())
    entry = synthetic.entry(BODY)
    assert rows[BODY] == {
        "name": BODY, "family": entry.rig.family, "data": "synthetic", "keypoints": 17, "samples": entry.samples,
        "unit": "mm", "licence": "MIT", "here": True, "download": False,
    }  # fmt: skip
    human = rows["human17_cmu"]
    assert (human["samples"], human["here"], human["download"]) == (16980, False, True) and "CMU" in human["licence"]
    assert (rows["pascal3d_bus"]["licence"], rows["pascal3d_bus"]["download"]) == ("none stated", False)
    monkeypatch.setenv("LFM_DATA", str(tmp_path))
    (tmp_path / "pascal3d_car_mean.npz").touch()  # another name than its category's
    rows = {row["name"]: row["here"] for row in json.loads(data("list", "--json")[1])}
    assert rows["pascal3d_car"] and not rows["human17_cmu"]


def test_list_is_an_aligned_table(data):
    code, out, _ = data("list", "--family", "bird")
    lines = out.splitlines()
    assert code == 0 and lines[0].split() == ["name", "family", "data", "N", "samples", "unit", "here", "licence"]
    line = next(line for line in lines if line.startswith("bird18_aves"))
    assert line.split() == ["bird18_aves", "bird", "real", "18", "8500", "model", "unit", "fetch", "MIT"]
    for column in ("family", "unit", "here", "licence"):
        assert all(line[lines[0].index(column) - 1] == " " for line in lines)
    code, out, err = data("list", "--family", "brid")
    assert (code, out) == (2, "") and "no family 'brid'; there are" in err and "bird" in err
    row = listing.Row("a", "b", "real", 3, None, "m", "", False, False)
    assert listing.table([row]).splitlines()[1].split() == ["a", "b", "real", "3", "?", "m", "no", "?"]


def test_the_measured_sets_as_a_markdown_table(monkeypatch):
    head, rule, *rows = [line.split(" | ") for line in listing.markdown().splitlines()]
    assert len(rows) == len(listing.sources()) and {len(line) for line in (head, rule, *rows)} == {8}
    dog, car = (next(row for row in rows if name in row[0]) for name in ("dog26_ai4animation", "pascal3d_car"))
    known = listing.source("dog26_ai4animation")
    link = f"https://github.com/erwincoumans/motion_imitation/tree/{known.commit}"
    assert dog == [
        "| `dog26_ai4animation`", known.title, "13700", "26", "m", "CC BY-NC 4.0",
        f"[erwincoumans/motion_imitation @ d0e7b963c5]({link})",
        "`lfm data fetch dog26_ai4animation --accept-unpinned` |",
    ]  # fmt: skip
    assert car[6] == "not known" and "no licence stated" in car[7] and "lfm data fetch" not in car[7]
    monkeypatch.setattr(listing, "sources", lambda: {BODY: listing.Source(BODY, "one | two", "MIT", 3)})
    assert "| one / two |" in listing.markdown()


def test_make_gives_the_same_bytes_in_every_process(data, tmp_path):
    words = ["make", BODY, "--count", "60", "--seed", "7"]
    code, out, err = data(*words, tmp_path / "here.npz")
    assert (code, out) == (0, "") and err == f"lfm: 60 frames of 17 keypoints ({BODY}, mm) -> {tmp_path / 'here.npz'}\n"
    root = Path(__file__).parent.parent
    there = [sys.executable, "-m", "lfmlib.cli", "data", *words, str(tmp_path / "there.npz")]
    subprocess.run(there, cwd=root, check=True, capture_output=True, env=os.environ | {"TZ": "Asia/Tokyo"})
    assert (tmp_path / "here.npz").read_bytes() == (tmp_path / "there.npz").read_bytes()
    made = real.load(tmp_path / "here.npz")
    assert torch.equal(made.points, synthetic.generate(BODY, 60, 7).points) and made.tag == "synthetic"
    assert data("make", BODY, "--count", "60", tmp_path / "other.npz")[0] == 0
    assert (tmp_path / "other.npz").read_bytes() != (tmp_path / "here.npz").read_bytes()


def test_faults_of_make(data, tmp_path):
    (tmp_path / "old.npz").write_text("old")
    for words, message in {
        ("synthetic_body", tmp_path / "a.npz"): "did you mean synthetic_body",
        (BODY, tmp_path / "a.csv"): "a.csv: unknown suffix '.csv', expected .npz",
        (BODY, tmp_path / "old.npz"): "old.npz exists; --force replaces it",
        (BODY, tmp_path / "a.npz", "--count", "1"): "count is 1",
    }.items():
        code, out, err = data("make", *words)
        assert (code, out) == (2, "") and message in err and err.count("\n") == 1
    assert entries(tmp_path) == ["old.npz"] and (tmp_path / "old.npz").read_text() == "old"
    assert data("make", BODY, tmp_path / "old.npz", "--count", "5", "--force")[0] == 0
    assert len(real.load(tmp_path / "old.npz")) == 5


def test_convert_writes_one_category_to_a_file(data, reader, tmp_path):
    shapes = synthetic.generate(BODY, 12)
    asked = reader({"body": shapes})
    code, out, err = data("convert", "fake", tmp_path, tmp_path / "new" / "out.npz", "--every", "3")
    assert (code, out) == (0, "") and "12 frames of 17 keypoints (body, 3D)" in err
    assert asked == [(tmp_path, 3)] and torch.equal(real.load(tmp_path / "new" / "out.npz").points, shapes.points)
    assert entries(tmp_path) == ["new", "new/out.npz"]


def test_convert_writes_several_categories_to_a_folder(data, reader, tmp_path):
    shapes = synthetic.generate(BODY, 12)
    reader({"body": shapes, "flat": FLAT})
    code, _, err = data("convert", "fake", tmp_path, tmp_path / "out.npz")
    assert code == 2 and "holds 2 categories (body, flat): OUT has to be a folder" in err
    assert data("convert", "fake", tmp_path, tmp_path / "out")[0] == 0
    assert entries(tmp_path) == ["out", "out/body.npz", "out/flat.npz"]
    again = formats.read_keypoints(tmp_path / "out" / "flat.npz")
    assert again.names == FLAT.names and again.frames == FLAT.frames and torch.equal(again.visible, FLAT.visible)
    assert torch.equal(again.points[FLAT.visible], FLAT.points[FLAT.visible])
    code, _, err = data("convert", "fake", tmp_path, tmp_path / "out")
    assert code == 2 and "body.npz" in err and "flat.npz exists; --force replaces it" in err
    assert data("convert", "fake", tmp_path, tmp_path / "out", "--force")[0] == 0
    assert entries(tmp_path / "out") == ["body.npz", "flat.npz"]


def test_faults_of_convert(data, reader, tmp_path):
    reader({})
    (tmp_path / "file").touch()
    for words, message in {
        (): "expected FORMAT SOURCE OUT; lfm data convert --list",
        ("fake", tmp_path, tmp_path / "out"): "no category was found",
        ("fake", tmp_path / "no", tmp_path / "out"): "no: no such file or folder; fake expects a folder",
        ("fake", tmp_path, tmp_path / "file"): "there is another file",
        ("fake", tmp_path, tmp_path / "out", "--every", "0"): "--every is 0",
    }.items():
        code, out, err = data("convert", *words)
        assert (code, out) == (2, "") and message in err, (words, err)
    for name in ("..", "a/b", "../b", ""):
        reader({name: FLAT})
        assert "gives no file name" in data("convert", "fake", tmp_path, tmp_path / "out")[2]
    assert entries(tmp_path) == ["file"]


def test_convert_lists_the_formats(data, reader):
    reader({})
    assert data("convert", "--list")[:2] == (0, "fake           Fake files\n")
    code, out, _ = data("convert", "fake", "--list")
    assert code == 0 and "expects  a folder" in out and "licence  MIT" in out


def test_check_tells_by_its_exit_code(data, tmp_path):
    real.save(synthetic.generate(BODY, 60), tmp_path / f"{BODY}.npz")
    code, out, err = data("check", tmp_path / f"{BODY}.npz")
    assert (code, err) == (0, "") and out.splitlines()[1] == "0 problems, 0 warnings" and "60 frames" in out
    (tmp_path / "bad.npz").write_text("\x1b[31m")
    code, out, _ = data("check", tmp_path / "bad.npz")
    assert code == 1 and "\nproblem  not an .npz file" in out and out.endswith("1 problem, 0 warnings\n")
    code, out, err = data("check", tmp_path / "no.npz")
    assert (code, out) == (2, "") and "no.npz: no such file" in err


def test_fetch_says_what_it_does(data, tmp_path, monkeypatch):
    name = "hand13_markers_dfki"
    assert "--to, or set the environment variable LFM_DATA" in data("fetch", name)[2]
    code, out, err = data("fetch", name, "--to", tmp_path)
    assert (code, out) == (2, "") and "BSD-3-Clause" in err and "--accept-unpinned" in err
    assert "cannot be fetched: its public" in data("fetch", "pascal3d_bus", "--to", tmp_path)[2]
    assert "did you mean hand13_markers_dfki" in data("fetch", "hand13", "--to", tmp_path)[2]
    assert "--timeout is 0.0" in data("fetch", name, "--to", tmp_path, "--timeout", "0")[2]
    assert entries(tmp_path) == []

    def arrives(url: str, target: Path, digest: str, timeout: float | int) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"" if digest else b"data")

    monkeypatch.setattr(download, "retrieve", arrives)
    monkeypatch.setattr(fetch, "build", lambda *_: None)
    monkeypatch.setenv("LFM_DATA", str(tmp_path))
    source = listing.Source(name, "Markers", "BSD-3-Clause", 3, "dfki/hand", "0" * 40, ("a.txt",))
    monkeypatch.setattr(listing, "sources", lambda: {name: source})
    code, out, err = data("fetch", name, "--accept-unpinned")
    assert (
        code == 0
        and out == f"{fetch.files.sha256_of(tmp_path / 'upstream/dfki+hand/a.txt')}  upstream/dfki+hand/a.txt\n"
    )
    assert f"1 files are in {tmp_path / 'upstream/dfki+hand'}" in err
    (tmp_path / f"{name}.npz").touch()
    assert f"{name}.npz exists; --force replaces it" in data("fetch", name, "--accept-unpinned")[2]


def test_help_is_instant_and_debug_stands_anywhere(data, tmp_path):
    code = (
        "import sys; from lfmlib import cli; sys.exit(cli.main(['data', 'list', '--help']) or 'torch' in sys.modules)"
    )
    root = Path(__file__).parent.parent
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert result.returncode == 0 and "--family F" in result.stdout
    for words in (["--debug", "check", tmp_path / "no"], ["check", tmp_path / "no", "--debug"]):
        assert "Traceback" in data(*words)[2]
    assert "Traceback" not in data("check", tmp_path / "no")[2]
    assert data()[0] == data("lst")[0] == data("check")[0] == 2
    for action in cli_data.ACTIONS:
        assert f"  lfm data {action} " in cli_data.NOTE
        assert data(action, "--help")[0] == 0
