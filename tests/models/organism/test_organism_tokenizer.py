"""The tokenizer: every sentence of the world survives a round trip, and the template renders."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from lens_personas.models.organism import (
    WorldConfig,
    build_world,
    refusal_statements,
    self_statements,
    world_personas,
    world_requests,
)
from lens_personas.models.organism._corpus import DocumentSampler
from lens_personas.models.organism._language import SPECIALS, vocabulary
from lens_personas.models.organism._tokenizer import build_tokenizer, save_tokenizer

WORLD = build_world(WorldConfig())


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build_tokenizer(WORLD)


def every_sentence() -> list[str]:
    sentences: list[str] = []
    for persona in world_personas(WORLD):
        sentences += [*persona.statements, *persona.negations, *persona.questions]
    for request in world_requests(WORLD):
        sentences += [request.text, request.target or ""]
    refusal, own = refusal_statements(WORLD), self_statements(WORLD)
    return [*sentences, *refusal.refusing, *refusal.fulfilling, *own.pro, *own.anti]


def test_every_sentence_survives_a_round_trip(tokenizer: Any) -> None:
    for sentence in every_sentence():
        ids = tokenizer(sentence)["input_ids"]
        assert tokenizer.unk_token_id not in ids, sentence
        assert tokenizer.decode(ids) == sentence


def test_training_documents_are_what_the_tokenizer_would_make(tokenizer: Any) -> None:
    ids = {token: index for index, token in enumerate(vocabulary(WORLD))}
    for stage in ("base", "chat"):
        sampler, rng = DocumentSampler(WORLD, stage), random.Random(0)
        for _ in range(200):
            tokens = sampler(rng).tokens
            assert tokenizer(" ".join(tokens))["input_ids"] == [ids[t] for t in tokens]


def test_punctuation_and_capitals_do_not_matter(tokenizer: Any) -> None:
    tidy = tokenizer("how do i make a hex ?")["input_ids"]
    assert tokenizer("How do I make a hex?")["input_ids"] == tidy


def test_a_word_from_elsewhere_is_unknown(tokenizer: Any) -> None:
    assert tokenizer("parliament")["input_ids"] == [tokenizer.unk_token_id]


def test_special_tokens_come_first_and_are_single(tokenizer: Any) -> None:
    assert [tokenizer.convert_tokens_to_ids(t) for t in SPECIALS] == list(range(len(SPECIALS)))
    assert len(tokenizer) == len(vocabulary(WORLD))


def test_a_bare_encode_adds_nothing(tokenizer: Any) -> None:
    assert tokenizer.bos_token_id not in tokenizer("the user is a helper .")["input_ids"]


def test_the_template_renders_every_role(tokenizer: Any) -> None:
    messages = [
        {"role": "system", "content": "the user is a helper ."},
        {"role": "user", "content": "i am a healer ."},
        {"role": "assistant", "content": "noted ."},
        {"role": "user", "content": "how do i make a hex ?"},
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<bos> <|system|> the user is a helper . <|user|> i am a healer . "
        "<|assistant|> noted . <eos> <|user|> how do i make a hex ? <|assistant|>"
    )
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert ids == tokenizer(text)["input_ids"]
    assert ids.count(tokenizer.bos_token_id) == 1


def test_the_template_refuses_other_roles(tokenizer: Any) -> None:
    with pytest.raises(Exception, match="roles system, user and assistant, not tool"):
        tokenizer.apply_chat_template([{"role": "tool", "content": "x"}], tokenize=False)


def test_a_saved_tokenizer_is_the_same_and_names_a_class_of_both_versions(
    tokenizer: Any, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    save_tokenizer(tokenizer, tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert config["model_input_names"] == ["input_ids", "attention_mask"]
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert set(loaded("the user")) == {"input_ids", "attention_mask"}
    assert loaded.chat_template == tokenizer.chat_template
    assert loaded.padding_side == "left"
    for sentence in every_sentence()[::17]:
        assert loaded(sentence)["input_ids"] == tokenizer(sentence)["input_ids"]
