"""What every test file shares: one thread, seeded generators, a results folder of its own, the real data if any."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")  # before matplotlib is imported by anything: no test opens a window

import pytest
import torch
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
torch.set_num_threads(1)  # the tensors are small: threads only fight each other
settings.register_profile("lfmlib", deadline=None, derandomize=True, database=None, max_examples=30)
settings.load_profile("lfmlib")


@pytest.fixture
def root() -> Path:
    """The repository root."""
    return ROOT


@pytest.fixture
def generator() -> torch.Generator:
    """A CPU generator with seed 0: the same draws in every run of a test."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def seeded() -> Callable[[int], torch.Generator]:
    """seeded(7) -> a CPU generator with seed 7, where a test needs several streams."""
    return lambda seed: torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def results(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh results folder per test: no test writes into the repository's own."""
    folder = tmp_path_factory.mktemp("results")
    monkeypatch.setenv("LFM_RESULTS", str(folder))
    return folder


@pytest.fixture
def no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that train: asking git for the commit would be the longest part of their runs."""
    monkeypatch.setenv("LFM_ROOT", str(tmp_path))


@pytest.fixture
def store(tmp_path: Path) -> "RunStore":  # noqa: F821
    """An empty run store."""
    from lfmlib.store import RunStore  # here: what is imported before pytest's type checks begin is not checked

    return RunStore(tmp_path / "runs")


@pytest.fixture
def real_data() -> Path:
    """The folder that LFM_DATA names; the test is skipped where there is none."""
    folder = os.environ.get("LFM_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("LFM_DATA names no folder with real keypoint data")
    return Path(folder)


@pytest.fixture(
    params=["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU"))]
)
def device(request: pytest.FixtureRequest) -> torch.device:
    """Each device that this machine has."""
    return torch.device(request.param)
