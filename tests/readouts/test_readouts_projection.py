"""A direction and the lens over one conversation, token by token."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lens_personas.hooks import Edit, Site, add_direction
from lens_personas.models import LensModel, Prompt, load_model, plain_prompt, render
from lens_personas.personas import Message
from lens_personas.readouts import lens_table, logit_lens, projection_trace, token_turns

MakePrompts = Callable[..., list[Prompt]]
TALK = [
    Message(role="system", content="the user is a teacher"),
    Message(role="user", content="who are you ?"),
    Message(role="assistant", content="i am here"),
    Message(role="user", content="tea ?"),
]


@pytest.fixture(scope="module")
def speaker(tiny_checkpoint: Any, backend: Any) -> LensModel:
    return load_model(str(tiny_checkpoint), backend=backend, device="cpu")


def direction_of(model: LensModel) -> torch.Tensor:
    return torch.randn(model.card.d_model, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_values_are_the_residuals_length_along_the_direction(
    model: LensModel, plain: Any, make_prompts: MakePrompts
) -> None:
    prompt = make_prompts(2, answer=2)[1]
    direction = direction_of(model)
    # What goes into layer 2 is what comes out of layer 1.
    states = plain.hf(torch.tensor([list(prompt.ids)]), output_hidden_states=True).hidden_states
    expected = states[2][0] @ (direction / direction.norm())
    found = projection_trace(model, prompt, 3 * direction, layer=1)
    torch.testing.assert_close(found.values, expected, atol=1e-4, rtol=1e-4)
    before = projection_trace(model, prompt, -direction, layer=2, site=Site.RESID_PRE)
    torch.testing.assert_close(before.values, -expected, atol=1e-4, rtol=1e-4)
    assert (before.layer, before.site) == (2, Site.RESID_PRE)


def test_an_edit_along_the_direction_moves_every_value(
    model: LensModel, make_prompts: MakePrompts
) -> None:
    (prompt,) = make_prompts(1)
    direction = direction_of(model)
    edit = Edit(site=Site.RESID_POST, layer=1, hook=add_direction(direction))
    moved = projection_trace(model, prompt, direction, layer=1, edits=[edit])
    still = projection_trace(model, prompt, direction, layer=1)
    expected = torch.full((len(prompt.ids),), float(direction.norm()))
    torch.testing.assert_close(moved.values - still.values, expected, atol=1e-4, rtol=1e-4)


def test_every_token_knows_its_turn(speaker: LensModel) -> None:
    prompt = render(speaker, TALK, answer="no thank you")
    found = projection_trace(speaker, prompt, direction_of(speaker), layer=0)
    assert len(found.tokens) == len(found.roles) == len(found.turns) == len(prompt.ids)
    said = [
        (" ".join(t for t, n in zip(found.tokens, found.turns, strict=True) if n == turn))
        for turn in range(5)
    ]
    assert said == [*(each.content for each in TALK), "no thank you"]
    by_turn = dict(zip(found.turns, found.roles, strict=True))
    assert [by_turn[n] for n in range(5)] == [*(each.role for each in TALK), "assistant"]
    assert by_turn[-1] == "template"
    between = {t for t, n in zip(found.tokens, found.turns, strict=True) if n < 0}
    assert between == {"<bos>", "<|system|>", "<|user|>", "<|assistant|>"}


def test_a_text_that_is_no_conversation_has_its_answer_alone(speaker: LensModel) -> None:
    prompt = plain_prompt(speaker, "the user is", answer="a teacher")
    assert token_turns(prompt) == (*[-1] * prompt.prompt_length, 0, 0)
    found = projection_trace(speaker, prompt, direction_of(speaker), layer=0)
    assert found.roles == (*["template"] * prompt.prompt_length, "assistant", "assistant")


def test_what_cannot_be_projected_is_refused(model: LensModel, make_prompts: MakePrompts) -> None:
    (prompt,) = make_prompts(1)
    with pytest.raises(ValueError, match="finite, positive norm"):
        projection_trace(model, prompt, torch.zeros(model.card.d_model), layer=0)
    with pytest.raises(ValueError, match="site of the residual's width to read, got z"):
        projection_trace(model, prompt, direction_of(model), layer=0, site=Site.Z)
    with pytest.raises(ValueError, match="layer from 0 to 2, got 3"):
        projection_trace(model, prompt, direction_of(model), layer=3)


def test_the_table_is_the_lens_at_every_token(speaker: LensModel) -> None:
    prompt = render(speaker, TALK)
    found = lens_table(speaker, prompt, k=3, layers=[2, 0])
    whole = logit_lens(speaker, [prompt], at="all", top_k=3)
    assert found.layers == (2, 0)
    assert torch.equal(found.ids, whole.top_ids[[2, 0]])
    torch.testing.assert_close(found.log_probs, whole.top_log_prob[[2, 0]])
    assert found.ids.shape == (2, len(prompt.ids), 3)
    assert len(found.tokens) == len(prompt.ids)
    assert set(found.tokens_of) == set(found.ids.flatten().tolist())
    assert all(found.tokens_of[each] for each in found.tokens_of)
    assert found.is_exact
    for k in (0, speaker.card.d_vocab + 1):
        with pytest.raises(ValueError, match=f"k from 1 to {speaker.card.d_vocab} tokens, got {k}"):
            lens_table(speaker, prompt, k=k)
