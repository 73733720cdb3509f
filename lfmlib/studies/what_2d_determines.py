"""What 2D keypoints and Eq. 1 determine and what they leave open: Prop. 1, the family of shapes with zero loss, floors,
the mirror ambiguity, the inner fit, and how well an index encoding tells tokens apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lfmlib import data, encodings, experiments, geometry, metrics, plots, rigs, training, verdicts
from lfmlib.baselines import floors
from lfmlib.data import real, synthetic
from lfmlib.data.batches import CameraConfig, EvaluationViews, evaluation_views, normalise
from lfmlib.data.shapes import ShapeSet
from lfmlib.model import Lifter, LifterConfig
from lfmlib.rigs import Rig
from lfmlib.store import RunStore, read_tensors
from lfmlib.training import RunConfig
from lfmlib.verdicts import Verdict

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    import pandas

TRAINED = ("synthetic_body17", "human17_cmu")  # what the runs and Prop. 1 are measured on, where it is there
ARMS = {"every": "Eq. 1, injection every", "none": "Eq. 1, no index encoding"}
AMPLITUDES = (0.0, 0.01, 0.1, 1.0, 10.0, 100.0)  # of random depths, in RMS radii of the picture
FACTORS = tuple(0.25 * k for k in range(-8, 13))  # of the true depth
NOISE = 0.1  # RMS radii: how far "truth + noise" is off
MIRRORED, HALF = "mirrored truth", "half mirrored truth"
POLICIES = {"o3": "O(3)", "so3": "SO(3)", "flip": "per-category flip"}
KINDS = ("vit", "rff", "rff_sqrt2", "rff_mc", "laplacian", "learned", "orthonormal")
SIGMAS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 2.5, 3.5, 5.0, 7.0, 10.0)
PRINTED_SIGMA = 2.5
TINY = 1e-17  # where a loss of 0 is drawn on a logarithmic axis
CONDITION_LIMIT = 1e16  # float64 tells no larger condition number


@dataclass(frozen=True)
class Category:
    """A category as this study looks at it: its test shapes, its mean training shape, and test views, one set a seed."""

    test: ShapeSet
    mean: Float[Tensor, "N 3"]
    views: tuple[EvaluationViews, ...]

    @property
    def name(self) -> str:
        return self.test.rig.name

    def score(self, P: Float[Tensor, "B N 3"], seed: int, method: str) -> dict[str, Any]:
        """The row of a results table for predictions of the views of a seed."""
        views, rig = self.views[seed], self.test.rig
        record = metrics.evaluate(
            P, views.Y, views.known, radius=[self.test.radius], mm=[rig.mm], names=[rig.name]
        )[0]  # fmt: skip
        row = {"data": self.test.tag, "category": self.name, "method": method, "seed": seed}
        return row | {name: record[name] for name in experiments.ERRORS}


def load(frames: int, views: int, seeds: int) -> list[Category]:
    """Every synthetic category, and every real one where LFM_DATA names a folder with them.

    Args:
        frames: shapes to generate per synthetic category, and the most that a mean shape is taken over.
        views: test pictures per category and seed, from the default cameras; the ones that the runs are tested on.
        seeds: 0 .. seeds - 1.
    """
    result = []
    for name in (*synthetic.categories(), *(name for name in real.available() if name in rigs.names())):
        shapes = data.load(name, count=frames if name in synthetic.categories() else None)
        train, test = shapes.train.thinned(frames), shapes.test
        pictures = (evaluation_views([test], CameraConfig(), views, training.TEST_SEED + s) for s in range(seeds))
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


# Prop. 1


def equivariance(categories: Sequence[Category], permutations: int, samples: int = 16) -> "pandas.DataFrame":
    """How far untrained networks are from f(PX) = P f(X): largest deviation over random permutations, in float64.

    Returns:
        Columns data, category, seed, arm, deviation (largest coordinate difference over the RMS coordinate).
    Source: Sec. 3.2. "encoding permuted too" hands row P(i) of Phi to keypoint i: equivariant in the pair (X, Phi).
    """
    import pandas

    rows = []
    for category in _trained(categories):
        for seed, views in enumerate(category.views):
            X, generator = views.X[:samples].double(), torch.Generator().manual_seed(seed)
            for injection in ("none", "input", "every"):
                model = Lifter(LifterConfig(injection=injection), [category.test.rig], seed).double()
                worst = dict.fromkeys(("as is", "encoding permuted too"), 0.0)
                with torch.no_grad():
                    Y = model(X)
                    for _ in range(permutations):
                        order = _permutation(X.shape[1], generator)
                        codes = {"as is": None, "encoding permuted too": model.codes[:, order]}
                        for how, code in codes.items():
                            off = (model(X[:, order], codes=code) - Y[:, order]).abs().max() / Y.square().mean().sqrt()
                            worst[how] = max(worst[how], float(off))
                rows += [
                    {"data": category.test.tag, "category": category.name, "seed": seed,
                     "arm": injection + (f", {how}" if how != "as is" else ""), "deviation": off}
                    for how, off in worst.items() if injection != "none" or how == "as is"
                ]  # fmt: skip
    return pandas.DataFrame(rows)


def permuted_losses(
    categories: Sequence[Category], records: Sequence[Mapping[str, Any]], permutations: int, store: RunStore | None = None
) -> "pandas.DataFrame":
    """Eq. 1 of permutation-equivariant answers: as they are, with the outputs permuted alone, and with both permuted.

    The flat answer (x, y, 0) is equivariant and an exact minimiser of Eq. 1; the runs without encoding are equivariant
    and trained towards one. Whatever network would produce the permuted outputs, its loss is the one measured here.

    Returns:
        Columns data, category, seed, answer, as_is, outputs_permuted, both_permuted: shares of the picture's variance,
        means over samples and permutations; change_both: largest change of a sample's loss when both are permuted.
    """
    import pandas

    rows = []
    for category in _trained(categories):
        for seed, views in enumerate(category.views):
            generator, X = torch.Generator().manual_seed(seed), views.X.double()
            blank = Lifter(LifterConfig(injection="none"), [category.test.rig], seed)
            answers = {"flat answer": floors.flat(X), "untrained network": _lift(blank, views.X).double()}
            for record in records:
                config = RunConfig.from_dict(record["config"])
                if (config.categories, config.seed, config.model.injection) == ((category.name,), seed, "none"):
                    answers["trained network"] = _lift(trained(record, store), views.X).double()
            orders = [_permutation(X.shape[1], generator) for _ in range(permutations)]
            for answer, Y in answers.items():
                loss = eq1(X, Y, None)
                both = torch.stack([eq1(X[:, order], Y[:, order], None) for order in orders])
                alone = torch.stack([eq1(X, Y[:, order], None) for order in orders])
                rows.append({
                    "data": category.test.tag, "category": category.name, "seed": seed, "answer": answer,
                    "as_is": float(loss.mean()), "outputs_permuted": float(alone.mean()),
                    "both_permuted": float(both.mean()), "change_both": float((both - loss).abs().max()),
                })  # fmt: skip
    return pandas.DataFrame(rows)


def judge(deviations: "pandas.DataFrame", losses: "pandas.DataFrame", tolerance: float = 1e-6) -> list[Verdict]:
    """Verdict on Prop. 1 per data set: does a permuted solution have the same loss, as its conclusion says?

    Args:
        deviations, losses: from `equivariance` and `permuted_losses`.
        tolerance: what counts as no deviation, and as no change of a loss that is a share of the picture's variance.
    """
    result = []
    for name, mine in losses.groupby("category", sort=False):
        own = deviations[(deviations["category"] == name) & (deviations["arm"] == "none")]
        off, flat = float(own["deviation"].max()), mine[mine["answer"] == "flat answer"]
        change = float((mine["outputs_permuted"] - mine["as_is"]).abs().max())
        evidence = (
            f"f(PX)=Pf(X) to {off:.0e}; Eq. 1 of the flat minimiser {flat['as_is'].max():.0e}, of its permuted outputs "
            f"{flat['outputs_permuted'].mean():.2f} of the 2D variance; with X permuted too it changes by "
            f"{mine['change_both'].max():.0e}"
        )
        result.append(verdicts.statement(
            "PROP1", off < tolerance and change < tolerance, evidence=evidence, data=mine["data"].iloc[0],
            category=name, note="equivariance holds; the loss is invariant only where input and output move together",
        ))  # fmt: skip
    return result


# The family of zero loss, by construction and by training


def zero_loss_family(categories: Sequence[Category]) -> "pandas.DataFrame":
    """Eq. 1 of Y = (x, y, z) with random z of several amplitudes, and, where runs are trained, with factors on the true z.

    With R = I, s = 1, t = 0 the residual is 0 without rounding; what is measured is what the solver makes of it.

    Returns:
        Columns data, category, seed, family ("random depth", "true depth times", "mean shape" for scale), amplitude,
        median, worst (Eq. 1 over the samples, share of the picture's variance), error_o3, error_so3 (% of RMS radius).
    """
    import pandas

    rows = []
    for category in categories:
        for seed, views in enumerate(category.views):
            X, generator = views.X.double(), torch.Generator().manual_seed(seed)
            noise = torch.randn(X.shape[:2], generator=generator, dtype=X.dtype)
            known = [("random depth", a, _with_depth(X, a * noise)) for a in AMPLITUDES]
            if category.name in TRAINED:
                _, _, size = normalise(views.Y[..., :2].double(), views.visible)
                z = views.Y[..., 2].double() / size[:, None]
                known += [("true depth times", c, _with_depth(X, c * z)) for c in FACTORS]
            known.append(("mean shape", 1.0, floors.constant(category.mean.double(), len(X))))
            for family, amplitude, Y in known:
                loss, score = eq1(X, Y, views.visible), {}
                if category.name in TRAINED:
                    score = category.score(Y, seed, family)
                rows.append({
                    "data": category.test.tag, "category": category.name, "seed": seed, "family": family,
                    "amplitude": amplitude, "median": float(loss.median()), "worst": float(loss.max()),
                    "error_o3": score.get("o3"), "error_so3": score.get("so3"),
                })  # fmt: skip
    return pandas.DataFrame(rows)


def runs(categories: Sequence[Category], steps: int, frames: int) -> list[RunConfig]:
    """Eq. 1 as the paper trains it, with its encoding in every layer at weight 1 and without any, per data set and seed.

    Width and depth are small; optimiser, rate, weight decay and batch are the paper's; no schedule and no early stop.
    """
    return [
        RunConfig(
            (category.name,), model=LifterConfig(width=64, depth=4, heads=4, injection=injection, alpha=1.0), count=frames,
            steps=steps, lr=1e-4, schedule="constant", seed=seed, evaluations=12, test_views=len(category.views[0].X),
        )
        for category in _trained(categories)
        for injection in ARMS
        for seed in range(len(category.views))
    ]  # fmt: skip


def trained(record: Mapping[str, Any], store: RunStore | None = None) -> Lifter:
    """The network that a finished run left behind."""
    config, store = RunConfig.from_dict(record["config"]), store or RunStore()
    model = Lifter(config.model, [rigs.get(name) for name in config.categories], config.seed)
    model.load_state_dict(read_tensors(store.folder(record["id"]) / "model.safetensors")[0])
    return model


def run_rows(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Results rows of the runs: last step, the read-out that the paper describes."""
    rows = [row for r in records for row in experiments.rows(r, method=ARMS[r["config"]["model"]["injection"]])]
    return [row for row in rows if (row["read_out"], row["stop"]) == ("fit", "last")]


def run_curves(records: Sequence[Mapping[str, Any]], store: RunStore | None = None) -> "pandas.DataFrame":
    """Loss and test errors over the steps of every run, for the read-out that the paper describes."""
    import pandas

    rows = [
        row for r in records
        for row in experiments.curve_rows(
            store or RunStore(), r, category=r["config"]["categories"][0], method=ARMS[r["config"]["model"]["injection"]]
        )
    ]  # fmt: skip
    frame = pandas.DataFrame(rows)
    return frame[frame["read_out"] == "fit"]


def depths(
    categories: Sequence[Category], records: Sequence[Mapping[str, Any]], store: RunStore | None = None
) -> "pandas.DataFrame":
    """What depth the trained networks answer with, beside the truth.

    Returns:
        Columns category, method, seed; depth_sd, true_depth_sd (RMS radii of the picture); correlation (|Pearson| of
        predicted and true depth in the camera frame, mean over views), by_chance (the same with the truth of another
        view); thickness (smallest over largest singular value of the centred answer), true_thickness.
    """
    import pandas

    rows, known = [], {category.name: category for category in categories}
    for record in records:
        config = RunConfig.from_dict(record["config"])
        views = known[config.categories[0]].views[config.seed]
        Y = _lift(trained(record, store), views.X)
        z = geometry.to_camera_frame(Y, geometry.solve_camera(views.X, Y))[..., 2]
        _, _, size = normalise(views.Y[..., :2])
        truth = views.Y[..., 2] / size[:, None]
        rows.append({
            "category": config.categories[0], "method": ARMS[config.model.injection], "seed": config.seed,
            "depth_sd": float(z.std(1).mean()), "true_depth_sd": float(truth.std(1).mean()),
            "correlation": _correlation(z, truth), "by_chance": _correlation(z, truth.roll(1, 0)),
            "thickness": _thickness(Y), "true_thickness": _thickness(views.Y),
        })  # fmt: skip
    return pandas.DataFrame(rows)


# Answers that need no learning: floors, and the truth in a mirror


def answers(categories: Sequence[Category]) -> list[dict[str, Any]]:
    """Results rows of the flat answer, the mean shape, the mirrored truth, and the truth with every second one mirrored."""
    rows = []
    for category in categories:
        for seed, views in enumerate(category.views):
            mirrored = metrics.mirrored(views.Y)
            odd = (torch.arange(len(views.Y)) % 2 == 1)[:, None, None]
            methods = {
                "flat": floors.flat(views.X), "mean": floors.constant(category.mean, len(views.X)),
                MIRRORED: mirrored, HALF: torch.where(odd, mirrored, views.Y),
            }  # fmt: skip
            rows += [category.score(P, seed, method) for method, P in methods.items()]
    return rows


def mirror_pictures(categories: Sequence[Category]) -> "pandas.DataFrame":
    """Largest difference between the picture of a shape and that of its mirror image, float64, in shape RMS radii.

        P R y  against  P R' M y,   M = diag(-1, 1, 1),  R' = diag(1, 1, -1) R M  in SO(3)

    Returns:
        Columns data, category, seed, other_side (R', the camera on the other side), same_side (R itself: the control).
    """
    import pandas

    mirror, behind = (torch.diag(torch.tensor(d, dtype=torch.float64)) for d in ([-1, 1, 1], [1, 1, -1]))
    rows = []
    for category in categories:
        for seed, views in enumerate(category.views):
            Y = geometry.centred(views.Y.double(), views.known) / category.test.radius
            R = geometry.random_rotations(len(Y), torch.Generator().manual_seed(seed), torch.float64)
            one, none = Y.new_ones(len(Y)), Y.new_zeros(len(Y), 2)
            seen = geometry.project(Y, geometry.Camera(one, R, none))
            cameras = {"other_side": behind @ R @ mirror, "same_side": R}
            other = {k: geometry.project(Y @ mirror, geometry.Camera(one, turned, none)) for k, turned in cameras.items()}
            row = {"data": category.test.tag, "category": category.name, "seed": seed}
            rows.append(row | {k: float((seen - picture).abs().max()) for k, picture in other.items()})
    return pandas.DataFrame(rows)


# The inner fit


def residual_ratios(categories: Sequence[Category]) -> "pandas.DataFrame":
    """Residual of the algebraic camera over that of the exact one, for shapes that do not fit perfectly.

    Returns:
        Columns data, category, shape ("mean shape", "truth + noise"), samples, ratio_of_sums, q05, q50, q95, worst
        (of the samples' ratios), smallest. A sample whose exact residual is below 1e-12 of the picture is left out: a
        category of one shape has none for its mean shape.
    """
    import pandas

    rows = []
    for category in categories:
        sums: dict[str, list[tuple[Tensor, Tensor]]] = {"mean shape": [], f"truth + {100 * NOISE:.0f} % noise": []}
        for seed, views in enumerate(category.views):
            generator = torch.Generator().manual_seed(seed)
            noise = torch.randn(views.Y.shape, generator=generator, dtype=torch.float64) / 3**0.5
            noisy = views.Y.double() + NOISE * category.test.radius * noise
            constant = floors.constant(category.mean.double(), len(views.X))
            for pairs, Y in zip(sums.values(), (constant, noisy), strict=True):
                pairs.append(tuple(eq1(views.X, Y, views.visible, camera) for camera in ("exact", "algebraic")))
        for shape, pairs in sums.items():
            exact, algebraic = (torch.cat(part) for part in zip(*pairs, strict=True))
            keep = exact > 1e-12
            if not bool(keep.any()):
                continue
            ratio = algebraic[keep] / exact[keep]
            quantiles = torch.quantile(ratio, torch.tensor([0.05, 0.5, 0.95], dtype=ratio.dtype)).tolist()
            rows.append({
                "data": category.test.tag, "category": category.name, "shape": shape, "samples": int(keep.sum()),
                "ratio_of_sums": float(algebraic[keep].sum() / exact[keep].sum()),
                **dict(zip(("q05", "q50", "q95"), quantiles, strict=True)),
                "worst": float(ratio.max()), "smallest": float(ratio.min()),
            })  # fmt: skip
    return pandas.DataFrame(rows)


# Index encodings


def conditioning(
    seeds: int, sizes: Sequence[int] = tuple(range(8, 69, 4)), widths: Sequence[int] = (64, 256), tokens: int = 17
) -> "pandas.DataFrame":
    """Neighbour similarity and condition number of every index encoding, over N at the printed sigma and over sigma.

    Args:
        seeds: draws of the random encodings.
        sizes: numbers of tokens N, on a chain of that many keypoints. tokens: N of the sweep over sigma.
        widths: D.
    Returns:
        Columns sweep ("tokens", "sigma"), encoding, N, D, sigma, seed, neighbour_similarity, condition_number.
    """
    import pandas

    cells = [("tokens", kind, n, PRINTED_SIGMA) for kind in KINDS for n in dict.fromkeys((*sizes, tokens))]
    cells += [("sigma", kind, tokens, sigma) for kind in ("rff", "rff_sqrt2", "rff_mc") for sigma in SIGMAS]
    rows = []
    for sweep, kind, n, sigma in cells:
        for width in widths:
            for seed in range(seeds if kind in encodings.RANDOM else 1):
                phi = encodings.encode(
                    kind, chain(n), width, sigma=sigma, generator=torch.Generator().manual_seed(seed),
                    dtype=torch.float64,
                )  # fmt: skip
                rows.append({
                    "sweep": sweep, "encoding": kind, "N": n, "D": width, "sigma": sigma, "seed": seed,
                    "neighbour_similarity": encodings.neighbour_similarity(phi),
                    "condition_number": encodings.condition_number(phi),
                })  # fmt: skip
    return pandas.DataFrame(rows)


def chain(n: int) -> Rig:
    """A rig of n keypoints, each joined to the next: the graph for which index neighbours are graph neighbours."""
    return Rig(f"chain{n}", tuple(map(str, range(n))), tuple((i, i + 1) for i in range(n - 1)))


def conditioning_table(frame: "pandas.DataFrame", tokens: int = 17) -> "pandas.DataFrame":
    """Median over the draws at N = `tokens` and the printed sigma: one row per encoding, one column per width."""
    mine = frame[(frame["sweep"] == "tokens") & (frame["N"] == tokens)]
    return mine.groupby(["encoding", "D"], sort=False)[["neighbour_similarity", "condition_number"]].median().unstack()


def headline(
    table: "pandas.DataFrame", family: "pandas.DataFrame", ratios: "pandas.DataFrame", answered: "pandas.DataFrame"
) -> dict[str, float]:
    """The numbers that a reader looks for first, per data set that runs were trained on."""
    result = {}
    for name in dict.fromkeys(answered["category"]):
        mine = table[table["category"] == name].groupby("method")[["o3", "so3", "flip"]].mean()
        random = family[(family["category"] == name) & (family["family"] == "random depth")]
        deep = answered[(answered["category"] == name) & (answered["method"] == ARMS["every"])]
        fit = ratios[(ratios["category"] == name) & (ratios["shape"] == "mean shape")]
        result[name] = {
            "Eq. 1 of (x, y, random depth), worst sample": float(random["worst"].max()),
            "flat floor, O(3) %": float(mine["o3"]["flat"]),
            "mean shape, O(3) %": float(mine["o3"]["mean"]),
            "paper-literal run, O(3) %": float(mine["o3"][ARMS["every"]]),
            "its depth against the truth, |r|": float(deep["correlation"].mean()),
            "the same by chance, |r|": float(deep["by_chance"].mean()),
            "mirrored truth, SO(3) %": float(mine["so3"][MIRRORED]),
            "algebraic over exact residual, mean shape": float(fit["ratio_of_sums"].iloc[0]),
        }
    return result


# Figures


def figure_permutations(deviations: "pandas.DataFrame", losses: "pandas.DataFrame") -> "matplotlib.figure.Figure":
    """Left: how far networks are from equivariance. Right: what permuting does to Eq. 1 of equivariant answers."""
    figure, (left, right) = plots.panels(1, 2, width=4.8, height=2.7)
    names = list(dict.fromkeys(losses["category"]))
    arms = list(dict.fromkeys(deviations["arm"]))
    for name, marker in zip(names, "os", strict=False):
        mine = deviations[deviations["category"] == name]
        shift = 0.12 * (2 * names.index(name) - len(names) + 1)
        left.plot(
            mine["deviation"], [arms.index(arm) + shift for arm in mine["arm"]], ls="", marker=marker, ms=5,
            color=plots.colour(name, names), alpha=0.6, label=name,
        )  # fmt: skip
    left.set(xscale="log", xlim=(1e-16, 1e2), xlabel="largest |f(PX) - P f(X)| (RMS coordinates of f)")
    left.set_yticks(range(len(arms)), arms)
    answers_, treatments = list(dict.fromkeys(losses["answer"])), {
        "as_is": ("as it is", "o"), "both_permuted": ("input and output permuted", "x"),
        "outputs_permuted": ("output permuted alone (Prop. 1)", "D"),
    }  # fmt: skip
    for place, (column, (label, marker)) in enumerate(treatments.items()):
        line = plots.CYCLE[(2, 1, 4)[place]]
        for name in names:
            mine, shift = losses[losses["category"] == name], 0.12 * (2 * names.index(name) - len(names) + 1)
            rows = [answers_.index(answer) + shift for answer in mine["answer"]]
            right.plot(
                mine[column].clip(lower=TINY), rows, ls="", marker=marker, color=line, mfc="none", ms=(6, 4, 5)[place],
                label=label if name == names[0] else None,
            )  # fmt: skip
    right.set(xscale="log", xlim=(TINY / 3, 10), xlabel="Eq. 1 (share of the 2D variance; below 1e-17 drawn at 1e-17)")
    right.set_yticks(range(len(answers_)), answers_)
    for ax in (left, right):
        ax.invert_yaxis()
        ax.margins(y=0.15)
        ax.grid(axis="x", alpha=0.3)
        ax.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=3, columnspacing=1, handletextpad=0.2)
    return figure


def figure_zero_loss(family: "pandas.DataFrame") -> "matplotlib.figure.Figure":
    """Left: error along the line (x, y, c z), on which Eq. 1 is 0. Right: Eq. 1 of (x, y, random depth)."""
    figure, (left, right) = plots.panels(1, 2, width=4.2, height=3.1)
    line = family[family["family"] == "true depth times"]
    names = list(dict.fromkeys(line["category"]))
    for name in names:
        mine = line[line["category"] == name]
        for column, style in (("error_o3", "-"), ("error_so3", ":")):
            means = plots.summary(mine, ["amplitude"], column)
            label = f"{name}, {'O(3)' if style == '-' else 'SO(3)'}"
            left.plot(means["amplitude"], means["mean"], ls=style, color=plots.colour(name, names), label=label)
    left.set(
        xlabel="c: answer (x, y, c times the true depth); Eq. 1 is 0 for every c", ylabel="PA-MPJPE (% of RMS radius)",
        ylim=(0, None), xlim=(min(FACTORS), max(FACTORS)), title="no gradient along this line",
    )  # fmt: skip
    left.axvline(0, color=plots.COLOURS["flat"], lw=1, ls="--", label="the flat answer")
    left.axvline(1, color=plots.COLOURS["truth"], lw=1, ls="--", label="the truth")
    left.legend(fontsize=7, loc="upper right", bbox_to_anchor=(1, 0.99))
    tags = list(dict.fromkeys(family["data"]))
    for tag in tags:
        mine = family[(family["data"] == tag) & (family["family"] == "random depth") & (family["amplitude"] > 0)]
        for column, style, how in (("median", "o-", "median"), ("worst", "^:", "worst sample")):
            grouped = mine.groupby("amplitude")[column]
            level = grouped.median() if column == "median" else grouped.max()
            colour = plots.colour(tag, tags)
            right.plot(level.index, level, style, ms=4, color=colour, label=f"{tag} categories, {how}")
    usual = family[family["family"] == "mean shape"]["median"].median()
    right.axhline(usual, color=plots.COLOURS["mean"], ls="--", lw=1, label="mean shape, median: for scale")
    right.set(
        xscale="log", yscale="log", ylim=(1e-27, 10), xlabel="random depth, sd (RMS radii of the picture)",
        ylabel=plots.LABELS["loss"], title="(x, y, anything): the loss that the solver finds",
    )  # fmt: skip
    right.legend(fontsize=7, loc="center left", bbox_to_anchor=(0, 0.72))
    return figure


def figure_training(curves: "pandas.DataFrame", table: "pandas.DataFrame") -> "matplotlib.figure.Figure":
    """Eq. 1 (top) and the most forgiving error (bottom) over the steps of the paper-literal runs; floors as lines."""
    names = list(dict.fromkeys(curves["category"]))
    figure, axes = plots.panels(2, len(names), width=4.2, height=2.4, squeeze=False, sharex="col")
    for name, top, bottom in zip(names, *axes, strict=True):
        mine, own = curves[curves["category"] == name], table[table["category"] == name]
        levels = {floor: float(own[own["method"] == floor]["o3"].mean()) for floor in ("flat", "mean")}
        plots.curves(mine, "step", "loss", "method", ax=top, title=name, log_y=True)
        plots.curves(mine, "step", "o3", "method", ax=bottom, floors=levels)
        top.set(xlabel="", ylabel="Eq. 1 in training\n(share of the 2D variance)")
        bottom.set(ylim=(0, None), ylabel="PA-MPJPE, O(3)\n(% of RMS radius)")
        bottom.legend(fontsize=7, ncols=2, loc="lower right")
        top.get_legend().remove()
    return figure


def figure_floors(table: "pandas.DataFrame", categories: Sequence[Category]) -> "matplotlib.figure.Figure":
    """What a method has to beat per category: bars under the per-category flip, sd over seeds of the views."""
    figure, ax = plots.panels(width=6.4, height=_height(categories))
    rows = _category_axis(ax, categories)
    for floor, shift in (("flat", -0.2), ("mean", 0.2)):
        means = plots.summary(table[table["method"] == floor], ["category"], "flip")
        places = [rows[name] + shift for name in means["category"]]
        label = {"flat": "flat answer (x, y, 0): no learning", "mean": "mean shape: needs 3D labels"}[floor]
        ax.barh(places, means["mean"], 0.38, xerr=means["std"], color=plots.colour(floor), label=label, error_kw={"lw": 1})
    ax.set(xlabel=plots.LABELS["flip"])
    return _legend_on_top(figure, ax, 2)


def figure_mirror(table: "pandas.DataFrame", categories: Sequence[Category]) -> "matplotlib.figure.Figure":
    """The truth in a mirror under the three policies: every sample mirrored (left), every second one (right)."""
    figure, axes = plots.panels(1, 2, width=4.2, height=_height(categories), sharey=True)
    styles = {"o3": ("o", 7, "none"), "so3": ("s", 4, None), "flip": ("D", 3.5, None)}
    for ax, method, title in zip(axes, (MIRRORED, HALF), ("every sample mirrored", "every second sample mirrored")):
        rows = _category_axis(ax, categories, labels=ax is axes[0])
        for number, (column, (marker, size, face)) in enumerate(styles.items()):
            means = plots.summary(table[table["method"] == method], ["category"], column)
            line, name = plots.CYCLE[(2, 4, 0)[number]], POLICIES[column]
            ax.plot(
                means["mean"], [rows[c] for c in means["category"]], ls="", marker=marker, ms=size, color=line,
                mfc=face or line, label=name,
            )  # fmt: skip
        ax.set(xlabel="PA-MPJPE (% of RMS radius)", xlim=(-3, None), title=title)
    return _legend_on_top(figure, axes[0], 3)


def figure_residuals(
    ratios: "pandas.DataFrame", categories: Sequence[Category], limit: float = 100.0
) -> "matplotlib.figure.Figure":
    """How much larger than the minimum the algebraic fit leaves the residual: median, and the middle 90 % of samples."""
    figure, ax = plots.panels(width=6.4, height=_height(categories))
    rows = _category_axis(ax, categories)
    shapes = list(dict.fromkeys(ratios["shape"]))
    for shape, shift in zip(shapes, (-0.18, 0.18), strict=True):
        mine = ratios[ratios["shape"] == shape]
        places, line = [rows[name] + shift for name in mine["category"]], plots.colour(shape, shapes)
        ax.hlines(places, mine["q05"], mine["q95"].clip(upper=limit), color=line, lw=2)
        ax.plot(mine["q50"], places, ls="", marker="o", ms=4, color=line, label=f"{shape}: median and middle 90 %")
        beyond = [place for place, q95 in zip(places, mine["q95"], strict=True) if q95 > limit]
        ax.plot([limit] * len(beyond), beyond, ls="", marker=">", ms=5, color=line, clip_on=False)
    ax.axvline(1, color=plots.COLOURS["truth"], lw=1)
    ax.set(xscale="log", xlim=(0.95, limit), xlabel="residual of the algebraic fit / exact minimum of Eq. 1, per sample")
    ticks = (1, 2, 5, 10, 20, 50, 100)
    ax.set_xticks(ticks, map(str, ticks))
    ax.minorticks_off()
    return _legend_on_top(figure, ax, 2)


def figure_encodings(frame: "pandas.DataFrame", sweep: str, width: int = 64) -> "matplotlib.figure.Figure":
    """Neighbour similarity and condition number over the number of tokens, or over sigma (`sweep`); D = `width`.

    Lines are medians over the draws, bands their range.
    """
    x, label = {"tokens": ("N", "number of tokens N"), "sigma": ("sigma", "sigma (radians per index step)")}[sweep]
    mine = frame[(frame["sweep"] == sweep) & (frame["D"] == width)]
    figure, axes = plots.panels(1, 2, width=3.8, height=3.0)
    for ax, column in zip(axes, ("neighbour_similarity", "condition_number"), strict=True):
        for kind, rows in mine.groupby("encoding", sort=False):
            spread = rows.groupby(x)[column].agg(["median", "min", "max"]).clip(upper=CONDITION_LIMIT)
            line = plots.colour(kind, KINDS)
            ax.plot(spread.index, spread["median"], color=line, label=kind, marker="o", ms=3)
            ax.fill_between(spread.index, spread["min"], spread["max"], color=line, alpha=0.15, lw=0)
        ax.set(xlabel=label)
        if sweep == "sigma":
            ax.set_xscale("log")
            ax.axvline(PRINTED_SIGMA, color=plots.COLOURS["paper"], ls="--", lw=1, label="printed sigma")
    axes[0].set(ylabel="cosine of adjacent tokens", ylim=(None, 1.05))
    axes[1].set(ylabel="condition number of Phi [N, D]", yscale="log")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8, columnspacing=1)
    figure.suptitle(f"D = {width}" + (f", N = {int(mine['N'].iloc[0])}" if sweep == "sigma" else ""), fontsize=10)
    return figure


def _height(categories: Sequence[Category]) -> float:
    return 0.9 + 0.22 * len(categories)


def _category_axis(
    ax: "matplotlib.axes.Axes", categories: Sequence[Category], labels: bool = True
) -> dict[str, int]:
    """One row per category from the top, the data tags in a margin of their own; returns name -> row."""
    names = [category.name + (" *" if category.test.shares_shapes else "") for category in categories]
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="x", alpha=0.3)
    tags = [category.test.tag for category in categories]
    for row in range(1, len(tags)):
        if tags[row] != tags[row - 1]:
            ax.axhline(row - 0.5, color=plots.COLOURS["truth"], lw=0.8)
    if labels and any(category.test.shares_shapes for category in categories):
        ax.annotate("* new views of the shapes in training", (0, 0), (-4, -26), xycoords="axes fraction",
                    textcoords="offset points", ha="right", fontsize=7)  # fmt: skip
    return {category.name: row for row, category in enumerate(categories)}


def _legend_on_top(figure: "matplotlib.figure.Figure", ax: "matplotlib.axes.Axes", columns: int) -> Any:
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=columns, fontsize=8)
    return figure


# Helpers


def _trained(categories: Sequence[Category]) -> list[Category]:
    return [category for category in categories if category.name in TRAINED]


def _permutation(n: int, generator: torch.Generator) -> Tensor:
    """A random order that is not the identity."""
    while bool(((order := torch.randperm(n, generator=generator)) == torch.arange(n)).all()):
        pass
    return order


def _with_depth(X: Tensor, z: Tensor) -> Tensor:
    return torch.cat((X, z[..., None]), -1)


@torch.no_grad()
def _lift(model: Lifter, X: Tensor) -> Tensor:
    return model(X)


def _correlation(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return float(((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp_min(1e-12)).abs().mean())


def _thickness(Y: Tensor) -> float:
    values = torch.linalg.svdvals(geometry.centred(Y))
    return float((values[:, 2] / values[:, 0]).mean())
