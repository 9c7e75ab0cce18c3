"""Attribution that is right is found to be, in ranks and in size; noise is found to be noise."""

from typing import Any

import numpy as np
import pytest

from analyses._attribution_types import Foretold
from analyses._patching_types import Place, Slot
from analyses.attribution import agreement, attribution_claims, cell_table, edge_table

N = 12
PLACES = tuple(Place(layer, -1, slot) for layer in range(4) for slot in range(10))
SLOTS = tuple(Slot(role="request", offset=at - 10, varies=False, token="") for at in range(10))


def foretold(scale: float = 1.0, noise: float = 0.0, *, blind: bool = False) -> Foretold:
    """Real changes that differ between cells, and what was foretold of them."""
    rng = np.random.default_rng(0)
    size = rng.normal(size=len(PLACES)) ** 3
    patched = size + rng.normal(0, 0.01, (2, N, len(PLACES)))
    # Cells before the first token that differs.
    patched[..., :5] = 0.0
    seen = rng.normal(size=patched.shape) if blind else patched
    predicted = scale * seen + rng.normal(0, noise, patched.shape) if noise else scale * seen
    predicted = np.where(patched == 0, 0.0, predicted)
    return Foretold(
        kind="resid_pre", method="plain", places=PLACES, predicted=predicted, patched=patched
    )


def found(of: Foretold, **wanted: Any) -> Any:
    return agreement(of, top=10, rng=np.random.default_rng(0), **wanted)


@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_what_is_right_up_to_size_ranks_alike_and_shows_its_size(scale: float) -> None:
    own = found(foretold(scale))
    assert own.n_cells == len(PLACES) - 5
    assert own.spearman.estimate == pytest.approx(1.0)
    assert own.by_pair.estimate == pytest.approx(1.0)
    assert own.slope == pytest.approx(1 / scale)
    assert (own.top_shared, own.top) == (10, 10)
    assert own.top_spearman == pytest.approx(1.0)
    assert own.halves > 0.9


def test_noise_foretells_nothing() -> None:
    own = found(foretold(blind=True))
    assert abs(own.spearman.estimate) < 0.5
    assert abs(own.by_pair.estimate) < 0.2
    assert own.spearman.low < own.spearman.estimate < own.spearman.high


def test_the_interval_widens_with_noise_between_requests() -> None:
    widths = [
        each.spearman.high - each.spearman.low
        for each in (found(foretold(noise=0.1)), found(foretold(noise=3.0)))
    ]
    assert widths[0] < widths[1]


def test_cells_that_change_nothing_are_in_no_table() -> None:
    of = foretold(2.0)
    table = cell_table([of], SLOTS)
    assert len(table) == len(PLACES) - 5
    np.testing.assert_allclose(table["predicted"], 2 * table["patched"])
    assert table["place"].iloc[-1] == "request −1"


def test_edges_are_ranked_by_the_size_of_what_they_carry() -> None:
    rng = np.random.default_rng(0)
    means = np.array([0.1, -2.0, 1.0, 0.0])
    values = means + rng.normal(0, 0.01, (2, N, 4))
    names = [(f"head 0.{at}", "logits") for at in range(4)]
    table = edge_table(values, np.full((2, N), 4.0), names, top=3, rng=rng)
    assert table["source"].tolist() == ["head 0.1", "head 0.2", "head 0.0"]
    assert table["share"].tolist() == pytest.approx([-0.5, 0.25, 0.025], abs=0.01)
    assert ((table["low"] < table["estimate"]) & (table["estimate"] < table["high"])).all()


def test_without_edges_there_is_an_empty_table_and_never_a_claim() -> None:
    none = edge_table(
        np.zeros((1, 1, 0)), np.zeros((1, 1)), [], top=3, rng=np.random.default_rng(0)
    )
    assert none.empty
    assert "share" in none
    assert attribution_claims(None) == ()
