"""Deep NRSfM++: shapes as sparse codes of sparse codes; encoder and decoder are the same dictionaries, unrolled."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lfmlib import geometry
from lfmlib.baselines.factorization import nearest_frames
from lfmlib.baselines.interface import check_weights, evaluating
from lfmlib.data.views import Views
from lfmlib.objectives.fitting import read_out
from lfmlib.objectives.masked import cleaned, mean_square

TINY = 1e-12  # added to a block's squared size: keeps the root's gradient finite where it is 0


class DeepNRSfM(nn.Module):
    """Hierarchical block-sparse coding: one stack of dictionaries takes a picture apart and builds its shape.

        model    Y = D_1 psi_1,   psi_{l-1} = relu(D_l psi_l - b'_l),   X = Y (P R)^T + t
        so       X = D_1 Psi_1,   Psi_l = psi_l (x) (P R)^T: blocks of 3 x 2, few of them in use
        encoder  Psi_1 = eta(D_1^T X; b_1),   Psi_l = eta(D_l^T Psi_{l-1}; b_l),   eta shrinks a block's size by b
        middle   (P R)^T = nearest frame to sum_k g_k Psi_Lk,   psi_Lk = < Psi_Lk, (P R)^T > / 2
        loss     mean_V || x - P R y - t ||^2,   t: mean over what is visible

    A picture that is turned in its plane has the same code, and its camera turned: no step sees the picture's axes.
    Hidden keypoints take no part in D_1^T X, whose size is made up for by N / |V|.

    Args:
        keypoints: N; one network knows one rig.
        generator: draws the weights.
        dictionaries: codes per level; the last one is what shapes may differ in, and decides how much depth is learned.
        threshold: of all levels at the start, in the picture's unit; learned from there.
    Raises:
        ValueError: no dictionary, or one without codes; a threshold that is negative or not finite.
    Source: Wang, Lin and Lucey, "Deep NRSfM++: towards unsupervised 2D-3D lifting in the wild", 3DV 2020, after Kong
        and Lucey, "Deep non-rigid structure from motion", ICCV 2019: the model, its one-step unrolling with
        dictionaries that encoder and decoder share and thresholds that they do not, a camera and a code out of the last
        blocks, and reprojection as the only loss. Weak perspective: the shape has the picture's scale. Its dictionary
        centred on the visible keypoints changes nothing here, where pictures are centred on them and one step is taken.
        Not in the text at hand, so ours: shrinking whole blocks in place of their numbers, the code by least squares
        given the camera, N / |V|, the law of the first weights, and the sizes (there many levels down to about 8; these
        were chosen among nine on three categories by their 3D error, for the 2D loss is lowest for codes so wide that
        shapes stay flat: no label enters training, but labels entered the design).
    """

    def __init__(
        self,
        keypoints: int,
        generator: torch.Generator,
        dictionaries: Sequence[int] = (64, 32, 16, 8, 4),
        threshold: float | int = 0.01,
    ) -> None:
        super().__init__()
        check_weights(threshold=threshold)
        if not dictionaries or min(dictionaries) < 1:
            raise ValueError(f"dictionaries are {list(dictionaries)}: expected one or more, of 1 code or more each")
        self.keypoints = keypoints
        pairs = zip(dictionaries[:-1], dictionaries[1:], strict=True)
        self.shapes = _normal((keypoints, 3, dictionaries[0]), keypoints, generator)  # D_1
        self.deeper = nn.ParameterList(_normal(pair, pair[0], generator) for pair in pairs)
        self.camera = _normal((dictionaries[-1],), dictionaries[-1], generator)  # g
        self.encoder = _thresholds(dictionaries, threshold, generator.device)
        self.decoder = _thresholds(dictionaries[:-1], threshold, generator.device)

    def encode(
        self, X: Float[Tensor, "B N xy"], visible: Bool[Tensor, "B N"] | None = None
    ) -> tuple[Float[Tensor, "B K"], Float[Tensor, "B xyz xyz"]]:
        """Code and rotation of pictures.

        Args:
            X: keypoints, unit RMS; anything where not visible; [B, N, 2].  visible: None = all; [B, N].
        Returns:
            (psi_L [B, K], R canonical to camera frame [B, 3, 3]).
        Raises:
            ValueError: X has another number of keypoints.
        """
        if X.ndim != 3 or X.shape[1:] != (self.keypoints, 2):
            raise ValueError(f"X has shape {list(X.shape)}: expected [B, {self.keypoints}, 2]")
        share = 1 if visible is None else visible.sum(1).clamp_min(1)[:, None, None] / self.keypoints
        X = geometry.centred(X, visible) / share
        blocks = shrunk_blocks(torch.einsum("njk,bnc->bkcj", self.shapes, X), self.encoder[0])  # [B, K_1, 2, 3]
        for D, threshold in zip(self.deeper, self.encoder[1:], strict=True):
            blocks = shrunk_blocks(torch.einsum("ik,bicj->bkcj", D, blocks), threshold)
        frame, _ = nearest_frames(torch.einsum("k,bkcj->bcj", self.camera, blocks))  # [B, 2, 3]
        code = (blocks * frame[:, None]).sum((2, 3)) / 2
        return code, torch.cat((frame, torch.linalg.cross(frame[:, :1], frame[:, 1:])), 1)

    def decode(self, code: Float[Tensor, "B K"]) -> Float[Tensor, "B N xyz"]:
        """Canonical shape of a code, in the picture's scale; [B, N, 3]."""
        for D, threshold in zip(reversed(self.deeper), reversed(self.decoder), strict=True):
            code = (code @ D.mT - threshold).relu()
        return torch.einsum("njk,bk->bnj", self.shapes, code)

    def loss(self, views: Views, generator: torch.Generator) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """See `Baseline.loss`; term: reprojection. It draws nothing.

        Raises:
            ValueError: pictures of a second category.
        """
        if bool((views.category != views.category[0]).any()):
            raise ValueError(f"DeepNRSfM knows one category, got {sorted(set(views.category.tolist()))}")
        code, R = self.encode(views.X, views.visible)
        left = geometry.centred(views.X - self.decode(code) @ R[:, :2].mT, views.visible)
        picture = mean_square(left, views.visible).mean()
        return picture, {"reprojection": picture.detach()}

    def lift(self, X: Float[Tensor, "B N xy"], visible: Bool[Tensor, "B N"] | None = None) -> Float[Tensor, "B N xyz"]:
        """See `Baseline.lift`: the decoded shape under the encoder's camera."""
        with evaluating(self):
            code, R = self.encode(X, visible)
            Y, X = self.decode(code), cleaned(X, visible)
            count = X.shape[1] if visible is None else visible.sum(1).clamp_min(1)[:, None]
            t = cleaned(X - Y @ R[:, :2].mT, visible).sum(1) / count
            return read_out(X, Y, geometry.Camera(torch.ones_like(t[:, 0]), R, t), visible)


def shrunk_blocks(blocks: Float[Tensor, "B K xy xyz"], threshold: Float[Tensor, " K"]) -> Float[Tensor, "B K xy xyz"]:
    """Block soft threshold, Psi_k <- max(0, 1 - b_k / |Psi_k|) Psi_k: the proximal map of sum_k b_k |Psi_k|."""
    size = (blocks.square().sum((2, 3), keepdim=True) + TINY).sqrt()
    return blocks * (1 - threshold[:, None, None] / size).relu()


def _normal(size: Sequence[int], rows: int, generator: torch.Generator) -> nn.Parameter:
    """Normal numbers of variance 1 / rows: columns of unit length, on average."""
    return nn.Parameter(torch.randn(size, generator=generator, device=generator.device) / rows**0.5)


def _thresholds(sizes: Sequence[int], start: float | int, device: torch.device) -> nn.ParameterList:
    return nn.ParameterList(nn.Parameter(torch.full((k,), float(start), device=device)) for k in sizes)
