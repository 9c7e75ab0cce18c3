"""Grids of patches agree with patching one cell at a time in whole passes."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from lens_personas.hooks import Site
from lens_personas.interventions import LastTokens, head_grid, patch_grid
from lens_personas.models import LensModel, Prompt, pad

CLOSE = {"atol": 1e-4, "rtol": 1e-4}
MARGIN = LastTokens(token_ids=(7, 3), weights=(1.0, -1.0))


def said(*ids: int) -> Prompt:
    return Prompt(prompt_id="", ids=ids, prompt_length=len(ids), spans={}, text="")


# The pairs differ from the third token on, in the first token, and nowhere.
CLEAN = (said(1, 20, 31, 42, 53), said(90, 80, 70), said(5, 6, 7, 8))
CORRUPTED = (said(1, 20, 60, 42, 12), said(91, 80, 70), said(5, 6, 7, 8))


@torch.no_grad()
def metric_of(model: LensModel, prompt: Prompt, hooks: dict[Any, Any]) -> torch.Tensor:
    batch = pad([prompt], (0,), pad_id=0, device=model.device)
    resid = model.run(
        batch.tokens,
        batch.layout.positions,
        hooks=hooks,
        cache=None,
        last_layer=model.card.n_layers - 1,
    )
    logits = model.logits(resid[:, -1]).float()[0]
    return logits[7] - logits[3]


def patched(
    model: LensModel, pair: tuple[Prompt, Prompt], place: tuple[Site, int], at: Any
) -> torch.Tensor:
    """Metric of the corrupted run with the clean activation at ``place``, indexed by ``at``."""
    clean, corrupted = pair
    kept: list[torch.Tensor] = []

    def keep(activation: Any, /, *, hook: object) -> Any:
        kept.append(activation.clone())
        return activation

    def put(activation: Any, /, *, hook: object) -> Any:
        changed = activation.clone()
        target, source = at
        changed[target] = kept[0][source]
        return changed

    metric_of(model, clean, {place: keep})
    return metric_of(model, corrupted, {place: put})


@pytest.mark.parametrize("site", [Site.RESID_PRE, Site.RESID_POST, Site.ATTN_OUT, Site.MLP_OUT])
def test_every_cell_is_what_patching_it_alone_gives(site, tiny_model):
    grid = patch_grid(tiny_model, CLEAN, CORRUPTED, MARGIN, site=site, layers=(0, 2))
    assert grid.values.shape == (3, 2, 5)
    for n, pair in enumerate(zip(CLEAN, CORRUPTED, strict=True)):
        for row, layer in enumerate(grid.layers):
            for column, position in enumerate(grid.positions):
                value = grid.values[n, row, column]
                if position >= len(pair[0].ids):
                    assert value.isnan()
                    continue
                cell = (slice(None), position)
                expected = patched(tiny_model, pair, (site, layer), (cell, cell))
                torch.testing.assert_close(value, expected, **CLOSE)
    torch.testing.assert_close(grid.clean[0], metric_of(tiny_model, CLEAN[0], {}), **CLOSE)
    torch.testing.assert_close(grid.corrupted[0], metric_of(tiny_model, CORRUPTED[0], {}), **CLOSE)


def test_before_the_first_differing_token_nothing_changes_to_the_bit(tiny_model):
    grid = patch_grid(tiny_model, CLEAN, CORRUPTED, MARGIN)
    assert torch.equal(grid.values[0, :, :2], grid.corrupted[0].expand(3, 2))
    assert torch.equal(grid.values[2, :, :4], grid.corrupted[2].expand(3, 4))
    assert (grid.values[0, :, 2:] != grid.corrupted[0]).any()


def test_the_last_residual_at_the_last_token_is_the_clean_run(tiny_model):
    grid = patch_grid(tiny_model, CLEAN, CORRUPTED, MARGIN, site=Site.RESID_POST)
    torch.testing.assert_close(grid.effect[0, 2, 4], torch.tensor(1.0), **CLOSE)
    torch.testing.assert_close(grid.effect[0, 2, :4], torch.zeros(4), **CLOSE)
    # A pair that does not differ has no way to go.
    assert grid.effect[2].isnan().all()


def test_unequal_prompts_are_matched_at_their_ends(tiny_model):
    clean, corrupted = (said(1, 2, 20, 31, 42),), (said(9, 31, 40),)
    grid = patch_grid(tiny_model, clean, corrupted, MARGIN, layers=(1,), align="end")
    assert grid.positions == (-3, -2, -1)
    for column, position in enumerate(grid.positions):
        cells = (slice(None), 3 + position), (slice(None), 5 + position)
        pair = (clean[0], corrupted[0])
        expected = patched(tiny_model, pair, (Site.RESID_PRE, 1), cells)
        torch.testing.assert_close(grid.values[0, 0, column], expected, **CLOSE)


def test_the_slow_way_gives_the_same_grids(tiny_model):
    for grid in (patch_grid, head_grid):
        fast, slow = (
            grid(tiny_model, CLEAN, CORRUPTED, MARGIN, resume=resume) for resume in (True, False)
        )
        torch.testing.assert_close(fast.values, slow.values, equal_nan=True, **CLOSE)


def test_heads_are_patched_at_all_positions_or_at_one(tiny_model):
    every = head_grid(tiny_model, CLEAN, CORRUPTED, MARGIN, layers=(1, 2))
    single = head_grid(tiny_model, CLEAN, CORRUPTED, MARGIN, layers=(1, 2), positions=(2, 4))
    assert every.values.shape == (3, 2, 4, 1)
    assert single.values.shape == (3, 2, 4, 2)
    for n, pair in enumerate(zip(CLEAN, CORRUPTED, strict=True)):
        for row, layer in enumerate((1, 2)):
            for head in range(4):
                place = (Site.Z, layer)
                cell = (slice(None), slice(None), head)
                expected = patched(tiny_model, pair, place, (cell, cell))
                torch.testing.assert_close(every.values[n, row, head, 0], expected, **CLOSE)
                cell = (slice(None), 2, head)
                expected = patched(tiny_model, pair, place, (cell, cell))
                torch.testing.assert_close(single.values[n, row, head, 0], expected, **CLOSE)
    assert single.values[1:, ..., 1].isnan().all()
    assert (every.effect[0].abs() > 1e-2).any()


def test_what_makes_no_grid_is_refused(tiny_model):
    with pytest.raises(ValueError, match="one corrupted prompt for each clean one, got 3 clean"):
        patch_grid(tiny_model, CLEAN, CORRUPTED[:2], MARGIN)
    with pytest.raises(ValueError, match=r"pairs \[0, 1\] of unequal length"):
        patch_grid(tiny_model, CLEAN[:2], CORRUPTED[1::-1], MARGIN)
    with pytest.raises(ValueError, match=r"some pair has.*got \[7\]"):
        patch_grid(tiny_model, CLEAN, CORRUPTED, MARGIN, positions=(1, 7))
    with pytest.raises(ValueError, match="metric of one number a row, got 2"):
        patch_grid(tiny_model, CLEAN, CORRUPTED, LastTokens(token_ids=(7, 3)))
    for grid in (patch_grid, head_grid):
        with pytest.raises(ValueError, match="layers from 0 to 2"):
            grid(tiny_model, CLEAN, CORRUPTED, MARGIN, layers=(3,))
    other: Any = replace(
        tiny_model,
        card=replace(tiny_model.card, residual_identity_holds=False),  # type: ignore[type-var]
    )
    with pytest.raises(ValueError, match="expected a residual site, got attn_out"):
        head_grid(other, CLEAN, CORRUPTED, MARGIN)
