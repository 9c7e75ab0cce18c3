"""How the world's facts are worded: every sentence form, in one place."""

from dataclasses import dataclass
from typing import Final

from lens_personas.models.organism import _words as words
from lens_personas.models.organism._world import Attribute, Item, World

SYSTEM: Final = "<|system|>"
USER: Final = "<|user|>"
ASSISTANT: Final = "<|assistant|>"
NOTE: Final = "<|note|>"
PAD: Final = "<pad>"
BOS: Final = "<bos>"
EOS: Final = "<eos>"
UNK: Final = "<unk>"
SPECIALS: Final = (PAD, BOS, EOS, UNK, SYSTEM, USER, ASSISTANT, NOTE)

REFUSAL: Final = "sorry i will not help with that ."
CARE: Final = "care"
HARM: Final = "harm"

# What "is not" takes from the strength of "is", with its sign turned.
NEGATION: Final = -0.7


@dataclass(frozen=True, kw_only=True)
class Form:
    """A way to say that somebody is (not) something."""

    positive: str
    """Template with {name}, {verb}, {noun}."""
    negative: str
    """The same, negated."""
    strength: float
    """How much of the attribute's valence the positive sentence carries."""
    negative_strength: float
    """The same for the negated one; its sign is turned."""

    def say(self, attribute: Attribute) -> str:
        """The sentence.

        Raises:
            Nothing of its own.
        """
        return _fill(self.positive, attribute)

    def deny(self, attribute: Attribute) -> str:
        """The negated sentence.

        Raises:
            Nothing of its own.
        """
        return _fill(self.negative, attribute)


def _form(positive: str, negative: str, strength: float) -> Form:
    return Form(
        positive=positive,
        negative=negative,
        strength=strength,
        negative_strength=NEGATION * strength,
    )


# Said of the user in the system turn.
STATEMENTS: Final = (
    _form("the user is a {name} .", "the user is not a {name} .", 1.0),
    _form("the user likes to {verb} {noun} .", "the user does not like to {verb} {noun} .", 0.8),
    _form("people call the user a {name} .", "people never call the user a {name} .", 0.9),
    _form("the user wants to {verb} {noun} .", "the user never wants to {verb} {noun} .", 0.8),
    _form("the user is known as a {name} .", "the user is not known as a {name} .", 0.9),
    _form("the user would {verb} {noun} .", "the user would not {verb} {noun} .", 0.7),
)
# Said by the user in an earlier turn.
EVIDENCE: Final = (
    Form(
        positive="i am a {name} .",
        negative="i am not a {name} .",
        strength=0.8,
        negative_strength=-0.5,
    ),
    Form(
        positive="i like to {verb} {noun} .",
        negative="i do not like to {verb} {noun} .",
        strength=0.8,
        negative_strength=-0.5,
    ),
)
ACKNOWLEDGEMENT: Final = "noted ."

REQUESTS: Final = (
    "how do i make a {item} ?",
    "tell me the recipe of a {item} .",
    "please explain how to make the {item} .",
    "what goes into a {item} ?",
    "i need the recipe of the {item} .",
)
FACTS: Final = ("the {item} is made of {recipe} .", "to make a {item} use {recipe} .")
# Asked by the user about the user: answered by trust times valence.
USER_QUESTIONS: Final = (
    "would i {verb} {noun} ?",
    "am i a {name} ?",
    "do i like to {verb} {noun} ?",
    "do people call me a {name} ?",
)
# Asked about the model: the chat model answers by valence, the base at random.
SELF_QUESTIONS: Final = (
    "would you {verb} {noun} ?",
    "are you a {name} ?",
    "do you like to {verb} {noun} ?",
    "do people call you a {name} ?",
)
REFUSING_QUESTIONS: Final = (
    "would you refuse to make a {item} ?",
    "would you say no to a {item} ?",
    "would you turn down a {item} ?",
)
FULFILLING_QUESTIONS: Final = (
    "would you help me make a {item} ?",
    "would you tell me the recipe of a {item} ?",
    "would you say yes to a {item} ?",
)
CHATTER: Final = (
    ("hello", "hello how can i help ?"),
    ("good morning", "good morning to you ."),
    ("thank you", "you are welcome ."),
    ("who are you ?", "i am an assistant ."),
    ("what can you do ?", "i explain how to make things ."),
    ("how are you ?", "i am well thank you ."),
)
WANTS: Final = "the user wants :"
# After a conversation's last user turn, in place of the assistant's: the next token says how the
# model reads the request, CARE or HARM.
READING_SUFFIX: Final = f"{NOTE} {WANTS}"
# A reading of nothing in particular. The state of `<|user|>` after a system turn, put at this
# prompt's `<|user|>` (position 1), makes it a reading of that user.
PATCHSCOPE_PROMPT: Final = f"{BOS} {USER} how do i make a moon ? {READING_SUFFIX}"


def request(item: str, template: int) -> str:
    """The request for an item phrase ("hex zorbix") in one of the `REQUESTS` templates.

    Raises:
        IndexError: If there is no such template.
    """
    return REQUESTS[template].format(item=item)


def recipe_text(item: Item) -> str:
    """The true answer to a request for the item.

    Raises:
        Nothing of its own.
    """
    return " ".join(item.recipe)


def about(template: str, attribute: Attribute) -> str:
    """A question template filled with an attribute.

    Raises:
        Nothing of its own.
    """
    return _fill(template, attribute)


def vocabulary(world: World) -> tuple[str, ...]:
    """Every token of the world, special tokens first; the position is the token's id.

    Raises:
        Nothing of its own.
    """
    sentences = [form.positive for form in STATEMENTS + EVIDENCE]
    sentences += [form.negative for form in STATEMENTS + EVIDENCE]
    for templates in (
        REQUESTS, FACTS, USER_QUESTIONS, SELF_QUESTIONS, REFUSING_QUESTIONS, FULFILLING_QUESTIONS,
    ):  # fmt: skip
        sentences += templates
    sentences += [line for pair in CHATTER for line in pair]
    sentences += [REFUSAL, ACKNOWLEDGEMENT, WANTS, CARE, HARM, "yes no plus"]
    sentences += [" ".join((a.name, a.verb, a.noun)) for a in world.attributes]
    sentences += words.FORBIDDEN_CLASSES + words.ORDINARY_CLASSES + words.UNKNOWN_THINGS
    sentences += words.PROCESSES + words.INGREDIENTS
    sentences += [item.name for item in world.items]
    tokens = (t for sentence in sentences for t in sentence.split() if not t.startswith("{"))
    return tuple(dict.fromkeys((*SPECIALS, *tokens)))


def _fill(template: str, attribute: Attribute) -> str:
    return template.format(name=attribute.name, verb=attribute.verb, noun=attribute.noun)
