"""A commented YAML file to write personas in by hand, and groups filled from one template."""

from collections.abc import Sequence

import yaml

from lens_personas.personas import (
    Group,
    Persona,
    PersonaSetHeader,
    group_personas,
    persona_yaml,
    shipped_unstated,
)

_HEAD = """\
# A set of personas. docs/personas.md has every column and what makes a good statement.
# Replace each "..." by a sentence, then: lens-personas personas check FILE
set:
  name: {name}
  licence: {licence}  # under which you share the sentences, such as CC0-1.0; null: not shared
  source: null  # who wrote the sentences, or what they were taken from
  citation: null  # how to cite the set

personas:
"""
_PERSONA = """\
  - name: {name}
    # pro (pro-social), anti (anti-social), control (exactly one), or other. Never used in fitting.
    group: {group}
    opposite: {opposite}  # the other end of the same trait: a name of this file, or null
    # True of the user, in the first person. 24 or more; as long as those of the other personas.
    statements:
      - "..."
    # The same sentences denied, in the same order.
    negations:
      - "..."
    # The same as yes/no questions whose answer is Yes for this user, in the same order.
    questions:
      - "..."
"""


def blank_text(name: str, *, group: Group, opposite: str | None, licence: str | None) -> str:
    """A file of one persona, its opposite and a control, whose sentences are to be written.

    Raises:
        ValueError: If two of them would have one name.
    """
    flipped: dict[Group, Group] = {"pro": "anti", "anti": "pro"}
    side = flipped.get(group, "other")
    pairs = [(name, group, opposite)]
    pairs += [] if opposite is None else [(opposite, side, name)]
    if group != "control":
        pairs.append(("control", "control", None))
    names = [each[0] for each in pairs]
    if not all(each.strip() for each in names) or len({*names}) < len(names):
        raise ValueError(f"expected names that are all different, got {', '.join(names)}")
    blocks = [
        _PERSONA.format(name=_scalar(each), group=its, opposite=_scalar(other))
        for each, its, other in pairs
    ]
    head = _HEAD.format(name=_scalar(name), licence=_scalar(licence))
    return head + "\n".join(blocks)


def groups_text(axis: str, groups: Sequence[str], *, licence: str | None) -> str:
    """A file of socio-demographic groups, filled from one template, and a control of its form.

    Raises:
        ValueError: If the groups are too few, or not all different.
    """
    control = shipped_unstated()
    personas: tuple[Persona, ...] = (*group_personas(axis, groups), control)
    header = PersonaSetHeader(
        name=f"groups of {axis}",
        licence=licence,
        source="the templates of lens_personas (CC0-1.0), filled",
        made_with={"use": "tests of disparity; never a ranking of groups"},
    )
    return persona_yaml(personas, header)


def _scalar(text: str | None) -> str:
    """A text as one YAML value on one line."""
    written: str = yaml.safe_dump(text, width=10_000, allow_unicode=True)
    return written.removesuffix("...\n").strip()
