"""Does the angle between a persona and refusal predict what the persona does?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.geometry import cosine_by_layer, cosine_matrix
from lens_personas.statistics import Correlation, correlation

EFFECT_COLUMNS = ("persona", "treatment", "layer", "split", "effect")
"""Columns of the effects: mean change of the refusal score by persona; ``layer`` is -1 for text."""


@dataclass(frozen=True, kw_only=True)
class GeometryFit:
    """Cosine with one refusal vector against the effect of one treatment, over personas."""

    reference: str
    """Name of the refusal vector."""
    treatment: str
    """Treatment whose effect is predicted."""
    layer: int
    """Block whose output the cosine is taken at, from 0."""
    layer_chosen_by: str
    """How the layer was chosen."""
    n: int
    """Personas, control included."""
    pearson: Correlation
    """Linear correlation with bootstrap interval over personas and permutation p."""
    spearman: Correlation
    """Rank correlation with bootstrap interval over personas and permutation p."""
    p_over_layers: float
    """Permutation p of the greatest absolute Pearson correlation over all layers."""
    points: pd.DataFrame
    """The personas behind the fit: ``persona, group, cosine, effect``."""


@dataclass(frozen=True, kw_only=True)
class PersonaGeometry:
    """Fits by refusal vector and treatment, and the cosines they rest on."""

    fits: tuple[GeometryFit, ...]
    """One fit for each refusal vector and treatment."""
    by_layer: pd.DataFrame
    """Correlations at every layer: ``reference, treatment, layer, pearson, spearman, n``."""
    cosines: pd.DataFrame
    """Cosine of each persona with each refusal vector: ``persona, reference, layer, cosine``."""
    names: tuple[str, ...]
    """Row and column names of ``matrices``: the personas, then the refusal vectors."""
    layers: tuple[int, ...]
    """Layers of ``matrices``."""
    matrices: Float[Tensor, "layer vector vector"]
    """Cosine of every vector with every other, by layer."""


def persona_geometry(
    vectors: Mapping[str, Float[Tensor, "layer d_model"]],
    references: Mapping[str, Float[Tensor, "layer d_model"]],
    effects: pd.DataFrame,
    *,
    groups: Mapping[str, str],
    layers: tuple[int, ...],
    rng: np.random.Generator,
    n_permutations: int = 2000,
) -> PersonaGeometry:
    """Correlation of cosine and effect over personas, layer chosen on other requests.

    Args:
        vectors: Persona vectors, from the persona's absence to its presence.
        references: Refusal vectors, from answering to refusing.
        effects: Mean effects, columns :data:`EFFECT_COLUMNS`.
        groups: Side of each persona, for the picture.
        layers: Block of each row of the vectors, from 0.
        rng: Source of every draw.
        n_permutations: Draws behind each p.

    Raises:
        ValueError: If a persona has no effect, or fewer than three personas are given.
    """
    if len(vectors) < 3:
        raise ValueError(f"expected at least three personas to correlate, got {len(vectors)}")
    lacking = sorted(set(vectors) - set(effects["persona"]))
    if lacking:
        raise ValueError(f"expected an effect for every persona, {lacking} have none")
    cosines = _cosines(vectors, references, layers)
    by_layer, fits = [], []
    for reference in references:
        for treatment in sorted(effects["treatment"].unique()):
            tables = {
                layer: _points(cosines, effects, reference, treatment, layer, groups)
                for layer in layers
            }
            by_layer += _rows(reference, treatment, tables)
            fits.append(_fit(reference, treatment, tables, rng, n_permutations))
    stacked = torch.stack([*vectors.values(), *references.values()], dim=1).float()
    return PersonaGeometry(
        fits=tuple(fits),
        by_layer=pd.DataFrame(by_layer),
        cosines=cosines,
        names=(*vectors, *references),
        layers=layers,
        matrices=torch.stack([cosine_matrix(at_layer) for at_layer in stacked]),
    )


def _cosines(
    vectors: Mapping[str, Float[Tensor, "layer d_model"]],
    references: Mapping[str, Float[Tensor, "layer d_model"]],
    layers: tuple[int, ...],
) -> pd.DataFrame:
    rows = [
        {"persona": name, "reference": reference, "layer": layer, "cosine": float(value)}
        for reference, direction in references.items()
        for name, vector in vectors.items()
        for layer, value in zip(layers, cosine_by_layer(vector, direction), strict=True)
    ]
    return pd.DataFrame(rows)


def _points(
    cosines: pd.DataFrame,
    effects: pd.DataFrame,
    reference: str,
    treatment: str,
    layer: int,
    groups: Mapping[str, str],
) -> pd.DataFrame:
    """Cosine and effect of each persona, for choosing (``selection``) and testing (``effect``)."""
    here = cosines[(cosines["reference"] == reference) & (cosines["layer"] == layer)]
    applied = effects[(effects["treatment"] == treatment) & effects["layer"].isin([layer, -1])]
    wide = applied.pivot_table(index="persona", columns="split", values="effect")
    # Where no score is a number the pivot has no columns at all.
    wide = wide.reindex(columns=["layer", "test"])
    joined = here.set_index("persona")[["cosine"]].join(wide, how="inner")
    joined = joined.dropna(subset=["cosine", "test"])
    joined = joined.rename(columns={"test": "effect", "layer": "selection"}).reset_index()
    joined.insert(1, "group", joined["persona"].map(groups))
    return joined.sort_values("persona", ignore_index=True)


def _rows(
    reference: str, treatment: str, tables: Mapping[int, pd.DataFrame]
) -> list[dict[str, object]]:
    return [
        {
            "reference": reference,
            "treatment": treatment,
            "layer": layer,
            "pearson": _pearson(table["cosine"], table["effect"]),
            "spearman": _pearson(table["cosine"].rank(), table["effect"].rank()),
            "n": len(table),
        }
        for layer, table in tables.items()
    ]


def _fit(
    reference: str,
    treatment: str,
    tables: Mapping[int, pd.DataFrame],
    rng: np.random.Generator,
    n_permutations: int,
) -> GeometryFit:
    strength = {
        layer: abs(_pearson(table["cosine"], table["selection"])) for layer, table in tables.items()
    }
    finite = {layer: value for layer, value in strength.items() if np.isfinite(value)}
    layer = max(finite, key=lambda at: finite[at]) if finite else min(tables)
    points = tables[layer]
    x, y = points["cosine"].to_numpy(float), points["effect"].to_numpy(float)
    return GeometryFit(
        reference=reference,
        treatment=treatment,
        layer=layer,
        layer_chosen_by="greatest absolute correlation on the layer split",
        n=len(points),
        pearson=correlation(x, y, rng=rng, method="pearson", n_permutations=n_permutations),
        spearman=correlation(x, y, rng=rng, method="spearman", n_permutations=n_permutations),
        p_over_layers=_p_over_layers(tables, rng, n_permutations),
        points=points[["persona", "group", "cosine", "effect"]],
    )


def _p_over_layers(
    tables: Mapping[int, pd.DataFrame], rng: np.random.Generator, n_permutations: int
) -> float:
    """Share of permutations of the personas whose best layer is as good as the best one here."""
    n = max(len(table) for table in tables.values())
    if n < 3:
        return 1.0
    # A permutation of the personas takes layers at which all of them were scored.
    full = [table for table in tables.values() if len(table) == n]
    cosine = np.stack([table["cosine"].to_numpy(float) for table in full])
    effect = np.stack([table["effect"].to_numpy(float) for table in full])
    x, y = _standardised(cosine), _standardised(effect)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return 1.0
    best = np.abs((x * y).sum(axis=1)).max()
    orders = np.stack([rng.permutation(x.shape[1]) for _ in range(n_permutations)])
    drawn = np.abs(np.einsum("lp,lnp->nl", x, y[:, orders])).max(axis=1)
    return float((1 + (drawn >= best - 1e-12).sum()) / (1 + n_permutations))


def _standardised(values: Float[np.ndarray, "layer item"]) -> Float[np.ndarray, "layer item"]:
    centred = values - values.mean(axis=1, keepdims=True)
    scale = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    out = np.full_like(centred, np.nan)
    return np.asarray(np.divide(centred, scale, out=out, where=scale > 1e-12))


def _pearson(x: pd.Series, y: pd.Series) -> float:
    if len(x) < 3:
        return float("nan")
    values = np.stack([x.to_numpy(float), y.to_numpy(float)])[:, None]
    return float((_standardised(values[0]) * _standardised(values[1])).sum())
