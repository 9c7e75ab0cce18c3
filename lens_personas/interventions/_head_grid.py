"""Activation patching of attention heads: what one head carries from run to run."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks import Edit, HookFn, PassHooks, Scope, Site, TokenLayout, patch_positions
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
from lens_personas.models import (
    LensModel,
    Prompt,
    check_heads_add_up,
    head_weights,
    written_by_heads,
)


@dataclass(frozen=True, kw_only=True)
class HeadGrid:
    """What a metric becomes when one head's clean output is put into the corrupted run."""

    layers: tuple[int, ...]
    """Blocks, one a column of ``values``."""
    positions: tuple[int, ...] | None
    """Positions patched one at a time, as in `PatchGrid`; None for all of them at once."""
    values: Float[Tensor, "prompt layer head pos"]
    """Metric of the patched run; one ``pos`` where all are patched at once, NaN where a prompt
    has no such position, or none was asked for."""
    clean: Float[Tensor, " prompt"]
    """Metric of the clean run."""
    corrupted: Float[Tensor, " prompt"]
    """Metric of the corrupted run."""

    @property
    def effect(self) -> Float[Tensor, "prompt layer head pos"]:
        """Share of the way from corrupted (0) to clean (1); NaN where those two are equal."""
        return share_of_way(self.values, self.clean, self.corrupted)


def head_grid(
    model: LensModel,
    clean: Sequence[Prompt],
    corrupted: Sequence[Prompt],
    metric: Reduce,
    *,
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    only: Collection[tuple[int, int]] | None = None,
    token_budget: int = DEFAULT_SWEEP_BUDGET,
    resume: bool = True,
    explain: bool = False,
) -> HeadGrid:
    """Patch each head's clean output alone into the corrupted run, at every layer.

    A head's output adds ``z W_O`` to ``attn_out``; so its patch is made there, by the
    difference of the two ``z``: the same up to rounding. Prompts of a pair are equally long.

    Args:
        model: The model.
        clean: Prompts that heads' outputs are taken from.
        corrupted: Prompts that they are put into, one for each clean one.
        metric: One number a row.
        layers: Blocks; None for all.
        positions: Positions patched one at a time; None to patch all at once.
        only: Layer and number of the heads that are patched; None for all of them.
        token_budget: Columns of all rows in one call of a block.
        resume: False to run the whole model for every cell: the same numbers, slowly.
        explain: Print the plan of the sweep first.

    Raises:
        ValueError: If the prompts do not pair, no pair has a position, the metric gives more
            than one number, ``attn_out`` is not what the model adds to the residual stream, or
            the heads do not add up to it (a norm after the attention).
    """
    chosen = tuple(range(model.card.n_layers)) if layers is None else tuple(layers)
    check_place(Site.ATTN_OUT, chosen, card=model.card)
    pairs = Pairs(clean=tuple(clean), corrupted=tuple(corrupted), align="start")
    if positions is not None:
        check_positions(pairs, positions)
    outputs = head_outputs(model, pairs, chosen)
    columns = _columns(pairs, positions)
    heads = range(model.card.n_heads)
    asked = torch.tensor([[only is None or (i, h) in only for h in heads] for i in chosen])
    cells, arms = [], []
    for index, layer in enumerate(chosen):
        for head in asked[index].nonzero()[:, 0].tolist():
            maker = outputs[layer].patch(head)
            for column, (scope, members) in enumerate(columns):
                hook = of_pairs(maker, members)
                edit = Edit(site=Site.ATTN_OUT, layer=layer, hook=hook, scope=scope, per_pass=True)
                if members:
                    arms.append(Arm(prompts=members, edits=(edit,), name=f"head {layer}.{head}"))
                    cells.append((index, head, column))
    scores = score_pairs(
        model, pairs, arms, metric, token_budget=token_budget, resume=resume, explain=explain
    )
    values = filled(scores, arms, cells, (len(chosen), len(heads), len(columns)))
    values = values.masked_fill(~asked[..., None], torch.nan)
    if positions is not None:
        lacking = torch.tensor([[not pairs.has(n, p) for p in positions] for n in pairs.numbers])
        values = values.masked_fill(lacking[:, None, None], torch.nan)
    return HeadGrid(
        layers=chosen,
        positions=None if positions is None else tuple(positions),
        values=values,
        clean=scores.clean,
        corrupted=scores.corrupted,
    )


@dataclass(frozen=True, kw_only=True)
class HeadOutputs:
    """Heads of one layer in both runs."""

    attn_out: Float[Tensor, "prompt pos d_model"]
    """What the heads add together in the corrupted run."""
    change: Float[Tensor, "prompt pos head d_head"]
    """Clean less corrupted ``z``."""
    weights: Float[Tensor, "head d_head d_model"]
    """``W_O``."""
    layout: TokenLayout
    """Where the tokens lie."""

    def patch(self, head: int) -> PassHooks:
        """Maker of hooks that put the clean output of ``head`` in place."""

        def make(rows: Sequence[int], layout: TokenLayout, /) -> HookFn:
            at = torch.tensor(list(rows), device=self.attn_out.device)
            source = _with_head(self.attn_out[at], self.change[at, :, head], self.weights[head])
            return patch_positions(source, self.layout.select(at), rows=rows)(rows, layout)

        return make


def head_outputs(model: LensModel, pairs: Pairs, layers: Sequence[int]) -> dict[int, HeadOutputs]:
    """Outputs of every head of ``layers`` in both runs of pairs of equal length.

    Raises:
        ValueError: If the heads of a layer do not add up to what its attention writes.
    """
    attn_out = read_site(model, pairs.corrupted, Site.ATTN_OUT, layers)
    before = read_site(model, pairs.corrupted, Site.Z, layers)
    after = read_site(model, pairs.clean, Site.Z, layers)
    last = (list(pairs.numbers), [len(prompt.ids) - 1 for prompt in pairs.corrupted])
    outputs = {}
    for layer in layers:
        heads = head_weights(model, layer)
        written = written_by_heads(before[layer][last], heads)
        check_heads_add_up(model, layer, written, attn_out[layer][last], heads.b_o)
        outputs[layer] = HeadOutputs(
            attn_out=attn_out[layer],
            change=after[layer] - before[layer],
            weights=heads.w_o,
            layout=pairs.clean_layout,
        )
    return outputs


def _columns(pairs: Pairs, positions: Sequence[int] | None) -> list[tuple[Scope, tuple[int, ...]]]:
    """Scope of each column of the grid, and the pairs in which a patch there can change a thing."""
    shared = pairs.shared_positions()
    able = {p: tuple(n for n in pairs.numbers if pairs.changes(n, p)) for p in positions or shared}
    if positions is not None:
        return [((p,), able[p]) for p in positions]
    # Nothing differs before the first of these, so nothing needs to run there.
    scope = tuple(p for p in shared if able[p])
    return [(scope, tuple(sorted({n for members in able.values() for n in members})))]


def _with_head(
    attn_out: Float[Tensor, "row pos d_model"],
    change: Float[Tensor, "row pos d_head"],
    weights: Float[Tensor, "d_head d_model"],
) -> Float[Tensor, "row pos d_model"]:
    return attn_out + einsum(
        change, weights, "row pos d_head, d_head d_model -> row pos d_model"
    ).to(attn_out.dtype)
