"""How far the data fix a vector, layer by layer."""

import torch

from lens_personas.activations import CachedActivations
from lens_personas.geometry import Cone, SplitHalf, bootstrap_cone, split_half_cosine
from lens_personas.hooks import Site
from lens_personas.vectors._fit import common_site


def split_half(
    to: CachedActivations,
    from_: CachedActivations,
    *,
    generator: torch.Generator,
    site: Site | None = None,
    paired: bool = False,
    n_splits: int = 100,
) -> dict[int, SplitHalf]:
    """Agreement of the vectors of two random halves of the prompts, by layer.

    Near 0 where the sides do not differ: no cosine with such a vector means anything.

    Raises:
        ValueError: If the sides were not read alike, a side has fewer than 2 prompts, or
            pairs do not match.
    """
    place = common_site(to, from_, site)
    return {
        layer: split_half_cosine(
            to.at(place, layer),
            from_.at(place, layer),
            generator=generator,
            n_splits=n_splits,
            paired=paired,
        )
        for layer in to.layers
    }


def cone(
    to: CachedActivations,
    from_: CachedActivations,
    *,
    generator: torch.Generator,
    site: Site | None = None,
    paired: bool = False,
    n_resamples: int = 200,
) -> dict[int, Cone]:
    """How far vectors of resampled prompts lie from the vector of all, by layer.

    Raises:
        ValueError: If the sides were not read alike, a side has fewer than 2 prompts, or
            pairs do not match.
    """
    place = common_site(to, from_, site)
    return {
        layer: bootstrap_cone(
            to.at(place, layer),
            from_.at(place, layer),
            generator=generator,
            n_resamples=n_resamples,
            paired=paired,
        )
        for layer in to.layers
    }
