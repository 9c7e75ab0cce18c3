"""The logit lens against plain transformers, and what must not change it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lens_personas.hooks import Edit, Site
from lens_personas.models import LensModel, Prompt, batches, map_last_logits
from lens_personas.readouts import _decode as decode
from lens_personas.readouts import answer_lens, logit_lens

MakePrompts = Callable[..., list[Prompt]]


def _asked(model: LensModel, n_prompts: int, n_tokens: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(model.card.d_vocab, (n_prompts, n_tokens), generator=generator)


def _add(vector: torch.Tensor) -> Any:
    return lambda activation, /, *, hook: activation + vector


def _push(layer: int, d_model: int, *, site: Site = Site.RESID_POST) -> Edit:
    return Edit(site=site, layer=layer, hook=_add(torch.linspace(-2, 2, d_model)))


def test_lens_is_that_of_plain_transformers(
    model: LensModel, plain: Any, make_prompts: MakePrompts
) -> None:
    prompts = make_prompts()
    asked = _asked(model, len(prompts))
    result = logit_lens(model, prompts, token_ids=asked)
    assert result.layers == (0, 1, 2)
    for row, prompt in enumerate(prompts):
        logits = plain.lens(prompt.ids)[:, -1]
        expected = logits.log_softmax(-1)[:, asked[row]]
        torch.testing.assert_close(result.log_prob[:, row], expected, atol=1e-4, rtol=0)
        own = logits[:, asked[row], None]
        for slack, compare in ((1e-3, torch.le), (-1e-3, torch.ge)):
            bound = (logits[:, None] > own + slack).sum(-1)
            assert compare(bound, result.rank[:, row]).all()


def test_last_layer_is_the_models_own_output(model: LensModel, make_prompts: MakePrompts) -> None:
    prompts = make_prompts()
    logits = map_last_logits(model, prompts, lambda x: x)
    top = logits.argmax(-1, keepdim=True)
    result = logit_lens(model, prompts, token_ids=top, layers=[2])
    assert result.is_exact
    assert result.top1.all()
    expected = logits.log_softmax(-1).gather(1, top)
    torch.testing.assert_close(result.log_prob[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("token_budget", [1, 40, 4096])
def test_batch_size_changes_nothing(
    model: LensModel, make_prompts: MakePrompts, token_budget: int
) -> None:
    prompts = make_prompts(9)
    asked = _asked(model, len(prompts))
    one, many = (
        logit_lens(
            model, prompts, token_ids=asked, token_budget=budget, entropy=True, kl_to_final=True
        )
        for budget in (200, token_budget)
    )
    for name in ("log_prob", "entropy", "kl_to_final"):
        torch.testing.assert_close(getattr(one, name), getattr(many, name), atol=1e-4, rtol=0)


def test_padding_side_changes_nothing(
    model: LensModel, make_prompts: MakePrompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = make_prompts(9, answer=3)
    asked = _asked(model, len(prompts))
    left = logit_lens(model, prompts, token_ids=asked), answer_lens(model, prompts)
    monkeypatch.setattr(
        decode,
        "model_batches",
        lambda model, prompts, budget, *, share: list(
            batches(prompts, pad_id=0, device=model.device, token_budget=budget, side="right")
        ),
    )
    right = logit_lens(model, prompts, token_ids=asked), answer_lens(model, prompts)
    for one, other in zip(left, right, strict=True):
        torch.testing.assert_close(one.log_prob, other.log_prob, atol=1e-4, rtol=0)


def test_a_position_reads_as_the_end_of_the_shortened_prompt(
    model: LensModel, make_prompts: MakePrompts, shortened: Any
) -> None:
    prompts = make_prompts(6, answer=2)
    asked = _asked(model, len(prompts))
    cuts = {
        "last_prompt": lambda p: p.prompt_length,
        -1: lambda p: p.prompt_length,
        -3: lambda p: p.prompt_length - 2,
        1: lambda p: 2,
        "last": lambda p: len(p.ids),
    }
    for at, n_kept in cuts.items():
        whole = logit_lens(model, prompts, token_ids=asked, at=at)
        cut = [shortened(prompt, n_kept(prompt)) for prompt in prompts]
        expected = logit_lens(model, cut, token_ids=asked)
        assert whole.positions == expected.positions
        torch.testing.assert_close(whole.log_prob, expected.log_prob, atol=1e-4, rtol=0)


def test_chosen_layers_are_those_of_the_whole(model: LensModel, make_prompts: MakePrompts) -> None:
    prompts = make_prompts()
    asked = _asked(model, len(prompts))
    whole = logit_lens(model, prompts, token_ids=asked)
    some = logit_lens(model, prompts, token_ids=asked, layers=[2, 0])
    torch.testing.assert_close(some.log_prob, whole.log_prob[[2, 0]], atol=1e-6, rtol=0)


def test_an_edit_moves_its_layer_and_those_above_only(
    model: LensModel, make_prompts: MakePrompts
) -> None:
    prompts = make_prompts()
    asked = _asked(model, len(prompts))
    edit = _push(1, model.card.d_model)
    before = logit_lens(model, prompts, token_ids=asked)
    after = logit_lens(model, prompts, token_ids=asked, edits=[edit])
    moved = (after.log_prob - before.log_prob).abs().amax(dim=(1, 2))
    assert moved[0] == 0
    assert (moved[1:] > 0.05).all()


def test_an_edit_above_the_layers_read_is_allowed(
    model: LensModel, make_prompts: MakePrompts
) -> None:
    prompts = make_prompts()
    asked = _asked(model, len(prompts))
    plain = logit_lens(model, prompts, token_ids=asked, layers=[0])
    edited = logit_lens(
        model, prompts, token_ids=asked, layers=[0], edits=[_push(2, model.card.d_model)]
    )
    torch.testing.assert_close(plain.log_prob, edited.log_prob, atol=1e-5, rtol=0)


def test_a_planted_residual_is_read_back_by_row(
    model: LensModel, make_prompts: MakePrompts
) -> None:
    prompts = make_prompts(9)
    planted = torch.randn(9, model.card.d_model, generator=torch.Generator().manual_seed(2))
    asked = model.logits(planted).argmax(-1, keepdim=True)

    def make(rows: Any) -> Any:
        return lambda activation, /, *, hook: planted[list(rows), None].expand_as(activation)

    edit = Edit(site=Site.RESID_POST, layer=1, hook=make, per_row=True)
    result = logit_lens(model, prompts, token_ids=asked, layers=[1], edits=[edit], token_budget=30)
    assert result.top1.all()
    expected = model.logits(planted).log_softmax(-1).gather(1, asked)
    torch.testing.assert_close(result.log_prob[0], expected, atol=1e-4, rtol=0)


def test_shapes_are_entropy_and_divergence(
    model: LensModel, plain: Any, make_prompts: MakePrompts
) -> None:
    prompts = make_prompts()
    result = logit_lens(model, prompts, layers=[0, 2], entropy=True, kl_to_final=True)
    assert result.entropy is not None
    assert result.kl_to_final is not None
    for row, prompt in enumerate(prompts):
        lens = torch.distributions.Categorical(logits=plain.lens(prompt.ids)[[0, 2], -1])
        final = torch.distributions.Categorical(logits=plain.logits(prompt.ids)[-1].expand(2, -1))
        torch.testing.assert_close(result.entropy[:, row], lens.entropy(), atol=1e-3, rtol=0)
        kl = torch.distributions.kl_divergence(final, lens)
        torch.testing.assert_close(result.kl_to_final[:, row], kl, atol=1e-3, rtol=0)
    assert result.kl_to_final[0].min() > 0.01
    assert result.kl_to_final[1].max() < 1e-5


def test_shapes_are_left_out_unless_asked_for(model: LensModel, make_prompts: MakePrompts) -> None:
    prompts = make_prompts(2)
    result = logit_lens(model, prompts, token_ids=_asked(model, 2))
    assert result.entropy is None
    assert result.kl_to_final is None


def test_impossible_questions_are_refused(model: LensModel, make_prompts: MakePrompts) -> None:
    prompts = make_prompts(2)
    asked = _asked(model, 2)
    with pytest.raises(ValueError, match="got 3 rows for 2 prompts"):
        logit_lens(model, prompts, token_ids=_asked(model, 3))
    with pytest.raises(ValueError, match="got 0 rows for 0 prompts"):
        logit_lens(model, [], token_ids=asked[:0])
    with pytest.raises(ValueError, match="one token to look up, got none"):
        logit_lens(model, prompts, token_ids=asked[:, :0])
    with pytest.raises(ValueError, match="give token_ids, top_k, entropy or kl_to_final"):
        logit_lens(model, prompts)
    with pytest.raises(ValueError, match=f"top_k from 0 to {model.card.d_vocab} tokens, got -1"):
        logit_lens(model, prompts, top_k=-1)
    with pytest.raises(ValueError, match="vocab_chunk of at least 1 token, got 0"):
        logit_lens(model, prompts, token_ids=asked, vocab_chunk=0)
    with pytest.raises(ValueError, match="at least one position, got none"):
        logit_lens(model, prompts, token_ids=asked, at=[])
    with pytest.raises(ValueError, match=f"token ids from 0 to {model.card.d_vocab - 1},"):
        logit_lens(model, prompts, token_ids=asked + model.card.d_vocab)
    with pytest.raises(ValueError, match="expected a layer from 0 to 2, got 3"):
        logit_lens(model, prompts, token_ids=asked, layers=[3])
    with pytest.raises(ValueError, match="at least one layer, got none"):
        logit_lens(model, prompts, token_ids=asked, layers=[])
    with pytest.raises(ValueError, match=r"position inside prompt 'p0'.* got 99"):
        logit_lens(model, prompts, token_ids=asked, at=99)
    with pytest.raises(ValueError, match="prompt 'p0' to carry an answer"):
        answer_lens(model, prompts)
    with pytest.raises(ValueError, match="at least one prompt with an answer, got none"):
        answer_lens(model, [])
