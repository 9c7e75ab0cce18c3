"""The part on early decoding, run on the organism and on a model without known answers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analyses._assemble import StudyRun
from analyses._cells import make_cell
from analyses._collect import answer
from analyses._config import WhosAskingConfig
from analyses._contents import Contents, answers_table, tokens_table
from analyses._data import study_data
from analyses._parts import _early_decoding_arms, _early_decoding_openings, part
from analyses._parts._early_decoding_alone import begins_with, cluster, opened_alone
from analyses._parts._early_decoding_openings import (
    any_words,
    early_openings,
    greedy_openings,
    opened_answers,
    other_rows,
    sampled_openings,
)
from analyses._study import run_study
from analyses._workbench import Workbench, workbench
from analyses.early_decoding import EarlyDecoding
from analyses.early_tokens import early_tokens
from lens_personas.models import LensModel, generate, load_model, map_last_logits

pytestmark = pytest.mark.slow

TINY: dict[str, Any] = {
    "parts": ("early-decoding",),
    "layers": (1, 4, 6),
    "max_personas": 3,
    "max_requests": 28,
    "part_layer": 4,
    "n_nulls": 2,
    "max_new_tokens": 6,
    "write_answers": False,
    "early_lens_steps": 5,
}


def early(run: StudyRun) -> EarlyDecoding:
    found = run.result.parts.early_decoding
    assert found is not None
    return found


@pytest.fixture(scope="module")
def model() -> LensModel:
    return load_model("organism:chat", device="cpu")


@pytest.fixture(scope="module")
def written() -> list[int]:
    """Prompts in each call that writes answers after openings, or under arms."""
    return []


@pytest.fixture(scope="module")
def run(model: LensModel, written: list[int]) -> StudyRun:
    def counting(model: Any, prompts: Sequence[Any], **options: Any) -> Any:
        written.append(len(prompts))
        return generate(model, prompts, **options)

    with pytest.MonkeyPatch.context() as patched:
        for module in (_early_decoding_openings, _early_decoding_arms):
            patched.setattr(module, "generate", counting)
        return run_study(WhosAskingConfig.model_validate(TINY), model=model)


@pytest.fixture(scope="module")
def work(model: LensModel) -> Workbench:
    config = WhosAskingConfig.model_validate(TINY)
    return workbench(config, study_data(config), model)


def shares(run: StudyRun, outcome: str, layer: int) -> dict[str, float]:
    table = early(run).tokens.by_layer
    rows = table[table["layer"] == layer]
    return dict(zip(rows["source"], rows[outcome], strict=True))


def test_the_known_answer_comes_from_the_requests_own_early_token_alone(run: StudyRun) -> None:
    """The world's truth: the recipe is read in middle layers and gone at the output."""
    exact = shares(run, "exact", 4)
    assert exact["early"] >= 0.75
    assert max(exact[null] for null in ("shuffled", "opener", "random", "sampled")) <= 0.4
    assert shares(run, "exact", -1)["plain"] <= 0.2
    assert shares(run, "exact", 6)["early"] < exact["early"] - 0.3
    (test,) = (each for each in early(run).tokens.tests if each.outcome == "exact")
    assert test.layer in (1, 4)
    # No smaller p can come of so few distinct answers.
    assert test.p == test.union_p == max(2 / 2**test.n_clusters, test.p)
    assert test.p < 0.01
    assert test.union_beyond_nulls


def test_a_forced_token_opens_answers_whoever_it_belongs_to(run: StudyRun) -> None:
    """Prefix forcing, which the judge cannot tell from what a layer knows."""
    judged = shares(run, "answered", 4)
    assert judged["shuffled"] >= 0.5
    assert judged["opener"] >= 0.5
    assert judged["random"] <= 0.5


def test_all_tokens_of_a_layer_write_what_it_knows(run: StudyRun) -> None:
    assert shares(run, "exact", 4)["exit"] >= 0.8
    assert shares(run, "exact", 6)["exit"] <= shares(run, "exact", 4)["exit"]


def test_vectors_are_decoded_above_their_layer(run: StudyRun) -> None:
    steering = early(run).steering
    union = steering.table[steering.table["early"]].set_index(["persona", "treatment"])["tries"]
    assert (union.xs("prompt", level="treatment") == 3).all()
    assert (union.xs("plus", level="treatment") == 1).all()
    names = set(steering.table["persona"])
    assert steering.control in names
    assert {"refusal (questions)", "refusal (requests)", "random 2", "neutral text 2"} <= names
    greedy = steering.table[~steering.table["early"]].set_index(["persona", "treatment"])
    by_request = steering.by_request.groupby(["persona", "treatment"])[["plain", "early"]].mean()
    for arm, row in by_request.iterrows():
        assert row["plain"] == pytest.approx(greedy.loc[arm, "answered"])
        assert row["early"] >= row["plain"]


def test_texts_under_a_persona_change_what_is_written(run: StudyRun) -> None:
    table = early(run).steering.table
    text = table[(table["treatment"] == "prompt") & ~table["early"]]
    means = text.groupby("group")["answered"].mean()
    assert means["pro"] > means["anti"]


def test_with_labels_shuffled_tokens_are_other_requests(model: LensModel) -> None:
    """Then own and other tokens are two draws of the same kind, and p is what chance makes it."""
    p = []
    for seed in range(8):
        config = WhosAskingConfig.model_validate(TINY | {"seed": seed, "shuffle_labels": True})
        work = workbench(config, study_data(config), model)
        table = opened_alone(work, {}, answered(work))
        dealt = table[table["source"].isin(["early", "shuffled"])]
        assert dealt["exact"].mean() <= 0.25
        found = early_tokens(
            pd.concat([table, table[table["source"] == "shuffled"].assign(source="sampled")]),
            tries=(1, 4, 6),
            clusters={request.prompt_id: cluster(request) for request in work.studied},
            rng=np.random.default_rng(seed),
        )
        p += [(test.p, test.union_p) for test in found.tests]
    assert len(p) == 16
    assert (np.array(p) < 0.05).sum() <= 3


def answered(work: Workbench) -> Contents:
    """What the study knows of the requests alone, before any part."""
    cells = {
        "answers": answers_table(answer(work, work.requests)),
        "tokens": tokens_table(None, found=False),
    }
    return Contents(
        read=tuple((make_cell(kind, {}, context="test"), table) for kind, table in cells.items())
    )


def test_each_opening_is_continued_as_if_written_alone(work: Workbench) -> None:
    prompts = [work.plain[request.prompt_id] for request in work.studied][:6]
    read = early_openings(work, prompts, (1, 6))
    wanted = [opening for ids in read.values() for opening in enumerate(ids)]
    texts = opened_answers(work, prompts, wanted, known={})
    assert set(texts) == set(wanted)
    for row, token in texts:
        prompt = replace(prompts[row], ids=(*prompts[row].ids, token))
        (rest,) = generate(work.model, [prompt], max_new_tokens=5)
        said = work.model.tokenizer.decode([token, *rest.ids], skip_special_tokens=True)
        assert texts[row, token] == said
    greedy = generate(work.model, prompts, max_new_tokens=6)
    own = greedy_openings(greedy)
    assert opened_answers(work, prompts, own, known={}) == own
    assert opened_answers(work, prompts, own, known=own) == own


def test_the_last_layers_token_is_the_greedy_one_and_a_stop_ends_the_answer(
    work: Workbench,
) -> None:
    prompts = [work.plain[request.prompt_id] for request in work.studied]
    greedy = generate(work.model, prompts, max_new_tokens=1)
    (last,) = early_openings(work, prompts, [work.card.n_layers - 1]).values()
    assert last == [answer.ids[0] for answer in greedy]
    stop = work.model.stop_ids[0]
    assert opened_answers(work, prompts, [(0, stop)], known={}) == {(0, stop): ""}


def test_sampled_openings_follow_the_models_own_distribution(work: Workbench) -> None:
    prompt, n = work.plain[work.studied[0].prompt_id], 4000
    drawn = sampled_openings(work, [prompt, prompt], n // 2, np.random.default_rng(0)).ravel()
    probs = map_last_logits(work.model, [prompt], lambda rows: rows)[0].softmax(dim=-1)
    for token in probs.topk(3).indices.tolist():
        p = float(probs[token])
        assert abs((drawn == token).mean() - p) < 4.5 * (p * (1 - p) / n) ** 0.5 + 1e-3


def test_others_are_of_another_unit_and_drawn_evenly() -> None:
    units = ["a", "a", "b", "c"]
    drawn = np.array([other_rows(units, np.random.default_rng(seed)) for seed in range(900)])
    for row, unit in enumerate(units):
        found, counts = np.unique(drawn[:, row], return_counts=True)
        assert all(units[other] != unit for other in found)
        assert counts.min() > 0.7 * counts.max()
    assert other_rows(["a", "a"], np.random.default_rng(0)) == [1, 0]
    assert other_rows(["a"], np.random.default_rng(0)) == [0]


def test_words_drawn_from_the_vocabulary_are_words(work: Workbench) -> None:
    banned = work.model.tokenizer.encode("sorry", add_special_tokens=False)
    words = any_words(work, banned, 20, np.random.default_rng(0))
    assert len(set(words)) == 20
    special = {*banned, *work.model.tokenizer.all_special_ids}
    assert not special & set(words)
    assert all(any(c.isalpha() for c in work.model.tokenizer.decode([t])) for t in words)


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("Linen  pressed .", True),
        ("linen pressed", True),
        ("linen", False),
        ("linens a", False),
    ],
)
def test_a_known_answer_begins_with_whole_words(text: str, begins: bool) -> None:
    assert begins_with(text, "linen pressed") == begins


def test_requests_for_one_answer_are_one_unit(work: Workbench) -> None:
    targets = {request.target for request in work.studied}
    assert len({cluster(request) for request in work.studied}) == len(targets)
    bare = [replace(request, target=None) for request in work.studied]
    assert len({cluster(request) for request in bare}) == len(bare)


def test_each_distinct_opening_is_written_once_and_planned(
    run: StudyRun, written: list[int], work: Workbench
) -> None:
    specs = [{"step": "arms", "treatment": t, "layer_all": 4} for t in ("prompt", "plus", "minus")]
    planned = [
        len(part("early-decoding").passes(work, spec).answers)
        for spec in ({"step": "openings"}, *specs)
    ]
    assert early(run).tokens.n * 3 < sum(written) < 0.9 * sum(planned)


def test_a_model_without_known_answers_is_decoded_too(tiny_checkpoint: Path) -> None:
    settings = TINY | {"layers": (0, 1), "part_layer": 1, "max_requests": 12, "n_nulls": 1}
    config = WhosAskingConfig.model_validate(
        settings | {"model": str(tiny_checkpoint), "device": "cpu", "n_statements": 2}
    )
    found = early(run_study(config))
    assert found.tokens.tests[0].outcome == "answered"
    assert found.tokens.tests[0].n == found.tokens.n
    # Few of the shipped requests have an answer that is known.
    assert all(test.n < found.tokens.n for test in found.tokens.tests[1:])
    assert found.tokens.tries == (0, 1)
    # Nothing is decoded above the last layer but one: the greedy answers are left.
    vectors = found.steering.table[found.steering.table["treatment"].isin(["plus", "minus"])]
    assert (vectors["tries"] == 0).all()
    assert vectors["answered"].notna().all()
