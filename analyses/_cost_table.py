"""A cost plan for people: a table, memory, hours, and what is assumed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from analyses._config import build_config
from analyses._cost_plan import CostPlan, Step, cost_plan


def show_plan(
    flags: Mapping[str, Any],
    model_config: Path,
    *,
    preset: str,
    file: str | None,
    assignments: Sequence[str],
    device: str,
    tokenizer: Path | None,
    devices: int | None,
    workers: int,
    as_json: bool,
) -> None:
    """Print the cost of a study.

    Raises:
        ConfigError: If a setting is wrong.
        CostError: If the model or the device cannot be counted.
    """
    config = build_config(file=file, assignments=assignments, flags=flags, preset=preset)
    plan = cost_plan(
        config, model_config, device=device, tokenizer=tokenizer, devices=devices, workers=workers
    )
    if as_json:
        typer.echo(json.dumps(plan.as_json(), indent=2, allow_nan=False))
    else:
        Console().print(plan_table(plan))


def plan_table(plan: CostPlan) -> Group:
    """The plan for people."""
    shape = plan.shape
    table = Table(
        title=f"{shape.model_type}: {shape.n_parameters / 1e9:.2f} billion parameters, "
        f"{shape.n_layers} blocks of width {shape.d_model}, {plan.dtype}"
    )
    table.add_column("step")
    for name in ("cells", "prompts", "tokens", "FLOPs", "plain", "moved", "time"):
        table.add_column(name, justify="right")
    for step in plan.steps:
        table.add_row(*_row(step))
    table.add_section()
    table.add_row(*_row(_total(plan)))
    lines = [*_lines(plan), "", "Assumed:", *(f"- {each}" for each in plan.assumptions)]
    return Group(table, *(Text(line) for line in lines))


def _total(plan: CostPlan) -> Step:
    def total(name: str) -> Any:
        return sum(getattr(step, name) for step in plan.steps)

    counted = ("cells", "rows", "tokens", "flops", "flops_plain", "bytes", "seconds")
    return Step(name="one replica", **{name: total(name) for name in counted})


def _row(step: Step) -> tuple[str, ...]:
    return (
        step.name,
        f"{step.cells}",
        f"{step.rows:,}",
        _si(step.tokens, ""),
        _si(step.flops, ""),
        _si(step.flops_plain, ""),
        _si(step.bytes, "B"),
        _time(step.seconds),
    )


def _lines(plan: CostPlan) -> list[str]:
    memory, name = plan.memory, plan.device.name
    n = plan.devices * plan.workers
    lines = [
        f"Memory of a replica: {_si(memory.total, 'B')} = weights {_si(memory.weights, 'B')} + "
        f"keys and values {_si(memory.keys_values, 'B')} + "
        f"activations {_si(memory.activations, 'B')}; "
        f"one {name} has {_si(plan.device.memory, 'B')}.",
        f"Devices of a replica: {plan.devices}, at least {plan.devices_needed} needed.",
        f"{plan.workers} replica{'s' * (plan.workers > 1)} on {n} × {name}: "
        f"{_time(plan.seconds)}, {plan.seconds * n / 3600:.2f} device hours.",
    ]
    if not plan.fits:
        lines.append(
            f"It does not fit: spread it over {plan.devices_needed} devices (--devices "
            f"{plan.devices_needed}), or take a smaller dtype or token_budget."
        )
    return lines


def _si(value: int | float, unit: str) -> str:
    for size, letter in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}{unit}"
    return f"{value:.3g} {unit}".rstrip()


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.2f} h"
