"""The figures of a study of two models, each with its question, how to read it, and its null."""

from analyses._pair_figures_halves import ridges
from analyses._pair_figures_metrics import metric_forest
from analyses._pair_panels_inside import divergence_panels, internal_panels
from analyses._pair_panels_steering import comparison_panels, steering_panels
from analyses._pair_words import CHANCE, METRIC_NAMES
from analyses._panel import Panel, panel
from analyses.shift import Shift

_SECTION = "distinguishability"


def pair_panels(result: Shift) -> tuple[Panel, ...]:
    """Every figure that this result has numbers for, in reading order."""
    return (
        *_apart_panels(result),
        *internal_panels(result.internal),
        *divergence_panels(result.divergence),
        *steering_panels(result.steerability),
        *comparison_panels(result.comparison, undesirable=_undesirable(result)),
    )


def _undesirable(result: Shift) -> tuple[str, ...]:
    table = result.data.behaviours
    return tuple(table.loc[~table["desirable"].astype(bool), "behaviour"]) if len(table) else ()


def _apart_panels(result: Shift) -> list[Panel]:
    found, scores = result.distinguishability, result.scores
    if found is None or not len(scores):
        return []
    rows = found.table
    return [
        panel(
            "ridges",
            _SECTION,
            "How much does each model agree with either half?",
            "A row is a behaviour, a column a model. Each curve is the distribution, over "
            "statements, of the log-odds of “Yes”: solid and blue where “Yes” is the aligned "
            "answer, dashed and orange where it is the misaligned one; marks are medians. Heights "
            "are scaled row by row.",
            "Curves that lie on each other: the model answers both halves alike, wherever they "
            "lie. Both far to the right is a habit of saying “Yes”.",
            lambda theme: ridges(scores, theme=theme),
        ),
        panel(
            "metrics",
            _SECTION,
            "How far apart are the halves, by every measure?",
            "A row is a behaviour, a panel a measure; the diamond is the base, the circle the "
            "tuned model, with 95 % intervals. Filled: told apart after correction over "
            "behaviours; hollow: not shown.",
            "The grey bars are where the measure falls, nineteen times in twenty, with the halves "
            "dealt anew; the dotted line is no difference.",
            lambda theme: metric_forest(
                rows, names=METRIC_NAMES, chance=CHANCE, alpha=1 - found.level, theme=theme
            ),
        ),
    ]
