"""A steering sweep gives what each vector, layer and dose gives alone."""

import pytest
import torch

from lens_personas.hooks import Edit, Site, add_direction
from lens_personas.interventions import LastTokens, steering_sweep
from lens_personas.models import map_last_logits

CLOSE = {"atol": 1e-4, "rtol": 1e-4}
KEPT = LastTokens(token_ids=(7, 3))


@pytest.fixture
def vectors(generator: torch.Generator) -> dict[str, torch.Tensor]:
    return {name: torch.randn(2, 32, generator=generator) for name in ("kind", "stern")}


@pytest.mark.parametrize("scope", ["all", "generated"])
@pytest.mark.parametrize("norms", [None, torch.tensor([10.0, 30.0])])
def test_every_cell_is_its_own_run(norms, scope, tiny_model, prompts, vectors):
    found = steering_sweep(
        tiny_model,
        prompts,
        vectors,
        KEPT,
        layers=(0, 2),
        doses=(-1.0, 0.5),
        resid_norms=norms,
        scope=scope,
    )
    assert found.values.shape == (2, 2, 2, 3, 2)
    assert found.relative == (norms is not None)
    for n, name in enumerate(found.names):
        for row, layer in enumerate(found.layers):
            vector = vectors[name][row]
            unit = vector if norms is None else norms[row] * vector / vector.norm()
            for at, dose in enumerate(found.doses):
                hook = add_direction(unit, dose=dose)
                edit = Edit(site=Site.RESID_POST, layer=layer, hook=hook, scope=scope)
                expected = map_last_logits(
                    tiny_model, prompts, lambda logits: logits[:, [7, 3]], edits=[edit]
                )
                torch.testing.assert_close(found.values[n, row, at], expected, **CLOSE)


def test_no_dose_is_the_base(tiny_model, prompts, vectors):
    found = steering_sweep(
        tiny_model, prompts, vectors, KEPT, layers=(0, 1), doses=(0.0, 3.0), scope="generated"
    )
    assert torch.equal(found.values[:, :, 0], found.base.expand(2, 2, -1, -1))
    assert (found.values[:, :, 1] - found.base).abs().max() > 1e-2


def test_what_cannot_be_steered_is_refused(tiny_model, prompts, vectors):
    options = {"layers": (0, 1), "doses": (1.0,)}
    with pytest.raises(ValueError, match="at least one dose"):
        steering_sweep(tiny_model, prompts, vectors, KEPT, layers=(0, 1), doses=())
    with pytest.raises(ValueError, match="at least one prompt and vector"):
        steering_sweep(tiny_model, [], {}, KEPT, **options)
    with pytest.raises(ValueError, match="row of a vector for each of 3 layers"):
        steering_sweep(tiny_model, prompts, vectors, KEPT, layers=(0, 1, 2), doses=(1.0,))
    with pytest.raises(ValueError, match="residual norm for each of 2 layers, got 1"):
        steering_sweep(tiny_model, prompts, vectors, KEPT, resid_norms=torch.ones(1), **options)
    with pytest.raises(ValueError, match="layers from 0 to 2"):
        steering_sweep(tiny_model, prompts, vectors, KEPT, layers=(0, 3), doses=(1.0,))
