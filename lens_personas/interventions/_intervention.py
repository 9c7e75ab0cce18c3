"""An edit as data: what can be hashed, stored, shown and sent to another process."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks import ParamValue, Scope, Site
from lens_personas.interventions._json import decoded, encoded

_NAMED_SCOPES = ("all", "prompt", "system", "user", "last_prompt", "generated")


@dataclass(frozen=True, kw_only=True, eq=False)
class Intervention:
    """One op at one site of some layers; equal content is equal, and has an equal key.

    Vectors are kept as float32 copies on the CPU: what is stored is what is hashed.

    Raises:
        ValueError: If a field is malformed. Whether it suits a model, `compile_plan` says.
    """

    op: str
    """Name of a registered op, such as ``add`` or ``ablate``."""
    vector: Float[Tensor, " d_model"] | None = None
    """What the op works with; None for an op that takes none."""
    site: Site = Site.RESID_POST
    """Point in the block."""
    layers: tuple[int, ...]
    """Blocks, counted from 0; kept sorted."""
    scope: Scope = "all"
    """Positions touched; explicit ones are kept sorted."""
    dose: float | None = None
    """Absolute dose, for ``add`` in multiples of ``vector``; None for the op's own default."""
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    """The op's further parameters by name; numbers become floats."""

    def __post_init__(self) -> None:
        """Bring every field into its one canonical form."""
        if not self.op:
            raise ValueError("expected the name of an op, got an empty one")
        if "dose" in self.params:
            raise ValueError("expected the dose in its own field, got it among params (or both)")
        canonical = {
            "site": Site(self.site),
            "layers": _canonical_layers(self.layers),
            "scope": _canonical_scope(self.scope),
            "dose": None if self.dose is None else _canonical_number(self.dose, "dose"),
            "vector": None if self.vector is None else _canonical_vector(self.vector, "vector"),
            "params": MappingProxyType(
                {name: _canonical_param(self.params[name], name) for name in sorted(self.params)}
            ),
        }
        for name, value in canonical.items():
            object.__setattr__(self, name, value)

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces, vectors as base64 of little-endian float32."""
        return encoded(
            {
                "op": self.op,
                "vector": self.vector,
                "site": self.site.value,
                "layers": list(self.layers),
                "scope": list(self.scope) if isinstance(self.scope, tuple) else self.scope,
                "dose": self.dose,
                "params": dict(self.params),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Intervention":
        """The intervention that `to_json` wrote.

        Raises:
            ValueError: If a field is missing, unknown or malformed.
        """
        fields = decoded(text, expected=tuple(cls.__dataclass_fields__))
        scope = fields["scope"]
        return cls(
            op=fields["op"],
            vector=fields["vector"],
            site=Site(fields["site"]),
            layers=tuple(fields["layers"]),
            scope=tuple(scope) if isinstance(scope, list) else scope,
            dose=fields["dose"],
            params=fields["params"],
        )

    def key(self) -> str:
        """SHA-256 of the canonical JSON, in hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        """Whether all content is equal, vectors to the bit."""
        if not isinstance(other, Intervention):
            return NotImplemented
        return self.to_json() == other.to_json()

    def __hash__(self) -> int:
        """Hash of the content."""
        return hash(self.key())

    def __reduce__(self) -> tuple[object, ...]:
        """Travel to another process as JSON."""
        return Intervention.from_json, (self.to_json(),)


def _canonical_layers(layers: tuple[int, ...]) -> tuple[int, ...]:
    if not layers or len(set(layers)) != len(layers) or min(layers) < 0:
        raise ValueError(
            f"expected one or more different layers counted from 0, got {tuple(layers)}"
        )
    return tuple(sorted(layers))


def _canonical_scope(scope: Scope) -> Scope:
    if isinstance(scope, tuple) and scope:
        return tuple(sorted(set(scope)))
    if scope in _NAMED_SCOPES:
        return scope
    raise ValueError(
        f"expected a scope among {', '.join(_NAMED_SCOPES)} or a tuple of positions, got {scope!r}"
    )


def _canonical_number(number: float | int, name: str) -> float:
    if not math.isfinite(number):
        raise ValueError(f"expected a finite {name}, got {number}")
    # Adding zero turns -0.0 into 0.0, which is equal but is written in another way.
    return float(number) + 0.0


def _canonical_vector(vector: Float[Tensor, " d_model"], name: str) -> Float[Tensor, " d_model"]:
    if vector.ndim != 1 or not vector.is_floating_point() or not torch.isfinite(vector).all():
        raise ValueError(
            f"expected {name} as finite floating-point [d_model], "
            f"got shape {tuple(vector.shape)} of {vector.dtype}, or values that are not finite"
        )
    return vector.detach().to("cpu", torch.float32) + 0.0


def _canonical_param(value: ParamValue, name: str) -> ParamValue:
    if isinstance(value, Tensor):
        return _canonical_vector(value, name)
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return _canonical_number(value, name)
    raise ValueError(
        f"expected parameter {name!r} as a number, bool, text or vector, got {type(value).__name__}"
    )
