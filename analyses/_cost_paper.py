"""A model that is not there: a shape and a tokenizer, with which prompts are rendered."""

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from analyses._cost_shape import CostError, Shape
from lens_personas.models import BridgeModel, LensModel, ModelCard, Prompt, takes_system

CHARACTERS = 4
"""Characters taken for one token where there is no tokenizer."""

_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def has_tokenizer(folder: Path) -> bool:
    """Whether a tokenizer lies in the folder."""
    return (folder / "tokenizer.json").is_file()


def paper_model(
    shape: Shape, tokenizer_folder: Path | None, *, dtype: str, device: str = "cpu"
) -> LensModel:
    """A model with card and tokenizer that renders prompts and runs nothing.

    Args:
        shape: What the card says.
        tokenizer_folder: Where its tokenizer lies; None for one token a byte, to be made
            coarser by :func:`estimated`.
        dtype: Parameter dtype.
        device: ``cpu`` or ``cuda``: batches are cut by it.

    Raises:
        CostError: If there is no tokenizer in the folder.
    """
    tokenizer = _bytes() if tokenizer_folder is None else _read(tokenizer_folder)
    card = ModelCard(
        model_id=shape.model_type,
        revision=None,
        fingerprint="",
        backend="bridge",
        transformer_lens_version=version("transformer-lens"),
        weight_processing="none",
        architecture=shape.model_type,
        n_layers=shape.n_layers,
        d_model=shape.d_model,
        n_heads=shape.n_heads,
        d_vocab=shape.d_vocab,
        # Prompts of bytes are longer than they will be.
        n_ctx=shape.n_ctx * (CHARACTERS if tokenizer_folder is None else 1),
        dtype=dtype,
        device=device,
        tied_embeddings=shape.tied,
        residual_identity_error=0.0,
        residual_identity_holds=True,
        edits_resid_mid=False,
        drives_blocks=True,
        lens_is_exact=True,
        tokenizer_hash="",
        chat_template_hash=None,
        has_system_role=takes_system(tokenizer),
    )
    nothing: Any = SimpleNamespace(embed=SimpleNamespace(weight=torch.empty(0)))
    return BridgeModel(wrapped=nothing, tokenizer=tokenizer, card=card, stop_ids=())


def estimated(prompt: Prompt) -> Prompt:
    """A prompt of bytes with one token for every :data:`CHARACTERS` of them."""
    ids = prompt.ids
    pieces = [ids[at : at + CHARACTERS] for at in range(0, len(ids), CHARACTERS)]
    # Equal pieces are equal tokens: prompts share the prefixes that their texts share.
    tokens = tuple(int.from_bytes(bytes(piece), "big") for piece in pieces)
    length = -(-prompt.prompt_length // CHARACTERS)
    return replace(prompt, ids=tokens, prompt_length=length, spans={})


def _read(folder: Path) -> PreTrainedTokenizerBase:
    if not has_tokenizer(folder):
        raise CostError(f"expected a folder with tokenizer.json, got {str(folder)!r}")
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    return tokenizer


def _bytes() -> PreTrainedTokenizerBase:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(models.BPE(vocab={sign: at for at, sign in enumerate(alphabet)}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain)
    tokenizer.chat_template = _TEMPLATE
    return tokenizer
