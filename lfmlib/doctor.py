"""What can be wrong with an installation, checked one by one: versions, GPU, data, folders, disk, the mathematics."""

import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from lfmlib import geometry, lifting, provenance
from lfmlib.data import real
from lfmlib.model import LifterConfig
from lfmlib.runs import RunConfig
from lfmlib.store import RunStore
from lfmlib.training import train

STATUSES = ("ok", "warn", "fail")
PYTHON, TORCH = (3, 11), (2, 6)
SCARCE, LITTLE = 200 * 2**20, 2 * 2**30  # bytes of free disk: too few for anything; few


class Result(NamedTuple):
    """One line of the examination; `advice` says what to do where the status is warn or fail."""

    status: str
    text: str
    advice: str = ""


def examine(runs: str | os.PathLike | None = None) -> Iterator[Result]:
    """Every check, one after the other; a check that breaks is a fail of its own and stops none of the others.

    Args:
        runs: folder of runs; None: the default store.
    """
    root = RunStore(runs).root
    checks: tuple[Callable[[], Iterator[Result]], ...] = (
        versions, gpu, threads, data, lambda: folder("results", provenance.results_root()),
        lambda: folder("runs", root), exact_fit, one_step,
    )  # fmt: skip
    for check in checks:
        try:
            yield from check()
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            yield Result("fail", f"{getattr(check, '__name__', 'check')}: {reason}", "report this as a bug of lfmlib")


def versions() -> Iterator[Result]:
    """Python, torch, and the other packages that pyproject.toml asks for, where lfmlib is installed."""
    found = ".".join(map(str, sys.version_info[:3]))
    wanted = ".".join(map(str, PYTHON))
    bad = sys.version_info[:2] < PYTHON
    yield Result("fail" if bad else "ok", f"python {found}", f"install Python {wanted} or newer" if bad else "")
    bad = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2]) < TORCH
    advice = f"pip install 'torch>={TORCH[0]}.{TORCH[1]}'"
    yield Result("fail" if bad else "ok", f"torch {torch.__version__}", advice if bad else "")
    try:
        lines = importlib.metadata.requires("lfmlib") or []
    except importlib.metadata.PackageNotFoundError:
        yield Result("warn", "lfmlib runs from its folder and is not installed", "pip install -e . in the repository")
        return
    from packaging.requirements import Requirement

    for need in map(Requirement, lines):
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(need.name)
        except importlib.metadata.PackageNotFoundError:
            version = None
        if version is None or not need.specifier.contains(version, prereleases=True):
            yield Result("fail", f"{need.name} is {version or 'absent'}", f"pip install '{need}'")


def gpu() -> Iterator[Result]:
    """Whether torch can use a GPU that is there."""
    if torch.cuda.is_available():
        yield Result("ok", f"GPU: {torch.cuda.get_device_name(0)} (--device cuda)")
    elif shutil.which("nvidia-smi"):
        yield Result("warn", "there is nvidia-smi, but torch sees no GPU", "install a CUDA build of torch")
    else:
        yield Result("ok", "no GPU: everything runs on the CPU")


def threads() -> Iterator[Result]:
    """More threads than cores slow training down many times over."""
    cores, used = provenance.machine()["cores"], torch.get_num_threads()
    too_many = used > (cores or used)
    yield Result("warn" if too_many else "ok", f"{used} threads on {cores} cores",
                 f"export OMP_NUM_THREADS={cores}" if too_many else "")  # fmt: skip


def data() -> Iterator[Result]:
    """The data folder, and whether each file in it can be read."""
    root = real.folder()
    if root is None:
        yield Result("warn", "LFM_DATA is not set: only synthetic categories",
                     "export LFM_DATA=/path/to/the/npz/files if you have measured shapes")  # fmt: skip
        return
    if not root.is_dir():
        yield Result("fail", f"LFM_DATA={root} is not a folder", "set it to the folder of the .npz files, or unset it")
        return
    good = []
    paths = [root / sub / f"{real.VIEWPOINTS}.npz" for sub in real.SUBFOLDERS]
    reads = {path.stem: partial(real.read_arrays, path) for path in paths if path.is_file()}
    reads |= {name: partial(real.load, name, root) for name in real.available(root)}
    for name, read in sorted(reads.items()):
        try:
            good.append(f"{name} ({len(read())})")
        except (ValueError, OSError) as error:
            reason = " ".join(str(error).split())
            yield Result("fail", f"data: {reason}", "get the file again, or take it out of the folder")
    if good:
        yield Result("ok", f"LFM_DATA={root}: {', '.join(good)}")
    else:
        yield Result("warn", f"LFM_DATA={root} holds no readable category", "see README, section on data")


def folder(name: str, path: Path) -> Iterator[Result]:
    """Whether files can be written there, and how much room there is."""
    there = path.absolute()
    while not there.exists():
        there = there.parent
    try:
        if not there.is_dir():
            raise NotADirectoryError(20, "not a folder")
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"lfm")
    except OSError as error:
        advice = f"make it writable, or set LFM_{name.upper()} to another folder"
        yield Result("fail", f"{name}/: {there} cannot be written ({error.strerror})", advice)
        return
    free = shutil.disk_usage(there).free
    status = "fail" if free < SCARCE else "warn" if free < LITTLE else "ok"
    advice = "free some disk space" if free < LITTLE else ""
    yield Result(status, f"{name}/: {path} can be written, {free / 2**30:.1f} GiB free", advice)


def exact_fit(samples: int = 8) -> Iterator[Result]:
    """The exact camera fit against a search over rotations that knows nothing of it."""
    generator = torch.Generator().manual_seed(0)
    Y = torch.randn(samples, 9, 3, generator=generator, dtype=torch.float64)
    X = torch.randn(samples, 9, 2, generator=generator, dtype=torch.float64)
    found = geometry.reprojection(X, Y)
    searched = torch.stack([_search(x, y, generator) for x, y in zip(X, Y, strict=True)])
    gap = float((found / searched - 1).abs().max())
    good = gap < 1e-4
    yield Result("ok" if good else "fail", f"exact fit: within {gap:.1e} of a brute-force search on {samples} samples",
                 "" if good else "torch computes wrongly on this machine: try another version of it")  # fmt: skip


def _search(x: torch.Tensor, y: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Least residual of one sample over random rotations, then over ever smaller random turns of the best ones."""
    x, y = x - x.mean(0), y - y.mean(0)

    def residual(R: torch.Tensor) -> torch.Tensor:
        flat = y @ R[:, :2].mT  # [K, N, 2]
        s = ((flat * x).sum((1, 2)) / flat.square().sum((1, 2))).clamp_min(0)
        return (s[:, None, None] * flat - x).square().sum((1, 2))

    R = geometry.random_rotations(4000, generator, torch.float64)
    best = R[residual(R).topk(8, largest=False).indices]
    for angle in 0.5 ** torch.arange(1, 16, dtype=torch.float64):
        axes = torch.nn.functional.normalize(torch.randn(8 * 40, 3, generator=generator, dtype=torch.float64), dim=-1)
        turned = geometry.axis_rotations(axes, angle.expand(8 * 40)) @ best.repeat_interleave(40, 0)
        pool = torch.cat([best, turned]).view(-1, 3, 3)
        best = pool[residual(pool).topk(8, largest=False).indices]
    return residual(best).min()


def one_step() -> Iterator[Result]:
    """A training step, the run's file, and a lift with it, in a temporary folder."""
    model = LifterConfig(width=8, depth=1, heads=2)
    config = RunConfig(("synthetic_chair10",), model=model, count=40, steps=1, batch=8, evaluations=1, test_views=8)
    with tempfile.TemporaryDirectory() as place:
        store = RunStore(place)
        record = train(config, store)
        loaded = lifting.load(record["id"], store)
    keypoints = torch.randn(4, loaded.rigs[0].n, 2, generator=torch.Generator().manual_seed(0))
    good = record["status"] == "done" and bool(lifting.lift(loaded, keypoints).shapes.isfinite().all())
    yield Result("ok" if good else "fail", "one training step, written, read and used to lift",
                 "" if good else "run the tests: ./run_tests.sh")  # fmt: skip
