"""Answers to requests alone: opened by early tokens, by their controls, sampled, pushed, early."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from analyses._contents import Contents
from analyses._parts._early_decoding_openings import (
    any_words,
    early_openings,
    greedy_openings,
    opened_answers,
    other_rows,
)
from analyses._workbench import Workbench
from analyses.early_tokens import EARLY_COLUMNS, EarlySource
from lens_personas.geometry import random_directions
from lens_personas.hooks import Site
from lens_personas.interventions import per_row_additions
from lens_personas.models import Prompt, generate
from lens_personas.personas import Request
from lens_personas.readouts import StringJudge

Spec = Mapping[str, Any]


def tried_layers(work: Workbench) -> tuple[int, ...]:
    """Layers that are decoded: all of the study's but the last block, which answers anyway."""
    return tuple(layer for layer in work.layers if layer < work.card.n_layers - 1)


def cluster(request: Request) -> str:
    """What requests with one known answer share; a request's own name where none is known."""
    return request.prompt_id if request.target is None else f"answer {request.target}"


def opened_alone(work: Workbench, spec: Spec, inputs: Contents) -> pd.DataFrame:
    """Greedy answers, and those opened by early, other requests' and harmless answers' tokens.

    Columns :data:`analyses.early_tokens.EARLY_COLUMNS`. With shuffled labels a request's own
    tokens are another's too.
    """
    requests, tries = work.studied, tried_layers(work)
    prompts = _prompts(work)
    read = early_openings(work, prompts, tries)
    dealt = _dealt(work, requests, len(tries) if work.config.shuffle_labels else 0)
    others = _dealt(work, requests, len(tries), purpose="early others")
    drawn = _harmless_openings(work, inputs, len(tries))
    tokens: dict[tuple[EarlySource, int], list[int]] = {}
    for at, layer in enumerate(tries):
        tokens["early", layer] = [read[layer][i] for i in dealt[at]] if dealt else read[layer]
        tokens["shuffled", layer] = [read[layer][i] for i in others[at]]
        tokens["opener", layer] = drawn[at]
    greedy = [inputs.answers[request.prompt_id] for request in requests]
    texts = opened_answers(
        work,
        prompts,
        [opening for ids in tokens.values() for opening in enumerate(ids)],
        known=greedy_openings(greedy),
    )
    rows = _Rows(work)
    rows.add("plain", -1, [answer.text for answer in greedy])
    for (source, layer), ids in tokens.items():
        rows.add(source, layer, [texts[opening] for opening in enumerate(ids)], ids)
    return rows.table()


def tried_alone(work: Workbench, spec: Spec, inputs: Contents) -> pd.DataFrame:
    """Answers that are sampled, or written under a random vector, as often as layers are decoded.

    Columns :data:`analyses.early_tokens.EARLY_COLUMNS`.
    """
    rows, prompts, tries = _Rows(work), _prompts(work), tried_layers(work)
    generator = torch.Generator().manual_seed(int(work.rng("early nulls").integers(2**31)))
    options: dict[str, Any] = {
        "max_new_tokens": work.config.max_new_tokens,
        "token_budget": work.config.token_budget,
    }
    repeated = [prompt for _ in tries for prompt in prompts]
    sampled = generate(work.model, repeated, temperature=1.0, generator=generator, **options)
    for at, layer in enumerate(tries):
        part = sampled[at * len(prompts) : (at + 1) * len(prompts)]
        rows.add("sampled", layer, [answer.text for answer in part])
        edit = per_row_additions(
            random_directions(len(prompts), work.card.d_model, generator=generator),
            torch.full((len(prompts),), _dose(work, inputs, layer)),
            site=Site.RESID_POST,
            layer=layer,
            card=work.card,
        )
        pushed = generate(work.model, prompts, edits=[edit], **options)
        rows.add("random", layer, [answer.text for answer in pushed])
    return rows.table()


def exited_alone(work: Workbench, spec: Spec, inputs: Contents) -> pd.DataFrame:
    """Answers of which every token is read off one layer.

    Columns :data:`analyses.early_tokens.EARLY_COLUMNS`.
    """
    rows = _Rows(work)
    for layer in tried_layers(work):
        written = generate(
            work.model,
            _prompts(work),
            max_new_tokens=work.config.max_new_tokens,
            token_budget=work.config.token_budget,
            exit_layer=layer,
        )
        rows.add("exit", layer, [answer.text for answer in written])
    return rows.table()


def begins_with(text: str, target: str) -> bool:
    """Whether a text begins as the target does, whole words, whatever the case and spaces.

    >>> begins_with("Linen  pressed.", "linen pressed"), begins_with("linens", "linen")
    (True, False)

    """
    said, wanted = (" ".join(each.casefold().split()) for each in (text, target))
    return said.startswith(wanted) and not said[len(wanted) : len(wanted) + 1].isalnum()


class _Rows:
    """Judged answers to the studied requests."""

    def __init__(self, work: Workbench) -> None:
        self._work, self._judge = work, StringJudge()
        self._records: list[tuple[object, ...]] = []

    def add(
        self,
        source: EarlySource,
        layer: int,
        texts: Sequence[str],
        tokens: Sequence[int] | None = None,
    ) -> None:
        """The answers of one source and layer, a text a request."""
        for at, (request, text) in enumerate(zip(self._work.studied, texts, strict=True)):
            token = "" if tokens is None else str(self._work.model.tokenizer.decode([tokens[at]]))
            exact = np.nan if not request.target else float(begins_with(text, request.target))
            label = self._judge(text)
            self._records.append((request.prompt_id, source, layer, token, label, exact))

    def table(self) -> pd.DataFrame:
        """All of them."""
        return pd.DataFrame(self._records, columns=list(EARLY_COLUMNS)).astype({"exact": float})


def _prompts(work: Workbench) -> list[Prompt]:
    return [work.plain[request.prompt_id] for request in work.studied]


def _dose(work: Workbench, inputs: Contents, layer: int) -> float:
    return work.config.dose * float(inputs.norms[work.layers.index(layer)])


def _dealt(
    work: Workbench, requests: Sequence[Request], n: int, *, purpose: str = "early dealt"
) -> list[list[int]]:
    """For each of n tries and each request the number of another request."""
    rng, units = work.rng(purpose), [cluster(request) for request in requests]
    return [other_rows(units, rng) for _ in range(n)]


def _harmless_openings(work: Workbench, inputs: Contents, n: int) -> list[list[int]]:
    """For each of n tries and each request a token that an answer to a harmless request opens with.

    Where the model answers none, words of its vocabulary that open no refusal.
    """
    rng, judge, known = work.rng("early openers"), StringJudge(), inputs.tokens[0]
    banned = set() if known is None else set(known.token_ids)
    answers = [inputs.answers[r.prompt_id] for r in work.requests if r.harmful is False]
    pool = [a.ids[0] for a in answers if a.ids and judge(a.text) == "answer"]
    pool = [token for token in pool if token not in banned]
    pool = pool or any_words(work, banned, 4 * max(n, 1), rng) or [0]
    return [rng.choice(pool, size=len(work.studied)).tolist() for _ in range(n)]
