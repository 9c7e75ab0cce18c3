"""Vectors of andyrdt/refusal_direction, read without running a pickle.

Layout by its source, https://github.com/andyrdt/refusal_direction (pipeline/run_pipeline.py).
"""

import json
import pickle
from pathlib import Path
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks import Site
from lens_personas.vectors._types import SteeringVector, VectorProvenance

_FROM: Final = "harmless requests"
_TO: Final = "harmful requests"


def read_refusal_direction(folder: Path | str, *, model_id: str | None = None) -> SteeringVector:
    """The selected direction: ``direction.pt`` at the place ``direction_metadata.json`` names.

    It points from harmless to harmful requests; its layer is that of ``resid_pre``.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file needs more than tensors to be read, or has another shape.
    """
    at = Path(folder)
    place = json.loads((at / "direction_metadata.json").read_text(encoding="utf-8"))
    direction = read_tensor(at / "direction.pt")
    if direction.ndim != 1:
        raise ValueError(
            f"expected a tensor [d_model] in {at / 'direction.pt'}, got {tuple(direction.shape)}"
        )
    return _vector(direction[None], (int(place["layer"]),), int(place["pos"]), model_id)


def read_mean_differences(
    path: Path | str, *, position: int = -1, model_id: str | None = None
) -> SteeringVector:
    """All layers of ``mean_diffs.pt`` at one position, -1 for the last of the template's tokens.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it needs more than tensors to be read, or lacks that position.
    """
    differences = read_tensor(Path(path))
    if differences.ndim != 3 or not -len(differences) <= position < 0:
        raise ValueError(
            f"expected a tensor [position, layer, d_model] in {path} and a position from "
            f"{-len(differences)} to -1, got {tuple(differences.shape)} and {position}"
        )
    rows = differences[position]
    return _vector(rows, tuple(range(len(rows))), position, model_id)


def read_tensor(path: Path) -> Float[Tensor, "..."]:
    """The one tensor of a ``.pt`` file, on the CPU, with a storage of its own.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file needs more than tensors to be read, or holds something else.
    """
    try:
        found = torch.load(path, weights_only=True, map_location="cpu")
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"expected {path} to hold a tensor alone, got a file that cannot be read without "
            f"running its code: {reason}; it is refused"
        ) from error
    if not isinstance(found, Tensor) or not found.is_floating_point():
        raise ValueError(f"expected {path} to hold one tensor, got {type(found).__name__}")
    # Saved as a view, it would keep all candidates in memory.
    return found.clone()


def _vector(
    rows: Float[Tensor, "layer d_model"],
    layers: tuple[int, ...],
    position: int,
    model_id: str | None,
) -> SteeringVector:
    return SteeringVector(
        name="refusal",
        vectors=rows.float(),
        layers=layers,
        site=Site.RESID_PRE,
        from_label=_FROM,
        to_label=_TO,
        method="difference_of_means",
        n_from=None,
        n_to=None,
        resid_norms=torch.full((len(layers),), torch.nan),
        normalised=False,
        provenance=_unknown(model_id, f"post_instruction:{position}"),
    )


def _unknown(model_id: str | None, span_rule: str) -> VectorProvenance:
    return VectorProvenance(
        model_id=model_id,
        revision=None,
        fingerprint=None,
        n_layers=None,
        tokenizer_hash=None,
        chat_template_hash=None,
        transformer_lens_version=None,
        backend=None,
        weight_processing=None,
        dtype=None,
        span_rule=span_rule,
        seed=None,
        data_hash=None,
        package_version="andyrdt/refusal_direction",
    )
