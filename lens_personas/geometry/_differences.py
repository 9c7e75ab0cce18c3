"""Difference of means: the direction from one set of activations to another."""

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.geometry._directions import working_dtype


def difference_of_means(
    positive: Float[Tensor, "positive d_model"], negative: Float[Tensor, "negative d_model"]
) -> Float[Tensor, " d_model"]:
    """Mean of ``positive`` minus mean of ``negative``, in float32 or wider.

    It points from the negative to the positive side; its length is their distance, in units
    of the activation. Summed in float64: sums in bfloat16 turn the direction.

    Raises:
        ValueError: If a side has no rows.
    """
    if not len(positive) or not len(negative):
        raise ValueError(
            f"expected rows on both sides, got {len(positive)} positive and {len(negative)} "
            "negative; check the labels or the split"
        )
    means = [side.mean(dim=0, dtype=torch.float64) for side in (positive, negative)]
    return (means[0] - means[1]).to(working_dtype(positive))


def paired_difference_of_means(
    positive: Float[Tensor, "positive d_model"], negative: Float[Tensor, "negative d_model"]
) -> Float[Tensor, " d_model"]:
    """Mean over pairs of ``positive - negative``, in float32 or wider.

    The same vector as `difference_of_means` of the two sides; here the rows must be pairs, so
    a lost partner is an error. Contrastive activation addition: https://arxiv.org/abs/2312.06681.

    Raises:
        ValueError: If the sides differ in their number of rows, or have none.
    """
    if len(positive) != len(negative):
        raise ValueError(
            f"expected pairs, got {len(positive)} positive and {len(negative)} negative rows; "
            "drop the rows without a partner, or use difference_of_means"
        )
    return difference_of_means(positive, negative)
