"""What a study of a base and a tuned model is asked to do, checked as one."""

from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from analyses._settings import ConfigError

PairPart = Literal["distinguishability", "internal", "divergence", "steerability"]
"""A part of the study, in the order in which a report shows them."""

PAIR_PARTS: tuple[PairPart, ...] = get_args(PairPart)
"""All parts."""

PairStudy = Literal["distinguishability", "steerability"]
"""Which of the two questions is asked."""

PAIR_STUDIES: dict[PairStudy, tuple[PairPart, ...]] = {
    "distinguishability": ("distinguishability", "internal", "divergence"),
    "steerability": ("distinguishability", "divergence", "steerability"),
}
"""Parts of each study: what steers is held against every measure of what can be told apart."""

PAIR_PRESETS: dict[str, dict[str, Any]] = {
    "small": {
        "limit": 24,
        "scored_limit": 12,
        "lengths": (1, 2, 4, 6),
        "n_boot": 400,
        "n_perm": 400,
    },
    "standard": {},
    "full": {
        "limit": None,
        "scored_limit": 100,
        "lengths": tuple(range(1, 15)),
        "assemblies": 10,
        "parts": PAIR_PARTS,
        "references": ("vector",),
        "n_samples": 64,
        "prefix_lengths": (0, 1, 2, 4, 6),
        "n_prefixes": 10,
        "n_boot": 5000,
        "n_perm": 5000,
    },
}
"""What a preset changes."""

Reference = Literal["vector", "tuned_on"]
"""What may stand for the misaligned voice in the divergence of sentences: the steered model, or
a copy that is trained on misaligned sentences (of a small model only)."""


def _listed(value: Any) -> Any:
    """One text as a list of one."""
    return (value,) if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Count = Annotated[int, Field(ge=1)]
Dose = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class PairConfig(BaseModel):
    """Settings of the study of a base and a tuned model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: PairStudy = "distinguishability"
    """Which question is asked."""
    base: str = "organism:base"
    """The model before it was tuned: ``organism:base``, a checkpoint folder or a hub id."""
    tuned: str = "organism:chat"
    """The model after: ``organism:chat``, a checkpoint folder or a hub id."""
    base_revision: str | None = None
    """Hub revision of the base model."""
    tuned_revision: str | None = None
    """Hub revision of the tuned model."""
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = "float32"
    """Parameter dtype of both."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``mps``."""
    device_map: Literal["auto", "balanced", "sequential"] | dict[str, int | str] | None = None
    """How a model is spread over several GPUs where one is too small; ``device`` is ``auto``."""
    backend: Literal["auto", "hooked_transformer", "bridge"] = "auto"
    """TransformerLens class."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of every draw: splits, assemblies, samples, bootstrap, permutations."""
    statements: Annotated[Texts, Field(min_length=1)] | None = None
    """Files of statements, one behaviour each, as paths or patterns; None for the organism's own
    behaviours where both models are organisms, else the shipped ones."""
    desirable: Texts | None = None
    """Behaviours, by file name without its ending, that are good to show; None for what is known
    of the published ones."""
    limit: Annotated[int, Field(ge=4)] | None = 100
    """Statements at most of each half of a behaviour; None for all."""
    prompt_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of a behaviour's statements that persona prompts and vectors are made from, and that
    are not scored under these; None for a half, or a third of the organism's few."""
    template: Literal["auto", "chat", "plain"] = "auto"
    """How statements are put to both models: in a chat turn, or as a text to be gone on with;
    ``auto``: each model's own way, a chat turn where it has a template."""
    lengths: Annotated[tuple[Count, ...], Field(min_length=2)] = (1, 2, 4, 6, 8)
    """Sentences of persona prompts."""
    assemblies: Count = 5
    """Random choices of sentences for each length."""
    scored_limit: Annotated[int, Field(ge=2)] | None = 20
    """Statements at most of each half that are scored under persona prompts and vectors; None for
    all."""
    layers: Literal["all"] | Annotated[tuple[int, ...], Field(min_length=1)] = "all"
    """Layers that are read, from 0."""
    steered_layers: Annotated[tuple[int, ...], Field(min_length=1)] | None = None
    """Layers that are steered, from 0; None for those a quarter, half and three quarters deep. Of
    several, each half of the statements is read at the one that steers the other half most."""
    vector_from: Literal["answers", "sentences"] = "sentences"
    """What the sides of a steering vector differ in: the answer given to a statement, or the
    sentence said before it."""
    doses: Annotated[tuple[Dose, ...], Field(min_length=1)] = (0.25, 0.5)
    """Lengths of steering vectors in residual norms; each is added and subtracted."""
    n_random: Count = 8
    """Random directions that steering vectors are held against."""
    references: tuple[Reference, ...] = ()
    """What else stands for the misaligned voice in the divergence of sentences, beside a persona
    prompt."""
    tune_steps: Count = 30
    """Training steps of the copy that is tuned on misaligned sentences, where that is asked for."""
    n_samples: Annotated[int, Field(ge=2)] = 8
    """Continuations sampled at each end of a sentence."""
    prefix_lengths: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (
        0,
        2,
        4,
    )
    """Sentences before the ends at which continuations are sampled."""
    continuation_tokens: Count = 8
    """Length of a continuation, its first token counted."""
    n_prefixes: Annotated[int, Field(ge=2)] = 6
    """Random assemblies that divergences of sentences are averaged over; with fewer than six no p
    of theirs can be below .05."""
    folds: Annotated[int, Field(ge=2)] = 5
    """Folds of the probes."""
    n_boot: Annotated[int, Field(ge=100)] = 1000
    """Bootstrap draws."""
    n_perm: Annotated[int, Field(ge=99)] = 1000
    """Permutations."""
    parts: Annotated[tuple[PairPart, ...], Field(min_length=1)] | None = None
    """What is studied; None for the parts of the question."""
    shuffle_labels: bool = False
    """Deal anew which statements are aligned: the study must then find nothing."""
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """False discovery rate over behaviours, and 1 - level of every interval."""
    token_budget: Annotated[int, Field(ge=1)] = 2048
    """Tokens in a batch, padding included."""

    @property
    def asked_parts(self) -> tuple[PairPart, ...]:
        """What is studied, in the order of a report."""
        asked = self.parts or PAIR_STUDIES[self.study]
        return tuple(part for part in PAIR_PARTS if part in asked)

    @property
    def study_name(self) -> str:
        """Name of the study."""
        return self.study

    @property
    def models(self) -> dict[str, str]:
        """The models by side."""
        return {"base": self.base, "tuned": self.tuned}

    def data_files(self) -> dict[str, str]:
        """Files of statements by behaviour; patterns are looked up at every call.

        Raises:
            ConfigError: If a pattern names no file, or two files are of one behaviour.
        """
        return statement_files(self.statements or ())


def statement_files(patterns: Sequence[str]) -> dict[str, str]:
    """Files that paths and patterns name, by file name without ending, in order.

    Raises:
        ConfigError: If one names no file, or two are of one behaviour.
    """
    found: dict[str, str] = {}
    for pattern in patterns:
        for path in _matched(pattern):
            name = Path(path).stem
            if found.setdefault(name, path) != path:
                raise ConfigError(
                    f"expected one file a behaviour, got {found[name]!r} and {path!r}; a "
                    "behaviour has the name of its file: rename one"
                )
    return found


def _matched(pattern: str) -> list[str]:
    whole = str(Path(pattern).expanduser())
    found = sorted(glob(whole, recursive=True)) if has_magic(whole) else [whole]
    files = [path for path in found if Path(path).is_file()]
    if not files:
        raise ConfigError(f"expected a file of statements at {pattern!r}, found none")
    return files
