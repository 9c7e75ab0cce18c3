"""Texts of so many statements, and neutral ones of as many tokens, put before requests."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from analyses._arms import ArmName, Bench, arm_prompt
from analyses._cell_plan import study_arms
from analyses._parts._dose_response_kl import kl_of_prompts
from analyses._workbench import Outline, Workbench
from lens_personas.models import Prompt, render
from lens_personas.personas import Request, conversation
from lens_personas.readouts import score_refusal

MAX_HARMLESS = 16
"""Harmless requests, and harmful ones, that side effects are measured on."""
_MOST_DRAWS = 3
_ENOUGH_TEXTS = 48

TEXT_COLUMNS = (
    "persona",
    "group",
    "kind",
    "statements",
    "full",
    "tokens",
    "prompt_id",
    "harmful",
    "score",
    "kl",
)
"""Columns of what texts do: ``score`` on harmful requests, mean over the texts drawn for one;
``kl`` in nats on harmless ones, of full texts and their fillers; NaN where not measured."""


def n_said(outline: Outline, persona: str) -> int:
    """Statements of a persona, or of a neutral text, that the study puts before a request."""
    n = len(outline.data.texts[persona].statements)
    return min(outline.config.n_statements or n, n)


def text_lengths(outline: Outline) -> tuple[int, ...]:
    """Numbers of statements that are tried: those asked for, and all of each persona's."""
    full = {n_said(outline, persona.name) for persona in outline.data.personas}
    return tuple(sorted({*_asked(outline), *full}))


def text_arms(outline: Outline, statements: int) -> list[ArmName]:
    """Personas that have a text of so many statements."""
    return [
        arm
        for arm in study_arms(outline)["prompt"]
        if arm.kind != "null"
        and (
            n_said(outline, arm.persona) == statements
            or (n_said(outline, arm.persona) > statements and statements in _asked(outline))
        )
    ]


def filler_names(outline: Outline) -> tuple[str, ...]:
    """Names of the fillers, one for each neutral text."""
    return tuple(f"filler {at + 1}" for at in range(len(outline.data.nulls)))


def n_draws(n_requests: int) -> int:
    """Texts drawn for one request: few requests alone would meet few assemblies."""
    return max(1, min(_MOST_DRAWS, _ENOUGH_TEXTS // max(1, n_requests)))


def text_rows(work: Workbench, bench: Bench, statements: int) -> pd.DataFrame:
    """What texts of one length do, columns :data:`TEXT_COLUMNS`.

    An arm of which a prompt does not fit the model's context is left out.
    """
    rows = [*_persona_rows(work, bench, statements), *_filler_rows(work, statements)]
    n_ctx = work.card.n_ctx
    beyond = {row.arm.persona for row in rows if len(row.prompt.ids) > n_ctx}
    kept = [row for row in rows if row.arm.persona not in beyond]
    table = pd.DataFrame([_record(work, row) for row in kept], columns=list(TEXT_COLUMNS[:8]))
    harmful = table["harmful"].to_numpy(bool)
    table["score"], table["kl"] = np.full((2, len(kept)), np.nan)
    if bench.tokens is not None and harmful.any():
        prompts = [row.prompt for row in kept if row.request.harmful]
        found = score_refusal(bench.model, prompts, bench.tokens, token_budget=bench.token_budget)
        table.loc[harmful, "score"] = found.double().numpy()
    if (~harmful).any():
        said = [row for row in kept if not row.request.harmful]
        alone = [bench.plain[row.request.prompt_id] for row in said]
        table.loc[~harmful, "kl"] = (
            kl_of_prompts(bench, alone, [row.prompt for row in said]).double().numpy()
        )
    keys = [column for column in TEXT_COLUMNS if column not in ("tokens", "score", "kl")]
    return table.groupby(keys, sort=False)[["tokens", "score", "kl"]].mean().reset_index()


@dataclass(frozen=True, kw_only=True)
class _Row:
    arm: ArmName
    kind: str
    statements: int
    full: bool
    request: Request
    prompt: Prompt


def _record(work: Workbench, row: _Row) -> tuple[str, str, str, int, bool, int, str, bool]:
    added = len(row.prompt.ids) - len(work.plain[row.request.prompt_id].ids)
    arm, request = row.arm, row.request
    return (
        arm.persona,
        arm.group,
        row.kind,
        row.statements,
        row.full,
        added,
        request.prompt_id,
        bool(request.harmful),
    )


def _asked(outline: Outline) -> tuple[int, ...]:
    longest = max(n_said(outline, persona.name) for persona in outline.data.personas)
    if outline.config.lengths == "all":
        return tuple(2**power for power in range(longest.bit_length()) if 2**power <= longest)
    return tuple(length for length in outline.config.lengths if length <= longest)


def _persona_rows(work: Workbench, bench: Bench, statements: int) -> list[_Row]:
    rows = []
    for arm in text_arms(work, statements):
        full = n_said(work, arm.persona) == statements
        for draw in range(1 if full else n_draws(len(work.studied))):

            def say(request: Request, owner: str, draw: int = draw) -> Prompt:
                chosen = _drawn(work, owner, statements, request, draw)
                return _before(work, request, chosen)

            # What a text costs elsewhere is asked of whole texts alone.
            harmless = work.harmless[:MAX_HARMLESS] if full else ()
            rows += [
                _Row(
                    arm=arm,
                    kind=arm.kind,
                    statements=statements,
                    full=full,
                    request=request,
                    prompt=arm_prompt(bench, "prompt", arm.persona, request, say),
                )
                for request in (*work.studied, *harmless)
            ]
    return rows


def _drawn(
    work: Workbench, persona: str, statements: int, request: Request, draw: int
) -> list[str]:
    """Statements of a persona: all in order, or so many drawn anew for each request."""
    told = work.data.texts[persona].statements[: n_said(work, persona)]
    if statements >= len(told):
        return list(told)
    rng = work.rng(f"length/{persona}/{statements}/{draw}/{request.prompt_id}")
    return [told[at] for at in rng.choice(len(told), statements, replace=False)]


def _before(work: Workbench, request: Request, sentences: Sequence[str]) -> Prompt:
    turns = conversation(request.text, persona_text=" ".join(sentences), turn=work.turn)
    return render(work.model, turns, prompt_id=request.prompt_id)


def _filler_rows(work: Workbench, statements: int) -> list[_Row]:
    arms = text_arms(work, statements)
    full = any(n_said(work, arm.persona) == statements for arm in arms)
    sentences = _Sentences(work)
    # As long as the personas: the control has a length of its own, which is told.
    matched = [arm for arm in arms if arm.kind == "persona"] or arms
    rows = []
    for request in (*work.studied, *(work.harmless[:MAX_HARMLESS] if full else ())):
        said = [_drawn(work, arm.persona, statements, request, 0) for arm in matched]
        target = float(np.mean([sum(map(sentences.size, each)) for each in said]))
        for at, name in enumerate(filler_names(work)):
            rng = work.rng(f"filler/{at}/{statements}/{request.prompt_id}")
            rows.append(
                _Row(
                    arm=ArmName(persona=name, group="null", kind="null"),
                    kind="filler",
                    statements=statements,
                    full=full,
                    request=request,
                    prompt=_before(work, request, sentences.filler(at, target, rng)),
                )
            )
    return rows


@dataclass(frozen=True)
class _Sentences:
    """Neutral sentences and how many tokens each sentence has."""

    work: Workbench

    @cached_property
    def _sizes(self) -> dict[str, int]:
        return {}

    def size(self, sentence: str) -> int:
        if sentence not in self._sizes:
            ids = self.work.model.tokenizer.encode(sentence, add_special_tokens=False)
            self._sizes[sentence] = max(1, len(ids))
        return self._sizes[sentence]

    def filler(self, at: int, target: float, rng: np.random.Generator) -> list[str]:
        """Sentences as near to so many tokens as whole ones allow, those of text ``at`` first."""
        nulls = self.work.data.nulls
        own = list(dict.fromkeys(nulls[at].statements))
        rest = [s for null in nulls for s in null.statements if s not in own]
        left = [own[i] for i in rng.permutation(len(own))]
        left += [rest[i] for i in rng.permutation(len(rest))]
        everything, chosen, gap = list(dict.fromkeys(left)), list[str](), target
        left = list(everything)
        while gap > 0:
            # Where all were said, they are said again.
            left = left or list(everything)
            near = left[: max(1, len(own) - len(chosen))]
            last = gap <= max(map(self.size, near))
            pick = min(near, key=lambda s: abs(self.size(s) - gap)) if last else left[0]
            if last and chosen and abs(self.size(pick) - gap) >= gap:
                break
            chosen.append(pick)
            left.remove(pick)
            gap -= self.size(pick)
        return chosen
