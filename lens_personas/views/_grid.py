"""What a heatmap shows: values by row and column, their names, their scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens_personas.models import visible
from lens_personas.views._looks import LEVELS
from lens_personas.views._svg import writable


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One side of a heatmap."""

    name: str
    """What it is, such as ``layer``; empty where the labels say so themselves."""
    labels: tuple[str, ...]
    """Beside the picture."""
    names: tuple[str, ...]
    """The same in full, as they are read out."""
    is_tokens: bool = False
    """Whether labels are text that the model reads."""


@dataclass(frozen=True, kw_only=True)
class Extra:
    """A second number of each cell, read out and tabulated beside the first."""

    name: str
    """What it is."""
    values: Float[Tensor, "row column"]
    """The numbers; NaN where there is none."""
    digits: int
    """Decimals it is told with."""
    is_shown: bool = False
    """Whether it stands in the cell too, where there is room."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Values by row and column."""

    values: Float[Tensor, "row column"]
    """The values; NaN where there is none."""
    rows: Axis
    """Rows, in the order of ``values``."""
    columns: Axis
    """Columns."""
    unit: str
    """What the values are, with their unit."""
    centre: float
    """Value of the colour that says nothing is there."""
    limit: float
    """Distance from the centre at which the colour ends."""
    upward: bool
    """Whether the first row is at the bottom."""
    extra: Extra | None = None
    """A second number of each cell."""
    hollow: Bool[Tensor, "row column"] | None = None
    """Cells that get a hollow mark."""
    hollow_means: str = ""
    """What the mark says."""

    @property
    def digits(self) -> int:
        """Decimals that a reader can use."""
        return decimals(self.limit)

    @property
    def levels(self) -> Int[Tensor, "row column"]:
        """Place of each value in the scale, as `level_of` gives it; -1 where there is none."""
        half = LEVELS // 2
        share = ((self.values - self.centre) / self.limit).clamp(-1.0, 1.0)
        return (half + (half * share).round()).nan_to_num(-1.0).long()

    @property
    def marked(self) -> Bool[Tensor, "row column"]:
        """Cells that show the hollow mark: not those whose colour says that nothing is there."""
        if self.hollow is None:
            return torch.zeros(self.values.shape, dtype=torch.bool)
        levels = self.levels
        return self.hollow & (levels >= 0) & (levels != LEVELS // 2)

    def at(self, row: int) -> int:
        """Place of a row, counted from the top."""
        return len(self.rows.labels) - 1 - row if self.upward else row


def make_axis(
    name: str,
    labels: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    is_tokens: bool = False,
) -> Axis:
    """A side of a heatmap; ``names`` are the labels after the name where none are given."""
    spoken = [f"{name} {each}".strip() for each in labels] if names is None else names
    return Axis(
        name=name,
        labels=tuple(map(writable, labels)),
        names=tuple(map(writable, spoken)),
        is_tokens=is_tokens,
    )


def token_axis(tokens: Sequence[str], positions: Sequence[int] | None = None) -> Axis:
    """Tokens as columns, each with its position: those are told apart where tokens are alike."""
    places = range(len(tokens)) if positions is None else positions
    shown = shown_tokens(tokens)
    spoken = [f"“{token}” at {place}" for token, place in zip(shown, places, strict=True)]
    return make_axis("", shown, names=spoken, is_tokens=True)


def shown_tokens(tokens: Sequence[str]) -> tuple[str, ...]:
    """Tokens as text that can be seen, an empty one too."""
    return tuple(visible(token) or "∅" for token in tokens)


def scale_limit(values: Float[Tensor, "row column"], centre: float, limit: float | None) -> float:
    """Distance from the centre at which the colour ends: the largest that is met, if none is given.

    Raises:
        ValueError: If the given one is not above 0.
    """
    if limit is not None and not (limit > 0 and math.isfinite(limit)):
        raise ValueError(f"expected a limit above 0, or None for the largest value, got {limit}")
    finite = values[torch.isfinite(values)]
    most = float((finite - centre).abs().max()) if len(finite) else 0.0
    return limit or most or 1.0


def check_like(name: str, given: Tensor | None, values: Float[Tensor, "row column"]) -> None:
    """Check that a second table has the shape of the first.

    Raises:
        ValueError: If not.
    """
    if given is not None and given.shape != values.shape:
        raise ValueError(
            f"expected {name} of shape {tuple(values.shape)}, one a cell, got {tuple(given.shape)}"
        )


def not_below(p: Float[Tensor, "row column"], alpha: float) -> Bool[Tensor, "row column"]:
    """Cells whose p is known and not below a level.

    Raises:
        ValueError: If the level or a p is no share.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"expected alpha between 0 and 1, such as 0.05, got {alpha}")
    shares = p.double().cpu()
    if bool(((shares < 0) | (shares > 1)).any()):
        raise ValueError(
            f"expected p from 0 to 1, got {float(shares.min())} to {float(shares.max())}"
        )
    return shares >= alpha


def decimals(limit: float) -> int:
    """Decimals with which values up to a limit are told.

    >>> [decimals(each) for each in (1.0, 4.0, 60.0, 900.0, 0.5, 0.04)]
    [2, 2, 1, 0, 2, 4]

    """
    if not limit > 0:
        return 2
    # Half of one is still told by hundredths.
    size = math.floor(math.log10(limit if limit >= 1 else 2 * limit))
    return min(max(2 - size, 0), 6)


def told(value: float, digits: int) -> str:
    """A number with a minus sign, or what says that there is none.

    >>> told(-0.254, 2), told(float("nan"), 2), told(-0.001, 2)
    ('−0.25', '–', '0.00')

    """
    if not math.isfinite(value):
        return "–"
    rounded = round(value, digits) + 0.0
    return f"{rounded:.{digits}f}".replace("-", "−")


def grid_summary(grid: Grid) -> str:
    """Where the strongest value is, in a sentence."""
    n_rows, n_columns = grid.values.shape
    whole = f"Heatmap of {grid.unit}, {n_rows} rows by {n_columns} columns."
    if not torch.isfinite(grid.values).any():
        return f"{whole} There is no value."
    far = (grid.values - grid.centre).abs().nan_to_num(-1.0)
    row, column = divmod(int(far.argmax()), n_columns)
    value = told(float(grid.values[row, column]), grid.digits)
    place = f"{grid.rows.names[row]}, {grid.columns.names[column]}"
    return f"{whole} The strongest is {value}, at {place}."
