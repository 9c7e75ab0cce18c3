"""A trained copy says what it was shown, and the model stays what it was."""

from dataclasses import replace

import pytest
import torch

from lens_personas.models import (
    LensModel,
    Prompt,
    _tune,
    answer_log_probs,
    generate,
    load_model,
    tuned_copy,
)


@pytest.fixture(scope="module")
def small(tiny_checkpoint: object, backend: str) -> LensModel:
    return load_model(str(tiny_checkpoint), backend=backend, device="cpu")


def text(ids: list[int], length: int) -> Prompt:
    spans = {"prompt": (0, length), "answer": (length, len(ids))}
    return Prompt(prompt_id="", ids=tuple(ids), prompt_length=length, spans=spans, text="")


def run(model: LensModel, prompts: list[Prompt], **options: int) -> LensModel:
    return tuned_copy(model, prompts, generator=torch.Generator().manual_seed(0), **options)


def test_it_learns_the_answers_and_the_model_is_as_before(small: LensModel) -> None:
    shown = [text([1, 7, 8, 9, 10, 11], 3), text([1, 12, 13, 14], 3)]
    before = [parameter.clone() for parameter in small.wrapped.parameters()]
    needed = [parameter.requires_grad for parameter in small.wrapped.parameters()]
    first = answer_log_probs(small, shown)
    tuned = run(small, shown, steps=40, learning_rate=3e-3)
    after = answer_log_probs(tuned, shown)
    assert all(float(b.sum()) > float(a.sum()) + 1.0 for a, b in zip(first, after, strict=True))
    again = answer_log_probs(small, shown)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for parameter, old, grad in zip(small.wrapped.parameters(), before, needed, strict=True):
        assert torch.equal(parameter, old)
        assert parameter.requires_grad == grad
    assert all(parameter.grad is None for parameter in tuned.wrapped.parameters())
    assert tuned.card.fingerprint != small.card.fingerprint
    assert generate(tuned, [text([1, 12, 13], 3)], max_new_tokens=1)[0].ids == (14,)


def test_the_same_generator_gives_the_same_copy(small: LensModel) -> None:
    shown = [text([1, 7, 8, 9], 4), text([1, 12, 13], 3)]
    first, second = (run(small, shown, steps=3) for _ in range(2))
    for one, other in zip(first.wrapped.parameters(), second.wrapped.parameters(), strict=True):
        assert torch.equal(one, other)


def test_padding_teaches_nothing(small: LensModel) -> None:
    """The loss of two texts together is that of each, weighted by what it has to learn."""
    long, short = text([1, 7, 8, 9, 10, 11], 6), text([1, 12, 13], 3)
    apart = [float(_tune._loss(small, [each])) for each in (long, short)]
    together = float(_tune._loss(small, [long, short]))
    assert together == pytest.approx((5 * apart[0] + 2 * apart[1]) / 7, abs=1e-4)
    answer = text([1, 7, 8, 9, 10, 11], 4)
    said = answer_log_probs(small, [answer])[0]
    assert float(_tune._loss(small, [answer])) == pytest.approx(-float(said.mean()), abs=1e-4)


def test_what_cannot_be_trained_is_refused(
    small: LensModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [text([1, 7, 8], 3)]
    with pytest.raises(ValueError, match="at least one prompt to train on"):
        run(small, [])
    with pytest.raises(ValueError, match="prompts of two tokens or more"):
        run(small, [text([1], 1)])
    half = replace(small, card=replace(small.card, dtype="bfloat16"))  # type: ignore[type-var]
    with pytest.raises(ValueError, match="a model in float32 to train, got bfloat16"):
        run(half, shown)
    monkeypatch.setattr(_tune, "LARGEST_TUNED", 10)
    with pytest.raises(ValueError, match="at most 10 parameters to train a copy of"):
        run(small, shown)
