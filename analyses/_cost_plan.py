"""A study's cost on a device: work by step, hours, memory, and what all of it assumes."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from analyses._cells import Cell, CellKind
from analyses._config import WhosAskingConfig
from analyses._cost import bytes_moved, flops
from analyses._cost_device import (
    BYTES,
    USABLE_MEMORY,
    Device,
    Memory,
    find_device_sheet,
    memory_of,
    seconds,
)
from analyses._cost_paper import CHARACTERS, has_tokenizer, paper_model
from analyses._cost_shape import CostError, Shape, read_shape
from analyses._cost_study import CellCost, StudyCost, most_cells
from analyses._data import study_data
from analyses._workbench import workbench

_STEPS: dict[str, tuple[CellKind, ...]] = {
    "answers to the requests alone": ("answers",),
    "vectors and residual norms": ("norms", "vector"),
    "lens on refused answers": ("lens",),
    "scores of the requests alone": ("baseline",),
    "scores of every arm and layer": ("sweep",),
    "answers where it is tested": ("written",),
    "parts of the study": ("part", "part_tensors"),
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a study."""

    name: str
    """What is done."""
    cells: int
    """Cells it is made of."""
    rows: int
    """Prompts put to the model."""
    tokens: int
    """Tokens of those prompts and of the answers, without padding."""
    flops: int
    """Floating-point operations."""
    flops_plain: int
    """The same if every row ran whole."""
    bytes: int
    """Bytes of weights, keys and values that are moved."""
    seconds: float
    """Time of one replica."""


@dataclass(frozen=True, kw_only=True)
class CostPlan:
    """What a study costs."""

    shape: Shape
    """The model."""
    dtype: str
    """Parameter dtype."""
    device: Device
    """What it runs on."""
    steps: tuple[Step, ...]
    """Work by step."""
    memory: Memory
    """What one replica needs."""
    devices: int
    """Devices of one replica, over which its blocks are spread."""
    devices_needed: int
    """Devices that a replica needs at least."""
    workers: int
    """Replicas."""
    seconds: float
    """Time of all steps with that many replicas."""
    assumptions: tuple[str, ...]
    """What the numbers rest on, a sentence each."""

    @property
    def fits(self) -> bool:
        """Whether a replica fits its devices."""
        return self.devices >= self.devices_needed

    def as_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return asdict(self) | {"fits": self.fits, "n_parameters": self.shape.n_parameters}


def cost_plan(
    config: WhosAskingConfig,
    model_config: Path,
    *,
    device: str,
    tokenizer: Path | None = None,
    devices: int | None = None,
    workers: int = 1,
) -> CostPlan:
    """The cost of a study of a model of which the config is at hand.

    Args:
        config: What is asked; its model is the one of ``model_config``.
        model_config: The model's config.json, or its folder.
        device: Name in :data:`analyses._cost_device.DEVICES`.
        tokenizer: Folder of the model's tokenizer; None for the config's own folder, or an
            estimate where there is none.
        devices: Devices of a replica; None for as many as it needs.
        workers: Replicas.

    Raises:
        CostError: If the config cannot be counted, or device or dtype are not known.
        ConfigError: If there is too little to study.
    """
    if workers < 1 or (devices is not None and devices < 1):
        raise CostError(
            f"expected at least 1 worker and 1 device, got {workers} and {devices or 0}"
        )
    shape, sheet = read_shape(model_config), find_device_sheet(device)
    folder = model_config if model_config.is_dir() else model_config.parent
    words = tokenizer or (folder if has_tokenizer(folder) else None)
    asked = config.model_copy(update={"model": str(folder.resolve())})
    kind = "cpu" if sheet.name == "cpu" else "cuda"
    model = paper_model(shape, words, dtype=config.dtype, device=kind)
    work = workbench(asked, study_data(asked), model)
    ours, plain = (
        StudyCost(work=work, estimates=words is None, plain=each) for each in (False, True)
    )
    cells = most_cells(work)
    costs = [ours.cell(cell) for cell in cells]

    def lasts(cost: CellCost) -> float:
        return sum(seconds(w, shape, sheet, config.dtype) for w in (cost.prompts, cost.answers))

    steps = _steps(cells, costs, [plain.cell(cell) for cell in cells], lasts, shape, config.dtype)
    batches = [batch for cost in costs for batch in cost.batches]
    memory = memory_of(shape, batches, new_tokens=config.max_new_tokens, dtype=config.dtype)
    needed = memory.devices_needed(sheet)
    total = sum(step.seconds for step in steps)
    return CostPlan(
        shape=shape,
        dtype=config.dtype,
        device=sheet,
        steps=steps,
        memory=memory,
        devices=devices or needed,
        devices_needed=needed,
        workers=workers,
        # A cell is computed by one replica.
        seconds=max(total / workers, max(lasts(cost) for cost in costs)),
        assumptions=_assumptions(sheet, words, config, work.card.has_system_role),
    )


def _steps(
    cells: Sequence[Cell],
    ours: Sequence[CellCost],
    plain: Sequence[CellCost],
    lasts: Callable[[CellCost], float],
    shape: Shape,
    dtype: str,
) -> tuple[Step, ...]:
    steps = []
    for name, kinds in _STEPS.items():
        here = [at for at, cell in enumerate(cells) if cell.kind in kinds]
        if not here:
            continue
        mine = [ours[at] for at in here]
        steps.append(
            Step(
                name=name,
                cells=len(here),
                rows=sum(cost.rows for cost in mine),
                tokens=sum(cost.tokens for cost in mine),
                flops=sum(flops(cost.prompts + cost.answers, shape) for cost in mine),
                flops_plain=sum(flops(plain[i].prompts + plain[i].answers, shape) for i in here),
                bytes=sum(
                    bytes_moved(w, shape, BYTES[dtype])
                    for cost in mine
                    for w in (cost.prompts, cost.answers)
                ),
                seconds=sum(map(lasts, mine)),
            )
        )
    return tuple(steps)


def _assumptions(
    device: Device, tokenizer: Path | None, config: WhosAskingConfig, has_system_role: bool
) -> tuple[str, ...]:
    words = "the model's own tokenizer"
    if tokenizer is None:
        words = f"no tokenizer at hand: one token for {CHARACTERS} characters, a ChatML template"
    turn = "system" if has_system_role else "user"
    return (
        f"Tokens: {words}; persona in the {turn} turn."
        if config.persona_turn == "auto"
        else f"Tokens: {words}; persona in the {config.persona_turn} turn.",
        f"{device.name}: {device.efficiency:.0%} of {device.flops.get(config.dtype, 0) / 1e12:g} "
        f"TFLOP/s in {config.dtype} and {device.bandwidth_efficiency:.0%} of "
        f"{device.bandwidth / 1e12:g} TB/s are reached, "
        f"{device.block_seconds * 1e3:g} ms a block and pass besides ({device.source}).",
        f"Batches of {config.token_budget} tokens, padding included; every answer has all of its "
        f"{config.max_new_tokens} tokens; arms choose as many different layers as they can.",
        "Steered rows go on above the edited block, the last block runs at the last token, "
        "shared prefixes run once; 'plain' is without.",
        "Blocks spread over several devices work one after another: they save memory, not time.",
        f"Of a device's memory {USABLE_MEMORY:.0%} are used. Loading the model, disk and network "
        "are left out.",
    )
