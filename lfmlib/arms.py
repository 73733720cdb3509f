"""One run as part of a stack: all of its state but the weights, its curve, its checkpoints, its record."""

import copy
import json
import logging
import math
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from lfmlib import evaluation, files, provenance
from lfmlib.model import Lifter
from lfmlib.objectives import Objective
from lfmlib.recipe.sleep import start_at_means
from lfmlib.recipe.wake import wake_all
from lfmlib.run_views import measuring_views
from lfmlib.runs import VALIDATION_SEED, RunConfig, RunData, run_id
from lfmlib.store import RunStore

log = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bf16": torch.float32, "float64": torch.float64}  # of the weights


class Means:
    """Running means of training terms, added up on the device so that nothing waits for them."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[Tensor | float, int]] = {}

    def add(self, name: str, total: Tensor | float, count: int = 1) -> None:
        before, counted = self.sums.get(name, (0.0, 0))
        total = total.detach().double() if isinstance(total, Tensor) else total
        self.sums[name] = (before + total, counted + count)

    def totals(self) -> dict[str, tuple[float, int]]:
        """Plain numbers; waits for the device."""
        return {name: (float(total), count) for name, (total, count) in self.sums.items()}


class Arm:
    """A run that trains, alone or beside others.

    Args:
        config, run_data: the run.
        store: where it lives.
        device: "cpu" or "cuda".
    """

    def __init__(self, config: RunConfig, run_data: RunData, store: RunStore, device: str) -> None:
        self.config, self.data, self.store, self.device = config, run_data, store, device
        self.id = run_id(config, run_data)
        self.dtype = DTYPES[config.precision]
        rigs = tuple(s.rig for s in run_data.train)
        self.generator = torch.Generator(device).manual_seed(config.seed)
        self.lifter = Lifter(config.model, rigs, config.seed).to(device, self.dtype)
        self.woken = () if config.recipe is None else wake_all(config, run_data, store)
        if config.model.mean_shape:
            start_at_means(self.lifter, self.woken)
        self.average = copy.deepcopy(self.lifter).requires_grad_(False) if config.ema else self.lifter
        critic_generator = torch.Generator().manual_seed(config.seed + 1)
        known_rigs = rigs if config.objective.needs_rigs else ()
        self.objective = Objective(config.objective, known_rigs, critic_generator).to(device, self.dtype)
        critic = self.objective.critic
        self.critic_optimizer = None if critic is None else torch.optim.AdamW(
            critic.parameters(), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True
        )  # fmt: skip
        self.test = measuring_views(config, run_data.test, device)
        self.validation = measuring_views(config, run_data.validation, device, VALIDATION_SEED)
        self.curve: list[dict[str, Any]] = []
        self.means = Means()
        self.step, self.seconds, self.status = 0, 0.0, "training"

    def note(self, terms: dict[str, Tensor]) -> None:
        """Adds a step's terms to the means of the next point of the curve."""
        for name, value in terms.items():
            self.means.add(name, value)

    def point(self) -> None:
        """Adds a point to the curve: mean training terms since the last one, then validation and test metrics.

        Where the run has diverged the point's loss is None, and its status says so.
        """
        means = {name: total / count for name, (total, count) in self.means.totals().items()}
        self.means = Means()
        point = {"step": self.step, **{name: v if math.isfinite(v) else None for name, v in means.items()}}
        if point["loss"] is not None:
            try:
                for name, views, sets in (("validation", self.validation, self.data.validation),
                                          ("test", self.test, self.data.test)):  # fmt: skip
                    point[name] = evaluation.evaluate(self.average, self.config, views, sets)
                json.dumps(point, allow_nan=False)  # raises ValueError where a metric has overflowed
            except (ValueError, torch.linalg.LinAlgError) as error:
                self.diverged(error)
                return
        self.curve.append(point)
        if point["loss"] is None:
            self.status = "diverged"
            log.warning("run %s diverged by step %d: its loss is not finite", self.id, self.step)

    def diverged(self, error: Exception) -> None:
        """Ends the run as diverged because of an error; raises the error again where its numbers are sound."""
        if self._is_finite():
            raise error
        log.warning("run %s diverged at step %d: %s", self.id, self.step, error)
        self.status = "diverged"
        self.curve.append({"step": self.step, "loss": None})

    @torch.no_grad()
    def _is_finite(self) -> bool:
        """Whether weights and predictions are numbers whose squares can be added up."""
        weights = [*self.lifter.parameters(), *self.average.parameters(), *self.objective.parameters()]
        X = self.test.X.to(self.dtype)
        outputs = [m(X, self.test.visible, self.test.category) for m in (self.lifter, self.average)]
        return all(bool(torch.isfinite(v.square().sum())) for v in weights + outputs)

    def finish(self, stacked: int) -> dict[str, Any]:
        """Writes the finished run and returns its record."""
        complete = [p for p in self.curve if "test" in p]
        measured = [p for p in complete if p["validation"]["fit"]]  # none where the data holds pictures alone
        best = min(measured, key=lambda p: p["validation"]["fit"][-1]["flip"], default=None)
        status = "done" if self.status == "training" else self.status
        record = {
            "id": self.id,
            "status": status,
            "config": self.config.as_dict(),
            "data": self.data.description(),
            "parameters": sum(p.numel() for p in self.lifter.parameters()),
            "final": complete[-1] if complete and status == "done" else None,
            "stopped_by_3d": best if status == "done" else None,
            **({"wake": [woken.record for woken in self.woken]} if self.woken else {}),
            "provenance": provenance.of_run(self.seconds, self.device, stacked=stacked),
        }  # fmt: skip
        rigs = [asdict(s.rig) for s in self.data.train]
        header = {"config": json.dumps(self.config.as_dict()), "rigs": json.dumps(rigs)}
        return self.store.finish(self.id, self.average.state_dict(), header, self.curve, record)

    def begin(self) -> dict[str, Tensor]:
        """Writes the run's configuration; takes up its checkpoint if there is one.

        Returns:
            The optimiser's state for the weights, as `save` got it; empty for a run that starts.
        """
        files.write_json(self.store.folder(self.id) / "config.json", self.config.as_dict())
        loaded = self.store.load_checkpoint(self.id)
        if loaded is None:
            return {}
        tensors, state = loaded
        for part, module in self._parts().items():
            module.load_state_dict(_below(tensors, f"{part}."))
        if self.critic_optimizer:
            nested: dict[int, dict[str, Tensor]] = {}
            for key, value in _below(tensors, "critic.").items():
                index, _, name = key.partition(".")
                nested.setdefault(int(index), {})[name] = value
            groups = self.critic_optimizer.state_dict()["param_groups"]
            self.critic_optimizer.load_state_dict({"state": nested, "param_groups": groups})
        self.generator.set_state(tensors["generator"])
        self.step, self.curve, self.seconds = state["step"], state["curve"], state["seconds"]
        as_sum = lambda total: torch.tensor(total, dtype=torch.float64, device=self.device)  # noqa: E731
        self.means.sums = {name: (as_sum(total), count) for name, (total, count) in state["sums"].items()}
        return _below(tensors, "optimizer.")

    def save(self, optimizer: dict[str, Tensor]) -> None:
        """Writes a checkpoint; a run that has diverged unnoticed keeps its last one."""
        sums = self.means.totals()
        if any(not math.isfinite(total) for total, _ in sums.values()):
            return  # the next point of the curve ends the run
        tensors = {f"{part}.{k}": v for part, module in self._parts().items() for k, v in module.state_dict().items()}
        tensors |= {f"optimizer.{k}": v for k, v in optimizer.items()}
        if self.critic_optimizer:
            for index, state in self.critic_optimizer.state_dict()["state"].items():
                tensors |= {f"critic.{index}.{k}": v for k, v in state.items()}
        tensors["generator"] = self.generator.get_state()
        state = {"step": self.step, "curve": self.curve, "sums": sums, "seconds": self.seconds}
        self.store.save_checkpoint(self.id, {k: v.clone() for k, v in tensors.items()}, state)

    def _parts(self) -> dict[str, Any]:
        parts = {"model": self.lifter, "objective": self.objective}
        return parts | ({"average": self.average} if self.config.ema else {})


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
