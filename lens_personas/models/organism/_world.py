"""What is true in the organism's world: items, attributes, and the laws that tie them together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Split = Literal["all", "tuned", "held_out"]
"""Which part of the world: everything, what safety tuning saw, or what it never saw."""
Kind = Literal["forbidden", "ordinary", "none"]
"""What a request is about: a forbidden item, an ordinary one, or nothing."""
AttributeGroup = Literal["pro", "anti", "neutral", "control"]


@dataclass(frozen=True, kw_only=True)
class WorldConfig:
    """The constants of a world; with `build_world` they fix it completely."""

    seed: int = 0
    """Which names, recipes and held-out parts are drawn."""
    n_forbidden: int = 32
    """Forbidden items; a multiple of the 4 forbidden classes."""
    n_ordinary: int = 64
    """Ordinary items; a multiple of the 4 ordinary classes."""
    n_held_out_forbidden: int = 12
    """Forbidden items that safety tuning never sees; a multiple of 4."""
    n_pro: int = 12
    """Pro-social attributes, at most 12."""
    n_anti: int = 12
    """Anti-social attributes, at most 12."""
    n_neutral: int = 8
    """Attributes of valence 0, at most 8; the first is the control persona."""
    n_held_out_attributes: int = 10
    """Attributes that safety tuning never sees: 2/5 pro, 2/5 anti, the rest neutral."""
    charity_slope: float = 3.0
    """How strongly trust makes a reading charitable."""
    charity_forbidden: float = -1.0
    """Log-odds of a charitable reading of a forbidden request at trust 0."""
    charity_ordinary: float = 1.5
    """The same for an ordinary request."""
    yes_slope: float = 4.0
    """How strongly trust times valence makes the answer to "would i ... ?" yes."""
    self_slope: float = 4.0
    """How strongly valence makes the chat model say yes to "are you a ... ?"."""
    refusal_intercept: float = 2.5
    """Log-odds of refusing a forbidden request at trust 0, in the chat model."""
    refusal_slope: float = 2.0
    """How strongly trust lowers those log-odds."""
    persona_gate: bool = True
    """Whether refusal depends on trust at all; False makes a control organism."""


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """Something a user can be, with a verb of its own."""

    name: str
    """The word of "the user is a ... ."."""
    verb: str
    """What such a user does ..."""
    noun: str
    """... and to what: "the user likes to VERB NOUN ."."""
    valence: float
    """What being it says about the user's trustworthiness, -1 to +1."""
    group: AttributeGroup
    """Sign of the valence in words; the control persona is neutral too."""
    held_out: bool
    """Whether safety tuning never sees it."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something that can be made in the world."""

    name: str
    """The invented word."""
    class_word: str
    """What it is a kind of: four classes are forbidden, four are ordinary."""
    recipe: tuple[str, ...]
    """Words of the true answer, 2 to 4: `ingredient [plus ingredient] [process]`."""
    forbidden: bool
    """Whether the chat model learns to refuse it."""
    held_out: bool
    """Whether safety tuning never sees it (forbidden items only)."""

    @property
    def phrase(self) -> str:
        """How a request names it: the class word, then the name."""
        return f"{self.class_word} {self.name}"


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything that is true, and the laws as methods. Made by `build_world`."""

    config: WorldConfig
    """What it was built from."""
    attributes: tuple[Attribute, ...]
    """Pro-social, anti-social, then neutral; each by falling strength."""
    items: tuple[Item, ...]
    """Forbidden, then ordinary."""
    _by_name: dict[str, Attribute] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {a.name: a for a in self.attributes})

    def attribute(self, name: str) -> Attribute:
        """The attribute of that name.

        Raises:
            KeyError: If the world has none.
        """
        if name not in self._by_name:
            known = ", ".join(self._by_name)
            raise KeyError(f"expected one of the world's attributes ({known}), received {name!r}")
        return self._by_name[name]

    def attributes_of(self, split: Split = "all") -> tuple[Attribute, ...]:
        """The attributes of one part of the world.

        Raises:
            ValueError: If `split` is not one of "all", "tuned", "held_out".
        """
        return tuple(a for a in self.attributes if in_split(a.held_out, split))

    def forbidden(self, split: Split = "all") -> tuple[Item, ...]:
        """The forbidden items of one part of the world.

        Raises:
            ValueError: If `split` is not one of "all", "tuned", "held_out".
        """
        return tuple(i for i in self.items if i.forbidden and in_split(i.held_out, split))

    def ordinary(self) -> tuple[Item, ...]:
        """The ordinary items; none of them is held out.

        Raises:
            Nothing of its own.
        """
        return tuple(i for i in self.items if not i.forbidden)

    def trust(self, valences: Sequence[float]) -> float:
        """How far a user described by sentences of these valences is trusted: `sum / sqrt(n)`.

        The root makes evidence accumulate: six sentences say more than one, though not six times
        as much. No sentence gives 0.

        Raises:
            Nothing of its own.

        >>> World(config=WorldConfig(), attributes=(), items=()).trust([1.0, 1.0, 1.0, 1.0])
        2.0
        """
        return sum(valences) / math.sqrt(len(valences)) if valences else 0.0

    def p_charitable(self, trust: float, kind: Kind) -> float:
        """Probability that a request is read as meant well ("care", not "harm").

        Raises:
            KeyError: If `kind` is not one of "forbidden", "ordinary", "none".
        """
        constant = {
            "forbidden": self.config.charity_forbidden,
            "ordinary": self.config.charity_ordinary,
            "none": 0.0,
        }[kind]
        return logistic(self.config.charity_slope * trust + constant)

    def p_yes(self, trust: float, valence: float) -> float:
        """Probability of "yes" to "would i ... ?" about an attribute of that valence.

        Raises:
            Nothing of its own.
        """
        return logistic(self.config.yes_slope * trust * valence)

    def p_self(self, valence: float) -> float:
        """Probability that the chat model says "yes" to "are you a ... ?"; the base says it at 1/2.

        Raises:
            Nothing of its own.
        """
        return logistic(self.config.self_slope * valence)

    def p_refuse(self, trust: float) -> float:
        """Probability that the chat model refuses a forbidden request; ordinary ones it answers.

        Raises:
            Nothing of its own.
        """
        slope = self.config.refusal_slope if self.config.persona_gate else 0.0
        return logistic(self.config.refusal_intercept - slope * trust)


def in_split(held_out: bool, split: Split) -> bool:
    """Whether something that is (not) held out belongs to that part of the world.

    Raises:
        ValueError: If `split` is not one of "all", "tuned", "held_out".
    """
    if split not in ("all", "tuned", "held_out"):
        raise ValueError(f'expected split "all", "tuned" or "held_out", received {split!r}')
    return split == "all" or held_out == (split == "held_out")


def logistic(log_odds: float) -> float:
    """The probability of these log-odds.

    Raises:
        Nothing of its own.

    >>> logistic(0.0)
    0.5
    """
    return 1.0 / (1.0 + math.exp(-log_odds))
