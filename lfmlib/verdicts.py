"""The rule that turns a measurement into a verdict on a claim, fixed before any run.

Value: testable only on the data set and in the unit it was printed for; reproduced within max(2 sd over seeds, 10 %).
Direction: from per-seed paired differences, 95 % t interval; its size must be within a factor 2 for "reproduced".
Statement: it holds or it does not. A paper that prints versions of one number more than 10 % apart contradicts itself.
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import product
from statistics import fmean, stdev
from typing import Any

from lfmlib.claims import TOLERANCE, Claim, Span, get

REPRODUCED = "reproduced"
SAME_DIRECTION = "same direction"
CONTRADICTED = "contradicted"
NOT_TESTABLE = "not testable here"
SELF_CONTRADICTORY = "the paper contradicts itself"
VERDICTS = (REPRODUCED, SAME_DIRECTION, CONTRADICTED, NOT_TESTABLE, SELF_CONTRADICTORY)

Number = int | float
FACTOR = 2.0  # how far the size of an effect may be from the printed one
MIN_SEEDS = 3

# Student's t, two-sided 95 %, 1 to 30 degrees of freedom
_T95 = (
    *(12.70620, 4.30265, 3.18245, 2.77645, 2.57058, 2.44691, 2.36462, 2.30600, 2.26216, 2.22814),
    *(2.20099, 2.17881, 2.16037, 2.14479, 2.13145, 2.11991, 2.10982, 2.10092, 2.09302, 2.08596),
    *(2.07961, 2.07387, 2.06866, 2.06390, 2.05954, 2.05553, 2.05183, 2.04841, 2.04523, 2.04227),
)


@dataclass(frozen=True)
class Verdict:
    """One row of a verdict table.

    `category` and `column` say where in table.csv the floors for it stand; `measure` what ours_mean is: a value, the
    difference of two settings (a direction), or the fall or rise along a trend, positive in the printed direction.
    """

    key: str
    printed: str
    ours_mean: float | None
    ours_sd: float | None
    n_seeds: int
    data: str
    protocol: str
    verdict: str
    evidence: str
    note: str
    category: str = ""
    column: str = ""
    unit: str = ""
    measure: str = "value"

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"claim {self.key!r}: verdict {self.verdict!r} is none of {VERDICTS}")
        if self.data not in ("synthetic", "real", "none"):
            raise ValueError(f"claim {self.key!r}: data tag {self.data!r}, expected synthetic, real or none")

    def ours(self) -> str:
        """The measurement, for a table: mean ± sd, unit, number of seeds; for a statement its evidence."""
        if self.ours_mean is None:
            return self.evidence
        spread = f" ± {self.ours_sd:.2g}" if self.ours_sd is not None else ""
        verb = {"difference": "lower by ", "fall": "falls by ", "rise": "rises by "}.get(self.measure, "")
        return f"{verb}{self.ours_mean:.4g}{spread} {self.unit}".rstrip() + f", {self.n_seeds} seeds"

    def as_dict(self) -> dict[str, Any]:
        """The row as plain values."""
        return asdict(self)


def value(
    key: str, ours: Iterable[Number], *, data: str, category: str, unit: str, note: str = "", **context: str
) -> Verdict:
    """Verdict on a printed value.

    In this order: the paper contradicts itself, if its versions are more than 10 % apart (ours stands beside); not
    testable here, if `category` is not the data set or `unit` not the unit it was printed for (a claim about no data
    set, "-" or "all", asks for the unit only); reproduced, if |mean - printed| <= max(2 sd, 10 % of printed) (a printed
    bound or range leaves room already: the mean may miss it by 2 sd); else contradicted.

    Args:
        key: the claim.
        ours: one measured value per seed, at least 3.
        data: synthetic, real or none.
        category: what it was measured on, in the claim's words where it is the same data set.
        unit: of `ours`.
        context: protocol, evidence, column: kept in the row.
    Raises:
        ValueError: fewer than 3 seeds, or a value that is not finite, or a claim that prints no single number.
    """
    claim = get(key)
    if not claim.spans:
        raise ValueError(
            f"claim {key!r} prints {claim.value!r}, which is no single number: use `direction` or `statement`"
        )
    ours = _floats(ours)
    mean, sd = _mean_sd(key, ours)
    known = claim.dataset in ("-", "all") or category == claim.dataset
    if claim.contradicts_itself:
        verdict, why = SELF_CONTRADICTORY, "its versions are more than 10 % apart"
    elif not known or unit != claim.unit:
        verdict, why = NOT_TESTABLE, f"printed for {claim.dataset} in {claim.unit}, measured on {category} in {unit}"
    else:
        rooms = [_room(span, sd) for span in claim.spans]
        near = any(span.low - room <= mean <= span.high + room for span, room in zip(claim.spans, rooms, strict=True))
        verdict, why = REPRODUCED if near else CONTRADICTED, f"allowed difference {max(rooms):.3g}"
    return _row(claim, (mean, sd, len(ours)), verdict, why, note, data=data, category=category, unit=unit, **context)


def direction(
    key: str,
    lower: Iterable[Number],
    higher: Iterable[Number],
    *,
    versus: str | None = None,
    data: str,
    note: str = "",
    **context: str,
) -> Verdict:
    """Verdict on "this setting has a lower error than that one", from runs paired by seed.

        d_i = higher_i - lower_i;   interval = mean d +- t_{0.975, n-1} sd(d) / sqrt(n);   effect = mean d / mean higher

    The paper contradicts itself, if its printed versions do not agree on which is lower; reproduced, if the interval
    lies above 0 and, where the paper prints both errors, the effect is within a factor 2 of a printed one; same
    direction, if it only lies above 0; else contradicted, and the note says whether the effect is reversed or absent.

    Args:
        key: the claim, of the setting with the lower error (or one printed as "before->after": after is the lower).
        lower: error per seed of the setting that the paper says is better.
        higher: error per seed of the other one, the same seeds in the same order.
        versus: the claim that prints the other setting's error.
        data, note, context: as in `value`.
    Returns:
        The row; ours_mean and ours_sd are those of the difference d.
    Raises:
        ValueError: seeds do not pair up, are fewer than 3 or not finite, or the paper prints the opposite direction.
    """
    claim, lower, higher = get(key), _floats(lower), _floats(higher)
    if len(lower) != len(higher):
        raise ValueError(
            f"claim {key!r}: {len(lower)} runs against {len(higher)}; a paired difference needs the same seeds"
        )
    _mean_sd(key, lower)
    base, _ = _mean_sd(key, higher)
    if claim.pair:
        effects = [1 - claim.pair[1] / claim.pair[0]]
    elif versus:
        effects = [1 - a.point / b.point for a, b in product(claim.spans, get(versus).spans)]
    else:
        effects = []
    if effects and max(effects) < 0:
        raise ValueError(f"claim {key!r}: the paper prints the opposite, {claim.printed}; exchange the two settings")
    printed = f"{claim.printed} against {get(versus).printed}" if versus else claim.printed
    differences = [high - low for low, high in zip(lower, higher, strict=True)]
    return _from_differences(
        claim, differences, base, effects, note, printed, data=data, measure="difference", **context
    )


def trend(
    key: str,
    x: Iterable[Number],
    errors: Iterable[Iterable[Number]],
    *,
    falls: bool,
    data: str,
    note: str = "",
    **context: str,
) -> Verdict:
    """Verdict on "the error falls (or rises) with x": `direction` of the ends of straight lines, one per seed.

    Args:
        key: the claim.
        x: the quantity that is varied, increasing; pass its logarithm where that is what the claim means.
        errors: one row per seed, one error per x.
        falls: the printed direction.
        data, note, context: as in `value`.
    Returns:
        The row; ours_mean is the change along the line from the first to the last x, positive in the printed direction.
    Raises:
        ValueError: fewer than 3 seeds, a row of another length than x, or a value that is not finite.
    """
    x, errors = _floats(x), [_floats(row) for row in errors]
    if len(x) < 2 or sorted(set(x)) != list(x):
        raise ValueError(f"claim {key!r}: x must be at least two increasing values, not {list(x)}")
    centre = fmean(x)
    spread = sum((value - centre) ** 2 for value in x)
    changes = []
    for row in errors:
        if len(row) != len(x):
            raise ValueError(f"claim {key!r}: a seed has {len(row)} errors for {len(x)} values of x")
        slope = sum((a - centre) * b for a, b in zip(x, row, strict=True)) / spread
        changes.append((-slope if falls else slope) * (x[-1] - x[0]))
    return _from_differences(
        get(key), changes, None, [], note, get(key).printed, data=data, measure="fall" if falls else "rise", **context
    )


def statement(
    key: str, holds: bool | None, *, evidence: str, data: str = "none", note: str = "", **context: str
) -> Verdict:
    """Verdict on a statement: reproduced if it holds, contradicted if it does not, not testable here if None."""
    verdict = NOT_TESTABLE if holds is None else REPRODUCED if holds else CONTRADICTED
    return _row(get(key), (None, None, 0), verdict, "", note, data=data, evidence=evidence, **context)


def t95(degrees: int) -> float:
    """Two-sided 95 % quantile of Student's t (Fisher's expansion about the normal above 30 degrees of freedom)."""
    if degrees < 1:
        raise ValueError(f"Student's t needs at least 1 degree of freedom, got {degrees}")
    if degrees <= len(_T95):
        return _T95[degrees - 1]
    z = 1.959963985
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def _from_differences(
    claim: Claim,
    differences: list[float],
    base: float | None,
    effects: list[float],
    note: str,
    printed: str,
    **context: str,
) -> Verdict:
    mean, sd = _mean_sd(claim.key, differences)
    half = t95(len(differences) - 1) * sd / math.sqrt(len(differences))
    why = f"95 % interval of the difference [{mean - half:.3g}, {mean + half:.3g}]"
    effect = mean / base if base else 0.0
    if effects:
        sizes = " to ".join(dict.fromkeys(f"{100 * size:.0f} %" for size in (min(effects), max(effects))))
        why += f"; effect {100 * effect:.0f} %, printed {sizes}"
    if effects and min(effects) < 0:
        verdict, why = SELF_CONTRADICTORY, f"its versions do not agree on which is lower; {why}"
    elif mean - half > 0:
        near = not effects or min(effects) / FACTOR <= effect <= max(effects) * FACTOR
        verdict = REPRODUCED if near else SAME_DIRECTION
    else:
        verdict, why = CONTRADICTED, f"{'reversed' if mean + half < 0 else 'absent'}: {why}"
    return _row(claim, (mean, sd, len(differences)), verdict, why, note, printed=printed, **context)


def _room(span: Span, sd: float) -> float:
    return max(2 * sd, TOLERANCE * abs(span.point)) if span.low == span.high else 2 * sd


def _floats(values: Iterable[Number]) -> list[float]:
    return [float(value) for value in values]  # from lists, arrays, tensors and columns of a frame


def _mean_sd(key: str, values: list[float]) -> tuple[float, float]:
    if len(values) < MIN_SEEDS:
        raise ValueError(f"claim {key!r}: {len(values)} seeds, at least {MIN_SEEDS} are needed")
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"claim {key!r}: a measured value is not finite: {list(values)}")
    return fmean(values), stdev(values)


def _row(
    claim: Claim, ours: tuple[float | None, float | None, int], verdict: str, why: str, note: str, **context: str
) -> Verdict:
    fields = {"printed": claim.printed, "protocol": claim.protocol, "evidence": ""} | context
    mean, sd, seeds = ours
    notes = "; ".join(text for text in (why, note) if text)
    return Verdict(key=claim.key, ours_mean=mean, ours_sd=sd, n_seeds=seeds, verdict=verdict, note=notes, **fields)
