"""Circuits run for real: every edge outside a circuit carries what the corrupted run sends."""

from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.interventions._circuit_climb import CircuitBatch, head_outputs_of
from lens_personas.interventions._circuit_edges import model_graph, outside_masks
from lens_personas.interventions._circuit_types import Edge
from lens_personas.interventions._pairs import Pairs
from lens_personas.interventions._sweep_types import Cell, Reduce, reduced
from lens_personas.models import LensModel, Prompt, model_batches, pad

DEFAULT_CIRCUIT_BUDGET = 2048
"""Columns of all rows in one call of a block."""


@torch.no_grad()
def run_circuits(
    model: LensModel,
    clean: Sequence[Prompt],
    corrupted: Sequence[Prompt],
    circuits: Sequence[Collection[Edge]],
    metric: Reduce,
    *,
    token_budget: int = DEFAULT_CIRCUIT_BUDGET,
    resume: bool = True,
) -> Float[Tensor, "circuit prompt"]:
    """Metric of the clean run in which edges outside a circuit carry the corrupted run's states.

    A part that reads sees the residual stream as it is now, plus for each edge outside the
    circuit what the source wrote in the corrupted run less what it writes now; only its own
    output goes on into the stream. So the circuit of all edges gives the clean run, the empty
    one the corrupted run, and the complement of a circuit the run in which it is cut. As the
    edge patching of Conmy et al. (https://arxiv.org/abs/2304.14997), here with the corrupted
    prompt's states and with queries, keys and values of a layer's heads as one reader.

    A block's attention and MLP run by themselves, so that a circuit costs about a forward pass;
    columns before the first token that differs in a batch, which no circuit changes, are not
    run. Held for each column in a call are ``2 n_layers + 1`` float32 states, one a reader.

    Args:
        model: The model.
        clean: Prompts whose run the circuits are part of.
        corrupted: Prompts of the same lengths, one for each clean one.
        circuits: Edges of `ModelGraph.edges`, in any order.
        metric: One number a row. A `ByCell` sees the circuit's number as the arm and the
            pair's number as row and prompt.
        token_budget: Columns of all rows in one call of a block.
        resume: False to run the whole model for every part: the same numbers, slowly.

    Raises:
        ValueError: If the prompts do not pair, an edge does not exist, the metric gives more
            than one number, or the model is not a sum of heads and MLPs.
    """
    graph = model_graph(model)
    check_pairs(clean, corrupted)
    masks, outputs = outside_masks(graph, circuits), head_outputs_of(model)
    values = torch.empty(len(circuits), len(clean))
    for batch in model_batches(model, clean, token_budget):
        pairs = CircuitBatch(
            model=model,
            graph=graph,
            outputs=outputs,
            clean=batch,
            corrupted=pad(corrupted, batch.rows, pad_id=0, device=model.device),
            resume=resume,
        )
        for first, ends in pairs.ends(masks, token_budget):
            n = len(ends) // len(batch.rows)
            cells = [Cell(first + at, row, row) for at in range(n) for row in batch.rows]
            found = reduced(model, ends, cells, metric)
            if found.shape[1] != 1:
                raise ValueError(
                    f"expected a metric of one number a row, got {found.shape[1]}; "
                    "give LastTokens weights, or reduce to one column"
                )
            values[first : first + n, list(batch.rows)] = found[:, 0].view(n, -1)
    return values


def check_pairs(clean: Sequence[Prompt], corrupted: Sequence[Prompt]) -> None:
    """Refuse prompts that do not match token by token.

    Raises:
        ValueError: Naming them.
    """
    pairs = Pairs(clean=tuple(clean), corrupted=tuple(corrupted), align="start")
    unequal = [n for n in pairs.numbers if len(clean[n].ids) != len(corrupted[n].ids)]
    if unequal:
        raise ValueError(
            f"expected pairs with answers of equal length, got pairs {unequal} of unequal length; "
            "leave the answers out"
        )
