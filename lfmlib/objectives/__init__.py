"""Eq. 1, and each term beyond the paper as a switch that is off by default; one small file per family of terms."""

from lfmlib.objectives.config import ObjectiveConfig
from lfmlib.objectives.consistency import depth_cycle, new_view, view_consistency
from lfmlib.objectives.fitting import depth_guard, observed_with_depth, read_out, reprojection
from lfmlib.objectives.flow import PictureFlow, unlikelihood
from lfmlib.objectives.limbs import limb_constancy
from lfmlib.objectives.objective import Objective
from lfmlib.objectives.pictures import NewViews, Pictures
from lfmlib.objectives.plausibility import Discriminator, PictureFeatures, adversary, discrimination, r1_penalty
from lfmlib.objectives.rank import low_rank, low_rank_subsets
from lfmlib.objectives.supervision import supervised_3d

__all__ = [
    "Discriminator",
    "NewViews",
    "Objective",
    "ObjectiveConfig",
    "PictureFeatures",
    "PictureFlow",
    "Pictures",
    "adversary",
    "depth_cycle",
    "depth_guard",
    "discrimination",
    "limb_constancy",
    "low_rank",
    "low_rank_subsets",
    "new_view",
    "observed_with_depth",
    "r1_penalty",
    "read_out",
    "reprojection",
    "supervised_3d",
    "unlikelihood",
    "view_consistency",
]
