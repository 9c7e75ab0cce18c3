"""Tokens read off a layer: the cache, batching and the last layer change nothing."""

from collections.abc import Callable
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
    model_batches,
    run_batch,
)

NAMES = ["llama", "gpt2", "gemma2"]


def _ids(answers: tuple[Generation, ...]) -> list[tuple[int, ...]]:
    return [answer.ids for answer in answers]


def _pushed(activation: Tensor, /, *, hook: object) -> Tensor:
    return activation + 1.5 * torch.linspace(-1, 1, activation.shape[-1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("edited", [False, True])
def test_gotcha_13_early_exit_is_the_same_cached_batched_and_alone(
    name: str, edited: bool, loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model = loaded(name)
    edits = [Edit(site=Site.RESID_POST, layer=0, hook=_pushed)] if edited else []
    for layer in range(model.card.n_layers):
        options: dict[str, Any] = {"max_new_tokens": 5, "edits": edits, "exit_layer": layer}
        cached = _ids(generate(model, prompts, **options))
        assert _ids(generate(model, prompts, use_cache=False, **options)) == cached
        assert _ids(generate(model, prompts, token_budget=1, **options)) == cached
        assert [generate(model, [prompt], **options)[0].ids for prompt in prompts] == cached
    plain = generate(model, prompts, max_new_tokens=5, edits=edits)
    assert cached == _ids(plain)


@pytest.mark.parametrize("name", NAMES)
def test_every_token_is_what_final_norm_and_unembedding_make_of_that_layer(
    name: str, loaded: Callable[[str], LensModel], prompt_of: Callable[..., Prompt]
) -> None:
    model = loaded(name)
    prompt = prompt_of(1, 9, 30, 8)
    (answer,) = generate(model, [prompt], max_new_tokens=4, exit_layer=0)
    assert answer.ids
    for at, token in enumerate(answer.ids):
        (batch,) = model_batches(model, [prompt_of(*prompt.ids, *answer.ids[:at])])
        resid = run_batch(model, batch, last_layer=0).resid[:, -1]
        assert int(model.logits(resid).argmax()) == token
        # Read from the last layer, the logits are others, though the token may be the same.
        last = run_batch(model, batch).resid[:, -1]
        assert not torch.allclose(model.logits(resid), model.logits(last), atol=1e-3)


def test_blocks_above_the_exit_do_not_run(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model, ran = loaded("llama"), []
    point = model.wrapped.hook_dict[Site.RESID_PRE.hook_name(1)]
    handle = point.register_forward_hook(lambda *_: ran.append(True))
    try:
        generate(model, prompts[:1], max_new_tokens=2, exit_layer=0)
        # The bridge is left at the block's end, before the next one begins.
        assert not ran
        generate(model, prompts[:1], max_new_tokens=2, exit_layer=1)
        assert ran
    finally:
        handle.remove()


def test_edits_that_would_not_run_and_unknown_layers_are_errors(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model = loaded("llama")
    edit = Edit(site=Site.RESID_PRE, layer=1, hook=_pushed)
    with pytest.raises(ValueError, match=r"layers up to 0, .* got some at \[1\]"):
        generate(model, prompts, max_new_tokens=2, edits=[edit], exit_layer=0)
    for layer in (-1, 3):
        with pytest.raises(ValueError, match=f"exit_layer from 0 to 2, got {layer}"):
            generate(model, prompts, max_new_tokens=2, exit_layer=layer)
