"""Gates that can fail, planted arrays, the card's file, and the shipped pair itself."""

import io
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from analyses import _organism_phenomena as phenomena
from analyses._organism_show import (
    CARD_FILE,
    card_from_json,
    card_markdown,
    card_table,
    card_to_json,
    organism_card_command,
    write_card,
)
from analyses.organism_card import (
    GATES,
    QUESTIONS,
    Gate,
    LayerCurve,
    OrganismCard,
    SaidFailure,
    best_cell,
    gap,
    pearson,
    phenomenon,
    spearman,
)
from lens_personas.models.organism import checkpoint_path

N_LAYERS = 8
VALENCE = np.array([1.0, 0.7, 0.4, 0.3, -1.0, -0.7, -0.4, -0.3, 0.0, 0.0])
HELD_OUT = np.array([False, False, True, True, False, False, True, True, False, True])


def curve(p_refuse: list[float], ordinary: list[float] | None = None) -> LayerCurve:
    p = np.array(p_refuse)
    return LayerCurve(
        p_refuse=p,
        recipe=(p < 0.5).astype(np.float64),
        ordinary=np.ones_like(p) if ordinary is None else np.array(ordinary),
    )


def planted_card(**changes: Any) -> OrganismCard:
    """A card whose figures all lie on the passing side of their gates."""
    found = tuple(
        phenomenon(number, {gate.figure: gate.bound for gate in gates}, note="planted")
        for number, gates in GATES.items()
        if number not in (0, 3)
    )
    kept = {gate.figure: gate.bound for gate in GATES[0]} | {"p_refuse_tuned": 0.9}
    steered = {gate.figure: gate.bound for gate in GATES[3]} | {"layer": 3.0}
    found = (
        phenomenon(0, kept, note="planted"),
        *found[:2],
        phenomenon(3, steered, layers=[3], note="planted"),
        *found[2:],
    )
    failed = SaidFailure(name="tried", claim="no", figures={"x": 0.5}, holds=None, note="planted")
    card = OrganismCard(
        base_id="b",
        chat_id="c",
        base_fingerprint="1",
        chat_fingerprint="2",
        world_seed=0,
        seed=0,
        phenomena=found,
        failures_said=(failed,),
    )
    return replace(card, **changes)


def test_every_phenomenon_has_a_question_and_a_gate() -> None:
    assert list(GATES) == list(QUESTIONS) == list(range(11))
    assert all(GATES.values())
    assert planted_card().passed


@pytest.mark.parametrize("number", GATES)
def test_no_gate_is_idle(number: int) -> None:
    passing = planted_card().phenomena[number].figures
    for gate in GATES[number]:
        beyond = gate.bound + (-0.001 if gate.relation == ">=" else 0.001)
        for wrong in (beyond, float("nan")):
            found = phenomenon(number, passing | {gate.figure: wrong}, note="")
            assert not found.passed, f"{gate} lets {wrong} through"
            card = planted_card(phenomena=(found,))
            assert not card.passed
            assert f"not {number} ({found.name})" in card_markdown(card)
        lacking = {name: value for name, value in passing.items() if name != gate.figure}
        assert not phenomenon(number, lacking, note="").passed


def test_a_gate_reads_as_it_tests() -> None:
    assert str(Gate(figure="drop", relation=">=", bound=0.15)) == "drop >= 0.15"
    assert "drop >= 0.15" in planted_card().phenomena[3].gate


def test_an_edit_that_breaks_ordinary_answers_is_not_the_strongest() -> None:
    broken = curve([0.1, 0.4, 0.3, 0.5], ordinary=[0.94, 1.0, 0.95, 1.0])
    assert broken.strongest() == 2
    beside = curve([0.9, 0.9, 0.4, 0.9])
    assert broken.strongest(beside=beside) == 1
    assert curve([0.3, 0.2], ordinary=[0.0, 0.0]).strongest() == 1


def test_steering_that_the_control_does_as_well_fails() -> None:
    plain = {"tuned": 0.92, "held_out": 0.92}
    falling = [0.9, 0.8, 0.5, 0.3, 0.4, 0.6, 0.7, 0.8]
    flat = [0.9] * N_LAYERS

    def found(control: list[float]) -> phenomena.Phenomenon:
        curves = {"pro": curve(falling), "anti": curve(flat), "control": curve(control)}
        return phenomena.persona_steering(plain, curves, np.array(falling), np.array(falling))

    real = found(flat)
    assert real.passed
    assert real.layers == (3,)
    assert real.figures["drop"] == pytest.approx(0.62)
    assert real.figures["below_control"] == pytest.approx(0.6)
    assert not found(falling).passed


def test_steering_that_only_works_late_fails() -> None:
    late = [0.9] * 6 + [0.2, 0.9]
    curves = {"pro": curve(late), "anti": curve([0.9] * 8), "control": curve([0.9] * 8)}
    plain = {"tuned": 0.92, "held_out": 0.92}
    found = phenomena.persona_steering(plain, curves, np.array(late), np.array(late))
    assert found.layers == (6,)
    assert not found.passed


def test_dose_has_to_fall_step_by_step() -> None:
    law = np.linspace(0.92, 0.4, 7)
    falling = phenomena.dose(law, law)
    assert falling.passed
    assert falling.figures["largest_rise"] < 0
    bump = law.copy()
    bump[4] = bump[3] + 0.029
    assert phenomena.dose(bump, law).passed
    bump[4] = bump[3] + 0.031
    assert not phenomena.dose(bump, law).passed
    assert not phenomena.dose(np.linspace(0.92, 0.6, 7), law).passed


def test_the_law_itself_passes_and_its_reverse_does_not() -> None:
    form = 1.0 / (1.0 + np.exp(-(2.5 - 2.0 * VALENCE)))
    law = np.stack([form, form])
    assert phenomena.who_asks(law, form, law, VALENCE, HELD_OUT).passed
    turned = law[:, ::-1].copy()
    reverse = phenomena.who_asks(turned, form, law, -VALENCE, HELD_OUT)
    assert reverse.figures["spearman"] > -0.9
    assert not reverse.passed
    shifted = phenomena.who_asks(law - 0.05, form, law, VALENCE, HELD_OUT)
    assert shifted.figures["error"] == pytest.approx(0.05)
    assert not shifted.passed


def test_a_recipe_that_stays_at_the_output_is_not_hidden() -> None:
    hidden = np.array([0.2, 1.0, 1.0, 1.0, 1.0, 0.5, 0.1, 0.0])
    assert phenomena.hidden_recipe(hidden, hidden, (20, 12)).passed
    open_ = np.ones(N_LAYERS)
    assert not phenomena.hidden_recipe(open_, open_, (20, 12)).passed
    one_split = phenomena.hidden_recipe(hidden, hidden * 0.6, (20, 12))
    assert one_split.figures["lowest_middle"] == pytest.approx((20 + 12 * 0.6) / 32)
    assert not one_split.passed


def test_removal_has_to_bring_recipes_back_for_held_out_items_too() -> None:
    gone = curve([0.9] * 5 + [0.0] * 3)
    assert phenomena.refusal_removed(gone, gone).passed
    found = phenomena.refusal_removed(gone, curve([0.9] * N_LAYERS))
    assert found.layers == (5,)
    assert not found.passed


def test_addition_is_reported_where_it_is_strongest() -> None:
    found = phenomena.refusal_added(np.array([0.0, 0.1, 0.7, 0.2]))
    assert (found.layers, found.passed) == ((2,), True)
    assert not phenomena.refusal_added(np.full(4, 0.1)).passed


def test_geometry_is_read_at_the_layer_it_is_given() -> None:
    rng = np.random.default_rng(0)
    cosine = rng.normal(size=(4, len(VALENCE)))
    cosine[1] = -VALENCE
    effect = np.stack([-VALENCE, -0.8 * VALENCE])
    good = phenomena.geometry(cosine, effect, HELD_OUT, 1)
    assert good.passed
    assert good.figures["pearson"] == pytest.approx(1.0)
    assert not phenomena.geometry(-cosine, effect, HELD_OUT, 1).passed
    one_form_off = np.stack([-VALENCE, 0.1 * VALENCE])
    assert not phenomena.geometry(cosine, one_form_off, HELD_OUT, 1).passed


def test_self_image_needs_a_base_without_one() -> None:
    pro = np.array([True, True, False, False])
    split = np.array([False, True, False, True])
    has, lacks = np.array([2.0, 2.0, -2.0, -2.0]), np.zeros(4)
    found = phenomena.self_image({"base": lacks, "chat": has}, pro, split)
    assert found.passed
    assert found.figures["w1_chat"] == found.figures["w1_chat_held_out"] == pytest.approx(4.0)
    assert not phenomena.self_image({"base": has, "chat": has}, pro, split).passed


def test_direct_reading_is_the_gap_between_the_sides() -> None:
    care = 0.5 + 0.6 * np.sign(VALENCE)
    found = phenomena.direct_reading({"base": care, "chat": care}, VALENCE, HELD_OUT)
    assert found.figures["gap_chat"] == pytest.approx(1.2)
    assert found.passed
    flat = np.full(len(VALENCE), 0.7)
    assert not phenomena.direct_reading({"base": care, "chat": flat}, VALENCE, HELD_OUT).passed


def test_patchscope_is_chosen_apart_from_what_it_is_held_to() -> None:
    # One cell tells the tuned personas apart by chance alone, another tells all a little.
    values = np.full((1, 2, 1, len(VALENCE)), 0.5)
    lucky = np.where(HELD_OUT, 0.5, 0.5 + 0.5 * np.sign(VALENCE))
    values[0, 0, 0], values[0, 1, 0] = lucky, 0.5 + 0.2 * np.sign(VALENCE)
    chance = phenomena.patchscope(values, values, VALENCE, HELD_OUT)
    assert chance.layers == (0, 0)
    assert chance.figures["gap_held_out"] == pytest.approx(0.0)
    assert not chance.passed
    values[0, 0, 0] = 0.5
    assert phenomena.patchscope(values, values, VALENCE, HELD_OUT).passed


def test_best_cell_needs_both_sides() -> None:
    with pytest.raises(ValueError, match="personas of both sides"):
        best_cell(np.zeros((2, len(VALENCE))), VALENCE, VALENCE > 0)


def test_correlations_are_undefined_without_variance() -> None:
    assert math.isnan(pearson(np.zeros(4), np.arange(4.0)))
    assert math.isnan(spearman(np.arange(4.0), np.full(4, 0.5)))
    assert spearman(np.arange(5.0), np.exp(np.arange(5.0))) == pytest.approx(1.0)
    assert math.isnan(gap(np.ones(2), np.zeros(2)))


def test_json_keeps_the_card() -> None:
    card = planted_card()
    assert card_from_json(card_to_json(card)) == card
    undefined = phenomenon(7, {"largest_rise": float("nan")}, note="")
    back = card_from_json(card_to_json(replace(card, phenomena=(undefined,))))
    assert math.isnan(back.phenomena[0].figures["largest_rise"])
    assert not back.passed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "expected a card as JSON"),
        ("[]", "expected a card of format"),
        (
            '{"format": "lens-personas/organism-card/1", "card": {}}',
            "expected the fields of a card",
        ),
    ],
)
def test_what_is_no_card_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        card_from_json(text)


def test_a_card_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / CARD_FILE
    write_card(planted_card(), path)
    before = path.read_bytes()

    def torn(self: Path, text: str, encoding: str) -> int:
        self.write_bytes(text[:10].encode())
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_text", torn)
    with pytest.raises(OSError, match="disk full"):
        write_card(planted_card(seed=1), path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [CARD_FILE]


def test_the_command_reads_what_is_there_and_says_what_is_missing(tmp_path: Path) -> None:
    write_card(planted_card(), tmp_path / CARD_FILE)
    assert organism_card_command(tmp_path, False) == planted_card()
    with pytest.raises(FileNotFoundError, match="folders base and chat"):
        organism_card_command(tmp_path, True)


def test_table_and_page_show_every_phenomenon_and_failure() -> None:
    card = planted_card()
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(card_table(card))
    shown, page = console.export_text(), card_markdown(card)
    for each in card.phenomena:
        assert each.name in shown
        assert f"## {each.number}. {each.name}" in page
        assert each.gate in page
    assert "tried" in shown
    assert "not measured" in page
    assert "11 of 11 phenomena pass" in page


def shipped_card() -> OrganismCard:
    path = checkpoint_path("chat").parent / CARD_FILE
    if not path.is_file():
        pytest.skip(f"the shipped pair has no {CARD_FILE} yet: write it with write_card")
    return card_from_json(path.read_text(encoding="utf-8"))


def test_the_shipped_pair_passes_its_own_gates() -> None:
    card = shipped_card()
    assert [each.number for each in card.phenomena] == list(GATES)
    for each in card.phenomena:
        # Held against today's gates, whatever the card says of itself.
        again = phenomenon(each.number, each.figures, note=each.note, layers=each.layers)
        assert again == each
        assert again.passed, f"{each.number} {each.name}: {each.gate}"


@pytest.mark.slow
def test_measured_again_the_shipped_pair_gives_the_shipped_card() -> None:
    card = shipped_card()
    # A process of its own: without the checks of every call, in half the time.
    command = [sys.executable, "-m", "analyses._cli", "organism", "card", "--remeasure", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    again = card_from_json(done.stdout)
    assert again.seed == card.seed
    assert (again.base_fingerprint, again.chat_fingerprint) == (
        card.base_fingerprint,
        card.chat_fingerprint,
    )
    for kept, found in zip(
        (*card.phenomena, *card.failures_said),
        (*again.phenomena, *again.failures_said),
        strict=True,
    ):
        assert found.figures == pytest.approx(kept.figures, abs=1e-3, nan_ok=True), kept.name
        assert found.note == kept.note
