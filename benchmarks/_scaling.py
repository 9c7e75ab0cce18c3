"""How extraction grows with prompts, layers and width; every point is a small workload."""

from dataclasses import replace

from benchmarks import _flops
from benchmarks._checkpoint import random_prompts
from benchmarks._shapes import Shape
from benchmarks._workloads import Way, Workload

_BASE = Shape(n_layers=4, d_model=256, n_heads=4, d_mlp=704, d_vocab=4000)
_PROMPTS = 32


def curves(*, large: bool) -> tuple[Workload, ...]:
    """The points; the first axis has the model that the others start from."""
    prompts = (16, 32, 64, 128, 256) if large else (16, 32, 64, 128)
    layers = (4, 8, 16, 32) if large else (4, 8, 16)
    widths = (256, 512, 1024, 2048) if large else (128, 256, 512)
    return (
        *(_point("prompts", n, _BASE, n) for n in prompts),
        *(_point("layers", n, replace(_BASE, n_layers=n), _PROMPTS) for n in layers),
        *(_point("width", n, _wide(n), _PROMPTS) for n in widths),
    )


def _wide(d_model: int) -> Shape:
    return replace(_BASE, d_model=d_model, n_heads=d_model // 64, d_mlp=d_model * 11 // 4)


def _point(axis: str, at: int, shape: Shape, n_prompts: int) -> Workload:
    prompts = random_prompts(n_prompts, (31, 76), shape.d_vocab)
    return Workload(
        name=f"scaling/{axis} {at}",
        title=f"extraction from {n_prompts} prompts, {shape.n_layers} layers × {shape.d_model}",
        shape=shape,
        options={"prompts": prompts},
        flops=_flops.extraction(shape, [len(ids) for ids in prompts]),
        tokens=sum(len(ids) for ids in prompts),
        tolerance=1e-3,
        ways=(Way(label="lens-personas", name="moments"),),
    )
