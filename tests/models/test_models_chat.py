"""Conversations as ids: every part where it is, BOS once, the answer where it starts."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lens_personas.models import LensModel, Prompt, render
from lens_personas.personas import Message

# Written after the templates of well-known families, shortened.
LLAMA_3 = (
    "{{ bos_token }}{% if not date_string is defined %}"
    "{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "{% if messages[0].role == 'system' %}"
    "<|start_header_id|>system<|end_header_id|>\n\nToday Date: {{ date_string }}\n\n"
    "{{ messages[0].content | trim }}<|eot_id|>{% set messages = messages[1:] %}{% endif %}"
    "{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n"
    "{{ message.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
LLAMA_2 = (
    "{% if messages[0].role == 'system' %}{% set system = messages[0].content %}"
    "{% set messages = messages[1:] %}{% endif %}"
    "{% for message in messages %}{% if message.role == 'user' %}"
    "{{ bos_token }}[INST] {% if loop.first and system is defined %}"
    "<<SYS>>\n{{ system }}\n<</SYS>>\n\n{% endif %}{{ message.content }} [/INST]"
    "{% else %} {{ message.content }} {{ eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}"
    "{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "<start_of_turn>{{ 'model' if message.role == 'assistant' else message.role }}\n"
    "{{ message.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
CHATML = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are helpful.<|im_end|>\n"
    "{% endif %}{% for message in messages %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n"
    "{% endif %}{% endif %}"
)
# Puts the system text before the last user turn, which may not be the first.
MISTRAL = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content %}"
    "{% set messages = messages[1:] %}{% endif %}"
    "{% for message in messages %}{% if message.role == 'user' %}[INST] "
    "{% if loop.last and system is defined %}{{ system }}\n\n{% endif %}{{ message.content }}"
    "[/INST]{% else %} {{ message.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
TEMPLATES = {
    "llama-3": LLAMA_3,
    "llama-2": LLAMA_2,
    "gemma": GEMMA,
    "chatml": CHATML,
    "mistral": MISTRAL,
    "none": None,
}
TALK = [
    Message(role="system", content="Be kind."),
    Message(role="user", content="Why?"),
    Message(role="assistant", content="Because."),
    Message(role="user", content="And then?"),
]
Speaker = Callable[..., LensModel]


def _said(model: LensModel, prompt: Prompt, part: str) -> str:
    start, stop = prompt.spans[part]
    return str(model.tokenizer.decode(prompt.ids[start:stop]))


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("adds_bos", [True, False])
def test_parts_are_where_they_stand(name: str, adds_bos: bool, speaker: Speaker) -> None:
    model = speaker(TEMPLATES[name], adds_bos=adds_bos)
    prompt = render(model, TALK, answer="Yes, so.")
    assert _said(model, prompt, "system") == "Be kind."
    assert _said(model, prompt, "user") == "And then?"
    assert _said(model, prompt, "answer") == "Yes, so."
    after = _said(model, prompt, "post_instruction")
    assert prompt.text.endswith(f"And then?{after}Yes, so.")
    assert prompt.spans["post_instruction"][1] == prompt.prompt_length
    assert prompt.spans["prompt"] == (0, prompt.prompt_length)
    assert prompt.spans["answer"] == (prompt.prompt_length, len(prompt.ids))
    assert "<think>" not in after or after.endswith("</think>\n\n")


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_short_texts_are_not_found_in_the_template_itself(
    name: str, speaker: Speaker, data: st.DataObject
) -> None:
    model = speaker(TEMPLATES[name])
    short = st.sampled_from(["a", "user", "system", "s", ">", "[", "model", "You", "</s>", " x "])
    talk = [Message(role=turn.role, content=data.draw(short)) for turn in TALK]
    prompt = render(model, talk)
    other = render(model, [*talk[:-1], Message(role="user", content="ZZZ")])
    # The last user turn starts where another text there would, blanks aside.
    blank = 1 if talk[-1].content == " x " else 0
    assert prompt.spans["user"][0] - other.spans["user"][0] in (0, blank)
    assert _said(model, prompt, "user").strip() == talk[-1].content.strip()
    assert _said(model, prompt, "system").strip() == talk[0].content.strip()


@pytest.mark.parametrize("name", ["llama-3", "llama-2", "gemma", "mistral"])
@pytest.mark.parametrize("adds_bos", [True, False])
def test_gotcha_8_a_bos_of_the_template_is_not_doubled(
    name: str, adds_bos: bool, speaker: Speaker
) -> None:
    model = speaker(TEMPLATES[name], adds_bos=adds_bos)
    prompt = render(model, TALK[1:2])
    bos = model.tokenizer.bos_token_id
    assert prompt.ids[0] == bos
    assert prompt.ids.count(bos) == 1


@pytest.mark.parametrize("name", ["chatml", "none"])
def test_gotcha_8_a_bos_of_the_tokenizer_is_not_lost(name: str, speaker: Speaker) -> None:
    with_bos = render(speaker(TEMPLATES[name], adds_bos=True), TALK, answer="Yes.")
    without = render(speaker(TEMPLATES[name], adds_bos=False), TALK, answer="Yes.")
    bos = speaker(None).tokenizer.bos_token_id
    assert with_bos.ids == (bos, *without.ids)
    assert bos not in without.ids
    assert {k: (a + 1, b + 1) for k, (a, b) in without.spans.items() if k != "prompt"} == {
        k: v for k, v in with_bos.spans.items() if k != "prompt"
    }
    assert with_bos.spans["prompt"] == (0, without.prompt_length + 1)


def test_gotcha_8_a_tokenizer_without_bos(speaker: Speaker) -> None:
    model = speaker(CHATML, bos=None)
    assert model.tokenizer.bos_token_id is None
    assert _said(model, render(model, TALK), "user") == "And then?"


def test_gotcha_9_the_answer_starts_by_ids_where_pieces_would_merge(speaker: Speaker) -> None:
    model = speaker("{{ messages[-1].content }}", merges=(("h", "i"),))
    encode = model.tokenizer.encode
    assert len(encode("oh" + "it")) == 3
    prompt = render(model, [Message(role="user", content="oh")], answer="it")
    assert prompt.ids == (*encode("oh"), *encode("it"))
    assert prompt.prompt_length == 2
    assert _said(model, prompt, "answer") == "it"
    # Without the answer, the prompt is the same ids.
    bare = render(model, [Message(role="user", content="oh")])
    assert bare.ids == prompt.ids[: prompt.prompt_length]
    assert bare.spans["answer"] == (0, 0)


def test_a_piece_across_a_turns_edge_counts_to_the_turn(speaker: Speaker) -> None:
    model = speaker("[{{ messages[-1].content }}]", merges=(("?", "]"),))
    prompt = render(model, [Message(role="user", content="why?")])
    assert _said(model, prompt, "user") == "why?]"
    assert prompt.spans["post_instruction"] == (5, 5)


def test_gotcha_10_a_template_without_system_role_gets_it_with_the_user(speaker: Speaker) -> None:
    model = speaker(GEMMA)
    assert not model.card.has_system_role
    prompt = render(model, TALK)
    assert "<start_of_turn>user\nBe kind.\n\nWhy?<end_of_turn>" in prompt.text
    assert _said(model, prompt, "system") == "Be kind."
    # Alone, it is a user turn.
    alone = render(model, TALK[:1])
    assert "<start_of_turn>user\nBe kind.<end_of_turn>" in alone.text
    assert _said(model, alone, "system") == "Be kind."
    assert alone.spans["user"] == (0, 0)


@pytest.mark.parametrize("name", ["llama-3", "llama-2", "chatml", "mistral", "none"])
def test_gotcha_10_templates_with_a_system_role_are_known(name: str, speaker: Speaker) -> None:
    assert speaker(TEMPLATES[name]).card.has_system_role


def test_gotcha_10_no_date_of_today(speaker: Speaker, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = render(speaker(LLAMA_3), TALK)
    assert "Today Date: 26 Jul 2024\n\nBe kind." in prompt.text
    # The template's own turns are the same on both sides of a contrast.
    other = render(speaker(LLAMA_3), [Message(role="system", content="Be cold."), *TALK[1:]])
    assert other.text == prompt.text.replace("Be kind.", "Be cold.")


def test_gotcha_10_a_default_system_turn_of_the_template_is_no_system_part(
    speaker: Speaker,
) -> None:
    prompt = render(speaker(CHATML), TALK[1:2])
    assert "You are helpful." in prompt.text
    assert prompt.spans["system"] == (0, 0)


@pytest.mark.parametrize(
    "opening",
    [
        "{% if enable_thinking %}<think>\n{% else %}<think>\n\n</think>\n\n{% endif %}",
        "<think>\n",
        "<think>",
    ],
)
def test_gotcha_15_the_thinking_block_is_closed(opening: str, speaker: Speaker) -> None:
    model = speaker("{{ messages[-1].content }}\nA: " + opening)
    prompt = render(model, TALK[3:], answer="Yes.")
    assert prompt.text == "And then?\nA: <think>\n\n</think>\n\nYes."
    assert _said(model, prompt, "post_instruction") == "\nA: <think>\n\n</think>\n\n"


def test_gotcha_4f_ids_are_ids_whatever_the_tokenizer_returns(speaker: Speaker) -> None:
    model = speaker(LLAMA_3)
    before = render(model, TALK)
    model.tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    assert render(model, TALK) == before
    assert all(type(token) is int for token in before.ids)


def test_without_a_template_turns_are_joined(speaker: Speaker) -> None:
    prompt = render(speaker(None), TALK[:2])
    assert prompt.text == "Be kind.\n\nWhy?\n\n"


def test_without_a_template_a_word_tokenizer_has_no_post_instruction(
    tiny_gpt2_checkpoint: Any,
) -> None:
    from lens_personas.models import load_model

    model = load_model(tiny_gpt2_checkpoint, backend="bridge", device="cpu")
    prompt = render(model, TALK)
    start, stop = prompt.spans["post_instruction"]
    assert start == stop == prompt.prompt_length


def test_marked_parts_are_located(speaker: Speaker) -> None:
    model = speaker(CHATML)
    prompt = render(model, TALK, marks={"verb": " kind "})
    assert _said(model, prompt, "verb") == "kind"
    with pytest.raises(ValueError, match="expected the part 'noun' to stand in the rendered"):
        render(model, TALK, marks={"noun": "cat"})


def test_text_beyond_ascii_is_located(speaker: Speaker) -> None:
    model = speaker(LLAMA_3)
    talk = [Message(role="system", content="Être — 東京 🙂"), Message(role="user", content="é?")]
    prompt = render(model, talk)
    assert _said(model, prompt, "system") == "Être — 東京 🙂"
    assert _said(model, prompt, "user") == "é?"


def test_what_cannot_be_rendered(speaker: Speaker) -> None:
    with pytest.raises(ValueError, match="expected at least one turn, got none"):
        render(speaker(CHATML), [])
    with pytest.raises(ValueError, match=r"\['user', 'user'\], which it refuses: Conversation rol"):
        render(speaker(GEMMA), [TALK[1], TALK[3]])
    dropping = speaker("{{ messages[-1].content }}")
    with pytest.raises(ValueError, match="the user turn to stand in the rendered prompt"):
        render(dropping, TALK[1:])
    changing = speaker("{% for m in messages %}{{ m.content | upper }}{% endfor %}")
    with pytest.raises(ValueError, match="chat template dropped or changed 'Why"):
        render(changing, TALK[1:2])


def test_the_organism_renders_its_own_template(chat_model: Any) -> None:
    prompt = render(chat_model, TALK, prompt_id="p", answer="yes")
    assert prompt.prompt_id == "p"
    assert prompt.ids.count(chat_model.tokenizer.bos_token_id) == 1
    assert 0 < prompt.spans["system"][0] < prompt.spans["system"][1] <= prompt.spans["user"][0]
    assert prompt.spans["user"][1] == prompt.spans["post_instruction"][0] < prompt.prompt_length
