"""How a run of the benchmarks is set: profile, device, effort, threads."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from lfmlib.efficiency.timing import Effort, Turn, timed
from lfmlib.processes import usable_cores

PROFILES = ("smoke", "cpu", "full")
# smoke: does it run; cpu: minutes on two cores; full: within a call of ten minutes for each group on a GPU
EFFORTS = {"smoke": Effort(3, 0.2, 0.001), "cpu": Effort(7, 2.0, 0.02), "full": Effort(9, 6.0, 0.02)}


@dataclass(frozen=True)
class Setting:
    """What all contests of a run share.

    Args:
        profile: smoke, cpu or full: which sizes.
        device: "cpu" or "cuda".
        effort: how long to measure; None: the profile's.
        threads: of torch where a contest does not ask for another number; None: one per usable core, in smoke one.
    Raises:
        ValueError: unknown profile or device; a CUDA device is asked for and there is none.
    """

    profile: str
    device: str = "cpu"
    effort: Effort | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise ValueError(f"unknown profile {self.profile!r}, expected one of {', '.join(PROFILES)}")
        if self.device not in ("cpu", "cuda"):
            raise ValueError(f"unknown device {self.device!r}, expected cpu or cuda")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device 'cuda' was asked for and torch sees no GPU: use --device cpu")
        if self.effort is None:
            object.__setattr__(self, "effort", EFFORTS[self.profile])
        if self.threads is None:  # on small work threads wait for one another, more so where others work, too
            object.__setattr__(self, "threads", 1 if self.profile == "smoke" else usable_cores())

    def timed(self, call: Callable[[], object], warm_up: int = 2, threads: int | None = None) -> Turn:
        """See `timing.timed`."""
        return timed(call, self.effort, self.device, warm_up, threads or self.threads)

    def generator(self, seed: int = 0) -> torch.Generator:
        """A generator on the device."""
        return torch.Generator(self.device).manual_seed(seed)
