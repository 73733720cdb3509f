"""One training run: configuration, loop, evaluation, checkpoints. Deterministic, resumable after a kill at any moment.

Early stopping is absent on purpose: the papers stop on the validation MPJPE, which needs 3D labels. The curve keeps the
3D metrics of a validation split so that such a stop can be shown beside the last step, as a row of its own name.
"""

import copy
import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from lfmlib import files, geometry, metrics, provenance
from lfmlib.data.batches import ViewSampler, evaluation_views
from lfmlib.data.shapes import ShapeSet
from lfmlib.data.views import EvaluationViews
from lfmlib.model import Lifter
from lfmlib.objectives import Objective
from lfmlib.objectives.fitting import observed_with_depth, read_out
from lfmlib.objectives.plausibility import resized
from lfmlib.runs import FIXED_VIEW_SEED, TEST_SEED, VALIDATION_SEED, RunConfig, RunData, run_id
from lfmlib.store import RunStore

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 20.0


def train(
    config: RunConfig,
    store: RunStore | None = None,
    device: str = "cpu",
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Trains a run, or takes it up where it was cut, or returns the record of the finished one.

    Args:
        config: the run.
        store: where it lives; None: the default store.
        device: "cpu" or "cuda".
        progress: called with each new point of the curve.
    Returns:
        The record: configuration, data, final metrics per category and read-out, the point that 3D early stopping would
        have chosen, provenance. `record["status"]` is "done" or "diverged".
    Raises:
        ValueError: a CUDA device is asked for and there is none; a category is unknown.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} was asked for and torch sees no GPU: use device='cpu'")
    store = store or RunStore()
    run_data = RunData.of(config)
    run = run_id(config, run_data)
    if (record := store.record(run)) is not None:
        return record
    return _Trainer(config, run_data, run, store, device).run(progress or (lambda point: None))


class _Trainer:
    def __init__(self, config: RunConfig, run_data: RunData, run: str, store: RunStore, device: str) -> None:
        self.config, self.data, self.id, self.store, self.device = config, run_data, run, store, device
        rigs = tuple(s.rig for s in run_data.train)
        self.generator = torch.Generator(device).manual_seed(config.seed)
        self.model = Lifter(config.model, rigs, config.seed).to(device)
        self.average = copy.deepcopy(self.model).requires_grad_(False) if config.ema else self.model
        critic_generator = torch.Generator().manual_seed(config.seed + 1)
        known_rigs = rigs if config.objective.needs_rigs else ()
        self.objective = Objective(config.objective, known_rigs, critic_generator).to(device)
        fixed = None
        if config.views == "fixed":
            fixed = torch.Generator(device).manual_seed(FIXED_VIEW_SEED + config.seed)
        self.sampler = ViewSampler(
            run_data.train, config.cameras, config.missing, config.self_occlusion, fixed, device, config.temperature,
            config.waste,
        )  # fmt: skip
        views = lambda sets, seed: evaluation_views(  # noqa: E731
            sets, config.cameras, config.test_views, seed, config.missing, config.self_occlusion, device
        )
        self.test = views(run_data.test, TEST_SEED + config.seed)
        self.validation = views(run_data.validation, VALIDATION_SEED + config.seed)
        adamw = lambda p: torch.optim.AdamW(  # noqa: E731
            p, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True
        )
        self.optimizer = adamw(self.model.parameters())
        critic = self.objective.discriminator
        self.critic = None if critic is None else adamw(critic.parameters())
        self.curve: list[dict[str, Any]] = []
        self.step, self.sums, self.seconds = 0, {}, 0.0

    def run(self, progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        config = self.config
        files.write_json(self.store.folder(self.id) / "config.json", config.as_dict())
        self._restore()
        points = {max(1, round(config.steps * (i + 1) / config.evaluations)) for i in range(config.evaluations)}
        started, status = time.monotonic(), "done"
        saved = started
        if self.step == 0:
            self.objective.prepare(lambda count: self.sampler.draw(count, self.generator, mixed=True))
        while self.step < config.steps:
            try:
                self._one_step()
                self.step += 1
                point = self._point() if self.step in points else None
            except (ValueError, torch.linalg.LinAlgError) as error:
                if self._is_finite():
                    raise
                log.warning("run %s diverged at step %d: %s", self.id, self.step, error)
                point = {"step": self.step, "loss": None}
            if point is not None:
                self.curve.append(point)
                progress(point)
                if point["loss"] is None:
                    status = "diverged"
                    break
            now = time.monotonic()
            if now - saved > CHECKPOINT_SECONDS and self.step < config.steps:
                self.seconds, started, saved = self.seconds + now - started, now, now
                self._save()
        self.seconds += time.monotonic() - started
        return self._finish(status)

    def _one_step(self) -> None:
        config, draw = self.config, self.sampler.draw
        supervised = config.objective.supervised_3d > 0
        views = (self.sampler.draw_with_truth if supervised else draw)(config.batch, self.generator)
        rate = config.lr * learning_rate_factor(config, self.step)
        for optimizer in (self.optimizer, self.critic):
            for group in optimizer.param_groups if optimizer else ():
                group["lr"] = rate
        truth = {"Y": views.Y} if supervised else {}
        loss, terms = self.objective(self.model, views, self.generator, **truth)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if config.clip:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip, foreach=True)
        self.optimizer.step()
        if self.critic:
            critic_loss, critic_terms = self.objective.discriminator_loss(draw(config.batch, self.generator), self.step)
            self.critic.zero_grad(set_to_none=True)
            critic_loss.backward()
            self.critic.step()
            terms = terms | critic_terms
        for name, value in {"loss": loss.detach(), **terms}.items():
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = (total + value.double(), count + 1)
        if config.ema:
            with torch.no_grad():
                decay = min(config.ema, (1 + self.step) / (10 + self.step))
                torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)

    def _point(self) -> dict[str, Any]:
        """One point of the curve: mean training terms since the last one, then validation and test metrics."""
        means = {name: float(total / count) for name, (total, count) in self.sums.items()}
        self.sums = {}
        point = {"step": self.step, **{name: v if math.isfinite(v) else None for name, v in means.items()}}
        if point["loss"] is None:
            return point
        for name, views, sets in (("validation", self.validation, self.data.validation),
                                  ("test", self.test, self.data.test)):  # fmt: skip
            point[name] = evaluate(self.average, self.config, views, sets)
        json.dumps(point, allow_nan=False)  # raises ValueError where a metric has overflowed
        return point

    @torch.no_grad()
    def _is_finite(self) -> bool:
        """Whether weights and predictions are numbers whose squares can be added up."""
        weights = [*self.model.parameters(), *self.average.parameters(), *self.objective.parameters()]
        views = self.test
        outputs = [model(views.X, views.visible, views.category) for model in (self.model, self.average)]
        return all(bool(torch.isfinite(v.square().sum())) for v in weights + outputs)

    def _finish(self, status: str) -> dict[str, Any]:
        complete = [p for p in self.curve if "test" in p]
        best = min(complete, key=lambda p: p["validation"]["fit"][-1]["flip"], default=None)
        record = {
            "id": self.id,
            "status": status,
            "config": self.config.as_dict(),
            "data": self.data.description(),
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "final": complete[-1] if complete and status == "done" else None,
            "stopped_by_3d": best if status == "done" else None,
            "provenance": {
                "seconds": round(self.seconds, 2), "threads": torch.get_num_threads(), "device": self.device,
                "finished": provenance.now(), **provenance.commit(), "machine": provenance.machine(),
            },
        }  # fmt: skip
        rigs = [asdict(s.rig) for s in self.data.train]
        header = {"config": json.dumps(self.config.as_dict()), "rigs": json.dumps(rigs)}
        return self.store.finish(self.id, self.average.state_dict(), header, self.curve, record)

    def _parts(self) -> dict[str, Any]:
        parts = {"model": self.model, "objective": self.objective}
        return parts | ({"average": self.average} if self.config.ema else {})

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"optimizer": self.optimizer} | ({"critic": self.critic} if self.critic else {})

    def _save(self) -> None:
        tensors = {f"{part}.{k}": v for part, module in self._parts().items() for k, v in module.state_dict().items()}
        for name, optimizer in self._optimizers().items():
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"{name}.{index}.{k}": v for k, v in state.items()}
        tensors["generator"] = self.generator.get_state()
        sums = {name: [float(total), count] for name, (total, count) in self.sums.items()}
        if any(not math.isfinite(total) for total, _ in sums.values()):
            return  # diverged: the next point of the curve ends the run
        state = {"step": self.step, "turn": self.sampler.turn, "curve": self.curve, "sums": sums,
                 "seconds": self.seconds}  # fmt: skip
        self.store.save_checkpoint(self.id, {k: v.clone() for k, v in tensors.items()}, state)

    def _restore(self) -> None:
        loaded = self.store.load_checkpoint(self.id)
        if loaded is None:
            return
        tensors, state = loaded

        def below(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        for part, module in self._parts().items():
            module.load_state_dict(below(f"{part}."))
        for name, optimizer in self._optimizers().items():
            nested: dict[int, dict[str, Tensor]] = {}
            for key, value in below(f"{name}.").items():
                index, _, field_name = key.partition(".")
                nested.setdefault(int(index), {})[field_name] = value
            optimizer.load_state_dict({"state": nested, "param_groups": optimizer.state_dict()["param_groups"]})
        self.generator.set_state(tensors["generator"])
        self.step, self.curve, self.seconds = state["step"], state["curve"], state["seconds"]
        self.sampler.turn = state["turn"]
        as_sum = lambda total: torch.tensor(total, dtype=torch.float64, device=self.device)  # noqa: E731
        self.sums = {name: (as_sum(total), count) for name, (total, count) in state["sums"].items()}


def learning_rate_factor(config: RunConfig, step: int) -> float:
    """Factor on the learning rate at a step (from 0)."""
    warm = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    done = step / config.steps
    if config.schedule == "cosine":
        return warm * 0.5 * (1 + math.cos(math.pi * done))
    if config.schedule == "trapezoid":
        return max(0.02, warm * min(1.0, 1.5 * (1 - done)))
    return warm


@torch.no_grad()
def evaluate(
    model: Lifter, config: RunConfig, views: EvaluationViews, sets: tuple[ShapeSet, ...], batch: int = 2000
) -> dict[str, Any]:
    """Eq. 1 (2D alone) and the PA-MPJPE records under both read-outs, per category and as class mean.

    Returns:
        {"eq1": mean squared residual per visible keypoint, "fit": records, "snap": records}; see `metrics.evaluate`. A
        depth network has the snap read-out alone, under both names.
    """
    shapes, snapped, losses = [], [], []
    n_max, sizes = views.X.shape[1], [s.rig.n for s in sets]
    for start in range(0, len(views.X), batch):
        part = slice(start, start + batch)
        category = views.category[part]
        n = max(sizes[c] for c in category.unique().tolist())  # views stand in the order of the categories: cut padding
        X, visible = views.X[part, :n], None if views.visible is None else views.visible[part, :n]
        Y = model(X, visible, category)
        if config.objective.output == "depth":
            shapes.append(resized(observed_with_depth(X, Y, visible), n_max))
            snapped.append(shapes[-1])
            losses.append(torch.zeros(len(X)))
            continue
        camera = fit(X, Y, visible, config.objective.camera)
        shapes.append(resized(Y, n_max))
        snapped.append(resized(read_out(X, Y, camera, visible, "snap"), n_max))
        seen = X.shape[1] if visible is None else visible.sum(1)
        losses.append((geometry.reprojection(X, Y, visible, config.objective.camera) / seen).cpu())
    common = dict(
        radius=[s.radius for s in sets], mm=[s.rig.mm for s in sets], names=[s.rig.name for s in sets]
    )  # fmt: skip
    result: dict[str, Any] = {"eq1": float(torch.cat(losses).mean())}
    for name, P in (("fit", torch.cat(shapes)), ("snap", torch.cat(snapped))):
        records = metrics.evaluate(P, views.Y, views.known, views.category, **common)
        result[name] = [r for r in records if r["category"] != metrics.POOLED]
    return result


def fit(X: Tensor, Y: Tensor, visible: Tensor | None, kind: str) -> geometry.Camera:
    """Camera of the kind that an objective names."""
    return (geometry.solve_camera if kind == "exact" else geometry.fit_camera_algebraic)(X, Y, visible)
