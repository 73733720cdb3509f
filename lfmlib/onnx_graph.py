"""The network as an ONNX file: what `lfm export` writes and what the onnx engine runs.

A file that the engine keeps ends with a digest: one that is cut short, altered or stale is told from a good one without
running it.
"""

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from lfmlib import __version__, files
from lfmlib.loading import LoadedLifter

FORMAT = 1  # part of the digest: raise it when the same weights would give another graph
OPSET = 20  # the first with GELU, which is six nodes before
DIGEST = 64  # characters at the end of a file
NORMALISATION = (
    "Per sample: subtract the mean of the visible keypoints and divide by the root of their mean squared distance "
    "from it, sqrt(mean_i |x_i - mean|^2), so that they have mean 0 and RMS 1. One factor for x and y. In float64 "
    "where coordinates are large. x points right, y down."
)
INPUTS = {
    "keypoints": f"float32 [batch, keypoints, 2], in the order of the category. {NORMALISATION} A keypoint that is not "
    "visible may hold anything.",
    "visible": "bool [batch, keypoints]: true where the keypoint was seen; at least 3 a sample. Keypoints beyond the "
    "category's own are false.",
    "category": "int64 [batch]: place of the category in the list `categories` of the metadata.",
}
OUTPUTS = {
    "canonical": "float32 [batch, keypoints, 3]: the shape in the network's own frame and unit. Its picture is "
    "s * (R y)[:2] + t; the weak-perspective camera (s, R, t) that fits the visible keypoints best takes it into the "
    "camera frame (x right, y down, z away).",
    "depth": "float32 [batch, keypoints, 1]: depth (z away from the viewer) in the unit of the normalised keypoints, "
    "up to a shift per sample.",
}


def graph(loaded: LoadedLifter) -> bytes:
    """The network of a lifter on the CPU as an ONNX file whose batch and keypoint axes are free.

    Raises:
        ImportError: a package is missing.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 (torch's exporter needs it)
    except ImportError as error:
        raise ImportError(f"ONNX needs a package that is missing ({error}): pip install 'lfmlib[onnx]'") from error
    n = loaded.lifter.n_max
    example = [torch.ones(2, n, 2), torch.ones(2, n, dtype=torch.bool), torch.zeros(2, dtype=torch.int64)]
    batch, keypoints = torch.export.Dim("batch"), torch.export.Dim("keypoints", max=n)
    free = [{0: batch, 1: keypoints}, {0: batch, 1: keypoints}, {0: batch}]
    used = 3 if len(loaded.rigs) > 1 else 2  # one category: no index
    name = loaded.config.objective.output
    with _quietly():
        program = torch.onnx.export(
            _WithMask(loaded.lifter), tuple(example[:used]), dynamo=True, external_data=False, verbose=False,
            opset_version=OPSET, input_names=list(INPUTS)[:used], output_names=[name],
            dynamic_shapes=tuple(free[:used]),
            custom_translation_table={torch.ops.aten.scaled_dot_product_attention.default: _attention()},
        )  # fmt: skip
    model = program.model_proto
    model.doc_string = f"2D keypoints to 3D shapes, by lfmlib {__version__}"
    for value in model.graph.input:
        value.doc_string = INPUTS[value.name]
    model.graph.output[0].doc_string = OUTPUTS[name]
    onnx.helper.set_model_props(model, {
        "lfmlib": __version__,
        "categories": json.dumps([{"name": rig.name, "keypoints": rig.keypoints} for rig in loaded.rigs]),
        "inputs": json.dumps({value.name: INPUTS[value.name] for value in model.graph.input}),
        "output": json.dumps({name: OUTPUTS[name]}),
        "config": json.dumps(loaded.config.as_dict()),
    })  # fmt: skip
    return model.SerializeToString()


def sealed(content: bytes, weights: str) -> bytes:
    """An ONNX file that ends with the digest of what it says and of the weights' file that it was made from."""
    import onnx

    seal = onnx.ModelProto()  # messages that follow one another are one message, whose lists go on
    onnx.helper.set_model_props(seal, {"digest": "0" * DIGEST})
    content = (content + seal.SerializeToString())[:-DIGEST]
    return content + _digest(content, weights)


def intact(content: bytes, weights: str) -> bool:
    """Whether a file is whole, as `sealed` wrote it, and made from these weights by this version of the graph."""
    return content[-DIGEST:] == _digest(content[:-DIGEST], weights)


def graph_of(loaded: LoadedLifter, weights: Path | None) -> bytes:
    """`graph`, kept beside the file of the weights as model.engine.onnx; made anew where it is damaged or stale."""
    if weights is None:
        return graph(loaded)
    path, digest = weights.with_name(f"{weights.stem}.engine.onnx"), files.sha256_of(weights)
    content = path.read_bytes() if path.is_file() else b""
    if intact(content, digest):
        return content
    content = sealed(graph(loaded), digest)
    try:
        files.write_bytes(path, content)
    except OSError as error:
        logging.getLogger(__name__).warning("the ONNX graph will be made again at the next start: %s", error)
    return content


class _WithMask(nn.Module):
    """The lifter with the inputs of the file."""

    def __init__(self, lifter: nn.Module) -> None:
        super().__init__()
        self.lifter = lifter

    def forward(self, keypoints: Tensor, visible: Tensor, category: Tensor | None = None) -> Tensor:
        return self.lifter(keypoints, visible, category)


def _attention():
    """softmax(q k^T / sqrt(d)) v in six nodes; the exporter's own translation takes twenty, to guard empty rows."""
    from onnxscript import opset18 as op

    def attention(q, k, v, mask, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
        factor = op.Constant(value_float=q.shape[-1] ** -0.5)
        scores = op.MatMul(op.Mul(q, factor), op.Transpose(k, perm=[0, 1, 3, 2]))
        zero, hidden = op.Constant(value_float=0.0), op.Constant(value_float=-1e30)
        return op.MatMul(op.Softmax(op.Add(scores, op.Where(mask, zero, hidden)), axis=-1), v)

    return attention


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the notes that the exporter has for its own developers."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _digest(body: bytes, weights: str) -> bytes:
    return hashlib.sha256(f"{FORMAT} {__version__} {weights} ".encode() + body).hexdigest().encode()
