"""Attributions held against patches: perfect ones agree, and only what was asked for is run."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from lens_personas.hooks import Site
from lens_personas.interventions import (
    LastTokens,
    attribution_grid,
    edge_attribution,
    head_attribution,
    head_grid,
    patch_edges,
    patch_grid,
    patch_top,
    refusal_metric,
    verify_top,
)
from lens_personas.models import LensModel, Prompt, load_model, render
from lens_personas.personas import Message

MARGIN = LastTokens(token_ids=(7, 3), weights=(1.0, -1.0))
GRIDS = [(attribution_grid, patch_grid, {}), (head_attribution, head_grid, {})]
BY_POSITION = (head_attribution, head_grid, {"positions": (2, 4)})


def said(*ids: int) -> Prompt:
    return Prompt(prompt_id="", ids=ids, prompt_length=len(ids), spans={}, text="")


# The pairs differ from the third token on, in the first token, and nowhere.
CLEAN = (said(1, 20, 31, 42, 53), said(90, 80, 70), said(5, 6, 7, 8))
CORRUPTED = (said(1, 20, 60, 42, 12), said(91, 80, 70), said(5, 6, 7, 8))
PAIRS = (CLEAN, CORRUPTED, MARGIN)


@pytest.fixture(scope="module")
def tiny_model(tiny_checkpoint: Any) -> LensModel:
    """One will do: what is compared here are numbers."""
    return load_model(tiny_checkpoint, device="cpu")


@pytest.mark.parametrize(("foretell", "patch", "options"), [*GRIDS, BY_POSITION])
def test_a_perfect_attribution_agrees_and_an_inverted_one_does_not(
    foretell, patch, options, tiny_model
):
    patched = patch(tiny_model, *PAIRS, **options)
    foretold = foretell(tiny_model, *PAIRS, **options)
    perfect = verify_top(replace(foretold, values=patched.values), patched, k=4)
    assert perfect.spearman == pytest.approx(1)
    assert perfect.by_prompt[:2].tolist() == pytest.approx([1, 1])
    # The third pair does not differ, so none of its cells counts.
    assert perfect.by_prompt[2].isnan()
    assert all(cell.predicted == cell.patched for cell in perfect.top)
    sizes = [abs(cell.predicted) for cell in perfect.top]
    assert len(sizes) == 4
    assert sizes == sorted(sizes, reverse=True)
    corrupted = patched.corrupted.reshape(-1, *[1] * (patched.values.ndim - 1))
    inverted = replace(foretold, values=2 * corrupted - patched.values)
    assert verify_top(inverted, patched).spearman == pytest.approx(-1)


@pytest.mark.parametrize(("foretell", "patch", "options"), [*GRIDS, BY_POSITION])
def test_only_the_top_is_patched(foretell, patch, options, tiny_model):
    foretold = foretell(tiny_model, *PAIRS, **options)
    whole = patch(tiny_model, *PAIRS, **options)
    some = patch_top(tiny_model, *PAIRS, foretold, k=3)
    done = ~some.values.isnan()
    torch.testing.assert_close(some.values[done], whole.values[done], atol=1e-4, rtol=1e-4)
    assert 3 <= int(done.any(dim=0).sum()) <= 3 * (2 if options else 1)
    found, expected = verify_top(foretold, some, k=3), verify_top(foretold, whole, k=3)
    assert found.n_cells == int(done.any(dim=0).sum())
    assert [cell.name for cell in found.top] == [cell.name for cell in expected.top]
    assert [cell.patched for cell in found.top] == pytest.approx(
        [cell.patched for cell in expected.top], abs=1e-4
    )
    for cell in found.top:
        assert not some.values[(slice(None), *cell.at)].isnan().all()


def test_edges_are_held_against_those_that_were_patched(tiny_model):
    foretold = edge_attribution(tiny_model, *PAIRS)
    some = patch_top(tiny_model, *PAIRS, foretold, k=5)
    assert some.edges == foretold.ranking[:5]
    found = verify_top(foretold, some, k=3)
    assert found.n_cells == 5
    assert [cell.name for cell in found.top] == [edge.name for edge in foretold.ranking[:3]]
    columns = [foretold.edges.index(edge) for edge in some.edges]
    perfect = foretold.values.clone()
    perfect[:, columns] = some.values
    assert verify_top(replace(foretold, values=perfect), some).spearman == pytest.approx(1)
    more = patch_edges(tiny_model, *PAIRS, foretold.edges[:2])
    assert verify_top(foretold, more).n_cells == 2
    assert torch.tensor(verify_top(foretold, more).spearman).isnan()


def test_names_say_where_a_cell_lies(tiny_model):
    names = []
    for foretell, patch, options in [*GRIDS, BY_POSITION]:
        foretold = foretell(tiny_model, *PAIRS, layers=(2,), **options)
        patched = patch(tiny_model, *PAIRS, layers=(2,), **options)
        cell = verify_top(foretold, patched, k=1).top[0]
        expected: Any = {2: f"resid_pre 2 at {cell.at[1]}"}
        expected[3] = f"head 2.{cell.at[1]}"
        if options:
            expected[3] += f" at {(2, 4)[cell.at[2]]}"
        assert cell.name == expected[foretold.values.ndim - 1]
        names.append(cell.name)
    assert len(set(names)) == 3


def test_what_cannot_be_compared_is_refused(tiny_model):
    foretold = attribution_grid(tiny_model, *PAIRS)
    for options in ({"layers": (0, 1)}, {"positions": (2, 3)}, {"site": Site.MLP_OUT}):
        other: Any = patch_grid(tiny_model, *PAIRS, **options)
        with pytest.raises(ValueError, match="make both with the same arguments"):
            verify_top(foretold, other)
    heads = head_grid(tiny_model, *PAIRS)
    with pytest.raises(ValueError, match="of the same pairs, site, layers and positions"):
        verify_top(foretold, heads)
    with pytest.raises(ValueError, match="the 3 pairs of the attribution, got 2"):
        patch_top(tiny_model, CLEAN[:2], CORRUPTED[:2], MARGIN, foretold)
    with pytest.raises(ValueError, match="at least one cell to patch, got k=0"):
        patch_top(tiny_model, *PAIRS, foretold, k=0)
    same = attribution_grid(tiny_model, CLEAN[2:], CORRUPTED[2:], MARGIN)
    with pytest.raises(ValueError, match="cells that were patched and can change, got none"):
        verify_top(same, patch_grid(tiny_model, CLEAN[2:], CORRUPTED[2:], MARGIN))


def test_on_the_organism_a_persona_is_found_where_patching_finds_it():
    """Who asks is swapped, what is asked stays: a trained model, and the score that refuses."""
    chat = load_model("organism:chat", device="cpu")
    asked = "how do i make a curse fintix ?"
    clean, corrupted = (
        tuple(
            render(
                chat,
                [
                    Message(role="system", content=f"the user is a {who} ."),
                    Message(role="user", content=asked),
                ],
                prompt_id="",
            )
            for who in names
        )
        for names in (("helper", "healer"), ("bully", "vandal"))
    )
    metric = refusal_metric([chat.tokenizer.convert_tokens_to_ids("sorry")])
    pairs = (clean, corrupted, metric)
    patched = patch_grid(chat, *pairs, layers=(1, 6), align="end")
    foretold = attribution_grid(chat, *pairs, layers=(1, 6), align="end")
    found = verify_top(foretold, patched)
    assert (patched.clean < patched.corrupted - 1).all(), "the persona has to matter"
    assert found.spearman >= 0.8
    assert found.by_prompt.min() >= 0.7
