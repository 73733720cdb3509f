"""The training loop that the learned baselines share."""

import math
from collections.abc import Callable

import torch

from lfmlib.baselines.interface import Baseline
from lfmlib.data.views import Views


def fit(
    baseline: Baseline,
    draw: Callable[[int, torch.Generator], Views],
    steps: int,
    batch: int = 64,
    lr: float | int = 3e-3,
    seed: int = 0,
    weight_decay: float | int = 1e-4,
    clip: float | int = 1.0,
    points: int = 50,
) -> dict[str, list[int] | list[float]]:
    """Trains a baseline in place by AdamW with a cosine schedule to 0, and leaves it in evaluation mode.

    All baselines get the optimiser, the steps and the batches that the lifters of this repository get, so that a
    comparison is about methods; no early stop, for it would need 3D. Deterministic: on one device the same weights,
    `draw` and seed give the same record and the same trained weights.

    Args:
        baseline: a method, with its first weights.
        draw: (count, generator) -> pictures, such as `ViewSampler(...).draw` on the baseline's device.
        steps, batch, lr: of the training. 3e-3 is a rate for both methods, by their held-out 2D loss (17 keypoints,
            1,000 steps, one seed): below that of 1e-3 for both; 1e-2 is lower yet for PAUL and higher for C3DPO.
        seed: of the batches and of all that the loss draws (the first weights have a generator of their own).
        weight_decay: of all weights, decoupled.
        clip: bound on the gradient's norm; 0 = none.
        points: of the record, at most.
    Returns:
        {"step": steps done, "loss": ..., one entry for each term}: lists of equal length, each value the mean since the
        point before.
    Raises:
        ValueError: a loss or a gradient is not finite (names the method and the step); steps, batch or points below 1;
            a rate that is negative or not finite.
    """
    for name, number in (("steps", steps), ("batch", batch), ("points", points)):
        if number < 1:
            raise ValueError(f"{name} is {number!r}: expected 1 or more")
    for name, rate in (("lr", lr), ("weight_decay", weight_decay), ("clip", clip)):
        if not 0 <= rate < math.inf:
            raise ValueError(f"{name} is {rate!r}: expected a finite number, 0 or more")
    weights = [p for p in baseline.parameters() if p.requires_grad]
    generator = torch.Generator(weights[0].device).manual_seed(seed)
    optimiser = torch.optim.AdamW(weights, lr=lr, weight_decay=weight_decay)
    ends = {round(steps * (k + 1) / points) for k in range(points)} - {0}
    record: dict[str, list[int] | list[float]] = {"step": []}
    sums, since = {}, 0
    baseline.train(True)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / steps))
        total, terms = baseline.loss(draw(batch, generator), generator)
        _check_finite(baseline, step, "loss", float(total.detach()))
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(weights, clip or math.inf)
        _check_finite(baseline, step, "gradient", float(norm))
        optimiser.step()
        for name, value in {"loss": total.detach(), **terms}.items():
            sums[name] = sums.get(name, 0) + value
        since += 1
        if step + 1 in ends:
            record["step"].append(step + 1)
            for name, value in sums.items():
                record.setdefault(name, []).append(float(value) / since)
            sums, since = {}, 0
    baseline.train(False)
    return record


def _check_finite(baseline: Baseline, step: int, what: str, value: float) -> None:
    if not math.isfinite(value):
        raise ValueError(f"{type(baseline).__name__}: {what} is {value} at step {step}; a lower lr may help")
