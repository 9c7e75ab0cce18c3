"""How far do prompts and vectors move what a model says of a behaviour?"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from analyses._length_grid import QUANTITIES, length_grids
from analyses._steerability_types import MEASURE_COLUMNS, ArmCurve, Steerability, VectorCurve
from analyses._steering_curves import (
    Draws,
    arm_curves,
    corrected,
    length_rows,
    pooled_rows,
    statement_trends,
)
from analyses._steering_vectors import (
    OWN,
    DoseTable,
    corrected_vectors,
    dose_rows,
    dose_tables,
    layer_rows,
    statement_slopes,
    vector_curve,
)

__all__ = ["MEASURE_COLUMNS", "ArmCurve", "Steerability", "VectorCurve", "steerability"]

_LENGTHS = (
    "side", "behaviour", "desirable", "arm", "n_sentences", "n_tokens", "assembly", "statement_id",
    "group", "aligned", "log_odds", "mass",
)  # fmt: skip
_VECTORS = (
    "side", "behaviour", "desirable", "layer", "dose", "vector", "statement_id", "group",
    "aligned", "propensity",
)  # fmt: skip


def _with_bounds(*names: str) -> tuple[str, ...]:
    return tuple(name + end for name in names for end in ("", "_low", "_high"))


_MEANS = _with_bounds(*QUANTITIES)
_ABOUT = ("side", "behaviour", "desirable")
_BY_LENGTH = (
    *_ABOUT, "arm", "n_sentences", "n_tokens", "n", "n_assemblies", "assembly_sd", "mass", *_MEANS,
    *_with_bounds("net"),
)  # fmt: skip
_POOLED = (
    "side", "desirable", "arm", "n_sentences", "n_behaviours", *_MEANS, *_with_bounds("net"),
)  # fmt: skip
_BY_DOSE = (*_ABOUT, "layer", "vector", "dose", *_MEANS)
_BY_LAYER = (
    *_ABOUT, "layer", "slope", "low", "high", "anti", "anti_low", "anti_high", "null_low",
    "null_high",
)  # fmt: skip
_BY_STATEMENT = (*_ABOUT, "measure", "statement_id", "group", "value")


def steerability(
    lengths: pd.DataFrame | None,
    vectors: pd.DataFrame | None,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    n_boot: int = 2000,
    n_perm: int = 5000,
) -> Steerability:
    """Curves over the length of prompts and over the dose of vectors, with their nulls.

    Means are over statements, whose groups are resampled whole. What a prompt does is held
    against neutral sentences of the same number, what a vector does against random directions
    of the same length. The layer of a vector is chosen on other statements than it is read at.

    Args:
        lengths: One row a side, behaviour, arm, length, assembly and statement, with the
            columns ``side, behaviour, desirable, arm, n_sentences, n_tokens, assembly,
            statement_id, group, aligned, log_odds, mass``; the arm ``none`` is the question
            alone. None where no prompt was tried.
        vectors: One row a side, behaviour, layer, vector, dose and statement, with the columns
            ``side, behaviour, desirable, layer, dose, vector, statement_id, group, aligned,
            propensity``; the vector ``own`` points to the misaligned answer. None where none was
            tried.
        rng: Source of every draw.
        level: Confidence level.
        n_boot: Bootstrap resamples.
        n_perm: Sign flips.

    Raises:
        ValueError: If there is neither table, a table has no row, or a column is missing.
    """
    if lengths is None and vectors is None:
        raise ValueError("expected a table of lengths, of vectors, or both, got neither")
    draws = Draws(rng=rng, level=level, n_boot=n_boot, n_perm=n_perm)
    _require("lengths", lengths, _LENGTHS)
    _require("vectors", vectors, _VECTORS)
    grids = [] if lengths is None else list(length_grids(lengths))
    every = [] if vectors is None else list(dose_tables(vectors, rng))
    tables = [table for table in every if OWN in table.vectors]
    prompts = corrected([curve for grid in grids for curve in arm_curves(grid, draws)])
    by_length = _joined((length_rows(grid, draws) for grid in grids), _BY_LENGTH)
    about = [(grid.side, grid.behaviour) for grid in grids]
    about += [(table.side, table.behaviour) for table in tables]
    return Steerability(
        level=level,
        sides=tuple(dict.fromkeys(side for side, _ in about)),
        behaviours=tuple(dict.fromkeys(behaviour for _, behaviour in about)),
        arms=tuple(dict.fromkeys(arm for grid in grids for arm in grid.arms)),
        prompts=prompts,
        vectors=corrected_vectors([vector_curve(table, draws) for table in tables]),
        by_length=by_length,
        pooled=_joined([pooled_rows(by_length, draws)], _POOLED),
        by_dose=_joined((dose_rows(table, draws) for table in tables), _BY_DOSE),
        by_layer=_joined((layer_rows(table, draws) for table in tables), _BY_LAYER),
        by_statement=_joined(
            [*map(statement_trends, grids), *map(statement_slopes, tables)], _BY_STATEMENT
        ),
        left_out=(*_no_vector(every), *_not_fitted(prompts), *_not_in_both(prompts)),
    )


def _require(name: str, table: pd.DataFrame | None, columns: tuple[str, ...]) -> None:
    if table is None:
        return
    missing = [column for column in columns if column not in table]
    if missing or not len(table):
        raise ValueError(
            f"expected rows with the columns {list(columns)} in {name}, got {len(table)} rows "
            f"without {missing}; pass None where nothing was tried"
        )


def _not_fitted(prompts: Sequence[ArmCurve]) -> list[str]:
    return [
        f"{curve.behaviour} ({curve.side}): no logistic curve over the length of misaligned "
        f"prompts, {curve.not_fitted}."
        for curve in prompts
        if curve.arm == "misaligned" and curve.not_fitted is not None
    ]


def _not_in_both(prompts: Sequence[ArmCurve]) -> list[str]:
    """Lengths that one of two models was not asked at."""
    tried: dict[str, dict[str, set[int]]] = {}
    for curve in prompts:
        tried.setdefault(curve.behaviour, {}).setdefault(curve.side, set()).update(curve.lengths)
    return [
        f"{behaviour} ({side}): prompts of {', '.join(map(str, missing))} sentences were tried "
        "with the other model alone."
        for behaviour, sides in tried.items()
        for side, lengths in sides.items()
        if (missing := sorted(set().union(*sides.values()) - lengths))
    ]


def _no_vector(tables: Sequence[DoseTable]) -> list[str]:
    return [
        f"{table.behaviour} ({table.side}): its own vector was not scored on any statement at "
        "every dose."
        for table in tables
        if OWN not in table.vectors
    ]


def _joined(parts: Iterable[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(columns))
