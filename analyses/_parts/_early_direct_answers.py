"""Known answers of the requests, wrong ones dealt to them, and their lens by layer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd
import torch

from analyses._arms import Action
from analyses._cell_plan import study_arms
from analyses._workbench import Workbench
from analyses.known_answers import OTHER, OWN, RANDOM, READING_COLUMNS, REFUSAL
from analyses.scores import Treatment
from lens_personas.models import Prompt
from lens_personas.personas import Request
from lens_personas.readouts import (
    LensResult,
    RefusalTokens,
    TunedLens,
    answer_lens,
    logit_lens,
)

PERSONAS_A_REQUEST: Final = 1
"""Personas drawn from each group for each request: over the requests all are heard, at a bounded
cost."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """A request whose answer is known."""

    request: Request
    """The request."""
    unit: str
    """What requests with one answer share: that answer, whatever shuffling deals them."""
    ids: tuple[int, ...]
    """Tokens of the answer that counts as its own."""

    @property
    def prompt_id(self) -> str:
        """The request's identifier."""
        return self.request.prompt_id


@dataclass(frozen=True, kw_only=True)
class ArmRow:
    """One request under one persona."""

    persona: str
    """Who the row stands for."""
    group: str
    """Its side."""
    treatment: Action
    """What is done; ``baseline`` for nothing."""
    prompt_id: str
    """The request."""


def known(work: Workbench) -> list[Known]:
    """Studied requests with an answer that the vocabulary can write; none if all are the same.

    With shuffled labels the answers are dealt anew among the units, and whatever is then found
    of them is chance.
    """
    found = {}
    for request in work.studied:
        ids = _ids(work, request.target or "")
        # An answer that does not fit behind its request cannot be read.
        if ids and len(work.plain[request.prompt_id].ids) < work.card.n_ctx:
            found[request.prompt_id] = Known(request=request, unit=request.target or "", ids=ids)
    answers = {each.unit: each.ids for each in found.values()}
    if len(set(answers.values())) < 2:
        return []
    if work.config.shuffle_labels:
        units = sorted(answers)
        drawn = work.rng("known answers dealt").permutation(len(units))
        answers = {unit: answers[units[at]] for unit, at in zip(units, drawn, strict=True)}
    return [replace(each, ids=answers[each.unit]) for each in found.values()]


def read_layers(work: Workbench) -> tuple[int, ...]:
    """The study's layers and the last one, whose lens is the output."""
    return tuple(sorted({*work.layers, work.card.n_layers - 1}))


def answer_readings(
    work: Workbench, tokens: RefusalTokens | None, tuned: TunedLens | None
) -> pd.DataFrame:
    """Own and wrong answers of the requests alone by lens and layer, ``READING_COLUMNS``."""
    answers = known(work)
    if not answers:
        return pd.DataFrame(columns=list(READING_COLUMNS))
    looked_up = {OWN: [each.ids for each in answers]} | _others(work, answers)
    lenses: dict[str, TunedLens | None] = {"logit": None}
    if tuned is not None:
        lenses["tuned"] = tuned
    tables = [
        table
        for lens, translator in lenses.items()
        for table in (
            _whole(work, answers, looked_up, lens, translator),
            _single(work, answers, looked_up, tokens, (lens, translator)),
        )
    ]
    first = pd.concat(tables[1::2], ignore_index=True)
    whole = pd.concat(tables[0::2], ignore_index=True)
    keys = ["prompt_id", "answer", "lens", "layer"]
    return first.merge(whole, on=keys, how="left")[list(READING_COLUMNS)]


def forced(work: Workbench, prompt: Prompt, ids: Sequence[int]) -> Prompt:
    """The prompt with the answer's tokens after it, as far as the context reaches."""
    room = work.card.n_ctx - len(prompt.ids)
    answer = tuple(ids)[:room]
    return replace(
        prompt,
        ids=(*prompt.ids, *answer),
        spans={**prompt.spans, "answer": (len(prompt.ids), len(prompt.ids) + len(answer))},
    )


def arm_rows(work: Workbench, answers: Sequence[Known]) -> list[ArmRow]:
    """For each request and treatment some personas of each group, drawn, and the control."""
    rng, rows = work.rng("drawn personas"), []
    treatments: tuple[Treatment, ...] = ("prompt", "plus", "minus")
    for treatment in treatments:
        groups: dict[str, list[str]] = {}
        for name in study_arms(work)[treatment]:
            if name.kind != "refusal":
                group = name.group if name.kind == "persona" else name.kind
                groups.setdefault(group, []).append(name.persona)
        for each in answers:
            for group, names in groups.items():
                drawn = rng.permutation(names)[:PERSONAS_A_REQUEST].tolist()
                rows += [
                    ArmRow(persona=name, group=group, treatment=treatment, prompt_id=each.prompt_id)
                    for name in drawn
                ]
    return rows


def _ids(work: Workbench, target: str) -> tuple[int, ...]:
    tokenizer = work.model.tokenizer
    ids = tuple(int(i) for i in tokenizer.encode(target, add_special_tokens=False))
    return () if tokenizer.unk_token_id in ids else ids


def _others(work: Workbench, answers: Sequence[Known]) -> dict[str, list[tuple[int, ...]]]:
    """Wrong answers: the control and as many more as there are nulls, one a unit each."""
    rng = work.rng("other answers")
    by_unit = {each.unit: each.ids for each in answers}
    names = [OTHER, *(f"other {at + 2}" for at in range(work.config.n_nulls))]
    dealt = {name: _wrong(by_unit, rng) for name in names}
    return {name: [found[each.unit] for each in answers] for name, found in dealt.items()}


def _wrong(
    by_unit: dict[str, tuple[int, ...]], rng: np.random.Generator
) -> dict[str, tuple[int, ...]]:
    """For each unit another one's answer, of another first token where there is one.

    As far as can be each answer serves once, so that one likely everywhere favours no side.
    """
    units = sorted(by_unit)
    best: dict[str, tuple[int, ...]] = {}
    least = len(units) + 1
    for _ in range(20):
        drawn = {
            u: by_unit[units[at]] for u, at in zip(units, rng.permutation(len(units)), strict=True)
        }
        clashes = [u for u in units if drawn[u][0] == by_unit[u][0]]
        if len(clashes) < least:
            best, least = drawn, len(clashes)
    for unit in units:
        if best[unit][0] == by_unit[unit][0]:
            best[unit] = _another(by_unit, unit, rng)
    return best


def _another(
    by_unit: dict[str, tuple[int, ...]], unit: str, rng: np.random.Generator
) -> tuple[int, ...]:
    own = by_unit[unit]
    apart = sorted({ids for ids in by_unit.values() if ids[0] != own[0]})
    apart = apart or sorted({ids for ids in by_unit.values() if ids != own})
    return apart[int(rng.integers(len(apart)))]


def _whole(
    work: Workbench,
    answers: Sequence[Known],
    looked_up: dict[str, list[tuple[int, ...]]],
    lens: str,
    tuned: TunedLens | None,
) -> pd.DataFrame:
    """Teacher-forced log-probability of whole answers."""
    rows = [
        (name, each.prompt_id, forced(work, work.plain[each.prompt_id], ids))
        for name, column in looked_up.items()
        for each, ids in zip(answers, column, strict=True)
    ]
    found = answer_lens(
        work.model,
        [prompt for _, _, prompt in rows],
        layers=read_layers(work),
        tuned=tuned,
        token_budget=work.config.token_budget,
    )
    tables = [
        pd.DataFrame(
            {
                "answer": [name for name, _, _ in rows],
                "prompt_id": [prompt_id for _, prompt_id, _ in rows],
                "lens": lens,
                "layer": layer,
                "whole_log_prob": found.log_prob[at].numpy(),
                "n_tokens": found.n_tokens.numpy(),
            }
        )
        for at, layer in enumerate(found.layers)
    ]
    return pd.concat(tables, ignore_index=True)


def _single(
    work: Workbench,
    answers: Sequence[Known],
    looked_up: dict[str, list[tuple[int, ...]]],
    tokens: RefusalTokens | None,
    lens: tuple[str, TunedLens | None],
) -> pd.DataFrame:
    """Log-probability and rank of first tokens, a random one and the refusal's beside them."""
    pool = sorted({token for each in answers for token in each.ids})
    rng = work.rng("random token")
    columns = {name: [ids[0] for ids in column] for name, column in looked_up.items()}
    columns[RANDOM] = [_unlike(pool, each.ids[0], rng) for each in answers]
    refusal = () if tokens is None else tokens.token_ids
    asked = torch.tensor(
        [[*own, *refusal] for own in zip(*columns.values(), strict=True)], dtype=torch.long
    )
    found = logit_lens(
        work.model,
        [work.plain[each.prompt_id] for each in answers],
        token_ids=asked,
        layers=read_layers(work),
        tuned=lens[1],
        token_budget=work.config.token_budget,
    )
    return pd.concat(_tables(found, answers, list(columns), lens[0]), ignore_index=True)


def _tables(
    found: LensResult, answers: Sequence[Known], names: Sequence[str], lens: str
) -> list[pd.DataFrame]:
    values = {
        name: (found.log_prob[:, :, at].numpy(), found.rank[:, :, at].numpy())
        for at, name in enumerate(names)
    }
    n = len(names)
    if found.log_prob.shape[2] > n:
        together = found.log_prob[:, :, n:].logsumexp(dim=2).numpy()
        values[REFUSAL] = (together, found.rank[:, :, n:].amin(dim=2).numpy())
    return [
        pd.DataFrame(
            {
                "prompt_id": [each.prompt_id for each in answers],
                "unit": [each.unit for each in answers],
                "answer": name,
                "lens": lens,
                "layer": layer,
                "first_log_prob": log_prob[at],
                "first_rank": rank[at],
            }
        )
        for name, (log_prob, rank) in values.items()
        for at, layer in enumerate(found.layers)
    ]


def _unlike(pool: Sequence[int], token: int, rng: np.random.Generator) -> int:
    others = [each for each in pool if each != token] or list(pool)
    return int(rng.choice(others))
