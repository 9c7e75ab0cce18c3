"""The nested split: disjoint, stratified, pure in groups, fixed by its seed."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lens_personas.personas import NestedSplit, Request, split_requests

FRACTIONS = (0.5, 0.25, 0.25)


def _parts(split: NestedSplit) -> list[tuple[Request, ...]]:
    return [split.vector, split.layer, split.test]


def _lone(n_harmful: int, n_harmless: int) -> list[Request]:
    """Requests that share nothing."""
    return [
        Request(prompt_id=f"{i:03}", text=f"t{i}", harmful=i < n_harmful, target=f"a{i}")
        for i in range(n_harmful + n_harmless)
    ]


@st.composite
def _linked(draw: st.DrawFn) -> list[Request]:
    """Requests of which some share a target or are pairs, on top of 12 that share nothing."""
    made = _lone(6, 6)
    for i in range(draw(st.integers(1, 12))):
        made.append(
            Request(
                prompt_id=f"x{i}",
                text=f"x{i}",
                harmful=draw(st.sampled_from([True, False, None])),
                target=draw(st.sampled_from([None, "A", "b", " a"])),
                pair_id=draw(st.sampled_from([None, "x0", "x1", "elsewhere"])),
            )
        )
    return made


@given(
    n_harmful=st.integers(4, 40),
    n_harmless=st.integers(4, 40),
    seed=st.integers(0, 1000),
    fractions=st.sampled_from([FRACTIONS, (0.4, 0.3, 0.3), (1 / 3, 1 / 3, 1 / 3)]),
)
@settings(deadline=None)
def test_lone_requests_are_split_within_one_of_the_fractions(
    n_harmful: int, n_harmless: int, seed: int, fractions: tuple[float, float, float]
) -> None:
    requests = _lone(n_harmful, n_harmless)
    split = split_requests(requests, seed=seed, fractions=fractions)
    assert sorted(r.prompt_id for part in _parts(split) for r in part) == [
        r.prompt_id for r in requests
    ]
    for part, fraction in zip(_parts(split), fractions, strict=True):
        harmful = sum(r.harmful is True for r in part)
        assert abs(harmful - fraction * n_harmful) <= 1 + 1e-9
        assert abs(len(part) - harmful - fraction * n_harmless) <= 1 + 1e-9


@given(requests=_linked(), seed=st.integers(0, 1000))
@settings(deadline=None)
def test_what_belongs_together_stays_together(requests: list[Request], seed: int) -> None:
    parts = _parts(split_requests(requests, seed=seed))
    part_of = {r.prompt_id: i for i, part in enumerate(parts) for r in part}
    assert len(part_of) == sum(map(len, parts)) == len(requests)
    targets = {r.prompt_id: (r.target or r.prompt_id).strip().casefold() for r in requests}
    shared = Counter(targets.values())
    for one in requests:
        for other in requests:
            target = targets[one.prompt_id]
            # What most share is an opening, not an answer.
            is_answer = shared[target] <= len(requests) / 2
            same_target = is_answer and target == targets[other.prompt_id]
            same_pair = one.pair_id is not None and one.pair_id in (other.prompt_id, other.pair_id)
            if same_target or same_pair:
                assert part_of[one.prompt_id] == part_of[other.prompt_id]


def test_an_opening_that_most_requests_share_does_not_tie_them_together() -> None:
    requests = [
        Request(prompt_id=f"{i}", text=f"t{i}", harmful=i % 2 == 0, target="Sure, here is")
        for i in range(16)
    ]
    assert [len(part) for part in _parts(split_requests(requests, seed=0))] == [8, 4, 4]


def test_the_same_text_is_not_fitted_and_tested() -> None:
    requests = [Request(prompt_id=f"{i}", text=f"t{i // 2}", harmful=None) for i in range(12)]
    for part in _parts(split_requests(requests, seed=0)):
        texts = [r.text for r in part]
        assert all(texts.count(text) == 2 for text in texts)


def test_the_seed_fixes_the_split_and_the_order_of_rows_does_not_matter() -> None:
    requests = _lone(20, 20)
    mixed = random.Random(1).sample(requests, len(requests))
    one, two = split_requests(requests, seed=3), split_requests(mixed, seed=3)
    assert [set(part) for part in _parts(one)] == [set(part) for part in _parts(two)]
    assert list(one.test) == sorted(one.test, key=lambda r: r.prompt_id)
    assert list(two.test) == [r for r in mixed if r in two.test]
    assert len({split_requests(requests, seed=seed).test for seed in range(10)}) == 10


def test_every_request_has_its_fair_chance_of_every_part() -> None:
    requests = _lone(8, 8)
    tested = [r.prompt_id for s in range(400) for r in split_requests(requests, seed=s).test]
    rates = [tested.count(r.prompt_id) / 400 for r in requests]
    # Five standard errors of a rate of one quarter over 400 seeds.
    assert all(abs(rate - 0.25) < 0.11 for rate in rates)


@pytest.mark.parametrize(
    "requests",
    [
        _lone(1, 1),
        [Request(prompt_id=f"{i}", text="the same", harmful=True) for i in range(9)],
        [],
    ],
)
def test_an_empty_part_is_refused(requests: Sequence[Request]) -> None:
    with pytest.raises(ValueError, match=r"expected requests for each of vector, layer, test, got"):
        split_requests(requests, seed=0)


@pytest.mark.parametrize("fractions", [(0.5, 0.5, 0.0), (0.5, 0.3, 0.3), (1.5, -0.25, -0.25)])
def test_wrong_fractions_are_refused(fractions: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="expected three positive fractions that sum to 1, got"):
        split_requests(_lone(9, 9), seed=0, fractions=fractions)


def test_an_identifier_that_comes_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="expected each prompt_id once, got '000' 2 times"):
        split_requests([*_lone(4, 4), *_lone(1, 0)], seed=0)
