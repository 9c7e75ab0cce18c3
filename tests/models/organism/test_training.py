"""Training: reproducible, learns, and leaves ordinary checkpoints; nothing half-written."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lens_personas.models.organism import (
    StageConfig,
    TrainConfig,
    TrainedOrganism,
    WorldConfig,
    build_world,
    load_world,
    train_organism,
)
from lens_personas.models.organism._batches import (
    batches,
    make_batch,
    visible_positions,
    weighted_loss,
)
from lens_personas.models.organism._checkpoints import save_checkpoint
from lens_personas.models.organism._corpus import DocumentSampler, Stage
from lens_personas.models.organism._documents import Document
from lens_personas.models.organism._language import vocabulary
from lens_personas.models.organism._train import learning_rate_factor, new_model

WORLD = build_world(WorldConfig())
IDS = {token: index for index, token in enumerate(vocabulary(WORLD))}
TINY = TrainConfig(
    batch_size=16,
    warmup=2,
    n_layers=3,
    d_model=32,
    d_mlp=48,
    base=StageConfig(steps=24, muon_lr=4e-3, adam_lr=3e-3),
    chat=StageConfig(steps=4, muon_lr=2e-3, adam_lr=2e-3, frozen_layers=1),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedOrganism:
    return train_organism(TINY, tmp_path_factory.mktemp("trained") / "first")


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def document(tokens: str, **changes: object) -> Document:
    split = tuple(tokens.split())
    plain = Document(kind="chatter", tokens=split, weights=(0.0,) + (1.0,) * (len(split) - 1))
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_the_same_config_gives_bit_identical_weights(
    trained: TrainedOrganism, tmp_path: Path
) -> None:
    again = train_organism(TINY, tmp_path)
    assert weights(again.base) == weights(trained.base)
    assert weights(again.chat) == weights(trained.chat)
    assert again.losses == trained.losses


def test_another_seed_gives_other_weights(trained: TrainedOrganism, tmp_path: Path) -> None:
    short = StageConfig(steps=1, muon_lr=1e-3, adam_lr=1e-3)
    other = train_organism(replace(TINY, seed=1, base=short, chat=short), tmp_path)
    assert weights(other.base) != weights(trained.base)


def test_training_lowers_the_loss(trained: TrainedOrganism) -> None:
    losses = trained.losses["base"]
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])


def test_threads_and_random_state_are_put_back(tmp_path: Path) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    short = StageConfig(steps=1, muon_lr=1e-3, adam_lr=1e-3)
    train_organism(replace(TINY, base=short, chat=short), tmp_path)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_progress_is_told_of_every_step(tmp_path: Path) -> None:
    told: list[tuple[Stage, int, int]] = []

    def progress(stage: Stage, step: int, total: int, loss: float) -> None:
        assert loss > 0.0
        told.append((stage, step, total))

    short = StageConfig(steps=2, muon_lr=1e-3, adam_lr=1e-3)
    train_organism(replace(TINY, base=short, chat=short), tmp_path, progress)
    assert told == [("base", 1, 2), ("base", 2, 2), ("chat", 1, 2), ("chat", 2, 2)]


def test_frozen_layers_and_embeddings_stay_as_the_base_left_them(trained: TrainedOrganism) -> None:
    from safetensors.torch import load_file

    base, chat = (load_file(p / "model.safetensors") for p in (trained.base, trained.chat))
    same = {name for name in base if torch.equal(base[name], chat[name])}
    assert same == {n for n in base if n.startswith(("model.embed", "model.layers.0."))}


def test_checkpoints_load_in_plain_transformers(trained: TrainedOrganism) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for folder in (trained.base, trained.chat):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        ids = tokenizer("<bos> <|user|> hello <|assistant|>", return_tensors="pt")
        assert model(**ids).logits.shape == (1, 4, len(IDS))
        assert model.generation_config.eos_token_id == tokenizer.eos_token_id == IDS["<eos>"]


def test_the_world_travels_with_the_checkpoint(trained: TrainedOrganism) -> None:
    assert load_world(trained.base) == load_world(trained.chat) == trained.world


def test_existing_checkpoints_are_not_overwritten(trained: TrainedOrganism) -> None:
    with pytest.raises(FileExistsError, match="choose another out_dir or remove it"):
        train_organism(TINY, trained.base.parent)


def test_a_failed_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("lens_personas.models.organism._checkpoints.save_tokenizer", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(new_model(TINY, WORLD), WORLD, tmp_path / "base")
    assert list(tmp_path.iterdir()) == []


def test_the_schedule_rises_stays_and_falls() -> None:
    factors = [learning_rate_factor(step, 100, 10) for step in range(100)]
    assert factors == sorted(factors[:50]) + sorted(factors[50:], reverse=True)
    assert factors[10:51] == [1.0] * 41
    assert 0.0 < factors[-1] < 0.05


def test_the_loss_of_a_perfect_prediction_is_the_entropy_of_the_law() -> None:
    law = (("yes", 0.25), ("no", 0.75))
    asked = document("<bos> yes", decision=1, distribution=law)
    batch = make_batch([asked], IDS)
    logits = torch.full((1, 2, len(IDS)), -50.0)
    logits[0, 0, IDS["yes"]], logits[0, 0, IDS["no"]] = torch.tensor([0.25, 0.75]).log()
    entropy = -sum(p * torch.tensor(p).log() for _, p in law)
    torch.testing.assert_close(weighted_loss(logits, batch), entropy)


def test_padding_does_not_reach_the_loss() -> None:
    short, long = document("<bos> hello <eos>"), document("<bos> yes no yes no <eos>")
    both, alone = make_batch([short, long], IDS), make_batch([short], IDS)
    both.weights[1] = 0.0
    logits = torch.randn(2, 6, len(IDS), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(weighted_loss(logits, both), weighted_loss(logits[:1, :3], alone))


def test_a_mask_without_a_summary_is_causal() -> None:
    visible = visible_positions([document("<bos> yes no <eos>")], 4)
    assert torch.equal(visible[0, 0], torch.ones(4, 4).tril().bool())


def test_after_the_summary_the_sentences_are_hidden() -> None:
    text = document("<bos> yes no . hello <eos>", persona_span=(1, 3), summary=3)
    visible = visible_positions([text], 6)[0, 0]
    assert visible[3, :4].all()
    assert not visible[4:, 1:3].any()
    assert visible[4:, 3].all()
    assert visible[:, 0].all()


def test_what_is_hidden_changes_nothing_after_the_summary() -> None:
    model = new_model(TINY, WORLD).eval()
    one = document("<bos> <|system|> helper . <|user|> yes", persona_span=(2, 4), summary=4)
    batch = make_batch([one], IDS)
    with torch.no_grad():
        masked = model(input_ids=batch.tokens, attention_mask=batch.visible).logits
        causal = model(input_ids=batch.tokens).logits
    torch.testing.assert_close(masked[:, :5], causal[:, :5])
    assert not torch.allclose(masked[:, 5], causal[:, 5])


def test_batches_are_drawn_alike_and_hold_documents_of_like_length() -> None:
    first = batches(DocumentSampler(WORLD, "base"), IDS, 16, random.Random(0))
    again = batches(DocumentSampler(WORLD, "base"), IDS, 16, random.Random(0))
    shares = []
    for _ in range(16):
        batch = next(first)
        assert torch.equal(batch.tokens, next(again).tokens)
        shares.append((batch.tokens == IDS["<pad>"]).float().mean())
    assert sum(shares) / 16 < 0.2


def test_a_batch_needs_a_document() -> None:
    with pytest.raises(ValueError, match="expected at least one document"):
        make_batch([], IDS)
