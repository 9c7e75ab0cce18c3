"""Gradients by activations are the slopes of the model, and leave it as it was."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from lens_personas.hooks import Edit, Site, add_direction, replace_by
from lens_personas.models import (
    LensModel,
    gradient_batches,
    load_model,
    map_last_logits,
    reads_in_sequence,
    site_gradients,
)

CLOSE = {"atol": 1e-4, "rtol": 1e-3}
SITES = (Site.RESID_PRE, Site.ATTN_OUT, Site.MLP_OUT, Site.RESID_POST)
PLACES = [(site, layer) for layer in range(3) for site in SITES]


def margin(logits: torch.Tensor) -> torch.Tensor:
    """Not linear in the logits, so that a slope at another point would show."""
    return (logits[:, 7] - logits[:, 3:6].logsumexp(dim=1))[:, None]


def margin_of(model: LensModel) -> Any:
    def score(resid: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        return margin(model.logits(resid).float())[:, 0]

    return score


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def tiny(request: pytest.FixtureRequest, loaded: Callable[[str], LensModel]) -> LensModel:
    return loaded(request.param)


def test_every_gradient_is_the_slope_of_the_metric(checkpoint, backend, prompts):
    # In float32 a difference quotient is not exact enough.
    model = load_model(checkpoint("llama"), backend=backend, device="cpu", dtype="float64")
    alone = prompts[:1]
    found = site_gradients(model, alone, margin_of(model), PLACES)
    bare = map_last_logits(model, alone, margin)[:, 0]
    torch.testing.assert_close(found.metric, bare, **CLOSE)
    generator, step, position = torch.Generator().manual_seed(0), 1e-3, 2
    for (site, layer), gradient in found.gradients.items():
        direction = torch.randn(32, generator=generator, dtype=torch.float64)
        plus, minus = (
            map_last_logits(model, alone, margin, edits=[edit])[0, 0].double()
            for edit in (
                Edit(site=site, layer=layer, hook=add_direction(each), scope=(position,))
                for each in (step * direction, -step * direction)
            )
        )
        expected = (plus - minus) / (2 * step)
        slope = gradient[0, position] @ direction
        torch.testing.assert_close(slope, expected, atol=2e-3, rtol=1e-3)


def test_prompts_do_not_see_each_other_nor_their_padding(tiny, prompts):
    together = site_gradients(tiny, prompts, margin_of(tiny), PLACES)
    for row, prompt in enumerate(prompts):
        alone = site_gradients(tiny, [prompt], margin_of(tiny), PLACES)
        n_tokens = len(prompt.ids)
        for place, gradient in together.gradients.items():
            torch.testing.assert_close(gradient[row, :n_tokens], alone.gradients[place][0], **CLOSE)
            assert not gradient[row, n_tokens:].any()
            assert gradient[row, :n_tokens].any()
    few = list(gradient_batches(tiny, prompts, margin_of(tiny), PLACES[:1], token_budget=12))
    assert len(few) > 1
    for batch in few:
        for at, row in enumerate(batch.batch.rows):
            n_tokens = len(prompts[row].ids)
            whole = together.gradients[PLACES[0]][row, :n_tokens]
            torch.testing.assert_close(batch.gradients[PLACES[0]][at, -n_tokens:], whole, **CLOSE)


def test_after_the_last_block_only_the_last_token_counts(tiny, prompts):
    gradient = site_gradients(tiny, prompts, margin_of(tiny), [(Site.RESID_POST, 2)]).gradients[
        Site.RESID_POST, 2
    ]
    for row, prompt in enumerate(prompts):
        last = len(prompt.ids) - 1
        assert gradient[row, last].any()
        assert not gradient[row, :last].any()


def test_edits_are_in_force(tiny, prompts):
    """Behind a replaced state nothing counts any more; what is above has its slope there."""
    state = torch.linspace(-1, 1, 32)
    edit = Edit(site=Site.RESID_PRE, layer=1, hook=replace_by(state))
    places = [(Site.RESID_PRE, 0), (Site.RESID_PRE, 1), (Site.MLP_OUT, 1)]
    found = site_gradients(tiny, prompts, margin_of(tiny), places, edits=[edit])
    edited = map_last_logits(tiny, prompts, margin, edits=[edit])[:, 0]
    torch.testing.assert_close(found.metric, edited, **CLOSE)
    assert not found.gradients[places[0]].any()
    assert found.gradients[places[1]].any()
    whole = Edit(site=Site.RESID_POST, layer=2, hook=replace_by(state))
    nothing = site_gradients(tiny, prompts, margin_of(tiny), places[:1], edits=[whole])
    assert not nothing.gradients[places[0]].any()


def test_weights_are_left_as_they_were(tiny, prompts):
    parameters = list(tiny.wrapped.parameters())
    before = [parameter.requires_grad for parameter in parameters]
    try:
        for at, parameter in enumerate(parameters):
            parameter.requires_grad_(at % 2 == 0)
        site_gradients(tiny, prompts, margin_of(tiny), PLACES)

        def broken(resid: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
            raise RuntimeError("half-way")

        with pytest.raises(RuntimeError, match="half-way"):
            site_gradients(tiny, prompts, broken, PLACES)
        assert all(parameter.grad is None for parameter in parameters)
        assert [each.requires_grad for each in parameters] == [
            at % 2 == 0 for at in range(len(parameters))
        ]
    finally:
        for parameter, need in zip(parameters, before, strict=True):
            parameter.requires_grad_(need)


def test_what_has_no_gradient_is_refused(tiny, prompts):
    score = margin_of(tiny)
    with pytest.raises(ValueError, match="one prompt and one place, got 0 and 1"):
        site_gradients(tiny, [], score, PLACES[:1])
    with pytest.raises(ValueError, match="one prompt and one place, got 4 and 0"):
        site_gradients(tiny, prompts, score, [])
    with pytest.raises(ValueError, match="a layer from 0 to 2, got 3"):
        site_gradients(tiny, prompts, score, [(Site.RESID_PRE, 3)])
    with pytest.raises(ValueError, match="a site of width d_model"):
        site_gradients(tiny, prompts, score, [(Site.Z, 0)])
    if not tiny.card.edits_resid_mid:
        with pytest.raises(ValueError, match="resid_mid does not reach"):
            site_gradients(tiny, prompts, score, [(Site.RESID_MID, 0)])
    with pytest.raises(ValueError, match="one number for each of 4 rows, got shape"):
        site_gradients(tiny, prompts, lambda resid, rows: resid[:, :2], PLACES[:1])
    with pytest.raises(ValueError, match="operations torch can differentiate"):
        site_gradients(tiny, prompts, lambda resid, rows: resid[:, 0].detach(), PLACES[:1])


@pytest.mark.parametrize(
    ("name", "expected"), [("llama", True), ("gpt2", True), ("parallel", False)]
)
def test_which_blocks_read_in_sequence(name, expected, loaded):
    assert reads_in_sequence(loaded(name)) is expected
