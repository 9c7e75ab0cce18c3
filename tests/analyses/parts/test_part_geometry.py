"""The part on angles, run on the organism."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from analyses._config import WhosAskingConfig
from analyses._data import study_data
from analyses._parts import part
from analyses._parts._geometry_contrasts import FULFILMENT_YES, REFUSAL_YES, family_contrast
from analyses._parts._geometry_independence import WAYS, removal_edits
from analyses._parts._geometry_readings import direct_effect
from analyses._study import run_study
from analyses._vectors import REFUSAL_NAMES
from analyses._workbench import Workbench, workbench
from analyses.vector_geometry import COSINE, VectorGeometry
from lens_personas.activations import ReadAt, collect
from lens_personas.geometry import representational_shift, unit_vector
from lens_personas.hooks import Site
from lens_personas.interventions import ablate_everywhere, compile_plan
from lens_personas.models import LensModel, load_model
from lens_personas.readouts import lens_of_direction

pytestmark = pytest.mark.slow

TINY: dict[str, Any] = {
    "parts": ("geometry",),
    "layers": (2, 4, 6),
    "max_personas": 7,
    "max_requests": 24,
    "n_nulls": 2,
    "write_answers": False,
}


@pytest.fixture(scope="module")
def model() -> LensModel:
    return load_model("organism:chat", device="cpu")


@pytest.fixture(scope="module")
def found(model: LensModel) -> VectorGeometry:
    result = run_study(WhosAskingConfig(**TINY), model=model).result.parts.geometry
    assert result is not None
    return result


@pytest.fixture(scope="module")
def work(model: LensModel) -> Workbench:
    config = WhosAskingConfig(**TINY)
    return workbench(config, study_data(config), model)


def test_saying_yes_is_shared_until_it_is_removed(found: VectorGeometry) -> None:
    asked = found.by_layer[found.by_layer["family"] == "questions"]
    kept, removed = (asked[asked["yes"] == yes]["cosine"].mean() for yes in ("kept", "removed"))
    assert kept > 0.5
    assert removed < kept - 0.3
    share = found.yes_share.groupby("family")["mean"].mean()
    assert share["questions"] > share["statements"]


def test_refusal_and_fulfilment_are_alike_in_saying_yes(found: VectorGeometry) -> None:
    means = {}
    for each in found.cosines:
        if each.family == "questions":
            rows = each.pairs.set_index(["first", "second"]).loc[(REFUSAL_YES, FULFILMENT_YES)]
            means[each.yes] = rows["cosine"].mean()
    assert means["removed"] < means["kept"]


def test_what_is_measured_is_whole(found: VectorGeometry) -> None:
    assert found.n == 7
    assert {(each.family, each.yes) for each in found.cosines} == {
        (family, yes) for family in ("statements", "questions") for yes in ("kept", "removed")
    }
    for each in found.cosines:
        assert np.isfinite(each.pairs[["cosine", "low", "high", "ceiling"]].to_numpy()).all()
        assert (each.pairs["low"] <= each.pairs["high"]).all()
    assert set(found.independence["way"]) == set(WAYS)
    assert len(found.independence) == 14
    assert {p.treatment for p in found.predictors} == {"prompt", "plus", "minus"}
    assert len(found.predictors) == 15


def test_the_law_of_the_world_is_seen_in_the_angles(found: VectorGeometry) -> None:
    (fit,) = (p for p in found.predictors if (p.name, p.treatment) == (COSINE, "prompt"))
    assert fit.r2.estimate > 0.3
    assert fit.slope.estimate > 0


def test_repind_is_the_library_s(work: Workbench) -> None:
    from analyses._parts import _geometry_independence as independence

    prompts = [work.plain[r.prompt_id] for r in work.studied[:3]]
    directions = torch.randn(2, work.card.d_model, generator=torch.Generator().manual_seed(0))
    other = torch.randn(3, work.card.d_model, generator=torch.Generator().manual_seed(1))
    clean = independence._states(work, prompts, ())
    ablated = independence._ablated(work, prompts, directions)
    shift = independence._shift(clean, ablated, other[None])
    for arm in range(2):
        plan = compile_plan(ablate_everywhere(directions[arm], work.card), card=work.card)
        alone = collect(
            work.model,
            prompts,
            sites=[Site.RESID_POST],
            layers=range(work.card.n_layers),
            read_at=ReadAt(span="prompt", take="last"),
            edits=plan,
        ).values[Site.RESID_POST][:, list(work.layers)]
        torch.testing.assert_close(ablated[arm], alone, atol=1e-4, rtol=1e-4)
        for row in range(3):
            expected = representational_shift(clean[row], alone[row], other)
            assert float(shift[arm, 0, row].mean()) == pytest.approx(expected, abs=1e-5)
        along = ablated[arm] @ unit_vector(directions[arm])
        assert float(along.abs().max()) < 1e-4
    assert len(removal_edits(work, directions)) > 0


def test_the_direct_effect_is_the_lens_of_the_direction(work: Workbench) -> None:
    vectors = torch.randn(2, 1, work.card.d_model, generator=torch.Generator().manual_seed(0))
    ids = (5, 9)
    found = direct_effect(work.model, vectors, ids)
    for at in range(2):
        weights = lens_of_direction(work.model, vectors[at, 0], k=work.card.d_vocab).top
        by_id = {each.token_id: each.weight for each in weights}
        expected = np.mean([by_id[i] for i in ids]) - np.mean(list(by_id.values()))
        assert float(found[at, 0]) == pytest.approx(expected, abs=1e-4)


def test_a_study_of_questions_has_one_family(model: LensModel) -> None:
    config = WhosAskingConfig(**TINY | {"max_personas": 4, "vector_method": "questions"})
    result = run_study(config, model=model).result.parts.geometry
    assert result is not None
    assert {each.family for each in result.cosines} == {"questions"}


def test_contrasts_are_those_the_vectors_were_fitted_on(work: Workbench) -> None:
    name = work.data.personas[0].name
    assert family_contrast(work, "statements", name, {}).method.startswith("statements")
    assert family_contrast(work, "questions", name, {}).method.startswith("caa")
    harmful = [r.prompt_id for r in work.part("vector", harmful=True)]
    labels = dict.fromkeys(harmful[:3], "refusal")
    both = family_contrast(work, "statements", REFUSAL_NAMES[1], labels)
    assert [prompt.prompt_id for prompt in both.to] == harmful[:3]


def test_the_plan_counts_at_least_what_is_run(work: Workbench, model: LensModel) -> None:
    made = part("geometry")
    for step, extra in (("yes-no", {}), ("shifts", {"at": 4}), ("readings", {})):
        prompts = made.passes(work, {"part": "geometry", "step": step, **extra}).prompts
        assert len(prompts) > 10
    sizes = [
        len(made.passes(work, {"step": "bands", "family": "questions", "names": names}).prompts)
        for names in ([REFUSAL_YES], [REFUSAL_YES, FULFILMENT_YES])
    ]
    assert all(a < b for a, b in pairwise(sizes))
