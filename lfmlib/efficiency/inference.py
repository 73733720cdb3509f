"""Lifting with a trained network: latency of one sample, throughput of many, and memory of a million."""

from collections.abc import Iterator
from functools import lru_cache, partial

import torch

from lfmlib import lifting
from lfmlib.efficiency import counting, subprocesses
from lfmlib.efficiency.inputs import chain, run_config
from lfmlib.efficiency.records import Contest, Number
from lfmlib.efficiency.setting import Setting
from lfmlib.efficiency.timing import Turn
from lfmlib.lifting import LoadedLifter
from lfmlib.model import Lifter

GROUP = "inference"
LIFT, MEMORY = "lift", "memory of a lift"
EAGER, COMPILED, ONNX = "PyTorch", "PyTorch, compiled", "ONNX Runtime"
ENGINES = {EAGER: "torch", COMPILED: "compiled", ONNX: "onnx"}
KEYPOINTS = 17

# (width, depth), then samples with each engine; the larger networks by their latency alone; samples of the memory
SIZES = {
    "smoke": {"network": (16, 2), "samples": {ONNX: (1, 10)}, "wide": (), "memory": 1000},
    "cpu": {"network": (64, 4), "samples": {ONNX: (1, 100, 10_000), COMPILED: (1, 100, 10_000)},
            "wide": ((256, 8),), "memory": 10**6},
    "full": {"network": (64, 4), "samples": {ONNX: (1, 100, 10_000, 100_000), COMPILED: (1, 100, 10_000, 100_000)},
             "wide": ((256, 8), (512, 16)), "memory": 10**6},
}  # fmt: skip


def contests(setting: Setting) -> Iterator[Contest]:
    """Each engine against plain PyTorch; ONNX Runtime is for CPUs."""
    sizes = SIZES[setting.profile]
    width, depth = sizes["network"]
    for engine, numbers in sizes["samples"].items():
        if engine == ONNX and setting.device != "cpu":
            continue
        for samples in numbers:
            yield _contest(setting, engine, width, depth, samples)
    for width, depth in sizes["wide"]:
        yield _contest(setting, COMPILED if setting.device != "cpu" else ONNX, width, depth, 1)
    yield _memory(setting, *sizes["network"], sizes["memory"])


def _contest(setting: Setting, engine: str, width: int, depth: int, samples: int) -> Contest:
    sizes = {"width": width, "depth": depth, "keypoints": KEYPOINTS, "samples": samples}
    return Contest(
        GROUP, f"{LIFT}, {engine}", f"{LIFT}, {EAGER}", sizes,
        partial(_make, setting, engine, width, depth, samples), threads=setting.threads,
        counts=partial(_counts, width, depth, samples),
    )  # fmt: skip


@lru_cache(maxsize=4)  # an ONNX graph takes seconds to make
def loaded(width: int, depth: int, device: str, engine: str = "torch") -> LoadedLifter:
    """A lifter as `lifting.load` returns it, with weights as they are drawn: time does not depend on them."""
    config, rig = run_config(width, depth, keypoints=KEYPOINTS), chain(KEYPOINTS)
    lifter = Lifter(config.model, [rig]).to(device).eval().requires_grad_(False)
    return lifting.with_engine(LoadedLifter(lifter, config, (rig,)), engine)


def _make(setting: Setting, engine: str, width: int, depth: int, samples: int, _: object) -> tuple[Turn, Turn]:
    keypoints = torch.randn(samples, KEYPOINTS, 2, generator=setting.generator(), device=setting.device)
    warm_up = 1 if samples >= 10**5 else 3

    def turn(name: str) -> Turn:
        lifter = loaded(width, depth, setting.device, ENGINES[name])
        return setting.timed(lambda: lifting.lift(lifter, keypoints), warm_up)

    return turn(engine), turn(EAGER)


def _counts(width: int, depth: int, samples: int) -> dict[str, Number]:
    network = loaded(width, depth, "cpu").lifter
    one = counting.flops(lambda: network(torch.zeros(1, KEYPOINTS, 2)))
    return {"flops": float(samples * one), "work": samples, "parameters": sum(p.numel() for p in network.parameters())}


def _memory(setting: Setting, width: int, depth: int, samples: int) -> Contest:
    """Peak memory of a process above what it holds once it has loaded the model and lifted one sample."""
    answers: list[tuple[float, float]] = []

    def turn() -> float:
        answers.append(subprocesses.call("memory", str(samples), str(width), str(depth), setting.device,
                                         str(setting.threads)))  # fmt: skip
        return answers[-1][0]

    sizes = {"width": width, "depth": depth, "keypoints": KEYPOINTS, "samples": samples}
    return Contest(GROUP, MEMORY, "", sizes, lambda _: (turn, None), threads=setting.threads, pairs=1,
                   counts=lambda: {"peak_bytes": max(peak for _, peak in answers), "work": samples})  # fmt: skip
