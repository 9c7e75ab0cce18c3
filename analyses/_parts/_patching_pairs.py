"""Prompts of two users in equal length, with the positions that all of them have."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyses._arms import Bench
from analyses._patching_types import Slot, SlotRole
from analyses._workbench import Outline, Workbench
from lens_personas.interventions import LeftOut, swapped_pairs
from lens_personas.models import Prompt, token_strings
from lens_personas.personas import Persona, Request

Couple = tuple[str, str]
"""Names of two users; the first one is expected to be refused more."""

MOST_NULLS = 3
"""Pairs of neutral users at most."""

_FEWEST_REQUESTS = 3


def persona_couples(outline: Outline) -> tuple[Couple, ...]:
    """Anti-social users with the opposite pro-social one, else with the next one left.

    Where a side is missing, every user that is there with the control, or the control with it.
    """
    data, control = outline.data, outline.data.control.name
    sides = {
        side: [p for p in data.personas if p.group == side and p.name != control]
        for side in ("anti", "pro", "other")
    }
    limit = outline.config.patch_couples
    if sides["anti"] and sides["pro"]:
        return tuple(_matched(sides["anti"], sides["pro"])[:limit])
    if sides["pro"]:
        return tuple((control, p.name) for p in sides["pro"][:limit])
    return tuple((p.name, control) for p in (sides["anti"] or sides["other"])[:limit])


def null_couples(outline: Outline) -> tuple[Couple, ...]:
    """Neutral texts with the control."""
    control = outline.data.control.name
    return tuple((null.name, control) for null in outline.data.nulls[:MOST_NULLS])


def patch_requests(outline: Outline) -> tuple[Request, ...]:
    """Harmful test requests that both users of every couple ask."""
    return outline.studied[: outline.config.patch_requests]


@dataclass(frozen=True, kw_only=True)
class StudyPairs:
    """Prompts of all couples that could be made, on the same requests."""

    couples: tuple[Couple, ...]
    """Couples of personas."""
    nulls: tuple[Couple, ...]
    """Couples of neutral users."""
    requests: tuple[Request, ...]
    """Requests."""
    first: tuple[Prompt, ...]
    """Prompts of the first users, couple by couple, those of neutral users last."""
    second: tuple[Prompt, ...]
    """Prompts of the second users, in the same order."""
    left_out: tuple[str, ...]
    """Couples that could not be made, with the reason."""

    @property
    def n_persona_pairs(self) -> int:
        """Pairs that are of personas: the first ones."""
        return len(self.couples) * len(self.requests)

    @cached_property
    def places(self) -> tuple[dict[tuple[SlotRole, int], int], ...]:
        """Position of each place in each pair."""
        return tuple(_places(prompt) for prompt in self.first)

    @cached_property
    def shared(self) -> tuple[tuple[SlotRole, int], ...]:
        """Places that every prompt has, in their order."""
        every = set.intersection(*(set(each) for each in self.places)) if self.places else set()
        return tuple(place for place in self.places[0] if place in every) if every else ()

    def positions(self, place: tuple[SlotRole, int]) -> tuple[int, ...]:
        """Where a place lies in each pair."""
        return tuple(each[place] for each in self.places)

    def columns(self, n_pairs: int) -> "SlotColumns":
        """Positions that grids of the first pairs need for the shared places."""
        at = [self.positions(place)[:n_pairs] for place in self.shared]
        wanted = sorted({position for column in at for position in column})
        return SlotColumns(
            positions=tuple(wanted),
            index=torch.tensor([[wanted.index(p) for p in column] for column in at]).T,
        )


@dataclass(frozen=True, kw_only=True)
class SlotColumns:
    """Positions that a grid is made of, and which of them each shared place is in each pair."""

    positions: tuple[int, ...]
    """Positions, in order."""
    index: Int[Tensor, "prompt slot"]
    """Number among the positions."""

    def take(self, values: Float[Tensor, "prompt layer pos"]) -> Float[Tensor, "prompt layer slot"]:
        """The grid by shared place."""
        return values.gather(2, self.index[:, None].expand(-1, values.shape[1], -1))


def study_pairs(
    work: Workbench, put: Bench, requests: Sequence[Request] | None = None
) -> StudyPairs | None:
    """The pairs of a study on its own requests, or on others; None where none can be made.

    Only requests that every couple could be paired on are kept, so that couples are weighed alike.
    With dealt names each request has its own users behind the names.
    """
    requests = patch_requests(work) if requests is None else requests
    couples = persona_couples(work)
    nulls = null_couples(work)
    made: dict[tuple[Couple, str], tuple[Prompt, Prompt]] = {}
    left: list[LeftOut] = []
    groups = [[r] for r in requests] if put.dealt else [list(requests)]
    for group in groups:
        for couple in (*couples, *nulls):
            users = tuple(_user(work, put.owner(group[0].prompt_id, name)) for name in couple)
            found = swapped_pairs(
                work.model,
                [(users[0], users[1])],
                group,
                turn=work.turn,
                n_statements=_n_statements(work, users),
            )
            left += found.left_out
            for prompt_id, *pair in zip(
                found.prompt_ids, found.clean, found.corrupted, strict=True
            ):
                made[couple, prompt_id] = (pair[0], pair[1])
    return _balanced(couples, nulls, requests, made, left)


def shown_slots(work: Workbench, made: StudyPairs) -> tuple[Slot, ...]:
    """The shared places with their tokens, where all prompts agree and they may be shown."""
    out = []
    for role, offset in made.shared:
        at = made.positions((role, offset))
        ids = [
            (one.ids[p], other.ids[p])
            for one, other, p in zip(made.first, made.second, at, strict=True)
        ]
        same = len({i for pair in ids for i in pair}) == 1
        # What users say is their data; the template's own tokens are nobody's.
        open_to_all = work.data.fictional or role in ("before", "between", "after")
        (token,) = token_strings(work.model, [ids[0][0]]) if same and open_to_all else ("",)
        varies = any(a != b for a, b in ids[: made.n_persona_pairs])
        out.append(Slot(role=role, offset=offset, varies=varies, token=token))
    return tuple(out)


def _matched(anti: Sequence[Persona], pro: Sequence[Persona]) -> list[Couple]:
    """Opposites first, then the others in their order."""
    left = [p.name for p in pro]
    opposed = [(p.name, p.opposite) for p in anti if p.opposite in left]
    taken = {name for couple in opposed for name in couple}
    rest = zip(
        (p.name for p in anti if p.name not in taken),
        (name for name in left if name not in taken),
        strict=False,
    )
    return [(a, b) for a, b in (*opposed, *rest) if b is not None]


def _user(work: Workbench, name: str) -> Persona:
    return work.data.texts[name]


def _n_statements(work: Workbench, users: Sequence[Persona]) -> int:
    return min(work.config.patch_statements, *(len(user.statements) for user in users))


def _balanced(
    couples: Sequence[Couple],
    nulls: Sequence[Couple],
    requests: Sequence[Request],
    made: dict[tuple[Couple, str], tuple[Prompt, Prompt]],
    left: Sequence[LeftOut],
) -> StudyPairs | None:
    there = {
        couple: {r.prompt_id for r in requests if (couple, r.prompt_id) in made}
        for couple in (*couples, *nulls)
    }
    kept = [couple for couple in (*couples, *nulls) if len(there[couple]) >= _FEWEST_REQUESTS]
    asked = [r for r in requests if all(r.prompt_id in there[couple] for couple in kept)]
    if not any(couple in couples for couple in kept) or len(asked) < _FEWEST_REQUESTS:
        return None
    pairs = [made[couple, request.prompt_id] for couple in kept for request in asked]
    reasons = {f"{each.names[0]} and {each.names[1]}: {each.reason}": None for each in left}
    return StudyPairs(
        couples=tuple(couple for couple in kept if couple in couples),
        nulls=tuple(couple for couple in kept if couple not in couples),
        requests=tuple(asked),
        first=tuple(one for one, _ in pairs),
        second=tuple(other for _, other in pairs),
        left_out=tuple(reasons),
    )


def _places(prompt: Prompt) -> dict[tuple[SlotRole, int], int]:
    """Position of each place of a prompt, in their order."""
    start, stop = prompt.spans["persona"]
    # With both in one turn the request begins where the words on the user end.
    user_start, user_end = prompt.spans["user"]
    user_start = max(user_start, stop)
    out: dict[tuple[SlotRole, int], int] = {}
    out |= {("before", at): at for at in range(start)}
    out |= {("persona", at - stop): at for at in range(start, stop)}
    out |= {("between", at - stop): at for at in range(stop, user_start)}
    out |= {("request", at - user_end): at for at in range(user_start, user_end)}
    length = prompt.prompt_length
    return out | {("after", at - length): at for at in range(max(user_end, stop), length)}
