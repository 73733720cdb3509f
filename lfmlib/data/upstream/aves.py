"""bird18_aves: meshes of 17 species in poses drawn from the model's own prior, by linear blend skinning."""

from pathlib import Path

import numpy as np
import torch

from lfmlib import rigs
from lfmlib.data.loaders.base import shape_set
from lfmlib.data.shapes import ShapeSet
from lfmlib.data.upstream.common import builder, need, rodrigues

NAME = "bird18_aves"
TEST = ("Blue_Jay", "Mallard", "Cardinal")
EACH, SEED = 500, 7
KINDS = {"float": "<f4", "double": "<f8", "uchar": "u1", "int": "<i4"}
FIELDS = ("kintree_table", "J", "weights", "vert2kpt", "pose_cov", "pose_mean", "bone_cov", "bone_mean")


def vertices(path: Path) -> np.ndarray:
    """Vertices of an ASCII or little-endian .ply mesh, [V, 3].

    Raises:
        ValueError: not such a file, or cut short; names it.
    """
    head, found, body = path.read_bytes().partition(b"end_header\n")
    try:
        lines = head.decode("ascii").split("element face")[0].splitlines()
        count = int(next(line for line in lines if line.startswith("element vertex")).split()[-1])
        kinds = [line.split()[1:] for line in lines if line.startswith("property") and "list" not in line]
        if not found:
            raise ValueError("no end_header")
        if "ascii" in lines[1]:
            return np.array([[float(x) for x in line.split()[:3]] for line in body.decode().splitlines()[:count]])
        rows = np.frombuffer(body, np.dtype([(name, KINDS[kind]) for kind, name in kinds]), count)
        return np.stack([rows["x"], rows["y"], rows["z"]], 1).astype(float)
    except (ValueError, KeyError, IndexError, StopIteration, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a .ply mesh with vertices x, y, z ({error!r})") from error


def model(path: Path) -> dict[str, np.ndarray]:
    """The bird model's arrays; read as weights, so that nothing in the file is run."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return {name: np.asarray(content[name], np.float64) for name in FIELDS}
    except Exception as error:  # torch raises many kinds for a damaged file; all mean the same to the user
        raise ValueError(f"{path}: not the bird model with {', '.join(FIELDS)} ({type(error).__name__})") from error


def keypoints(bird: dict[str, np.ndarray], mesh: np.ndarray, pose: np.ndarray, bone: np.ndarray) -> np.ndarray:
    """Keypoints of a mesh in poses [B, J, 3] with bone lengths [B, J]; they are linear in the skinned vertices."""
    parent, J = bird["kintree_table"][0].astype(int), bird["J"]
    use = np.abs(bird["vert2kpt"]).sum(0) > 0
    offset = J.copy()
    offset[1:] -= J[parent[1:]]
    T = np.zeros((*pose.shape[:2], 4, 4))
    T[..., :3, :3], T[..., :3, 3], T[..., 3, 3] = rodrigues(pose), offset * bone[..., None], 1
    world = [T[:, 0]]
    for joint in range(1, len(J)):
        world.append(world[parent[joint]] @ T[:, joint])
    A = np.stack(world, 1)
    A[..., :3, 3] -= (A[..., :3, :3] @ J[:, :, None])[..., 0]
    M = np.einsum("vj,bjik->bvik", bird["weights"][use], A)
    skinned = np.einsum("bvik,vk->bvi", M[..., :3, :3], mesh[use]) + M[..., :3, 3]
    return np.einsum("kv,bvi->bki", bird["vert2kpt"][:, use], skinned)


def build(root: Path, every: int) -> ShapeSet:
    """500 poses and bone lengths for each species, N(mean, cov) of the model; three species are the test split."""
    bird = model(need(root, "models", "aves_high_res.pt"))
    meshes = sorted(path for path in (root / "bird_meshes").glob("*") if "template" not in path.name)
    if not meshes:
        raise FileNotFoundError(f"{root / 'bird_meshes'}: no mesh of a species")
    generator = np.random.default_rng(SEED)
    posing = np.linalg.cholesky(bird["pose_cov"] + 1e-8 * np.eye(len(bird["pose_cov"])))
    growing = np.linalg.cholesky(bird["bone_cov"] + 1e-10 * np.eye(len(bird["bone_cov"])))
    joints = len(bird["J"])
    Y, split, sequence = [], [], []
    for number, path in enumerate(meshes):
        pose, bone = np.zeros((EACH, joints, 3)), np.ones((EACH, joints))
        drawn = bird["pose_mean"] + generator.standard_normal((EACH, len(posing))) @ posing.T
        pose[:, 1:] = drawn.reshape(EACH, joints - 1, 3)  # the root stays as it is
        bone[:, 1:] = bird["bone_mean"] + generator.standard_normal((EACH, len(growing))) @ growing.T
        shapes = keypoints(bird, vertices(path), pose, bone)[::every]
        species = path.name.split(".")[1] if path.name.count(".") > 1 else path.stem
        Y.append(shapes)
        split += [int(species in TEST)] * len(shapes)
        sequence += [number] * len(shapes)
    return shape_set(rigs.get(NAME), np.concatenate(Y), np.array(split), np.array(sequence), str(root))


LOADERS = {NAME: builder(NAME, "18 keypoints in the model's unit; three species to test", build)}
