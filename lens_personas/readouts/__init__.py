"""What is measured on a model: refusal, the lens, judged answers, side effects."""

from lens_personas.readouts._agreement import JudgeAgreement, cohen_kappa, whole_answer_correct
from lens_personas.readouts._attention import AttentionPatterns, attention_patterns
from lens_personas.readouts._attention_to import (
    AttentionMass,
    HeadWrites,
    attention_mass,
    head_writes,
)
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
from lens_personas.readouts._lens_table import LensTable, lens_table
from lens_personas.readouts._logit_attribution import (
    Component,
    ComponentKind,
    LogitAttribution,
    logit_attribution,
)
from lens_personas.readouts._logit_targets import (
    LogitDifference,
    LogitTarget,
    LogOdds,
    LogProb,
)
from lens_personas.readouts._ov import ov_projection
from lens_personas.readouts._patchscope import (
    ScopeReadings,
    ScopeReduce,
    ScopeText,
    patchscope,
    patchscope_texts,
    token_log_probs,
)
from lens_personas.readouts._patchscope_maps import (
    StateMap,
    centred_states,
    keep_states,
    norm_matched_states,
    translated_states,
)
from lens_personas.readouts._patchscope_rows import ScopeTarget
from lens_personas.readouts._patchscope_sources import (
    ScopeSources,
    SourcePosition,
    read_sources,
)
from lens_personas.readouts._phrases import DEFAULT_EXEMPT_PHRASES, DEFAULT_REFUSAL_PHRASES
from lens_personas.readouts._projection import (
    ProjectionTrace,
    TokenRole,
    projection_trace,
    token_turns,
)
from lens_personas.readouts._quality import perplexity, target_log_prob
from lens_personas.readouts._read_at import ReadPosition, SourceTokens
from lens_personas.readouts._refusal import refusal_score, score_refusal
from lens_personas.readouts._refusal_tokens import (
    NoRefusalTokens,
    OpenedAnswer,
    RefusalTokens,
    derive_refusal_tokens,
    opened_answers,
)
from lens_personas.readouts._sentence_kl import (
    DEFAULT_SAMPLE_BUDGET,
    SentenceKL,
    Voice,
    sentence_kl,
)
from lens_personas.readouts._statement_log_prob import statement_log_prob
from lens_personas.readouts._text import degenerate_share, distinct_n, is_degenerate
from lens_personas.readouts._tuned_lens import train_tuned_lens
from lens_personas.readouts._tuned_lens_file import (
    import_tuned_lens,
    load_tuned_lens,
    save_tuned_lens,
)
from lens_personas.readouts._tuned_lens_types import LensSource, LensTraining, TunedLens
from lens_personas.readouts._yes_no import (
    AskedStatement,
    YesNoScores,
    ask_statements,
    score_yes_no,
    style_of,
    token_counter,
    yes_no_columns,
    yes_no_rows,
)
from lens_personas.readouts._yes_no_tokens import NoYesNoTokens, YesNoTokens, yes_no_tokens

__all__ = [
    "DEFAULT_EXEMPT_PHRASES",
    "DEFAULT_REFUSAL_PHRASES",
    "DEFAULT_SAMPLE_BUDGET",
    "AnswerLens",
    "AskedStatement",
    "AttentionMass",
    "AttentionPatterns",
    "Component",
    "ComponentKind",
    "HeadWrites",
    "JudgeAgreement",
    "JudgeLabel",
    "LensPosition",
    "LensPositions",
    "LensResult",
    "LensSource",
    "LensTable",
    "LensTraining",
    "LogOdds",
    "LogProb",
    "LogitAttribution",
    "LogitDifference",
    "LogitTarget",
    "NoRefusalTokens",
    "NoYesNoTokens",
    "OpenedAnswer",
    "ProjectionTrace",
    "ReadPosition",
    "RefusalTokens",
    "ScopeReadings",
    "ScopeReduce",
    "ScopeSources",
    "ScopeTarget",
    "ScopeText",
    "SentenceKL",
    "SourcePosition",
    "SourceTokens",
    "StateMap",
    "StringJudge",
    "TokenRole",
    "TokenWeight",
    "TokenWeights",
    "TunedLens",
    "Voice",
    "YesNoScores",
    "YesNoTokens",
    "answer_lens",
    "ask_statements",
    "attention_mass",
    "attention_patterns",
    "centred_states",
    "cohen_kappa",
    "degenerate_share",
    "derive_refusal_tokens",
    "distinct_n",
    "edit_kl",
    "fallback_refusal_tokens",
    "head_writes",
    "import_tuned_lens",
    "is_degenerate",
    "judge",
    "keep_states",
    "last_position_kl",
    "lens_of_direction",
    "lens_table",
    "load_tuned_lens",
    "logit_attribution",
    "logit_lens",
    "norm_matched_states",
    "opened_answers",
    "ov_projection",
    "patchscope",
    "patchscope_texts",
    "perplexity",
    "projection_trace",
    "read_sources",
    "refusal_score",
    "save_tuned_lens",
    "score_refusal",
    "score_yes_no",
    "sentence_kl",
    "statement_log_prob",
    "style_of",
    "target_log_prob",
    "token_counter",
    "token_log_probs",
    "token_turns",
    "train_tuned_lens",
    "translated_states",
    "whole_answer_correct",
    "yes_no_columns",
    "yes_no_rows",
    "yes_no_tokens",
]
