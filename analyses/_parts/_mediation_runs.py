"""What may carry an effect: directions, and their readings under every text."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from analyses._arms import Bench, arm_prompt
from analyses._bench import bench
from analyses._contents import Contents
from analyses._parts._charity import CharityWords, charity_log_odds, charity_prompt, charity_words
from analyses._shards import Tensors
from analyses._vectors import REFUSAL_NAMES
from analyses._workbench import Outline, Workbench
from analyses.mediation import CHARITY, HARM, REFUSAL
from lens_personas.activations import ReadAt, collect
from lens_personas.geometry import difference_of_means
from lens_personas.hooks import Site
from lens_personas.models import Prompt, map_last_logits
from lens_personas.personas import Request

LAST = ReadAt(span="prompt", take="last")
"""Last prompt token, where refusal is decided."""
INSTRUCTION = ReadAt(span="user", take="last")
"""Last token of the request, where its harm has been read."""

_MOST_REQUESTS, _MOST_FITTED, _MOST_RANDOM = 32, 24, 5


def mediation_requests(outline: Outline) -> tuple[Request, ...]:
    """Harmful test requests that the part puts to the model."""
    return outline.studied[:_MOST_REQUESTS]


def fit_requests(outline: Outline) -> tuple[Request, ...]:
    """Harmful requests that the charitable direction is fitted on."""
    return outline.part("vector", harmful=True)[:_MOST_FITTED]


def persona_names(outline: Outline) -> tuple[str, ...]:
    """The personas, the control last."""
    control = outline.data.control.name
    return (*(p.name for p in outline.data.personas if p.name != control), control)


def text_names(outline: Outline) -> tuple[str, ...]:
    """The personas, the control, then neutral texts."""
    return (*persona_names(outline), *(null.name for null in outline.data.nulls))


def random_of(put: Bench) -> list[str]:
    """Names of the random directions that stand beside each mediator."""
    return [name for name in put.vectors if name.startswith("random ")][:_MOST_RANDOM]


def directions(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> Tensors:
    """Directions of harmfulness and of the charitable reading, on requests nothing is tested on.

    ``harmfulness`` from harmless to harmful requests at the end of the instruction, with how well
    it parts them; ``charity`` at the last prompt token, between the more and the less charitably
    read half of the personas' texts on one request.
    """
    put = bench(work, inputs)
    sides = [
        states(work, [work.plain[r.prompt_id] for r in work.part("vector", harmful=h)], INSTRUCTION)
        for h in (True, False)
    ]
    found = {"harmfulness": _difference(*sides), "separation": _separation(*sides)}
    words = charity_words(work)
    requests, names = fit_requests(work), persona_names(work)
    if words is None:
        return Tensors(tensors=found, about={"charity": ""})
    reading = readings_of(work, put, names, requests, words)
    texts = [arm_prompt(put, "prompt", name, r, work.say) for name in names for r in requests]
    seen = rearrange(states(work, texts, LAST), "(name r) ... -> name r ...", r=len(requests))
    # Within a request: what differs between requests is not what personas change.
    reading, seen = reading - reading.mean(0), seen - seen.mean(0)
    more = (reading > reading.median(dim=0).values).flatten()
    flat = rearrange(seen, "name r layer d_model -> (name r) layer d_model")
    if more.any() and not more.all():
        found["charity"] = _difference(flat[more], flat[~more])
    return Tensors(tensors=found, about={"charity": words.suffix})


def readings(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> Tensors:
    """Projections under every text at both positions, and the charitable reading in log-odds.

    ``last`` and ``instruction`` hold the directions named in ``about``, random ones among them.
    """
    put = bench(work, inputs)
    at_last, at_instruction = mediator_directions(work, put, inputs)
    names, requests = text_names(work), mediation_requests(work)
    texts = [arm_prompt(put, "prompt", name, r, work.say) for name in names for r in requests]
    found = {}
    for key, read_at, known in (
        ("last", LAST, at_last),
        ("instruction", INSTRUCTION, at_instruction),
    ):
        units = torch.nn.functional.normalize(torch.stack(list(known.values())).float(), dim=-1)
        along = torch.einsum("nld,vld->nlv", states(work, texts, read_at), units)
        found[key] = rearrange(along, "(name r) l v -> name r l v", r=len(requests))
    words = charity_words(work)
    if words is not None:
        found["charity"] = readings_of(work, put, names, requests, words)
    return Tensors(
        tensors=found,
        about={
            "names": list(names),
            "prompt_ids": [r.prompt_id for r in requests],
            "last": list(at_last),
            "instruction": list(at_instruction),
        },
    )


def mediator_directions(
    work: Workbench, put: Bench, inputs: Contents
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Directions at the last prompt token and at the end of the instruction, by mediator."""
    ((_, fitted),) = inputs.part_tensors("mediation", "directions")
    random = {name: put.vectors[name] for name in random_of(put)}
    last = {REFUSAL: put.vectors[REFUSAL_NAMES[1]]}
    if "charity" in fitted.tensors and bool(fitted.tensors["charity"].any(dim=-1).all()):
        last[CHARITY] = fitted.tensors["charity"]
    return last | random, {HARM: fitted.tensors["harmfulness"]} | random


def states(
    work: Workbench, prompts: Sequence[Prompt], read_at: ReadAt
) -> Float[Tensor, "prompt layer d_model"]:
    """Residuals of the prompts at one position."""
    return collect(
        work.model,
        prompts,
        sites=[Site.RESID_POST],
        layers=work.layers,
        read_at=read_at,
        token_budget=work.config.token_budget,
    ).values[Site.RESID_POST]


def readings_of(
    work: Workbench,
    put: Bench,
    names: Sequence[str],
    requests: Sequence[Request],
    words: CharityWords,
) -> Float[Tensor, "name request"]:
    """Log-odds of a charitable reading under each text."""
    prompts = [charity_prompt(work, put, "prompt", name, r) for name in names for r in requests]
    found = map_last_logits(
        work.model,
        prompts,
        lambda logits: charity_log_odds(logits, words)[:, None],
        token_budget=work.config.token_budget,
    )
    return rearrange(found[:, 0], "(name r) -> name r", r=len(requests))


def _difference(
    first: Float[Tensor, "first layer d_model"], second: Float[Tensor, "second layer d_model"]
) -> Float[Tensor, "layer d_model"]:
    pairs = zip(first.unbind(1), second.unbind(1), strict=True)
    return torch.stack([difference_of_means(a, b) for a, b in pairs])


def _separation(
    first: Float[Tensor, "first layer d_model"], second: Float[Tensor, "second layer d_model"]
) -> Float[Tensor, " layer"]:
    """Difference of the means in standard deviations along it, by layer."""
    unit = torch.nn.functional.normalize(_difference(first, second), dim=-1)
    a, b = ((side * unit).sum(-1).double() for side in (first, second))
    within = torch.cat([a - a.mean(0), b - b.mean(0)]).square().mean(0).sqrt()
    return ((a.mean(0) - b.mean(0)) / within.clamp_min(1e-12)).float()
