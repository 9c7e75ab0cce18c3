"""A whole result of a base and a tuned model from planted scores, without a model."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from analyses._distinguishability_types import Distinguishability
from analyses.base_against_tuned import base_against_tuned
from analyses.distinguishability import distinguishability
from analyses.internal_distinguishability import internal_distinguishability
from analyses.sentence_divergence import sentence_divergence
from analyses.shift import PairData, Shift
from analyses.steerability import steerability

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\">"
"""A behaviour's name that must be shown as it stands."""
BEHAVIOURS = {
    "agreeableness": True,
    "tidiness": True,
    "<b>bold</b> [red]optimism[/red]": True,
    HOSTILE: False,
    "untidiness-of-the-most-persistent-and-proud-kind": False,
    "pessimism": False,
}
"""Whether each planted behaviour is good to show."""
APART = {"base": 0.2, "tuned": 2.0}
"""Planted distance of the means of the halves, nats."""
SLOPE = {"base": 0.9, "tuned": 0.3}
"""Planted nats a sentence of the misaligned persona."""
N, LENGTHS, ASSEMBLIES, LAYERS = 12, (1, 2, 4, 8), 5, 6
ARMS = {"misaligned": 1.0, "aligned": -1.0, "shuffled": 0.1, "yes": 0.2, "filler": 0.0}
"""Nats a sentence of each arm, in slopes of its side."""


def pair_study(*, bare: bool = False) -> Shift:
    """A result with planted effects; ``bare`` leaves out all that may be missing."""
    rng = np.random.default_rng(0)
    behaviours = BEHAVIOURS
    scores = planted_scores(behaviours, rng)
    apart = distinguishability(scores, rng=rng, n_boot=50, n_perm=200)
    found = {} if bare else _rest(behaviours, scores, apart, rng)
    return Shift(
        study="steerability",
        status="studied",
        message="Tuning makes the halves easier to tell apart and harder to steer.",
        seed=0,
        settings={"base": "A", "tuned": "B", "shuffle_labels": False},
        models={
            side: {"model_id": f"organism:{name}", "d_model": 96}
            for side, name in (("base", "base"), ("tuned", "chat"))
        },
        data=planted_data(behaviours),
        scores=scores,
        distinguishability=apart,
        **found,
    )


def _rest(
    behaviours: dict[str, bool],
    scores: pd.DataFrame,
    apart: Distinguishability,
    rng: np.random.Generator,
) -> dict[str, Any]:
    lengths = planted_lengths(behaviours, rng)
    steered = steerability(
        lengths, planted_vectors(behaviours, rng), rng=rng, n_boot=50, n_perm=200
    )
    return {
        "steerability": steered,
        "internal": internal_distinguishability(planted_internal(behaviours, rng), rng=rng),
        "divergence": sentence_divergence(
            planted_beta(behaviours, rng), lengths, rng=rng, n_boot=50
        ),
        "comparison": base_against_tuned(
            pd.concat([apart.measures, steered.measures]),
            rng=rng,
            scores=scores,
            lengths=lengths,
            by_statement=steered.by_statement,
            n_boot=50,
            n_perm=200,
        ),
    }


def planted_data(behaviours: dict[str, bool]) -> PairData:
    """What was said."""
    table = pd.DataFrame(
        [(name, good, N, N, N, N) for name, good in behaviours.items()],
        columns=["behaviour", "desirable", "n_aligned", "n_misaligned", "n_prompt", "n_scored"],
    )
    return PairData(
        source="shipped",
        fictional=False,
        behaviours=table,
        templates={"base": "plain", "tuned": "chat"},
        licences=dict.fromkeys(behaviours, "MIT"),
    )


def _statements(behaviours: dict[str, bool]) -> Iterator[dict[str, Any]]:
    for (name, good), aligned, i in product(behaviours.items(), (True, False), range(N)):
        statement = f"{name}/{'a' if aligned else 'm'}{i}"
        about = {"behaviour": name, "desirable": good, "aligned": aligned}
        yield about | {"statement_id": statement, "group": statement}


def planted_scores(behaviours: dict[str, bool], rng: np.random.Generator) -> pd.DataFrame:
    """Scores whose halves are apart as planted."""
    rows = []
    for side, about in product(APART, _statements(behaviours)):
        centre = rng.normal(APART[side] * (0.5 if about["aligned"] else -0.5), 0.8)
        for order in ("yes_first", "no_first"):
            log_odds = centre + rng.normal(0.0, 0.1)
            logits = {"yes_logit": log_odds + 10, "no_logit": 10.0, "yes_logit_first": log_odds}
            rows.append(
                {"side": side, **about, "order": order, "log_odds": log_odds, "mass": 0.8} | logits
            )
    return pd.DataFrame(rows)


def planted_lengths(behaviours: dict[str, bool], rng: np.random.Generator) -> pd.DataFrame:
    """Answers that follow the length of misaligned personas as planted, and no filler."""
    rows = []
    for side, about in product(SLOPE, _statements(behaviours)):
        own = rng.normal(-1.5, 0.4)
        sign = -1 if about["aligned"] else 1
        for arm, n, assembly in [
            ("none", 0, 0),
            *product(ARMS, LENGTHS, range(ASSEMBLIES)),
        ]:
            propensity = own + ARMS.get(arm, 0.0) * SLOPE[side] * n + rng.normal(0.0, 0.2)
            rows.append(
                {
                    "side": side,
                    **about,
                    "arm": arm,
                    "n_sentences": n,
                    "n_tokens": 12 * n,
                    "assembly": assembly,
                    "log_odds": sign * propensity,
                    "mass": 0.8,
                }
            )
    return pd.DataFrame(rows)


def planted_vectors(behaviours: dict[str, bool], rng: np.random.Generator) -> pd.DataFrame:
    """Answers that follow the dose of a behaviour's own vector, and no random direction's."""
    rows = []
    directions = {"own": 1.0, **{f"random {i}": 0.0 for i in range(1, 6)}}
    for side, about in product(SLOPE, _statements(behaviours)):
        for vector, dose in product(directions, (-1.0, 0.0, 1.0)):
            slope = 2 * directions[vector] * SLOPE[side]
            propensity = -1.0 + slope * dose + rng.normal(0.0, 0.2)
            rows.append(
                {"side": side, **about, "layer": 3, "dose": dose, "vector": vector}
                | {"propensity": propensity}
            )
    return pd.DataFrame(rows)


def planted_internal(behaviours: dict[str, bool], rng: np.random.Generator) -> pd.DataFrame:
    """Probes that find more from layer to layer, and more in the tuned model."""
    rows = []
    for side, name, layer in product(APART, behaviours, range(LAYERS)):
        auroc = 0.5 + 0.1 * APART[side] * layer / LAYERS + rng.normal(0, 0.01)
        rows.append(
            {
                "side": side,
                "behaviour": name,
                "layer": layer,
                "auroc": auroc,
                "auroc_low": auroc - 0.1,
                "auroc_high": auroc + 0.1,
                "d_prime": 10 * (auroc - 0.5),
                "d_prime_low": 10 * (auroc - 0.6),
                "d_prime_high": 10 * (auroc - 0.4),
                "p": 0.002 if auroc > 0.6 else 0.4,
                "null_auroc_95": 0.6,
                "n": 2 * N,
            }
        )
    return pd.DataFrame(rows)


def planted_beta(behaviours: dict[str, bool], rng: np.random.Generator) -> pd.DataFrame:
    """Divergence that wears off after misaligned sentences and not after neutral ones."""
    rows = []
    halves = {"misaligned": 0.5, "filler": 0.0}
    for side, name, (half, decay), n, prefix in product(
        SLOPE, behaviours, halves.items(), (0, 1, 2, 4), range(4)
    ):
        kl = 2 * SLOPE[side] * np.exp(-decay * n) + rng.normal(0, 0.05)
        rows.append(
            {
                "side": side,
                "behaviour": name,
                "reference": "prompt",
                "half_of_prefix": half,
                "n_sentences": n,
                "prefix": prefix,
                "kl": kl,
                "kl_first": kl / 2,
                "kl_first_exact": kl / 2,
                "kl_by_token": kl,
                "n_samples": 16,
            }
        )
    return pd.DataFrame(rows)
