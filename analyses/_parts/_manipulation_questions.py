"""What the model is asked about its user, and how its answers are read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from analyses._data import StudyData
from analyses._vectors import with_known_answers
from analyses._workbench import Outline, Workbench
from analyses.answers_about_users import ChoiceForm
from lens_personas.models import LensModel, Prompt, render
from lens_personas.personas import Message, Persona, conversation, persona_text
from lens_personas.vectors import AnswerStrings

CONTEXTS = ("alone", "greeted")
"""A question is the first thing the user says, or follows a greeting and its answer."""

_STATEMENTS = (
    "I exhibit {name} characteristics.",
    "I have the character of a {name} person.",
    "{name} is a word that describes me well.",
)
"""Ours are the second and third; the first is the paper's, turned to the user who says it."""
_TRUTH = "Is the following statement about me true or false? {statement}"
_SAID = "Is the following true of me? {statement}"
_CHOICE = "Which of these describes me better?"
# Descriptions that a forced choice sets against each other, beside the two names.
_PAIRS = 5


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One wording of one question, in one order of its answers."""

    about: str
    """Persona that the question describes."""
    place: int
    """Its number among the questions on that persona."""
    form: str
    """``question``, ``statement`` or ``choice``."""
    context: str
    """One of :data:`CONTEXTS`."""
    text: str
    """What the user says."""
    sign: int
    """1 where the first answer token says that the user is so, -1 where the second does."""

    @property
    def unit(self) -> str:
        """The question, whatever its wording, order and context."""
        return f"{self.form}/{self.about}/{self.place}"


@dataclass(frozen=True, kw_only=True)
class AnswerTokens:
    """The two tokens between which the model decides."""

    ids: tuple[int, int]
    """Tokens of the first and the second answer."""
    lead: tuple[int, ...]
    """What both answers begin with, put after the prompt."""
    listed: bool
    """Whether they are letters of listed options, not bare words."""


def answer_tokens(model: LensModel, data: StudyData) -> AnswerTokens | None:
    """Tokens that tell the answers apart; None where the vocabulary has no such answers."""
    known = with_known_answers(model, data)
    strings, listed = known.answer_strings, known.answer_format == "letters"
    pair = strings.letters if listed else (strings.yes, strings.no)
    first, second = (
        tuple(model.tokenizer.encode(strings.answer_prefix + text, add_special_tokens=False))
        for text in pair
    )
    unknown = model.tokenizer.unk_token_id in (*first, *second)
    alike = bool(first) and first[:-1] == second[:-1] and first[-1:] != second[-1:]
    if unknown or not alike:
        return None
    return AnswerTokens(ids=(first[-1], second[-1]), lead=first[:-1], listed=listed)


def opponents(outline: Outline) -> dict[str, str | None]:
    """Whom a forced choice offers beside each persona: its opposite, or else the control."""
    names = [persona.name for persona in outline.data.personas]
    control = outline.data.control.name
    return {
        p.name: p.opposite if p.opposite in names else None if p.name == control else control
        for p in outline.data.personas
    }


@dataclass(frozen=True)
class Battery:
    """All that is asked in a study, and how it is put to the model."""

    work: Workbench
    """Settings, data and model."""
    tokens: AnswerTokens
    """How the answers are read."""

    @cached_property
    def spoken(self) -> AnswerStrings:
        """How the answers are written."""
        return with_known_answers(self.work.model, self.work.data).answer_strings

    @property
    def choice_form(self) -> ChoiceForm:
        """How a forced choice is put."""
        return "listed" if self.tokens.listed else "paired questions"

    @cached_property
    def asks(self) -> tuple[Ask, ...]:
        """Every question in every wording, order and context."""
        asked = [
            replace(ask, context=context)
            for persona in self.work.data.personas
            for ask in (*self._questions(persona), *self._statements(persona))
            for context in CONTEXTS
        ]
        return (*asked, *(self._choices() if self.tokens.listed else ()))

    def prompt(self, ask: Ask, text: str | None) -> Prompt:
        """The question, after a text about the user where one is given."""
        turns = self._turns(ask, text)
        said = render(self.work.model, turns, prompt_id=ask.unit)
        if not self.tokens.lead:
            return said
        n = len(said.ids)
        return replace(
            said,
            ids=(*said.ids, *self.tokens.lead),
            spans={**said.spans, "answer": (n, n + len(self.tokens.lead))},
        )

    def text(self, name: str) -> str:
        """What is said of the user under that persona or neutral text, as before a request."""
        found = self.work.data.texts[name]
        asked = self.work.config.n_statements or len(found.statements)
        return persona_text(found, min(asked, len(found.statements)))

    def _turns(self, ask: Ask, text: str | None) -> list[Message]:
        greeting, turn = self.work.data.greeting, self.work.turn
        if ask.context == "alone":
            return list(conversation(ask.text, persona_text=text, turn=turn))
        return [
            *conversation(greeting, persona_text=text, turn=turn),
            Message(role="assistant", content=self._reply),
            Message(role="user", content=ask.text),
        ]

    @property
    def _reply(self) -> str:
        # Only the organism's own data asks for answers in bare words.
        bare = self.work.data.answer_format == "words"
        return "hello how can i help ?" if bare else "Hello! How can I help you?"

    def _questions(self, persona: Persona) -> list[Ask]:
        """The persona's own questions; its statements turned into questions where it has none."""
        own = persona.questions or tuple(_SAID.format(statement=s) for s in persona.statements)
        n = min(len(own), self.work.config.manipulation_questions)
        spread = [own[at * len(own) // n] for at in range(n)]
        yes_no = (self.spoken.yes, self.spoken.no)
        return [
            ask
            for place, question in enumerate(spread)
            for ask in self._orders(persona.name, place, "question", question, yes_no)
        ]

    def _statements(self, persona: Persona) -> list[Ask]:
        """The paper's statement in all wordings: one unit, none where no option can be listed."""
        if not self.tokens.listed:
            return []
        place = self.work.config.manipulation_questions
        return [
            ask
            for wording in _STATEMENTS
            for ask in self._orders(
                persona.name,
                place,
                "statement",
                _TRUTH.format(statement=wording.format(name=persona.name)),
                ("True", "False"),
            )
        ]

    def _choices(self) -> list[Ask]:
        by_name = {persona.name: persona for persona in self.work.data.personas}
        asked = []
        for name, other in opponents(self.work).items():
            if other is None:
                continue
            pairs = zip(by_name[name].statements, by_name[other].statements, strict=False)
            options = [(name, other), *pairs][: _PAIRS + 1]
            for place, (mine, theirs) in enumerate(options):
                both = (mine.rstrip("."), theirs.rstrip("."))
                asked += self._orders(name, place, "choice", _CHOICE, both)
        return asked

    def _orders(
        self, about: str, place: int, form: str, question: str, options: Sequence[str]
    ) -> list[Ask]:
        def ask(text: str, sign: int) -> Ask:
            return Ask(about=about, place=place, form=form, context="alone", text=text, sign=sign)

        if not self.tokens.listed:
            return [ask(question, 1)]
        strings, (mine, other) = self.spoken, options
        return [
            ask(
                strings.template.format(
                    question=question,
                    first_letter=strings.letters[0],
                    second_letter=strings.letters[1],
                    first=first,
                    second=second,
                ),
                sign,
            )
            for first, second, sign in ((mine, other, 1), (other, mine, -1))
        ]
