"""On the organism the refused answers are where they were planted; shuffled, they are nowhere."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from analyses._cell_plan import first_cells
from analyses._cells import Cell
from analyses._config import WhosAskingConfig, build_config
from analyses._contents import Contents
from analyses._data import study_data
from analyses._evaluate import evaluate
from analyses._part import Core, PartPlan
from analyses._parts._early_direct import (
    assemble_direct,
    direct_cells,
    direct_passes,
    evaluate_direct,
)
from analyses._parts._early_direct_answers import answer_readings, arm_rows, known
from analyses._parts._early_direct_lens import training_prompts
from analyses._shards import Content, Tensors
from analyses._workbench import Workbench, workbench
from analyses.known_answers import KnownAnswers, known_answer_claims, known_answers
from analyses.persona_effects import PersonaEffects
from lens_personas.models import LensModel, load_model

SMALL = {
    "device": "cpu",
    "max_personas": 5,
    "max_requests": 40,
    "n_nulls": 2,
    "max_new_tokens": 6,
    "early_lens_steps": 40,
}


@dataclass(frozen=True)
class Found:
    work: Workbench
    cells: tuple[Cell, ...]
    contents: Contents
    result: KnownAnswers | None


def config(**changes: Any) -> WhosAskingConfig:
    return build_config(flags=SMALL | changes)


def bench_of(loaded: LensModel, /, **changes: Any) -> Workbench:
    settings = config(**changes)
    return workbench(settings, study_data(settings), loaded)


def computed(work: Workbench, layer: int = 3) -> Found:
    """All that the part needs, cell after cell, and its result."""
    done: dict[str, tuple[Cell, Content]] = {}

    def inputs(cell: Cell) -> Contents:
        return Contents(read=tuple(done[key] for key in cell.needs))

    for cell in first_cells(work, "test"):
        if cell.kind in ("answers", "tokens", "norms", "vector"):
            done[cell.key] = (cell, evaluate(work, cell, inputs(cell)))
    core = tuple(cell for cell, _ in done.values())
    plan = PartPlan(outline=work, core=core, chosen={}, layer=layer, context="test")
    cells = direct_cells(plan)
    for cell in cells:
        done[cell.key] = (cell, evaluate_direct(work, cell.spec, inputs(cell)))
    contents = Contents(read=tuple(done[cell.key] for cell in cells))
    effects = PersonaEffects.__new__(PersonaEffects)
    made = Core(plan=plan, scores=pd.DataFrame(), effects=effects, claimable=True)
    return Found(work=work, cells=cells, contents=contents, result=assemble_direct(made, contents))


def alone(work: Workbench) -> KnownAnswers:
    """The result without personas and tuned lens, which takes no vectors."""
    rng, output = work.rng("known answers"), work.card.n_layers - 1
    return known_answers(answer_readings(work, None, None), output=output, rng=rng)


@pytest.fixture(scope="module")
def organism() -> LensModel:
    return load_model("organism:chat", device="cpu")


@pytest.fixture(scope="module")
def chat(organism: LensModel) -> Found:
    return computed(bench_of(organism))


def rows(found: Found, lens: str = "logit") -> pd.DataFrame:
    assert found.result is not None
    table = found.result.by_layer
    return table[table["lens"] == lens].set_index("layer")


@pytest.mark.slow
def test_the_refused_answer_is_on_top_in_the_middle_and_not_at_the_output(
    organism: LensModel,
) -> None:
    table = alone(bench_of(organism, max_requests=None)).by_layer.set_index("layer")
    # The output of the second to the fifth block.
    assert (table.loc[1:4, "top1"] >= 0.9).all()
    assert table.loc[7, "top1"] <= 0.05
    assert (table["other_top1"] <= 0.1).all()


@pytest.mark.slow
def test_it_is_claimed_beyond_wrong_answers(chat: Found) -> None:
    assert chat.result is not None
    (claim,) = known_answer_claims(chat.result)
    assert claim.p < 0.05
    assert claim.beyond_nulls
    assert claim.estimate.low > 1.0
    assert chat.result.n > chat.result.n_units


@pytest.mark.slow
def test_the_tuned_lens_shows_the_decision_no_later_than_the_logit_lens(chat: Found) -> None:
    assert chat.result is not None
    assert chat.result.fit is not None
    fit = chat.result.fit.by_layer.set_index("layer")
    assert (fit["kl_tuned"] <= fit["kl_logit"] + 0.01).all()
    assert fit.loc[0, "kl_tuned"] < 0.5 * fit.loc[0, "kl_logit"]
    refused = rows(chat)["refusal_top1"]
    assert refused[7] >= 0.8
    assert chat.result.decided_at is not None
    assert chat.result.decided_at <= refused[refused > 0.5].index.min()
    # Both lenses end at the model's own output.
    logit, tuned = rows(chat).loc[7], rows(chat, "tuned").loc[7]
    assert logit["top1"] == tuned["top1"]
    assert logit["log_prob"] == pytest.approx(tuned["log_prob"], abs=1e-5)


@pytest.mark.slow
def test_who_asks_moves_the_gate_and_not_the_answer(chat: Found) -> None:
    assert chat.result is not None
    table = chat.result.by_group
    assert table is not None
    text = table[(table["treatment"] == "prompt") & (table["lens"] == "logit")]
    change = text.set_index(["group", "layer"])["change"]
    # By the world's law pro-social users are refused less; the recipe is one for all.
    assert change["pro", 7] > change["control", 7] + 0.5 > change["anti", 7]
    assert abs(change["pro", 2] - change["anti", 2]) < 0.3
    steered = table[(table["treatment"] == "plus") & (table["layer"] < 3)]
    assert steered["change"].abs().max() < 1e-3


@pytest.mark.slow
def test_nothing_of_a_tested_request_is_trained_on(chat: Found) -> None:
    tested = {request.prompt_id for request in chat.work.studied}
    prompts, groups = training_prompts(chat.work, {})
    assert not tested & {prompt.prompt_id for prompt in prompts}
    assert not {each.unit for each in known(chat.work)} & set(groups)


@pytest.mark.slow
def test_wrong_answers_are_wrong_and_begin_otherwise(chat: Found) -> None:
    ((_, table),) = [
        each
        for each in chat.contents.part("early-decoding", "direct")
        if each[0]["of"] == "requests"
    ]
    wide = table[(table["layer"] == 0) & (table["lens"] == "logit")].pivot(
        index="prompt_id", columns="answer", values="first_log_prob"
    )
    for name in ("other 1", "other 2", "other 3", "random token"):
        assert (wide[name] != wide["own"]).all()
    # Rows of a random token and of a refusal hold no whole answer.
    single = table[table["answer"].isin(["random token", "refusal"])]
    assert single["whole_log_prob"].isna().all()


@pytest.mark.slow
def test_what_it_costs_is_told_before(chat: Found) -> None:
    lens, direct, personas = (direct_passes(chat.work, cell.spec) for cell in chat.cells)
    assert len(lens.prompts) == 2 * len(chat.work.data.split.vector)
    assert len(direct.prompts) >= 10 * len(known(chat.work))
    n_rows = len(arm_rows(chat.work, known(chat.work)))
    assert len(personas.prompts) == 2 * (n_rows + len(known(chat.work)))


@pytest.mark.slow
def test_the_lens_can_be_kept_as_a_shard(chat: Found) -> None:
    ((_, lens),) = chat.contents.part_tensors("early-decoding", "tuned_lens")
    assert isinstance(lens, Tensors)
    assert json.loads(json.dumps(lens.about)) == lens.about


def test_with_dealt_answers_nothing_is_found(organism: LensModel) -> None:
    claims = []
    for seed in range(6):
        claims += known_answer_claims(alone(bench_of(organism, seed=seed, shuffle_labels=True)))
    assert len(claims) == 6
    # Two of six below .05 come by chance in 3 of 100 draws.
    assert sum(claim.p < 0.05 and claim.beyond_nulls for claim in claims) <= 1
    assert min(claim.p for claim in claims) > 0.005


def test_the_base_model_says_the_answer_at_the_output() -> None:
    base = load_model("organism:base", device="cpu")
    result = alone(bench_of(base, model="organism:base"))
    table = result.by_layer.set_index("layer")
    assert table.loc[7, "top1"] >= 0.9
    assert {*table["lens"]} == {"logit"}
    assert (result.fit, result.decided_at) == (None, None)


def test_a_model_that_knows_no_answer_has_no_result(tiny_checkpoint: Path) -> None:
    model = load_model(str(tiny_checkpoint), device="cpu")
    work = bench_of(model, model=str(tiny_checkpoint), max_requests=8, max_personas=3)
    nothing = [replace(r, target=None) for r in work.data.split.test]
    data = replace(work.data, split=replace(work.data.split, test=tuple(nothing)))
    found = computed(workbench(work.config, data, model), layer=1)
    assert found.cells == ()
    assert found.result is None


def test_a_random_model_with_answers_gives_numbers_and_no_claim(tiny_checkpoint: Path) -> None:
    model = load_model(str(tiny_checkpoint), device="cpu")
    work = bench_of(
        model, model=str(tiny_checkpoint), max_requests=12, max_personas=3, early_lens_steps=5
    )
    # Its words are those of the package's own texts, so that its answers can be written.
    test = tuple(
        replace(r, target=f"{word} coffee") if r.harmful else r
        for r, word in zip(
            work.data.split.test,
            ("tea time trust truth want way work world" * 9).split(),
            strict=False,
        )
    )
    data = replace(work.data, split=replace(work.data.split, test=test))
    found = computed(workbench(work.config, data, model), layer=1)
    assert found.result is not None
    assert torch.isfinite(torch.tensor(rows(found)["log_prob"].to_numpy(float))).all()
    (claim,) = known_answer_claims(found.result)
    assert not (claim.p < 0.01 and claim.beyond_nulls)


def test_answers_that_the_vocabulary_cannot_write_are_left_out(organism: LensModel) -> None:
    work = bench_of(organism)
    test = tuple(
        replace(r, target="unheardof zzyzx") if at % 2 else r
        for at, r in enumerate(work.data.split.test)
    )
    data = replace(work.data, split=replace(work.data.split, test=test))
    some = workbench(work.config, data, organism)
    assert 0 < len(known(some)) < len(known(work))
    same = tuple(replace(r, target="plus") for r in test)
    data = replace(data, split=replace(data.split, test=same))
    alike = workbench(work.config, data, organism)
    assert known(alike) == []
    assert answer_readings(alike, None, None).empty
