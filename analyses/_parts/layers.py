"""The part on layers: all of them tested at once, what choosing one costs, and windows."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analyses._bench import bench
from analyses._cells import Cell
from analyses._contents import Contents
from analyses._layer_gaps import SIGNS
from analyses._part import Core, Part, PartPlan, Passes
from analyses._parts._layers_choices import layer_choices
from analyses._parts._layers_windows import (
    window_arms,
    window_layers,
    window_requests,
    window_scores,
    window_test,
)
from analyses._workbench import Workbench
from analyses.layer_test import LayerTest, WindowTest, layer_claims, layer_test

Spec = Mapping[str, Any]


def cells(plan: PartPlan) -> tuple[Cell, ...]:
    """A cell for each width, sign and window."""
    needs = plan.needs("tokens", "norms", "vector")
    return tuple(
        plan.cell("layers", "window", needs, width=width, treatment=treatment, centre=centre)
        for width in sorted(set(plan.outline.config.windows))
        for treatment in SIGNS
        for centre in window_layers(plan.outline, width)
    )


def evaluate(work: Workbench, spec: Spec, inputs: Contents) -> pd.DataFrame:
    """Scores of all arms at one window."""
    return window_scores(
        work,
        bench(work, inputs),
        treatment=spec["treatment"],
        centre=spec["centre"],
        width=spec["width"],
    )


def assemble(core: Core, contents: Contents) -> LayerTest | None:
    """The test over all layers; None where no refusal score was had."""
    outline = core.plan.outline
    control, steered = outline.data.control.name, _steered(core.scores)
    choices = layer_choices(steered, control=control, rng=outline.rng("layer choices"))
    if choices is None:
        return None
    windows = _windows(core, contents)
    return layer_test(
        steered,
        choices=choices,
        control=control,
        rng=outline.rng("layers"),
        alpha=outline.config.alpha,
        windows=windows,
        no_windows="" if windows else _why_none(core),
    )


def passes(work: Workbench, spec: Spec) -> Passes:
    """Every arm on every request."""
    asked = [request for part in window_requests(work).values() for request in part]
    prompts = [work.plain[request.prompt_id] for request in asked]
    return Passes(prompts=prompts * len(window_arms(work, spec["treatment"])))


def _windows(core: Core, contents: Contents) -> tuple[WindowTest, ...]:
    outline = core.plan.outline
    single = _steered(core.scores)
    single = single[single["kind"] != "refusal"]
    found = []
    for width in sorted(set(outline.config.windows)):
        tables = [t for spec, t in contents.part("layers", "window") if spec["width"] == width]
        if tables:
            result = window_test(
                single,
                pd.concat(tables, ignore_index=True).astype({"label": object}),
                layers=window_layers(outline, width),
                width=width,
                dose=outline.config.dose,
                control=outline.data.control.name,
                rng=outline.rng(f"windows {width}"),
            )
            found += [] if result is None else [result]
    return tuple(found)


def _steered(scores: pd.DataFrame) -> pd.DataFrame:
    """What layers are tested with: vectors and the requests alone."""
    return scores[scores["treatment"].isin([*SIGNS, "baseline"])]


def _why_none(core: Core) -> str:
    outline = core.plan.outline
    if not outline.config.windows:
        return "no windows were asked for"
    n = len(outline.choosable)
    least = min(outline.config.windows)
    if n < least:
        return f"{n} layers can be chosen, too few for a window of {least}"
    return "no refusal score was had at windows"


PART = Part(
    name="layers",
    doing="steering windows of layers",
    cells=cells,
    evaluate=evaluate,
    assemble=assemble,
    claims=layer_claims,
    passes=passes,
)
"""The part."""
