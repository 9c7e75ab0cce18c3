"""How the weights of a ``HookedTransformer`` lie in memory: as its forward pass reads them.

TransformerLens transposes and copies most of its matrices in every forward pass, which makes
one token cost several times what it should. Where a matrix lies transposed already, the same
operations are views, and the copy that follows them does nothing.
"""

from collections import Counter
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

_HEADS_FIRST = (0, 2, 1)
_MATRIX = (1, 0)
# Axes from outermost to innermost in memory. A plain MLP takes its matrices as they are.
_ATTENTION = {
    **dict.fromkeys(("W_Q", "W_K", "W_V", "_W_K", "_W_V"), _HEADS_FIRST),
    "W_O": (2, 0, 1),
}
_GATED_MLP = dict.fromkeys(("W_gate", "W_in", "W_out"), _MATRIX)
_UNEMBED = {"W_U": _MATRIX}


@torch.no_grad()
def lay_out_weights(wrapped: Any) -> None:
    """Put the weights of a ``HookedTransformer`` in memory as its forward pass reads them.

    Parameters keep their identity, names, shapes and values, and logits are the same to the
    bit; only strides change, so that ``parameter.view(-1)`` needs ``reshape``. It is done
    matrix by matrix, so that one matrix is held twice at most. Matrices that share memory with
    another parameter stay as they are.

    The layout outlives ``.to(...)``, ``load_state_dict``, ``copy.deepcopy``, pickling and
    ``torch.save``. It is lost, and nothing but the speed with it, where parameters are
    replaced: ``load_state_dict(assign=True)``, TransformerLens' weight processing, and files
    that hold contiguous tensors alone (safetensors, which wants ``.contiguous()`` of each).

    Raises:
        TypeError: If it is no ``HookedTransformer``; a bridge runs transformers' own modules,
            which have nothing to gain.
    """
    if not any(kind.__name__ == "HookedTransformer" for kind in type(wrapped).__mro__):
        raise TypeError(
            f"expected a HookedTransformer, got {type(wrapped).__name__}; only that class copies "
            "its weights in each pass"
        )
    owners = Counter(_memory(parameter) for parameter in wrapped.parameters())
    for module in wrapped.modules():
        own = dict(module.named_parameters(recurse=False))
        for name, axes in _wanted(own).items():
            parameter = own[name]
            if owners[_memory(parameter)] == 1:
                parameter.data = _stored(parameter.data, axes)


def _wanted(own: dict[str, torch.nn.Parameter]) -> dict[str, tuple[int, ...]]:
    """Order of the axes for those of a module's own parameters that it would copy."""
    known = (
        _UNEMBED | (_ATTENTION if "W_Q" in own else {}) | (_GATED_MLP if "W_gate" in own else {})
    )
    # Quantised matrices are flat.
    return {n: axes for n, axes in known.items() if n in own and own[n].ndim == len(axes)}


def _memory(parameter: Tensor) -> int:
    return parameter.untyped_storage().data_ptr()


def _stored(weight: Float[Tensor, "..."], axes: tuple[int, ...]) -> Float[Tensor, "..."]:
    """The same tensor with ``axes`` from outermost to innermost in memory."""
    back = [axes.index(axis) for axis in range(len(axes))]
    return weight.permute(axes).contiguous().permute(back)
