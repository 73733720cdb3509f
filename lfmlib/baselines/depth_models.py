"""VGGT and DUSt3R as depth models: their published packages and weights, where the user has them.

Nothing is downloaded: weights come from a folder, or from what the model hub's client has stored on this machine.
"""

import importlib.util
import os
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

WEIGHTS = "model.safetensors"
BATCH = 8  # images at a time


class Prediction(NamedTuple):
    """Depth z of each pixel [B, H, W], calibration matrices in pixels [B, 3, 3] or None, confidence [B, H, W]."""

    depth: Float[Tensor, "B H W"]
    intrinsics: Float[Tensor, "B 3 3"] | None
    confidence: Float[Tensor, "B H W"]


@runtime_checkable
class DepthModel(Protocol):
    """What estimates depth from single images."""

    def depth(self, images: Float[Tensor, "B rgb H W"]) -> Prediction:
        """Depth of RGB images in [0, 1], each on its own."""
        ...


class PublishedModel(ABC):
    """A model that others published: loaded at first use, run in the sizes that it was trained on.

    Args:
        weights: folder that holds "model.safetensors" (and "config.json"), as the model hub serves it; None: the copy
            that the hub's client has stored on this machine.
        device: where it runs.
    """

    package: str
    install: str
    repository: str
    longest: int  # side of its pictures, pixels
    multiple: int  # its patches: both sides are multiples

    def __init__(self, weights: str | os.PathLike | None = None, device: str | torch.device = "cpu") -> None:
        self.weights, self.device = weights, torch.device(device)

    def available(self) -> str | None:
        """None if it can run here, else why not and what to do."""
        return self._missing_package() or self._missing_weights()

    def depth(self, images: Float[Tensor, "B rgb H W"]) -> Prediction:
        """Depth, cameras and confidence of single images.

        Whole images are resized, so that their longer side is the model's own; its depth comes back to each pixel of
        the image from the nearest one of the model's, so that no depth between two surfaces is made up.

        Args:
            images: RGB in [0, 1]; [B, 3, H, W].
        Returns:
            Prediction on the images' device, float32. Depth in the model's own unit; what is not finite passes through.
        Raises:
            ImportError: the package is not installed. FileNotFoundError: no weights. Both name the command that helps.
            ValueError: images of another shape or range, or none; a result of another shape than this code expects.
        """
        _check_images(images)
        height, width = images.shape[2:]
        size = [max(1, round(side * self.longest / max(height, width) / self.multiple)) * self.multiple
                for side in (height, width)]  # fmt: skip
        resized = interpolate(images.float(), size, mode="bicubic", antialias=True).clamp(0, 1)
        with torch.no_grad():
            parts = [self._checked(part, *self._predict(part.to(self.device))) for part in resized.split(BATCH)]
        depth, K, confidence = (torch.cat(found).to(images.device, torch.float32) for found in zip(*parts, strict=True))
        depth, confidence = (interpolate(v[:, None], (height, width), mode="nearest-exact")[:, 0]
                             for v in (depth, confidence))  # fmt: skip
        to_image = K.new_tensor([width / size[1], height / size[0], 1])
        return Prediction(depth, to_image[:, None] * K, confidence)

    @abstractmethod
    def _load(self, folder: str) -> nn.Module:
        """The network with the weights of a folder."""

    @abstractmethod
    def _predict(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Depth [B, h, w], calibration [B, 3, 3] and confidence [B, h, w] of images [B, 3, h, w] that fit the model."""

    @cached_property
    def network(self) -> nn.Module:
        """The loaded network.

        Raises:
            ImportError, FileNotFoundError: see `depth`.
        """
        if problem := self._missing_package():
            raise ImportError(problem)
        if problem := self._missing_weights():
            raise FileNotFoundError(problem)
        return self._load(str(self._folder())).to(self.device).eval()

    def _missing_package(self) -> str | None:
        for name in (self.package, "huggingface_hub"):
            if importlib.util.find_spec(name) is None:
                return f"{type(self).__name__} needs the package {name!r}, which is not installed: {self.install}"
        return None

    def _missing_weights(self) -> str | None:
        folder = self._folder()
        if folder is not None and (folder / WEIGHTS).is_file():
            return None
        where = "the model hub's local store" if self.weights is None else str(self.weights)
        command = f"hf download {self.repository}" + (f" --local-dir {where}" if self.weights is not None else "")
        return f"{type(self).__name__} finds no {WEIGHTS} in {where}; get it by: {command}"

    def _folder(self) -> Path | None:
        """Where the weights are, or ought to be; None: the hub's client has none."""
        if self.weights is not None:
            return Path(self.weights)
        from huggingface_hub import try_to_load_from_cache

        stored = try_to_load_from_cache(self.repository, WEIGHTS)
        return Path(stored).parent if isinstance(stored, str) else None

    def _checked(self, images: Tensor, depth: Tensor, K: Tensor, confidence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        count, _, height, width = images.shape
        expected = {"depth": (depth, [count, height, width]), "confidence": (confidence, [count, height, width]),
                    "calibration": (K, [count, 3, 3])}  # fmt: skip
        for what, (found, shape) in expected.items():
            if list(found.shape) != shape:
                raise ValueError(f"{self.package} returned {what} of shape {list(found.shape)}, expected {shape}")
        return depth, K, confidence


class VGGT(PublishedModel):
    """VGGT: each image is a scene of one view.

    Source: Wang et al., "VGGT: Visual Geometry Grounded Transformer", CVPR 2025; package and weights of its authors.
        2D-LFM's Table 1 does not say how many views it was given, nor which of its depths: this is its depth head.
    """

    package = "vggt"
    install = "pip install git+https://github.com/facebookresearch/vggt"
    repository = "facebook/VGGT-1B"
    longest, multiple = 518, 14

    def _load(self, folder: str) -> nn.Module:
        from vggt.models.vggt import VGGT as Network

        return Network.from_pretrained(folder)

    def _predict(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        network = self.network  # before the import: it says what is missing
        from vggt.utils.pose_enc import pose_encoding_to_extri_intri

        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            found = network(images[:, None])  # one view each: [B, 1, 3, h, w]
        _, K = pose_encoding_to_extri_intri(found["pose_enc"], images.shape[-2:])
        return found["depth"][:, 0].squeeze(-1), K[:, 0], found["depth_conf"][:, 0]


class DUSt3R(PublishedModel):
    """DUSt3R: each image is paired with itself; depth is the z of its points in its own frame.

    Source: Wang et al., "DUSt3R: Geometric 3D vision made easy", CVPR 2024; package and weights of its authors, the
        focal length by their estimate from the points. It is trained on pictures that are wider than high.
    """

    package = "dust3r"
    install = (
        "git clone --recursive https://github.com/naver/dust3r, install its requirements.txt, add it to PYTHONPATH"
    )
    repository = "naver/DUSt3R_ViTLarge_BaseDecoder_512_dpt"
    longest, multiple = 512, 16

    def _load(self, folder: str) -> nn.Module:
        from dust3r.model import AsymmetricCroCo3DStereo

        return AsymmetricCroCo3DStereo.from_pretrained(folder)

    def _predict(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        network = self.network
        from dust3r.inference import inference
        from dust3r.post_process import estimate_focal_knowing_depth

        height, width = images.shape[-2:]
        pairs = [(_view(image, 2 * i), _view(image, 2 * i + 1)) for i, image in enumerate(images)]
        found = inference(pairs, network, str(self.device), batch_size=len(pairs), verbose=False)["pred1"]
        points = found["pts3d"]  # [B, h, w, 3]
        K = torch.eye(3, dtype=points.dtype, device=points.device).repeat(len(points), 1, 1)
        K[:, :2, 2] = points.new_tensor([width / 2, height / 2])
        focal = estimate_focal_knowing_depth(points, K[0, :2, 2], focal_mode="weiszfeld")
        K[:, 0, 0], K[:, 1, 1] = focal, focal
        return points[..., 2], K, found["conf"]


def _view(image: Tensor, index: int) -> dict:
    """An image as DUSt3R's own loader hands it on: values in [-1, 1], and a name."""
    shape = np.array([image.shape[-2:]], dtype=np.int32)
    return {"img": image[None] * 2 - 1, "true_shape": shape, "idx": index, "instance": str(index)}


def _check_images(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
        raise ValueError(f"images have shape {list(images.shape)}, expected [B, 3, H, W] with at least one pixel")
    low, high = float(images.min()), float(images.max())
    if not 0 <= low <= high <= 1:
        raise ValueError(f"images span {low} to {high}, expected RGB in [0, 1]")
