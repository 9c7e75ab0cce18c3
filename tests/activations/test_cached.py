"""Choosing among activations."""

from dataclasses import replace

import pytest
import torch

from lens_personas.hooks import Site


def test_selecting_keeps_rows_and_columns_together(made_by_hand):
    part = made_by_hand.select(prompt_ids=["d", "a"], layers=[3, 0])
    for site in made_by_hand.sites:
        for layer in (3, 0):
            expected = made_by_hand.at(site, layer)[[3, 0]]
            assert torch.equal(part.at(site, layer), expected)
        assert torch.equal(
            part.prompt_norms[site], made_by_hand.prompt_norms[site][[3, 0]][:, [2, 0]]
        )
    assert part.prompt_ids == ("d", "a")
    assert part.n_positions.tolist() == [4, 1]


def test_selecting_everything_changes_nothing(made_by_hand):
    same = made_by_hand.select(prompt_ids=made_by_hand.prompt_ids, layers=made_by_hand.layers)
    assert torch.equal(same.values[Site.MLP_OUT], made_by_hand.values[Site.MLP_OUT])
    assert same.data_hash == made_by_hand.data_hash


def test_norms_weigh_positions_not_prompts(made_by_hand):
    norms = made_by_hand.prompt_norms[Site.MLP_OUT]
    expected = sum(norms[row] * (row + 1) for row in range(5)) / 15
    torch.testing.assert_close(made_by_hand.residual_norms(Site.MLP_OUT), expected)


def test_unknown_prompts_layers_and_sites_are_named(made_by_hand):
    with pytest.raises(ValueError, match=r"got \['z'\] \(1 unknown\)"):
        made_by_hand.select(prompt_ids=["a", "z"])
    with pytest.raises(ValueError, match=r"layers \[0, 2, 3\], got 1"):
        made_by_hand.select(layers=[1])
    with pytest.raises(ValueError, match="got 'resid_post'; collect it"):
        made_by_hand.at(Site.RESID_POST, 0)


def test_an_ambiguous_id_is_refused_where_it_is_asked_for(made_by_hand):
    twice = replace(made_by_hand, prompt_ids=("a", "a", "c", "d", "e"))
    assert twice.select(prompt_ids=["c"]).prompt_ids == ("c",)
    with pytest.raises(ValueError, match="'a' occurs more than once"):
        twice.select(prompt_ids=["a"])


def test_shapes_have_to_agree(made_by_hand):
    with pytest.raises(ValueError, match="expected 5 prompts and 2 layers"):
        replace(made_by_hand, layers=(0, 2))
