"""The first token of known answers under personas, by lens and layer."""

from collections.abc import Sequence

import pandas as pd
import torch

from analyses._arms import Bench, arm_edits, arm_prompt
from analyses._parts._early_direct_answers import (
    ArmRow,
    Known,
    arm_rows,
    known,
    read_layers,
)
from analyses._workbench import Workbench
from analyses.answers_under_personas import ARM_COLUMNS
from lens_personas.readouts import TunedLens, logit_lens


def arm_readings(
    work: Workbench, bench: Bench, *, layer: int, tuned: TunedLens | None
) -> pd.DataFrame:
    """Log-probability of the answer's first token under drawn personas, columns ``ARM_COLUMNS``.

    Vectors are added at ``layer``; the request alone is among the rows as ``baseline``.
    """
    answers = known(work)
    if not answers:
        return pd.DataFrame(columns=list(ARM_COLUMNS))
    alone = [
        ArmRow(persona="none", group="none", treatment="baseline", prompt_id=each.prompt_id)
        for each in answers
    ]
    by_treatment: dict[str, list[ArmRow]] = {"baseline": alone}
    for row in arm_rows(work, answers):
        by_treatment.setdefault(row.treatment, []).append(row)
    lenses: list[TunedLens | None] = [None, *([] if tuned is None else [tuned])]
    tables = [
        _read(work, bench, {each.prompt_id: each for each in answers}, rows, layer, lens)
        for rows in by_treatment.values()
        for lens in lenses
    ]
    return pd.concat(tables, ignore_index=True)[list(ARM_COLUMNS)]


def _read(
    work: Workbench,
    bench: Bench,
    answers: dict[str, Known],
    rows: Sequence[ArmRow],
    layer: int,
    tuned: TunedLens | None,
) -> pd.DataFrame:
    treatment = rows[0].treatment
    prompts = [
        arm_prompt(bench, treatment, row.persona, answers[row.prompt_id].request, work.say)
        for row in rows
    ]
    found = logit_lens(
        work.model,
        prompts,
        token_ids=torch.tensor([[answers[row.prompt_id].ids[0]] for row in rows]),
        layers=read_layers(work),
        edits=arm_edits(bench, treatment, layer, [(row.persona, row.prompt_id) for row in rows]),
        tuned=tuned,
        token_budget=work.config.token_budget,
    )
    tables = [
        pd.DataFrame(
            {
                "group": [row.group for row in rows],
                "treatment": treatment,
                "prompt_id": [row.prompt_id for row in rows],
                "unit": [answers[row.prompt_id].unit for row in rows],
                "lens": "logit" if tuned is None else "tuned",
                "layer": each,
                "log_prob": found.log_prob[at, :, 0].numpy(),
            }
        )
        for at, each in enumerate(found.layers)
    ]
    return pd.concat(tables, ignore_index=True)
