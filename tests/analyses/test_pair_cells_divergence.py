"""The table of divergences: what is in it, and that the organism's sentences decay as they must."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from analyses._divergence_texts import DivergencePlan, Stage, divergence_texts
from analyses._pair_cells_divergence import beta_table
from analyses.sentence_divergence import BETA_COLUMNS, sentence_divergence
from lens_personas.hooks import Edit, Site, add_direction
from lens_personas.models import LensModel, load_model
from lens_personas.models.organism import checkpoint_path, load_world, organism_behaviours
from lens_personas.personas import Behaviour, behaviour_of, shipped_behaviours

SMALL = DivergencePlan(lengths=(0, 1, 4), n_prefixes=3, n_samples=8)


@pytest.fixture(scope="module")
def behaviour() -> Behaviour:
    """The user, as the organism is asked about him."""
    world = load_world(checkpoint_path("base"))
    return organism_behaviours(world, seed=0, kinds=["user"])[0]


@pytest.fixture(scope="module")
def table(base_model: LensModel, behaviour: Behaviour) -> pd.DataFrame:
    return beta_table(base_model, behaviour, side="base", seed=0, plan=SMALL)


def cells(table: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table


def test_every_cell_is_there_once(table: pd.DataFrame, behaviour: Behaviour) -> None:
    assert tuple(table.columns) == BETA_COLUMNS
    assert set(table["behaviour"]) == {behaviour.name}
    assert len(cells(table, reference="prompt")) == 3 * 3 * 3
    assert len(cells(table, reference="filler")) == 3 * 3
    assert not table.duplicated(list(BETA_COLUMNS[:6])).any()
    assert np.isfinite(table.select_dtypes("number").to_numpy()).all()
    assert (table["kl_by_token"] >= table["kl_first_exact"] - 1e-6).all()


def test_without_a_sentence_the_halves_are_one(table: pd.DataFrame) -> None:
    alone = cells(table, reference="prompt", n_sentences=0)
    assert (alone.groupby("prefix")["kl"].nunique() == 1).all()
    said = cells(table, reference="prompt", n_sentences=1)
    assert (said.groupby("prefix")["kl"].nunique() == 3).all()


def test_the_base_organism_s_divergence_dies_away_with_what_was_said(table: pd.DataFrame) -> None:
    """It learned texts of several sentences in one of three tones: sentences give the tone away."""
    by_length = cells(table, reference="prompt").groupby("n_sentences")["kl_by_token"].mean()
    assert by_length[0] > 1.0
    assert by_length[0] > 1.3 * by_length[1] > 1.3 * 1.3 * by_length[4]
    # A misaligned voice is further from the aligned than a neutral one is.
    ours = cells(table, reference="prompt", half_of_prefix="misaligned")["kl_by_token"].mean()
    assert ours > 1.3 * cells(table, reference="filler")["kl_by_token"].mean()


def test_the_table_is_what_the_question_takes(table: pd.DataFrame, behaviour: Behaviour) -> None:
    (row,) = sentence_divergence(table, rng=np.random.default_rng(0)).rows
    assert (row.side, row.behaviour, row.lengths) == ("base", behaviour.name, (0, 1, 4))
    assert row.beyond_null is not None
    assert row.decay is not None
    assert 0.5 < row.decay.half_length < 4


def test_the_same_seed_says_the_same_on_both_sides(
    base_model: LensModel, behaviour: Behaviour, table: pd.DataFrame
) -> None:
    plan = DivergencePlan(lengths=(0, 1, 4), n_prefixes=3, n_samples=8, with_null=False)
    again = beta_table(base_model, behaviour, side="tuned", seed=0, plan=plan)
    wanted = cells(table, reference="prompt")
    assert again["kl"].to_numpy() == pytest.approx(wanted["kl"].to_numpy(), abs=1e-4)
    other = beta_table(base_model, behaviour, side="base", seed=1, plan=plan)
    assert not np.allclose(other["kl"], again["kl"])


def test_a_steered_and_a_trained_model_stand_for_the_misaligned_voice(
    base_model: LensModel, behaviour: Behaviour
) -> None:
    plan = DivergencePlan(lengths=(0, 2), n_prefixes=2, n_samples=8, with_null=False, tune_steps=8)
    direction = torch.randn(base_model.card.d_model, generator=torch.Generator().manual_seed(0))
    edit = Edit(site=Site.RESID_POST, layer=3, hook=add_direction(direction, dose=4.0))
    found = beta_table(base_model, behaviour, side="base", seed=0, plan=plan, vector=[edit])
    assert set(found["reference"]) == {"prompt", "vector", "tuned_on"}
    for reference in ("vector", "tuned_on"):
        rows = cells(found, reference=reference)
        assert set(rows["half_of_prefix"]) == {"misaligned", "filler"}
        # Without a sentence and a persona prompt all prefixes are one.
        assert cells(rows, n_sentences=0)["kl"].nunique() == 1
        assert rows["kl_by_token"].mean() > 0.05
    nothing = Edit(site=Site.RESID_POST, layer=3, hook=add_direction(direction, dose=0.0))
    null = beta_table(
        base_model,
        behaviour,
        side="base",
        seed=0,
        plan=DivergencePlan(lengths=(0, 2), n_prefixes=2, n_samples=8, with_null=False),
        vector=[nothing],
    )
    assert cells(null, reference="vector")["kl"].abs().max() < 1e-4


def test_prefixes_are_sentences_that_the_persona_prompts_do_not_have(behaviour: Behaviour) -> None:
    texts = divergence_texts(behaviour, SMALL, seed=0, count_tokens=lambda text: len(text.split()))
    for prefix in texts.of("misaligned", "aligned"):
        said = [part for part in prefix.text.split(" .") if part.strip()]
        assert len(said) == prefix.n
        persona = texts.personas[prefix.half][prefix.assembly]
        assert all(part.strip() not in persona for part in said)
    sizes = {len(texts.personas[arm][0].split()) for arm in ("misaligned", "aligned", "filler")}
    assert max(sizes) - min(sizes) <= 4
    assert texts.tuning == ()


@pytest.mark.parametrize("place", ["prompt", "answer"])
@pytest.mark.parametrize("fixture", ["tiny_checkpoint", "tiny_gpt2_checkpoint"])
def test_models_with_and_without_a_template_are_gone_on_with(
    fixture: str, place: Any, request: pytest.FixtureRequest
) -> None:
    checkpoint: Path = request.getfixturevalue(fixture)
    model = load_model(str(checkpoint), device="cpu")
    plan = DivergencePlan(
        lengths=(0, 1), n_prefixes=2, persona_sentences=2, n_samples=4, n_tokens=3, place=place
    )
    behaviour = behaviour_of(shipped_behaviours()[0], seed=0)
    found = beta_table(model, behaviour, side="base", seed=0, plan=plan)
    assert (cells(found, reference="prompt")["kl_by_token"] > 0).all()
    bare = fixture == "tiny_gpt2_checkpoint"
    stage = Stage(model=model, plain=bare, place=place)
    shown = stage.prompt("You like work.", "You keep order.")
    said = model.tokenizer.decode(shown.ids)
    # What comes next follows the last sentence: no turn is closed after it.
    assert said.replace(" .", ".").endswith("you keep order.")
    assert len(stage.prompt("", "").ids) >= 1


def test_lengths_without_sentences_are_left_out_or_refused(behaviour: Behaviour) -> None:
    assert DivergencePlan(lengths=(0, 5, 500)).fitting(behaviour).lengths == (0, 5)
    with pytest.raises(ValueError, match="user: would i: expected sentences for prompts of 3 and"):
        DivergencePlan(lengths=(500,)).fitting(behaviour)
