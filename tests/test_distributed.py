"""One run shared by several processes is the run of one process; what cannot be shared is refused."""

import os
import socket
import subprocess
import sys

import pytest
import torch

from lfmlib.distributed import Ranks, launched
from lfmlib.model import LifterConfig
from lfmlib.objectives import ObjectiveConfig
from lfmlib.runs import RunConfig, RunData, run_id
from lfmlib.stacked_views import Batch
from lfmlib.store import RunStore, read_tensors
from lfmlib.training import train

CONFIG = RunConfig(
    ("synthetic_chair10", "synthetic_hand21"), model=LifterConfig(width=16, depth=2, heads=2, ff=2), count=40, steps=12,
    batch=8, test_views=20, evaluations=3, missing=0.1, precision="float64",
)  # fmt: skip
OPTIONS = [
    "synthetic_chair10", "synthetic_hand21", "--width", "16", "--depth", "2", "--heads", "2", "--steps", "12",
    "--batch", "8", "--set", "model.ff=2", "--set", "count=40", "--set", "test_views=20", "--set", "evaluations=3",
    "--set", "missing=0.1", "--set", "precision=float64",
]  # fmt: skip


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def torchrun(root, store, *options):
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_addr", "127.0.0.1",
        "--master_port", str(free_port()), "-m", "lfmlib.cli", "train", *OPTIONS, *options, "--runs", str(store),
    ]  # fmt: skip
    environment = os.environ | {
        "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "LFM_ROOT": str(store.parent),
    }  # fmt: skip
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch was built without torch.distributed")
def test_two_processes_train_the_run_of_one(tmp_path, root, monkeypatch):
    monkeypatch.setenv("LFM_ROOT", str(tmp_path))
    alone, shared = RunStore(tmp_path / "alone"), RunStore(tmp_path / "shared")
    expected = train(CONFIG, alone)
    done = torchrun(root, tmp_path / "shared")
    assert done.returncode == 0, done.stderr[-2000:]
    run = run_id(CONFIG, RunData.of(CONFIG))
    record = shared.record(run)
    assert record["status"] == "done" and record["config"] == expected["config"]
    for one, two in zip(alone.curve(run), shared.curve(run), strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-10)
    one, two = (read_tensors(s.folder(run) / "model.safetensors")[0] for s in (alone, shared))
    assert all(torch.allclose(one[name], two[name], rtol=1e-8, atol=1e-9) for name in one)
    assert done.stdout.count("PA-MPJPE") == 1 and done.stderr.count("step 12/12") == 1  # one process talks
    assert {f.name for f in shared.folder(run).iterdir()} == {
        "config.json", "curve.json", "model.safetensors", "record.json",
    }  # fmt: skip


def test_shares_make_up_the_batch():
    batch = Batch(torch.randn(2, 6, 5, 2), torch.rand(2, 6, 5) > 0.5, torch.randint(3, (2, 6)))
    shares = [Ranks(rank, 3).share(batch) for rank in range(3)]
    for part in ("X", "visible", "category"):
        together = torch.stack([getattr(share, part) for share in shares], 2).flatten(1, 2)
        assert torch.equal(together, getattr(batch, part))
    assert Ranks(1, 3).share(batch._replace(visible=None)).visible is None
    assert Ranks().share(batch) is batch


def test_what_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match="a batch of 8 cannot be shared by 3 processes"):
        Ranks(0, 3).check(CONFIG)
    coupled = RunConfig(("synthetic_chair10",), objective=ObjectiveConfig(low_rank=0.1))
    with pytest.raises(ValueError, match="this one has reprojection, low_rank"):
        Ranks(0, 2).check(coupled)
    Ranks(0, 2).check(CONFIG)
    Ranks().check(coupled)  # alone everything goes


def test_a_process_alone_is_first_and_needs_nobody(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    ranks, module = Ranks(), torch.nn.Linear(1, 1)
    assert not launched() and ranks.first and not Ranks(1, 2).first
    assert ranks.wrap(module) is module and ranks.agreed(["a"]) == ["a"] and ranks.mean(torch.ones(2)).sum() == 2
    ranks.wait()
