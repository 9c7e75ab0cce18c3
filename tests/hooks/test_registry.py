"""An op is found by its name, gets its parameters by name, and clashes are errors."""

import pytest
import torch

from lens_personas.hooks import (
    HookFn,
    _registry,
    ablate_direction,
    add_direction,
    affine,
    known_ops,
    make_hook,
    op,
    register_op,
)

ONES = torch.ones(8)


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_registry, "_ops", dict(_registry._ops))


def scale(*, dose: float = 1.0) -> HookFn:
    def multiply(activation, /, *, hook):
        return activation * dose

    return multiply


def test_the_shipped_ops_are_known():
    shipped = {"add", "ablate", "set_projection", "cap_projection", "affine", "replace"}
    assert shipped <= set(known_ops())
    assert op("add") is add_direction


def test_a_users_op_works_by_name(activation):
    assert register_op("scale_by")(scale) is scale
    assert "scale_by" in known_ops()
    edited = make_hook("scale_by", dose=3.0)(activation, hook=None)
    torch.testing.assert_close(edited, 3 * activation)


def test_a_taken_name_is_an_error_unless_replaced():
    with pytest.raises(ValueError, match=r"'add', which is taken by .*add_direction; choose"):
        register_op("add")(scale)
    assert op("add") is add_direction
    register_op("add", replace=True)(scale)
    assert op("add") is scale


@pytest.mark.parametrize("name", ["", "Add", "two words", "1st"])
def test_a_name_is_a_plain_word(name):
    with pytest.raises(ValueError, match="lower-case letters, digits and _"):
        register_op(name)


def test_an_unknown_name_lists_the_known_and_the_nearest():
    with pytest.raises(ValueError, match=r"ablate, add, .* got 'ablat'; did you mean 'ablate'\?"):
        op("ablat")
    with pytest.raises(ValueError, match="got 'zzz'; import the module that registers it"):
        op("zzz")


def test_parameters_go_by_name(activation):
    named = make_hook("affine", vector=ONES, dose=2.0, params={"reference": 2 * ONES})
    direct = affine(ONES, 2 * ONES, 2.0)
    assert torch.equal(named(activation, hook=None), direct(activation, hook=None))
    plain = make_hook("ablate", vector=ONES)
    assert torch.equal(plain(activation, hook=None), ablate_direction(ONES)(activation, hook=None))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "ablate", "vector": ONES, "dose": 2.0}, "unexpected keyword argument 'dose'"),
        ({"name": "ablate"}, r"got \(none\): missing a required argument: 'direction'"),
        (
            {"name": "cap_projection", "vector": ONES, "params": {"value": 1.0}},
            r"parameters \(direction, threshold\) of op 'cap_projection', got \(a vector, value\)",
        ),
    ],
)
def test_parameters_that_do_not_fit_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        make_hook(**given)


def test_a_vector_for_an_op_that_takes_none_is_an_error():
    register_op("scale_by")(scale)
    with pytest.raises(ValueError, match=r"got \(a vector\): too many positional"):
        make_hook("scale_by", vector=ONES)
