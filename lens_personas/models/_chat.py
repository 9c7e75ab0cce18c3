"""Conversations as token ids, by the model's own chat template, with the places of the parts."""

import re
from collections.abc import Mapping, Sequence

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from lens_personas.models._types import LensModel, Prompt, Turn
from lens_personas.personas import Message

Offsets = Sequence[tuple[int, int]]

# The day Llama-3.1's own template falls back to: today's would make runs differ by date.
_DATE = "26 Jul 2024"
# Stand-ins for the turns' texts, from a private area of Unicode that no template holds.
_MARK = re.compile("\ue000(\\d+)\ue001")


def render(
    model: LensModel,
    messages: Sequence[Message],
    *,
    prompt_id: str = "",
    answer: str = "",
    marks: Mapping[str, str] | None = None,
) -> Prompt:
    """The conversation as the model expects it, up to where the next answer starts.

    Where the template takes no system turn, its text goes before the first user turn;
    where there is no template, the turns are joined by blank lines (``post_instruction``
    is then the blank line, or empty where no token is its own). A thinking block stays
    closed: asked for, and shut where the template opens it anyway. A template that takes
    ``date_string`` gets a fixed day. BOS is decided from the ids: never doubled, never lost.

    Args:
        model: The model whose tokenizer and template are used.
        messages: The turns, the last one usually the user's.
        prompt_id: Identifier carried into every result.
        answer: Text appended after the prompt, by ids, for teacher forcing.
        marks: More parts to locate, by name: text that stands in the conversation.

    Raises:
        ValueError: If there is no turn, the template refuses the turns, drops or changes
            a turn's text, or the tokenizer cannot give offsets.
    """
    if not messages:
        raise ValueError("expected at least one turn, got none")
    text = _rendered(model, messages)
    ids, offsets = encode(model.tokenizer, text)
    found = _turns(model, messages, text)
    places = _parts(messages, found) | _locate_marks(text, marks or {})
    spans = {name: _token_span(offsets, place) for name, place in places.items()}
    user_end = spans["user"][1]
    spans["post_instruction"] = (user_end, len(ids)) if user_end else (0, 0)
    spans["prompt"] = (0, len(ids))
    answer_ids = _plain_ids(model.tokenizer, answer) if answer else []
    spans["answer"] = (len(ids), len(ids) + len(answer_ids)) if answer_ids else (0, 0)
    turns = [Turn(messages[at].role, *_token_span(offsets, place)) for at, place in found.items()]
    turns.append(Turn("assistant", *spans["answer"]))
    return Prompt(
        prompt_id=prompt_id,
        ids=(*ids, *answer_ids),
        prompt_length=len(ids),
        spans=spans,
        text=text + answer,
        turns=tuple(sorted((turn for turn in turns if turn.stop), key=lambda turn: turn.start)),
    )


def _rendered(model: LensModel, messages: Sequence[Message]) -> str:
    turns = list(messages) if model.card.has_system_role else fold_system(messages)
    try:
        return template_text(model.tokenizer, turns)
    except TemplateError as error:
        raise ValueError(
            f"expected turns that the chat template takes, got {[turn.role for turn in turns]}, "
            f"which it refuses: {error}"
        ) from error


def template_text(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Message]) -> str:
    """The turns as one text, ending where an answer starts.

    Raises:
        TemplateError: If the template refuses the turns.
    """
    if tokenizer.chat_template is None:
        return "\n\n".join(turn.content for turn in turns) + "\n\n"
    rendered = tokenizer.apply_chat_template(
        [{"role": turn.role, "content": turn.content} for turn in turns],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,
        date_string=_DATE,
    )
    text = str(rendered)
    # Some templates open the thinking block whatever is asked; the answer comes after it.
    if text.rstrip().endswith("<think>"):
        return text.rstrip() + "\n\n</think>\n\n"
    return text


def fold_system(messages: Sequence[Message]) -> list[Message]:
    """The turns with every system text moved to the front of the first user turn."""
    system = [turn.content for turn in messages if turn.role == "system"]
    rest = [turn for turn in messages if turn.role != "system"]
    if not system:
        return rest
    first = next((at for at, turn in enumerate(rest) if turn.role == "user"), None)
    if first is None:
        return [Message(role="user", content="\n\n".join(system)), *rest]
    joined = "\n\n".join([*system, rest[first].content])
    return [*rest[:first], Message(role="user", content=joined), *rest[first + 1 :]]


def encode(
    tokenizer: PreTrainedTokenizerBase, text: str
) -> tuple[list[int], list[tuple[int, int]]]:
    """Token ids of a rendered text and the characters each stands for.

    The text's own BOS is kept; one is put before it where the tokenizer would and the
    text has none; nothing is appended.

    Raises:
        ValueError: If the tokenizer cannot give offsets.
    """
    if not tokenizer.is_fast:
        raise ValueError(
            f"expected a fast tokenizer, which gives offsets, got {type(tokenizer).__name__}; "
            "load it with use_fast=True"
        )
    plain = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = list(plain["input_ids"]), [tuple(pair) for pair in plain["offset_mapping"]]
    bos = tokenizer.bos_token_id
    with_special = tokenizer(text, add_special_tokens=True)["input_ids"]
    if bos is not None and ids[:1] != [bos] and list(with_special[:1]) == [bos]:
        return [bos, *ids], [(0, 0), *offsets]
    return ids, offsets


def _plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _turns(model: LensModel, messages: Sequence[Message], text: str) -> dict[int, tuple[int, int]]:
    """Characters of each turn's content, by its number."""
    marked = [
        Message(role=turn.role, content=f"\ue000{at}\ue001") for at, turn in enumerate(messages)
    ]
    return _along(_rendered(model, marked), messages, text) or _in_order(messages, text)


def _parts(
    messages: Sequence[Message], found: Mapping[int, tuple[int, int]]
) -> dict[str, tuple[int, int]]:
    places = {"system": (0, 0), "user": (0, 0)}
    for at, (start, stop) in sorted(found.items()):
        if messages[at].role != "assistant" and stop > start:
            places[messages[at].role] = (start, stop)
    return places


def _along(
    skeleton: str, messages: Sequence[Message], text: str
) -> dict[int, tuple[int, int]] | None:
    """Places of the turns along the template's own text, or None where it is not the same.

    Looking for the turns alone would find a short one in the template's text before it.
    """
    pieces = _MARK.split(skeleton)
    if sorted(pieces[1::2]) != sorted(str(at) for at in range(len(messages))):
        return None
    places, cursor = {}, 0
    for at, piece in enumerate(pieces):
        # Every second piece is a turn's number. Templates trim, so blanks may lie between.
        wanted = (messages[int(piece)].content if at % 2 else piece).strip()
        start = text.find(wanted, cursor)
        if start < 0 or text[cursor:start].strip():
            return None
        cursor = start + len(wanted)
        if at % 2:
            places[int(piece)] = (start, cursor)
    return places


def _in_order(messages: Sequence[Message], text: str) -> dict[int, tuple[int, int]]:
    places, cursor = {}, 0
    # A folded system text stands first as well, so one sweep finds every turn in order.
    for at in sorted(range(len(messages)), key=lambda at: messages[at].role != "system"):
        wanted = messages[at].content.strip()
        start = _find(text, wanted, cursor, f"the {messages[at].role} turn")
        cursor = start + len(wanted)
        places[at] = (start, cursor)
    return places


def _locate_marks(text: str, marks: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    places = {}
    for name, wanted in marks.items():
        start = _find(text, wanted.strip(), 0, f"the part {name!r}")
        places[name] = (start, start + len(wanted.strip()))
    return places


def _find(text: str, wanted: str, cursor: int, what: str) -> int:
    start = text.find(wanted, cursor)
    if start < 0:
        raise ValueError(
            f"expected {what} to stand in the rendered prompt as written, but the chat template "
            f"dropped or changed {wanted[:60]!r}"
        )
    return start


def _token_span(offsets: Offsets, place: tuple[int, int]) -> tuple[int, int]:
    start, stop = place
    inside = [at for at, (low, high) in enumerate(offsets) if low < stop and high > start]
    return (inside[0], inside[-1] + 1) if inside else (0, 0)
