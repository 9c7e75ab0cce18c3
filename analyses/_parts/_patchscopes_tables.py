"""What the cells on Patchscopes compute, as tables."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from analyses._arms import Action, ArmName
from analyses._parts._charity import CHARITY_COLUMNS, charity_readings
from analyses._parts._patchscopes_states import (
    ALONE,
    Reader,
    Row,
    arms_of,
    choice_rows,
    chunks,
    direct_readings,
    random_rows,
    reader_targets,
    reference,
    scope_readings,
    states,
)
from analyses._parts._patchscopes_targets import places, target_layers, text_targets
from analyses._scope_choice import CHOICE_COLUMNS
from analyses._scope_texts import TEXT_COLUMNS
from analyses._scope_types import Place, ScopeSetting
from analyses.patchscopes import READING_COLUMNS
from analyses.scores import Treatment
from lens_personas.personas import Request
from lens_personas.readouts import (
    ScopeSources,
    centred_states,
    is_degenerate,
    patchscope,
    patchscope_texts,
)

RANDOM_DRAWS = 40
"""Random states of each kind at each layer."""
RANDOM_COLUMNS = ("kind", "source_layer", "score")
"""Columns of their scores."""
TEXT_REQUESTS = 2
"""Requests whose states are put into words."""


def choice_table(reader: Reader) -> pd.DataFrame:
    """Readings under persona texts with every prompt, target layer and scale, on a few requests."""
    tables = [
        _choice_at(reader, place, states(reader, "prompt", place, rows, reader.work.layers), rows)
        for place in places(reader.work)
        for rows in [_once(choice_rows(reader.work), place)]
    ]
    return pd.concat(tables, ignore_index=True)


def _once(rows: Sequence[Row], place: Place) -> list[Row]:
    """One request a persona where the state has not seen the request."""
    if place != "before":
        return list(rows)
    return [row for row in rows if row[1] is rows[0][1]]


def _choice_at(
    reader: Reader, place: Place, sources: ScopeSources, rows: Sequence[Row]
) -> pd.DataFrame:
    targets = reader_targets(reader)
    tables = []
    for scale in reader.work.config.scope_scales:
        found = patchscope(
            reader.work.model,
            sources,
            list(targets.values()),
            lambda logits: charity_readings(logits, reader.words),
            target_layers=target_layers(reader.work),
            mapping=centred_states(sources, scale),
            token_budget=reader.bench.token_budget,
        )
        axes = [
            list(targets),
            found.target_layers,
            found.source_layers,
            [(name, request.prompt_id) for name, request in rows],
        ]
        index = pd.MultiIndex.from_product(
            axes, names=["target", "target_layer", "source_layer", "row"]
        )
        flat = found.values.reshape(-1, len(CHARITY_COLUMNS)).numpy()
        table = pd.DataFrame(flat, columns=list(CHARITY_COLUMNS)).assign(
            place=place, scale=scale, asked=reader.words.suffix
        )
        for name in ("target", "target_layer", "source_layer"):
            table[name] = index.get_level_values(name)
        table["persona"] = [row[0] for row in index.get_level_values("row")]
        table["prompt_id"] = [row[1] for row in index.get_level_values("row")]
        tables.append(table)
    return pd.concat(tables, ignore_index=True)[list(CHOICE_COLUMNS)]


def reading_table(
    reader: Reader, treatment: Treatment, settings: Sequence[ScopeSetting]
) -> pd.DataFrame:
    """Readings of every arm of a treatment, and of the requests alone, at every source layer."""
    work = reader.work
    arms = arms_of(work, treatment)
    tables = []
    for action, names, requests in _asked(reader, treatment, arms, None):
        rows = [(arm.persona, request) for arm in names for request in requests]
        direct = direct_readings(reader, action, rows)[None]
        tables.append(_table(direct, rows, (-1,), "direct"))
    for setting in settings:
        # Below the layer that is steered, states are those of the request alone.
        least = 0 if treatment == "prompt" else reader.steered_at
        layers = [layer for layer in work.layers if layer >= least]
        means = reference(reader, treatment, setting.place, layers)
        for action, names, requests in _asked(reader, treatment, arms, work.config.scope_requests):
            read = _before if setting.place == "before" else _last
            tables.append(read(reader, action, names, requests, setting, means))
    return _named(pd.concat(tables, ignore_index=True), treatment, arms, work.studied)


def _asked(
    reader: Reader, treatment: Treatment, arms: Sequence[ArmName], most: int | None
) -> list[tuple[Action, Sequence[ArmName], Sequence[Request]]]:
    studied, harmless = reader.work.studied[:most], reader.work.harmless[:most]
    found: list[tuple[Action, Sequence[ArmName], Sequence[Request]]] = [
        (treatment, arms, studied),
        ("baseline", [ALONE], studied),
    ]
    # What tells harmful from harmless requests is asked of the requests alone.
    if treatment == "prompt" and harmless:
        found.append(("baseline", [ALONE], harmless))
    return found


def _last(
    reader: Reader,
    action: Action,
    names: Sequence[ArmName],
    requests: Sequence[Request],
    setting: ScopeSetting,
    means: ScopeSources,
) -> pd.DataFrame:
    rows = [(arm.persona, request) for arm in names for request in requests]
    tables = []
    for part in chunks(rows, len(means.layers), reader.work.card.d_model):
        sources = states(reader, action, setting.place, part, means.layers)
        found = scope_readings(reader, sources, setting, means)
        tables.append(_table(found, part, means.layers, setting.place))
    return pd.concat(tables, ignore_index=True)


def _before(
    reader: Reader,
    action: Action,
    names: Sequence[ArmName],
    requests: Sequence[Request],
    setting: ScopeSetting,
    means: ScopeSources,
) -> pd.DataFrame:
    """The state has not seen the request: read once a persona, and dealt as the personas are."""
    first = requests[0]
    once = [(arm.persona, first) for arm in names]
    found = scope_readings(
        reader, states(reader, action, setting.place, once, means.layers), setting, means
    )
    owner = reader.bench.owner
    number = {owner(first.prompt_id, name): at for at, (name, _) in enumerate(once)}
    rows = [(arm.persona, request) for arm in names for request in requests]
    dealt = [number[owner(request.prompt_id, name)] for name, request in rows]
    return _table(found[:, dealt], rows, means.layers, setting.place)


def _table(
    found: Float[Tensor, "source_layer row 4"],
    rows: Sequence[Row],
    layers: Sequence[int],
    place: Place,
) -> pd.DataFrame:
    table = pd.DataFrame(found.reshape(-1, found.shape[-1]).numpy(), columns=list(CHARITY_COLUMNS))
    table["source_layer"] = np.repeat(layers, len(rows))
    table["persona"] = [name for name, _ in rows] * len(layers)
    table["prompt_id"] = [request.prompt_id for _, request in rows] * len(layers)
    return table.assign(place=place)


def _named(
    table: pd.DataFrame,
    treatment: Treatment,
    arms: Sequence[ArmName],
    studied: Sequence[Request],
) -> pd.DataFrame:
    groups: Mapping[str, str] = {a.persona: a.group for a in arms} | {"none": "none"}
    kinds: Mapping[str, str] = {a.persona: a.kind for a in arms} | {"none": "baseline"}
    ids = {request.prompt_id for request in studied}
    named = table.assign(
        group=table["persona"].map(groups),
        kind=table["persona"].map(kinds),
        treatment=treatment,
        harmful=table["prompt_id"].isin(ids),
    )
    return named[list(READING_COLUMNS)]


def random_table(reader: Reader, setting: ScopeSetting) -> pd.DataFrame:
    """Scores of random states in the setting of the last prompt token."""
    means = reference(reader, "prompt", setting.place, reader.work.layers)
    generator = torch.Generator().manual_seed(reader.work.config.seed)
    tables = []
    for kind, drawn in random_rows(means, RANDOM_DRAWS, generator).items():
        found = scope_readings(reader, drawn, setting, means)[..., 0]
        table = pd.DataFrame({"score": found.reshape(-1).numpy()})
        table["source_layer"] = np.repeat(means.layers, RANDOM_DRAWS)
        tables.append(table.assign(kind=kind))
    return pd.concat(tables, ignore_index=True)[list(RANDOM_COLUMNS)]


def text_table(reader: Reader, settings: Sequence[ScopeSetting]) -> pd.DataFrame:
    """What is written of the states of a few requests, alone and under every persona's text."""
    arms = [arm for arm in arms_of(reader.work, "prompt") if arm.kind != "null"]
    requests = reader.work.studied[:TEXT_REQUESTS]
    asked: tuple[tuple[Action, Sequence[ArmName]], ...] = (("prompt", arms), ("baseline", [ALONE]))
    tables = [
        _texts(reader, action, names, requests, setting)
        for setting in settings
        for action, names in asked
    ]
    return pd.concat(tables, ignore_index=True)[list(TEXT_COLUMNS)]


def _texts(
    reader: Reader,
    action: Action,
    names: Sequence[ArmName],
    requests: Sequence[Request],
    setting: ScopeSetting,
) -> pd.DataFrame:
    targets = text_targets(reader.work, reader.words)
    rows = [(arm, request) for arm in names for request in requests]
    layers = [setting.source_layer]
    plain = [(arm.persona, request) for arm, request in rows]
    written = patchscope_texts(
        reader.work.model,
        states(reader, action, setting.place, plain, layers),
        list(targets.values()),
        target_layers=[setting.target_layer],
        max_new_tokens=reader.work.config.max_new_tokens,
        mapping=centred_states(reference(reader, "prompt", setting.place, layers), setting.scale),
        token_budget=reader.bench.token_budget,
    )
    asked = list(targets)
    records = [
        (
            arm.persona,
            arm.group,
            "baseline" if action == "baseline" else arm.kind,
            setting.place,
            asked[each.target],
            request.prompt_id,
            each.text,
            len(each.ids),
            each.finished,
            is_degenerate(each.text),
        )
        for each, (arm, request) in zip(written, rows * len(asked), strict=True)
    ]
    return pd.DataFrame(records, columns=list(TEXT_COLUMNS))
