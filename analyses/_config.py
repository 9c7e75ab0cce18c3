"""What a study is asked to do: defaults, a YAML file, ``--set`` and flags, checked as one."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from analyses._part_names import EXPLORED, PAPER_PARTS, PartName
from analyses._settings import ConfigError, build_settings

__all__ = ["PRESETS", "ConfigError", "WhosAskingConfig", "build_config"]

PRESETS: dict[str, dict[str, Any]] = {
    "small": {"max_personas": 11, "max_requests": 72, "parts": EXPLORED},
    "standard": {"parts": EXPLORED},
    "full": {"parts": (*PAPER_PARTS, *EXPLORED)},
}
"""What a preset changes; the demo and the studies of one part run the small one."""


def _odd(width: int) -> int:
    if width % 2 == 0:
        raise ValueError("expected an odd number of layers, as many on both sides of one")
    return width


class WhosAskingConfig(BaseModel):
    """Settings of the study "Who's asking?"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "organism:chat"
    """``organism:chat`` (or ``base``, ``ungated``), a checkpoint folder or a hub id."""
    revision: str | None = None
    """Hub revision."""
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = "float32"
    """Parameter dtype."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``mps``."""
    device_map: Literal["auto", "balanced", "sequential"] | dict[str, int | str] | None = None
    """How the model is spread over several GPUs where one is too small; ``device`` is ``auto``."""
    backend: Literal["auto", "hooked_transformer", "bridge"] = "auto"
    """TransformerLens class."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of every draw: splits, random directions, bootstrap, permutations."""
    requests: str | None = None
    """JSONL or CSV file of requests; None for the model's own or the shipped ones."""
    personas: str | None = None
    """JSONL or YAML file of personas; None for the model's own or the shipped ones."""
    persona_turn: Literal["auto", "system", "user"] = "auto"
    """Turn that carries the persona; ``auto``: the system turn where the template has one."""
    n_statements: Annotated[int, Field(ge=1)] | None = None
    """Statements put before a request, the first ones; None for all."""
    control: str | None = None
    """Name of the control persona; None for the one of group ``control``, or the coffee drinker
    (in the organism's world its own control) where the set has none."""
    vector_method: Literal["statements", "questions"] = "statements"
    """Persona vectors from statements and their denials, or from yes/no questions (CAA)."""
    read_at: Literal["prompt", "statement", "statement_mean"] = "prompt"
    """Where a persona's vector is read: the last prompt token after a neutral greeting, the
    statement's last token, or the mean over the statement."""
    layers: Literal["all"] | Annotated[tuple[int, ...], Field(min_length=1)] = "all"
    """Layers that are steered, from 0."""
    choose_below: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of the depth below which the layer to be tested is chosen. An edit in the layers after
    it writes to the output more than it changes what is computed; they are swept and shown only."""
    dose: Annotated[float, Field(gt=0)] = 0.75
    """Length of what is added, in units of the layer's mean residual norm."""
    n_nulls: Annotated[int, Field(ge=1)] = 5
    """Neutral texts, and as many random directions, that a claim has to go beyond."""
    max_personas: Annotated[int, Field(ge=3)] | None = None
    """Personas at most, groups kept in balance, the control always among them; None for all."""
    max_requests: Annotated[int, Field(ge=4)] | None = None
    """Requests at most of each kind (harmful, harmless); None for all."""
    fractions: tuple[float, float, float] = (0.3, 0.25, 0.45)
    """Shares of the requests for fitting vectors, choosing layers, and testing."""
    max_new_tokens: Annotated[int, Field(ge=1)] = 16
    """Length of an answer that is judged."""
    shuffle_labels: bool = False
    """Deal the personas' names anew for each request: the study must then find nothing."""
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Family-wise level of a claim."""
    token_budget: Annotated[int, Field(ge=1)] = 2048
    """Tokens in a batch, padding included."""
    write_answers: bool = True
    """Whether every arm is also answered and judged where it is tested."""
    parts: tuple[PartName, ...] = ()
    """What else is studied, beside the effects of personas."""
    part_layer: Annotated[int, Field(ge=0)] | None = None
    """Layer at which parts steer every persona; None for the one that moves refusal farthest from
    the control on the requests kept for choosing."""
    part_requests: Annotated[int, Field(ge=4)] | None = None
    """Harmful test requests, and as many harmless ones, that parts put to the model; None for
    all."""
    # Settings of parts.
    scope_target_layers: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Blocks of the other prompt that Patchscopes put states into, of which one is chosen; None for
    the first one, the paper's share of the depth (3 of 40) and twice that."""
    scope_scales: Annotated[
        tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Field(min_length=1)
    ] = (1.0, 4.0)
    """How often Patchscopes take a state's deviation from the mean state, of which one is chosen;
    1 leaves states as they are."""
    scope_requests: Annotated[int, Field(ge=4)] | None = 32
    """Harmful test requests, and as many harmless ones, whose states Patchscopes put into other
    prompts; None for all that parts use."""
    windows: tuple[Annotated[int, Field(ge=3), AfterValidator(_odd)], ...] = (3,)
    """Layers that are steered at once, odd numbers; empty for single layers alone."""
    doses: Annotated[
        tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Field(min_length=1)
    ] = (0.25, 0.5, 0.75, 1.0, 1.5)
    """Lengths of vectors for dose-response curves, in residual norms; each is added and
    subtracted."""
    lengths: (
        Literal["all"] | Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    ) = "all"
    """Numbers of statements for dose-response curves; ``all`` for 1, 2, 4 and so on. All of a
    persona's statements are always among them."""
    early_lens_steps: Annotated[int, Field(ge=0)] = 200
    """Steps in training each layer of the tuned lens, at most; 0 for the logit lens alone."""
    manipulation_questions: Annotated[int, Field(ge=2)] = 12
    """Questions on each persona in the manipulation check, at most, spread over its own."""
    patch_couples: Annotated[int, Field(ge=1)] = 2
    """Couples of users whose prompts are swapped in patching, at most."""
    patch_requests: Annotated[int, Field(ge=4)] = 12
    """Harmful test requests that both users of every couple ask in patching, at most."""
    patch_statements: Annotated[int, Field(ge=1)] = 1
    """Statements said of each user in patching; couples get those of equally many tokens."""
    patch_heads: Annotated[int, Field(ge=1)] = 3
    """Heads that are also patched position by position: those that move refusal most."""
    circuit_random: Annotated[int, Field(ge=2)] = 10
    """Random circuits, of as many edges, that a persona's circuit is held against."""
    conversation_requests: Annotated[int, Field(ge=1)] = 4
    """Test requests whose conversations can be looked into, one in four of them harmless."""
    conversation_personas: Annotated[int, Field(ge=1)] = 2
    """Personas who ask them there, sides in turn; the control does beside them."""

    @property
    def study_name(self) -> str:
        """Name of the study."""
        return "whos-asking"

    @property
    def models(self) -> dict[str, str]:
        """The one model."""
        return {"model": self.model}

    def data_files(self) -> dict[str, str]:
        """The user's files, by the setting that names each."""
        files = {"requests": self.requests, "personas": self.personas}
        return {name: path for name, path in files.items() if path is not None}


def build_config(
    *,
    file: str | None = None,
    assignments: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    preset: str = "standard",
) -> WhosAskingConfig:
    """Settings from the preset, then the file, then ``a=b`` assignments, then flags.

    Raises:
        ConfigError: If a key or preset is unknown, a value does not fit, or the file is not
            readable.
    """
    return build_settings(
        WhosAskingConfig, PRESETS, preset=preset, file=file, assignments=assignments, flags=flags
    )
