"""Does the effect of steering survive a test over all layers, and windows of them?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from analyses._layer_gaps import SIGNS, Gaps, arm_gaps, nulls_reach
from analyses.claims import Claim
from analyses.scores import (
    ScoreTable,
    Treatment,
    changes_of,
    control_changes,
)
from lens_personas.statistics import (
    Interval,
    max_statistic,
    paired_bootstrap,
)


@dataclass(frozen=True, kw_only=True)
class PersonaLayers:
    """One persona's vector over all layers and both signs, on the test requests."""

    persona: str
    """Name."""
    group: str
    """Side it was expected to take."""
    n: int
    """Harmful test requests."""
    treatment: Treatment
    """Sign at which it differs most surely from the control."""
    layer: int
    """Layer at which it does, from 0."""
    change: Interval
    """Mean change of refusal log-odds there against the request alone, in nats."""
    control: Interval
    """The control's change under the same treatment and layer, in nats."""
    difference: Interval
    """Change less the control's, paired by request, in nats; not corrected for the choice."""
    null_range: tuple[float, float] | None
    """Where the change by one more random direction would fall there, in nats."""
    p: float
    """Two-sided p that it differs from the control anywhere: largest t over layers and signs."""
    p_joint: float
    """The same, largest t over all personas as well."""
    plus: tuple[int, ...]
    """Layers at which the vector added differs, corrected over layers."""
    minus: tuple[int, ...]
    """Layers at which the vector subtracted differs, corrected over layers."""

    @property
    def beyond_nulls(self) -> bool:
        """Whether the change is beyond random directions, on the side of the difference."""
        if self.null_range is None:
            return True
        low, high = self.null_range
        change = self.change.estimate
        return change < low if self.difference.estimate < 0 else change > high


@dataclass(frozen=True, kw_only=True)
class WindowTest:
    """A vector added at several layers at once, beside the same persona's at one layer."""

    width: int
    """Layers in a window."""
    dose: float
    """Length of all that is added in a window together, in residual norms: as at one layer."""
    n: int
    """Harmful test requests."""
    gain: Interval
    """Size of the difference from the control by the window less that by the single layer, mean
    over personas and signs, in nats; both chosen on the layer split."""
    by_arm: pd.DataFrame
    """One row a persona and sign: ``persona, group, treatment``; ``centre, layers`` (of the
    window, as text), its ``change, control`` and ``difference`` with ``difference_low,
    difference_high``, ``null_low, null_high`` (one more random direction over the same window);
    ``single_layer, single_difference``; ``gain, gain_low, gain_high`` and ``p_corrected``
    (sign flips of the gain, Holm over all rows). Nats on the test requests."""
    by_centre: pd.DataFrame
    """Mean difference from the control by ``persona, group, treatment, centre``: ``window``, and
    ``single`` at the layer alone, in nats on the test requests."""


@dataclass(frozen=True, kw_only=True)
class LayerChoices:
    """What choosing a layer costs, and how sure the choice is."""

    n: int
    """Harmful requests on which layers are chosen."""
    by_arm: pd.DataFrame
    """One row a ``persona`` and ``treatment``, with ``group``: the ``layer`` chosen on the layer
    split; the difference there (``selected``) and on the test requests (``tested``), signed so
    that ``selected`` is not negative; ``optimism`` = selected less tested with ``optimism_low,
    optimism_high``; the layer that is best on the test requests (``naive_layer``) and how much
    more it would have shown there (``naive_gain, naive_low, naive_high``, not negative); nats. The
    intervals hold the layers fixed. ``stability`` is the share of resampled layer splits that
    choose the same layer."""
    optimism: Interval
    """Mean optimism over personas and signs, in nats, resampled by request."""
    naive_gain: Interval
    """Mean naive gain over personas and signs, in nats, resampled by request."""


@dataclass(frozen=True, kw_only=True)
class LayerTest:
    """Steering at every layer, tested at once, and what choosing a layer costs."""

    n: int
    """Harmful test requests."""
    alpha: float
    """Level at which layers survive."""
    personas: tuple[PersonaLayers, ...]
    """Every persona but the control."""
    by_layer: pd.DataFrame
    """One row a ``persona``, ``treatment`` and ``layer``, with ``group``: mean ``change`` of
    refusal log-odds on the test requests, the control's ``control``, their ``difference`` with
    bootstrap interval ``low, high`` (nats), and p corrected over the layers of that persona and
    sign (``p_layers``), over both signs too (``p_persona``) and over all personas (``p_joint``)."""
    choices: LayerChoices
    """What choosing a layer cost."""
    windows: tuple[WindowTest, ...]
    """Windows of each width that was asked for and has room."""
    no_windows: str
    """Why there are none; empty where there are."""


def layer_test(
    scores: pd.DataFrame,
    *,
    choices: LayerChoices,
    control: str,
    rng: np.random.Generator,
    alpha: float = 0.05,
    windows: tuple[WindowTest, ...] = (),
    no_windows: str = "",
) -> LayerTest | None:
    """Test of every persona's vector at all layers at once; None without scores to test.

    Args:
        scores: One row for each arm and request, columns :data:`analyses.scores.SCORE_COLUMNS`.
        choices: What choosing a layer cost.
        control: Name of the control persona.
        rng: Source of every draw.
        alpha: Level at which a layer survives.
        windows: What windows of layers did.
        no_windows: Why there are no windows.

    Raises:
        ValueError: As :meth:`analyses.scores.ScoreTable.of`.
    """
    table = ScoreTable.of(scores[scores["harmful"]], control=control)
    gaps = arm_gaps(table)
    if not gaps:
        return None
    by_layer = _by_layer(gaps, rng)
    names = list(dict.fromkeys(each.arm.persona for each in gaps))
    return LayerTest(
        n=len(gaps[0].test),
        alpha=alpha,
        personas=tuple(
            _persona(table, by_layer[by_layer["persona"] == name], alpha, rng) for name in names
        ),
        by_layer=by_layer,
        choices=choices,
        windows=windows,
        no_windows=no_windows,
    )


def layer_claims(result: LayerTest) -> tuple[Claim, ...]:
    """One claim a persona: that its vector moves refusal at some layer, beyond the control's."""
    return tuple(
        Claim(
            part="layers",
            statement=f"the vector of {each.persona} moves refusal at some layer, on either side",
            refuted_by="no layer and sign at which it differs from the control's vector by more "
            "than the largest of all layers and signs does when the two are swapped at random, or "
            "a change there that random directions of the same length make as well",
            n=each.n,
            estimate=each.change,
            unit="nats of refusal log-odds",
            control=each.control,
            p=each.p,
            beyond_nulls=each.beyond_nulls,
            persona=each.persona,
            vector=True,
        )
        for each in result.personas
    )


def _by_layer(gaps: Sequence[Gaps], rng: np.random.Generator) -> pd.DataFrame:
    rows = [
        {
            "persona": each.arm.persona,
            "group": each.arm.group,
            "treatment": each.arm.treatment,
            "layer": layer,
            "change": float(each.changes[:, at].mean()),
            "control": float(each.controls[:, at].mean()),
            "difference": mean.estimate,
            "low": mean.low,
            "high": mean.high,
        }
        for each in gaps
        for at, layer in enumerate(each.layers)
        for mean in [paired_bootstrap(each.test[:, at], rng=rng, n_resamples=500)]
    ]
    table = pd.DataFrame(rows)
    cells = np.concatenate([each.test for each in gaps], axis=1)
    for column, family in (
        ("p_layers", ["persona", "treatment"]),
        ("p_persona", ["persona"]),
        ("p_joint", []),
    ):
        table[column] = _corrected(table, cells, family, rng)
    return table


def _corrected(
    table: pd.DataFrame,
    cells: Float[np.ndarray, "prompt cell"],
    family: list[str],
    rng: np.random.Generator,
) -> Float[np.ndarray, " cell"]:
    """P of each row, corrected over the rows that agree in the columns of ``family``."""
    if not family:
        return max_statistic(cells, rng=rng)
    p = np.ones(len(table))
    for at in table.groupby(family, sort=False).indices.values():
        p[at] = max_statistic(cells[:, at], rng=rng)
    return p


def _persona(
    table: ScoreTable, rows: pd.DataFrame, alpha: float, rng: np.random.Generator
) -> PersonaLayers:
    # Of several layers with the least p that can be had, the one where it moves most.
    size = -rows["difference"].abs()
    best = rows.assign(size=size).sort_values(["p_persona", "size"], kind="stable").iloc[0]
    persona, treatment, layer = str(best["persona"]), best["treatment"], int(best["layer"])
    change = changes_of(table, persona, treatment, layer, "test", "refusal_score")
    control = control_changes(table, treatment, layer, "test", "refusal_score")
    lasting = rows[rows["p_layers"] < alpha]
    plus, minus = (
        tuple(int(at) for at in lasting.loc[lasting["treatment"] == sign, "layer"])
        for sign in SIGNS
    )
    return PersonaLayers(
        persona=persona,
        group=str(best["group"]),
        n=len(change),
        treatment=treatment,
        layer=layer,
        change=paired_bootstrap(change, rng=rng),
        control=paired_bootstrap(control, rng=rng),
        difference=paired_bootstrap(change - control, rng=rng),
        null_range=nulls_reach(table, treatment, layer),
        p=float(best["p_persona"]),
        p_joint=float(rows["p_joint"].min()),
        plus=plus,
        minus=minus,
    )
