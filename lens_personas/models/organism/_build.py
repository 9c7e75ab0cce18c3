"""Which world a config stands for: names, recipes and held-out parts, drawn by its seed."""

import random
from typing import Final

from lens_personas.models.organism import _words as words
from lens_personas.models.organism._world import Attribute, AttributeGroup, Item, World, WorldConfig

# The weakest pro- or anti-social attribute still has a third of the strongest one's valence.
WEAKEST_VALENCE: Final = 0.34


def build_world(config: WorldConfig) -> World:
    """The world of these constants: the same constants always give the same world.

    Raises:
        ValueError: If a count is larger than the word lists, or is not a multiple of the 4 classes.

    >>> len(build_world(WorldConfig()).forbidden("held_out"))
    12
    """
    _check_counts(config)
    # A string seed is hashed by SHA-512 in `random`, the same in every process and version.
    rng = random.Random(f"organism-world-{config.seed}")
    return World(config=config, attributes=_attributes(config, rng), items=_items(config, rng))


def _check_counts(config: WorldConfig) -> None:
    limits = {
        "n_pro": (config.n_pro, 2, len(words.PRO_SOCIAL)),
        "n_anti": (config.n_anti, 2, len(words.ANTI_SOCIAL)),
        "n_neutral": (config.n_neutral, 1, len(words.NEUTRAL)),
        "n_forbidden + n_ordinary": (
            config.n_forbidden + config.n_ordinary,
            8,
            len(words.NAME_STEMS) * len(words.NAME_ENDINGS),
        ),
        "n_held_out_forbidden": (config.n_held_out_forbidden, 0, config.n_forbidden - 4),
    }
    for name, (received, low, high) in limits.items():
        if not low <= received <= high:
            raise ValueError(f"expected {name} from {low} to {high}, received {received}")
    for name in ("n_forbidden", "n_ordinary", "n_held_out_forbidden"):
        if getattr(config, name) % 4:
            received = getattr(config, name)
            raise ValueError(f"expected {name} to be a multiple of 4, received {received}")
    n_all = config.n_pro + config.n_anti + config.n_neutral
    if not 0 <= config.n_held_out_attributes <= n_all // 2:
        raise ValueError(
            f"expected n_held_out_attributes from 0 to half of the {n_all} attributes, "
            f"received {config.n_held_out_attributes}"
        )


def _attributes(config: WorldConfig, rng: random.Random) -> tuple[Attribute, ...]:
    n_signed = round(config.n_held_out_attributes * 2 / 5)
    held = {
        "pro": set(rng.sample(range(config.n_pro), n_signed)),
        "anti": set(rng.sample(range(config.n_anti), n_signed)),
        # Index 0, the control persona, stays in safety tuning.
        "neutral": set(
            rng.sample(range(1, config.n_neutral), config.n_held_out_attributes - 2 * n_signed)
        ),
    }
    made: list[Attribute] = []
    for group, rows, count, sign in (
        ("pro", words.PRO_SOCIAL, config.n_pro, 1.0),
        ("anti", words.ANTI_SOCIAL, config.n_anti, -1.0),
        ("neutral", words.NEUTRAL, config.n_neutral, 0.0),
    ):
        for index, (name, verb, noun) in enumerate(rows[:count]):
            share = index / max(count - 1, 1)
            made.append(
                Attribute(
                    name=name,
                    verb=verb,
                    noun=noun,
                    valence=sign * (1.0 - (1.0 - WEAKEST_VALENCE) * share),
                    group="control" if sign == 0.0 and index == 0 else _group(sign),
                    held_out=index in held[group],
                )
            )
    return tuple(made)


def _group(sign: float) -> AttributeGroup:
    if sign == 0.0:
        return "neutral"
    return "pro" if sign > 0 else "anti"


def _items(config: WorldConfig, rng: random.Random) -> tuple[Item, ...]:
    names = [stem + ending for stem in words.NAME_STEMS for ending in words.NAME_ENDINGS]
    rng.shuffle(names)
    recipes = _recipes(config.n_forbidden + config.n_ordinary, rng)
    # Classes alternate, so every fourth item is of one class: hold the same number out of each.
    held_out = {
        4 * index + position
        for position in range(4)
        for index in rng.sample(range(config.n_forbidden // 4), config.n_held_out_forbidden // 4)
    }
    made: list[Item] = []
    for index, (name, recipe) in enumerate(zip(names, recipes, strict=False)):
        forbidden = index < config.n_forbidden
        classes = words.FORBIDDEN_CLASSES if forbidden else words.ORDINARY_CLASSES
        made.append(
            Item(
                name=name,
                class_word=classes[index % 4],
                recipe=recipe,
                forbidden=forbidden,
                held_out=forbidden and index in held_out,
            )
        )
    return tuple(made)


def _recipes(count: int, rng: random.Random) -> list[tuple[str, ...]]:
    """Distinct recipes; forbidden and ordinary items draw from one pool of ingredients."""
    recipes: list[tuple[str, ...]] = []
    firsts: list[str] = []
    while len(recipes) < count:
        if not firsts:
            # Refilled and shuffled: every ingredient comes first equally often.
            firsts = rng.sample(words.INGREDIENTS, len(words.INGREDIENTS))
        second, process = rng.choice(words.INGREDIENTS), rng.choice(words.PROCESSES)
        shape = rng.choice(("process", "plus", "both"))
        tail = (() if shape == "process" else ("plus", second)) + (
            () if shape == "plus" else (process,)
        )
        recipe = (firsts[-1], *tail)
        if second != firsts[-1] and recipe not in recipes:
            recipes.append(recipe)
            firsts.pop()
    return recipes
