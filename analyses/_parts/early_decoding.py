"""Part of the study: what early layers say that the last one refuses."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from analyses._cells import Cell
from analyses._contents import Contents
from analyses._part import Core, Part, PartPlan, Passes
from analyses._part_names import PartName
from analyses._parts._early_decoding_alone import (
    cluster,
    exited_alone,
    opened_alone,
    tried_alone,
    tried_layers,
)
from analyses._parts._early_decoding_arms import decoded_arms, decoded_layers, opened_arms
from analyses._parts._early_direct import (
    assemble_direct,
    direct_cells,
    direct_passes,
    evaluate_direct,
)
from analyses._shards import Content
from analyses._workbench import Workbench
from analyses.claims import Claim
from analyses.early_decoding import EarlyDecoding, early_decoding_claims
from analyses.early_steering import STEERED_COLUMNS, early_steering
from analyses.early_tokens import early_tokens
from analyses.known_answers import known_answer_claims
from analyses.scores import BASELINE, Treatment

_NAME: PartName = "early-decoding"
_TREATMENTS: tuple[Treatment, ...] = ("prompt", "plus", "minus")
_ALONE: Mapping[str, Callable[[Workbench, Mapping[str, Any], Contents], pd.DataFrame]] = {
    "openings": opened_alone,
    "tries": tried_alone,
    "exits": exited_alone,
}


def _cells(plan: PartPlan) -> tuple[Cell, ...]:
    asked, norms = plan.needs("answers", "tokens"), plan.needs("norms")
    fitted = plan.needs("tokens", "norms", "vector")
    return (
        plan.cell(_NAME, "openings", asked),
        plan.cell(_NAME, "tries", norms),
        plan.cell(_NAME, "exits"),
        *(
            plan.cell(
                _NAME,
                "arms",
                plan.needs("tokens") if treatment == "prompt" else fitted,
                treatment=treatment,
            )
            for treatment in _TREATMENTS
        ),
        *direct_cells(plan),
    )


def _evaluate(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> Content:
    if spec["step"] == "arms":
        return opened_arms(work, spec, inputs)
    if spec["step"] in _ALONE:
        return _ALONE[spec["step"]](work, spec, inputs)
    return evaluate_direct(work, spec, inputs)


def _assemble(core: Core, contents: Contents) -> EarlyDecoding | None:
    outline = core.plan.outline
    alone = pd.concat([t for step in _ALONE for _, t in contents.part(_NAME, step)])
    arms = [table for _, table in contents.part(_NAME, "arms")]
    tries = [at for at in outline.layers if at < outline.card.n_layers - 1]
    return EarlyDecoding(
        tokens=early_tokens(
            alone.reset_index(drop=True),
            tries=tries,
            clusters={r.prompt_id: cluster(r) for r in outline.studied},
            rng=outline.rng("early decoding"),
        ),
        steering=early_steering(
            pd.concat([_baseline(alone), *arms], ignore_index=True),
            tries=tries,
            steered_at=core.plan.layer,
            control=outline.data.control.name,
        ),
        known=assemble_direct(core, contents),
    )


def _baseline(alone: pd.DataFrame) -> pd.DataFrame:
    """The requests alone as an arm; sampled are whole answers there, not openings alone."""
    rows = alone[alone["source"].isin(["plain", "early", "sampled"])]
    named = rows.assign(persona="none", group="none", kind=BASELINE, treatment=BASELINE)
    return named[list(STEERED_COLUMNS)]


def _passes(work: Workbench, spec: Mapping[str, Any]) -> Passes:
    asked = [work.plain[request.prompt_id] for request in work.studied]
    n, step = len(tried_layers(work)), spec["step"]
    if step in _ALONE:
        written = {"openings": 3 * n, "tries": 2 * n, "exits": n}[step]
        return Passes(prompts=asked if step == "openings" else (), answers=asked * written)
    if step != "arms":
        return direct_passes(work, spec)
    treatment = spec["treatment"]
    prompts = [
        work.say(request, arm.persona) if treatment == "prompt" else work.plain[request.prompt_id]
        for arm in decoded_arms(work, treatment)
        for request in work.studied
    ]
    tries = len(decoded_layers(work, treatment, spec["layer_all"]))
    return Passes(prompts=prompts * 2, answers=prompts * (1 + 2 * tries))


def _claims(result: EarlyDecoding) -> tuple[Claim, ...]:
    direct = () if result.known is None else known_answer_claims(result.known)
    return (*early_decoding_claims(result), *direct)


PART = Part(
    name=_NAME,
    doing="decoding early layers",
    cells=_cells,
    evaluate=_evaluate,
    assemble=_assemble,
    claims=_claims,
    passes=_passes,
)
"""First tokens, or all, from early layers: alone, under personas, and beside their nulls."""
