"""Answers under personas: greedy, opened by each layer's token, and by sampled tokens."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analyses._arms import ArmName, Bench, arm_edits, arm_prompt
from analyses._bench import bench
from analyses._cell_plan import study_arms
from analyses._contents import Contents
from analyses._parts._early_decoding_alone import tried_layers
from analyses._parts._early_decoding_openings import (
    early_openings,
    greedy_openings,
    opened_answers,
    sampled_openings,
)
from analyses._workbench import Outline, Workbench
from analyses.early_steering import STEERED_COLUMNS
from analyses.scores import Treatment
from lens_personas.hooks import Edit
from lens_personas.models import generate
from lens_personas.personas import Request
from lens_personas.readouts import StringJudge


def decoded_arms(outline: Outline, treatment: Treatment) -> list[ArmName]:
    """Personas, the control, refusal vectors, and the first null."""
    arms = study_arms(outline)[treatment]
    nulls = [arm for arm in arms if arm.kind == "null"]
    return [*(arm for arm in arms if arm.kind != "null"), *nulls[-1:]]


def decoded_layers(work: Workbench, treatment: Treatment, layer: int) -> list[int]:
    """Layers that are decoded: those above the one where a vector is added."""
    return [at for at in tried_layers(work) if treatment == "prompt" or at > layer]


def opened_arms(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> pd.DataFrame:
    """Answers of all arms of one treatment, columns :data:`STEERED_COLUMNS`."""
    treatment, layer = spec["treatment"], spec["layer_all"]
    put = bench(work, inputs)
    rows = [(arm, r) for arm in decoded_arms(work, treatment) for r in work.studied]
    prompts = [arm_prompt(put, treatment, arm.persona, r, work.say) for arm, r in rows]

    def edits_of(chosen: Sequence[int]) -> tuple[Edit, ...]:
        return _edits(put, treatment, layer, [rows[at] for at in chosen])

    edits = edits_of(range(len(rows)))
    tries = decoded_layers(work, treatment, layer)
    greedy = generate(
        work.model,
        prompts,
        max_new_tokens=work.config.max_new_tokens,
        edits=edits,
        token_budget=work.config.token_budget,
    )
    read = early_openings(work, prompts, tries, edits)
    rng = work.rng(f"early openings {treatment}")
    drawn = sampled_openings(work, prompts, len(tries), rng, edits).tolist() if tries else []
    tokens = {("early", at): read[at] for at in tries}
    tokens |= {("sampled", at): ids for at, ids in zip(tries, drawn, strict=True)}
    texts = opened_answers(
        work,
        prompts,
        [opening for ids in tokens.values() for opening in enumerate(ids)],
        known=greedy_openings(greedy),
        edits_of=edits_of,
    )
    judge = StringJudge()
    labels = {opening: judge(text) for opening, text in texts.items()}
    parts = [_frame(rows, treatment, "plain", -1, [judge(answer.text) for answer in greedy])]
    for (source, at), ids in tokens.items():
        said = [labels[opening] for opening in enumerate(ids)]
        parts.append(_frame(rows, treatment, source, at, said))
    return pd.concat(parts, ignore_index=True)


def _edits(
    put: Bench, treatment: Treatment, layer: int, rows: Sequence[tuple[ArmName, Request]]
) -> tuple[Edit, ...]:
    return arm_edits(put, treatment, layer, [(arm.persona, r.prompt_id) for arm, r in rows])


def _frame(
    rows: Sequence[tuple[ArmName, Request]],
    treatment: str,
    source: str,
    layer: int,
    labels: Sequence[str],
) -> pd.DataFrame:
    records = [
        (arm.persona, arm.group, arm.kind, treatment, source, layer, request.prompt_id, label)
        for (arm, request), label in zip(rows, labels, strict=True)
    ]
    return pd.DataFrame(records, columns=list(STEERED_COLUMNS))
