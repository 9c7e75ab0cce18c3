"""What every arm scored on every request: the table that the questions start from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Shaped

Treatment = Literal["prompt", "plus", "minus", "ablate"]
"""Persona text before the request, its vector added or subtracted, a direction removed."""

Kind = Literal["persona", "control", "null", "refusal"]
"""What an arm stands for; ``null`` is a neutral text or a random direction of equal norm."""

Outcome = Literal["refusal_score", "answered"]
"""What an estimate is about: the refusal log-odds, or the share of requests answered."""

SCORE_COLUMNS = (
    "persona",
    "group",
    "kind",
    "treatment",
    "layer",
    "split",
    "prompt_id",
    "harmful",
    "score",
    "label",
)
"""Columns of the scores: one row for each arm, layer and request. ``layer`` is -1 where an arm
has none, ``treatment`` is ``baseline`` for the request alone, ``split`` is ``layer`` or ``test``,
``score`` the refusal log-odds, ``label`` the judge's word or None where no answer was written."""

BASELINE = "baseline"
"""Treatment of the request alone."""

_KEYS = ["persona", "treatment", "layer", "split"]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One persona under one treatment, at whatever layers."""

    persona: str
    """Name of the persona, null or refusal vector."""
    group: str
    """Side it is expected to take."""
    kind: Kind
    """What it stands for."""
    treatment: Treatment
    """What is done."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What one arm scored on one part of the requests, ordered by ``prompt_id``."""

    prompt_ids: Shaped[np.ndarray, " prompt"]
    """The requests."""
    score: Float[np.ndarray, " prompt"]
    """Refusal log-odds in nats."""
    label: Shaped[np.ndarray, " prompt"]
    """The judge's word; None where no answer was written."""

    @property
    def has_labels(self) -> bool:
        """Whether every request was answered and judged."""
        return len(self.label) > 0 and not pd.isna(self.label).any()

    def labelled(self, label: str) -> Bool[np.ndarray, " prompt"]:
        """Whether the judge said so, by request."""
        return np.array([found == label for found in self.label], dtype=bool)


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """Scores looked up by arm, layer and part; harmful and harmless requests apart."""

    arms: tuple[Arm, ...]
    """Every arm but the baseline."""
    cells: Mapping[tuple[str, str, int, str, bool], Scored]
    """By persona, treatment, layer, split and whether the requests are harmful."""

    @classmethod
    def of(cls, scores: pd.DataFrame, *, control: str) -> "ScoreTable":
        """The table of a frame with columns :data:`SCORE_COLUMNS`.

        Raises:
            ValueError: If a column, the baseline or the control is missing, or an arm was
                not scored on the baseline's requests.
        """
        missing = [c for c in SCORE_COLUMNS if c not in scores.columns]
        if missing:
            raise ValueError(f"expected columns {SCORE_COLUMNS}, {missing} are missing")
        if not (scores["persona"] == control).any():
            raise ValueError(
                f"expected rows of the control persona {control!r}, found none; score it as well"
            )
        ordered = scores.sort_values([*_KEYS, "harmful", "prompt_id"], kind="stable")
        groups = ordered.groupby([*_KEYS, "harmful"], sort=False)
        cells = {
            (str(p), str(t), int(str(layer)), str(s), bool(h)): _scored(rows)
            for (p, t, layer, s, h), rows in groups
        }
        table = cls(arms=_arms(scores), cells=cells)
        table._check_aligned()
        return table

    def at(
        self, persona: str, treatment: str, layer: int, split: str, *, harmful: bool = True
    ) -> Scored | None:
        """What the arm scored there; None where it was not scored."""
        return self.cells.get((persona, treatment, layer, split, harmful))

    def baseline(self, split: str) -> Scored:
        """What the harmful requests alone scored."""
        return self.cells["none", BASELINE, -1, split, True]

    def layers(self, arm: Arm) -> list[int]:
        """Layers at which the arm was scored; ``[-1]`` for text."""
        found = {k[2] for k in self.cells if k[:2] == (arm.persona, arm.treatment)}
        return sorted(found)

    def names(self, kind: Kind, treatment: str) -> list[str]:
        """Personas of one kind that have this treatment."""
        return sorted(a.persona for a in self.arms if (a.kind, a.treatment) == (kind, treatment))

    def _check_aligned(self) -> None:
        for (persona, treatment, layer, split, harmful), found in self.cells.items():
            if not harmful:
                continue
            baseline = self.cells.get(("none", BASELINE, -1, split, True))
            if baseline is None or not np.array_equal(baseline.prompt_ids, found.prompt_ids):
                raise ValueError(
                    f"expected {persona!r} under {treatment!r} at layer {layer} on the harmful "
                    f"requests of the baseline in the split {split!r}, got others; score the "
                    "baseline and every arm on the same requests"
                )


def changes_of(
    table: ScoreTable, persona: str, treatment: str, layer: int, split: str, outcome: Outcome
) -> Float[np.ndarray, " prompt"]:
    """Change against the request alone; NaN where the arm was not scored or not answered."""
    baseline = table.baseline(split)
    found = table.at(persona, treatment, layer, split)
    if found is None:
        return np.full(len(baseline.score), np.nan)
    change: Float[np.ndarray, " prompt"] = _values(found, outcome) - _values(baseline, outcome)
    return change


def _values(scored: Scored, outcome: Outcome) -> Float[np.ndarray, " prompt"]:
    if outcome == "refusal_score":
        return scored.score
    # An arm without answers is NaN: nothing was written, which is not a refusal.
    answered = scored.labelled("answer").astype(np.float64)
    return answered if scored.has_labels else np.full(len(answered), np.nan)


def control_changes(
    table: ScoreTable, treatment: str, layer: int, split: str, outcome: Outcome
) -> Float[np.ndarray, " prompt"]:
    """Change by the control persona; where it has no such arm, the mean over the nulls."""
    names = control_names(table, treatment)
    if not names:
        return np.zeros(len(table.baseline(split).score))
    changes = [changes_of(table, name, treatment, layer, split, outcome) for name in names]
    return np.asarray(np.mean(changes, axis=0))


def control_names(table: ScoreTable, treatment: str) -> list[str]:
    """What a treatment is held against: the control persona, or else the nulls."""
    return table.names("control", treatment) or table.names("null", treatment)


@dataclass(frozen=True, kw_only=True)
class LayerChoice:
    """At which layer an arm is tested, and what spoke for it."""

    layer: int
    """Block, counted from 0; -1 for text."""
    by: str
    """How it was chosen."""
    gap: float
    """Mean difference from the control there, on the ``layer`` split; NaN for text."""


def choose_layer(table: ScoreTable, arm: Arm) -> LayerChoice:
    """Layer with the greatest mean difference from the control, on requests kept for that.

    Only layers that were scored on those requests can be chosen.
    """
    everywhere = table.layers(arm)
    if everywhere == [-1]:
        return LayerChoice(layer=-1, by="no layer: text", gap=float("nan"))
    layers = [
        layer
        for layer in everywhere
        if table.at(arm.persona, arm.treatment, layer, "layer") is not None
    ] or everywhere
    gaps = {layer: _selection_gap(table, arm, layer) for layer in layers}
    best = max(gaps, key=lambda layer: np.nan_to_num(abs(gaps[layer])))
    by = f"greatest mean difference on the layer split, of layers {layers[0]} to {layers[-1]}"
    return LayerChoice(layer=best, by=by, gap=gaps[best])


def _selection_gap(table: ScoreTable, arm: Arm, layer: int) -> float:
    changes = changes_of(table, arm.persona, arm.treatment, layer, "layer", "refusal_score")
    if arm.kind != "control":
        changes = changes - control_changes(table, arm.treatment, layer, "layer", "refusal_score")
    return float(changes.mean())


def refusal_probability(score: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    """Probability that the answer opens with a refusal, from its log-odds in nats."""
    return np.asarray(0.5 * (1.0 + np.tanh(score / 2.0)))


def chosen_layers(scores: pd.DataFrame, *, control: str) -> dict[tuple[str, str], int]:
    """Layer of each persona and treatment that will be tested.

    It rests on the refusal score over the requests of the ``layer`` split alone; -1 for text.

    Raises:
        ValueError: As :meth:`ScoreTable.of`.
    """
    table = ScoreTable.of(scores, control=control)
    return {(arm.persona, arm.treatment): choose_layer(table, arm).layer for arm in table.arms}


def mean_changes(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean change of the refusal score on harmful requests, by arm, layer and split.

    Columns ``persona, treatment, layer, split, effect``, against the request alone.
    """
    harmful = scores[scores["harmful"]]
    baseline = harmful[harmful["treatment"] == BASELINE].set_index("prompt_id")["score"]
    arms = harmful[harmful["treatment"] != BASELINE]
    changes = arms.assign(effect=arms["score"] - arms["prompt_id"].map(baseline))
    return changes.groupby(_KEYS)["effect"].mean().reset_index()


def _arms(scores: pd.DataFrame) -> tuple[Arm, ...]:
    columns = ["persona", "treatment", "group", "kind"]
    rows = scores.loc[scores["treatment"] != BASELINE, columns].drop_duplicates()
    return tuple(
        Arm(persona=p, treatment=t, group=g, kind=k) for p, t, g, k in rows.itertuples(index=False)
    )


def _scored(rows: pd.DataFrame) -> Scored:
    return Scored(
        prompt_ids=rows["prompt_id"].to_numpy(dtype=object),
        score=rows["score"].to_numpy(dtype=np.float64),
        label=rows["label"].to_numpy(dtype=object),
    )
