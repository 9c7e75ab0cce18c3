"""How much text, how long a vector, and at what cost elsewhere: cells and what they compute."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd

from analyses._bench import bench
from analyses._cells import Cell
from analyses._collect import contrast
from analyses._contents import Contents
from analyses._part import Core, Part, PartPlan, Passes
from analyses._part_names import PartName
from analyses._parts._dose_response_claims import dose_claims
from analyses._parts._dose_response_matches import dose_matches
from analyses._parts._dose_response_tables import (
    by_dose_table,
    by_length_table,
    request_table,
    written_table,
)
from analyses._parts._dose_response_texts import (
    MAX_HARMLESS,
    filler_names,
    n_draws,
    text_arms,
    text_lengths,
    text_rows,
)
from analyses._parts._dose_response_vectors import (
    dose_arms,
    dose_rows,
    shuffled_vectors,
)
from analyses._parts._dose_response_written import sampled_arms, written_rows
from analyses._shards import Content
from analyses._vectors import REFUSAL_NAMES
from analyses._workbench import Outline, Workbench
from analyses.dose_response import DoseResponse, dose_slopes, length_trends
from analyses.scores import BASELINE
from lens_personas.models import Prompt

NAME: Final[PartName] = "dose-response"


def _cells(plan: PartPlan) -> tuple[Cell, ...]:
    outline = plan.outline
    names = [*(persona.name for persona in outline.data.personas), *REFUSAL_NAMES]
    shuffled = plan.cell(NAME, "shuffled", tensors=True)
    vectors = (*plan.needs("tokens", "norms", "vector", names=names), shuffled)
    tokens = plan.needs("tokens")
    lengths = [plan.cell(NAME, "text", tokens, statements=n) for n in text_lengths(outline)]
    doses = [plan.cell(NAME, "dose", vectors, dose=dose) for dose in _doses(outline)]
    written = [plan.cell(NAME, "written", vectors)] if outline.config.write_answers else []
    return (shuffled, *lengths, *doses, *written)


def _doses(outline: Outline) -> tuple[float, ...]:
    return tuple(sorted(set(outline.config.doses)))


def _evaluate(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> Content:
    match spec["step"]:
        case "shuffled":
            return shuffled_vectors(work)
        case "text":
            return text_rows(work, bench(work, inputs), spec["statements"])
        case "dose":
            return dose_rows(work, inputs, spec["layer_all"], spec["dose"])
        case _:
            return written_rows(work, inputs, spec["layer_all"])


def _assemble(core: Core, contents: Contents) -> DoseResponse:
    outline, layer = core.plan.outline, core.plan.layer
    control = outline.data.control.name
    alone = core.scores[(core.scores["treatment"] == BASELINE) & core.scores["harmful"]]
    before = alone.set_index("prompt_id")["score"].astype(float)
    steered, said = (
        _changes([table for _, table in contents.part(NAME, step)], before)
        for step in ("dose", "text")
    )
    written = [table for _, table in contents.part(NAME, "written")]
    harmful, said_harmful = steered[steered["harmful"]], said[said["harmful"]]
    rng = outline.rng("dose response")
    return DoseResponse(
        n=len(outline.studied),
        n_harmless=len(outline.harmless[:MAX_HARMLESS]),
        layer=layer,
        study_dose=outline.config.dose,
        doses=_doses(outline),
        lengths=text_lengths(outline),
        control=control,
        vectors=dose_slopes(harmful, control=control, within=outline.config.dose, rng=rng),
        texts=length_trends(said_harmful, control=control, rng=rng),
        matches=dose_matches(steered, said, rng=rng),
        by_dose=by_dose_table(steered, rng),
        by_length=by_length_table(said, steered, rng),
        written=written_table(written[0]) if written else None,
        sampled=tuple(dict.fromkeys(written[0]["persona"])) if written else (),
        left_out=_left_out(outline, said, contents),
        by_request=request_table(steered, said),
    )


def _changes(tables: Sequence[pd.DataFrame], before: pd.Series) -> pd.DataFrame:
    # A length of which no text fits has no row, and no type of its own for a column.
    filled = [table for table in tables if len(table)] or list(tables[:1])
    table = pd.concat(filled, ignore_index=True).astype({"harmful": bool})
    return table.assign(change=table["score"] - table["prompt_id"].map(before))


def _left_out(outline: Outline, said: pd.DataFrame, contents: Contents) -> tuple[str, ...]:
    found = set(zip(said["persona"], said["statements"], strict=True))
    out = []
    for n in text_lengths(outline):
        names = [*(arm.persona for arm in text_arms(outline, n)), *filler_names(outline)]
        missing = [name for name in names if (name, n) not in found]
        if missing:
            out.append(
                f"{len(missing)} of {len(names)} texts of {n} statements do not fit the model's "
                f"context of {outline.card.n_ctx} tokens: {', '.join(missing)}."
            )
    ((_, shuffled),) = contents.part_tensors(NAME, "shuffled")
    if len(shuffled.tensors) < outline.config.n_nulls:
        out.append(
            f"{len(shuffled.tensors)} of {outline.config.n_nulls} vectors with exchanged labels: "
            "the other personas have less than two pairs to exchange."
        )
    if not outline.config.write_answers:
        out.append("No answers were written, as the settings ask.")
    return tuple(out)


def _passes(work: Workbench, spec: Mapping[str, Any]) -> Passes:
    """At most: texts count as whole ones."""
    harmful, harmless = work.studied, work.harmless[:MAX_HARMLESS]
    plain = [work.plain[request.prompt_id] for request in (*harmful, *harmless)]
    shuffled = [f"shuffled {at + 1}" for at in range(work.config.n_nulls)]
    match spec["step"]:
        case "shuffled":
            return Passes(prompts=_contrast_prompts(work))
        case "text":
            names = [arm.persona for arm in text_arms(work, spec["statements"])]
            names += [null.name for null in work.data.nulls]
            said = [work.say(r, name) for name in names for r in (*harmful, *harmless)]
            return Passes(prompts=said * n_draws(len(harmful)))
        case "dose":
            return Passes(prompts=plain * (2 * len(dose_arms(work, shuffled)) + 1))
        case _:
            requests = (*harmful[:MAX_HARMLESS], *harmless)
            asked = [work.plain[request.prompt_id] for request in requests]
            arms = sampled_arms(work, shuffled)
            told = [work.say(r, a.persona) for a in arms if a.kind in _SAID for r in requests]
            answered = [*asked * (2 * len(_doses(work)) * (len(arms) + 1) + 1), *told, *told]
            return Passes(prompts=answered, answers=answered)


_SAID: Final = ("persona", "control")


def _contrast_prompts(work: Workbench) -> list[Prompt]:
    """The longest contrasts, as many as vectors are made of."""
    pairs = [contrast(work, persona.name) for persona in work.data.personas]
    sides = sorted(([*each.to, *each.from_] for each in pairs), key=len, reverse=True)
    return [prompt for side in sides[: work.config.n_nulls] for prompt in side]


PART: Final = Part(
    name=NAME,
    doing="doses of vectors and lengths of texts",
    cells=_cells,
    evaluate=_evaluate,
    assemble=_assemble,
    claims=dose_claims,
    passes=_passes,
)
"""Dose and length, and what they cost elsewhere."""
