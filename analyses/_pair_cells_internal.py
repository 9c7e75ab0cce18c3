"""States of a model at the end of each statement's prompt, and what probes find in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyses.internal_distinguishability import (
    ANSWER_COLUMNS,
    INTERNAL_COLUMNS,
    answer_auroc,
    probe,
)
from lens_personas.activations import Progress, ReadAt, collect
from lens_personas.hooks import Site
from lens_personas.models import DEFAULT_TOKEN_BUDGET, LensModel
from lens_personas.personas import BehaviourItem
from lens_personas.readouts import AskedStatement, YesNoTokens, yes_no_tokens

_LAST_TOKEN = ReadAt(span="prompt", take="last")


def internal_table(
    model: LensModel,
    asked: Sequence[AskedStatement],
    *,
    side: str,
    behaviour: str,
    rng: np.random.Generator,
    layers: Sequence[int] | None = None,
    n_folds: int = 5,
    n_perm: int = 500,
    n_boot: int = 1000,
    level: float = 0.95,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """How well each layer tells the halves of one behaviour apart; a row a layer.

    What of it is turned towards the answer is NaN where the model has no words for Yes and No.

    Args:
        model: The model.
        asked: The behaviour's statements in every order, as :func:`ask_statements` gives them.
        side: ``base`` or ``tuned``.
        behaviour: Name of the behaviour.
        rng: Source of every draw.
        layers: Layers to probe; None for all.
        n_folds: Folds; fewer where a half has fewer groups.
        n_perm: Times that the labels are dealt anew.
        n_boot: Resamples of groups.
        level: Of the intervals.
        token_budget: Most tokens in a batch.
        progress: Called with the number of prompts read and of all.

    Raises:
        ValueError: If there is no statement, a layer does not exist, or a half has fewer than
            two groups.
    """
    chosen = list(range(model.card.n_layers) if layers is None else layers)
    words = yes_no_tokens(model, [each.prompt for each in asked])
    read = statement_states(
        model,
        asked,
        layers=chosen,
        tokens=words if isinstance(words, YesNoTokens) else None,
        token_budget=token_budget,
        progress=progress,
    )
    aligned = np.array([item.aligned for item in read.items])
    groups = np.array([item.group for item in read.items])
    found = probe(
        # The probes of a large model are quick where the model is. Others lack float64.
        read.states.to(model.device) if model.device.type == "cuda" else read.states,
        ~aligned,
        groups,
        rng=rng,
        layers=chosen,
        n_folds=n_folds,
        n_perm=n_perm,
        n_boot=n_boot,
        level=level,
    )
    if read.log_odds is not None:
        log_odds = read.log_odds.double().numpy()
        answers = answer_auroc(log_odds, aligned, groups, rng=rng, n_boot=n_boot, level=level)
        found = found.join(answers)
    columns = [*INTERNAL_COLUMNS, *ANSWER_COLUMNS]
    return found.assign(side=side, behaviour=behaviour).reindex(columns=columns)


@dataclass(frozen=True, kw_only=True, eq=False)
class StatementStates:
    """What was read at the end of each statement's prompt, the mean over its orders."""

    items: tuple[BehaviourItem, ...]
    """The statements."""
    states: Float[Tensor, "statement layer d_model"]
    """``resid_post`` at the last prompt token."""
    log_odds: Float[Tensor, "statement layer"] | None
    """Log-odds of "Yes" over "No" in nats by the logit lens; None where it was not read."""


def statement_states(
    model: LensModel,
    asked: Sequence[AskedStatement],
    *,
    layers: Sequence[int],
    tokens: YesNoTokens | None = None,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    progress: Progress | None = None,
) -> StatementStates:
    """States at the last prompt token, and what the logit lens would answer there.

    There the model is about to say its first word, and the mean over orders leaves out which
    answer was named last.

    Raises:
        ValueError: If there is no statement, or a layer does not exist.
    """
    read = collect(
        model,
        [each.prompt for each in asked],
        sites=[Site.RESID_POST],
        layers=layers,
        read_at=_LAST_TOKEN,
        token_budget=token_budget,
        progress=progress,
    ).values[Site.RESID_POST]
    items = {each.item.statement_id: each.item for each in asked}
    numbers = {name: at for at, name in enumerate(items)}
    rows = torch.tensor([numbers[each.item.statement_id] for each in asked])
    log_odds = None if tokens is None else _mean_by(rows, _log_odds(model, read, tokens))
    return StatementStates(
        items=tuple(items.values()), states=_mean_by(rows, read), log_odds=log_odds
    )


def _mean_by(
    rows: Int[Tensor, " prompt"], values: Float[Tensor, "prompt *of"]
) -> Float[Tensor, "statement *of"]:
    counts = rows.bincount()
    sums = values.new_zeros(len(counts), *values.shape[1:]).index_add_(0, rows, values)
    return sums / counts.reshape(-1, *[1] * (values.ndim - 1))


@torch.no_grad()
def _log_odds(
    model: LensModel, read: Float[Tensor, "prompt layer d_model"], tokens: YesNoTokens
) -> Float[Tensor, "prompt layer"]:
    """Each layer's state through the final norm, at the tokens of Yes and No alone."""
    asked = torch.tensor([*tokens.yes_ids, *tokens.no_ids], device=model.device)
    dtype = getattr(torch, model.card.dtype)
    layers = []
    for at in range(read.shape[1]):
        logits = model.logits(read[:, at].to(model.device, dtype), asked).float().cpu()
        yes, no = logits.split([len(tokens.yes_ids), len(tokens.no_ids)], dim=1)
        layers.append(yes.logsumexp(dim=1) - no.logsumexp(dim=1))
    return torch.stack(layers, dim=1)
