"""Pure tensor maths: directions, edits along them, angles, their stability; next-token odds."""

from lens_personas.geometry._differences import difference_of_means, paired_difference_of_means
from lens_personas.geometry._directions import projection, random_directions, unit_vector
from lens_personas.geometry._edits import (
    add_row_vectors,
    add_vector,
    affine_edit,
    cap_projection,
    project_out,
    project_out_rows,
    set_projection,
)
from lens_personas.geometry._next_token import next_token_kl, set_log_odds
from lens_personas.geometry._probe import held_out_projections, held_out_scores
from lens_personas.geometry._similarity import (
    cosine,
    cosine_by_layer,
    cosine_matrix,
    effective_rank,
    remove_direction_by_layer,
    representational_shift,
)
from lens_personas.geometry._stability import (
    Cone,
    SplitHalf,
    bootstrap_cone,
    cosine_ceiling,
    permuted_cosines,
    permuted_differences,
    spearman_brown,
    split_half_cosine,
)

__all__ = [
    "Cone",
    "SplitHalf",
    "add_row_vectors",
    "add_vector",
    "affine_edit",
    "bootstrap_cone",
    "cap_projection",
    "cosine",
    "cosine_by_layer",
    "cosine_ceiling",
    "cosine_matrix",
    "difference_of_means",
    "effective_rank",
    "held_out_projections",
    "held_out_scores",
    "next_token_kl",
    "paired_difference_of_means",
    "permuted_cosines",
    "permuted_differences",
    "project_out",
    "project_out_rows",
    "projection",
    "random_directions",
    "remove_direction_by_layer",
    "representational_shift",
    "set_log_odds",
    "set_projection",
    "spearman_brown",
    "split_half_cosine",
    "unit_vector",
]
