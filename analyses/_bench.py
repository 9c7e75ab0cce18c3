"""What arms are put to: the model with vectors, norms, refusal tokens and dealt names."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from analyses._arms import Bench, deal
from analyses._cell_plan import random_names
from analyses._contents import Contents
from analyses._workbench import Workbench
from lens_personas.geometry import random_directions
from lens_personas.readouts import StringJudge


def bench(work: Workbench, inputs: Contents) -> Bench:
    """What the arms of a cell need; without vectors or norms where it reads none."""
    names = [persona.name for persona in work.data.personas]
    shuffled = work.config.shuffle_labels
    fitted = {name: each.vector.vectors for name, each in inputs.vectors.items()}
    return Bench(
        model=work.model,
        tokens=inputs.tokens[0],
        judge=StringJudge(),
        plain=work.plain,
        vectors=fitted | _random_vectors(work),
        resid_norms=inputs.norms if inputs.tensors("norms") else torch.zeros(len(work.layers)),
        layers=work.layers,
        dose=work.config.dose,
        dealt=deal(names, list(work.plain), work.rng("deal")) if shuffled else {},
        max_new_tokens=work.config.max_new_tokens,
        token_budget=work.config.token_budget,
    )


def _random_vectors(work: Workbench) -> dict[str, Float[Tensor, "layer d_model"]]:
    n, n_layers = work.config.n_nulls, len(work.layers)
    generator = torch.Generator().manual_seed(work.config.seed)
    drawn = random_directions(n * n_layers, work.card.d_model, generator=generator)
    by_name = rearrange(drawn, "(name layer) d_model -> name layer d_model", name=n)
    return dict(zip(random_names(n), by_name, strict=True))
