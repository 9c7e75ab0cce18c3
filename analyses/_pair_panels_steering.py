"""Figures of how far words and vectors steer, with the words around them."""

from collections.abc import Collection

import pandas as pd

from analyses._pair_figures_compared import (
    base_tuned_scatter,
    chosen_layers,
    dose_curves,
    with_estimate,
)
from analyses._pair_figures_lengths import length_curves, length_curves_by_behaviour
from analyses._pair_figures_metrics import correlation_forest, correlation_heatmaps, metric_forest
from analyses._pair_figures_style import sides_of
from analyses._pair_words import MEASURE_NAMES, METRIC_NAMES, STEERING_NAMES
from analyses._panel import Panel, panel
from analyses._side_shift_types import BaseAgainstTuned
from analyses._steerability_types import Steerability

_FOREST = ("net prompt trend", "half-length", "vector slope", "anti-steerable share")
_NULLS = {"half-length": float("nan"), "anti-steerable share": 0.5}


def steering_panels(found: Steerability | None) -> list[Panel]:
    """Length curves, doses, and every behaviour's steerability."""
    if found is None:
        return []
    return [*_length_panels(found), *_dose_panels(found), *_forest_panel(found)]


def comparison_panels(
    found: BaseAgainstTuned | None, *, undesirable: Collection[str]
) -> list[Panel]:
    """Base against tuned, and measure against measure."""
    if found is None:
        return []
    return [*_scatter_panel(found, undesirable), *_correlation_panels(found)]


def _length_panels(found: Steerability) -> list[Panel]:
    pooled, table = found.pooled, found.by_length
    if not len(table):
        return []
    pooled = with_estimate(pooled[pooled["desirable"] == "all"], "share")
    table = with_estimate(table, "share")
    return [
        panel(
            "lengths",
            "steerability",
            "How many sentences does it take?",
            "Share of misaligned answers by the number of sentences before the question, over all "
            "behaviours; a panel is a model, a line a kind of prompt. Each length is many random "
            "choices of sentences. Bands are 95 % intervals over behaviours; those of the other "
            "lines are in the hovers.",
            "The dashed grey line: neutral sentences of the same number of tokens. The crosses: "
            "the misaligned persona's own words, shuffled. The triangles: being told to say “Yes” "
            "to everything. What these do is not the persona's doing.",
            lambda theme: length_curves(pooled, theme=theme),
        ),
        panel(
            "lengths-by-behaviour",
            "steerability",
            "Is it so for every behaviour?",
            "The same under the misaligned persona, a panel a behaviour: base dashed with "
            "diamonds, tuned solid with circles. Bands are intervals over statements.",
            "The dotted line is one half. Behaviours differ, and so do their neutral texts: the "
            "table has each one less its filler.",
            lambda theme: length_curves_by_behaviour(table, theme=theme),
        ),
    ]


def _dose_panels(found: Steerability) -> list[Panel]:
    if not len(found.by_dose):
        return []
    layers = {(each.side, each.behaviour): each.layers for each in found.vectors}
    table = chosen_layers(found.by_dose, layers)
    return [
        panel(
            "doses",
            "steerability",
            "Does the behaviour's own vector move the answers?",
            "Mean log-odds of the misaligned answer by dose, in norms of the residual stream at "
            "that layer; base dashed, tuned solid, with 95 % intervals over statements.",
            "The pale bands are the range of random directions of the same length.",
            lambda theme: dose_curves(table, theme=theme),
        )
    ]


def _forest_panel(found: Steerability) -> list[Panel]:
    rows = steering_rows(found)
    if not len(rows):
        return []
    names = {name: STEERING_NAMES[name] for name in _FOREST}
    return [
        panel(
            "steerability-forest",
            "steerability",
            "Which behaviours can be steered, in which model?",
            "A row is a behaviour; the diamond is the base, the circle the tuned model, with 95 % "
            "intervals. Filled: what the prompt, or the vector, does is found after correction "
            "over behaviours and models, and lies beyond random directions.",
            "Prompts are net of a neutral text of the same length. The grey bars are where one "
            "more random direction would fall; a half of statements goes the wrong way for a "
            "vector that does nothing.",
            lambda theme: metric_forest(
                rows, names=names, chance=_NULLS, alpha=1 - found.level, theme=theme
            ),
        )
    ]


def steering_rows(found: Steerability) -> pd.DataFrame:
    """Steerability as a forest draws it: a row a side, behaviour and measure."""
    measures = found.measures
    prompts = {(c.side, c.behaviour): c for c in found.prompts if c.arm == "misaligned"}
    vectors = {(c.side, c.behaviour): c for c in found.vectors}
    rows = []
    for row in measures[measures["measure"].isin(_FOREST)].to_dict(orient="records"):
        key, nan = (row["side"], row["behaviour"]), float("nan")
        of_vector = row["measure"] in ("vector slope", "anti-steerable share")
        curve = vectors[key] if of_vector else prompts[key]
        slope = row["measure"] == "vector slope"
        null = (vectors[key].null_range if slope else None) or (nan, nan)
        beyond = vectors[key].beyond_null if of_vector else True
        rows.append(
            {**row, "metric": row["measure"], "p": curve.p, "p_bh": curve.p_bh}
            | {"null_low": null[0], "null_high": null[1]}
            | {"found": beyond and curve.p_bh < 1 - found.level}
        )
    return pd.DataFrame(rows)


def _scatter_panel(found: BaseAgainstTuned, undesirable: Collection[str]) -> list[Panel]:
    if not len(found.values):
        return []
    shown = ("wasserstein", "auroc", "net prompt trend", "vector slope")
    names = {name: MEASURE_NAMES[name] for name in shown}
    significant = {(e.behaviour, e.measure) for e in found.within if e.p_bh < found.alpha}
    return [
        panel(
            "base-tuned",
            "comparison",
            "What does tuning change, behaviour by behaviour?",
            "A mark is a behaviour: its value in the base model across, in the tuned model up; "
            "circles are good to show, squares are not. Filled: the two models differ on its "
            "statements after correction.",
            "The dotted line is no change; the test swaps the two models statement by statement.",
            lambda theme: base_tuned_scatter(
                found.values,
                names=names,
                undesirable=undesirable,
                found=significant,
                theme=theme,
            ),
        )
    ]


def _correlation_panels(found: BaseAgainstTuned) -> list[Panel]:
    out = []
    matrices = {
        side: _square(found.matrix[found.matrix["side"] == side]) for side in sides_of(found.matrix)
    }
    if matrices:
        out.append(
            panel(
                "correlations",
                "comparison",
                "Do the measures say the same?",
                "Rank correlation of every measure with every other over behaviours, a panel a "
                "model.",
                f"Zero. Over {len(found.behaviours)} behaviours, two measures with nothing in "
                f"common have a correlation within ±{_chance(len(found.behaviours))} nineteen "
                "times in twenty.",
                lambda theme: correlation_heatmaps(matrices, names=_short(), theme=theme),
            )
        )
    rows = _correlation_rows(found)
    if len(rows):
        steering = STEERING_NAMES[str(rows["steerability"].iloc[0])]
        out.append(
            panel(
                "steerability-metrics",
                "comparison",
                "Are the behaviours that are told apart those that can be steered?",
                f"Rank correlation over behaviours of each measure with steering by {steering}, "
                "with its bootstrap interval: base, tuned, and the change from one to the other. "
                "Filled: found after correction over measures.",
                "Zero, by permutation of the behaviours.",
                lambda theme: correlation_forest(
                    rows, names=METRIC_NAMES, alpha=found.alpha, theme=theme
                ),
            )
        )
    return out


def _short() -> dict[str, str]:
    """Headings without their units, which a correlation does not have."""
    return {name: heading.split(" (")[0] for name, heading in MEASURE_NAMES.items()}


def _square(rows: pd.DataFrame) -> pd.DataFrame:
    order = [name for name in MEASURE_NAMES if name in set(rows["measure"])]
    order += [name for name in dict.fromkeys(rows["measure"]) if name not in order]
    wide = rows.pivot(index="measure", columns="other", values="rho")
    square = wide.reindex(index=order, columns=order)
    # What is the same for every behaviour has no ranks.
    return square.dropna(how="all").dropna(how="all", axis="columns")


def _correlation_rows(found: BaseAgainstTuned) -> pd.DataFrame:
    """Of the first measure of steerability that there is: fixed beforehand, not the best."""
    there = {each.steerability for each in found.correlations}
    chosen = next((name for name in STEERING_NAMES if name in there), None)
    return pd.DataFrame(
        [
            {
                "side": each.side,
                "metric": each.metric,
                "steerability": each.steerability,
                "estimate": each.correlation.estimate,
                "low": each.correlation.low,
                "high": each.correlation.high,
                "p": each.correlation.p,
                "p_bh": each.p_bh,
            }
            for each in found.correlations
            if each.steerability == chosen
        ]
    )


def _chance(n: int) -> str:
    return f"{min(1.96 / (n - 1) ** 0.5, 1.0):.2f}" if n > 2 else "1"
