"""From activations of two sides to a vector."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.activations import CachedActivations, joint_hash, package_version
from lens_personas.geometry import difference_of_means, paired_difference_of_means, unit_vector
from lens_personas.hooks import Site
from lens_personas.vectors._types import SteeringVector, VectorProvenance


def fit_difference_of_means(
    to: CachedActivations,
    from_: CachedActivations,
    *,
    name: str,
    to_label: str,
    from_label: str,
    site: Site | None = None,
    paired: bool = False,
    normalise: bool = False,
    method: str = "difference_of_means",
    seed: int | None = None,
) -> SteeringVector:
    """Mean of ``to`` minus mean of ``from_`` at every layer, summed in float64.

    Args:
        to: Activations of the side the vector points to.
        from_: Activations of the side it points away from.
        name: What the vector is, in a word.
        to_label: What ``to`` is.
        from_label: What ``from_`` is.
        site: Point of the block; None where only one was read.
        paired: Whether row ``i`` of both sides is one pair: a lost partner is then an error.
        normalise: Whether every layer's vector is scaled to norm 1.
        method: Name of the construction, as it is stored.
        seed: Seed of the draws that made the prompts.

    Raises:
        ValueError: If the sides were not read alike, a side is empty, or pairs do not match.
    """
    place = common_site(to, from_, site)
    fit = paired_difference_of_means if paired else difference_of_means
    rows = [fit(to.at(place, layer), from_.at(place, layer)) for layer in to.layers]
    if normalise:
        rows = [unit_vector(row) for row in rows]
    return SteeringVector(
        name=name,
        vectors=torch.stack(rows).float(),
        layers=to.layers,
        site=place,
        from_label=from_label,
        to_label=to_label,
        method=f"{method}:paired" if paired else method,
        n_from=len(from_.prompt_ids),
        n_to=len(to.prompt_ids),
        resid_norms=_pooled_norms(to, from_, place),
        normalised=normalise,
        provenance=_provenance(to, from_, seed),
    )


def common_site(to: CachedActivations, from_: CachedActivations, site: Site | None) -> Site:
    """The site to compare at, once both sides are known to be read alike.

    Raises:
        ValueError: If they are of different models, layers, positions or edits, or the site
            is not there or not unique.
    """
    for what, mine, theirs in (
        ("model fingerprint", *(a.provenance.card["fingerprint"] for a in (to, from_))),
        ("layers", list(to.layers), list(from_.layers)),
        ("read position", to.read_at.rule, from_.read_at.rule),
        ("number of edits", to.provenance.n_edits, from_.provenance.n_edits),
    ):
        if mine != theirs:
            raise ValueError(
                f"expected both sides to have the same {what}, got {mine!r} (to) and "
                f"{theirs!r} (from); collect both in the same way"
            )
    shared = [each for each in to.sites if each in from_.sites]
    if (site is None and len(shared) != 1) or (site is not None and site not in shared):
        raise ValueError(
            f"expected a site that both sides hold, {[s.value for s in shared]}, "
            f"got {None if site is None else site.value!r}; pass site=..."
        )
    return shared[0] if site is None else site


def _pooled_norms(
    to: CachedActivations, from_: CachedActivations, site: Site
) -> Float[Tensor, " layer"]:
    counts = [int(side.n_positions.sum()) for side in (to, from_)]
    sums = [
        side.residual_norms(site).double().nan_to_num(0.0) * count
        for side, count in zip((to, from_), counts, strict=True)
    ]
    if not sum(counts):
        return torch.full((len(to.layers),), torch.nan)
    return ((sums[0] + sums[1]) / sum(counts)).float()


def _provenance(
    to: CachedActivations, from_: CachedActivations, seed: int | None
) -> VectorProvenance:
    card: dict[str, Any] = dict(to.provenance.card)
    return VectorProvenance(
        model_id=card["model_id"],
        revision=card["revision"],
        fingerprint=card["fingerprint"],
        n_layers=card["n_layers"],
        tokenizer_hash=card["tokenizer_hash"],
        chat_template_hash=card["chat_template_hash"],
        transformer_lens_version=card["transformer_lens_version"],
        backend=card["backend"],
        weight_processing=card["weight_processing"],
        dtype=card["dtype"],
        span_rule=to.read_at.rule,
        seed=seed,
        data_hash=joint_hash([to.data_hash, from_.data_hash]),
        package_version=package_version(),
    )
