"""Which terms make up the training objective. The default is Eq. 1 alone; every other term is a switch that is off."""

import math
from dataclasses import dataclass, fields

_KINDS = {
    "camera": ("exact", "algebraic"),
    "read_out": ("fit", "snap"),
    "low_rank_kind": ("nuclear", "logdet"),
    "output": ("canonical", "depth"),
}
_TERMS = (
    "reprojection",
    "low_rank",
    "view_consistency",
    "depth_cycle",
    "adversary",
    "depth_guard",
    "limb_constancy",
    "supervised_3d",
)


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
        low_rank: weight of `low_rank`; `low_rank_kind` is "nuclear" or "logdet".
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
            if field.name != "r1_every":
                object.__setattr__(self, field.name, float(value))  # 1 and 1.0 are one setting, with one hash
        if not isinstance(self.r1_every, int) or self.r1_every < 1:
            raise ValueError(f"r1_every must be a whole number of steps, at least 1, got {self.r1_every!r}")
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
        if not self.terms:
            raise ValueError(f"every weight is zero ({', '.join(_TERMS)}): there is nothing to learn from")

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms that are on (weight above zero), in the order in which they are added up."""
        return tuple(name for name in _TERMS if getattr(self, name) > 0)

    @property
    def uses_new_views(self) -> bool:
        """Whether a term needs shapes seen through swapped cameras (and so randomness and a running mean camera)."""
        return self.view_consistency > 0 or self.depth_cycle > 0 or self.adversary > 0

    @property
    def is_eq1(self) -> bool:
        """Whether Eq. 1 is all there is, on each sample alone: what many arms can compute in one batch."""
        return self.terms == ("reprojection",) and self.output == "canonical"

    @property
    def lifts(self) -> int:
        """How often a step runs the network: again where new views are lifted, too."""
        return 2 if self.view_consistency > 0 or self.depth_cycle > 0 else 1

    @property
    def needs_rigs(self) -> bool:
        """Whether the objective must know the categories: for all but the terms that look at one sample at a time."""
        per_sample = {"reprojection", "depth_guard", "supervised_3d"}
        return self.output == "depth" or bool(set(self.terms) - per_sample)
