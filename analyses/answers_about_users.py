"""What a model says of its user, under every persona: the table that the check starts from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

ChoiceForm = Literal["listed", "paired questions"]
"""How a forced choice is put: two descriptions listed, in both orders; or, for a model that cannot
be asked so, a persona's own question less the other's at the same place, which has no order."""

ANSWER_COLUMNS = (
    "treatment",
    "scope",
    "layer",
    "brought",
    "about",
    "place",
    "form",
    "context",
    "score",
    "bias",
)
"""Columns of the answers: one row for each question, context and what was brought in.
``treatment`` is ``baseline``, ``prompt``, ``plus`` or ``minus``; ``scope`` the positions that were
steered, ``none`` without; ``layer`` -1 without; ``brought`` whose text or vector, ``none`` without;
``about`` whom the question describes and ``place`` its number there (the unit that is resampled);
``form`` ``question``, ``statement`` or ``choice``; ``context`` ``alone`` or ``greeted``; ``score``
the log-odds (nats) of saying that the user is so, mean over wordings and orders of the answers;
``bias`` the log-odds of the answer listed first, NaN where none are listed."""

CHECKED = "all"
"""Positions whose steering the gate judges: those that the study's own arms steer. What it lets
through are claims on those arms; the check at the user's words alone is shown beside it."""

Treated = tuple[str, str, int]
"""Treatment, scope and layer."""

_UNIT = ["form", "about", "place"]


def changes_of(answers: pd.DataFrame, *, context: str | None = None) -> pd.DataFrame:
    """Change of each answer against the same question with nothing brought in, mean over contexts.

    Columns ``treatment, scope, layer, brought, form, about, place, change``.

    Args:
        answers: Columns :data:`ANSWER_COLUMNS`.
        context: The one context that counts; None for all.
    """
    kept = answers if context is None else answers[answers["context"] == context]
    alone = kept["treatment"] == "baseline"
    plain = kept.loc[alone, [*_UNIT, "context", "score"]].rename(columns={"score": "plain"})
    both = kept[~alone].merge(plain, on=[*_UNIT, "context"], how="left", validate="m:1")
    both["change"] = both["score"] - both["plain"]
    keys = ["treatment", "scope", "layer", "brought", *_UNIT]
    return both.groupby(keys, sort=False)["change"].mean().reset_index()


def change_cube(
    changes: pd.DataFrame, treated: Treated, about: Sequence[str], brought: Sequence[str]
) -> Float[np.ndarray, "brought about place"]:
    """Change of each question by each text or vector; NaN where it was not asked.

    Args:
        changes: What :func:`changes_of` gives; forced choices are left out.
        treated: Treatment, scope and layer.
        about: Whom the questions describe.
        brought: Whose text or vector, in the order of the rows.
    """
    rows = _at(changes, treated)
    rows = rows[(rows["form"] != "choice") & rows["brought"].isin(list(brought))]
    places = sorted({*changes.loc[changes["form"] != "choice", "place"]})
    cube = np.full((len(brought), len(about), max(1, len(places))), np.nan)
    if len(rows):
        first = pd.Index(list(brought)).get_indexer(pd.Index(rows["brought"]))
        second = pd.Index(list(about)).get_indexer(pd.Index(rows["about"]))
        third = pd.Index(places).get_indexer(pd.Index(rows["place"]))
        cube[first, second, third] = rows["change"].to_numpy(float)
    return cube


def corrected(
    cube: Float[np.ndarray, "brought about place"],
) -> Float[np.ndarray, "brought about place"]:
    """Each change less the mean change, by the same text or vector, of the questions on others.

    Held against the others' questions at the same place; against all of theirs where they have
    none there.
    """
    return np.asarray(cube - others_of(cube))


def others_of(
    cube: Float[np.ndarray, "brought about place"],
) -> Float[np.ndarray, "brought about place"]:
    """Mean change of the questions on others: the push to say yes to anything."""
    known = np.isfinite(cube)
    filled = np.where(known, cube, 0.0)
    total = filled.sum(axis=1, keepdims=True) - filled
    count = known.sum(axis=1, keepdims=True) - known
    with np.errstate(invalid="ignore", divide="ignore"):
        at_place = total / count
        anywhere = total.sum(axis=2, keepdims=True) / count.sum(axis=2, keepdims=True)
    return np.asarray(np.where(count > 0, at_place, anywhere))


def choices_of(
    changes: pd.DataFrame,
    treated: Treated,
    against: Mapping[str, str | None],
    form: ChoiceForm,
) -> dict[str, Float[np.ndarray, " unit"]]:
    """Change of the log-odds of choosing a persona over another, by its own text or vector.

    Args:
        changes: What :func:`changes_of` gives.
        treated: Treatment, scope and layer.
        against: The other one, by persona; without one there is no entry.
        form: How the choice was put.
    """
    names = list(against)
    if form == "paired questions":
        cube = change_cube(changes, treated, names, names)
        found = {
            name: cube[at, at] - cube[at, names.index(other)]
            for at, (name, other) in enumerate(against.items())
            if other is not None
        }
    else:
        rows = _at(changes, treated)
        own = rows[(rows["form"] == "choice") & (rows["about"] == rows["brought"])]
        by_name = {str(name): each["change"].to_numpy(float) for name, each in own.groupby("about")}
        found = {name: by_name[name] for name in names if name in by_name}
    return {name: values[np.isfinite(values)] for name, values in found.items()}


def _at(changes: pd.DataFrame, treated: Treated) -> pd.DataFrame:
    treatment, scope, layer = treated
    return changes[
        (changes["treatment"] == treatment)
        & (changes["scope"] == scope)
        & (changes["layer"] == layer)
    ]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Whom the questions are about, and what was brought in."""

    groups: Mapping[str, str]
    """Side of each persona, by name, the control among them."""
    against: Mapping[str, str | None]
    """Whom a forced choice offers beside each persona."""
    control: str
    """Name of the control persona."""
    random: Sequence[str]
    """Names of the random directions."""
    neutral: Sequence[str]
    """Names of the neutral texts."""
    choice_form: ChoiceForm
    """How the forced choice was put."""

    @cached_property
    def names(self) -> list[str]:
        """All personas."""
        return list(self.groups)

    @cached_property
    def sided(self) -> list[int]:
        """Personas that are expected to take a side; all but the control where none is."""
        sided = [at for at, name in enumerate(self.names) if self.groups[name] in ("pro", "anti")]
        return sided or [at for at, name in enumerate(self.names) if name != self.control]


@dataclass(frozen=True, kw_only=True)
class UserChanges:
    """Changes of the answers about the user, looked up by what was brought in."""

    changes: pd.DataFrame
    """What :func:`changes_of` gives."""
    asked: Asked
    """Whom the questions are about, and what was brought in."""
    layer: int
    """Block that is steered."""

    @cached_property
    def _cubes(self) -> dict[tuple[str, str], Float[np.ndarray, "brought about place"]]:
        return {}

    def cube(
        self, treatment: str, *, scope: str = CHECKED
    ) -> Float[np.ndarray, "brought about place"]:
        """Changes by every persona, then by every null of that treatment."""
        if (treatment, scope) not in self._cubes:
            nulls = self.asked.neutral if treatment == "prompt" else self.asked.random
            brought = [*self.asked.names, *nulls]
            treated = self._treated(treatment, scope)
            self._cubes[treatment, scope] = change_cube(
                self.changes, treated, self.asked.names, brought
            )
        return self._cubes[treatment, scope]

    def choices(self, treatment: str) -> dict[str, Float[np.ndarray, " unit"]]:
        """Changes of forced choices by each persona's own text or vector."""
        treated = self._treated(treatment, CHECKED)
        return choices_of(self.changes, treated, self.asked.against, self.asked.choice_form)

    def questions(self, at: int) -> int:
        """How many questions were asked about a persona."""
        rows = self.changes[
            (self.changes["about"] == self.asked.names[at]) & (self.changes["form"] != "choice")
        ]
        return int(rows["place"].nunique())

    def _treated(self, treatment: str, scope: str) -> Treated:
        return ("prompt", "none", -1) if treatment == "prompt" else (treatment, scope, self.layer)


def place_mean(
    cube: Float[np.ndarray, "brought about place"],
) -> Float[np.ndarray, "brought about"]:
    """Mean over the questions that were asked; NaN where none was."""
    known = np.isfinite(cube)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, cube, 0.0).sum(axis=2) / known.sum(axis=2))
