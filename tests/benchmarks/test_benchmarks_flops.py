"""Least work of each workload: against torch's own counter, and against itself."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks import _flops
from benchmarks._shapes import Shape

SHAPE = Shape(n_layers=3, d_model=32, n_heads=4, d_mlp=48, d_vocab=100)


def counted(call: object) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()  # type: ignore[operator]
    return int(counter.get_total_flops())


@pytest.mark.parametrize("length", [1, 7, 20])
def test_a_dense_forward_pass_is_what_torch_counts(length: int) -> None:
    config = LlamaConfig(
        vocab_size=SHAPE.d_vocab,
        hidden_size=SHAPE.d_model,
        intermediate_size=SHAPE.d_mlp,
        num_hidden_layers=SHAPE.n_layers,
        num_attention_heads=SHAPE.n_heads,
        num_key_value_heads=SHAPE.n_heads,
    )
    model = LlamaForCausalLM._from_config(config, attn_implementation="eager")
    tokens = torch.zeros(1, length, dtype=torch.long)
    angles = torch.arange(length)[None]
    rotary = counted(lambda: model.model.rotary_emb(torch.zeros(1, length, 32), angles))
    # Rotations are not matrix products of the model's size: the least work leaves them out.
    assert counted(lambda: model(tokens, use_cache=False)) - rotary == _flops.forward(
        SHAPE, length, causal=False
    )


def test_columns_cost_the_same_together_and_one_after_the_other() -> None:
    whole = _flops.block(SHAPE, 0, 20)
    assert whole == _flops.block(SHAPE, 0, 13) + _flops.block(SHAPE, 13, 7)
    assert whole == sum(_flops.block(SHAPE, at, 1) for at in range(20))
    assert whole < _flops.block(SHAPE, 0, 20, causal=False)


def test_a_trimmed_block_of_one_column_is_a_block() -> None:
    assert _flops.trimmed_block(SHAPE, 12, 1) == _flops.block(SHAPE, 12, 1)
    assert _flops.trimmed_block(SHAPE, 0, 12) < _flops.block(SHAPE, 0, 12)


def test_a_shared_prefix_is_run_once() -> None:
    alone = _flops.extraction(SHAPE, [20] * 5)
    shared = _flops.extraction(SHAPE, [20] * 5, prefix=10)
    trimmed = SHAPE.n_layers * _flops.block(SHAPE, 0, 10)
    assert shared < alone
    # All of the prefix but its part of the trimmed block is saved four times.
    saved = _flops.to_last_token(SHAPE, 20) - _flops.to_last_token(SHAPE, 20, known=10)
    assert alone - shared == 5 * saved - trimmed


@pytest.mark.parametrize("site", ["resid_pre", "attn_out"])
def test_a_grid_costs_its_base_runs_and_more_the_sooner_the_prompts_differ(site: str) -> None:
    costs = [_flops.patch_grid(SHAPE, 12, first=first, site=site) for first in range(13)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[6] > costs[12] == 2 * _flops.extraction(SHAPE, [12])


def test_a_grid_at_the_first_block_runs_every_suffix() -> None:
    one_block = Shape(n_layers=1, d_model=32, n_heads=4, d_mlp=48, d_vocab=100)
    cells = _flops.patch_grid(one_block, 5, first=0, site="resid_pre")
    cells -= 2 * _flops.extraction(one_block, [5])
    assert cells == sum(_flops.to_last_token(one_block, 5, known=at) for at in range(5))


def test_one_new_token_is_a_prompt_and_a_row_of_logits() -> None:
    assert _flops.generation(SHAPE, [9], 1) == _flops.to_last_token(SHAPE, 9) + _flops.unembed(
        SHAPE, 1
    )
    step = _flops.generation(SHAPE, [9], 3) - _flops.generation(SHAPE, [9], 2)
    assert step == SHAPE.n_layers * _flops.block(SHAPE, 10, 1) + _flops.unembed(SHAPE, 1)


def test_a_search_over_no_candidate_is_its_base_runs() -> None:
    base = _flops.extraction(SHAPE, [8, 9]) + _flops.unembed(SHAPE, 2)
    assert _flops.direction_search(SHAPE, [8], [9], []) == base
    low, high = (_flops.direction_search(SHAPE, [8], [9], [layer]) for layer in (0, 2))
    # An addition higher up leaves more of the base run as it is.
    assert low > high > 2 * base
