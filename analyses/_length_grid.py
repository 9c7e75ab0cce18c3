"""Answers by statement under prompts of every kind and length, averaged over assemblies."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped
from scipy.special import expit

ALONE: Final = "none"
"""Arm of the question alone: length 0 of every other arm."""

FILLER: Final = "filler"
"""Arm of neutral sentences: what other arms are held against."""

QUANTITIES: Final = ("share", "probability", "propensity")
"""What is averaged over statements: whether the misaligned answer is the likelier (a tie is
half), its probability among the two answers, and its log-odds in nats."""

Column = tuple[str, int]
"""Arm and number of sentences."""


@dataclass(frozen=True, kw_only=True)
class LengthGrid:
    """One model's answers about one behaviour: a row a statement, a column an arm and length."""

    side: str
    """``base`` or ``tuned``."""
    behaviour: str
    """Name of the behaviour."""
    desirable: bool
    """Whether showing it is the aligned answer."""
    statements: tuple[str, ...]
    """Statement of each row."""
    groups: Shaped[np.ndarray, " statement"]
    """Group of each row."""
    columns: tuple[Column, ...]
    """Arm and length of each column."""
    values: dict[str, Float[np.ndarray, "statement column"]]
    """Means over assemblies, by quantity; NaN where a statement was not scored."""
    tokens: Float[np.ndarray, " column"]
    """Mean tokens of the prompt's own text."""
    mass: Float[np.ndarray, " column"]
    """Mean P(Yes) + P(No)."""
    assemblies: pd.DataFrame
    """Mean propensity over statements: a row an assembly, a column each of ``columns``."""

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms, without the question alone."""
        return tuple(dict.fromkeys(arm for arm, _ in self.columns if arm != ALONE))

    def lengths(self, arm: str) -> tuple[int, ...]:
        """Lengths of an arm, ascending, with 0 where the question alone was scored."""
        own = {n for name, n in self.columns if name in (arm, ALONE)}
        return tuple(sorted(own))

    def of(self, quantity: str, arm: str, lengths: tuple[int, ...]) -> Float[np.ndarray, "row len"]:
        """A quantity of an arm by statement and length."""
        places = [self.columns.index(_column(arm, n)) for n in lengths]
        return self.values[quantity][:, places]

    def assembly_means(self, arm: str, lengths: tuple[int, ...]) -> Float[np.ndarray, "draw len"]:
        """Mean propensity of each assembly of an arm; the question alone is the same for all."""
        table = self.assemblies.reindex(columns=[_column(arm, n) for n in lengths if n])
        found = table.dropna().to_numpy(np.float64)
        if 0 not in lengths:
            return np.asarray(found)
        alone = np.nanmean(self.of("propensity", arm, (0,)))
        return np.concatenate([np.full((len(found), 1), alone), found], axis=1)


def length_grids(lengths: pd.DataFrame) -> Iterator[LengthGrid]:
    """The grid of each model and behaviour of a table of lengths, in the table's order."""
    for (side, behaviour), rows in lengths.groupby(["side", "behaviour"], sort=False):
        yield _grid(str(side), str(behaviour), _with_quantities(rows))


def towards_misaligned(
    log_odds: Float[np.ndarray, " row"], aligned: Shaped[np.ndarray, " row"]
) -> Float[np.ndarray, " row"]:
    """Log-odds of the misaligned answer, from those of Yes and whether Yes is aligned."""
    return np.where(aligned.astype(bool), -log_odds, log_odds)


def with_probability(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with ``share`` and ``probability`` of the misaligned answer, by ``propensity``."""
    propensity = rows["propensity"].to_numpy(np.float64)
    share = np.where(np.isnan(propensity), np.nan, (np.sign(propensity) + 1.0) / 2.0)
    return rows.assign(share=share, probability=expit(propensity))


def _with_quantities(rows: pd.DataFrame) -> pd.DataFrame:
    propensity = towards_misaligned(
        rows["log_odds"].to_numpy(np.float64), rows["aligned"].to_numpy()
    )
    # The question alone is of length 0, whatever the table calls it.
    n_sentences = rows["n_sentences"].where(rows["arm"] != ALONE, 0).astype(int)
    return with_probability(rows.assign(propensity=propensity, n_sentences=n_sentences))


def _grid(side: str, behaviour: str, rows: pd.DataFrame) -> LengthGrid:
    by = ["arm", "n_sentences"]
    wide = rows.pivot_table(
        index="statement_id", columns=by, values=list(QUANTITIES), aggfunc="mean", sort=False
    )
    columns = [(str(arm), int(n)) for arm, n in wide["propensity"].columns]
    means = rows.groupby(by)[["n_tokens", "mass"]].mean().reindex(wide["propensity"].columns)
    groups = rows.drop_duplicates("statement_id").set_index("statement_id")["group"]
    own = rows[rows["arm"] != ALONE]
    assemblies = own.pivot_table(index="assembly", columns=by, values="propensity", aggfunc="mean")
    return LengthGrid(
        side=side,
        behaviour=behaviour,
        desirable=bool(rows["desirable"].iloc[0]),
        statements=tuple(str(each) for each in wide.index),
        groups=groups[wide.index].to_numpy(dtype=str),
        columns=tuple(columns),
        values={q: _ordered(wide[[q]], columns) for q in QUANTITIES},
        tokens=means["n_tokens"].to_numpy(np.float64),
        mass=means["mass"].to_numpy(np.float64),
        assemblies=assemblies,
    )


def _ordered(wide: pd.DataFrame, columns: list[Column]) -> Float[np.ndarray, "statement column"]:
    return wide.droplevel(0, axis=1).reindex(columns=columns).to_numpy(np.float64)


def _column(arm: str, n_sentences: int) -> Column:
    return (arm, n_sentences) if n_sentences else (ALONE, 0)
