"""A checkpoint with random weights, and the prompts that are run on it.

The tokenizer's files are written by hand: what one generation of transformers saves, another
does not load.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks._shapes import Shape

SPECIALS = ("<pad>", "<unk>")
_SEED = 0


def write_checkpoint(shape: Shape, folder: Path, *, device: str = "cpu") -> Path:
    """A Llama checkpoint of random weights, the same ones every time."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from lens_personas.models._quiet import no_progress_bar

    folder.mkdir(parents=True)
    config = LlamaConfig(
        vocab_size=shape.d_vocab,
        hidden_size=shape.d_model,
        intermediate_size=shape.d_mlp,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_heads,
        max_position_embeddings=shape.n_ctx,
        initializer_range=0.04,
        bos_token_id=None,
        # Without a stop token every way writes the same number of tokens.
        eos_token_id=None,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(_SEED)
        model = LlamaForCausalLM(config).to(getattr(torch, shape.dtype))
    with no_progress_bar():
        model.save_pretrained(folder)
    _write_tokenizer(shape.d_vocab, folder)
    (folder / "shape.json").write_text(json.dumps(asdict(shape)), encoding="utf-8")
    return folder


def read_shape(folder: Path) -> Shape:
    """The shape that the checkpoint was written with."""
    return Shape(**json.loads((folder / "shape.json").read_text(encoding="utf-8")))


def _write_tokenizer(d_vocab: int, folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: index for index, word in enumerate(SPECIALS)}
    vocabulary |= {f"w{index}": index for index in range(len(SPECIALS), d_vocab)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "padding_side": "left",
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 100_000,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def text_of(ids: Sequence[int]) -> str:
    """The text that the tokenizer turns into these ids."""
    return " ".join(f"w{index}" for index in ids)


def random_prompts(
    n: int, lengths: tuple[int, int], d_vocab: int, *, prefix: int = 0, seed: int = _SEED
) -> list[list[int]]:
    """Prompts of evenly spread lengths, both ends included; the first ``prefix`` ids shared."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(lengths[0], lengths[1] + 1, size=n)
    shared = rng.integers(len(SPECIALS), d_vocab, size=prefix)
    return [
        [*shared.tolist(), *rng.integers(len(SPECIALS), d_vocab, size=length - prefix).tolist()]
        for length in drawn
    ]
