"""face68_ict: faces drawn from a light-stage PCA model, 68 landmarks of its meshes."""

from pathlib import Path

import numpy as np

from lfmlib import files, rigs
from lfmlib.data.loaders.base import shape_set
from lfmlib.data.shapes import ShapeSet
from lfmlib.data.upstream.common import builder, need

NAME = "face68_ict"
FOLDER = "FaceXModel"
IDENTITIES, EACH, TRAIN = 2000, 5, 1600
SEED = 2026


def landmarks(path: Path, index: np.ndarray) -> np.ndarray:
    """The vertices of a Wavefront .obj file with these numbers (from 0), [K, 3].

    Raises:
        ValueError: too few vertices, or one that is not three numbers; names the file.
    """
    with open(path, encoding="utf-8") as file:
        lines = [line for line in file if line.startswith("v ")]
    if len(lines) <= index.max():
        raise ValueError(f"{path}: {len(lines)} vertices, landmark {int(index.max())} is beyond them")
    try:
        return np.array([[float(x) for x in lines[i].split()[1:4]] for i in index]).reshape(-1, 3)
    except ValueError as error:
        raise ValueError(f"{path}: a vertex is not three numbers ({error})") from error


def expressions(names: list[str], generator: np.random.Generator, neutral: bool) -> np.ndarray:
    """Weights of the expression shapes: a few are on, most of them on both sides of the face, and the jaw often."""
    weight = np.zeros(len(names))
    if neutral:
        return weight
    on = generator.random(len(names)) < 0.12
    weight[on] = generator.uniform(0, 1, on.sum())
    for i, name in enumerate(names):
        if name.endswith("_L") and generator.random() < 0.8:
            weight[names.index(f"{name[:-2]}_R")] = weight[i] * generator.uniform(0.8, 1)
    if generator.random() < 0.3:
        weight[names.index("jawOpen")] = generator.uniform(0, 1)
    return weight


def build(root: Path, every: int) -> ShapeSet:
    """2,000 identities (coefficients N(0, 1), the model's own scale) with 5 expressions each; the last 400 to test."""
    said = files.read_json(need(root, FOLDER, "vertex_indices.json"))
    index = np.array(said.get("idx_to_landmark_verts", []), int) if isinstance(said, dict) else np.zeros(0, int)
    rig = rigs.get(NAME)
    if index.shape != (rig.n,) or index.min() < 0:
        raise ValueError(f"{root / FOLDER}/vertex_indices.json: idx_to_landmark_verts is not a list of {rig.n} numbers")
    meshes = sorted((root / FOLDER).glob("*.obj"))
    people = [path for path in meshes if path.name.startswith("identity")]
    moved = [path for path in meshes if not path.name.startswith(("identity", "generic"))]
    names = [path.stem for path in moved]
    if not people or "jawOpen" not in names:
        raise FileNotFoundError(f"{root / FOLDER}: no identity*.obj, or no expression meshes (jawOpen.obj, ...)")
    neutral = landmarks(need(root, FOLDER, "generic_neutral_mesh.obj"), index)
    identity = np.stack([landmarks(path, index) - neutral for path in people])
    expression = np.stack([landmarks(path, index) - neutral for path in moved])
    generator = np.random.default_rng(SEED)
    weights = generator.standard_normal((IDENTITIES, len(identity)))
    Y, person = [], np.repeat(np.arange(IDENTITIES), EACH)
    for own in weights:
        base = neutral + np.tensordot(own, identity, 1)
        Y += [base + np.tensordot(expressions(names, generator, k == 0), expression, 1) for k in range(EACH)]
    keep = slice(None, None, every)
    return shape_set(rig, np.array(Y)[keep], (person >= TRAIN).astype(int)[keep], person[keep], str(root))


LOADERS = {
    NAME: builder(NAME, "68 landmarks in cm, y up, z to the viewer; the last 400 of 2,000 identities to test", build)
}
