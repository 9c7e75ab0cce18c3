"""The part on mediation, run on the organism, and its patches against plain runs."""

from typing import Any

import numpy as np
import pytest
import torch

from analyses._config import WhosAskingConfig
from analyses._data import study_data
from analyses._parts import part
from analyses._parts._mediation_patches import WAYS, _at_instruction
from analyses._parts._mediation_runs import INSTRUCTION, LAST, persona_names, states
from analyses._study import run_study
from analyses._workbench import workbench
from analyses.mediation import CHARITY, HARM, REFUSAL, PersonaMediation
from lens_personas.activations import collect
from lens_personas.hooks import Edit, Site, set_row_projections
from lens_personas.models import LensModel, load_model

pytestmark = pytest.mark.slow

TINY: dict[str, Any] = {
    "parts": ("mediation",),
    "layers": (1, 3, 5, 7),
    "max_personas": 7,
    "max_requests": 30,
    "n_nulls": 2,
    "write_answers": False,
}


@pytest.fixture(scope="module")
def model() -> LensModel:
    return load_model("organism:chat", device="cpu")


@pytest.fixture(scope="module")
def found(model: LensModel) -> PersonaMediation:
    result = run_study(WhosAskingConfig(**TINY), model=model).result.parts.mediation
    assert result is not None
    return result


def test_every_persona_and_mediator_is_there_beside_the_control(found: PersonaMediation) -> None:
    assert {path.mediator for path in found.paths} == {REFUSAL, CHARITY, HARM}
    assert len(found.paths) == 18
    assert found.control not in {path.persona for path in found.paths}
    assert found.layers == (1, 3, 5)
    assert (found.refusal_layer, found.harm_layer in found.layers) == (5, True)
    assert len(found.contrasts) == 3
    assert len(found.by_request) == 18 * found.n
    assert np.isfinite(found.by_request.select_dtypes("number").to_numpy()).all()


def test_the_law_of_the_world_is_seen_in_the_movement(found: PersonaMediation) -> None:
    """Pro-social users are read more charitably and refused less; anti-social ones the reverse."""
    table = found.movement[found.movement["layer"] == -1].set_index(["measure", "group"])
    assert table.loc[(CHARITY, "pro"), "estimate"] > table.loc[(CHARITY, "anti"), "estimate"]
    score = "refusal score"
    assert table.loc[(score, "pro"), "estimate"] < table.loc[(score, "anti"), "estimate"]
    assert all(each.total.estimate > 0 for each in found.contrasts)


def test_setting_refusal_back_at_the_last_layer_takes_from_the_effect(
    found: PersonaMediation,
) -> None:
    """There the direction is read off by the output: a check of the patch, not a finding."""
    share = found.by_layer.set_index(["direction", "layer"])["share"]
    assert share["refusal", 7] > 0.1
    assert abs(share["random", 7]) < share["refusal", 7] / 2


def test_a_patch_sets_what_it_says_where_it_says(model: LensModel) -> None:
    config = WhosAskingConfig(**TINY)
    work = workbench(config, study_data(config), model)
    prompts = [work.say(request, work.data.control.name) for request in work.studied[:3]]
    direction = torch.randn(work.card.d_model, generator=torch.Generator().manual_seed(0))
    hook = set_row_projections(direction, torch.tensor([1.0, -2.0, 3.0]))
    edit = Edit(
        site=Site.RESID_POST, layer=3, hook=_at_instruction(hook), scope="all", per_pass=True
    )
    plain = {at: states(work, prompts, at)[:, 1] for at in (LAST, INSTRUCTION)}
    edited = {
        at: collect(
            model, prompts, sites=[Site.RESID_POST], layers=[3], read_at=at, edits=[edit]
        ).values[Site.RESID_POST][:, 0]
        for at in (LAST, INSTRUCTION)
    }
    unit = direction / direction.norm()
    torch.testing.assert_close(edited[LAST], plain[LAST], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        edited[INSTRUCTION] @ unit, torch.tensor([1.0, -2.0, 3.0]), atol=1e-4, rtol=1e-4
    )
    rest = edited[INSTRUCTION] - plain[INSTRUCTION]
    torch.testing.assert_close(rest - (rest @ unit)[:, None] * unit, torch.zeros_like(rest))


def test_a_persona_s_own_value_put_back_changes_nothing(
    model: LensModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the control's text said for every persona, each patch sets what is there already."""
    from analyses._parts import _mediation_patches as patched
    from analyses._parts import _mediation_runs as runs

    def control_said(put: Any, treatment: str, persona: str, request: Any, say: Any) -> Any:
        return say(request, control)

    config = WhosAskingConfig(**TINY | {"max_personas": 4, "max_requests": 16, "layers": (3, 5)})
    control = study_data(config).control.name
    for module in (patched, runs):
        monkeypatch.setattr(module, "arm_prompt", control_said)
    result = run_study(config, model=model).result.parts.mediation
    assert result is not None
    rows = result.by_request[["total", "removed", "put_in", "random"]].to_numpy()
    assert np.abs(rows).max() < 1e-3


def test_dealt_names_leave_nothing_to_carry(model: LensModel) -> None:
    result = run_study(WhosAskingConfig(**TINY | {"shuffle_labels": True}), model=model).result
    assert result.parts.mediation is not None
    claims = part("mediation").claims(result.parts.mediation)
    assert all(claim.p > 0.001 for claim in claims)


def test_the_plan_counts_what_is_run(model: LensModel) -> None:
    config = WhosAskingConfig(**TINY)
    work = workbench(config, study_data(config), model)
    made = part("mediation")
    n, texts = len(work.studied), len(persona_names(work)) + config.n_nulls
    assert len(made.passes(work, {"step": "readings"}).prompts) == 3 * n * texts
    spec = {"step": "patches", "names": list(persona_names(work)[:2])}
    assert len(made.passes(work, spec).prompts) == 3 * n
    assert made.passes(work, {"step": "directions"}).prompts
    assert WAYS == ("removed", "put in")
