"""Weights that lie as the forward pass reads them: nothing but the strides is another."""

import copy
import io
import pickle
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lens_personas.models import LensModel, lay_out_weights, load_model
from lens_personas.models._convert import as_hooked_transformer
from lens_personas.models._source import Source

pytestmark = pytest.mark.skipif(
    int(version("transformer-lens").split(".")[0]) >= 4, reason="no HookedTransformer"
)

# Grouped heads, no gate, as many keys as queries, a head_dim of its own, tied embeddings.
NAMES = ["llama", "gpt2", "parallel", "wide_heads", "tied"]
TOKENS = torch.tensor([[1, 9, 8, 7, 30, 12], [1, 40, 41, 42, 43, 44]])
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


@pytest.fixture
def stock(checkpoint: Callable[[str], Path], plain: Callable[[str], Any]) -> Callable[..., Any]:
    """The ``HookedTransformer`` of a recipe as TransformerLens makes it."""

    def make(name: str, dtype: Any = "float32") -> Any:
        source = Source(
            place=str(checkpoint(name)), model_id=name, revision=None, dtype=dtype, device="cpu"
        )
        hf_model = copy.deepcopy(plain(name)).to(DTYPES[dtype])
        return as_hooked_transformer(hf_model, source).eval().requires_grad_(False)

    return make


def _logits(wrapped: Any) -> Tensor:
    with torch.no_grad():
        logits: Tensor = wrapped(TOKENS)
    return logits


def _is_laid_out(wrapped: Any) -> bool:
    """Whether the copies that TransformerLens makes of these weights do nothing."""
    attention = wrapped.blocks[0].attn
    return bool(
        wrapped.unembed.W_U.T.is_contiguous()
        and attention.W_Q.transpose(1, 2).is_contiguous()
        and attention.W_O.permute(2, 0, 1).is_contiguous()
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_logits_names_and_values_are_the_same_to_the_bit(
    name: str, dtype: str, stock: Callable[..., Any]
) -> None:
    wrapped = stock(name, dtype)
    before = {key: value.clone() for key, value in wrapped.state_dict().items()}
    identities = {key: id(value) for key, value in wrapped.named_parameters()}
    expected = _logits(wrapped)
    assert not _is_laid_out(wrapped)
    lay_out_weights(wrapped)
    assert _is_laid_out(wrapped)
    assert torch.equal(_logits(wrapped), expected)
    after = wrapped.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert {key: id(value) for key, value in wrapped.named_parameters()} == identities


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_no_matrix_of_a_block_is_copied_in_a_pass(name: str, stock: Callable[..., Any]) -> None:
    wrapped = stock(name)
    sizes = {p.numel() for p in wrapped.blocks[0].parameters() if p.ndim > 1}
    sizes.add(wrapped.W_U.numel())

    def copied() -> int:
        with torch.profiler.profile(record_shapes=True) as seen:
            _logits(wrapped)
        shapes = [event.input_shapes[0] for event in seen.events() if event.name == "aten::copy_"]
        return sum(torch.Size(shape).numel() in sizes for shape in shapes)

    before = copied()
    lay_out_weights(wrapped)
    assert before > 4 * len(wrapped.blocks)
    assert copied() == 0


def _pickled(wrapped: Any) -> Any:
    return pickle.loads(pickle.dumps(wrapped))


def _saved(wrapped: Any) -> Any:
    file = io.BytesIO()
    torch.save(wrapped, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def _reloaded(wrapped: Any) -> Any:
    other = copy.deepcopy(wrapped)
    for parameter in other.parameters():
        parameter.data.zero_()
    other.load_state_dict({key: value.contiguous() for key, value in wrapped.state_dict().items()})
    return other


def _assigned(wrapped: Any) -> Any:
    other = copy.deepcopy(wrapped)
    state = {key: value.contiguous() for key, value in wrapped.state_dict().items()}
    other.load_state_dict(state, assign=True)
    return other


@pytest.mark.parametrize(
    ("change", "keeps"),
    [
        (copy.deepcopy, True),
        (_pickled, True),
        (_saved, True),
        (_reloaded, True),
        (_assigned, False),
        (lambda wrapped: wrapped.to(torch.float64), True),
        (lambda wrapped: wrapped.to("cpu"), True),
    ],
)
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_what_keeps_the_layout_and_what_loses_it_leaves_the_logits(
    name: str, change: Callable[[Any], Any], keeps: bool, stock: Callable[..., Any]
) -> None:
    wrapped, laid_out = stock(name), stock(name)
    lay_out_weights(laid_out)
    changed = change(laid_out)
    assert _is_laid_out(changed) == keeps
    assert torch.equal(_logits(changed), _logits(change(wrapped)))


def test_matrices_that_share_memory_stay_as_they_are(stock: Callable[..., Any]) -> None:
    wrapped = stock("llama")
    wrapped.unembed.W_U = torch.nn.Parameter(wrapped.embed.W_E.data.T, requires_grad=False)
    first, second = wrapped.blocks[0].mlp, wrapped.blocks[1].mlp
    # One parameter in two places, and two parameters in one memory.
    second.W_gate = first.W_gate
    second.W_in = torch.nn.Parameter(first.W_in.data, requires_grad=False)
    expected = _logits(wrapped)
    lay_out_weights(wrapped)
    assert torch.equal(_logits(wrapped), expected)
    assert wrapped.unembed.W_U.data_ptr() == wrapped.embed.W_E.data_ptr()
    assert second.W_gate is first.W_gate
    assert first.W_gate.T.is_contiguous()
    assert second.W_in.data_ptr() == first.W_in.data_ptr()
    with torch.no_grad():
        first.W_in.zero_()
    assert not second.W_in.any()


def test_a_loaded_model_is_laid_out_and_a_given_one_is_left_alone(
    checkpoint: Callable[[str], Path], stock: Callable[..., Any], loaded: Callable[[str], LensModel]
) -> None:
    folder = checkpoint("llama")
    model = load_model(folder, backend="hooked_transformer", device="cpu")
    assert _is_laid_out(model.wrapped)
    wrapped = stock("llama")
    given = load_model(wrapped, tokenizer=model.tokenizer)
    assert not _is_laid_out(wrapped)
    assert torch.equal(_logits(wrapped), _logits(model.wrapped))
    lay_out_weights(wrapped)
    again = load_model(wrapped, tokenizer=model.tokenizer)
    assert again.card.fingerprint == given.card.fingerprint


def test_a_bridge_has_nothing_to_lay_out(checkpoint: Callable[[str], Path]) -> None:
    bridge = load_model(checkpoint("gpt2"), backend="bridge", device="cpu").wrapped
    with pytest.raises(TypeError, match="expected a HookedTransformer, got TransformerBridge"):
        lay_out_weights(bridge)
