"""Figures of what states inside tell apart and of how sentences diverge, with words around them."""

import math

import pandas as pd

from analyses._pair_figures_divergence import divergence_curves, predicted_lengths
from analyses._pair_figures_layers import internal_curves, internal_forest, internal_shift
from analyses._pair_told_inside import REFERENCE_NAMES
from analyses._panel import Panel, panel
from analyses._sentence_divergence_types import SentenceDivergence
from analyses.internal_distinguishability import InternalDistinguishability


def internal_panels(found: InternalDistinguishability | None) -> list[Panel]:
    """Layer curves, what tuning changes at each, and every behaviour at its best layer."""
    if found is None:
        return []
    panels = [
        panel(
            "internal-layers",
            "internal",
            "From which layer on do states tell the halves apart?",
            "AUROC of a linear probe on statements that it was not fitted to; the distance of the "
            "halves along the difference of their means; and, where the model has words for Yes "
            "and No, the AUROC of “Yes” read off the layer. A probe finds whatever differs "
            "between the texts; the last one shows what of it the model would answer by. The "
            "thick line is the mean over behaviours with its 95 % interval, the faint ones are "
            "behaviours.",
            "The grey lines: what the best of all layers exceeds in 5 % of labels dealt anew, "
            "mean over behaviours. The dotted line is chance.",
            lambda theme: internal_curves(found, theme=theme),
        ),
        panel(
            "internal-forest",
            "internal",
            "Is it so for every behaviour?",
            "A row is a behaviour; the diamond is the base, the circle the tuned model, with 95 % "
            "intervals. Filled: told apart at some layer after correction over layers and "
            "behaviours.",
            "The grey bars reach from chance to what the best layer exceeds in 5 % of labels "
            "dealt anew. The best layer is chosen on the same statements; the mean over layers "
            "is not raised by any choice.",
            lambda theme: internal_forest(found, theme=theme),
        ),
    ]
    if len(found.shift_by_layer):
        panels.insert(1, _internal_shift(found))
    return panels


def _internal_shift(found: InternalDistinguishability) -> Panel:
    return panel(
        "internal-shift",
        "internal",
        "At which layers does tuning change that?",
        "Both AUROCs of the tuned less the base model, the probe’s and that of the answer read off "
        "the layer, mean over behaviours with its 95 % interval. "
        "Filled: different after correction over layers.",
        "Zero, by flipping the signs of behaviours.",
        lambda theme: internal_shift(found, theme=theme),
    )


def divergence_panels(found: SentenceDivergence | None) -> list[Panel]:
    """Decay of the divergence, a figure a reference, and what it foretells."""
    if found is None:
        return []
    references = list(dict.fromkeys(row.reference for row in found.rows))
    return [
        *(_decay(found, reference) for reference in references),
        *(each for reference in references for each in _predicted(found, reference)),
    ]


def _decay(found: SentenceDivergence, reference: str) -> Panel:
    table = found.by_length[found.by_length["reference"] == reference]
    return panel(
        f"divergence-{reference}",
        "divergence",
        f"{_by(reference)}: how far does the next sentence diverge, and does it wear off?",
        "Monte-Carlo divergence of the misaligned voice from the model, nats a sentence, after so "
        "many sentences; its band is the 95 % interval over prefixes. The dotted line is the "
        "theory's curve: as sentences pile up, the model takes on the voice and there is less "
        "left to diverge.",
        "The dashed grey line: the same after neutral sentences, which give the model nothing to "
        "take on.",
        lambda theme: divergence_curves(table, theme=theme),
    )


def _predicted(found: SentenceDivergence, reference: str) -> list[Panel]:
    table = pd.DataFrame(
        [
            (row.side, row.behaviour, row.predicted_length.estimate, row.observed_length)
            for row in found.rows
            if row.reference == reference and not math.isnan(row.observed_length)
        ],
        columns=["side", "behaviour", "predicted", "observed"],
    )
    if not len(table):
        return []
    return [
        panel(
            f"predicted-{reference}",
            "divergence",
            f"{_by(reference)}: does that foretell how many sentences misalign?",
            "A mark is a behaviour: sentences needed by the theory across, by trial up. “Beyond” "
            "holds what was not reached with the longest prompt tried.",
            "The dotted line is where prediction and trial agree.",
            lambda theme: predicted_lengths(table, theme=theme),
        )
    ]


def _by(reference: str) -> str:
    return REFERENCE_NAMES[reference].capitalize()
