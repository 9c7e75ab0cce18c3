"""What a measurement is made of, and how much of everything a preset takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks._shapes import FULL, LLAMA_7B, QUICK, Shape

Env = Literal["ours", "peers"]


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way of answering a workload's question."""

    label: str
    """What it is called in tables."""
    name: str
    """What its worker calls it."""
    env: Env = "ours"
    """Environment that it runs in."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What it is told besides the workload's own options."""
    most_repeats: int | None = None
    """Fewer repeats for what takes minutes; None for as many as ours."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One question that several ways answer."""

    name: str
    """Short name; the part before the slash is what ``--only`` takes."""
    title: str
    """What is done."""
    shape: Shape
    """The model."""
    options: Mapping[str, Any]
    """The inputs, as JSON."""
    flops: int
    """The least floating-point operations that it needs."""
    tokens: int
    """Tokens for a rate: written by a generation, read by anything else."""
    tolerance: float
    """Error up to which a way's result counts as ours."""
    ways: tuple[Way, ...]
    """Ours first."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of everything."""

    n_prompts: int
    """Prompts of 31 to 76 tokens to extract from."""
    n_shared: int
    """Prompts that begin with the same persona text, half of each."""
    one_prompt: int
    """Tokens of the patching grid's only prompt."""
    many_prompts: tuple[int, int]
    """Prompts of the other grid, and their tokens."""
    n_requests: int
    """Requests of each kind in the direction search."""
    n_pos: int
    """Positions that candidate directions are read at."""
    lens: tuple[int, int]
    """Prompts of the lens, and their tokens."""
    generation: tuple[int, int]
    """Prompts of 16 tokens that answers are written for, and tokens an answer."""
    times: int
    """Forward passes of one token in a measurement; fewer of more tokens."""
    slow_repeats: int
    """Repeats of the ways that take longest."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A model, sizes, and how often everything is repeated."""

    shape: Shape
    """The model."""
    sizes: Sizes
    """How much of everything."""
    repeats: int
    """Interleaved repeats."""
    scaling: bool = True
    """Whether the scaling curves are drawn."""
    questions: tuple[str, ...] = ()
    """Questions asked; empty for all."""


PRESETS: dict[str, Preset] = {
    "quick": Preset(
        shape=QUICK,
        sizes=Sizes(
            n_prompts=64,
            n_shared=48,
            one_prompt=24,
            many_prompts=(8, 12),
            n_requests=16,
            n_pos=2,
            lens=(8, 64),
            generation=(8, 24),
            times=16,
            slow_repeats=1,
        ),
        repeats=3,
    ),
    "full": Preset(
        shape=FULL,
        sizes=Sizes(
            n_prompts=128,
            n_shared=100,
            one_prompt=32,
            many_prompts=(8, 24),
            n_requests=32,
            n_pos=3,
            lens=(16, 128),
            generation=(8, 64),
            times=32,
            slow_repeats=1,
        ),
        repeats=5,
    ),
    "gpu": Preset(
        shape=LLAMA_7B,
        sizes=Sizes(
            n_prompts=256,
            n_shared=100,
            one_prompt=32,
            many_prompts=(8, 24),
            n_requests=32,
            n_pos=2,
            lens=(16, 128),
            generation=(8, 64),
            times=32,
            slow_repeats=1,
        ),
        repeats=3,
        scaling=False,
        questions=("extraction", "patching", "generation", "forward"),
    ),
}
