"""How one arm is trained elsewhere: a plain PyTorch loop, nothing stacked, compiled or recorded."""

import torch

from lfmlib import geometry
from lfmlib.arms import Arm
from lfmlib.data.batches import ViewSampler


class EagerArm:
    """An arm's training step in eager mode: draw, forward, Eq. 1, backward, clip, AdamW.

    The same work as `Steps` does for that arm, with the same views, fit and optimiser (fused), so that what is compared
    is how arms are run and not what they compute.

    Args:
        arm: an arm of its own, no other contestant's.
    """

    def __init__(self, arm: Arm) -> None:
        config = arm.config
        self.arm, self.device = arm, torch.device(arm.device)
        self.sampler = ViewSampler(arm.data.train, config.cameras, device=arm.device)
        self.optimizer = torch.optim.AdamW(
            arm.lifter.parameters(), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True
        )

    def step(self) -> None:
        """One training step."""
        arm, config = self.arm, self.arm.config
        views = self.sampler.draw(config.batch, arm.generator)
        X = views.X.to(arm.dtype)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            Y = arm.lifter(X, views.visible, views.category)
        loss = geometry.reprojection(X, Y.to(X.dtype), views.visible).mean() / X.shape[1]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(arm.lifter.parameters(), config.clip, foreach=True)
        self.optimizer.step()
