"""What doses and lengths would claim."""

from math import isfinite

from analyses.claims import Claim
from analyses.dose_response import DoseResponse, DoseSlope


def dose_claims(result: DoseResponse) -> tuple[Claim, ...]:
    """Two statements a persona: on the dose of its vector, and on the length of its text."""
    told = (
        (result.vectors, True, "refusal follows the dose of {}'s vector", "a residual norm"),
        (result.texts, False, "refusal follows how much is said of {}", "a doubling of the text"),
    )
    nulls = {
        True: "random directions and vectors fitted with exchanged labels reach as well",
        False: "neutral texts of as many tokens reach as well",
    }
    return tuple(
        Claim(
            part="dose-response",
            statement=statement.format(slope.persona),
            refuted_by="a slope that does not differ from the control persona's on the same "
            f"requests, or one that {nulls[vector]}",
            n=slope.n,
            estimate=slope.slope,
            unit=f"nats of refusal log-odds {unit}",
            control=slope.control,
            p=slope.p,
            beyond_nulls=beyond(slope),
            persona=slope.persona,
            vector=vector,
        )
        for slopes, vector, statement, unit in told
        for slope in slopes
        if slope.kind == "persona"
    )


def beyond(slope: DoseSlope) -> bool:
    """Whether a slope leaves the nulls behind on the side on which it leaves the control."""
    estimate = slope.slope.estimate
    if slope.null_range is None:
        return slope.control is not None and isfinite(estimate)
    low, high = slope.null_range
    return estimate < low if slope.difference.estimate < 0 else estimate > high
