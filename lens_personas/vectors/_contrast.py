"""Two sets of prompts that differ in one thing, and the vector between them."""

from collections.abc import Sequence
from dataclasses import dataclass

from lens_personas.activations import CachedActivations, Progress, ReadAt, collect
from lens_personas.hooks import Site
from lens_personas.models import DEFAULT_TOKEN_BUDGET, LensModel, Prompt
from lens_personas.vectors._fit import fit_difference_of_means
from lens_personas.vectors._types import SteeringVector


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Prompts of both sides of a vector.

    Raises:
        ValueError: If a side is empty, or pairs are claimed and the sides differ in size.
    """

    name: str
    """What the vector between them is, in a word."""
    to: tuple[Prompt, ...]
    """Prompts of the side the vector points to."""
    from_: tuple[Prompt, ...]
    """Prompts of the side it points away from."""
    to_label: str
    """What ``to`` is."""
    from_label: str
    """What ``from_`` is."""
    paired: bool
    """Whether prompt ``i`` of both sides is one pair."""
    method: str
    """Name of the construction, as it is stored with the vector."""
    read_at: ReadAt
    """Where the construction reads the residual."""
    seed: int | None
    """Seed of the draws that made the prompts; None where nothing was drawn."""

    def __post_init__(self) -> None:
        sizes = (len(self.to), len(self.from_))
        if not min(sizes) or (self.paired and sizes[0] != sizes[1]):
            raise ValueError(
                f"contrast {self.name!r}: expected prompts on both sides"
                f"{' in pairs' if self.paired else ''}, got {sizes[0]} to {self.to_label!r} and "
                f"{sizes[1]} from {self.from_label!r}"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class ContrastActivations:
    """What was read of both sides of a contrast."""

    to: CachedActivations
    """Activations of the side the vector points to."""
    from_: CachedActivations
    """Activations of the side it points away from."""


def collect_contrast(
    model: LensModel,
    contrast: Contrast,
    *,
    layers: Sequence[int],
    sites: Sequence[Site] = (Site.RESID_POST,),
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    progress: Progress | None = None,
) -> ContrastActivations:
    """Activations of both sides, read in one pass.

    Raises:
        ValueError: If a place does not exist, or a prompt lacks the part that is read.
    """
    read = collect(
        model,
        [*contrast.to, *contrast.from_],
        sites=sites,
        layers=layers,
        read_at=contrast.read_at,
        norms=True,
        token_budget=token_budget,
        progress=progress,
    )
    n_to = len(contrast.to)
    return ContrastActivations(
        to=read.take(range(n_to)), from_=read.take(range(n_to, n_to + len(contrast.from_)))
    )


def fit_contrast(
    contrast: Contrast,
    read: ContrastActivations,
    *,
    site: Site | None = None,
    normalise: bool = False,
) -> SteeringVector:
    """The vector of a contrast from its activations.

    Raises:
        ValueError: If the site is not there or not unique.
    """
    return fit_difference_of_means(
        read.to,
        read.from_,
        name=contrast.name,
        to_label=contrast.to_label,
        from_label=contrast.from_label,
        site=site,
        paired=contrast.paired,
        normalise=normalise,
        method=contrast.method,
        seed=contrast.seed,
    )


def vector_of(
    model: LensModel,
    contrast: Contrast,
    *,
    layers: Sequence[int],
    site: Site = Site.RESID_POST,
    normalise: bool = False,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    progress: Progress | None = None,
) -> SteeringVector:
    """The vector of a contrast, read from a model.

    Raises:
        ValueError: If a place does not exist, or a prompt lacks the part that is read.
    """
    read = collect_contrast(
        model,
        contrast,
        layers=layers,
        sites=[site],
        token_budget=token_budget,
        progress=progress,
    )
    return fit_contrast(contrast, read, site=site, normalise=normalise)
