"""The part on Patchscopes: what states say of the user's motives, beside asking outright."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analyses._bench import bench
from analyses._cells import Cell
from analyses._contents import Contents
from analyses._part import Core, Part, PartPlan, Passes
from analyses._parts._charity import charity_words, with_suffix
from analyses._parts._patchscopes_states import Reader, arms_of, choice_rows
from analyses._parts._patchscopes_tables import (
    RANDOM_COLUMNS,
    RANDOM_DRAWS,
    TEXT_REQUESTS,
    choice_table,
    random_table,
    reading_table,
    text_table,
)
from analyses._parts._patchscopes_targets import (
    charity_targets,
    places,
    target_layers,
    text_targets,
)
from analyses._scope_choice import (
    CHOICE_COLUMNS,
    choose_settings,
    paper_target_layer,
    sweep_gaps,
)
from analyses._scope_texts import TEXT_COLUMNS
from analyses._scope_types import ScopeSetting
from analyses._workbench import Workbench
from analyses.patchscopes import (
    READING_COLUMNS,
    PatchscopeReadings,
    patchscope_claims,
    patchscope_readings,
)
from analyses.scores import Treatment, mean_changes
from lens_personas.models import Prompt

Spec = Mapping[str, Any]

TREATMENTS: tuple[Treatment, ...] = ("prompt", "plus", "minus")
"""How personas are brought in."""
_COLUMNS = {
    "choose": CHOICE_COLUMNS,
    "read": READING_COLUMNS,
    "random": RANDOM_COLUMNS,
    "texts": TEXT_COLUMNS,
}


def cells(plan: PartPlan) -> tuple[Cell, ...]:
    """The choice of settings; then readings by treatment, random states, and texts."""
    tokens = plan.needs("tokens")
    choose = plan.cell("patchscopes", "choose", tokens)
    vectors = plan.needs("norms", "vector")
    read = [
        plan.cell(
            "patchscopes",
            "read",
            (*tokens, choose, *(() if treatment == "prompt" else vectors)),
            treatment=treatment,
        )
        for treatment in TREATMENTS
    ]
    rest = [plan.cell("patchscopes", step, (*tokens, choose)) for step in ("random", "texts")]
    return (choose, *read, *rest)


def evaluate(work: Workbench, spec: Spec, inputs: Contents) -> pd.DataFrame:
    """One step, as a table; without rows where the model cannot tell the two words apart."""
    words, step = charity_words(work), spec["step"]
    if words is None or not work.studied:
        # A column of no row has no dtype of its own.
        return pd.DataFrame({name: pd.Series(dtype=object) for name in _COLUMNS[step]})
    reader = Reader(work=work, bench=bench(work, inputs), words=words, steered_at=spec["layer_all"])
    if step == "choose":
        return choice_table(reader)
    settings = _settings(work, inputs)
    if step == "read":
        return reading_table(reader, spec["treatment"], settings)
    return random_table(reader, settings[0]) if step == "random" else text_table(reader, settings)


def _settings(outline: Any, contents: Contents) -> tuple[ScopeSetting, ...]:
    return choose_settings(
        _sweep(outline, contents), paper_layer=paper_target_layer(outline.card.n_layers)
    )


def _sweep(outline: Any, contents: Contents) -> pd.DataFrame:
    ((_, choice),) = contents.part("patchscopes", "choose")
    return sweep_gaps(choice, control=outline.data.control.name)


def assemble(core: Core, contents: Contents) -> PatchscopeReadings | None:
    """The readings; None where the model cannot tell the two words apart."""
    tables = [table for _, table in contents.part("patchscopes", "read")]
    readings = pd.concat(tables, ignore_index=True)
    if readings.empty:
        return None
    outline = core.plan.outline
    ((_, choice),) = contents.part("patchscopes", "choose")
    ((_, random),) = contents.part("patchscopes", "random")
    ((_, texts),) = contents.part("patchscopes", "texts")
    return patchscope_readings(
        readings,
        _settings(outline, contents),
        _sweep(outline, contents),
        control=outline.data.control.name,
        asked=str(choice["asked"].iloc[0]),
        steered_at=core.plan.layer,
        random_states=random,
        refusal=_refusal_changes(core),
        texts=texts,
        rng=outline.rng("patchscopes"),
    )


def _refusal_changes(core: Core) -> dict[str, float]:
    means = mean_changes(core.scores)
    texts = means[(means["treatment"] == "prompt") & (means["split"] == "test")]
    return dict(zip(texts["persona"], texts["effect"].astype(float), strict=True))


def passes(work: Workbench, spec: Spec) -> Passes:
    """Every source prompt, every target prompt for each state in it, and the texts."""
    words = charity_words(work)
    if words is None:
        return Passes()
    targets = [target.prompt for target in charity_targets(work, words).values()]
    rows = [work.say(request, name) for name, request in choice_rows(work)]
    n_places, n_layers = len(places(work)), len(work.layers)
    if spec["step"] == "choose":
        n_cells = n_layers * len(target_layers(work)) * len(work.config.scope_scales)
        return Passes(prompts=[*rows * n_places, *targets * (n_cells * len(rows) * n_places)])
    longest = max(targets, key=lambda prompt: len(prompt.ids))
    if spec["step"] == "random":
        return Passes(prompts=[*rows, *[longest] * (2 * RANDOM_DRAWS * n_layers)])
    if spec["step"] == "texts":
        return _text_passes(work, rows, n_places)
    treatment: Treatment = spec["treatment"]
    said = [
        work.say(request, arm.persona) if treatment == "prompt" else work.plain[request.prompt_id]
        for arm in arms_of(work, treatment)
        for request in work.studied
    ]
    said += [work.plain[r.prompt_id] for r in (*work.studied, *work.harmless)]
    asked = [with_suffix(prompt, words) for prompt in said]
    share = min(work.config.scope_requests or len(work.studied), len(work.studied))
    patched = said[: len(said) * share // len(work.studied) + 1]
    # The state before a request is read once a persona: far fewer than the last one's.
    return Passes(prompts=[*asked, *patched * n_places, *[longest] * (len(patched) * n_layers)])


def _text_passes(work: Workbench, rows: list[Prompt], n_places: int) -> Passes:
    words = charity_words(work)
    assert words is not None
    n = (len(work.data.personas) + 1) * TEXT_REQUESTS * n_places
    answers = [target.prompt for target in text_targets(work, words).values() for _ in range(n)]
    return Passes(prompts=[*rows * (2 * n_places)], answers=answers)


PART = Part[PatchscopeReadings](
    name="patchscopes",
    doing="reading states in other prompts",
    cells=cells,
    evaluate=evaluate,
    assemble=assemble,
    claims=patchscope_claims,
    passes=passes,
)
