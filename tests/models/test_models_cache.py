"""The caches answers are written with: what they give is what a whole pass gives."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lens_personas.hooks import Edit, HookFn, Site, add_row_directions
from lens_personas.models import Generation, LensModel, Prompt, generate, load_model, pad
from lens_personas.models._cache import GrowingColumns

NAMES = ["llama", "gpt2", "qwen2", "parallel", "gemma2"]


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("axis", [1, 2])
def test_columns_grow_as_if_joined_and_rows_leave(axis: int, generator: torch.Generator) -> None:
    sizes = (5, 1, 70, 1, 1, 200)
    parts = []
    for size in sizes:
        shape = [3, 4, 4, 2]
        shape[axis] = size
        parts.append(torch.randn(shape, generator=generator))
    columns = GrowingColumns(parts[0].narrow(axis, 0, 0), axis=axis)
    for at, part in enumerate(parts):
        assert torch.equal(columns.append(part), torch.cat(parts[: at + 1], dim=axis))
    columns.keep_rows(torch.tensor([0, 2]))
    left = torch.cat(parts, dim=axis)[[0, 2]]
    assert torch.equal(columns.all, left)
    more = parts[1][:2]
    assert torch.equal(columns.append(more), torch.cat([left, more], dim=axis))


@pytest.mark.parametrize("name", NAMES)
def test_cached_steps_give_the_residuals_of_a_whole_pass(
    name: str, loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model = loaded(name)
    batch = pad(prompts, range(len(prompts)), pad_id=0)
    positions, width = batch.layout.positions, batch.tokens.shape[1]
    options: dict[str, Any] = {"hooks": {}, "last_layer": model.card.n_layers - 1}
    with torch.no_grad():
        whole = model.run(batch.tokens, positions, cache=None, **options)
        cache, kept = model.new_cache(len(prompts)), torch.arange(len(prompts))
        # Several columns, one by one, and rows that leave between.
        for start, stop in ((0, 6), (6, 9), *((at, at + 1) for at in range(9, width))):
            resid = model.run(
                batch.tokens[kept, start:stop], positions[kept, :stop], cache=cache, **options
            )
            real = positions[kept, start:stop] >= 0
            expected = whole[kept, start:stop]
            torch.testing.assert_close(resid[real], expected[real], atol=1e-4, rtol=1e-4)
            if stop in (9, 11):
                left = torch.arange(len(kept))[1:] if stop == 9 else torch.tensor([0, 2])
                cache.keep_rows(left)
                kept = kept[left]


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_rows_that_are_done_leave_and_the_others_answer_as_alone(
    name: str, use_cache: bool, loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model, n_new = loaded(name), 8
    free = generate(replace(model, stop_ids=()), prompts, max_new_tokens=n_new)
    # The first answer stops in the middle, the others where they say the same, or not at all.
    stop = free[0].ids[2]
    stopping: Any = replace(model, stop_ids=(stop,))
    seen: list[tuple[int, ...]] = []

    def noting(rows: Sequence[int], /) -> HookFn:
        seen.append(tuple(rows))
        return add_row_directions(torch.zeros(len(prompts), 32), torch.zeros(len(prompts)))(rows)

    edit = Edit(site=Site.RESID_POST, layer=0, hook=noting, per_row=True)
    options: dict[str, Any] = {"max_new_tokens": n_new, "use_cache": use_cache}
    answers = generate(stopping, prompts, edits=[edit], **options)
    for answer, whole in zip(answers, free, strict=True):
        at = whole.ids.index(stop) if stop in whole.ids else n_new
        assert answer.ids == whole.ids[:at]
        assert answer.finished == (at < n_new)
    lengths = [len(answer.ids) + answer.finished for answer in answers]
    for step, rows in enumerate(seen):
        assert sorted(rows) == [row for row, length in enumerate(lengths) if length > step]
    assert len(set(seen)) > 1


def test_each_row_keeps_its_own_vector_and_draws_when_others_leave(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...], generator: torch.Generator
) -> None:
    model = loaded("llama")
    vectors = torch.randn(len(prompts), 32, generator=generator)
    edits = [
        Edit(
            site=Site.RESID_POST,
            layer=layer,
            hook=add_row_directions(vectors, torch.full((len(prompts),), 0.5)),
            per_row=True,
        )
        for layer in (0, 1)
    ]
    options: dict[str, Any] = {"max_new_tokens": 10, "temperature": 1.0, "edits": edits}
    free: Any = replace(model, stop_ids=())
    whole = generate(free, prompts, generator=torch.Generator().manual_seed(0), **options)
    stop: Any = replace(model, stop_ids=(whole[0].ids[1], whole[1].ids[4]))
    answers = generate(stop, prompts, generator=torch.Generator().manual_seed(0), **options)
    assert len({len(answer.ids) for answer in answers}) > 1
    for answer, free_answer in zip(answers, whole, strict=True):
        assert free_answer.ids[: len(answer.ids)] == answer.ids


def test_a_hook_of_the_users_own_may_write_with_the_same_model(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model = loaded("llama")
    if model.card.backend == "bridge":
        pytest.skip("only methods of HookedTransformer are replaced while it writes")
    within: list[tuple[Generation, ...]] = []
    entered: list[bool] = []

    def visit(activation: Tensor, hook: object) -> None:
        if not entered:
            entered.append(True)
            within.append(generate(model, prompts[1:2], max_new_tokens=3))
            entered.clear()

    alone = generate(model, prompts[1:2], max_new_tokens=3)
    plain = generate(model, prompts[:1], max_new_tokens=6)
    with model.wrapped.hooks(fwd_hooks=[(Site.RESID_POST.hook_name(0), visit)]):
        assert generate(model, prompts[:1], max_new_tokens=6) == plain
    assert within == [alone] * len(within)
    assert within


def test_nothing_of_the_cache_stays_on_the_model(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model = loaded("llama")
    before = [set(vars(module)) for module in model.wrapped.modules()]

    def fail(activation: Tensor, /, *, hook: object) -> Tensor:
        raise OSError("disk full")

    edit = Edit(site=Site.RESID_POST, layer=1, hook=fail)
    with pytest.raises(OSError, match="disk full"):
        generate(model, prompts, max_new_tokens=3, edits=[edit])
    generate(model, prompts, max_new_tokens=3)
    assert [set(vars(module)) for module in model.wrapped.modules()] == before


def test_rotary_tables_that_are_too_short_are_extended(
    backend: Any, checkpoint: Callable[[str], Path], prompts: tuple[Prompt, ...]
) -> None:
    if backend == "bridge":
        pytest.skip("only HookedTransformer keeps rotary tables")
    model = load_model(checkpoint("llama"), backend=backend, device="cpu")
    options: dict[str, Any] = {"max_new_tokens": 8}
    expected = generate(model, prompts, **options)
    for block in model.wrapped.blocks:
        block.attn.rotary_cos, block.attn.rotary_sin = (
            table[:4] for table in (block.attn.rotary_cos, block.attn.rotary_sin)
        )
    assert generate(model, prompts, **options) == expected
