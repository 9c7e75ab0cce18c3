"""States of arms, and what they say in another prompt or outright."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from analyses._arms import Action, ArmName, Bench, arm_edits, arm_prompt
from analyses._cell_plan import study_arms
from analyses._parts._charity import CharityWords, charity_readings, with_suffix
from analyses._parts._patchscopes_targets import charity_targets, position
from analyses._scope_types import Place, ScopeSetting
from analyses._workbench import Outline, Workbench
from analyses.scores import Treatment
from lens_personas.interventions import Arm, sweep
from lens_personas.models import map_last_logits
from lens_personas.personas import Request
from lens_personas.readouts import (
    ScopeSources,
    ScopeTarget,
    centred_states,
    patchscope,
    read_sources,
)

ALONE = ArmName(persona="none", group="none", kind="control")
"""The request alone."""
CHOICE_PERSONAS = 10
"""Personas, besides the control, that settings are chosen by."""
CHOICE_REQUESTS = 4
"""Requests of the layer split that settings are chosen by, and mean states taken from."""
_NUMBERS_AT_ONCE = 2**28

Row = tuple[str, Request]
"""A persona and a request."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """What reads: the model, the arms' vectors, and the words that are told apart."""

    work: Workbench
    """Settings, data and model."""
    bench: Bench
    """Vectors, and whose text a request really gets."""
    words: CharityWords
    """The two words."""
    steered_at: int
    """Layer at which vectors are added."""


def arms_of(outline: Outline, treatment: Treatment) -> list[ArmName]:
    """Personas, control and nulls: neutral texts beside texts, random directions beside vectors."""
    texts = {null.name for null in outline.data.nulls}
    return [
        arm
        for arm in study_arms(outline)[treatment]
        if arm.kind != "refusal" and (treatment == "prompt" or arm.persona not in texts)
    ]


def choice_rows(outline: Outline) -> list[Row]:
    """Some personas and the control on a few requests of the layer split."""
    control = outline.data.control.name
    others = [p.name for p in outline.data.personas if p.name != control]
    step = -(-len(others) // CHOICE_PERSONAS)
    requests = outline.part("layer", harmful=True)[:CHOICE_REQUESTS]
    return [(name, request) for name in (*others[::step], control) for request in requests]


def states(
    reader: Reader, action: Action, place: Place, rows: Sequence[Row], layers: Sequence[int]
) -> ScopeSources:
    """The state of one place of each row's prompt, its arm in force.

    Raises:
        ValueError: If a prompt does not fit the model.
    """
    work, bench = reader.work, reader.bench
    prompts = [arm_prompt(bench, action, name, request, work.say) for name, request in rows]
    return read_sources(
        work.model,
        prompts,
        at=[position(prompt, place) for prompt in prompts],
        layers=layers,
        edits=arm_edits(bench, action, reader.steered_at, _owned(rows)),
        token_budget=bench.token_budget,
    )


def reference(
    reader: Reader, treatment: Action, place: Place, layers: Sequence[int]
) -> ScopeSources:
    """States of the layer split whose mean deviations are taken from.

    Under persona texts those of the texts; else those of the requests alone.
    """
    rows = choice_rows(reader.work)
    if treatment == "prompt":
        return states(reader, "prompt", place, rows, layers)
    alone = {request.prompt_id: ("none", request) for _, request in rows}
    return states(reader, "baseline", place, list(alone.values()), layers)


def scope_readings(
    reader: Reader, sources: ScopeSources, setting: ScopeSetting, means: ScopeSources
) -> Float[Tensor, "source_layer source 4"]:
    """What the states say in the setting's prompt; columns as ``CHARITY_COLUMNS``."""
    target = reader_targets(reader)[setting.target]
    found = patchscope(
        reader.work.model,
        sources,
        [target],
        lambda logits: charity_readings(logits, reader.words),
        target_layers=[setting.target_layer],
        mapping=centred_states(means, setting.scale),
        token_budget=reader.bench.token_budget,
    )
    return rearrange(found.values, "1 1 source_layer source k -> source_layer source k")


def reader_targets(reader: Reader) -> Mapping[str, ScopeTarget]:
    """Prompts whose next token reads a state."""
    return charity_targets(reader.work, reader.words)


def direct_readings(reader: Reader, action: Action, rows: Sequence[Row]) -> Float[Tensor, "row 4"]:
    """What the model says when it is asked after the request; columns as ``CHARITY_COLUMNS``."""
    work, bench, words = reader.work, reader.bench, reader.words
    prompts = [
        with_suffix(arm_prompt(bench, action, name, request, work.say), words)
        for name, request in rows
    ]
    edits = arm_edits(bench, action, reader.steered_at, _owned(rows))

    def read(logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, "batch 4"]:
        return charity_readings(logits, words)

    if not edits:
        return map_last_logits(work.model, prompts, read, token_budget=bench.token_budget)
    # The same requests under many vectors: what lies below the edit runs once a request.
    numbers = {ids: at for at, ids in enumerate(dict.fromkeys(p.ids for p in prompts))}
    distinct = {prompt.ids: prompt for prompt in prompts}
    arm = Arm(prompts=tuple(numbers[prompt.ids] for prompt in prompts), edits=edits)
    (found,) = sweep(
        work.model, list(distinct.values()), [arm], read, token_budget=bench.token_budget
    )
    return found


def chunks(
    rows: Sequence[Row], n_layers: int, d_model: int, most: int = _NUMBERS_AT_ONCE
) -> list[Sequence[Row]]:
    """The rows in pieces whose states fit in memory together."""
    step = max(1, most // (n_layers * d_model))
    return [rows[first : first + step] for first in range(0, len(rows), step)]


def random_rows(means: ScopeSources, n: int, generator: torch.Generator) -> dict[str, ScopeSources]:
    """Random states at each layer: of a state's norm, and off the mean by a deviation's norm."""
    shape = (n, len(means.layers), means.states.shape[-1])
    drawn = torch.nn.functional.normalize(torch.randn(shape, generator=generator), dim=-1)
    mean = means.states.mean(dim=0)
    norm = means.states.norm(dim=-1).mean(dim=0)[:, None]
    off = (means.states - mean).norm(dim=-1).mean(dim=0)[:, None]
    ids = tuple(f"draw {at}" for at in range(n))
    return {
        kind: ScopeSources(states=values, layers=means.layers, prompt_ids=ids)
        for kind, values in (("state", norm * drawn), ("deviation", mean + off * drawn))
    }


def _owned(rows: Sequence[Row]) -> list[tuple[str, str]]:
    return [(name, request.prompt_id) for name, request in rows]
