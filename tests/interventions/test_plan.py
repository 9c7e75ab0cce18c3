"""Plans are held against the model before it runs, and compiled in their order."""

from dataclasses import replace

import pytest
import torch

from lens_personas.hooks import Scope, Site, TokenLayout, compile_edits
from lens_personas.interventions import (
    Intervention,
    RowPlan,
    ablate_everywhere,
    compile_plan,
    compile_row_plan,
    per_row_additions,
    relative_dose,
)

ONES = torch.ones(8)


def add(**changes: object) -> Intervention:
    return Intervention(**({"op": "add", "vector": ONES, "layers": (1,)} | changes))


@pytest.fixture
def layout() -> TokenLayout:
    return TokenLayout(
        positions=torch.tensor([[0, 1, 2], [-1, 0, 1]]),
        prompt_length=torch.tensor([3, 2]),
        spans={},
    )


def test_edits_come_in_the_plans_order_one_a_layer(card):
    plan = (add(layers=(2, 0), scope="last_prompt"), add(op="ablate", site=Site.MLP_OUT))
    edits = compile_plan(plan, card=card)
    assert [(e.site, e.layer, e.scope) for e in edits] == [
        (Site.RESID_POST, 0, "last_prompt"),
        (Site.RESID_POST, 2, "last_prompt"),
        (Site.MLP_OUT, 1, "all"),
    ]


def test_at_one_place_the_first_acts_first(card, layout):
    plan = (add(op="replace"), add(dose=2.0))
    results = []
    for ordered in (plan, plan[::-1]):
        hooks = compile_edits(compile_plan(ordered, card=card), layout, (0, 1))
        results.append(hooks[Site.RESID_POST, 1](torch.zeros(2, 3, 8), hook=None)[0, 0, 0])
    assert results == [3.0, 1.0]


@pytest.mark.parametrize(
    ("change", "capability", "message"),
    [
        ({"layers": (0, 3)}, {}, r"layers from 0 to 2 of tiny, got \[3\]"),
        ({"vector": torch.ones(1)}, {}, "width 8 for tiny, got width 1"),
        ({"site": Site.Z}, {}, "a site of width d_model, got z"),
        (
            {"site": Site.RESID_MID},
            {"edits_resid_mid": False, "backend": "bridge"},
            "got resid_mid: on the bridge backend .* use attn_out or resid_post",
        ),
        (
            {"site": Site.ATTN_OUT},
            {"residual_identity_holds": False, "residual_identity_error": 0.5},
            r"got attn_out: in tiny it is not what is added .*5\.0e-01",
        ),
        (
            {"site": Site.MLP_OUT},
            {"residual_identity_holds": False},
            "got mlp_out: .* use resid_pre or resid_post",
        ),
        ({"op": "ad"}, {}, "did you mean 'add'"),
        ({"op": "cap_projection"}, {}, "missing a required argument: 'threshold'"),
        ({"op": "ablate", "dose": 1.0}, {}, "unexpected keyword argument 'dose'"),
        ({"params": {"dose": 2.0}, "dose": 1.0}, {}, "dose .* both"),
    ],
)
def test_what_the_model_cannot_do_is_refused(change, capability, message, card):
    with pytest.raises(ValueError, match=message):
        compile_plan([add(**change)], card=replace(card, **capability))


def test_residual_sites_are_open_whatever_the_components_are(card):
    limited = replace(card, residual_identity_holds=False, edits_resid_mid=False)
    plan = [add(site=Site.RESID_PRE), add(site=Site.RESID_POST)]
    assert len(compile_plan(plan, card=limited)) == 2


@pytest.mark.parametrize(
    ("capability", "sites"),
    [
        ({}, {"resid_pre": (0, 1, 2), "attn_out": (0, 1, 2), "mlp_out": (0, 1, 2)}),
        (
            {"residual_identity_holds": False},
            {"resid_pre": (0, 1, 2), "resid_mid": (0, 1, 2), "resid_post": (2,)},
        ),
        (
            {"residual_identity_holds": False, "edits_resid_mid": False},
            {"resid_pre": (0, 1, 2), "resid_post": (2,)},
        ),
    ],
)
def test_ablation_everywhere_takes_the_sites_that_clean_the_stream(capability, sites, card):
    limited = replace(card, **capability)
    plan = ablate_everywhere(ONES, limited)
    assert {each.site.value: each.layers for each in plan} == sites
    assert {each.op for each in plan} == {"ablate"}
    compile_plan(plan, card=limited)


def test_a_relative_dose_gives_the_share_of_the_residual_norm():
    vector = torch.tensor([3.0, 4.0])
    dose = relative_dose(vector, resid_norm=50.0, share=-0.2)
    assert (dose * vector).norm().item() == pytest.approx(10.0)
    assert dose < 0


@pytest.mark.parametrize(
    ("vector", "norm", "share", "message"),
    [
        (torch.zeros(2), 1.0, 1.0, "finite, positive norm, got norm 0"),
        (torch.ones(2), 0.0, 1.0, "positive residual norm, got 0"),
        (torch.ones(2), float("nan"), 1.0, "positive residual norm, got nan"),
        (torch.ones(2), 1.0, float("inf"), "finite share, got inf"),
    ],
)
def test_a_relative_dose_needs_lengths(vector, norm, share, message):
    with pytest.raises(ValueError, match=message):
        relative_dose(vector, norm, share)


def run_rows(row_plan: RowPlan, card, layout, rows) -> torch.Tensor:
    hooks = compile_edits(compile_row_plan(row_plan, card=card), layout, rows)
    return hooks[Site.RESID_POST, 1](torch.zeros(2, 3, 8), hook=None)[..., 0]


def test_each_row_gets_its_own_plan_by_its_number(card, layout):
    plans = ((add(dose=1.0),), (), (add(op="replace"), add(dose=5.0, scope="last_prompt")))
    edited = run_rows(RowPlan(plans=plans), card, layout, (2, 0))
    assert edited.tolist() == [[1.0, 1.0, 6.0], [0.0, 1.0, 1.0]]
    edited = run_rows(RowPlan(plans=plans), card, layout, (1, 1))
    assert not edited.any()


def test_rows_that_share_a_plan_keep_their_own_positions(card, layout):
    edited = run_rows(RowPlan(plans=((add(scope=(0,)),),) * 2), card, layout, (0, 1))
    assert edited.tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def test_a_scope_of_one_row_is_not_asked_of_another(card, layout):
    scopes: tuple[Scope, ...] = ((-3,), (-2,))
    plans = tuple((add(scope=scope),) for scope in scopes)
    edited = run_rows(RowPlan(plans=plans), card, layout, (0, 1))
    assert edited.tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def test_a_row_plan_has_a_key_and_wants_a_plan_for_every_row(card, layout):
    plans = ((add(),), ())
    assert RowPlan(plans=plans).key() == RowPlan(plans=((add(),), ())).key()
    assert RowPlan(plans=plans).key() != RowPlan(plans=plans[::-1]).key()
    with pytest.raises(ValueError, match=r"one plan for each prompt, got 2 and prompts \[2\]"):
        run_rows(RowPlan(plans=plans), card, layout, (0, 2))
    with pytest.raises(ValueError, match=r"layers from 0 to 2 of tiny, got \[7\]"):
        compile_row_plan(RowPlan(plans=((add(layers=(7,)),),)), card=card)


def test_additions_by_row_are_the_fast_form_of_a_row_plan(card, layout, generator):
    vectors, doses = torch.randn(2, 8, generator=generator), torch.tensor([2.0, -1.0])
    edit = per_row_additions(
        vectors, doses, site=Site.RESID_POST, layer=1, scope="last_prompt", card=card
    )
    plans = tuple(
        (add(vector=vectors[row], dose=float(doses[row]), scope="last_prompt"),) for row in (0, 1)
    )
    slow = run_rows(RowPlan(plans=plans), card, layout, (1, 0))
    hooks = compile_edits([edit], layout, (1, 0))
    fast = hooks[Site.RESID_POST, 1](torch.zeros(2, 3, 8), hook=None)[..., 0]
    torch.testing.assert_close(fast, slow)


def test_additions_by_row_are_held_against_the_card(card):
    rows = (torch.ones(2, 8), torch.ones(2))
    with pytest.raises(ValueError, match=r"layers from 0 to 2 of tiny, got \[3\]"):
        per_row_additions(*rows, site=Site.RESID_POST, layer=3, card=card)
    with pytest.raises(ValueError, match="width 8 for tiny, got width 5"):
        per_row_additions(torch.ones(2, 5), torch.ones(2), site=Site.RESID_POST, layer=0, card=card)
