"""Blocks driven one by one, and passes put together from them, against the model's own pass."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lens_personas.hooks import Edit, HookFn, Scope, Site, TokenLayout
from lens_personas.models import (
    LensModel,
    Prompt,
    block_driver,
    last_resid,
    map_last_logits,
    model_batches,
    pad,
    run_batch,
)

NAMES = ["llama", "gpt2", "qwen2", "gemma2", "wide_heads", "tied", "parallel"]
SITES = [Site.RESID_PRE, Site.ATTN_OUT, Site.MLP_OUT, Site.RESID_POST]
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


def _add(amount: float) -> HookFn:
    def add(activation: Tensor, /, *, hook: object) -> Tensor:
        ramp = torch.linspace(-1, 1, activation.shape[-1], dtype=activation.dtype)
        return activation + amount * ramp

    return add


def _edit(site: Site, layer: int, scope: Scope = "all", **options: Any) -> Edit:
    return Edit(site=site, layer=layer, hook=_add(2.0), scope=scope, **options)


@pytest.fixture(scope="session")
def family(prompt_of: Callable[..., Prompt]) -> tuple[Prompt, ...]:
    """Two personas, one longer, times three requests; a stranger; one row twice."""
    personas = [range(20, 27), range(40, 51)]
    requests = [(7, 8, 9), (60,), (7, 9, 61, 62, 63)]
    told = [prompt_of(1, *persona, *request) for persona in personas for request in requests]
    return (*told, prompt_of(90, 91), told[0])


@pytest.mark.parametrize("name", NAMES)
def test_every_architecture_here_can_be_driven(
    name: str, loaded: Callable[[str], LensModel]
) -> None:
    assert loaded(name).card.drives_blocks


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_blocks_one_by_one_give_the_models_own_residuals(
    name: str, side: Any, loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model = loaded(name)
    batch = pad(prompts, range(len(prompts)), pad_id=0, side=side)
    places = [(Site.RESID_POST, layer) for layer in range(model.card.n_layers)]
    own = run_batch(model, batch, reads=places, plain=True)
    driver, real = block_driver(model), batch.layout.positions >= 0
    resid = driver.embed(batch.tokens, batch.layout.positions)
    frame = driver.frame(batch.layout.positions, batch.tokens.shape[1])
    for layer in range(model.card.n_layers):
        resid = driver.block(layer, resid, frame).resid
        torch.testing.assert_close(resid[real], own.reads[Site.RESID_POST, layer][real], **CLOSE)


@pytest.mark.parametrize("name", NAMES)
def test_columns_after_a_cached_prefix_come_out_as_in_the_whole_pass(
    name: str, loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model, cut = loaded(name), 5
    batch = pad(prompts, range(len(prompts)), pad_id=0)
    positions = batch.layout.positions
    driver = block_driver(model)
    resid = driver.embed(batch.tokens, positions)
    first, rest = resid[:, :cut], resid[:, cut:]
    whole = driver.frame(positions, resid.shape[1])
    frames = driver.frame(positions[:, :cut], cut), driver.frame(positions, rest.shape[1])
    for layer in range(model.card.n_layers):
        known = driver.block(layer, first, frames[0], keep=True)
        again = driver.keys_values(layer, first, frames[0])
        assert known.keys_values is not None
        torch.testing.assert_close(known.keys_values.keys, again.keys, **CLOSE)
        ran = driver.block(layer, rest, frames[1], past=again, keep=True)
        assert ran.keys_values is not None
        assert ran.keys_values.n_columns == resid.shape[1]
        first, rest = known.resid, ran.resid
        resid = driver.block(layer, resid, whole).resid
    real = positions[:, cut:] >= 0
    torch.testing.assert_close(rest[real], resid[:, cut:][real], **CLOSE)


def test_a_past_that_does_not_fit_the_frame_is_refused(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model = loaded("llama")
    batch = pad(prompts, range(2), pad_id=0)
    driver = block_driver(model)
    resid = driver.embed(batch.tokens, batch.layout.positions)
    frame = driver.frame(batch.layout.positions, 3)
    with pytest.raises(ValueError, match=f"of {resid.shape[1] - 3} cached columns, got 0"):
        driver.block(0, resid[:, -3:], frame)
    with pytest.raises(ValueError, match="columns to run, got 0"):
        driver.frame(batch.layout.positions, 0)
    known = driver.keys_values(0, resid, driver.frame(batch.layout.positions, resid.shape[1]))
    three = known.select(torch.tensor([0, 1, 1]))
    with pytest.raises(ValueError, match="expected keys and values of 3 rows, got 2"):
        known.joined(three)


def test_a_model_that_cannot_be_driven_is_refused_and_still_runs(
    loaded: Callable[[str], LensModel], family: tuple[Prompt, ...]
) -> None:
    able: Any = loaded("llama")
    unable: Any = replace(able, card=replace(able.card, drives_blocks=False))
    with pytest.raises(ValueError, match="run whole passes instead"):
        block_driver(unable)
    assert all(batch.prefix is None for batch in model_batches(unable, family, share=True))
    found = map_last_logits(unable, family, lambda rows: rows)
    torch.testing.assert_close(found, map_last_logits(able, family, lambda rows: rows), **CLOSE)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("at", ["last", "inside"])
def test_the_last_block_at_one_column_gives_that_column(
    name: str,
    share: bool,
    at: str,
    loaded: Callable[[str], LensModel],
    family: tuple[Prompt, ...],
) -> None:
    model = loaded(name)
    for batch in model_batches(model, family, share=share):
        column = batch.last_column
        if at == "inside":
            column = (column - 1).clamp_min(0)
        rows = torch.arange(len(column))
        whole = run_batch(model, batch, plain=True).resid[rows, column]
        trimmed = run_batch(model, batch, only=column).resid
        torch.testing.assert_close(trimmed[:, 0], whole, **CLOSE)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("scope", ["all", "last_prompt", (0,), (-2,)])
def test_edits_act_alike_on_shared_trimmed_and_whole_passes(
    name: str,
    site: Site,
    scope: Scope,
    loaded: Callable[[str], LensModel],
    family: tuple[Prompt, ...],
) -> None:
    model = loaded(name)
    for layer in range(model.card.n_layers):
        edits = [_edit(site, layer, scope)]
        for batch in model_batches(model, family, share=True):
            assert batch.prefix is not None or len(batch.rows) == 1
            rows = torch.arange(len(batch.rows))
            true = run_batch(model, batch, edits=edits, plain=True).resid[rows, batch.last_column]
            torch.testing.assert_close(last_resid(model, batch, edits=edits), true, **CLOSE)


def test_rows_edited_each_in_its_own_way_are_right_though_they_begin_alike(
    loaded: Callable[[str], LensModel], family: tuple[Prompt, ...]
) -> None:
    def make(rows: Sequence[int], /) -> HookFn:
        return _scaled(torch.tensor([1.0 + row for row in rows]))

    model = loaded("llama")
    edit = Edit(site=Site.RESID_PRE, layer=1, hook=make, per_row=True)
    for batch in model_batches(model, family, share=True):
        rows = torch.arange(len(batch.rows))
        true = run_batch(model, batch, edits=[edit], plain=True).resid[rows, batch.last_column]
        torch.testing.assert_close(last_resid(model, batch, edits=[edit]), true, **CLOSE)


def _scaled(by: Tensor) -> HookFn:
    def scale(activation: Tensor, /, *, hook: object) -> Tensor:
        return activation * by[:, None, None]

    return scale


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_reads_of_shared_prefixes_are_those_of_the_whole_rows(
    name: str, loaded: Callable[[str], LensModel], family: tuple[Prompt, ...]
) -> None:
    model = loaded(name)
    places = [(site, layer) for site in SITES for layer in range(model.card.n_layers)]
    for batch in model_batches(model, family, share=True):
        shared = run_batch(model, batch, reads=places)
        plain = run_batch(model, batch, reads=places, plain=True)
        real = batch.layout.positions >= 0
        torch.testing.assert_close(shared.resid[real], plain.resid[real], **CLOSE)
        for place in places:
            torch.testing.assert_close(shared.reads[place][real], plain.reads[place][real], **CLOSE)


@pytest.mark.parametrize("only", [False, True])
@pytest.mark.parametrize("plain", [False, True])
def test_take_sees_each_place_once_with_the_layout_of_what_it_sees(
    only: bool, plain: bool, loaded: Callable[[str], LensModel], family: tuple[Prompt, ...]
) -> None:
    model = loaded("llama")
    output = (Site.RESID_POST, model.card.n_layers - 1)
    places = [(Site.RESID_PRE, 1), (Site.ATTN_OUT, 0), output]
    for batch in model_batches(model, family, share=True):
        seen: list[Any] = []

        def take(place: Any, activation: Tensor, layout: TokenLayout) -> Tensor:
            seen.append(place)  # noqa: B023
            assert activation.shape[:2] == layout.positions.shape
            return activation.sum(dim=1)

        columns = batch.last_column if only else None
        run = run_batch(model, batch, reads=places, take=take, only=columns, plain=plain)
        assert sorted(seen) == sorted(places)
        assert all(
            value.shape == (len(batch.rows), model.card.d_model) for value in run.reads.values()
        )
        if only:
            torch.testing.assert_close(run.reads[output], run.resid[:, 0], **CLOSE)


@given(
    ids=st.lists(
        st.lists(st.integers(0, 2), min_size=1, max_size=9).map(tuple), min_size=1, max_size=12
    ),
    budget=st.integers(4, 60),
)
def test_shared_batches_hold_each_prompt_once_and_whole(
    ids: list[tuple[int, ...]], budget: int, loaded: Any, prompt_of: Any
) -> None:
    prompts = [prompt_of(*(20 + token for token in row)) for row in ids]
    found = model_batches(loaded("llama"), prompts, budget, share=True)
    assert sorted(row for batch in found for row in batch.rows) == list(range(len(prompts)))
    for batch in found:
        real = batch.layout.positions >= 0
        for at, row in enumerate(batch.rows):
            assert tuple(batch.tokens[at][real[at]].tolist()) == prompts[row].ids
            held = batch.layout.positions[at][real[at]].tolist()
            assert held == list(range(len(prompts[row].ids)))
        if batch.prefix is not None:
            n, prefix = batch.prefix.n_columns, batch.prefix
            first = batch.tokens[:, :n], batch.layout.positions[:, :n]
            for of in first:
                assert torch.equal(of, of[prefix.rows][prefix.row_of])
            # The last token of each row is its own.
            assert bool((batch.last_column >= n).all())


def test_a_prefix_of_half_the_tokens_runs_once_a_batch(
    loaded: Callable[[str], LensModel], prompt_of: Callable[..., Prompt]
) -> None:
    prompts = [prompt_of(1, *range(20, 49), *range(50 + at, 79 + at), 5) for at in range(20)]
    (batch,) = model_batches(loaded("llama"), prompts, 10_000, share=True)
    assert batch.prefix is not None
    assert len(batch.prefix.rows) == 1
    assert batch.prefix.n_columns == 30


def test_prompts_with_nothing_in_common_are_batched_as_ever(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...], prompt_of: Any
) -> None:
    strangers = [prompt_of(20 + at, *range(40, 48)) for at in range(6)]
    model = loaded("llama")
    for share in (False, True):
        assert [b.rows for b in model_batches(model, strangers, 30, share=share)] == [
            (0, 1, 2),
            (3, 4, 5),
        ]


def test_batches_on_a_cpu_stay_small_unless_a_whole_one_is_asked_for(
    loaded: Callable[[str], LensModel], prompt_of: Callable[..., Prompt]
) -> None:
    prompts = [prompt_of(1, *[20 + at] * 99) for at in range(150)]
    small = model_batches(loaded("llama"), prompts, 10**6)
    assert len(small) > 1
    assert all(batch.tokens.numel() <= 512 * 768 // 32 for batch in small)
    assert len(model_batches(loaded("llama"), prompts, 10**6, whole=True)) == 1


def test_chosen_entries_of_the_vocabulary_are_those_of_the_whole(
    loaded: Callable[[str], LensModel],
) -> None:
    for name in NAMES:
        model = loaded(name)
        resid = torch.randn(5, model.card.d_model, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            whole = model.logits(resid)
            chosen = torch.tensor([7, 3, 3, model.card.d_vocab - 1])
            torch.testing.assert_close(model.logits(resid, chosen), whole[:, chosen], **CLOSE)
            part = model.logits(resid, slice(4, 11))
        torch.testing.assert_close(part, whole[:, 4:11], **CLOSE)
