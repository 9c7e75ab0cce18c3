"""Many edits of the same prompts: each row resumes from the block and column that it edits."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.interventions._sweep_base import run_base
from lens_personas.interventions._sweep_climb import Climb
from lens_personas.interventions._sweep_plan import (
    DEFAULT_SWEEP_BUDGET,
    SweepPlan,
    plan_sweep,
)
from lens_personas.interventions._sweep_types import Arm, Cell, Reduce, reduced
from lens_personas.models import (
    LensModel,
    Prompt,
    block_driver,
    last_resid,
    model_batches,
)


@torch.no_grad()
def sweep(
    model: LensModel,
    prompts: Sequence[Prompt],
    arms: Sequence[Arm],
    reduce: Reduce,
    *,
    token_budget: int = DEFAULT_SWEEP_BUDGET,
    resume: bool = True,
    explain: bool = False,
) -> tuple[Float[Tensor, "_ k"], ...]:
    """``reduce`` of the float32 logits at the last token of each row of each arm.

    An edit at a block and a position changes nothing below that block and, by causality,
    nothing before that position. So each prompt runs once, and a row runs from there on only,
    against its prompt's keys and values; rows that start higher join those that started lower.
    Where the model's blocks cannot be driven, every row runs the whole model.

    Args:
        model: The model.
        prompts: Prompts that the arms number.
        arms: What is done, row by row.
        reduce: What is kept of the logits; `LastTokens` spares the rest of the vocabulary.
        token_budget: Columns of all rows in one call of a block.
        resume: False to run the whole model for every row: the same numbers, slowly.
        explain: Print the plan first; `plan_sweep` gives it without a run.

    Returns:
        One tensor an arm, on the CPU, in the order of its rows.

    Raises:
        ValueError: If there is no arm, an arm names a prompt that is not there, an edit does
            not fit the model, or a scope does not fit a prompt.
        HookCountError: If a hook did not fire exactly once.
    """
    plan = plan_sweep(model, prompts, arms, token_budget=token_budget, resume=resume)
    if explain:
        # The one print of the library, and only where it is asked for.
        print(plan)  # noqa: T201
    if plan.way == "plain":
        return _plain(model, prompts, arms, reduce, token_budget)
    return _resumed(model, plan, arms, reduce, token_budget)


def _plain(
    model: LensModel,
    prompts: Sequence[Prompt],
    arms: Sequence[Arm],
    reduce: Reduce,
    token_budget: int,
) -> tuple[Float[Tensor, "_ k"], ...]:
    gathered = _Gathered(arms)
    for number, arm in enumerate(arms):
        repeated = [prompts[prompt] for prompt in arm.prompts]
        for batch in model_batches(model, repeated, token_budget):
            resid = last_resid(model, batch, edits=arm.edits)
            cells = [Cell(number, row, arm.prompts[row]) for row in batch.rows]
            gathered.put(cells, reduced(model, resid, cells, reduce))
    return gathered.whole()


def _resumed(
    model: LensModel, plan: SweepPlan, arms: Sequence[Arm], reduce: Reduce, token_budget: int
) -> tuple[Float[Tensor, "_ k"], ...]:
    driver, gathered = block_driver(model), _Gathered(arms)
    for part in plan.parts:
        base = run_base(driver, part, arms, token_budget)
        if part.same:
            assert base.last is not None
            ends = base.last[[at for _, at in part.same]]
            cells = [cell for cell, _ in part.same]
            gathered.put(cells, reduced(model, ends, cells, reduce))
        for group in part.groups:
            climb = Climb(
                driver=driver, base=base, arms=arms, group=group, token_budget=token_budget
            )
            end = climb.ends()
            cells = [row.cell for row in end.rows]
            gathered.put(cells, reduced(model, end.state[:, 0], cells, reduce))
    return gathered.whole()


class _Gathered:
    """Results, put in their places as they come."""

    def __init__(self, arms: Sequence[Arm]) -> None:
        self._rows: list[list[Tensor]] = [[torch.empty(0)] * len(arm.prompts) for arm in arms]

    def put(self, cells: Sequence[Cell], values: Float[Tensor, "row k"]) -> None:
        for cell, value in zip(cells, values, strict=True):
            self._rows[cell.arm][cell.row] = value

    def whole(self) -> tuple[Float[Tensor, "_ k"], ...]:
        return tuple(torch.stack(rows) for rows in self._rows)
