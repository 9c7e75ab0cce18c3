"""One group of rows up the layers: rows join where they leave their base runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lens_personas.hooks import HookFn, Site
from lens_personas.interventions._sweep_base import Base
from lens_personas.interventions._sweep_groups import Group
from lens_personas.interventions._sweep_rows import INSIDE, LayoutOf, Row, hook_for, last_place
from lens_personas.interventions._sweep_types import Arm
from lens_personas.models import BlockDriver, Frame, KeysValues


@dataclass(frozen=True, kw_only=True)
class Running:
    """Rows on their way up, or at its end."""

    rows: tuple[Row, ...]
    """The rows."""
    state: Float[Tensor, "row column d_model"]
    """Their residuals, of the columns that they run."""

    def with_rows(self, more: "Running") -> "Running":
        """These rows and then ``more``."""
        if not (self.rows and more.rows):
            return self if self.rows else more
        return Running(rows=self.rows + more.rows, state=torch.cat([self.state, more.state]))

    def where(self, mask: Sequence[bool]) -> "Running":
        """The rows chosen by ``mask``."""
        if all(mask):
            return self
        index = [at for at, chosen in enumerate(mask) if chosen]
        return Running(rows=tuple(self.rows[at] for at in index), state=self.state[index])


@dataclass(frozen=True, kw_only=True)
class Climb:
    """What a group needs on its way up."""

    driver: BlockDriver
    """The model's blocks."""
    base: Base
    """What the rows resume from."""
    arms: Sequence[Arm]
    """All arms of the sweep."""
    group: Group
    """The rows."""
    token_budget: int
    """Columns of all rows in one call of a block."""
    frames: dict[tuple[int, ...], Frame] = field(default_factory=dict)
    """Frames made so far, by the batch rows in them."""

    def ends(self) -> Running:
        """The group's rows, with ``resid_post`` of the last block at their last token alone.

        Raises:
            HookCountError: If a hook did not fire exactly once.
        """
        first = self.group.rows[0].join
        running = Running(rows=(), state=self.base.resid[first][:0])
        ended: list[Running] = []
        for layer in range(first, self._n_layers):
            running = self._edited((Site.RESID_PRE, layer), running)
            joining, same = self._joining(layer)
            running = running.with_rows(joining)
            ended.append(same)
            if running.rows:
                running = self._edited((Site.RESID_POST, layer), self._passed(layer, running))
        return reduce(Running.with_rows, [running, *ended, *self._joining(self._n_layers)])

    @cached_property
    def _n_layers(self) -> int:
        return self.driver.model.card.n_layers

    @cached_property
    def _width(self) -> int:
        return self.base.batch.tokens.shape[1]

    @cached_property
    def _places(self) -> frozenset[tuple[Site, int]]:
        arms = {row.cell.arm for row in self.group.rows}
        return frozenset((e.site, e.layer) for arm in arms for e in self.arms[arm].edits)

    @cached_property
    def _alike(self) -> bool:
        positions = self.base.batch.layout.positions
        return bool((positions == positions[:1]).all())

    def _joining(self, layer: int) -> tuple[Running, Running]:
        """Rows that join at ``layer``, and those whose edits changed nothing, at their ends."""
        rows = tuple(row for row in self.group.rows if row.join == layer)
        none = Running(rows=(), state=self.base.resid[self.group.rows[0].join][:0])
        if not rows:
            return none, none
        n_columns = self._width - self.group.start if layer < self._n_layers else 1
        before = self.base.resid[layer][[row.at for row in rows]][:, -n_columns:]
        entered = self._entered(layer, Running(rows=rows, state=before))
        last = self.base.last
        if last is None:
            return entered, none
        same = [
            last_place(self.arms[row.cell.arm]) <= (layer, 0) and equal
            for row, equal in zip(rows, _same_rows(entered.state, before).tolist(), strict=True)
        ]
        ended = tuple(row for row, is_same in zip(rows, same, strict=True) if is_same)
        ends = last[[row.at for row in ended]][:, None]
        return entered.where([not each for each in same]), Running(rows=ended, state=ends)

    def _entered(self, layer: int, joining: Running) -> Running:
        """States at the input of ``layer``, with the edits that lead there."""
        entered = self._edited((Site.RESID_POST, layer - 1), joining)
        alone = [at for at, row in enumerate(joining.rows) if row.lone is not None]
        if alone:
            first = self._width - joining.state.shape[1]
            columns = [(joining.rows[at].lone or 0) - first for at in alone]
            values = torch.stack([self.base.lone[joining.rows[at].cell] for at in alone])
            entered = Running(
                rows=joining.rows, state=_with_columns(entered.state, alone, columns, values)
            )
        return self._edited((Site.RESID_PRE, layer), entered)

    def _edited(self, place: tuple[Site, int], running: Running) -> Running:
        hook = self._hook(place, running.rows, running.state.shape[1])
        if hook is None:
            return running
        return Running(rows=running.rows, state=hook(running.state, hook=None))

    def _hook(self, place: tuple[Site, int], rows: Sequence[Row], n_columns: int) -> HookFn | None:
        if not rows or place not in self._places:
            return None
        layout = LayoutOf(layout=self.base.batch.layout, start=self._width - n_columns)
        return hook_for(place, rows, self.arms, layout)

    def _passed(self, layer: int, running: Running) -> Running:
        """The rows after block ``layer``, few in one call; their last column after the last."""
        n_rows, n_columns = running.state.shape[:2]
        most = max(1, self.token_budget // n_columns)
        n_calls = -(-n_rows // most)
        step = -(-n_rows // n_calls)
        states = [
            self._block(layer, running.rows[step * at : step * (at + 1)], part)
            for at, part in enumerate(running.state.split(step))
        ]
        return Running(rows=running.rows, state=torch.cat(states))

    def _block(
        self, layer: int, rows: Sequence[Row], state: Float[Tensor, "row column d_model"]
    ) -> Float[Tensor, "row kept d_model"]:
        at, n_columns = [row.at for row in rows], state.shape[1]
        trimmed = layer == self._n_layers - 1 and n_columns > 1
        hooks = {s: self._hook((s, layer), rows, 1 if trimmed else n_columns) for s in INSIDE}
        given = {site: hook for site, hook in hooks.items() if hook is not None}
        past: KeysValues | None = None
        if n_columns < self._width:
            index = torch.tensor(at, device=state.device)
            past = self.base.past[layer].columns(self._width - n_columns).select(index)
        frame = self._frame(at, n_columns)
        if not trimmed:
            return self.driver.block(layer, state, frame, past=past, hooks=given).resid
        own = self.driver.keys_values(layer, state, frame)
        positions = self.base.batch.layout.positions[at]
        end = torch.full((len(at),), self._width - 1, device=positions.device)
        whole = own if past is None else past.joined(own)
        return self.driver.last(layer, state[:, -1], whole, positions, end, hooks=given)[:, None]

    def _frame(self, at: Sequence[int], n_columns: int) -> Frame:
        # Rows that lie alike can share one row's arguments: it stands for all of them.
        key = (0,) if self._alike else tuple(at)
        if key not in self.frames:
            positions = self.base.batch.layout.positions[list(key)]
            self.frames[key] = self.driver.frame(positions, n_columns)
        return self.frames[key]


def _same_rows(
    state: Float[Tensor, "row column d_model"], before: Float[Tensor, "row column d_model"]
) -> Bool[Tensor, " row"]:
    return (state == before).flatten(1).all(dim=1)


def _with_columns(
    state: Float[Tensor, "row column d_model"],
    rows: Sequence[int],
    columns: Sequence[int],
    values: Float[Tensor, "chosen d_model"],
) -> Float[Tensor, "row column d_model"]:
    changed = state.clone()
    changed[list(rows), list(columns)] = values
    return changed
