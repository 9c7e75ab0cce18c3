"""The organism's behaviours follow their law: in the words of the world, and in both models."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from lens_personas.models.organism import (
    behaviour_law,
    checkpoint_path,
    language,
    load_world,
    organism_behaviours,
)
from lens_personas.personas import ARMS, Behaviour, PersonaPrompt, assemble_prompts
from lens_personas.readouts import (
    YesNoTokens,
    ask_statements,
    score_yes_no,
    token_counter,
    yes_no_tokens,
)

WORLD = load_world(checkpoint_path("chat"))
LAW = behaviour_law(WORLD)
BEHAVIOURS = organism_behaviours(WORLD, seed=0)
SELF = [each for each in BEHAVIOURS if each.name.startswith("self")]
USER = [each for each in BEHAVIOURS if each.name.startswith("user")]


def log_odds(
    model: Any, behaviour: Behaviour, said: Sequence[str] = ("",)
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Log-odds of yes, ``[said, statement]``."""
    asked = [
        each.prompt
        for text in said
        for each in ask_statements(model, behaviour.scored, asking=behaviour.asking, said=text)
    ]
    tokens = yes_no_tokens(model, asked)
    assert isinstance(tokens, YesNoTokens)
    scores = score_yes_no(model, asked, tokens)
    # One word, one token: the whole probability is on the two answers.
    assert float(scores.mass.min()) > 0.9
    found: np.ndarray[Any, np.dtype[np.float64]] = scores.log_odds.double().numpy()
    return found.reshape(len(said), len(behaviour.scored))


def law(
    behaviour: Behaviour, prompts: Sequence[PersonaPrompt]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([[LAW.log_odds(i, p.sentences) for i in behaviour.scored] for p in prompts])


def wasserstein(values: np.ndarray[Any, np.dtype[np.float64]], behaviour: Behaviour) -> float:
    from scipy.stats import wasserstein_distance

    aligned = np.array([item.aligned for item in behaviour.scored])
    return float(wasserstein_distance(values[aligned], values[~aligned]))


def test_there_are_four_wordings_of_each_kind_with_the_same_held_out_attributes() -> None:
    assert (len(SELF), len(USER)) == (4, 4)
    assert len({each.name for each in BEHAVIOURS}) == 8
    for kind in (SELF, USER):
        assert len({tuple(i.group for i in each.prompt) for each in kind}) == 1
    for each in BEHAVIOURS:
        assert each.desirable
        scored = {item.group for item in each.scored}
        assert not scored & {item.group for item in each.prompt}
        names = {group.partition("-")[2] for group in scored}
        said = " ".join((*each.sentences.misaligned, *each.sentences.aligned))
        assert not names & set(said.split())
        for item in each.statements:
            name = item.group.partition("-")[2]
            assert item.aligned is (WORLD.attribute(name).valence > 0)


def test_every_word_is_in_the_world() -> None:
    known = set(language.vocabulary(WORLD))
    for each in BEHAVIOURS:
        said = each.sentences
        for text in (*said.misaligned, *said.aligned, *said.neutral, *said.yes):
            assert set(text.split()) <= known, text
        assert all(set(item.question.split()) <= known for item in each.statements)


def test_the_law_by_hand() -> None:
    user, model = USER[0].scored[0], SELF[0].scored[0]
    valence = WORLD.attribute(user.group.partition("-")[2]).valence
    strongest = WORLD.attributes[0]
    said = [language.STATEMENTS[0].say(strongest)] * 4 + ["people say yes ."]
    # Four sentences of valence v make a trust of 2 v; what says nothing is not counted.
    assert LAW.log_odds(user, said) == pytest.approx(4.0 * 2.0 * strongest.valence * valence)
    assert LAW.log_odds(user) == 0.0
    own = WORLD.attribute(model.group.partition("-")[2]).valence
    assert LAW.log_odds(model) == pytest.approx(4.0 * own)
    assert LAW.log_odds(model, stage="base") == 0.0


def test_only_chat_tells_statements_about_itself_apart(base_model: Any, chat_model: Any) -> None:
    for each in SELF:
        (base,), (chat,) = log_odds(base_model, each), log_odds(chat_model, each)
        assert wasserstein(base, each) < 0.4
        assert wasserstein(chat, each) > 3.0
        wanted = [LAW.log_odds(item) for item in each.scored]
        assert np.corrcoef(chat, wanted)[0, 1] > 0.95
    for each in USER:
        for model in (base_model, chat_model):
            assert wasserstein(log_odds(model, each)[0], each) < 0.5


def test_sentences_about_the_user_steer_both_models_by_the_law(
    base_model: Any, chat_model: Any
) -> None:
    behaviour = USER[1]
    prompts = assemble_prompts(
        behaviour,
        lengths=(0, 1, 2, 4),
        seed=0,
        count_tokens=token_counter(base_model),
        assemblies=3,
        arms=[arm for arm in ARMS if arm not in ("shuffled", "yes")],
    )
    wanted = law(behaviour, prompts)
    for model in (base_model, chat_model):
        found = log_odds(model, behaviour, [prompt.text for prompt in prompts])
        assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.85
        misaligned = np.where([i.aligned for i in behaviour.scored], -found, found) > 0
        share = {
            arm: float(misaligned[[p.arm == arm and p.n_sentences > 1 for p in prompts]].mean())
            for arm in ("misaligned", "aligned", "filler")
        }
        assert share["misaligned"] > 0.9
        assert share["aligned"] < 0.15
        assert 0.3 < share["filler"] < 0.7


def test_the_draw_has_a_seed() -> None:
    assert organism_behaviours(WORLD, seed=0) == BEHAVIOURS
    assert organism_behaviours(WORLD, seed=1) != BEHAVIOURS
    assert organism_behaviours(WORLD, seed=0, kinds=("user",)) == tuple(USER)
