"""One table of a run's numbers, with the paper's beside them where they are of the same model."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analyses._paper_numbers import (
    BASELINE,
    BEST_LAYER,
    LAYER,
    N_REQUESTS,
    UNION,
    is_papers_model,
    paper_answered,
    paper_cosine,
)
from analyses._words import in_order
from analyses.early_decoding import EarlyDecoding
from analyses.early_steering import EarlySteering
from analyses.persona_effects import Effect
from analyses.whos_asking import WhosAsking
from lens_personas.statistics import Interval, wilson

COLUMNS = (
    "quantity",
    "persona",
    "group",
    "treatment",
    "layer",
    "n",
    "ours",
    "low",
    "high",
    "paper",
    "paper_n",
    "paper_low",
    "paper_high",
)
"""Columns: estimates with 95 % intervals; the paper's shares get the Wilson interval that their n
allows, which the paper does not give. The paper's are empty where the model is another one."""

_ENDS = ("low", "high")
_REFUSAL = {"refusal (questions)": "refusal"}
"""Our names of what the paper has too."""


def paper_table(result: WhosAsking) -> pd.DataFrame:
    """Every share answered, change of refusal and cosine of the run; columns :data:`COLUMNS`."""
    same = is_papers_model(str(result.model.get("model_id", "")))
    rows = [
        _baseline(result),
        *_answered(result),
        *_early(result.parts.early_decoding),
        *_changes(result),
        *_cosines(result),
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    if not same:
        table[["paper", "paper_n", "paper_low", "paper_high"]] = None
    return table


def _row(
    quantity: str, persona: str, treatment: str, ours: Interval | float, **more: Any
) -> dict[str, Any]:
    estimate = ours if isinstance(ours, float) else ours.estimate
    ends = {} if isinstance(ours, float) else {"low": ours.low, "high": ours.high}
    told = {"quantity": quantity, "persona": persona, "treatment": treatment, "ours": estimate}
    return told | ends | more


def _share_of_paper(share: float | None) -> dict[str, Any]:
    if share is None:
        return {}
    found = wilson(round(share * N_REQUESTS), N_REQUESTS)
    return {
        "paper": share,
        "paper_n": N_REQUESTS,
        "paper_low": found.low,
        "paper_high": found.high,
    }


def _baseline(result: WhosAsking) -> dict[str, Any]:
    harmful = result.baseline.examples[result.baseline.examples["harmful"]]
    n = len(harmful)
    answered = wilson(int((harmful["label"] == "answer").sum()), n)
    return _row("answered", "none", "baseline", answered, n=n, **_share_of_paper(BASELINE))


def _answered(result: WhosAsking) -> list[dict[str, Any]]:
    return [
        _row(
            "answered",
            effect.persona,
            effect.treatment,
            effect.answered.after,
            n=effect.answered.n,
            **_place(effect),
            **_share_of_paper(
                paper_answered(_REFUSAL.get(effect.persona, effect.persona), effect.treatment)
            ),
        )
        for effect in in_order(result.effects.effects)
        if effect.answered is not None
    ]


def _early(found: EarlyDecoding | None) -> list[dict[str, Any]]:
    """Shares answered with an early first token: by layer, over layers, and under personas.

    Each union stands beside that of as many sampled openings.
    """
    if found is None:
        return []
    layers = found.tokens.by_layer[found.tokens.by_layer["source"] == "early"]
    rows = [_early_row(row, "early decoding", layer=int(row["layer"])) for row in _rows(layers)]
    best, best_layer = BEST_LAYER
    for row in rows:
        row |= _share_of_paper(best if row["layer"] == best_layer else None)
    unions = found.tokens.unions
    for row in _rows(unions):
        paper = UNION if row["source"] == "early" else None
        name = f"any of {row['tries']} tries: {row['source']}"
        rows.append(_early_row(row, name) | _share_of_paper(paper))
    return rows if found.steering is None else [*rows, *_early_arms(found.steering)]


def _early_arms(steering: EarlySteering) -> list[dict[str, Any]]:
    rows = []
    for row in _rows(steering.table[steering.table["early"]]):
        told = f"{row['treatment']}, any layer decoded"
        paper = paper_answered(_REFUSAL.get(str(row["persona"]), str(row["persona"])), told)
        place = {"group": row["group"], "layer": steering.steered_at, "n": steering.n}
        who = {"persona": row["persona"]} | place
        rows.append(_early_row(row, told, **who) | _share_of_paper(paper))
        sampled = {"answered": row["sampled"]} | {
            f"answered_{end}": row[f"sampled_{end}"] for end in ("low", "high")
        }
        rows.append(_early_row(sampled, f"{row['treatment']}, as many sampled openings", **who))
    return rows


def _early_row(row: Mapping[str, Any], treatment: str, **more: Any) -> dict[str, Any]:
    ends = {end: row[f"answered_{end}" if f"answered_{end}" in row else end] for end in _ENDS}
    told = {"quantity": "answered", "persona": "none", "treatment": treatment}
    return told | {"ours": row["answered"], "n": row.get("n")} | ends | more


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in table.to_dict(orient="records")]


def _changes(result: WhosAsking) -> list[dict[str, Any]]:
    quantity = f"change of {result.effects.outcome}"
    return [
        _row(
            quantity,
            effect.persona,
            effect.treatment,
            effect.interval,
            n=effect.n,
            **_place(effect),
        )
        for effect in in_order(result.effects.effects)
    ]


def _place(effect: Effect) -> dict[str, Any]:
    return {"group": effect.group, "layer": effect.layer}


def _cosines(result: WhosAsking) -> list[dict[str, Any]]:
    if result.geometry is None:
        return []
    rows = []
    for found in result.geometry.cosines.to_dict(orient="records"):
        at_papers = found["layer"] == LAYER and found["reference"] in _REFUSAL
        paper = paper_cosine(str(found["persona"])) if at_papers else None
        rows.append(
            _row(
                f"cosine with {found['reference']}",
                str(found["persona"]),
                "vector",
                float(found["cosine"]),
                layer=int(found["layer"]),
                **({} if paper is None else {"paper": paper}),
            )
        )
    return rows
