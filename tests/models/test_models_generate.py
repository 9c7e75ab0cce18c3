"""Answers are those of transformers; edits, batching and the cache change nothing unasked."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lens_personas.hooks import Edit, Site
from lens_personas.models import (
    Generation,
    LensModel,
    Prompt,
    generate,
    load_model,
    map_last_logits,
)

NAMES = ["llama", "gpt2", "qwen2", "gemma2"]


def _ids(answers: tuple[Generation, ...]) -> list[tuple[int, ...]]:
    return [answer.ids for answer in answers]


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("use_cache", [True, False])
def test_greedy_answers_are_those_of_transformers(
    name: str,
    use_cache: bool,
    loaded: Callable[[str], LensModel],
    plain: Callable[[str], Any],
    prompts: tuple[Prompt, ...],
) -> None:
    model = loaded(name)
    answers = generate(model, prompts, max_new_tokens=8, use_cache=use_cache)
    assert [answer.prompt_id for answer in answers] == [prompt.prompt_id for prompt in prompts]
    for prompt, answer in zip(prompts, answers, strict=True):
        given = torch.tensor([prompt.ids])
        out = plain(name).generate(
            given,
            attention_mask=torch.ones_like(given),
            do_sample=False,
            max_new_tokens=8,
            eos_token_id=list(model.stop_ids),
            pad_token_id=0,
        )
        wanted = out[0, len(prompt.ids) :].tolist()
        finished = wanted[-1] in model.stop_ids
        assert answer.ids == tuple(wanted[:-1] if finished else wanted)
        assert answer.finished == finished


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
@pytest.mark.parametrize("scope", ["all", "last_prompt", "generated"])
def test_gotcha_12_edits_mean_the_same_with_and_without_the_cache(
    name: str, scope: Any, loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model = loaded(name)

    def push(activation: Tensor, /, *, hook: object) -> Tensor:
        return activation + 1.5 * torch.linspace(-1, 1, activation.shape[-1])

    edit = Edit(site=Site.RESID_POST, layer=0, hook=push, scope=scope)
    options: dict[str, Any] = {"max_new_tokens": 6, "edits": [edit]}
    cached = generate(model, prompts, **options)
    assert _ids(generate(model, prompts, use_cache=False, **options)) == _ids(cached)
    assert _ids(generate(model, prompts, token_budget=1, **options)) == _ids(cached)
    alone = [generate(model, [prompt], **options)[0] for prompt in prompts]
    assert _ids(tuple(alone)) == _ids(cached)
    assert _ids(generate(model, prompts, max_new_tokens=6)) != _ids(cached)


def test_gotcha_12_last_prompt_is_edited_once_and_generated_each_step(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model, touched = loaded("gpt2"), []

    def shift(activation: Tensor, /, *, hook: object) -> Tensor:
        return activation + 1

    def count(activation: Tensor, /, *, hook: object) -> Tensor:
        touched.append(int((activation - before[-1] > 0.5).all(dim=-1).sum()))
        return activation

    def keep(activation: Tensor, /, *, hook: object) -> Tensor:
        before.append(activation)
        return activation

    for scope, each in (("last_prompt", [1, 0, 0, 0]), ("generated", [1, 1, 1, 1])):
        before: list[Tensor] = []
        touched.clear()
        hooks = ((keep, "all"), (shift, scope), (count, "all"))
        edits = [Edit(site=Site.RESID_POST, layer=1, hook=f, scope=s) for f, s in hooks]
        answers = generate(model, prompts[:1], max_new_tokens=4, edits=edits)
        assert touched == each[: len(touched)]
        assert len(touched) >= 2, answers


@pytest.mark.parametrize("as_list", [True, False])
def test_stop_ids_of_the_generation_config_end_an_answer(
    as_list: bool, backend: Any, tiny_checkpoint: Path, prompts: tuple[Prompt, ...], tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "stops")
    model = load_model(folder, backend=backend, device="cpu")
    free = generate(model, prompts, max_new_tokens=6)
    stop = free[0].ids[3]
    config = json.loads((folder / "generation_config.json").read_text())
    config["eos_token_id"] = [5, stop] if as_list else stop
    (folder / "generation_config.json").write_text(json.dumps(config))
    model = load_model(folder, backend=backend, device="cpu")
    assert stop in model.stop_ids
    assert model.tokenizer.eos_token_id in model.stop_ids
    answers = generate(model, prompts, max_new_tokens=6)
    for before, after in zip(free, answers, strict=True):
        cut = before.ids.index(stop) if stop in before.ids else len(before.ids)
        assert after.ids == before.ids[:cut]
        assert after.finished == (before.finished or stop in before.ids)
    assert answers[0].finished
    assert answers[0].text == model.tokenizer.decode(answers[0].ids, skip_special_tokens=True)


def test_a_sampled_answer_is_reproducible_whatever_the_batching(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model = loaded("llama")
    options: dict[str, Any] = {"max_new_tokens": 5, "temperature": 2.0}
    first = generate(model, prompts, generator=_seeded(0), **options)
    assert _ids(generate(model, prompts, generator=_seeded(0), **options)) == _ids(first)
    small = generate(model, prompts, generator=_seeded(0), token_budget=1, **options)
    assert _ids(small) == _ids(first)
    assert _ids(generate(model, prompts, generator=_seeded(1), **options)) != _ids(first)


@pytest.mark.parametrize("temperature", [0.7, 2.0])
def test_sampled_tokens_follow_the_models_distribution(
    temperature: float, loaded: Callable[[str], LensModel], prompt_of: Callable[..., Prompt]
) -> None:
    model, prompt, n = loaded("llama"), prompt_of(1, 9), 2000
    logits = map_last_logits(model, [prompt], lambda rows: rows)[0]
    probs = (logits / temperature).softmax(-1)
    answers = generate(
        model,
        [prompt] * n,
        max_new_tokens=1,
        temperature=temperature,
        generator=_seeded(0),
    )
    counts = Counter(answer.ids[0] for answer in answers if answer.ids)
    for token in probs.topk(5).indices.tolist():
        p = float(probs[token])
        assert abs(counts[token] / n - p) < 4.5 * (p * (1 - p) / n) ** 0.5
    # At a low temperature what is left is the greedy answer.
    cold = generate(model, [prompt], max_new_tokens=4, temperature=1e-4, generator=_seeded(0))
    assert _ids(cold) == _ids(generate(model, [prompt], max_new_tokens=4))


def test_an_answer_given_is_continued(
    loaded: Callable[[str], LensModel], prompt_of: Callable[..., Prompt]
) -> None:
    model = loaded("llama")
    whole = generate(model, [prompt_of(1, 9, 8)], max_new_tokens=5)[0].ids
    rest = generate(model, [prompt_of(1, 9, 8, answer=whole[:2])], max_new_tokens=3)[0].ids
    assert rest == whole[2:]


def test_prompt_and_answer_have_to_fit_the_context(
    loaded: Callable[[str], LensModel], prompt_of: Callable[..., Prompt]
) -> None:
    model, prompt = loaded("qwen2"), prompt_of(*[1] * 125)
    with pytest.raises(ValueError, match=r"to fit 128 tokens, got 125 \+ 4"):
        generate(model, [prompt], max_new_tokens=4)
    assert len(generate(model, [prompt], max_new_tokens=3)) == 1
    assert generate(model, [], max_new_tokens=3) == ()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"max_new_tokens": 0}, "expected max_new_tokens of at least 1, got 0"),
        ({"temperature": 1.0}, "expected a generator for sampling"),
        ({"temperature": -1.0}, "expected a finite temperature of at least 0, got -1.0"),
        ({"temperature": float("nan")}, "expected a finite temperature of at least 0, got nan"),
    ],
)
def test_options_that_cannot_be(
    options: dict[str, Any],
    match: str,
    loaded: Callable[[str], LensModel],
    prompts: tuple[Prompt, ...],
) -> None:
    with pytest.raises(ValueError, match=match):
        generate(loaded("llama"), prompts, **({"max_new_tokens": 2} | options))


def test_gotcha_24_a_hook_that_raises_mid_answer_leaves_nothing_behind(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model, calls = loaded("llama"), []
    before = generate(model, prompts[:1], max_new_tokens=3)

    def fail_late(activation: Tensor, /, *, hook: object) -> Tensor:
        calls.append(True)
        if len(calls) == 2:
            raise OSError("disk full")
        return activation

    edit = Edit(site=Site.RESID_POST, layer=0, hook=fail_late)
    with pytest.raises(OSError, match="disk full"):
        generate(model, prompts[:1], max_new_tokens=3, edits=[edit])
    assert not any(point.fwd_hooks for point in model.wrapped.hook_dict.values())
    assert generate(model, prompts[:1], max_new_tokens=3) == before
