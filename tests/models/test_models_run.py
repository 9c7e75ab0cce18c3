"""One pass with edits and reads: the right numbers at the right places, nothing left behind."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lens_personas.hooks import Edit, HookFn, Scope, Site, compile_edits
from lens_personas.models import (
    HookCountError,
    LensModel,
    Prompt,
    answer_log_probs,
    map_last_logits,
    model_batches,
    pad,
    run_batch,
)

NAMES = ["llama", "gpt2", "qwen2", "gemma2"]


def _add(amount: float) -> HookFn:
    def add(activation: Tensor, /, *, hook: object) -> Tensor:
        ramp = torch.linspace(-1, 1, activation.shape[-1], dtype=activation.dtype)
        return activation + amount * ramp

    return add


def _push(site: Site = Site.RESID_POST, scope: Scope = "all", amount: float = 2.0) -> Edit:
    return Edit(site=site, layer=0, hook=_add(amount), scope=scope)


def _all(model: LensModel, prompts: Sequence[Prompt], **options: Any) -> Tensor:
    return map_last_logits(model, prompts, lambda rows: rows, **options)


def _free_of_hooks(model: LensModel) -> bool:
    points = {id(point): point for point in model.wrapped.hook_dict.values()}
    return not any(point.fwd_hooks or point._forward_hooks for point in points.values())


@pytest.mark.parametrize("name", NAMES)
def test_gotcha_1_last_layer_is_before_the_final_norm(
    name: str,
    loaded: Callable[[str], LensModel],
    plain: Callable[[str], Any],
    prompts: tuple[Prompt, ...],
) -> None:
    model = loaded(name)
    with torch.no_grad():
        hidden = plain(name)(torch.tensor([prompts[0].ids]), output_hidden_states=True)
    places = [(Site.RESID_POST, layer) for layer in range(model.card.n_layers)]
    run = run_batch(model, pad(prompts, [0], pad_id=0), reads=places)
    for layer in range(model.card.n_layers - 1):
        wanted = hidden.hidden_states[layer + 1]
        torch.testing.assert_close(run.reads[Site.RESID_POST, layer], wanted, atol=1e-4, rtol=1e-4)
    ours, normed = run.resid, hidden.hidden_states[-1]
    torch.testing.assert_close(ours, run.reads[places[-1]], atol=0, rtol=0)
    assert (ours - normed).norm() > 0.1 * normed.norm()
    inner = getattr(plain(name), "model", None) or plain(name).transformer
    norm = inner.norm if hasattr(inner, "norm") else inner.ln_f
    with torch.no_grad():
        torch.testing.assert_close(norm(ours), normed, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_gotcha_2_layers_count_from_0_and_follow_each_other(
    name: str,
    loaded: Callable[[str], LensModel],
    plain: Callable[[str], Any],
    prompts: tuple[Prompt, ...],
) -> None:
    model = loaded(name)
    sites = (Site.RESID_PRE, Site.RESID_POST)
    places = [(site, layer) for site in sites for layer in range(model.card.n_layers)]
    reads = run_batch(model, pad(prompts, [0], pad_id=0), reads=places).reads
    for layer in range(1, model.card.n_layers):
        assert torch.equal(reads[Site.RESID_PRE, layer], reads[Site.RESID_POST, layer - 1])
    with torch.no_grad():
        first = plain(name)(torch.tensor([prompts[0].ids]), output_hidden_states=True)
    torch.testing.assert_close(
        reads[Site.RESID_PRE, 0], first.hidden_states[0], atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("last_layer", [0, 1])
def test_a_pass_may_stop_early(
    last_layer: int, loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model, batch = loaded("llama"), pad(prompts, [0, 1], pad_id=0)
    run = run_batch(model, batch, reads=[(Site.RESID_POST, last_layer)])
    early = run_batch(model, batch, last_layer=last_layer, edits=[_push(amount=0.0)])
    assert torch.equal(early.resid, run.reads[Site.RESID_POST, last_layer])


def test_reads_see_the_edits_at_their_place_in_order(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model, batch = loaded("llama"), pad(prompts, [0], pad_id=0)

    def double(activation: Tensor, /, *, hook: object) -> Tensor:
        return 2 * activation

    place = (Site.RESID_POST, 0)
    before = run_batch(model, batch, reads=[place]).reads[place]
    edits = [Edit(site=Site.RESID_POST, layer=0, hook=double), _push(amount=1.0)]
    after = run_batch(model, batch, reads=[place], edits=edits).reads[place]
    ramp = torch.linspace(-1, 1, model.card.d_model)
    torch.testing.assert_close(after, 2 * before + ramp)
    # An edit at the last layer reaches what the pass gives back.
    last = run_batch(model, batch, edits=edits, last_layer=0).resid
    torch.testing.assert_close(last, after)


def test_gotcha_4b_a_hook_that_does_not_fire_is_an_error(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model, batch = loaded("llama"), pad(prompts, [0], pad_id=0)
    with pytest.raises(HookCountError, match="layer 2 to fire once, it fired 0 times"):
        run_batch(model, batch, reads=[(Site.RESID_PRE, 2)], last_layer=0)
    assert _free_of_hooks(model)


def test_gotcha_4b_a_hook_that_fires_twice_is_an_error(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model, batch = loaded("llama"), pad(prompts, [0], pad_id=0)
    point, inside = model.wrapped.hook_dict[Site.ATTN_OUT.hook_name(1)], []

    def call_once_more(module: Any, args: tuple[Tensor, ...]) -> None:
        if not inside:
            inside.append(True)
            module(*args)
            inside.clear()

    handle = point.register_forward_pre_hook(call_once_more)
    try:
        with pytest.raises(HookCountError, match="attn_out of layer 1 to fire once, it fired 2"):
            run_batch(model, batch, reads=[(Site.ATTN_OUT, 1)])
    finally:
        handle.remove()


def test_gotcha_4b_a_place_the_model_lacks_is_an_error(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    # Blocks with attention and MLP side by side have no middle.
    model, batch = loaded("parallel"), pad(prompts, [0], pad_id=0)
    places = [(Site.RESID_PRE, 0), (Site.RESID_MID, 0)]
    with pytest.raises(HookCountError, match=r"hook point 'blocks.0.hook_resid_mid' .* has none"):
        run_batch(model, batch, reads=places)
    assert _free_of_hooks(model)


@pytest.mark.parametrize("layer", [-1, 3])
def test_a_layer_that_does_not_exist(
    layer: int, loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    batch = pad(prompts, [0], pad_id=0)
    with pytest.raises(ValueError, match=f"expected a layer from 0 to 2, got {layer}"):
        run_batch(loaded("llama"), batch, reads=[(Site.RESID_POST, layer)])
    with pytest.raises(ValueError, match=f"expected a layer from 0 to 2, got {layer}"):
        run_batch(loaded("llama"), batch, last_layer=layer)


@pytest.mark.parametrize("name", NAMES)
def test_gotcha_4d_and_7_padding_changes_nothing(
    name: str, loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model = loaded(name)
    wanted = torch.stack([_all(model, [prompt])[0] for prompt in prompts])
    for side in ("left", "right"):
        for pad_id in (0, 5):
            batch = pad(prompts, range(len(prompts)), pad_id=pad_id, side=side)
            run = run_batch(model, batch)
            last = run.resid[torch.arange(len(prompts)), batch.last_column]
            torch.testing.assert_close(model.logits(last), wanted, atol=1e-4, rtol=0)


def test_gotcha_4d_unknown_keywords_are_refused(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model: Any = loaded("llama")
    batch = pad(prompts, [0], pad_id=0)
    with pytest.raises(TypeError, match="past_kv_cache"):
        model.run(
            batch.tokens,
            batch.layout.positions,
            hooks={},
            cache=None,
            last_layer=0,
            past_kv_cache=None,
        )


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
@pytest.mark.parametrize("scope", ["all", "prompt", "last_prompt", "generated", (-1,), (1, -2)])
@pytest.mark.parametrize("site", [Site.RESID_POST, Site.ATTN_OUT])
def test_gotcha_13_cached_batched_and_padded_passes_agree(
    name: str,
    scope: Any,
    site: Site,
    loaded: Callable[[str], LensModel],
    prompts: tuple[Prompt, ...],
) -> None:
    model, edits = loaded(name), [_push(site, scope, 1.5)]
    full = [replace(prompt, prompt_length=len(prompt.ids) - 2) for prompt in prompts]
    alone = [run_batch(model, pad(full, [row], pad_id=0), edits=edits).resid[0] for row in range(4)]
    for side in ("left", "right"):
        batch = pad(full, range(4), pad_id=0, side=side)
        together = run_batch(model, batch, edits=edits).resid
        for row, wanted in enumerate(alone):
            got = together[row][batch.layout.positions[row] >= 0]
            torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)
    cached = _in_steps(model, full, edits)
    for row, wanted in enumerate(alone):
        torch.testing.assert_close(cached[row, -3:], wanted[-3:], atol=1e-4, rtol=1e-4)


def _in_steps(model: LensModel, prompts: Sequence[Prompt], edits: Sequence[Edit]) -> Tensor:
    """Left-padded prompts without their last two tokens, which then come one by one."""
    batch = pad(prompts, range(len(prompts)), pad_id=0)
    width, cache = batch.tokens.shape[1], model.new_cache(len(prompts))
    parts = []
    for start, stop in ((0, width - 2), (width - 2, width - 1), (width - 1, width)):
        window = batch.layout.window(start, stop)
        resid = model.run(
            batch.tokens[:, start:stop],
            batch.layout.positions[:, :stop],
            hooks=compile_edits(edits, window, batch.rows),
            cache=cache,
            last_layer=model.card.n_layers - 1,
        )
        parts.append(resid)
    return torch.cat(parts, dim=1)


def test_gotcha_24_a_hook_that_raises_leaves_nothing_behind(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model, batch = loaded("llama"), pad(prompts, [0, 1], pad_id=0)

    def fail(activation: Tensor, /, *, hook: object) -> Tensor:
        raise OSError("disk full")

    before = run_batch(model, batch).resid
    with pytest.raises(OSError, match="disk full"):
        run_batch(model, batch, edits=[_push(), Edit(site=Site.MLP_OUT, layer=1, hook=fail)])
    assert _free_of_hooks(model)
    assert torch.equal(run_batch(model, batch).resid, before)


def test_a_hook_of_the_users_own_stays(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model, batch, seen = loaded("llama"), pad(prompts, [0], pad_id=0), []

    def watch(activation: Tensor, hook: object) -> None:
        seen.append(activation.shape)

    with model.wrapped.hooks(fwd_hooks=[(Site.RESID_POST.hook_name(0), watch)]):
        run_batch(model, batch, edits=[_push()])
        run_batch(model, batch)
    assert len(seen) == 2
    assert _free_of_hooks(model)


def test_gotcha_25_two_models_at_once(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    outer, inner = loaded("llama"), loaded("gpt2")
    batch = pad(prompts, [0, 1], pad_id=0)
    seen = []

    def run_the_other(activation: Tensor, /, *, hook: object) -> Tensor:
        seen.append(run_batch(inner, batch, edits=[_push(amount=3.0)]).resid)
        return activation

    wanted_inner = run_batch(inner, batch, edits=[_push(amount=3.0)]).resid
    wanted_outer = run_batch(outer, batch, edits=[_push()]).resid
    edits = [_push(), Edit(site=Site.RESID_POST, layer=0, hook=run_the_other)]
    assert torch.equal(run_batch(outer, batch, edits=edits).resid, wanted_outer)
    assert torch.equal(seen[0], wanted_inner)
    assert torch.equal(run_batch(inner, batch, edits=[_push(amount=3.0)]).resid, wanted_inner)


def test_gotcha_26_repeated_rows_keep_their_own_edit(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model, doses = loaded("llama"), (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)

    def of_rows(rows: Sequence[int]) -> HookFn:
        dose = torch.tensor([doses[row] for row in rows])[:, None, None]

        def add(activation: Tensor, /, *, hook: object) -> Tensor:
            return activation + dose * torch.linspace(-1, 1, activation.shape[-1])

        return add

    repeated = [prompts[0], prompts[1]] * 3
    edit = Edit(site=Site.RESID_POST, layer=0, hook=of_rows, per_row=True, scope="last_prompt")
    got = _all(model, repeated, edits=[edit], token_budget=25)
    for row, dose in enumerate(doses):
        alone = _all(model, [repeated[row]], edits=[_push(scope="last_prompt", amount=dose)])
        torch.testing.assert_close(got[row], alone[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("budget", [1, 12, 20, 10_000])
def test_numbers_do_not_hang_on_the_token_budget(
    budget: int, loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model = loaded("llama")
    wanted = torch.stack([_all(model, [prompt])[0] for prompt in prompts])
    got = _all(model, prompts, token_budget=budget)
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=0)


def test_map_last_logits_reduces_each_prompt(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    got = map_last_logits(loaded("llama"), prompts, lambda rows: rows[:, [3, 7]])
    assert torch.equal(got, _all(loaded("llama"), prompts)[:, [3, 7]])
    with pytest.raises(ValueError, match="expected at least one prompt, got none"):
        map_last_logits(loaded("llama"), [], lambda rows: rows)


@pytest.mark.parametrize("name", NAMES)
def test_answer_log_probs_are_those_of_transformers(
    name: str,
    loaded: Callable[[str], LensModel],
    plain: Callable[[str], Any],
    prompt_of: Callable[..., Prompt],
) -> None:
    given = [
        prompt_of(1, 9, 8, answer=(40,)),
        prompt_of(1, 5, answer=(7, 6, 5, 4)),
        prompt_of(1, 30, 31, 32, 33, 34, answer=(50, 51)),
    ]
    for prompt, got in zip(given, answer_log_probs(loaded(name), given), strict=True):
        with torch.no_grad():
            log_probs = plain(name)(torch.tensor([prompt.ids])).logits[0].log_softmax(-1)
        steps = range(prompt.prompt_length, len(prompt.ids))
        wanted = torch.stack([log_probs[at - 1, prompt.ids[at]] for at in steps])
        torch.testing.assert_close(got, wanted, atol=1e-4, rtol=0)


def test_an_answer_is_needed_to_score_one(
    loaded: Callable[[str], LensModel], prompt_of: Callable[..., Prompt]
) -> None:
    given = [prompt_of(1, 2, answer=(3,)), prompt_of(1, 2, prompt_id="bare")]
    with pytest.raises(ValueError, match="expected prompt 'bare' to carry an answer"):
        answer_log_probs(loaded("llama"), given)


def test_gotcha_11_generated_begins_at_the_last_prompt_token(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model = loaded("llama")
    plain, edited = _all(model, prompts), _all(model, prompts, edits=[_push(scope="generated")])
    assert ((plain - edited).abs().amax(dim=1) > 0.1).all()


def test_a_prompt_longer_than_the_context(
    loaded: Callable[[str], LensModel], prompt_of: Callable[..., Prompt]
) -> None:
    with pytest.raises(ValueError, match="at most 128 tokens, the longest has 129"):
        model_batches(loaded("qwen2"), [prompt_of(*[1] * 129)])
    assert _all(loaded("qwen2"), [prompt_of(*[1] * 128)]).isfinite().all()


def test_a_tokenizer_without_a_pad_token(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    given: Any = loaded("llama")
    wanted = _all(given, prompts)
    tokenizer = type(given.tokenizer)(tokenizer_object=given.tokenizer.backend_tokenizer)
    assert tokenizer.pad_token_id is None
    bare = replace(given, tokenizer=tokenizer)
    torch.testing.assert_close(_all(bare, prompts), wanted, atol=1e-4, rtol=0)
