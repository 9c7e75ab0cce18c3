"""Where in a block an activation lies: the one place that spells hook names."""

from enum import StrEnum


class Site(StrEnum):
    """A point of a transformer block, in TransformerLens' terms; layers count from 0."""

    RESID_PRE = "resid_pre"
    RESID_MID = "resid_mid"
    RESID_POST = "resid_post"
    ATTN_OUT = "attn_out"
    MLP_OUT = "mlp_out"
    V = "v"
    Z = "z"
    PATTERN = "pattern"

    @property
    def is_residual(self) -> bool:
        """Whether the site is the residual stream itself."""
        return self in (Site.RESID_PRE, Site.RESID_MID, Site.RESID_POST)

    @property
    def has_d_model(self) -> bool:
        """Whether an activation here is ``[batch, pos, d_model]``."""
        return self not in _INSIDE_ATTENTION

    def hook_name(self, layer: int) -> str:
        """TransformerLens name of this site in block ``layer``.

        >>> Site.RESID_POST.hook_name(3)
        'blocks.3.hook_resid_post'

        Raises:
            ValueError: If ``layer`` is negative.
        """
        if layer < 0:
            raise ValueError(
                f"expected a layer counted from 0, got {layer}; use n_layers + {layer}"
            )
        inner = "attn." if self in _INSIDE_ATTENTION else ""
        return f"blocks.{layer}.{inner}hook_{self.value}"


_INSIDE_ATTENTION = (Site.V, Site.Z, Site.PATTERN)
