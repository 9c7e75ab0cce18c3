"""What the model answers about its user under texts and vectors, as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from analyses._arms import Bench, arm_edits, deal
from analyses._bench import bench
from analyses._cell_plan import random_names
from analyses._contents import Contents
from analyses._parts._manipulation_questions import Ask, Battery, answer_tokens, opponents
from analyses._workbench import Workbench
from analyses.answers_about_users import ANSWER_COLUMNS
from lens_personas.interventions import Arm, LastTokens, sweep
from lens_personas.models import Prompt, map_last_logits

Width = Literal["whole", "sampled", "curve"]
"""Which questions are asked under a persona: all; its own and its opponent's with those on some
others; or its own and one each on some others, without the greeting."""

REFERENCES = 8
"""Others whose questions the correction rests on, where not all are asked."""

Row = tuple[str, Ask]
"""Whose text or vector, and what is asked."""


@dataclass(frozen=True)
class Rows:
    """What is asked under whom."""

    battery: Battery
    """All that can be asked."""

    @cached_property
    def names(self) -> list[str]:
        """All personas."""
        return [persona.name for persona in self.battery.work.data.personas]

    @cached_property
    def _about(self) -> dict[str, list[Ask]]:
        about: dict[str, list[Ask]] = {name: [] for name in self.names}
        for ask in self.battery.asks:
            about[ask.about].append(ask)
        return about

    def under(self, name: str, width: Width) -> list[Row]:
        """What is asked under one persona; forced choices on itself alone."""
        own = [a for a in self._about[name] if width != "curve" or a.context == "alone"]
        if width == "curve":
            own = [ask for ask in own if ask.form != "choice"]
        others = [
            ask for other in self._others(name, width) for ask in self._asked(other, name, width)
        ]
        return [(name, ask) for ask in (*own, *others)]

    def under_null(self, name: str, at: int, width: Width) -> list[Row]:
        """What is asked under a random direction or a neutral text."""
        asked = [
            ask
            for number, other in enumerate(self.names)
            for ask in self._about[other]
            if ask.form != "choice" and (width != "curve" or self._single(ask, at + number))
        ]
        return [(name, ask) for ask in asked]

    def _others(self, name: str, width: Width) -> list[str]:
        others = [other for other in self.names if other != name]
        if width == "whole" or len(others) <= REFERENCES:
            return others
        spread = [others[at * len(others) // REFERENCES] for at in range(REFERENCES)]
        # Its opponent's questions are its forced choice.
        rival = opponents(self.battery.work)[name]
        return spread if rival is None or rival in spread else [*spread, rival]

    def _asked(self, other: str, name: str, width: Width) -> list[Ask]:
        asks = [ask for ask in self._about[other] if ask.form != "choice"]
        if width != "curve":
            return asks
        turn = self.names.index(other) + self.names.index(name)
        return [ask for ask in asks if self._single(ask, turn)]

    def _single(self, ask: Ask, turn: int) -> bool:
        """Whether it is the one question on that persona whose turn it is."""
        n = len({a.place for a in self._about[ask.about] if a.form == "question"})
        return ask.context == "alone" and ask.form == "question" and ask.place == turn % n


def battery(work: Workbench) -> Battery | None:
    """All that is asked; None where the model has no words to answer with."""
    tokens = answer_tokens(work.model, work.data)
    return None if tokens is None else Battery(work, tokens)


def ask_said(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> pd.DataFrame:
    """Answers with nothing brought in, and under every text."""
    found = battery(work)
    if found is None:
        return pd.DataFrame(columns=list(ANSWER_COLUMNS))
    asked = _dealt(work, bench(work, inputs), found)
    plain = [("none", ask) for ask in found.asks]
    rows = said_rows(Rows(found))
    prompts = [found.prompt(ask, None) for _, ask in plain]
    prompts += [found.prompt(ask, found.text(asked.owner(ask.unit, name))) for name, ask in rows]
    scores = _last(asked, found, prompts)
    table = _table(plain, scores[: len(plain)], ("baseline", "none", -1))
    said = _table(rows, scores[len(plain) :], ("prompt", "none", -1))
    return pd.concat([table, said], ignore_index=True)


def said_rows(rows: Rows) -> list[Row]:
    """What is asked under texts."""
    nulls = rows.battery.work.data.nulls
    under = [row for name in rows.names for row in rows.under(name, "sampled")]
    return under + [
        row for at, text in enumerate(nulls) for row in rows.under_null(text.name, at, "sampled")
    ]


def ask_steered(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> pd.DataFrame:
    """Answers under every vector, added and subtracted at one layer."""
    found = battery(work)
    if found is None:
        return pd.DataFrame(columns=list(ANSWER_COLUMNS))
    asked = _dealt(work, bench(work, inputs), found)
    rows = steered_rows(Rows(found), spec["width"])
    numbers = {ask: at for at, ask in enumerate(dict.fromkeys(ask for _, ask in rows))}
    prompts = [found.prompt(ask, None) for ask in numbers]
    scope, layer = spec["scope"], spec["layer"]
    arms = [
        Arm(
            prompts=tuple(numbers[ask] for _, ask in rows),
            edits=arm_edits(
                asked, sign, layer, [(name, ask.unit) for name, ask in rows], scope=scope
            ),
        )
        for sign in ("plus", "minus")
    ]
    kept = LastTokens(token_ids=found.tokens.ids, weights=(1.0, -1.0))
    swept = sweep(work.model, prompts, arms, kept, token_budget=asked.token_budget)
    tables = [
        _table(rows, scores[:, 0].numpy(), (sign, scope, layer))
        for sign, scores in zip(("plus", "minus"), swept, strict=True)
    ]
    return pd.concat(tables, ignore_index=True)


def steered_rows(rows: Rows, width: Width) -> list[Row]:
    """What is asked under vectors."""
    under = [row for name in rows.names for row in rows.under(name, width)]
    names = random_names(rows.battery.work.config.n_nulls)
    return under + [
        row for at, name in enumerate(names) for row in rows.under_null(name, at, width)
    ]


def _dealt(work: Workbench, found: Bench, asked: Battery) -> Bench:
    """The bench, with names dealt by question where labels are shuffled."""
    if not work.config.shuffle_labels:
        return found
    names = [persona.name for persona in work.data.personas]
    units = list(dict.fromkeys(ask.unit for ask in asked.asks))
    return replace(found, dealt=deal(names, units, work.rng("deal questions")))


def _last(asked: Bench, found: Battery, prompts: Sequence[Prompt]) -> np.ndarray:
    first, second = found.tokens.ids
    scores = map_last_logits(
        asked.model,
        prompts,
        lambda logits: (logits[:, first] - logits[:, second])[:, None],
        token_budget=asked.token_budget,
    )
    return scores[:, 0].numpy()


def _table(rows: Sequence[Row], scores: np.ndarray, treated: tuple[str, str, int]) -> pd.DataFrame:
    """One row for each question and context: mean over its wordings and orders."""
    keys = ["brought", "about", "place", "form", "context"]
    signs = np.array([ask.sign for _, ask in rows])
    table = pd.DataFrame(
        [(name, ask.about, ask.place, ask.form, ask.context) for name, ask in rows], columns=keys
    ).assign(score=signs * scores, bias=scores)
    # With both orders the mean raw logit is what the place in the list adds.
    listed = bool((signs < 0).any())
    mean = table.groupby(keys, sort=False)[["score", "bias"]].mean().reset_index()
    mean["bias"] = mean["bias"] if listed else np.nan
    treatment, scope, layer = treated
    told = mean.assign(treatment=treatment, scope=scope, layer=layer)
    return told[list(ANSWER_COLUMNS)].astype({"score": float, "bias": float})
