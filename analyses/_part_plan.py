"""Which cells the parts of a study are made of, and at which layer they steer."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from analyses._cells import Cell
from analyses._contents import Contents
from analyses._part import Core, PartPlan
from analyses._part_names import field_of
from analyses._parts import part
from analyses._workbench import Outline
from analyses.claims import Claim
from analyses.scores import chosen_layers, mean_changes
from analyses.whos_asking import Parts


def part_plan(
    outline: Outline, core: Sequence[Cell], swept: pd.DataFrame, context: str
) -> PartPlan:
    """What the parts go on from, once every arm is scored at every layer."""
    return PartPlan(
        outline=outline,
        core=tuple(core),
        chosen=chosen_layers(swept, control=outline.data.control.name),
        layer=_part_layer(outline, swept),
        context=context,
    )


def part_cells(plan: PartPlan) -> tuple[Cell, ...]:
    """The cells of all parts that are asked for; one that two parts share is there once."""
    found = [c for name in plan.outline.config.parts for c in part(name).cells(plan)]
    return tuple({cell.key: cell for cell in found}.values())


def part_results(core: Core, contents: Contents) -> tuple[Parts, tuple[Claim, ...]]:
    """The results of all parts that are asked for, and what they would claim."""
    found: dict[str, Any] = {"layer": core.plan.layer}
    claims: list[Claim] = []
    for name in core.plan.outline.config.parts:
        each = part(name)
        result = each.assemble(core, contents)
        found[field_of(name)] = result
        claims += () if result is None else each.claims(result)
    return Parts(**found) if len(found) > 1 else Parts(), tuple(claims)


def _part_layer(outline: Outline, swept: pd.DataFrame) -> int:
    """Layer where vectors of personas move refusal farthest from the control's, on average.

    Chosen on the layer split, whose requests nothing is tested on.
    """
    if outline.config.part_layer is not None:
        return outline.config.part_layer
    means = mean_changes(swept)
    steered = means[means["treatment"].isin(["plus", "minus"]) & (means["split"] == "layer")]
    wide = steered.pivot_table(index=["treatment", "layer"], columns="persona", values="effect")
    control = outline.data.control.name
    names = [p.name for p in outline.data.personas if p.name != control and p.name in wide.columns]
    # Without a refusal score there is nothing to choose by: the middle then.
    middle = outline.choosable[len(outline.choosable) // 2]
    if control not in wide.columns or not names:
        return middle
    gaps = wide[names].sub(wide[control], axis=0).abs().mean(axis=1).groupby("layer").mean()
    known = {layer: float(gaps[layer]) for layer in outline.choosable if layer in gaps.index}
    finite = {layer: gap for layer, gap in known.items() if gap >= 0}
    return max(finite, key=lambda layer: finite[layer]) if finite else middle
