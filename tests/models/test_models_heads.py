"""Weights of heads: the same on both backends, and what the model itself computes with."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from lens_personas.hooks import Edit, Site, replace_by
from lens_personas.interventions import LastTokens, head_grid
from lens_personas.models import (
    LensModel,
    Prompt,
    attention_reads,
    check_heads_add_up,
    check_values_mix,
    head_weights,
    model_batches,
    per_head,
    run_batch,
    value_weights,
    written_by_heads,
)

Loaded = Callable[[str], LensModel]
# Grouped heads, biases of values and output, attention and MLP side by side, wide heads.
NAMES = ("llama", "gpt2", "qwen2", "parallel", "wide_heads", "attention_bias")


def get(loaded: Loaded, name: str, backend: str) -> LensModel:
    if name == "attention_bias" and backend == "hooked_transformer":
        pytest.skip("HookedTransformer drops these biases, so the model is refused at load")
    return loaded(name)


def read(
    model: LensModel, prompts: Sequence[Prompt], sites: Sequence[Site], edits: Sequence[Edit] = ()
) -> dict[Site, Any]:
    (batch,) = model_batches(model, prompts[:1])
    run = run_batch(model, batch, reads=[(site, 1) for site in sites], edits=edits)
    return {site: run.reads[site, 1][0].float() for site in sites}


@pytest.mark.parametrize("name", NAMES)
def test_heads_and_bias_add_up_to_what_attention_writes(
    loaded: Loaded, prompts: Sequence[Prompt], name: str, backend: str
) -> None:
    model = get(loaded, name, backend)
    seen = read(model, prompts, (Site.Z, Site.ATTN_OUT))
    weights = head_weights(model, 1)
    written = written_by_heads(seen[Site.Z], weights)
    assert written.shape[1] == model.card.n_heads
    torch.testing.assert_close(
        written.sum(dim=1) + weights.b_o, seen[Site.ATTN_OUT], atol=1e-4, rtol=1e-4
    )
    check_heads_add_up(model, 1, written, seen[Site.ATTN_OUT], weights.b_o)
    with pytest.raises(ValueError, match="heads of layer 1 to add up to attn_out, they are off"):
        check_heads_add_up(model, 1, written, 1.01 * seen[Site.ATTN_OUT], weights.b_o)


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen2"])
def test_values_are_what_the_model_computes_of_a_residual(
    loaded: Loaded, prompts: Sequence[Prompt], name: str, backend: str
) -> None:
    model = get(loaded, name, backend)
    direction = torch.randn(model.card.d_model, generator=torch.Generator().manual_seed(2))
    # The norm's bias and the values' own are the same for a direction and its opposite. Long
    # ones, so that the norm's epsilon does not count.
    both = [
        read(
            model,
            prompts,
            (Site.V,),
            (Edit(site=Site.RESID_PRE, layer=1, hook=replace_by(sign * direction)),),
        )[Site.V][0]
        for sign in (50, -50)
    ]
    own = per_head((both[0] - both[1]) / 2, model.card.n_heads)
    weights = value_weights(model, 1)
    (seen,) = attention_reads(model, 1, direction[None])
    torch.testing.assert_close(torch.einsum("m,hmd->hd", seen, weights), own, atol=1e-3, rtol=1e-3)
    (opposite,) = attention_reads(model, 1, -direction[None])
    torch.testing.assert_close(opposite, -seen, atol=1e-5, rtol=1e-5)


def test_a_norm_after_the_attention_is_refused(loaded: Loaded, prompts: Sequence[Prompt]) -> None:
    model = loaded("gemma2")
    assert model.card.residual_identity_holds
    seen = read(model, prompts, (Site.Z, Site.ATTN_OUT))
    weights = head_weights(model, 1)
    with pytest.raises(ValueError, match="such as a norm: use attn_out as a whole"):
        check_heads_add_up(
            model, 1, written_by_heads(seen[Site.Z], weights), seen[Site.ATTN_OUT], weights.b_o
        )
    # Patches of heads are made by what the heads write, so they are refused with it.
    with pytest.raises(ValueError, match=r"heads of layer 0 to add up to attn_out.*such as a norm"):
        head_grid(model, prompts, prompts, LastTokens(token_ids=(3,)))


def test_heads_that_mix_otherwise_are_refused(loaded: Loaded) -> None:
    model = loaded("llama")
    own = torch.ones(2, 4)
    check_values_mix(model, 0, own + 1e-5, own)
    with pytest.raises(ValueError, match=r"mix their values by the attention pattern.*gating"):
        check_values_mix(model, 0, own / 2, own)


def test_layers_that_do_not_exist_are_refused(loaded: Loaded) -> None:
    model = loaded("llama")
    for layer in (-1, model.card.n_layers):
        with pytest.raises(ValueError, match=f"layer from 0 to 2, got {layer}"):
            head_weights(model, layer)
        with pytest.raises(ValueError, match=f"layer from 0 to 2, got {layer}"):
            attention_reads(model, layer, torch.ones(1, model.card.d_model))


def test_one_entry_a_head_of_what_neighbours_share() -> None:
    shared = torch.tensor([[1.0], [2.0]])
    assert per_head(shared, 4)[:, 0].tolist() == [1, 1, 2, 2]
