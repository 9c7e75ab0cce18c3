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
from lens_personas.readouts._tuned_lens_types import TunedLens
from lens_personas.readouts._vocabulary import Shapes

LensPosition = Literal["last", "last_prompt"] | int
"""Where the lens reads: the last token, the last one before the answer, or a position counted
from 0 at the first token or from -1 backwards at the last prompt token."""

LensPositions = LensPosition | Sequence[LensPosition] | Literal["all"]
"""One position of each prompt, several, or all of its tokens, any answer included."""


@dataclass(frozen=True, kw_only=True)
class LensResult:
    """Lens by layer, one read a position that was asked for: prompt by prompt, in order."""

    layers: tuple[int, ...]
    """Layers read, at ``resid_post``, counted from 0."""
    prompt_ids: tuple[str, ...]
    """Prompt of each read; every prompt once where one position was asked for."""
    positions: tuple[int, ...]
    """Position of each read in its prompt, counted from 0."""
    token_ids: Int[Tensor, "read token"]
    """Tokens asked for."""
    log_prob: Float[Tensor, "layer read token"]
    """Log-probability in nats."""
    rank: Int[Tensor, "layer read token"]
    """Tokens before it: 0 is the top; of equal logits the lower id comes first."""
    top_ids: Int[Tensor, "layer read top"]
    """The ``top_k`` most likely tokens, the first one first; of equal logits the lower id."""
    top_log_prob: Float[Tensor, "layer read top"]
    """Their log-probabilities in nats."""
    entropy: Float[Tensor, "layer read"] | None
    """Entropy of the whole distribution in nats, 0 or more; None unless asked for."""
    kl_to_final: Float[Tensor, "layer read"] | None
    """KL(last layer ‖ this layer) in nats, 0 or more; None unless asked for."""
    is_exact: bool
    """Whether the last layer's lens is the model's own output."""

    @property
    def top1(self) -> Bool[Tensor, "layer read token"]:
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
    token_ids: Int[Tensor, "prompt token"] | None = None,
    at: LensPositions = "last",
    layers: Sequence[int] | None = None,
    top_k: int = 0,
    entropy: bool = False,
    kl_to_final: bool = False,
    edits: Sequence[Edit] = (),
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    vocab_chunk: int | None = None,
    tuned: TunedLens | None = None,
) -> LensResult:
    """What the model would say after each layer, at one position of each prompt or at several.

    The residual goes through the final norm and the unembedding as it is
    (https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru). The logits of a few rows for a piece
    of the vocabulary exist at a time, so memory is that of the residuals read. Sums are
    float64 whatever the model's dtype. Read by hooks: the last layer is before the final
    norm, unlike the last of Hugging Face's ``hidden_states``.

    Args:
        model: The model.
        prompts: What the model reads.
        token_ids: Tokens to look up at every position read, as many for each prompt.
        at: Position or positions in each prompt.
        layers: Layers counted from 0; None for all.
        top_k: Number of the most likely tokens to give.
        entropy: Whether to give the entropy.
        kl_to_final: Whether to give the divergence of the last layer from each.
        edits: In force throughout; each layer is read after the edits there.
        token_budget: Tokens in a batch, padding included.
        vocab_chunk: Tokens of the vocabulary looked at together; None for what suits the device.
        tuned: Translates each layer's residual first; None for the logit lens.

    Raises:
        MismatchError: If the tuned lens was trained on another model.
        ValueError: If there is no prompt, nothing is asked for, the tokens are not one row a
            prompt or not in the vocabulary, a position, layer or translator does not exist,
            a number is out of range, or an edit does not fit.
    """
    shapes = Shapes(top_k=top_k, entropy=entropy, kl_to_final=kl_to_final)
    token_ids = _tokens(prompts, token_ids, asks_shapes=bool(top_k or entropy or kl_to_final))
    _check_numbers(model, top_k, vocab_chunk)
    chosen = _layers(model, layers)
    reads = _reads(prompts, at, token_ids)
    decoded = decode_reads(
        model,
        prompts,
        reads,
        layers=chosen,
        edits=edits,
        shapes=shapes,
        token_budget=token_budget,
        vocab_chunk=vocab_chunk,
        tuned=tuned,
    )
    return LensResult(
        layers=chosen,
        prompt_ids=tuple(prompts[row].prompt_id for row in reads.prompt.tolist()),
        positions=tuple(reads.position.tolist()),
        token_ids=reads.token_ids,
        log_prob=decoded.log_prob,
        rank=decoded.rank,
        top_ids=decoded.top_ids,
        top_log_prob=decoded.top_log_prob,
        entropy=decoded.entropy,
        kl_to_final=decoded.kl_to_final,
        is_exact=model.card.lens_is_exact,
    )


def answer_lens(
    model: LensModel,
    prompts: Sequence[Prompt],
    *,
    layers: Sequence[int] | None = None,
    edits: Sequence[Edit] = (),
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    tuned: TunedLens | None = None,
) -> AnswerLens:
    """Log-probability of each prompt's whole teacher-forced answer after each layer.

    A latent answer shows as a high value at middle layers and a low one at the last. With
    ``tuned`` each layer's residual is translated first.

    Raises:
        MismatchError: If the tuned lens was trained on another model.
        ValueError: If there is no prompt, one was rendered without an answer, a layer does
            not exist or has no translator, or an edit does not fit the model.
    """
    reads = _answer_reads(prompts)
    chosen = _layers(model, layers)
    decoded = decode_reads(
        model,
        prompts,
        reads,
        layers=chosen,
        edits=edits,
        shapes=Shapes(),
        token_budget=token_budget,
        vocab_chunk=None,
        tuned=tuned,
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


def _tokens(
    prompts: Sequence[Prompt],
    token_ids: Int[Tensor, "prompt token"] | None,
    *,
    asks_shapes: bool,
) -> Int[Tensor, "prompt token"]:
    if token_ids is None:
        token_ids = torch.empty(len(prompts), 0, dtype=torch.long)
    if not prompts or len(token_ids) != len(prompts):
        raise ValueError(
            f"expected one row of tokens for each of at least one prompt, got {len(token_ids)} "
            f"rows for {len(prompts)} prompts"
        )
    if not token_ids.shape[1] and not asks_shapes:
        raise ValueError(
            "expected at least one token to look up, got none; give token_ids, top_k, entropy or "
            "kl_to_final"
        )
    return token_ids.cpu().long()


def _check_numbers(model: LensModel, top_k: int, vocab_chunk: int | None) -> None:
    if not 0 <= top_k <= model.card.d_vocab:
        raise ValueError(f"expected top_k from 0 to {model.card.d_vocab} tokens, got {top_k}")
    if vocab_chunk is not None and vocab_chunk < 1:
        raise ValueError(
            f"expected a vocab_chunk of at least 1 token, got {vocab_chunk}; None chooses one"
        )


def _reads(
    prompts: Sequence[Prompt], at: LensPositions, token_ids: Int[Tensor, "prompt token"]
) -> Reads:
    found = [(row, each) for row, p in enumerate(prompts) for each in _positions(p, at)]
    if not found:
        raise ValueError("expected at least one position, got none; give at='all' for all")
    prompt_row, position = torch.tensor(found, dtype=torch.long).unbind(dim=1)
    return Reads(prompt=prompt_row, position=position, token_ids=token_ids[prompt_row])


def _positions(prompt: Prompt, at: LensPositions) -> Sequence[int]:
    if isinstance(at, str | int):
        return range(len(prompt.ids)) if at == "all" else [position_of(prompt, at)]
    # Two names can mean one position.
    return list(dict.fromkeys(position_of(prompt, each) for each in at))


def _layers(model: LensModel, layers: Sequence[int] | None) -> tuple[int, ...]:
    chosen = tuple(range(model.card.n_layers)) if layers is None else tuple(layers)
    if not chosen:
        raise ValueError("expected at least one layer, got none; give layers=None for all")
    return chosen


def position_of(prompt: Prompt, at: LensPosition | Literal["all"]) -> int:
    """Position of one read, counted from 0.

    Raises:
        ValueError: If the prompt has no such position.
    """
    if at == "last":
        return len(prompt.ids) - 1
    offset = -1 if at == "last_prompt" else int(at)
    position = offset if offset >= 0 else prompt.prompt_length + offset
    if not 0 <= position < len(prompt.ids):
        raise ValueError(
            f"expected a position inside prompt {prompt.prompt_id!r} ({len(prompt.ids)} tokens, "
            f"{prompt.prompt_length} before the answer), got {at!r}"
        )
    return position
