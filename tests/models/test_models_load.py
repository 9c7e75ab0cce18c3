"""Every way to name a model, and what is said when there is none."""

import copy
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from lens_personas.models import (
    LensModel,
    ModelLoadError,
    Prompt,
    load_model,
    map_last_logits,
    pad,
    run_batch,
)
from lens_personas.models._source import check_choices


def _logits(model: LensModel, prompts: tuple[Prompt, ...]) -> torch.Tensor:
    return map_last_logits(model, prompts, lambda rows: rows)


def _hf_logits(hf_model: Any, prompts: tuple[Prompt, ...]) -> torch.Tensor:
    with torch.no_grad():
        rows = [hf_model(torch.tensor([p.ids])).logits[0, -1] for p in prompts]
    return torch.stack(rows)


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen2", "gemma2", "wide_heads", "rope"])
def test_logits_are_those_of_transformers(
    name: str,
    loaded: Callable[[str], LensModel],
    plain: Callable[[str], Any],
    prompts: tuple[Prompt, ...],
) -> None:
    # Gotcha 4e: among them a head_dim of its own and GPT-2's lack of n_ctx.
    torch.testing.assert_close(
        _logits(loaded(name), prompts), _hf_logits(plain(name), prompts), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("name", ["gemma2", "attention_bias"])
def test_auto_takes_the_bridge_where_hooked_transformer_would_be_wrong(
    name: str,
    checkpoint: Callable[[str], Path],
    plain: Callable[[str], Any],
    prompts: tuple[Prompt, ...],
) -> None:
    # TransformerLens 3 drops Llama's attention biases without a word.
    model = load_model(checkpoint(name), device="cpu")
    assert model.card.backend == "bridge"
    torch.testing.assert_close(
        _logits(model, prompts), _hf_logits(plain(name), prompts), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("gemma2", "expected an architecture that HookedTransformer knows, got 'gemma2'"),
        ("attention_bias", "expected HookedTransformer to give transformers' logits"),
    ],
)
def test_hooked_transformer_is_refused_where_it_would_be_wrong(
    name: str, match: str, backend: Any, checkpoint: Callable[[str], Path]
) -> None:
    if backend != "hooked_transformer":
        pytest.skip("about HookedTransformer")
    with pytest.raises(ModelLoadError, match=match):
        load_model(checkpoint(name), backend="hooked_transformer", device="cpu")


def test_hooked_transformer_is_not_in_transformer_lens_4(
    backend: Any, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lens_personas.models._load.version", lambda _: "4.3.0")
    with pytest.raises(ModelLoadError, match=r"use backend='bridge' or install transformer-lens<4"):
        load_model(tiny_checkpoint, backend="hooked_transformer", device="cpu")
    assert load_model(tiny_checkpoint, device="cpu").card.backend == "bridge"


@pytest.mark.parametrize("folder", ["my-llama-bert", "gemma-t5-qwen"])
def test_gotcha_4e_words_in_the_path_do_not_mislead(
    folder: str,
    backend: Any,
    tiny_gpt2_checkpoint: Path,
    plain: Callable[[str], Any],
    prompts: tuple[Prompt, ...],
    tmp_path: Path,
) -> None:
    shutil.copytree(tiny_gpt2_checkpoint, tmp_path / folder)
    model = load_model(tmp_path / folder, backend=backend, device="cpu")
    assert model.card.model_id == folder
    assert model.card.architecture == "GPT2LMHeadModel"
    torch.testing.assert_close(
        _logits(model, prompts), _hf_logits(plain("gpt2"), prompts), atol=1e-4, rtol=0
    )


def test_gotcha_4e_words_in_the_temporary_path(
    backend: Any, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend != "hooked_transformer":
        pytest.skip("the bridge writes no temporary folder")
    trapped = tmp_path / "bert"
    trapped.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(trapped))
    with pytest.raises(ModelLoadError, match="expected a temporary folder without llama"):
        load_model(tiny_checkpoint, backend=backend, device="cpu")
    # A random name that happens to hold such a word is drawn anew.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names = iter(["at5at5at", "neutral1", "neutral2", "neutral3"])
    monkeypatch.setattr(tempfile, "_get_candidate_names", lambda: names)
    assert load_model(tiny_checkpoint, backend=backend, device="cpu").card.n_layers == 3


def test_gotcha_4e_config_without_architectures(
    backend: Any, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "plain")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": None}))
    assert load_model(folder, backend=backend, device="cpu").card.n_layers == 3


def test_gotcha_4e_tokenizer_made_in_memory(
    backend: Any, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(
        tiny_checkpoint, tmp_path / "plain", ignore=shutil.ignore_patterns("token*", "chat*")
    )
    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)
    tokenizer.init_kwargs.pop("name_or_path", None)
    model = load_model(folder, backend=backend, device="cpu", tokenizer=tokenizer)
    assert model.tokenizer.get_vocab() == tokenizer.get_vocab()
    assert "name_or_path" not in tokenizer.init_kwargs, "the caller's tokenizer was changed"


def test_gotcha_22_dtype_is_float32_unless_asked(
    backend: Any,
    tiny_checkpoint: Path,
    plain: Callable[[str], Any],
    prompts: tuple[Prompt, ...],
    tmp_path: Path,
) -> None:
    half = copy.deepcopy(plain("llama")).to(torch.bfloat16)
    half.save_pretrained(tmp_path)
    for path in tiny_checkpoint.glob("token*"):
        shutil.copy(path, tmp_path)
    assert load_model(tmp_path, backend=backend, device="cpu").card.dtype == "float32"
    model = load_model(tmp_path, backend=backend, device="cpu", dtype="bfloat16")
    assert model.card.dtype == "bfloat16"
    assert model.card.residual_identity_holds
    assert model.card.lens_is_exact
    assert run_batch(model, pad(prompts, [0], pad_id=0)).resid.dtype == torch.bfloat16
    logits = _logits(model, prompts)
    assert logits.dtype == torch.float32
    exact = _hf_logits(half.float(), prompts)
    assert (logits - exact).norm() < 0.1 * exact.norm()


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_an_object_runs_as_it_is(
    name: str,
    loaded: Callable[[str], LensModel],
    plain: Callable[[str], Any],
    prompts: tuple[Prompt, ...],
) -> None:
    given = loaded(name).wrapped
    model = load_model(given)
    assert model.wrapped is given
    assert model.card.weight_processing == "as given"
    assert model.card.backend == loaded(name).card.backend
    assert model.card.tied_embeddings == loaded(name).card.tied_embeddings
    assert model.card.residual_identity_holds
    torch.testing.assert_close(
        _logits(model, prompts), _hf_logits(plain(name), prompts), atol=1e-4, rtol=0
    )
    assert load_model(given).card == model.card
    tokenizer = given.tokenizer
    given.tokenizer = None
    try:
        with pytest.raises(ModelLoadError, match=r"a model with a tokenizer; pass tokenizer="):
            load_model(given)
        assert load_model(given, tokenizer=tokenizer).tokenizer is tokenizer
    finally:
        given.tokenizer = tokenizer


def test_an_object_processed_by_transformer_lens_still_runs(
    loaded: Callable[[str], LensModel], plain: Callable[[str], Any], prompts: tuple[Prompt, ...]
) -> None:
    model = loaded("llama")
    if model.card.backend != "hooked_transformer":
        pytest.skip("weights are folded in HookedTransformer only")
    folded = copy.deepcopy(model.wrapped)
    folded.load_and_process_state_dict(folded.state_dict(), fold_ln=True, center_unembed=True)
    wanted = _hf_logits(plain("llama"), prompts).log_softmax(-1)
    given = load_model(folded)
    torch.testing.assert_close(_logits(given, prompts).log_softmax(-1), wanted, atol=1e-4, rtol=0)
    assert given.card.fingerprint != load_model(model.wrapped).card.fingerprint


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("/no/such/folder", "organism:base, organism:ungated, an existing checkpoint folder"),
        ("organism:poet", "organism:chat or organism:ungated, got 'organism:poet'"),
        ("nobody/nothing", "found none: .*check the name, the folder and the network"),
        (3, "expected a name, a folder, a HookedTransformer or a TransformerBridge, got int"),
    ],
)
def test_a_name_that_is_no_model(name: object, match: str) -> None:
    with pytest.raises(ModelLoadError, match=match):
        load_model(name)


def test_a_folder_that_is_no_checkpoint(tmp_path: Path, tiny_checkpoint: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ModelLoadError, match=r"with config.json, got .*notes\.txt"):
        load_model(tmp_path)
    with pytest.raises(ModelLoadError, match=r"expected organism:chat, .*, an existing"):
        load_model(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("left_out", "match"),
    [
        ("token*", "expected a model with a tokenizer at"),
        ("*.safetensors", "expected the weights of a causal language model at"),
    ],
)
def test_a_checkpoint_that_lacks_a_part(
    left_out: str, match: str, backend: Any, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(
        tiny_checkpoint, tmp_path / "part", ignore=shutil.ignore_patterns(left_out)
    )
    with pytest.raises(ModelLoadError, match=match):
        load_model(folder, backend=backend, device="cpu")


def test_a_checkpoint_that_is_broken(backend: Any, tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "broken")
    (folder / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(ModelLoadError, match="could not read them"):
        load_model(folder, backend=backend, device="cpu")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "unheard-of"}))
    with pytest.raises(ModelLoadError, match="unheard-of"):
        load_model(folder, backend=backend, device="cpu")


def test_choices_that_do_not_exist(tiny_checkpoint: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"expected dtype among float32, .*, got 'int8'"):
        check_choices("int8", "auto")
    with pytest.raises(ModelLoadError, match=r"expected backend among auto, .*, got 'jax'"):
        check_choices("float32", "jax")
    with pytest.raises(ModelLoadError, match=r"expected device auto, cpu, .*, got 'abacus'"):
        load_model(tiny_checkpoint, device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(ModelLoadError, match="expected a device of this machine, got 'cuda'"):
            load_model(tiny_checkpoint, device="cuda")
