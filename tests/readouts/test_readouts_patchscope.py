"""Patchscopes: what must change nothing changes nothing, and a planted state is read."""

from collections.abc import Callable, Sequence

import pytest
import torch

from lens_personas.activations import ReadAt, collect
from lens_personas.hooks import Edit, HookFn, Site, add_row_directions
from lens_personas.models import LensModel, Prompt, batches, generate, map_last_logits
from lens_personas.models import _run as runs
from lens_personas.readouts import (
    ScopeSources,
    ScopeTarget,
    centred_states,
    keep_states,
    norm_matched_states,
    patchscope,
    patchscope_texts,
    read_sources,
    token_log_probs,
    translated_states,
)

MakePrompts = Callable[..., list[Prompt]]
SCALE = 4.0


def _whole(logits: torch.Tensor) -> torch.Tensor:
    return logits


def _values(
    model: LensModel, sources: ScopeSources, targets: Sequence[ScopeTarget], **options: object
) -> torch.Tensor:
    return patchscope(model, sources, targets, _whole, **options).values  # type: ignore[arg-type]


def _targets(prompts: Sequence[Prompt]) -> list[ScopeTarget]:
    return [
        ScopeTarget(prompt=prompt, positions=tuple({0, at % len(prompt.ids)}))
        for at, prompt in enumerate(prompts, 1)
    ]


def test_a_prompt_put_into_itself_changes_nothing(
    model: LensModel, make_prompts: MakePrompts
) -> None:
    prompts = make_prompts(3)
    plain = map_last_logits(model, prompts, _whole)
    for at in (0, "last_prompt"):
        sources = read_sources(model, prompts, at=at)
        for row, prompt in enumerate(prompts):
            place = 0 if at == 0 else prompt.prompt_length - 1
            target = ScopeTarget(prompt=prompt, positions=(place,))
            for layer in sources.layers[1:]:
                own = ScopeSources(
                    states=sources.states[row : row + 1, layer : layer + 1],
                    layers=(layer,),
                    prompt_ids=(prompt.prompt_id,),
                )
                found = _values(model, own, [target], target_layers=[layer])[0, 0, 0, 0]
                torch.testing.assert_close(found, plain[row], atol=1e-4, rtol=0)


def test_another_state_does_change_the_reading(model: LensModel, make_prompts: MakePrompts) -> None:
    first, second, *_ = make_prompts(3)
    target = ScopeTarget(prompt=first, positions=(first.prompt_length - 1,))
    plain = map_last_logits(model, [first], _whole)[0]
    found = _values(model, read_sources(model, [second]), [target], target_layers=[0, 1])
    assert ((found - plain).abs().amax(dim=-1) > 1e-2).all()


def test_the_last_layer_reaches_the_next_token_only_at_the_last_position(
    model: LensModel, make_prompts: MakePrompts
) -> None:
    prompt, other, *_ = sorted(make_prompts(3), key=lambda p: -len(p.ids))
    last = model.card.n_layers - 1
    plain = map_last_logits(model, [prompt], _whole)[0]
    sources = read_sources(model, [other], layers=[last])
    before = ScopeTarget(prompt=prompt, positions=tuple(range(prompt.prompt_length - 1)))
    end = ScopeTarget(prompt=prompt, positions=(prompt.prompt_length - 1,))
    found = _values(model, sources, [before, end], target_layers=[last])[:, 0, 0, 0]
    torch.testing.assert_close(found[0], plain, atol=1e-5, rtol=0)
    # There the reading is the source's own next token.
    own = map_last_logits(model, [other], _whole)[0]
    torch.testing.assert_close(found[1], own, atol=1e-4, rtol=0)


def test_one_call_gives_what_single_rows_give(model: LensModel, make_prompts: MakePrompts) -> None:
    prompts = make_prompts(3)
    sources, targets = read_sources(model, prompts), _targets(prompts)
    asked = {"target_layers": [1, 0], "mapping": centred_states(sources, SCALE)}
    together = _values(model, sources, targets, **asked)
    assert together.shape[:4] == (len(targets), 2, len(sources.layers), len(prompts))
    again = _values(model, sources, targets, **asked, token_budget=60)
    torch.testing.assert_close(again, together, atol=1e-4, rtol=0)
    for t, target in enumerate(targets[:1]):
        for i, target_layer in enumerate([1, 0]):
            for j, layer in enumerate(sources.layers):
                state = sources.at(layer).mean(0) + SCALE * (
                    sources.at(layer) - sources.at(layer).mean(0)
                )
                expected = _by_hand(model, target, target_layer, state[0])
                torch.testing.assert_close(together[t, i, j, 0], expected, atol=1e-4, rtol=0)


def _always(state: torch.Tensor) -> HookFn:
    def put(activation: torch.Tensor, /, *, hook: object) -> torch.Tensor:
        return state.expand_as(activation)

    return put


def _by_hand(
    model: LensModel, target: ScopeTarget, layer: int, state: torch.Tensor
) -> torch.Tensor:
    edit = Edit(site=Site.RESID_POST, layer=layer, hook=_always(state), scope=target.positions)
    return map_last_logits(model, [target.prompt], _whole, edits=[edit])[0]


def test_padding_on_either_side_gives_the_same(
    model: LensModel, make_prompts: MakePrompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = make_prompts(3)

    def read() -> tuple[torch.Tensor, torch.Tensor]:
        sources = read_sources(model, prompts, at=[0, -1, *[1] * (len(prompts) - 2)])
        found = _values(model, sources, _targets(prompts), target_layers=[0])
        return sources.states, found

    left = read()
    monkeypatch.setattr(
        runs, "batches", lambda *given, **options: batches(*given, **options, side="right")
    )
    for here, there in zip(left, read(), strict=True):
        torch.testing.assert_close(here, there, atol=1e-4, rtol=0)


def test_text_is_the_same_with_and_without_a_cache_and_patched_in_the_prompt_alone(
    model: LensModel, make_prompts: MakePrompts
) -> None:
    prompts = make_prompts(3)
    targets = _targets(prompts)
    sources = read_sources(model, prompts, layers=[0, 2])
    options = {"target_layers": [0, 1], "max_new_tokens": 5}
    cached = patchscope_texts(model, sources, targets, **options)  # type: ignore[arg-type]
    plain = patchscope_texts(model, sources, targets, **options, use_cache=False)  # type: ignore[arg-type]
    assert cached == plain
    assert len(cached) == len(targets) * 2 * 2 * len(prompts)
    row = cached[-1]
    assert (row.target, row.target_layer, row.source_layer) == (len(targets) - 1, 1, 2)
    assert row.prompt_id == prompts[-1].prompt_id
    for each in cached[:: 4 * len(prompts)]:
        target = targets[each.target]
        state = sources.at(each.source_layer)[sources.prompt_ids.index(each.prompt_id)]

        edit = Edit(
            site=Site.RESID_POST,
            layer=each.target_layer,
            hook=_always(state),
            scope=target.positions,
        )
        (expected,) = generate(model, [target.prompt], max_new_tokens=5, edits=[edit])
        assert each.ids == expected.ids


def test_sources_are_what_is_collected(model: LensModel, make_prompts: MakePrompts) -> None:
    prompts = make_prompts(3)
    for read_at in (ReadAt(span="prompt", take="last"), ReadAt(span="prompt", take="mean")):
        expected = collect(
            model, prompts, sites=[Site.RESID_POST], layers=range(3), read_at=read_at
        ).values[Site.RESID_POST]
        found = read_sources(model, prompts, at=read_at)
        torch.testing.assert_close(found.states, expected.float(), atol=1e-5, rtol=0)
        assert found.prompt_ids == tuple(p.prompt_id for p in prompts)


def test_sources_see_the_edits_of_their_own_rows(
    model: LensModel, make_prompts: MakePrompts
) -> None:
    prompts = make_prompts(3)
    vectors = torch.randn(len(prompts), model.card.d_model, generator=torch.Generator())
    edit = Edit(
        site=Site.RESID_POST,
        layer=1,
        hook=add_row_directions(vectors, torch.ones(len(prompts))),
        per_row=True,
    )
    plain, edited = read_sources(model, prompts), read_sources(model, prompts, edits=[edit])
    torch.testing.assert_close(edited.at(0), plain.at(0), atol=1e-5, rtol=0)
    torch.testing.assert_close(edited.at(1), plain.at(1) + vectors, atol=1e-4, rtol=0)
    # An edit above the layers that are read has no effect on them.
    low = read_sources(model, prompts, edits=[edit], layers=[0])
    torch.testing.assert_close(low.at(0), plain.at(0), atol=1e-5, rtol=0)


def test_what_a_state_carries_is_read(model: LensModel, make_prompts: MakePrompts) -> None:
    """A state made to write a token says that token where nothing comes after it."""
    prompt = make_prompts(3)[0]
    last = model.card.n_layers - 1
    basis = torch.eye(model.card.d_model)
    written = model.logits((10 * basis).to(model.device)).float()
    answers = written.argmax(dim=1)
    planted = ScopeSources(
        states=10 * basis[:, None],
        layers=(0,),
        prompt_ids=tuple(str(at) for at in range(len(basis))),
    )
    target = ScopeTarget(prompt=prompt, positions=(prompt.prompt_length - 1,))
    found = _values(model, planted, [target], target_layers=[last])[0, 0, 0]
    assert (found.argmax(dim=1) == answers).all()
    kept = patchscope(
        model, planted, [target], token_log_probs(answers.tolist()), target_layers=[last]
    ).values[0, 0, 0]
    own = found.log_softmax(dim=1)[:, answers]
    torch.testing.assert_close(kept, own, atol=1e-5, rtol=0)


def test_maps_do_what_they_say() -> None:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(6, 2, 5, generator=generator)
    sources = ScopeSources(states=states, layers=(3, 7), prompt_ids=tuple("abcdef"))
    place = {"source_layer": 7, "target_layer": 1}
    own = sources.at(7)
    assert torch.equal(keep_states(own, **place), own)
    torch.testing.assert_close(centred_states(sources, 1.0)(own, **place), own)
    mean = centred_states(sources, 0.0)(own, **place)
    torch.testing.assert_close(mean, own.mean(dim=0).expand_as(own))
    far = centred_states(sources, 3.0)(own, **place)
    torch.testing.assert_close(far - own.mean(dim=0), 3 * (own - own.mean(dim=0)))
    matched = norm_matched_states({1: 2.5})(own, **place)
    torch.testing.assert_close(matched.norm(dim=1), torch.full((6,), 2.5))
    cosines = torch.nn.functional.cosine_similarity(matched, own)
    torch.testing.assert_close(cosines, torch.ones(6))
    weight, bias = torch.randn(5, 5, generator=generator), torch.randn(5, generator=generator)
    translated = translated_states({(7, 1): weight}, {(7, 1): bias})(own, **place)
    torch.testing.assert_close(translated, torch.nn.functional.linear(own, weight, bias))


def test_what_does_not_fit_is_refused(model: LensModel, make_prompts: MakePrompts) -> None:
    prompts = make_prompts(3)
    sources = read_sources(model, prompts, layers=[1])
    target = _targets(prompts)[0]
    with pytest.raises(ValueError, match="placeholders from 0 to"):
        ScopeTarget(prompt=prompts[0], positions=(len(prompts[0].ids),))
    with pytest.raises(ValueError, match="placeholders from 0 to"):
        ScopeTarget(prompt=prompts[0], positions=())
    with pytest.raises(ValueError, match="one place for each"):
        read_sources(model, prompts, at=[0])
    with pytest.raises(ValueError, match="position inside prompt"):
        read_sources(model, prompts, at=10_000)
    with pytest.raises(ValueError, match="at least one prompt"):
        read_sources(model, [])
    with pytest.raises(ValueError, match="at least one target"):
        _values(model, sources, [], target_layers=[0])
    with pytest.raises(ValueError, match="layer from 0 to"):
        _values(model, sources, [target], target_layers=[99])
    with pytest.raises(ValueError, match="finite states of shape"):
        _values(
            model,
            sources,
            [target],
            target_layers=[0],
            mapping=lambda states, /, *, source_layer, target_layer: states / 0,
        )
    with pytest.raises(ValueError, match="a layer among"):
        sources.at(0)
    with pytest.raises(ValueError, match="a layer among"):
        centred_states(sources, 1.0)(sources.at(1), source_layer=0, target_layer=0)
    with pytest.raises(ValueError, match="sources at 1 layers"):
        ScopeSources(states=sources.states, layers=(1,), prompt_ids=("one",))
    with pytest.raises(ValueError, match="positive norms"):
        norm_matched_states({0: 0.0})
    with pytest.raises(ValueError, match="translator of layers"):
        translated_states({}, {})(sources.at(1), source_layer=1, target_layer=0)
