"""The lens in pieces is the plain formula over the full tensor, at every position."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lens_personas.models import LensModel, Prompt, batches, load_model, map_last_logits
from lens_personas.readouts import _decode as decode
from lens_personas.readouts import logit_lens
from lens_personas.readouts._vocabulary import Shapes, distributions

MakePrompts = Callable[..., list[Prompt]]
EVERYTHING: dict[str, Any] = {"top_k": 5, "entropy": True, "kl_to_final": True}


def _full(logits: torch.Tensor, token_ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """Everything from logits ``[layer, read, d_vocab]`` of which the last layer is the final."""
    logs = logits.double().log_softmax(-1)
    ids = torch.arange(logits.shape[-1])
    asked = token_ids.expand(len(logits), -1, -1)
    own = logits.gather(2, asked)[..., None]
    others = logits[:, :, None]
    before = (others > own) | ((others == own) & (ids < asked[..., None]))
    order = logits.sort(dim=-1, descending=True, stable=True).indices[..., :5]
    return {
        "log_prob": logs.gather(2, asked),
        "rank": before.sum(-1),
        "top_ids": order,
        "top_log_prob": logs.gather(2, order),
        "entropy": -(logs.exp() * logs).sum(-1),
        "kl_to_final": (logs[-1].exp() * (logs[-1] - logs)).sum(-1),
    }


def _assert_same(result: Any, expected: dict[str, torch.Tensor], atol: float = 1e-4) -> None:
    for name, value in expected.items():
        found = getattr(result, name)
        if value.is_floating_point():
            torch.testing.assert_close(found, value.float(), atol=atol, rtol=1e-5, msg=name)
        else:
            # Two tokens whose logits differ by rounding alone may swap.
            assert (found == value).float().mean() > 0.99, name


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("vocab_chunk", [None, 7])
def test_all_positions_are_those_of_the_full_tensor(
    model: LensModel,
    plain: Any,
    make_prompts: MakePrompts,
    monkeypatch: pytest.MonkeyPatch,
    side: Any,
    vocab_chunk: int | None,
) -> None:
    prompts = make_prompts(6, answer=2)
    tokens = torch.arange(3 * len(prompts)).reshape(-1, 3)
    monkeypatch.setattr(
        decode,
        "model_batches",
        lambda model, prompts, budget, *, share: list(
            batches(prompts, pad_id=0, device=model.device, token_budget=budget, side=side)
        ),
    )
    monkeypatch.setattr(decode, "ROWS_AT_ONCE", 50)
    result = logit_lens(
        model, prompts, token_ids=tokens, at="all", vocab_chunk=vocab_chunk, **EVERYTHING
    )
    logits = torch.cat([plain.lens(prompt.ids) for prompt in prompts], dim=1)
    n_tokens = torch.tensor([len(prompt.ids) for prompt in prompts])
    assert result.prompt_ids == tuple(p.prompt_id for p in prompts for _ in p.ids)
    assert result.positions == tuple(at for p in prompts for at in range(len(p.ids)))
    assert torch.equal(result.token_ids, tokens.repeat_interleave(n_tokens, dim=0))
    _assert_same(result, _full(logits, result.token_ids))


def test_several_positions_are_each_alone(model: LensModel, make_prompts: MakePrompts) -> None:
    prompts = make_prompts(4, answer=2)
    tokens = torch.arange(len(prompts))[:, None]
    several = logit_lens(
        model, prompts, token_ids=tokens, at=[0, "last_prompt", -1, "last"], **EVERYTHING
    )
    # The last prompt token has two names, and is read once.
    assert several.prompt_ids == tuple(p.prompt_id for p in prompts for _ in range(3))
    for number, at in enumerate((0, "last_prompt", "last")):
        alone = logit_lens(model, prompts, token_ids=tokens, at=at, **EVERYTHING)
        assert several.positions[number::3] == alone.positions
        for name in ("log_prob", "entropy", "kl_to_final", "top_log_prob"):
            part = getattr(several, name)[:, number::3]
            torch.testing.assert_close(part, getattr(alone, name), atol=1e-4, rtol=0)


def test_a_layer_is_measured_against_the_models_last_one_though_it_is_not_read(
    model: LensModel, make_prompts: MakePrompts
) -> None:
    prompts = make_prompts(4)
    whole = logit_lens(model, prompts, kl_to_final=True)
    part = logit_lens(model, prompts, layers=[1], kl_to_final=True)
    assert part.kl_to_final is not None
    assert whole.kl_to_final is not None
    torch.testing.assert_close(part.kl_to_final[0], whole.kl_to_final[1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("vocab_chunk", [1, 3, 40])
@pytest.mark.parametrize("cap", [None, 5.0])
def test_pieces_of_any_size_give_the_full_tensors_numbers(
    vocab_chunk: int, cap: float | None
) -> None:
    rng = torch.Generator().manual_seed(0)
    resid = torch.randn(3, 8, 16, generator=rng)
    weight = 2 * torch.randn(40, 16, generator=rng)
    weight[30:] = weight[10]  # as the unused rows of a padded vocabulary are
    resid[0, 0] = 0

    def logits(rows: torch.Tensor, tokens: Any = None) -> torch.Tensor:
        # Summed in one order, whatever the piece: equal columns then stay equal.
        found = (rows[:, None] * weight[tokens]).sum(-1)
        return found if cap is None else cap * torch.tanh(found / cap)

    tokens = torch.randint(40, (8, 4), generator=rng)
    tokens[:, 0] = torch.tensor([10, 30, 39, 35, 10, 11, 12, 0])
    shapes = Shapes(top_k=5, entropy=True, kl_to_final=True)
    found = distributions(
        logits, resid, tokens, shapes, final=2, d_vocab=40, vocab_chunk=vocab_chunk
    )
    expected = _full(logits(resid.reshape(-1, 16), slice(None)).reshape(3, 8, 40), tokens)
    _assert_same(found, expected, atol=1e-5)
    assert torch.equal(found.rank, expected["rank"])
    assert torch.equal(found.top_ids, expected["top_ids"])


def test_sums_of_a_bfloat16_model_are_exact(
    checkpoint: Any, backend: Any, make_prompts: MakePrompts
) -> None:
    half = load_model(str(checkpoint), dtype="bfloat16", backend=backend, device="cpu")
    prompts = make_prompts(5)
    tokens = torch.arange(2 * len(prompts)).reshape(-1, 2)
    result = logit_lens(half, prompts, token_ids=tokens, layers=[2], **EVERYTHING)
    expected = _full(map_last_logits(half, prompts, lambda logits: logits)[None], tokens)
    # The model rounds its logits itself, which moves them by a part in 256.
    for name in ("log_prob", "entropy"):
        torch.testing.assert_close(getattr(result, name), expected[name].float(), atol=0.1, rtol=0)
    assert result.log_prob.dtype == torch.float32
    assert not torch.equal(result.log_prob, result.log_prob.bfloat16().float())
