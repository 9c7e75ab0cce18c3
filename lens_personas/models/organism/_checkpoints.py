"""Where checkpoints lie, how they are written, and how the truth is read back from one."""

import json
import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

from lens_personas.models._quiet import no_progress_bar
from lens_personas.models.organism._build import build_world
from lens_personas.models.organism._tokenizer import build_tokenizer, save_tokenizer
from lens_personas.models.organism._world import World, WorldConfig

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

WORLD_FILE: Final = "world.json"

Shipped = Literal["base", "chat", "ungated"]
"""The model that knows the world, the one that learned to refuse by who asks, and a control: one
that learned to refuse the same requests, whoever asks."""


def checkpoint_path(stage: Shipped) -> Path:
    """Folder of a shipped checkpoint: an ordinary Hugging Face folder.

    Raises:
        ValueError: If `stage` is none of "base", "chat" and "ungated".
        FileNotFoundError: If the installation lacks it.
    """
    if stage not in get_args(Shipped):
        raise ValueError(f'expected stage "base", "chat" or "ungated", received {stage!r}')
    path = Path(__file__).parent / "checkpoints" / stage
    if not (path / "config.json").is_file():
        raise FileNotFoundError(
            f"expected the shipped {stage} organism in {path}, found none: reinstall the package, "
            "or train one with train_organism"
        )
    return path


def shipped_path(name: str) -> Path | None:
    """Folder of the shipped checkpoint that is loaded by this name; None where it is none.

    Raises:
        FileNotFoundError: If the installation lacks it.

    >>> shipped_path("organism:chat").name, shipped_path("organism:poet")
    ('chat', None)
    """
    found = [stage for stage in get_args(Shipped) if name == f"organism:{stage}"]
    return checkpoint_path(found[0]) if found else None


def load_world(path: Path) -> World:
    """The world a checkpoint was taught, from the `world.json` beside its weights.

    Raises:
        FileNotFoundError: If the folder has no `world.json`.
        ValueError: If the file's fields are not those of a `WorldConfig`.
    """
    file = path / WORLD_FILE
    if not file.is_file():
        raise FileNotFoundError(
            f"expected {file}, found none: only checkpoints saved by train_organism carry a world"
        )
    fields = json.loads(file.read_text())
    known = set(WorldConfig.__dataclass_fields__)
    if not isinstance(fields, dict) or set(fields) != known:
        received = sorted(fields) if isinstance(fields, dict) else type(fields).__name__
        raise ValueError(f"expected the fields {sorted(known)} in {file}, received {received}")
    return build_world(WorldConfig(**fields))


def save_checkpoint(model: "LlamaForCausalLM", world: World, folder: Path) -> Path:
    """Write an ordinary Hugging Face folder, with the world beside the weights; all or nothing.

    Raises:
        OSError: If the folder cannot be written, or exists and is not empty.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        with no_progress_bar():
            model.save_pretrained(temporary)
        save_tokenizer(build_tokenizer(world), temporary)
        (temporary / WORLD_FILE).write_text(json.dumps(asdict(world.config), indent=2) + "\n")
        temporary.chmod(0o755)
        os.replace(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return folder
