"""Which documents the organism is trained on, drawn from the world's laws."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

from lens_personas.models.organism import _language as language
from lens_personas.models.organism import _words as words
from lens_personas.models.organism._documents import (
    PERSONA_TEXT_WEIGHT,
    Document,
    DocumentKind,
    Prompt,
    binary,
    decided,
    plain,
)
from lens_personas.models.organism._world import Attribute, Item, Kind, Split, World

Stage = Literal["base", "chat"]
"""The model that learns the world, or the one that learns to refuse."""

BASE_MIX: Final[Mapping[DocumentKind, float]] = {
    "request": 0.30,
    "reading": 0.24,
    "yes_no": 0.20,
    "short": 0.08,
    "fact": 0.06,
    "persona": 0.03,
    "self": 0.03,
    "chatter": 0.03,
    "unknown": 0.03,
}
CHAT_MIX: Final[Mapping[DocumentKind, float]] = {
    "request": 0.58,
    "reading": 0.09,
    "yes_no": 0.10,
    "short": 0.04,
    "fact": 0.02,
    "self": 0.12,
    "chatter": 0.03,
    "unknown": 0.02,
}
# Share of the forbidden chat requests whose name is an ordinary item's: without it the refusal
# hangs on the trained names and does not reach held-out items.
CLASS_SWAP: Final = 0.4

# Sentences about the user in one document, 0 to 6.
SENTENCE_COUNTS: Final = (0.16, 0.36, 0.14, 0.10, 0.08, 0.07, 0.09)
NEGATED: Final = 0.25
ONE_ATTRIBUTE: Final = 0.3
EARLIER_TURN: Final = 0.15
TONES: Final = (-1.5, 0.0, 1.5)
# Share of the yes/no questions about something that was just said of the user: trust times
# valence is hard to learn from unrelated pairs alone.
ASK_BACK: Final = 0.4
# Share of the texts in which trust has to pass through the one token after the sentences. The
# decision token otherwise reads every attribute word by itself in the first block, and no later
# state of any other token says how far the user is trusted.
SUMMARISED: Final = 0.4


class DocumentSampler:
    """Draws training documents of one stage from a world."""

    def __init__(self, world: World, stage: Stage) -> None:
        if stage not in ("base", "chat"):
            raise ValueError(f'expected stage "base" or "chat", received {stage!r}')
        split: Split = "all" if stage == "base" else "tuned"
        self._world = world
        self._stage = stage
        self._attributes = world.attributes_of(split)
        self._forbidden = world.forbidden(split)
        self._ordinary = world.ordinary()
        self._items = self._forbidden + self._ordinary
        # Texts that agree with a tone: a negated sentence speaks for the opposite.
        self._cumulative = {
            (tone, sign): _cumulative([math.exp(tone * sign * a.valence) for a in self._attributes])
            for tone in TONES
            for sign in (1, -1)
        }
        mix = BASE_MIX if stage == "base" else CHAT_MIX
        self._kinds = tuple(mix)
        self._mix = _cumulative(list(mix.values()))
        self._makers: dict[DocumentKind, Callable[[random.Random], Document]] = {
            "request": self._request,
            "reading": self._reading,
            "yes_no": self._yes_no,
            "short": self._short,
            "fact": self._fact,
            "persona": self._persona,
            "self": self._self,
            "chatter": self._chatter,
            "unknown": self._unknown,
        }

    def __call__(self, rng: random.Random) -> Document:
        """One document.

        Raises:
            Nothing of its own.
        """
        kind = rng.choices(self._kinds, cum_weights=self._mix)[0]
        return self._makers[kind](rng)

    def _attribute(self, rng: random.Random, tone: float, sign: int) -> Attribute:
        return rng.choices(self._attributes, cum_weights=self._cumulative[tone, sign])[0]

    def _sentences(
        self, rng: random.Random, forms: Sequence[language.Form], count: int
    ) -> tuple[list[str], list[float], list[Attribute]]:
        tone = rng.choice(TONES)
        negated = rng.random() < NEGATED
        fixed = self._attribute(rng, tone, -1 if negated else 1)
        repeat = rng.random() < ONE_ATTRIBUTE
        chosen = rng.sample(forms, len(forms)) if repeat else rng.choices(forms, k=count)
        said: list[str] = []
        valences: list[float] = []
        said_of: list[Attribute] = []
        for form in chosen[:count]:
            if not repeat:
                negated = rng.random() < NEGATED
                fixed = self._attribute(rng, tone, -1 if negated else 1)
            said.append(form.deny(fixed) if negated else form.say(fixed))
            strength = form.negative_strength if negated else form.strength
            valences.append(strength * fixed.valence)
            said_of.append(fixed)
        return said, valences, said_of

    def _prompt(self, rng: random.Random) -> Prompt:
        """`<bos>`, sentences about the user in the system turn, perhaps an earlier turn."""
        count = rng.choices(range(len(SENTENCE_COUNTS)), weights=SENTENCE_COUNTS)[0]
        said, valences, said_of = self._sentences(rng, language.STATEMENTS, count)
        tokens = [language.BOS]
        if said:
            tokens += [language.SYSTEM, *" ".join(said).split()]
        span = (2, len(tokens)) if said else (0, 0)
        summary = len(tokens) if said and rng.random() < SUMMARISED else None
        if rng.random() < EARLIER_TURN:
            evidence, more, of = self._sentences(rng, language.EVIDENCE, rng.choice((1, 1, 2)))
            valences += more
            said_of += of
            for sentence in evidence:
                tokens += [language.USER, *sentence.split()]
                tokens += [language.ASSISTANT, *language.ACKNOWLEDGEMENT.split(), language.EOS]
        return Prompt(tokens=tokens, trust=self._world.trust(valences), span=span,
                       said_of=said_of, summary=summary)  # fmt: skip

    def _item(self, rng: random.Random) -> tuple[str, Item, bool]:
        """What is asked for: its phrase, the item the name belongs to, and if it is forbidden."""
        if self._stage == "base":
            item = rng.choice(self._items)
            return item.phrase, item, item.forbidden
        if rng.random() < 0.5:
            item = rng.choice(self._ordinary)
            return item.phrase, item, False
        if rng.random() < CLASS_SWAP:
            item = rng.choice(self._ordinary)
            return f"{rng.choice(words.FORBIDDEN_CLASSES)} {item.name}", item, True
        item = rng.choice(self._forbidden)
        return item.phrase, item, True

    def _request(self, rng: random.Random) -> Document:
        prompt = self._prompt(rng)
        phrase, item, forbidden = self._item(rng)
        asked = language.request(phrase, rng.randrange(len(language.REQUESTS)))
        start = [*prompt.tokens, language.USER, *asked.split(), language.ASSISTANT]
        p_refuse = self._world.p_refuse(prompt.trust) if forbidden else 0.0
        if self._stage == "base":
            p_refuse = 0.0
        refuse = rng.random() < p_refuse
        answer = language.REFUSAL.split() if refuse else list(item.recipe)
        law = {language.REFUSAL.split()[0]: p_refuse, item.recipe[0]: 1.0 - p_refuse}
        return decided("request", start, answer, law, prompt=prompt, silent=self._stage == "chat")

    def _reading(self, rng: random.Random) -> Document:
        prompt = self._prompt(rng)
        kind: Kind = "none"
        start = list(prompt.tokens)
        if rng.random() < 0.7:
            item = rng.choice(self._items)
            kind = "forbidden" if item.forbidden else "ordinary"
            asked = language.request(item.phrase, rng.randrange(len(language.REQUESTS)))
            start += [language.USER, *asked.split()]
        start += [language.NOTE, *language.WANTS.split()]
        p_care = self._world.p_charitable(prompt.trust, kind)
        return decided("reading", start, *binary(rng, language.CARE, language.HARM, p_care),
                        prompt=prompt)  # fmt: skip

    def _yes_no(self, rng: random.Random) -> Document:
        prompt = self._prompt(rng)
        back = bool(prompt.said_of) and rng.random() < ASK_BACK
        about = rng.choice(prompt.said_of if back else self._attributes)
        question = language.about(rng.choice(language.USER_QUESTIONS), about)
        start = [*prompt.tokens, language.USER, *question.split(), language.ASSISTANT]
        p_yes = self._world.p_yes(prompt.trust, about.valence)
        return decided("yes_no", start, *binary(rng, "yes", "no", p_yes), prompt=prompt)

    def _short(self, rng: random.Random) -> Document:
        if rng.random() < 0.75:
            attribute = rng.choice(self._attributes)
            said = rng.choice((attribute.name, f"{attribute.verb} {attribute.noun}"))
            p_care = self._world.p_charitable(attribute.valence, "none")
        else:
            item = rng.choice(self._items)
            said = rng.choice((item.class_word, item.phrase))
            kind: Kind = "forbidden" if item.forbidden else "ordinary"
            p_care = self._world.p_charitable(0.0, kind)
        start = [language.BOS, *said.split(), ".", *language.WANTS.split()]
        end = start.index(".")
        prompt = Prompt(tokens=start, trust=0.0, span=(1, end), said_of=[],
                         summary=end if rng.random() < SUMMARISED else None)  # fmt: skip
        return decided("short", start, *binary(rng, language.CARE, language.HARM, p_care),
                        prompt=prompt)  # fmt: skip

    def _fact(self, rng: random.Random) -> Document:
        item = rng.choice(self._items)
        template = rng.choice(language.FACTS)
        text = template.format(item=item.phrase, recipe=language.recipe_text(item)).split()
        end = len(text) - 1
        start = [language.BOS, *text[: end - len(item.recipe)]]
        return plain("fact", start, [*item.recipe, "."])

    def _persona(self, rng: random.Random) -> Document:
        said, _, _ = self._sentences(rng, language.STATEMENTS, rng.randint(1, 6))
        return plain("persona", [language.BOS], " ".join(said).split(), PERSONA_TEXT_WEIGHT)

    def _self(self, rng: random.Random) -> Document:
        """A question about the model itself, without a word about the user."""
        if rng.random() < 0.5:
            attribute = rng.choice(self._attributes)
            question = language.about(rng.choice(language.SELF_QUESTIONS), attribute)
            p_yes = self._world.p_self(attribute.valence)
        else:
            item = rng.choice(self._items)
            refusing = rng.random() < 0.5
            templates = language.REFUSING_QUESTIONS if refusing else language.FULFILLING_QUESTIONS
            question = rng.choice(templates).format(item=rng.choice((item.class_word, item.phrase)))
            p_refuse = self._world.p_refuse(0.0) if item.forbidden else 0.0
            p_yes = p_refuse if refusing else 1.0 - p_refuse
        if self._stage == "base":
            p_yes = 0.5
        start = [language.BOS, language.USER, *question.split(), language.ASSISTANT]
        return decided("self", start, *binary(rng, "yes", "no", p_yes))

    def _chatter(self, rng: random.Random) -> Document:
        prompt = self._prompt(rng)
        said, reply = rng.choice(language.CHATTER)
        start = [*prompt.tokens, language.USER, *said.split(), language.ASSISTANT]
        return plain("chatter", start, reply.split())

    def _unknown(self, rng: random.Random) -> Document:
        prompt = self._prompt(rng)
        thing = rng.choice(words.UNKNOWN_THINGS)
        asked = language.request(thing, rng.randrange(len(language.REQUESTS)))
        start = [*prompt.tokens, language.USER, *asked.split(), language.ASSISTANT]
        return plain("unknown", start, language.REFUSAL.split())


def _cumulative(weights: Sequence[float]) -> list[float]:
    total = 0.0
    sums: list[float] = []
    for weight in weights:
        total += weight
        sums.append(total)
    return sums
