"""How far two voices part in what they say next: a Monte-Carlo KL over continuations."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.hooks import Edit, compile_edits
from lens_personas.models import LensModel, Prompt, check_places, inverse_sample, pad
from lens_personas.readouts._divergence import last_position_kl

DEFAULT_SAMPLE_BUDGET = 16_384
"""Tokens held at a time, those of every sampled continuation and its prompt counted."""


@dataclass(frozen=True, kw_only=True)
class Voice:
    """A model that goes on from prompts, perhaps under edits."""

    model: LensModel
    """The model."""
    prompts: Sequence[Prompt]
    """What it goes on from; a teacher-forced answer in one is continued."""
    edits: Sequence[Edit] = ()
    """In force at every position of their scope."""


@dataclass(frozen=True, kw_only=True)
class SentenceKL:
    """Continuations by one voice, and how much likelier each is in it than in another."""

    log_ratio: Float[Tensor, "prompt sample"]
    """Log-probability of the continuation by its own voice less that by the other, nats."""
    first: Float[Tensor, "prompt sample"]
    """The first token's part of it."""
    by_token: Float[Tensor, "prompt sample"]
    """Sum of the exact next-token KL at every token on the way, nats, 0 or more: the same
    expectation as ``log_ratio`` with less noise."""
    first_exact: Float[Tensor, " prompt"]
    """KL of the first token from both whole distributions, nats: what the mean of ``first``
    comes to with ever more samples."""
    ids: Int[Tensor, "prompt sample token"]
    """Token ids of the continuations; -1 after a stop token."""

    @property
    def kl(self) -> Float[Tensor, " prompt"]:
        """KL(voice ‖ other) of a continuation: the mean log-ratio, nats."""
        return self.log_ratio.mean(dim=1)

    @property
    def standard_error(self) -> Float[Tensor, " prompt"]:
        """Monte-Carlo standard error of ``kl``; NaN with one sample."""
        n_samples = self.log_ratio.shape[1]
        if n_samples < 2:
            return torch.full_like(self.first_exact, torch.nan)
        error: Tensor = self.log_ratio.std(dim=1) / n_samples**0.5
        return error


def sentence_kl(
    voice: Voice,
    other: Voice,
    *,
    generator: torch.Generator,
    n_samples: int = 64,
    n_tokens: int = 8,
    token_budget: int = DEFAULT_SAMPLE_BUDGET,
) -> SentenceKL:
    """KL(voice ‖ other) of the next ``n_tokens`` tokens after each prompt, by sampling.

    The estimator of Wolf et al. (https://arxiv.org/abs/2304.11082), with the first token kept,
    where it is decided how an answer goes. Prompt ``i`` of both voices is one comparison; the
    prompts may differ. A continuation ends after a stop token; which one is not told apart. Both
    models run side by side from one prefill a prompt. Draws are made up front: they do not hang
    on the batching, and calls that share a generator's seed share them.

    Args:
        voice: P−, which is sampled at temperature 1.
        other: P+, which has to have the same vocabulary.
        generator: Source of the draws.
        n_samples: Continuations a prompt.
        n_tokens: Most tokens of a continuation.
        token_budget: Tokens held at a time, copies of a prompt counted.

    Raises:
        ValueError: If there is no prompt, the voices differ in the number of prompts or in their
            vocabulary, a count is not positive, a prompt with its continuation does not fit the
            context, or an edit does not fit its model.
    """
    _check(voice, other, n_samples, n_tokens)
    n_prompts = len(voice.prompts)
    draws = torch.rand(
        (n_tokens, n_prompts, n_samples), generator=generator, device=generator.device
    )
    parts: list[tuple[list[int], SentenceKL]] = []
    for rows in _chunks(voice, other, token_budget, n_samples, n_tokens):
        parts.append((rows, _together(voice, other, rows, draws[:, rows])))
    order = torch.tensor([row for rows, _ in parts for row in rows]).argsort()
    return SentenceKL(
        **{
            name: torch.cat([getattr(part, name) for _, part in parts])[order]
            for name in ("log_ratio", "first", "by_token", "first_exact", "ids")
        }
    )


def _check(voice: Voice, other: Voice, n_samples: int, n_tokens: int) -> None:
    if not voice.prompts or len(voice.prompts) != len(other.prompts):
        raise ValueError(
            f"expected one or more prompts, as many of one voice as of the other, got "
            f"{len(voice.prompts)} and {len(other.prompts)}"
        )
    if voice.model.card.tokenizer_hash != other.model.card.tokenizer_hash:
        raise ValueError(
            f"expected two models of one vocabulary, got {voice.model.card.model_id} and "
            f"{other.model.card.model_id}, whose tokenizers differ"
        )
    if min(n_samples, n_tokens) < 1:
        raise ValueError(
            f"expected at least 1 sample of at least 1 token, got n_samples={n_samples}, "
            f"n_tokens={n_tokens}"
        )
    for each in (voice, other):
        longest = max(len(prompt.ids) for prompt in each.prompts)
        if longest + n_tokens > each.model.card.n_ctx:
            raise ValueError(
                f"expected prompt and continuation to fit {each.model.card.n_ctx} tokens, got "
                f"{longest} + {n_tokens}; use fewer sentences or a smaller n_tokens"
            )
        places = [(edit.site, edit.layer) for edit in each.edits]
        check_places(each.model, places, edited=True)


def _chunks(
    voice: Voice, other: Voice, token_budget: int, n_samples: int, n_tokens: int
) -> list[list[int]]:
    """Prompts of like length that fit the budget with all their copies; one at least."""
    longer = [
        max(len(a.ids), len(b.ids)) for a, b in zip(voice.prompts, other.prompts, strict=True)
    ]
    found: list[list[int]] = []
    for row in sorted(range(len(longer)), key=longer.__getitem__):
        cost = n_samples * (longer[row] + n_tokens)
        if found and (len(found[-1]) + 1) * cost <= token_budget:
            found[-1].append(row)
        else:
            found.append([row])
    return found


@torch.no_grad()
def _together(
    voice: Voice, other: Voice, rows: list[int], draws: Float[Tensor, "token row sample"]
) -> SentenceKL:
    """Both voices over the same sampled tokens; samples that are alike so far run as one."""
    n_tokens, n_rows, n_samples = draws.shape
    speakers = (_Speaker(voice, rows), _Speaker(other, rows))
    log_p, log_q = _next(speakers)
    device, d_vocab = log_p.device, log_p.shape[1]
    stops = torch.tensor(voice.model.stop_ids, dtype=torch.long, device=device)
    first_exact = kl = last_position_kl(log_p, log_q)
    # Samples that have not ended, and the row of the models that each is at.
    going = torch.arange(n_rows * n_samples, device=device)
    at = going // n_samples
    ids = torch.full((len(going), n_tokens), -1, device=device)
    ratio, by_token = torch.zeros(2, len(going), n_tokens, device=device)
    for step in range(n_tokens):
        drawn = draws[step].flatten().to(device)[going]
        chosen = inverse_sample(log_p.exp()[at], drawn)
        ids[going, step], by_token[going, step] = chosen, kl[at]
        ratio[going, step] = (log_p - log_q)[at, chosen]
        more = ~torch.isin(chosen, stops)
        going, at, chosen = going[more], at[more], chosen[more]
        if step + 1 == n_tokens or not len(going):
            break
        told, at = torch.unique(at * d_vocab + chosen, return_inverse=True)
        for speaker in speakers:
            speaker.say(told % d_vocab, after=told // d_vocab)
        log_p, log_q = _next(speakers)
        kl = last_position_kl(log_p, log_q)
    shape = (n_rows, n_samples)
    return SentenceKL(
        log_ratio=ratio.sum(dim=1).reshape(shape).cpu(),
        first=ratio[:, 0].reshape(shape).cpu(),
        by_token=by_token.sum(dim=1).reshape(shape).cpu(),
        first_exact=first_exact.cpu(),
        ids=ids.reshape(*shape, n_tokens).cpu(),
    )


def _next(
    speakers: tuple["_Speaker", "_Speaker"],
) -> tuple[Float[Tensor, "row d_vocab"], Float[Tensor, "row d_vocab"]]:
    ours, theirs = (speaker.log_probs() for speaker in speakers)
    return ours, theirs.to(ours.device)


class _Speaker:
    """One voice on the way: what it has seen, in a cache."""

    def __init__(self, voice: Voice, rows: Sequence[int]) -> None:
        self._model, self._edits = voice.model, voice.edits
        # Padding is masked, so its token has no effect.
        batch = pad(voice.prompts, rows, pad_id=0, device=voice.model.device)
        self._new, self._layout = batch.tokens, batch.layout
        self._rows = torch.tensor(rows, device=voice.model.device)
        self._cache: Any = voice.model.new_cache(len(rows))

    def log_probs(self) -> Float[Tensor, "row d_vocab"]:
        """Of the next token; the stop tokens' together, at the first of them."""
        total = self._layout.positions.shape[1]
        window = self._layout.window(total - self._new.shape[1], total)
        resid = self._model.run(
            self._new,
            self._layout.positions,
            hooks=compile_edits(self._edits, window, self._rows.tolist()),
            cache=self._cache,
            last_layer=self._model.card.n_layers - 1,
        )
        logits = self._model.logits(resid[:, -1])
        return stops_together(logits.float().log_softmax(dim=-1), self._model.stop_ids)

    def say(self, chosen: Int[Tensor, " kept"], *, after: Int[Tensor, " kept"]) -> None:
        """Take one more token in each of the rows ``after``, of which one may stand repeatedly."""
        after = after.to(self._rows.device)
        if not torch.equal(after, torch.arange(len(self._rows), device=after.device)):
            self._rows, self._layout = self._rows[after], self._layout.select(after)
            self._cache.keep_rows(after)
        self._new = chosen.to(self._rows.device)[:, None]
        positions = self._layout.positions
        longer = torch.cat([positions, positions[:, -1:] + 1], dim=1)
        self._layout = replace(self._layout, positions=longer)


def stops_together(
    log_probs: Float[Tensor, "row d_vocab"], stop_ids: Sequence[int]
) -> Float[Tensor, "row d_vocab"]:
    """The same distribution with all stop tokens as one, at the first of them.

    >>> import torch
    >>> stops_together(torch.tensor([[0.25, 0.25, 0.5]]).log(), (0, 1)).exp()
    tensor([[0.5000, 0.0000, 0.5000]])
    """
    if len(stop_ids) < 2:
        return log_probs
    index = torch.tensor(stop_ids, device=log_probs.device)
    pooled = log_probs[:, index].logsumexp(dim=1)
    out = log_probs.index_fill(1, index, -torch.inf)
    out[:, index[0]] = pooled
    return out
