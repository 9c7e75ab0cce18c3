"""The part on Patchscopes, run on the organism, whose truth is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from analyses._cells import make_cell
from analyses._config import WhosAskingConfig
from analyses._contents import Contents
from analyses._data import study_data
from analyses._part import Core
from analyses._parts import part
from analyses._parts._charity import (
    CHARITY_COLUMNS,
    MOTIVES,
    CharityWords,
    charity_log_odds,
    charity_readings,
    charity_score,
    with_suffix,
    words_of,
)
from analyses._parts._patchscopes_targets import (
    charity_targets,
    places,
    position,
    target_layers,
    text_targets,
)
from analyses._store import load_result, save_result
from analyses._study import run_study
from analyses._workbench import Workbench, workbench
from analyses.patchscopes import PatchscopeReadings, claim_place, patchscope_claims
from analyses.whos_asking import WhosAsking
from lens_personas.models import LensModel, load_model
from lens_personas.models.organism import CARE, HARM, checkpoint_path, load_world

pytestmark = pytest.mark.slow

TINY: dict[str, Any] = {
    "parts": ("patchscopes",),
    "layers": (0, 3, 6),
    "part_layer": 3,
    "max_personas": 7,
    "max_requests": 20,
    "n_nulls": 2,
    "write_answers": False,
    "max_new_tokens": 4,
    "scope_target_layers": (0,),
}


@pytest.fixture(scope="module")
def model() -> LensModel:
    return load_model("organism:chat", device="cpu")


@pytest.fixture(scope="module")
def study(model: LensModel) -> WhosAsking:
    return run_study(WhosAskingConfig(**TINY), model=model).result


@pytest.fixture(scope="module")
def found(study: WhosAsking) -> PatchscopeReadings:
    assert study.parts.patchscopes is not None
    return study.parts.patchscopes


def _scores(found: PatchscopeReadings, place: str, treatment: str = "prompt") -> dict[str, float]:
    return {
        e.persona: e.score
        for e in found.effects
        if (e.place, e.treatment) == (place, treatment) and e.kind != "null"
    }


def _side(found: PatchscopeReadings, place: str, group: str) -> float:
    named = {e.persona for e in found.effects if e.group == group and e.kind == "persona"}
    return float(np.mean([s for p, s in _scores(found, place).items() if p in named]))


@pytest.mark.parametrize("place", ["direct", "before"])
def test_the_worlds_truth_is_read(found: PatchscopeReadings, place: str) -> None:
    """Of two probabilities of the charitable word, the gap is half that of the scores."""
    assert (_side(found, place, "pro") - _side(found, place, "anti")) / 2 >= 0.4
    valence = {a.name: a.valence for a in load_world(checkpoint_path("chat")).attributes}
    scores = _scores(found, place)
    ranks = spearmanr([valence[name] for name in scores], list(scores.values()))
    assert ranks.statistic >= 0.8


def test_asked_outright_pro_and_anti_are_far_apart(found: PatchscopeReadings) -> None:
    assert (_side(found, "direct", "pro") - _side(found, "direct", "anti")) / 2 >= 0.5


def test_the_reading_that_claims_tells_harmful_from_harmless(found: PatchscopeReadings) -> None:
    assert claim_place(found) == "direct"
    claims = {claim.persona: claim for claim in patchscope_claims(found)}
    sides = {e.persona: e.group for e in found.effects if e.kind == "persona"}
    assert set(claims) == set(sides)
    for name, side in sides.items():
        if side in ("pro", "anti"):
            assert claims[name].p < 0.05
            assert claims[name].beyond_nulls
            assert (claims[name].estimate.estimate > 0) == (side == "pro")


def test_refusal_falls_where_charity_rises(found: PatchscopeReadings) -> None:
    by_place = {each.place: each.correlation for each in found.refusal}
    assert by_place["direct"].estimate <= -0.7
    assert by_place["before"].estimate <= -0.7


def test_every_request_is_there_and_steering_begins_where_it_is_added(
    found: PatchscopeReadings,
) -> None:
    table = found.by_request
    harmful = table[table["harmful"]]
    sizes = harmful.groupby(["persona", "treatment", "place", "source_layer"]).size()
    assert set(sizes) == {found.n}
    steered = table[(table["treatment"] != "prompt") & (table["place"] != "direct")]
    assert steered["source_layer"].min() == found.steered_at == 3
    assert table["mass"].between(0, 1).all()
    assert table["score"].between(-1, 1).all()
    np.testing.assert_allclose(table["score"], np.tanh(table["log_odds"] / 2), atol=1e-5)


def test_the_state_before_the_request_does_not_know_it(found: PatchscopeReadings) -> None:
    table = found.by_request
    before = table[(table["place"] == "before") & table["harmful"]]
    spread = before.groupby(["persona", "treatment", "source_layer"])["log_odds"].agg(np.ptp)
    assert spread.max() == 0
    assert all(e.p == 1.0 for e in found.effects if e.place == "before")


def test_texts_are_kept_and_counted(found: PatchscopeReadings) -> None:
    assert found.texts is not None
    assert found.texts.n == len(found.texts.by_request) == found.texts.summary["n"].sum()
    assert set(found.texts.by_request["place"]) == {"last", "before"}
    words = found.texts.by_request.query("place == 'before' and asked == 'request'")
    opened = words.assign(care=words["text"].str.startswith(CARE)).groupby("group")["care"].mean()
    assert opened["pro"] > opened["anti"]


def test_the_result_is_stored_and_read_again(
    study: WhosAsking, found: PatchscopeReadings, tmp_path: Path
) -> None:
    save_result(study, tmp_path)
    again = load_result(tmp_path).parts.patchscopes
    assert again is not None
    # A NaN is not equal to itself.
    assert repr(again.settings) == repr(found.settings)
    assert len(again.effects) == len(found.effects)
    pd.testing.assert_frame_equal(again.by_request, found.by_request)


def test_shuffled_names_leave_no_persona_apart(model: LensModel) -> None:
    fewer = {"max_personas": 6, "n_nulls": 1, "layers": (0, 3)}
    config = WhosAskingConfig(**TINY | fewer, shuffle_labels=True)
    shuffled = run_study(config, model=model).result.parts.patchscopes
    assert shuffled is not None
    scores = {place: _scores(shuffled, place) for place in ("direct", "before")}
    # Each is the mean over others' texts, so that all come near one another.
    for by_name in scores.values():
        assert np.ptp(list(by_name.values())) < 1.2
    claims = patchscope_claims(shuffled)
    assert min(claim.p for claim in claims) * len(claims) > 0.05


@pytest.fixture(scope="module")
def work(model: LensModel) -> Workbench:
    config = WhosAskingConfig(**TINY)
    return workbench(config, study_data(config), model)


def test_a_model_without_the_two_words_gives_no_result(
    work: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analyses._parts.patchscopes.charity_words", lambda work: None)
    here = part("patchscopes")
    steps = ({"step": "choose"}, {"step": "read", "treatment": "plus"}, {"step": "random"})
    read = []
    for spec in (*steps, {"step": "texts"}):
        told = {"part": "patchscopes", "layer_all": 3, **spec}
        table = here.evaluate(work, told, Contents(read=()))
        assert table.empty
        assert len(table.columns)
        assert not here.passes(work, told).prompts
        read.append((make_cell("part", told, context=""), table))
    # Nothing of the study is looked at where there is nothing to read.
    assert here.assemble(object.__new__(Core), Contents(read=tuple(read))) is None


def test_states_come_from_before_the_request_and_from_its_end(work: Workbench) -> None:
    assert places(work) == ("last", "before")
    said = work.say(work.studied[0], work.data.personas[0].name)
    tokens = work.model.tokenizer.convert_ids_to_tokens(list(said.ids))
    assert tokens[position(said, "before")] == "<|user|>"
    assert tokens[position(said, "last")] == "<|assistant|>"
    assert target_layers(work) == (0,)
    names = {**charity_targets(work, words := _words(work)), **text_targets(work, words)}
    assert all(target.positions == (1,) for target in names.values())


def test_the_organism_is_asked_in_place_of_its_answer(work: Workbench) -> None:
    words = _words(work)
    prompt = work.plain[work.studied[0].prompt_id]
    asked = with_suffix(prompt, words)
    tokens = work.model.tokenizer.convert_ids_to_tokens(list(asked.ids))
    assert "<|assistant|>" not in tokens
    assert " ".join(tokens[-len(words.suffix_ids) :]) == words.suffix
    assert asked.prompt_length == len(asked.ids) == asked.spans["prompt"][1]
    assert asked.text.endswith(words.suffix)
    assert work.model.tokenizer.convert_ids_to_tokens([*words.good_ids, *words.bad_ids]) == [
        CARE,
        HARM,
    ]


def _words(work: Workbench) -> CharityWords:
    words = words_of(work.model.tokenizer)
    assert words is not None
    return words


def _tokenizer(words: str) -> PreTrainedTokenizerFast:
    vocabulary = {word: at for at, word in enumerate(["<unk>", *dict.fromkeys(words.split())])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>")


def test_other_models_are_asked_in_the_papers_words_if_they_know_them() -> None:
    known = words_of(_tokenizer(f"{MOTIVES} good bad Bad"))
    assert known is not None
    assert not known.in_place_of_answer
    assert known.suffix == MOTIVES
    assert (len(known.good_ids), len(known.bad_ids)) == (1, 2)
    assert words_of(_tokenizer(f"{MOTIVES} good")) is None
    assert words_of(_tokenizer(MOTIVES)) is None


def test_scores_are_what_they_say() -> None:
    words = CharityWords(
        suffix="", suffix_ids=(), good_ids=(0, 1), bad_ids=(2,), in_place_of_answer=False
    )
    probabilities = torch.tensor([[0.1, 0.2, 0.1, 0.6], [0.0, 1e-30, 0.5, 0.5]])
    logits = probabilities.log() + 3.0
    score, odds = charity_score(logits, words), charity_log_odds(logits, words)
    assert score[0] == pytest.approx((0.3 - 0.1) / 0.4, abs=1e-5)
    assert odds[0] == pytest.approx(np.log(3), abs=1e-5)
    assert score[1] == pytest.approx(-1.0)
    table = dict(zip(CHARITY_COLUMNS, charity_readings(logits, words)[0].tolist(), strict=True))
    assert table["mass"] == pytest.approx(0.4, abs=1e-5)
    # One token stands before the good word's best spelling, two before the bad one's.
    assert table["rank_difference"] == 1.0


def test_cost_is_told_before_the_run(work: Workbench) -> None:
    for spec in ({"step": s} for s in ("choose", "random", "texts")):
        assert part("patchscopes").passes(work, spec).prompts
    read = [
        part("patchscopes").passes(work, {"step": "read", "treatment": t})
        for t in ("prompt", "plus")
    ]
    assert all(len(each.prompts) > len(work.studied) for each in read)
