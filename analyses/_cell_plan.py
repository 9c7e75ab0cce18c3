"""Which cells the study "Who's asking?" is made of."""

from collections.abc import Mapping, Sequence
from math import ceil

from analyses._arms import ArmName
from analyses._cells import Cell, make_cell
from analyses._vectors import REFUSAL_NAMES, vector_names
from analyses._workbench import Outline
from analyses.scores import Kind, Treatment

ANSWERS_A_CELL = 512
"""Requests that are answered in one cell."""


def study_arms(outline: Outline) -> dict[Treatment, list[ArmName]]:
    """Arms by treatment: text for personas and neutral texts, ablation for refusal alone."""
    control, data = outline.data.control.name, outline.data
    fitted = vector_names(data, outline.config.vector_method)
    personas = [
        ArmName(persona=p.name, group=p.group, kind="control" if p.name == control else "persona")
        for p in data.personas
    ]
    texts = [ArmName(persona=p.name, group="null", kind="null") for p in data.nulls]
    refusal = [ArmName(persona=name, group="refusal", kind="refusal") for name in REFUSAL_NAMES]
    random = [
        ArmName(persona=name, group="null", kind="null")
        for name in random_names(outline.config.n_nulls)
    ]
    steered = [*personas, *refusal, *(t for t in texts if t.persona in fitted), *random]
    return {
        "prompt": [*personas, *texts],
        "plus": steered,
        "minus": steered,
        "ablate": [*refusal, *random],
    }


def random_names(n: int) -> tuple[str, ...]:
    """Names of the random directions."""
    return tuple(f"random {at + 1}" for at in range(n))


def first_cells(outline: Outline, context: str) -> tuple[Cell, ...]:
    """All cells up to the sweep over the layers, each after those it needs."""
    parts = range(ceil(len(outline.requests) / ANSWERS_A_CELL))
    answers = tuple(make_cell("answers", {"part": part}, context=context) for part in parts)
    tokens = make_cell("tokens", {}, answers, context=context)
    norms = make_cell("norms", {}, context=context)
    vectors = {
        # Refusal is read from requests that were answered as expected.
        name: make_cell(
            "vector", {"name": name}, answers if name == REFUSAL_NAMES[1] else (), context=context
        )
        for name in vector_names(outline.data, outline.config.vector_method)
    }
    lens = make_cell("lens", {}, context=context)
    baseline = make_cell("baseline", {}, (*answers, tokens), context=context)
    sweep = [
        make_cell(
            "sweep",
            {"treatment": treatment, "layer": layer},
            _needs(treatment, names, tokens, norms, vectors),
            context=context,
        )
        for treatment, names in study_arms(outline).items()
        for layer in ((-1,) if treatment == "prompt" else outline.layers)
    ]
    return (*answers, tokens, norms, *vectors.values(), lens, baseline, *sweep)


def written_cells(
    outline: Outline, first: Sequence[Cell], chosen: Mapping[tuple[str, str], int], context: str
) -> tuple[Cell, ...]:
    """The cells with answers, at the layer chosen for each persona and treatment."""
    # What an arm's scores were computed from, its answers are too.
    needs = {cell.spec["treatment"]: cell.needs for cell in first if cell.kind == "sweep"}
    by_key = {cell.key: cell for cell in first}
    return tuple(
        make_cell(
            "written",
            {
                "treatment": treatment,
                "layer": layer,
                "names": [n.persona for n in names if is_answered(n, treatment, layer, chosen)],
            },
            tuple(by_key[key] for key in needs[treatment]),
            context=context,
        )
        for treatment, names in study_arms(outline).items()
        for layer in sorted({chosen[name.persona, treatment] for name in names})
    )


def files_cell(cells: Sequence[Cell], context: str) -> Cell:
    """The run's files, which rest on all cells."""
    return make_cell("files", {}, tuple(cells), context=context)


def _needs(
    treatment: Treatment,
    names: Sequence[ArmName],
    tokens: Cell,
    norms: Cell,
    vectors: Mapping[str, Cell],
) -> tuple[Cell, ...]:
    if treatment == "prompt":
        return (tokens,)
    return (tokens, norms, *(vectors[n.persona] for n in names if n.persona in vectors))


def is_answered(
    name: ArmName, treatment: str, layer: int, chosen: Mapping[tuple[str, str], int]
) -> bool:
    """Whether answers are needed there: the arm is tested, or others are held against it."""
    beside: tuple[Kind, ...] = ("control", "null") if treatment == "ablate" else ("control",)
    return chosen[name.persona, treatment] == layer or name.kind in beside
