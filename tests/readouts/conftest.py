"""Tiny models of two architectures, with plain transformers beside them as the reference."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from lens_personas.models import LensModel, Prompt, load_model

# The first call of a checked function builds its checks, which takes longer than the deadline.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

WORDS = "<pad> <unk> i sorry will not can ' boil it now ."


@dataclass(frozen=True, kw_only=True)
class Plain:
    """A model in plain transformers, run one prompt at a time without padding."""

    hf: Any

    @property
    def blocks(self) -> Any:
        return self.hf.model.layers if hasattr(self.hf, "model") else self.hf.transformer.h

    @property
    def norm(self) -> Any:
        return self.hf.model.norm if hasattr(self.hf, "model") else self.hf.transformer.ln_f

    @property
    def unembedding(self) -> torch.Tensor:
        return self.hf.lm_head.weight.detach()

    @torch.no_grad()
    def logits(self, ids: tuple[int, ...]) -> torch.Tensor:
        """Logits at every position of one prompt."""
        return self.hf(torch.tensor([ids])).logits[0]

    @torch.no_grad()
    def lens(self, ids: tuple[int, ...]) -> torch.Tensor:
        """Lens logits, ``[layer, pos, d_vocab]``, from hooks on the blocks."""
        kept: list[torch.Tensor] = []

        def keep(_block: Any, _inputs: Any, output: Any) -> None:
            kept.append(output[0] if isinstance(output, tuple) else output)

        handles = [block.register_forward_hook(keep) for block in self.blocks]
        self.hf(torch.tensor([ids]))
        for handle in handles:
            handle.remove()
        return torch.stack([self.hf.lm_head(self.norm(resid))[0] for resid in kept])


@pytest.fixture(scope="session", params=["tiny_checkpoint", "tiny_gpt2_checkpoint"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoints with an uneven final norm, so that its gain and bias matter."""
    source = request.getfixturevalue(request.param)
    hf = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in Plain(hf=hf).norm.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    folder = tmp_path_factory.mktemp("uneven")
    hf.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def plain(checkpoint: Path) -> Plain:
    """The reference."""
    hf = AutoModelForCausalLM.from_pretrained(
        checkpoint, dtype=torch.float32, attn_implementation="eager"
    )
    return Plain(hf=hf.eval())


@pytest.fixture(scope="session")
def model(checkpoint: Path, backend: str) -> LensModel:
    """The same model with hooks, by each backend. Shared: do not change it."""
    return load_model(str(checkpoint), backend=backend, device="cpu")


@pytest.fixture(scope="session")
def make_prompts(model: LensModel) -> Callable[..., list[Prompt]]:
    """Prompts of random ids and unequal lengths, with an answer where asked."""

    def make(n: int = 7, *, seed: int = 0, answer: int = 0) -> list[Prompt]:
        generator = torch.Generator().manual_seed(seed)
        made = []
        for number in range(n):
            length = int(torch.randint(3, 14, (1,), generator=generator))
            n_answer = answer and 1 + (number + answer) % answer
            ids = torch.randint(
                7, model.card.d_vocab, (length + n_answer,), generator=generator
            ).tolist()
            made.append(prompt(ids, length, f"p{number}"))
        return made

    return make


@pytest.fixture(scope="session")
def word_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer of a dozen lower-case words."""
    vocabulary = {word: index for index, word in enumerate(WORDS.split())}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>")


def prompt(ids: list[int] | tuple[int, ...], length: int, prompt_id: str) -> Prompt:
    """A prompt of these ids of which the first ``length`` come before the answer."""
    return Prompt(
        prompt_id=prompt_id,
        ids=tuple(ids),
        prompt_length=length,
        spans={"prompt": (0, length), "answer": (length, len(ids))},
        text="",
    )


@pytest.fixture(scope="session")
def shortened() -> Callable[[Prompt, int], Prompt]:
    """Function that cuts a prompt after its first ``n`` tokens, without any answer."""
    return lambda whole, n: prompt(whole.ids[:n], n, whole.prompt_id)
