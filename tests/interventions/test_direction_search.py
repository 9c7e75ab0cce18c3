"""The search on models: equal to its slow twin, and what is planted is found."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lens_personas.hooks import Edit, Site, add_direction
from lens_personas.interventions import (
    DirectionRule,
    NoDirection,
    Racing,
    SelectedDirection,
    ablate_everywhere,
    compile_plan,
    search_direction,
)
from lens_personas.interventions._direction_race import Pair
from lens_personas.interventions._direction_scores import DirectionScores
from lens_personas.models import map_last_logits, render
from lens_personas.models.organism import checkpoint_path, load_world, world_requests
from lens_personas.personas import Message
from lens_personas.vectors import refusal_candidates

TEXTS = ("what do people like to drink", "tell me the truth", "why", "can you help a friend")
CLOSE = {"atol": 1e-4, "rtol": 1e-4}
# The organism decides in its last two blocks, from which the published rule takes nothing; there
# an addition brings the odds of a refusal from -12 near to even.
LATE = DirectionRule(layer_share=1.0, min_induce=-4.0)


def odds_of(token):
    """Log-odds of one token, as a score."""

    def score(logits):
        others = torch.arange(logits.shape[1]) != token
        return (logits[:, token] - logits[:, others].logsumexp(dim=1))[:, None]

    return score


def said(model, texts):
    return [render(model, [Message(role="user", content=t)], prompt_id=t) for t in texts]


@pytest.fixture(scope="module")
def scores(tiny_model):
    """A measuring of random candidates, one of them to be added at each layer."""
    card = tiny_model.card
    generator = torch.Generator().manual_seed(1)
    prompts = tuple(said(tiny_model, TEXTS))
    return DirectionScores(
        model=tiny_model,
        candidates=torch.randn(2, card.n_layers, card.d_model, generator=generator),
        harmful=prompts[:3],
        harmless=prompts[1:],
        score=odds_of(9),
        token_budget=30,
    )


def every_pair(scores):
    n_candidates = scores.candidates.shape[0] * scores.candidates.shape[1]
    return [Pair(c, p) for p in range(3) for c in range(n_candidates)]


def one_by_one(scores, pair, prompts, edits, reduce):
    return map_last_logits(scores.model, [prompts[pair.prompt]], reduce, edits=edits)[0]


def test_bypass_and_kl_are_those_of_the_published_hooks_one_by_one(scores):
    measures = scores.measures(np.zeros(3))
    pairs = every_pair(scores)
    flat = scores.candidates.flatten(0, 1)
    bypass, kl = [], []
    for pair in pairs:
        plan = ablate_everywhere(flat[pair.candidate], scores.model.card)
        edits = compile_plan(plan, card=scores.model.card)
        bypass.append(one_by_one(scores, pair, scores.harmful, edits, scores.score))
        base, moved = (
            one_by_one(scores, pair, scores.harmless, used, lambda logits: logits)
            .double()
            .log_softmax(dim=-1)
            for used in ((), edits)
        )
        kl.append((base.exp() * (base - moved)).sum())
    torch.testing.assert_close(
        torch.tensor(measures.bypass(pairs)), torch.cat(bypass).double(), **CLOSE
    )
    found = torch.tensor(measures.kl(pairs))
    torch.testing.assert_close(found, torch.stack(kl), **CLOSE)
    assert found.min() > 1e-3, "an ablation did nothing, so agreement would show nothing"


@pytest.mark.parametrize("resume", [True, False])
def test_induce_is_that_of_one_addition_at_a_time(scores, resume):
    scores = replace(scores, resume=resume)
    pairs = every_pair(scores)
    flat = scores.candidates.flatten(0, 1)
    expected = []
    for pair in pairs:
        layer = pair.candidate % scores.model.card.n_layers
        hook = add_direction(flat[pair.candidate])
        edit = Edit(site=Site.RESID_PRE, layer=layer, hook=hook)
        expected.append(one_by_one(scores, pair, scores.harmless, [edit], scores.score))
    found = torch.tensor(scores.measures(np.zeros(3)).induce(pairs))
    torch.testing.assert_close(found, torch.cat(expected).double(), **CLOSE)


def test_in_a_random_model_there_is_none_and_that_is_said(tiny_model):
    card = tiny_model.card
    prompts = said(tiny_model, TEXTS)
    candidates = torch.zeros(1, card.n_layers, card.d_model)
    none = search_direction(tiny_model, candidates, prompts[:2], prompts[2:], odds_of(9))
    assert isinstance(none, NoDirection)
    assert "0 of 2 harmful requests have a refusal score above 0" in none.reason
    assert np.isnan(none.search.table.bypass).all()

    # Half of the prompts above 0 and half below, by a score of their own.
    first = map_last_logits(tiny_model, prompts, lambda logits: logits[:, :1])[:, 0]
    middle, order = first.median(), first.argsort()
    low, high = ([prompts[int(i)] for i in part] for part in (order[:2], order[2:]))

    def shifted(logits):
        return logits[:, :1] - middle - 1e-3

    unmoved = search_direction(tiny_model, candidates, high, low, shifted)
    assert isinstance(unmoved, NoDirection)
    assert "none of 0 candidates passes" in unmoved.reason
    tiny = 1e-6 * torch.ones_like(candidates)
    none = search_direction(tiny_model, tiny, high, low, shifted)
    assert isinstance(none, NoDirection)
    assert f"none of {card.n_layers} candidates passes" in none.reason
    assert none.search.n_harmful == none.search.n_harmless == (2, 2)
    assert none.search.table.n_bypass.sum() == 0 < none.search.table.n_induce.sum()


def test_what_does_not_fit_is_refused(tiny_model):
    card = tiny_model.card
    prompts = said(tiny_model, TEXTS)
    for shape, message in (
        ((1, card.n_layers, 7), "vector of width 32"),
        ((1, 2, card.d_model), "each of the 3 layers"),
    ):
        with pytest.raises(ValueError, match=message):
            search_direction(tiny_model, torch.ones(shape), prompts, prompts, odds_of(9))
    with pytest.raises(ValueError, match="a full table or racing, got both"):
        search_direction(
            tiny_model,
            torch.ones(1, card.n_layers, card.d_model),
            prompts,
            prompts,
            odds_of(9),
            racing=Racing(),
            full_table=True,
        )


@pytest.fixture(scope="module")
def world():
    requests = world_requests(load_world(checkpoint_path("chat")), split="tuned")
    held_out = world_requests(load_world(checkpoint_path("chat")), split="held_out")
    rng = np.random.default_rng(0)
    by_kind = [[r.text for r in requests if bool(r.harmful) is kind] for kind in (True, False)]
    for texts in by_kind:
        rng.shuffle(texts)
    return {"harmful": by_kind[0], "harmless": by_kind[1], "held_out": [r.text for r in held_out]}


def organism_candidates(model, world):
    """Mean difference at the last token, as `lens_personas.vectors.refusal_candidates` reads it."""
    sides = (said(model, world[kind][:40]) for kind in ("harmful", "harmless"))
    return refusal_candidates(model, *sides)


@pytest.mark.slow
def test_in_the_organism_it_is_found_and_its_ablation_ends_refusal(chat_model, world):
    score = odds_of(chat_model.tokenizer.convert_tokens_to_ids("sorry"))
    candidates = organism_candidates(chat_model, world)
    tested = [said(chat_model, world[kind][40:56]) for kind in ("harmful", "harmless")]
    exact, racing, full = (
        search_direction(chat_model, candidates.vectors, *tested, score, rule=LATE, **options)
        for options in ({}, {"racing": Racing()}, {"full_table": True})
    )
    assert isinstance(exact, SelectedDirection)
    for other in (racing, full):
        assert isinstance(other, SelectedDirection)
        assert (other.position, other.layer) == (exact.position, exact.layer)
        np.testing.assert_allclose(
            (other.bypass, other.induce, other.kl),
            (exact.bypass, exact.induce, exact.kl),
            atol=1e-4,
        )
    spent = [found.search.block_tokens for found in (racing, exact, full)]
    assert spent == sorted(spent)
    assert 2 * spent[1] < exact.search.published_block_tokens

    fitted = candidates.at(exact.position, exact.layer)
    torch.testing.assert_close(fitted.at(exact.layer), exact.direction)
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(chat_model.card.d_model, generator=generator)
    unseen = said(chat_model, world["held_out"][::3])
    means = []
    for direction in (None, exact.direction, random):
        plan = () if direction is None else ablate_everywhere(direction, chat_model.card)
        edits = compile_plan(plan, card=chat_model.card)
        found = map_last_logits(chat_model, unseen, score, edits=edits)
        means.append(float((found > 0).float().mean()))
    assert means[0] > 0.7
    assert means[1] < 0.1
    assert means[2] > 0.7
