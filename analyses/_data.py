"""Whom a study is about and what is asked: the user's files, the organism's world, or ours."""

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

from analyses._config import ConfigError, WhosAskingConfig
from lens_personas.models.organism import (
    World,
    load_world,
    refusal_statements,
    shipped_path,
    world_personas,
    world_requests,
)
from lens_personas.personas import (
    NestedSplit,
    Persona,
    Request,
    read_personas,
    read_requests,
    shipped_filler,
    shipped_personas,
    shipped_refusal,
    shipped_requests,
    split_requests,
)
from lens_personas.vectors import AnswerFormat, AnswerStrings


@dataclass(frozen=True, kw_only=True)
class StudyData:
    """All that is said to the model in one study."""

    personas: tuple[Persona, ...]
    """The personas, the control among them."""
    control: Persona
    """The persona that all others are held against."""
    nulls: tuple[Persona, ...]
    """Neutral texts: what is said of the user there should move nothing."""
    greeting: str
    """A user turn that asks for nothing."""
    split: NestedSplit
    """Requests for fitting vectors, choosing layers, and testing."""
    refusal: Persona
    """Yes/no questions on refusing."""
    fulfilment: Persona
    """Yes/no questions on helping."""
    answer_format: AnswerFormat
    """How the model is asked to answer a yes/no question."""
    answer_strings: AnswerStrings
    """How the answers to yes/no questions are written."""
    fictional: bool
    """Whether all text is of an invented world and may be shown in full."""

    @cached_property
    def texts(self) -> dict[str, Persona]:
        """Personas and neutral texts by name."""
        return {persona.name: persona for persona in (*self.personas, *self.nulls)}


def study_data(config: WhosAskingConfig) -> StudyData:
    """Personas and requests as the settings ask for them.

    Raises:
        ConfigError: If a file is missing, or there is too little to study.
        DataFileError: If a file is malformed.
    """
    world = organism_world(config.model)
    personas = _personas(config, world)
    _check_names(personas)
    control = _control(personas, config.control, world)
    requests = _requests(config, world)
    refusal, fulfilment = _refusal(world)
    chosen = _some_personas(personas, control, config.max_personas)
    return StudyData(
        personas=chosen,
        control=control,
        nulls=_nulls(chosen, control, world, config),
        greeting="Hello." if world is None else "hello",
        split=_split(requests, config),
        refusal=refusal,
        fulfilment=fulfilment,
        # The organism knows only bare, lower-case words.
        answer_format="letters" if world is None else "words",
        answer_strings=AnswerStrings() if world is None else AnswerStrings(yes="yes", no="no"),
        fictional=world is not None and config.requests is None and config.personas is None,
    )


def organism_world(model: str) -> World | None:
    """The organism's world, where the model is one; a trained variant carries its own."""
    folder = shipped_path(model) or Path(model).expanduser()
    return load_world(folder) if (folder / "world.json").is_file() else None


def _personas(config: WhosAskingConfig, world: World | None) -> tuple[Persona, ...]:
    if config.personas is not None:
        return read_personas(Path(config.personas).expanduser())
    return world_personas(world) if world is not None else shipped_personas()


def _check_names(personas: Sequence[Persona]) -> None:
    taken = [
        p.name for p in personas if p.name.startswith(("neutral text ", "random ", "refusal ("))
    ]
    if taken:
        raise ConfigError(
            f"expected names of personas that no arm of the study bears, got {taken}; rename them"
        )


def _control(personas: Sequence[Persona], asked: str | None, world: World | None) -> Persona:
    names = [persona.name for persona in personas]
    if asked is not None:
        if asked not in names:
            raise ConfigError(f"unknown control persona {asked!r}; there are {', '.join(names)}")
        return replace(personas[names.index(asked)], group="control")
    controls = [persona for persona in personas if persona.group == "control"]
    if len(controls) > 1:
        raise ConfigError(
            f"expected one persona of group 'control' to hold the others against, got "
            f"{[c.name for c in controls]}; mark one in the file or name it with --set control=NAME"
        )
    return controls[0] if controls else _own_control(names, world)


def _own_control(names: Sequence[str], world: World | None) -> Persona:
    """The control of the world, or the coffee drinker, for a set that has none."""
    own = shipped_personas() if world is None else world_personas(world)
    (control,) = (persona for persona in own if persona.group == "control")
    if control.name in names:
        raise ConfigError(
            f"expected a persona of group 'control', or none named {control.name!r}, which is "
            "added where there is none; mark one as the control, or name it with --set control=NAME"
        )
    return control


def _some_personas(
    personas: Sequence[Persona], control: Persona, limit: int | None
) -> tuple[Persona, ...]:
    """The control and, in turn from each group, personas spread over its order."""
    others = [
        # Where another is asked for, a persona marked as control is one of many.
        replace(persona, group="other") if persona.group == "control" else persona
        for persona in personas
        if persona.name != control.name
    ]
    if limit is not None and len(others) > limit - 1:
        groups = [[p for p in others if p.group == group] for group in ("pro", "anti", "other")]
        groups = [group for group in groups if group]
        share = _shares([len(group) for group in groups], limit - 1)
        others = [p for group, n in zip(groups, share, strict=True) for p in _spread(group, n)]
    return (*others, control)


def _shares(sizes: Sequence[int], total: int) -> list[int]:
    share = [0] * len(sizes)
    while sum(share) < total:
        open_groups = [at for at, size in enumerate(sizes) if share[at] < size]
        share[min(open_groups, key=lambda at: (share[at], at))] += 1
    return share


def _spread(group: Sequence[Persona], n: int) -> list[Persona]:
    return [group[at * len(group) // n] for at in range(n)]


def _nulls(
    personas: Sequence[Persona], control: Persona, world: World | None, config: WhosAskingConfig
) -> tuple[Persona, ...]:
    """Neutral texts of as many sentences as the control's: the world's own, or ours."""
    rng = random.Random(f"nulls-{config.seed}")
    if world is not None:
        found = _neutral_texts(world, {persona.name for persona in (*personas, control)}, rng)
    else:
        filler = shipped_filler().statements
        n = min(config.n_statements or len(control.statements), len(filler) // 2)
        found = (
            Persona(name="filler", group="other", statements=tuple(rng.sample(filler, n)))
            for _ in range(config.n_nulls)
        )
    return tuple(
        replace(text, name=f"neutral text {at + 1}")
        for at, text in enumerate(islice(found, config.n_nulls))
    )


def _neutral_texts(world: World, studied: Collection[str], rng: random.Random) -> Iterator[Persona]:
    """The world's neutral attributes that are not studied, then mixtures of neutral ones.

    A persona that is studied must not be its own null.
    """
    neutral = [p for p in world_personas(world) if p.group == "other"]
    unstudied = [persona for persona in neutral if persona.name not in studied]
    yield from rng.sample(unstudied, len(unstudied))
    while neutral:
        first, *_ = drawn = [rng.choice(neutral) for _ in neutral[0].statements]
        yield replace(
            first,
            statements=tuple(p.statements[at] for at, p in enumerate(drawn)),
            negations=tuple(p.negations[at] for at, p in enumerate(drawn)),
            questions=tuple(p.questions[at] for at, p in enumerate(drawn[: len(first.questions)])),
            opposite=None,
        )


def _requests(config: WhosAskingConfig, world: World | None) -> tuple[Request, ...]:
    if config.requests is not None:
        requests = read_requests(Path(config.requests).expanduser())
    else:
        requests = world_requests(world) if world is not None else shipped_requests()
    known = tuple(request for request in requests if request.harmful is not None)
    harmful = [request for request in known if request.harmful]
    if len(harmful) < 4:
        raise ConfigError(
            f"expected at least 4 requests marked harmful, got {len(harmful)} of {len(requests)}; "
            "set the column 'harmful' to true for those the model is expected to refuse"
        )
    if all(request.harmful for request in known):
        # A refusal direction needs the other side; everyday questions serve for any model.
        rest = world_requests(world) if world is not None else shipped_requests()
        taken = {request.prompt_id for request in known}
        known = (*known, *(r for r in rest if r.harmful is False and r.prompt_id not in taken))
    return known


def _split(requests: Sequence[Request], config: WhosAskingConfig) -> NestedSplit:
    if config.max_requests is not None:
        rng = random.Random(f"requests-{config.seed}")
        requests = [
            request
            for kind in (True, False)
            for request in _sample(
                [r for r in requests if r.harmful is kind], config.max_requests, rng
            )
        ]
    try:
        split = split_requests(requests, seed=config.seed, fractions=config.fractions)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    for name, part in (("vector", split.vector), ("layer", split.layer), ("test", split.test)):
        n = sum(bool(request.harmful) for request in part)
        if n < 1:
            raise ConfigError(
                f"expected a harmful request in the {name} split, got none of {len(part)}; "
                "give more requests or other fractions"
            )
    return split


def _sample(requests: Sequence[Request], n: int, rng: random.Random) -> list[Request]:
    return list(requests) if len(requests) <= n else rng.sample(list(requests), n)


def _refusal(world: World | None) -> tuple[Persona, Persona]:
    if world is None:
        return shipped_refusal()
    asked = refusal_statements(world, split="tuned")
    refusing, fulfilling = (
        Persona(name=name, group="other", statements=questions, questions=questions)
        for name, questions in (("refusal", asked.refusing), ("fulfilment", asked.fulfilling))
    )
    return refusing, fulfilling
