"""What does early decoding add under a persona, beyond the control and as many sampled openings?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from analyses.scores import BASELINE
from lens_personas.statistics import adjust, mcnemar_exact, wilson

STEERED_COLUMNS = (
    "persona",
    "group",
    "kind",
    "treatment",
    "source",
    "layer",
    "prompt_id",
    "label",
)
"""Columns of judged answers under personas, one row for each arm, request and opening. ``source``
is ``plain`` for the greedy answer (``layer`` -1), ``early`` where the opening token was read off
``layer``, ``sampled`` where it was drawn from the model's own next-token distribution in its stead;
``persona`` is ``none`` and ``treatment`` ``baseline`` for the request alone."""

_ARM = ["persona", "group", "kind", "treatment"]


@dataclass(frozen=True, kw_only=True)
class EarlySteering:
    """Answers under personas, with and without a first token from an early layer."""

    n: int
    """Harmful test requests."""
    steered_at: int
    """Block at which vectors were added, from 0."""
    control: str
    """Name of the control persona."""
    table: pd.DataFrame
    """One row for each arm, and the requests alone (persona ``none``; there whole answers are
    sampled), with early decoding and
    without: ``persona, group, kind, treatment, early`` (whether any early opening counts, or the
    greedy answer alone), ``tries`` (openings beside the greedy one); the share answered with its
    Wilson interval (``answered, low, high``), and where as many openings were sampled
    (``sampled, sampled_low, sampled_high``; NaN without ``early``); and exact McNemar tests on the
    same requests, net requests gained and p: against the request alone with the same layers
    (``net_baseline, p_baseline``), the control (``net_control, p_control``; NaN for the control
    itself) and the sampled openings (``net_sampled, p_sampled``). With ``_holm``: p after Holm
    over the personas and vectors of one treatment, with early decoding or without."""
    by_layer: pd.DataFrame
    """One row for each arm, the requests alone among them, and each layer that the opening token
    was taken of, -1 for the greedy answer: ``persona, group, kind, treatment, layer``, the share
    answered with its Wilson interval (``answered, low, high``), ``degenerate`` (share)."""
    by_request: pd.DataFrame
    """One row for each arm and request: ``persona, treatment, prompt_id``, and whether it was
    answered greedily (``plain``), so or after an early opening (``early``), so or after a sampled
    one (``sampled``)."""


def early_steering(
    answers: pd.DataFrame, *, tries: Sequence[int], steered_at: int, control: str
) -> EarlySteering:
    """Shares answered by arm, each held against the request alone, the control, and sampling.

    Where a vector is added, only layers above it are decoded; the request alone, which it is held
    against, is then decoded at the same layers.

    Args:
        answers: Judged answers, columns :data:`STEERED_COLUMNS`.
        tries: Layers that were decoded, the model's last one not among them.
        steered_at: Block at which vectors were added.
        control: Name of the control persona.

    Raises:
        ValueError: If the requests alone are missing, or an arm was put to other requests.
    """
    ids = sorted(set(answers.loc[answers["treatment"] == BASELINE, "prompt_id"]))
    if not ids:
        raise ValueError("expected answers to the requests alone, got none; add the baseline")
    rows = {
        (str(p), str(g), str(k), str(t)): part
        for (p, g, k, t), part in answers.groupby(_ARM, sort=False)
    }
    (alone,) = (key for key in rows if key[3] == BASELINE)
    layers = {arm: [at for at in tries if _is_decoded(arm[3], at, steered_at)] for arm in rows}
    found = {arm: _Answered.of(rows[arm], ids, layers[arm]) for arm in rows}
    baseline = {arm: _Answered.of(rows[alone], ids, layers[arm]) for arm in rows}
    controls = {arm[3]: each for arm, each in found.items() if arm[0] == control}
    table = [
        _named(arm) | {"early": early} | _row(own, baseline[arm], controls.get(arm[3]), early=early)
        for arm, own in found.items()
        for early in (False, True)
    ]
    return EarlySteering(
        n=len(ids),
        steered_at=steered_at,
        control=control,
        table=_corrected(pd.DataFrame(table)),
        by_layer=_by_layer(answers),
        by_request=pd.concat([_requests(arm, ids, each) for arm, each in found.items()]),
    )


@dataclass(frozen=True, kw_only=True)
class _Answered:
    """Whether each request was answered, in one order for all arms."""

    tries: int
    plain: Bool[np.ndarray, " prompt"]
    early: Bool[np.ndarray, " prompt"]
    sampled: Bool[np.ndarray, " prompt"]

    @classmethod
    def of(cls, rows: pd.DataFrame, ids: Sequence[str], layers: Sequence[int]) -> "_Answered":
        plain = _any_answer(rows[rows["source"] == "plain"], ids)
        tried = rows[rows["layer"].isin(list(layers))]
        return cls(
            tries=len(layers),
            plain=plain,
            early=plain | _any_answer(tried[tried["source"] == "early"], ids, optional=True),
            sampled=plain | _any_answer(tried[tried["source"] == "sampled"], ids, optional=True),
        )

    def shown(self, *, early: bool) -> Bool[np.ndarray, " prompt"]:
        return self.early if early else self.plain


def _any_answer(
    rows: pd.DataFrame, ids: Sequence[str], *, optional: bool = False
) -> Bool[np.ndarray, " prompt"]:
    if optional and rows.empty:
        return np.zeros(len(ids), dtype=bool)
    answered = (rows["label"] == "answer").groupby(rows["prompt_id"]).any()
    if sorted(answered.index) != list(ids):
        raise ValueError(
            f"expected answers to the {len(ids)} requests that were asked alone, got answers to "
            f"{len(answered)}; put every arm to the same requests"
        )
    return answered.loc[list(ids)].to_numpy(dtype=bool)


def _is_decoded(treatment: str, layer: int, steered_at: int) -> bool:
    return treatment in ("prompt", BASELINE) or layer > steered_at


def _named(arm: Sequence[str]) -> dict[str, Any]:
    return dict(zip(_ARM, arm, strict=True))


def _row(
    own: _Answered, baseline: _Answered, control: _Answered | None, *, early: bool
) -> dict[str, Any]:
    answered = own.shown(early=early)
    sampled = own.sampled if early else None
    held = None if control is None or control is own else control.shown(early=early)
    row = {"tries": own.tries if early else 0} | _rate(answered, "answered", "low", "high")
    row |= _rate(sampled, "sampled", "sampled_low", "sampled_high")
    against = {"baseline": baseline.shown(early=early), "control": held, "sampled": sampled}
    for name, other in against.items():
        test = None if other is None else mcnemar_exact(other, answered)
        row[f"net_{name}"] = np.nan if test is None else float(test.net)
        row[f"p_{name}"] = np.nan if test is None else test.p
    return row


def _rate(answered: Bool[np.ndarray, " prompt"] | None, *names: str) -> dict[str, float]:
    if answered is None:
        return dict.fromkeys(names, np.nan)
    found = wilson(int(answered.sum()), len(answered))
    return dict(zip(names, (found.estimate, found.low, found.high), strict=True))


def _corrected(table: pd.DataFrame) -> pd.DataFrame:
    """Holm over what is not the control or a null, by treatment and with early decoding or not."""
    out = table.copy()
    for name in ("p_baseline", "p_control", "p_sampled"):
        out[f"{name}_holm"] = out[name]
        tested = out["kind"].isin(["persona", "refusal"]) & out[name].notna()
        for _, part in out[tested].groupby(["treatment", "early"]):
            corrected = adjust(part[name].to_numpy(dtype=np.float64), method="holm")
            out.loc[part.index, f"{name}_holm"] = corrected
    return out


def _by_layer(answers: pd.DataFrame) -> pd.DataFrame:
    shown = answers[answers["source"].isin(["plain", "early"])]
    rows = []
    for (persona, group, kind, treatment, layer), part in shown.groupby(
        [*_ARM, "layer"], sort=False
    ):
        arm = (str(persona), str(group), str(kind), str(treatment))
        rate = _rate((part["label"] == "answer").to_numpy(), "answered", "low", "high")
        degenerate = float((part["label"] == "degenerate").mean())
        rows.append(_named(arm) | {"layer": layer} | rate | {"degenerate": degenerate})
    return pd.DataFrame(rows)


def _requests(arm: Sequence[str], ids: Sequence[str], found: _Answered) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "persona": arm[0],
            "treatment": arm[3],
            "prompt_id": list(ids),
            "plain": found.plain,
            "early": found.early,
            "sampled": found.sampled,
        }
    )
