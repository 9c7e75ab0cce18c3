"""Named tensors in one safetensors file that says what they are."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lens_personas.activations._files import replacing


def write_tensors(
    path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write float32 tensors with their metadata as one ``.safetensors`` file, whole or not at all.

    Raises:
        ValueError: If the path has another ending.
        OSError: If it cannot be written.
    """
    target = Path(path)
    if target.suffix != ".safetensors":
        raise ValueError(f"expected a path that ends in .safetensors, got {str(path)!r}")
    # A part of a larger tensor would take that tensor's whole storage along.
    own = {
        name: tensor.detach().cpu().float().contiguous().clone() for name, tensor in tensors.items()
    }
    with replacing(target) as temporary:
        save_file(own, temporary, metadata=dict(metadata))


def read_tensors(
    path: Path, *, what: str, otherwise: str
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a safetensors file.

    Args:
        path: The file.
        what: What it should be, for the error.
        otherwise: What to do with a file of another kind, for the error.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is of another kind.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected {what}, found none at {path}")
    try:
        with safe_open(path, framework="pt", device="cpu") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"expected a safetensors file, got {path} ({error}); {otherwise}, and a pickle is "
            "never run"
        ) from error
    return metadata, tensors
