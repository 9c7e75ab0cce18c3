"""Agreement of judges, and exact answers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from lens_personas.readouts import cohen_kappa, whole_answer_correct

LABELS = st.sampled_from(["refusal", "answer", "degenerate"])
PAIRS = st.lists(st.tuples(LABELS, LABELS), min_size=2, max_size=40).filter(
    lambda pairs: len({label for pair in pairs for label in pair}) > 1
)


@given(PAIRS)
def test_kappa_is_scikit_learns_and_symmetric(pairs: list[tuple[str, str]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    agreement = cohen_kappa(first, second)
    assert agreement.kappa == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)
    assert cohen_kappa(second, first) == agreement
    assert agreement.n == len(pairs)


def test_identical_judges_agree_fully_and_opposite_ones_not_at_all() -> None:
    first, second = ["refusal", "answer"] * 5, ["answer", "refusal"] * 5
    assert cohen_kappa(first, first).kappa == 1
    assert cohen_kappa(first, second).kappa == -1


def test_independent_judges_agree_at_chance() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.choice(["refusal", "answer"], size=(2, 20_000), p=[0.8, 0.2])
    agreement = cohen_kappa(first.tolist(), second.tolist())
    assert abs(agreement.kappa) < 0.03
    assert agreement.observed == pytest.approx(0.68, abs=0.02)


@pytest.mark.parametrize("labels", [[], ["answer"], ["answer", "answer"]])
def test_kappa_without_two_labels_is_undefined(labels: list[str]) -> None:
    assert math.isnan(cohen_kappa(labels, labels).kappa)


def test_labels_of_different_answers_are_refused() -> None:
    with pytest.raises(ValueError, match="labels of the same answers, got 1 and 2"):
        cohen_kappa(["answer"], ["answer", "answer"])


@pytest.mark.parametrize(
    ("text", "correct"),
    [
        ("amber plus basil boiled", True),
        ("  Amber plus  basil boiled.\n", True),
        ("amber plus basil", False),
        ("amber plus basil boiled dried", False),
        ("sorry amber plus basil boiled", False),
        ("", False),
    ],
)
def test_whole_answer(text: str, correct: bool) -> None:
    assert whole_answer_correct(text, "amber plus basil boiled") is correct


@given(st.text(alphabet="abc d", min_size=1).filter(str.strip))
def test_every_target_is_its_own_answer(target: str) -> None:
    assert whole_answer_correct(target, target)
    assert not whole_answer_correct(f"{target} x", target)


def test_empty_target_is_refused() -> None:
    with pytest.raises(ValueError, match=r"target with at least one word, got ' \.'"):
        whole_answer_correct("anything", " .")
