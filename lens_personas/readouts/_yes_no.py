"""How strongly a model says Yes or No to statements, at the first token of its answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.hooks import Edit
from lens_personas.models import (
    DEFAULT_TOKEN_BUDGET,
    LensModel,
    Prompt,
    map_last_logits,
    plain_prompt,
    render,
)
from lens_personas.personas import (
    Asking,
    AskingStyle,
    BehaviourItem,
    CountTokens,
    Order,
    orders_of,
    statement_messages,
    statement_text,
)
from lens_personas.readouts._yes_no_tokens import YesNoTokens

COLUMNS: Final = ("log_odds", "mass", "yes_logit", "no_logit", "yes_logit_first")
"""The columns of :func:`yes_no_columns`, in order."""


@dataclass(frozen=True, kw_only=True)
class AskedStatement:
    """One statement in one order, as a prompt."""

    item: BehaviourItem
    """What is asked."""
    order: Order
    """Which answer is named first."""
    prompt: Prompt
    """The rendered prompt, up to where the answer begins."""


@dataclass(frozen=True, kw_only=True)
class YesNoScores:
    """What the first token of each answer says."""

    log_odds: Float[Tensor, " prompt"]
    """``log P(Yes) - log P(No)`` in nats, the spellings of each summed."""
    mass: Float[Tensor, " prompt"]
    """``P(Yes) + P(No)``, 0 to 1: where it is low, the model is about to say something else."""
    yes_logit: Float[Tensor, " prompt"]
    """Raw logit of the likeliest spelling of Yes."""
    no_logit: Float[Tensor, " prompt"]
    """Raw logit of the likeliest spelling of No."""
    yes_logit_first: Float[Tensor, " prompt"]
    """Raw logit of the plainest spelling of Yes. Raw logits have no unit and are not comparable
    between models or prompts: they are here for parity with published numbers."""


def style_of(model: LensModel) -> AskingStyle:
    """How a model is asked by default: by its chat template where it has one.

    Raises:
        Nothing of its own.
    """
    return "plain" if model.card.chat_template_hash is None else "chat"


def ask_statements(
    model: LensModel,
    items: Sequence[BehaviourItem],
    *,
    asking: Asking,
    said: str = "",
    style: AskingStyle | None = None,
) -> tuple[AskedStatement, ...]:
    """Every statement in every order, rendered for the model.

    Args:
        model: The model that is asked.
        items: The statements.
        asking: How they are asked: that of their behaviour.
        said: A persona prompt before each; empty for none.
        style: In a chat turn or in plain text; None for the model's own way.

    Raises:
        ValueError: If the chat template drops or changes a turn's text.
    """
    style = style or style_of(model)

    def prompt(item: BehaviourItem, order: Order) -> Prompt:
        if style == "plain":
            text = statement_text(item.question, asking=asking, order=order, said=said)
            return plain_prompt(model, text, prompt_id=item.statement_id)
        turns = statement_messages(item.question, asking=asking, order=order, said=said)
        return render(model, turns, prompt_id=item.statement_id)

    return tuple(
        AskedStatement(item=item, order=order, prompt=prompt(item, order))
        for item in items
        for order in orders_of(asking)
    )


def score_yes_no(
    model: LensModel,
    prompts: Sequence[Prompt],
    tokens: YesNoTokens,
    *,
    edits: Sequence[Edit] = (),
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> YesNoScores:
    """What each prompt's first answer token says, from one pass; what prompts share runs once.

    Raises:
        ValueError: If there is no prompt, a token is not in the vocabulary, or an edit does not
            fit the model.
    """
    yes, no = (torch.tensor(ids) for ids in (tokens.yes_ids, tokens.no_ids))

    def reduce(logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, "batch 5"]:
        return yes_no_columns(logits, yes, no)

    found = map_last_logits(model, prompts, reduce, edits=edits, token_budget=token_budget)
    return YesNoScores(**dict(zip(COLUMNS, found.unbind(dim=1), strict=True)))


def yes_no_columns(
    logits: Float[Tensor, "batch d_vocab"],
    yes_ids: Int[Tensor, " yes"],
    no_ids: Int[Tensor, " no"],
) -> Float[Tensor, "batch 5"]:
    """Log-odds (nats), mass, and the raw logits of the likeliest Yes and No and the first Yes.

    >>> yes_no_columns(torch.zeros(1, 4), torch.tensor([0, 1]), torch.tensor([2]))[0, :2]
    tensor([0.6931, 0.7500])

    Raises:
        ValueError: If a set is empty, they overlap, or a token is outside of the vocabulary.
    """
    _check(yes_ids, no_ids, logits.shape[1])
    exact = logits.float()
    said_yes, said_no = exact[:, yes_ids.to(exact.device)], exact[:, no_ids.to(exact.device)]
    log_yes, log_no = said_yes.logsumexp(dim=1), said_no.logsumexp(dim=1)
    mass = (log_yes.logaddexp(log_no) - exact.logsumexp(dim=1)).exp()
    return torch.stack(
        [log_yes - log_no, mass, said_yes.amax(dim=1), said_no.amax(dim=1), said_yes[:, 0]], dim=1
    )


def yes_no_rows(
    asked: Sequence[AskedStatement], scores: YesNoScores
) -> list[dict[str, str | bool | float]]:
    """One row for each prompt: the statement, its half, the order, and the scores.

    Raises:
        ValueError: If there are not as many scores as prompts.
    """
    if len(asked) != len(scores.log_odds):
        raise ValueError(
            f"expected a score for each of {len(asked)} prompts, got {len(scores.log_odds)}"
        )
    columns = {name: getattr(scores, name).tolist() for name in COLUMNS}
    return [
        {
            "statement_id": each.item.statement_id,
            "group": each.item.group,
            "aligned": each.item.aligned,
            "order": each.order,
            **{name: values[at] for name, values in columns.items()},
        }
        for at, each in enumerate(asked)
    ]


def token_counter(model: LensModel) -> CountTokens:
    """The function that counts the tokens of a text, without those that a template adds.

    Raises:
        Nothing of its own.
    """

    def count(text: str) -> int:
        return len(model.tokenizer(text, add_special_tokens=False)["input_ids"])

    return count


def _check(yes_ids: Int[Tensor, " yes"], no_ids: Int[Tensor, " no"], d_vocab: int) -> None:
    yes, no = set(yes_ids.tolist()), set(no_ids.tolist())
    if not yes or not no or yes & no:
        raise ValueError(
            f"expected tokens for Yes and other ones for No, got {sorted(yes)} and {sorted(no)}; "
            "find them with yes_no_tokens"
        )
    outside = sorted(each for each in yes | no if not 0 <= each < d_vocab)
    if outside:
        raise ValueError(
            f"expected tokens from 0 to {d_vocab - 1}, got {outside}; find them with this model's "
            "own tokenizer"
        )
