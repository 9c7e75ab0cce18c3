"""Blocks spread over devices. Here there is one: accelerate is made to act all the same."""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from accelerate import dispatch_model
from accelerate.hooks import AlignDevicesHook
from torch import Tensor

from lens_personas.hooks import Edit, Site, ablate_direction, add_direction
from lens_personas.models import (
    LensModel,
    ModelLoadError,
    Prompt,
    generate,
    load_model,
    map_last_logits,
    model_batches,
    run_batch,
)
from lens_personas.models._backends import Counted

N_LAYERS = 3
ON_DISK = {
    "model.embed_tokens": "cpu",
    "model.rotary_emb": "cpu",
    "model.layers.0": "cpu",
    "model.layers.1": "disk",
    "model.layers.2": "disk",
    "model.norm": "cpu",
    "lm_head": "cpu",
}
IN_MEMORY = dict.fromkeys(ON_DISK, "cpu")

runs_from_disk = pytest.mark.skipif(
    version("transformer-lens") < "4", reason="the bridge of TransformerLens 3 refuses disk"
)


@pytest.fixture(scope="module")
def whole(tiny_checkpoint: Path) -> LensModel:
    return load_model(tiny_checkpoint, backend="bridge", device="cpu")


def _edits() -> tuple[Edit, ...]:
    direction = torch.linspace(-1, 1, 32)
    return (
        Edit(site=Site.RESID_POST, layer=0, hook=add_direction(direction, dose=2.0)),
        Edit(site=Site.RESID_POST, layer=2, hook=ablate_direction(direction)),
    )


def _same(model: LensModel, whole: LensModel, prompts: Sequence[Prompt]) -> None:
    """Logits, activations of every block and answers, edited and not, are those of ``whole``."""
    for edits in ((), _edits()):
        found, true = (
            map_last_logits(each, prompts, lambda rows: rows, edits=edits)
            for each in (model, whole)
        )
        torch.testing.assert_close(found, true, atol=1e-5, rtol=0)
        written, wanted = (
            generate(each, prompts, max_new_tokens=6, edits=edits) for each in (model, whole)
        )
        assert [each.ids for each in written] == [each.ids for each in wanted]
    places = [(Site.RESID_POST, layer) for layer in range(N_LAYERS)]
    (batch,) = model_batches(whole, prompts)
    reads = [run_batch(each, batch, reads=places, plain=True).reads for each in (model, whole)]
    for place in places:
        torch.testing.assert_close(reads[0][place], reads[1][place], atol=1e-5, rtol=0)


def test_blocks_that_accelerate_hooks_give_the_same_numbers(
    tiny_checkpoint: Path, whole: LensModel, prompts: tuple[Prompt, ...]
) -> None:
    from transformer_lens.model_bridge import TransformerBridge

    plain = transformers.AutoModelForCausalLM.from_pretrained(
        tiny_checkpoint, dtype=torch.float32, attn_implementation="eager"
    )
    # Left to itself accelerate puts no hook on a model that lies on one device.
    hooked = dispatch_model(plain.eval(), IN_MEMORY, force_hooks=True)
    blocks = [hooked.get_submodule(f"model.layers.{at}") for at in range(N_LAYERS)]
    assert all(isinstance(block._hf_hook, AlignDevicesHook) for block in blocks)
    moved = _count_moves(blocks)
    bridge: Any = TransformerBridge.boot_transformers(
        str(tiny_checkpoint), hf_model=hooked, tokenizer=whole.tokenizer
    )
    model = load_model(bridge)
    moved.clear()
    _same(model, whole, prompts)
    assert set(moved) == set(range(N_LAYERS))


def _count_moves(blocks: Sequence[Any]) -> list[int]:
    """Which block's hook looked after its inputs, each time one did."""
    moved: list[int] = []

    def counting(at: int, look: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            moved.append(at)
            return look(*args, **kwargs)

        return call

    for at, block in enumerate(blocks):
        block._hf_hook.pre_forward = counting(at, block._hf_hook.pre_forward)
    return moved


@runs_from_disk
def test_blocks_on_disk_give_the_same_numbers(
    tiny_checkpoint: Path, whole: LensModel, prompts: tuple[Prompt, ...]
) -> None:
    model = load_model(tiny_checkpoint, device_map=ON_DISK)
    held = dict(model.wrapped.original_model.named_parameters())
    assert {p.device.type for p in held.values()} == {"cpu", "meta"}
    assert model.card.fingerprint == whole.card.fingerprint
    assert model.card.tied_embeddings == whole.card.tied_embeddings
    assert model.card.lens_is_exact
    _same(model, whole, prompts)


@pytest.mark.skipif(version("transformer-lens") >= "4", reason="the bridge of 4 runs from disk")
def test_the_bridge_that_cannot_run_from_disk_is_said(tiny_checkpoint: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"expected a device map that .* can run.*disk"):
        load_model(tiny_checkpoint, device_map=ON_DISK)


def test_a_map_takes_the_bridge_and_whole_passes(
    tiny_checkpoint: Path, whole: LensModel, prompts: tuple[Prompt, ...]
) -> None:
    model = load_model(tiny_checkpoint, device_map=IN_MEMORY)
    assert model.card.backend == "bridge"
    assert model.card.fingerprint == whole.card.fingerprint
    assert whole.card.drives_blocks
    assert not model.card.drives_blocks
    _same(model, whole, prompts)


def test_a_hook_sees_the_tokens_device_and_its_block_gets_its_own_back() -> None:
    seen: list[str] = []

    def hook(activation: Tensor, /, *, hook: object) -> Tensor:
        seen.append(activation.device.type)
        return torch.ones(2)

    point = _Point()
    counted = Counted({(Site.RESID_POST, 0): hook}, device=torch.device("meta"))
    with counted.attached({Site.RESID_POST.hook_name(0): point}):
        out = point.fwd_hooks[0].call(torch.zeros(2), hook=None)
    # The only second device that is everywhere is one that holds no numbers.
    assert seen == ["meta"]
    assert out.device.type == "cpu"


class _Point:
    """A hook point as TransformerLens has it."""

    def __init__(self) -> None:
        self.fwd_hooks: list[Any] = []

    def add_hook(self, call: Callable[..., Tensor]) -> None:
        self.fwd_hooks.append(_Handle(call))


class _Handle:
    def __init__(self, call: Callable[..., Tensor]) -> None:
        self.call, self.hook = call, self

    def remove(self) -> None:
        """Nothing was put on a module."""


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"device": "cpu"}, "expected device='auto' beside a device_map, got 'cpu'"),
        ({"backend": "hooked_transformer"}, "expected backend='bridge' or 'auto' for a device_map"),
    ],
)
def test_what_a_map_does_not_go_with_is_said(
    tiny_checkpoint: Path, options: dict[str, Any], match: str
) -> None:
    with pytest.raises(ModelLoadError, match=match):
        load_model(tiny_checkpoint, device_map="auto", **options)
