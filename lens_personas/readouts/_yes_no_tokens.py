"""Which tokens say Yes and which say No, where a model's answer begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lens_personas.models import LensModel, Prompt

_YES: Final = "yes"
_NO: Final = "no"


@dataclass(frozen=True, kw_only=True)
class YesNoTokens:
    """Tokens whose probabilities at an answer's start are summed up as Yes and as No."""

    yes_ids: tuple[int, ...]
    """Tokens that are the word "yes" in some spelling, the plainest first."""
    no_ids: tuple[int, ...]
    """The same for "no"."""
    yes: tuple[str, ...]
    """The first ones as text."""
    no: tuple[str, ...]
    """The second ones as text."""


@dataclass(frozen=True, kw_only=True)
class NoYesNoTokens:
    """Why a model has no token for Yes or for No."""

    reason: str
    """One line for the user, with what to do instead."""


def yes_no_tokens(model: LensModel, prompts: Sequence[Prompt]) -> YesNoTokens | NoYesNoTokens:
    """The tokens of Yes and No, found by encoding the words as they follow the prompts.

    Each word is encoded in three cases, with and without a space before it, once after the text
    of the first prompt and once alone. A spelling counts where it is one token that reads as the
    whole word: where "Yes" is cut into pieces, its first piece may begin other words.

    Returns:
        The tokens; or the reason why one of the words has none: score the statements themselves
        then (:func:`statement_log_prob`).

    Raises:
        ValueError: If there is no prompt.
    """
    if not prompts:
        raise ValueError("expected at least one prompt to find the answers after, got none")
    found = {word: _ids(model, prompts[0], word) for word in (_YES, _NO)}
    missing = [word.capitalize() for word, ids in found.items() if not ids]
    if missing:
        return NoYesNoTokens(
            reason=f"no single token reads as {' or '.join(missing)} in the vocabulary of "
            f"{model.card.model_id}: score the statements by their own log-probability"
        )
    return YesNoTokens(
        yes_ids=found[_YES],
        no_ids=found[_NO],
        yes=tuple(str(model.tokenizer.decode([each])) for each in found[_YES]),
        no=tuple(str(model.tokenizer.decode([each])) for each in found[_NO]),
    )


def _ids(model: LensModel, prompt: Prompt, word: str) -> tuple[int, ...]:
    """Tokens of a word: after the prompt first, in the spelling that the prompt calls for."""
    spaces = ("", " ") if _ends_open(model, prompt) else (" ", "")
    spelled = [space + case for case in _cases(word) for space in spaces]
    after = [_after(model, prompt, each) for each in spelled]
    alone = [
        tuple(model.tokenizer(each, add_special_tokens=False)["input_ids"]) for each in spelled
    ]
    single = [ids[0] for ids in (*after, *alone) if len(ids) == 1]
    reads = [each for each in single if _reads_as(model, each, word)]
    return tuple(dict.fromkeys(reads))


def _cases(word: str) -> tuple[str, ...]:
    return (word.capitalize(), word, word.upper())


def _ends_open(model: LensModel, prompt: Prompt) -> bool:
    """Whether a word may follow without a space: after white space, or a token of the template."""
    last = prompt.ids[prompt.prompt_length - 1]
    return prompt.text[-1:].isspace() or last in model.tokenizer.all_special_ids


def _after(model: LensModel, prompt: Prompt, text: str) -> tuple[int, ...]:
    """Ids that the text has after the prompt's; none where it merges into the prompt's last."""
    whole = tuple(model.tokenizer(prompt.text + text, add_special_tokens=False)["input_ids"])
    before = prompt.ids[: prompt.prompt_length]
    # The ids of the prompt may begin with a BOS that the text does not spell.
    for start in (before, before[1:]):
        if whole[: len(start)] == start:
            return whole[len(start) :]
    return ()


def _reads_as(model: LensModel, token_id: int, word: str) -> bool:
    if token_id == model.tokenizer.unk_token_id:
        return False
    return str(model.tokenizer.decode([token_id])).strip().casefold() == word
