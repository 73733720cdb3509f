"""The network in ONNX Runtime on the CPU, with compiled code around it: fast for one sample at a time."""

import numpy as np
import torch
from torch import Tensor

from lfmlib.evaluation import fit
from lfmlib.objectives import ObjectiveConfig
from lfmlib.torch_engine import Batch

try:
    import onnxruntime
except ImportError as problem:
    raise ImportError("engine 'onnx' needs onnxruntime: pip install 'lfmlib[onnx]'") from problem

from lfmlib.kernels import lift_numba


class OnnxEngine:
    """ONNX Runtime on as many threads as torch has when it is made.

    Args:
        content: the network, see `onnx_graph.graph`.
        objective: decides the camera, and whether there is one.
    """

    def __init__(self, content: bytes, objective: ObjectiveConfig) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.several = len(self.session.get_inputs()) == 3
        self.objective = objective

    def __call__(self, keypoints: Tensor, visible: Tensor | None, category: int, kind: str, result: Batch) -> None:
        """See `torch_engine.Engine`."""
        if keypoints.device.type != "cpu":
            here = Batch(*(torch.empty_like(part, device="cpu") for part in result))
            self(keypoints.cpu(), None if visible is None else visible.cpu(), category, kind, here)
            for there, part in zip(result, here, strict=True):
                there.copy_(part)
            return
        B, N = keypoints.shape[:2]
        given, seen = _arrays(keypoints, visible)
        X, mean, rms = np.empty((B, N, 2), np.float32), np.empty((B, 2)), np.empty(B)
        lift_numba.normalise[keypoints.dtype](given, seen, X, mean, rms)
        Y = self.network(X, seen, category)
        if self.objective.output == "depth":  # the picture is kept: its camera looks along z
            Y = np.concatenate([X, Y - Y.mean(1, keepdims=True)], -1)
            camera = np.ones(B, np.float32), np.tile(np.eye(3, dtype=np.float32), (B, 1, 1)), np.zeros_like(X[:, 0])
        else:
            found = fit(torch.from_numpy(X), torch.from_numpy(Y), visible, self.objective.camera)
            camera = tuple(np.ascontiguousarray(part.numpy()) for part in found)
        views = (part.numpy() for part in result)
        lift_numba.read_out[keypoints.dtype](given, seen, X, Y, mean, rms, *camera, kind == "snap", *views)

    def plainly_good(self, keypoints: Tensor, visible: Tensor | None) -> bool:
        """See `torch_engine.Engine`."""
        return lift_numba.plainly_good[keypoints.dtype](*_arrays(keypoints.cpu(), visible))

    def network(self, X: np.ndarray, visible: np.ndarray, category: int) -> np.ndarray:
        """The network alone: normalised keypoints float32 [B, N, 2] to [B, N, outputs]."""
        inputs = {"keypoints": X, "visible": visible}
        if self.several:
            inputs["category"] = np.full(len(X), category, np.int64)
        return self.session.run(None, inputs)[0]


def _arrays(keypoints: Tensor, visible: Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """Contiguous, for the kernels are compiled for that, and with a mask."""
    seen = np.ones(keypoints.shape[:2], bool) if visible is None else visible.contiguous().cpu().numpy()
    return keypoints.detach().contiguous().numpy(), seen
