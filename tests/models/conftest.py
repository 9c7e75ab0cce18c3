"""Random checkpoints of several architectures, by transformers and by each backend."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from lens_personas.models import LensModel, Prompt, load_model
from lens_personas.models._card import takes_system

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
# Class, what differs from SIZES. Gemma-2 has norms after attention and MLP, and a soft cap.
RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2": ("Qwen2", {}),
    "gemma2": ("Gemma2", {"head_dim": 16, "final_logit_softcapping": 2.0}),
    "wide_heads": ("Llama", {"head_dim": 16}),
    "tied": ("Llama", {"tie_word_embeddings": True}),
    "attention_bias": ("Llama", {"attention_bias": True}),
    "rope": ("Llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 300.0}}),
    "parallel": ("GPTNeoX", {"num_key_value_heads": 4}),
    "other": ("Llama", {}),
}


@pytest.fixture(scope="session")
def checkpoint(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path, tiny_gpt2_checkpoint: Path
) -> Callable[[str], Path]:
    """Folder of a random checkpoint by the name of its recipe; ``llama`` and ``gpt2`` too."""
    made = {"llama": tiny_checkpoint, "gpt2": tiny_gpt2_checkpoint}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = _save(name, tmp_path_factory.mktemp("tiny"), tiny_checkpoint)
        return made[name]

    return get


def _save(name: str, folder: Path, like: Path) -> Path:
    family, differing = RECIPES[name]
    size = json.loads((like / "config.json").read_text())["vocab_size"]
    config = getattr(transformers, f"{family}Config")(vocab_size=size, **(SIZES | differing))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = getattr(transformers, f"{family}ForCausalLM")(config)
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.data += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    for path in like.glob("token*"):
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="session")
def plain(checkpoint: Callable[[str], Path]) -> Callable[[str], Any]:
    """The transformers model of a recipe."""
    made: dict[str, Any] = {}

    def get(name: str) -> Any:
        if name not in made:
            made[name] = transformers.AutoModelForCausalLM.from_pretrained(
                checkpoint(name), dtype=torch.float32, attn_implementation="eager"
            ).eval()
        return made[name]

    return get


@pytest.fixture(scope="session")
def loaded(backend: Any, checkpoint: Callable[[str], Path]) -> Callable[[str], LensModel]:
    """A recipe's model by the backend at hand; Gemma-2 always by the bridge. Shared."""
    made: dict[str, LensModel] = {}

    def get(name: str) -> LensModel:
        if name not in made:
            knows = "bridge" if name == "gemma2" else backend
            made[name] = load_model(checkpoint(name), backend=knows, device="cpu")
        return made[name]

    return get


@pytest.fixture(scope="session")
def prompt_of() -> Callable[..., Prompt]:
    """Prompt of ids without parts."""

    def make(*ids: int, answer: tuple[int, ...] = (), prompt_id: str = "") -> Prompt:
        return Prompt(
            prompt_id=prompt_id, ids=(*ids, *answer), prompt_length=len(ids), spans={}, text=""
        )

    return make


@pytest.fixture(scope="session")
def prompts(prompt_of: Callable[..., Prompt]) -> tuple[Prompt, ...]:
    """Prompts of unequal length, not in the order of their length."""
    ids = [tuple(range(7 + 13 * at, 7 + 13 * at + size)) for at, size in enumerate((9, 3, 12, 5))]
    return tuple(prompt_of(1, *row, prompt_id=f"p{at}") for at, row in enumerate(ids))


@pytest.fixture(scope="session")
def speaker(tiny_checkpoint: Path) -> Callable[..., LensModel]:
    """A model with a byte-level tokenizer of its own: template, BOS added or not."""
    model: Any = load_model(tiny_checkpoint, backend="bridge", device="cpu")

    def make(template: str | None, *, adds_bos: bool = False, **options: Any) -> LensModel:
        tokenizer = byte_tokenizer(adds_bos=adds_bos, **options)
        tokenizer.chat_template = template
        card = replace(model.card, has_system_role=takes_system(tokenizer))
        made: LensModel = replace(model, tokenizer=tokenizer, card=card)
        return made

    return make


def byte_tokenizer(
    *, adds_bos: bool, bos: str | None = "<s>", merges: tuple[tuple[str, str], ...] = ()
) -> PreTrainedTokenizerFast:
    """Byte-pair tokenizer with these merges alone."""
    specials = ["<pad>", "<s>", "</s>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*specials, *alphabet, *("".join(pair) for pair in merges)]
    vocabulary = {piece: at for at, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token=bos, eos_token="</s>"
    )
