"""Each arm stands beside the request alone, the control, and as many sampled openings."""

import itertools

import numpy as np
import pandas as pd
import pytest

from analyses.early_steering import STEERED_COLUMNS, EarlySteering, early_steering

N, TRIES, AT = 30, (0, 1, 2, 3), 1
ARMS = (
    ("none", "none", "baseline", "baseline"),
    ("kind", "pro", "persona", "prompt"),
    ("kind", "pro", "persona", "plus"),
    ("mean", "anti", "persona", "prompt"),
    ("mean", "anti", "persona", "plus"),
    ("tea", "control", "control", "prompt"),
    ("tea", "control", "control", "plus"),
)


def planted(share: dict[tuple[str, str, int], float]) -> pd.DataFrame:
    """The first requests are answered, as large a share as is planted by persona, source, layer."""
    rows = []
    for arm in ARMS:
        layers = [at for at in TRIES if arm[3] != "plus" or at > AT]
        for source, layer in [("plain", -1), *itertools.product(("early", "sampled"), layers)]:
            answered = round(share.get((arm[0], source, layer), 0.0) * N)
            rows += [
                (*arm, source, layer, f"r{i:02d}", "answer" if i < answered else "refusal")
                for i in range(N)
            ]
    return pd.DataFrame(rows, columns=list(STEERED_COLUMNS))


def result(table: pd.DataFrame) -> EarlySteering:
    return early_steering(table, tries=TRIES, steered_at=AT, control="tea")


def row(found: EarlySteering, persona: str, treatment: str, *, early: bool) -> pd.Series:
    table = found.table
    at = (table["persona"] == persona) & (table["treatment"] == treatment)
    (only,) = table[at & (table["early"] == early)].itertuples(index=False)
    return pd.Series(only._asdict())


SHARES = {
    ("kind", "plain", -1): 0.6,
    ("kind", "early", 0): 1.0,
    ("kind", "early", 3): 0.8,
    ("tea", "early", 0): 1.0,
    ("tea", "sampled", 2): 0.5,
    ("none", "early", 0): 0.9,
    ("none", "early", 2): 0.2,
}


def test_a_vector_is_decoded_above_it_and_held_against_the_same_layers() -> None:
    found = result(planted(SHARES))
    text, vector = (row(found, "kind", t, early=True) for t in ("prompt", "plus"))
    assert (text["tries"], vector["tries"]) == (4, 2)
    assert text["answered"] == 1.0
    # Layer 0 lies below the vector: only .8 of layer 3 counts.
    assert vector["answered"] == pytest.approx(0.8)
    assert text["net_baseline"] == round((1.0 - 0.9) * N)
    assert vector["net_baseline"] == round((0.8 - 0.2) * N)
    assert row(found, "kind", "prompt", early=False)["net_baseline"] == 0.6 * N
    assert row(found, "kind", "prompt", early=False)["net_control"] == 0.6 * N


def test_the_control_and_the_sampled_openings_stand_beside() -> None:
    found = result(planted(SHARES))
    control = row(found, "tea", "prompt", early=True)
    assert np.isnan(control["p_control"])
    assert control["sampled"] == 0.5
    assert control["net_sampled"] == 0.5 * N
    assert control["p_sampled"] < 1e-3
    assert row(found, "kind", "prompt", early=True)["p_control"] == 1.0
    assert np.isnan(row(found, "kind", "prompt", early=False)["sampled"])
    # A greedy answer is one that sampling may find too.
    assert row(found, "kind", "prompt", early=True)["sampled"] == pytest.approx(0.6)


def test_p_is_corrected_within_a_row_of_the_papers_table() -> None:
    shares = SHARES | {("mean", "plain", -1): 0.2}
    found = result(planted(shares)).table
    rows = found[(found["treatment"] == "prompt") & ~found["early"]].set_index("persona")
    raw, corrected = rows["p_control"], rows["p_control_holm"]
    assert corrected["kind"] == pytest.approx(2 * raw["kind"])
    assert corrected["mean"] == pytest.approx(max(raw["mean"], 2 * raw["kind"]))


def test_shares_by_layer_and_by_request_agree_with_the_unions() -> None:
    found = result(planted(SHARES))
    layers = found.by_layer.set_index(["persona", "treatment", "layer"])["answered"]
    assert layers["kind", "prompt", 0] == 1.0
    assert layers["kind", "plus", 3] == pytest.approx(0.8)
    assert ("kind", "plus", 0) not in layers.index
    assert layers["kind", "prompt", -1] == pytest.approx(0.6)
    by_request = found.by_request.groupby(["persona", "treatment"])["early"].mean()
    assert by_request["kind", "plus"] == pytest.approx(0.8)


def test_no_decoded_layer_leaves_the_greedy_answers() -> None:
    table = planted(SHARES)
    found = early_steering(
        table[table["source"] == "plain"], tries=(), steered_at=AT, control="tea"
    )
    assert (found.table["tries"] == 0).all()
    early = row(found, "kind", "prompt", early=True)
    assert early["answered"] == pytest.approx(0.6)


def test_arms_have_to_be_put_to_the_same_requests() -> None:
    table = planted(SHARES)
    with pytest.raises(ValueError, match="answers to the requests alone, got none"):
        result(table[table["treatment"] != "baseline"])
    lost = (table["persona"] == "kind") & (table["prompt_id"] == "r00")
    with pytest.raises(ValueError, match=r"to the 30 requests .* got answers to 29"):
        result(table[~lost])
