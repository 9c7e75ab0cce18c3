"""What the recipes say to the model, and that the vector is what these prompts imply.

At ``resid_pre`` of block 0 the residual of a rotary model is the token's embedding, so the vector
of a recipe is known exactly.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lens_personas.activations import ReadAt
from lens_personas.hooks import Site
from lens_personas.models import load_model, render
from lens_personas.personas import Message, Persona
from lens_personas.vectors import (
    AnswerStrings,
    YesNoItem,
    caa_contrast,
    caa_vector,
    items_from_questions,
    refusal_items,
    refusal_vector_from_questions,
    refusal_vector_from_requests,
    statement_contrast,
    statement_vector,
)
from lens_personas.vectors._caa import balanced_order

START = {"layers": [0], "site": Site.RESID_PRE}
LETTERS = AnswerStrings(letters=("one", "two"))


@pytest.fixture(scope="session")
def embedding(model):
    """Function that gives a word's embedding, as the model reads it."""
    vocabulary = model.tokenizer.get_vocab()

    def embed(word: str) -> torch.Tensor:
        from lens_personas.models import Prompt, batches, run_batch

        ids = (vocabulary[word],)
        prompt = Prompt(prompt_id="w", ids=ids, prompt_length=1, spans={}, text=word)
        batch = next(batches([prompt], pad_id=0))
        place = (Site.RESID_PRE, 0)
        return run_batch(model, batch, reads=[place], last_layer=0).reads[place][0, 0]

    return embed


def answers(model, prompts):
    return [model.tokenizer.decode(p.ids[p.prompt_length :]).strip() for p in prompts]


# --- yes/no questions


def test_letters_cancel_exactly_because_the_order_is_balanced(model, persona):
    items = items_from_questions(persona)
    vector = caa_vector(model, items, seed=0, strings=LETTERS, **START)
    torch.testing.assert_close(vector.vectors, torch.zeros_like(vector.vectors), atol=1e-6, rtol=0)
    later = caa_vector(model, items, seed=0, strings=LETTERS, layers=[2])
    assert float(later.norms[0]) > 0.1, "nothing at all was read"


def test_in_words_the_vector_holds_the_word_itself(model, persona, embedding):
    items = items_from_questions(persona)
    vector = caa_vector(model, items, seed=0, answer_format="words", **START)
    torch.testing.assert_close(
        vector.vectors[0], embedding("yes") - embedding("no"), atol=1e-5, rtol=1e-4
    )
    assert (vector.n_to, vector.method) == (4, "caa:words:paired")
    assert vector.provenance.span_rule == "answer:last"
    assert vector.provenance.seed == 0


def test_matching_no_turns_the_vector(model, persona):
    vectors = [
        caa_vector(
            model, items_from_questions(persona, matching=matching), seed=0, layers=[1, 2],
            answer_format="words",
        ).vectors
        for matching in ("yes", "no")
    ]  # fmt: skip
    torch.testing.assert_close(vectors[0], -vectors[1], atol=1e-5, rtol=1e-4)


def test_the_forced_answer_means_what_the_option_says(model, persona):
    contrast = caa_contrast(model, items_from_questions(persona), seed=1, strings=LETTERS)
    for to, from_ in zip(contrast.to, contrast.from_, strict=True):
        first_is_yes = "(one) Yes. (two) No. Answer:" in to.text
        assert first_is_yes or "(one) No. (two) Yes. Answer:" in to.text
        expected = ["one", "two"] if first_is_yes else ["two", "one"]
        assert answers(model, [to, from_]) == expected
        # A pair differs in the answer alone.
        assert to.ids[: to.prompt_length] == from_.ids[: from_.prompt_length]


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_exactly_half_of_the_items_have_yes_first(n):
    items = [YesNoItem(item_id=str(at), question="q") for at in range(n)]
    opposed = [replace(item, matching="no") for item in items]
    seen = set()
    for seed in range(20):
        order = balanced_order([*items, *opposed], np.random.default_rng(seed))
        for part in (order[:n], order[n:]):
            assert abs(sum(part) - n / 2) <= 0.5
        seen.add(tuple(order))
        assert order == balanced_order([*items, *opposed], np.random.default_rng(seed))
    assert len(seen) > 1, "the order is not drawn"


def test_answers_that_the_model_cannot_tell_apart_are_refused(model, persona):
    items = items_from_questions(persona)
    with pytest.raises(ValueError, match="answer_format='letters'; use the other format"):
        caa_vector(model, items, seed=0, layers=[0], strings=AnswerStrings(letters=("a", "qqq")))
    with pytest.raises(ValueError, match="different in the last token"):
        caa_vector(
            model, items, seed=0, layers=[0], answer_format="words",
            strings=AnswerStrings(yes="yes", no="yes"),
        )  # fmt: skip


def test_a_persona_without_questions_has_no_items(persona):
    with pytest.raises(ValueError, match="'careful': expected yes/no questions, got none"):
        items_from_questions(replace(persona, questions=()))


def test_no_item_no_vector(model):
    with pytest.raises(ValueError, match="at least one yes/no item"):
        caa_vector(model, [], seed=0, layers=[0])


# --- refusal


def asked(name, n):
    questions = tuple(f"do you {name} ? " + "please " * at for at in range(n))
    return Persona(name=name, group="other", statements=("x",), questions=questions)


def test_saying_yes_cancels_from_the_refusal_vector(model):
    vector = refusal_vector_from_questions(
        model, asked("worry", 5), asked("help", 3), seed=0, answer_format="words", **START
    )
    torch.testing.assert_close(vector.vectors, torch.zeros_like(vector.vectors), atol=1e-6, rtol=0)
    assert (vector.n_to, vector.to_label, vector.from_label) == (6, "refusal", "fulfilment")


def test_refusing_matches_yes_and_fulfilling_no_in_equal_numbers():
    items = refusal_items(asked("worry", 5), asked("help", 3), np.random.default_rng(0))
    assert [item.matching for item in items] == ["yes"] * 3 + ["no"] * 3
    assert all("worry" in item.question for item in items[:3])


def requests(model, texts):
    return [render(model, [Message(role="user", content=text)], prompt_id=text) for text in texts]


def test_requests_are_read_after_the_instruction(model, embedding):
    harmful, harmless = requests(model, ["write money"]), requests(model, ["tell a fact"])
    # The template's own last token is the same on both sides, so block 0 sees no difference.
    vector = refusal_vector_from_requests(model, harmful, harmless, **START)
    assert float(vector.norms[0]) == 0.0
    assert vector.provenance.span_rule == "post_instruction:-1"
    later = refusal_vector_from_requests(model, harmful, harmless, layers=[0, 1, 2])
    assert bool((later.norms > 0.05).all())
    with pytest.raises(ValueError, match="long enough for 'post_instruction:-5'"):
        refusal_vector_from_requests(model, harmful, harmless, layers=[0], position=-5)


def test_without_a_template_the_prompts_end_is_read(tiny_gpt2_checkpoint, backend):
    plain = load_model(tiny_gpt2_checkpoint, backend=backend, device="cpu")
    harmful, harmless = requests(plain, ["write money"]), requests(plain, ["tell facts"])
    vector = refusal_vector_from_requests(plain, harmful, harmless, layers=[0])
    assert vector.provenance.span_rule == "prompt:-1"
    assert vector.provenance.chat_template_hash is None


def test_a_side_without_requests_is_refused(model):
    with pytest.raises(ValueError, match="got 0 to 'harmful requests' and 1 from"):
        refusal_vector_from_requests(model, [], requests(model, ["why ?"]), layers=[0])


# --- statements


@pytest.mark.parametrize("turn", ["system", "user"])
@pytest.mark.parametrize("user_turn", [None, "please go on"])
def test_a_swapped_word_is_the_vector(model, persona, embedding, turn, user_turn):
    vector = statement_vector(model, persona, turn=turn, user_turn=user_turn, **START)
    # One word of six, then one of six, is another.
    expected = (embedding("careful") - embedding("large")) / 6
    torch.testing.assert_close(vector.vectors[0], expected, atol=1e-5, rtol=1e-4)
    assert (vector.to_label, vector.from_label) == ("careful", "not careful")
    assert vector.method == f"statements:{turn}:1:paired"


def test_prompts_hold_one_statement_in_its_turn_and_no_request(model, persona):
    contrast = statement_contrast(model, persona)
    assert contrast.paired
    for texts, prompts in (
        (persona.statements, contrast.to),
        (persona.negations, contrast.from_),
    ):
        expected = [f"<bos><|system|> {text} <|assistant|>" for text in texts]
        assert [prompt.text for prompt in prompts] == expected
        for text, prompt in zip(texts, prompts, strict=True):
            start, stop = prompt.spans["persona"]
            assert model.tokenizer.decode(prompt.ids[start:stop]) == text


def test_the_turns_around_the_statements_are_the_same_on_both_sides(model, persona):
    contrast = statement_contrast(model, persona, user_turn="please go on")
    outside = {
        (p.ids[: p.spans["persona"][0]], p.ids[p.spans["persona"][1] :])
        for p in (*contrast.to, *contrast.from_)
    }
    assert len(outside) == 1


def test_without_negations_the_opposite_then_all_others_are_the_contrast(model, persona):
    bare = replace(persona, negations=())
    large = Persona(name="large", group="anti", statements=("i am large .",))
    tea = Persona(name="tea", group="control", statements=("i drink tea .", "tea is good ."))
    opposite = statement_contrast(model, bare, others=[tea, bare, large])
    assert (opposite.from_label, opposite.paired, len(opposite.from_)) == ("large", False, 1)
    others = statement_contrast(model, replace(bare, opposite=None), others=[tea, bare, large])
    assert (others.from_label, len(others.from_)) == ("other personas", 3)
    with pytest.raises(ValueError, match="'careful': expected negations, its opposite or other"):
        statement_contrast(model, bare, others=[bare])


def test_random_subsets_are_seeded_and_pairs_share_theirs(model, persona):
    many = replace(
        persona,
        statements=tuple(f"i am careful {word} ." for word in ("one", "two", "now", "today")),
        negations=tuple(f"i am large {word} ." for word in ("one", "two", "now", "today")),
    )

    def drawn(seed):
        return statement_contrast(model, many, statements_per_prompt=2, n_prompts=6, seed=seed)

    contrast = drawn(0)
    assert len(contrast.to) == len(contrast.from_) == 6
    for to, from_ in zip(contrast.to, contrast.from_, strict=True):
        assert to.text.replace("careful", "large") == from_.text
        assert to.text.count("careful") == 2
    assert [p.text for p in drawn(0).to] == [p.text for p in contrast.to]
    assert [p.text for p in drawn(1).to] != [p.text for p in contrast.to]
    assert (contrast.seed, statement_contrast(model, many).seed) == (0, None)


def test_single_statements_come_up_equally_often(model, persona):
    texts = [p.text for p in statement_contrast(model, persona, n_prompts=7).to]
    counts = sorted(texts.count(text) for text in set(texts))
    assert counts == [3, 4]


@pytest.mark.parametrize("change", [{"statements_per_prompt": 3}, {"n_prompts": 0}])
def test_more_statements_than_there_are_cannot_be_drawn(model, persona, change):
    with pytest.raises(ValueError, match="from 1 to 2 statements in each of at least 1 prompt"):
        statement_contrast(model, persona, **change)


def test_the_read_position_can_be_chosen(model, persona):
    read_at = ReadAt(span="prompt", take="last")
    vector = statement_vector(model, persona, read_at=read_at, layers=[0, 1])
    assert vector.provenance.span_rule == "prompt:last"
    assert vector.provenance.fingerprint == model.card.fingerprint
    other = statement_vector(model, persona, layers=[0, 1])
    assert other.provenance.data_hash == vector.provenance.data_hash
    assert not torch.allclose(other.vectors, vector.vectors)
