"""Differences from the control's vector, by request and layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from analyses.scores import (
    Arm,
    LayerChoice,
    ScoreTable,
    Treatment,
    changes_of,
    choose_layer,
    control_changes,
)
from lens_personas.statistics import null_range

SIGNS: tuple[Treatment, ...] = ("plus", "minus")
"""Treatments that have a layer: the vector added, and subtracted."""


@dataclass(frozen=True, kw_only=True)
class Gaps:
    """One arm's differences from the control."""

    arm: Arm
    """Persona and sign."""
    layers: tuple[int, ...]
    """Layers of the columns."""
    changes: Float[np.ndarray, "prompt layer"]
    """Changes against the request alone on the test requests, in nats."""
    controls: Float[np.ndarray, "prompt layer"]
    """The control's."""
    choice: LayerChoice
    """Layer chosen on the layer split."""
    candidates: tuple[int, ...]
    """Layers of which it is chosen."""
    choosing: Float[np.ndarray, "chooser candidate"]
    """Differences there, in nats."""

    @property
    def test(self) -> Float[np.ndarray, "prompt layer"]:
        """Differences on the test requests."""
        return np.asarray(self.changes - self.controls)


def nulls_reach(table: ScoreTable, treatment: str, layer: int) -> tuple[float, float] | None:
    """Where the mean change by one more null would fall on the test requests, in nats."""
    means = [
        float(changes_of(table, name, treatment, layer, "test", "refusal_score").mean())
        for name in table.names("null", treatment)
    ]
    return null_range(np.array(means, dtype=np.float64))


def is_steered(arm: Arm) -> bool:
    return arm.kind == "persona" and arm.treatment in SIGNS


def arm_gaps(table: ScoreTable) -> list[Gaps]:
    """Every persona's differences from the control under both signs, where all were scored."""
    found = [gaps(table, arm) for arm in table.arms if is_steered(arm)]
    return [each for each in found if np.isfinite(each.test).all() and len(each.choosing)]


def gaps(table: ScoreTable, arm: Arm) -> Gaps:
    layers = tuple(table.layers(arm))
    choice = choose_layer(table, arm)
    candidates = tuple(
        layer for layer in layers if table.at(arm.persona, arm.treatment, layer, "layer")
    )
    changes, controls = _both(table, arm, layers, "test")
    return Gaps(
        arm=arm,
        layers=layers,
        changes=changes,
        controls=controls,
        choice=choice,
        candidates=candidates,
        choosing=np.subtract(*_both(table, arm, candidates, "layer")),
    )


def _both(
    table: ScoreTable, arm: Arm, layers: Sequence[int], split: str
) -> tuple[Float[np.ndarray, "prompt layer"], Float[np.ndarray, "prompt layer"]]:
    """The arm's changes and the control's, a column a layer."""
    if not layers:
        return np.empty((0, 0)), np.empty((0, 0))
    own = [
        changes_of(table, arm.persona, arm.treatment, layer, split, "refusal_score")
        for layer in layers
    ]
    other = [
        control_changes(table, arm.treatment, layer, split, "refusal_score") for layer in layers
    ]
    return np.stack(own, axis=1), np.stack(other, axis=1)
