"""A hook with its place: what is edited, where, at which positions."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lens_personas.hooks._positions import Scope, TokenLayout, scope_mask
from lens_personas.hooks._protocol import HookFn, PassHooks, RowHooks
from lens_personas.hooks._site import Site


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One hook at one place. Several at one place run in the order they are given.

    Raises:
        ValueError: If the place does not exist or holds no ``[batch, pos, d_model]``.
    """

    site: Site
    """Point in the block."""
    layer: int
    """Block, counted from 0."""
    hook: HookFn | RowHooks | PassHooks
    """The hook; or, with ``per_row`` or ``per_pass``, what makes it."""
    scope: Scope = "all"
    """Positions the hook touches; the others keep their values to the bit."""
    per_row: bool = False
    """Whether ``hook`` is made anew for the rows of each batch (their numbers in the call)."""
    per_pass: bool = False
    """Whether ``hook`` is made anew for the rows and columns of each pass, cached steps too."""

    def __post_init__(self) -> None:
        """Check the place once, before any model runs."""
        if not self.site.has_d_model:
            raise ValueError(
                f"expected a site whose activation is [batch, pos, d_model], got {self.site}; "
                "read it with hooks, edit at a residual site, attn_out or mlp_out"
            )
        if self.layer < 0:
            raise ValueError(
                f"expected a layer counted from 0, got {self.layer}; use n_layers + {self.layer}"
            )
        if self.per_row and self.per_pass:
            raise ValueError("expected per_row or per_pass, got both; per_pass hands over the rows")

    def for_rows(self, rows: Sequence[int]) -> HookFn:
        """The hook for these rows of the call.

        Raises:
            TypeError: If what was given or made is not a hook.
        """
        made = self.hook(rows) if self.per_row else self.hook  # type: ignore[call-arg, arg-type]
        return _checked_hook(made)

    def for_pass(self, rows: Sequence[int], layout: TokenLayout) -> HookFn:
        """The hook for one pass over these rows and columns, kept to the edit's scope.

        Raises:
            ValueError: If the scope does not fit the batch.
            TypeError: If what was given or made is not a hook.
        """
        mask = scope_mask(self.scope, layout)
        if not self.per_pass:
            return at_positions(self.for_rows(rows), mask)
        made = self.hook(rows, layout.within(mask))  # type: ignore[call-arg, arg-type]
        return at_positions(_checked_hook(made), mask)


def compile_edits(
    edits: Sequence[Edit], layout: TokenLayout, rows: Sequence[int]
) -> dict[tuple[Site, int], HookFn]:
    """One hook a place, for one pass over these rows and columns; order within a place is kept.

    Raises:
        ValueError: If a scope does not fit the batch.
    """
    places: dict[tuple[Site, int], list[HookFn]] = {}
    for edit in edits:
        places.setdefault((edit.site, edit.layer), []).append(edit.for_pass(rows, layout))
    return {place: in_order(hooks) for place, hooks in places.items()}


def in_order(hooks: Sequence[HookFn]) -> HookFn:
    """Hook that applies ``hooks`` one after the other, the first one first."""
    kept = tuple(hooks)

    def apply_all(
        activation: Float[Tensor, "batch pos d_model"], /, *, hook: object
    ) -> Float[Tensor, "batch pos d_model"]:
        for each in kept:
            activation = each(activation, hook=hook)
        return activation

    return apply_all


def at_positions(edit: HookFn, mask: Bool[Tensor, "batch pos"]) -> HookFn:
    """Hook that applies ``edit`` where ``mask`` is true and keeps the rest to the bit.

    The hook raises ``ValueError`` where ``edit`` gives another shape or dtype, and
    ``RuntimeError`` where it wrote to its input (not seen under ``torch.inference_mode``,
    which counts no writes).
    """

    def apply_masked(
        activation: Float[Tensor, "batch pos d_model"], /, *, hook: object
    ) -> Float[Tensor, "batch pos d_model"]:
        edited = _called(edit, activation, hook)
        return _where(_on_batch(mask, activation), edited, activation)

    return apply_masked


def _called(
    edit: HookFn, activation: Float[Tensor, "batch pos d_model"], hook: object
) -> Float[Tensor, "batch pos d_model"]:
    writes = _write_count(activation)
    edited = edit(activation, hook=hook)
    if _write_count(activation) != writes:
        raise RuntimeError(
            "expected a hook that leaves its input as it is, got one that wrote to it; "
            "an earlier hook may have kept that tensor: return a new one"
        )
    if not isinstance(edited, Tensor):
        raise TypeError(f"expected a hook that returns a tensor, got {type(edited).__name__}")
    # Without this a wrong width, or one row for all, would broadcast unseen.
    if edited.shape != activation.shape or edited.dtype != activation.dtype:
        raise ValueError(
            f"expected a hook that keeps shape {tuple(activation.shape)} and {activation.dtype}, "
            f"got shape {tuple(edited.shape)} and {edited.dtype}; return the same kind of tensor"
        )
    return edited


def _write_count(activation: Float[Tensor, "batch pos d_model"]) -> int:
    return 0 if activation.is_inference() else activation._version


def _on_batch(
    mask: Bool[Tensor, "rows columns"], activation: Float[Tensor, "batch pos d_model"]
) -> Bool[Tensor, "batch pos"]:
    if mask.shape != activation.shape[:2]:
        raise ValueError(
            f"expected an activation of {tuple(mask.shape)} rows and columns as in the layout, "
            f"got {tuple(activation.shape[:2])}; compile the edits anew for each pass"
        )
    return mask.to(activation.device)


def _where(
    mask: Bool[Tensor, "batch pos"],
    edited: Float[Tensor, "batch pos d_model"],
    original: Float[Tensor, "batch pos d_model"],
) -> Float[Tensor, "batch pos d_model"]:
    return torch.where(mask[..., None], edited, original)


def _checked_hook(made: object) -> HookFn:
    if not isinstance(made, HookFn):
        raise TypeError(f"expected a hook (see HookFn), got {type(made).__name__}")
    return made
