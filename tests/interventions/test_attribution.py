"""Attributions of grids and heads: sums that have to hold, and how fast they become patches."""

from typing import Any

import pytest
import torch

from lens_personas.hooks import Edit, Site, patch_positions
from lens_personas.interventions import (
    Arm,
    ByCell,
    LastTokens,
    attribution_grid,
    head_attribution,
    head_grid,
    metric_gradients,
    patch_grid,
    sweep,
)
from lens_personas.models import LensModel, Prompt, load_model, pad, run_batch

CLOSE = {"atol": 2e-3, "rtol": 1e-3}
MARGIN = LastTokens(token_ids=(7, 3), weights=(1.0, -1.0))
# Enough for random weights, whose metric bends far more on the way than a trained model's.
FINE = 96


def said(*ids: int) -> Prompt:
    return Prompt(prompt_id="", ids=ids, prompt_length=len(ids), spans={}, text="")


# The pairs differ from the third token on, in the first token, and nowhere.
CLEAN = (said(1, 20, 31, 42, 53), said(90, 80, 70), said(5, 6, 7, 8))
CORRUPTED = (said(1, 20, 60, 42, 12), said(91, 80, 70), said(5, 6, 7, 8))


def near_pairs() -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
    """The second pair is half as far apart as the first."""
    clean = tuple(said(1, 20, token, 42, token, 9) for token in (61, 62))
    return clean, (said(1, 20, 60, 42, 60, 9),) * 2


@pytest.fixture(scope="module")
def one_model(tiny_checkpoint: Any) -> LensModel:
    """The installed TransformerLens' own class: gradients of both are held in tests/models."""
    return load_model(tiny_checkpoint, device="cpu")


def assert_second_order(foretold: Any, patched: Any) -> None:
    missed = (foretold.values - patched.values).flatten(1).norm(dim=1)
    change = (patched.values.flatten(1) - patched.corrupted[:, None]).norm(dim=1)
    assert (missed < 0.2 * change).all()
    assert 3 < missed[0] / missed[1] < 5


@pytest.mark.parametrize("site", [Site.RESID_PRE, Site.ATTN_OUT, Site.MLP_OUT])
def test_half_the_step_leaves_a_quarter_of_the_error(site, near_model):
    """An attribution is the first order of a patch, so what it misses is of the second."""
    patched = patch_grid(near_model, *near_pairs(), MARGIN, site=site)
    foretold = attribution_grid(near_model, *near_pairs(), MARGIN, site=site)
    torch.testing.assert_close(foretold.clean, patched.clean)
    torch.testing.assert_close(foretold.corrupted, patched.corrupted)
    assert_second_order(foretold, patched)


def test_so_it_is_for_heads(near_model):
    for positions in (None, (2, 4)):
        patched = head_grid(near_model, *near_pairs(), MARGIN, positions=positions)
        foretold = head_attribution(near_model, *near_pairs(), MARGIN, positions=positions)
        assert_second_order(foretold, patched)


def test_integrated_gradients_of_a_layer_sum_to_the_whole_way(one_model):
    """Every layer's residuals, all put in place, give the clean run."""
    options: Any = {"layers": (1, 2), "steps": FINE}
    grid = attribution_grid(one_model, CLEAN, CORRUPTED, MARGIN, method="integrated", **options)
    assert grid.method == "integrated"
    total = (grid.values - grid.corrupted[:, None, None]).nansum(dim=2)
    way = grid.clean - grid.corrupted
    torch.testing.assert_close(total, way[:, None].expand(3, 2), **CLOSE)
    assert way[:2].abs().min() > 0.05
    plain = attribution_grid(one_model, CLEAN, CORRUPTED, MARGIN, **options)
    off = (plain.values - plain.corrupted[:, None, None]).nansum(dim=2) - way[:, None]
    assert off.abs().max() > 0.05, "the model is linear here, so the sum would show nothing"


@pytest.mark.parametrize("site", [Site.ATTN_OUT, Site.MLP_OUT])
def test_those_of_a_component_sum_to_its_patch_at_all_positions(site, one_model):
    grid = attribution_grid(
        one_model, CLEAN[:2], CORRUPTED[:2], MARGIN, site=site, method="integrated", steps=FINE
    )
    total = (grid.values - grid.corrupted[:, None, None]).nansum(dim=2)
    for index, layer in enumerate(grid.layers):
        batch = pad(CLEAN[:2], (0, 1), pad_id=0, device=one_model.device)
        states = run_batch(one_model, batch, reads=[(site, layer)]).reads[site, layer]
        hook = patch_positions(states, batch.layout)
        arm = Arm(prompts=(0, 1), edits=(Edit(site=site, layer=layer, hook=hook, per_pass=True),))
        (whole,) = sweep(one_model, CORRUPTED[:2], [arm], MARGIN)
        torch.testing.assert_close(total[:, index], whole[:, 0] - grid.corrupted, **CLOSE)


def test_heads_of_a_layer_sum_to_its_attention(tiny_model):
    options: Any = {"method": "integrated", "steps": 2}
    layer = attribution_grid(tiny_model, CLEAN, CORRUPTED, MARGIN, site=Site.ATTN_OUT, **options)
    everywhere = head_attribution(tiny_model, CLEAN, CORRUPTED, MARGIN, **options)
    single = head_attribution(
        tiny_model, CLEAN, CORRUPTED, MARGIN, positions=layer.positions, layers=(0, 2), **options
    )
    assert everywhere.values.shape == (3, 3, 4, 1)
    assert single.values.shape == (3, 2, 4, 5)
    by_position = layer.values - layer.corrupted[:, None, None]
    heads = everywhere.values - everywhere.corrupted[:, None, None, None]
    torch.testing.assert_close(heads.sum(dim=(2, 3)), by_position.nansum(dim=2), **CLOSE)
    heads = (single.values - single.corrupted[:, None, None, None]).sum(dim=2)
    torch.testing.assert_close(heads, by_position[:, ::2], equal_nan=True, **CLOSE)


def test_one_position_that_differs_is_foretold_exactly(one_model):
    """All positions of a layer move together: where there is one, the line is the patch's own."""
    clean, corrupted = (said(1, 20, 31),), (said(1, 20, 60),)
    patched = patch_grid(one_model, clean, corrupted, MARGIN, layers=(1, 2))
    foretold = attribution_grid(
        one_model, clean, corrupted, MARGIN, layers=(1, 2), method="integrated", steps=FINE
    )
    torch.testing.assert_close(foretold.values, patched.values, **CLOSE)
    assert torch.equal(foretold.values[..., :2], patched.values[..., :2])


def test_unequal_prompts_are_matched_at_their_ends(one_model):
    clean, corrupted = (said(1, 2, 20, 31, 42),), (said(9, 31, 40),)
    options: Any = {"site": Site.RESID_POST, "layers": (2,), "align": "end"}
    patched = patch_grid(one_model, clean, corrupted, MARGIN, **options)
    foretold = attribution_grid(
        one_model, clean, corrupted, MARGIN, method="integrated", steps=FINE, **options
    )
    assert foretold.positions == patched.positions == (-3, -2, -1)
    torch.testing.assert_close(foretold.values, patched.values, **CLOSE)
    torch.testing.assert_close(foretold.effect[0, 0, 2], torch.tensor(1.0), **CLOSE)


def test_cells_that_cannot_change_are_the_corrupted_run_to_the_bit(one_model):
    for method in ("plain", "integrated"):
        grid = attribution_grid(
            one_model, CLEAN, CORRUPTED, MARGIN, method=method, steps=2, positions=(1, 4, -1)
        )
        corrupted = grid.corrupted[:, None]
        assert torch.equal(grid.values[0, :, 0], corrupted[0].expand(3))
        assert torch.equal(grid.values[2, :, 2], corrupted[2].expand(3))
        assert grid.values[1, :, 1].isnan().all()
        assert (grid.values[0, :, 1] == grid.values[0, :, 2]).all()
        assert grid.effect[2].isnan().all()


def test_a_metric_may_know_whose_logits_it_sees(one_model):
    """The divergence from the corrupted run is least there: no slope, yet a way to go."""
    base: list[torch.Tensor] = []

    def keep(logits: torch.Tensor) -> torch.Tensor:
        base.append(logits)
        return logits[:, :1]

    sweep(one_model, CORRUPTED, [Arm(prompts=(0, 1, 2), edits=())], keep, resume=False)
    # Batches come by length; one batch holds them all.
    rows = dict(zip((1, 2, 0), torch.cat(base).log_softmax(dim=1), strict=True))

    def divergence(logits: torch.Tensor, cells: Any) -> torch.Tensor:
        known = torch.stack([rows[cell.prompt % 3] for cell in cells])
        return (known.exp() * (known - logits.log_softmax(dim=1))).sum(dim=1, keepdim=True)

    metric = ByCell(reduce=divergence)
    found = metric_gradients(one_model, CORRUPTED, metric, [(Site.RESID_PRE, 1)])
    assert found.metric.abs().max() < 1e-4
    assert found.gradients[Site.RESID_PRE, 1].abs().max() < 1e-3
    grid = attribution_grid(
        one_model, CLEAN, CORRUPTED, metric, layers=(1,), method="integrated", steps=FINE
    )
    total = (grid.values - grid.corrupted[:, None, None]).nansum(dim=2)[:, 0]
    torch.testing.assert_close(total, grid.clean, **CLOSE)
    assert grid.clean[0] > 0.05


def test_what_has_no_attribution_is_refused(one_model):
    for foretell in (attribution_grid, head_attribution):
        with pytest.raises(ValueError, match="at least one step along the line, got 0"):
            foretell(one_model, CLEAN, CORRUPTED, MARGIN, method="integrated", steps=0)
        with pytest.raises(ValueError, match="layers from 0 to 2"):
            foretell(one_model, CLEAN, CORRUPTED, MARGIN, layers=(3,))
        with pytest.raises(ValueError, match=r"some pair has.*got \[7\]"):
            foretell(one_model, CLEAN, CORRUPTED, MARGIN, positions=(1, 7))
        with pytest.raises(ValueError, match=r"pairs \[0, 1\] of unequal length"):
            foretell(one_model, CLEAN[:2], CORRUPTED[1::-1], MARGIN)
    with pytest.raises(ValueError, match="metric of one number a row, got 2"):
        metric_gradients(one_model, CLEAN, LastTokens(token_ids=(7, 3)), [(Site.RESID_PRE, 0)])
