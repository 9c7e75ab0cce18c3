"""At which layers is the known answer to a refused request there, whole, beyond other answers?"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from analyses.claims import Claim
from lens_personas.statistics import Interval, max_statistic, paired_bootstrap, wilson

Lens = Literal["logit", "tuned"]
"""How a residual is read: as it is, or translated to the last layer first."""

OWN: Final = "own"
"""The request's own known answer, among the answers that are looked up."""
OTHER: Final = "other 1"
"""Another request's answer, the control; further ones are ``other 2`` and on."""
RANDOM: Final = "random token"
"""A token drawn from all known answers."""
REFUSAL: Final = "refusal"
"""The tokens that open a refusal, taken together."""

READING_COLUMNS: Final = (
    "prompt_id",
    "unit",
    "answer",
    "lens",
    "layer",
    "first_log_prob",
    "first_rank",
    "whole_log_prob",
    "n_tokens",
)
"""Columns of readings: one row a request, answer that is looked up, lens and layer. ``unit`` is
what requests with one known answer share; ``first_*`` is its first token at the last prompt
token, in nats and with 0 as the top rank; ``whole_log_prob`` the sum over its ``n_tokens`` tokens,
teacher-forced, NaN where only a first token is looked up."""

_RESAMPLES = 500


@dataclass(frozen=True, kw_only=True)
class LensFit:
    """How well the tuned lens says on prompts held out what the model will say."""

    n_tokens: int
    """Positions it was trained on."""
    n_held_out: int
    """Positions it is measured on."""
    steps: int
    """Steps of the optimiser at each layer."""
    by_layer: pd.DataFrame
    """One row a layer: ``layer``; KL(output ‖ lens) in nats, 0 or more, of the logit lens
    (``kl_logit``) and of the tuned one (``kl_tuned``)."""


@dataclass(frozen=True, kw_only=True)
class KnownAnswers:
    """The direct measure: teacher-forced log-probability and rank of known answers by layer."""

    n: int
    """Harmful test requests with a known answer."""
    n_units: int
    """Distinct known answers: what is resampled and tested."""
    output: int
    """The model's last layer, whose lens is its output."""
    by_layer: pd.DataFrame
    """One row a lens and layer: ``lens, layer``. First token of the own answer: share of requests
    where it is the top one with Wilson interval (``top1, top1_low, top1_high``), ``median_rank``
    (0 is top), mean log-probability in nats with interval (``log_prob, log_prob_low,
    log_prob_high``); the same for another request's answer (``other_top1, other_log_prob``), for a
    random token of all answers (``random_top1, random_log_prob``), and for a refusal's opening
    (``refusal_top1, refusal_log_prob``; NaN where none is known). Whole answer: log-probability
    in nats (``whole``) and a token (``per_token``, ``other_per_token``); ``difference`` of the
    last two with bootstrap interval (``difference_low, difference_high``), two-sided ``p``
    corrected over both lenses and all layers below the output (NaN there), and what the
    difference is between wrong answers (``null_low, null_high``, extremes; NaN without)."""
    best_lens: str | None
    """Lens at which the difference is surest; None where no layer below the output was read."""
    best_layer: int | None
    """Layer at which the difference is surest."""
    difference: Interval | None
    """Own less another request's answer there, nats a token."""
    p: float
    """Two-sided p there, corrected over all lenses and layers below the output."""
    null_high: float
    """Largest such difference of a wrong answer at any lens and layer; NaN where none was drawn."""
    decided_at: int | None
    """First layer from which on the tuned lens has a refusal on top in most requests; None where
    it never has, or there is no tuned lens."""
    fit: LensFit | None
    """The tuned lens; None where none was trained."""
    by_group: pd.DataFrame | None
    """First token of the own answer under personas, columns
    :data:`analyses.answers_under_personas.GROUP_COLUMNS`: one row a group, treatment, lens and
    layer, held against the request alone and the control persona. None where nothing was read."""
    by_request: pd.DataFrame
    """One row a request, lens and layer: ``prompt_id, unit, lens, layer, first_log_prob,
    first_rank, whole_log_prob, n_tokens`` of the own answer."""


def known_answers(
    readings: pd.DataFrame,
    *,
    output: int,
    fit: LensFit | None = None,
    by_group: pd.DataFrame | None = None,
    rng: np.random.Generator,
) -> KnownAnswers:
    """Where known answers can be read, against other answers.

    Requests that have one answer in common are one unit: their mean counts once.

    Args:
        readings: Columns :data:`READING_COLUMNS`, with rows of ``own`` and ``other 1`` at least.
        output: The model's last layer.
        fit: How well the tuned lens fits; None where there is none.
        by_group: What personas do to it; None where that was not read.
        rng: Source of every draw.

    Raises:
        ValueError: If columns are missing, or there is no request with its own and another answer.
    """
    missing = [name for name in READING_COLUMNS if name not in readings.columns]
    if missing:
        raise ValueError(f"expected columns {READING_COLUMNS}, {missing} are missing")
    own = _of(readings, OWN)
    if own.empty or _of(readings, OTHER).empty:
        raise ValueError("expected readings of own and other answers, got none of one of them")
    tested = _tested(readings, output, rng)
    rows = [_row(readings, tested, str(lens), int(layer), rng) for lens, layer in _cells(readings)]
    by_layer = pd.DataFrame(rows)
    best = _best(by_layer, output)
    return KnownAnswers(
        n=own["prompt_id"].nunique(),
        n_units=own["unit"].nunique(),
        output=output,
        by_layer=by_layer,
        best_lens=None if best is None else str(best["lens"]),
        best_layer=None if best is None else int(best["layer"]),
        difference=None
        if best is None
        else Interval(
            estimate=float(best["difference"]),
            low=float(best["difference_low"]),
            high=float(best["difference_high"]),
            level=0.95,
        ),
        p=1.0 if best is None else float(best["p"]),
        null_high=float(by_layer[by_layer["layer"] != output]["null_high"].max()),
        decided_at=_decided(by_layer),
        fit=fit,
        by_group=by_group,
        by_request=own.drop(columns="answer").reset_index(drop=True),
    )


def known_answer_claims(result: KnownAnswers) -> tuple[Claim, ...]:
    """The one claim: inside the model the answer it refuses is likelier than another one."""
    if result.difference is None:
        return ()
    return (
        Claim(
            part="early-decoding",
            statement="the known answer to a refused request can be read inside the model: below "
            "the output it is likelier than the answer to another request",
            refuted_by="another request's answer being as likely at every layer, by the logit lens "
            "and by the tuned one",
            n=result.n_units,
            estimate=result.difference,
            unit="nats a token",
            control=None,
            p=result.p,
            beyond_nulls=bool(
                result.difference.estimate > 0
                and not result.difference.estimate <= result.null_high
            ),
        ),
    )


def _of(readings: pd.DataFrame, answer: str) -> pd.DataFrame:
    return readings[readings["answer"] == answer]


def _cells(readings: pd.DataFrame) -> list[tuple[str, int]]:
    """Lenses and layers, the logit lens first."""
    found = readings[["lens", "layer"]].drop_duplicates().sort_values(["lens", "layer"])
    return list(found.itertuples(index=False, name=None))


def _per_token(readings: pd.DataFrame, answer: str) -> pd.DataFrame:
    """Log-probability a token of whole answers: one row a unit, one column a lens and layer."""
    rows = _of(readings, answer)
    values = rows.assign(value=rows["whole_log_prob"] / rows["n_tokens"])
    return values.pivot_table(index="unit", columns=["lens", "layer"], values="value")


@dataclass(frozen=True, kw_only=True)
class _Tested:
    """Differences of whole answers, by unit and cell."""

    differences: pd.DataFrame
    p: dict[tuple[str, int], float]
    nulls: list[pd.Series]


def _tested(readings: pd.DataFrame, output: int, rng: np.random.Generator) -> _Tested:
    others = sorted(name for name in readings["answer"].unique() if name.startswith("other "))
    control = _per_token(readings, OTHER)
    differences = (_per_token(readings, OWN) - control).dropna()
    cells = [(str(found[0]), int(found[1])) for found in differences.columns.to_list()]
    inner = [cell for cell in cells if cell[1] != output]
    p = max_statistic(differences[inner].to_numpy(np.float64), rng=rng) if inner else np.ones(0)
    nulls = [
        (_per_token(readings, name) - control).dropna().mean() for name in others if name != OTHER
    ]
    return _Tested(
        differences=differences,
        p={cell: float(each) for cell, each in zip(inner, p, strict=True)},
        nulls=nulls,
    )


def _row(
    readings: pd.DataFrame, tested: _Tested, lens: str, layer: int, rng: np.random.Generator
) -> dict[str, object]:
    here = readings[(readings["lens"] == lens) & (readings["layer"] == layer)]
    own, other = _of(here, OWN), _of(here, OTHER)
    top = wilson(int((own["first_rank"] == 0).sum()), len(own))
    first = _mean(own.groupby("unit")["first_log_prob"].mean().to_numpy(np.float64), rng)
    differences = tested.differences[lens, layer].to_numpy(np.float64)
    difference = _mean(differences, rng)
    nulls = [float(null[lens, layer]) for null in tested.nulls]
    return {
        "lens": lens,
        "layer": layer,
        **_spread("top1", top),
        "median_rank": float(own["first_rank"].median()),
        **_spread("log_prob", first),
        **_first(other, "other"),
        **_first(_of(here, RANDOM), "random"),
        **_first(_of(here, REFUSAL), "refusal"),
        "whole": float(own["whole_log_prob"].mean()),
        "per_token": _token_mean(own),
        "other_per_token": _token_mean(other),
        **_spread("difference", difference),
        "p": tested.p.get((lens, layer), float("nan")),
        "null_low": min(nulls, default=float("nan")),
        "null_high": max(nulls, default=float("nan")),
    }


def _token_mean(rows: pd.DataFrame) -> float:
    return float((rows["whole_log_prob"] / rows["n_tokens"]).groupby(rows["unit"]).mean().mean())


def _first(rows: pd.DataFrame, name: str) -> dict[str, float]:
    """Share on top and mean log-probability of a first token; NaN where it was not looked up."""
    if rows.empty:
        return {f"{name}_top1": float("nan"), f"{name}_log_prob": float("nan")}
    return {
        f"{name}_top1": float((rows["first_rank"] == 0).mean()),
        f"{name}_log_prob": float(rows["first_log_prob"].mean()),
    }


def _mean(values: Float[np.ndarray, " unit"], rng: np.random.Generator) -> Interval:
    return paired_bootstrap(values, rng=rng, n_resamples=_RESAMPLES)


def _spread(name: str, interval: Interval) -> dict[str, float]:
    return {
        name: interval.estimate,
        f"{name}_low": interval.low,
        f"{name}_high": interval.high,
    }


def _best(by_layer: pd.DataFrame, output: int) -> pd.Series | None:
    """Where the own answer is most surely above another; p is corrected for the choice."""
    inner = by_layer[by_layer["layer"] != output].dropna(subset=["difference"])
    if inner.empty:
        return None
    above = inner[inner["difference"] > 0]
    chosen = inner if above.empty else above
    return chosen.sort_values(["p", "difference"], ascending=[True, False], kind="stable").iloc[0]


def _decided(by_layer: pd.DataFrame) -> int | None:
    tuned = by_layer[by_layer["lens"] == "tuned"].sort_values("layer", ascending=False)
    decided = None
    for layer, share in zip(tuned["layer"], tuned["refusal_top1"], strict=True):
        if not share > 0.5:
            break
        decided = int(layer)
    return decided
