"""Training an organism from the command line."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from analyses._config import ConfigError
from analyses._session import progress_bar
from lens_personas.models.organism import (
    TrainConfig,
    TrainedOrganism,
    WorldConfig,
    train_organism,
)


def train_command(
    out: Path, *, seed: int, world_seed: int, persona_gate: bool, assignments: Sequence[str]
) -> TrainedOrganism:
    """Train a pair, following its progress; ``assignments`` are whole-number fields of the config.

    Raises:
        ConfigError: If an assignment names no field or is no whole number.
        FileExistsError: If the folder holds a pair already.
    """
    config = TrainConfig(seed=seed, world=WorldConfig(seed=world_seed, persona_gate=persona_gate))
    for assignment in assignments:
        config = _assigned(config, assignment)
    with progress_bar() as tell:

        def follow(stage: str, step: int, total: int, loss: float) -> None:
            tell(f"{stage} model, loss {loss:.3f}", step, total)

        return train_organism(config, out, follow)


def _assigned(config: TrainConfig, assignment: str) -> TrainConfig:
    key, _, value = assignment.partition("=")
    *part, field = key.split(".")
    targets: dict[str, Any] = {
        "": config,
        "world": config.world,
        "base": config.base,
        "chat": config.chat,
    }
    target = targets.get(".".join(part))
    if target is None or not isinstance(getattr(target, field, None), int) or not value.isdigit():
        raise ConfigError(
            f"expected a whole-number field such as base.steps=900, world.n_forbidden=32 or "
            f"d_model=96, got {assignment!r}"
        )
    changed = replace(target, **{field: int(value)})
    whole: dict[str, Any] = {part[0]: changed} if part else {field: int(value)}
    return replace(config, **whole)
