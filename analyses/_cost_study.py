"""What the study "Who's asking?" costs: the work of each of its cells, before any is run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from analyses._cell_plan import ANSWERS_A_CELL, first_cells, study_arms, written_cells
from analyses._cells import Cell, CellKind
from analyses._collect import contrast
from analyses._cost import Batch, Work, decode_steps, last_token_passes, whole_passes
from analyses._cost_paper import estimated
from analyses._part import PartPlan
from analyses._part_plan import part_cells
from analyses._parts import part
from analyses._workbench import Workbench
from lens_personas.models import Prompt, TokenBatch, model_batches
from lens_personas.personas import Request

_STEERED = ("plus", "minus")


@dataclass(frozen=True, kw_only=True)
class CellCost:
    """What one cell computes."""

    rows: int
    """Prompts; one counts again for every arm that is put to it."""
    tokens: int
    """Tokens of those prompts and of the answers, without padding."""
    prompts: Work
    """Work on the prompts."""
    answers: Work
    """Work on answers after their first token, written to their longest."""
    batches: tuple[Batch, ...]
    """The batches of prompts that run whole."""


def sizes(batches: Sequence[TokenBatch]) -> tuple[Batch, ...]:
    """Sizes of batches as they are run."""
    return tuple(
        Batch(
            rows=len(batch.rows),
            width=batch.tokens.shape[1],
            heads=0 if batch.prefix is None else len(batch.prefix.rows),
            shared=0 if batch.prefix is None else batch.prefix.n_columns,
        )
        for batch in batches
    )


def most_cells(work: Workbench) -> tuple[Cell, ...]:
    """All cells; answers as if the scores chose as many different layers as they can."""
    first = first_cells(work, "plan")
    chosen = _most_layers(work)
    written = written_cells(work, first, chosen, "plan") if work.config.write_answers else ()
    middle = work.choosable[len(work.choosable) // 2]
    plan = PartPlan(
        outline=work,
        core=first,
        chosen=chosen,
        layer=middle if work.config.part_layer is None else work.config.part_layer,
        context="plan",
    )
    return (*first, *written, *part_cells(plan))


def _most_layers(work: Workbench) -> dict[tuple[str, str], int]:
    """As many different layers as there can be."""
    chosen: dict[tuple[str, str], int] = {}
    for treatment, names in study_arms(work).items():
        layers = (-1,) if treatment == "prompt" else work.choosable
        chosen |= {(n.persona, treatment): layers[at % len(layers)] for at, n in enumerate(names)}
    return chosen


@dataclass(frozen=True, kw_only=True)
class StudyCost:
    """Counts cells of a study.

    With ``plain`` as if every row ran whole: no prefix shared, no block left out.
    """

    work: Workbench
    """The study; its model renders prompts and runs nothing."""
    estimates: bool
    """Whether tokens are estimated from the characters of a prompt."""
    plain: bool = False
    """Whether to count the plain way."""

    def cell(self, cell: Cell) -> CellCost:
        """What the cell computes."""
        return self._counted[cell.kind](cell)

    @cached_property
    def _counted(self) -> Mapping[CellKind, Callable[[Cell], CellCost]]:
        return {
            "answers": self._answers,
            "tokens": self._nothing,
            "norms": self._norms,
            "vector": self._vector,
            "lens": self._lens,
            "baseline": self._baseline,
            "sweep": self._sweep,
            "written": self._written,
            "part": self._part,
            "part_tensors": self._part,
            "pair": self._nothing,
            "files": self._nothing,
        }

    def _nothing(self, cell: Cell) -> CellCost:
        return CellCost(rows=0, tokens=0, prompts=Work(), answers=Work(), batches=())

    def _answers(self, cell: Cell) -> CellCost:
        first = cell.spec["part"] * ANSWERS_A_CELL
        return self._generated(self._alone(self.work.requests[first : first + ANSWERS_A_CELL]))

    def _norms(self, cell: Cell) -> CellCost:
        return self._read(self._alone(self.work.data.split.vector))

    def _vector(self, cell: Cell) -> CellCost:
        sides = contrast(self.work, cell.spec["name"])
        return self._read([*sides.to, *sides.from_])

    def _lens(self, cell: Cell) -> CellCost:
        asked = [r for r in self.work.part("test", harmful=True) if r.target]
        if not asked:
            return self._nothing(cell)
        prompts = self._alone(asked)
        looked_up = Work(unembedded=len(prompts) * len(self.work.layers))
        return self._prompts(prompts, self._whole(prompts, unembedded=False) + looked_up)

    def _baseline(self, cell: Cell) -> CellCost:
        split = self.work.data.split
        prompts = self._alone((*split.layer, *split.test))
        return self._prompts(prompts, self._scored(prompts, share=True))

    def _sweep(self, cell: Cell) -> CellCost:
        treatment, layer = cell.spec["treatment"], cell.spec["layer"]
        splits = ("layer", "test") if layer in (-1, *self.work.choosable) else ("test",)
        requests = [r for split in splits for r in self.work.part(split, harmful=True)]
        names = [name.persona for name in study_arms(self.work)[treatment]]
        return self._arms(treatment, layer, names, requests)

    def _written(self, cell: Cell) -> CellCost:
        treatment, names = cell.spec["treatment"], cell.spec["names"]
        requests = self.work.data.split.test
        scored = self._arms(treatment, cell.spec["layer"], names, requests)
        return _both(scored, self._generated(self._said(treatment, names, requests)))

    def _part(self, cell: Cell) -> CellCost:
        """A step of a part, every prompt as if it ran whole."""
        passes = part(cell.spec["part"]).passes(self.work, cell.spec)
        found = self._nothing(cell)
        if passes.prompts:
            prompts = list(passes.prompts)
            found = self._prompts(prompts, self._whole(prompts, unembedded=True))
        return _both(found, self._generated(passes.answers)) if passes.answers else found

    def _arms(
        self, treatment: str, layer: int, names: Sequence[str], requests: Sequence[Request]
    ) -> CellCost:
        """Scores of requests under arms; steered rows go on above the block that is edited."""
        rows = self._said(treatment, names, requests)
        if treatment not in _STEERED or self.plain:
            return self._prompts(rows, self._scored(rows, share=treatment == "prompt"))
        base = whole_passes(self._sizes(self._alone(requests)), layer + 1, unembedded=False)
        above = self.work.card.n_layers - layer - 1
        return self._prompts(rows, base + last_token_passes(self._sizes(rows), above))

    def _said(
        self, treatment: str, names: Sequence[str], requests: Sequence[Request]
    ) -> list[Prompt]:
        if treatment != "prompt":
            return self._alone(requests) * len(names)
        return [self.work.say(request, name) for name in names for request in requests]

    def _alone(self, requests: Sequence[Request]) -> list[Prompt]:
        return [self.work.plain[request.prompt_id] for request in requests]

    def _generated(self, prompts: Sequence[Prompt]) -> CellCost:
        n_new, n_layers = self.work.config.max_new_tokens, self.work.card.n_layers
        batches = self._sizes(prompts, whole=True)
        return CellCost(
            rows=len(prompts),
            tokens=self._tokens(prompts) + n_new * len(prompts),
            prompts=whole_passes(batches, n_layers, unembedded=True),
            answers=decode_steps(batches, n_layers, n_new),
            batches=batches,
        )

    def _read(self, prompts: Sequence[Prompt]) -> CellCost:
        n_blocks = max(self.work.layers) + 1
        batches = self._sizes(prompts, share=True)
        return self._prompts(prompts, whole_passes(batches, n_blocks, unembedded=False))

    def _whole(self, prompts: Sequence[Prompt], *, unembedded: bool) -> Work:
        n_layers = self.work.card.n_layers
        return whole_passes(self._sizes(prompts), n_layers, unembedded=unembedded)

    def _scored(self, prompts: Sequence[Prompt], *, share: bool) -> Work:
        if self.plain:
            return self._whole(prompts, unembedded=True)
        return last_token_passes(self._sizes(prompts, share=share), self.work.card.n_layers)

    def _prompts(self, prompts: Sequence[Prompt], done: Work) -> CellCost:
        return CellCost(
            rows=len(prompts),
            tokens=self._tokens(prompts),
            prompts=done,
            answers=Work(),
            batches=self._sizes(prompts),
        )

    def _tokens(self, prompts: Sequence[Prompt]) -> int:
        return sum(len(prompt.ids) for prompt in self._as_tokens(prompts))

    def _as_tokens(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        return [estimated(prompt) if self.estimates else prompt for prompt in prompts]

    def _sizes(
        self, prompts: Sequence[Prompt], *, share: bool = False, whole: bool = False
    ) -> tuple[Batch, ...]:
        # The sweeps put the same prompts to the model at every layer.
        key = (share, whole, tuple(id(prompt) for prompt in prompts))
        if key not in self._known:
            budget = self.work.config.token_budget
            share = share and not self.plain
            found = model_batches(
                self.work.model, self._as_tokens(prompts), budget, share=share, whole=whole
            )
            self._known[key] = sizes(found)
        return self._known[key]

    @cached_property
    def _known(self) -> dict[tuple[bool, bool, tuple[int, ...]], tuple[Batch, ...]]:
        return {}


def _both(scored: CellCost, written: CellCost) -> CellCost:
    return CellCost(
        rows=scored.rows + written.rows,
        tokens=scored.tokens + written.tokens,
        prompts=scored.prompts + written.prompts,
        answers=written.answers,
        batches=(*scored.batches, *written.batches),
    )
