"""Circuits of a ranking by size, run alone and cut, beside random ones of the same sizes."""

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd

from lens_personas.interventions._circuit_draws import RandomCircuits, random_ranking
from lens_personas.interventions._circuit_edges import check_edges, complement_of, model_graph
from lens_personas.interventions._circuit_run import (
    DEFAULT_CIRCUIT_BUDGET,
    check_pairs,
    run_circuits,
)
from lens_personas.interventions._circuit_types import Edge, ModelGraph
from lens_personas.interventions._pair_runs import score_pairs
from lens_personas.interventions._pairs import Pairs
from lens_personas.interventions._sweep_plan import DEFAULT_SWEEP_BUDGET
from lens_personas.interventions._sweep_types import Reduce
from lens_personas.models import LensModel, Prompt
from lens_personas.statistics import FaithfulnessCurve, faithfulness_curve

DEFAULT_RANDOM = 19
"""Random rankings: the fewest with which p can be .05."""


def circuit_values(
    model: LensModel,
    clean: Sequence[Prompt],
    corrupted: Sequence[Prompt],
    metric: Reduce,
    ranking: Sequence[Edge],
    sizes: Sequence[int],
    *,
    rng: np.random.Generator,
    n_random: int = DEFAULT_RANDOM,
    random: RandomCircuits = "paths",
    clusters: Sequence[Hashable] | None = None,
    token_budget: int = DEFAULT_CIRCUIT_BUDGET,
    resume: bool = True,
) -> pd.DataFrame:
    """Metric of every run that `statistics.faithfulness_curve` needs, one row a run and prompt.

    A circuit of size n is the first n edges of the ranking; ``circuit`` runs it alone clean,
    ``complement`` runs all else clean. Random circuits are the first n edges of a random order,
    one order a draw.

    The complement's share says little by itself: one edge that everything has to pass, such as
    the embedding's into the first attention, leaves nothing when it is cut. Hold it against the
    random circuits' share.

    Args:
        model: The model.
        clean: Prompts whose run the circuits are part of.
        corrupted: Prompts of the same lengths, one for each clean one.
        metric: One number a row.
        ranking: Edges, the most important first; no fewer than the largest size.
        sizes: Numbers of edges.
        rng: Draws the random orders.
        n_random: Number of random orders.
        random: What they are put together from.
        clusters: What each pair belongs to when pairs are resampled, such as its request;
            None for each to itself.
        token_budget: Columns of all rows in one call of a block.
        resume: False to run the whole model for every part: the same numbers, slowly.

    Returns:
        The columns of `statistics.FAITHFULNESS_COLUMNS` and ``prompt_id`` of the clean prompt.

    Raises:
        ValueError: If the prompts do not pair, the ranking or a size does not fit the graph,
            the metric gives more than one number, or the model is not a sum of heads and MLPs.
    """
    graph = model_graph(model)
    check_pairs(clean, corrupted)
    _check_ranking(graph, ranking, sizes, n_random)
    owners = list(range(len(clean))) if clusters is None else list(clusters)
    if len(owners) != len(clean):
        raise ValueError(f"expected one cluster for each of {len(clean)} pairs, got {len(owners)}")
    orders = [random_ranking(graph, max(sizes), rng=rng, of=random) for _ in range(n_random)]
    runs = [
        (size, kind, draw, part)
        for size in sorted(set(sizes))
        for kind, draw in [("ranked", 0), *(("random", draw) for draw in range(n_random))]
        for part in ("circuit", "complement")
    ]

    def edges_run(size: int, kind: str, draw: int, part: str) -> tuple[Edge, ...]:
        first = (ranking if kind == "ranked" else orders[draw])[:size]
        return tuple(first) if part == "circuit" else complement_of(graph, first)

    pairs = Pairs(clean=tuple(clean), corrupted=tuple(corrupted), align="start")
    ends = score_pairs(
        model, pairs, (), metric, token_budget=DEFAULT_SWEEP_BUDGET, resume=resume, explain=False
    )
    values = run_circuits(
        model,
        clean,
        corrupted,
        [edges_run(*run) for run in runs],
        metric,
        token_budget=token_budget,
        resume=resume,
    )
    of_run = pd.DataFrame(runs, columns=["size", "kind", "draw", "part"])
    of_pair = pd.DataFrame(
        {
            "prompt": list(pairs.numbers),
            "prompt_id": [prompt.prompt_id for prompt in clean],
            "cluster": owners,
            "clean": ends.clean.numpy(),
            "corrupted": ends.corrupted.numpy(),
        }
    )
    return of_run.merge(of_pair, how="cross").assign(value=values.flatten().numpy())


def faithfulness(
    model: LensModel,
    clean: Sequence[Prompt],
    corrupted: Sequence[Prompt],
    metric: Reduce,
    ranking: Sequence[Edge],
    sizes: Sequence[int],
    *,
    rng: np.random.Generator,
    n_random: int = DEFAULT_RANDOM,
    random: RandomCircuits = "paths",
    clusters: Sequence[Hashable] | None = None,
    share: float = 0.85,
) -> FaithfulnessCurve:
    """How much of a metric's change the first edges of a ranking carry, by their number.

    `circuit_values`, which see for the arguments, and then `statistics.faithfulness_curve`. The
    pairs must not be those that the ranking was made from, or it is judged by its own noise.

    Raises:
        ValueError: As `circuit_values`, or if ``share`` is not in (0, 1).
    """
    values = circuit_values(
        model,
        clean,
        corrupted,
        metric,
        ranking,
        sizes,
        rng=rng,
        n_random=n_random,
        random=random,
        clusters=clusters,
    )
    return faithfulness_curve(values, rng=rng, share=share)


def _check_ranking(
    graph: ModelGraph, ranking: Sequence[Edge], sizes: Sequence[int], n_random: int
) -> None:
    check_edges(graph, ranking)
    if len(set(ranking)) != len(ranking):
        raise ValueError(
            f"expected a ranking that names each edge once, got {len(ranking)} edges of which "
            f"{len(set(ranking))} differ"
        )
    beyond = [size for size in sizes if not 0 <= size <= len(ranking)]
    if beyond or not sizes:
        raise ValueError(
            f"expected sizes from 0 to {len(ranking)}, the length of the ranking, got "
            f"{beyond or 'none'}"
        )
    if n_random < 0:
        raise ValueError(f"expected a number of random rankings of at least 0, got {n_random}")
