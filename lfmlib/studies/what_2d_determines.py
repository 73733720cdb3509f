"""What 2D keypoints and Eq. 1 determine and what they leave open: Prop. 1, the shapes of zero loss, floors, the mirror
ambiguity, the inner fit, and how well an index encoding tells tokens apart. Measurements first, then figures.

A seed is a set of test pictures, the one that the run of that seed is tested on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float
from pandas import DataFrame
from torch import Tensor

from lfmlib import encodings, experiments, geometry, metrics, rigs, verdicts
from lfmlib.baselines import floors
from lfmlib.data import real
from lfmlib.data.batches import evaluation_views
from lfmlib.data.shapes import ShapeSet
from lfmlib.data.views import CameraConfig, EvaluationViews, normalise
from lfmlib.model import Lifter, LifterConfig
from lfmlib.rigs import Rig
from lfmlib.runs import TEST_SEED, RunConfig, RunData
from lfmlib.store import RunStore, read_tensors

if TYPE_CHECKING:
    pass

# one synthetic category of each kind: people, hands, furniture, vehicles; all of them are in notebook 01
SYNTHETIC = ("synthetic_body17", "synthetic_hand21", "synthetic_chair10", "synthetic_aeroplane8")
TRAINED = ("synthetic_body17", "human17_cmu")  # what the runs and Prop. 1 are measured on, where it is there
ARMS = {"every": "Eq. 1, injection every", "none": "Eq. 1, no index encoding"}
EQUIVARIANCE_ARMS = ("none", "input", "input, Phi permuted too", "every", "every, Phi permuted too")
AMPLITUDES = (0.01, 0.1, 1.0, 10.0, 100.0)  # of random depths, in RMS radii of the picture
FACTORS = tuple(0.25 * k for k in range(-8, 13))  # of the true depth
NOISE = 0.1  # RMS radii: how far "truth + noise" is off
MIRRORED, HALF = "mirrored truth", "half mirrored truth"
KINDS = ("vit", "rff", "rff_sqrt2", "rff_mc", "laplacian", "learned", "orthonormal")
SIGMAS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 2.5, 3.5, 5.0, 7.0, 10.0)
PRINTED_SIGMA = 2.5
FITS = 1e-6  # Eq. 1, share of the picture's variance: below this a shape fits
ZERO = 1e-17  # where a loss of 0 is drawn on a logarithmic axis
SINGULAR = 1e16  # float64 tells no larger condition number


@dataclass(frozen=True)
class Category:
    """A category as this study looks at it: test shapes, mean training shape, and one set of test pictures per seed."""

    test: ShapeSet
    mean: Float[Tensor, "N 3"]
    views: tuple[EvaluationViews, ...]

    @property
    def name(self) -> str:
        """Of the rig."""
        return self.test.rig.name

    def row(self, seed: int, **columns: Any) -> dict[str, Any]:
        """A table's row."""
        return {"data": self.test.tag, "category": self.name, "seed": seed, **columns}

    def score(self, P: Float[Tensor, "B N 3"], seed: int) -> dict[str, float | None]:
        """o3, so3, flip and mm of predictions for the pictures of a seed."""
        views, rig = self.views[seed], self.test.rig
        scores = metrics.evaluate(P, views.Y, views.known, radius=[self.test.radius], mm=[rig.mm], names=[rig.name])
        return {name: scores[0][name] for name in experiments.ERRORS}


def load(frames: int, views: int, seeds: int) -> list[Category]:
    """Four synthetic categories, and every real one where LFM_DATA names a folder with them.

    Args:
        frames: shapes of a synthetic category at most, and the most that a mean shape is taken over.
        views: test pictures per category and seed, from the default cameras. seeds: 0 .. seeds - 1.
    """
    result = []
    for name in (*SYNTHETIC, *(name for name in real.available() if name in rigs.names())):
        shapes = RunData.of(RunConfig((name,), count=frames))
        train, test = shapes.train[0].thinned(frames), shapes.test[0]
        pictures = (evaluation_views([test], CameraConfig(), views, TEST_SEED + s) for s in range(seeds))
        result.append(Category(test, floors.mean_shape(train.points, train.known), tuple(pictures)))
    return result


def inventory(categories: Sequence[Category]) -> str:
    """One line on which data is there, and how to get the rest."""
    tags = [category.test.tag for category in categories]
    if "real" in tags:
        return f"{tags.count('synthetic')} synthetic and {tags.count('real')} real categories"
    return f"{len(tags)} synthetic categories; for the real ones set LFM_DATA to the folder with their .npz files"


def eq1(
    X: Float[Tensor, "B N 2"], Y: Float[Tensor, "B N 3"], visible: Bool[Tensor, "B N"] | None, camera: str = "exact"
) -> Float[Tensor, " B"]:
    """Eq. 1 per sample as a share of the picture's variance: mean squared residual per visible keypoint, float64."""
    residual = geometry.reprojection(X.double(), Y.double(), visible, camera)
    return residual / (X.shape[1] if visible is None else visible.sum(1))


def equivariance(categories: Sequence[Category], permutations: int = 10, samples: int = 16) -> DataFrame:
    """How far untrained networks are from f(PX) = P f(X): the largest deviation over random permutations, in float64.

    Returns:
        Columns arm, deviation: largest coordinate difference over the RMS coordinate. With "Phi permuted
        too" the rows of the encoding move with their keypoints: equivariance in the pair (X, Phi).
    Source: Sec. 3.2.
    """
    rows = []
    for category, seed, views, generator in _pictures(categories, TRAINED):
        X = views.X[:samples].double()
        orders = [_permutation(X.shape[1], generator) for _ in range(permutations)]
        for arm in EQUIVARIANCE_ARMS:
            injection, _, both = arm.partition(", ")
            model = Lifter(LifterConfig(injection=injection), [category.test.rig], seed).double()
            Y = _lift(model, X)
            codes = [model.codes[:, order] if both else None for order in orders]
            off = [_lift(model, X[:, order], code) - Y[:, order] for order, code in zip(orders, codes, strict=True)]
            deviation = float(torch.stack(off).abs().max() / Y.square().mean().sqrt())
            rows.append(category.row(seed, arm=f"injection {arm}", deviation=deviation))
    return DataFrame(rows)


def permuted_losses(
    categories: Sequence[Category],
    records: Sequence[Mapping[str, Any]],
    permutations: int = 10,
    samples: int = 200,
    store: RunStore | None = None,
) -> DataFrame:
    """Eq. 1 of permutation-equivariant answers: as they are, with the outputs permuted alone, and with both permuted.

    The flat answer (x, y, 0) is equivariant and an exact minimiser of Eq. 1; the runs without encoding are equivariant
    and trained towards one. Whatever network would give the permuted outputs, its loss is the one measured here.

    Returns:
        Columns answer; as_is, outputs_permuted, both_permuted (shares of the picture's variance, means over samples and
        permutations); change_both (largest change of a sample's loss when both are permuted).
    """
    rows = []
    for category, seed, views, generator in _pictures(categories, TRAINED):
        X, rig = views.X[:samples].double(), category.test.rig
        answers_ = {"flat answer": floors.flat(X)}
        answers_["untrained network"] = _lift(Lifter(LifterConfig(injection="none"), [rig], seed).double(), X)
        for record in records:
            config = RunConfig.from_dict(record["config"])
            if (config.categories, config.seed, config.model.injection) == ((category.name,), seed, "none"):
                answers_["trained network"] = _lift(trained(record, store).double(), X)
        orders = [_permutation(X.shape[1], generator) for _ in range(permutations)]
        for answer, Y in answers_.items():
            loss = eq1(X, Y, None)
            both = torch.stack([eq1(X[:, order], Y[:, order], None) for order in orders])
            alone = torch.stack([eq1(X, Y[:, order], None) for order in orders])
            means = {"as_is": loss, "outputs_permuted": alone, "both_permuted": both}
            rows.append(category.row(
                seed, answer=answer, **{name: float(value.mean()) for name, value in means.items()},
                change_both=float((both - loss).abs().max()),
            ))  # fmt: skip
    return DataFrame(rows)


def judge(deviations: DataFrame, losses: DataFrame, tolerance: float = 1e-6) -> list[verdicts.Verdict]:
    """Verdict on Prop. 1 per data set: does a permuted solution have the same loss, as its conclusion says?

    Args:
        deviations, losses: from `equivariance` and `permuted_losses`.
        tolerance: what counts as no deviation, and as no change of a loss that is a share of the picture's variance.
    """
    result = []
    for name, mine in losses.groupby("category", sort=False):
        own = deviations[(deviations["category"] == name) & (deviations["arm"] == "injection none")]
        off, flat = own["deviation"].max(), mine[mine["answer"] == "flat answer"]
        change = (mine["outputs_permuted"] - mine["as_is"]).abs().max()
        evidence = (
            f"f(PX)=Pf(X) to {off:.0e}; Eq. 1 of an equivariant minimiser {flat['as_is'].max():.0e}, of its permuted "
            f"outputs {flat['outputs_permuted'].mean():.2f} of the 2D variance; with X permuted too it changes by "
            f"{mine['change_both'].max():.0e}"
        )
        result.append(verdicts.statement(
            "PROP1", bool(off < tolerance and change < tolerance), evidence=evidence, data=mine["data"].iloc[0],
            category=name, note="equivariance holds; the loss is invariant only where input and output move together",
        ))  # fmt: skip
    return result


def zero_loss_family(categories: Sequence[Category]) -> DataFrame:
    """Eq. 1 of Y = (x, y, z) with random z of several sizes and, where runs are trained, with multiples of the true z.

    With R = I, s = 1, t = 0 the residual is 0 without any rounding; what is measured is what the solver makes of it.

    Returns:
        Columns family ("random depth", "true depth times", and "mean shape" for scale), amplitude, median, worst (Eq. 1
        over the samples, share of the picture's variance), and the errors where runs are trained (else NaN).
    """
    rows = []
    for category, seed, views, generator in _pictures(categories):
        X, errors = views.X.double(), category.name in TRAINED
        noise = torch.randn(X.shape[:2], generator=generator, dtype=X.dtype)
        shapes = [("random depth", a, _with_depth(X, a * noise)) for a in AMPLITUDES]
        if errors:
            shapes += [("true depth times", c, _with_depth(X, c * _true_depth(views))) for c in FACTORS]
        shapes.append(("mean shape", 1.0, floors.constant(category.mean.double(), len(X))))
        for family, amplitude, Y in shapes:
            loss, score = eq1(X, Y, views.visible), category.score(Y, seed) if errors else {}
            level = {"median": float(loss.median()), "worst": float(loss.max())}
            rows.append(category.row(seed, family=family, amplitude=amplitude, **level, o3_error=score.get("o3"),
                                     so3_error=score.get("so3")))  # fmt: skip
    return DataFrame(rows)


def runs(categories: Sequence[Category], steps: int, frames: int) -> list[RunConfig]:
    """Eq. 1 as the paper trains it: its encoding in every layer at weight 1, and no encoding; per data set and seed.

    Width and depth are small; optimiser, rate, weight decay and batch are the paper's; no schedule and no early stop.
    """
    return [
        RunConfig(
            (category.name,), model=LifterConfig(width=64, depth=4, heads=4, injection=injection, alpha=1.0), seed=seed,
            count=frames, steps=steps, lr=1e-4, schedule="constant", evaluations=8, test_views=len(views.X),
        )
        for injection in ARMS
        for category, seed, views, _ in _pictures(categories, TRAINED)
    ]  # fmt: skip


def trained(record: Mapping[str, Any], store: RunStore | None = None) -> Lifter:
    """The network that a finished run left behind."""
    config, store = RunConfig.from_dict(record["config"]), store or RunStore()
    model = Lifter(config.model, [rigs.get(name) for name in config.categories], config.seed)
    model.load_state_dict(read_tensors(store.folder(record["id"]) / "model.safetensors")[0])
    return model


def answers(categories: Sequence[Category]) -> list[dict[str, Any]]:
    """Results rows of answers without learning: flat, mean shape, the truth mirrored, every second truth mirrored."""
    rows = []
    for category, seed, views, _ in _pictures(categories):
        mirrored, odd = metrics.mirrored(views.Y), torch.arange(len(views.Y)) % 2 == 1
        shapes = {
            "flat": floors.flat(views.X), "mean": floors.constant(category.mean, len(views.X)),
            MIRRORED: mirrored, HALF: torch.where(odd[:, None, None], mirrored, views.Y),
        }  # fmt: skip
        rows += [category.row(seed, method=method, **category.score(P, seed)) for method, P in shapes.items()]
    return rows


def results(categories: Sequence[Category], records: Sequence[Mapping[str, Any]]) -> DataFrame:
    """The results table: `answers` of every category, and the runs' last step, shape as fitted (no other read-out)."""
    rows = [row for record in records for row in experiments.rows(record, method=_arm(record))]
    rows = [row for row in rows if (row["read_out"], row["stop"]) == ("fit", "last")]
    front = ["data", "category", "method", "seed", *experiments.ERRORS, "eq1", "step", "run"]
    return DataFrame(answers(categories) + rows, columns=front)


def run_curves(records: Sequence[Mapping[str, Any]], store: RunStore | None = None) -> DataFrame:
    """Loss and test errors over the steps of every run, shape as fitted."""
    store = store or RunStore()
    frame = DataFrame([row for r in records for row in experiments.curve_rows(store, r, method=_arm(r))])
    return frame[frame["read_out"] == "fit"]


def depths(
    categories: Sequence[Category], records: Sequence[Mapping[str, Any]], store: RunStore | None = None
) -> DataFrame:
    """What depth the trained networks answer with, beside the truth.

    Returns:
        Columns method; depth_sd, true_depth_sd (RMS radii of the picture); correlation (|Pearson| between predicted and
        true depth in the camera frame, mean over pictures), by_chance (the same with the truth of another picture);
        thickness, true_thickness (smallest over largest singular value of the centred shape).
    """
    rows, known = [], {category.name: category for category in categories}
    for record in records:
        config = RunConfig.from_dict(record["config"])
        category = known[config.categories[0]]
        views = category.views[config.seed]
        Y, truth = _lift(trained(record, store), views.X), _true_depth(views)
        z = geometry.to_camera_frame(Y, geometry.solve_camera(views.X, Y))[..., 2].double()
        rows.append(category.row(
            config.seed, method=_arm(record), depth_sd=float(z.std(1).mean()), true_depth_sd=float(truth.std(1).mean()),
            correlation=_correlation(z, truth), by_chance=_correlation(z, truth.roll(1, 0)),
            thickness=_thickness(Y), true_thickness=_thickness(views.Y),
        ))  # fmt: skip
    return DataFrame(rows)


def mirror_pictures(categories: Sequence[Category]) -> DataFrame:
    """Largest difference between the picture of a shape and that of its mirror image, float64, in RMS radii.

        P R y  against  P R' M y,   M = diag(-1, 1, 1),  R' = diag(1, 1, -1) R M,  det R' = 1,  R random

    Returns:
        Columns other_side (seen through R', from behind), same_side (seen through R: the control).
    """
    mirror, behind = (torch.diag(torch.tensor(d, dtype=torch.float64)) for d in ([-1, 1, 1], [1, 1, -1]))
    rows = []
    for category, seed, views, generator in _pictures(categories):
        Y = geometry.centred(views.Y.double(), views.known) / category.test.radius
        R = geometry.random_rotations(len(Y), generator, torch.float64)
        one, none = Y.new_ones(len(Y)), Y.new_zeros(len(Y), 2)
        seen = geometry.project(Y, geometry.Camera(one, R, none))
        other = {
            side: geometry.project(Y @ mirror, geometry.Camera(one, turned, none))
            for side, turned in {"other_side": behind @ R @ mirror, "same_side": R}.items()
        }
        rows.append(category.row(seed, **{side: float((seen - X).abs().max()) for side, X in other.items()}))
    return DataFrame(rows)


def residual_ratios(categories: Sequence[Category]) -> DataFrame:
    """Residual of the algebraic camera over that of the exact one, for shapes that do not fit perfectly.

    Returns:
        One row per category and shape ("mean shape", "truth + noise"), seeds pooled: samples, ratio_of_sums, and of the
        samples' ratios smallest, q05, q50, q95, largest. Samples that fit to 0.1 % of the picture's RMS radius are left
        out, since there is nothing to compare: all of a category that has a single shape, under its mean shape.
    """
    residuals: dict[tuple[str, str, str], list[tuple[Tensor, Tensor]]] = {}
    for category, _, views, generator in _pictures(categories):
        noise = torch.randn(views.Y.shape, generator=generator, dtype=torch.float64) / 3**0.5
        noisy = views.Y + NOISE * category.test.radius * noise
        constant = floors.constant(category.mean, len(views.X))
        for shape, Y in {"mean shape": constant, f"truth + {100 * NOISE:.0f} % noise": noisy}.items():
            pair = tuple(eq1(views.X, Y, views.visible, camera) for camera in ("exact", "algebraic"))
            residuals.setdefault((category.test.tag, category.name, shape), []).append(pair)
    rows = []
    for key, pairs in residuals.items():
        exact, algebraic = (torch.cat(part) for part in zip(*pairs, strict=True))
        exact, algebraic = exact[exact > FITS], algebraic[exact > FITS]
        if len(exact):
            spread = torch.quantile(algebraic / exact, exact.new_tensor([0, 0.05, 0.5, 0.95, 1])).tolist()
            row = dict(zip(("data", "category", "shape"), key, strict=True), samples=len(exact))
            row["ratio_of_sums"] = float(algebraic.sum() / exact.sum())
            rows.append(row | dict(zip(("smallest", "q05", "q50", "q95", "largest"), spread, strict=True)))
    return DataFrame(rows)


def conditioning(
    seeds: int, sizes: Sequence[int] = tuple(range(8, 69, 4)), widths: Sequence[int] = (64, 256), tokens: int = 17
) -> DataFrame:
    """Neighbour similarity and condition number of every index encoding, over N at the printed sigma and over sigma.

    Args:
        seeds: draws of the random encodings. sizes: numbers of tokens N, on a chain of that many keypoints.
        widths: D. tokens: N of the sweep over sigma.
    Returns:
        Columns sweep ("tokens", "sigma"), encoding, N, D, sigma, seed, neighbour_similarity, condition_number.
    """
    cells = [("tokens", kind, n, PRINTED_SIGMA) for kind in KINDS for n in sorted({*sizes, tokens})]
    cells += [("sigma", kind, tokens, sigma) for kind in ("rff", "rff_sqrt2", "rff_mc") for sigma in SIGMAS]
    rows = []
    for sweep, kind, n, sigma in cells:
        chain = Rig("chain", tuple(map(str, range(n))), tuple((i, i + 1) for i in range(n - 1)))
        for width in widths:
            for seed in range(seeds if kind in encodings.RANDOM else 1):
                generator = torch.Generator().manual_seed(seed)
                phi = encodings.encode(kind, chain, width, sigma=sigma, generator=generator, dtype=torch.float64)
                rows.append({
                    "sweep": sweep, "encoding": kind, "N": n, "D": width, "sigma": sigma, "seed": seed,
                    "neighbour_similarity": encodings.neighbour_similarity(phi),
                    "condition_number": encodings.condition_number(phi),
                })  # fmt: skip
    return DataFrame(rows)


def conditioning_table(frame: DataFrame, tokens: int = 17) -> DataFrame:
    """Median over the draws at N = `tokens` and the printed sigma: one row per encoding, one column per width."""
    mine = frame[(frame["sweep"] == "tokens") & (frame["N"] == tokens)]
    return mine.groupby(["encoding", "D"], sort=False)[["neighbour_similarity", "condition_number"]].median().unstack()


def headline(table: DataFrame, family: DataFrame, ratios: DataFrame, deep: DataFrame) -> dict[str, dict[str, float]]:
    """The numbers that a reader looks for first, per data set that runs were trained on."""
    result = {}
    for name in dict.fromkeys(deep["category"]):
        means = table[table["category"] == name].groupby("method")[["o3", "so3"]].mean()
        best = table[(table["category"] == name) & (table["method"] == ARMS["every"])]["o3"].min()
        drawn = family[(family["category"] == name) & (family["family"] == "random depth")]
        depth = deep[(deep["category"] == name) & (deep["method"] == ARMS["every"])]
        fit = ratios[(ratios["category"] == name) & (ratios["shape"] == "mean shape")]
        result[name] = {
            "Eq. 1 of (x, y, random depth), worst sample": float(drawn["worst"].max()),
            "flat floor, O(3) %": float(means["o3"]["flat"]),
            "mean shape, O(3) %": float(means["o3"]["mean"]),
            "paper-literal run, O(3) %": float(means["o3"][ARMS["every"]]),
            "its best seed, O(3) %": float(best),
            "its depth against the truth, |r|": float(depth["correlation"].mean()),
            "the same by chance, |r|": float(depth["by_chance"].mean()),
            "mirrored truth, SO(3) %": float(means["so3"][MIRRORED]),
            "algebraic over exact residual, mean shape": float(fit["ratio_of_sums"].iloc[0]),
        }
    return result


def _pictures(
    categories: Sequence[Category], only: Sequence[str] = ()
) -> Iterator[tuple[Category, int, EvaluationViews, torch.Generator]]:
    """Every set of pictures with its category, its seed and a generator of that seed."""
    for category in categories:
        for seed, views in enumerate(category.views if not only or category.name in only else ()):
            yield category, seed, views, torch.Generator().manual_seed(seed)


def _permutation(n: int, generator: torch.Generator) -> Tensor:
    """A random order that is not the identity."""
    while bool(((order := torch.randperm(n, generator=generator)) == torch.arange(n)).all()):
        pass
    return order


@torch.no_grad()
def _lift(model: Lifter, X: Tensor, codes: Tensor | None = None) -> Tensor:
    return model(X, codes=codes)


def _with_depth(X: Tensor, z: Tensor) -> Tensor:
    return torch.cat((X, z[..., None]), -1)


def _true_depth(views: EvaluationViews) -> Tensor:
    """z in the unit of X, float64."""
    _, _, size = normalise(views.Y[..., :2].double(), views.visible)
    return views.Y[..., 2].double() / size[:, None]


def _correlation(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return float(((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp_min(1e-12)).abs().mean())


def _thickness(Y: Tensor) -> float:
    values = torch.linalg.svdvals(geometry.centred(Y))
    return float((values[:, 2] / values[:, 0]).mean())


def _arm(record: Mapping[str, Any]) -> str:
    return ARMS[record["config"]["model"]["injection"]]
