"""The parts on patching and attribution, run on the organism: what holds whatever is found."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from analyses._cell_plan import first_cells
from analyses._cells import Cell
from analyses._config import WhosAskingConfig
from analyses._contents import Contents
from analyses._data import study_data
from analyses._evaluate import evaluate
from analyses._part import Core, PartPlan
from analyses._part_plan import part_cells, part_results
from analyses._parts import _attribution_runs, part, patching
from analyses._parts._attribution_runs import curve_requests
from analyses._parts._patching_pairs import null_couples, persona_couples
from analyses._shards import Content
from analyses._workbench import workbench
from analyses.whos_asking import Parts
from lens_personas.models import LensModel, load_model

pytestmark = pytest.mark.slow

TINY: dict[str, Any] = {
    "parts": ("patching", "attribution"),
    "layers": (0, 4),
    "max_personas": 5,
    "max_requests": 20,
    "n_nulls": 1,
    "patch_couples": 1,
    "patch_requests": 4,
    "patch_heads": 1,
    "max_new_tokens": 4,
    "write_answers": False,
}


@pytest.fixture(scope="module")
def model() -> LensModel:
    return load_model("organism:chat", device="cpu")


def results(model: LensModel, **changes: Any) -> Parts:
    """What the parts find, without the rest of the study, of which they read the tokens alone."""
    config = WhosAskingConfig(**TINY | changes)
    work = workbench(config, study_data(config), model)
    first = [cell for cell in first_cells(work, "test") if cell.kind in ("answers", "tokens")]
    plan = PartPlan(
        outline=work, core=tuple(first), chosen={}, layer=work.layers[0], context="test"
    )
    read: list[tuple[Cell, Content]] = []
    for cell in (*first, *part_cells(plan)):
        inputs = Contents(read=tuple(each for each in read if each[0].key in cell.needs))
        read.append((cell, evaluate(work, cell, inputs)))
    core = Core.__new__(Core)
    object.__setattr__(core, "plan", plan)
    return part_results(core, Contents(read=tuple(read)))[0]


@pytest.fixture(scope="module")
def run(model: LensModel) -> Iterator[Parts]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_attribution_runs, "RANDOM_RANKINGS", 2)
        patched.setattr(_attribution_runs, "_SIZES", (16, 256))
        yield results(model)


def test_the_words_on_the_user_carry_all_before_the_first_block(run: Parts) -> None:
    found = run.patching
    assert found is not None
    assert found.total.low > 0
    assert [slot.role for slot in found.slots].count("persona") == 6
    table = found.by_cell.query("kind == 'resid_pre' and metric == 'refusal'")
    first = table[table["layer"] == 0].groupby(["way", "slot"])["share"].first().unstack()
    words = [at for at, slot in enumerate(found.slots) if slot.varies]
    # One word differs: its embedding is all that there is to swap.
    assert len(words) == 1
    np.testing.assert_allclose(first[words[0]], 1.0, atol=1e-4)
    np.testing.assert_allclose(first.drop(columns=words), 0.0, atol=1e-4)
    before = table[table["slot"] < words[0]]
    assert (before["estimate"] == 0).all()


def test_every_kind_way_and_metric_is_there(run: Parts) -> None:
    found = run.patching
    assert found is not None
    cells = found.by_cell[["kind", "way", "metric"]].drop_duplicates()
    kinds = set(cells.itertuples(index=False, name=None))
    whole = ("resid_pre", "attn_out", "mlp_out", "head")
    ways = ("denoise", "noise", "both")
    others = {("resid_pre", "denoise", metric) for metric in ("answer", "margin", "kl")}
    every = {(kind, way, "refusal") for kind in whole for way in ways}
    assert kinds == every | others | {("head_at", "denoise", "refusal")}
    assert {route.kind for route in found.routes} == set(whole)
    assert [each.metric for each in found.metrics] == ["answer", "margin", "kl"]
    assert len(found.by_request) == found.n == 4


def test_gradients_are_held_against_the_same_patches(run: Parts) -> None:
    patched, found = run.patching, run.attribution
    assert patched is not None
    assert found is not None
    assert len(found.agreements) == 8
    real = patched.by_cell.query("way == 'denoise' and metric == 'refusal'")
    joined = found.by_cell.merge(real, on=["kind", "layer", "head", "slot"])
    assert len(joined) == len(found.by_cell) > 0
    np.testing.assert_allclose(joined["patched"], joined["estimate"], atol=1e-6)
    # Integrated gradients of all that differs sum to the whole difference, but for the steps.
    start = found.by_cell.query("kind == 'resid_pre' and layer == 0 and method == 'integrated'")
    assert start["predicted"].sum() == pytest.approx(patched.total.estimate, rel=0.05)


def test_the_curve_ends_near_the_whole_and_starts_near_nothing(run: Parts) -> None:
    found = run.attribution
    assert found is not None
    assert found.curve is not None
    assert found.curve_apart
    assert found.n_curve >= 4
    points = found.curve.points
    assert points[0].faithfulness.estimate < 0.5 < points[-1].faithfulness.estimate
    assert len(found.edges) == 20
    assert found.n_edges == 369


def test_couples_are_opposites_first_and_the_control_where_a_side_is_missing(
    model: LensModel,
) -> None:
    config = WhosAskingConfig(**TINY | {"patch_couples": 9, "max_personas": None})
    work = workbench(config, study_data(config), model)
    couples = persona_couples(work)
    assert len(couples) == 9
    opposite = {p.name: p.opposite for p in work.data.personas}
    assert all(opposite[one] == other for one, other in couples)
    assert {name for _, name in null_couples(work)} == {work.data.control.name}
    requests, apart = curve_requests(work)
    assert apart == (len(requests) >= 4)


def test_dealt_names_leave_nothing_to_carry(
    model: LensModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patching, "kinds_of", lambda outline: ("resid_pre",))
    monkeypatch.setattr(patching, "OTHER_METRICS", ())
    settings = {"parts": ("patching",), "layers": (4,), "patch_requests": 9}
    found = results(model, **settings, shuffle_labels=True).patching
    assert found is not None
    (claim,) = part("patching").claims(found)
    # With true names it has the smallest p that nine requests can give, 2 in 512.
    assert claim.p > 0.005


def test_the_plan_counts_what_is_run(model: LensModel) -> None:
    config = WhosAskingConfig(**TINY)
    work = workbench(config, study_data(config), model)
    spec = {"kind": "head", "way": "denoise", "metric": "refusal"}
    for name, step in (("patching", spec), ("attribution", {"step": "edges"})):
        assert part(name).passes(work, step).prompts  # type: ignore[arg-type]
    many = part("attribution").passes(work, {"step": "foretold", "method": "integrated"})
    few = part("attribution").passes(work, {"step": "foretold", "method": "plain"})
    assert len(many.prompts) > len(few.prompts) > 0
