"""A model's card, tiny models by backend and architecture, and two ways to get their logits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import torch

from lens_personas.hooks import Edit, compile_edits
from lens_personas.models import LensModel, ModelCard, Prompt, TokenBatch, load_model, pad, render
from lens_personas.personas import Message

TALKS = (
    ("you are kind", "what do people like to drink", "they like coffee and tea"),
    ("you are a teacher who can help", "tell me the truth about work", "work is good for you"),
    ("be honest", "why", "because it is right to know"),
)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def card() -> ModelCard:
    """Card of a model whose every site can be edited."""
    return ModelCard(
        model_id="tiny",
        revision=None,
        fingerprint="0",
        backend="hooked_transformer",
        transformer_lens_version="3.9.0",
        weight_processing="none",
        architecture="LlamaForCausalLM",
        n_layers=3,
        d_model=8,
        n_heads=2,
        d_vocab=10,
        n_ctx=16,
        dtype="float32",
        device="cpu",
        tied_embeddings=False,
        residual_identity_error=0.0,
        residual_identity_holds=True,
        edits_resid_mid=True,
        drives_blocks=True,
        lens_is_exact=True,
        tokenizer_hash="0",
        chat_template_hash=None,
        has_system_role=True,
    )


@pytest.fixture(scope="session", params=["tiny_checkpoint", "tiny_gpt2_checkpoint"])
def tiny_model(request: pytest.FixtureRequest, backend: Any) -> LensModel:
    """A random Llama (rotary positions) and a random GPT-2 (absolute ones), by each backend."""
    return load_model(request.getfixturevalue(request.param), backend=backend, device="cpu")


@pytest.fixture(scope="session")
def near_model(tiny_checkpoint: Any) -> LensModel:
    """A random Llama in which token 61 is close to token 60, and token 62 twice as close."""
    model: LensModel = load_model(tiny_checkpoint, device="cpu")
    step = torch.randn(32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        table = model.wrapped.embed.W_E
        table[61], table[62] = table[60] + 0.005 * step, table[60] + 0.0025 * step
    return model


@pytest.fixture(scope="session")
def prompts(tiny_model: LensModel) -> list[Prompt]:
    """Three conversations of unequal length, each with a teacher-forced answer."""
    return [
        render(
            tiny_model,
            [Message(role="system", content=system), Message(role="user", content=user)],
            prompt_id=str(at),
            answer=answer,
        )
        for at, (system, user, answer) in enumerate(TALKS)
    ]


@dataclass(frozen=True, kw_only=True)
class Passes:
    """Logits at every token of every prompt, got in different ways that have to agree."""

    model: LensModel
    prompts: Sequence[Prompt]

    def batch(self, rows: Sequence[int], side: Any = "left") -> TokenBatch:
        return pad(self.prompts, rows, pad_id=0, device=self.model.device, side=side)

    @torch.no_grad()
    def whole(self, edits: Sequence[Edit], batch: TokenBatch) -> dict[int, torch.Tensor]:
        return self._by_row(self._run(edits, batch, 0, batch.tokens.shape[1], None), batch)

    @torch.no_grad()
    def cached(self, edits: Sequence[Edit], batch: TokenBatch) -> dict[int, torch.Tensor]:
        """One prefill, a step of two columns, then one column a step."""
        width = batch.tokens.shape[1]
        cuts = [0, width - 6, width - 4, width - 3, width - 2, width - 1, width]
        cache = self.model.new_cache(len(batch.rows))
        steps = [self._run(edits, batch, start, stop, cache) for start, stop in pairwise(cuts)]
        return self._by_row(torch.cat(steps, dim=1), batch)

    def _run(
        self, edits: Sequence[Edit], batch: TokenBatch, start: int, stop: int, cache: Any
    ) -> torch.Tensor:
        return self.model.run(
            batch.tokens[:, start:stop],
            batch.layout.positions[:, :stop],
            hooks=compile_edits(edits, batch.layout.window(start, stop), batch.rows),
            cache=cache,
            last_layer=self.model.card.n_layers - 1,
        )

    def _by_row(self, resid: torch.Tensor, batch: TokenBatch) -> dict[int, torch.Tensor]:
        real = batch.layout.positions >= 0
        return {
            row: self.model.logits(resid[at][real[at]]).float() for at, row in enumerate(batch.rows)
        }


@pytest.fixture
def passes(tiny_model: LensModel, prompts: list[Prompt]) -> Passes:
    return Passes(model=tiny_model, prompts=prompts)


@pytest.fixture
def assert_conform(passes: Passes) -> Callable[[Sequence[Edit]], None]:
    """Hold edits to the triple: cached = uncached, batched = single, left = right padding."""

    def conform(edits: Sequence[Edit]) -> None:
        everyone = (2, 0, 1)
        whole = passes.whole(edits, passes.batch(everyone))
        plain = passes.whole((), passes.batch(everyone))
        moved = max((whole[row] - plain[row]).abs().max().item() for row in everyone)
        assert moved > 1e-2, "the edit did nothing, so agreement would show nothing"
        close = {"atol": 1e-4, "rtol": 1e-4}
        torch.testing.assert_close(passes.cached(edits, passes.batch(everyone)), whole, **close)
        right = passes.whole(edits, passes.batch(everyone, side="right"))
        torch.testing.assert_close(right, whole, **close)
        for row in everyone:
            single = passes.whole(edits, passes.batch((row,)))
            torch.testing.assert_close(single[row], whole[row], **close)

    return conform
