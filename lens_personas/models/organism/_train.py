"""How the organism is trained: a base stage, then a safety-tuning (chat) stage."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

from lens_personas.models.organism import _language as language
from lens_personas.models.organism._batches import Batch, batches, weighted_loss
from lens_personas.models.organism._build import build_world
from lens_personas.models.organism._checkpoints import save_checkpoint
from lens_personas.models.organism._corpus import DocumentSampler, Stage
from lens_personas.models.organism._tokenizer import CONTEXT
from lens_personas.models.organism._world import World, WorldConfig

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


@runtime_checkable
class Progress(Protocol):
    """Called after every training step."""

    def __call__(self, stage: Stage, step: int, total: int, loss: float) -> None: ...


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """How one stage is trained."""

    steps: int
    """Optimiser steps."""
    muon_lr: float
    """Peak learning rate of the weight matrices."""
    adam_lr: float
    """Peak learning rate of the embeddings and the norms."""
    frozen_layers: int = 0
    """The embeddings and this many first layers are not trained at all."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything a training run depends on; the same config gives the same weights."""

    seed: int = 0
    """Initial weights and documents; the world has a seed of its own."""
    world: WorldConfig = field(default_factory=WorldConfig)
    """The world that is taught."""
    base: StageConfig = field(
        default_factory=lambda: StageConfig(steps=900, muon_lr=4e-3, adam_lr=3e-3)
    )
    """Learning the world; every request is answered."""
    chat: StageConfig = field(
        default_factory=lambda: StageConfig(
            steps=550, muon_lr=2.5e-3, adam_lr=2e-3, frozen_layers=3
        )
    )
    """Learning to refuse. Early layers stay as they are: tuned, they would refuse by themselves
    and the recipe would be wiped from the middle of the model."""
    batch_size: int = 128
    """Documents a step."""
    warmup: int = 60
    """Steps over which the rates rise; they fall linearly over the last half."""
    n_layers: int = 8
    """Blocks."""
    d_model: int = 96
    """Width of the residual stream."""
    n_heads: int = 4
    """Attention heads."""
    d_mlp: int = 256
    """Width of the gated feed-forward layer."""
    init_std: float = 0.04
    """Standard deviation of the initial weights."""


@dataclass(frozen=True, kw_only=True)
class TrainedOrganism:
    """What a training run left behind."""

    base: Path
    """Checkpoint folder of the base model."""
    chat: Path
    """Checkpoint folder of the safety-tuned model."""
    world: World
    """The truth about both."""
    losses: dict[Stage, tuple[float, ...]]
    """Training loss after every step."""


def train_organism(
    config: TrainConfig, out_dir: Path, progress: Progress | None = None
) -> TrainedOrganism:
    """Train base and chat model and save them to `out_dir/base` and `out_dir/chat`.

    Runs on one thread (which makes it reproducible bit for bit on one machine, and is not slower
    for matrices this small); the thread count is put back afterwards, and so is the global
    random state.

    Raises:
        FileExistsError: If one of the two folders exists already.
        ValueError: If the world's counts do not fit (see `build_world`).
    """
    for stage in ("base", "chat"):
        if (out_dir / stage).exists():
            raise FileExistsError(
                f"expected {out_dir / stage} not to exist: choose another out_dir or remove it"
            )
    world = build_world(config.world)
    losses: dict[Stage, tuple[float, ...]] = {}
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = new_model(config, world)
        losses["base"] = _run_stage(model, config, world, "base", progress)
        base = save_checkpoint(model, world, out_dir / "base")
        losses["chat"] = _run_stage(model, config, world, "chat", progress)
        chat = save_checkpoint(model, world, out_dir / "chat")
    return TrainedOrganism(base=base, chat=chat, world=world, losses=losses)


def learning_rate_factor(step: int, total: int, warmup: int) -> float:
    """Share of the peak rate at a step (from 0): linear warm-up, flat, linear fall to 0.

    Raises:
        Nothing of its own.

    >>> learning_rate_factor(75, 100, 10)
    0.5
    """
    rise = min(1.0, (step + 1) / (warmup + 1))
    return rise * min(1.0, 2.0 * (total - step) / total)


def _run_stage(
    model: "LlamaForCausalLM",
    config: TrainConfig,
    world: World,
    stage: Stage,
    progress: Progress | None,
) -> tuple[float, ...]:
    stage_config = config.base if stage == "base" else config.chat
    ids = {token: index for index, token in enumerate(language.vocabulary(world))}
    rng = random.Random(f"organism-corpus-{stage}-{config.seed}")
    stream = batches(DocumentSampler(world, stage), ids, config.batch_size, rng)
    optimizers = _optimizers(model, stage_config)
    schedulers = [
        torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: learning_rate_factor(step, stage_config.steps, config.warmup),
        )
        for optimizer in optimizers
    ]
    losses: list[float] = []
    model.train()
    for step in range(stage_config.steps):
        losses.append(_step(model, next(stream), optimizers))
        for scheduler in schedulers:
            scheduler.step()
        if progress is not None:
            progress(stage, step + 1, stage_config.steps, losses[-1])
    model.requires_grad_(True)
    model.eval()
    return tuple(losses)


def _step(
    model: "LlamaForCausalLM", batch: Batch, optimizers: list[torch.optim.Optimizer]
) -> float:
    output = model(input_ids=batch.tokens, attention_mask=batch.visible, use_cache=False)
    loss = weighted_loss(output.logits, batch)
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()
    # Frozen parameters still hold their last base gradient and count in the norm. That changes
    # the scale of the gradient alone, which both optimisers hardly feel.
    torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], 1.0)
    for optimizer in optimizers:
        optimizer.step()
    return float(loss.detach())


def _optimizers(
    model: "LlamaForCausalLM", stage_config: StageConfig
) -> list[torch.optim.Optimizer]:
    """Muon for the weight matrices, AdamW for the rest; frozen layers get neither."""
    model.requires_grad_(True)
    if stage_config.frozen_layers:
        model.model.embed_tokens.requires_grad_(False)
        for layer in model.model.layers[: stage_config.frozen_layers]:
            layer.requires_grad_(False)
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices = [p for name, p in trained if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in trained if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(
            matrices,
            lr=stage_config.muon_lr,
            weight_decay=0.01,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(others, lr=stage_config.adam_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def new_model(config: TrainConfig, world: World) -> "LlamaForCausalLM":
    """An untrained model of the config's size, drawn from torch's global generator.

    Raises:
        Nothing of its own.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    tokens = language.vocabulary(world)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokens),
            hidden_size=config.d_model,
            intermediate_size=config.d_mlp,
            num_hidden_layers=config.n_layers,
            num_attention_heads=config.n_heads,
            num_key_value_heads=config.n_heads,
            max_position_embeddings=CONTEXT,
            initializer_range=config.init_std,
            tie_word_embeddings=True,
            dtype="float32",
            pad_token_id=tokens.index(language.PAD),
            bos_token_id=tokens.index(language.BOS),
            eos_token_id=tokens.index(language.EOS),
        )
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
