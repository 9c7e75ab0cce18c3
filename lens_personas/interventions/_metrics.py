"""What a patch is judged by: one number of each run's last logits, of all pairs or by pair."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.geometry import next_token_kl, set_log_odds
from lens_personas.interventions._sweep_types import ByCell, Cell, Reduce
from lens_personas.models import LensModel, Prompt, map_last_logits


def refusal_metric(token_ids: Sequence[int]) -> Reduce:
    """Log-odds (nats) that the answer opens with one of the tokens: the refusal score.

    Raises:
        ValueError: When it is used, if the tokens are none, all, or not the model's.
    """
    ids = torch.tensor(tuple(token_ids), dtype=torch.long)

    def score(logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, "batch 1"]:
        return set_log_odds(logits, ids)[:, None]

    return score


def answer_metric(answer_ids: Sequence[int]) -> ByCell:
    """Log-probability (nats) of the first token of each pair's known answer.

    Args:
        answer_ids: One token a pair, in the order of the pairs.

    Raises:
        ValueError: If there is none.
    """
    return by_pair(_ids(answer_ids), _log_prob)


def margin_metric(answer_ids: Sequence[int], refusal_id: int) -> ByCell:
    """Logit of the first token of each pair's known answer less that of a refusal's.

    Args:
        answer_ids: One token a pair, in the order of the pairs.
        refusal_id: Token that opens a refusal.

    Raises:
        ValueError: If there is no pair.
    """

    def margin(
        logits: Float[Tensor, "batch d_vocab"], answers: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        return _picked(logits, answers) - logits[:, refusal_id]

    return by_pair(_ids(answer_ids), margin)


def clean_kl_metric(model: LensModel, clean: Sequence[Prompt]) -> ByCell:
    """KL(clean ‖ run) in nats at the last token: how far a run is from its pair's clean run.

    It is 0 in the clean run itself.

    Raises:
        ValueError: If there is no prompt.
    """
    return by_pair(
        map_last_logits(model, clean, _same),
        lambda logits, base: next_token_kl(base, logits),
    )


def by_pair(known: Tensor, metric: Callable[[Tensor, Tensor], Float[Tensor, " batch"]]) -> ByCell:
    """Metric that is told something of the pair that each row belongs to.

    It serves grids of pairs, which run the corrupted prompts first and the clean ones after
    them, and any run of the prompts of one side alone.

    Args:
        known: What is known, a row a pair.
        metric: One number a row, of the logits and the rows of ``known``.

    Raises:
        ValueError: If there is no pair.
    """
    if not len(known):
        raise ValueError("expected at least one pair, got none; give one row for each pair")

    def reduce(
        logits: Float[Tensor, "batch d_vocab"], cells: Sequence[Cell]
    ) -> Float[Tensor, "batch 1"]:
        rows = known[[cell.prompt % len(known) for cell in cells]]
        return metric(logits, rows.to(logits.device))[:, None]

    return ByCell(reduce=reduce)


def _ids(answer_ids: Sequence[int]) -> Int[Tensor, " pair"]:
    return torch.tensor(tuple(answer_ids), dtype=torch.long)


def _same(logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, "batch d_vocab"]:
    return logits


def _log_prob(
    logits: Float[Tensor, "batch d_vocab"], answers: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    return _picked(logits, answers) - logits.logsumexp(dim=1)


def _picked(
    logits: Float[Tensor, "batch d_vocab"], answers: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    return logits.gather(1, answers[:, None])[:, 0]
