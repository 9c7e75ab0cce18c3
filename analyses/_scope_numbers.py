"""Numbers from Patchscope readings: effects of arms, curves by layer, what belongs to requests."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from analyses._scope_types import (
    CharityEffect,
    HarmlessGap,
    Place,
    RefusalCorrelation,
    RequestEffect,
    ScopeSetting,
)
from lens_personas.statistics import (
    Interval,
    correlation,
    null_range,
    paired_bootstrap,
    sign_flip,
    unpaired_bootstrap,
)

_RESAMPLES = 500
_PAIRINGS = 100


def effects_of(
    harmful: pd.DataFrame,
    settings: Sequence[ScopeSetting],
    *,
    control: str,
    steered_at: int,
    rng: np.random.Generator,
) -> tuple[CharityEffect, ...]:
    """Every arm's change of the reading, beside the control's, place by place."""
    return tuple(
        effect
        for treatment in harmful["treatment"].unique()
        for place, layer in tested_layers(settings, treatment, steered_at)
        for effect in _effects_at(harmful, treatment, place, layer, control, rng)
    )


def tested_layers(
    settings: Sequence[ScopeSetting], treatment: str, steered_at: int
) -> Iterator[tuple[Place, int]]:
    """Source layer of each place under a treatment: the chosen one, or where steering begins."""
    yield "direct", -1
    for setting in settings:
        # Below the layer that is steered, states are those of the request alone.
        least = 0 if treatment == "prompt" else steered_at
        yield setting.place, max(setting.source_layer, least)


def _wide(harmful: pd.DataFrame, treatment: str, place: str, layer: int) -> pd.DataFrame:
    """Log-odds, a row a request and a column an arm."""
    at = (
        (harmful["treatment"] == treatment)
        & (harmful["place"] == place)
        & (harmful["source_layer"] == layer)
    )
    return harmful[at].pivot(index="prompt_id", columns="persona", values="log_odds")


def _effects_at(
    harmful: pd.DataFrame,
    treatment: str,
    place: Place,
    layer: int,
    control: str,
    rng: np.random.Generator,
) -> list[CharityEffect]:
    wide = _wide(harmful, treatment, place, layer)
    if control not in wide.columns or "none" not in wide.columns:
        return []
    arms = harmful[harmful["persona"].isin(wide.columns) & (harmful["kind"] != "baseline")]
    sides = arms.drop_duplicates("persona").set_index("persona")[["group", "kind"]]
    beside = wide[control].to_numpy(float)
    alone = wide["none"].to_numpy(float)
    seen = place != "before"
    nulls = [name for name in wide.columns if name in sides.index and sides["kind"][name] == "null"]
    null_means = {str(n): float(np.mean(wide[n].to_numpy(float) - beside)) for n in nulls}
    shifted = np.roll(beside, 1)
    control_change = mean_of(beside - alone, rng)
    out = []
    for name, (group, kind) in sides.iterrows():
        values = wide[name].to_numpy(float)
        tested = values - (alone if kind == "control" else beside)
        is_text = treatment == "prompt" and place == "last" and len(values) > 1
        out.append(
            CharityEffect(
                persona=str(name),
                group=group,
                kind=kind,
                treatment=treatment,
                place=place,
                source_layer=None if place == "direct" else layer,
                n=len(values),
                score=float(np.tanh(values / 2).mean()),
                change=mean_of(values - alone, rng),
                difference=mean_of(values - beside, rng),
                control=control_change,
                other_request=mean_of(values - shifted, rng) if is_text else None,
                p=_p(tested, rng) if seen and kind != "null" else 1.0,
                null_range=null_range(
                    np.array([null_means[n] for n in null_means if n != name], dtype=np.float64)
                ),
            )
        )
    return out


def _p(tested: Float[np.ndarray, " prompt"], rng: np.random.Generator) -> float:
    return sign_flip(tested, rng=rng) if np.isfinite(tested).all() else 1.0


def mean_of(
    values: Float[np.ndarray, " item"], rng: np.random.Generator, n_resamples: int = _RESAMPLES
) -> Interval:
    """Mean with its bootstrap interval; NaN where a value is missing."""
    if not len(values) or not np.isfinite(values).all():
        return Interval(estimate=np.nan, low=np.nan, high=np.nan, level=0.95)
    return paired_bootstrap(values.astype(np.float64), rng=rng, n_resamples=n_resamples)


def group_curves(harmful: pd.DataFrame, *, rng: np.random.Generator) -> pd.DataFrame:
    """Mean score of each side by source layer, and minus the request alone, over requests."""
    sides = harmful.assign(side=np.where(harmful["kind"] == "null", "null", harmful["group"]))
    sides.loc[sides["kind"] == "control", "side"] = "control"
    sides.loc[sides["kind"] == "baseline", "side"] = "baseline"
    keys = ["place", "treatment", "source_layer"]
    rows = []
    for (place, treatment, layer), here in sides.groupby(keys, sort=False):
        wide = here.pivot_table(index="prompt_id", columns="side", values="score")
        for side in wide.columns:
            score = mean_of(wide[side].to_numpy(float), rng)
            change = mean_of((wide[side] - wide["baseline"]).to_numpy(float), rng)
            rows.append(
                {
                    "place": place,
                    "treatment": treatment,
                    "group": side,
                    "source_layer": layer,
                    "score": score.estimate,
                    "low": score.low,
                    "high": score.high,
                    "change": change.estimate,
                    "change_low": change.low,
                    "change_high": change.high,
                }
            )
    return pd.DataFrame(rows)


def random_band(random_states: pd.DataFrame) -> pd.DataFrame:
    """Mean and 95 % range of the scores of random states, by kind and source layer."""
    rows = [
        {
            "kind": kind,
            "source_layer": layer,
            "score": here["score"].mean(),
            "low": here["score"].quantile(0.025),
            "high": here["score"].quantile(0.975),
        }
        for (kind, layer), here in random_states.groupby(["kind", "source_layer"], sort=False)
    ]
    return pd.DataFrame(rows, columns=["kind", "source_layer", "score", "low", "high"])


def request_effects(
    harmful: pd.DataFrame, settings: Sequence[ScopeSetting], *, rng: np.random.Generator
) -> tuple[RequestEffect, ...]:
    """How far readings under persona texts agree on the request, and where their variance lies."""
    named = harmful[harmful["kind"].isin(["persona", "control"])]
    out = []
    for place, layer in tested_layers(settings, "prompt", 0):
        table = _wide(named, "prompt", place, layer).to_numpy(float)
        if place == "before" or table.shape[0] < 3 or table.shape[1] < 3:
            continue
        total = table.var()
        orders = (_derangement(len(table), rng) for _ in range(_PAIRINGS))
        others = [_agreement(table, order) for order in orders]
        out.append(
            RequestEffect(
                place=place,
                agreement=_agreement(table, np.arange(len(table))),
                agreement_other=float(np.mean(others)),
                agreement_other_high=float(np.quantile(others, 0.975)),
                persona_share=float(table.mean(axis=0).var() / total) if total else np.nan,
                request_share=float(table.mean(axis=1).var() / total) if total else np.nan,
            )
        )
    return tuple(out)


def _agreement(
    table: Float[np.ndarray, "request persona"], order: Int[np.ndarray, " request"]
) -> float:
    """Mean correlation of a persona's readings with the mean of the others', in that order."""
    rest = (table.sum(axis=1, keepdims=True) - table)[order]
    own, others = table - table.mean(axis=0), rest - rest.mean(axis=0)
    scale = np.sqrt((own**2).sum(axis=0) * (others**2).sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (own * others).sum(axis=0) / scale
    return float(np.mean(found[scale > 0])) if (scale > 0).any() else float("nan")


def _derangement(n: int, rng: np.random.Generator) -> Int[np.ndarray, " request"]:
    """An order in which nothing keeps its place."""
    order = rng.permutation(n)
    out = np.empty(n, dtype=np.int64)
    out[order] = np.roll(order, 1)
    return out


def refusal_correlations(
    effects: Sequence[CharityEffect], refusal: Mapping[str, float], *, rng: np.random.Generator
) -> tuple[RefusalCorrelation, ...]:
    """Rank correlation over personas of change in charity and change in refusal, by place."""
    out = []
    for place in dict.fromkeys(effect.place for effect in effects):
        pairs = [
            (effect.change.estimate, refusal.get(effect.persona, np.nan))
            for effect in effects
            if effect.place == place
            and effect.treatment == "prompt"
            and effect.kind in ("persona", "control")
        ]
        known = np.array([pair for pair in pairs if np.isfinite(pair).all()]).reshape(-1, 2)
        if len(known) >= 3:
            found = correlation(known[:, 0], known[:, 1], rng=rng, method="spearman")
            out.append(RefusalCorrelation(place=place, correlation=found))
    return tuple(out)


def harmless_gaps(
    readings: pd.DataFrame, settings: Sequence[ScopeSetting], *, rng: np.random.Generator
) -> tuple[HarmlessGap, ...]:
    """Log-odds of harmful minus harmless requests alone, by place."""
    out = []
    for place, layer in tested_layers(settings, "prompt", 0):
        at = (
            (readings["kind"] == "baseline")
            & (readings["treatment"] == "prompt")
            & (readings["place"] == place)
            & (readings["source_layer"] == layer)
        )
        sides = [
            readings.loc[at & (readings["harmful"] == harmful), "log_odds"].to_numpy(float)
            for harmful in (True, False)
        ]
        # The token before the request is the same for all requests alone.
        if place != "before" and all(len(s) and np.isfinite(s).all() for s in sides):
            gap = unpaired_bootstrap(*sides, rng=rng, n_resamples=_RESAMPLES)
            out.append(HarmlessGap(place=place, gap=gap))
    return tuple(out)
