"""Simple numbers of a persona that may predict its effect as well as an angle does."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from analyses._arms import arm_prompt
from analyses._bench import bench
from analyses._contents import Contents
from analyses._parts._geometry_independence import LAST
from analyses._shards import Tensors
from analyses._vectors import REFUSAL_NAMES
from analyses._workbench import Outline, Workbench
from lens_personas.activations import collect
from lens_personas.hooks import Site
from lens_personas.models import LensModel, Prompt
from lens_personas.personas import Request

_MOST_REQUESTS = 32


def readings(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> Tensors:
    """Direct effect of each persona's vector on the refusal logits, and the shift by its text.

    ``logit`` is missing where no token tells a refusal.
    """
    put = bench(work, inputs)
    names = [persona.name for persona in work.data.personas]
    vectors = torch.stack([put.vectors[name] for name in names])
    refusal = put.vectors[REFUSAL_NAMES[1]]
    requests = _requests(work)
    plain = _states(work, [work.plain[r.prompt_id] for r in requests])
    texts = [arm_prompt(put, "prompt", name, r, work.say) for name in names for r in requests]
    states = rearrange(_states(work, texts), "(persona r) ... -> persona r ...", r=len(requests))
    units = torch.nn.functional.normalize(refusal, dim=-1)
    found = {"shift": ((states - plain) * units).sum(-1).mean(1)}
    if put.tokens is not None:
        found["logit"] = direct_effect(work.model, vectors, put.tokens.token_ids)
    return Tensors(tensors=found, about={"names": names, "n": len(requests)})


def direct_effect(
    model: LensModel, vectors: Float[Tensor, "vector layer d_model"], token_ids: Sequence[int]
) -> Float[Tensor, "vector layer"]:
    """Mean logit of some tokens less that of all, per unit of normalised residual along a vector.

    The vector goes through the final norm's gain and the unembedding alone, as in
    :func:`lens_personas.readouts.lens_of_direction`: no later block sees it.
    """
    # At a root mean square of 1 the norm's scale is 1, up to its epsilon.
    length = model.card.d_model**0.5
    kept = []
    for layer in vectors.unbind(1):
        units = torch.nn.functional.normalize(layer.float(), dim=-1) * length
        both = torch.cat([units, -units]).to(model.device, getattr(torch, model.card.dtype))
        with torch.no_grad():
            logits = model.logits(both).float().cpu()
        weights = (logits[: len(units)] - logits[len(units) :]) / (2 * length)
        kept.append(weights[:, list(token_ids)].mean(1) - weights.mean(1))
    return torch.stack(kept, dim=1)


def shift_prompts(work: Workbench) -> list[Prompt]:
    """Prompts of :func:`readings`, each persona's own text on each request."""
    names = [persona.name for persona in work.data.personas]
    return [work.say(request, name) for request in _requests(work) for name in (None, *names)]


def _requests(outline: Outline) -> tuple[Request, ...]:
    """Harmful requests that nothing is chosen or tested on."""
    return outline.part("vector", harmful=True)[:_MOST_REQUESTS]


def _states(work: Workbench, prompts: Sequence[Prompt]) -> Float[Tensor, "prompt layer d_model"]:
    read = collect(
        work.model,
        prompts,
        sites=[Site.RESID_POST],
        layers=work.layers,
        read_at=LAST,
        token_budget=work.config.token_budget,
    )
    return read.values[Site.RESID_POST]
