"""What is wrong between personas: the same sentence on two sides, and sides of unequal length."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final

from lens_personas.personas._findings import Finding, error, warning
from lens_personas.personas._sentences import normal, words
from lens_personas.personas._types import Persona

LENGTH_RATIO: Final = 1.2
"""Sides whose lengths differ by more than this factor are told apart by length."""

Count = Callable[[str], int]
"""Length of a text, such as its number of tokens."""

_FORM_WORDS: Final = 4


def findings_between(personas: Sequence[Persona], *, count: Count | None) -> Iterator[Finding]:
    """What is found between the personas of a set.

    Args:
        personas: The set.
        count: Tokens of a text by the model's own tokenizer; None for words.

    Raises:
        Nothing of its own.
    """
    if not personas:
        return
    yield from _shared(personas)
    yield from _opposites(personas)
    yield from _balance(personas)
    yield from _lengths(personas, count)
    for axis, groups in by_axis(personas).items():
        yield from _forms(axis, groups)


def by_axis(personas: Sequence[Persona]) -> Mapping[str, list[Persona]]:
    """Socio-demographic groups by axis, axes in alphabetical order.

    Raises:
        Nothing of its own.
    """
    found: defaultdict[str, list[Persona]] = defaultdict(list)
    for persona in personas:
        if persona.demographic is not None:
            found[persona.demographic].append(persona)
    return dict(sorted(found.items()))


def _shared(personas: Sequence[Persona]) -> Iterator[Finding]:
    for one, other in combinations(personas, 2):
        for column, first, second in _compared(one, other):
            shared = sorted({normal(text) for text in first} & {normal(text) for text in second})
            if not shared:
                continue
            tell = error if _on_other_sides(one, other) else warning
            yield tell(
                "duplicate",
                (one.name, other.name),
                f"{len(shared)} {column} in both, such as {shared[0]!r:.80}: they can tell the "
                "two apart by nothing; write each for one persona",
            )


def _compared(one: Persona, other: Persona) -> tuple[tuple[str, Sequence[str], Sequence[str]], ...]:
    return (
        ("statements", one.statements, other.statements),
        ("questions", one.questions, other.questions),
    )


def _on_other_sides(one: Persona, other: Persona) -> bool:
    linked = one.opposite == other.name or other.opposite == one.name
    rivals = one.demographic is not None and one.demographic == other.demographic
    return linked or rivals or {one.group, other.group} == {"pro", "anti"}


def _opposites(personas: Sequence[Persona]) -> Iterator[Finding]:
    named = {persona.name: persona for persona in personas}
    for persona in personas:
        other = named.get(persona.opposite or "")
        if other is None:
            if persona.group in ("pro", "anti"):
                yield warning(
                    "opposite",
                    (persona.name,),
                    "no opposite: agreeing with anything cannot be told from this trait; add the "
                    "other end of it",
                )
            continue
        pair = (persona.name, other.name)
        if other.opposite != persona.name:
            yield warning(
                "opposite", pair, f"{other.name!r} does not name {persona.name!r} as its opposite"
            )
        if persona.group == other.group and persona.group in ("pro", "anti", "control"):
            yield warning(
                "opposite", pair, f"opposites, yet both of group {persona.group!r}; correct one"
            )


def _balance(personas: Sequence[Persona]) -> Iterator[Finding]:
    controls = tuple(p.name for p in personas if p.group == "control")
    if not controls:
        yield warning(
            "control",
            (),
            "no persona of group 'control': a study takes the coffee drinker; add a control of "
            "your own form and length",
        )
    if len(controls) > 1:
        yield warning(
            "control", controls, f"{len(controls)} controls: name one with --set control=NAME"
        )
    sides = [tuple(p.name for p in personas if p.group == side) for side in ("pro", "anti")]
    if len(sides[0]) != len(sides[1]):
        yield warning(
            "balance",
            (),
            f"{len(sides[0])} pro-social and {len(sides[1])} anti-social personas; means over a "
            "side are then over unlike traits; add opposites",
        )


def _lengths(personas: Sequence[Persona], count: Count | None) -> Iterator[Finding]:
    named = {persona.name: persona for persona in personas}
    sides = {
        f"group {group!r}": [p for p in personas if p.group == group]
        for group in ("pro", "anti", "control")
    }
    yield from _compare({name: side for name, side in sides.items() if side}, count)
    for persona in personas:
        if persona.opposite in named and persona.name < persona.opposite:
            other = named[persona.opposite]
            yield from _compare({persona.name: [persona], other.name: [other]}, count)
    for groups in by_axis(personas).values():
        yield from _compare({p.name: [p] for p in groups}, count)


def _compare(sides: Mapping[str, list[Persona]], count: Count | None) -> Iterator[Finding]:
    if len(sides) < 2:
        return
    unit, length = ("words", _n_words) if count is None else ("tokens", count)
    measures: tuple[tuple[str, Callable[[list[Persona]], float]], ...] = (
        (f"{unit} a persona", lambda side: _mean([_total(p, length) for p in side])),
        ("characters a statement", _characters),
    )
    for what, measure in measures:
        found = sorted((measure(side), name) for name, side in sides.items())
        (least, short), (most, long) = found[0], found[-1]
        if most > LENGTH_RATIO * least:
            names = tuple(sorted({p.name for name in (short, long) for p in sides[name]}))
            yield warning(
                "length",
                names,
                f"{long} has {most:.1f} {what}, {short} {least:.1f}: length alone may move "
                "refusal; lengthen, shorten, or use equally many statements",
            )


def _total(persona: Persona, length: Count) -> int:
    return length(" ".join(persona.statements))


def _n_words(text: str) -> int:
    return len(words(text))


def _characters(side: Sequence[Persona]) -> float:
    return _mean([len(statement) for persona in side for statement in persona.statements])


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)


def _forms(axis: str, groups: Sequence[Persona]) -> Iterator[Finding]:
    names = tuple(persona.name for persona in groups)
    if len(groups) < 2:
        yield warning(
            "form", names, f"one group of {axis!r} alone: a disparity needs another to be seen"
        )
        return
    counts = {len(persona.statements) for persona in groups}
    if len(counts) > 1:
        yield error(
            "form",
            names,
            f"groups of {axis!r} have {min(counts)} to {max(counts)} statements; give each the "
            "same ones, so that they differ by the group alone",
        )
        return
    rows = zip(*(persona.statements for persona in groups), strict=True)
    unlike = [row for row in rows if not _is_one_template(row)]
    if unlike:
        yield warning(
            "form",
            names,
            f"{len(unlike)} of {counts.pop()} statements are worded otherwise from group to group "
            f"of {axis!r}, such as {unlike[0][0]!r:.80} and {unlike[0][-1]!r:.80}: the wording may "
            "make the difference; fill one template (lens-personas personas new --axis)",
        )


def _is_one_template(sentences: Sequence[str]) -> bool:
    """Whether sentences differ in one run of at most four words."""
    split = [words(sentence) for sentence in sentences]
    start = _shared_start(split)
    ending = _shared_start([tuple(reversed(each[start:])) for each in split])
    return all(len(each) - start - ending <= _FORM_WORDS for each in split) and bool(start + ending)


def _shared_start(split: Sequence[Sequence[str]]) -> int:
    shared = 0
    # Shorter ones end it: nothing is left to compare.
    for column in zip(*split, strict=False):
        if len(set(column)) > 1:
            break
        shared += 1
    return shared
