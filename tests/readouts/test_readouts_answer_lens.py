"""The lens of whole answers, and ranks."""

from collections.abc import Callable
from typing import Any

import torch

from lens_personas.models import LensModel, Prompt, generate
from lens_personas.readouts import answer_lens, target_log_prob
from lens_personas.readouts._vocabulary import n_before

MakePrompts = Callable[..., list[Prompt]]


def test_answer_lens_ends_at_the_teacher_forced_log_probability(
    model: LensModel, make_prompts: MakePrompts
) -> None:
    prompts = make_prompts(9, answer=4)
    lens = answer_lens(model, prompts)
    torch.testing.assert_close(
        lens.log_prob[-1], target_log_prob(model, prompts), atol=1e-4, rtol=0
    )
    assert lens.n_tokens.tolist() == [len(p.ids) - p.prompt_length for p in prompts]


def test_answer_lens_at_a_layer_is_that_of_plain_transformers(
    model: LensModel, plain: Any, make_prompts: MakePrompts
) -> None:
    prompts = make_prompts(5, answer=4)
    lens = answer_lens(model, prompts, layers=[1])
    for row, prompt in enumerate(prompts):
        start, ids = prompt.prompt_length, torch.tensor(prompt.ids)
        log_probs = plain.lens(prompt.ids)[1].log_softmax(-1)
        expected = log_probs[start - 1 : -1].gather(1, ids[start:, None]).sum()
        torch.testing.assert_close(lens.log_prob[0, row], expected, atol=1e-3, rtol=0)


def test_a_greedy_answer_is_top1_throughout_and_a_changed_one_is_not(
    model: LensModel, make_prompts: MakePrompts
) -> None:
    prompts = make_prompts(5)
    answers = generate(model, prompts, max_new_tokens=3)
    greedy = [_with_answer(p, a.ids) for p, a in zip(prompts, answers, strict=True) if a.ids]
    changed = [_with_answer(p, (*p.ids[p.prompt_length : -1], 7)) for p in greedy]
    assert answer_lens(model, greedy, layers=[2]).all_top1.all()
    same = [p.ids == q.ids for p, q in zip(greedy, changed, strict=True)]
    assert answer_lens(model, changed, layers=[2]).all_top1[0].tolist() == same


def _with_answer(prompt: Prompt, answer: tuple[int, ...]) -> Prompt:
    ids = (*prompt.ids[: prompt.prompt_length], *answer)
    return Prompt(
        prompt_id=prompt.prompt_id,
        ids=ids,
        prompt_length=prompt.prompt_length,
        spans=prompt.spans,
        text="",
    )


def test_ranks_count_what_comes_before_with_ties_by_id() -> None:
    logits = torch.tensor([[[1.0, 3.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0]]])
    every = torch.arange(4).expand(2, 4)
    assert n_before(logits, logits, every, 0).tolist() == [[[2, 0, 1, 3], [0, 1, 2, 3]]]
    pieces = [n_before(logits[..., at : at + 2], logits, every, at) for at in (0, 2)]
    assert torch.equal(sum(pieces), n_before(logits, logits, every, 0))


def test_broken_logits_never_rank_first() -> None:
    logits = torch.tensor([[[torch.nan, 1.0, 0.0]]])
    asked = torch.tensor([[0, 1]])
    assert n_before(logits, logits[..., :2], asked, 0).tolist() == [[[3, 1]]]
