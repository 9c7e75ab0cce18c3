"""The direction whose ablation bypasses refusal best, of many candidates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from lens_personas.interventions._direction_race import Race, Racing
from lens_personas.interventions._direction_rule import (
    DirectionRule,
    DirectionTable,
    select_place,
)
from lens_personas.interventions._direction_scores import DirectionScores, Score
from lens_personas.interventions._plan import check_width
from lens_personas.interventions._sweep_plan import DEFAULT_SWEEP_BUDGET
from lens_personas.models import LensModel, Prompt, map_last_logits


@dataclass(frozen=True, kw_only=True, eq=False)
class DirectionSearch:
    """What a search measured, and what that cost."""

    table: DirectionTable
    """Scores of the candidates, as far as they were needed."""
    rule: DirectionRule
    """What a direction had to do."""
    racing: Racing | None
    """How candidates were dropped early, with its seed; None where none was without proof."""
    n_harmful: tuple[int, int]
    """Harmful requests used, those the model refuses (score above 0), and given."""
    n_harmless: tuple[int, int]
    """Harmless requests used, those it does not refuse (score below 0), and given."""
    block_tokens: int
    """Tokens run, counted once a block, padding left out."""
    published_block_tokens: int
    """The same for the published way: every candidate on every request three times, whole."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SelectedDirection:
    """The chosen direction, from harmless to harmful requests."""

    direction: Float[Tensor, " d_model"]
    """The candidate itself, as it was given."""
    position: int
    """Where it was read: -1 for the last token of the prompt."""
    layer: int
    """Block at whose ``resid_pre`` it was read and is added."""
    bypass: float
    """Mean refusal score in nats of harmful requests with it ablated everywhere."""
    induce: float
    """Mean refusal score in nats of harmless requests with it added."""
    kl: float
    """Mean KL(base ‖ ablated) in nats on harmless requests."""
    search: DirectionSearch
    """All that was measured."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NoDirection:
    """Why no candidate was chosen."""

    reason: str
    """One line for the user."""
    search: DirectionSearch
    """All that was measured."""


@torch.no_grad()
def search_direction(
    model: LensModel,
    candidates: Float[Tensor, "pos layer d_model"],
    harmful: Sequence[Prompt],
    harmless: Sequence[Prompt],
    score: Score,
    *,
    rule: DirectionRule | None = None,
    racing: Racing | None = None,
    full_table: bool = False,
    token_budget: int = DEFAULT_SWEEP_BUDGET,
    resume: bool = True,
) -> SelectedDirection | NoDirection:
    """The refusal direction of Arditi et al. (https://arxiv.org/abs/2406.11717, section 2.3).

    Of the candidates that, added at their layer, make harmless requests refused (*induce*) and
    whose ablation everywhere leaves harmless requests as they are (*KL*), the one whose ablation
    makes harmful requests least refused (*bypass*). Requests on which the model does not behave
    as named are left out first, as published.

    The choice is that of measuring everything, yet less is measured: no candidate of a layer
    that the rule excludes; no bypass score where induce fails; KL in ascending order of bypass
    until one passes, and of one that fails only until that is sure. With ``racing`` hopeless
    candidates also go after a few prompts, at a stated risk.

    Args:
        model: The model.
        candidates: A direction for each of the last positions, the last one last, and for
            each layer: mean ``resid_pre`` on harmful less that on harmless requests. One that
            is zero or not finite is not looked at.
        harmful: Requests to refuse, others than those the candidates were fitted on.
        harmless: Requests to answer, likewise.
        score: Score of float32 last-token logits, above 0 where the model refuses; such as
            `lens_personas.readouts.refusal_score` with one column.
        rule: What a direction has to do; None for the published rule.
        racing: How to drop candidates early; None to measure until all is decided.
        full_table: Whether every candidate is measured in every way, for the table's sake.
        token_budget: Most tokens in a batch.
        resume: Whether additions start at their layer; False runs whole passes: the same
            numbers, slowly.

    Raises:
        ValueError: If there is no prompt of a kind, the candidates do not fit the model, or
            racing is asked for with a full table.
    """
    _check(model, candidates, racing, full_table)
    base = [
        map_last_logits(model, prompts, score, token_budget=token_budget)[:, 0]
        for prompts in (harmful, harmless)
    ]
    scores = DirectionScores(
        model=model,
        candidates=candidates.detach().float().cpu(),
        harmful=_kept(harmful, base[0] > 0),
        harmless=_kept(harmless, base[1] < 0),
        score=score,
        token_budget=token_budget,
        resume=resume,
    )
    counts = [(len(scores.harmful), len(harmful)), (len(scores.harmless), len(harmless))]
    n_tokens = sum(len(prompt.ids) for prompt in (*harmful, *harmless))
    scores.spent.block_tokens += n_tokens * model.card.n_layers
    work = _Search(scores=scores, rule=rule or DirectionRule(), racing=racing, counts=counts)
    race = Race(scores.measures(base[1][base[1] < 0].double().numpy()), work.rule, racing)
    if not (scores.harmful and scores.harmless):
        return NoDirection(reason=_without_requests(counts), search=work.record(race))
    return work.chosen(race, full_table=full_table)


@dataclass(frozen=True, kw_only=True)
class _Search:
    scores: DirectionScores
    rule: DirectionRule
    racing: Racing | None
    counts: Sequence[tuple[int, int]]

    def chosen(self, race: Race, *, full_table: bool) -> SelectedDirection | NoDirection:
        candidates = self.scores.candidates
        n_layers = candidates.shape[1]
        sound = _sound(candidates)
        if full_table:
            number = self._from_all(race, sound)
        else:
            low = self.rule.n_layers_of(n_layers)
            number = race.winner([c for c in sound if c % n_layers < low])
        if number is None:
            return NoDirection(reason=_why_none(race, sound), search=self.record(race))
        row, layer = divmod(number, n_layers)
        return SelectedDirection(
            direction=candidates[row, layer],
            position=row - len(candidates),
            layer=layer,
            bypass=race.bypass.mean(number),
            induce=race.induce.mean(number),
            kl=race.kl.mean(number),
            search=self.record(race),
        )

    def _from_all(self, race: Race, sound: Sequence[int]) -> int | None:
        for known in (race.bypass, race.induce, race.kl):
            known.fill(sound, known.n_prompts)
        table = self.record(race).table
        place = select_place(table.bypass, table.induce, table.kl, rule=self.rule)
        if place is None:
            return None
        n_pos, n_layers = len(table.bypass), table.bypass.shape[1]
        return int((n_pos + place[0]) * n_layers + place[1])

    def record(self, race: Race) -> DirectionSearch:
        scores, shape = self.scores, tuple(self.scores.candidates.shape[:2])
        # Ablated on both kinds of requests, added on the harmless ones.
        sweeps = [*scores.harmful, *scores.harmless, *scores.harmless]
        n_tokens = sum(len(prompt.ids) for prompt in sweeps)
        return DirectionSearch(
            table=DirectionTable(
                bypass=race.bypass.means().reshape(shape),
                induce=race.induce.means().reshape(shape),
                kl=race.kl.means().reshape(shape),
                n_bypass=race.bypass.counts().reshape(shape),
                n_induce=race.induce.counts().reshape(shape),
                n_kl=race.kl.counts().reshape(shape),
            ),
            rule=self.rule,
            racing=self.racing,
            n_harmful=self.counts[0],
            n_harmless=self.counts[1],
            block_tokens=scores.spent.block_tokens,
            published_block_tokens=n_tokens * shape[0] * shape[1] * scores.model.card.n_layers,
        )


def _sound(candidates: Float[Tensor, "pos layer d_model"]) -> list[int]:
    """Numbers of the candidates that are finite and not zero."""
    norms = rearrange(candidates.norm(dim=-1), "pos layer -> (pos layer)")
    return [number for number, norm in enumerate(norms.tolist()) if 0 < norm < math.inf]


def _kept(prompts: Sequence[Prompt], mask: Bool[Tensor, " prompt"]) -> tuple[Prompt, ...]:
    return tuple(prompt for prompt, keep in zip(prompts, mask.tolist(), strict=True) if keep)


def _without_requests(counts: Sequence[tuple[int, int]]) -> str:
    (refused, harmful), (answered, harmless) = counts
    return (
        f"{refused} of {harmful} harmful requests have a refusal score above 0 and {answered} of "
        f"{harmless} harmless ones below 0; there is no refusal to study without both"
    )


def _why_none(race: Race, sound: Sequence[int]) -> str:
    induced = [race.induce.mean(c) for c in sound if race.induce.known[c].all()]
    best = f"{max(induced):+.2f}" if induced else "not measured"
    return (
        f"none of {len(sound)} candidates passes: the highest induce score is {best}, and "
        f"{int(race.kl.known.any(axis=1).sum())} came as far as the KL; see the table"
    )


def _check(
    model: LensModel,
    candidates: Float[Tensor, "pos layer d_model"],
    racing: Racing | None,
    full_table: bool,
) -> None:
    check_width(candidates.shape[2], card=model.card)
    if candidates.shape[1] != model.card.n_layers:
        raise ValueError(
            f"expected candidates of each of the {model.card.n_layers} layers of "
            f"{model.card.model_id}, got {candidates.shape[1]}; leave none out: those that must "
            "not be chosen can be zero"
        )
    if racing is not None and full_table:
        raise ValueError(
            "expected a full table or racing, got both; racing leaves most of the table empty"
        )
