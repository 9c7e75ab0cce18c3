"""Which behaviours two models are asked about: the user's files, the organism's, or ours."""

import random
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from analyses._data import organism_world
from analyses._pair_config import PairConfig
from analyses._settings import ConfigError
from analyses.shift import PairSource
from lens_personas.models.organism import World, organism_behaviours
from lens_personas.personas import (
    Behaviour,
    BehaviourItem,
    StatementSet,
    behaviour_of,
    limit_halves,
    load_statements,
    map_items,
    shipped_behaviours,
)

FILE_SHARE = 0.5
"""Share of the statements of files that prompts and vectors are made from, by default."""

ORGANISM_SHARE = 1 / 3
"""The same of the organism's few statements."""

_HEAD_BYTES = 2**16


@dataclass(frozen=True, kw_only=True)
class PairTexts:
    """All that is said to both models."""

    source: PairSource
    """Where the statements are from."""
    behaviours: tuple[Behaviour, ...]
    """The behaviours; statements scored alone, and under prompts and vectors, are chosen below."""
    licences: dict[str, str]
    """Licence of the statements by behaviour."""
    limit: int | None
    """Statements at most of each half that are scored alone."""
    scored_limit: int | None
    """Statements at most of each half that are scored under prompts and vectors."""
    seed: int
    """Seed of the choice."""

    def behaviour(self, name: str) -> Behaviour:
        """One behaviour, of its scored statements those that prompts and vectors are put to.

        Raises:
            KeyError: If there is none of that name.
        """
        (found,) = (each for each in self.behaviours if each.name == name)
        return replace(found, scored=_limited(found.scored, self.scored_limit, self.seed))

    def alone(self, name: str) -> tuple[BehaviourItem, ...]:
        """The statements of a behaviour that are scored alone, those scored elsewhere first.

        Raises:
            KeyError: If there is no behaviour of that name.
        """
        (whole,) = (each for each in self.behaviours if each.name == name)
        first = self.behaviour(name).scored
        kept = {item.statement_id for item in first}
        rest = [item for item in whole.statements if item.statement_id not in kept]
        for half in (True, False):
            lack = len(rest)
            if self.limit is not None:
                lack = max(0, self.limit - sum(item.aligned is half for item in first))
            of_half = [item for item in rest if item.aligned is half]
            chosen = limit_halves(of_half, lack, seed=self.seed) if lack and of_half else ()
            kept |= {item.statement_id for item in chosen}
        return tuple(item for item in whole.statements if item.statement_id in kept)

    @property
    def table(self) -> pd.DataFrame:
        """One row a behaviour; see :attr:`analyses.shift.PairData.behaviours`."""
        rows = []
        for each in self.behaviours:
            alone, scored = self.alone(each.name), self.behaviour(each.name).scored
            n_aligned = sum(item.aligned for item in alone)
            rows.append(
                {
                    "behaviour": each.name,
                    "desirable": each.desirable,
                    "n_aligned": n_aligned,
                    "n_misaligned": len(alone) - n_aligned,
                    "n_prompt": len(each.prompt),
                    "n_scored": len(scored),
                }
            )
        return pd.DataFrame(rows)


def pair_data(config: PairConfig) -> PairTexts:
    """The behaviours as the settings ask for them.

    Raises:
        ConfigError: If a pattern matches no file, two files are of one behaviour, one that is
            named is not there, or the organisms are of two worlds.
        DataFileError: If a file is malformed.
        ValueError: If a behaviour has too few statements of one half.
    """
    source, behaviours, licences = _behaviours(config)
    names = [each.name for each in behaviours]
    unknown = [name for name in config.desirable or () if name not in names]
    if unknown:
        raise ConfigError(f"unknown behaviours {unknown} in desirable; there are {names}")
    if config.shuffle_labels:
        behaviours = tuple(_shuffled(each, config.seed) for each in behaviours)
    return PairTexts(
        source=source,
        behaviours=behaviours,
        licences=licences,
        limit=config.limit,
        scored_limit=config.scored_limit,
        seed=config.seed,
    )


def _behaviours(
    config: PairConfig,
) -> tuple[PairSource, tuple[Behaviour, ...], dict[str, str]]:
    world = _world(config)
    if config.statements is None and world is not None:
        share = config.prompt_share or ORGANISM_SHARE
        found = organism_behaviours(world, seed=config.seed, prompt_share=share)
        return "organism", found, {each.name: "MIT" for each in found}
    if config.statements is None:
        sets = tuple(_placeless(each) for each in shipped_behaviours())
    else:
        paths = config.data_files().values()
        sets = tuple(_of_file(path) for path in paths)
    made = tuple(
        behaviour_of(
            each,
            seed=config.seed,
            desirable=None if config.desirable is None else each.behaviour in config.desirable,
            prompt_share=config.prompt_share or FILE_SHARE,
        )
        for each in sets
    )
    licences = {each.behaviour: each.origin.licence for each in sets}
    return "shipped" if config.statements is None else "files", made, licences


def _world(config: PairConfig) -> World | None:
    """The world that both models are of; None where one of them is no organism."""
    base, tuned = (organism_world(model) for model in (config.base, config.tuned))
    if base is None or tuned is None:
        return None
    if base != tuned and config.statements is None:
        raise ConfigError(
            f"expected two organisms of one world, got {config.base!r} and {config.tuned!r} of "
            "two; give the pair that was trained together, or name files with --statements"
        )
    return base


def _of_file(path: str) -> StatementSet:
    """Published statements have a confidence of their label, a user's own need none."""
    with Path(path).open("rb") as file:
        published = b"label_confidence" in file.read(_HEAD_BYTES)
    return load_statements(path, dataset="anthropic-persona" if published else "own")


def _placeless(found: StatementSet) -> StatementSet:
    """The set under its file's bare name: where the package lies is no part of the data."""
    return replace(found, origin=replace(found.origin, path=Path(found.origin.path).name))


def _limited(
    items: tuple[BehaviourItem, ...], limit: int | None, seed: int
) -> tuple[BehaviourItem, ...]:
    return items if limit is None else limit_halves(items, limit, seed=seed)


def _shuffled(behaviour: Behaviour, seed: int) -> Behaviour:
    """The behaviour with its labels dealt anew to groups, within each of its two parts."""
    rng = random.Random(f"shuffled-{seed}-{behaviour.name}")
    dealt: dict[str, bool] = {}
    for part in (behaviour.scored, behaviour.prompt):
        labels = {item.group: item.aligned for item in part}
        values = list(labels.values())
        rng.shuffle(values)
        # A group may hold statements of both halves: all of them turn, or none.
        dealt |= {g: new is not old for (g, old), new in zip(labels.items(), values, strict=True)}
    return map_items(
        behaviour, lambda item: replace(item, aligned=item.aligned is not dealt[item.group])
    )
