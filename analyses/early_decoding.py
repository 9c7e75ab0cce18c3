"""What do early layers say that the last one refuses, beyond chance?"""

from dataclasses import dataclass
from typing import Final

from analyses.claims import Claim
from analyses.early_steering import EarlySteering
from analyses.early_tokens import EarlyOutcome, EarlyTest, EarlyTokens
from analyses.known_answers import KnownAnswers
from lens_personas.statistics import Interval


@dataclass(frozen=True, kw_only=True)
class EarlyDecoding:
    """Early decoding of requests alone, and under every persona."""

    tokens: EarlyTokens
    """Requests alone: by layer and over layers, beside the nulls."""
    steering: EarlySteering
    """With a persona as text, and with its vector added and subtracted."""
    known: KnownAnswers | None
    """The direct measure, how likely known answers are by layer; None where none is known."""


_OPENS: Final[dict[EarlyOutcome, str]] = {
    "answered": "an answer",
    "exact": "the known answer",
}
_UNITS: Final[dict[EarlyOutcome, str]] = {
    "answered": "share of requests answered",
    "exact": "share of requests with the known answer",
}


def early_decoding_claims(result: EarlyDecoding) -> tuple[Claim, ...]:
    """What early decoding of the requests alone would claim, two statements for each outcome.

    Both are about whose token it is: with the tokens dealt among requests they say nothing.
    """
    return tuple(
        claim for test in result.tokens.tests for claim in (_layer_claim(test), _union_claim(test))
    )


def _layer_claim(test: EarlyTest) -> Claim:
    opens = _OPENS[test.outcome]
    return _claim(
        test,
        f"the token that an early layer gives for a request opens {opens} more often than the "
        "token that it gives for another request",
        f"another request's token from the same layer opens {opens} as often, at every layer",
        (test.own, test.other, test.p),
        beyond_nulls=test.beyond_nulls,
    )


def _union_claim(test: EarlyTest) -> Claim:
    opens = _OPENS[test.outcome]
    return _claim(
        test,
        f"some early layer's token opens {opens} to more requests than as many tokens of other "
        "requests, sampled answers, or random vectors do",
        f"as many tries by tokens of other requests, by sampling, by random vectors or by openings "
        f"of harmless answers reach {opens} as often",
        (test.union_own, test.union_other, test.union_p),
        beyond_nulls=test.union_beyond_nulls,
    )


def _claim(
    test: EarlyTest,
    statement: str,
    refuted_by: str,
    found: tuple[Interval, Interval, float],
    *,
    beyond_nulls: bool,
) -> Claim:
    own, other, p = found
    return Claim(
        part="early-decoding",
        statement=statement,
        refuted_by=refuted_by,
        n=test.n_clusters,
        estimate=own,
        unit=_UNITS[test.outcome],
        control=other,
        p=p,
        beyond_nulls=beyond_nulls and own.estimate > other.estimate,
    )
