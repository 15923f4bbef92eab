"""How cost grows with size: a power law fitted to points, and the plot of both.

An exponent of 1 is linear; what an empty operator costs is taken off first, because it doesn't grow.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

Points = Sequence[tuple[float, float]]
"""Size and cost."""


@dataclass(frozen=True)
class Growth:
    """Cost = empty + factor · size ^ exponent."""

    of: str
    against: str
    empty: float
    points: Points
    exponent: float
    factor: float


def fit(of: str, points: Points, *, against: str, empty: float = 0.0) -> Growth | None:
    """Least squares of the logarithms; None where fewer than two points cost more than an empty operator."""
    above = [(math.log(size), math.log(cost - empty)) for size, cost in points if size > 0 and cost > empty]
    if len({size for size, _ in above}) < 2:
        return None
    exponent, intercept = statistics.linear_regression([x for x, _ in above], [y for _, y in above])
    return Growth(of, against, empty, points, exponent, math.exp(intercept))


def plot(growths: Sequence[Growth], path: Path) -> None:
    """One panel each, with the points, the fit, and its exponent."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    columns = min(3, len(growths))
    rows = math.ceil(len(growths) / columns)
    figure, grid = pyplot.subplots(rows, columns, figsize=(4.2 * columns, 3.2 * rows), squeeze=False)
    for axes in grid.flat[len(growths) :]:
        axes.set_visible(False)
    for axes, growth in zip(grid.flat, growths, strict=False):
        sizes = sorted(size for size, _ in growth.points)
        fitted = [growth.empty + growth.factor * size**growth.exponent for size in sizes]
        axes.plot(sizes, fitted, color="tab:grey", linestyle="--", label=f"∝ size^{growth.exponent:.2f}")
        axes.plot(*zip(*growth.points, strict=True), "o", color="tab:blue")
        axes.set(title=growth.of, xlabel=growth.against, xlim=(0, None), ylim=(0, None))
        axes.legend(loc="lower right", frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
