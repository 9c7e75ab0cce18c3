"""Ops by name: how a user's own edit comes to work wherever an op is named."""

import inspect
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import TypeVar

from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks._protocol import HookFn

ParamValue = bool | int | float | str | Tensor
"""What an op's further parameters may be; numbers are floats, tensors are vectors."""

OpFactory = Callable[..., HookFn]
"""Function that checks its parameters once and gives a hook."""

_Factory = TypeVar("_Factory", bound=OpFactory)

_ops: dict[str, OpFactory] = {}


def register_op(name: str, *, replace: bool = False) -> Callable[[_Factory], _Factory]:
    """Decorator that makes a factory known as ``name``, in plans, files and commands alike.

    The factory's first positional parameter is the vector (an op without one has keyword-only
    parameters alone), ``dose`` is the dose, and other names are the op's own parameters.

    >>> @register_op("scale", replace=True)
    ... def scale(*, dose: float = 1.0) -> HookFn:
    ...     def multiply(activation, /, *, hook):
    ...         return activation * dose
    ...     return multiply
    >>> "scale" in known_ops()
    True

    Raises:
        ValueError: If the name is taken and ``replace`` is false, or is no plain name.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"expected a name of lower-case letters, digits and _, got {name!r}")

    def register(factory: _Factory) -> _Factory:
        if name in _ops and not replace:
            raise ValueError(
                f"expected a new op name, got {name!r}, which is taken by "
                f"{_ops[name].__module__}.{_ops[name].__qualname__}; "
                "choose another or pass replace=True"
            )
        _ops[name] = factory
        return factory

    return register


def op(name: str) -> OpFactory:
    """The factory registered as ``name``.

    Raises:
        ValueError: If there is none; the message lists those that are known.
    """
    if name in _ops:
        return _ops[name]
    nearest = get_close_matches(name, _ops, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else "import the module that registers it"
    raise ValueError(f"expected an op among {', '.join(known_ops())}, got {name!r}; {hint}")


def known_ops() -> tuple[str, ...]:
    """Names of all registered ops, sorted."""
    return tuple(sorted(_ops))


def make_hook(
    name: str,
    *,
    vector: Float[Tensor, " d_model"] | None = None,
    dose: float | None = None,
    params: Mapping[str, ParamValue] | None = None,
) -> HookFn:
    """The hook of op ``name`` with these parameters; a dose of None is the op's own default.

    Raises:
        ValueError: If the op is not known, lacks a parameter, or takes none of that name.
    """
    factory = op(name)
    given: dict[str, object] = dict(params or {})
    if dose is not None:
        given["dose"] = dose
    positional = () if vector is None else (vector,)
    try:
        bound = inspect.signature(factory).bind(*positional, **given)
    except TypeError as error:
        raise ValueError(
            f"expected the parameters ({', '.join(inspect.signature(factory).parameters)}) "
            f"of op {name!r}, got ({_shown(vector, given)}): {error}"
        ) from error
    return factory(*bound.args, **bound.kwargs)


def _shown(vector: Float[Tensor, " d_model"] | None, given: Mapping[str, object]) -> str:
    names = ([] if vector is None else ["a vector"]) + sorted(given)
    return ", ".join(names) or "none"
