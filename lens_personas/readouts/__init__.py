"""What is measured on a model: refusal, the lens, judged answers, side effects."""

from lens_personas.readouts._agreement import JudgeAgreement, cohen_kappa, whole_answer_correct
from lens_personas.readouts._direction_lens import TokenWeight, TokenWeights, lens_of_direction
from lens_personas.readouts._divergence import edit_kl, last_position_kl
from lens_personas.readouts._fallback_tokens import fallback_refusal_tokens
from lens_personas.readouts._judge import JudgeLabel, StringJudge, judge
from lens_personas.readouts._lens import (
    AnswerLens,
    LensPosition,
    LensPositions,
    LensResult,
    answer_lens,
    logit_lens,
)
from lens_personas.readouts._phrases import DEFAULT_EXEMPT_PHRASES, DEFAULT_REFUSAL_PHRASES
from lens_personas.readouts._quality import perplexity, target_log_prob
from lens_personas.readouts._refusal import refusal_score, score_refusal
from lens_personas.readouts._refusal_tokens import (
    NoRefusalTokens,
    OpenedAnswer,
    RefusalTokens,
    derive_refusal_tokens,
    opened_answers,
)
from lens_personas.readouts._text import degenerate_share, distinct_n, is_degenerate

__all__ = [
    "DEFAULT_EXEMPT_PHRASES",
    "DEFAULT_REFUSAL_PHRASES",
    "AnswerLens",
    "JudgeAgreement",
    "JudgeLabel",
    "LensPosition",
    "LensPositions",
    "LensResult",
    "NoRefusalTokens",
    "OpenedAnswer",
    "RefusalTokens",
    "StringJudge",
    "TokenWeight",
    "TokenWeights",
    "answer_lens",
    "cohen_kappa",
    "degenerate_share",
    "derive_refusal_tokens",
    "distinct_n",
    "edit_kl",
    "fallback_refusal_tokens",
    "is_degenerate",
    "judge",
    "last_position_kl",
    "lens_of_direction",
    "logit_lens",
    "opened_answers",
    "perplexity",
    "refusal_score",
    "score_refusal",
    "target_log_prob",
    "whole_answer_correct",
]
