"""Tables of grids: planted cells are found, missing ones left out, heads and positions named."""

import numpy as np
import pytest
import torch

from lens_personas.hooks import Site
from lens_personas.interventions import HeadGrid, PatchGrid, grid_frame

N = 16


def planted() -> PatchGrid:
    generator = torch.Generator().manual_seed(0)
    moved = 0.1 * torch.randn(N, 2, 3, generator=generator)
    moved[:, 1, 2] += 1.5
    moved[:, :, 0] = 0.0
    corrupted = torch.randn(N, generator=generator)
    values = corrupted[:, None, None] + moved
    # A shorter pair has no last position.
    values[0, :, 2] = torch.nan
    return PatchGrid(
        site=Site.RESID_PRE,
        layers=(4, 7),
        positions=(0, 3, 9),
        values=values,
        clean=corrupted + 3.0,
        corrupted=corrupted,
    )


def test_the_planted_cell_is_found_with_its_share() -> None:
    table = grid_frame(planted(), rng=np.random.default_rng(0)).set_index(["layer", "position"])
    (cell,) = table.loc[[(7, 9)]].to_dict(orient="records")
    assert cell["low"] < 1.5 < cell["high"]
    assert cell["share"] == pytest.approx(0.5, abs=0.05)
    assert cell["p"] < 0.001
    assert cell["n"] == N - 1
    assert (table.xs(0, level="position")["p"] == 1.0).all()
    assert (table["head"] == -1).all()


def test_prompts_of_one_request_count_once() -> None:
    grid = planted()
    twice = PatchGrid(
        site=grid.site,
        layers=grid.layers,
        positions=grid.positions,
        values=grid.values.repeat(2, 1, 1),
        clean=grid.clean.repeat(2),
        corrupted=grid.corrupted.repeat(2),
    )
    one = grid_frame(grid, rng=np.random.default_rng(0))
    two = grid_frame(twice, rng=np.random.default_rng(0), clusters=[*range(N)] * 2)
    np.testing.assert_allclose(two["estimate"], one["estimate"], atol=1e-12)
    np.testing.assert_allclose(two["low"], one["low"])
    np.testing.assert_allclose(two["p"], one["p"])
    with pytest.raises(ValueError, match="one cluster for each of 32 pairs, got 3"):
        grid_frame(twice, rng=np.random.default_rng(0), clusters=[1, 2, 3])


def test_heads_are_named_and_have_no_position_where_all_are_patched() -> None:
    corrupted = torch.zeros(4)
    grid = HeadGrid(
        layers=(2,),
        positions=None,
        values=torch.arange(3.0).repeat(4, 1)[:, None, :, None],
        clean=torch.zeros(4),
        corrupted=corrupted,
    )
    table = grid_frame(grid, rng=np.random.default_rng(0))
    assert table["head"].tolist() == [0, 1, 2]
    assert table["position"].isna().all()
    assert table["estimate"].tolist() == [0.0, 1.0, 2.0]
    # Without a way from corrupted to clean there is no share of it.
    assert table["share"].isna().all()
