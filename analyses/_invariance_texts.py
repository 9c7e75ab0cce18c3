"""Refusal by request and text: what the spread over users starts from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from analyses.scores import ScoreTable, refusal_probability
from lens_personas.statistics import (
    paired_bootstrap,
)


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Some texts on the same requests."""

    names: tuple[str, ...]
    scores: Float[np.ndarray, "prompt text"]
    refused: Bool[np.ndarray, "prompt text"] | None

    def only(self, names: Sequence[str]) -> "Texts":
        """Those of these names, in that order."""
        at = [self.names.index(name) for name in names]
        refused = None if self.refused is None else self.refused[:, at]
        return Texts(names=tuple(names), scores=self.scores[:, at], refused=refused)


def texts_of(table: ScoreTable, names: Sequence[str]) -> Texts:
    """Those of the texts that were scored on every request."""
    found = [(name, table.at(name, "prompt", -1, "test")) for name in dict.fromkeys(names)]
    there = [(name, each) for name, each in found if each and np.isfinite(each.score).all()]
    judged = bool(there) and all(each.has_labels for _, each in there)
    n = len(table.baseline("test").score)
    return Texts(
        names=tuple(name for name, _ in there),
        scores=np.stack([e.score for _, e in there], axis=1) if there else np.empty((n, 0)),
        refused=np.stack([e.labelled("refusal") for _, e in there], axis=1) if judged else None,
    )


def reaches(texts: Texts) -> Float[np.ndarray, " prompt"]:
    return np.asarray(np.ptp(refusal_probability(texts.scores), axis=1))


def by_text(
    table: ScoreTable,
    texts: Texts,
    axes: Mapping[str, str],
    control: str,
    rng: np.random.Generator,
) -> pd.DataFrame:
    arms = {arm.persona: arm for arm in table.arms}
    held = texts.scores[:, texts.names.index(control)]
    probability = refusal_probability(texts.scores).mean(axis=0)
    rows = []
    for at, name in enumerate(texts.names):
        mean = paired_bootstrap(texts.scores[:, at], rng=rng)
        gap = paired_bootstrap(texts.scores[:, at] - held, rng=rng)
        rows.append(
            {
                "text": name,
                "group": arms[name].group,
                "kind": arms[name].kind,
                "axis": axes.get(name, ""),
                "score": mean.estimate,
                "low": mean.low,
                "high": mean.high,
                "probability": float(probability[at]),
                "difference": gap.estimate,
                "difference_low": gap.low,
                "difference_high": gap.high,
                "judged": np.nan if texts.refused is None else float(texts.refused[:, at].mean()),
            }
        )
    return pd.DataFrame(rows)


def by_request(table: ScoreTable, users: Texts, neutral: Texts | None) -> pd.DataFrame:
    probability = refusal_probability(users.scores)
    return pd.DataFrame(
        {
            "prompt_id": table.baseline("test").prompt_ids,
            "smallest": probability.min(axis=1),
            "largest": probability.max(axis=1),
            "sd": users.scores.std(axis=1, ddof=1),
            "sd_neutral": np.nan if neutral is None else neutral.scores.std(axis=1, ddof=1),
        }
    )
