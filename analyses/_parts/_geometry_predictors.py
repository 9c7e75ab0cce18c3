"""How well numbers of a persona's vector predict the persona's effect, over personas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from analyses._contents import Contents
from analyses._part import Core
from analyses._parts._geometry_contrasts import families, family_names, family_vectors, variants
from analyses._vectors import REFUSAL_NAMES
from analyses._workbench import Outline
from analyses.scores import mean_changes
from analyses.vector_geometry import COSINE, COSINE_FREE, Predictor
from lens_personas.geometry import random_directions
from lens_personas.statistics import (
    best_r2_p,
    compare_predictors,
    correlation,
    one_predictor_r2,
)

_RANDOM_REFERENCES = 300
_COLUMNS = ["treatment", "n", "median", "high", "as_good"]

Values = Mapping[str, Float[np.ndarray, "layer persona"]]
"""Predictors by name: a number of each persona at each layer."""


@dataclass(frozen=True, kw_only=True)
class Effects:
    """Mean effect of one treatment by each persona."""

    treatment: str
    """The treatment."""
    names: tuple[str, ...]
    """The personas."""
    choosing: Float[np.ndarray, " persona"]
    """Nats, on the requests kept for choosing a layer; NaN where not scored."""
    testing: Float[np.ndarray, " persona"]
    """Nats, on the test requests; NaN where not scored."""


def predictors(
    core: Core, contents: Contents, layer: int
) -> tuple[tuple[Predictor, ...], pd.DataFrame]:
    """All predictors of all treatments, and what random directions predict.

    The layer of a text's predictors is chosen; vectors were added at ``layer``.
    """
    outline = core.plan.outline
    rng = outline.rng("predictors")
    names = tuple(persona.name for persona in outline.data.personas)
    values, random = _values(core, contents), _random_cosines(core, contents)
    fits: list[Predictor] = []
    rows = []
    for treatment in ("prompt", "plus", "minus"):
        at = slice(None) if treatment == "prompt" else [outline.layers.index(layer)]
        effects = _effects(core, treatment, names, -1 if treatment == "prompt" else layer)
        layers = outline.layers if treatment == "prompt" else (layer,)
        found = predict_effects({k: v[at] for k, v in values.items()}, effects, layers, rng=rng)
        cosine = next((fit for fit in found if fit.name == COSINE), None)
        rows.append(random_reference(random[:, at], effects, cosine))
        fits += found
    known = [row for row in rows if row is not None]
    return tuple(fits), pd.DataFrame(known, columns=_COLUMNS)


def _values(core: Core, contents: Contents) -> Values:
    """Predictors of every persona of the study, at every layer."""
    outline = core.plan.outline
    vectors, refusal = _vectors(outline, contents)
    ((_, found),) = contents.part_tensors("geometry", "readings")
    values = {COSINE: _cosines(vectors, refusal)}
    # The study's own vectors are the first family.
    family = families(outline)[0]
    every, yes = family_vectors(outline, family, contents)
    if yes is not None:
        names = family_names(outline, family)
        free = dict(zip(names, variants(every, yes)["removed"], strict=True))
        personas = torch.stack([free[p.name] for p in outline.data.personas if p.name in free])
        if len(personas) == len(vectors):
            values[COSINE_FREE] = _cosines(personas, free[REFUSAL_NAMES[1]])
    values["length of the vector"] = (vectors.norm(dim=-1) / contents.norms).T.double().numpy()
    if "logit" in found.tensors:
        values["direct effect on the logits"] = found.tensors["logit"].T.double().numpy()
    values["shift by the text along refusal"] = found.tensors["shift"].T.double().numpy()
    return values


def _random_cosines(core: Core, contents: Contents) -> Float[np.ndarray, "draw layer persona"]:
    """Cosines of the personas' vectors with directions that mean nothing."""
    vectors, _ = _vectors(core.plan.outline, contents)
    n, d_model = _RANDOM_REFERENCES, vectors.shape[-1]
    generator = torch.Generator().manual_seed(core.plan.outline.config.seed)
    out = [
        _units(at) @ random_directions(n, d_model, generator=generator).double().T
        for at in vectors.unbind(1)
    ]
    return torch.stack(out).permute(2, 0, 1).numpy()


def _vectors(
    outline: Outline, contents: Contents
) -> tuple[Float[Tensor, "persona layer d_model"], Float[Tensor, "layer d_model"]]:
    fitted = {name: each.vector.vectors for name, each in contents.vectors.items()}
    personas = torch.stack([fitted[persona.name] for persona in outline.data.personas])
    return personas, fitted[REFUSAL_NAMES[1]]


def _cosines(
    vectors: Float[Tensor, "persona layer d_model"], reference: Float[Tensor, "layer d_model"]
) -> Float[np.ndarray, "layer persona"]:
    return np.asarray((_units(vectors) * _units(reference)).sum(-1).T.numpy())


def _units(vectors: Float[Tensor, "*many d_model"]) -> Float[Tensor, "*many d_model"]:
    return torch.nn.functional.normalize(vectors.double(), dim=-1, eps=1e-300)


def _effects(core: Core, treatment: str, names: tuple[str, ...], layer: int) -> Effects:
    means = mean_changes(core.scores)
    here = means[(means["treatment"] == treatment) & (means["layer"] == layer)]
    by = here.set_index(["split", "persona"])["effect"].to_dict()
    choosing, testing = (
        np.array([by.get((split, name), np.nan) for name in names], dtype=np.float64)
        for split in ("layer", "test")
    )
    return Effects(treatment=treatment, names=names, choosing=choosing, testing=testing)


def predict_effects(
    values: Values,
    effects: Effects,
    layers: Sequence[int],
    *,
    rng: np.random.Generator,
    n_permutations: int = 1000,
) -> tuple[Predictor, ...]:
    """Every predictor of one treatment's effects beside :data:`COSINE`, which has to be there.

    Each one's layer is chosen on the layer split. Empty where fewer than 3 personas were scored,
    or no persona's effect differs from another's.
    """
    kept = np.isfinite(effects.testing)
    y, choosing = effects.testing[kept], effects.choosing[kept]
    if kept.sum() < 3 or np.ptp(y) == 0.0:
        return ()
    found = {name: table[:, kept] for name, table in values.items()}
    found = {name: table for name, table in found.items() if _open(table).any()}
    at = {name: best_layer(table, choosing) for name, table in found.items()}
    if COSINE not in found:
        return ()
    fits = compare_predictors(
        np.stack([found[name][at[name]] for name in [COSINE, *found]]), y, rng=rng
    )
    names = [name for name, keep in zip(effects.names, kept, strict=True) if keep]
    out = []
    for (name, table), fit in zip(found.items(), fits[1:], strict=True):
        x, every = table[at[name]], table[_open(table)]
        outcomes = np.broadcast_to(y, every.shape)
        out.append(
            Predictor(
                name=name,
                treatment=effects.treatment,
                layer=layers[at[name]],
                n=len(names),
                r2=fit.r2,
                beyond_cosine=fit.beyond_first,
                slope=fit.slope,
                pearson=correlation(x, y, rng=rng, n_permutations=n_permutations),
                p_over_layers=best_r2_p(every, outcomes, rng=rng, n_permutations=n_permutations),
                points=pd.DataFrame({"persona": names, "value": x, "effect": y}),
            )
        )
    return tuple(out)


def random_reference(
    cosines: Float[np.ndarray, "draw layer persona"], effects: Effects, cosine: Predictor | None
) -> dict[str, object] | None:
    """What cosines with random directions predict, the layer of each chosen as refusal's was.

    A row of :attr:`analyses.vector_geometry.VectorGeometry.random_references`; None where there
    is nothing to hold them against.
    """
    if cosine is None:
        return None
    kept = np.isfinite(effects.testing)
    y, choosing = effects.testing[kept], effects.choosing[kept]
    drawn = cosines[:, :, kept]
    at = np.array([best_layer(table, choosing) for table in drawn])
    x = drawn[np.arange(len(drawn)), at]
    r2 = one_predictor_r2(x, np.broadcast_to(y, x.shape))
    return {
        "treatment": effects.treatment,
        "n": len(r2),
        "median": float(np.median(r2)),
        "high": float(np.quantile(r2, 0.95)),
        "as_good": float((r2 >= cosine.r2.estimate).mean()),
    }


def best_layer(
    table: Float[np.ndarray, "layer persona"], effects: Float[np.ndarray, " persona"]
) -> int:
    """Row of the table that predicts best on these effects; the first one that can be told."""
    known = np.isfinite(effects)
    y = np.broadcast_to(effects[known], (len(table), int(known.sum())))
    r2 = one_predictor_r2(np.where(_open(table)[:, None], table, 0.0)[:, known], y)
    r2 = np.where(_open(table) & np.isfinite(r2), r2, -np.inf)
    return int(r2.argmax()) if np.isfinite(r2).any() else int(_open(table).argmax())


def _open(table: Float[np.ndarray, "layer persona"]) -> Bool[np.ndarray, " layer"]:
    """Layers at which every persona has a number."""
    return np.asarray(np.isfinite(table).all(axis=1))
