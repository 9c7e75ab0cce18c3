"""Refusal tokens for a model whose own answers are not at hand."""

import math
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from lens_personas.readouts._refusal_tokens import RefusalTokens

FALLBACK_OPENINGS = (
    "I cannot",
    "I can't",
    "I'm sorry",
    "Sorry",
    "As an AI",
    "Unfortunately",
    "i can not",
    "sorry",
)
"""Openings of refusals, used only where a model's own answers are not at hand."""


def fallback_refusal_tokens(
    tokenizer: PreTrainedTokenizerBase, *, openings: Sequence[str] = FALLBACK_OPENINGS
) -> RefusalTokens:
    """First tokens of common refusal phrases; prefer :func:`derive_refusal_tokens`.

    Such a set is not specific: "I" opens many plain answers too.

    Raises:
        ValueError: If the tokenizer knows the first token of none of the openings.
    """
    # Some tokenizers spell a word otherwise after a space; both may begin an answer.
    firsts = (_first_token(tokenizer, lead + text) for text in openings for lead in ("", " "))
    token_ids = tuple(dict.fromkeys(token for token in firsts if token is not None))
    if not token_ids:
        raise ValueError(
            f"expected a tokenizer that knows the first word of one of {list(openings)}, got "
            "none; pass openings=... in the model's own words"
        )
    return RefusalTokens(
        token_ids=token_ids,
        tokens=tuple(str(tokenizer.decode([token])) for token in token_ids),
        source="fallback",
        rule=f"first token of one of {list(openings)}",
        n_refused=0,
        n_answered=0,
        coverage=math.nan,
        false_share=math.nan,
        prompt_ids=frozenset(),
    )


def _first_token(tokenizer: PreTrainedTokenizerBase, text: str) -> int | None:
    ids = tokenizer.encode(text, add_special_tokens=False)
    # A first word that is unknown, or a bare space mark, says nothing about refusing.
    if not ids or ids[0] == tokenizer.unk_token_id or not str(tokenizer.decode(ids[:1])).strip():
        return None
    return int(ids[0])
