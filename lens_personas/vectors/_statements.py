"""Persona vectors from sentences about the user, without any request."""

from collections.abc import Sequence

import numpy as np

from lens_personas.activations import Progress, ReadAt
from lens_personas.hooks import Site
from lens_personas.models import DEFAULT_TOKEN_BUDGET, LensModel, Prompt, render
from lens_personas.personas import Message, Persona, PersonaTurn
from lens_personas.vectors._contrast import Contrast, vector_of
from lens_personas.vectors._types import SteeringVector

PERSONA_SPAN = "persona"
"""Part of the prompt that holds the sentences about the user."""
STATEMENT_MEAN = ReadAt(span=PERSONA_SPAN, take="mean")
"""Mean over the tokens of those sentences."""


def statement_vector(
    model: LensModel,
    persona: Persona,
    *,
    layers: Sequence[int],
    others: Sequence[Persona] = (),
    seed: int = 0,
    site: Site = Site.RESID_POST,
    read_at: ReadAt = STATEMENT_MEAN,
    turn: PersonaTurn = "system",
    statements_per_prompt: int = 1,
    n_prompts: int | None = None,
    user_turn: str | None = None,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    progress: Progress | None = None,
) -> SteeringVector:
    """Direction from what a user is not to what the persona's user is; not normalised.

    See :func:`statement_contrast` for the prompts. It is read without a request, so it holds
    nothing of any.

    Raises:
        ValueError: If there is nothing to contrast the statements with, or a prompt lacks the
            part that is read.
    """
    contrast = statement_contrast(
        model,
        persona,
        others=others,
        seed=seed,
        read_at=read_at,
        turn=turn,
        statements_per_prompt=statements_per_prompt,
        n_prompts=n_prompts,
        user_turn=user_turn,
    )
    return vector_of(
        model, contrast, layers=layers, site=site, token_budget=token_budget, progress=progress
    )


def statement_contrast(
    model: LensModel,
    persona: Persona,
    *,
    others: Sequence[Persona] = (),
    seed: int = 0,
    read_at: ReadAt = STATEMENT_MEAN,
    turn: PersonaTurn = "system",
    statements_per_prompt: int = 1,
    n_prompts: int | None = None,
    user_turn: str | None = None,
) -> Contrast:
    """Conversations that say something of the user, against ones that say the contrary.

    The contrary is, in this order: the persona's own negations (in pairs); the statements of
    its ``opposite``, where that is among ``others``; the statements of all ``others``.

    Args:
        model: The model whose template is used.
        persona: Whose statements are on the side the vector points to.
        others: The other personas of the set; the persona itself is left out.
        seed: Seed of the draws, where sentences are drawn.
        read_at: Where the residual is read; the part ``persona`` holds the sentences.
        turn: Turn that holds the sentences; a template without a system turn takes them at the
            front of the user's.
        statements_per_prompt: Sentences in each prompt.
        n_prompts: Prompts a side; None for one a statement. With more than one sentence a
            prompt, or fewer or more prompts than statements, sentences are drawn.
        user_turn: A neutral user turn after the sentences, for templates that ask for one.

    Raises:
        ValueError: If there is nothing to contrast the statements with, or too few statements.
    """
    against, label, paired = _contrary(persona, others)
    drawn = statements_per_prompt > 1 or n_prompts is not None
    rng = np.random.default_rng(seed)
    n_to = len(persona.statements) if n_prompts is None else n_prompts
    n_from = n_to if paired or n_prompts is not None else len(against)
    to_rows = _draws(len(persona.statements), n_to, statements_per_prompt, rng)
    from_rows = to_rows if paired else _draws(len(against), n_from, statements_per_prompt, rng)

    def prompts(sentences: Sequence[str], rows: list[list[int]], side: str) -> tuple[Prompt, ...]:
        return tuple(
            _render(
                model,
                " ".join(sentences[row] for row in chosen),
                prompt_id=f"{persona.name}/{side}/{at}",
                turn=turn,
                user_turn=user_turn,
            )
            for at, chosen in enumerate(rows)
        )

    return Contrast(
        name=persona.name,
        to=prompts(persona.statements, to_rows, "to"),
        from_=prompts(against, from_rows, "from"),
        to_label=persona.name,
        from_label=label,
        paired=paired,
        method=f"statements:{turn}:{statements_per_prompt}",
        read_at=read_at,
        seed=seed if drawn else None,
    )


def _contrary(persona: Persona, others: Sequence[Persona]) -> tuple[tuple[str, ...], str, bool]:
    """Sentences of the other side, what they are, and whether they pair with the statements."""
    if persona.negations:
        return persona.negations, f"not {persona.name}", True
    rest = [other for other in others if other.name != persona.name]
    for other in rest:
        if other.name == persona.opposite:
            return other.statements, other.name, False
    if not rest:
        raise ValueError(
            f"persona {persona.name!r}: expected negations, its opposite or other personas to "
            "contrast it with, got none; add negations or pass others=..."
        )
    return tuple(text for other in rest for text in other.statements), "other personas", False


def _draws(n: int, n_prompts: int, k: int, rng: np.random.Generator) -> list[list[int]]:
    if not 1 <= k <= n or n_prompts < 1:
        raise ValueError(
            f"expected from 1 to {n} statements in each of at least 1 prompt, got {k} in "
            f"{n_prompts}; add statements or ask for fewer"
        )
    if k == 1 and n_prompts == n:
        return [[row] for row in range(n)]
    if k == 1:
        # Each statement comes up equally often, to within one.
        rounds = [rng.permutation(n) for _ in range(-(-n_prompts // n))]
        return [[int(row)] for row in np.concatenate(rounds)[:n_prompts]]
    return [[int(row) for row in rng.permutation(n)[:k]] for _ in range(n_prompts)]


def _render(
    model: LensModel, text: str, *, prompt_id: str, turn: PersonaTurn, user_turn: str | None
) -> Prompt:
    if turn == "user" and user_turn is not None:
        messages = [Message(role="user", content=f"{text}\n\n{user_turn}")]
    else:
        messages = [Message(role=turn, content=text)]
        if user_turn is not None:
            messages.append(Message(role="user", content=user_turn))
    return render(model, messages, prompt_id=prompt_id, marks={PERSONA_SPAN: text})
