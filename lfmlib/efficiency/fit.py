"""The exact fit of Eq. 1 against the pose that the paper describes, roma's Procrustes, and its plain-PyTorch twin."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from lfmlib.efficiency.records import Contest
from lfmlib.efficiency.setting import Setting
from lfmlib.efficiency.timing import Turn
from lfmlib.environment import environment
from lfmlib.geometry import fit_camera, reprojection

GROUP = "fit"
FIT, GRADIENT = "fit", "fit and gradient"
SVD, ROMA, TWIN = "pinv + SVD", "roma Procrustes, depth given", "plain PyTorch twin"
KEYPOINTS = 17

# batches at 17 keypoints; keypoints at `batch`; batches that are also measured in float64, and against the slow others
SIZES = {
    "smoke": {"batches": (1, 8, 64), "keypoints": (3, 17, 32), "batch": 64, "double": (8,), "others": (64,)},
    "cpu": {
        "batches": (1, 16, 256, 4096, 65_536, 10**6), "keypoints": (3, 8, 17, 32, 64, 128), "batch": 4096,
        "double": (4096, 65_536), "others": (1, 4096),
    },
    "full": {
        "batches": (1, 16, 256, 4096, 65_536, 10**6), "keypoints": (3, 8, 17, 32, 64, 128), "batch": 65_536,
        "double": (1, 4096, 65_536), "others": (1, 4096, 65_536, 10**6),
    },
}  # fmt: skip
LARGEST_SVD = 200_000  # samples: beyond, the derivative of the SVD takes minutes on a CPU, and gigabytes
LONG = 50_000  # samples from which a call takes seconds

Loss = Callable[[Tensor, Tensor], object]


def contests(setting: Setting) -> Iterator[Contest]:
    """Batch sizes, then keypoints, then float64, then the other rivals."""
    sizes = SIZES[setting.profile]
    for batch in sizes["batches"]:
        yield contest(setting, FIT, SVD, batch)
        if setting.device != "cpu" or batch <= LARGEST_SVD:
            yield contest(setting, GRADIENT, SVD, batch)
    for keypoints in sizes["keypoints"]:
        if keypoints != KEYPOINTS or sizes["batch"] not in sizes["batches"]:
            yield contest(setting, FIT, SVD, sizes["batch"], keypoints)
            yield contest(setting, GRADIENT, SVD, sizes["batch"], keypoints)
    for batch in sizes["double"]:
        yield contest(setting, FIT, SVD, batch, dtype="float64")
        yield contest(setting, GRADIENT, SVD, batch, dtype="float64")
    for batch in sizes["others"]:
        for name in (FIT, GRADIENT):
            yield contest(setting, name, ROMA, batch)
            yield contest(setting, name, TWIN, batch)


def contest(
    setting: Setting,
    name: str,
    other: str,
    batch: int,
    keypoints: int = KEYPOINTS,
    dtype: str = "float32",
    group: str = GROUP,
) -> Contest:
    """One comparison at one size."""
    sizes = {"batch": batch, "keypoints": keypoints}
    make = partial(_make, setting, name, other, batch, keypoints, getattr(torch, dtype))
    size = {"float32": 4, "float64": 8}[dtype]
    gradient = name == GRADIENT
    return Contest(group, name, other, sizes, make, dtype, setting.threads,
                   lambda: {"bytes": fewest_bytes(batch, keypoints, size, gradient), "work": batch})  # fmt: skip


def _make(
    setting: Setting, name: str, other: str, batch: int, keypoints: int, dtype: torch.dtype, _: object
) -> tuple[Turn, Turn]:
    generator = setting.generator()
    X, Y = (torch.randn(batch, keypoints, k, generator=generator, device=setting.device, dtype=dtype) for k in (2, 3))
    ours, theirs = (CALLS[name][who] for who in ("ours", other))
    warm_up = 1 if batch >= LONG else 2
    return setting.timed(lambda: ours(X, Y), warm_up), setting.timed(lambda: theirs(X, Y), warm_up)


def fewest_bytes(batch: int, keypoints: int, size: int, gradient: bool) -> float:
    """Bytes that must move: X and Y read once, s, R and t written once; or the residual and both gradients."""
    points = 5 * keypoints
    return float(size * batch * (points + (points + 1 if gradient else 12)))


def pinv_svd(X: Tensor, Y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The paper's words as code: least squares, orthogonalised by an SVD, and the best scale for that rotation."""
    x, y = X - X.mean(1, keepdim=True), Y - Y.mean(1, keepdim=True)
    U, _, Vh = torch.linalg.svd((torch.linalg.pinv(y) @ x).mT, full_matrices=False)
    rows = U @ Vh  # [B, 2, 3]
    flat = y @ rows.mT
    s = (x * flat).sum((1, 2)) / flat.square().sum((1, 2))
    return s, rows, X.mean(1) - s[:, None] * (rows @ Y.mean(1)[..., None]).squeeze(-1)


def pinv_svd_loss(X: Tensor, Y: Tensor) -> Tensor:
    """Eq. 1 with that pose; its gradient runs through SVD and pseudo-inverse."""
    s, rows, t = pinv_svd(X, Y)
    return (s[:, None, None] * (Y @ rows.mT) + t[:, None] - X).square().sum()


def _procrustes(X: Tensor, Y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A camera if depth were known (here Y's own): the cheapest related problem, and an easier one."""
    import roma

    target = torch.cat((X, Y[..., 2:]), -1)
    R, t, s = roma.rigid_points_registration(Y, target, compute_scaling=True)
    return s, R, t


def _procrustes_loss(X: Tensor, Y: Tensor) -> Tensor:
    s, R, t = _procrustes(X, Y)
    return (s[:, None, None] * (Y @ R[:, :2].mT) + t[:, None, :2] - X).square().sum()


def _twin(call: Loss) -> Loss:
    def run(X: Tensor, Y: Tensor) -> object:
        with environment({"LFM_FIT": "torch"}):
            return call(X, Y)

    return run


def _with_gradient(loss: Loss) -> Loss:
    """Forward and backward."""

    def step(X: Tensor, Y: Tensor) -> None:
        X, Y = X.detach().requires_grad_(), Y.detach().requires_grad_()
        loss(X, Y).backward()

    return step


def residual(X: Tensor, Y: Tensor) -> Tensor:
    """Eq. 1 with the exact fit, summed over the batch."""
    return reprojection(X, Y).sum()


CALLS: dict[str, dict[str, Loss]] = {
    FIT: {"ours": fit_camera, SVD: pinv_svd, ROMA: _procrustes, TWIN: _twin(fit_camera)},
    GRADIENT: {
        "ours": _with_gradient(residual), SVD: _with_gradient(pinv_svd_loss), ROMA: _with_gradient(_procrustes_loss),
        TWIN: _twin(_with_gradient(residual)),
    },
}  # fmt: skip
