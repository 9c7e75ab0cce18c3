"""The organism's card as a file, a table, a page of Markdown, and a command."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from analyses._json import json_safe
from analyses._organism_measure import Progress, measure_organism
from analyses.organism_card import GATES, OrganismCard, Phenomenon, SaidFailure
from lens_personas.activations import replacing
from lens_personas.models import load_model
from lens_personas.models.organism import checkpoint_path, load_world

FORMAT: Final = "lens-personas/organism-card/1"
"""Name and version of the layout; a reader refuses any other."""
CARD_FILE: Final = "card.json"
"""Name of the card beside the two stages' folders."""
_HOLDS: Final[Mapping[bool | None, str]] = {
    True: "still so",
    False: "no longer so",
    None: "not measured",
}


def card_to_json(card: OrganismCard) -> str:
    """The card as JSON; a figure that is not defined is null.

    Raises:
        Nothing of its own.
    """
    whole = {"format": FORMAT, "card": json_safe(card)}
    return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def card_from_json(text: str) -> OrganismCard:
    """The card that `card_to_json` wrote.

    Raises:
        ValueError: If it is no such JSON, or of another version.
    """
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"expected a card as JSON, got: {error}; measure it again") from error
    found = whole.get("format") if isinstance(whole, dict) else None
    if found != FORMAT:
        raise ValueError(
            f"expected a card of format {FORMAT!r}, got {found!r}; measure it again with this "
            "version"
        )
    try:
        return _card(whole["card"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"expected the fields of a card, got others: {error!r}; measure it again"
        ) from error


def _card(fields: dict[str, Any]) -> OrganismCard:
    phenomena = tuple(
        Phenomenon(**each | {"figures": _figures(each["figures"]), "layers": tuple(each["layers"])})
        for each in fields["phenomena"]
    )
    failures = tuple(
        SaidFailure(**each | {"figures": _figures(each["figures"])})
        for each in fields["failures_said"]
    )
    return OrganismCard(**fields | {"phenomena": phenomena, "failures_said": failures})


def _figures(figures: Mapping[str, float | None]) -> dict[str, float]:
    return {name: float("nan") if value is None else value for name, value in figures.items()}


def write_card(card: OrganismCard, path: Path) -> None:
    """Write the card's JSON to ``path``, whole or not at all.

    Raises:
        OSError: If the folder cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(card_to_json(card), encoding="utf-8")


def organism_card_command(
    folder: Path | None, remeasure: bool, *, seed: int = 0, progress: Progress | None = None
) -> OrganismCard:
    """The card of the pair in ``folder`` (``base`` and ``chat``), None for the shipped pair.

    Read from ``card.json`` beside the stages; measured anew where asked, or where there is none.
    Nothing is written.

    Raises:
        FileNotFoundError: If a stage or its world is missing.
        ValueError: If the card in the folder cannot be read.
    """
    path = checkpoint_path("chat").parent if folder is None else folder
    kept = path / CARD_FILE
    if kept.is_file() and not remeasure:
        return card_from_json(kept.read_text(encoding="utf-8"))
    for stage in ("base", "chat"):
        if not (path / stage / "config.json").is_file():
            raise FileNotFoundError(
                f"expected a trained pair in {path}, with folders base and chat, got no {stage}; "
                "give the folder that `lens-personas organism train` wrote"
            )
    names = ("organism:base", "organism:chat")
    if folder is not None:
        names = (str(path / "base"), str(path / "chat"))
    base, chat = (load_model(name, device="cpu") for name in names)
    return measure_organism(base, chat, load_world(path / "chat"), seed=seed, progress=progress)


def card_table(card: OrganismCard) -> Group:
    """The phenomena with their gates, then what failed, for a terminal.

    Raises:
        Nothing of its own.
    """
    table = Table(title="Phenomena", title_justify="left", title_style="bold")
    for name in ("", "phenomenon", "gated figures", "layers", "gate"):
        table.add_column(name)
    for each in card.phenomena:
        style = "bold green" if each.passed else "bold red"
        layers = ", ".join(map(str, each.layers)) or "–"
        # Text, not str: nothing is to be taken for rich's own markup.
        cells = (str(each.number), each.name, _gated(each), layers)
        table.add_row(*map(Text, cells), Text(_verdict(each), style=style))
    failed = Table(title="What failed, and stays said", title_justify="left", title_style="bold")
    for name in ("what was tried", "figures", "still so?"):
        failed.add_column(name)
    for failure in card.failures_said:
        row = (failure.name, _numbers(failure.figures), _HOLDS[failure.holds])
        failed.add_row(*map(Text, row))
    return Group(Text(_headline(card), style="bold"), table, failed)


def card_markdown(card: OrganismCard) -> str:
    """The whole card as Markdown: every figure, how it was measured, and what failed.

    Raises:
        Nothing of its own.
    """
    lines = ["# Model card of the organism", "", _headline(card), ""]
    lines += [
        f"Measured on `{card.base_id}` (`{card.base_fingerprint}`) and `{card.chat_id}` "
        f"(`{card.chat_fingerprint}`), world {card.world_seed}, seed {card.seed}.",
        "",
        "| | phenomenon | gated figures | gate |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {each.number} | {each.name} | {_gated(each)} | {_verdict(each)} |"
        for each in card.phenomena
    ]
    for each in card.phenomena:
        lines += ["", f"## {each.number}. {each.name}", "", each.question, "", each.note, ""]
        lines += [f"Gate ({_verdict(each)}): {each.gate}.", "", _numbers(each.figures)]
    lines += ["", "## What failed, and stays said"]
    for failure in card.failures_said:
        lines += ["", f"**{failure.name}** ({_HOLDS[failure.holds]}). {failure.claim}", ""]
        lines += [failure.note, *(["", _numbers(failure.figures)] if failure.figures else [])]
    return "\n".join(lines) + "\n"


def _headline(card: OrganismCard) -> str:
    missed = [f"{each.number} ({each.name})" for each in card.phenomena if not each.passed]
    n = len(card.phenomena)
    passed = f"{n - len(missed)} of {n} phenomena pass their gates"
    return f"{passed}; not {', '.join(missed)}." if missed else f"{passed}."


def _verdict(each: Phenomenon) -> str:
    return "passed" if each.passed else "FAILED"


def _gated(each: Phenomenon) -> str:
    names = dict.fromkeys(gate.figure for gate in GATES[each.number])
    return _numbers({name: each.figures.get(name, float("nan")) for name in names})


def _numbers(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in figures.items())
