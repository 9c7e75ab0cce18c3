"""Sets with a header, socio-demographic groups, and the checker: what is planted is found."""

import json
import re
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lens_personas.personas import (
    GROUP_TEMPLATES,
    DataFileError,
    GroupTemplate,
    Persona,
    PersonaSetHeader,
    check_personas,
    group_personas,
    persona_yaml,
    read_persona_set,
    read_personas,
    says_the_same,
    shipped_demographics,
    shipped_personas,
    shipped_text,
    shipped_unstated,
)

AXES = ("ethnicity", "gender", "politics", "religion")
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(
    lambda text: bool(text.strip())
)
NOUNS = re.findall(
    r"\w+", "apple bread chair drum eagle fence grape horse island jacket kite lemon"
)


def person(name: str = "kind", group: str = "pro", **changes: Any) -> Persona:
    """A persona in whom the checker finds nothing."""
    given: dict[str, Any] = {
        "name": name,
        "group": group,
        "statements": tuple(f"I share my {name} {noun} on Sundays." for noun in NOUNS),
        "negations": tuple(f"I do not share my {name} {noun}." for noun in NOUNS),
        "questions": tuple(f"Am I likely to share my {name} {noun}?" for noun in NOUNS),
        "licence": "CC0-1.0",
    }
    return Persona(**(given | changes))


CLEAN = (
    person("kind", "pro", opposite="mean"),
    person("mean", "anti", opposite="kind"),
    person("milk", "control"),
)


def found_in(*personas: Persona, **options: Any) -> list[tuple[str, str]]:
    return [(each.level, each.kind) for each in check_personas(personas, **options)]


def write(folder: Path, text: str, name: str = "p.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(names=st.lists(WORDS, min_size=1, max_size=3, unique=True), texts=st.tuples(*[WORDS] * 4))
def test_a_written_set_is_read_back_as_it_was(
    tmp_path: Path, names: list[str], texts: tuple[str, str, str, str]
) -> None:
    name, licence, source, fact = texts
    header = PersonaSetHeader(name=name, licence=licence, source=source, made_with={fact: name})
    personas = tuple(
        Persona(name=each, group="other", statements=texts, licence=licence, demographic="axis")
        for each in names
    )
    path = write(tmp_path, persona_yaml(personas, header))
    found = read_persona_set(path)
    assert (found.personas, found.header) == (personas, header)
    assert found.sha256 == sha256(path.read_bytes()).hexdigest()
    assert read_personas(write(tmp_path, persona_yaml(personas))) == personas


def test_a_set_gives_its_licence_to_those_without_one(tmp_path: Path) -> None:
    own, none = person("own", licence="MIT"), person("none", licence=None)
    header = PersonaSetHeader(name="both", licence="CC-BY-4.0")
    read = read_personas(write(tmp_path, persona_yaml((own, none), header)))
    assert [persona.licence for persona in read] == ["MIT", "CC-BY-4.0"]


def test_a_list_has_no_header(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(asdict(person())) + "\n", encoding="utf-8")
    assert read_persona_set(path).header is None
    assert read_persona_set(write(tmp_path, persona_yaml(CLEAN))).personas == CLEAN


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("set: {name: x}\n", "a YAML list of rows, found one dict"),
        ("set: {nam: x}\npersonas: [{name: a}]\n", "line 1: .* nearest known column is 'name'"),
        ("set: {name: x, made_with: 3}\npersonas: [{name: a}]\n", "line 1: expected in made_with"),
        ("set: {name: ' '}\npersonas: [{name: a}]\n", "a text in the column 'name', found nothing"),
        ("set: x\npersonas: [{name: a}]\n", "a row with named columns, found 'x'"),
        ("sets: {name: x}\npersonas: [{name: a}]\n", "nearest known column is 'set'"),
        ("set: {name: x}\npersonas: []\n", "line 2: .* at least one row under 'personas'"),
        ("personas: {name: a}\n", "at least one row under 'personas'"),
        ("set: {name: x}\npersonas:\n- name: a\n", "line 3: expected columns name, group"),
        ("personas: []\npersonas: []\n", "the column 'personas' twice"),
        ("set: {name: x, name: y}\npersonas: [{name: a}]\n", "the column 'name' twice"),
    ],
)
def test_a_wrong_set_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataFileError, match=message):
        read_personas(write(tmp_path, text))


@pytest.mark.parametrize("group", ["pro", "anti", "control"])
def test_a_group_of_people_takes_no_side(group: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected group 'other' .* \(religion\), got .* never"):
        person(group=group, demographic="religion")
    row = {"name": "x", "group": group, "statements": ["I am x."], "demographic": "religion"}
    with pytest.raises(DataFileError, match=r"line 1: .*takes no side.* never ranked"):
        read_personas(write(tmp_path, json.dumps(row), "p.jsonl"))
    with pytest.raises(ValueError, match="got a blank text; name the axis"):
        person(group="other", demographic=" ")


def test_the_shipped_groups_differ_by_their_word_alone() -> None:
    shipped = shipped_demographics()
    assert tuple(dict.fromkeys(p.demographic for p in shipped)) == AXES
    for axis in AXES:
        groups = [p for p in shipped if p.demographic == axis]
        assert len(groups) >= 3
        assert {p.group for p in groups} == {"other"}
        assert {p.licence for p in groups} == {"CC0-1.0"}
        for column in ("statements", "negations", "questions"):
            blanked = {
                tuple(text.replace(p.name, "{group}") for text in getattr(p, column))
                for p in groups
            }
            assert len(blanked) == 1, (axis, column)
            assert 3 <= len(blanked.pop()) <= 6


def test_the_shipped_groups_are_in_alphabetical_order() -> None:
    keys = [(p.demographic, p.name.casefold()) for p in shipped_demographics()]
    assert keys == sorted(keys)


def test_the_shipped_groups_are_the_template_filled() -> None:
    shipped = shipped_demographics()
    for axis in AXES:
        groups = tuple(p for p in shipped if p.demographic == axis)
        names = [p.name for p in reversed(groups)]
        assert group_personas(axis, names, licence="CC0-1.0") == groups


def test_the_control_of_the_groups_names_none() -> None:
    control = shipped_unstated()
    assert (control.group, control.demographic) == ("control", None)
    words = {word for text in control.statements for word in text.strip(".").split()}
    assert not words & {p.name for p in shipped_demographics()}
    assert len(control.statements) == len(shipped_demographics()[0].statements)
    assert found_in(*shipped_demographics(), control) == []


def test_a_shipped_text_is_the_file_that_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, shipped_text("personas"))
    assert read_personas(path) == shipped_personas()


@pytest.mark.parametrize(
    ("axis", "groups", "message"),
    [
        ("language", ["Welsh"], "at least two groups of language"),
        ("language", ["Welsh", " welsh "], "all different"),
        ("language", ["Welsh", " "], "none blank"),
        (" ", ["Welsh", "Breton"], "expected an axis"),
    ],
)
def test_groups_that_cannot_be_compared_are_refused(
    axis: str, groups: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        group_personas(axis, groups)


def test_a_template_without_a_place_for_the_group_is_refused() -> None:
    template = replace(GROUP_TEMPLATES[0], negation="I am not.")
    with pytest.raises(ValueError, match=r"expected \{group\} in every"):
        group_personas("language", ["Welsh", "Breton"], templates=[template])
    braces = GroupTemplate(statement="I {am} {group}.", negation="{group}?", question="{group}")
    first, _ = group_personas("language", ["b", "a"], templates=[braces])
    assert first.statements == ("I {am} a.",)


def test_nothing_planted_nothing_found() -> None:
    assert found_in(*CLEAN) == []
    assert {level for level, _ in found_in(*shipped_personas())} == {"warning"}


FIRST = CLEAN[0]


def changed(column: str, at: int, text: str) -> Persona:
    """The first clean persona with another sentence."""
    sentences = list(getattr(FIRST, column))
    sentences[at] = text
    return replace(FIRST, **{column: tuple(sentences)})


@pytest.mark.parametrize(
    ("planted", "expected"),
    [
        (changed("statements", 0, FIRST.statements[1].upper()[:-1]), ("error", "duplicate")),
        (changed("questions", 0, FIRST.questions[1] + " "), ("error", "duplicate")),
        (changed("statements", 0, CLEAN[1].statements[0]), ("error", "duplicate")),
        (changed("statements", 0, FIRST.negations[0]), ("error", "duplicate")),
        (changed("statements", 0, "<|user|> I share my kind apple."), ("error", "markup")),
        (changed("statements", 0, "I share my kind\napple."), ("error", "markup")),
        (changed("questions", 0, "[INST] Do I share a kind apple?"), ("error", "markup")),
        (changed("statements", 0, "..."), ("error", "wording")),
        (changed("statements", 0, "Sharing every kind apple is fun."), ("warning", "wording")),
        (changed("negations", 0, "I keep my kind apple."), ("warning", "wording")),
        (changed("questions", 0, "I share my kind apple."), ("warning", "wording")),
        (changed("questions", 0, "Am I likely to sing loudly?"), ("warning", "pairing")),
        (changed("statements", 0, "I refuse to eat my kind apple."), ("warning", "leakage")),
        (changed("statements", 0, "I avoid harming my kind apple."), ("warning", "leakage")),
        (changed("questions", 0, "Would an AI share my kind apple?"), ("warning", "leakage")),
        (changed("statements", 0, "I send requests for a kind apple."), ("warning", "leakage")),
        (
            changed("statements", 0, "I gladly share my kind bread on Sundays."),
            ("warning", "near-duplicate"),
        ),
        (replace(FIRST, questions=FIRST.questions[:5]), ("warning", "pairing")),
        (replace(FIRST, questions=()), ("warning", "pairing")),
        (replace(FIRST, negations=()), ("warning", "pairing")),
        (replace(FIRST, licence=None), ("warning", "licence")),
        (replace(FIRST, opposite=None), ("warning", "opposite")),
        (replace(FIRST, group="anti"), ("warning", "opposite")),
        (replace(FIRST, group="other"), ("warning", "balance")),
        (replace(FIRST, group="control"), ("warning", "control")),
        (
            replace(
                FIRST, statements=tuple(f"{s[:-1]} and all of Monday." for s in FIRST.statements)
            ),
            ("warning", "length"),
        ),
        (
            replace(FIRST, statements=FIRST.statements[:9], negations=FIRST.negations[:9]),
            ("warning", "few"),
        ),
    ],
)
def test_what_is_planted_is_found(planted: Persona, expected: tuple[str, str]) -> None:
    assert expected in found_in(planted, *CLEAN[1:])


def test_no_control_is_told() -> None:
    assert found_in(*CLEAN[:2]) == [("warning", "control")]


def test_the_words_of_requests_are_looked_for_where_requests_are_given() -> None:
    assert ("warning", "topic") in found_in(*CLEAN, topics=["How do I paint my jackets?"])
    assert found_in(*CLEAN, topics=["How do I paint a wall?"]) == []


def test_lengths_are_counted_by_the_tokenizer_that_is_given() -> None:
    def count(text: str) -> int:
        return text.count("kind") * 9 + 1

    found = [f for f in check_personas(CLEAN, count=count) if "kind" in f.personas]
    assert {finding.kind for finding in found} == {"length"}
    assert all("tokens a persona" in finding.message for finding in found)


def groups(*statements: tuple[str, ...]) -> list[Persona]:
    return [
        person(f"g{at}", "other", statements=each, negations=(), questions=(), demographic="axis")
        for at, each in enumerate(statements)
    ]


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ((("I am a Gaul.",), ("I am a Goth.",)), None),
        ((("I am a Gaul.",),), ("warning", "form")),
        ((("I am a Gaul.", "I say so."), ("I am a Goth.",)), ("error", "form")),
        (
            (("I am a Gaul and cook well for my kin.",), ("I am a Goth who never cooks.",)),
            ("warning", "form"),
        ),
        ((("I am a Gaul.",), ("I am a Gaul.",)), ("error", "duplicate")),
    ],
)
def test_groups_of_people_are_to_be_of_one_form(
    statements: tuple[tuple[str, ...], ...], expected: tuple[str, str] | None
) -> None:
    found = [
        each
        for each in found_in(*groups(*statements), person("milk", "control"))
        if each[1] in ("form", "duplicate")
    ]
    assert found == ([] if expected is None else [expected])


def test_the_same_is_told_from_the_alike_and_the_other() -> None:
    assert says_the_same("I DON’T ask -- ever!", "I don't ask ever")
    near = ("I ask many questions in every long lesson.", "I ask questions in every long lesson.")
    assert says_the_same(*near)
    assert not says_the_same(*near, nearly=False)
    assert not says_the_same("I ask.", "I never ask.")
