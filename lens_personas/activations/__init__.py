"""What was read from a model: activations at chosen positions, their moments, their store."""

from lens_personas.activations._cached import CachedActivations
from lens_personas.activations._collect import collect, residual_norms
from lens_personas.activations._disk import (
    StoredActivations,
    collect_to_disk,
    open_activations,
)
from lens_personas.activations._files import replacing
from lens_personas.activations._moments import (
    Moments,
    collect_group_moments,
    collect_moments,
    merge,
    moments_of,
)
from lens_personas.activations._provenance import (
    ActivationProvenance,
    MismatchError,
    ModelField,
    check_same_model,
    joint_hash,
    package_version,
    prompt_hash,
)
from lens_personas.activations._read_at import ReadAt
from lens_personas.activations._stream import Progress
from lens_personas.activations._tensor_file import read_tensors, write_tensors

__all__ = [
    "ActivationProvenance",
    "CachedActivations",
    "MismatchError",
    "ModelField",
    "Moments",
    "Progress",
    "ReadAt",
    "StoredActivations",
    "check_same_model",
    "collect",
    "collect_group_moments",
    "collect_moments",
    "collect_to_disk",
    "joint_hash",
    "merge",
    "moments_of",
    "open_activations",
    "package_version",
    "prompt_hash",
    "read_tensors",
    "replacing",
    "residual_norms",
    "write_tensors",
]
