"""What a study may claim: corrected together, beyond the nulls, by personas that pass."""

import numpy as np
import pytest

from analyses.claims import Claim, headline
from lens_personas.statistics import Interval

ZERO = Interval(estimate=0.0, low=-1.0, high=1.0, level=0.95)


def claim(
    p: float, *, beyond: bool = True, persona: str | None = None, vector: bool = False
) -> Claim:
    return Claim(
        part="effects",
        statement=f"claim of p {p}",
        refuted_by="no difference",
        n=10,
        estimate=ZERO,
        unit="nats",
        control=None,
        p=p,
        beyond_nulls=beyond,
        persona=persona,
        vector=vector,
    )


def test_all_claims_are_corrected_together() -> None:
    found = headline([claim(0.01), claim(0.02), claim(0.04)])
    assert [c.p_corrected for c in found.claims] == pytest.approx([0.03, 0.04, 0.04])
    assert len(found.held) == 3
    # The same p beside a hundred others no longer holds.
    crowded = headline([claim(0.01), *(claim(1.0) for _ in range(100))])
    assert not crowded.held


def test_a_claim_within_the_nulls_does_not_hold_however_small_its_p() -> None:
    assert not headline([claim(1e-9, beyond=False)]).held


def test_a_persona_that_fails_its_check_is_in_no_headline() -> None:
    both = [claim(1e-6, persona="selfish", vector=vector) for vector in (False, True)]
    assert len(headline(both).held) == 2
    found = headline(both, gates={("selfish", False): True, ("selfish", True): False})
    assert [c.vector for c in found.held] == [False]
    assert {c.gate for c in found.claims} == {True, False}
    # A check that was made and does not know the persona has not passed it.
    assert not headline(both, gates={}).held


def test_a_claim_about_no_persona_needs_no_check() -> None:
    found = headline([claim(1e-6)], gates={})
    assert found.held
    assert found.claims[0].gate is None


def test_nothing_is_claimed_where_there_is_nothing_to_study() -> None:
    assert not headline([claim(1e-6)], claimable=False).held
    assert headline([]).claims == ()


def test_claims_that_hold_come_first() -> None:
    found = headline([claim(0.9), claim(1e-6)])
    assert [c.holds for c in found.claims] == [True, False]


def test_of_many_studies_without_effects_few_claim_anything() -> None:
    rng = np.random.default_rng(0)
    wrong = sum(bool(headline([claim(p) for p in rng.random(40)]).held) for _ in range(400))
    # Binomial(400, .05): more than 33 has a chance of .001.
    assert wrong <= 33
