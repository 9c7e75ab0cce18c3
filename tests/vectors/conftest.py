"""A random model, made-up activations, and a vector made by hand."""

from pathlib import Path

import pytest
import torch

from lens_personas.activations import ActivationProvenance, CachedActivations, ReadAt
from lens_personas.hooks import Site
from lens_personas.models import LensModel, load_model
from lens_personas.personas import Persona
from lens_personas.vectors import SteeringVector, VectorProvenance

CARD = {
    "model_id": "made-by-hand",
    "revision": None,
    "fingerprint": "f0",
    "n_layers": 4,
    "d_model": 32,
    "tokenizer_hash": "t0",
    "chat_template_hash": None,
    "transformer_lens_version": "3.9.0",
    "backend": "bridge",
    "weight_processing": "none",
    "dtype": "float32",
}


@pytest.fixture(scope="session")
def model(tiny_checkpoint: Path, backend: str) -> LensModel:
    return load_model(tiny_checkpoint, backend=backend, device="cpu")


@pytest.fixture
def persona() -> Persona:
    """Pairs that differ in one word."""
    return Persona(
        name="careful",
        group="pro",
        statements=("i am a careful person .", "people say i am careful ."),
        negations=("i am a large person .", "people say i am large ."),
        opposite="large",
        questions=("am i careful ?", "do i take care ?", "is my plan safe ?", "am i thorough ?"),
    )


@pytest.fixture
def made():
    """Function that makes activations of one site from a tensor."""

    def make(values: torch.Tensor, /, *, prefix: str = "p", **changes: object) -> CachedActivations:
        n, n_layers, _ = values.shape
        fields = {
            "values": {Site.RESID_POST: values},
            "prompt_norms": {Site.RESID_POST: values.norm(dim=-1)},
            "n_positions": torch.ones(n, dtype=torch.long),
            "prompt_ids": tuple(f"{prefix}{at}" for at in range(n)),
            "prompt_hashes": tuple(f"{prefix}{at}" for at in range(n)),
            "layers": tuple(range(n_layers)),
            "read_at": ReadAt(span="prompt", take="last"),
            "provenance": ActivationProvenance(card=CARD, n_edits=0, package_version="1"),
        }
        return CachedActivations(**(fields | changes))

    return make


@pytest.fixture
def vector() -> SteeringVector:
    """Two layers of width 32, as of a model of four layers."""
    provenance = {field: CARD.get(field) for field in VectorProvenance.__dataclass_fields__}
    known = {"span_rule": "prompt:last", "seed": 3, "data_hash": "d0", "package_version": "1"}
    return SteeringVector(
        name="careful",
        vectors=torch.randn(2, 32, generator=torch.Generator().manual_seed(0)),
        layers=(1, 3),
        site=Site.RESID_POST,
        from_label="not careful",
        to_label="careful",
        method="difference_of_means",
        n_from=7,
        n_to=8,
        resid_norms=torch.tensor([5.0, 9.0]),
        normalised=False,
        provenance=VectorProvenance(**(provenance | known)),
    )
