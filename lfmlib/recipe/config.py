"""What decides a recipe: how much of the pictures it takes, where cameras may stand, how long each stage is."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RecipeConfig:
    """One setting for every category.

    Args:
        evidence: keypoints that the shape model is learned from, over all pictures of a category (17 keypoints: 8,235
            pictures); more pictures are not looked at.
        azimuths, elevations: the grid of cameras, in degrees.
        horizon: degrees from the horizon within which the rigid stage looks for cameras; elevations further out are
            tried from then on, and dropped where hardly a picture uses them.
        wobble: sd in degrees of a camera's roll about the upright; along azimuth and elevation it is the grid's step
            over sqrt 12.
        restarts, rigid, gaussian, mixture: starts of the rigid stage, and steps of expectation-maximisation per stage;
            gaussian 0 leaves it at the rigid shape, mixture 0 at one Gaussian.
        components: numbers of Gaussians that are tried beside one; held-out pictures choose.
        shrink: pictures' worth of the shared covariance that is mixed into each component's own.
        smoothing: added to the variances of shapes.
        floor: least variance of a picture's keypoints, in squared RMS radii.
        samples: shapes drawn from each picture's posterior; 0: its mean alone.
        imagined: share of the dreams that come from no picture but from one Gaussian with the model's mean and
            covariance: shapes a little beyond those that were seen. None by default: a quarter doubled the error of
            rigid objects and gained nothing on people, faces, birds, chairs and held-out CADs; it helped the fly alone.
        handed: whether the rig's annotation of what is left decides between the model and its mirror image.
    Raises:
        ValueError: a value is out of range.
    """

    evidence: int = 140_000
    azimuths: int = 24
    elevations: tuple[float | int, ...] = (-55, -45, -35, -25, -15, -5, 5, 15, 25, 35, 45, 55)
    horizon: float | int = 20.0
    wobble: float | int = 2.9
    restarts: int = 8
    rigid: int = 60
    gaussian: int = 40
    mixture: int = 20
    components: tuple[int, ...] = (2, 8, 20)
    shrink: float | int = 100.0
    smoothing: float | int = 1e-5
    floor: float | int = 1e-4
    samples: int = 4
    imagined: float | int = 0.0
    handed: bool = False

    def __post_init__(self) -> None:
        for name, least in (("evidence", 1), ("azimuths", 4), ("restarts", 1), ("rigid", 1), ("gaussian", 0),
                            ("mixture", 0), ("samples", 0)):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"recipe: {name} is {value!r}, expected a whole number, {least} or more")
        for name in ("wobble", "horizon", "imagined", "shrink", "smoothing", "floor"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise ValueError(f"recipe: {name} is {value!r}, expected a finite number, 0 or more")
            object.__setattr__(self, name, float(value))  # 1 and 1.0 are one setting, with one hash
        for name in ("elevations", "components"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "elevations", tuple(float(e) for e in self.elevations))
        if not self.elevations or any(not -90 <= e <= 90 for e in self.elevations):
            raise ValueError(f"recipe: elevations are {self.elevations!r}, expected degrees between -90 and 90")
        if not any(abs(e) <= self.horizon for e in self.elevations):
            raise ValueError(f"recipe: no elevation of {self.elevations!r} is within horizon={self.horizon} degrees")
        if any(isinstance(k, bool) or not isinstance(k, int) or k < 2 for k in self.components):
            raise ValueError(f"recipe: components are {self.components!r}, expected whole numbers, 2 or more")
        if self.imagined >= 1:
            raise ValueError(f"recipe: imagined is {self.imagined}, expected a share below 1")
        if self.floor == 0:
            raise ValueError("recipe: floor is 0; without noise a picture's covariance has no inverse")

    @staticmethod
    def from_dict(content: dict[str, Any]) -> "RecipeConfig":
        """From plain numbers and lists."""
        return RecipeConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in content.items()})
