"""Edits under the key-value cache, and what goes wrong with hooks: found, and cleaned up."""

from collections.abc import Callable

import pytest
import torch

from lens_personas.hooks import Edit, HookFn, Site, add_direction, replace_by
from lens_personas.interventions import Intervention, ablate_everywhere, compile_plan
from lens_personas.models import (
    HookCountError,
    LensModel,
    Prompt,
    generate,
    load_model,
    render,
    run_batch,
)
from lens_personas.personas import Message

STEPS = 5


@pytest.fixture
def vector(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(32, generator=generator)


@pytest.fixture
def questions(tiny_model: LensModel) -> list[Prompt]:
    texts = ("what do people like to drink", "why", "tell me the truth about work")
    return [render(tiny_model, [Message(role="user", content=text)]) for text in texts]


def counting(touched: list[list[int]]) -> Callable[[object, object], HookFn]:
    """Maker of hooks that note how many positions of each row are in scope, pass by pass."""

    def make(rows, layout, /):
        def note(activation, /, *, hook):
            touched.append((layout.positions >= 0).sum(dim=1).tolist())
            return activation + 0

        return note

    return make


def touches(model, prompts, scope, *, use_cache: bool = True) -> list[list[int]]:
    touched: list[list[int]] = []
    edit = Edit(site=Site.RESID_POST, layer=1, hook=counting(touched), scope=scope, per_pass=True)
    # A stop token may end the answers early.
    generate(model, prompts, max_new_tokens=STEPS, edits=[edit], use_cache=use_cache)
    assert len(touched) >= 2
    return touched


def test_generated_hits_exactly_one_position_a_step(tiny_model, questions):
    assert {tuple(each) for each in touches(tiny_model, questions, "generated")} == {(1, 1, 1)}


@pytest.mark.parametrize("scope", ["last_prompt", (-1,)])
def test_last_prompt_hits_the_prefill_alone(scope, tiny_model, questions):
    first, *steps = touches(tiny_model, questions, scope)
    assert first == [1, 1, 1]
    assert {tuple(each) for each in steps} == {(0, 0, 0)}


def test_without_the_cache_the_same_positions_are_hit(tiny_model, questions):
    passes = touches(tiny_model, questions, "generated", use_cache=False)
    assert passes == [[at + 1] * 3 for at in range(len(passes))]
    last = touches(tiny_model, questions, "last_prompt", use_cache=False)
    assert {tuple(each) for each in last} == {(1, 1, 1)}


@pytest.mark.parametrize("scope", ["all", "prompt", "last_prompt", "generated", "user"])
def test_answers_are_the_same_with_and_without_the_cache(scope, tiny_model, questions, vector):
    plan = [Intervention(op="add", vector=vector, layers=(1,), scope=scope, dose=4.0)]
    edits = compile_plan(plan, card=tiny_model.card)
    cached = generate(tiny_model, questions, max_new_tokens=STEPS, edits=edits)
    whole = generate(tiny_model, questions, max_new_tokens=STEPS, edits=edits, use_cache=False)
    assert [each.ids for each in cached] == [each.ids for each in whole]
    alone = [
        generate(tiny_model, [each], max_new_tokens=STEPS, edits=edits)[0] for each in questions
    ]
    assert [each.ids for each in alone] == [each.ids for each in cached]


def test_ablation_everywhere_leaves_nothing_at_any_site(tiny_model, prompts, vector, passes):
    edits = compile_plan(ablate_everywhere(vector, tiny_model.card), card=tiny_model.card)
    sites = (Site.RESID_PRE, Site.RESID_MID, Site.RESID_POST, Site.ATTN_OUT, Site.MLP_OUT)
    places = [(site, layer) for site in sites for layer in range(3)]
    batch = passes.batch((0, 1, 2))
    plain = run_batch(tiny_model, batch, reads=places).reads
    clean = run_batch(tiny_model, batch, edits=edits, reads=places).reads
    unit, real = vector / vector.norm(), batch.layout.positions >= 0
    for place in places:
        assert (clean[place][real] @ unit).abs().max() < 1e-4
        assert (plain[place][real] @ unit).abs().max() > 1e-2


def test_steering_does_not_change_what_was_read_before(tiny_model, passes, vector):
    kept: list[torch.Tensor] = []

    def keep(activation, /, *, hook):
        kept.append(activation)
        return activation

    batch, place = passes.batch((0, 1, 2)), (Site.RESID_POST, 1)
    plain = run_batch(tiny_model, batch, reads=[place]).reads[place].clone()
    add = add_direction(vector, dose=5.0)
    edits = [Edit(site=place[0], layer=place[1], hook=hook) for hook in (keep, add)]
    edited = run_batch(tiny_model, batch, edits=edits, reads=[place]).reads[place]
    torch.testing.assert_close(kept[0], plain)
    assert (edited - plain).abs().max() > 1


def test_a_hook_that_writes_to_its_input_stops_the_run(tiny_model, passes):
    edit = Edit(site=Site.RESID_POST, layer=1, hook=lambda a, /, *, hook: a.zero_())
    with pytest.raises(RuntimeError, match="got one that wrote to it"):
        run_batch(tiny_model, passes.batch((0, 1)), edits=[edit])


def test_an_error_in_the_middle_leaves_no_hook(tiny_model, passes, vector):
    def broken(activation, /, *, hook):
        raise ArithmeticError("in the middle")

    batch = passes.batch((0, 1, 2))
    before = passes.whole((), batch)
    good = Edit(site=Site.RESID_PRE, layer=0, hook=add_direction(vector))
    bad = Edit(site=Site.RESID_POST, layer=1, hook=broken)
    for attempt in ([good, bad], [bad, good]):
        with pytest.raises(ArithmeticError, match="in the middle"):
            run_batch(tiny_model, batch, edits=attempt)
        after = passes.whole((), batch)
        assert all(torch.equal(after[row], before[row]) for row in before)


def test_a_hook_beyond_the_last_layer_is_an_error(tiny_model, passes, vector):
    edit = Edit(site=Site.RESID_POST, layer=2, hook=add_direction(vector))
    with pytest.raises((RuntimeError, ValueError), match="layer 2"):
        run_batch(tiny_model, passes.batch((0,)), edits=[edit], last_layer=1)


def test_a_direction_of_width_one_is_refused_on_a_model(tiny_model, passes):
    edit = Edit(site=Site.RESID_POST, layer=1, hook=replace_by(torch.ones(1)))
    with pytest.raises(ValueError, match="width 32, got width 1"):
        run_batch(tiny_model, passes.batch((0,)), edits=[edit])


def test_two_models_at_once_do_not_touch_each_other(
    tiny_model, passes, vector, backend, tiny_checkpoint
):
    other = load_model(tiny_checkpoint, backend=backend, device="cpu")
    batch = passes.batch((0, 1, 2))
    probe = torch.arange(8)[None]
    positions = torch.arange(8)[None]

    def plain() -> torch.Tensor:
        return other.run(probe, positions, hooks={}, cache=None, last_layer=2)

    with torch.no_grad():
        alone, within = plain(), []

    def visit(activation, /, *, hook):
        within.append(plain())
        return activation + 1

    edit = Edit(site=Site.RESID_POST, layer=1, hook=visit)
    edited = run_batch(tiny_model, batch, edits=[edit]).resid
    assert torch.equal(within[0], alone)
    assert (edited - run_batch(tiny_model, batch).resid).abs().max() > 1e-3


def test_a_hook_that_fires_twice_is_an_error(tiny_model, passes):
    fired: list[int] = []

    def again(activation, /, *, hook):
        fired.append(1)
        if len(fired) == 1:
            hook(activation)
        return activation

    edit = Edit(site=Site.RESID_POST, layer=0, hook=again)
    with pytest.raises(HookCountError, match="resid_post of layer 0 to fire once, it fired 2"):
        run_batch(tiny_model, passes.batch((0,)), edits=[edit])


def test_an_edit_at_resid_mid_arrives_or_is_refused(tiny_model, passes, vector):
    plan = [Intervention(op="add", vector=vector, site=Site.RESID_MID, layers=(1,), dose=4.0)]
    if not tiny_model.card.edits_resid_mid:
        assert tiny_model.card.backend == "bridge"
        with pytest.raises(ValueError, match="got resid_mid"):
            compile_plan(plan, card=tiny_model.card)
        return
    batch = passes.batch((0, 1, 2))
    edited = passes.whole(compile_plan(plan, card=tiny_model.card), batch)
    plain = passes.whole((), batch)
    assert (edited[0] - plain[0]).abs().max() > 0.1
