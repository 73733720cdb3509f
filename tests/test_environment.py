"""The environment has one source; the scripts refuse a wrong call and name what is missing before anything happens."""

import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import lfmlib

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ("run_all.sh", "run_tests.sh", ".ci/run", "scripts/lock.sh")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
BASH = shutil.which("bash")


def lock() -> list[Requirement]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def wanted() -> list[Requirement]:
    project = PROJECT["project"]
    needs = [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["test"]]
    return [need for need in needs if need.name != "triton"]  # each CUDA build of torch names its own


@pytest.mark.parametrize("need", wanted(), ids=lambda need: need.name)
def test_every_dependency_is_pinned_to_a_version_it_allows(need):
    pins = [pin for pin in lock() if pin.name.lower() == need.name.lower()]
    assert pins, f"requirements.lock lacks {need.name}: run scripts/lock.sh"
    for pin in pins:
        (version,) = pin.specifier
        assert version.operator == "==" and need.specifier.contains(version.version)


def test_the_lock_suits_every_build_of_torch():
    names = {pin.name for pin in lock()}
    assert not {name for name in names if re.match(r"nvidia|cuda|triton", name)}  # each build of torch wants its own
    assert all("+" not in str(pin.specifier) for pin in lock()), "a pin with a local tag fits one build only"
    assert "torch" in names and all(not pin.extras and not pin.url for pin in lock())  # what pip takes as constraints


def test_the_lock_can_be_met_on_every_python_that_is_supported():
    for version in ("3.11", "3.12", "3.13"):
        there = {"python_version": version, "python_full_version": f"{version}.9"}
        active = [pin.name for pin in lock() if pin.marker is None or pin.marker.evaluate(there)]
        assert len(active) == len(set(active)), f"two versions of one package on Python {version}"
        assert {need.name.lower() for need in wanted()} <= {name.lower() for name in active}


def test_the_conda_environment_repeats_nothing():
    content = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = content["dependencies"]
    assert conda == [f"python{PROJECT['project']['requires-python']}", "pip"]
    assert pip == {"pip": ["-c requirements.lock", "-e .[test]"]}


def test_one_version():
    assert lfmlib.__version__ == PROJECT["project"]["version"]


def test_public_names_load_on_first_use():
    for name in lfmlib.__all__:
        if (ROOT / "lfmlib" / (lfmlib._HOMES[name].replace(".", "/") + ".py")).exists():
            assert callable(getattr(lfmlib, name)), name
    with pytest.raises(AttributeError, match="no attribute 'Liftr'; public names: .*Lifter"):
        _ = lfmlib.Liftr
    assert set(lfmlib.__all__) <= set(dir(lfmlib))


def test_importing_the_package_imports_nothing_else():
    code = "import sys, lfmlib; print([m for m in ('torch', 'numpy', 'pandas', 'matplotlib') if m in sys.modules])"
    call = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert call.stdout == "[]\n", call.stderr


@pytest.mark.parametrize("script", [*SCRIPTS, "scripts/setup_env.sh"])
def test_scripts_are_sound(script):
    path = ROOT / script
    assert subprocess.run([BASH, "-n", path], capture_output=True, text=True).stderr == ""
    if script in SCRIPTS:
        assert path.stat().st_mode & stat.S_IXUSR and path.read_text().startswith("#!/usr/bin/env bash\n")
        assert "set -euo pipefail" in path.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fast"], "cannot make sense of '--fast'"),
        (["five"], "cannot make sense of 'five'"),
        (["123"], "cannot make sense of '123'"),
        (["--profile"], "--profile needs a value"),
        (["--profile", "huge"], "unknown profile 'huge'"),
        (["--profile="], "unknown profile ''"),
    ],
)
def test_run_all_refuses_a_wrong_call(arguments, message):
    call = subprocess.run([BASH, ROOT / "run_all.sh", *arguments], capture_output=True, text=True, timeout=60)
    assert call.returncode == 2 and message in call.stderr and "usage: ./run_all.sh" in call.stderr


def test_run_all_explains_itself():
    call = subprocess.run([BASH, ROOT / "run_all.sh", "--help"], capture_output=True, text=True, timeout=60)
    assert call.returncode == 0 and "usage: ./run_all.sh [--profile smoke|cpu|full] [NN ...]" in call.stdout


@pytest.fixture
def bare(tmp_path) -> Path:
    """A copy of what the set-up needs, and a bin folder with the tools of a bare machine, without Python."""
    for name in ("run_all.sh", "run_tests.sh", "pyproject.toml", "requirements.lock", "scripts"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    for tool in ("bash", "dirname", "cat", "cksum", "uname", "rm", "head", "cut", "grep"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    return tmp_path


def start(bare: Path, script: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {"PATH": str(bare / "bin"), "HOME": str(bare)} | variables
    return subprocess.run([BASH, bare / script], capture_output=True, text=True, env=environment, timeout=60)


def fake(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{BASH}\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("script", ["run_all.sh", "run_tests.sh"])
def test_a_missing_python_is_named(bare, script):
    call = start(bare, script)
    assert call.returncode == 1 and "needs Python 3.11 or newer, found none; install one" in call.stderr
    assert not (bare / ".venv").exists()


def test_an_old_python_is_named(bare):
    fake(bare / "bin" / "python3", 'case "$*" in *version_info*) exit 1 ;; --version) echo Python 3.9.2 ;; esac')
    fake(bare / "bin" / "python3.12", "exit 127")  # a shim for a version that is not installed
    call = start(bare, "run_all.sh")
    assert call.returncode == 1 and "needs Python 3.11 or newer, found only Python 3.9.2" in call.stderr


def test_a_python_without_venv_is_named(bare):
    fake(bare / "bin" / "python3.11", 'case "$*" in *ensurepip*) exit 1 ;; esac')
    call = start(bare, "run_tests.sh")
    assert call.returncode == 1 and "python3.11 lacks the modules venv and ensurepip" in call.stderr


def test_a_failed_installation_is_said_and_repeated(bare):
    """A python whose pip fails: no stamp is left; the next start begins anew and, when pip works, goes on to pytest."""
    log = bare / "log"
    inside = (
        f'echo "$*" >>{log}; case "$*" in *"pip install"*) [ -e {bare}/online ] ;;'
        ' *"config list"*) echo "global.find-links=x" ;;'
        ' "-m pytest"*) echo tests ran ;; esac'
    )
    fake(bare / "inner", inside)
    (bare / "bin" / "mkdir").symlink_to(shutil.which("mkdir"))
    (bare / "bin" / "cp").symlink_to(shutil.which("cp"))
    fake(
        bare / "bin" / "python3",
        f'case "$*" in *"-m venv"*) mkdir -p {bare}/.venv/bin; cp {bare}/inner {bare}/.venv/bin/python ;; esac',
    )
    call = start(bare, "run_tests.sh")
    assert call.returncode == 1 and "the installation failed" in call.stderr and "tests ran" not in call.stdout
    assert not (bare / ".venv" / ".lfmlib-stamp").exists() and (bare / ".venv.unfinished").exists()
    (bare / "online").touch()
    call = start(bare, "run_tests.sh")
    assert call.returncode == 0 and "making .venv anew" in call.stderr and call.stdout == "tests ran\n"
    installs = [line for line in log.read_text().splitlines() if "pip install" in line][-2:]
    torch = next(str(pin) for pin in lock() if pin.name == "torch")
    assert installs == [
        f"-m pip install -c requirements.lock {torch}",
        "-m pip install -c requirements.lock -e .[test]",
    ]
    log.unlink()
    assert start(bare, "run_tests.sh").stderr == "" and "pip install" not in log.read_text()  # nothing to be done twice


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="the CPU index matters on Linux only")
@pytest.mark.parametrize(
    ("gpu", "settings", "online", "index", "notice"),
    [
        (False, "", True, "https://download.pytorch.org/whl/cpu", "installing the CPU build of torch"),
        (False, "", False, "", "cannot be reached, so torch comes from your default index"),
        (False, "global.index-url='x'", True, "", "your pip settings decide"),
        (False, ":env:.extra-index-url='x'", True, "", "your pip settings decide"),
        (True, "", True, "", ""),
    ],
)
def test_the_cpu_build_of_torch_where_there_is_no_gpu(bare, gpu, settings, online, index, notice):
    urlopen = f"exit {0 if online else 1}"
    fake(bare / "python", f'case "$*" in *"config list"*) echo "{settings}" ;; *urlopen*) {urlopen} ;; esac')
    if gpu:
        fake(bare / "bin" / "nvidia-smi", "exit 0")
    code = f"set -euo pipefail; ROOT={bare}; source scripts/setup_env.sh; torch_source {bare}/python"
    environment = {"PATH": str(bare / "bin")}
    call = subprocess.run([BASH, "-c", code], capture_output=True, text=True, env=environment, cwd=bare, timeout=60)
    assert call.returncode == 0 and call.stdout.strip() == index and notice in call.stderr
