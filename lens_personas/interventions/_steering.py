"""Steering by many vectors at many layers and doses, in one sweep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.hooks import Scope, Site
from lens_personas.interventions._intervention import Intervention
from lens_personas.interventions._plan import compile_plan
from lens_personas.interventions._recipes import relative_dose
from lens_personas.interventions._sweep import sweep
from lens_personas.interventions._sweep_plan import DEFAULT_SWEEP_BUDGET
from lens_personas.interventions._sweep_types import Arm, Reduce
from lens_personas.models import LensModel, Prompt


@dataclass(frozen=True, kw_only=True)
class SteeringSweep:
    """What was kept of every prompt under every vector, layer and dose."""

    names: tuple[str, ...]
    """Names of the vectors."""
    layers: tuple[int, ...]
    """Blocks, one for each row of a vector."""
    doses: tuple[float, ...]
    """Doses as they were asked for."""
    relative: bool
    """Whether doses are shares of the layer's residual norm, or multiples of the vectors."""
    values: Float[Tensor, "name layer dose prompt k"]
    """What ``reduce`` kept."""
    base: Float[Tensor, "prompt k"]
    """The same without steering."""


def steering_sweep(
    model: LensModel,
    prompts: Sequence[Prompt],
    vectors: Mapping[str, Float[Tensor, "layer d_model"]],
    reduce: Reduce,
    *,
    layers: Sequence[int],
    doses: Sequence[float],
    resid_norms: Float[Tensor, " norm"] | None = None,
    site: Site = Site.RESID_POST,
    scope: Scope = "all",
    token_budget: int = DEFAULT_SWEEP_BUDGET,
    resume: bool = True,
    explain: bool = False,
) -> SteeringSweep:
    """Add every vector at every layer and dose, each alone, to every prompt.

    Args:
        model: The model.
        prompts: Prompts.
        vectors: By name, one row for each of ``layers``; each points to where it steers.
        reduce: What is kept of the logits at the last token.
        layers: Blocks, one at a time.
        doses: Multiples of a vector; with ``resid_norms`` its length as a share of these.
        resid_norms: Mean norm of the residual stream at each of ``layers``.
        site: Where vectors are added.
        scope: Positions they are added to.
        token_budget: Columns of all rows in one call of a block.
        resume: False to run the whole model for every cell: the same numbers, slowly.
        explain: Print the plan first.

    Raises:
        ValueError: If there is no prompt, vector, layer or dose, rows and layers disagree, or a
            vector or place does not suit the model.
    """
    _check(prompts, vectors, layers, doses, resid_norms)
    everyone = tuple(range(len(prompts)))
    arms = [Arm(prompts=everyone, edits=(), name="no edit")]
    for (name, rows), (row, layer), dose in product(vectors.items(), enumerate(layers), doses):
        amount = dose
        if resid_norms is not None:
            amount = relative_dose(rows[row], float(resid_norms[row]), dose)
        added = Intervention(
            op="add", vector=rows[row], site=site, layers=(layer,), scope=scope, dose=amount
        )
        edits = compile_plan((added,), card=model.card)
        arms.append(Arm(prompts=everyone, edits=edits, name=f"{name} at {layer}, dose {dose}"))
    base, *found = sweep(
        model, prompts, arms, reduce, token_budget=token_budget, resume=resume, explain=explain
    )
    shape = (len(vectors), len(layers), len(doses), *base.shape)
    return SteeringSweep(
        names=tuple(vectors),
        layers=tuple(layers),
        doses=tuple(doses),
        relative=resid_norms is not None,
        values=torch.stack(found).reshape(shape),
        base=base,
    )


def _check(
    prompts: Sequence[Prompt],
    vectors: Mapping[str, Float[Tensor, "layer d_model"]],
    layers: Sequence[int],
    doses: Sequence[float],
    resid_norms: Float[Tensor, " norm"] | None,
) -> None:
    given = {"prompt": prompts, "vector": vectors, "layer": layers, "dose": doses}
    lacking = [name for name, values in given.items() if not values]
    if lacking:
        raise ValueError(f"expected at least one {' and '.join(lacking)}, got none")
    unlike = {name: len(rows) for name, rows in vectors.items() if len(rows) != len(layers)}
    if unlike:
        raise ValueError(
            f"expected one row of a vector for each of {len(layers)} layers, got {unlike}; "
            "choose the layers' rows"
        )
    if resid_norms is not None and len(resid_norms) != len(layers):
        raise ValueError(
            f"expected one residual norm for each of {len(layers)} layers, got {len(resid_norms)}"
        )
