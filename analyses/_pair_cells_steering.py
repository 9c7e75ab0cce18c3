"""Answers about one behaviour under persona prompts of every length, and under its vector."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analyses._pair_asker import Asker, Steering
from analyses._pair_cells_vectors import (
    VectorSource,
    behaviour_vector,
    steering_edits,
    with_random_directions,
)
from lens_personas.hooks import Scope
from lens_personas.models import DEFAULT_TOKEN_BUDGET, LensModel
from lens_personas.personas import (
    ARMS,
    Arm,
    AskingStyle,
    Behaviour,
    CountTokens,
    Order,
    assemble_prompts,
    most_sentences,
)
from lens_personas.readouts import token_counter

__all__ = [
    "LENGTH_COLUMNS",
    "VECTOR_COLUMNS",
    "VectorSource",
    "behaviour_vector",
    "length_table",
    "steering_edits",
    "vector_table",
]

LENGTH_COLUMNS = (
    "side", "behaviour", "desirable", "arm", "n_sentences", "n_tokens", "assembly",
    "statement_id", "group", "aligned", "log_odds", "mass",
)  # fmt: skip
"""Columns of :func:`length_table`."""

VECTOR_COLUMNS = (
    "side", "behaviour", "desirable", "layer", "dose", "vector", "statement_id", "group",
    "aligned", "propensity",
)  # fmt: skip
"""Columns of :func:`vector_table`."""


def length_table(
    model: LensModel,
    behaviour: Behaviour,
    *,
    side: str,
    lengths: Sequence[int],
    seed: int,
    assemblies: int = 5,
    arms: Sequence[Arm] = ARMS,
    count_tokens: CountTokens | None = None,
    orders: Sequence[Order] | None = None,
    style: AskingStyle | None = None,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> pd.DataFrame:
    """Scores of a behaviour's statements under persona prompts: ``LENGTH_COLUMNS``.

    Log-odds are means over the orders of the answers, in nats. Of a model without tokens for Yes
    and No they are the statement's own mean log-probability a token, less the mean over all
    statements without a prompt, and ``mass`` is NaN. Lengths that the behaviour has too few
    sentences for, or that do not fit the context, are left out.

    Args:
        model: The model.
        behaviour: Whose scored statements are asked; prompts are of the others.
        side: ``base`` or ``tuned``, for the table.
        lengths: Sentences of the persona prompts.
        seed: Seed of the assemblies.
        assemblies: Random choices of sentences for each length and arm.
        arms: Kinds of prompts; ``none`` is always there, since curves start there.
        count_tokens: Tokens of a text; None for the model's own. Both sides see the same prompts
            under the same counter.
        orders: Orders of the two answers; None for all that the behaviour is asked in.
        style: In a chat turn or in plain text; None for the model's own way.
        token_budget: Tokens in a batch, padding included.

    Raises:
        ValueError: If no length is left, or the chat template drops a turn's text.
    """
    asker = Asker(model, behaviour, orders, style, token_budget)
    fits = asker.fitting(
        assemble_prompts(
            behaviour,
            lengths=[n for n in sorted(set(lengths)) if 0 < n <= most_sentences(behaviour)],
            seed=seed,
            count_tokens=count_tokens or token_counter(model),
            assemblies=assemblies,
            arms=tuple(dict.fromkeys(("none", *arms))),
        ),
        lengths,
    )
    table = asker.scores(fits)
    if asker.tokens is None:
        alone = table.loc[table["arm"] == "none", "log_odds"].mean()
        table["log_odds"] -= alone
    return _named(table, behaviour, side)[list(LENGTH_COLUMNS)]


def vector_table(
    model: LensModel,
    behaviour: Behaviour,
    *,
    side: str,
    layers: Sequence[int],
    doses: Sequence[float],
    seed: int,
    n_random: int = 5,
    source: VectorSource = "sentences",
    scope: Scope = "all",
    orders: Sequence[Order] | None = None,
    style: AskingStyle | None = None,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> pd.DataFrame:
    """Propensities of a behaviour's statements under its vector: ``VECTOR_COLUMNS``.

    The vector is fitted on the statements that are not scored. It and random directions of the
    same length are added at one layer at a time. Dose 0, the model as it is, is a row of each.

    Args:
        model: The model.
        behaviour: Whose scored statements are asked, and on whose others the vector is fitted.
        side: ``base`` or ``tuned``, for the table.
        layers: Layers steered, counted from 0.
        doses: Lengths in residual norms, above 0; each is added and subtracted.
        seed: Seed of the random directions.
        n_random: Number of them.
        source: What the vector's two sides differ in.
        scope: Positions that it is added to.
        orders: Orders of the two answers; None for all that the behaviour is asked in.
        style: In a chat turn or in plain text; None for the model's own way.
        token_budget: Tokens in a batch, padding included.

    Raises:
        ValueError: If there is no layer or dose, or a dose is not above 0.
    """
    if not layers or not doses or min(doses) <= 0:
        raise ValueError(
            f"expected layers, and doses above 0 (each is also subtracted), got {list(layers)} "
            f"and {list(doses)}"
        )
    asker = Asker(model, behaviour, orders, style, token_budget)
    # Without tokens for the answers there are no answers to fit a vector from.
    source = "sentences" if asker.tokens is None else source
    vector = behaviour_vector(
        model, behaviour, layers=layers, source=source, style=style, token_budget=token_budget
    )
    signed = sorted({sign * dose for dose in doses for sign in (-1.0, 1.0)})
    steering = Steering(
        vectors=with_random_directions(vector, n_random, seed=seed),
        layers=vector.layers,
        doses=tuple(signed),
        resid_norms=vector.resid_norms,
        scope=scope,
    )
    table = pd.concat(asker.steered(steering), ignore_index=True)
    turned = np.where(table["aligned"], -table["log_odds"], table["log_odds"])
    return _named(table.assign(propensity=turned), behaviour, side)[list(VECTOR_COLUMNS)]


def _named(table: pd.DataFrame, behaviour: Behaviour, side: str) -> pd.DataFrame:
    return table.assign(side=side, behaviour=behaviour.name, desirable=behaviour.desirable)
