"""Edits keep their order and their scope, and a careless hook is found out."""

import pytest
import torch

from lens_personas.hooks import (
    Edit,
    HookFn,
    Site,
    add_direction,
    at_positions,
    compile_edits,
    in_order,
    replace_by,
    set_projection_to,
)

ONES = torch.ones(8)


def edit(hook: HookFn, **options: object) -> Edit:
    return Edit(site=Site.RESID_POST, layer=1, hook=hook, **options)


def test_order_within_a_place_is_the_order_given_even_with_another_place_between(
    activation, layout
):
    first, second = edit(replace_by(ONES)), edit(add_direction(ONES))
    between = Edit(site=Site.RESID_PRE, layer=0, hook=replace_by(ONES))
    place = (Site.RESID_POST, 1)
    forward = compile_edits([first, between, second], layout, (0, 1))
    backward = compile_edits([second, between, first], layout, (0, 1))
    assert set(forward) == {place, (Site.RESID_PRE, 0)}
    assert forward[place](activation, hook=None)[0, 0, 0] == 2.0
    assert backward[place](activation, hook=None)[0, 0, 0] == 1.0


def test_in_order_runs_the_first_first_and_none_is_nothing(activation):
    both = in_order([replace_by(ONES), add_direction(ONES)])
    torch.testing.assert_close(both(activation, hook=None), torch.full_like(activation, 2.0))
    assert torch.equal(in_order([])(activation, hook=None), activation)


@pytest.mark.parametrize("scope", ["prompt", "last_prompt", "generated", "user", (1, -1)])
def test_positions_outside_the_scope_keep_their_bits(scope, activation, layout, run_edits):
    from lens_personas.hooks import scope_mask

    edited = run_edits([edit(add_direction(ONES), scope=scope)])
    mask = scope_mask(scope, layout)
    assert torch.equal(edited[~mask], activation[~mask])
    torch.testing.assert_close(edited[mask], activation[mask] + 1)


def test_a_nan_at_padding_stays_at_padding(activation, layout):
    activation[1, :2] = float("nan")
    hook = compile_edits([edit(set_projection_to(ONES, 1.0))], layout, (0, 1))
    edited = hook[Site.RESID_POST, 1](activation, hook=None)
    assert edited[layout.positions >= 0].isfinite().all()


def test_a_hook_that_writes_to_its_input_is_found_out(activation):
    def careless(activation, /, *, hook):
        activation[:, 0] = 0
        return activation

    with pytest.raises(RuntimeError, match="leaves its input as it is, got one that wrote to it"):
        at_positions(careless, torch.ones(2, 6, dtype=torch.bool))(activation, hook=None)


def test_edits_work_where_writes_are_not_counted(activation, layout):
    with torch.inference_mode():
        given = activation + 0
        hooks = compile_edits([edit(add_direction(ONES))], layout, (0, 1))
        edited = hooks[Site.RESID_POST, 1](given, hook=None)
    torch.testing.assert_close(edited[0], activation[0] + 1)


@pytest.mark.parametrize(
    ("careless", "message"),
    [
        (lambda a, /, *, hook: a[..., :1], "shape \\(2, 6, 1\\)"),
        (lambda a, /, *, hook: a[:1], "shape \\(1, 6, 8\\)"),
        (lambda a, /, *, hook: a.double(), "torch.float64"),
    ],
)
def test_a_hook_that_changes_shape_or_dtype_is_found_out(careless, message, activation):
    with pytest.raises(ValueError, match=message):
        at_positions(careless, torch.ones(2, 6, dtype=torch.bool))(activation, hook=None)


def test_a_hook_that_returns_nothing_is_found_out(activation):
    with pytest.raises(TypeError, match="returns a tensor, got NoneType"):
        at_positions(lambda a, /, *, hook: None, torch.ones(2, 6, dtype=torch.bool))(
            activation, hook=None
        )


def test_an_edit_compiled_for_another_pass_is_refused(activation, layout):
    hooks = compile_edits([edit(add_direction(ONES))], layout.window(0, 3), (0, 1))
    with pytest.raises(ValueError, match=r"\(2, 3\) rows and columns .*compile the edits anew"):
        hooks[Site.RESID_POST, 1](activation, hook=None)


def test_a_maker_that_gives_no_hook_is_refused(layout):
    with pytest.raises(TypeError, match=r"expected a hook .* got int"):
        compile_edits([edit(lambda rows: 3, per_row=True)], layout, (0, 1))


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"site": Site.Z, "layer": 0}, r"\[batch, pos, d_model\], got z"),
        ({"site": Site.RESID_PRE, "layer": -1}, "got -1; use n_layers"),
        ({"site": Site.RESID_PRE, "layer": 0, "per_row": True, "per_pass": True}, "got both"),
    ],
)
def test_an_impossible_place_is_refused_at_once(place, message):
    with pytest.raises(ValueError, match=message):
        Edit(hook=add_direction(ONES), **place)


def test_sites_spell_the_names_of_the_field():
    assert Site.RESID_POST.hook_name(3) == "blocks.3.hook_resid_post"
    assert Site.PATTERN.hook_name(0) == "blocks.0.attn.hook_pattern"
    assert Site.Z.hook_name(0) == "blocks.0.attn.hook_z"
    with pytest.raises(ValueError, match="counted from 0, got -1"):
        Site.Z.hook_name(-1)
