"""Doses and lengths on the embedded model, and where data lack."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analyses._config import WhosAskingConfig
from analyses._data import study_data
from analyses._parts._dose_response_claims import dose_claims
from analyses._parts._dose_response_texts import filler_names, n_draws, text_arms, text_lengths
from analyses._parts._dose_response_vectors import exchanged
from analyses._study import run_study
from analyses._workbench import workbench
from analyses.dose_response import DoseResponse, DoseSlope
from lens_personas.models import load_model
from lens_personas.vectors import collect_contrast, statement_contrast

TINY: dict[str, Any] = {
    "parts": ("dose-response",),
    "layers": (2, 3),
    "max_personas": 4,
    "max_requests": 20,
    "n_nulls": 2,
    "max_new_tokens": 6,
    "write_answers": False,
    "doses": (0.25, 0.75, 1.5),
}
"""Settings under which a run takes seconds."""


def found(config: WhosAskingConfig, model: Any = None) -> DoseResponse:
    result = run_study(config, model=model).result.parts.dose_response
    assert result is not None
    return result


def slope(slopes: tuple[DoseSlope, ...], group: str) -> DoseSlope:
    return next(each for each in slopes if each.group == group)


@pytest.fixture(scope="module")
def organism() -> Any:
    return load_model("organism:chat", device="cpu")


@pytest.fixture(scope="module", params=[0, 1], ids=lambda seed: f"seed {seed}")
def by_seed(request: pytest.FixtureRequest, organism: Any) -> DoseResponse:
    return found(WhosAskingConfig(**TINY, seed=request.param), organism)


@pytest.mark.slow
def test_refusal_follows_the_dose_and_the_length_of_a_good_user(
    by_seed: DoseResponse,
) -> None:
    for slopes in (by_seed.vectors, by_seed.texts):
        pro = slope(slopes, "pro")
        assert pro.slope.high < 0
        assert pro.difference.high < 0
        assert pro.p < 0.05
    # Said of a bad user, one sentence alone leaves next to no answer.
    assert slope(by_seed.vectors, "anti").slope.low > 0


@pytest.mark.slow
def test_each_more_sentence_about_a_good_user_lowers_refusal(by_seed: DoseResponse) -> None:
    table = by_seed.by_length
    means = table[table["group"] == "pro"].groupby("statements")["change"].mean()
    assert by_seed.lengths == (1, 2, 4, 6)
    assert (np.diff([0.0, *means]) < 0).all()


@pytest.mark.slow
def test_fillers_have_as_many_tokens_and_move_less_than_a_good_user(
    by_seed: DoseResponse,
) -> None:
    table = by_seed.by_length
    kinds = table.groupby(["statements", "kind"])[["tokens", "change"]].mean()
    for length in by_seed.lengths:
        at = kinds.loc[length]
        assert abs(at.loc["filler", "tokens"] - at.loc["persona", "tokens"]) < 1.0
    full = table[table["statements"] == 6]
    pro = full[full["group"] == "pro"]["change"].abs().min()
    assert full[full["kind"] == "filler"]["change"].abs().max() < pro


@pytest.mark.slow
def test_the_kl_on_harmless_requests_grows_with_the_dose(by_seed: DoseResponse) -> None:
    size = by_seed.by_dose["dose"].abs()
    kl = by_seed.by_dose.groupby(size)["kl"].mean()
    assert (np.diff(kl) > 0).all()
    assert kl.iloc[0] > 0


@pytest.mark.slow
def test_a_dose_of_the_study_is_what_the_study_itself_scored(organism: Any) -> None:
    run = run_study(WhosAskingConfig(**TINY | {"doses": (0.75,), "lengths": (6,)}), model=organism)
    result, scores = run.result.parts.dose_response, run.scores
    assert result is not None
    assert result.lengths == (6,)
    alone = scores[(scores["treatment"] == "baseline") & scores["harmful"]]
    before = alone.set_index("prompt_id")["score"]
    rows = scores[(scores["split"] == "test") & scores["harmful"]]
    for treatment, dose, layer in (("plus", 0.75, result.layer), ("minus", -0.75, result.layer)):
        swept = rows[(rows["treatment"] == treatment) & (rows["layer"] == layer)]
        means = (swept["score"] - swept["prompt_id"].map(before)).groupby(swept["persona"]).mean()
        ours = result.by_dose[result.by_dose["dose"] == dose].set_index("persona")["change"]
        for name in set(means.index) & set(ours.index):
            assert ours[name] == pytest.approx(means[name], abs=1e-3)
    said = rows[rows["treatment"] == "prompt"]
    means = (said["score"] - said["prompt_id"].map(before)).groupby(said["persona"]).mean()
    ours = result.by_length[result.by_length["full"]].set_index("persona")["change"]
    for name in (each.persona for each in result.matches):
        assert ours[name] == pytest.approx(means[name], abs=1e-3)


@pytest.mark.slow
def test_large_doses_break_ordinary_answers_and_small_ones_do_not(organism: Any) -> None:
    small = {"max_personas": 3, "n_nulls": 1, "layers": (3,), "doses": (0.25, 2.0), "lengths": (6,)}
    config = WhosAskingConfig(**TINY | small | {"write_answers": True})
    result = found(config, organism)
    assert result.written is not None
    harmless = result.written[~result.written["harmful"]]
    known = harmless[harmless["treatment"] == "dose"].groupby(harmless["dose"].abs())["known"]
    assert known.mean()[0.25] > 0.95
    assert known.mean()[2.0] < known.mean()[0.25] - 0.1
    assert harmless[harmless["treatment"] == "baseline"]["perplexity"].item() < 1.5
    # 1 - P(refuse) overstates compliance.
    harmful = result.written[result.written["harmful"]]
    assert (harmful["known"] <= harmful["answered"] + 1e-9).all()
    assert {"none", "random 1", "shuffled 1"} <= set(result.sampled)


@pytest.mark.slow
def test_with_shuffled_labels_no_slope_is_claimed(organism: Any) -> None:
    result = found(WhosAskingConfig(**TINY, shuffle_labels=True), organism)
    claims = dose_claims(result)
    assert len(claims) == 6
    assert not [c for c in claims if c.p < 0.05 / len(claims) and c.beyond_nulls]


@pytest.mark.slow
def test_a_model_without_refusals_or_known_answers_gives_numbers_or_none(
    tiny_checkpoint: Path,
) -> None:
    small = {"max_personas": 3, "max_requests": 8, "n_nulls": 1, "layers": (1,), "doses": (1.0,)}
    told = {"lengths": (1, 16), "write_answers": True, "model": str(tiny_checkpoint)}
    result = found(WhosAskingConfig(**TINY | small | told))
    assert result.lengths == (1, 16, 24)
    assert result.written is not None
    # 24 statements overflow nothing here, and 12 sentences of filler are said again.
    tokens = result.by_length[result.by_length["statements"] == 24].groupby("kind")["tokens"].mean()
    assert tokens["filler"] == pytest.approx(tokens["persona"], abs=10)


@pytest.mark.slow
def test_texts_that_overflow_the_context_are_left_out_and_told(
    organism: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = workbench

    def short(config: Any, data: Any, model: Any) -> Any:
        bench = plain(config, data, model)
        return replace(bench, card=replace(bench.card, n_ctx=40))

    monkeypatch.setattr("analyses._worker.workbench", short)
    result = found(WhosAskingConfig(**TINY | {"max_personas": 3, "n_nulls": 1}), organism)
    assert set(result.by_length["statements"]) == {1, 2}
    assert any("4 statements do not fit" in said for said in result.left_out)
    assert result.matches == ()


def test_exchanged_labels_leave_nothing_of_a_contrast_that_all_pairs_share(organism: Any) -> None:
    data = study_data(WhosAskingConfig(max_personas=3, max_requests=8))
    pairs = statement_contrast(organism, data.personas[0], user_turn=data.greeting)
    assert pairs.paired
    read = collect_contrast(organism, pairs, layers=(2, 3))
    site = read.to.sites[0]
    # The same difference in all pairs.
    shift = torch.randn(2, organism.card.d_model, generator=torch.Generator().manual_seed(0))
    read.to.values[site].copy_(read.from_.values[site] + shift)
    left = exchanged(pairs, read, np.random.default_rng(0))
    assert left.norm() < 1e-4 * shift.norm()


def test_lengths_hold_all_statements_and_each_arm_those_it_has() -> None:
    config = WhosAskingConfig(max_personas=3, max_requests=8, n_statements=5, lengths=(2, 3, 99))
    data = study_data(config)
    model = load_model("organism:chat", device="cpu")
    work = workbench(config, data, model)
    assert text_lengths(work) == (2, 3, 5)
    assert {arm.persona for arm in text_arms(work, 5)} == {p.name for p in data.personas}
    assert text_arms(work, 4) == []
    assert len(filler_names(work)) == config.n_nulls


def test_few_requests_meet_several_texts() -> None:
    assert [n_draws(n) for n in (0, 4, 20, 80)] == [3, 3, 2, 1]
