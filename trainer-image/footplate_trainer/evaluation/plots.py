"""Draws what evaluation.json says, as PNG files: each plot from what is written there, and none where that is nothing.

Drawn on figures of their own, without pyplot and its global state; the same evaluation gives the same bytes.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from footplate_trainer.evaluation_file import DataEvaluation

DPI = 100
MAX_LABELS = 30
"""Classes that a confusion matrix names."""
MAX_NUMBERS = 12
"""Classes up to which its cells show their numbers."""
MAX_NAME = 24


def draw(name: str, evaluation: DataEvaluation, folder: Path) -> list[Path]:
    """Writes the plots of what was measured on the data of this name."""
    folder.mkdir(exist_ok=True)
    drawn = []
    for kind, plot in _PLOTS.items():
        figure, axes = _figure()
        if plot(axes, evaluation):
            drawn.append(_save(figure, folder / f"{name}-{kind}.png"))
    return drawn


def draw_curves(epochs: Sequence[int], history: Mapping[str, Sequence[float]], folder: Path) -> list[Path]:
    """Writes how loss and metrics have gone, a plot each: of training, and of validation as `val_…`."""
    folder.mkdir(exist_ok=True)
    drawn = []
    for name in [name for name in history if not name.startswith("val_")]:
        figure, axes = _figure()
        numbers = [epoch + 1 for epoch in epochs]
        for label, key in (("training", name), ("validation", f"val_{name}")):
            values = history.get(key, ())
            if len(values) == len(numbers) > 0:
                axes.plot(numbers, values, label=label, marker="." if len(numbers) < 30 else None)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        _label(axes, "epoch", _short(name), legend=f"val_{name}" in history)
        drawn.append(_save(figure, folder / f"curve-{name}.png"))
    return drawn


def _confusion(axes: Axes, found: DataEvaluation) -> bool:
    if found.confusion is None or found.classes is None:
        return False
    shares = [[count / max(1, sum(row)) for count in row] for row in found.confusion]
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.figure.colorbar(image, ax=axes, label="share of the row")
    if len(found.classes) <= MAX_LABELS:
        names = [*map(_short, found.classes)]
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
    if len(found.classes) <= MAX_NUMBERS:
        for row, counts in enumerate(found.confusion):
            for column, count in enumerate(counts):
                colour = "white" if shares[row][column] > 0.5 else "black"
                axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=8)
    _label(axes, "predicted class", "actual class", legend=False)
    return True


def _roc(axes: Axes, found: DataEvaluation) -> bool:
    if not found.thresholds:
        return False
    for name, curve in found.thresholds.items():
        area = found.values.get("rocAuc" if len(found.classes or ()) == 2 else f"rocAuc.{name}")
        axes.plot([0, *curve.false_positive_rate], [0, *curve.recall], label=_with_area(name, area))
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="by chance")
    _label(axes, "false positive rate", "recall", legend=True)
    return True


def _precision_recall(axes: Axes, found: DataEvaluation) -> bool:
    if not found.thresholds:
        return False
    for name, curve in found.thresholds.items():
        area = found.values.get("prAuc" if len(found.classes or ()) == 2 else f"prAuc.{name}")
        axes.step(curve.recall, curve.precision, where="pre", label=_with_area(name, area))
    axes.set_ylim(0, 1.05)
    _label(axes, "recall", "precision", legend=True)
    return True


def _calibration(axes: Axes, found: DataEvaluation) -> bool:
    if found.calibration is None:
        return False
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfect")
    axes.plot(found.calibration.confidence, found.calibration.accuracy, marker="o", label="model")
    _label(axes, "confidence", "accuracy", legend=True)
    return True


def _residuals(axes: Axes, found: DataEvaluation) -> bool:
    if found.residuals is None:
        return False
    axes.scatter(found.residuals.predicted, found.residuals.error, s=8, alpha=0.5)
    axes.axhline(0, color="grey", linestyle=":")
    _label(axes, "predicted", "residual (predicted minus actual)", legend=False)
    return True


_PLOTS: Mapping[str, Callable[[Axes, DataEvaluation], bool]] = {
    "confusion": _confusion,
    "roc": _roc,
    "precision-recall": _precision_recall,
    "calibration": _calibration,
    "residuals": _residuals,
}


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 4.8), dpi=DPI, layout="constrained")
    return figure, figure.subplots()


def _label(axes: Axes, x: str, y: str, *, legend: bool) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if legend:
        axes.legend(fontsize=8)


def _save(figure: Figure, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a box stands in its place
        figure.savefig(path, format="png", metadata={"Software": None})
    return path


def _with_area(name: str, area: float | None) -> str:
    return _short(name) + (f", area {area:.3f}" if area is not None else "")


def _short(name: str) -> str:
    """A name as it is: matplotlib would read what stands between dollars as mathematics."""
    shown = name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"
    return shown.replace("$", r"\$")
