"""From a run's file to a lifter that can be used: found, checked against its record, and put on an engine."""

import difflib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lfmlib import files
from lfmlib.encodings import check_choice
from lfmlib.model import Lifter
from lfmlib.rigs import Rig
from lfmlib.runs import RunConfig
from lfmlib.store import RunStore, read_tensors
from lfmlib.torch_engine import Compiled, Engine, TorchEngine

WEIGHTS = "model.safetensors"
SHIPPED = Path(__file__).parent / "shipped"  # the network that comes with the package, by the name "shipped"
ENGINES = ("torch", "compiled", "onnx")


@dataclass(frozen=True)
class LoadedLifter:
    """A trained lifter with what is needed to use it.

    Args:
        lifter: the network.
        config: the run that made it.
        rigs: its categories, in the order of the category index.
        engine: what computes; None: plain PyTorch. See `with_engine`.
    """

    lifter: Lifter
    config: RunConfig
    rigs: tuple[Rig, ...]
    engine: Engine | None = None

    def __post_init__(self) -> None:
        if self.engine is None:
            object.__setattr__(self, "engine", TorchEngine(self.lifter, self.config.objective))

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.lifter.category.device

    @property
    def names(self) -> tuple[str, ...]:
        """The categories that it can lift."""
        return tuple(rig.name for rig in self.rigs)

    def rig(self, category: str | None = None) -> Rig:
        """Rig of a category; None stands for the only one.

        Raises:
            ValueError: the run does not know the category, or knows several and none is named.
        """
        if category is None and len(self.rigs) > 1:
            raise ValueError(f"this run has {len(self.rigs)} categories, name one of them: {', '.join(self.names)}")
        if category is not None:
            check_choice("category", category, self.names)
        return self.rigs[0 if category is None else self.names.index(category)]


def load(
    path: str | os.PathLike,
    store: RunStore | None = None,
    device: str | torch.device = "cpu",
    engine: str = "torch",
) -> LoadedLifter:
    """The trained lifter of a run.

    Args:
        path: a model.safetensors file, the folder of a run, the id of a run in the store, or "shipped".
        store: where ids are looked up; None: the default store.
        device: where the network goes.
        engine: see `with_engine`; "onnx" keeps its graph beside the weights, as model.engine.onnx.
    Raises:
        FileNotFoundError: no such file, folder or run, or a run that is not finished.
        ValueError: the file is cut short or damaged, holds no lifter, or comes from a version whose configuration
            this one does not know (names the file); an unknown engine, or one that cannot use the device.
        ImportError: a package that the engine needs is missing.
    """
    file = _locate(path, store or RunStore())
    tensors, header = read_tensors(file)
    if not {"config", "rigs"} <= set(header):
        what = "a checkpoint of an unfinished run" if "state" in header else "a safetensors file, but not of a lifter"
        raise ValueError(f"{file}: {what}; expected the {WEIGHTS} of a finished run")
    _check_digest(file)
    try:
        config, rigs = run_config(json.loads(header["config"])), _rigs(json.loads(header["rigs"]))
        lifter = Lifter(config.model, rigs, config.seed)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{file}: written by another version of lfmlib, or altered ({error})") from error
    try:
        lifter.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{file}: weights and configuration do not belong together ({reason})") from error
    if bad := [name for name, value in tensors.items() if not bool(value.isfinite().all())]:
        raise ValueError(f"{file}: {bad[0]} is not finite: the run diverged; train it again with a smaller lr")
    loaded = LoadedLifter(lifter.to(device).eval().requires_grad_(False), config, rigs)
    return with_engine(loaded, engine, file)


def with_engine(loaded: LoadedLifter, engine: str, weights: Path | None = None) -> LoadedLifter:
    """The same lifter on another engine; `lifting.lift` gives the same results on each of them, to rounding.

    Args:
        loaded: see `load`.
        engine: "torch", PyTorch as it is; "compiled", the network through torch.compile at its first use, which pays
            for many samples on a GPU; "onnx", ONNX Runtime on the CPU, fast for few samples.
        weights: the file of the weights: the ONNX graph is kept beside it. None: the graph is made anew, which takes
            seconds.
    Raises:
        ValueError: an unknown engine; "onnx" for a network that is not on the CPU.
        ImportError: a package that the engine needs is missing.
    """
    check_choice("engine", engine, ENGINES)
    lifter, objective = loaded.lifter, loaded.config.objective
    if engine == "onnx":
        if loaded.device.type != "cpu":
            raise ValueError(f"engine 'onnx' computes on the CPU, but the network is on {loaded.device}")
        from lfmlib.onnx_engine import OnnxEngine  # its packages are optional
        from lfmlib.onnx_graph import graph_of

        return replace(loaded, engine=OnnxEngine(graph_of(loaded, weights), objective))
    return replace(loaded, engine=TorchEngine(Compiled(lifter) if engine == "compiled" else lifter, objective))


def _locate(path: str | os.PathLike, store: RunStore) -> Path:
    """The weights' file that a path or a run's id means."""
    given = Path(path)
    if given.is_file():
        return given
    folder = SHIPPED if str(path) == SHIPPED.name else given if given.is_dir() else store.folder(str(path))
    if (folder / WEIGHTS).is_file():
        return folder / WEIGHTS
    if (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder}: the run is not finished; the command that started it goes on with it")
    if given.is_dir():
        raise FileNotFoundError(f"{folder}: no {WEIGHTS} in this folder")
    known = sorted(file.parent.name for file in store.root.glob(f"*/{WEIGHTS}"))
    near = difflib.get_close_matches(str(path), known, n=3) or known[:3]
    there = f"finished runs there: {len(known)}{', such as ' * bool(near)}{', '.join(near)}"
    raise FileNotFoundError(f"{path}: neither a file, nor a folder, nor the id of a run in {store.root} ({there})")


def _check_digest(file: Path) -> None:
    """Compares the weights with the record that lies beside them, if one does."""
    record = file.with_name("record.json")
    if file.name != WEIGHTS or not record.is_file():
        return
    content = files.read_json(record)
    digests = content.get("files") if isinstance(content, dict) else None
    expected = digests.get(WEIGHTS) if isinstance(digests, dict) else None
    if files.sha256_of(file) != expected:
        raise ValueError(f"{file}: damaged: its content does not match record.json beside it; train the run again")


def run_config(content: dict[str, Any]) -> RunConfig:
    """Inverse of writing a configuration as JSON, which has no tuples; raises ValueError where it does not fit."""
    return RunConfig.from_dict({key: tuple(v) if isinstance(v, list) else v for key, v in content.items()})


def _rigs(content: list[dict[str, Any]]) -> tuple[Rig, ...]:
    """Inverse of writing rigs as JSON, which has no tuples."""
    return tuple(Rig(**{key: _tuples(value) for key, value in rig.items()}) for rig in content)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
