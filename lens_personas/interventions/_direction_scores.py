"""Scores of candidate directions on prompts: candidates times prompts share a batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks import Edit, Site, ablate_row_directions, add_row_directions
from lens_personas.interventions._direction_race import Measures, Pair
from lens_personas.interventions._recipes import ablation_places
from lens_personas.interventions._sweep import sweep
from lens_personas.interventions._sweep_plan import DEFAULT_SWEEP_BUDGET
from lens_personas.interventions._sweep_types import Arm, ByCell, Cell, Reduce
from lens_personas.models import LensModel, ModelCard, Prompt, map_last_logits

Score = Callable[[Float[Tensor, "batch d_vocab"]], Float[Tensor, "batch 1"]]
"""Score of float32 logits at the last token, such as a refusal score in nats."""

_ROWS_AT_ONCE = 1024


@dataclass
class Spent:
    """Work done so far."""

    block_tokens: int = 0
    """Tokens run, counted once a block; padding, and what a trimmed last block spares, not seen."""


@dataclass(frozen=True, kw_only=True)
class DirectionScores:
    """Measures candidates on given prompts."""

    model: LensModel
    """The model."""
    candidates: Float[Tensor, "pos layer d_model"]
    """One direction a position and layer; added at the ``resid_pre`` of its layer."""
    harmful: tuple[Prompt, ...]
    """Requests that the model refuses."""
    harmless: tuple[Prompt, ...]
    """Requests that it answers."""
    score: Score
    """How strongly the model is about to refuse."""
    token_budget: int = DEFAULT_SWEEP_BUDGET
    """Most tokens in a batch."""
    resume: bool = True
    """Whether additions start at their layer; False runs whole passes: the same numbers."""
    spent: Spent = field(default_factory=Spent)
    """What was run."""

    def measures(self, base: Float[np.ndarray, " harmless"]) -> Measures:
        """The three scores by number of candidate, positions outermost, and of prompt."""
        return Measures(
            bypass=lambda pairs: self._ablated(pairs, self.harmful, self.score),
            induce=self._added,
            kl=lambda pairs: self._ablated(pairs, self.harmless, kl_from(self._log_probs)),
            base=base,
            n_harmful=len(self.harmful),
            n_candidates=len(self._flat),
        )

    @property
    def _flat(self) -> Float[Tensor, "candidate d_model"]:
        return rearrange(self.candidates, "pos layer d_model -> (pos layer) d_model")

    def _ablated(
        self, pairs: Sequence[Pair], prompts: Sequence[Prompt], reduce: Reduce
    ) -> Float[np.ndarray, " pair"]:
        found = []
        for first in range(0, len(pairs), _ROWS_AT_ONCE):
            part = pairs[first : first + _ROWS_AT_ONCE]
            directions = self._flat[[pair.candidate for pair in part]]
            arm = Arm(
                prompts=tuple(pair.prompt for pair in part),
                edits=ablate_rows_everywhere(directions, self.model.card),
            )
            self._note(arm.prompts, prompts, self.model.card.n_layers)
            found.append(self._sweep(prompts, [arm], reduce)[0])
        return torch.cat(found).double().numpy()

    def _added(self, pairs: Sequence[Pair]) -> Float[np.ndarray, " pair"]:
        """Additions, those at one layer as one arm."""
        n_layers = self.model.card.n_layers
        out = np.empty(len(pairs))
        for first in range(0, len(pairs), _ROWS_AT_ONCE):
            by_layer: dict[int, list[int]] = {}
            for at in range(first, min(first + _ROWS_AT_ONCE, len(pairs))):
                by_layer.setdefault(pairs[at].candidate % n_layers, []).append(at)
            arms = [
                self._addition([pairs[at] for at in rows], layer)
                for layer, rows in by_layer.items()
            ]
            self._note(sorted({p for arm in arms for p in arm.prompts}), self.harmless, n_layers)
            for layer, arm in zip(by_layer, arms, strict=True):
                self._note(arm.prompts, self.harmless, n_layers - layer)
            found = self._sweep(self.harmless, arms, self.score)
            for rows, values in zip(by_layer.values(), found, strict=True):
                out[rows] = values.double().numpy()
        return out

    def _addition(self, pairs: Sequence[Pair], layer: int) -> Arm:
        vectors = self._flat[[pair.candidate for pair in pairs]]
        edit = Edit(
            site=Site.RESID_PRE,
            layer=layer,
            hook=add_row_directions(vectors, torch.ones(len(pairs))),
            per_row=True,
        )
        return Arm(prompts=tuple(pair.prompt for pair in pairs), edits=(edit,))

    def _sweep(
        self, prompts: Sequence[Prompt], arms: Sequence[Arm], reduce: Reduce
    ) -> list[Float[Tensor, " row"]]:
        found = sweep(
            self.model,
            prompts,
            arms,
            reduce,
            token_budget=self.token_budget,
            resume=self.resume,
        )
        return [values[:, 0] for values in found]

    @cached_property
    def _log_probs(self) -> Float[Tensor, "harmless d_vocab"]:
        self._note(range(len(self.harmless)), self.harmless, self.model.card.n_layers)
        return map_last_logits(
            self.model, self.harmless, _log_softmax, token_budget=self.token_budget
        )

    def _note(self, rows: Sequence[int], prompts: Sequence[Prompt], n_blocks: int) -> None:
        self.spent.block_tokens += n_blocks * sum(len(prompts[row].ids) for row in rows)


def ablate_rows_everywhere(
    directions: Float[Tensor, "row d_model"], card: ModelCard
) -> tuple[Edit, ...]:
    """Edits that keep each row's residual stream free of its own direction.

    The same as `ablate_everywhere` up to rounding, with the fewest hooks: where what is added
    to the stream is cleaned, the stream need not be cleaned again.

    Raises:
        ValueError: If a direction has no finite, positive norm.
    """
    hook = ablate_row_directions(directions)
    return tuple(
        Edit(site=site, layer=layer, hook=hook, per_row=True)
        for site, layers in ablation_places(card, fewest=True)
        for layer in layers
    )


def kl_from(log_probs: Float[Tensor, "prompt d_vocab"]) -> ByCell:
    """KL(base ‖ edited) in nats, from the base's log-probabilities of each prompt, in float32."""

    def divergence(
        logits: Float[Tensor, "batch d_vocab"], cells: Sequence[Cell]
    ) -> Float[Tensor, "batch 1"]:
        base = log_probs[[cell.prompt for cell in cells]].to(logits.device)
        terms = base.exp() * (base - logits.log_softmax(dim=-1))
        # A token that the base never gives adds nothing; rounding can leave -1e-8.
        return torch.where(base > -torch.inf, terms, 0.0).sum(dim=-1, keepdim=True).clamp_min(0)

    return ByCell(reduce=divergence)


def _log_softmax(logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, "batch d_vocab"]:
    return logits.log_softmax(dim=-1)
