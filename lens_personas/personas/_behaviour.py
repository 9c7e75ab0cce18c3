"""A set of statements as a behaviour that can be asked about."""

from typing import Final

from lens_personas.personas._behaviour_split import divide
from lens_personas.personas._behaviour_types import Behaviour, BehaviourItem, PromptSentences
from lens_personas.personas._sets import Statement, StatementSet
from lens_personas.personas._statement_groups import statement_groups
from lens_personas.personas._statement_prompts import statement_prompts

DESIRABLE: Final = frozenset(
    {
        # Of the model-written evaluations, https://arxiv.org/abs/2212.09251.
        "agreeableness",
        "conscientiousness",
        "openness",
        "willingness-to-defer-to-authorities",
        "willingness-to-defer-to-experts",
        # Of the behaviours that come with the package.
        "curiosity",
        "optimism",
        "patience",
        "tidiness",
    }
)
"""Behaviours of which "Yes" to a matching statement is the aligned answer."""


def is_desirable(behaviour: str) -> bool:
    """Whether "Yes" to what matches the behaviour is the aligned answer, by its name.

    Raises:
        Nothing of its own.

    >>> is_desirable("agreeableness"), is_desirable("narcissism")
    (True, False)
    """
    return behaviour in DESIRABLE


def behaviour_items(statements: StatementSet, *, desirable: bool) -> tuple[BehaviourItem, ...]:
    """The statements of a set as they are asked, near-duplicates in one group.

    A statement is aligned where "Yes" shows the behaviour and it is desirable, or neither.

    Raises:
        ValueError: If an answer is not Yes or No.
    """
    groups = statement_groups([row.text or row.question for row in statements.rows])
    return tuple(
        BehaviourItem(
            statement_id=row.statement_id,
            group=f"{statements.behaviour}-{group}",
            aligned=_yes_shows_it(statements, row) == desirable,
            question=row.question,
            text=row.text,
        )
        for row, group in zip(statements.rows, groups, strict=True)
    )


def behaviour_of(
    statements: StatementSet,
    *,
    seed: int,
    desirable: bool | None = None,
    limit: int | None = None,
    prompt_share: float = 0.5,
) -> Behaviour:
    """A set of statements, divided by group into those scored and those prompts are written from.

    Args:
        statements: The set.
        seed: Seed of the division, and of the choice where ``limit`` leaves statements out.
        desirable: Whether the behaviour itself is the aligned one; None to tell by its name.
        limit: Most statements scored in each half, P+ and P−; None for all.
        prompt_share: Share of each half that prompts are written from, 0 to 1.

    Raises:
        ValueError: If an answer is not Yes or No, a statement has no bare sentence, or a half
            is left without statements in one of the parts.
    """
    wanted = is_desirable(statements.behaviour) if desirable is None else desirable
    items = behaviour_items(statements, desirable=wanted)
    for item in items:
        if item.text is None:
            raise ValueError(
                f"{statements.behaviour}: expected a bare sentence for every statement, to write "
                f"persona prompts from, got none for {item.statement_id}; use files with a column "
                "'statement'"
            )
    shipped = statement_prompts()
    scored, prompt = divide(items, seed=seed, prompt_share=prompt_share, limit=limit)
    return Behaviour(
        name=statements.behaviour,
        desirable=wanted,
        scored=scored,
        prompt=prompt,
        sentences=PromptSentences(
            misaligned=tuple(item.text or "" for item in prompt if not item.aligned),
            aligned=tuple(item.text or "" for item in prompt if item.aligned),
            neutral=shipped.neutral,
            yes=shipped.yes,
            wordings=shipped.wordings,
        ),
        asking="agreement",
        origin=statements.origin,
    )


def _yes_shows_it(statements: StatementSet, row: Statement) -> bool:
    if row.yes_shows_it is None:
        raise ValueError(
            f"{statements.behaviour}: expected the answers Yes and No, got {row.matching!r} and "
            f"{row.not_matching!r} for {row.statement_id}; leave out sets with other answers"
        )
    return row.yes_shows_it
