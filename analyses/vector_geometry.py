"""What do the angles between vectors tell, beyond what they share?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from analyses.claims import Claim
from lens_personas.geometry import cosine_ceiling, cosine_matrix, effective_rank, random_directions
from lens_personas.statistics import Correlation, Interval

Yes = Literal["kept", "removed"]
"""Whether the direction of saying yes, which yes/no vectors share, is part of the vectors."""

COSINE = "cosine with refusal"
"""The predictor that all others are held against."""

COSINE_FREE = "the same without Yes"
"""That cosine once the direction of saying yes is removed from both vectors."""


@dataclass(frozen=True, kw_only=True)
class VectorSet:
    """Vectors made in one way, with what chance and their own data allow their cosines to be."""

    family: str
    """What the personas' vectors are made from: ``statements`` or ``questions``."""
    yes: Yes
    """Whether they hold the direction of saying yes."""
    names: tuple[str, ...]
    """The personas, then refusal and fulfilment."""
    n_personas: int
    """How many of ``names`` are personas."""
    layers: tuple[int, ...]
    """Block of each layer, from 0."""
    vectors: Float[Tensor, "vector layer d_model"]
    """The vectors."""
    bands: Float[Tensor, "vector vector layer 2"]
    """Where 95 % of the cosines with the second vector fall once the two sides of the first one's
    data are exchanged at random; NaN where a side is too small."""
    reliability: Float[Tensor, "vector layer"]
    """Agreement of two halves of a vector's data, Spearman-Brown corrected."""


@dataclass(frozen=True, kw_only=True)
class CosineSet:
    """Cosine of every vector with every other."""

    family: str
    """What the personas' vectors are made from: ``statements`` or ``questions``."""
    yes: Yes
    """Whether they hold the direction of saying yes."""
    names: tuple[str, ...]
    """Row and column names: the personas, then refusal and fulfilment."""
    n_personas: int
    """How many of ``names`` are personas."""
    layers: tuple[int, ...]
    """Layers of ``matrices``."""
    matrices: Float[Tensor, "layer vector vector"]
    """Cosines, in [-1, 1]."""
    pairs: pd.DataFrame
    """Each vector with refusal and fulfilment, one row a layer: ``first, second, layer, cosine``,
    the 95 % band under exchanged labels (``low, high``, the wider of the two vectors' own) and
    the ``ceiling`` that the two vectors' reliabilities set; NaN where the data are too few."""


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """How well one number of a persona predicts its effect on refusal, over personas."""

    name: str
    """The number: a cosine, the vector's length, its direct effect on the logits, or the shift
    that the persona's text makes along refusal."""
    treatment: str
    """Treatment whose effect is predicted."""
    layer: int
    """Block at which the number is taken: for text chosen on the layer split by leave-one-out R²,
    for vectors the one at which they were added."""
    n: int
    """Personas, control included."""
    r2: Interval
    """Leave-one-persona-out R² on the test requests; below 0 worse than the others' mean."""
    beyond_cosine: Interval
    """R² less that of the cosine with refusal, on the same resampled personas."""
    slope: Interval
    """Change of the effect (nats) for one standard deviation more of the number."""
    pearson: Correlation
    """Linear correlation with bootstrap interval over personas and permutation p."""
    p_over_layers: float
    """Permutation p of the best leave-one-out R² over all layers that could be chosen."""
    points: pd.DataFrame
    """The personas behind it: ``persona, value, effect``."""


@dataclass(frozen=True, kw_only=True)
class VectorGeometry:
    """Angles with their bands and ceilings, and what they predict beside simpler numbers."""

    n: int
    """Personas, control included."""
    layer: int
    """Block whose directions were removed from the residual stream for ``independence``."""
    reference: str
    """Refusal vector whose cosines are held against effects."""
    cosines: tuple[CosineSet, ...]
    """Cosines by what the vectors are made from, with the direction of saying yes and without."""
    by_layer: pd.DataFrame
    """Persona vectors by ``family, yes, layer``: mean cosine of two of them (``cosine``), of two
    of one side and of opposite sides (``same_side, opposite_side``), share of pairs outside their
    band (``beyond``), mean ``ceiling``, effective ``rank`` (1 to ``n``) and the 95 % range of that
    of as many random vectors (``rank_low, rank_high``)."""
    yes_share: pd.DataFrame
    """Squared cosine of persona vectors with the direction of saying yes, by ``family, layer``:
    ``mean, least, greatest``; no rows without yes/no questions."""
    independence: pd.DataFrame
    """RepInd of each persona and refusal: mean change of the residual's cosine with one when the
    other is removed everywhere; ``way`` (``persona removed``, ``refusal removed``), ``persona,
    group``, bootstrap interval by request (``estimate, low, high``) and where one more random
    direction in the place of what is removed would fall (``null_low, null_high``)."""
    independence_by_layer: pd.DataFrame
    """The same by layer, averaged over personas: ``way, who`` (``personas``, ``control``,
    ``random directions``), ``layer, shift``."""
    n_independence: int
    """Requests behind ``independence``."""
    predictors: tuple[Predictor, ...]
    """Fits by treatment; empty without a refusal score or with fewer than 3 personas."""
    random_references: pd.DataFrame
    """What the cosine with a random direction predicts, its layer chosen alike, by ``treatment``:
    ``median`` and ``high`` (95th percentile) of R², and the share of directions that do at least
    as well as refusal (``as_good``)."""
    small: tuple[str, ...]
    """Vectors whose data are so few that no exchange of labels can tell them from chance."""


_RANDOM_RANKS = 40


def cosine_set(found: VectorSet) -> CosineSet:
    """Cosine of every vector with every other, beside its band and its ceiling."""
    matrices = torch.stack([cosine_matrix(at.float()) for at in found.vectors.unbind(1)])
    bands, ceilings = _wider(found.bands), _ceilings(found.reliability)
    rows = [
        {
            "first": first,
            "second": second,
            "layer": layer,
            "cosine": float(matrices[at, a, b]),
            "low": float(bands[a, b, at, 0]),
            "high": float(bands[a, b, at, 1]),
            "ceiling": float(ceilings[a, b, at]),
        }
        for b, second in enumerate(found.names)
        if b >= found.n_personas
        for a, first in enumerate(found.names[:b])
        for at, layer in enumerate(found.layers)
    ]
    columns = ["first", "second", "layer", "cosine", "low", "high", "ceiling"]
    return CosineSet(
        family=found.family,
        yes=found.yes,
        names=found.names,
        n_personas=found.n_personas,
        layers=found.layers,
        matrices=matrices,
        pairs=pd.DataFrame(rows, columns=columns),
    )


def persona_angles(
    found: VectorSet, groups: Mapping[str, str], *, generator: torch.Generator
) -> pd.DataFrame:
    """How alike the personas' vectors are, by layer; columns of :attr:`VectorGeometry.by_layer`."""
    n = found.n_personas
    a, b = np.triu_indices(n, k=1)
    sides = np.array([groups.get(name, "other") for name in found.names[:n]])
    opposed = np.isin(sides[a], ["pro", "anti"]) & np.isin(sides[b], ["pro", "anti"])
    same = opposed & (sides[a] == sides[b])
    bands, ceilings = _wider(found.bands).numpy()[a, b], _ceilings(found.reliability).numpy()[a, b]
    rows = []
    for at, layer in enumerate(found.layers):
        vectors = found.vectors[:n, at].float()
        cosines = cosine_matrix(vectors).numpy().astype(np.float64)[a, b]
        low, high = _rank_range(n, vectors.shape[1], generator)
        known = np.isfinite(bands[:, at]).all(axis=1)
        beyond = (cosines < bands[:, at, 0]) | (cosines > bands[:, at, 1])
        rows.append(
            {
                "family": found.family,
                "yes": found.yes,
                "layer": layer,
                "n": n,
                "cosine": _mean(cosines),
                "same_side": _mean(cosines[same]),
                "opposite_side": _mean(cosines[opposed & ~same]),
                "beyond": _mean(beyond[known].astype(np.float64)),
                "ceiling": _mean(ceilings[:, at]),
                "rank": effective_rank(vectors),
                "rank_low": low,
                "rank_high": high,
            }
        )
    return pd.DataFrame(rows)


def geometry_claims(found: VectorGeometry) -> tuple[Claim, ...]:
    """One claim at most: that the cosine with refusal predicts what a persona's text does.

    Text, because a vector that is added moves refusal by its angle with it almost by definition.
    """
    fits = [p for p in found.predictors if (p.name, p.treatment) == (COSINE, "prompt")]
    known = found.random_references.set_index("treatment")["high"]
    return tuple(
        Claim(
            part="geometry",
            statement=(
                f"the angle of a persona's vector with {found.reference} predicts how far the "
                "persona's text moves refusal, on personas left out of the fit"
            ),
            refuted_by=(
                "a leave-one-persona-out R² no greater than under permuted personas, or than that "
                "of the cosine with random directions"
            ),
            n=fit.n,
            estimate=fit.r2,
            unit="leave-one-out R²",
            control=None,
            p=fit.p_over_layers,
            beyond_nulls=bool(fit.r2.estimate > max(known.get("prompt", np.inf), 0.0)),
        )
        for fit in fits
    )


def _wider(
    bands: Float[Tensor, "vector vector layer 2"],
) -> Float[Tensor, "vector vector layer 2"]:
    """Band of each pair: either one's labels may be exchanged, the wider band is kept."""
    other = bands.transpose(0, 1)
    low = torch.fmin(bands[..., 0], other[..., 0])
    return torch.stack([low, torch.fmax(bands[..., 1], other[..., 1])], dim=-1)


def _ceilings(reliability: Float[Tensor, "vector layer"]) -> Float[Tensor, "vector vector layer"]:
    rows = reliability.double().tolist()
    return torch.tensor(
        [[[cosine_ceiling(x, y) for x, y in zip(a, b, strict=True)] for b in rows] for a in rows],
        dtype=torch.float64,
    )


def _rank_range(n: int, d_model: int, generator: torch.Generator) -> tuple[float, float]:
    """95 % of the effective ranks of ``n`` random vectors."""
    ranks = [
        effective_rank(random_directions(n, d_model, generator=generator))
        for _ in range(_RANDOM_RANKS)
    ]
    low, high = np.quantile(ranks, [0.025, 0.975])
    return float(low), float(high)


def _mean(values: Float[np.ndarray, " value"]) -> float:
    return float(values.mean()) if len(values) else float("nan")
