"""What a loaded model offers, whichever TransformerLens class is behind it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lens_personas.hooks import HookFn, Site, TokenLayout
from lens_personas.personas import Role

Backend = Literal["hooked_transformer", "bridge"]
"""TransformerLens class behind a model."""

Tokens = slice | Int[Tensor, " chosen"] | None
"""Some entries of the vocabulary, or all."""

Side = Literal["left", "right"]
"""Side on which shorter rows are padded."""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a model is and can do, as measured at load; it goes into everything saved."""

    model_id: str
    """Hub id, name of a shipped organism as ``organism:chat``, or the checkpoint folder's name."""
    revision: str | None
    """Hub revision asked for, or None."""
    fingerprint: str
    """Hash of the config and of parameters spread over the model."""
    backend: Backend
    """TransformerLens class behind the model."""
    transformer_lens_version: str
    """Version of TransformerLens that runs it."""
    weight_processing: str
    """What was done to the weights after reading; ``none`` for raw numerics."""
    architecture: str
    """Hugging Face architecture name, or ``unknown``."""
    n_layers: int
    """Number of blocks."""
    d_model: int
    """Width of the residual stream."""
    n_heads: int
    """Attention heads in a block."""
    d_vocab: int
    """Rows of the unembedding."""
    n_ctx: int
    """Longest context in tokens; at most 8192 where ``HookedTransformer`` keeps rotary tables."""
    dtype: str
    """Parameter dtype, such as ``float32``."""
    device: str
    """Device that holds the embedding."""
    tied_embeddings: bool
    """Whether embedding and unembedding share one matrix."""
    residual_identity_error: float
    """Largest error of ``resid_post = resid_pre + attn_out + mlp_out`` over blocks and
    positions, as a share of the norm of ``resid_post``; NaN or infinite where undefined."""
    residual_identity_holds: bool
    """Whether that error is small: only then do component sites equal what is added."""
    edits_resid_mid: bool
    """Whether an edit at ``resid_mid`` reaches the residual stream."""
    drives_blocks: bool
    """Whether blocks driven one by one, from a residual at hand, give the model's own residuals:
    only then can work resume at a layer, and prompts share a prefix."""
    lens_is_exact: bool
    """Whether final norm and unembedding of the last residual give the model's own logits."""
    tokenizer_hash: str
    """Hash of the vocabulary and special tokens."""
    chat_template_hash: str | None
    """Hash of the chat template, or None where there is none."""
    has_system_role: bool
    """Whether the chat template takes a system turn."""


class Turn(NamedTuple):
    """Tokens of one chat turn's content."""

    role: Role
    """Who speaks."""
    start: int
    """Position of the first one."""
    stop: int
    """One past the position of the last."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One rendered prompt as token ids, with the places of its parts."""

    prompt_id: str
    """Identifier carried through every result."""
    ids: tuple[int, ...]
    """Token ids, BOS included where the model wants one, any teacher-forced answer included."""
    prompt_length: int
    """Number of ids before the answer: the answer starts here."""
    spans: Mapping[str, tuple[int, int]]
    """First and one-past-last position of ``system``, ``user`` (the last user turn's content),
    ``post_instruction`` (user content's end to the prompt's end), ``prompt`` and ``answer``;
    a part that is absent is ``(0, 0)``."""
    text: str
    """The rendered text of the prompt, answer included."""
    turns: tuple[Turn, ...] = ()
    """Every turn that has tokens, in their order, an answer as the last; empty where the prompt
    was not rendered from turns."""


@dataclass(frozen=True, kw_only=True)
class SharedPrefix:
    """First columns of a batch, of which several rows hold the same."""

    n_columns: int
    """Number of those columns."""
    rows: Int[Tensor, " prefix"]
    """One row of the batch that holds each distinct prefix."""
    row_of: Int[Tensor, " batch"]
    """Which of them each row begins with."""


@dataclass(frozen=True, kw_only=True)
class TokenBatch:
    """Prompts padded to one length."""

    tokens: Int[Tensor, "batch pos"]
    """Token ids."""
    layout: TokenLayout
    """Positions, prompt lengths and parts of each row."""
    rows: tuple[int, ...]
    """Number of each row in the list of prompts that was batched."""
    prefix: SharedPrefix | None = None
    """Columns that need to run once for several rows; None where each row runs whole."""

    @property
    def last_column(self) -> Int[Tensor, " batch"]:
        """Column of the last real token of each row."""
        return self.layout.positions.argmax(dim=1)


@runtime_checkable
class LensModel(Protocol):
    """A model with hooks. Use the functions of :mod:`lens_personas.models` to run it."""

    @property
    def card(self) -> ModelCard:
        """What the model is and can do."""
        ...

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's own tokenizer."""
        ...

    @property
    def device(self) -> torch.device:
        """Where token ids have to lie."""
        ...

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Token ids that end an answer."""
        ...

    @property
    def wrapped(self) -> Any:
        """The TransformerLens object itself, for what this protocol does not cover."""
        ...

    def run(
        self,
        tokens: Int[Tensor, "batch pos"],
        positions: Int[Tensor, "batch total"],
        *,
        hooks: Mapping[tuple[Site, int], HookFn],
        cache: Any | None,
        last_layer: int,
    ) -> Float[Tensor, "batch pos d_model"]:
        """Run blocks 0 … ``last_layer`` with hooks; give ``resid_post`` of the last one.

        ``positions`` covers the cached columns as well as these (-1 at padding).
        Every hook fires exactly once or an error is raised; all are removed after.
        """
        ...

    def logits(
        self, resid: Float[Tensor, "row d_model"], tokens: Tokens = None
    ) -> Float[Tensor, "row chosen"]:
        """Final norm, unembedding and soft cap of ``resid_post`` rows, in the model's dtype.

        With ``tokens`` only those entries of the vocabulary; a slice copies no weight.
        """
        ...

    def new_cache(self, batch_size: int) -> Any:
        """An empty key-value cache for ``batch_size`` rows."""
        ...
