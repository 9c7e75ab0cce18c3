"""What the card says is what the model does."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lens_personas.hooks import Edit, Site
from lens_personas.models import LensModel, Prompt, load_model, pad, run_batch


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen2", "gemma2"])
def test_sizes_are_those_of_the_config(
    name: str, loaded: Callable[[str], LensModel], plain: Callable[[str], Any]
) -> None:
    card, config = loaded(name).card, plain(name).config
    assert card.n_layers == config.num_hidden_layers
    assert card.d_model == config.hidden_size
    assert card.n_heads == config.num_attention_heads
    assert card.d_vocab == config.vocab_size
    assert card.n_ctx == config.max_position_embeddings
    assert card.architecture == type(plain(name)).__name__
    assert card.weight_processing == "none"
    assert (card.dtype, card.device) == ("float32", "cpu")


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen2", "gemma2"])
def test_gotcha_3_identity_is_measured_to_hold(
    name: str, loaded: Callable[[str], LensModel]
) -> None:
    card = loaded(name).card
    assert card.residual_identity_error < 1e-5
    assert card.residual_identity_holds
    assert card.lens_is_exact


def test_gotcha_3_component_sites_of_post_norms_are_what_is_added(
    checkpoint: Callable[[str], Path], plain: Callable[[str], Any], prompts: tuple[Prompt, ...]
) -> None:
    model = load_model(checkpoint("gemma2"), device="cpu")
    added: dict[str, Tensor] = {}
    layer = plain("gemma2").model.layers[1]
    handle = layer.post_feedforward_layernorm.register_forward_hook(
        lambda module, given, out: added.update(mlp=out)
    )
    try:
        with torch.no_grad():
            plain("gemma2")(torch.tensor([prompts[0].ids]))
    finally:
        handle.remove()
    run = run_batch(model, pad(prompts, [0], pad_id=0), reads=[(Site.MLP_OUT, 1)])
    torch.testing.assert_close(run.reads[Site.MLP_OUT, 1], added["mlp"], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("factor", "error"), [(0.5, 1.0), (math.nan, math.nan)])
def test_gotcha_3_a_model_whose_identity_fails_says_so(
    factor: float, error: float, backend: Any, tiny_checkpoint: Path
) -> None:
    given = load_model(tiny_checkpoint, backend=backend, device="cpu").wrapped
    # A factor a layer, as some architectures have: (whole - half) / half = 1.
    point = given.hook_dict[Site.RESID_POST.hook_name(1)]
    point.register_forward_hook(lambda module, args, out: factor * out)
    card = load_model(given).card
    assert card.residual_identity_error == pytest.approx(error, nan_ok=True)
    assert not card.residual_identity_holds


def test_gotcha_3_parallel_blocks_hold(loaded: Callable[[str], LensModel]) -> None:
    card = loaded("parallel").card
    assert card.residual_identity_holds
    assert not card.edits_resid_mid


def test_gotcha_4c_edits_at_resid_mid_are_measured_and_refused(
    loaded: Callable[[str], LensModel], prompts: tuple[Prompt, ...]
) -> None:
    model = loaded("llama")
    assert model.card.edits_resid_mid == (model.card.backend == "hooked_transformer")

    def push(activation: Tensor, /, *, hook: object) -> Tensor:
        return activation + 10

    batch = pad(prompts, [0, 1], pad_id=0)
    edit = Edit(site=Site.RESID_MID, layer=1, hook=push)
    if not model.card.edits_resid_mid:
        with pytest.raises(ValueError, match="resid_mid does not reach the residual stream"):
            run_batch(model, batch, edits=[edit])
        # What the refusal is for: put on by hand, the edit does not arrive in full.
        moved = model.run(
            batch.tokens,
            batch.layout.positions,
            hooks={(Site.RESID_MID, 1): push},
            cache=None,
            last_layer=1,
        )
    else:
        moved = run_batch(model, batch, edits=[edit], last_layer=1).resid
    run = run_batch(model, batch, reads=[(Site.RESID_MID, 1), (Site.MLP_OUT, 1)], last_layer=1)
    carried = (moved - run.resid)[batch.layout.positions >= 0].mean()
    assert (carried > 5) == model.card.edits_resid_mid


@pytest.mark.parametrize(("name", "tied"), [("tied", True), ("gpt2", True), ("llama", False)])
def test_gotcha_6_tied_embeddings_are_recorded(
    name: str, tied: bool, loaded: Callable[[str], LensModel]
) -> None:
    assert loaded(name).card.tied_embeddings is tied


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen2", "tied"])
def test_fingerprint_is_of_the_weights_not_of_what_runs_them(
    name: str, loaded: Callable[[str], LensModel], checkpoint: Callable[[str], Path]
) -> None:
    other = load_model(checkpoint(name), backend="bridge", device="cpu")
    assert loaded(name).card.fingerprint == other.card.fingerprint


def test_fingerprints_of_other_weights_differ(
    loaded: Callable[[str], LensModel], checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    names = ["llama", "gpt2", "qwen2", "gemma2", "tied", "wide_heads", "rope", "other"]
    prints = [loaded(name).card.fingerprint for name in names]
    assert len(set(prints)) == len(names)
    # One matrix, a little.
    changed = AutoModelForCausalLM.from_pretrained(checkpoint("llama"), dtype=torch.float32)
    with torch.no_grad():
        changed.model.layers[1].mlp.up_proj.weight += 1e-3
    changed.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(checkpoint("llama")).save_pretrained(tmp_path)
    assert load_model(tmp_path, device="cpu").card.fingerprint != loaded("llama").card.fingerprint


def test_the_embedded_pair_has_two_fingerprints(chat_model: Any, base_model: Any) -> None:
    assert chat_model.card.fingerprint != base_model.card.fingerprint
    assert chat_model.card.model_id == "organism:chat"
    assert chat_model.card.chat_template_hash is not None


def test_hashes_tell_tokenizers_and_templates_apart(loaded: Callable[[str], LensModel]) -> None:
    chat, base = loaded("llama").card, loaded("gpt2").card
    assert chat.tokenizer_hash == base.tokenizer_hash
    assert base.chat_template_hash is None
    assert chat.chat_template_hash is not None


def test_loading_leaves_no_hook(loaded: Callable[[str], LensModel]) -> None:
    points = loaded("llama").wrapped.hook_dict.values()
    assert not any(point.fwd_hooks for point in points)
