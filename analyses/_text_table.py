"""A study's results in a terminal."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from analyses._words import (
    CHANGE_OF,
    TREATMENTS,
    finding,
    gate_failed,
    in_order,
    layer_name,
    number,
    p_value,
    percent,
    span,
    with_interval,
)
from analyses.claims import Headline
from analyses.hidden_answers import HiddenAnswers
from analyses.persona_effects import Effect, PersonaEffects
from analyses.persona_geometry import PersonaGeometry
from analyses.whos_asking import WhosAsking

_EFFECT_COLUMNS = ("who, how", "change [95 %]", "control [95 %]", "p Holm", "answered", "found")
_FIT_COLUMNS = ("who, how", "layer", "n", "Pearson [95 %]", "p", "Spearman", "p")


def text_table(result: WhosAsking) -> Group:
    """The finding, the effects beside the control, refusal vectors, geometry, hidden answers.

    What is claimed is told by a word, so that nothing is lost without colour.
    """
    parts: list[RenderableType] = [Text(result.message, style="bold"), Text(_setting(result))]
    shown = in_order(result.effects.effects)
    personas = [e for e in shown if e.kind in ("persona", "control")]
    refusal = [e for e in shown if e.kind == "refusal"]
    if personas:
        parts.append(_effect_table(_title(result.effects), personas, result.headline))
    if refusal:
        parts.append(_effect_table("Refusal vectors, side by side", refusal, result.headline))
    if result.geometry is not None:
        parts.append(_geometry_table(result.geometry))
    if result.hidden is not None:
        parts.append(Text(hidden_line(result.hidden)))
    return Group(*(each for part in parts for each in (part, Text())))


def hidden_line(hidden: HiddenAnswers) -> str:
    """One sentence on where the refused answer can be read best."""
    table = hidden.by_layer
    best = table.iloc[int(table["top1"].to_numpy().argmax())]
    return (
        f"Refused answers: the known answer's first token is the lens's top token for "
        f"{percent(best['top1'])} of {hidden.n} requests at layer {int(best['layer'])} "
        f"(another request's answer: {percent(best['control_top1'])})."
    )


def _setting(result: WhosAsking) -> str:
    refused, harmless = result.baseline.refused, result.baseline.harmless_answered
    return (
        f"{result.model.get('model_id', 'model')}, seed {result.seed}. Alone, "
        f"{percent(refused.estimate)} of harmful requests are refused "
        f"{span(refused.low, refused.high)}, {percent(harmless.estimate)} of harmless ones are "
        "answered."
    )


def _title(effects: PersonaEffects) -> str:
    return f"{CHANGE_OF[effects.outcome]} by persona, beside the control"


def _effect_table(title: str, effects: Sequence[Effect], headline: Headline) -> Table:
    """Narrow enough for 80 columns: a row for each name, below it one for each treatment."""
    sizes = sorted({effect.n for effect in effects})
    table = _table(f"{title} (n = {'–'.join(map(str, sizes))})", _EFFECT_COLUMNS)
    if any(effect.claim and gate_failed(effect, headline) for effect in effects):
        table.caption = "gate: moves refusal, but its persona fails the manipulation check"
        table.caption_justify = "left"
    named = None
    for effect in effects:
        if effect.persona != named:
            table.add_row(Text(effect.persona, style="bold"))
            named = effect.persona
        table.add_row(*_cells(effect, failed=gate_failed(effect, headline)))
    return table


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=0,
        show_edge=False,
    )
    for at, name in enumerate(columns):
        table.add_column(name, justify="right" if at else "left", no_wrap=at > 0)
    return table


def _cells(effect: Effect, *, failed: bool) -> tuple[Text, ...]:
    answered, own = effect.answered, effect.kind == "control"
    layer = "" if effect.layer is None else f" L{layer_name(effect.layer)}"
    cells = (
        f" {TREATMENTS[effect.treatment]}{layer}",
        with_interval(effect.interval),
        "–" if own else with_interval(effect.control),
        "–" if own else p_value(effect.p_corrected),
        f"{100 * answered.before.estimate:.0f} → {percent(answered.after.estimate)}"
        if answered
        else "–",
    )
    word = {"found": "yes", "not shown": "no"}.get(finding(effect), "–")
    if failed and word == "yes":
        # The model does not see such a user: whatever moved refusal was something else.
        word = "gate"
    # Text, not str: a persona's name may look like rich's own markup.
    return (*map(Text, cells), Text(word, style="bold green" if word == "yes" else ""))


def _geometry_table(geometry: PersonaGeometry) -> Table:
    table = _table("Does the cosine with refusal predict the effect?", _FIT_COLUMNS)
    named = None
    for fit in geometry.fits:
        if fit.reference != named:
            table.add_row(Text(fit.reference, style="bold"))
            named = fit.reference
        cells = (
            f" {TREATMENTS.get(fit.treatment, fit.treatment)}",
            str(fit.layer),
            str(fit.n),
            f"{number(fit.pearson.estimate)} {span(fit.pearson.low, fit.pearson.high)}",
            p_value(fit.pearson.p),
            number(fit.spearman.estimate),
            p_value(fit.spearman.p),
        )
        table.add_row(*map(Text, cells))
    return table
