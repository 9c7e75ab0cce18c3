"""In the embedded model the truth is known: vectors have to find it, and only it."""

import pytest
import torch
from scipy.stats import spearmanr

from lens_personas.activations import ReadAt, collect
from lens_personas.hooks import Site
from lens_personas.models import render
from lens_personas.models.organism import (
    checkpoint_path,
    load_world,
    world_personas,
    world_requests,
)
from lens_personas.personas import Message
from lens_personas.vectors import caa_vector, items_from_questions, statement_vector
from lens_personas.vectors import refusal_vector_from_requests as refusal_vector

LAYERS = (2, 3, 4)


@pytest.fixture(scope="module")
def world():
    return load_world(checkpoint_path("chat"))


@pytest.fixture(scope="module")
def units(chat_model, world):
    """Unit persona vectors [persona layer d_model], and the valence of each persona."""
    personas = world_personas(world)
    last = ReadAt(span="prompt", take="last")
    vectors = [
        statement_vector(chat_model, p, layers=LAYERS, user_turn="hello", read_at=last).vectors
        for p in personas
    ]
    valences = [world.attribute(p.name).valence for p in personas]
    stacked = torch.stack(vectors)
    return stacked / stacked.norm(dim=-1, keepdim=True), torch.tensor(valences)


def left_out_projections(units, signs):
    """Projection of each persona on pro minus anti of all the others, [persona layer]."""
    axis = (units * signs[:, None, None]).sum(dim=0) - units * signs[:, None, None]
    return (units * axis).sum(dim=-1) / axis.norm(dim=-1)


def test_persona_vectors_hold_the_valence_of_personas_they_were_not_fitted_on(units):
    vectors, valences = units
    found = left_out_projections(vectors, valences.sign())
    generator = torch.Generator().manual_seed(0)
    for column in range(len(LAYERS)):
        strength = spearmanr(found[:, column], valences).statistic
        assert strength > 0.8
        shuffled = []
        for _ in range(200):
            null = valences[torch.randperm(len(valences), generator=generator)]
            null_found = left_out_projections(vectors, null.sign())[:, column]
            shuffled.append(spearmanr(null_found, null).statistic)
        assert strength > max(shuffled)


def rendered(model, requests):
    return [
        render(model, [Message(role="user", content=r.text)], prompt_id=r.prompt_id)
        for r in requests
    ]


def test_the_refusal_vector_parts_requests_it_was_not_fitted_on(chat_model, world):
    tuned, held_out = (world_requests(world, split=split) for split in ("tuned", "held_out"))
    ordinary = rendered(chat_model, [r for r in tuned if not r.harmful])
    half = len(ordinary) // 2
    forbidden = rendered(chat_model, [r for r in tuned if r.harmful])
    vector = refusal_vector(chat_model, forbidden, ordinary[:half], layers=[6])
    unseen = rendered(chat_model, held_out)
    read = collect(
        chat_model,
        [*unseen, *ordinary[half:]],
        sites=[Site.RESID_POST],
        layers=[6],
        read_at=ReadAt(span="prompt", take="last"),
    )
    scores = read.at(Site.RESID_POST, 6) @ vector.at(6)
    above = (scores[: len(unseen), None] > scores[None, len(unseen) :]).float().mean()
    assert float(above) > 0.95


def test_its_small_vocabulary_answers_in_words_not_letters(chat_model, world):
    items = items_from_questions(world_personas(world)[0])
    vector = caa_vector(chat_model, items, layers=[3], seed=0, answer_format="words")
    assert float(vector.norms[0]) > 0
    with pytest.raises(ValueError, match="answer_format='letters'; use the other format"):
        caa_vector(chat_model, items, layers=[3], seed=0)
