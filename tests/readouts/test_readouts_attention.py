"""Where heads look, what they carry from there, and what they could carry."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from lens_personas.hooks import Edit, Site, replace_by
from lens_personas.models import (
    LensModel,
    Prompt,
    head_weights,
    model_batches,
    run_batch,
    written_by_heads,
)
from lens_personas.readouts import attention_mass, attention_patterns, head_writes, ov_projection

MakePrompts = Callable[..., list[Prompt]]


def direction_of(model: LensModel, seed: int = 0) -> torch.Tensor:
    return torch.randn(model.card.d_model, generator=torch.Generator().manual_seed(seed))


def with_parts(prompts: list[Prompt]) -> list[Prompt]:
    """The prompts with a user turn at tokens 1 to 3 and a persona at token 0 and 1."""
    parts = {"user": (1, 3), "persona": (0, 2)}
    return [replace(each, spans={**each.spans, **parts}) for each in prompts]


@torch.no_grad()
def test_patterns_are_those_of_plain_transformers(
    model: LensModel, plain: Any, make_prompts: MakePrompts
) -> None:
    prompt = make_prompts(3, answer=2)[2]
    found = attention_patterns(model, prompt)
    own = plain.hf(torch.tensor([list(prompt.ids)]), output_attentions=True).attentions
    torch.testing.assert_close(found.patterns, torch.cat(own), atol=1e-5, rtol=0)
    assert found.prompt_id == prompt.prompt_id
    assert len(found.tokens) == len(prompt.ids)
    assert found.layers == (0, 1, 2)
    torch.testing.assert_close(found.patterns.sum(dim=-1), torch.ones(3, 4, len(prompt.ids)))
    assert not found.patterns.triu(1).any()


def test_chosen_layers_are_those_of_the_whole(model: LensModel, make_prompts: MakePrompts) -> None:
    (prompt,) = make_prompts(1)
    whole = attention_patterns(model, prompt)
    some = attention_patterns(model, prompt, layers=[2, 0])
    assert some.layers == (2, 0)
    torch.testing.assert_close(some.patterns, whole.patterns[[2, 0]])


def test_an_edit_moves_the_patterns_above_it_only(
    model: LensModel, make_prompts: MakePrompts
) -> None:
    (prompt,) = make_prompts(1)
    whole = attention_patterns(model, prompt)
    edit = Edit(site=Site.RESID_POST, layer=1, hook=replace_by(direction_of(model)))
    edited = attention_patterns(model, prompt, edits=[edit])
    torch.testing.assert_close(edited.patterns[:2], whole.patterns[:2])
    assert not torch.allclose(edited.patterns[2], whole.patterns[2], atol=1e-3)
    # The edit lies above the layer that is read.
    below = attention_patterns(model, prompt, layers=[0], edits=[edit])
    torch.testing.assert_close(below.patterns[0], whole.patterns[0])


def test_mass_is_the_sum_over_the_tokens(model: LensModel, make_prompts: MakePrompts) -> None:
    prompts = with_parts(make_prompts(3, answer=2))
    found = attention_mass(model, prompts, "persona", at="last_prompt")
    for row, prompt in enumerate(prompts):
        at = prompt.prompt_length - 1
        own = attention_patterns(model, prompt).patterns[:, :, at, :2].sum(dim=-1)
        torch.testing.assert_close(found.values[row], own, atol=1e-5, rtol=0)
        assert found.positions[row] == at
        assert float(found.even_share[row]) == pytest.approx(2 / (at + 1))
    mask = torch.zeros(3, 2, dtype=torch.bool)
    mask[:] = True
    for source in ([(0, 2)] * 3, mask):
        same = attention_mass(model, prompts, source, at="last_prompt", token_budget=30)
        torch.testing.assert_close(same.values, found.values, atol=1e-5, rtol=0)
    everything = attention_mass(model, prompts, [(0, 99)] * 3, layers=[1])
    torch.testing.assert_close(everything.values, torch.ones(3, 1, 4))
    torch.testing.assert_close(everything.even_share, torch.ones(3))


def test_the_requests_end_is_the_users_last_token(
    model: LensModel, make_prompts: MakePrompts
) -> None:
    prompts = with_parts(make_prompts(3))
    found = attention_mass(model, prompts, "persona", at="user_end")
    assert found.positions == (2, 2, 2)
    expected = attention_mass(model, prompts, "persona", at=2)
    torch.testing.assert_close(found.values, expected.values)
    with pytest.raises(ValueError, match=r"user turn in prompt 'p0', it has none"):
        attention_mass(model, make_prompts(1), [(0, 1)], at="user_end")


def test_what_cannot_be_looked_at_is_refused(model: LensModel, make_prompts: MakePrompts) -> None:
    prompts = with_parts(make_prompts(2))
    with pytest.raises(ValueError, match="at least one prompt, got none"):
        attention_mass(model, [], "persona")
    with pytest.raises(ValueError, match="at least one layer, got none"):
        attention_mass(model, prompts, "persona", layers=[])
    with pytest.raises(ValueError, match="at least one layer, got none"):
        attention_patterns(model, prompts[0], layers=[])
    with pytest.raises(ValueError, match="each of 2 prompts, got 1 rows"):
        attention_mass(model, prompts, [(0, 1)])
    with pytest.raises(ValueError, match=r"'p0' to hold source tokens up to position \d+"):
        attention_mass(model, prompts, "system")
    with pytest.raises(ValueError, match="source tokens up to position 0"):
        attention_mass(model, prompts, [(1, 2)] * 2, at=0)


def test_writes_are_what_the_heads_put_along_the_direction(
    model: LensModel, make_prompts: MakePrompts
) -> None:
    prompts = with_parts(make_prompts(2))
    direction = direction_of(model)
    unit = direction / direction.norm()
    found = head_writes(model, prompts, direction, "persona")
    rest = head_writes(model, prompts, direction, [(2, len(each.ids)) for each in prompts])
    torch.testing.assert_close(found.values + rest.values, found.total, atol=1e-4, rtol=1e-4)
    for row, prompt in enumerate(prompts):
        (batch,) = model_batches(model, [prompt])
        reads = run_batch(model, batch, reads=[(Site.Z, layer) for layer in range(3)]).reads
        for layer in range(3):
            written = written_by_heads(reads[Site.Z, layer][:, -1], head_weights(model, layer))
            torch.testing.assert_close(
                found.total[row, layer], written[0] @ unit, atol=1e-4, rtol=1e-4
            )
    opposite = head_writes(model, prompts, -7 * direction, "persona", layers=[2], token_budget=1)
    torch.testing.assert_close(opposite.values[:, 0], -found.values[:, 2], atol=1e-4, rtol=1e-4)
    assert opposite.layers == (2,)


@torch.no_grad()
def test_a_heads_own_writes_are_those_of_plain_transformers(
    model: LensModel, plain: Any, make_prompts: MakePrompts
) -> None:
    """From one token: its attention times its values through the output weights."""
    (prompt,) = make_prompts(1)
    if not hasattr(plain.hf, "model"):
        pytest.skip("its values are in one matrix with queries and keys")
    found = head_writes(model, [prompt], direction_of(model), [(1, 2)], at="last")
    run = plain.hf(
        torch.tensor([list(prompt.ids)]), output_attentions=True, output_hidden_states=True
    )
    unit = direction_of(model) / direction_of(model).norm()
    for layer, block in enumerate(plain.blocks):
        values = block.self_attn.v_proj(block.input_layernorm(run.hidden_states[layer][0, 1]))
        for head in range(4):
            # Two heads share each group of values.
            group = values.reshape(2, -1)[head // 2]
            out = block.self_attn.o_proj.weight.chunk(4, dim=1)[head] @ group
            own = run.attentions[layer][0, head, -1, 1] * (out @ unit)
            torch.testing.assert_close(found.values[0, layer, head], own, atol=1e-4, rtol=1e-4)


def test_ov_is_what_a_head_writes_where_every_token_is_the_direction(
    model: LensModel, make_prompts: MakePrompts
) -> None:
    prompts = make_prompts(1)
    read, write = direction_of(model, 1), direction_of(model, 2)
    found = ov_projection(model, read.expand(3, -1), write)
    for layer in range(3):
        # Whatever a head looks at, it reads the same; biases are the same both times. Long ones,
        # so that the norm's epsilon does not count.
        both = [
            head_writes(
                model,
                prompts,
                write,
                [(0, 1)],
                layers=[layer],
                edits=[Edit(site=Site.RESID_PRE, layer=layer, hook=replace_by(sign * read))],
            ).total[0, 0]
            for sign in (50, -50)
        ]
        torch.testing.assert_close(found[layer], (both[0] - both[1]) / 2, atol=1e-3, rtol=1e-3)
    longer = ov_projection(model, 9 * read.expand(1, -1), 5 * write, layers=[2])
    torch.testing.assert_close(longer[0], found[2], atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="each of 3 layers, got 1"):
        ov_projection(model, read[None], write)
