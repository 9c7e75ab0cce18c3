"""How the part on layers is told."""

from functools import partial

import plotly.graph_objects as go

from analyses._panel import Panel, panel
from analyses._shown._layers_figures import layer_differences, window_gains
from analyses._shown._records import records
from analyses._shown._types import Shown, ShownTable, Told
from analyses._words import MISSING, TREATMENTS, number, p_value, percent, span, with_interval
from analyses.layer_test import LayerTest, PersonaLayers, WindowTest
from lens_personas.views import Theme

_HELD = "control under the same sign and layer; one more random direction of the same length"


def tell(result: LayerTest) -> Told:
    """The test over layers, what choosing cost, and windows."""
    lasting = sum(each.p < result.alpha for each in result.personas)
    jointly = sum(each.p_joint < result.alpha for each in result.personas)
    beyond = sum(each.p < result.alpha and each.beyond_nulls for each in result.personas)
    windows = [_window_said(window) for window in result.windows] or [
        f"No windows of layers: {result.no_windows}."
    ]
    return Told(
        answer=f"{lasting} of {len(result.personas)} personas' vectors move refusal beyond the "
        f"control's at some layer, the best of all layers and both signs accounted for; {jointly} "
        f"over all personas too, and {beyond} farther than random directions of the same length "
        f"(n = {result.n}). Where the layer was chosen the difference was "
        "larger by "
        f"{with_interval(result.choices.optimism)} nats than on the test requests; the layer "
        "that is best on these would have shown "
        f"{with_interval(result.choices.naive_gain)} nats more. " + " ".join(windows),
        tables=(_persona_table(result), _choice_table(result), *map(_windows, result.windows)),
        limits=(
            f"Of {result.n} requests no p below {number(2 / 2 ** min(result.n, 40), 5)} can come.",
            "The corrected p tell at which layers a vector acts, not where the model computes "
            "what it acts on.",
            "Late layers write to the output more than they change what is computed: they are "
            "tested, and are not chosen.",
        ),
    )


def panels(result: LayerTest) -> tuple[Panel, ...]:
    """Differences by layer; windows beside single layers."""
    first = panel(
        "layers-differences",
        "part-layers",
        "At which layers does steering act beyond the control?",
        "Mean change of refusal less the control's. A filled mark: it lasts after correction over "
        "the layers of that persona and sign.",
        "The control's vector at the same layer and sign.",
        lambda theme: layer_differences(result, theme=theme),
    )
    rest = [
        panel(
            f"layers-windows-{window.width}",
            "part-layers",
            f"Do {window.width} layers at once do more than one?",
            f"Each layer of a window gets {number(window.dose / window.width)} residual norms, "
            f"{number(window.dose)} in all, as the single layer does. Both were chosen on other "
            "requests.",
            "Random directions over the same window (bar), the control subtracted.",
            partial(_drawn, window),
        )
        for window in result.windows
    ]
    return (first, *rest)


def _drawn(window: WindowTest, theme: Theme) -> go.Figure:
    return window_gains(window, theme=theme)


def _window_said(window: WindowTest) -> str:
    return (
        f"The same dose over {window.width} layers moves refusal by "
        f"{with_interval(window.gain)} nats more than at one."
    )


def _persona_table(result: LayerTest) -> ShownTable:
    return ShownTable(
        title="Vectors over all layers and both signs",
        columns=(
            "Persona",
            "Where most surely",
            "Change (nats)",
            "Control",
            "Nulls",
            "p",
            "p, all personas",
            "+ layers",
            "− layers",
            "n",
        ),
        rows=tuple(_persona_row(each) for each in result.personas),
        note=f"Held against: {_HELD}. p: largest t over layers and signs; layers that last are "
        "corrected over the layers of their sign.",
    )


def _persona_row(each: PersonaLayers) -> tuple[str, ...]:
    return (
        each.persona,
        f"{TREATMENTS[each.treatment]}, layer {each.layer}",
        with_interval(each.change),
        with_interval(each.control),
        MISSING if each.null_range is None else span(*each.null_range),
        p_value(each.p),
        p_value(each.p_joint),
        " ".join(map(str, each.plus)) or MISSING,
        " ".join(map(str, each.minus)) or MISSING,
        str(each.n),
    )


def _choice_table(result: LayerTest) -> ShownTable:
    return ShownTable(
        title="What choosing a layer cost",
        columns=(
            "Persona",
            "Sign",
            "Chosen",
            "There",
            "On test",
            "Optimism",
            "Best on test",
            "Flattery",
            "Same again",
        ),
        rows=tuple(
            (
                str(row.persona),
                TREATMENTS[row.treatment],
                str(row.layer),
                number(row.selected, signed=True),
                number(row.tested, signed=True),
                f"{number(row.optimism, signed=True)} {span(row.optimism_low, row.optimism_high)}",
                str(row.naive_layer),
                f"{number(row.naive_gain, signed=True)} {span(row.naive_low, row.naive_high)}",
                percent(row.stability),
            )
            for row in records(result.choices.by_arm)
        ),
        note="Differences from the control in nats. Optimism: where chosen less on test "
        f"({result.choices.n} and {result.n} requests). Flattery: what choosing on the test "
        "requests would have added. Same again: share of resampled requests that choose the layer.",
    )


def _windows(window: WindowTest) -> ShownTable:
    return ShownTable(
        title=f"Windows of {window.width} layers beside one layer",
        columns=("Persona", "Sign", "Window", "Less control", "Nulls", "One layer", "Gain", "p"),
        rows=tuple(
            (
                str(row.persona),
                TREATMENTS[row.treatment],
                str(row.layers),
                f"{number(row.difference, signed=True)} "
                f"{span(row.difference_low, row.difference_high)}",
                span(row.null_low - row.control, row.null_high - row.control),
                f"{number(row.single_difference, signed=True)} (layer {row.single_layer})",
                f"{number(row.gain, signed=True)} {span(row.gain_low, row.gain_high)}",
                p_value(row.p_corrected),
            )
            for row in records(window.by_arm)
        ),
        note=f"The dose of {number(window.dose)} residual norms is shared out evenly over the "
        f"window; n = {window.n}. p of the gain by sign flips, Holm over the rows.",
    )


SHOWN = Shown(tell=tell, panels=panels)
"""How it is shown."""
