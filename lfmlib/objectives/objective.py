"""The objective as the training loop sees it: adds up the terms that are switched on and carries their state."""

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lfmlib import geometry
from lfmlib.data.views import EvaluationViews
from lfmlib.objectives import consistency, fitting, plausibility
from lfmlib.objectives.cameras import CameraSwap, ReferenceShapes
from lfmlib.objectives.config import ObjectiveConfig
from lfmlib.objectives.flow import PictureFlow, unlikelihood
from lfmlib.objectives.limbs import limb_constancy_by_rig
from lfmlib.objectives.masked import cleaned, normalised
from lfmlib.objectives.pictures import Lifted, NewViews, Pictures
from lfmlib.objectives.plausibility import resized
from lfmlib.objectives.rank import low_rank, low_rank_subsets
from lfmlib.objectives.supervision import supervised_3d
from lfmlib.rigs import Rig

Loss = tuple[Float[Tensor, ""], dict[str, Tensor]]


class Request(NamedTuple):
    """Pictures that an objective wants lifted before it goes on."""

    X: Float[Tensor, "B N 2"]
    visible: Bool[Tensor, "B N"] | None
    category: Tensor


class Objective(nn.Module):
    """Training objective; `Objective()` is Eq. 1.

    State, all of it in `state_dict` (a restored run goes on exactly): the running mean camera per category, the
    running reference shape per category (output="depth"), the 2D statistics and the critic: the discriminator
    (adversary > 0) or the flow (flow > 0). Categories share none of it but the critic's hidden layers. The state
    moves in training mode only (a reference shape that does not exist yet starts in any mode).

    Args:
        config: which terms, with which weights.
        rigs: the categories in the order of the category index; needed by every term that compares samples of a
            category.
        generator: CPU generator for the critic's initial weights; needed where there is one.
    Raises:
        ValueError: rigs or generator are missing where the configuration needs them.
    Source: Eq. 1; the other terms are not in the paper, see their functions.
    """

    def __init__(
        self,
        config: ObjectiveConfig | None = None,
        rigs: Sequence[Rig] = (),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.config = config = config or ObjectiveConfig()
        if config.needs_rigs and not rigs:
            on = ", ".join(config.terms)
            raise ValueError(f"an objective with {on} (output={config.output!r}) needs the rigs of its categories")
        self.swap = self.references = self.features = self.discriminator = self.flow = None
        self.new_views: NewViews | None = None
        self.edges = tuple(torch.tensor(rig.edges, dtype=torch.long).view(-1, 2) for rig in rigs)
        if rigs:
            counts = torch.tensor([rig.n for rig in rigs])
            self.register_buffer("rig_keypoints", torch.arange(int(counts.max())) < counts[:, None], persistent=False)
        if config.uses_new_views:
            self.swap = CameraSwap(len(rigs), config.swap_mix)
        if config.output == "depth":
            self.references = ReferenceShapes(len(rigs), int(counts.max()))
        if (config.adversary > 0 or config.flow > 0) and generator is None:
            raise ValueError("adversary > 0 or flow > 0 needs a generator for the critic's initial weights")
        if config.adversary > 0:
            self.features = plausibility.PictureFeatures(rigs)
            self.discriminator = plausibility.Discriminator(
                self.features.size, self.features.keypoints, len(rigs), generator
            )
        if config.flow > 0:
            self.flow = PictureFlow(rigs, generator)

    @property
    def critic(self) -> plausibility.Discriminator | PictureFlow | None:
        """What learns beside the lifter, by `critic_loss` and an optimiser of its own; None where no term needs it."""
        return self.discriminator if self.flow is None else self.flow

    def prepare(self, draw: Callable[[int], Pictures], per_category: int = 4000) -> None:
        """Gather the 2D statistics that the critic rests on; does nothing where no term needs them.

        Args:
            draw: gives so many pictures, all categories mixed.
            per_category: how many to ask for, times the number of categories.
        Raises:
            ValueError: a category did not occur among them, or, for the flow, never with all its keypoints.
        """
        statistics = self._statistics
        if statistics is not None:
            views = draw(per_category * len(self.edges))
            statistics.gather(views.X, self._mask(views), views.category)

    def forward(
        self,
        model: Callable[[Tensor, Tensor | None, Tensor], Tensor],
        views: Pictures,
        generator: torch.Generator | None = None,
        Y: Float[Tensor, "B N 3"] | None = None,
    ) -> Loss:
        """Loss of one batch and its terms.

        Args:
            model: (X, visible, category) -> canonical shapes [B, N, 3], or depths [B, N, 1] for output="depth".
            views: 2D only; X centred on the visible mean with unit RMS.
            generator: for the new cameras and the start of a reference shape; needed where a term is random.
            Y: shapes; true ones where supervised_3d > 0, dreamt ones where dreamt_3d > 0, refused elsewhere.
        Returns:
            The weighted sum, and each term before its weight, detached, by name.
        Raises:
            ValueError: Y is missing or not wanted, generator or statistics are missing, or the model's output has the
                wrong shape.
        """
        steps = self.steps(views, generator, Y)
        request = next(steps)
        while True:
            try:
                request = steps.send(model(*request))
            except StopIteration as end:
                return end.value

    def steps(
        self, views: Pictures, generator: torch.Generator | None = None, Y: Float[Tensor, "B N 3"] | None = None
    ) -> Generator[Request, Tensor, Loss]:
        """The objective with the network left out: yields what is to be lifted, is sent what the network says.

        So the networks of many arms can answer in one batched call. Arguments, result and errors as `forward`.
        """
        config = self.config
        self._check(generator, Y)
        visible, X = views.visible, cleaned(views.X, views.visible)
        predicted = self._checked((yield Request(X, visible, views.category)), X)
        terms: dict[str, Tensor] = {}
        lifted = None
        if set(config.terms) - {"reprojection", "supervised_3d", "dreamt_3d"}:
            lifted = self._lift(X, predicted, views, generator, moves=self.training)
            terms |= self._shape_terms(lifted, views, generator)
        if config.uses_new_views:
            terms |= yield from self._new_view_terms(lifted, views, generator)
        if config.reprojection > 0:  # one exact solution serves all terms
            solved = lifted is not None and config.camera == "exact"
            shapes, camera = (lifted.canonical, lifted.camera) if solved else (predicted, config.camera)
            terms["reprojection"] = fitting.reprojection(X, shapes, visible, camera)
        if config.supervised_3d > 0:
            shapes = predicted if config.output == "canonical" else fitting.observed_with_depth(X, predicted, visible)
            terms["supervised_3d"] = supervised_3d(shapes, Y, visible)
        if config.dreamt_3d > 0:  # dreams know what a picture hides, so the lifter learns that, too
            whole = config.output == "canonical" and isinstance(views, EvaluationViews)
            shapes = predicted if config.output == "canonical" else fitting.observed_with_depth(X, predicted, visible)
            terms["dreamt_3d"] = supervised_3d(shapes, Y, views.known if whole else visible)
        weighted = [getattr(config, name) * terms[name] for name in config.terms]
        return sum(weighted[1:], weighted[0]), {name: terms[name].detach() for name in config.terms}

    def critic_loss(self, real: Pictures, step: int) -> Loss:
        """Loss of the critic, which is the discriminator or the flow.

            discriminator: observed pictures against the new views of the last call of the objective,
                mean softplus(-D(x)) + mean softplus(D(x')),
                every r1_every-th step + r1_every r1 / 2 mean || dD/df ||^2
            flow: observed pictures alone, blurred, - mean log p(x) / d

        Args:
            real: observed pictures, better not those that the new views were made from.
            step: number of the training step; the flow's noise is drawn from it.
        Returns:
            The loss and its terms: "discriminator" (without the penalty; healthy between 1.2 and 1.386) and, when it
            is paid, "r1"; or "flow_observed": new views as likely as observed ones bring the term "flow" a little
            below it, since they are not blurred.
        Raises:
            ValueError: there is no critic, its statistics are missing, or the objective has not been called yet.
        """
        if self.critic is None:
            raise ValueError("no critic loss: adversary and flow are 0")
        self._check_statistics()
        if self.flow is None:
            return self._discriminator_loss(real, step)
        blur = torch.Generator().manual_seed(step)  # without a state: a run that was cut goes on as it would have
        loss = unlikelihood(*self.flow.judge(real.X, self._mask(real), real.category, blur))
        return loss, {"flow_observed": loss.detach()}

    def _discriminator_loss(self, real: Pictures, step: int) -> Loss:
        if self.new_views is None:
            raise ValueError("no critic loss: call the objective first, it makes the new views")
        visible = self._mask(real)
        features = self.features(real.X, visible, real.category).detach()
        fake = self._judge(self.new_views)
        loss = plausibility.discrimination(self.discriminator(features, visible, real.category), fake)
        terms = {"discriminator": loss.detach()}
        if step % self.config.r1_every == 0 and self.config.r1 > 0:
            penalty = plausibility.r1_penalty(self.discriminator, features, visible, real.category)
            loss = loss + self.config.r1_every * self.config.r1 * penalty
            terms["r1"] = penalty.detach()
        return loss, terms

    def read_out(
        self, X: Float[Tensor, "B N 2"], predicted: Float[Tensor, "B N K"], visible: Bool[Tensor, "B N"] | None = None
    ) -> Float[Tensor, "B N 3"]:
        """Camera-frame shape of a prediction in X's unit: by the configured read-out, or [x, z] from depths."""
        X = cleaned(X, visible)
        if self.config.output == "depth":
            return fitting.observed_with_depth(X, predicted, visible)
        return fitting.read_out(X, predicted, self._camera(X, predicted, visible), visible, self.config.read_out)

    def _check(self, generator: torch.Generator | None, Y: Tensor | None) -> None:
        if self.config.supervised_3d > 0 and Y is None:
            raise ValueError("supervised_3d > 0 needs the true shapes Y: it is the one term that uses 3D")
        if self.config.dreamt_3d > 0 and Y is None:
            raise ValueError("dreamt_3d > 0 needs the dreamt shapes Y")
        if not self.config.needs_shapes and Y is not None:
            raise ValueError("true shapes Y were handed to an objective with supervised_3d=0, which must not see 3D")
        subsets = self.config.low_rank_subsets > 0
        if generator is None and (subsets or self.swap is not None or self.references is not None):
            raise ValueError(f"an objective with {', '.join(self.config.terms)} is random and needs a generator")
        self._check_statistics()

    @property
    def _statistics(self) -> plausibility.PictureFeatures | PictureFlow | None:
        return self.features if self.flow is None else self.flow

    def _check_statistics(self) -> None:
        if self._statistics is not None and not self._statistics.gathered:
            raise ValueError("the critic's 2D statistics are missing: call prepare, or load a state that has them")

    def _checked(self, predicted: Tensor, X: Tensor) -> Tensor:
        last = 3 if self.config.output == "canonical" else 1
        if predicted.shape != (*X.shape[:2], last):
            expected, given = [*X.shape[:2], last], list(predicted.shape)
            raise ValueError(f"output={self.config.output!r} expects predictions {expected}, the model gave {given}")
        return predicted

    def _mask(self, views: Pictures) -> Bool[Tensor, "B N"]:
        """Keypoints that are visible and not padding."""
        N = views.X.shape[1]
        everywhere = torch.ones(views.X.shape[:2], dtype=torch.bool, device=views.X.device)
        rig = resized(self.rig_keypoints, N)[views.category] if self.edges else everywhere
        return rig if views.visible is None else rig & views.visible

    def _whole(self, views: Pictures) -> Bool[Tensor, "B N"]:
        """Keypoints that the canonical shape has: the rig's, seen or not; from a depth network only those seen."""
        if self.config.output == "depth" or not self.edges:
            return self._mask(views)
        return resized(self.rig_keypoints, views.X.shape[1])[views.category]

    @torch.no_grad()
    def _camera(self, X: Tensor, shapes: Tensor, visible: Tensor | None) -> geometry.Camera:
        solve = geometry.solve_camera if self.config.camera == "exact" else geometry.fit_camera_algebraic
        return solve(X, shapes.detach(), visible)

    def _lift(
        self, X: Tensor, predicted: Tensor, views: Pictures, generator: torch.Generator | None, moves: bool
    ) -> Lifted:
        """Shapes in both frames, and the cameras; `moves` says whether the reference shapes follow this batch."""
        mask = self._mask(views)
        if self.references is None:
            canonical = normalised(predicted, self._whole(views))
            camera = self._camera(X, canonical, mask)
            return Lifted(
                fitting.read_out(X, canonical, camera, mask, self.config.read_out), canonical, camera.R, camera
            )
        Y = fitting.observed_with_depth(X, predicted, mask)
        N, rig = self.rig_keypoints.shape[1], self.rig_keypoints
        whole, seen = resized(Y.detach(), N), resized(mask, N)
        self.references.start(whole, rig, views.category, generator)
        alignment = self.references.align(whole, views.category, seen)
        if moves:
            self.references.update(alignment.apply(whole), rig, views.category, seen)
        return Lifted(Y, normalised(Y @ alignment.R.mT, mask), alignment.R.mT, None)

    def _shape_terms(self, lifted: Lifted, views: Pictures, generator: torch.Generator | None) -> dict[str, Tensor]:
        config, terms, mask = self.config, {}, self._mask(views)
        if config.low_rank > 0:
            terms["low_rank"] = low_rank(lifted.canonical, views.category, self._whole(views), config.low_rank_kind)
        if config.low_rank_subsets > 0:
            terms["low_rank_subsets"] = low_rank_subsets(
                lifted.canonical, generator, views.category, self._whole(views), config.subset_size,
                config.low_rank_kind,
            )  # fmt: skip
        if config.depth_guard > 0:
            terms["depth_guard"] = fitting.depth_guard(lifted.camera_frame, mask)
        if config.limb_constancy > 0:
            terms["limb_constancy"] = limb_constancy_by_rig(lifted.camera_frame, self.edges, views.category, mask)
        return terms

    def _new_view_terms(
        self, lifted: Lifted, views: Pictures, generator: torch.Generator
    ) -> Generator[Request, Tensor, dict[str, Tensor]]:
        config, terms, mask = self.config, {}, self._mask(views)
        if self.training:
            self.swap.update(lifted.R, views.category)
        turn = self.swap(lifted.R, views.category, generator)
        expected = consistency.new_view(lifted.camera_frame, turn, mask)
        X = expected[..., :2]
        self.new_views = NewViews(X.detach(), mask, views.category)
        if config.view_consistency > 0 or config.depth_cycle > 0:
            whole, predicted = self._whole(views), self._checked((yield Request(X, views.visible, views.category)), X)
            if config.depth_cycle > 0 or config.output == "depth":
                again = self._lift(X, predicted, views, generator, moves=False)
                terms["depth_cycle"] = consistency.depth_cycle(again.camera_frame, expected, mask)
                canonical = again.canonical
            else:  # the canonical frame needs no camera
                canonical = normalised(predicted, whole)
            terms["view_consistency"] = consistency.view_consistency(canonical, lifted.canonical, whole)
        if config.adversary > 0:
            self.discriminator.requires_grad_(False)  # its own loss trains it; this one must leave no gradient there
            terms["adversary"] = plausibility.adversary(self._judge(NewViews(X, mask, views.category)))
            self.discriminator.requires_grad_(True)
        if config.flow > 0:
            self.flow.requires_grad_(False)
            terms["flow"] = unlikelihood(*self.flow.judge(X, mask, views.category))
            self.flow.requires_grad_(True)
        return terms

    def _judge(self, views: NewViews) -> Float[Tensor, " B"]:
        return self.discriminator(self.features(views.X, views.visible, views.category), views.visible, views.category)
