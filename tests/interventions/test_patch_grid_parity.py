"""Grids of patches are those of ``transformer_lens.patching``."""

from functools import partial
from typing import Any

import pytest
import torch
from transformer_lens import patching

from lens_personas.hooks import Site
from lens_personas.interventions import LastTokens, head_grid, patch_grid
from lens_personas.models import LensModel, Prompt, load_model

CLOSE = {"atol": 1e-4, "rtol": 1e-4}
MARGIN = LastTokens(token_ids=(7, 3), weights=(1.0, -1.0))
SITES = {
    Site.RESID_PRE: "get_act_patch_resid_pre",
    Site.ATTN_OUT: "get_act_patch_attn_out",
    Site.MLP_OUT: "get_act_patch_mlp_out",
}


def said(*ids: int) -> Prompt:
    return Prompt(prompt_id="", ids=ids, prompt_length=len(ids), spans={}, text="")


CLEAN, CORRUPTED = said(1, 20, 31, 42, 53), said(1, 20, 60, 42, 12)


@pytest.fixture(scope="module")
def hooked(tiny_checkpoint: Any) -> LensModel:
    return load_model(tiny_checkpoint, backend="hooked_transformer", device="cpu")


@pytest.fixture(scope="module")
def reference(hooked: LensModel) -> Any:
    """TransformerLens' function of a name, given the two prompts."""
    _, cache = hooked.wrapped.run_with_cache(torch.tensor([CLEAN.ids]))

    def run(name: str) -> torch.Tensor:
        make = getattr(patching, name)
        tokens = torch.tensor([CORRUPTED.ids])
        return torch.as_tensor(make(hooked.wrapped, tokens, cache, margin)).float()

    return run


def margin(logits: torch.Tensor) -> torch.Tensor:
    return logits[0, -1, 7] - logits[0, -1, 3]


@pytest.mark.parametrize("site", SITES)
def test_sites_by_layer_and_position(site, hooked, reference):
    grid = patch_grid(hooked, [CLEAN], [CORRUPTED], MARGIN, site=site)
    torch.testing.assert_close(grid.values[0], reference(SITES[site]), **CLOSE)
    assert grid.values[0].std() > 1e-2


def test_heads_at_all_positions_and_at_each(hooked, reference):
    grid = partial(head_grid, hooked, [CLEAN], [CORRUPTED], MARGIN)
    everywhere = reference("get_act_patch_attn_head_out_all_pos")
    torch.testing.assert_close(grid().values[0, ..., 0], everywhere, **CLOSE)
    each = reference("get_act_patch_attn_head_out_by_pos")
    values = grid(positions=range(5)).values[0]
    torch.testing.assert_close(values, each.permute(0, 2, 1), **CLOSE)
    assert everywhere.std() > 1e-2
