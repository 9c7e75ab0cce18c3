"""Plans that recur: ablation everywhere, and doses in units of the residual stream."""

import math

from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks import Site
from lens_personas.interventions._intervention import Intervention
from lens_personas.interventions._plan import Plan
from lens_personas.models import ModelCard


def ablate_everywhere(direction: Float[Tensor, " d_model"], card: ModelCard) -> Plan:
    """Plan that keeps the residual stream free of ``direction`` at every layer and position.

    As in Arditi et al. (https://arxiv.org/abs/2406.11717): each block's ``resid_pre``,
    ``attn_out`` and ``mlp_out``. Where those outputs are not what is added (norms after
    attention or MLP), the residual sites instead, with the last ``resid_post``.

    Raises:
        ValueError: If ``direction`` is not a finite vector of the model's width.
    """
    return tuple(
        Intervention(op="ablate", vector=direction, site=site, layers=layers)
        for site, layers in ablation_places(card)
    )


def ablation_places(
    card: ModelCard, *, fewest: bool = False
) -> tuple[tuple[Site, tuple[int, ...]], ...]:
    """Sites, with their layers, at which `ablate_everywhere` acts.

    With ``fewest`` those are left out at which nothing is left to remove but rounding: each
    ``resid_pre`` above the first, where all that was added since has been cleaned. In half
    precision, where rounding counts, none is left out.
    """
    every, last = tuple(range(card.n_layers)), (card.n_layers - 1,)
    if card.residual_identity_holds:
        once = fewest and card.dtype in ("float32", "float64")
        first = (0,) if once else every
        return (Site.RESID_PRE, first), (Site.ATTN_OUT, every), (Site.MLP_OUT, every)
    middle = ((Site.RESID_MID, every),) if card.edits_resid_mid else ()
    return (Site.RESID_PRE, every), *middle, (Site.RESID_POST, last)


def relative_dose(vector: Float[Tensor, " d_model"], resid_norm: float, share: float) -> float:
    """Dose at which ``vector`` has ``share`` times the length ``resid_norm``.

    ``resid_norm`` is the mean norm of the residual stream at the place that is edited;
    norms differ by hundreds between layers, so equal doses mean unequal pushes.

    Raises:
        ValueError: If the vector or the norm is not finite and positive, or the share not finite.
    """
    length = float(vector.double().norm())
    if not (math.isfinite(length) and length > 0):
        raise ValueError(f"expected a vector of finite, positive norm, got norm {length}")
    if not (math.isfinite(resid_norm) and resid_norm > 0):
        raise ValueError(f"expected a finite, positive residual norm, got {resid_norm}")
    if not math.isfinite(share):
        raise ValueError(f"expected a finite share, got {share}")
    return share * resid_norm / length
