"""What a sweep runs, and what it keeps of the logits at each row's last token."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks import Edit
from lens_personas.models import LensModel

_LOGITS_AT_ONCE = 2**24


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Rows that share their edits.

    Raises:
        ValueError: If there is no row.
    """

    prompts: tuple[int, ...]
    """Number of the prompt each row runs on; a prompt may serve many rows."""
    edits: tuple[Edit, ...]
    """Edits in force; ``per_row`` and ``per_pass`` hooks number the arm's rows 0, 1, …"""
    name: str = ""
    """What the arm is called where it is shown."""

    def __post_init__(self) -> None:
        """Refuse an arm that would give nothing."""
        if not self.prompts:
            raise ValueError(f"expected an arm of at least one row, got none in {self.name!r}")


class Cell(NamedTuple):
    """One row of one arm."""

    arm: int
    """Number of the arm."""
    row: int
    """Number of the row in its arm."""
    prompt: int
    """Number of the prompt it runs on."""


@dataclass(frozen=True, kw_only=True)
class LastTokens:
    """Keep some tokens alone: without ``log_probs`` only they are unembedded.

    Raises:
        ValueError: If there is no token, or not one weight for each.
    """

    token_ids: tuple[int, ...]
    """Tokens kept, in this order."""
    log_probs: bool = False
    """Whether log-probabilities (nats) are given in place of logits."""
    weights: tuple[float, ...] | None = None
    """One a token: their weighted sum is kept alone, as ``(1, -1)`` for a logit difference."""

    def __post_init__(self) -> None:
        """Hold the weights against the tokens."""
        if not self.token_ids:
            raise ValueError("expected at least one token to keep, got none")
        if self.weights is not None and len(self.weights) != len(self.token_ids):
            raise ValueError(
                f"expected one weight for each of {len(self.token_ids)} tokens, "
                f"got {len(self.weights)}"
            )


@dataclass(frozen=True, kw_only=True)
class ByCell:
    """A reduction that has to know whose logits it sees, such as a divergence from a base."""

    reduce: Callable[[Float[Tensor, "batch d_vocab"], Sequence[Cell]], Float[Tensor, "batch k"]]
    """Function of float32 logits and the cells they belong to, one a row."""


Reduce = Callable[[Float[Tensor, "batch d_vocab"]], Float[Tensor, "batch k"]] | LastTokens | ByCell
"""What is kept of the float32 logits at the last token; each row must count for itself."""


def reduced(
    model: LensModel, resid: Float[Tensor, "row d_model"], cells: Sequence[Cell], reduce: Reduce
) -> Float[Tensor, "row k"]:
    """What ``reduce`` keeps of each row's last residual, on the CPU, few rows at a time."""
    step = max(1, _LOGITS_AT_ONCE // model.card.d_vocab)
    return torch.cat(
        [
            _kept(model, part, cells[step * at : step * (at + 1)], reduce).cpu()
            for at, part in enumerate(resid.split(step))
        ]
    )


def _kept(
    model: LensModel, resid: Float[Tensor, "row d_model"], cells: Sequence[Cell], reduce: Reduce
) -> Float[Tensor, "row k"]:
    if isinstance(reduce, ByCell):
        return reduce.reduce(model.logits(resid).float(), cells)
    if not isinstance(reduce, LastTokens):
        return reduce(model.logits(resid).float())
    wanted = torch.tensor(reduce.token_ids, device=resid.device)
    if reduce.log_probs:
        logits = model.logits(resid).float()
        kept = logits[:, wanted] - logits.logsumexp(dim=1, keepdim=True)
    else:
        kept = model.logits(resid, wanted).float()
    if reduce.weights is None:
        return kept
    return (kept * torch.tensor(reduce.weights, device=kept.device)).sum(dim=1, keepdim=True)
