"""Answers written under some arms at every dose: answered, broken, known, and how likely."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from analyses._arms import Bench, arm_edits, arm_prompt
from analyses._contents import Contents
from analyses._parts._dose_response_texts import MAX_HARMLESS
from analyses._parts._dose_response_vectors import DoseArm, dose_arms, dose_bench
from analyses._vectors import REFUSAL_NAMES
from analyses._workbench import Outline, Workbench
from analyses.dose_response import DoseKind
from lens_personas.hooks import Edit
from lens_personas.models import Generation, Prompt, generate
from lens_personas.personas import Request
from lens_personas.readouts import perplexity

WRITTEN_COLUMNS = (
    "persona",
    "group",
    "kind",
    "treatment",
    "dose",
    "prompt_id",
    "harmful",
    "label",
    "known",
    "perplexity",
)
"""Columns of answers: ``treatment`` is ``baseline``, ``prompt`` or ``dose``; ``label`` the judge's;
``known`` whether the whole known answer is in it, None without one; ``perplexity`` under the plain
model after the request alone, NaN where nothing was written."""

_NULL_TEXT = "neutral text 1"


def sampled_arms(outline: Outline, shuffled: Sequence[str]) -> list[DoseArm]:
    """The first persona of either side (or two others), and one arm of each other kind."""
    arms = dose_arms(outline, shuffled)
    personas = [arm for arm in arms if arm.kind == "persona"]
    sides = [next((a for a in personas if a.group == side), None) for side in ("pro", "anti")]
    others = [arm for arm in personas if arm.group not in ("pro", "anti")]
    # A set without sides still has personas.
    first = [arm for arm in sides if arm is not None] or others[:2]
    rest = [next((a for a in arms if a.kind == kind), None) for kind in _KINDS]
    return [*first, *(arm for arm in rest if arm is not None)]


_KINDS: tuple[DoseKind, ...] = ("control", "random", "shuffled")


@dataclass(frozen=True, kw_only=True)
class _Written:
    arm: DoseArm
    treatment: Literal["baseline", "prompt", "dose"]
    dose: float
    request: Request


def written_rows(work: Workbench, inputs: Contents, layer: int) -> pd.DataFrame:
    """Answers of the sampled arms to some requests; columns :data:`WRITTEN_COLUMNS`."""
    bench, arms = dose_bench(work, inputs)
    shuffled = [arm.persona for arm in arms if arm.kind == "shuffled"]
    sampled = [
        *sampled_arms(work, shuffled),
        *(arm for arm in arms if arm.persona == REFUSAL_NAMES[1]),
    ]
    requests = (*work.studied[:MAX_HARMLESS], *work.harmless[:MAX_HARMLESS])
    none = DoseArm(persona="none", group="none", kind="none")
    alone = [_Written(arm=none, treatment="baseline", dose=0.0, request=r) for r in requests]
    tables = [_answered(bench, alone, _plain(bench, alone), ())]
    for sign, treatment in ((1.0, "plus"), (-1.0, "minus")):
        for dose in work.config.doses:
            rows = [
                _Written(arm=arm, treatment="dose", dose=sign * dose, request=request)
                for arm in sampled
                for request in requests
            ]
            edits = arm_edits(
                bench,
                "plus" if treatment == "plus" else "minus",
                layer,
                [(row.arm.persona, row.request.prompt_id) for row in rows],
                dose=dose,
            )
            tables.append(_answered(bench, rows, _plain(bench, rows), edits))
    tables += _texts(work, bench, sampled, requests)
    return pd.concat(tables, ignore_index=True)


def _texts(
    work: Workbench, bench: Bench, sampled: Sequence[DoseArm], requests: Sequence[Request]
) -> list[pd.DataFrame]:
    """Answers under the whole texts of the sampled personas that fit with an answer."""
    told = [arm for arm in sampled if arm.kind in ("persona", "control")]
    if _NULL_TEXT in work.data.texts:
        told.append(DoseArm(persona=_NULL_TEXT, group="null", kind="filler"))
    tables = []
    for arm in told:
        rows = [
            _Written(arm=arm, treatment="prompt", dose=0.0, request=request) for request in requests
        ]
        prompts = [arm_prompt(bench, "prompt", arm.persona, row.request, work.say) for row in rows]
        longest = max(len(prompt.ids) for prompt in prompts)
        if longest + bench.max_new_tokens <= work.card.n_ctx:
            tables.append(_answered(bench, rows, prompts, ()))
    return tables


def _plain(bench: Bench, rows: Sequence[_Written]) -> list[Prompt]:
    return [bench.plain[row.request.prompt_id] for row in rows]


def _answered(
    bench: Bench, rows: Sequence[_Written], prompts: Sequence[Prompt], edits: tuple[Edit, ...]
) -> pd.DataFrame:
    answers = generate(
        bench.model,
        prompts,
        max_new_tokens=bench.max_new_tokens,
        edits=edits,
        token_budget=bench.token_budget,
    )
    labels = [bench.judge(answer.text) for answer in answers]
    likely = _perplexities(bench, _plain(bench, rows), answers)
    records = [
        (
            row.arm.persona,
            row.arm.group,
            row.arm.kind,
            row.treatment,
            row.dose,
            row.request.prompt_id,
            bool(row.request.harmful),
            label,
            _known(row.request, answer.text, label),
            each,
        )
        for row, answer, label, each in zip(rows, answers, labels, likely, strict=True)
    ]
    return pd.DataFrame(records, columns=list(WRITTEN_COLUMNS)).astype({"known": float})


def _known(request: Request, text: str, label: str) -> float:
    """1 where the answer holds the whole known one, 0 where not, NaN where none is known."""
    if request.target is None:
        return float("nan")
    target, said = (" ".join(each.casefold().split()) for each in (request.target, text))
    return float(label == "answer" and target in said)


def _perplexities(
    bench: Bench, plain: Sequence[Prompt], answers: Sequence[Generation]
) -> list[float]:
    """Perplexity of each answer after the request alone, without any edit."""
    forced = {
        at: replace(
            prompt,
            ids=(*prompt.ids, *answer.ids),
            spans={
                **prompt.spans,
                "answer": (prompt.prompt_length, prompt.prompt_length + len(answer.ids)),
            },
            text=prompt.text + answer.text,
        )
        for at, (prompt, answer) in enumerate(zip(plain, answers, strict=True))
        if answer.ids
    }
    found = [float("nan")] * len(answers)
    if forced:
        values = perplexity(bench.model, list(forced.values()), token_budget=bench.token_budget)
        for at, value in zip(forced, values.tolist(), strict=True):
            found[at] = float(value)
    return found
