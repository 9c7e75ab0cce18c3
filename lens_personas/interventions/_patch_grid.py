"""Activation patching over layers and positions: what one state carries from run to run."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks import Align, Edit, Site, patch_positions
from lens_personas.interventions._pair_runs import (
    filled,
    of_pairs,
    read_site,
    score_pairs,
    share_of_way,
)
from lens_personas.interventions._pairs import Pairs, check_positions
from lens_personas.interventions._plan import check_place
from lens_personas.interventions._sweep_plan import DEFAULT_SWEEP_BUDGET
from lens_personas.interventions._sweep_types import Arm, Reduce
from lens_personas.models import LensModel, Prompt


@dataclass(frozen=True, kw_only=True)
class PatchGrid:
    """What a metric becomes when one clean state is put into the corrupted run."""

    site: Site
    """What is patched."""
    layers: tuple[int, ...]
    """Blocks, one a column of ``values``."""
    positions: tuple[int, ...]
    """Positions: from 0 at the first token, or from -1 backwards at the last prompt token."""
    values: Float[Tensor, "prompt layer pos"]
    """Metric of the patched run; NaN where a prompt has no such position, or none was asked for."""
    clean: Float[Tensor, " prompt"]
    """Metric of the clean run."""
    corrupted: Float[Tensor, " prompt"]
    """Metric of the corrupted run."""

    @property
    def effect(self) -> Float[Tensor, "prompt layer pos"]:
        """Share of the way from corrupted (0) to clean (1); NaN where those two are equal."""
        return share_of_way(self.values, self.clean, self.corrupted)


def patch_grid(
    model: LensModel,
    clean: Sequence[Prompt],
    corrupted: Sequence[Prompt],
    metric: Reduce,
    *,
    site: Site = Site.RESID_PRE,
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    align: Align = "start",
    only: Collection[tuple[int, int]] | None = None,
    token_budget: int = DEFAULT_SWEEP_BUDGET,
    resume: bool = True,
    explain: bool = False,
) -> PatchGrid:
    """Patch each clean state alone into the corrupted run, at every layer and position.

    Pairs are matched at their first tokens, or with ``align="end"`` at their last prompt
    tokens. Before the first token in which a pair differs nothing is run: there the states are
    equal, by causality. The clean states of all prompts are held while it runs. As
    ``transformer_lens.patching`` does it, in one sweep.

    Args:
        model: The model.
        clean: Prompts that states are taken from.
        corrupted: Prompts that states are put into, one for each clean one.
        metric: One number a row.
        site: What is patched.
        layers: Blocks; None for all.
        positions: Positions; None for all that any pair has.
        align: How the positions of a pair are matched.
        only: Layer and position of the cells that are patched; None for all of them.
        token_budget: Columns of all rows in one call of a block.
        resume: False to run the whole model for every cell: the same numbers, slowly.
        explain: Print the plan of the sweep first.

    Raises:
        ValueError: If the prompts do not pair, a position is not in a pair, the metric gives
            more than one number, or an edit at the site would not do what it says.
    """
    chosen = tuple(range(model.card.n_layers)) if layers is None else tuple(layers)
    check_place(site, chosen, card=model.card)
    pairs = Pairs(clean=tuple(clean), corrupted=tuple(corrupted), align=align)
    at = pairs.shared_positions() if positions is None else tuple(positions)
    check_positions(pairs, at)
    states, layout = read_site(model, pairs.clean, site, chosen), pairs.clean_layout
    cells, arms = [], []
    for index, layer in enumerate(chosen):
        maker = patch_positions(states[layer], layout, align=align)
        for column, position in enumerate(at):
            asked = only is None or (layer, position) in only
            members = tuple(n for n in pairs.numbers if asked and pairs.changes(n, position))
            if members:
                hook = of_pairs(maker, members)
                edit = Edit(site=site, layer=layer, hook=hook, scope=(position,), per_pass=True)
                name = f"{site.value} {layer} at {position}"
                arms.append(Arm(prompts=members, edits=(edit,), name=name))
                cells.append((index, column))
    scores = score_pairs(
        model, pairs, arms, metric, token_budget=token_budget, resume=resume, explain=explain
    )
    values = filled(scores, arms, cells, (len(chosen), len(at)))
    lacking = torch.tensor([[not pairs.has(n, p) for p in at] for n in pairs.numbers])[:, None]
    if only is not None:
        lacking = lacking | torch.tensor([[(layer, p) not in only for p in at] for layer in chosen])
    return PatchGrid(
        site=site,
        layers=chosen,
        positions=at,
        values=values.masked_fill(lacking, torch.nan),
        clean=scores.clean,
        corrupted=scores.corrupted,
    )
