"""Models in 16 bits: what is summed, projected and normalised is so in 32 bits or more."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lens_personas.activations import ReadAt, collect
from lens_personas.geometry import project_out, unit_vector
from lens_personas.hooks import Edit, Site, ablate_direction
from lens_personas.models import (
    LensModel,
    Prompt,
    SlowDTypeWarning,
    load_model,
    map_last_logits,
    model_batches,
    run_batch,
)
from lens_personas.vectors import fit_difference_of_means

D_MODEL, LAYER = 32, 1
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@pytest.fixture(scope="session")
def half(tiny_checkpoint: Path, backend: Any) -> Callable[[str], LensModel]:
    """The tiny model in a dtype, by each backend. Shared."""
    made: dict[str, LensModel] = {}

    def get(dtype: Any) -> LensModel:
        if dtype not in made:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SlowDTypeWarning)
                made[dtype] = load_model(
                    tiny_checkpoint, dtype=dtype, backend=backend, device="cpu"
                )
        return made[dtype]

    return get


def _prompts(n: int, seed: int) -> list[Prompt]:
    rng = torch.Generator().manual_seed(seed)
    rows = torch.randint(10, 400, (n, 9), generator=rng).tolist()
    return [
        Prompt(
            prompt_id=f"{seed}/{at}",
            ids=tuple(row),
            prompt_length=len(row),
            spans={"prompt": (0, len(row))},
            text="",
        )
        for at, row in enumerate(rows)
    ]


def _difference(model: LensModel, sides: tuple[list[Prompt], list[Prompt]]) -> torch.Tensor:
    read = ReadAt(span="prompt", take="mean")
    to, from_ = (
        collect(model, side, sites=[Site.RESID_POST], layers=[LAYER], read_at=read, norms=True)
        for side in sides
    )
    return (
        fit_difference_of_means(to, from_, name="d", to_label="to", from_label="from")
        .vectors[0]
        .double()
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_gotcha_16_a_small_difference_of_means_keeps_its_direction(
    half: Callable[[str], LensModel], dtype: str
) -> None:
    # Two draws of one distribution: the means differ by a small share of their length.
    sides = (_prompts(256, 1), _prompts(256, 2))
    exact, found = (_difference(half(each), sides) for each in ("float32", dtype))
    assert torch.cosine_similarity(exact, found, dim=0) >= 0.9995
    # As it is done where sums keep the model's dtype.
    naive = _naive_difference(half(dtype), sides).double()
    lost = 1 - torch.cosine_similarity(exact, naive, dim=0)
    assert lost > 5 * (1 - torch.cosine_similarity(exact, found, dim=0))


def _naive_difference(model: LensModel, sides: tuple[list[Prompt], list[Prompt]]) -> torch.Tensor:
    place = (Site.RESID_POST, LAYER)
    means = []
    for side in sides:
        total = torch.zeros(D_MODEL, dtype=DTYPES[model.card.dtype])
        for batch in model_batches(model, side):
            for row in run_batch(model, batch, reads=[place]).reads[place]:
                total = total + row.mean(dim=0)
        means.append(total / len(side))
    return means[0] - means[1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_gotcha_17_ablation_leaves_no_more_than_rounding(
    half: Callable[[str], LensModel], dtype: str
) -> None:
    model, place = half(dtype), (Site.RESID_POST, LAYER)
    direction = unit_vector(torch.randn(D_MODEL, generator=torch.Generator().manual_seed(3)))
    edit = Edit(site=place[0], layer=LAYER, hook=ablate_direction(direction))
    (batch,) = model_batches(model, _prompts(8, 4))
    before = run_batch(model, batch, reads=[place]).reads[place]
    after = run_batch(model, batch, edits=[edit], reads=[place]).reads[place]
    assert after.dtype == DTYPES[dtype]
    exact = project_out(before.double(), direction.double()).to(DTYPES[dtype])
    left, least = ((each.double() @ direction.double()).norm() for each in (after, exact))
    assert left <= 1.05 * least


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_probabilities_are_float32_and_sum_to_one(
    half: Callable[[str], LensModel], dtype: str
) -> None:
    seen: list[torch.dtype] = []

    def log_probs(logits: torch.Tensor) -> torch.Tensor:
        seen.append(logits.dtype)
        return logits.log_softmax(dim=-1)

    prompts = _prompts(8, 5)
    found = map_last_logits(half(dtype), prompts, log_probs)
    assert set(seen) == {torch.float32}
    total = found.double().exp().sum(dim=-1)
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-5, rtol=0)
    exact = map_last_logits(half("float32"), prompts, log_probs)
    # The rest is the model's own rounding, far below what bfloat16 sums would lose.
    assert (found.exp() - exact.exp()).abs().sum(dim=-1).max() < 0.2


def test_float16_on_a_cpu_is_warned_of(tiny_checkpoint: Path) -> None:
    with pytest.warns(SlowDTypeWarning, match="float16 on a CPU .* bfloat16 takes half"):
        load_model(tiny_checkpoint, dtype="float16", device="cpu")
