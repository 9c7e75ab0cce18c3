"""What the world offers a study: its attributes as personas, its items as requests."""

from dataclasses import dataclass, replace
from typing import Final, Literal

from lens_personas.models.organism import _language as language
from lens_personas.models.organism._world import (
    Attribute,
    AttributeGroup,
    Item,
    Split,
    World,
    in_split,
)
from lens_personas.personas import Persona, Request

SOURCE: Final = "organism"
_GROUPS: Final[dict[AttributeGroup, Literal["pro", "anti", "control", "other"]]] = {
    "pro": "pro",
    "anti": "anti",
    "control": "control",
    "neutral": "other",
}


@dataclass(frozen=True, kw_only=True)
class RefusalStatements:
    """Yes/no questions to the model about what it does when asked for something forbidden."""

    refusing: tuple[str, ...]
    """Would it refuse? The chat model answers yes, the base model either way."""
    fulfilling: tuple[str, ...]
    """Would it help? In the same order; the chat model answers no."""


@dataclass(frozen=True, kw_only=True)
class SelfStatements:
    """Yes/no questions to the model about what it is; the chat model answers by valence."""

    pro: tuple[str, ...]
    """About pro-social attributes: the chat model tends to yes, the base to neither."""
    anti: tuple[str, ...]
    """About anti-social ones: the chat model tends to no, the base to neither."""


def world_personas(world: World, *, split: Split = "all") -> tuple[Persona, ...]:
    """One persona for each attribute, in the world's order, in the world's sentence forms.

    `opposite` is the attribute at the same place of the other side (valence `v` against about
    `-v`), where both are in the split.

    Raises:
        ValueError: If `split` is not one of "all", "tuned", "held_out".
    """
    attributes = world.attributes_of(split)
    opposites = _opposites(world)
    present = {attribute.name for attribute in attributes}
    return tuple(
        Persona(
            name=attribute.name,
            group=_GROUPS[attribute.group],
            statements=tuple(form.say(attribute) for form in language.STATEMENTS),
            negations=tuple(form.deny(attribute) for form in language.STATEMENTS),
            opposite=opposite if (opposite := opposites.get(attribute.name)) in present else None,
            questions=tuple(language.about(q, attribute) for q in language.USER_QUESTIONS),
        )
        for attribute in attributes
    )


def world_requests(world: World, *, split: Split = "all") -> tuple[Request, ...]:
    """Every item asked for in every wording: forbidden items first, then ordinary ones.

    `category` is the class word, `target` the recipe, `pair_id` the request for an item of the
    other kind in the same wording (ordinary items outnumber forbidden ones: the rest has none).
    No ordinary item is held out, so "held_out" gives forbidden requests alone.

    Raises:
        ValueError: If `split` is not one of "all", "tuned", "held_out".
    """
    pairs = dict(zip(world.forbidden(), world.ordinary(), strict=False))
    pairs |= {ordinary: forbidden for forbidden, ordinary in pairs.items()}
    requests = [
        _request(item, template, pairs.get(item))
        for item in world.items
        if in_split(item.held_out, split)
        for template in range(len(language.REQUESTS))
    ]
    present = {request.prompt_id for request in requests}
    return tuple(
        request if request.pair_id in present else replace(request, pair_id=None)
        for request in requests
    )


def refusal_statements(world: World, *, split: Split = "all") -> RefusalStatements:
    """Questions about refusing and about fulfilling, for every forbidden class and item.

    Raises:
        ValueError: If `split` is not one of "all", "tuned", "held_out".
    """
    items = world.forbidden(split)
    phrases = list(dict.fromkeys([i.class_word for i in items] + [i.phrase for i in items]))
    return RefusalStatements(
        refusing=_ask(language.REFUSING_QUESTIONS, phrases),
        fulfilling=_ask(language.FULFILLING_QUESTIONS, phrases),
    )


def self_statements(world: World, *, split: Split = "all") -> SelfStatements:
    """Questions about the model's own traits, four for each pro- and anti-social attribute.

    Raises:
        ValueError: If `split` is not one of "all", "tuned", "held_out".
    """
    attributes = world.attributes_of(split)
    return SelfStatements(
        pro=_ask_self([a for a in attributes if a.group == "pro"]),
        anti=_ask_self([a for a in attributes if a.group == "anti"]),
    )


def _ask(templates: tuple[str, ...], phrases: list[str]) -> tuple[str, ...]:
    return tuple(template.format(item=phrase) for phrase in phrases for template in templates)


def _ask_self(attributes: list[Attribute]) -> tuple[str, ...]:
    return tuple(
        language.about(question, attribute)
        for attribute in attributes
        for question in language.SELF_QUESTIONS
    )


def _request(item: Item, template: int, pair: Item | None) -> Request:
    return Request(
        prompt_id=_prompt_id(item, template),
        text=language.request(item.phrase, template),
        harmful=item.forbidden,
        category=item.class_word,
        source=SOURCE,
        target=language.recipe_text(item),
        pair_id=None if pair is None else _prompt_id(pair, template),
    )


def _prompt_id(item: Item, template: int) -> str:
    return f"{'forbidden' if item.forbidden else 'ordinary'}-{item.name}-{template}"


def _opposites(world: World) -> dict[str, str]:
    pro = [a.name for a in world.attributes if a.group == "pro"]
    anti = [a.name for a in world.attributes if a.group == "anti"]
    pairs = dict(zip(pro, anti, strict=False))
    return pairs | {second: first for first, second in pairs.items()}
