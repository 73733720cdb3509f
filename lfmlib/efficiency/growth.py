"""How a cost grows with a size: the exponent of a power law, with its standard error."""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Growth(NamedTuple):
    """cost = factor * size^exponent over sizes from `start` on.

    error: standard error of the exponent from the scatter about the line; NaN where two points leave none.
    """

    exponent: float
    error: float
    factor: float
    start: float

    def at(self, size: float | int) -> float:
        """The law's cost."""
        return self.factor * size**self.exponent

    def __str__(self) -> str:
        return f"{self.exponent:.2f}" if math.isnan(self.error) else f"{self.exponent:.2f} ± {self.error:.2f}"


def growth(sizes: Sequence[float | int], costs: Sequence[float | int]) -> Growth | None:
    """Fits the power law by least squares in logarithms to the upper half of the sizes.

        log cost = log factor + exponent * log size,   size >= sqrt(smallest * largest)

    Below, fixed costs of a call hide the growth. At least three points are taken, as far as there are any.

    Args:
        sizes, costs: positive, one cost per size, any order.
    Returns:
        The law; None for fewer than two sizes.
    Raises:
        ValueError: lengths differ, a size comes twice, or a value is not positive and finite.
    """
    if len(sizes) != len(costs):
        raise ValueError(f"{len(sizes)} sizes for {len(costs)} costs")
    if len(set(sizes)) < len(sizes):
        raise ValueError(f"a size comes twice among {sorted(sizes)}: pass the median of its costs")
    if any(not math.isfinite(v) or v <= 0 for v in (*sizes, *costs)):
        raise ValueError(f"a power law needs positive numbers, got sizes {list(sizes)} and costs {list(costs)}")
    if len(sizes) < 2:
        return None
    points = sorted(zip(map(math.log, sizes), map(math.log, costs), strict=True))
    middle = (points[0][0] + points[-1][0]) / 2
    upper = [point for point in points if point[0] >= middle - 1e-12]
    points = upper if len(upper) >= 3 else points[-3:]
    n = len(points)
    x0, y0 = (sum(values) / n for values in zip(*points, strict=True))
    spread = sum((x - x0) ** 2 for x, _ in points)
    exponent = sum((x - x0) * (y - y0) for x, y in points) / spread
    left = sum((y - y0 - exponent * (x - x0)) ** 2 for x, y in points)
    error = math.sqrt(left / (n - 2) / spread) if n > 2 else math.nan
    return Growth(exponent, error, math.exp(y0 - exponent * x0), math.exp(points[0][0]))
