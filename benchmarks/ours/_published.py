"""The direction search as it is published: andyrdt/refusal_direction, with module hooks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from benchmarks._serve import Arrays
from benchmarks.ours._models import left_padded

_BATCH = 32


class Published:
    """Three sweeps over the prompts for each candidate, (position, layer).

    Every sweep asks for the logits of the whole vocabulary at all positions and casts them to
    float64 before it looks at the last. Its formulas add 1e-8 and 1e-6 inside the logarithms;
    these do not.
    """

    def __init__(self, model: Any, device: str) -> None:
        self.model, self.device = model, device

    def search(
        self,
        candidates: Float[Tensor, "pos layer d_model"],
        harmful: Sequence[Sequence[int]],
        harmless: Sequence[Sequence[int]],
        *,
        refusal: Int[Tensor, " token"],
        threshold: float,
    ) -> Arrays:
        """Scores of all candidates, less ``threshold``."""
        base = self.last_logits(harmless)
        shape = candidates.shape[:2]
        bypass, induce, kl = (torch.empty(shape, dtype=torch.float64) for _ in range(3))
        for at in torch.cartesian_prod(*(torch.arange(n) for n in shape)).tolist():
            row, layer = at
            direction = candidates[row, layer]
            with self.ablating(direction):
                kl[row, layer] = _divergence(base, self.last_logits(harmless)).mean()
            with self.ablating(direction):
                logits = self.last_logits(harmful)
                bypass[row, layer] = log_odds(logits, refusal).mean() - threshold
            with self.adding(direction, layer):
                logits = self.last_logits(harmless)
                induce[row, layer] = log_odds(logits, refusal).mean() - threshold
        return {"bypass": bypass.numpy(), "induce": induce.numpy(), "kl": kl.numpy()}

    def means(
        self, prompts: Sequence[Sequence[int]], n_pos: int
    ) -> Float64[Tensor, "pos layer d_model"]:
        """Mean ``resid_pre`` at the last positions of every layer."""
        blocks = self.model.model.layers
        size = (n_pos, len(blocks), self.model.config.hidden_size)
        total = torch.zeros(size, dtype=torch.float64, device=self.device)

        def reader(layer: int) -> Any:
            def read(_module: Any, inputs: tuple[Tensor, ...]) -> None:
                total[:, layer] += inputs[0][:, -n_pos:].double().sum(0)

            return read

        handles = [b.register_forward_pre_hook(reader(at)) for at, b in enumerate(blocks)]
        try:
            self.last_logits(prompts)
        finally:
            for handle in handles:
                handle.remove()
        return total / len(prompts)

    def last_logits(self, prompts: Sequence[Sequence[int]]) -> Float64[Tensor, "prompt d_vocab"]:
        """One sweep."""
        rows = []
        for start in range(0, len(prompts), _BATCH):
            tokens, mask = left_padded(prompts[start : start + _BATCH], self.device)
            logits = self.model(tokens, attention_mask=mask, use_cache=False).logits
            rows.append(logits.double()[:, -1])
        return torch.cat(rows)

    @contextmanager
    def ablating(self, direction: Float[Tensor, " d_model"]) -> Iterator[None]:
        """The direction taken out of every block's input, attention output and MLP output."""
        unit = direction / direction.norm()

        def cleaned(activation: Tensor) -> Tensor:
            along: Tensor = (activation @ unit)[..., None] * unit
            return activation - along

        def before(_module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            return (cleaned(inputs[0]), *inputs[1:])

        def after(_module: Any, _inputs: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (cleaned(output[0]), *output[1:])
            return cleaned(output)

        handles = []
        try:
            for block in self.model.model.layers:
                handles.append(block.register_forward_pre_hook(before))
                handles.append(block.self_attn.register_forward_hook(after))
                handles.append(block.mlp.register_forward_hook(after))
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def adding(self, direction: Float[Tensor, " d_model"], layer: int) -> Iterator[None]:
        """The direction added to one block's input at every position."""

        def before(_module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            return (inputs[0] + direction, *inputs[1:])

        handle = self.model.model.layers[layer].register_forward_pre_hook(before)
        try:
            yield
        finally:
            handle.remove()


def log_odds(
    logits: Float64[Tensor, "prompt d_vocab"], refusal: Int[Tensor, " token"]
) -> Float64[Tensor, " prompt"]:
    """Refusal score: log-odds that the next token is one of the refusal tokens."""
    refusing = logits.softmax(dim=-1)[:, refusal].sum(dim=-1)
    return refusing.log() - (1 - refusing).log()


def _divergence(
    base: Float64[Tensor, "prompt d_vocab"], other: Float64[Tensor, "prompt d_vocab"]
) -> Float64[Tensor, " prompt"]:
    a, b = base.log_softmax(dim=-1), other.log_softmax(dim=-1)
    return (a.exp() * (a - b)).sum(dim=-1)
