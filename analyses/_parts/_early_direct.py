"""The direct measure: a tuned lens, known answers by layer, and the same under personas."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import pandas as pd

from analyses._bench import bench
from analyses._cells import Cell
from analyses._contents import Contents
from analyses._part import Core, PartPlan, Passes
from analyses._parts._early_direct_answers import answer_readings, arm_rows, forced, known
from analyses._parts._early_direct_arms import arm_readings
from analyses._parts._early_direct_lens import train, training_prompts, tuned_of
from analyses._shards import Content, Tensors
from analyses._workbench import Workbench
from analyses.answers_under_personas import answers_under_personas
from analyses.known_answers import KnownAnswers, LensFit, known_answers

PART: Final = "early-decoding"
LENS_STEP: Final = "tuned_lens"
DIRECT_STEP: Final = "direct"


def direct_cells(plan: PartPlan) -> tuple[Cell, ...]:
    """The lens, then the requests alone and under personas; none without known answers."""
    if len({r.target for r in plan.outline.studied if r.target}) < 2:
        return ()
    asked = plan.outline.config.early_lens_steps
    lens = (
        (plan.cell(PART, LENS_STEP, plan.needs("answers"), tensors=True, steps=asked),)
        if asked
        else ()
    )
    tokens, arms = plan.needs("tokens"), plan.needs("tokens", "norms", "vector")
    return (
        *lens,
        plan.cell(PART, DIRECT_STEP, (*tokens, *lens), of="requests"),
        plan.cell(PART, DIRECT_STEP, (*arms, *lens), of="personas"),
    )


def evaluate_direct(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> Content:
    """What a cell of :func:`direct_cells` computes.

    Raises:
        KeyError: If it is another part's cell.
    """
    of = spec["step"] if spec["step"] == LENS_STEP else spec["of"]
    return _EVALUATE[of](work, spec, inputs)


def direct_passes(work: Workbench, spec: Mapping[str, Any]) -> Passes:
    """What a cell of :func:`direct_cells` puts through the model."""
    if spec["step"] == LENS_STEP:
        longest = (0,) * work.config.max_new_tokens
        prompts, _ = training_prompts(work, {})
        return Passes(prompts=[forced(work, prompt, longest) for prompt in prompts])
    answers = known(work)
    if not answers:
        return Passes()
    n_lenses = 2 if work.config.early_lens_steps else 1
    if spec["of"] == "requests":
        longest = max((each.ids for each in answers), key=len)
        each_once = [forced(work, work.plain[each.prompt_id], longest) for each in answers]
        return Passes(prompts=each_once * (n_lenses * (work.config.n_nulls + 3)))
    plain = [work.plain[each.prompt_id] for each in answers]
    rows = arm_rows(work, answers)
    said = {each.request.prompt_id: each.request for each in answers}
    prompts = [
        work.say(said[row.prompt_id], row.persona)
        if row.treatment == "prompt"
        else work.plain[row.prompt_id]
        for row in rows
    ]
    return Passes(prompts=[*plain, *prompts] * n_lenses)


def assemble_direct(core: Core, contents: Contents) -> KnownAnswers | None:
    """The direct measure from its cells; None where no two known answers differ."""
    tables = {spec["of"]: table for spec, table in contents.part(PART, DIRECT_STEP)}
    readings, arms = tables.get("requests"), tables.get("personas")
    if readings is None or readings.empty:
        return None
    outline = core.plan.outline
    under = None
    if arms is not None and not arms.empty:
        under = answers_under_personas(arms, rng=outline.rng("answers under personas"))
    return known_answers(
        readings,
        output=outline.card.n_layers - 1,
        fit=_fit(contents),
        by_group=under,
        rng=outline.rng("known answers"),
    )


def _tuned(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> Tensors:
    return train(work, inputs.answers, steps=spec["steps"])


def _requests(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> pd.DataFrame:
    found = bench(work, inputs)
    return answer_readings(work, found.tokens, tuned_of(work, inputs))


def _personas(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> pd.DataFrame:
    return arm_readings(
        work, bench(work, inputs), layer=spec["layer_all"], tuned=tuned_of(work, inputs)
    )


_EVALUATE: Mapping[str, Callable[[Workbench, Mapping[str, Any], Contents], Content]] = {
    LENS_STEP: _tuned,
    "requests": _requests,
    "personas": _personas,
}


def _fit(contents: Contents) -> LensFit | None:
    found = contents.part_tensors(PART, LENS_STEP)
    if not found:
        return None
    (_, lens) = found[0]
    training = lens.about.get("training")
    if training is None:
        return None
    return LensFit(
        n_tokens=training["n_tokens"],
        n_held_out=training["n_held_out"],
        steps=training["steps"],
        by_layer=pd.DataFrame(
            {
                "layer": lens.about["layers"],
                "kl_logit": training["kl_before"],
                "kl_tuned": training["kl_after"],
            }
        ),
    )
