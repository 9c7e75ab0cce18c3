"""Many arms in one batch are what each would be alone."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from analyses._arms import ArmName, ArmRows, Bench, deal, score_arms
from analyses.scores import SCORE_COLUMNS
from lens_personas.geometry import random_directions
from lens_personas.interventions import Intervention, ablate_everywhere, compile_plan
from lens_personas.models import LensModel, Prompt, render
from lens_personas.models.organism import checkpoint_path, load_world, world_requests
from lens_personas.personas import Request, conversation
from lens_personas.readouts import StringJudge, fallback_refusal_tokens, score_refusal
from lens_personas.vectors import refusal_vector_from_requests

LAYERS = (2, 5)
NAMES = ("a", "b", "c")
TEXTS = {
    "a": "the user is a helper .",
    "b": "the user is a bully .",
    "c": "the user is a drummer .",
}


@pytest.fixture(scope="module")
def requests() -> tuple[Request, ...]:
    """Of unequal lengths, so that batches are padded; of both kinds."""
    found = world_requests(load_world(checkpoint_path("chat")))
    kinds = ([r for r in found if r.harmful], [r for r in found if not r.harmful])
    by_length = [list({len(r.text.split()): r for r in kind}.values()) for kind in kinds]
    assert len(by_length[0]) > 1
    return tuple(r for kind in by_length for r in kind[:3])


@pytest.fixture(scope="module")
def bench(chat_model: LensModel, requests: tuple[Request, ...]) -> Bench:
    drawn = random_directions(6, 96, generator=torch.Generator().manual_seed(0))
    return Bench(
        model=chat_model,
        tokens=fallback_refusal_tokens(chat_model.tokenizer),
        judge=StringJudge(),
        plain={
            r.prompt_id: render(chat_model, conversation(r.text), prompt_id=r.prompt_id)
            for r in requests
        },
        # Of different lengths: only the direction may count.
        vectors={name: drawn[2 * at : 2 * at + 2] * (at + 1) for at, name in enumerate(NAMES)},
        resid_norms=torch.tensor([3.0, 7.0]),
        layers=LAYERS,
        dose=0.75,
        dealt={},
        max_new_tokens=4,
        token_budget=64,
    )


def say(bench: Bench, request: Request, persona: str) -> Prompt:
    turns = conversation(request.text, persona_text=TEXTS[persona])
    return render(bench.model, turns, prompt_id=request.prompt_id)


def cells(treatment: str, requests: tuple[Request, ...], *, layer: int = -1) -> list[ArmRows]:
    return [
        ArmRows(
            name=ArmName(persona=name, group="other", kind="persona"),
            treatment=treatment,
            layer=layer,
            split="test",
            requests=requests,
        )
        for name in NAMES
    ]


def scored(bench: Bench, these: list[ArmRows], *, answers: bool = False) -> pd.DataFrame:
    return score_arms(bench, these, lambda r, p: say(bench, r, p), answers=answers)


def alone(bench: Bench, prompt: Prompt, plan: tuple[Intervention, ...] = ()) -> float:
    edits = compile_plan(plan, card=bench.model.card)
    return float(score_refusal(bench.model, [prompt], bench.tokens, edits=edits))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_each_row_is_steered_by_its_own_vector(
    bench: Bench, requests: tuple[Request, ...], sign: float
) -> None:
    table = scored(bench, cells("plus" if sign > 0 else "minus", requests, layer=5))
    assert list(table.columns) == list(SCORE_COLUMNS)
    assert len(table) == len(NAMES) * len(requests)
    for row in table.itertuples():
        vector = bench.vectors[row.persona][1]
        dose = sign * 0.75 * 7.0 / float(vector.norm())
        plan = (Intervention(op="add", vector=vector, layers=(5,), dose=dose),)
        assert row.score == pytest.approx(alone(bench, bench.plain[row.prompt_id], plan), abs=2e-4)
    assert table.groupby("prompt_id")["score"].std().min() > 1e-3, "vectors make no difference"


def test_ablation_is_that_of_the_library(bench: Bench, requests: tuple[Request, ...]) -> None:
    table = scored(bench, cells("ablate", requests, layer=2))
    for row in table.itertuples():
        plan = ablate_everywhere(bench.vectors[row.persona][0], bench.model.card)
        assert row.score == pytest.approx(alone(bench, bench.plain[row.prompt_id], plan), abs=2e-4)


def test_a_persona_is_said_before_the_request(bench: Bench, requests: tuple[Request, ...]) -> None:
    table = scored(bench, cells("prompt", requests))
    by_id = {r.prompt_id: r for r in requests}
    for row in table.itertuples():
        prompt = say(bench, by_id[row.prompt_id], row.persona)
        assert row.score == pytest.approx(alone(bench, prompt), abs=2e-4)


def test_the_baseline_is_the_request_alone(bench: Bench, requests: tuple[Request, ...]) -> None:
    table = scored(bench, cells("baseline", requests))
    for row in table.itertuples():
        assert row.score == pytest.approx(alone(bench, bench.plain[row.prompt_id]), abs=2e-4)
        assert row.label is None


def test_plus_of_a_vector_is_minus_of_its_opposite(
    bench: Bench, requests: tuple[Request, ...]
) -> None:
    plus = scored(bench, cells("plus", requests, layer=5))
    opposite = replace(bench, vectors={name: -v for name, v in bench.vectors.items()})
    minus = scored(opposite, cells("minus", requests, layer=5))
    np.testing.assert_allclose(plus["score"], minus["score"], atol=1e-5)
    assert not np.allclose(plus["score"], scored(bench, cells("minus", requests, layer=5))["score"])


def test_answers_are_judged_with_the_edits_in_force(
    bench: Bench, requests: tuple[Request, ...]
) -> None:
    """Steered away from refusal the model refuses no more, each row by its own vector."""
    asked = tuple(r for r in requests if r.harmful)
    plain = scored(bench, cells("baseline", asked), answers=True)
    assert set(plain["label"]) == {"refusal"}
    kinds = [[p for i, p in bench.plain.items() if i.startswith(k)] for k in ("forb", "ord")]
    refusal = refusal_vector_from_requests(bench.model, *kinds, layers=(2, 7)).vectors
    mixed = {"a": refusal, "b": -refusal, "c": refusal}
    norms = torch.tensor([70.0, 220.0])
    late = replace(bench, vectors=mixed, layers=(2, 7), resid_norms=norms, dose=0.9)
    steered = scored(late, cells("minus", asked, layer=7), answers=True)
    labels = steered.groupby("persona")["label"].agg(set)
    assert labels["b"] == {"refusal"}
    assert "refusal" not in labels["a"] | labels["c"]


def test_without_refusal_tokens_scores_are_nan(bench: Bench, requests: tuple[Request, ...]) -> None:
    table = scored(replace(bench, tokens=None), cells("plus", requests, layer=2), answers=True)
    assert table["score"].isna().all()
    assert table["label"].notna().all()


def test_cells_of_two_layers_are_refused(bench: Bench, requests: tuple[Request, ...]) -> None:
    both = [*cells("plus", requests, layer=2), *cells("plus", requests, layer=5)]
    with pytest.raises(ValueError, match="arms of one treatment and one layer, got several"):
        scored(bench, both)


def test_dealing_gives_each_request_a_permutation() -> None:
    ids = [f"r{at}" for at in range(60)]
    dealt = deal(NAMES, ids, np.random.default_rng(0))
    assert set(dealt) == set(ids)
    for owners in dealt.values():
        assert sorted(owners) == sorted(owners.values()) == sorted(NAMES)
    counts = Counter(owners["a"] for owners in dealt.values())
    assert min(counts.values()) >= 8, "every persona comes up for every name"
    assert deal(NAMES[::-1], ids, np.random.default_rng(0)) == dealt
    assert deal(NAMES, ids, np.random.default_rng(1)) != dealt


@pytest.mark.parametrize(("treatment", "layer"), [("prompt", -1), ("plus", 5)])
def test_a_dealt_row_has_text_and_vector_of_the_persona_it_was_dealt(
    bench: Bench, requests: tuple[Request, ...], treatment: str, layer: int
) -> None:
    dealt = deal(NAMES, [r.prompt_id for r in requests], np.random.default_rng(3))
    plain = scored(bench, cells(treatment, requests, layer=layer))
    own = plain.set_index(["persona", "prompt_id"])["score"]
    shuffled = scored(replace(bench, dealt=dealt), cells(treatment, requests, layer=layer))
    for row in shuffled.itertuples():
        owner = dealt[row.prompt_id][row.persona]
        assert row.score == pytest.approx(own[owner, row.prompt_id], abs=1e-4)
