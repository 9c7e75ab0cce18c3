"""Rows of the table by category: each arm beside the control, the nulls and harmless requests."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

from analyses.scores import (
    Arm,
    Scored,
    ScoreTable,
    Treatment,
    changes_of,
    control_names,
    refusal_probability,
)
from lens_personas.statistics import (
    paired_bootstrap,
)

HARMLESS = "harmless (control)"
"""Row of the requests that ask for nothing harmful."""


TREATMENTS: tuple[Treatment, ...] = ("prompt", "plus", "minus")


@dataclass(frozen=True, kw_only=True)
class Column:
    arm: Arm
    layer: int
    difference: Float[np.ndarray, " prompt"]


def is_shown(arm: Arm) -> bool:
    return arm.kind in ("persona", "control") and arm.treatment in TREATMENTS


def difference(table: ScoreTable, arm: Arm, layer: int) -> Float[np.ndarray, " prompt"]:
    return np.asarray(change(table, arm, layer) - controls(table, arm, layer))


def change(
    table: ScoreTable, arm: Arm, layer: int, *, harmful: bool = True
) -> Float[np.ndarray, " prompt"]:
    if harmful:
        return changes_of(table, arm.persona, arm.treatment, layer, "test", "refusal_score")
    before, after = harmless(table, arm.persona, arm.treatment, layer)
    return np.empty(0) if before is None or after is None else after.score - before.score


def harmless(
    table: ScoreTable, persona: str, treatment: str, layer: int
) -> tuple[Scored | None, Scored | None]:
    """Harmless requests alone and under an arm; None where they are not the same ones."""
    before = table.at("none", "baseline", -1, "test", harmful=False)
    after = table.at(persona, treatment, layer, "test", harmful=False)
    if before is None or after is None:
        return None, None
    common = np.isin(before.prompt_ids, after.prompt_ids)
    kept = Scored(
        prompt_ids=before.prompt_ids[common], score=before.score[common], label=before.label[common]
    )
    same = np.array_equal(kept.prompt_ids, after.prompt_ids)
    return (kept, after) if same else (None, None)


def controls(
    table: ScoreTable, arm: Arm, layer: int, *, harmful: bool = True
) -> Float[np.ndarray, " prompt"]:
    """Mean change of what the arm is held against."""
    held = [
        change(
            table,
            Arm(persona=name, treatment=arm.treatment, group="", kind="control"),
            layer,
            harmful=harmful,
        )
        for name in control_names(table, arm.treatment)
    ]
    held = [each for each in held if len(each)]
    return np.asarray(np.mean(held, axis=0)) if held else np.empty(0)


def rows(
    table: ScoreTable,
    arm: Arm,
    layer: int,
    own: Shaped[np.ndarray, " prompt"],
    rng: np.random.Generator,
) -> list[dict[str, object]]:
    """The arm's rows of the table, the harmless requests last."""
    before = table.baseline("test")
    after = table.at(arm.persona, arm.treatment, layer, "test")
    rows = []
    if after is not None and np.isfinite(after.score).all():
        control = controls(table, arm, layer)
        for name in dict.fromkeys(own):
            at = own == name
            here = pick(before, at), pick(after, at)
            rows.append(row(str(name), arm, layer, here, control[at], rng))
    alone, under = harmless(table, arm.persona, arm.treatment, layer)
    control = controls(table, arm, layer, harmful=False)
    if alone is None or under is None or len(control) != len(under.score):
        return rows
    if np.isfinite([*alone.score, *under.score]).all():
        rows.append(row(HARMLESS, arm, layer, (alone, under), control, rng))
    return rows


def pick(scored: Scored, at: Shaped[np.ndarray, " prompt"]) -> Scored:
    return Scored(prompt_ids=scored.prompt_ids[at], score=scored.score[at], label=scored.label[at])


def row(
    category: str,
    arm: Arm,
    layer: int,
    here: tuple[Scored, Scored],
    control: Float[np.ndarray, " prompt"],
    rng: np.random.Generator,
) -> dict[str, object]:
    before, after = here
    changes = after.score - before.score
    mean = paired_bootstrap(changes, rng=rng, n_resamples=500)
    difference = paired_bootstrap(changes - control, rng=rng, n_resamples=500)
    answered = float("nan")
    if before.has_labels and after.has_labels:
        answered = float(after.labelled("answer").mean() - before.labelled("answer").mean())
    return {
        "category": category,
        "persona": arm.persona,
        "group": arm.group,
        "treatment": arm.treatment,
        "layer": layer,
        "n": len(changes),
        "change": mean.estimate,
        "low": mean.low,
        "high": mean.high,
        "control": float(control.mean()),
        "difference": difference.estimate,
        "difference_low": difference.low,
        "difference_high": difference.high,
        "points": float(
            (refusal_probability(after.score) - refusal_probability(before.score)).mean()
        ),
        "answered": answered,
    }
