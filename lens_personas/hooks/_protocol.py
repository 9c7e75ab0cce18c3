"""What a hook is: a pure function of one activation."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks._positions import TokenLayout


@runtime_checkable
class HookFn(Protocol):
    """Function called with the activation at one hook point; what it returns replaces it.

    It must not write to its input: an earlier hook may have kept that tensor.
    ``hook`` is TransformerLens' hook point; its name differs between backends,
    so nothing may depend on it.
    """

    def __call__(
        self, activation: Float[Tensor, "batch pos d_model"], /, *, hook: object
    ) -> Float[Tensor, "batch pos d_model"]:
        """Return the edited activation, of the same shape, dtype and device."""
        ...


@runtime_checkable
class RowHooks(Protocol):
    """Maker of a hook that treats each row in its own way (``Edit(per_row=True)``)."""

    def __call__(self, rows: Sequence[int], /) -> HookFn:
        """Hook for a batch of these rows, numbered in the whole list of prompts."""
        ...


@runtime_checkable
class PassHooks(Protocol):
    """Maker of a hook that needs to know where it is (``Edit(per_pass=True)``)."""

    def __call__(self, rows: Sequence[int], layout: TokenLayout, /) -> HookFn:
        """Hook for these rows and columns; positions outside the edit's scope are -1."""
        ...
