"""Texts as token ids without a chat template, for models that have none and for parity."""

from lens_personas.models._chat import encode
from lens_personas.models._types import LensModel, Prompt


def plain_prompt(model: LensModel, text: str, *, prompt_id: str = "", answer: str = "") -> Prompt:
    """A text as it stands, to be gone on with; BOS is put where the tokenizer puts one.

    The chat template is not used, even where there is one. ``answer`` is appended by ids, for
    teacher forcing. Only the parts ``prompt`` and ``answer`` are placed.

    Raises:
        ValueError: If the text is blank, or the tokenizer cannot give offsets.
    """
    if not text.strip():
        raise ValueError(f"expected a text to go on with, got {text!r}")
    ids, _ = encode(model.tokenizer, text)
    answer_ids = list(model.tokenizer(answer, add_special_tokens=False)["input_ids"])
    spans = dict.fromkeys(("system", "user", "post_instruction"), (0, 0))
    end = len(ids) + len(answer_ids)
    return Prompt(
        prompt_id=prompt_id,
        ids=(*ids, *answer_ids),
        prompt_length=len(ids),
        spans=spans
        | {"prompt": (0, len(ids)), "answer": (len(ids), end) if answer_ids else (0, 0)},
        text=text + answer,
    )
