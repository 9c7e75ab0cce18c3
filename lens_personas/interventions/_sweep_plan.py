"""What a sweep will do and what it costs, before it runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from lens_personas.interventions._sweep_cost import BlockCost, Work, block_cost
from lens_personas.interventions._sweep_groups import (
    CPU_OVERHEAD,
    DEVICE_OVERHEAD,
    Group,
    row_groups,
)
from lens_personas.interventions._sweep_rows import Row, leaving
from lens_personas.interventions._sweep_types import Arm, Cell
from lens_personas.models import LensModel, Prompt, TokenBatch, check_places, model_batches

DEFAULT_SWEEP_BUDGET = 512
"""Columns of all rows in one call of a block; small calls are the fastest on a CPU."""

Way = Literal["resumed", "plain"]
"""Whether rows resume from their base runs, or each runs the whole model."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The work on one batch of prompts."""

    batch: TokenBatch
    """The prompts, padded on the left; its rows are numbers of the sweep's prompts."""
    groups: tuple[Group, ...]
    """Rows that leave their base run."""
    same: tuple[tuple[Cell, int], ...]
    """Cells whose result is their base's, with the row of their prompt in the batch."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """Rows of all groups."""
        return tuple(row for group in self.groups for row in group.rows)

    @property
    def needs_past(self) -> bool:
        """Whether any row is run against the base run's keys and values."""
        return any(group.start > 0 for group in self.groups) or any(
            row.lone is not None for row in self.rows
        )

    def top(self, n_layers: int) -> int:
        """Number of blocks that the base run goes up."""
        whole = self.needs_past or bool(self.same)
        return n_layers if whole else max(row.join for row in self.rows)


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """A sweep and its cost. FLOPs are those of weights: attention over few columns adds little."""

    way: Way
    """How it runs."""
    reason: str
    """Why it runs that way."""
    n_prompts: int
    """Different prompts that are run."""
    n_rows: int
    """Rows of all arms."""
    n_same: int
    """Rows that no edit reaches: they take the base run's result."""
    n_groups: int
    """Groups of rows that go up the layers together."""
    block_tokens: int
    """Columns run, counted once a block."""
    plain_block_tokens: int
    """The same where every row runs the whole model."""
    flops: float
    """Floating-point operations of this plan, whole unembedding included."""
    plain_flops: float
    """The same where every row runs the whole model."""
    minimum_flops: float
    """The same if each row ran its changed columns alone, without padding."""
    kept_bytes: int
    """Largest memory held at once for base runs: residuals, keys and values."""
    parts: tuple[Part, ...] = field(repr=False)
    """What is run, batch by batch."""

    def __str__(self) -> str:
        """The plan as a small table."""
        return "\n".join(
            [
                f"sweep: {self.n_rows} rows on {self.n_prompts} prompts, {self.way}: {self.reason}",
                f"  rows that no edit reaches  {self.n_same}",
                f"  groups                     {self.n_groups} in {len(self.parts)} batches",
                f"  columns x blocks           {self.block_tokens:,} "
                f"(plain {self.plain_block_tokens:,})",
                f"  TFLOP                      {self.flops / 1e12:.3g} "
                f"(plain {self.plain_flops / 1e12:.3g}, minimum {self.minimum_flops / 1e12:.3g})",
                f"  MiB kept of base runs      {self.kept_bytes / 2**20:.1f}",
            ]
        )


def plan_sweep(
    model: LensModel,
    prompts: Sequence[Prompt],
    arms: Sequence[Arm],
    *,
    token_budget: int = DEFAULT_SWEEP_BUDGET,
    resume: bool = True,
) -> SweepPlan:
    """What `sweep` would do with these arguments.

    Raises:
        ValueError: If there is no arm, an arm names a prompt that is not there, an edit does
            not fit the model, or a scope does not fit a prompt.
    """
    _check(model, prompts, arms, token_budget)
    used = sorted({prompt for arm in arms for prompt in arm.prompts})
    parts = tuple(
        _part(model, batch, arms, token_budget)
        for batch in _batches(model, prompts, used, token_budget)
    )
    cost = block_cost(model)
    resumed = resume and model.card.drives_blocks
    lengths = [len(prompts[prompt].ids) for arm in arms for prompt in arm.prompts]
    plain = [cost.row(length, 0) for length in lengths]
    ours = [_work(part, cost) for part in parts] if resumed else plain
    least = [cost.row(len(prompts[p].ids), 0) for p in used] + [
        cost.row(part.batch.tokens.shape[1] - row.start, row.join)
        for part in parts
        for row in part.rows
    ]
    heads = cost.unembedding * len(lengths)
    return SweepPlan(
        way="resumed" if resumed else "plain",
        reason=_reason(model, resume),
        n_prompts=len(used),
        n_rows=len(lengths),
        n_same=sum(len(part.same) for part in parts),
        n_groups=sum(len(part.groups) for part in parts) if resumed else 0,
        block_tokens=sum(work.columns for work in ours),
        plain_block_tokens=sum(work.columns for work in plain),
        flops=sum(work.flops for work in ours) + heads,
        plain_flops=sum(work.flops for work in plain) + heads,
        minimum_flops=sum(work.flops for work in least) + heads,
        kept_bytes=max(_kept_bytes(part, cost) for part in parts) if resumed else 0,
        parts=parts if resumed else (),
    )


def _part(model: LensModel, batch: TokenBatch, arms: Sequence[Arm], token_budget: int) -> Part:
    left = leaving(batch, arms, model.card.n_layers)
    groups = row_groups(
        left.rows,
        width=batch.tokens.shape[1],
        n_layers=model.card.n_layers,
        token_budget=token_budget,
        overhead=CPU_OVERHEAD if model.device.type == "cpu" else DEVICE_OVERHEAD,
    )
    return Part(batch=batch, groups=groups, same=left.same)


def _batches(
    model: LensModel, prompts: Sequence[Prompt], used: Sequence[int], token_budget: int
) -> list[TokenBatch]:
    chosen = [prompts[prompt] for prompt in used]
    return [
        replace(batch, rows=tuple(used[row] for row in batch.rows))
        for batch in model_batches(model, chosen, token_budget)
    ]


def _check(
    model: LensModel, prompts: Sequence[Prompt], arms: Sequence[Arm], token_budget: int
) -> None:
    if not arms:
        raise ValueError("expected at least one arm, got none")
    for arm in arms:
        beyond = sorted({p for p in arm.prompts if not 0 <= p < len(prompts)})
        if beyond:
            raise ValueError(
                f"expected prompts from 0 to {len(prompts) - 1} in arm {arm.name!r}, got {beyond}"
            )
        check_places(model, [(edit.site, edit.layer) for edit in arm.edits], edited=True)


def _reason(model: LensModel, resume: bool) -> str:
    if not resume:
        return "as asked (resume=False)"
    if not model.card.drives_blocks:
        return f"blocks of {model.card.model_id} cannot be driven one by one"
    return "rows start at the block and column that they edit"


def _work(part: Part, cost: BlockCost) -> Work:
    width = part.batch.tokens.shape[1]
    works = [cost.row(width, 0, part.top(cost.n_layers)) for _ in part.batch.rows]
    works += [
        cost.row(width - group.start, row.join) for group in part.groups for row in group.rows
    ]
    lone = sum(row.lone is not None for row in part.rows)
    return Work(
        sum(work.columns for work in works) + lone,
        sum(work.flops for work in works) + 2.0 * lone * cost.weights,
    )


def _kept_bytes(part: Part, cost: BlockCost) -> int:
    columns = part.batch.tokens.numel()
    residuals = len({row.join for row in part.rows}) * cost.column_bytes
    return columns * (residuals + cost.n_layers * cost.kv_bytes * part.needs_past)
