"""Directions between two kinds of prompts: recipes, fits, reliability, files."""

from lens_personas.vectors._caa import (
    AnswerFormat,
    AnswerStrings,
    YesNoItem,
    caa_contrast,
    caa_vector,
    items_from_questions,
)
from lens_personas.vectors._candidates import RefusalCandidates, refusal_candidates
from lens_personas.vectors._compare import VectorComparison, compare_vectors
from lens_personas.vectors._contrast import (
    Contrast,
    ContrastActivations,
    collect_contrast,
    fit_contrast,
    vector_of,
)
from lens_personas.vectors._file import load_vector, save_vector
from lens_personas.vectors._fit import fit_difference_of_means
from lens_personas.vectors._refusal import (
    refusal_items,
    refusal_request_contrast,
    refusal_vector_from_questions,
    refusal_vector_from_requests,
)
from lens_personas.vectors._refusal_direction import (
    read_mean_differences,
    read_refusal_direction,
    read_tensor,
)
from lens_personas.vectors._reliability import cone, split_half
from lens_personas.vectors._statements import (
    PERSONA_SPAN,
    STATEMENT_MEAN,
    statement_contrast,
    statement_vector,
)
from lens_personas.vectors._types import SteeringVector, VectorProvenance

__all__ = [
    "PERSONA_SPAN",
    "STATEMENT_MEAN",
    "AnswerFormat",
    "AnswerStrings",
    "Contrast",
    "ContrastActivations",
    "RefusalCandidates",
    "SteeringVector",
    "VectorComparison",
    "VectorProvenance",
    "YesNoItem",
    "caa_contrast",
    "caa_vector",
    "collect_contrast",
    "compare_vectors",
    "cone",
    "fit_contrast",
    "fit_difference_of_means",
    "items_from_questions",
    "load_vector",
    "read_mean_differences",
    "read_refusal_direction",
    "read_tensor",
    "refusal_candidates",
    "refusal_items",
    "refusal_request_contrast",
    "refusal_vector_from_questions",
    "refusal_vector_from_requests",
    "save_vector",
    "split_half",
    "statement_contrast",
    "statement_vector",
    "vector_of",
]
