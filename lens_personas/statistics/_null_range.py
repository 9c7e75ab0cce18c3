"""How far nulls reach: what an estimate has to go beyond."""

import numpy as np
from jaxtyping import Float
from scipy import stats

from lens_personas.statistics._checks import require_fraction
from lens_personas.statistics._intervals import prediction_interval


def null_range(
    values: Float[np.ndarray, " null"], *, symmetric: bool = False, level: float = 0.95
) -> tuple[float, float] | None:
    """Where one more null would fall, and no narrower than what the nulls did; None without any.

    The extremes of k nulls alone would be passed by chance 2 times in k + 1, so the prediction
    interval is taken where it is wider. Nulls that are not finite are left out.

    Args:
        values: Estimate of each null.
        symmetric: Whether each null might as well have come with the other sign, as the slope of
            a random direction: the range is then around 0, from as many degrees of freedom as
            there are nulls.
        level: Level of the prediction interval.

    Raises:
        ValueError: If ``level`` is not in (0, 1).

    >>> null_range(np.array([0.5, -1.0]), symmetric=True, level=0.1)
    (-1.0, 1.0)
    """
    require_fraction("level", level)
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    if symmetric:
        spread = float(np.sqrt((finite**2).mean()))
        reach = float(stats.t.ppf(0.5 + level / 2.0, len(finite))) * spread
        farthest = max(reach, float(np.abs(finite).max()))
        return -farthest, farthest
    more = prediction_interval(finite, level=level)
    ends = [*finite.tolist(), more.low, more.high]
    return float(np.nanmin(ends)), float(np.nanmax(ends))
