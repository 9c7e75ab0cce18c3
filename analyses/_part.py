"""What a part of a study is: its cells, what they compute, and what comes of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import pandas as pd

from analyses._cells import Cell, CellKind, make_cell
from analyses._contents import Contents
from analyses._part_names import PartName
from analyses._shards import Content
from analyses._workbench import Outline, Workbench
from analyses.claims import Claim
from analyses.persona_effects import PersonaEffects
from lens_personas.models import Prompt

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class PartPlan:
    """What the cells of a part rest on."""

    outline: Outline
    """Settings, data and the model's card."""
    core: tuple[Cell, ...]
    """The study's own cells up to the sweep over the layers."""
    chosen: Mapping[tuple[str, str], int]
    """Layer of each persona and treatment, chosen on the layer split; -1 for text."""
    layer: int
    """The one layer at which parts steer every persona, chosen on the layer split."""
    context: str
    """Hash of what all cells of the run hang on."""

    def needs(self, *kinds: CellKind, names: Sequence[str] | None = None) -> tuple[Cell, ...]:
        """The study's own cells of these kinds; of the vectors those of ``names``, or all."""
        return tuple(
            cell
            for cell in self.core
            if cell.kind in kinds
            and (cell.kind != "vector" or names is None or cell.spec["name"] in names)
        )

    def cell(
        self,
        part: PartName,
        step: str,
        needs: Sequence[Cell] = (),
        *,
        tensors: bool = False,
        **spec: Any,
    ) -> Cell:
        """A cell of a part: a table, or with ``tensors`` some tensors.

        Args:
            part: The part.
            step: What it computes, in a word; several cells of a part may share one.
            needs: The cells whose results it reads.
            tensors: Whether its result is :class:`analyses._shards.Tensors`, not a table.
            spec: Which one of its step, as plain JSON values.
        """
        kind: CellKind = "part_tensors" if tensors else "part"
        told = {"part": part, "step": step, "layer_all": self.layer} | spec
        return make_cell(kind, told, tuple(needs), context=self.context)


@dataclass(frozen=True, kw_only=True)
class Core:
    """What the study itself found, which parts go on from."""

    plan: PartPlan
    """Settings, data, layers."""
    scores: pd.DataFrame
    """Every score, columns :data:`analyses.scores.SCORE_COLUMNS`."""
    effects: PersonaEffects
    """What each persona does."""
    claimable: bool
    """Whether the model refuses enough for anything to be claimed."""


@dataclass(frozen=True, kw_only=True)
class Passes:
    """What a cell puts through the model, at most; a prompt counts once for every time."""

    prompts: Sequence[Prompt] = ()
    """Prompts that are read to their last token."""
    answers: Sequence[Prompt] = ()
    """Prompts that are answered."""


@dataclass(frozen=True, kw_only=True)
class Part(Generic[R]):
    """One part of a study. ``R`` is its result, a frozen dataclass of a question's module."""

    name: PartName
    """Its name."""
    doing: str
    """What is being done while its cells are computed."""
    cells: Callable[[PartPlan], tuple[Cell, ...]]
    """Its cells; none where the study's own scores and vectors are enough."""
    evaluate: Callable[[Workbench, Mapping[str, Any], Contents], Content]
    """What a cell of it computes, from its spec and the cells it needs."""
    assemble: Callable[[Core, Contents], R | None]
    """The result from all cells of the run; None where the data lack what it asks about."""
    claims: Callable[[R], tuple[Claim, ...]]
    """What the result would claim; p values not yet corrected over the study."""
    passes: Callable[[Workbench, Mapping[str, Any]], Passes] = field(
        default=lambda work, spec: Passes()
    )
    """What a cell costs, for the plan; an upper bound."""
