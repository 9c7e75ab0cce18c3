"""Which candidate direction is chosen: the published rule, on a table of scores."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True, kw_only=True)
class DirectionRule:
    """What a refusal direction has to do besides being the one that bypasses refusal best.

    The rule of Arditi et al. (https://arxiv.org/abs/2406.11717, appendix C).

    Raises:
        ValueError: If the share of layers is not in (0, 1].
    """

    max_kl: float = 0.1
    """Largest KL in nats that its ablation may cost on harmless requests."""
    min_induce: float = 0.0
    """Smallest refusal score in nats that adding it has to give harmless requests."""
    layer_share: float = 0.8
    """Share of the layers, from the bottom, from which it may come, in (0, 1]."""

    def __post_init__(self) -> None:
        if not 0.0 < self.layer_share <= 1.0:
            raise ValueError(f"expected a share of layers in (0, 1], got {self.layer_share}")

    def n_layers_of(self, n_layers: int) -> int:
        """Number of layers, from the bottom, from which a direction may come."""
        return int(self.layer_share * n_layers)


@dataclass(frozen=True, kw_only=True, eq=False)
class DirectionTable:
    """Mean scores of the candidates, as far as they were measured.

    A row is a position, the last row the last token; a column is a layer.
    """

    bypass: Float[np.ndarray, "pos layer"]
    """Refusal score in nats of harmful requests with the direction ablated; NaN if not measured."""
    induce: Float[np.ndarray, "pos layer"]
    """Refusal score in nats of harmless requests with the direction added; NaN if not measured."""
    kl: Float[np.ndarray, "pos layer"]
    """KL(base ‖ ablated) in nats on harmless requests; NaN if not measured."""
    n_bypass: Int[np.ndarray, "pos layer"]
    """Harmful requests in ``bypass``."""
    n_induce: Int[np.ndarray, "pos layer"]
    """Harmless requests in ``induce``."""
    n_kl: Int[np.ndarray, "pos layer"]
    """Harmless requests in ``kl``."""


def passing(
    bypass: Float[np.ndarray, "pos layer"],
    induce: Float[np.ndarray, "pos layer"],
    kl: Float[np.ndarray, "pos layer"],
    *,
    rule: DirectionRule,
) -> Bool[np.ndarray, "pos layer"]:
    """Which candidates the rule allows; one with a NaN it does not."""
    low = np.arange(bypass.shape[1]) < rule.n_layers_of(bypass.shape[1])
    high = (induce >= rule.min_induce) & (kl <= rule.max_kl)
    return np.asarray(low & ~np.isnan(bypass) & high)


def select_place(
    bypass: Float[np.ndarray, "pos layer"],
    induce: Float[np.ndarray, "pos layer"],
    kl: Float[np.ndarray, "pos layer"],
    *,
    rule: DirectionRule | None = None,
) -> tuple[int, int] | None:
    """Position (-1 for the last token) and layer of the chosen candidate; None if none passes.

    Of those that pass it is the one of the lowest ``bypass``; of equals, the first.
    """
    allowed = passing(bypass, induce, kl, rule=rule or DirectionRule())
    if not allowed.any():
        return None
    row, layer = np.unravel_index(np.where(allowed, bypass, np.inf).argmin(), bypass.shape)
    return int(row) - len(bypass), int(layer)
