"""At which layers can the answer that is refused be read?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from lens_personas.statistics import paired_bootstrap, wilson


@dataclass(frozen=True, kw_only=True)
class HiddenAnswers:
    """First token of the known answer, read by the logit lens at the last prompt token."""

    n: int
    """Harmful test requests with a known answer."""
    by_layer: pd.DataFrame
    """One row a layer: ``layer``; share of requests where the token is top-1 with its Wilson
    interval (``top1, top1_low, top1_high``); mean log-probability in nats with bootstrap interval
    (``log_prob, log_prob_low, log_prob_high``); median rank (0 is top); and the control, another
    request's answer: ``control_top1, control_log_prob``."""
    by_request: pd.DataFrame
    """One row a request and layer: ``prompt_id, layer, log_prob`` in nats, ``rank`` (0 is top)."""


def hidden_answers(
    log_probs: Float[np.ndarray, "prompt layer"],
    ranks: Int[np.ndarray, "prompt layer"],
    control_log_probs: Float[np.ndarray, "prompt layer"],
    control_ranks: Int[np.ndarray, "prompt layer"],
    *,
    layers: tuple[int, ...],
    prompt_ids: Sequence[str],
    rng: np.random.Generator,
) -> HiddenAnswers:
    """Readability of the known answer by layer, beside the answer to another request.

    Args:
        log_probs: Log-probability of the answer's first token, in nats.
        ranks: Its rank, 0 being the top.
        control_log_probs: The same for another request's answer.
        control_ranks: The same for another request's answer.
        layers: Block of each column, from 0.
        prompt_ids: Request of each row.
        rng: Source of every draw.

    Raises:
        ValueError: If there is no request.
    """
    n = len(log_probs)
    if n == 0:
        raise ValueError("expected at least one request with a known answer, got none")
    rows = []
    for at, layer in enumerate(layers):
        top = wilson(int((ranks[:, at] == 0).sum()), n)
        mean = paired_bootstrap(log_probs[:, at].astype(np.float64), rng=rng)
        rows.append(
            {
                "layer": layer,
                "top1": top.estimate,
                "top1_low": top.low,
                "top1_high": top.high,
                "log_prob": mean.estimate,
                "log_prob_low": mean.low,
                "log_prob_high": mean.high,
                "median_rank": float(np.median(ranks[:, at])),
                "control_top1": float((control_ranks[:, at] == 0).mean()),
                "control_log_prob": float(control_log_probs[:, at].mean()),
            }
        )
    by_request = pd.DataFrame(
        {
            "prompt_id": np.repeat(np.array(prompt_ids, dtype=object), len(layers)),
            "layer": np.tile(layers, n),
            "log_prob": log_probs.reshape(-1),
            "rank": ranks.reshape(-1),
        }
    )
    return HiddenAnswers(n=n, by_layer=pd.DataFrame(rows), by_request=by_request)
