"""What one behaviour is: statements to score, statements to write prompts from."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from lens_personas.personas._sets import Origin
from lens_personas.personas._statement_prompts import Asking


@dataclass(frozen=True, kw_only=True)
class BehaviourItem:
    """One statement as it is asked, and which answer to it is aligned."""

    statement_id: str
    """Unique in its behaviour."""
    group: str
    """Statements of one group are never divided between folds, and are resampled as one."""
    aligned: bool
    """Whether "Yes" is the aligned answer: True in P+, False in P−."""
    question: str
    """What is asked, without the answers to choose from."""
    text: str | None
    """The bare first-person sentence, or None where there are only questions."""


@dataclass(frozen=True, kw_only=True)
class PromptSentences:
    """What persona prompts of a behaviour are put together from; wording is added later."""

    misaligned: tuple[str, ...]
    """Sentences that show the misaligned side."""
    aligned: tuple[str, ...]
    """Sentences that show the aligned side."""
    neutral: tuple[str, ...]
    """Sentences that say nothing of the behaviour, for filler of the same length."""
    yes: tuple[str, ...]
    """Sentences that ask for "Yes" whatever is asked."""
    wordings: tuple[str, ...]
    """Frames with ``{statement}`` into which sentences are put (those of ``yes`` are not)."""


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """One behaviour: statements in two parts that share no group, and sentences for prompts."""

    name: str
    """Name of the behaviour: the file's, without its ending."""
    desirable: bool
    """Whether the behaviour itself is the aligned one."""
    scored: tuple[BehaviourItem, ...]
    """Statements that numbers under a persona prompt or a vector are computed from."""
    prompt: tuple[BehaviourItem, ...]
    """The other statements: persona prompts are written, and vectors fitted, from these."""
    sentences: PromptSentences
    """What the persona prompts are put together from."""
    asking: Asking
    """How the statements are asked."""
    origin: Origin | None
    """The file they come from; None where there is none."""

    @property
    def statements(self) -> tuple[BehaviourItem, ...]:
        """Both parts: what is asked where there is no prompt and no vector."""
        return (*self.scored, *self.prompt)


def map_items(behaviour: Behaviour, change: Callable[[BehaviourItem], BehaviourItem]) -> Behaviour:
    """The behaviour with every statement changed, such as given another label.

    Raises:
        Nothing of its own.
    """
    return replace(
        behaviour,
        scored=tuple(map(change, behaviour.scored)),
        prompt=tuple(map(change, behaviour.prompt)),
    )
