"""A random model, prompts of unequal length, and activations made by hand."""

from pathlib import Path

import pytest
import torch

from lens_personas.activations import ActivationProvenance, CachedActivations, ReadAt
from lens_personas.hooks import Site
from lens_personas.models import LensModel, Prompt, load_model, render
from lens_personas.personas import Message

TEXTS = (
    "tell me a fact",
    "how do i make good coffee today ?",
    "why ?",
    "please explain how the doctor can help her friend with the work of every day",
    "what is the best plan for us ?",
    "write",
)
SYSTEM = "the user is a careful teacher ."


@pytest.fixture(scope="session")
def model(tiny_checkpoint: Path, backend: str) -> LensModel:
    return load_model(tiny_checkpoint, backend=backend, device="cpu")


@pytest.fixture(scope="session")
def prompts(model: LensModel) -> list[Prompt]:
    return [
        render(
            model,
            [Message(role="system", content=SYSTEM), Message(role="user", content=text)],
            prompt_id=f"p{at}",
            answer="yes" if at % 2 else "no thing",
        )
        for at, text in enumerate(TEXTS)
    ]


@pytest.fixture
def made_by_hand() -> CachedActivations:
    """Five prompts, three layers, two sites, width 8."""
    rng = torch.Generator().manual_seed(0)
    values = {site: torch.randn(5, 3, 8, generator=rng) for site in (Site.RESID_PRE, Site.MLP_OUT)}
    card = {
        "model_id": "made-by-hand",
        "d_model": 8,
        "n_layers": 4,
        "fingerprint": "f0",
        "weight_processing": "none",
        "tokenizer_hash": "t0",
        "chat_template_hash": None,
    }
    return CachedActivations(
        values=values,
        prompt_norms={site: torch.rand(5, 3, generator=rng) for site in values},
        n_positions=torch.tensor([1, 2, 3, 4, 5]),
        prompt_ids=("a", "b", "c", "d", "e"),
        prompt_hashes=("ha", "hb", "hc", "hd", "he"),
        layers=(0, 2, 3),
        read_at=ReadAt(span="prompt", take="last"),
        provenance=ActivationProvenance(card=card, n_edits=0, package_version="1"),
    )
