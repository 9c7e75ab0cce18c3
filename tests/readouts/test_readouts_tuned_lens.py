"""A tuned lens learns what is planted, starts as the logit lens, and is kept as a file."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lens_personas.activations import MismatchError
from lens_personas.models import LensModel, Prompt, load_model, render
from lens_personas.models.organism import checkpoint_path, load_world, world_requests
from lens_personas.personas import Message
from lens_personas.readouts import (
    TunedLens,
    answer_lens,
    import_tuned_lens,
    load_tuned_lens,
    logit_lens,
    save_tuned_lens,
    train_tuned_lens,
)
from lens_personas.readouts._tuned_lens import Steps, divergence, fit_translator
from lens_personas.readouts._tuned_lens_types import translated

MakePrompts = Callable[..., list[Prompt]]
SHORT = {"steps": 8, "batch_size": 32}


@pytest.fixture(scope="module")
def trained(model: LensModel, make_prompts: MakePrompts) -> TunedLens:
    return train_tuned_lens(model, make_prompts(20, seed=3), **SHORT)


def test_untrained_it_is_the_logit_lens_to_the_bit(
    model: LensModel, make_prompts: MakePrompts
) -> None:
    prompts = make_prompts(6, answer=3)
    lens = train_tuned_lens(model, prompts, steps=0)
    assert lens.training is not None
    assert lens.training.kl_before == lens.training.kl_after
    asked = {"top_k": 4, "entropy": True, "kl_to_final": True, "at": "all"}
    plain, tuned = (
        logit_lens(model, prompts, **asked),
        logit_lens(model, prompts, **asked, tuned=lens),
    )
    for name in ("top_ids", "top_log_prob", "entropy", "kl_to_final"):
        assert torch.equal(getattr(plain, name), getattr(tuned, name))
    whole = answer_lens(model, prompts, tuned=lens)
    assert torch.equal(whole.log_prob, answer_lens(model, prompts).log_prob)


def test_the_last_layer_has_no_translator_and_stays_the_models_output(
    model: LensModel, make_prompts: MakePrompts, trained: TunedLens
) -> None:
    prompts = make_prompts(6, answer=3)
    assert trained.layers == (0, 1)
    assert trained.weights.abs().sum(dim=(1, 2)).min() > 0
    plain, tuned = answer_lens(model, prompts), answer_lens(model, prompts, tuned=trained)
    assert torch.equal(plain.log_prob[-1], tuned.log_prob[-1])
    assert not torch.isclose(plain.log_prob[0], tuned.log_prob[0]).any()


def test_what_the_lens_shows_is_the_unembedded_translation(
    model: LensModel, plain: Any, make_prompts: MakePrompts, trained: TunedLens
) -> None:
    (prompt,) = make_prompts(1, seed=8)
    kept: list[Tensor] = []
    handle = plain.blocks[1].register_forward_hook(
        lambda _block, _inputs, out: kept.append(out[0] if isinstance(out, tuple) else out)
    )
    plain.logits(prompt.ids)
    handle.remove()
    resid = kept[0].reshape(len(prompt.ids), -1)[-1:].detach()
    moved = resid + resid @ trained.weights[1].T + trained.biases[1]
    with torch.no_grad():
        expected = plain.hf.lm_head(plain.norm(moved)).log_softmax(-1)
    seen = logit_lens(model, [prompt], token_ids=torch.tensor([[9]]), layers=[1], tuned=trained)
    torch.testing.assert_close(seen.log_prob[0], expected[:, 9:10], atol=1e-4, rtol=0)


def test_one_seed_gives_one_lens_and_leaves_the_global_one_alone(
    model: LensModel, make_prompts: MakePrompts
) -> None:
    prompts = make_prompts(12, seed=4)
    torch.manual_seed(1)
    first = train_tuned_lens(model, prompts, seed=5, **SHORT)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    again = train_tuned_lens(model, prompts, seed=5, **SHORT)
    other = train_tuned_lens(model, prompts, seed=6, **SHORT)
    assert torch.equal(first.weights, again.weights)
    assert first.training == again.training
    assert not torch.equal(first.weights, other.weights)
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())


def test_padding_makes_no_difference(model: LensModel, make_prompts: MakePrompts) -> None:
    prompts = make_prompts(12, seed=4)
    # Each alone, without any padding, against all in a batch.
    alone = train_tuned_lens(model, prompts, token_budget=1, **SHORT)
    together = train_tuned_lens(model, prompts, token_budget=4096, **SHORT)
    assert alone.training is not None
    assert together.training is not None
    assert alone.training.n_tokens == together.training.n_tokens
    # Adam's first steps follow the sign of a gradient, so rounding is magnified.
    gap = (alone.weights - together.weights).norm() / alone.weights.norm()
    assert gap < 0.01
    assert alone.training.kl_after == pytest.approx(together.training.kl_after, rel=1e-3)


def test_padding_is_not_trained_on(model: LensModel, make_prompts: MakePrompts) -> None:
    prompts = make_prompts(12, seed=4)
    training = train_tuned_lens(model, prompts, steps=0).training
    assert training is not None
    # Every position but each prompt's first.
    assert training.n_tokens + training.n_held_out == sum(len(p.ids) - 1 for p in prompts)


def test_groups_are_held_out_whole(model: LensModel, make_prompts: MakePrompts) -> None:
    prompts = [p for p in make_prompts(3, seed=4) for _ in range(4)]
    names = [name for name in "abc" for _ in range(4)]
    training = train_tuned_lens(model, prompts, steps=0, groups=names).training
    assert training is not None
    lengths = {4 * (len(p.ids) - 1) for p in prompts}
    assert training.n_held_out in lengths


def test_positions_are_bounded_and_both_sides_kept(
    model: LensModel, make_prompts: MakePrompts
) -> None:
    training = train_tuned_lens(model, make_prompts(12), steps=0, max_tokens=10).training
    assert training is not None
    assert training.n_tokens + training.n_held_out == 10
    assert training.n_held_out >= 1


def test_weights_of_the_model_get_no_gradient(model: LensModel, make_prompts: MakePrompts) -> None:
    before = [p.detach().clone() for p in model.wrapped.parameters()]
    train_tuned_lens(model, make_prompts(6), **SHORT)
    assert all(p.grad is None for p in model.wrapped.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, model.wrapped.parameters(), strict=True))


def test_a_planted_affine_map_is_found() -> None:
    generator = torch.Generator().manual_seed(0)
    # Soft distributions: a saturated one says nothing of the size of what is behind it.
    unembedding = 0.1 * torch.randn(8, 40, generator=generator)
    planted = torch.eye(8) + 0.4 * torch.randn(8, 8, generator=generator)
    shift = torch.randn(8, generator=generator)
    # Components of very different size, as in real residuals.
    resid = torch.randn(2000, 8, generator=generator) * torch.logspace(-0.5, 1, 8)
    final = resid @ planted.T + shift

    def logits_of(rows: Tensor) -> Tensor:
        return rows @ unembedding

    settings = Steps(steps=600, batch_size=256, lr=0.05, weight_decay=0.0)
    weight, bias = fit_translator(logits_of, resid[:1500], final[:1500], settings, generator)
    moved = translated(resid[1500:], weight, bias)
    unseen = logits_of(final[1500:])
    before = divergence(logits_of(resid[1500:]), unseen).mean()
    assert divergence(logits_of(moved), unseen).mean() < 0.001 * before
    torch.testing.assert_close(torch.eye(8) + weight, planted, atol=0.05, rtol=0)
    torch.testing.assert_close(bias, shift, atol=0.1, rtol=0)


def test_where_there_is_nothing_to_learn_it_stays_the_identity() -> None:
    generator = torch.Generator().manual_seed(0)
    unembedding = torch.randn(8, 40, generator=generator)
    resid = torch.randn(300, 8, generator=generator)
    settings = Steps(steps=50, batch_size=64, lr=0.02, weight_decay=0.01)
    weight, bias = fit_translator(
        lambda rows: rows @ unembedding, resid, resid, settings, generator
    )
    # The identity it is added to has a norm of 2.8.
    assert weight.norm() < 0.01
    assert bias.norm() < 0.01


def test_on_the_organism_it_beats_the_logit_lens_on_requests_it_never_saw(
    chat_model: Any,
) -> None:
    requests = world_requests(load_world(checkpoint_path("chat")))[::3]
    prompts = [
        render(chat_model, [Message(role="user", content=r.text)], prompt_id=r.prompt_id)
        for r in requests
    ]
    lens = train_tuned_lens(
        chat_model,
        prompts,
        layers=[0, 3, 6],
        steps=80,
        batch_size=128,
        holdout=0.3,
        groups=[r.target or r.prompt_id for r in requests],
    )
    assert lens.training is not None
    before, after = lens.training.kl_before, lens.training.kl_after
    assert all(tuned <= plain + 0.01 for plain, tuned in zip(before, after, strict=True))
    assert after[0] < 0.3 * before[0]


def test_what_cannot_be_trained_is_refused(model: LensModel, make_prompts: MakePrompts) -> None:
    prompts = make_prompts(4)
    with pytest.raises(ValueError, match=r"at least two prompts, or groups.*got 1"):
        train_tuned_lens(model, prompts[:1])
    with pytest.raises(ValueError, match="got 1"):
        train_tuned_lens(model, prompts, groups=["a"] * 4)
    with pytest.raises(ValueError, match="one group a prompt, got 2 for 4"):
        train_tuned_lens(model, prompts, groups=["a", "b"])
    with pytest.raises(ValueError, match="steps=-1"):
        train_tuned_lens(model, prompts, steps=-1)
    with pytest.raises(ValueError, match=r"holdout=1\.5"):
        train_tuned_lens(model, prompts, holdout=1.5)
    with pytest.raises(ValueError, match="layer from 0 to 2, got 7"):
        train_tuned_lens(model, prompts, layers=[7], steps=0)


def test_another_model_or_layer_is_refused(
    model: LensModel, make_prompts: MakePrompts, trained: TunedLens
) -> None:
    prompts = make_prompts(3)
    one = train_tuned_lens(model, make_prompts(6), layers=[1], steps=0)
    with pytest.raises(ValueError, match=r"trained at, \[1\], got \[0\]"):
        logit_lens(model, prompts, top_k=1, tuned=one)
    strange = replace(trained, source=replace(trained.source, fingerprint="other"))
    with pytest.raises(MismatchError, match=r"fingerprint='other'.*expected fingerprint="):
        logit_lens(model, prompts, top_k=1, tuned=strange)


def test_a_file_gives_the_lens_back(model: LensModel, trained: TunedLens, tmp_path: Path) -> None:
    path = tmp_path / "lens.safetensors"
    save_tuned_lens(trained, path)
    found = load_tuned_lens(path, for_card=model.card)
    assert torch.equal(found.weights, trained.weights)
    assert torch.equal(found.biases, trained.biases)
    assert (found.layers, found.source, found.training) == (
        trained.layers,
        trained.source,
        trained.training,
    )


def test_a_file_is_refused_for_another_model(
    model: LensModel, trained: TunedLens, tmp_path: Path
) -> None:
    path = tmp_path / "lens.safetensors"
    save_tuned_lens(trained, path)
    wide = replace(model.card, d_model=64)
    with pytest.raises(MismatchError, match=r"d_model=32, expected d_model=64"):
        load_tuned_lens(path, for_card=wide, allow_mismatch=["fingerprint"])
    tuned = replace(model.card, fingerprint="fine-tuned")
    with pytest.raises(MismatchError, match="expected fingerprint='fine-tuned'"):
        load_tuned_lens(path, for_card=tuned)
    moved = load_tuned_lens(path, for_card=tuned, allow_mismatch=["fingerprint"])
    moved.check(tuned, [0])


def test_what_is_no_lens_file_is_refused(trained: TunedLens, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.safetensors, got"):
        save_tuned_lens(trained, tmp_path / "lens.pt")
    with pytest.raises(FileNotFoundError, match="found none at"):
        load_tuned_lens(tmp_path / "none.safetensors")
    pickled = tmp_path / "lens.safetensors"
    torch.save({"0.weight": torch.zeros(1)}, pickled)
    with pytest.raises(ValueError, match="a pickle is never run"):
        load_tuned_lens(pickled)


def test_a_published_lens_is_read_from_the_input_of_the_next_block(
    model: LensModel, tmp_path: Path
) -> None:
    width, n_layers = model.card.d_model, model.card.n_layers
    _publish(tmp_path, width, n_layers)
    lens = import_tuned_lens(tmp_path, card=model.card)
    assert lens.layers == (0, 1)
    # Translator 1 of theirs is for the input of block 1, which is the output of block 0.
    assert [float(w[0, 0]) for w in lens.weights] == [1.0, 2.0]
    assert [float(b[0]) for b in lens.biases] == [10.0, 20.0]
    with pytest.raises(MismatchError, match=rf"{n_layers} layers.*expected .*40 layers"):
        import_tuned_lens(tmp_path, card=replace(model.card, n_layers=40))


def test_a_published_lens_that_would_run_code_is_refused(model: LensModel, tmp_path: Path) -> None:
    _publish(tmp_path, model.card.d_model, model.card.n_layers)
    torch.save(_Payload(tmp_path / "ran"), tmp_path / "params.pt")
    with pytest.raises(ValueError, match="would have to be run"):
        import_tuned_lens(tmp_path, card=model.card)
    assert not (tmp_path / "ran").exists()


class _Payload:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


def _publish(folder: Path, width: int, n_layers: int) -> None:
    state = {}
    for at in range(n_layers):
        state[f"{at}.weight"] = torch.full((width, width), float(at))
        state[f"{at}.bias"] = torch.full((width,), 10.0 * at)
    torch.save(state, folder / "params.pt")
    config = {"d_model": width, "num_hidden_layers": n_layers, "base_model_name_or_path": "tiny"}
    (folder / "config.json").write_text(json.dumps(config))


def test_half_precision_weights_are_trained_through(
    checkpoint: Path, backend: Any, make_prompts: MakePrompts
) -> None:
    half = load_model(str(checkpoint), backend=backend, device="cpu", dtype="bfloat16")
    lens = train_tuned_lens(half, make_prompts(8), **SHORT)
    assert lens.weights.dtype == torch.float32
    assert lens.weights.abs().sum() > 0
    shown = logit_lens(half, make_prompts(3), top_k=1, tuned=lens)
    assert torch.isfinite(shown.top_log_prob).all()
