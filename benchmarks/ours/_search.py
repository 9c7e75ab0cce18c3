"""Refusal-direction search: the best of the candidates, with the scores that were measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from benchmarks._serve import Arrays, Call, Prepare, Setting
from benchmarks.ours._models import as_prompts, hugging_face, ours
from benchmarks.ours._published import Published, log_odds
from lens_personas.interventions import (
    NoDirection,
    Racing,
    search_direction,
    select_place,
)
from lens_personas.readouts import refusal_score

_N_TOKENS = 16
_NOWHERE = (0, -1)


@dataclass(frozen=True, kw_only=True)
class _Task:
    """What refusing means for a model that was never trained, so that a search has an answer."""

    candidates: Float[Tensor, "pos layer d_model"]
    """Mean ``resid_pre`` of harmful less that of harmless training requests."""
    refusal: Int[Tensor, " token"]
    """The tokens that tell harmful training requests best from harmless ones."""
    threshold: float
    """Score half-way between the two kinds, which stands for 0."""
    harmful: list[list[int]]
    """Requests above it, as the published search keeps only those that are refused."""
    harmless: list[list[int]]
    """Requests below it."""


@torch.no_grad()
def _task(published: Published, options: Mapping[str, Any], dtype: torch.dtype) -> _Task:
    train = [options["train"][kind] for kind in ("harmful", "harmless")]
    means = [published.means(prompts, options["n_pos"]) for prompts in train]
    logits = [published.last_logits(prompts) for prompts in train]
    apart = (logits[0].mean(0) - logits[1].mean(0)) / (logits[0].std(0) + logits[1].std(0))
    refusal = apart.topk(_N_TOKENS).indices
    threshold = float(sum(log_odds(each, refusal).mean() for each in logits) / 2)

    def kept(kind: str, sign: int) -> list[list[int]]:
        scores = log_odds(published.last_logits(options[kind]), refusal) - threshold
        found = [options[kind][row] for row in (sign * scores > 0).nonzero()[:, 0].tolist()]
        if len(found) < options["n_requests"]:
            raise ValueError(f"expected {options['n_requests']} {kind} requests, {len(found)} are")
        return found[: options["n_requests"]]

    return _Task(
        candidates=(means[0] - means[1]).to(dtype),
        refusal=refusal,
        threshold=threshold,
        harmful=kept("harmful", 1),
        harmless=kept("harmless", -1),
    )


def _prepared(setting: Setting, options: Mapping[str, Any]) -> tuple[Published, _Task]:
    published = Published(hugging_face(setting), setting.device)
    return published, _task(published, options, getattr(torch, setting.dtype))


def _search(setting: Setting, options: Mapping[str, Any], **choices: Any) -> Call:
    _, task = _prepared(setting, options)
    model = ours(setting)
    harmful, harmless = as_prompts(task.harmful), as_prompts(task.harmless)

    def score(logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, "batch 1"]:
        return refusal_score(logits, task.refusal)[:, None] - task.threshold

    def call() -> Arrays:
        found = search_direction(model, task.candidates, harmful, harmless, score, **choices)
        place = _NOWHERE if isinstance(found, NoDirection) else (found.position, found.layer)
        selected = {"selected": np.array(place)}
        if not choices.get("full_table"):
            return selected
        table = found.search.table
        return {**selected, "bypass": table.bypass, "induce": table.induce, "kl": table.kl}

    return call


def exact(setting: Setting, options: Mapping[str, Any]) -> Call:
    """``search_direction``, as it comes."""
    return _search(setting, options)


def whole_table(setting: Setting, options: Mapping[str, Any]) -> Call:
    """The same with every score of every candidate."""
    return _search(setting, options, full_table=True)


def racing(setting: Setting, options: Mapping[str, Any]) -> Call:
    """Hopeless candidates dropped on a few requests, at a stated risk."""
    return _search(setting, options, racing=Racing())


def published_pattern(setting: Setting, options: Mapping[str, Any]) -> Call:
    """The published call pattern, and its rule on the table that it gives."""
    published, task = _prepared(setting, options)

    def call() -> Arrays:
        with torch.no_grad():
            table = published.search(
                task.candidates,
                task.harmful,
                task.harmless,
                refusal=task.refusal,
                threshold=task.threshold,
            )
        place = select_place(table["bypass"], table["induce"], table["kl"])
        return {"selected": np.array(place or _NOWHERE), **table}

    return call


WAYS: dict[str, Prepare] = {
    "search": exact,
    "search_table": whole_table,
    "search_racing": racing,
    "search_published": published_pattern,
}
