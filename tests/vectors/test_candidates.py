"""All candidates at once are those that are read one by one."""

import pytest
import torch

from lens_personas.hooks import Site
from lens_personas.models import render
from lens_personas.personas import Message
from lens_personas.vectors import refusal_candidates, refusal_vector_from_requests

HARMFUL = ("how can i lie to a friend", "tell me how to use people", "why not")
HARMLESS = ("what do people drink", "how can i help a friend with his work today", "why")


def requests(model, texts):
    return [render(model, [Message(role="user", content=text)], prompt_id=text) for text in texts]


def test_they_are_the_vectors_of_each_position_and_layer(model):
    sides = [requests(model, texts) for texts in (HARMFUL, HARMLESS)]
    n_layers = model.card.n_layers
    found = refusal_candidates(model, *sides, token_budget=40)
    assert found.vectors.shape == (1, n_layers, model.card.d_model)
    single = refusal_vector_from_requests(
        model, *sides, layers=range(n_layers), site=Site.RESID_PRE
    )
    torch.testing.assert_close(found.vectors[-1], single.vectors, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.resid_norms, single.resid_norms, atol=1e-4, rtol=1e-4)
    one = found.at(-1, 2)
    assert (one.site, one.layers, one.n_to, one.n_from) == (Site.RESID_PRE, (2,), 3, 3)
    assert one.provenance.span_rule == single.provenance.span_rule == "post_instruction:-1"
    assert one.provenance.data_hash == single.provenance.data_hash
    assert one.provenance.fingerprint == single.provenance.fingerprint
    torch.testing.assert_close(one.at(2), single.at(2), atol=1e-5, rtol=1e-4)


def test_more_positions_reach_into_the_instruction(model):
    sides = [requests(model, texts) for texts in (HARMFUL, HARMLESS)]
    found = refusal_candidates(model, *sides, n_positions=2)
    last = refusal_candidates(model, *sides)
    torch.testing.assert_close(found.vectors[1:], last.vectors, atol=1e-5, rtol=1e-4)
    embedding = model.wrapped.W_E.detach()
    word = [[embedding[prompt.ids[-2]] for prompt in side] for side in sides]
    expected = torch.stack(word[0]).mean(dim=0) - torch.stack(word[1]).mean(dim=0)
    torch.testing.assert_close(found.at(-2, 0).at(0), expected, atol=1e-5, rtol=1e-4)
    assert found.at(-2, 0).provenance.span_rule == "prompt:-2"


def test_what_is_not_there_is_refused(model):
    sides = [requests(model, texts) for texts in (HARMFUL, HARMLESS)]
    with pytest.raises(ValueError, match="on both sides, got 0 harmful and 3 harmless"):
        refusal_candidates(model, [], sides[1])
    with pytest.raises(ValueError, match=r"expected 1 to 4 positions.*got 9"):
        refusal_candidates(model, *sides, n_positions=9)
    found = refusal_candidates(model, *sides)
    for place in ((0, 1), (-2, 1), (-1, 3)):
        with pytest.raises(ValueError, match="a position from -1 to -1 and a layer from 0 to 2"):
            found.at(*place)
