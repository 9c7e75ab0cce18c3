"""Tables of a persona's circuit: its edges, heads, direct shares, and refusal as such."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped

from lens_personas.statistics import (
    Interval,
    cluster_bootstrap_columns,
    max_statistic,
    paired_bootstrap,
    unpaired_bootstrap,
)

WHOLE, CUT, RANDOM_CUT = "whole", "cut", "random cut"
"""The model as it is; with the circuit cut; with random circuits of its size cut."""

CUT_COLUMNS = ("circuit", "side", "harmful", "pair", "prompt_id", "value")
"""Columns of the scores behind :func:`refusal_rows`, one row a request, user and circuit."""

_RESAMPLES = 1000


def edge_rows(
    scores: Float[np.ndarray, "pair edge"],
    prompt_ids: Sequence[str],
    edges: Sequence[tuple[str, str]],
    *,
    circuits: Mapping[str, Collection[tuple[str, str]]],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Every edge with its mean score, the largest first; whole requests are resampled.

    ``circuits`` gives a column each: whether the edge is in it.
    """
    found = cluster_bootstrap_columns(
        scores.astype(np.float64), np.array(prompt_ids), rng=rng, n_resamples=_RESAMPLES
    )
    table = pd.DataFrame(
        {
            "source": [source for source, _ in edges],
            "target": [target for _, target in edges],
            "score": [each.estimate for each in found],
            "low": [each.low for each in found],
            "high": [each.high for each in found],
            **{name: [edge in own for edge in edges] for name, own in circuits.items()},
        }
    )
    order = table["score"].abs().sort_values(ascending=False, kind="stable").index
    ranked = table.loc[order].reset_index(drop=True)
    return ranked.assign(rank=np.arange(1, len(ranked) + 1))


def head_rows(
    mass: tuple[Float[np.ndarray, "row layer head"], Float[np.ndarray, "row layer head"]],
    written: Float[np.ndarray, "row layer head"],
    prompt_ids: Sequence[str],
    sides: Sequence[str],
    *,
    first: str,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Every head: its attention to what is said of the user, and what it carries from there.

    Args:
        mass: Share of attention under a user's text, and under the control's in its place.
        written: What the head writes along refusal under the user's text.
        prompt_ids: Request of each row.
        sides: Side of each row's user.
        first: The side whose writing counts for; that of any other side counts against.
        rng: For intervals and p.
    """
    ids, is_first = np.array(prompt_ids), np.array([side == first for side in sides])
    more = _by_request(mass[0] - mass[1], ids)
    one, other = (_by_request(written[own], ids[own]) for own in (is_first, ~is_first))
    n_layers, n_heads = written.shape[1:]
    table = {
        "layer": np.repeat(np.arange(n_layers), n_heads),
        "head": np.tile(np.arange(n_heads), n_layers),
        "mass": mass[0].mean(axis=0).flatten(),
        "control_mass": mass[1].mean(axis=0).flatten(),
    }
    table |= _tested(more, ("mass_difference", "mass_low", "mass_high", "mass_p"), rng)
    names = ("written", "written_low", "written_high", "written_p")
    return pd.DataFrame(table | _tested(one - other, names, rng))


def component_rows(
    shares: Float[np.ndarray, "pair component"],
    prompt_ids: Sequence[str],
    components: Sequence[tuple[str, int, int]],
    *,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Direct share of each part (name, layer, head) in the difference, the largest first."""
    table = {
        "component": [name for name, _, _ in components],
        "layer": [layer for _, layer, _ in components],
        "head": [head for _, _, head in components],
    }
    found = _by_request(shares, np.array(prompt_ids))
    made = pd.DataFrame(table | _tested(found, ("estimate", "low", "high", "p"), rng))
    order = made["estimate"].abs().sort_values(ascending=False, kind="stable").index
    return made.loc[order].reset_index(drop=True)


def refusal_rows(
    scores: pd.DataFrame, *, sides: tuple[str, str], rng: np.random.Generator
) -> pd.DataFrame:
    """What is left of the difference, and of refusal as such, with the circuit cut.

    ``measure``: a side's mean score on harmful requests, ``harmless`` that on harmless ones,
    ``difference`` the first side less the second on the same harmful requests, ``as such``
    harmful less harmless.
    """
    rows: list[tuple[str, str, float, float, float]] = []
    for circuit, own in scores.groupby("circuit", sort=False):
        by_side = own[own["harmful"]].pivot_table("value", index="prompt_id", columns="side")
        harmful = by_side[list(sides)].dropna().to_numpy(np.float64)
        harmless = own[~own["harmful"]].groupby("prompt_id")["value"].mean().to_numpy(np.float64)
        found = {
            **{side: paired_bootstrap(harmful[:, at], rng=rng) for at, side in enumerate(sides)},
            "harmless": paired_bootstrap(harmless, rng=rng),
            "difference": paired_bootstrap(harmful[:, 0] - harmful[:, 1], rng=rng),
            "as such": unpaired_bootstrap(harmful.mean(axis=1), harmless, rng=rng),
        }
        rows += [
            (str(circuit), measure, each.estimate, each.low, each.high)
            for measure, each in found.items()
        ]
    return pd.DataFrame(rows, columns=["circuit", "measure", "estimate", "low", "high"])


def _by_request(
    values: Float[np.ndarray, "row *cells"], prompt_ids: Shaped[np.ndarray, " row"]
) -> Float[np.ndarray, "request cell"]:
    """Mean over the rows of each request, in the order of their names."""
    flat = values.reshape(len(values), -1).astype(np.float64)
    names, index = np.unique(prompt_ids, return_inverse=True)
    return np.stack([flat[index == at].mean(axis=0) for at in range(len(names))])


def _tested(
    values: Float[np.ndarray, "request cell"], names: Sequence[str], rng: np.random.Generator
) -> dict[str, object]:
    """Mean of each cell with interval, and p corrected over all cells, under these names."""
    found: list[Interval] = cluster_bootstrap_columns(
        values, np.arange(len(values)), rng=rng, n_resamples=_RESAMPLES
    )
    p = max_statistic(values, rng=rng, n_permutations=5000)
    columns = (
        [each.estimate for each in found],
        [each.low for each in found],
        [each.high for each in found],
        p,
    )
    return dict(zip(names, columns, strict=True))
