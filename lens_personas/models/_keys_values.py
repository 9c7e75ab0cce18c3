"""Keys and values of one block's attention, in whatever layout its backend keeps them."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class KeysValues:
    """Keys and values of some columns of a batch, for one block."""

    keys: Tensor
    """Keys, rows first."""
    values: Tensor
    """Values, rows first."""
    axis: int
    """Axis of the columns."""

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return self.keys.shape[self.axis]

    def select(self, rows: Int[Tensor, " chosen"]) -> "KeysValues":
        """Those of the rows ``rows``, in that order; a row may come more than once."""
        index = rows.to(self.keys.device)
        return self._like(self.keys[index], self.values[index])

    def columns(self, stop: int) -> "KeysValues":
        """Those of the first ``stop`` columns."""
        return self._like(
            self.keys.narrow(self.axis, 0, stop), self.values.narrow(self.axis, 0, stop)
        )

    def gathered(self, columns: Int[Tensor, "batch wanted"]) -> "KeysValues":
        """Those of each row's own ``columns``, in that order."""
        shape = [1] * self.keys.ndim
        shape[0], shape[self.axis] = columns.shape
        index = columns.reshape(shape).to(self.keys.device)
        return self._like(*(_take(of, index, self.axis) for of in (self.keys, self.values)))

    def joined(self, following: "KeysValues") -> "KeysValues":
        """These columns and then the ``following`` ones.

        Raises:
            ValueError: If the rows differ in number.
        """
        if len(self.keys) != len(following.keys):
            raise ValueError(
                f"expected keys and values of {len(following.keys)} rows, got {len(self.keys)}; "
                "select one row of the past for each row that runs"
            )
        pairs = ((self.keys, following.keys), (self.values, following.values))
        return self._like(*(torch.cat(pair, dim=self.axis) for pair in pairs))

    def _like(self, keys: Tensor, values: Tensor) -> "KeysValues":
        return KeysValues(keys=keys, values=values, axis=self.axis)


def _take(of: Tensor, index: Int[Tensor, "..."], axis: int) -> Tensor:
    wanted = list(of.shape)
    wanted[axis] = index.shape[axis]
    return of.gather(axis, index.expand(wanted))
