"""Planted mediation is found in full, in half and not at all; chance is found at its rate."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, norm

from analyses.mediation import (
    CHARITY,
    REFUSAL,
    Changes,
    PersonaMediation,
    mediation_claims,
    mediation_path,
    movement_rows,
    null_range,
    side_contrast,
)

N = 40


def changes(
    rng: np.random.Generator,
    *,
    share: float,
    effect: float = 2.0,
    group: str = "anti",
    random: float = 0.0,
    mediator: str = REFUSAL,
) -> Changes:
    """A persona whose effect runs through the mediator in this share."""
    total = effect + rng.normal(0, 0.5, N)
    # The mediator moves with the part that it carries.
    carried = share * total
    return Changes(
        persona=f"{group} {effect}",
        group=group,
        mediator=mediator,
        total=total,
        moved=carried / 2 + rng.normal(0, 0.05, N) if share else rng.normal(0, 1, N),
        removed=carried + rng.normal(0, 0.2, N),
        put_in=carried + rng.normal(0, 0.2, N),
        random=random + rng.normal(0, 0.1, (4, N)),
    )


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_planted_share_is_found(share: float) -> None:
    path = mediation_path(
        changes(np.random.default_rng(0), share=share), rng=np.random.default_rng(1)
    )
    assert path.n == N
    assert path.share.low <= share + 0.05
    assert path.share.high >= share - 0.05
    assert path.share.estimate == pytest.approx(share, abs=0.08)
    assert path.indirect.excludes(0.0) is (share > 0)
    assert path.total.estimate == pytest.approx(path.indirect.estimate + path.direct.estimate)
    assert not path.random.excludes(0.0)


def test_a_mediator_that_moves_without_carrying_is_told_by_the_patch() -> None:
    """A common cause moves both: regression is taken in, the patch is not."""
    rng = np.random.default_rng(0)
    made = changes(rng, share=0.0)
    caused = Changes(**vars(made) | {"moved": made.total + rng.normal(0, 0.1, N)})
    path = mediation_path(caused, rng=rng)
    assert path.p_joint < 0.01
    assert path.observed.indirect.excludes(0.0)
    assert not path.indirect.excludes(0.0)


def test_both_the_movement_and_its_going_along_are_asked_for() -> None:
    rng = np.random.default_rng(0)
    made = changes(rng, share=0.0)
    moves_alone = Changes(**vars(made) | {"moved": 3.0 + rng.normal(0, 1, N)})
    assert mediation_path(moves_alone, rng=rng).p_joint > 0.05
    goes_along = Changes(**vars(made) | {"moved": made.total - made.total.mean()})
    assert mediation_path(goes_along, rng=rng).p_joint > 0.05


def test_no_effect_has_no_share() -> None:
    path = mediation_path(
        changes(np.random.default_rng(0), share=0.5, effect=0.0), rng=np.random.default_rng(1)
    )
    assert np.isnan(path.share.low)


def sides(rng: np.random.Generator, *, share: float, random: float = 0.0) -> list[Changes]:
    return [
        changes(rng, share=share, effect=effect, group=group, random=random)
        for group, effect in (("pro", -1.0), ("pro", -0.5), ("anti", 1.0), ("anti", 0.7))
    ]


def test_the_sides_difference_is_split_and_held_against_random_directions() -> None:
    rng = np.random.default_rng(0)
    found = side_contrast(sides(rng, share=0.6), REFUSAL, rng=rng)
    assert found is not None
    assert (found.n, found.n_personas) == (N, 2)
    assert found.total.estimate == pytest.approx(1.6, abs=0.25)
    assert found.share.estimate == pytest.approx(0.6, abs=0.08)
    assert found.p < 0.001
    assert found.null_range is not None
    assert found.indirect.estimate > found.null_range[1]


def test_without_two_sides_there_is_no_contrast() -> None:
    rng = np.random.default_rng(0)
    assert side_contrast(sides(rng, share=0.5)[:2], REFUSAL, rng=rng) is None
    assert side_contrast(sides(rng, share=0.5), CHARITY, rng=rng) is None
    # As many of either side: else an exchange of them would not turn the sign.
    (three,) = [side_contrast(sides(rng, share=0.5)[:3], REFUSAL, rng=rng)]
    assert three is not None
    assert three.n_personas == 1


def test_swapping_persona_and_control_turns_every_sign() -> None:
    rng = np.random.default_rng(0)
    made = changes(rng, share=0.5)
    swapped = Changes(
        **vars(made)
        | {
            "total": -made.total,
            "moved": -made.moved,
            "removed": -made.put_in,
            "put_in": -made.removed,
            "random": -made.random,
        }
    )
    np.testing.assert_allclose(swapped.indirect, -made.indirect)


def result(found: Sequence[Changes], rng: np.random.Generator) -> PersonaMediation:
    contrast = side_contrast(found, REFUSAL, rng=rng)
    return PersonaMediation(
        n=N,
        control="coffee",
        layers=(0, 1),
        refusal_layer=1,
        harm_layer=0,
        charity="",
        paths=(),
        contrasts=() if contrast is None else (contrast,),
        by_layer=pd.DataFrame(),
        movement=pd.DataFrame(),
        by_request=pd.DataFrame(),
    )


def test_a_claim_needs_more_than_a_push_of_that_length() -> None:
    rng = np.random.default_rng(0)
    (claim,) = mediation_claims(result(sides(rng, share=0.6), rng))
    assert claim.p < 0.001
    assert claim.beyond_nulls
    pushed = [
        Changes(**vars(each) | {"random": np.stack([each.indirect] * 4)})
        for each in sides(rng, share=0.6)
    ]
    (none,) = mediation_claims(result(pushed, rng))
    assert none.p > 0.05
    assert not none.beyond_nulls
    # Carried against the effect's own side is no part of it.
    against = [
        Changes(**vars(e) | {"removed": -e.removed, "put_in": -e.put_in})
        for e in sides(rng, share=0.6)
    ]
    assert not mediation_claims(result(against, rng))[0].beyond_nulls


def test_dealt_names_carry_nothing_at_the_nominal_rate() -> None:
    """Each request deals persona and control anew: the sign of everything is a coin's."""
    seeds, hits = 50, 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        found = []
        signs = rng.choice([-1.0, 1.0], N)
        for each in sides(rng, share=0.6):
            dealt = {
                name: getattr(each, name) * signs
                for name in ("total", "moved", "removed", "put_in", "random")
            }
            found.append(Changes(**vars(each) | dealt))
        contrast = side_contrast(found, REFUSAL, rng=rng)
        assert contrast is not None
        hits += contrast.p <= 0.05
    assert hits <= binom.ppf(norm.cdf(3), seeds, 0.05)


def test_the_range_of_nulls_is_no_narrower_than_they_are() -> None:
    assert null_range(np.array([])) is None
    assert null_range(np.array([0.3])) == (0.3, 0.3)
    low, high = null_range(np.array([0.0, 1.0, 0.5])) or (0.0, 0.0)
    assert low < 0.0
    assert high > 1.0


def test_movement_stands_beside_that_of_neutral_texts() -> None:
    rng = np.random.default_rng(0)
    by_side = {"pro": rng.normal(-1, 0.1, (3, N)), "anti": rng.normal(1, 0.1, (3, N))}
    rows = movement_rows(
        by_side, rng.normal(0, 0.1, (4, N)), measure="m", layer=2, unit="u", rng=rng
    )
    table = pd.DataFrame(rows).set_index("group")
    assert table.loc["pro", "high"] < table.loc["pro", "null_low"]
    assert table.loc["anti", "low"] > table.loc["anti", "null_high"]
    bare = movement_rows(by_side, np.empty((0, N)), measure="m", layer=2, unit="u", rng=rng)
    assert pd.DataFrame(bare)["null_low"].isna().all()
