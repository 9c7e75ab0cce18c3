"""Every op gives the same numbers cached or not, batched or alone, padded left or right."""

import pytest
import torch

from lens_personas.hooks import (
    Edit,
    HookFn,
    Scope,
    Site,
    ablate_row_directions,
    known_ops,
    patch_positions,
    register_op,
    replace_row_states,
)
from lens_personas.hooks import _registry as registry
from lens_personas.interventions import (
    Intervention,
    RowPlan,
    ablate_everywhere,
    compile_plan,
    compile_row_plan,
    per_row_additions,
)
from lens_personas.models import run_batch

PARAMS = {
    "set_projection": {"value": 3.0},
    "cap_projection": {"threshold": -0.5},
    "affine": {"reference": torch.linspace(-1, 1, 32)},
}
DOSES = {"add": 4.0, "affine": 2.0, "users_own": 0.5}
NO_VECTOR = {"users_own"}
OPS = sorted({*known_ops(), "users_own"} - {"scale"})
SCOPES: list[Scope] = ["all", "prompt", "system", "user", "last_prompt", "generated", (0, 3, -1)]


@pytest.fixture(autouse=True)
def users_own_op(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_ops", dict(registry._ops))

    @register_op("users_own")
    def damp(*, dose: float) -> HookFn:
        def squash(activation, /, *, hook):
            return torch.tanh(activation) * dose

        return squash


@pytest.fixture
def vector(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(32, generator=generator)


@pytest.fixture
def vectors(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(3, 32, generator=generator)


def intervention(op: str, vector: torch.Tensor, **options: object) -> Intervention:
    given: dict = {"site": Site.RESID_POST, "layers": (1,), **options}
    return Intervention(
        op=op,
        vector=None if op in NO_VECTOR else vector,
        dose=DOSES.get(op),
        params=PARAMS.get(op, {}),
        **given,
    )


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("site", [Site.RESID_PRE, Site.RESID_POST, Site.ATTN_OUT])
def test_every_op_conforms(op, site, vector, tiny_model, assert_conform):
    plan = [intervention(op, vector, site=site)]
    assert_conform(compile_plan(plan, card=tiny_model.card))


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("op", ["add", "users_own"])
def test_every_scope_conforms(op, scope, vector, tiny_model, assert_conform):
    plan = [intervention(op, vector, scope=scope)]
    assert_conform(compile_plan(plan, card=tiny_model.card))


def test_a_plan_of_several_conforms(vector, tiny_model, assert_conform):
    plan = [
        intervention("add", vector, layers=(0, 2), scope="generated"),
        intervention("ablate", vector, site=Site.MLP_OUT, layers=(0, 1)),
        intervention("replace", vector, scope="user", layers=(0,)),
        *ablate_everywhere(vector.flip(0), tiny_model.card),
    ]
    assert_conform(compile_plan(plan, card=tiny_model.card))


@pytest.mark.parametrize("scope", ["all", "last_prompt", "generated"])
def test_rows_of_their_own_conform(scope, vectors, assert_conform):
    add = per_row_additions(
        vectors,
        torch.tensor([3.0, -4.0, 0.0]),
        site=Site.RESID_POST,
        layer=1,
        scope=scope,
    )
    others = [ablate_row_directions(vectors), replace_row_states(vectors)]
    for hook in others:
        edit = Edit(site=Site.RESID_PRE, layer=1, hook=hook, scope=scope, per_row=True)
        assert_conform([edit])
    assert_conform([add])


def test_plans_by_row_conform_and_equal_each_plan_alone(vector, tiny_model, passes, assert_conform):
    plans = (
        (intervention("add", vector), intervention("ablate", vector.flip(0), scope="user")),
        (),
        (intervention("users_own", vector, site=Site.RESID_PRE), intervention("add", vector)),
    )
    edits = compile_row_plan(RowPlan(plans=plans), card=tiny_model.card)
    assert_conform(edits)
    together = passes.whole(edits, passes.batch((0, 1, 2)))
    for row, plan in enumerate(plans):
        alone = passes.whole(compile_plan(plan, card=tiny_model.card), passes.batch((row,)))
        torch.testing.assert_close(together[row], alone[row], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("scope", ["all", "user", "last_prompt", "generated", (1, -2)])
def test_patching_conforms(scope, vector, passes, tiny_model, assert_conform):
    batch, place = passes.batch((1, 2, 0)), (Site.RESID_POST, 0)
    steered = compile_plan([intervention("add", vector, layers=(0,))], card=tiny_model.card)
    source = run_batch(tiny_model, batch, edits=steered, reads=[place]).reads[place]
    maker = patch_positions(source, batch.layout, rows=batch.rows)
    edit = Edit(site=place[0], layer=place[1], hook=maker, scope=scope, per_pass=True)
    assert_conform([edit])
    if scope == "all":
        whole = passes.whole([edit], passes.batch((0, 1, 2)))
        expected = passes.whole(steered, passes.batch((0, 1, 2)))
        torch.testing.assert_close(whole, expected, atol=1e-4, rtol=1e-4)


def test_a_patch_with_its_own_run_changes_nothing(passes, tiny_model):
    batch, place = passes.batch((0, 1, 2)), (Site.RESID_POST, 1)
    source = run_batch(tiny_model, batch, reads=[place]).reads[place]
    maker = patch_positions(source, batch.layout)
    edit = Edit(site=place[0], layer=place[1], hook=maker, per_pass=True)
    torch.testing.assert_close(passes.whole([edit], batch), passes.whole((), batch))
