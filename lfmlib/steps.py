"""The training step of a stack: draw, lift, lose, derive, clip, update; all arms at once."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lfmlib import geometry
from lfmlib.arms import Arm
from lfmlib.distributed import Ranks
from lfmlib.graphs import GraphedSteps
from lfmlib.runs import RunConfig
from lfmlib.stack import StackedLifter, tied
from lfmlib.stacked_views import Batch, StackedViews


def learning_rate_factor(config: RunConfig, step: int) -> float:
    """Factor on the learning rate at a step (from 0)."""
    warm = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    done = step / config.steps
    if config.schedule == "cosine":
        return warm * 0.5 * (1 + math.cos(math.pi * done))
    if config.schedule == "trapezoid":
        return max(0.02, warm * min(1.0, 1.5 * (1 - done)))
    return warm


class Steps:
    """Weights, optimiser and step of a stack of arms.

    Where every objective is Eq. 1, losses and cameras of all arms are one batch, too, and on a GPU the whole step is
    recorded once and replayed (`GraphedSteps`). Other objectives go arm by arm, only their networks run together.

    Args:
        arms: in an order that `order` gives; all at the same step.
        states: the optimiser's state of each, from its checkpoint; empty for one that starts.
        device: "cpu" or "cuda".
        ranks: processes that share the batches; None: this one alone.
    """

    def __init__(
        self, arms: list[Arm], states: Sequence[dict[str, Tensor]], device: str, ranks: Ranks | None = None
    ) -> None:
        self.arms, self.device, self.ranks = arms, device, ranks or Ranks()
        self.model = StackedLifter([arm.lifter for arm in arms])
        self.averaged = [i for i, arm in enumerate(arms) if arm.config.ema]
        self.average = tied([arms[i].average for i in self.averaged]) if self.averaged else None
        self.views = StackedViews(arms)
        cuda = device.startswith("cuda")
        # a row of all parameters is one tensor to the optimiser: what an arm has for itself is a parameter group
        self.rows = [torch.nn.Parameter(row) for row in self.model.flat]
        self.rates = torch.tensor([[a.config.lr * learning_rate_factor(a.config, step) for a in arms]
                                   for step in range(arms[0].config.steps)], dtype=torch.float64)  # [S, A]  # fmt: skip
        self.rate = torch.zeros(len(arms), device=device)
        if cuda:
            self.rates = self.rates.to(device, torch.float32)
        self.optimizer = torch.optim.AdamW(
            [{"params": [row], "lr": self.rate[a] if cuda else arms[a].config.lr, "betas": arms[a].config.betas,
              "weight_decay": arms[a].config.weight_decay} for a, row in enumerate(self.rows)],
            fused=True, capturable=cuda,
        )  # fmt: skip
        for row, state in zip(self.rows, states, strict=True):
            if state:
                self.optimizer.state[row] = {name: value.to(device) for name, value in state.items()}
        clips = torch.tensor([arm.config.clip for arm in arms], device=device, dtype=self.model.flat.dtype)
        self.clips = torch.where(clips > 0, clips, math.inf)
        self.clipping = any(arm.config.clip > 0 for arm in arms)
        self.alive = list(range(len(arms)))
        self.takes_part = torch.ones(len(arms), dtype=torch.bool, device=device)
        objectives = [arm.config.objective for arm in arms]
        self.is_eq1 = all(o.is_eq1 for o in objectives) and len({o.camera for o in objectives}) == 1
        self.weights = torch.tensor([o.reprojection for o in objectives], device=device, dtype=self.model.flat.dtype)
        self.losses, self.counted = torch.zeros(len(arms), device=device, dtype=torch.float64), 0
        self.bf16 = arms[0].config.precision == "bf16"
        if cuda:
            torch.compiler.reset()  # shapes of earlier stacks count towards the compiler's limit: past it, it gives up
        self.lift = self.ranks.wrap(torch.compile(self.model, dynamic=False) if cuda else self.model)
        hidden = any(arm.config.self_occlusion for arm in arms)  # asks the device for numbers: cannot be recorded
        recordable = cuda and self.is_eq1 and not hidden and self.ranks.world == 1
        self.graphs = GraphedSteps(self, arms) if recordable else None

    @staticmethod
    def order(arms: Sequence[Arm]) -> list[int]:
        """Positions of the arms in the order in which they are best stacked."""
        at = {id(arm): i for i, arm in enumerate(arms)}
        return [at[id(arm)] for arm in StackedViews.in_order(arms)]

    def one(self) -> None:
        """One training step of every arm that has not diverged."""
        step = self.arms[0].step
        self._set_rates(step)
        if self.graphs is not None:
            self.graphs.run(step)
        else:
            self.body(step)
        self.counted += self.is_eq1
        for arm in self.arms:
            arm.step += 1
        if self.averaged:
            self._move_averages(step)

    def body(self, step: int) -> None:
        """What a step computes; where `graphs` records it, nothing in it may wait for the device."""
        batch = self.ranks.share(self.views.draw(step, own=not self.is_eq1))
        if self.is_eq1:
            losses = self._eq1(batch)
            self.losses += losses.detach()
            loss = torch.where(self.takes_part, losses, 0).sum()
        else:
            loss = self._arm_by_arm(batch)
        if loss is not None:
            loss.backward()
        self._update()
        if not self.is_eq1:
            self._train_critics(step)
            self.freeze()

    def _network(self, X: Tensor, visible: Tensor | None, category: Tensor) -> Tensor:
        with torch.autocast(X.device.type, torch.bfloat16, enabled=self.bf16):
            Y = self.lift(X, visible, category)
        return Y.to(X.dtype)

    def _eq1(self, batch: Batch) -> Tensor:
        """Eq. 1 of every arm, per visible keypoint and sample; [A]."""
        X, visible, category = batch[:3]
        Y = self._network(X, visible, category)
        mask = None if visible is None else visible.flatten(0, 1)
        camera = self.arms[0].config.objective.camera
        residual = geometry.reprojection(X.flatten(0, 1), Y.flatten(0, 1), mask, camera).view(X.shape[:2])
        count = X.shape[2] if visible is None else visible.sum(2).clamp_min(1)
        return self.weights * (residual / count).mean(1)

    def _arm_by_arm(self, batch: Batch) -> Tensor | None:
        """Runs the objectives side by side: what they want lifted, all networks lift together."""
        arms = self.arms
        asking = {}
        for i in self.alive:
            shapes = {"Y": batch.own[i].Y} if arms[i].config.objective.needs_shapes else {}
            asking[i] = arms[i].objective.steps(batch.own[i], arms[i].generator, **shapes)
        answers: dict[int, Tensor | None] = dict.fromkeys(asking)
        losses = []
        while asking:
            wanted = {}
            for i in list(asking):
                try:
                    wanted[i] = asking[i].send(answers[i])
                except StopIteration as end:
                    loss, terms = end.value
                    arms[i].note({"loss": loss, **terms})
                    losses.append(loss)
                    del asking[i]
                except (ValueError, torch.linalg.LinAlgError) as error:
                    arms[i].diverged(error)
                    del asking[i]
            if wanted:
                answers = self._answer(batch, wanted)
        return torch.stack(losses).sum() if losses else None

    def _answer(self, batch: Batch, wanted: dict[int, tuple]) -> dict[int, Tensor]:
        """What the networks say to the pictures that some arms want lifted."""
        X = [torch.zeros_like(x) for x in batch.X]
        for i, request in wanted.items():
            X[i] = torch.nn.functional.pad(request.X, (0, 0, 0, batch.X.shape[2] - request.X.shape[1]))
        Y = self._network(torch.stack(X), batch.visible, batch.category)
        return {i: Y[i, :, : request.X.shape[1]] for i, request in wanted.items()}

    def _update(self) -> None:
        gradients = self.model.take_gradients()
        if self.clipping:
            norms = torch.linalg.vector_norm(gradients, dim=1)
            gradients.mul_((self.clips / (norms + 1e-6)).clamp_max(1)[:, None])
        alive = set(self.alive)
        for a, row in enumerate(self.rows):
            row.grad = gradients[a] if a in alive else None  # without gradient a row stays as it is
        self.optimizer.step()

    def _train_critics(self, step: int) -> None:
        critics = [i for i in self.alive if self.arms[i].critic_optimizer and self.arms[i].status == "training"]
        again = self.views.again(step) if critics else {}
        for i in critics:
            arm = self.arms[i]
            for group in arm.critic_optimizer.param_groups:
                group["lr"] = float(self.rates[step, i])
            try:
                loss, terms = arm.objective.critic_loss(again[arm.id], step)
            except (ValueError, torch.linalg.LinAlgError) as error:
                arm.diverged(error)
                continue
            arm.critic_optimizer.zero_grad(set_to_none=True)
            loss.backward()
            arm.critic_optimizer.step()
            arm.note(terms)

    def _set_rates(self, step: int) -> None:
        if self.rates.is_cuda:
            self.rate.copy_(self.rates[step])  # on the device: nothing waits
            return
        for group, rate in zip(self.optimizer.param_groups, self.rates[step].tolist(), strict=True):
            group["lr"] = rate

    @torch.no_grad()
    def _move_averages(self, step: int) -> None:
        decays = [min(self.arms[i].config.ema, (1 + step) / (10 + step)) for i in self.averaged]
        share = torch.tensor([1 - decay for decay in decays], dtype=self.average.dtype).to(self.device)
        latest = self.model.flat if len(self.averaged) == len(self.arms) else self.model.flat[self.averaged]
        self.average.lerp_(latest, share[:, None])

    def hand_out_means(self) -> None:
        """Gives each arm its share of the losses that were added up for all."""
        if not self.counted:
            return
        totals = self.ranks.mean(self.losses).tolist()
        for arm, total, weight in zip(self.arms, totals, self.weights.tolist(), strict=True):
            arm.means.add("loss", total, self.counted)
            arm.means.add("reprojection", total / weight, self.counted)
        self.losses.zero_()
        self.counted = 0

    def freeze(self) -> None:
        """Takes arms that have diverged out of the updates: what they hold, and the other arms, stay as they are."""
        alive = [i for i, arm in enumerate(self.arms) if arm.status == "training"]
        if alive != self.alive and self.graphs is not None:
            self.graphs.forget()  # they were recorded with more arms
        if alive != self.alive:
            self.takes_part = torch.tensor([arm.status == "training" for arm in self.arms], device=self.device)
        self.alive = alive

    def save(self) -> None:
        """Writes a checkpoint of every arm that still trains."""
        self.hand_out_means()
        for i in self.alive if self.ranks.first else ():
            if self.arms[i].status == "training":
                self.arms[i].save(dict(self.optimizer.state[self.rows[i]]))
