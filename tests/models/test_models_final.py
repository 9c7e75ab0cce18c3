"""Final norm and unembedding as a linear map, its norm's scale held."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lens_personas.models import LensModel, frozen_final

Loaded = Callable[[str], LensModel]
NAMES = ("llama", "gpt2", "parallel", "gemma2")


def uncapped(model: LensModel, **parts: Any) -> Any:
    """The model's last parts alone, without a cap on its logits, with ``parts`` in their place."""
    cfg = SimpleNamespace(output_logits_soft_cap=None, normalization_type="as it is")
    names = ("ln_final", "unembed", "embed", "W_E")
    own = {"cfg": cfg} | {name: getattr(model.wrapped, name) for name in names}
    return replace(model, wrapped=SimpleNamespace(**(own | parts)))  # type: ignore[type-var]


def asked(model: LensModel, n: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    resid = 5 * torch.randn(n, model.card.d_model, generator=generator) + 2
    return resid, torch.randn(n, model.card.d_vocab, generator=generator)


@pytest.mark.parametrize("name", NAMES)
def test_the_map_gives_the_models_own_logits(loaded: Loaded, name: str) -> None:
    model = uncapped(loaded(name))
    resid, weights = asked(model)
    found = frozen_final(model, resid, weights)
    own = (weights * model.logits(resid)).sum(dim=1)
    torch.testing.assert_close(
        (found.directions * resid).sum(dim=1) + found.bias, own, atol=1e-3, rtol=1e-5
    )
    zero = (weights * model.logits(torch.zeros_like(resid))).sum(dim=1)
    torch.testing.assert_close(found.bias, zero, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_scale_is_the_norms_own(loaded: Loaded, name: str) -> None:
    model = uncapped(loaded(name))
    resid, weights = asked(model)
    # The size of what is normalised: about the mean where the norm centres, about zero elsewhere.
    inner = resid - resid.mean(dim=1, keepdim=True) if name in ("gpt2", "parallel") else resid
    expected = inner.square().mean(dim=1).sqrt()
    torch.testing.assert_close(
        frozen_final(model, resid, weights).scale, expected, atol=1e-4, rtol=1e-4
    )


def test_parts_of_the_residual_add_up(loaded: Loaded) -> None:
    model = loaded("gpt2")
    resid, weights = asked(model)
    found = frozen_final(model, resid, weights)
    part = torch.randn(resid.shape, generator=torch.Generator().manual_seed(1))
    shares = (found.directions * part).sum(dim=1) + (found.directions * (resid - part)).sum(dim=1)
    own = (weights * model.logits(resid)).sum(dim=1)
    torch.testing.assert_close(shares + found.bias, own, atol=1e-3, rtol=1e-5)


def test_without_a_norm_the_scale_is_one(loaded: Loaded, backend: str) -> None:
    if backend == "bridge":
        pytest.skip("the bridge runs models as they are, and all have a final norm")
    model = loaded("llama")
    cfg = SimpleNamespace(output_logits_soft_cap=None, normalization_type=None)
    bare = uncapped(model, cfg=cfg)
    resid, weights = asked(bare)
    found = frozen_final(bare, resid, weights)
    torch.testing.assert_close(found.scale, torch.ones(3))
    torch.testing.assert_close(
        found.directions, weights @ model.wrapped.unembed.W_U.T, atol=1e-4, rtol=1e-5
    )


def test_logits_that_are_not_linear_are_refused(loaded: Loaded) -> None:
    capped = loaded("gemma2")
    with pytest.raises(ValueError, match="caps them at 2"):
        frozen_final(capped, *asked(capped))
    model: Any = loaded("llama")
    scaled = replace(model, card=replace(model.card, lens_is_exact=False))
    with pytest.raises(ValueError, match=r"lens_is_exact.*such as scaling"):
        frozen_final(scaled, *asked(model))


def test_a_norm_of_another_form_is_refused(loaded: Loaded) -> None:
    model = loaded("llama")

    class Squashing(torch.nn.Module):
        def forward(self, resid: torch.Tensor) -> torch.Tensor:
            return resid.tanh()

    with pytest.raises(ValueError, match="divides by one number and multiplies by a gain"):
        frozen_final(uncapped(model, ln_final=Squashing()), *asked(model))


def test_another_unembedding_is_refused(loaded: Loaded) -> None:
    model = loaded("llama")

    class Doubling(torch.nn.Module):
        def forward(self, normed: torch.Tensor) -> torch.Tensor:
            return 2 * normed @ model.wrapped.unembed.W_U

    doubling: Any = Doubling()
    doubling.W_U, doubling.b_U = model.wrapped.unembed.W_U, model.wrapped.unembed.b_U
    with pytest.raises(ValueError, match="to give its logits, they are off by"):
        frozen_final(uncapped(model, unembed=doubling), *asked(model))
