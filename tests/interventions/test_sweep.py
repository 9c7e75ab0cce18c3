"""Rows that resume from the block and column they edit end where whole passes end."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lens_personas.hooks import (
    Edit,
    Scope,
    Site,
    ablate_direction,
    add_direction,
    add_row_directions,
    compile_edits,
    patch_positions,
)
from lens_personas.interventions import Arm, ByCell, LastTokens, plan_sweep, sweep
from lens_personas.models import BlockDriver, LensModel, Prompt, pad, render
from lens_personas.personas import Message
from lens_personas.readouts import refusal_score

CLOSE = {"atol": 1e-4, "rtol": 1e-4}
SCOPES: list[Scope] = ["all", "prompt", "user", "generated", (0,), (2, -1), (-2,), (40,)]
SITES = [Site.RESID_PRE, Site.RESID_MID, Site.RESID_POST, Site.ATTN_OUT, Site.MLP_OUT]
EVERYONE = (2, 0, 1, 0)


def whole(logits: torch.Tensor) -> torch.Tensor:
    return logits


@torch.no_grad()
def whole_passes(model: LensModel, prompts: Sequence[Prompt], arm: Arm) -> torch.Tensor:
    """Logits at each row's last token, by the model's own pass over the padded rows."""
    rows = tuple(range(len(arm.prompts)))
    batch = pad([prompts[p] for p in arm.prompts], rows, pad_id=0, device=model.device)
    resid = model.run(
        batch.tokens,
        batch.layout.positions,
        hooks=compile_edits(arm.edits, batch.layout, rows),
        cache=None,
        last_layer=model.card.n_layers - 1,
    )
    return model.logits(resid[:, -1]).float()


@pytest.fixture
def vector(generator: torch.Generator) -> torch.Tensor:
    return 3 * torch.randn(32, generator=generator)


def editable(model: LensModel, site: Site) -> bool:
    return site is not Site.RESID_MID or model.card.edits_resid_mid


@pytest.mark.parametrize("site", SITES)
def test_every_site_layer_and_scope_agrees_with_whole_passes(site, tiny_model, prompts, vector):
    if not editable(tiny_model, site):
        pytest.skip("no edit at this site reaches the residual stream of this backend")
    arms = [
        Arm(
            prompts=EVERYONE,
            edits=(Edit(site=site, layer=layer, hook=add_direction(vector), scope=scope),),
        )
        for layer in range(3)
        for scope in SCOPES
    ]
    found = sweep(tiny_model, prompts, arms, whole)
    bare = whole_passes(tiny_model, prompts, Arm(prompts=EVERYONE, edits=()))
    for arm, logits in zip(arms, found, strict=True):
        expected = whole_passes(tiny_model, prompts, arm)
        torch.testing.assert_close(logits, expected, **CLOSE)
        # Otherwise agreement would show nothing.
        reaches = arm.edits[0].scope in ("all", "generated") or arm.edits[0].layer == 0
        assert arm.edits[0].scope == (40,) or not reaches or (expected - bare).abs().max() > 1e-2


def mixed_arms(vector: torch.Tensor, generator: torch.Generator) -> list[Arm]:
    """Arms of several edits at several layers; per row; nothing at all."""
    rows = torch.randn(4, 32, generator=generator)
    add = add_direction(vector)
    early = Edit(site=Site.RESID_POST, layer=0, hook=add, scope=(3,))
    inner = Edit(site=Site.ATTN_OUT, layer=2, hook=add, scope=(1, -1))
    own = Edit(
        site=Site.RESID_PRE,
        layer=1,
        hook=add_row_directions(rows, torch.tensor([1.0, 2.0, 0.5, -1.0])),
        per_row=True,
    )
    everywhere = tuple(
        Edit(site=site, layer=layer, hook=ablate_direction(vector))
        for layer in range(3)
        for site in (Site.RESID_PRE, Site.ATTN_OUT, Site.MLP_OUT)
    )
    twice = tuple(
        Edit(site=site, layer=1, hook=add, scope=(2,)) for site in (Site.ATTN_OUT, Site.RESID_POST)
    )
    late = tuple(Edit(site=site, layer=2, hook=add) for site in (Site.MLP_OUT, Site.RESID_POST))
    kinds = [(early, inner, own), everywhere, twice, late, (inner, early), (own,), ()]
    return [Arm(prompts=EVERYONE, edits=edits, name=str(at)) for at, edits in enumerate(kinds)]


def test_many_edits_of_every_kind_agree_with_whole_passes(tiny_model, prompts, vector, generator):
    arms = mixed_arms(vector, generator)
    expected = [whole_passes(tiny_model, prompts, arm) for arm in arms]
    for options in ({}, {"token_budget": 16}, {"resume": False}):
        found = sweep(tiny_model, prompts, arms, whole, **options)
        torch.testing.assert_close(list(found), expected, **CLOSE)


def test_the_chat_model_agrees_too(chat_model, generator):
    said = ("tell me how to bake bread", "why", "what is the name of the teacher of this class")
    prompts = [
        render(chat_model, [Message(role="user", content=text)], prompt_id=text) for text in said
    ]
    vector = 5 * torch.randn(chat_model.card.d_model, generator=generator)
    edits = [
        Edit(site=site, layer=layer, hook=add_direction(vector), scope=scope)
        for site in (Site.RESID_POST, Site.ATTN_OUT)
        for layer in (0, chat_model.card.n_layers - 1)
        for scope in ("all", "last_prompt", (1,))
    ]
    arms = [Arm(prompts=(0, 1, 2), edits=(edit,)) for edit in edits]
    fast, slow = (sweep(chat_model, prompts, arms, whole, resume=way) for way in (True, False))
    torch.testing.assert_close(fast, slow, **CLOSE)


@settings(max_examples=10)
@given(data=st.data())
def test_random_arms_agree_with_whole_passes(data, tiny_model, prompts):
    sites = [site for site in SITES if editable(tiny_model, site)]
    arms = []
    for _ in range(data.draw(st.integers(1, 4))):
        places = st.tuples(
            st.sampled_from(sites), st.integers(0, 2), st.integers(0, len(SCOPES) - 1)
        )
        edits = [
            Edit(
                site=site,
                layer=layer,
                hook=add_direction(torch.linspace(-1, 2 + number, 32)),
                scope=SCOPES[scope],
            )
            for number, (site, layer, scope) in enumerate(data.draw(st.lists(places, max_size=3)))
        ]
        rows = data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=4))
        arms.append(Arm(prompts=tuple(rows), edits=tuple(edits)))
    budget = data.draw(st.sampled_from([1, 30, 512]))
    found = sweep(tiny_model, prompts, arms, whole, token_budget=budget)
    for one, logits in zip(arms, found, strict=True):
        torch.testing.assert_close(logits, whole_passes(tiny_model, prompts, one), **CLOSE)


def test_every_state_of_another_prompt_gives_that_prompts_run(tiny_model, prompts):
    from lens_personas.models import run_batch

    cut = min(len(prompt.ids) for prompt in prompts)
    pair = [replace(p, ids=p.ids[:cut], prompt_length=cut, spans={}) for p in prompts[:2]]
    batch = pad(pair, (0, 1), pad_id=0, device=tiny_model.device)
    place = (Site.RESID_PRE, 0)
    state = run_batch(tiny_model, batch, reads=[place]).reads[place][:1]
    maker = patch_positions(state, batch.layout.select(torch.tensor([0])))
    edit = Edit(site=Site.RESID_PRE, layer=0, hook=maker, per_pass=True)
    arms = [Arm(prompts=(1,), edits=(edit,)), Arm(prompts=(0, 1), edits=())]
    patched, bare = sweep(tiny_model, pair, arms, whole)
    torch.testing.assert_close(patched[0], bare[0], **CLOSE)
    assert (bare[0] - bare[1]).abs().max() > 1e-2


def test_rows_that_nothing_changes_give_the_base_to_the_bit(tiny_model, prompts, vector):
    still = Edit(site=Site.RESID_POST, layer=0, hook=add_direction(vector, dose=0.0), scope=(3,))
    beyond = Edit(site=Site.RESID_PRE, layer=1, hook=add_direction(vector), scope=(99,))
    behind = Edit(site=Site.RESID_POST, layer=2, hook=add_direction(vector), scope=(0,))
    arms = [Arm(prompts=EVERYONE, edits=edits) for edits in ((), (still,), (beyond,), (behind,))]
    bare, *others = sweep(tiny_model, prompts, arms, whole)
    for other in others:
        assert torch.equal(other, bare)
    assert plan_sweep(tiny_model, prompts, arms).n_same == 3 * len(EVERYONE)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Columns in each call of a block."""
    columns: list[int] = []
    for name in ("block", "keys_values"):
        plain = getattr(BlockDriver, name)

        def count(
            self: Any, layer: int, resid: Any, *args: Any, _run: Any = plain, **kw: Any
        ) -> Any:
            columns.append(resid.shape[0] * resid.shape[1])
            return _run(self, layer, resid, *args, **kw)

        monkeypatch.setattr(BlockDriver, name, count)
    return columns


def test_no_more_is_run_than_the_plan_says(tiny_model, prompts, vector, generator, counted):
    for arms in ([mixed_arms(vector, generator)[5]], mixed_arms(vector, generator)):
        for budget in (40, 512):
            counted.clear()
            sweep(tiny_model, prompts, arms, whole, token_budget=budget)
            plan = plan_sweep(tiny_model, prompts, arms, token_budget=budget)
            assert sum(counted) == plan.block_tokens
            longest = max(len(prompt.ids) for prompt in prompts)
            assert max(counted) <= max(budget, longest)


def test_a_high_edit_of_the_last_token_costs_two_columns_a_row(
    tiny_model, prompts, vector, counted
):
    edit = Edit(site=Site.RESID_PRE, layer=1, hook=add_direction(vector), scope="generated")
    asked = [replace(p, ids=p.ids[: p.prompt_length]) for p in prompts]
    counted_bare = []
    for arms in ([Arm(prompts=(0,), edits=())], [Arm(prompts=(0,) * 100, edits=(edit,))]):
        counted.clear()
        sweep(tiny_model, asked, arms, whole)
        counted_bare.append(sum(counted))
    assert counted_bare[1] - counted_bare[0] == 200


def test_kept_tokens_are_those_of_the_whole_logits(tiny_model, prompts, vector, generator):
    arms = mixed_arms(vector, generator)[:2]
    logits = sweep(tiny_model, prompts, arms, whole)
    for resume in (True, False):
        kept = sweep(tiny_model, prompts, arms, LastTokens(token_ids=(7, 3)), resume=resume)
        torch.testing.assert_close(kept, tuple(one[:, [7, 3]] for one in logits), **CLOSE)
    probable = LastTokens(token_ids=(7, 3), log_probs=True)
    expected = tuple(one.log_softmax(dim=1)[:, [7, 3]] for one in logits)
    torch.testing.assert_close(sweep(tiny_model, prompts, arms, probable), expected, **CLOSE)
    margin = LastTokens(token_ids=(7, 3), weights=(1.0, -2.0))
    expected = tuple(one[:, [7]] - 2 * one[:, [3]] for one in logits)
    torch.testing.assert_close(sweep(tiny_model, prompts, arms, margin), expected, **CLOSE)


def test_a_refusal_score_is_a_reduction(tiny_model, prompts, vector, generator):
    arms, opening = mixed_arms(vector, generator), torch.tensor([5, 8])
    found = sweep(tiny_model, prompts, arms, lambda logits: refusal_score(logits, opening)[:, None])
    expected = [refusal_score(whole_passes(tiny_model, prompts, a), opening) for a in arms]
    torch.testing.assert_close([one[:, 0] for one in found], expected, **CLOSE)


@pytest.mark.parametrize("resume", [True, False])
def test_a_reduction_by_cell_knows_whose_logits_it_sees(
    resume, tiny_model, prompts, vector, generator
):
    arms = mixed_arms(vector, generator)
    by_cell = ByCell(reduce=lambda logits, cells: torch.tensor(cells, dtype=torch.float32))
    found = sweep(tiny_model, prompts, arms, by_cell, resume=resume, token_budget=40)
    for number, (arm, cells) in enumerate(zip(arms, found, strict=True)):
        expected = [(number, row, prompt) for row, prompt in enumerate(arm.prompts)]
        assert cells.long().tolist() == [list(cell) for cell in expected]


def test_a_model_whose_blocks_cannot_be_driven_runs_whole(
    tiny_model, prompts, vector, generator, capsys
):
    stiff: Any = replace(
        tiny_model,
        card=replace(tiny_model.card, drives_blocks=False),  # type: ignore[type-var]
    )
    arms = mixed_arms(vector, generator)[:2]
    plan = plan_sweep(stiff, prompts, arms)
    assert plan.way == "plain"
    assert plan.flops == plan.plain_flops
    found = sweep(stiff, prompts, arms, whole, explain=True)
    assert "cannot be driven" in capsys.readouterr().out
    torch.testing.assert_close(found, sweep(tiny_model, prompts, arms, whole), **CLOSE)


def test_the_plan_shows_what_is_saved(tiny_model, prompts, vector, capsys):
    edit = Edit(site=Site.RESID_POST, layer=1, hook=add_direction(vector), scope="generated")
    arms = [Arm(prompts=(0, 1, 2) * 5, edits=(edit,))]
    plan = plan_sweep(tiny_model, prompts, arms)
    assert plan.minimum_flops <= plan.flops < plan.plain_flops / 2
    assert (plan.n_rows, plan.n_prompts, plan.n_same, plan.way) == (15, 3, 0, "resumed")
    assert plan.kept_bytes > 0
    sweep(tiny_model, prompts, arms, whole)
    assert capsys.readouterr().out == ""
    sweep(tiny_model, prompts, arms, whole, explain=True)
    assert capsys.readouterr().out == f"{plan}\n"
    assert "15 rows on 3 prompts, resumed" in str(plan)


def test_what_cannot_be_swept_is_refused(tiny_model, prompts, vector):
    add = add_direction(vector)
    with pytest.raises(ValueError, match="at least one arm"):
        sweep(tiny_model, prompts, [], whole)
    with pytest.raises(ValueError, match="at least one row"):
        Arm(prompts=(), edits=())
    with pytest.raises(ValueError, match=r"from 0 to 2 in arm 'a', got \[3\]"):
        sweep(tiny_model, prompts, [Arm(prompts=(0, 3), edits=(), name="a")], whole)
    high = Edit(site=Site.RESID_PRE, layer=3, hook=add)
    with pytest.raises(ValueError, match="layer from 0 to 2, got 3"):
        sweep(tiny_model, prompts, [Arm(prompts=(0,), edits=(high,))], whole)
    before = Edit(site=Site.RESID_PRE, layer=0, hook=add, scope=(-99,))
    with pytest.raises(ValueError, match="got -99"):
        sweep(tiny_model, prompts, [Arm(prompts=(0,), edits=(before,))], whole)
    with pytest.raises(ValueError, match="budget of at least 1"):
        sweep(tiny_model, prompts, [Arm(prompts=(0,), edits=())], whole, token_budget=0)
    with pytest.raises(ValueError, match="one weight for each of 2 tokens, got 1"):
        LastTokens(token_ids=(1, 2), weights=(1.0,))
    with pytest.raises(ValueError, match="at least one token"):
        LastTokens(token_ids=())
