"""The lens holds the logits of a few rows for a piece of the vocabulary, and copies no weights."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lens_personas.models import LensModel, Prompt
from lens_personas.readouts import _decode as decode
from lens_personas.readouts import logit_lens

MakePrompts = Callable[..., list[Prompt]]
ROWS, CHUNK, TOP = 64, 150, 3


class _Largest(TorchDispatchMode):
    """Records the elements of the largest tensor that is made, views aside."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, torch.Tensor) and not func.is_view:
                self.numel = max(self.numel, tensor.numel())
        return out


@pytest.mark.parametrize("at", ["last", "all"])
@pytest.mark.parametrize(
    "asked", [{}, {"top_k": TOP, "entropy": True, "kl_to_final": True}], ids=["tokens", "shapes"]
)
def test_no_tensor_grows_with_rows_times_vocabulary(
    model: LensModel,
    make_prompts: MakePrompts,
    monkeypatch: pytest.MonkeyPatch,
    asked: dict[str, Any],
    at: Any,
) -> None:
    prompts = make_prompts(40)
    tokens = torch.arange(2 * len(prompts)).reshape(-1, 2)
    monkeypatch.setattr(decode, "ROWS_AT_ONCE", ROWS)
    largest = {}
    for chunk in (CHUNK, model.card.d_vocab):
        with _Largest() as seen:
            logit_lens(
                model,
                prompts,
                token_ids=tokens,
                at=at,
                token_budget=64,
                vocab_chunk=chunk,
                **asked,
            )
        largest[chunk] = seen.numel
    rows = 3 * (ROWS // 3) if at == "all" else 3 * 4
    assert largest[model.card.d_vocab] >= rows * model.card.d_vocab
    # The unembedding itself is larger than this bound, so that a copy of it would show.
    assert largest[CHUNK] <= ROWS * (CHUNK + TOP) < model.card.d_vocab * model.card.d_model
