import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from analyses._cost_shape import CostError, read_shape, shape_of

LLAMA_2_13B: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 5120,
    "intermediate_size": 13824,
    "num_hidden_layers": 40,
    "num_attention_heads": 40,
    "num_key_value_heads": 40,
    "max_position_embeddings": 4096,
    "vocab_size": 32000,
    "tie_word_embeddings": False,
}
LLAMA_3_70B: dict[str, Any] = LLAMA_2_13B | {
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "vocab_size": 128256,
}
# Class of transformers, and what differs from its defaults.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama-2-13b": ("Llama", LLAMA_2_13B),
    "llama-3-70b": ("Llama", LLAMA_3_70B),
    "llama-biases": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama-tied": ("Llama", {"tie_word_embeddings": True, "num_key_value_heads": 4}),
    "mistral": ("Mistral", {}),
    "mistral-wide-heads": ("Mistral", {"head_dim": 160}),
    "qwen2": ("Qwen2", {"num_key_value_heads": 8}),
    "qwen3": ("Qwen3", {"num_key_value_heads": 8}),
    "phi3": ("Phi3", {}),
    "gemma": ("Gemma", {}),
    "gemma2": ("Gemma2", {}),
    "gemma3": ("Gemma3Text", {}),
    "gpt2": ("GPT2", {}),
    "gpt2-narrow-mlp": ("GPT2", {"n_inner": 1000}),
    "gpt_neox": ("GPTNeoX", {}),
    "gpt_neox-no-bias": ("GPTNeoX", {"attention_bias": False}),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("whole", [True, False], ids=["all fields", "only what differs"])
def test_parameters_are_exactly_those_of_transformers(name: str, whole: bool) -> None:
    family, differing = MODELS[name]
    config = getattr(transformers, f"{family}Config")(**differing)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    # What a config.json says: every field, or nothing that is the family's own default.
    fields = config.to_dict() if whole else config.to_diff_dict() | _sizes(config)
    shape = shape_of(json.loads(json.dumps(fields, default=str)))
    assert shape.n_parameters == sum(p.numel() for p in model.parameters())
    assert shape.n_layers == config.num_hidden_layers


def _sizes(config: Any) -> dict[str, Any]:
    names = (
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "vocab_size",
        "max_position_embeddings",
    )
    return {n: v for n in names if (v := getattr(config, n, None)) is not None}


def test_keys_and_values_of_grouped_heads_take_an_eighth() -> None:
    shape = shape_of(LLAMA_3_70B)
    # 2 sides, 80 blocks, 8 heads of 128, 2 bytes.
    assert shape.kv_bytes(1, 2) == 2 * 80 * 8 * 128 * 2


def test_a_file_and_its_folder_give_the_same_shape(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(LLAMA_2_13B))
    assert read_shape(file) == read_shape(tmp_path) == shape_of(LLAMA_2_13B)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"model_type": "mamba"}, "expected model_type among llama.*got 'mamba'"),
        ({"model_type": None}, "expected model_type among llama.*got None"),
        ({"num_local_experts": 8}, "without experts, got num_local_experts in a 'llama'"),
        ({"hidden_size": None}, "expected 'hidden_size' or 'n_embd' in the config"),
        ({"vocab_size": "many"}, "whole number above 0 for 'vocab_size', got 'many'"),
        ({"num_hidden_layers": 0}, "whole number above 0 for 'num_hidden_layers', got 0"),
    ],
)
def test_what_cannot_be_counted_is_said(change: dict[str, Any], match: str) -> None:
    with pytest.raises(CostError, match=match):
        shape_of(LLAMA_2_13B | change)


@pytest.mark.parametrize(
    ("text", "match"), [("[1]", "expected a JSON object.*got list"), ("{", "expected JSON in")]
)
def test_a_broken_file_is_said(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CostError, match=match):
        read_shape(tmp_path)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(CostError, match="expected a Hugging Face config"):
        read_shape(tmp_path / "none")
