"""What early decoding claims: only beyond every null, and never below the control."""

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from analyses.early_decoding import EarlyDecoding, early_decoding_claims
from analyses.early_steering import EarlySteering
from analyses.early_tokens import EarlyTest, EarlyTokens
from lens_personas.statistics import wilson


def planted(**changes: Any) -> EarlyTest:
    made = EarlyTest(
        outcome="exact",
        n=40,
        n_clusters=8,
        layer=2,
        own=wilson(38, 40),
        other=wilson(2, 40),
        difference=wilson(36, 40),
        p=0.01,
        beyond_nulls=True,
        union_own=wilson(39, 40),
        union_other=wilson(10, 40),
        union_difference=wilson(29, 40),
        union_p=0.002,
        union_beyond_nulls=True,
    )
    return replace(made, **changes)


def decoded(*tests: EarlyTest) -> EarlyDecoding:
    empty = pd.DataFrame()
    return EarlyDecoding(
        tokens=EarlyTokens(
            n=40,
            n_clusters=8,
            tries=(0, 1, 2),
            by_layer=empty,
            unions=empty,
            tests=tests,
            by_request=empty,
        ),
        steering=EarlySteering(
            n=40, steered_at=1, control="tea", table=empty, by_layer=empty, by_request=empty
        ),
        known=None,
    )


def test_two_claims_an_outcome_with_control_n_and_p() -> None:
    layer, union = early_decoding_claims(decoded(planted()))
    assert (layer.p, union.p) == (0.01, 0.002)
    assert layer.n == union.n == 8
    assert layer.control is not None
    assert layer.estimate.estimate > layer.control.estimate
    assert layer.beyond_nulls
    assert union.beyond_nulls
    assert "known answer" in layer.statement
    assert early_decoding_claims(decoded()) == ()


@pytest.mark.parametrize(
    ("changes", "layer_holds", "union_holds"),
    [
        ({"beyond_nulls": False}, False, True),
        ({"union_beyond_nulls": False}, True, False),
        # A significant difference the other way is no finding for the layer.
        ({"own": wilson(1, 40)}, False, True),
        ({"union_other": wilson(40, 40)}, True, False),
    ],
)
def test_nothing_is_claimed_that_a_null_does_too(
    changes: dict[str, Any], layer_holds: bool, union_holds: bool
) -> None:
    layer, union = early_decoding_claims(decoded(planted(**changes)))
    assert (layer.beyond_nulls, union.beyond_nulls) == (layer_holds, union_holds)
