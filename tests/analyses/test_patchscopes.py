"""Patchscope readings with a known truth planted, and with none."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from analyses._scope_choice import CHOICE_COLUMNS, choose_settings, sweep_gaps
from analyses._scope_texts import TEXT_COLUMNS
from analyses._scope_types import CharityEffect, ScopeSetting
from analyses.patchscopes import (
    READING_COLUMNS,
    PatchscopeReadings,
    claim_place,
    patchscope_claims,
    patchscope_readings,
)

N, LAYERS, STEERED_AT = 24, (0, 2, 4), 2
PLANTED = {"kind": ("pro", 0.8), "cruel": ("anti", -0.8), "swimmer": ("other", 0.0)}
SETTING = ScopeSetting(
    place="last",
    target="text",
    target_layer=1,
    scale=1.0,
    source_layer=2,
    gap=0.1,
    paper_layer=1,
    paper_gap=0.1,
)


def readings(
    planted: Mapping[str, tuple[str, float]] = PLANTED,
    *,
    seed: int = 0,
    harmless: float = 2.0,
    request_spread: float = 1.0,
    noise: float = 0.2,
) -> pd.DataFrame:
    """Log-odds: what the request says, plus what the persona adds, plus noise."""
    rng = np.random.default_rng(seed)
    arms = {name: (group, "persona", effect) for name, (group, effect) in planted.items()}
    arms |= {"tea": ("control", "control", 0.0)}
    arms |= {f"neutral text {at}": ("null", "null", 0.0) for at in range(1, 6)}
    arms |= {"none": ("none", "baseline", 0.0)}
    of_request = request_spread * rng.normal(size=N)
    rows = []
    for treatment, sign in (("prompt", 1.0), ("plus", 1.0), ("minus", -1.0)):
        for place, layers in (("direct", (-1,)), ("last", LAYERS)):
            for layer in layers:
                for name, (group, kind, effect) in arms.items():
                    for at in range(N):
                        value = of_request[at] + sign * effect + noise * rng.normal()
                        about = (name, group, kind, treatment, place, layer, f"r{at}", True)
                        rows.append((*about, np.tanh(value / 2), value, 0.0, 0.5))
                for at in range(N if treatment == "prompt" else 0):
                    value = harmless + of_request[at] + noise * rng.normal()
                    about = ("none", "none", "baseline", treatment, place, layer, f"h{at}", False)
                    rows.append((*about, np.tanh(value / 2), value, 0.0, 0.5))
    return pd.DataFrame(rows, columns=list(READING_COLUMNS))


def result(
    table: pd.DataFrame, settings: tuple[ScopeSetting, ...] = (SETTING,)
) -> PatchscopeReadings:
    named = table[table["kind"].isin(["persona", "control"])]["persona"].unique()
    return patchscope_readings(
        table,
        settings,
        pd.DataFrame(),
        control="tea",
        asked="the user wants :",
        steered_at=STEERED_AT,
        random_states=pd.DataFrame({"kind": ["state"] * 3, "source_layer": 0, "score": 0.1}),
        refusal={name: -float(at) for at, name in enumerate(named)},
        texts=pd.DataFrame(columns=list(TEXT_COLUMNS)),
        rng=np.random.default_rng(0),
    )


def text_at_the_chosen_layer(table: pd.DataFrame) -> pd.DataFrame:
    """What claims rest on; all else costs time."""
    return table[(table["treatment"] == "prompt") & table["source_layer"].isin([-1, 2])]


def effect(
    found: PatchscopeReadings, persona: str, treatment: str, place: str = "last"
) -> CharityEffect:
    (one,) = (
        e for e in found.effects if (e.persona, e.treatment, e.place) == (persona, treatment, place)
    )
    return one


@pytest.fixture(scope="module")
def planted() -> PatchscopeReadings:
    return result(readings())


@pytest.mark.parametrize("place", ["last", "direct"])
@pytest.mark.parametrize(("treatment", "sign"), [("prompt", 1), ("plus", 1), ("minus", -1)])
def test_what_is_planted_is_found(
    planted: PatchscopeReadings, place: str, treatment: str, sign: int
) -> None:
    for name in ("kind", "cruel"):
        one = effect(planted, name, treatment, place)
        truth = sign * PLANTED[name][1]
        # Four standard errors of a mean over the requests.
        slack = 4 * 0.2 * (2 / N) ** 0.5
        assert one.difference.estimate == pytest.approx(truth, abs=slack)
        assert one.difference.low < one.difference.estimate < one.difference.high
        assert one.p < 0.01
        assert one.beyond_nulls
    assert effect(planted, "swimmer", treatment, place).difference.estimate == pytest.approx(
        0, abs=0.25
    )


def test_the_control_is_its_own_zero_and_another_request_moves_only_the_spread(
    planted: PatchscopeReadings,
) -> None:
    assert effect(planted, "tea", "prompt").difference.estimate == 0
    one = effect(planted, "kind", "prompt")
    assert one.other_request is not None
    # The mean is the same whoever is paired; the requests' own spread comes on top.
    assert one.other_request.estimate == pytest.approx(one.difference.estimate)
    own = one.difference.high - one.difference.low
    assert one.other_request.high - one.other_request.low > 2 * own
    assert effect(planted, "kind", "plus").other_request is None


def test_claims_are_one_a_persona_where_the_reading_tells_requests_apart(
    planted: PatchscopeReadings,
) -> None:
    claims = patchscope_claims(planted)
    assert [claim.persona for claim in claims] == list(PLANTED)
    assert claim_place(planted) in ("last", "direct")
    blind = text_at_the_chosen_layer(readings()).copy()
    blind.loc[(blind["place"] == "last") & ~blind["harmful"], "log_odds"] -= 4.0
    assert claim_place(result(blind)) == "direct"
    none = result(text_at_the_chosen_layer(readings(harmless=-2.0)))
    assert claim_place(none) is None
    assert patchscope_claims(none) == ()
    alone = result(text_at_the_chosen_layer(readings().query("harmful")))
    assert alone.harmless == ()
    assert patchscope_claims(alone) == ()


def test_nothing_planted_is_found_no_more_often_than_chance() -> None:
    names = {f"p{at}": ("other", 0.0) for at in range(100)}
    table = readings(names, seed=3)
    # Personas share the control's noise: the control is drawn without any.
    quiet = (table["persona"] == "tea") & table["harmful"]
    clean = table[table["harmful"]].groupby("prompt_id")["log_odds"].mean()
    table.loc[quiet, "log_odds"] = table.loc[quiet, "prompt_id"].map(clean)
    outright = table[(table["treatment"] == "prompt") & (table["place"] == "direct")]
    p = [c.p for c in patchscope_claims(result(outright, settings=()))]
    assert len(p) == 100
    assert sum(value < 0.05 for value in p) <= binom.ppf(0.999, 100, 0.05)
    assert sum(value < 0.5 for value in p) >= binom.ppf(0.001, 100, 0.5)


def test_agreement_is_the_requests_own() -> None:
    loud, silent = (
        {
            each.place: each
            for each in result(text_at_the_chosen_layer(readings(request_spread=s))).requests
        }["last"]
        for s in (2.0, 0.0)
    )
    assert loud.agreement > 0.95
    assert abs(loud.agreement_other) < 0.1
    assert loud.agreement > loud.agreement_other_high
    assert loud.request_share > 0.6
    assert silent.agreement < 0.5
    assert silent.persona_share > 0.6


def test_charity_against_refusal_is_a_rank_correlation(planted: PatchscopeReadings) -> None:
    by_place = {each.place: each.correlation for each in planted.refusal}
    assert set(by_place) == {"direct", "last"}
    assert by_place["last"].n == 4
    none = patchscope_readings(
        text_at_the_chosen_layer(readings()),
        [SETTING],
        pd.DataFrame(),
        control="tea",
        asked="",
        steered_at=STEERED_AT,
        random_states=pd.DataFrame(columns=["kind", "source_layer", "score"]),
        refusal={name: float("nan") for name in PLANTED},
        texts=pd.DataFrame(columns=list(TEXT_COLUMNS)),
        rng=np.random.default_rng(0),
    )
    assert none.refusal == ()
    assert none.texts is None
    assert none.random_states.empty


def test_steered_arms_are_tested_where_steering_begins_or_above() -> None:
    early = ScopeSetting(**{**SETTING.__dict__, "source_layer": 0})
    table = readings()
    # Below the steered layer nothing was read under a vector.
    kept = table[(table["treatment"] == "prompt") | (table["source_layer"] != 0)]
    found = patchscope_readings(
        kept,
        [early],
        pd.DataFrame(),
        control="tea",
        asked="",
        steered_at=STEERED_AT,
        random_states=pd.DataFrame(columns=["kind", "source_layer", "score"]),
        refusal={},
        texts=pd.DataFrame(columns=list(TEXT_COLUMNS)),
        rng=np.random.default_rng(0),
    )
    assert effect(found, "kind", "prompt").source_layer == 0
    assert effect(found, "kind", "plus").source_layer == STEERED_AT


def test_curves_hold_each_side_beside_the_request_alone(planted: PatchscopeReadings) -> None:
    table = planted.by_layer
    assert set(table["group"]) == {"pro", "anti", "other", "control", "null", "baseline"}
    pro = table[(table["group"] == "pro") & (table["treatment"] == "prompt")]
    assert (pro["change_low"] > 0).all()
    alone = table[table["group"] == "baseline"]
    assert (alone["change"] == 0).all()


def choice(best: tuple[str, int, float, int]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for target in ("a", "b"):
        for target_layer in (0, 1):
            for scale in (1.0, 4.0):
                for layer in LAYERS:
                    gap = 0.5 if (target, target_layer, scale, layer) == best else 0.05
                    for name, sign in (("kind", 1), ("cruel", -1), ("tea", 0)):
                        for at in range(3):
                            score = sign * gap + 0.01 * rng.normal()
                            where = ("last", target, target_layer, scale, layer)
                            rows.append((*where, name, f"r{at}", score, 0.9, "so"))
    return pd.DataFrame(rows, columns=list(CHOICE_COLUMNS))


@pytest.mark.parametrize("best", [("a", 1, 1.0, 2), ("b", 0, 4.0, 4)])
def test_the_setting_with_the_largest_gap_is_chosen(best: tuple[str, int, float, int]) -> None:
    sweep = sweep_gaps(choice(best), control="tea")
    (found,) = choose_settings(sweep, paper_layer=1)
    assert (found.target, found.target_layer, found.scale, found.source_layer) == best
    assert found.gap == pytest.approx(0.5, abs=0.02)
    plain = sweep[(sweep["target_layer"] == 1) & (sweep["scale"] == 1.0)]
    assert found.paper_gap == plain["gap"].max()


def test_what_is_missing_is_told() -> None:
    with pytest.raises(ValueError, match="are missing"):
        result(readings().drop(columns="mass"))
    with pytest.raises(ValueError, match="found none; read it as well"):
        result(readings().query("kind != 'baseline'"))
