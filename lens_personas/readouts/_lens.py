"""Logit lens: what the model would say if it stopped after a layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens_personas.hooks import Edit
from lens_personas.models import DEFAULT_TOKEN_BUDGET, LensModel, Prompt
from lens_personas.readouts._decode import Reads, decode_reads

LensPosition = Literal["last", "last_prompt"] | int
"""Where the lens reads: the last token, the last one before the answer, or a position counted
from 0 at the first token or from -1 backwards at the last prompt token."""


@dataclass(frozen=True, kw_only=True)
class LensResult:
    """Lens of asked tokens, by layer."""

    layers: tuple[int, ...]
    """Layers read, at ``resid_post``, counted from 0."""
    prompt_ids: tuple[str, ...]
    """Prompts, in the order of the tensors."""
    positions: tuple[int, ...]
    """Position read in each prompt, counted from 0."""
    token_ids: Int[Tensor, "prompt token"]
    """Tokens asked for."""
    log_prob: Float[Tensor, "layer prompt token"]
    """Log-probability in nats."""
    rank: Int[Tensor, "layer prompt token"]
    """Tokens before it: 0 is the top; of equal logits the lower id comes first."""
    entropy: Float[Tensor, "layer prompt"] | None
    """Entropy of the whole distribution in nats, 0 or more; None unless asked for."""
    kl_to_final: Float[Tensor, "layer prompt"] | None
    """KL(last layer ‖ this layer) in nats, 0 or more; None unless asked for."""
    is_exact: bool
    """Whether the last layer's lens is the model's own output."""

    @property
    def top1(self) -> Bool[Tensor, "layer prompt token"]:
        """Whether the token is the most likely one."""
        return self.rank == 0


@dataclass(frozen=True, kw_only=True)
class AnswerLens:
    """Lens of whole teacher-forced answers, by layer."""

    layers: tuple[int, ...]
    """Layers read, at ``resid_post``, counted from 0."""
    prompt_ids: tuple[str, ...]
    """Prompts, in the order of the tensors."""
    n_tokens: Int[Tensor, " prompt"]
    """Length of each answer."""
    log_prob: Float[Tensor, "layer prompt"]
    """Log-probability of the whole answer in nats: the sum over its tokens."""
    all_top1: Bool[Tensor, "layer prompt"]
    """Whether every answer token is the most likely one: greedy decoding would write it."""
    is_exact: bool
    """Whether the last layer's lens is the model's own output."""


def logit_lens(
    model: LensModel,
    prompts: Sequence[Prompt],
    *,
    token_ids: Int[Tensor, "prompt token"],
    at: LensPosition = "last",
    layers: Sequence[int] | None = None,
    edits: Sequence[Edit] = (),
    shapes: bool = False,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> LensResult:
    """Log-probability and rank of each prompt's asked tokens after each layer.

    The residual goes through the final norm and the unembedding as it is
    (https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru). Only a few rows' logits exist at a
    time, so memory depends neither on the vocabulary times the layers nor on the prompts'
    lengths. Read by hooks: the last layer is before the final norm, unlike the last of
    Hugging Face's ``hidden_states``.

    Args:
        model: The model.
        prompts: What the model reads.
        token_ids: Tokens to look up, as many for each prompt.
        at: Position in each prompt.
        layers: Layers counted from 0; None for all.
        edits: In force throughout; each layer is read after the edits there.
        shapes: Whether to give entropy and KL to the last layer too.
        token_budget: Tokens in a batch, padding included.

    Raises:
        ValueError: If there is no prompt, the tokens are not one row a prompt or not in the
            vocabulary, a position or layer does not exist, or an edit does not fit.
    """
    if not prompts or len(token_ids) != len(prompts):
        raise ValueError(
            f"expected one row of tokens for each of at least one prompt, got {len(token_ids)} "
            f"rows for {len(prompts)} prompts"
        )
    chosen = _layers(model, layers)
    positions = tuple(_position(prompt, at) for prompt in prompts)
    reads = Reads(
        prompt=torch.arange(len(prompts)),
        position=torch.tensor(positions, dtype=torch.long),
        token_ids=token_ids.cpu().long(),
    )
    decoded = decode_reads(
        model, prompts, reads, layers=chosen, edits=edits, shapes=shapes, token_budget=token_budget
    )
    return LensResult(
        layers=chosen,
        prompt_ids=tuple(prompt.prompt_id for prompt in prompts),
        positions=positions,
        token_ids=reads.token_ids,
        log_prob=decoded.log_prob,
        rank=decoded.rank,
        entropy=decoded.entropy if shapes else None,
        kl_to_final=decoded.kl_to_final if shapes else None,
        is_exact=model.card.lens_is_exact,
    )


def answer_lens(
    model: LensModel,
    prompts: Sequence[Prompt],
    *,
    layers: Sequence[int] | None = None,
    edits: Sequence[Edit] = (),
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> AnswerLens:
    """Log-probability of each prompt's whole teacher-forced answer after each layer.

    A latent answer shows as a high value at middle layers and a low one at the last.

    Raises:
        ValueError: If there is no prompt, one was rendered without an answer, a layer does
            not exist, or an edit does not fit the model.
    """
    reads = _answer_reads(prompts)
    chosen = _layers(model, layers)
    decoded = decode_reads(
        model, prompts, reads, layers=chosen, edits=edits, shapes=False, token_budget=token_budget
    )
    n_tokens = reads.prompt.bincount(minlength=len(prompts))
    log_prob = torch.zeros(len(chosen), len(prompts))
    top1 = torch.zeros(len(chosen), len(prompts), dtype=torch.long)
    log_prob.index_add_(1, reads.prompt, decoded.log_prob[:, :, 0])
    top1.index_add_(1, reads.prompt, (decoded.rank[:, :, 0] == 0).long())
    return AnswerLens(
        layers=chosen,
        prompt_ids=tuple(prompt.prompt_id for prompt in prompts),
        n_tokens=n_tokens,
        log_prob=log_prob,
        all_top1=top1 == n_tokens,
        is_exact=model.card.lens_is_exact,
    )


def _answer_reads(prompts: Sequence[Prompt]) -> Reads:
    if not prompts:
        raise ValueError("expected at least one prompt with an answer, got none")
    found: list[tuple[int, int, int]] = []
    for row, prompt in enumerate(prompts):
        answer = prompt.ids[prompt.prompt_length :]
        if not answer:
            raise ValueError(
                f"expected prompt {prompt.prompt_id!r} to carry an answer, it has none; "
                "render it with answer=..."
            )
        # A token is predicted one position before its own.
        found += [(row, prompt.prompt_length - 1 + i, token) for i, token in enumerate(answer)]
    prompt_row, position, token_id = torch.tensor(found, dtype=torch.long).unbind(dim=1)
    return Reads(prompt=prompt_row, position=position, token_ids=token_id[:, None])


def _layers(model: LensModel, layers: Sequence[int] | None) -> tuple[int, ...]:
    chosen = tuple(range(model.card.n_layers)) if layers is None else tuple(layers)
    if not chosen:
        raise ValueError("expected at least one layer, got none; give layers=None for all")
    return chosen


def _position(prompt: Prompt, at: LensPosition) -> int:
    if at == "last":
        return len(prompt.ids) - 1
    offset = -1 if at == "last_prompt" else at
    position = offset if offset >= 0 else prompt.prompt_length + offset
    if not 0 <= position < len(prompt.ids):
        raise ValueError(
            f"expected a position inside prompt {prompt.prompt_id!r} ({len(prompt.ids)} tokens, "
            f"{prompt.prompt_length} before the answer), got {at!r}"
        )
    return position
