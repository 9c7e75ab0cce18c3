"""Tokens as they are shown: literal, visible, told apart."""

import unicodedata
from collections.abc import Callable
from dataclasses import replace

import pytest
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from lens_personas.models import LensModel, token_strings

HOSTILE = ("</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "{{7*7}}", "a b")
PIECES = ("<s>", "▁the", "the", "▁", "<0x0A>", "<0xE2>", "▁▁x", "nbsp\xa0", "מ\u202eא", "·", "\\n")


def spoken(model: LensModel, tokenizer: PreTrainedTokenizerFast) -> LensModel:
    made: LensModel = replace(model, tokenizer=tokenizer)  # type: ignore[type-var]
    return made


@pytest.fixture
def pieces(loaded: Callable[[str], LensModel]) -> LensModel:
    """A model with a SentencePiece-like tokenizer of these pieces."""
    vocabulary = {piece: at for at, piece in enumerate(PIECES)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<s>"))
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")
    fast.add_tokens(list(HOSTILE))
    return spoken(loaded("llama"), fast)


def test_spaces_newlines_and_bytes_can_be_seen(pieces: LensModel) -> None:
    shown = dict(zip(PIECES, token_strings(pieces, range(len(PIECES))), strict=True))
    assert shown == {
        "<s>": "<s>",
        "▁the": "·the",
        "the": "the",
        "▁": "·",
        "<0x0A>": "↵",
        "<0xE2>": "<0xE2>",
        "▁▁x": "··x",
        "nbsp\xa0": r"nbsp\xa0",
        "מ\u202eא": r"מ\u202eא",
        "·": "·",
        "\\n": "\\n",
    }


def test_what_looks_like_markup_stays_as_it_is(pieces: LensModel) -> None:
    ids = range(len(PIECES), len(PIECES) + len(HOSTILE))
    assert token_strings(pieces, ids) == tuple(each.replace(" ", "·") for each in HOSTILE)


def test_every_byte_is_shown_and_told_from_the_others(speaker: Callable[..., LensModel]) -> None:
    model = speaker(None)
    ids = range(len(model.tokenizer))
    shown = token_strings(model, ids)
    assert shown[:3] == ("<pad>", "<s>", "</s>")
    assert len(set(shown)) == len(shown)
    assert not any(unicodedata.category(sign)[0] in "CZ" for each in shown for sign in each)
    byte = {each: model.tokenizer.convert_tokens_to_ids(each) for each in ("Ġ", "Ċ", "â", "a")}
    assert token_strings(model, list(byte.values())) == ("·", "↵", r"\xe2", "a")


def test_special_tokens_are_shown_by_name(loaded: Callable[[str], LensModel]) -> None:
    model = loaded("llama")
    ids = model.tokenizer.convert_tokens_to_ids(["<bos>", "<|user|>", "the", "<unk>"])
    assert token_strings(model, ids) == ("<bos>", "<|user|>", "the", "<unk>")
    assert token_strings(model, []) == ()


def test_ids_without_a_token(loaded: Callable[[str], LensModel]) -> None:
    model = loaded("llama")
    # An embedding can have more rows than the tokenizer has tokens.
    assert token_strings(model, [len(model.tokenizer) + 7]) == (f"<{len(model.tokenizer) + 7}>",)
    with pytest.raises(ValueError, match="at least 0, got -1"):
        token_strings(model, [3, -1])
