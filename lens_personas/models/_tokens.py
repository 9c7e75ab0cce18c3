"""Tokens as they are shown: every one visible, none changed into another."""

import unicodedata
from collections.abc import Sequence
from functools import cache

from transformers import PreTrainedTokenizerBase

from lens_personas.models._types import LensModel

_SIGNS = {" ": "·", "\n": "↵", "\t": "⇥"}
# Control, format (direction marks, zero width), surrogate, private, unassigned; odd blanks.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}
_BROKEN = "�"


def token_strings(model: LensModel, ids: Sequence[int]) -> tuple[str, ...]:
    r"""Each token as text to show: literal, special tokens by name, nothing invisible or empty.

    A space is ``·``, a newline ``↵``, a tab ``⇥``; other characters that cannot be seen, such
    as direction marks, and bytes that are no whole character are escaped (``\\u202e``,
    ``\xe2``). An id that the tokenizer does not know is ``<id>``. It is text: escape it for
    the format that it goes into.

    Raises:
        ValueError: If an id is negative.
    """
    if ids and min(ids) < 0:
        raise ValueError(f"expected token ids of at least 0, got {min(ids)}")
    shown = {token_id: visible(_text(model.tokenizer, token_id)) for token_id in {*ids}}
    return tuple(shown[token_id] for token_id in ids)


def visible(text: str) -> str:
    r"""The text with a sign for every character that cannot be seen.

    >>> visible("a b\n\u202ec")
    'a·b↵\\u202ec'

    """
    return "".join(_sign(each) for each in text)


def _sign(character: str) -> str:
    if character in _SIGNS:
        return _SIGNS[character]
    if unicodedata.category(character) in _UNSEEN:
        return character.encode("unicode_escape").decode("ascii")
    return character


def _text(tokenizer: PreTrainedTokenizerBase, token_id: int) -> str:
    piece = tokenizer.convert_ids_to_tokens(token_id) if token_id < len(tokenizer) else None
    if not isinstance(piece, str):
        return f"<{token_id}>"
    if token_id in tokenizer.added_tokens_decoder:
        return piece
    text = str(
        tokenizer.decode([token_id], skip_special_tokens=False, clean_up_tokenization_spaces=False)
    )
    if _BROKEN in text:
        return _bytes_of(piece)
    # A decoder that strips the space before a text's first word strips it here too.
    spaced = piece.replace("▁", " ")
    return spaced if spaced.lstrip(" ") == text.lstrip(" ") else text or piece


def _bytes_of(piece: str) -> str:
    """A piece of byte-level BPE, whose bytes are no whole character; another piece as it is."""
    table = _byte_table()
    if not all(character in table for character in piece):
        return piece
    return bytes(table[character] for character in piece).decode("utf-8", "backslashreplace")


@cache
def _byte_table() -> dict[str, int]:
    """Byte of each character of byte-level BPE, which writes unprintable bytes as others."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [each for each in range(0x100) if each not in printable]
    shifted = {chr(0x100 + number): each for number, each in enumerate(others)}
    return {chr(each): each for each in printable} | shifted
