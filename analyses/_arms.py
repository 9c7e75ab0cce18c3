"""What every arm of the study scores: prompts and edits put to the model, row by row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from analyses.scores import SCORE_COLUMNS, Kind, Treatment
from lens_personas.hooks import Edit, Scope, Site
from lens_personas.interventions import (
    Arm,
    RowPlan,
    ablate_everywhere,
    compile_row_plan,
    per_row_additions,
    sweep,
)
from lens_personas.models import LensModel, Prompt, generate
from lens_personas.personas import Request
from lens_personas.readouts import RefusalTokens, StringJudge, refusal_score, score_refusal

Action = Treatment | Literal["baseline"]
"""What is done to a request; ``baseline`` for nothing."""

Say = Callable[[Request, str], Prompt]
"""Prompt of a request under the persona of that name."""


@dataclass(frozen=True, kw_only=True)
class ArmName:
    """Who an arm stands for."""

    persona: str
    """Name of the persona, null or refusal vector."""
    group: str
    """Side it is expected to take."""
    kind: Kind
    """What it stands for."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The model with all that is needed to put an arm to it."""

    model: LensModel
    """The model."""
    tokens: RefusalTokens | None
    """Opening tokens that count as refusal; None where the vocabulary has none: scores are NaN."""
    judge: StringJudge
    """What labels a written answer."""
    plain: Mapping[str, Prompt]
    """Prompt of each request alone, by ``prompt_id``."""
    vectors: Mapping[str, Float[Tensor, "layer d_model"]]
    """Vector of each arm, a row a layer of ``layers``."""
    resid_norms: Float[Tensor, " layer"]
    """Mean residual norm at each of ``layers``: what a dose is measured in."""
    layers: tuple[int, ...]
    """Blocks whose output is edited."""
    dose: float
    """Length of what is added, in residual norms."""
    dealt: Mapping[str, Mapping[str, str]]
    """Whose text and vector an arm's row really gets, by request; empty for its own."""
    max_new_tokens: int
    """Length of an answer that is judged."""
    token_budget: int
    """Tokens in a batch."""

    def owner(self, prompt_id: str, name: str) -> str:
        """Persona whose text and vector serve for ``name`` on this request."""
        return self.dealt.get(prompt_id, {}).get(name, name)

    def vector(self, prompt_id: str, name: str, layer: int) -> Float[Tensor, " d_model"]:
        """Vector that serves for ``name`` on this request."""
        return self.vectors[self.owner(prompt_id, name)][self.layers.index(layer)]


def deal(
    names: Sequence[str], prompt_ids: Sequence[str], rng: np.random.Generator
) -> dict[str, dict[str, str]]:
    """For each request one permutation of the personas: any two are then exchangeable."""
    ordered = sorted(names)
    return {
        prompt_id: dict(zip(ordered, rng.permutation(ordered).tolist(), strict=True))
        for prompt_id in prompt_ids
    }


@dataclass(frozen=True, kw_only=True)
class ArmRows:
    """One arm at one layer on some requests."""

    name: ArmName
    """Who it stands for."""
    treatment: Action
    """What is done; ``baseline`` for nothing."""
    layer: int
    """Block whose output is edited, -1 for none."""
    split: str
    """Part of the requests."""
    requests: tuple[Request, ...]
    """The requests."""


def score_arms(bench: Bench, arms: Sequence[ArmRows], say: Say, *, answers: bool) -> pd.DataFrame:
    """Refusal scores of arms that share treatment and layer, in one batched call.

    With ``answers`` each row is also answered greedily, with the edits in force, and judged.

    Raises:
        ValueError: If the arms differ in treatment or layer.
    """
    if len({(arm.treatment, arm.layer) for arm in arms}) != 1:
        raise ValueError("expected arms of one treatment and one layer, got several")
    rows = [(arm, request) for arm in arms for request in arm.requests]
    prompts = [
        arm_prompt(bench, arm.treatment, arm.name.persona, request, say) for arm, request in rows
    ]
    edits = arm_edits(
        bench,
        arms[0].treatment,
        arms[0].layer,
        [(arm.name.persona, request.prompt_id) for arm, request in rows],
    )
    scores = _scores(bench, rows, prompts, edits)
    labels: list[str | None] = [None] * len(rows)
    if answers:
        written = generate(
            bench.model,
            prompts,
            max_new_tokens=bench.max_new_tokens,
            edits=edits,
            token_budget=bench.token_budget,
        )
        labels = [bench.judge(answer.text) for answer in written]
    return _frame(rows, scores, labels)


def _scores(
    bench: Bench,
    rows: Sequence[tuple[ArmRows, Request]],
    prompts: Sequence[Prompt],
    edits: tuple[Edit, ...],
) -> list[float]:
    """Refusal score of each row; NaN where no token tells a refusal."""
    tokens = bench.tokens
    if tokens is None:
        return [float("nan")] * len(rows)
    budget = bench.token_budget
    if rows[0][0].treatment not in ("plus", "minus"):
        found = score_refusal(bench.model, prompts, tokens, edits=edits, token_budget=budget)
        return [float(score) for score in found]

    token_ids = torch.tensor(tokens.token_ids)

    def score(logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, "batch 1"]:
        return refusal_score(logits, token_ids)[:, None]

    # The same requests under many vectors: what lies below the edit runs once a request.
    numbers = {prompt_id: at for at, prompt_id in enumerate(dict.fromkeys(_ids(rows)))}
    distinct = [bench.plain[prompt_id] for prompt_id in numbers]
    arm = Arm(prompts=tuple(numbers[prompt_id] for prompt_id in _ids(rows)), edits=edits)
    (swept,) = sweep(bench.model, distinct, [arm], score, token_budget=budget)
    return [float(score) for score in swept[:, 0]]


def _ids(rows: Sequence[tuple[ArmRows, Request]]) -> list[str]:
    return [request.prompt_id for _, request in rows]


def arm_prompt(bench: Bench, treatment: Action, persona: str, request: Request, say: Say) -> Prompt:
    """Prompt of a request under a treatment: with the persona's text, or alone."""
    if treatment == "prompt":
        return say(request, bench.owner(request.prompt_id, persona))
    return bench.plain[request.prompt_id]


def arm_edits(
    bench: Bench,
    treatment: Action,
    layer: int,
    rows: Sequence[tuple[str, str]],
    *,
    scope: Scope = "all",
    dose: float | None = None,
) -> tuple[Edit, ...]:
    """Edits of a call whose row i is under ``rows[i]``, a persona and the request's ``prompt_id``.

    Args:
        bench: Vectors, norms, and whose vector a request really gets.
        treatment: ``plus`` and ``minus`` add, ``ablate`` removes; none for the others.
        layer: Block whose output is edited.
        rows: Persona and request of each row.
        scope: Positions at which vectors are added; a direction is removed everywhere.
        dose: Length of what is added, in residual norms; None for the study's.

    Raises:
        KeyError: If there is no such vector.
        ValueError: If the layer is not one of the study's, or a place does not fit the model.
    """
    if treatment in ("baseline", "prompt"):
        return ()
    vectors = [bench.vector(prompt_id, persona, layer) for persona, prompt_id in rows]
    if treatment == "ablate":
        plans = tuple(ablate_everywhere(vector, bench.model.card) for vector in vectors)
        return compile_row_plan(RowPlan(plans=plans), card=bench.model.card)
    sign = 1.0 if treatment == "plus" else -1.0
    asked = bench.dose if dose is None else dose
    length = sign * asked * float(bench.resid_norms[bench.layers.index(layer)])
    units = torch.stack([vector / vector.norm() for vector in vectors])
    return (
        per_row_additions(
            units,
            torch.full((len(rows),), length),
            site=Site.RESID_POST,
            layer=layer,
            scope=scope,
            card=bench.model.card,
        ),
    )


def _frame(
    rows: Sequence[tuple[ArmRows, Request]], scores: Sequence[float], labels: Sequence[str | None]
) -> pd.DataFrame:
    records = [
        (
            arm.name.persona,
            arm.name.group,
            arm.name.kind,
            arm.treatment,
            arm.layer,
            arm.split,
            request.prompt_id,
            bool(request.harmful),
            score,
            label,
        )
        for (arm, request), score, label in zip(rows, scores, labels, strict=True)
    ]
    return pd.DataFrame(records, columns=list(SCORE_COLUMNS))
