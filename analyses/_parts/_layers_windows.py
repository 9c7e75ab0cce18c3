"""Windows of layers: which there are, what they score, and what that comes to."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from analyses._arms import ArmName, Bench, arm_edits
from analyses._cell_plan import study_arms
from analyses._layer_gaps import nulls_reach
from analyses._workbench import Outline, Workbench
from analyses.layer_test import WindowTest
from analyses.scores import (
    BASELINE,
    SCORE_COLUMNS,
    Arm,
    ScoreTable,
    Treatment,
    changes_of,
    choose_layer,
    control_changes,
)
from lens_personas.interventions import Arm as SweepArm
from lens_personas.interventions import sweep
from lens_personas.personas import Request
from lens_personas.readouts import refusal_score
from lens_personas.statistics import Interval, adjust, paired_bootstrap, sign_flip


def window_layers(outline: Outline, width: int) -> dict[int, tuple[int, ...]]:
    """Layers of each window by its middle one, all among those that can be chosen.

    Neighbours are neighbours among the layers that are steered. None where there are too few.
    """
    layers, reach = outline.choosable, width // 2
    return {
        layers[at]: layers[at - reach : at + reach + 1]
        for at in range(reach, len(layers) - reach)
        if reach
    }


def window_arms(outline: Outline, treatment: Treatment) -> list[ArmName]:
    """Personas, the control and the nulls; refusal vectors have no part in it."""
    return [name for name in study_arms(outline)[treatment] if name.kind != "refusal"]


def window_requests(outline: Outline) -> dict[str, tuple[Request, ...]]:
    """Harmful requests to choose windows by, and to test them on."""
    choosing = outline.part("layer", harmful=True)[: outline.config.part_requests]
    return {"layer": choosing, "test": outline.studied}


def window_scores(
    work: Workbench, bench: Bench, *, treatment: Treatment, centre: int, width: int
) -> pd.DataFrame:
    """Refusal scores of all arms, the dose shared out evenly over the layers of the window.

    Columns :data:`analyses.scores.SCORE_COLUMNS`, ``layer`` being the window's middle one.
    """
    rows = [
        (name, split, request)
        for split, requests in window_requests(work).items()
        for name in window_arms(work, treatment)
        for request in requests
    ]
    whose = [(name.persona, request.prompt_id) for name, _, request in rows]
    layers = window_layers(work, width)[centre]
    edits = tuple(
        edit
        for layer in layers
        for edit in arm_edits(bench, treatment, layer, whose, dose=bench.dose / len(layers))
    )
    numbers = {prompt_id: at for at, prompt_id in enumerate(dict.fromkeys(i for _, i in whose))}
    scores = [float("nan")] * len(rows)
    if bench.tokens is not None:
        token_ids = torch.tensor(bench.tokens.token_ids)

        def score(logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, "batch 1"]:
            return refusal_score(logits, token_ids)[:, None]

        arm = SweepArm(prompts=tuple(numbers[prompt_id] for _, prompt_id in whose), edits=edits)
        prompts = [bench.plain[prompt_id] for prompt_id in numbers]
        (swept,) = sweep(bench.model, prompts, [arm], score, token_budget=bench.token_budget)
        scores = swept[:, 0].tolist()
    records = [
        (n.persona, n.group, n.kind, treatment, centre, split, r.prompt_id, True, value, None)
        for (n, split, r), value in zip(rows, scores, strict=True)
    ]
    return pd.DataFrame(records, columns=list(SCORE_COLUMNS))


def window_test(
    single: pd.DataFrame,
    windows: pd.DataFrame,
    *,
    layers: dict[int, tuple[int, ...]],
    width: int,
    dose: float,
    control: str,
    rng: np.random.Generator,
) -> WindowTest | None:
    """Windows beside single layers, each chosen on the layer split; None without scores to test.

    Args:
        single: Scores at single layers with the requests alone, columns
            :data:`analyses.scores.SCORE_COLUMNS`; more requests than the windows had are left out.
        windows: Scores of the windows, ``layer`` being the middle one.
        layers: Layers of each window by its middle one.
        width: Layers in a window.
        dose: Length of all that is added, in residual norms.
        control: Name of the control persona.
        rng: Source of every draw.

    Raises:
        ValueError: As :meth:`analyses.scores.ScoreTable.of`.
    """
    # A layer that no window may be about is no rival of one.
    within = {layer for each in layers.values() for layer in each}
    same = single[single["harmful"] & single["prompt_id"].isin(windows["prompt_id"].unique())]
    same = same[same["layer"].isin([-1, *within])]
    alone = same[same["treatment"] == BASELINE]
    wide = ScoreTable.of(pd.concat([alone, windows], ignore_index=True), control=control)
    narrow = ScoreTable.of(same, control=control)
    arms = [arm for arm in wide.arms if arm.kind == "persona"]
    pairs = [(arm, *_signed(wide, arm), *_signed(narrow, arm)) for arm in arms]
    pairs = [pair for pair in pairs if np.isfinite(pair[2]).all() and np.isfinite(pair[4]).all()]
    if not pairs:
        return None
    gains = [window - one for _, _, window, _, one in pairs]
    p = adjust(np.array([sign_flip(gain, rng=rng) for gain in gains]))
    return WindowTest(
        width=width,
        dose=dose,
        n=len(gains[0]),
        gain=paired_bootstrap(np.mean(gains, axis=0), rng=rng),
        by_arm=pd.DataFrame(
            [
                _row(wide, narrow, pair[0], (pair[1], pair[3]), layers, rng)
                | _interval("gain", paired_bootstrap(gain, rng=rng))
                | {"p_corrected": float(each)}
                for pair, gain, each in zip(pairs, gains, p, strict=True)
            ]
        ),
        by_centre=pd.DataFrame(
            [row for arm, *_ in pairs for row in _centres(wide, narrow, arm, tuple(layers))]
        ),
    )


def _signed(table: ScoreTable, arm: Arm) -> tuple[int, Float[np.ndarray, " prompt"]]:
    """Place chosen on the layer split, and differences on the test requests, signed as there."""
    choice = choose_layer(table, arm)
    sign = -1.0 if choice.gap < 0 else 1.0
    return choice.layer, sign * _difference(table, arm, choice.layer)


def _difference(table: ScoreTable, arm: Arm, layer: int) -> Float[np.ndarray, " prompt"]:
    own = changes_of(table, arm.persona, arm.treatment, layer, "test", "refusal_score")
    return np.asarray(own - control_changes(table, arm.treatment, layer, "test", "refusal_score"))


def _row(
    wide: ScoreTable,
    narrow: ScoreTable,
    arm: Arm,
    at: tuple[int, int],
    layers: dict[int, tuple[int, ...]],
    rng: np.random.Generator,
) -> dict[str, Any]:
    centre, single = at
    control = control_changes(wide, arm.treatment, centre, "test", "refusal_score")
    difference = _difference(wide, arm, centre)
    low, high = nulls_reach(wide, arm.treatment, centre) or (float("nan"), float("nan"))
    return {
        "persona": arm.persona,
        "group": arm.group,
        "treatment": arm.treatment,
        "centre": centre,
        "layers": " ".join(map(str, layers[centre])),
        "change": float((difference + control).mean()),
        "control": float(control.mean()),
        **_interval("difference", paired_bootstrap(difference, rng=rng)),
        "null_low": low,
        "null_high": high,
        "single_layer": single,
        "single_difference": float(_difference(narrow, arm, single).mean()),
    }


def _centres(
    wide: ScoreTable, narrow: ScoreTable, arm: Arm, centres: Sequence[int]
) -> list[dict[str, Any]]:
    return [
        {
            "persona": arm.persona,
            "group": arm.group,
            "treatment": arm.treatment,
            "centre": centre,
            "window": float(_difference(wide, arm, centre).mean()),
            "single": float(_difference(narrow, arm, centre).mean()),
        }
        for centre in centres
    ]


def _interval(name: str, interval: Interval) -> dict[str, float]:
    return {
        name: interval.estimate,
        f"{name}_low": interval.low,
        f"{name}_high": interval.high,
    }
