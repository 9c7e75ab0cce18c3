"""Answers written token by token with a key-value cache, edits in force throughout."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.hooks import Edit, TokenLayout, compile_edits
from lens_personas.models._run import DEFAULT_TOKEN_BUDGET, check_places, model_batches
from lens_personas.models._types import LensModel, Prompt, TokenBatch


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One answer."""

    prompt_id: str
    """Identifier of the prompt."""
    ids: tuple[int, ...]
    """New token ids, without the stop token."""
    text: str
    """The new text, without special tokens."""
    finished: bool
    """Whether a stop token came before the limit."""


def generate(
    model: LensModel,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int,
    edits: Sequence[Edit] = (),
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    use_cache: bool = True,
    exit_layer: int | None = None,
) -> tuple[Generation, ...]:
    """Answers to all prompts, in their order; greedy at temperature 0.

    Edits see absolute positions, so a scope means the same with and without the
    cache: ``last_prompt`` touches the prefill alone, ``generated`` one position a step
    from the last prompt token on. Sampling draws one number a prompt and step up front,
    so its answers do not hang on the batching, and arms that share a generator's seed
    share the draws.

    With ``exit_layer`` every new token is read off that layer by final norm and unembedding
    (early exit, or early decoding of all tokens); the blocks above it do not run.

    Args:
        model: The model.
        prompts: Rendered prompts; a teacher-forced answer in one is continued.
        max_new_tokens: Most new tokens an answer may have.
        edits: In force at every position of their scope.
        temperature: 0 for greedy, else what logits are divided by before sampling.
        generator: Source of the draws; needed for sampling.
        token_budget: Tokens in a batch, padding included.
        use_cache: Whether keys and values are kept; without, every step runs the whole text.
        exit_layer: Block after which tokens are read, counted from 0; None for the last one.

    Raises:
        ValueError: If the limit is not positive, a prompt and its answer do not fit the
            context, the temperature is negative or not finite, sampling has no
            generator, there is no such block, or an edit does not fit the model or lies above
            the block where tokens are read.
    """
    _check_options(max_new_tokens, temperature, generator)
    longest = max((len(prompt.ids) for prompt in prompts), default=0)
    if longest + max_new_tokens > model.card.n_ctx:
        raise ValueError(
            f"expected prompt and answer to fit {model.card.n_ctx} tokens, got {longest} + "
            f"{max_new_tokens}; shorten the prompts or lower max_new_tokens"
        )
    check_places(model, [(edit.site, edit.layer) for edit in edits], edited=True)
    last_layer = _last_layer(model, edits, exit_layer)
    draws = None
    if generator is not None and temperature > 0:
        size = (max_new_tokens, len(prompts))
        draws = torch.rand(size, generator=generator, device=generator.device)
    way = _Way(
        max_new_tokens=max_new_tokens,
        choose=_Chooser(temperature=temperature, draws=draws),
        use_cache=use_cache,
        last_layer=last_layer,
    )
    out: list[Generation | None] = [None] * len(prompts)
    for batch in model_batches(model, prompts, token_budget, whole=True):
        new_ids = _continue(model, batch, edits, way)
        for row, ids in zip(batch.rows, new_ids.tolist(), strict=True):
            out[row] = _generation(model, prompts[row].prompt_id, ids)
    return tuple(answer for answer in out if answer is not None)


def _check_options(
    max_new_tokens: int, temperature: float, generator: torch.Generator | None
) -> None:
    if max_new_tokens < 1:
        raise ValueError(f"expected max_new_tokens of at least 1, got {max_new_tokens}")
    if not (math.isfinite(temperature) and temperature >= 0):
        raise ValueError(
            f"expected a finite temperature of at least 0, got {temperature}; 0 is greedy"
        )
    if temperature > 0 and generator is None:
        raise ValueError("expected a generator for sampling (temperature > 0), got None")


def _last_layer(model: LensModel, edits: Sequence[Edit], exit_layer: int | None) -> int:
    """Block after which tokens are read."""
    n_layers = model.card.n_layers
    last = n_layers - 1 if exit_layer is None else exit_layer
    if not 0 <= last < n_layers:
        raise ValueError(
            f"expected an exit_layer from 0 to {n_layers - 1}, got {last}: "
            f"{model.card.model_id} has {n_layers} layers"
        )
    above = sorted({edit.layer for edit in edits if edit.layer > last})
    if above:
        raise ValueError(
            f"expected edits at layers up to {last}, after which tokens are read, got some at "
            f"{above}, which do not run; leave them out or read at a later layer"
        )
    return last


@dataclass(frozen=True, kw_only=True)
class _Chooser:
    temperature: float
    draws: Float[Tensor, "step prompt"] | None

    def __call__(
        self, logits: Float[Tensor, "batch d_vocab"], rows: Sequence[int], step: int
    ) -> Int[Tensor, " batch"]:
        if self.draws is None:
            return logits.argmax(dim=-1)
        drawn = self.draws[step, list(rows)].to(logits.device)
        return inverse_sample((logits.float() / self.temperature).softmax(dim=-1), drawn)


def inverse_sample(
    probs: Float[Tensor, "batch d_vocab"], drawn: Float[Tensor, " batch"]
) -> Int[Tensor, " batch"]:
    """The token in whose share of [0, 1) each draw falls; never one of probability 0."""
    cumulative = probs.cumsum(dim=-1)
    # Rounding leaves the last sum a little off 1: scale the draw by it, and stay below it.
    total = cumulative[:, -1]
    wanted = torch.minimum(drawn * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulative, wanted[:, None], right=True)[:, 0]


@dataclass(frozen=True, kw_only=True)
class _Way:
    """How tokens are added to a batch."""

    max_new_tokens: int
    choose: _Chooser
    use_cache: bool
    last_layer: int


@torch.no_grad()
def _continue(
    model: LensModel, batch: TokenBatch, edits: Sequence[Edit], way: _Way
) -> Int[Tensor, "batch new"]:
    stop = torch.tensor(model.stop_ids, dtype=torch.long, device=model.device)
    cache = model.new_cache(len(batch.rows)) if way.use_cache else None
    tokens, layout = batch.tokens, batch.layout
    # Rows of the batch that are not done: the others have left it.
    going = torch.arange(len(batch.rows), device=model.device)
    new = tokens.new_full((len(going), way.max_new_tokens), model.stop_ids[0] if len(stop) else 0)
    start = 0
    for step in range(way.max_new_tokens):
        rows = [batch.rows[at] for at in going.tolist()]
        window = layout.window(start, tokens.shape[1])
        resid = model.run(
            tokens[:, start:],
            layout.positions,
            hooks=compile_edits(edits, window, rows),
            cache=cache,
            last_layer=way.last_layer,
        )
        chosen = way.choose(model.logits(resid[:, -1]), rows, step)
        new[going, step] = chosen
        start = tokens.shape[1] if way.use_cache else 0
        tokens, layout = torch.cat([tokens, chosen[:, None]], dim=1), _longer(layout)
        kept = (~torch.isin(chosen, stop)).nonzero()[:, 0]
        if len(kept) == 0:
            break
        if len(kept) < len(going):
            going, tokens, layout = going[kept], tokens[kept], layout.select(kept)
            if cache is not None:
                cache.keep_rows(kept)
    return new[:, : step + 1]


def _longer(layout: TokenLayout) -> TokenLayout:
    following = layout.positions[:, -1:] + 1
    return TokenLayout(
        positions=torch.cat([layout.positions, following], dim=1),
        prompt_length=layout.prompt_length,
        spans=layout.spans,
    )


def _generation(model: LensModel, prompt_id: str, ids: list[int]) -> Generation:
    stops = [at for at, token in enumerate(ids) if token in model.stop_ids]
    kept = ids[: stops[0]] if stops else ids
    text = str(model.tokenizer.decode(kept, skip_special_tokens=True))
    return Generation(prompt_id=prompt_id, ids=tuple(kept), text=text, finished=bool(stops))
