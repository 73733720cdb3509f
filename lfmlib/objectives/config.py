"""Which terms make up the training objective. The default is Eq. 1 alone; every other term is a switch that is off."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

_KINDS = {
    "camera": ("exact", "algebraic"),
    "read_out": ("fit", "snap"),
    "low_rank_kind": ("nuclear", "logdet"),
    "output": ("canonical", "depth"),
}
_TERMS = (
    "reprojection",
    "low_rank",
    "low_rank_subsets",
    "view_consistency",
    "depth_cycle",
    "adversary",
    "flow",
    "depth_guard",
    "limb_constancy",
    "supervised_3d",
    "dreamt_3d",
)
_COUNTS = {"r1_every": ("a whole number of steps", 1), "subset_size": ("a whole number of shapes", 2)}


@dataclass(frozen=True)
class ObjectiveConfig:
    """Weights and kinds of the objective's terms; `ObjectiveConfig()` is Eq. 1 as printed, as a mean.

        L = sum_k weight_k * term_k,   lengths in units of the RMS radius of the picture or of the shape

    Args:
        reprojection: weight of Eq. 1.
        camera: how Eq. 1's inner minimum is found: "exact" (checked minimiser) or "algebraic" (least squares + SVD).
        read_out: camera-frame shape from the canonical one: "fit" (the camera applied to the shape) or "snap" (x, y
            as observed, only the depth from the fit). It is what the terms on camera-frame shapes see in training,
            and what `Objective.read_out` returns.
        low_rank: weight of `low_rank`; `low_rank_kind` is "nuclear" or "logdet", for `low_rank_subsets`, too.
        view_consistency: weight of `view_consistency` (canonical frame).
        depth_cycle: weight of `depth_cycle` (camera frame).
        adversary: weight of `adversary`; `r1` and `r1_every` are its discriminator's gradient penalty and how often
            that is paid.
        depth_guard: weight of `depth_guard`.
        limb_constancy: weight of `limb_constancy`.
        swap_mix: share of the samples that are turned about their category's common axis before they get another
            sample's camera.
        supervised_3d: weight of `supervised_3d`, the only term that sees 3D. A run that uses it is not a 2D-only run.
        output: what the network predicts: "canonical" ([B, N, 3], camera by fit) or "depth" ([B, N, 1], x and y are
            the observed ones and the camera comes from aligning each lifted shape with its category's running
            reference shape).
        low_rank_subsets: weight of `low_rank_subsets`; `subset_size` is the number of shapes in a subset.
        dreamt_3d: weight of `supervised_3d` on shapes that the recipe dreams from pictures (`lfmlib.recipe`), not on
            true ones: a run that uses it is a 2D-only run.
        flow: weight of the flow's `unlikelihood` of new views. A run has a flow or an adversary, not both.
    Raises:
        ValueError: a weight is negative or not finite, a kind is unknown, all weights are zero, or two switches
            contradict each other.
    Source: Eq. 1 for the default. Everything else is not in the paper, which has no term that determines depth.
    """

    reprojection: float | int = 1.0
    camera: str = "exact"
    read_out: str = "fit"
    low_rank: float | int = 0.0
    low_rank_kind: str = "nuclear"
    view_consistency: float | int = 0.0
    depth_cycle: float | int = 0.0
    adversary: float | int = 0.0
    r1: float | int = 0.02
    r1_every: int = 4
    depth_guard: float | int = 0.0
    limb_constancy: float | int = 0.0
    swap_mix: float | int = 0.5
    supervised_3d: float | int = 0.0
    output: str = "canonical"
    low_rank_subsets: float | int = 0.0
    subset_size: int = 8
    flow: float | int = 0.0
    dreamt_3d: float | int = 0.0

    # Fields that came after the first runs: `as_dict`, and with it a run's id, knows them only where they are set.
    LATER: ClassVar[tuple[str, ...]] = ("low_rank_subsets", "subset_size", "flow", "dreamt_3d")

    def __post_init__(self) -> None:
        for name, kinds in _KINDS.items():
            if getattr(self, name) not in kinds:
                raise ValueError(f"{name} must be one of {', '.join(kinds)}, got {getattr(self, name)!r}")
        for field in fields(self):
            if field.name in _KINDS:
                continue
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise ValueError(f"{field.name} must be a finite number that is not negative, got {value!r}")
            if field.name not in _COUNTS:
                object.__setattr__(self, field.name, float(value))  # 1 and 1.0 are one setting, with one hash
        for name, (what, least) in _COUNTS.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be {what}, at least {least}, got {value!r}")
        if self.swap_mix > 1:
            raise ValueError(f"swap_mix is a share between 0 and 1, got {self.swap_mix!r}")
        if self.output == "depth" and self.reprojection > 0:
            raise ValueError(
                "output='depth' keeps the observed x and y, so Eq. 1 is zero by construction: "
                f"set reprojection=0 (got {self.reprojection})"
            )
        if self.output == "depth" and self.camera == "algebraic":
            raise ValueError(
                "output='depth' gets its cameras by aligning shapes: camera='algebraic' means nothing there"
            )
        if self.adversary > 0 and self.flow > 0:
            raise ValueError(
                f"adversary={self.adversary} and flow={self.flow}: both judge how plausible new views are, choose one"
            )
        if self.supervised_3d > 0 and self.dreamt_3d > 0:
            raise ValueError("supervised_3d and dreamt_3d: a run learns from true shapes or from dreamt ones, not both")
        if not self.terms:
            raise ValueError(f"every weight is zero ({', '.join(_TERMS)}): there is nothing to learn from")

    def as_dict(self, complete: bool = True) -> dict[str, Any]:
        """The fields by name; not complete: without those of `LATER` that have their default value."""
        default = {field.name: field.default for field in fields(self)}
        left_out = () if complete else [name for name in self.LATER if getattr(self, name) == default[name]]
        return {name: value for name, value in asdict(self).items() if name not in left_out}

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms that are on (weight above zero), in the order in which they are added up."""
        return tuple(name for name in _TERMS if getattr(self, name) > 0)

    @property
    def uses_new_views(self) -> bool:
        """Whether a term needs shapes seen through swapped cameras (and so randomness and a running mean camera)."""
        return self.view_consistency > 0 or self.depth_cycle > 0 or self.adversary > 0 or self.flow > 0

    @property
    def is_eq1(self) -> bool:
        """Whether Eq. 1 is all there is, on each sample alone: what many arms can compute in one batch."""
        return self.terms == ("reprojection",) and self.output == "canonical"

    @property
    def needs_shapes(self) -> bool:
        """Whether a term compares with shapes: true ones (`supervised_3d`) or dreamt ones."""
        return self.supervised_3d > 0 or self.dreamt_3d > 0

    @property
    def lifts(self) -> int:
        """How often a step runs the network: again where new views are lifted, too."""
        return 2 if self.view_consistency > 0 or self.depth_cycle > 0 else 1

    @property
    def needs_rigs(self) -> bool:
        """Whether the objective must know the categories: for all but the terms that look at one sample at a time."""
        per_sample = {"reprojection", "depth_guard", "supervised_3d", "dreamt_3d"}
        return self.output == "depth" or bool(set(self.terms) - per_sample)
