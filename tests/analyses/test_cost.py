from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from analyses._cost import (
    Batch,
    Work,
    bytes_moved,
    decode_steps,
    flops,
    last_token_passes,
    whole_passes,
)
from analyses._cost_device import (
    DEVICES,
    USABLE_MEMORY,
    find_device_sheet,
    memory_of,
    seconds,
)
from analyses._cost_shape import CostError, Shape, read_shape, shape_of
from analyses._cost_study import sizes
from lens_personas.models import LensModel, Prompt, load_model, map_last_logits, model_batches

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 300,
    "max_position_embeddings": 128,
}
FAMILIES = ("Llama", "Mistral", "Qwen2", "Gemma2", "GPTNeoX", "GPT2")


@pytest.fixture(params=FAMILIES)
def built(request: pytest.FixtureRequest) -> tuple[Any, Shape]:
    """A small random model with eager attention, and its shape from its config."""
    heads = {} if request.param in ("GPT2", "GPTNeoX") else {"head_dim": 16}
    config = getattr(transformers, f"{request.param}Config")(**(SIZES | heads))
    if request.param == "GPT2":
        config = transformers.GPT2Config(n_embd=64, n_layer=3, n_head=8, vocab_size=300)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    return model, shape_of(config.to_dict())


def _counted(call: Callable[[], object]) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def test_flops_of_a_prompt_are_those_torch_counts(built: tuple[Any, Shape]) -> None:
    model, shape = built
    tokens = torch.randint(0, shape.d_vocab, (4, 24))
    true = _counted(lambda: model(input_ids=tokens, use_cache=False, logits_to_keep=1))
    ours = whole_passes([Batch(rows=4, width=24)], shape.n_layers, unembedded=True)
    assert flops(ours, shape) == pytest.approx(true, rel=0.01)


def test_flops_of_an_answer_are_those_torch_counts(built: tuple[Any, Shape]) -> None:
    model, shape = built
    new = 5

    def write() -> None:
        cache = transformers.DynamicCache(config=model.config)
        tokens = torch.randint(0, shape.d_vocab, (3, 20))
        for _ in range(new):
            model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
            tokens = tokens[:, :1]

    batches = [Batch(rows=3, width=20)]
    ours = whole_passes(batches, shape.n_layers, unembedded=True) + decode_steps(
        batches, shape.n_layers, new
    )
    assert flops(ours, shape) == pytest.approx(_counted(write), rel=0.01)


@pytest.fixture
def driven(backend: Any, tiny_checkpoint: Path) -> tuple[LensModel, Shape]:
    """A model of either backend, whose blocks are driven, and its shape."""
    return load_model(tiny_checkpoint, backend=backend, device="cpu"), read_shape(tiny_checkpoint)


def _prompts(*ids: tuple[int, ...]) -> list[Prompt]:
    return [
        Prompt(prompt_id=str(at), ids=row, prompt_length=len(row), spans={}, text="")
        for at, row in enumerate(ids)
    ]


@pytest.mark.parametrize("shares", [False, True])
def test_flops_of_last_tokens_are_those_of_the_engine(
    driven: tuple[LensModel, Shape], shares: bool
) -> None:
    model, shape = driven
    start = tuple(range(10, 40)) if shares else ()
    prompts = _prompts(*((at, *start, *range(at, at + 9 + at)) for at in (7, 8, 9)))
    prompts = _prompts(*(p.ids[1:] if shares else p.ids for p in prompts))
    batches = sizes(model_batches(model, prompts, share=True))
    assert any(batch.heads for batch in batches) is shares
    true = _counted(lambda: map_last_logits(model, prompts, lambda rows: rows))
    # Columns of padding are counted by both.
    assert flops(last_token_passes(batches, shape.n_layers), shape) == pytest.approx(true, rel=0.01)


def test_work_adds_up_and_is_cheaper_the_higher_it_resumes() -> None:
    shape = shape_of(SIZES | {"model_type": "llama"})
    batches = [Batch(rows=3, width=12)]
    whole = whole_passes(batches, 3, unembedded=False)
    assert whole + whole == whole * 2
    assert Work() + whole == whole
    costs = [flops(last_token_passes(batches, n), shape) for n in range(4)]
    assert costs == sorted(set(costs))
    # Above the last block only the unembedding is left.
    assert costs[0] == 2 * shape.d_model * shape.d_vocab * 3
    trimmed, plain = costs[3], flops(whole_passes(batches, 3, unembedded=True), shape)
    assert plain * 2 / 3 < trimmed < plain


LLAMA_2_13B = shape_of(
    {
        "model_type": "llama",
        "hidden_size": 5120,
        "intermediate_size": 13824,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
        "max_position_embeddings": 4096,
        "vocab_size": 32000,
    }
)


def test_a_decode_step_is_bound_by_reading_the_weights() -> None:
    gpu = find_device_sheet("h200")
    step = decode_steps([Batch(rows=1, width=10)], 40, 2)
    time = seconds(step, LLAMA_2_13B, gpu, "bfloat16") - 40 * gpu.block_seconds
    embedding = LLAMA_2_13B.d_vocab * LLAMA_2_13B.d_model
    weights = 2 * (LLAMA_2_13B.n_parameters - embedding)
    assert time == pytest.approx(weights / (gpu.bandwidth * gpu.bandwidth_efficiency), rel=0.01)


def test_a_large_batch_is_bound_by_computing() -> None:
    gpu = find_device_sheet("H200")
    work = whole_passes([Batch(rows=16, width=128)], 40, unembedded=True)
    time = seconds(work, LLAMA_2_13B, gpu, "bfloat16") - 40 * gpu.block_seconds
    assert time == pytest.approx(flops(work, LLAMA_2_13B) / (gpu.efficiency * 989e12))
    assert bytes_moved(work, LLAMA_2_13B, 2) > 2 * 40 * LLAMA_2_13B.block_matrix


def test_weights_that_do_not_fit_one_device_need_more() -> None:
    batches = [Batch(rows=20, width=100)]
    memory = memory_of(LLAMA_2_13B, batches, new_tokens=16, dtype="bfloat16")
    assert memory.weights == 2 * LLAMA_2_13B.n_parameters
    assert memory.keys_values == LLAMA_2_13B.kv_bytes(20 * 116, 2)
    small, large = find_device_sheet("RTX 4090"), find_device_sheet("h200")
    assert memory.devices_needed(large) == 1
    needed = memory.devices_needed(small)
    assert needed == 2
    assert needed * USABLE_MEMORY * small.memory >= memory.total
    assert (needed - 1) * USABLE_MEMORY * small.memory < memory.total


@pytest.mark.parametrize("name", ["rtx 4090", "RTX-4090", "a100-80", "A100 80", "B200", "cpu"])
def test_devices_are_found_however_they_are_written(name: str) -> None:
    assert find_device_sheet(name) in DEVICES.values()


def test_what_the_table_lacks_is_said() -> None:
    with pytest.raises(CostError, match=r"expected a device among cpu, RTX-4090.*got 'T4'"):
        find_device_sheet("T4")
    with pytest.raises(CostError, match=r"expected a dtype among .* for H200, got 'float64'"):
        seconds(Work(), LLAMA_2_13B, find_device_sheet("H200"), "float64")
