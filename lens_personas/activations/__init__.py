"""What was read from a model: activations at chosen positions, their moments, their store."""

from lens_personas.activations._cached import CachedActivations
from lens_personas.activations._collect import collect, residual_norms
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
)
from lens_personas.activations._read_at import ReadAt
from lens_personas.activations._stream import Progress

__all__ = [
    "ActivationProvenance",
    "CachedActivations",
    "MismatchError",
    "ModelField",
    "Moments",
    "Progress",
    "ReadAt",
    "check_same_model",
    "collect",
    "collect_group_moments",
    "collect_moments",
    "joint_hash",
    "merge",
    "moments_of",
    "package_version",
    "replacing",
    "residual_norms",
]
