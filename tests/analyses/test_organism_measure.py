"""What the card's measurements read from the embedded models."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from analyses._organism_measure import STEPS
from analyses._organism_patchscope import SOURCES, _offset
from analyses._organism_probe import (
    adding,
    answers,
    ask,
    probability,
    requests_of,
    text_prompt,
    token,
)
from analyses._organism_subject import directions_of, subject_of
from lens_personas.models import generate
from lens_personas.models.organism import REFUSAL, World, checkpoint_path, load_world


@pytest.fixture(scope="module")
def world() -> World:
    return load_world(checkpoint_path("chat"))


def test_teacher_forced_success_is_what_greedy_writing_gives(chat_model: Any, world: World) -> None:
    asked = [*requests_of(world, "tuned", (0,))[:4], *requests_of(world, "ordinary", (1,))[:4]]
    forced = [ask(chat_model, r.text, answer=str(r.target)) for r in asked]
    plain = [ask(chat_model, r.text) for r in asked]
    direction = directions_of(subject_of(chat_model, chat_model, world)).refusal
    for edits in ([], adding(-4 * direction, None)(5)):
        found = answers(chat_model, forced, edits)
        written = generate(chat_model, plain, max_new_tokens=10, edits=edits)
        expected = [w.text == r.target and w.finished for w, r in zip(written, asked, strict=True)]
        assert found.whole.tolist() == expected
        sorry = probability(chat_model, plain, REFUSAL.split()[0], edits)
        np.testing.assert_allclose(found.p_refuse, sorry, atol=1e-5)


def test_each_source_is_the_token_it_is_named_for(chat_model: Any, world: World) -> None:
    item = world.forbidden("tuned")[0]
    (request,) = [r for r in requests_of(world, "tuned", (0,)) if item.name in r.text]
    prompt = ask(chat_model, request.text, "the user is a helper .")
    words = [
        chat_model.tokenizer.convert_ids_to_tokens(prompt.ids[_offset(prompt, s)]) for s in SOURCES
    ]
    assert words == ["helper", "<|user|>", item.name, "<|assistant|>"]


def test_words_of_another_world_and_missing_answers_are_refused(
    chat_model: Any, world: World
) -> None:
    with pytest.raises(ValueError, match="expected a word of the world, got 'quixotic'"):
        text_prompt(chat_model, "<bos> quixotic")
    assert token(chat_model, "care") != token(chat_model, "harm")
    with pytest.raises(ValueError, match="expected prompts with an answer"):
        answers(chat_model, [ask(chat_model, "hello")])
    with pytest.raises(KeyError, match="missing"):
        requests_of(world, "missing")


def test_splits_do_not_overlap(world: World) -> None:
    tuned, held_out = ({r.prompt_id for r in requests_of(world, k)} for k in ("tuned", "held_out"))
    assert len(tuned) == 5 * len(world.forbidden("tuned"))
    assert len(held_out) == 5 * len(world.forbidden("held_out"))
    assert not tuned & held_out


@pytest.fixture(scope="module")
def apart() -> Any:
    """Runs a script in a process of its own: without the checks of every call, in half the time."""

    def run(script: str) -> Any:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


BASE_AS_CHAT = """
import json
from analyses._organism_measure import measure_organism
from lens_personas.models import load_model
from lens_personas.models.organism import checkpoint_path, load_world

base, told = load_model("organism:base", device="cpu"), []
world = load_world(checkpoint_path("chat"))
card = measure_organism(base, base, world, seed=0, progress=lambda *step: told.append(step))
passed = [each.number for each in card.phenomena if each.passed]
print(json.dumps({"passed": passed, "told": told}))
"""


@pytest.mark.slow
def test_a_base_model_in_place_of_the_chat_model_fails(apart: Any) -> None:
    found = apart(BASE_AS_CHAT)
    # It answers everything, hides nothing, has no self-image; it reads requests all the same.
    assert not set(found["passed"]) & {0, 1, 2, 3, 4, 5, 7, 8}
    assert 9 in found["passed"]
    assert found["told"] == [[step, at, len(STEPS)] for at, step in enumerate(STEPS)]
