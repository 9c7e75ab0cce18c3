"""Candidate refusal directions: one for each token behind the instruction and each layer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lens_personas.activations import joint_hash, package_version, prompt_hash
from lens_personas.hooks import Site, TokenLayout
from lens_personas.models import (
    DEFAULT_TOKEN_BUDGET,
    LensModel,
    Prompt,
    model_batches,
    run_batch,
)
from lens_personas.vectors._types import SteeringVector, VectorProvenance


@dataclass(frozen=True, kw_only=True, eq=False)
class RefusalCandidates:
    """Directions from harmless to harmful requests, not normalised."""

    vectors: Float[Tensor, "pos layer d_model"]
    """Mean ``resid_pre`` on harmful less that on harmless requests, in float32; the last row of
    positions is the prompt's last token, and there is one layer for each block."""
    resid_norms: Float[Tensor, " layer"]
    """Mean residual norm over the prompts' positions at each layer, the first left out."""
    n_harmful: int
    """Harmful requests."""
    n_harmless: int
    """Harmless requests."""
    provenance: VectorProvenance
    """What they were fitted on; its ``span_rule`` is that of all positions."""

    def at(self, position: int, layer: int) -> SteeringVector:
        """The candidate of one position, -1 for the last token, and layer.

        Raises:
            ValueError: If there is none.
        """
        n_pos, n_layers, _ = self.vectors.shape
        if not (-n_pos <= position < 0 <= layer < n_layers):
            raise ValueError(
                f"expected a position from {-n_pos} to -1 and a layer from 0 to {n_layers - 1}, "
                f"got {position} and {layer}"
            )
        rule = f"{self.provenance.span_rule}:{position}"
        return SteeringVector(
            name="refusal",
            vectors=self.vectors[position, layer][None],
            layers=(layer,),
            site=Site.RESID_PRE,
            from_label="harmless requests",
            to_label="harmful requests",
            method="difference_of_means",
            n_from=self.n_harmless,
            n_to=self.n_harmful,
            resid_norms=self.resid_norms[layer][None],
            normalised=False,
            provenance=replace(self.provenance, span_rule=rule),
        )


def refusal_candidates(
    model: LensModel,
    harmful: Sequence[Prompt],
    harmless: Sequence[Prompt],
    *,
    n_positions: int | None = None,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> RefusalCandidates:
    """All candidates of https://arxiv.org/abs/2406.11717 (section 2.3), in one pass a prompt.

    Read at the last tokens of the prompts, those that the chat template puts behind the
    instruction, at the ``resid_pre`` of every block; summed in float64.

    Args:
        model: The model.
        harmful: Rendered requests that it refuses.
        harmless: Rendered requests that it answers.
        n_positions: Number of positions; None for as many as follow every prompt's
            instruction, and for the last token alone where nothing follows.
        token_budget: Most tokens in a batch.

    Raises:
        ValueError: If a side is empty, or a prompt is shorter than the positions asked for.
    """
    if not harmful or not harmless:
        raise ValueError(
            f"expected requests on both sides, got {len(harmful)} harmful and "
            f"{len(harmless)} harmless"
        )
    prompts = [*harmful, *harmless]
    behind = min(_length(prompt, "post_instruction") for prompt in prompts)
    n_pos = max(behind, 1) if n_positions is None else n_positions
    shortest = min(prompt.prompt_length for prompt in prompts)
    if not 1 <= n_pos <= shortest:
        raise ValueError(
            f"expected 1 to {shortest} positions, the length of the shortest prompt, got {n_pos}"
        )
    sums = [_read(model, side, n_pos, token_budget) for side in (harmful, harmless)]
    vectors = sums[0].values / len(harmful) - sums[1].values / len(harmless)
    span = "post_instruction" if n_pos <= behind else "prompt"
    return RefusalCandidates(
        vectors=vectors.float(),
        resid_norms=((sums[0].norms + sums[1].norms) / _n_measured(prompts)).float(),
        n_harmful=len(harmful),
        n_harmless=len(harmless),
        provenance=_provenance(model, harmful, harmless, span),
    )


class _Sums:
    """Sums over prompts of what is read of each layer, in float64."""

    def __init__(self, n_pos: int, n_layers: int, d_model: int) -> None:
        self.values: Float64[Tensor, "pos layer d_model"] = torch.zeros(
            n_pos, n_layers, d_model, dtype=torch.float64
        )
        self.norms: Float64[Tensor, " layer"] = torch.zeros(n_layers, dtype=torch.float64)

    def take(
        self,
        place: tuple[Site, int],
        activation: Float[Tensor, "batch pos d_model"],
        layout: TokenLayout,
    ) -> Tensor:
        n_pos, layer = len(self.values), place[1]
        rows = torch.arange(len(activation), device=activation.device)
        for at in range(n_pos):
            wanted = layout.prompt_length - n_pos + at
            columns = (layout.positions == wanted[:, None]).int().argmax(dim=1)
            self.values[at, layer] += activation[rows, columns].cpu().double().sum(dim=0)
        inside = (layout.positions >= 1) & (layout.positions < layout.prompt_length[:, None])
        precise = torch.promote_types(activation.dtype, torch.float32)
        norms = torch.linalg.vector_norm(activation, dim=-1, dtype=precise)
        self.norms[layer] += torch.where(inside, norms, 0.0).sum(dim=1).cpu().double().sum()
        return rows


def _read(model: LensModel, prompts: Sequence[Prompt], n_pos: int, token_budget: int) -> _Sums:
    card = model.card
    sums = _Sums(n_pos, card.n_layers, card.d_model)
    places = [(Site.RESID_PRE, layer) for layer in range(card.n_layers)]
    for batch in model_batches(model, prompts, token_budget, share=True):
        run_batch(model, batch, reads=places, last_layer=card.n_layers - 1, take=sums.take)
    return sums


def _n_measured(prompts: Sequence[Prompt]) -> int:
    return max(1, sum(prompt.prompt_length - 1 for prompt in prompts))


def _length(prompt: Prompt, span: str) -> int:
    start, stop = prompt.spans.get(span, (0, 0))
    return stop - start


def _provenance(
    model: LensModel, harmful: Sequence[Prompt], harmless: Sequence[Prompt], span: str
) -> VectorProvenance:
    card = model.card
    hashes = [joint_hash(prompt_hash(p) for p in side) for side in (harmful, harmless)]
    return VectorProvenance(
        model_id=card.model_id,
        revision=card.revision,
        fingerprint=card.fingerprint,
        n_layers=card.n_layers,
        tokenizer_hash=card.tokenizer_hash,
        chat_template_hash=card.chat_template_hash,
        transformer_lens_version=card.transformer_lens_version,
        backend=card.backend,
        weight_processing=card.weight_processing,
        dtype=card.dtype,
        span_rule=span,
        seed=None,
        data_hash=joint_hash(hashes),
        package_version=package_version(),
    )
