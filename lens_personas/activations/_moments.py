"""Mean and variance of activations in one pass, without holding the prompts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lens_personas.activations._read_at import ReadAt, windows_of
from lens_personas.activations._stream import Progress, check_request, read_batches
from lens_personas.hooks import Edit, Site
from lens_personas.models import (
    DEFAULT_TOKEN_BUDGET,
    LensModel,
    Prompt,
    may_share,
    model_batches,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Count, mean and squared deviations of one vector a prompt, in float64."""

    site: Site
    """Point of the block."""
    layers: tuple[int, ...]
    """Block of each entry on the ``layer`` axis."""
    count: int
    """Number of prompts."""
    mean: Float64[Tensor, "layer d_model"]
    """Mean vector."""
    squared_deviations: Float64[Tensor, "layer d_model"]
    """Sum over prompts of the squared difference from the mean."""
    mean_norm: Float64[Tensor, " layer"]
    """Mean norm of the vectors."""

    @property
    def variance(self) -> Float64[Tensor, "layer d_model"]:
        """Unbiased variance of each dimension; NaN for fewer than two prompts."""
        if self.count < 2:
            return torch.full_like(self.mean, torch.nan)
        return self.squared_deviations / (self.count - 1)


def moments_of(
    values: Float[Tensor, "prompt layer d_model"], *, site: Site, layers: Sequence[int]
) -> Moments:
    """Moments of vectors that are at hand.

    Raises:
        ValueError: If there is no prompt, or the layers do not fit.
    """
    if not len(values) or len(layers) != values.shape[1]:
        raise ValueError(
            f"expected at least one prompt and {len(layers)} layers, got a tensor of shape "
            f"{tuple(values.shape)}"
        )
    exact = values.double()
    mean = exact.mean(dim=0)
    return Moments(
        site=site,
        layers=tuple(layers),
        count=len(exact),
        mean=mean,
        squared_deviations=(exact - mean).square().sum(dim=0),
        mean_norm=exact.norm(dim=-1).mean(dim=0),
    )


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of the prompts of both, as if they had been read together.

    Chan, Golub and LeVeque's update (http://i.stanford.edu/pub/cstr/reports/cs/tr/79/773/).

    Raises:
        ValueError: If site, layers or width differ.
    """
    if (a.site, a.layers, a.mean.shape) != (b.site, b.layers, b.mean.shape):
        raise ValueError(
            f"expected moments of one site, the same layers and width, got {a.site.value} "
            f"{list(a.layers)} {tuple(a.mean.shape)} and {b.site.value} {list(b.layers)} "
            f"{tuple(b.mean.shape)}"
        )
    count = a.count + b.count
    step = b.mean - a.mean
    share = b.count / count
    return Moments(
        site=a.site,
        layers=a.layers,
        count=count,
        mean=a.mean + step * share,
        squared_deviations=a.squared_deviations
        + b.squared_deviations
        + step.square() * (a.count * share),
        mean_norm=a.mean_norm + (b.mean_norm - a.mean_norm) * share,
    )


def collect_moments(
    model: LensModel,
    prompts: Sequence[Prompt],
    *,
    site: Site,
    layers: Sequence[int],
    read_at: ReadAt,
    edits: Sequence[Edit] = (),
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    progress: Progress | None = None,
) -> Moments:
    """Moments of the vectors that :func:`~lens_personas.activations.collect` would give.

    Memory is that of one batch and of two vectors a layer, however many prompts there are.

    Raises:
        ValueError: If nothing is asked for, a place does not exist, or a prompt lacks the part.
    """
    by_group = collect_group_moments(
        model,
        prompts,
        groups=["all"] * len(prompts),
        site=site,
        layers=layers,
        read_at=read_at,
        edits=edits,
        token_budget=token_budget,
        progress=progress,
    )
    return by_group["all"]


def collect_group_moments(
    model: LensModel,
    prompts: Sequence[Prompt],
    *,
    groups: Sequence[str],
    site: Site,
    layers: Sequence[int],
    read_at: ReadAt,
    edits: Sequence[Edit] = (),
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    progress: Progress | None = None,
) -> dict[str, Moments]:
    """Moments of each group of prompts, in one pass; ``groups`` holds each prompt's label.

    Sums are float64 on the model's device, of which only two vectors a layer and group come
    back.

    Raises:
        ValueError: If there is not one label a prompt, nothing is asked for, a place does
            not exist, or a prompt lacks the part.
    """
    check_request(model, prompts, [site], layers)
    if len(groups) != len(prompts):
        raise ValueError(f"expected {len(prompts)} group labels, one a prompt, got {len(groups)}")
    found: dict[str, Moments] = {}
    for read in read_batches(
        model,
        model_batches(model, prompts, token_budget, share=may_share(edits)),
        sites=[site],
        layers=layers,
        windows=windows_of(read_at, prompts),
        edits=edits,
        progress=progress,
    ):
        labels = [groups[row] for row in read.rows]
        for label in dict.fromkeys(labels):
            rows = [at for at, each in enumerate(labels) if each == label]
            part = moments_of(_exact(read.values[site][rows]), site=site, layers=layers)
            found[label] = merge(found[label], part) if label in found else part
    return {label: _on_cpu(found[label]) for label in dict.fromkeys(groups)}


def _exact(
    values: Float[Tensor, "prompt layer d_model"],
) -> Float64[Tensor, "prompt layer d_model"]:
    # The one kind of device that has no float64.
    return (values.cpu() if values.device.type == "mps" else values).double()


def _on_cpu(moments: Moments) -> Moments:
    return replace(
        moments,
        mean=moments.mean.cpu(),
        squared_deviations=moments.squared_deviations.cpu(),
        mean_norm=moments.mean_norm.cpu(),
    )
