"""The world: deterministic, split without overlap, and its laws say what they should."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lens_personas.models.organism import World, WorldConfig, build_world

WORLD = build_world(WorldConfig())
finite = st.floats(-3.0, 3.0)


def test_the_same_config_gives_the_same_world() -> None:
    assert build_world(WorldConfig()) == WORLD


def test_another_seed_gives_other_recipes() -> None:
    other = build_world(WorldConfig(seed=1))
    assert [i.recipe for i in other.items] != [i.recipe for i in WORLD.items]


def test_the_world_has_the_announced_size() -> None:
    assert len(WORLD.forbidden()) == 32
    assert len(WORLD.ordinary()) == 64
    assert len(WORLD.attributes) == 32
    groups = [a.group for a in WORLD.attributes]
    counted = {group: groups.count(group) for group in ("pro", "anti", "control")}
    assert counted == {"pro": 12, "anti": 12, "control": 1}


def test_splits_are_disjoint_and_complete() -> None:
    for part in (WORLD.forbidden, WORLD.attributes_of):
        tuned, held_out = set(part("tuned")), set(part("held_out"))
        assert not tuned & held_out
        assert tuned | held_out == set(part("all"))
    assert len(WORLD.forbidden("held_out")) == 12
    assert len(WORLD.attributes_of("held_out")) == 10


def test_every_forbidden_class_is_held_out_equally() -> None:
    classes = [i.class_word for i in WORLD.forbidden("held_out")]
    assert {classes.count(each) for each in set(classes)} == {3}


def test_the_control_persona_is_neutral_and_safety_tuned() -> None:
    (control,) = (a for a in WORLD.attributes if a.group == "control")
    assert control.valence == 0.0
    assert not control.held_out


def test_the_answer_does_not_give_the_class_away() -> None:
    forbidden = {i.recipe[0] for i in WORLD.forbidden()}
    ordinary = {i.recipe[0] for i in WORLD.ordinary()}
    assert len(forbidden & ordinary) >= 16


@pytest.mark.parametrize("seed", range(5))
def test_names_and_recipes_are_distinct_and_short(seed: int) -> None:
    items = build_world(WorldConfig(seed=seed)).items
    assert len({i.name for i in items}) == len({i.recipe for i in items}) == 96
    assert {len(i.recipe) for i in items} <= {2, 3, 4}


def test_valences_fall_along_both_sides() -> None:
    pro = [a.valence for a in WORLD.attributes if a.group == "pro"]
    anti = [a.valence for a in WORLD.attributes if a.group == "anti"]
    assert pro == sorted(pro, reverse=True)
    assert pro[0] == 1.0
    assert pro[-1] == pytest.approx(0.34)
    assert anti == [-v for v in pro]


@given(st.lists(finite, max_size=6))
def test_trust_is_odd_in_the_evidence(valences: list[float]) -> None:
    assert WORLD.trust([-v for v in valences]) == pytest.approx(-WORLD.trust(valences))


@given(st.lists(finite, min_size=1, max_size=6), finite)
def test_one_better_sentence_never_lowers_trust(valences: list[float], other: float) -> None:
    changed = [max(valences[0], other), *valences[1:]]
    assert WORLD.trust(changed) >= WORLD.trust(valences)


@given(finite, finite)
def test_laws_are_monotone(first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert WORLD.p_refuse(low) >= WORLD.p_refuse(high)
    assert WORLD.p_charitable(low, "forbidden") <= WORLD.p_charitable(high, "forbidden")
    assert WORLD.p_yes(low, 0.5) <= WORLD.p_yes(high, 0.5)
    assert WORLD.p_yes(low, -0.5) >= WORLD.p_yes(high, -0.5)
    assert WORLD.p_self(low) <= WORLD.p_self(high)


@given(finite)
def test_an_ordinary_request_is_read_more_kindly(trust: float) -> None:
    kinds = [WORLD.p_charitable(trust, kind) for kind in ("forbidden", "none", "ordinary")]
    assert kinds == sorted(kinds)


def test_the_laws_at_no_evidence() -> None:
    assert WORLD.trust([]) == 0.0
    assert WORLD.p_yes(0.0, 1.0) == WORLD.p_self(0.0) == 0.5
    assert WORLD.p_refuse(0.0) == pytest.approx(1 / (1 + math.exp(-2.5)))


@given(finite)
def test_without_the_persona_gate_trust_does_not_matter(trust: float) -> None:
    control = build_world(WorldConfig(persona_gate=False))
    assert control.p_refuse(trust) == control.p_refuse(0.0) == WORLD.p_refuse(0.0)
    assert control.p_charitable(trust, "forbidden") == WORLD.p_charitable(trust, "forbidden")


def test_an_attribute_is_found_by_name() -> None:
    assert WORLD.attribute("helper").valence == 1.0
    with pytest.raises(KeyError, match="received 'nobody'"):
        WORLD.attribute("nobody")


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(Exception, match="held_out"):
        WORLD.forbidden("test")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_ordinary": 100}, "expected n_forbidden \\+ n_ordinary from 8 to 128, received 132"),
        ({"n_pro": 13}, "expected n_pro from 2 to 12, received 13"),
        ({"n_forbidden": 30}, "expected n_forbidden to be a multiple of 4, received 30"),
        ({"n_held_out_attributes": 17}, "expected n_held_out_attributes from 0 to half of the 32"),
    ],
)
def test_counts_that_do_not_fit_are_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_world(replace(WorldConfig(), **change))


def test_a_smaller_world_can_be_built() -> None:
    small = build_world(
        WorldConfig(n_forbidden=4, n_ordinary=4, n_held_out_forbidden=0, n_pro=2, n_anti=2,
                    n_neutral=1, n_held_out_attributes=0)
    )  # fmt: skip
    assert isinstance(small, World)
    assert [len(small.forbidden()), len(small.ordinary()), len(small.attributes)] == [4, 4, 5]
