"""Every figure of the study, each a pure function of a part of the result."""

from analyses._figures_effects import (
    answered_dots,
    effect_forest,
    refusal_forest,
)
from analyses._figures_geometry import (
    correlation_by_layer,
    cosine_heatmaps,
    cosine_scatter,
    reference_cosines,
)
from analyses._figures_inside import (
    hidden_answer_curves,
    hidden_answer_heatmap,
    vector_quality,
)
from analyses._figures_layers import layer_curves
from lens_personas.views import DARK, LIGHT, Theme

__all__ = [
    "DARK",
    "LIGHT",
    "Theme",
    "answered_dots",
    "correlation_by_layer",
    "cosine_heatmaps",
    "cosine_scatter",
    "effect_forest",
    "hidden_answer_curves",
    "hidden_answer_heatmap",
    "layer_curves",
    "reference_cosines",
    "refusal_forest",
    "vector_quality",
]
