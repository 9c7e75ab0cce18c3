"""How far personas move each reading from the control's, early and late, and single layers."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from analyses._contents import Contents
from analyses._part import Core
from analyses._parts._mediation_patches import WAYS, key_of
from analyses._parts._mediation_runs import persona_names
from analyses._vectors import REFUSAL_NAMES
from analyses.mediation import CHARITY, HARM, REFUSAL, SIDES, Changes, movement_rows
from lens_personas.statistics import paired_bootstrap

READ_HARM, READ_REFUSAL = "harmfulness, end of instruction", "refusal, last prompt token"
"""Projections whose movement is told by layer."""
SCORE = "refusal score"
"""What the model is about to say."""

Values = Float[np.ndarray, "persona request"]


def mediator_values(
    core: Core, contents: Contents, *, harm_at: int, refusal_at: int
) -> dict[str, Values]:
    """Change of each mediator from the control's, for each persona but the control."""
    harm, refusal = _projections(core, contents)
    n = len(persona_names(core.plan.outline)) - 1
    out = {REFUSAL: refusal[:, :, refusal_at]}
    ((_, read),) = contents.part_tensors("mediation", "readings")
    if CHARITY in read.about["last"]:
        out[CHARITY] = _charity(core, contents)
    return {
        key: _less_control(each, n)[:n] for key, each in (out | {HARM: harm[:, :, harm_at]}).items()
    }


def movement(core: Core, contents: Contents, rng: np.random.Generator) -> pd.DataFrame:
    """Rows of :attr:`analyses.mediation.PersonaMediation.movement`."""
    outline = core.plan.outline
    harm, refusal = _projections(core, contents)
    ((_, read),) = contents.part_tensors("mediation", "readings")
    measures: list[tuple[str, int, str, Values]] = []
    for measure, table in ((READ_HARM, harm), (READ_REFUSAL, refusal)):
        for at, layer in enumerate(outline.layers):
            unit = "share of the distance from harmless to harmful requests"
            measures.append((measure, layer, unit, table[:, :, at]))
    if "charity" in read.tensors:
        measures.append((CHARITY, -1, "log-odds, nats", _charity(core, contents)))
    measures.append((SCORE, -1, "nats", _text_scores(core, read.about)))
    names = persona_names(outline)
    n = len(names) - 1
    groups = {persona.name: persona.group for persona in outline.data.personas}
    rows: list[dict[str, object]] = []
    for measure, layer, unit, values in measures:
        changed = _less_control(values, n)
        by_side = {
            side: changed[[at for at in range(n) if groups[names[at]] == side]]
            for side in (*SIDES, "other")
        }
        known = {side: each for side, each in by_side.items() if len(each)}
        rows += movement_rows(
            known, changed[n + 1 :], measure=measure, layer=layer, unit=unit, rng=rng
        )
    return pd.DataFrame(rows)


def layer_rows(
    core: Core,
    scores: Mapping[str, Float[torch.Tensor, "persona request"]],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Rows of :attr:`analyses.mediation.PersonaMediation.by_layer`; none without two sides."""
    outline = core.plan.outline
    groups = {persona.name: persona.group for persona in outline.data.personas}
    sides = [
        [at for at, name in enumerate(persona_names(outline)[:-1]) if groups[name] == side]
        for side in SIDES
    ]
    columns = ["direction", "layer", "estimate", "low", "high", "share"]
    k = min(map(len, sides))
    rows = []
    base = scores["base"].double().numpy()
    for direction, draw in (("refusal", -1), ("random", 0)) if k else ():
        for layer in outline.layers:
            key = key_of(REFUSAL, WAYS[0], draw=draw, layer=layer)
            if key not in scores:
                continue
            lost = base - scores[key].double().numpy()
            pro, anti = (lost[side[:k]].mean(axis=0) for side in sides)
            whole = [base[side[:k]].mean() for side in sides]
            found = paired_bootstrap(anti - pro, rng=rng)
            gap = whole[1] - whole[0]
            share = found.estimate / gap if gap else float("nan")
            rows.append((direction, layer, found.estimate, found.low, found.high, share))
    return pd.DataFrame(rows, columns=columns)


def request_rows(found: Sequence[Changes], prompt_ids: Sequence[str]) -> pd.DataFrame:
    """Rows of :attr:`analyses.mediation.PersonaMediation.by_request`."""
    tables = [
        pd.DataFrame(
            {
                "persona": each.persona,
                "group": each.group,
                "mediator": each.mediator,
                "prompt_id": list(prompt_ids),
                "total": each.total,
                "moved": each.moved,
                "removed": each.removed,
                "put_in": each.put_in,
                "random": each.random.mean(axis=0) if len(each.random) else 0.0,
            }
        )
        for each in found
    ]
    return pd.concat(tables, ignore_index=True)


def _projections(
    core: Core, contents: Contents
) -> tuple[Float[np.ndarray, "name request layer"], Float[np.ndarray, "name request layer"]]:
    """Harmfulness and refusal in shares of the distance between harmless and harmful requests."""
    ((_, read),) = contents.part_tensors("mediation", "readings")
    ((_, fitted),) = contents.part_tensors("mediation", "directions")
    harm = read.tensors["instruction"][..., read.about["instruction"].index(HARM)]
    refusal = read.tensors["last"][..., read.about["last"].index(REFUSAL)]
    # The mean difference's own length is how far harmful lies from harmless along it.
    lengths = (
        fitted.tensors["harmfulness"].norm(dim=-1),
        contents.vectors[REFUSAL_NAMES[1]].vector.norms,
    )
    first, second = (
        (table / length.clamp_min(1e-12)).double().numpy()
        for table, length in zip((harm, refusal), lengths, strict=True)
    )
    return first, second


def _charity(core: Core, contents: Contents) -> Float[np.ndarray, "name request"]:
    ((_, read),) = contents.part_tensors("mediation", "readings")
    return np.asarray(read.tensors["charity"].double().numpy())


def _text_scores(core: Core, about: Mapping[str, Sequence[str]]) -> Values:
    """Refusal score under every text, as the study itself measured it."""
    rows = core.scores[(core.scores["treatment"] == "prompt") & (core.scores["split"] == "test")]
    wide = rows[rows["harmful"]].pivot_table(index="persona", columns="prompt_id", values="score")
    wide = wide.reindex(index=list(about["names"]), columns=list(about["prompt_ids"]))
    return np.asarray(wide.to_numpy(dtype=np.float64))


def _less_control(
    values: Float[np.ndarray, "name request"], n_personas: int
) -> Float[np.ndarray, "name request"]:
    """Every text less the control, which stands after the personas."""
    return np.asarray(values - values[n_personas])
