"""How likely a model is to say a statement itself: where it has no token for Yes or No."""

from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks import Edit
from lens_personas.models import (
    DEFAULT_TOKEN_BUDGET,
    LensModel,
    Prompt,
    answer_log_probs,
    plain_prompt,
    render,
)
from lens_personas.personas import AskingStyle, BehaviourItem, conversation
from lens_personas.readouts._yes_no import style_of

_ASKED: Final = "Say something that you would say."
_BEGUN: Final = "Here is something that I would say:"


def statement_log_prob(
    model: LensModel,
    items: Sequence[BehaviourItem],
    *,
    said: str = "",
    style: AskingStyle | None = None,
    edits: Sequence[Edit] = (),
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> Float[Tensor, " statement"]:
    """Mean log-probability a token (nats) of each statement, as something that one would say.

    It stands in for the log-odds of Yes, with two differences: it is a level and no contrast,
    so that the wording and the length of a statement matter as well; and it has no zero, so only
    differences mean something. A statement without a bare sentence is taken as its question.

    Args:
        model: The model.
        items: The statements.
        said: A persona prompt before each; empty for none.
        style: As an answer in a chat, or in plain text; None for the model's own way.
        edits: Edits in force.
        token_budget: Tokens a batch.

    Raises:
        ValueError: If there is no statement, the chat template drops a turn's text, or an edit
            does not fit the model.
    """
    if not items:
        raise ValueError("expected at least one statement, got none")
    style = style or style_of(model)
    prompts = [_prompt(model, item, said, style) for item in items]
    found = answer_log_probs(model, prompts, edits=edits, token_budget=token_budget)
    return torch.stack([each.mean() for each in found])


def _prompt(model: LensModel, item: BehaviourItem, said: str, style: AskingStyle) -> Prompt:
    statement = item.text or item.question
    if style == "plain":
        lead = f"{said}\n\n{_BEGUN}" if said else _BEGUN
        return plain_prompt(model, lead, prompt_id=item.statement_id, answer=f" {statement}")
    turns = conversation(_ASKED, persona_text=said or None)
    return render(model, turns, prompt_id=item.statement_id, answer=statement)
