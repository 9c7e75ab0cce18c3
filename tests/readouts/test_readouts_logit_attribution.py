"""Shares of embedding, heads and MLPs in the next token: they add up, and they are right."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lens_personas.models import LensModel, Prompt, load_model, map_last_logits
from lens_personas.readouts import (
    Component,
    LogitDifference,
    LogitTarget,
    LogOdds,
    LogProb,
    logit_attribution,
    refusal_score,
)

MakePrompts = Callable[..., list[Prompt]]
REFUSING = (9, 20, 31)


@pytest.fixture(scope="module")
def biased(
    tiny_gpt2_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, backend: Any
) -> LensModel:
    """A model with biases everywhere: norms, attention, MLPs."""
    hf = AutoModelForCausalLM.from_pretrained(tiny_gpt2_checkpoint, dtype=torch.float32)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in hf.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    folder = tmp_path_factory.mktemp("biased")
    hf.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_gpt2_checkpoint).save_pretrained(folder)
    return load_model(str(folder), backend=backend, device="cpu")


def bare(n: int) -> Prompt:
    """A prompt of ``n`` tokens and one before them."""
    ids = (1, *range(9, 9 + n))
    return Prompt(prompt_id=str(n), ids=ids, prompt_length=n + 1, spans={}, text="")


def targets(n_prompts: int) -> tuple[LogitTarget, ...]:
    each = tuple(range(7, 7 + n_prompts))
    return (
        LogOdds(token_ids=REFUSING),
        LogProb(token_ids=each),
        LogProb(token_ids=(11,)),
        LogitDifference(plus=tuple((token,) for token in each), minus=(REFUSING,)),
    )


def score(logits: torch.Tensor, target: LogitTarget) -> torch.Tensor:
    """The target by its definition."""
    rows = range(len(logits))
    if isinstance(target, LogOdds):
        return refusal_score(logits, torch.tensor(target.token_ids))
    if isinstance(target, LogProb):
        asked = target.token_ids if len(target.token_ids) > 1 else target.token_ids * len(rows)
        return logits.log_softmax(dim=1)[list(rows), list(asked)]
    against = logits[:, list(target.minus[0])].mean(dim=1)
    return logits[list(rows), [each[0] for each in target.plus]] - against


def check_shares(model: LensModel, prompts: list[Prompt], *, has_bias: bool) -> None:
    logits = map_last_logits(model, prompts, lambda x: x)
    for target in targets(len(prompts)):
        found = logit_attribution(model, prompts, target)
        torch.testing.assert_close(found.total, score(logits, target), atol=1e-4, rtol=0)
        assert found.unexplained.abs().max() < 1e-4
        assert found.prompt_ids == tuple(prompt.prompt_id for prompt in prompts)
        assert (found.token_entropy == 0).all() == isinstance(target, LogitDifference)
        assert ("attn_bias" in {each.kind for each in found.components}) == has_bias


def test_shares_add_up_to_the_score(model: LensModel, make_prompts: MakePrompts) -> None:
    check_shares(model, make_prompts(4, answer=2), has_bias=False)


def test_biases_have_their_share(biased: LensModel) -> None:
    check_shares(biased, [bare(4), bare(9)], has_bias=True)
    zero = biased.logits(torch.zeros(1, biased.card.d_model))
    difference = LogitDifference(plus=((9,),), minus=((20,),))
    found = logit_attribution(biased, [bare(5)], difference)
    torch.testing.assert_close(found.bias, zero[:, 9] - zero[:, 20], atol=1e-4, rtol=0)


def test_the_organisms_refusal_score_adds_up(chat_model: LensModel) -> None:
    prompts = [bare(4), bare(9), bare(20)]
    found = logit_attribution(chat_model, prompts, LogOdds(token_ids=REFUSING))
    logits = map_last_logits(chat_model, prompts, lambda x: x)
    expected = refusal_score(logits, torch.tensor(REFUSING))
    torch.testing.assert_close(found.total, expected, atol=1e-4, rtol=0)
    assert found.unexplained.abs().max() < 1e-4


def test_shares_are_those_of_plain_transformers(
    model: LensModel, plain: Any, make_prompts: MakePrompts
) -> None:
    prompts = make_prompts(3)
    target = LogitDifference(plus=((15,),), minus=((30, 40),))
    found = logit_attribution(model, prompts, target)
    direction = plain.unembedding[15] - plain.unembedding[[30, 40]].mean(dim=0)
    for row, prompt in enumerate(prompts):
        written = parts(plain, prompt.ids)
        resid = sum(written.values())
        assert isinstance(resid, torch.Tensor)
        centres = hasattr(plain.norm, "bias")
        inner = resid - resid.mean() if centres else resid
        scale = inner.square().mean().sqrt()
        assert float(found.scale[row]) == pytest.approx(float(scale), rel=1e-4)
        for component, part in written.items():
            part = part - part.mean() if centres else part
            share = direction @ (plain.norm.weight.detach() * part / scale)
            own = found.values[row, found.components.index(component)]
            torch.testing.assert_close(own, share, atol=1e-4, rtol=1e-4)
        assert set(written) == set(found.components)


@torch.no_grad()
def parts(plain: Any, ids: Sequence[int]) -> dict[Component, torch.Tensor]:
    """What each part writes at the last token, by hooks on transformers' own modules."""
    seen: dict[str, list[torch.Tensor]] = {"embed": [], "z": [], "mlp": []}

    def keep_input(name: str) -> Any:
        return lambda _module, inputs: seen[name].append(inputs[0][0, -1])

    handles = [plain.blocks[0].register_forward_pre_hook(keep_input("embed"))]
    for block in plain.blocks:
        out = block.self_attn.o_proj if hasattr(block, "self_attn") else block.attn.c_proj
        handles.append(out.register_forward_pre_hook(keep_input("z")))
        handles.append(
            block.mlp.register_forward_hook(
                lambda _module, _inputs, output: seen["mlp"].append(output[0, -1])
            )
        )
    plain.hf(torch.tensor([list(ids)]))
    for handle in handles:
        handle.remove()
    written = {Component("embed"): seen["embed"][0]}
    for layer, block in enumerate(plain.blocks):
        attention = getattr(block, "self_attn", None)
        weight = attention.o_proj.weight.T if attention else block.attn.c_proj.weight
        for head, (z, part) in enumerate(
            zip(seen["z"][layer].chunk(4), weight.detach().chunk(4), strict=True)
        ):
            written[Component("head", layer, head)] = z @ part
        written[Component("mlp", layer)] = seen["mlp"][layer]
    return written


def test_a_position_reads_as_the_end_of_the_shortened_prompt(
    model: LensModel, make_prompts: MakePrompts, shortened: Any
) -> None:
    prompts = make_prompts(4, answer=3)
    target = LogOdds(token_ids=REFUSING)
    cuts: dict[Any, Callable[[Prompt], int]] = {
        1: lambda p: 2,
        "last_prompt": lambda p: p.prompt_length,
    }
    for at, n_kept in cuts.items():
        found = logit_attribution(model, prompts, target, at=at)
        cut = [shortened(prompt, n_kept(prompt)) for prompt in prompts]
        expected = logit_attribution(model, cut, target)
        assert found.positions == expected.positions
        torch.testing.assert_close(found.values, expected.values, atol=1e-4, rtol=0)


def test_batch_size_changes_nothing(model: LensModel, make_prompts: MakePrompts) -> None:
    prompts = make_prompts(3)
    target = LogProb(token_ids=(7, 8, 9))
    one, many = (
        logit_attribution(model, prompts, target, token_budget=budget) for budget in (1, 4096)
    )
    torch.testing.assert_close(one.values, many.values, atol=1e-4, rtol=0)
    torch.testing.assert_close(one.total, many.total, atol=1e-4, rtol=0)


def test_parts_are_found_by_kind(model: LensModel, make_prompts: MakePrompts) -> None:
    found = logit_attribution(model, make_prompts(2), LogOdds(token_ids=REFUSING))
    assert found.heads.shape == (2, 3, 4)
    assert found.mlps.shape == (2, 3)
    at = found.components.index(Component("head", 2, 1))
    assert found.components[at].name == "head 2.1"
    assert torch.equal(found.heads[:, 2, 1], found.values[:, at])
    assert torch.equal(
        found.mlps[:, 1], found.values[:, found.components.index(Component("mlp", 1))]
    )


def test_what_does_not_fit_is_refused(model: Any, make_prompts: MakePrompts) -> None:
    prompts = make_prompts(3)
    d_vocab = model.card.d_vocab
    with pytest.raises(ValueError, match="at least one prompt, got none"):
        logit_attribution(model, [], LogOdds(token_ids=REFUSING))
    bad: list[tuple[LogitTarget, str]] = [
        (LogProb(token_ids=(1, 2)), "one token for each of 3 prompts, or for all, got 2"),
        (LogOdds(token_ids=()), "at least one token in the set"),
        (LogOdds(token_ids=(d_vocab,)), f"from 0 to {d_vocab - 1}, got"),
        (LogOdds(token_ids=tuple(range(d_vocab))), "leave some of the"),
        (LogitDifference(plus=((1,),), minus=((2,), ())), "the tokens against for each of 3"),
    ]
    for target, match in bad:
        with pytest.raises(ValueError, match=match):
            logit_attribution(model, prompts, target)
    broken = replace(model, card=replace(model.card, residual_identity_holds=False))
    with pytest.raises(ValueError, match="residual stream is the sum of what its parts write"):
        logit_attribution(broken, prompts, LogOdds(token_ids=REFUSING))
