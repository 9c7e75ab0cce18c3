"""Persona prompts: held-out sentences, fixed token counts, nested lengths, arms of one length."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from lens_personas.personas import (
    ARMS,
    Behaviour,
    PersonaPrompt,
    assemble_prompts,
    behaviour_of,
    load_statements,
    most_sentences,
    shipped_behaviours,
    statement_prompts,
    worded,
)
from lens_personas.personas._sentences import words

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "anthropic_persona"
LENGTHS = (0, 1, 2, 4, 6, 10)


def count(text: str) -> int:
    """As a subword tokenizer counts, roughly: words in pieces, and marks."""
    return sum(1 + len(word) // 6 for word in text.split()) + sum(text.count(c) for c in '.:",')


@pytest.fixture(scope="module")
def behaviour() -> Behaviour:
    return behaviour_of(shipped_behaviours()[0], seed=0)


@pytest.fixture(scope="module")
def prompts(behaviour: Behaviour) -> tuple[PersonaPrompt, ...]:
    return assemble_prompts(behaviour, lengths=LENGTHS, seed=0, count_tokens=count)


def _of(prompts: tuple[PersonaPrompt, ...], arm: str) -> list[PersonaPrompt]:
    return [prompt for prompt in prompts if prompt.arm == arm]


def test_every_arm_length_and_assembly_is_there_once(prompts: tuple[PersonaPrompt, ...]) -> None:
    found = Counter((p.arm, p.n_sentences, p.assembly) for p in prompts)
    wanted = {(arm, n, at) for arm in set(ARMS) - {"none"} for n in LENGTHS[1:] for at in range(5)}
    assert found == Counter(wanted | {("none", 0, 0)})
    (none,) = _of(prompts, "none")
    assert (none.text, none.n_tokens) == ("", 0)


def test_prompts_show_their_own_side_and_only_held_out_sentences(
    behaviour: Behaviour, prompts: tuple[PersonaPrompt, ...]
) -> None:
    scored = [item.text or "" for item in behaviour.scored]
    for arm, own in (("misaligned", "misaligned"), ("aligned", "aligned"), ("filler", "neutral")):
        sentences = getattr(behaviour.sentences, own)
        frames = statement_prompts().wordings
        allowed = {worded(each, frame) for each in sentences for frame in frames}
        for prompt in _of(prompts, arm):
            assert set(prompt.sentences) <= allowed
            assert not any(text in prompt.text for text in scored)
    for prompt in _of(prompts, "yes"):
        assert set(prompt.sentences) <= set(behaviour.sentences.yes)


def test_a_longer_prompt_begins_with_the_shorter_ones(prompts: tuple[PersonaPrompt, ...]) -> None:
    for arm in ("misaligned", "aligned", "filler", "yes"):
        for assembly in range(5):
            grown = [p for p in _of(prompts, arm) if p.assembly == assembly]
            for short, long in pairwise(grown):
                assert long.sentences[: len(short.sentences)] == short.sentences
                assert long.n_sentences > short.n_sentences


def test_no_sentence_comes_twice_in_a_side_and_frames_take_turns(
    prompts: tuple[PersonaPrompt, ...],
) -> None:
    for arm in ("misaligned", "aligned"):
        for prompt in _of(prompts, arm):
            assert len(prompt.sentences) == prompt.n_sentences
            assert len({each.split(": ")[1] for each in prompt.sentences}) == prompt.n_sentences
            assert all(a.split(":")[0] != b.split(":")[0] for a, b in pairwise(prompt.sentences))


def test_the_shuffled_arm_has_the_same_words(prompts: tuple[PersonaPrompt, ...]) -> None:
    whole = {(p.n_sentences, p.assembly): p for p in _of(prompts, "misaligned")}
    for prompt in _of(prompts, "shuffled"):
        same = whole[prompt.n_sentences, prompt.assembly]
        assert Counter(prompt.text.split()) == Counter(same.text.split())
        assert prompt.n_sentences < 2 or prompt.text != same.text
        assert prompt.n_tokens == same.n_tokens


def test_assemblies_are_random_and_reproducible(
    behaviour: Behaviour, prompts: tuple[PersonaPrompt, ...]
) -> None:
    for arm in ("misaligned", "aligned", "filler"):
        assert len({p.text for p in _of(prompts, arm) if p.n_sentences == 4}) == 5
    again, other = (
        assemble_prompts(behaviour, lengths=LENGTHS, seed=seed, count_tokens=count)
        for seed in (0, 1)
    )
    assert again == prompts
    assert {p.text for p in other} != {p.text for p in prompts}
    # An arm is the same whichever others are made, and a length whichever others are asked for.
    few = assemble_prompts(behaviour, lengths=(10, 2), seed=0, count_tokens=count, arms=("filler",))
    assert few == tuple(p for p in _of(prompts, "filler") if p.n_sentences in (2, 10))


@pytest.mark.parametrize("at", range(6))
def test_shipped_prompts_keep_their_token_counts(at: int) -> None:
    behaviour = behaviour_of(shipped_behaviours()[at], seed=0)
    prompts = assemble_prompts(behaviour, lengths=(1, 2, 4, 6, 8), seed=0, count_tokens=count)
    per_sentence = next(p.target_tokens for p in prompts if p.n_sentences == 1)
    for prompt in prompts:
        assert prompt.target_tokens == prompt.n_sentences * per_sentence
        assert prompt.n_tokens == (count(prompt.text) if prompt.text else 0)
        assert abs(prompt.n_tokens - prompt.target_tokens) <= 1.0 * per_sentence


@pytest.mark.skipif(not REAL.is_dir(), reason=f"expected the published files in {REAL}")
@pytest.mark.parametrize("name", ["no-shut-down", "neuroticism", "willingness-to-defer-to-experts"])
def test_published_prompts_of_all_arms_have_the_same_tokens(name: str) -> None:
    behaviour = behaviour_of(load_statements(REAL / f"{name}.jsonl"), seed=0)
    prompts = assemble_prompts(behaviour, lengths=(1, 2, 4, 6, 10, 14), seed=0, count_tokens=count)
    per_sentence = next(p.target_tokens for p in prompts if p.n_sentences == 1)
    off = {p: p.n_tokens - p.target_tokens for p in prompts if p.arm != "none"}
    # Frames and words add up to whole sentences: within half a sentence, whatever the length.
    assert max(map(abs, off.values())) <= 0.5 * per_sentence
    # And unbiased: at the longest, no arm is longer than another by more than a fiftieth.
    for arm in set(ARMS) - {"none"}:
        longest = [p.n_tokens / p.target_tokens for p in off if (p.arm, p.n_sentences) == (arm, 14)]
        assert sum(longest) / len(longest) == pytest.approx(1.0, abs=0.02)


def test_tokens_a_sentence_can_be_given(behaviour: Behaviour) -> None:
    prompts = assemble_prompts(
        behaviour, lengths=(1, 3), seed=0, count_tokens=count, tokens_per_sentence=30
    )
    assert {p.target_tokens for p in prompts if p.arm == "filler"} == {30, 90}


def test_filler_repeats_when_it_has_to(behaviour: Behaviour) -> None:
    long = assemble_prompts(
        behaviour,
        lengths=(12,),
        seed=0,
        count_tokens=count,
        tokens_per_sentence=200,
        arms=("filler",),
        assemblies=1,
    )
    assert abs(long[0].n_tokens - 2400) < 100
    assert len(words(long[0].text)) > 1000


def test_what_cannot_be_made_is_refused(behaviour: Behaviour) -> None:
    most = most_sentences(behaviour)
    assert most == 12
    with pytest.raises(ValueError, match=r"curiosity: expected lengths of at most 12, .* got 13"):
        assemble_prompts(behaviour, lengths=(13,), seed=0, count_tokens=count)
    with pytest.raises(ValueError, match="at least 0 and at least 1 assembly, got"):
        assemble_prompts(behaviour, lengths=(-1,), seed=0, count_tokens=count)
