"""The lens never holds the logits of more than a few rows."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lens_personas.models import LensModel, Prompt
from lens_personas.readouts import _decode as decode
from lens_personas.readouts import answer_lens, logit_lens

MakePrompts = Callable[..., list[Prompt]]


class _VocabularyTracer(TorchDispatchMode):
    """Records the most rows of any tensor as wide as the vocabulary, copied weights aside."""

    def __init__(self, model: LensModel) -> None:
        super().__init__()
        self._card = model.card
        self.most_rows = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            shape = tensor.shape if isinstance(tensor, torch.Tensor) else ()
            if self._card.d_vocab in shape and self._card.d_model not in shape:
                self.most_rows = max(self.most_rows, tensor.numel() // self._card.d_vocab)
        return out


@pytest.mark.parametrize("shapes", [False, True])
def test_no_more_than_a_few_rows_of_logits_exist_at_a_time(
    model: LensModel, make_prompts: MakePrompts, monkeypatch: pytest.MonkeyPatch, shapes: bool
) -> None:
    prompts = make_prompts(23, answer=3)
    asked = torch.arange(2 * len(prompts)).reshape(-1, 2)
    expected = logit_lens(model, prompts, token_ids=asked, shapes=shapes)
    rows: list[int] = []
    logits = type(model).logits

    def counted(self: Any, resid: torch.Tensor) -> torch.Tensor:
        rows.append(resid.shape[0])
        return logits(self, resid)

    monkeypatch.setattr(type(model), "logits", counted)
    monkeypatch.setattr(decode, "ROWS_AT_ONCE", 5)
    with _VocabularyTracer(model) as tracer:
        result = logit_lens(model, prompts, token_ids=asked, shapes=shapes)
        answer_lens(model, prompts)
    assert max(rows) == 5
    assert tracer.most_rows == 5
    torch.testing.assert_close(result.log_prob, expected.log_prob, atol=1e-5, rtol=0)
