"""Patching goes by a token's position, whatever the padding on either side."""

import pytest
import torch

from lens_personas.hooks import Edit, Site, TokenLayout, patch_positions


def right_padded(prompt_length: list[int], n_tokens: list[int]) -> TokenLayout:
    columns = torch.arange(max(n_tokens)).expand(len(n_tokens), -1)
    real = columns < torch.tensor(n_tokens)[:, None]
    return TokenLayout(
        positions=torch.where(real, columns, -1),
        prompt_length=torch.tensor(prompt_length),
        spans={},
    )


def numbered(layout: TokenLayout) -> torch.Tensor:
    """State of each token: ten times its row, plus its position."""
    rows = torch.arange(len(layout.positions))[:, None]
    return (10.0 * rows + layout.positions)[..., None].expand(-1, -1, 8).contiguous()


def patch(maker: object, **options: object) -> Edit:
    return Edit(site=Site.RESID_POST, layer=1, hook=maker, per_pass=True, **options)


@pytest.mark.parametrize("scope", ["all", "prompt", "last_prompt", (0, -1)])
def test_positions_meet_across_padding_and_in_cached_steps(scope, layout, activation, run_edits):
    from lens_personas.hooks import scope_mask

    origin = right_padded([4, 2], [7, 4])
    edited = run_edits([patch(patch_positions(numbered(origin), origin), scope=scope)])
    mask = scope_mask(scope, layout)
    assert torch.equal(edited[mask], numbered(layout)[mask])
    assert torch.equal(edited[~mask], activation[~mask])


def test_a_left_padded_source_serves_as_well(layout, activation, run_edits):
    edited = run_edits([patch(patch_positions(numbered(layout), layout))])
    real = layout.positions >= 0
    assert torch.equal(edited[real], numbered(layout)[real])
    assert torch.equal(edited[~real], activation[~real])


def test_aligned_at_the_end_last_prompt_tokens_meet(run_edits):
    origin = right_padded([6, 3], [6, 3])
    maker = patch_positions(numbered(origin), origin, align="end")
    edited = run_edits([patch(maker, scope=(-1, -2))])
    assert edited[0, [2, 3], 0].tolist() == [4.0, 5.0]
    assert edited[1, [2, 3], 0].tolist() == [11.0, 12.0]


def test_source_rows_go_by_number_not_by_place(layout, run_edits):
    origin = right_padded([2, 4], [4, 6])
    maker = patch_positions(numbered(origin), origin, rows=(1, 0))
    edited = run_edits([patch(maker, scope=(0,))])
    assert edited[0, 0, 0] == 10.0
    assert edited[1, 2, 0] == 0.0


def test_a_position_without_a_source_state_is_an_error(layout, run_edits):
    origin = right_padded([4, 2], [5, 2])
    with pytest.raises(ValueError, match=r"every position in scope, got none at \[2, 3, 5\]"):
        run_edits([patch(patch_positions(numbered(origin), origin))])


def test_a_prompt_without_a_source_row_is_an_error(run_edits):
    origin = right_padded([4], [6])
    with pytest.raises(ValueError, match=r"among the source's \[0\], got \[1\]"):
        run_edits([patch(patch_positions(numbered(origin), origin), scope=(0,))])


def test_source_layout_and_rows_have_to_agree():
    origin = right_padded([4, 2], [6, 4])
    with pytest.raises(ValueError, match=r"a source of \(2, 6\) rows and columns .* got \(2, 3\)"):
        patch_positions(torch.ones(2, 3, 8), origin)
    with pytest.raises(ValueError, match=r"2 different row numbers, .* got \(1, 1\)"):
        patch_positions(numbered(origin), origin, rows=(1, 1))


def test_another_width_is_refused(layout, run_edits):
    with pytest.raises(ValueError, match="width 8, got width 1"):
        run_edits([patch(patch_positions(torch.ones(2, 6, 1), layout))])


def test_the_source_is_kept_as_it_was(layout, run_edits):
    source = numbered(layout)
    maker = patch_positions(source, layout)
    source.zero_()
    assert run_edits([patch(maker, scope=(3,))])[0, 3, 0] == 3.0
