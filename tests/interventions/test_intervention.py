"""Interventions are data: equal content has one key, and any change another."""

import copy
import json
import pickle
import re
from dataclasses import replace

import pytest
import torch

from lens_personas.hooks import Site
from lens_personas.interventions import Intervention, plan_from_json, plan_key, plan_to_json

VECTOR = torch.tensor([1.0, -0.25, 3e-8])


def example(**changes: object) -> Intervention:
    fields = {
        "op": "affine",
        "vector": VECTOR,
        "site": Site.RESID_PRE,
        "layers": (1, 2),
        "scope": (0, -1),
        "dose": 2.0,
        "params": {"reference": VECTOR * 2, "strict": True, "rate": 0.1, "kind": "mean"},
    }
    return Intervention(**(fields | changes))


SAME = {
    "order of layers": {"layers": (2, 1)},
    "order of positions": {"scope": (-1, 0, 0)},
    "double precision": {"vector": VECTOR.double()},
    "a site by its text": {"site": Site("resid_pre")},
    "order of parameters": {
        "params": {"kind": "mean", "rate": 0.1, "strict": True, "reference": VECTOR * 2}
    },
}
OTHER = {
    "op": {"op": "add"},
    "vector": {"vector": VECTOR * (1 + 2**-20)},
    "no vector": {"vector": None},
    "site": {"site": Site.RESID_POST},
    "layers": {"layers": (1,)},
    "scope": {"scope": "last_prompt"},
    "dose": {"dose": 2.0000001},
    "no dose": {"dose": None},
    "a parameter": {"params": {"rate": 0.2}},
    "a bool is no number": {
        "params": {"reference": VECTOR * 2, "strict": 1, "rate": 0.1, "kind": "mean"}
    },
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_equal_content_is_equal(change):
    assert example(**change) == example()
    assert hash(example(**change)) == hash(example())
    assert example(**change).key() == example().key()


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER)
def test_other_content_is_another_key(change):
    assert example(**change) != example()
    assert example(**change).key() != example().key()


def test_a_whole_number_is_the_same_number():
    assert example(params={"rate": 2}) == example(params={"rate": 2.0})
    assert isinstance(example(params={"rate": 2}).params["rate"], float)


def test_minus_zero_is_zero():
    assert example(dose=-0.0) == example(dose=0.0)
    assert example(vector=torch.tensor([1.0, -0.0])) == example(vector=torch.tensor([1.0, 0.0]))


def test_an_intervention_is_not_anything_else():
    assert example() != "affine"


@pytest.mark.parametrize("change", [{}, *OTHER.values()], ids=["example", *OTHER])
def test_json_brings_all_of_it_back(change):
    there = example(**change)
    back = Intervention.from_json(there.to_json())
    assert back == there
    assert back.to_json() == there.to_json()
    if there.vector is not None:
        assert torch.equal(back.vector, there.vector)


def test_json_is_canonical():
    text = example().to_json()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    assert re.fullmatch("[0-9a-f]{64}", example().key())


@pytest.mark.parametrize(
    "travel", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x)), replace]
)
def test_it_travels(travel):
    assert travel(example()) == example()


def test_later_writes_to_the_callers_tensors_change_nothing():
    vector, reference = VECTOR.clone(), VECTOR.clone()
    kept = example(vector=vector, params={"reference": reference})
    key = kept.key()
    vector.zero_()
    reference.zero_()
    assert kept.key() == key
    with pytest.raises(TypeError, match="does not support item assignment"):
        kept.params["reference"] = reference


def test_order_of_a_plan_counts():
    plan = (example(), example(op="add"))
    assert plan_key(plan) != plan_key(plan[::-1])
    assert plan_from_json(plan_to_json(plan)) == plan
    assert plan_from_json(plan_to_json(())) == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"op": ""}, "name of an op, got an empty one"),
        ({"layers": ()}, r"different layers counted from 0, got \(\)"),
        ({"layers": (1, 1)}, r"different layers counted from 0, got \(1, 1\)"),
        ({"layers": (-1,)}, r"different layers counted from 0, got \(-1,\)"),
        ({"scope": ()}, r"a tuple of positions, got \(\)"),
        ({"dose": float("inf")}, "finite dose, got inf"),
        ({"vector": torch.tensor([float("nan")])}, "vector as finite floating-point"),
        ({"params": {"rate": float("nan")}}, "finite rate, got nan"),
        ({"params": {"reference": torch.tensor([1])}}, "reference as finite floating-point"),
    ],
)
def test_malformed_fields_are_refused(change, message):
    # The checker of annotations, on in tests alone, may refuse a tensor first.
    with pytest.raises((ValueError, TypeError), match=f"{message}|[Tt]ype-check|violates"):
        example(**change)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "expected JSON with the fields .* got list"),
        ('{"op":"add"}', r"expected JSON with the fields .* got \['op'\]"),
        ('{"float32":"=!"}', "a vector as base64 of float32 values"),
        ('{"float32":"AAA="}', "a vector as base64 of float32 values"),
    ],
)
def test_malformed_json_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Intervention.from_json(text)


def test_an_unknown_field_and_a_plan_that_is_no_array_are_refused():
    fields = json.loads(example().to_json()) | {"extra": 1}
    with pytest.raises(ValueError, match=r"got .*'extra'"):
        Intervention.from_json(json.dumps(fields))
    with pytest.raises(ValueError, match="JSON array of interventions, got dict"):
        plan_from_json(example().to_json())
