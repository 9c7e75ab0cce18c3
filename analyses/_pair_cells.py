"""Scores of statements alone: what a model says to each of them without any prompt."""

from collections.abc import Sequence
from math import nan

import pandas as pd

from analyses.distinguishability import ANSWER_COLUMNS
from lens_personas.models import DEFAULT_TOKEN_BUDGET, LensModel
from lens_personas.personas import AskingStyle, Behaviour, BehaviourItem
from lens_personas.readouts import (
    NoYesNoTokens,
    ask_statements,
    score_yes_no,
    statement_log_prob,
    yes_no_rows,
    yes_no_tokens,
)

SCORE_COLUMNS = (*ANSWER_COLUMNS, "yes_logit_first")
"""Columns of the scores of statements alone."""


def scores_table(
    model: LensModel,
    behaviour: Behaviour,
    items: Sequence[BehaviourItem],
    *,
    side: str,
    style: AskingStyle,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> pd.DataFrame:
    """Scores of a behaviour's statements; a row a statement and order, columns SCORE_COLUMNS.

    Where the model has no token for Yes or for No, ``log_odds`` is the mean log-probability a
    token of the statement itself, ``order`` is ``none``, and the other columns are NaN.

    Raises:
        ValueError: If there is no statement, or a template drops a turn's text.
    """
    asked = ask_statements(model, items, asking=behaviour.asking, style=style)
    tokens = yes_no_tokens(model, [each.prompt for each in asked])
    if isinstance(tokens, NoYesNoTokens):
        values = statement_log_prob(model, items, style=style, token_budget=token_budget)
        rows = [_own(item, value) for item, value in zip(items, values.tolist(), strict=True)]
    else:
        prompts = [each.prompt for each in asked]
        rows = yes_no_rows(asked, score_yes_no(model, prompts, tokens, token_budget=token_budget))
    about = {"side": side, "behaviour": behaviour.name, "desirable": behaviour.desirable}
    return pd.DataFrame([about | row for row in rows], columns=list(SCORE_COLUMNS))


def _own(item: BehaviourItem, value: float) -> dict[str, str | bool | float]:
    return {
        "statement_id": item.statement_id,
        "group": item.group,
        "aligned": item.aligned,
        "order": "none",
        "log_odds": value,
        **dict.fromkeys(("mass", "yes_logit", "no_logit", "yes_logit_first"), nan),
    }
