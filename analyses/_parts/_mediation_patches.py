"""Refusal with a mediator set to what it is under another text, last prompt token to last."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from analyses._arms import arm_prompt
from analyses._bench import bench
from analyses._contents import Contents
from analyses._parts._mediation_runs import (
    INSTRUCTION,
    mediation_requests,
    mediator_directions,
    random_of,
)
from analyses._shards import Tensors
from analyses._workbench import Outline, Workbench
from analyses.mediation import CHARITY, HARM, REFUSAL
from lens_personas.hooks import (
    Edit,
    HookFn,
    PassHooks,
    RowHooks,
    Scope,
    Site,
    TokenLayout,
    at_positions,
    set_row_projections,
)
from lens_personas.interventions import Arm, sweep
from lens_personas.models import Prompt
from lens_personas.readouts import refusal_score

WAYS = ("removed", "put in")
"""Persona's text with the control's value; control's text with the persona's value."""

PERSONAS_A_CELL = 8
"""Personas that are patched in one cell."""


def held_layers(outline: Outline) -> tuple[int, ...]:
    """Blocks at which a mediator is held: an edit above them writes to the output itself."""
    return outline.choosable


def key_of(mediator: str, way: str, *, draw: int = -1, layer: int = -1) -> str:
    """Name of the scores of one patch; ``draw`` -1 is the mediator's own direction."""
    return f"{mediator}/{way}/{draw}/{layer}"


def patches(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> Tensors:
    """Refusal scores of some personas and the control, plain and with every patch.

    Each tensor is persona by request, under :func:`key_of`; ``base`` and ``control`` plain. No
    tensor where no token tells a refusal.
    """
    put = bench(work, inputs)
    if put.tokens is None:
        return Tensors(tensors={}, about={"names": spec["names"]})
    token_ids = torch.tensor(put.tokens.token_ids)
    names, requests = [*spec["names"], work.data.control.name], mediation_requests(work)
    prompts = [arm_prompt(put, "prompt", name, r, work.say) for name in names for r in requests]
    patch = _Patches(work, spec["names"], prompts, inputs)
    arms = patch.arms()
    every = Arm(prompts=tuple(range(len(prompts))), edits=())
    plain, *found = sweep(
        work.model,
        prompts,
        [every, *arms.values()],
        lambda logits: refusal_score(logits, token_ids)[:, None],
        token_budget=work.config.token_budget,
    )
    n = len(requests)
    base = rearrange(plain[:, 0], "(name r) -> name r", r=n)
    scores = {
        key: rearrange(each[:, 0], "(name r) -> name r", r=n)
        for key, each in zip(arms, found, strict=True)
    }
    return Tensors(
        tensors=scores | {"base": base[:-1], "control": base[-1]}, about={"names": spec["names"]}
    )


class _Patches:
    """The arms of one cell: rows are persona by request."""

    def __init__(
        self, work: Workbench, names: Sequence[str], prompts: Sequence[Prompt], inputs: Contents
    ) -> None:
        put = bench(work, inputs)
        ((_, read),) = inputs.part_tensors("mediation", "readings")
        self._work, self._random = work, random_of(put)
        self._n, self._prompts = len(names), prompts
        self._n_requests = len(mediation_requests(work))
        last, instruction = mediator_directions(work, put, inputs)
        self._directions = {"last": last, "instruction": instruction}
        rows = [read.about["names"].index(name) for name in (*names, work.data.control.name)]
        self._values = {place: read.tensors[place][rows] for place in self._directions}
        self._columns = {place: read.about[place] for place in self._directions}

    def arms(self) -> dict[str, Arm]:
        """Every patch: each mediator both ways, held, beside its random pushes; refusal alone."""
        out = {}
        held = held_layers(self._work)
        for mediator in (REFUSAL, CHARITY, HARM):
            if mediator not in self._directions[_place(mediator)]:
                continue
            for way in WAYS:
                for draw in range(-1, len(self._random)):
                    out[key_of(mediator, way, draw=draw)] = self._arm(mediator, way, draw, held)
        for layer in self._work.layers:
            for draw in range(-1, min(1, len(self._random))):
                key = key_of(REFUSAL, WAYS[0], draw=draw, layer=layer)
                out[key] = self._arm(REFUSAL, WAYS[0], draw, (layer,))
        return out

    def _arm(self, mediator: str, way: str, draw: int, layers: Sequence[int]) -> Arm:
        place = _place(mediator)
        name = mediator if draw < 0 else self._random[draw]
        direction, values = self._directions[place][name], self._targets(mediator, way, draw)
        first = 0 if way == WAYS[0] else self._n * self._n_requests
        rows = range(self._n * self._n_requests)
        numbers = [first + (row if way == WAYS[0] else row % self._n_requests) for row in rows]
        edits = tuple(
            self._edit(place, layer, set_row_projections(direction[at], values[:, at]))
            for layer in layers
            for at in [self._work.layers.index(layer)]
        )
        return Arm(prompts=tuple(numbers), edits=edits, name=key_of(mediator, way, draw=draw))

    def _targets(self, mediator: str, way: str, draw: int) -> Float[Tensor, "row layer"]:
        """Projection that is set; a random direction's own value moved as far as the mediator."""
        place = _place(mediator)
        values, columns = self._values[place], self._columns[place]
        theirs = values[..., columns.index(mediator)]
        persona, control = theirs[:-1], theirs[-1:].expand_as(theirs[:-1])
        source, target = (persona, control) if way == WAYS[0] else (control, persona)
        out = target
        if draw >= 0:
            own = values[..., columns.index(self._random[draw])]
            clean = own[:-1] if way == WAYS[0] else own[-1:].expand_as(own[:-1])
            out = clean + (target - source)
        return rearrange(out, "name r layer -> (name r) layer").contiguous()

    def _edit(self, place: str, layer: int, hook: RowHooks) -> Edit:
        if place == "last":
            scope: Scope = "last_prompt"
            return Edit(site=Site.RESID_POST, layer=layer, hook=hook, scope=scope, per_row=True)
        # Mostly one offset; where words merge with the template's text there are several.
        offsets = {INSTRUCTION.window(prompt)[0] - prompt.prompt_length for prompt in self._prompts}
        return Edit(
            site=Site.RESID_POST,
            layer=layer,
            hook=_at_instruction(hook),
            scope=tuple(sorted(offsets)),
            per_pass=True,
        )


def _at_instruction(hook: RowHooks) -> PassHooks:
    """The hook at the last token of each row's request alone."""

    def make(rows: Sequence[int], layout: TokenLayout, /) -> HookFn:
        ends = layout.spans["user"][:, 1:] - 1
        return at_positions(hook(rows), layout.positions == ends)

    return make


def _place(mediator: str) -> str:
    return "instruction" if mediator == HARM else "last"
