"""The conversation explorer of a report: pick who asks what, and see what goes on inside."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from analyses import _words as words
from analyses._page import redacted
from analyses.conversations import Conversations, open_conversation
from analyses.scores import BASELINE
from lens_personas.views import View, attention_heads, lens_grid, token_strip

HOW: Final = ("prompt", "plus", "minus")
"""Ways in which a persona is brought in, a column each."""
_BLOCKS: Final = 6


@dataclass(frozen=True, kw_only=True)
class Look:
    """One conversation, as it can be opened."""

    number: int
    """Its number."""
    who: str
    """Who asks, and how that is brought in."""
    score: str
    """Refusal score, in nats."""
    label: str
    """What the answer was judged to be."""
    answer: str
    """The answer, or its length."""
    n_tokens: int
    """Tokens of the prompt."""
    n_shown: int
    """Of these, the last ones, that can be looked at."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request with everybody who asks it."""

    name: str
    """Its identifier."""
    text: str
    """The request, or its length."""
    kind: str
    """Harmful or harmless."""
    alone: Look
    """Asked by nobody in particular."""
    personas: Mapping[str, tuple[Look, ...]]
    """By each persona, in each way of :data:`HOW`."""

    @property
    def looks(self) -> tuple[Look, ...]:
        """All of them."""
        return (self.alone, *(look for looks in self.personas.values() for look in looks))


@dataclass(frozen=True, kw_only=True)
class Explorer:
    """Everything that the explorer shows."""

    requests: tuple[Asked, ...]
    """The requests."""
    sides: Mapping[str, str]
    """Side of each persona, in words."""
    views: Mapping[str, View]
    """Views of each conversation: ``strip-N``, ``lens-N`` and ``attention-N`` of number N."""
    steered_at: int
    """Block whose output is steered."""
    projected_at: int
    """Block whose output is projected."""
    direction: str
    """Name of the refusal vector."""
    control: str
    """Name of the control persona."""


def explorer(found: Conversations, *, full_text: bool) -> Explorer:
    """What the explorer shows of the conversations.

    Args:
        found: The conversations.
        full_text: Show what is said; otherwise blocks and lengths stand for every word that is
            not of the chat template, and for what the layers would say.
    """
    said = found.by_request.conversations
    shown = found.by_request.tokens["conversation"].value_counts()
    groups = said.drop_duplicates("persona").set_index("persona")["group"]
    return Explorer(
        requests=tuple(
            _asked(str(name), rows, full_text)
            for name, rows in said.assign(n_shown=said["conversation"].map(shown)).groupby(
                "prompt_id", sort=False
            )
        ),
        sides={str(who): words.SIDES.get(side, side) for who, side in groups.items() if who != ""},
        views=_views(found, full_text),
        steered_at=found.steered_at,
        projected_at=found.projected_at,
        direction=found.direction,
        control=found.control,
    )


def _asked(name: str, rows: pd.DataFrame, full_text: bool) -> Asked:
    said = rows.to_dict(orient="records")
    looks = {(row["persona"], row["treatment"]): _look(row, full_text) for row in said}
    text = str(said[0]["request"])
    return Asked(
        name=name,
        text=text if full_text else redacted(text),
        kind="harmful" if said[0]["harmful"] else "harmless",
        alone=looks["", BASELINE],
        personas={
            who: tuple(looks[who, how] for how in HOW)
            for who in dict.fromkeys(who for who, _ in looks if who)
        },
    )


def _look(row: Mapping[Any, Any], full_text: bool) -> Look:
    how = words.TREATMENTS.get(row["treatment"])
    answer = str(row["answer"])
    return Look(
        number=int(row["conversation"]),
        who=f"{row['persona']}, {how}" if how else "nobody in particular",
        score=words.number(float(row["score"]), signed=True),
        label=str(row["label"]),
        answer=answer if full_text else redacted(answer),
        n_tokens=int(row["n_tokens"]),
        n_shown=int(row["n_shown"]),
    )


def _views(found: Conversations, full_text: bool) -> dict[str, View]:
    numbers = [int(each) for each in found.by_request.conversations["conversation"]]
    opened = {
        number: open_conversation(found, number, show=_literal if full_text else _blocks)
        for number in numbers
    }
    # One scale for all, so that conversations can be compared; a first token is often far off.
    reach = max((float(each.projection[1:].abs().max()) for each in opened.values()), default=1.0)
    views: dict[str, View] = {}
    for number, each in opened.items():
        views[f"strip-{number}"] = token_strip(
            each.tokens,
            each.projection,
            title="Projection on the refusal direction",
            unit="mean residual norms along the refusal direction",
            limit=reach or None,
        )
        views[f"lens-{number}"] = lens_grid(each.lens)
        if each.attention is not None:
            views[f"attention-{number}"] = attention_heads(each.attention)
    return views


def _blocks(token: str, role: str) -> str:
    """Blocks in place of a word; the chat template's own tokens as they are."""
    return token if role == "template" else "▇" * min(len(token), _BLOCKS)


def _literal(token: str, role: str) -> str:
    return token
