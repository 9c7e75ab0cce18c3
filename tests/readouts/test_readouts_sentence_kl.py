"""Monte-Carlo KL of continuations, on chains whose KL is known and on real models."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lens_personas.hooks import Edit, Site, add_direction
from lens_personas.models import LensModel, Prompt, answer_log_probs, map_last_logits
from lens_personas.readouts import SentenceKL, Voice, last_position_kl, sentence_kl

WORDS = 6
STOPS = (4, 5)


class _Rows:
    """A cache that only knows how many rows it has."""

    def __init__(self, n: int) -> None:
        self.n = n

    def keep_rows(self, rows: torch.Tensor) -> None:
        assert int(rows.max()) < self.n
        self.n = len(rows)


class Chain:
    """A model whose next token hangs on the last one alone: a Markov chain."""

    def __init__(self, seed: int, *, stop_ids: tuple[int, ...] = (), n_ctx: int = 64) -> None:
        generator = torch.Generator().manual_seed(seed)
        logits = 1.2 * torch.randn(WORDS, WORDS, generator=generator)
        self.log_matrix = logits.log_softmax(dim=1)
        self.stop_ids = stop_ids
        self.device = torch.device("cpu")
        self.tokenizer: Any = None
        self.wrapped: Any = None
        self.card: Any = SimpleNamespace(
            n_layers=1, n_ctx=n_ctx, tokenizer_hash="chain", model_id="chain", edits_resid_mid=True
        )

    def run(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        *,
        hooks: Mapping[Any, Any],
        cache: Any,
        last_layer: int,
    ) -> torch.Tensor:
        assert cache.n == len(tokens) == len(positions)
        resid = torch.nn.functional.one_hot(tokens, WORDS).float()
        edit = hooks.get((Site.RESID_POST, 0))
        return resid if edit is None else edit(resid, hook=None)

    def logits(self, resid: torch.Tensor, tokens: Any = None) -> torch.Tensor:
        return resid @ self.log_matrix

    def new_cache(self, batch_size: int) -> _Rows:
        return _Rows(batch_size)


def pooled(log_matrix: torch.Tensor, stops: tuple[int, ...]) -> torch.Tensor:
    """Transition probabilities with the stop tokens as one, in float64."""
    probs = log_matrix.double().exp()
    if stops:
        together = probs[:, list(stops)].sum(dim=1)
        probs[:, list(stops)] = 0.0
        probs[:, stops[0]] = together
    return probs


def exact(ours: Chain, theirs: Chain, n_tokens: int) -> torch.Tensor:
    """KL of the next ``n_tokens`` after each token, by the chain rule."""
    p, q = (pooled(chain.log_matrix, ours.stop_ids) for chain in (ours, theirs))
    one = torch.where(p > 0, p * (p / q).log(), 0.0).sum(dim=1)
    total = torch.zeros(WORDS, dtype=torch.float64)
    for _ in range(n_tokens):
        goes_on = p.clone()
        goes_on[:, list(ours.stop_ids)] = 0.0
        total = one + goes_on @ total
    return total


def starts(n: int, *, length: int = 3) -> list[Prompt]:
    """Prompts of several lengths that end in tokens 0, 1, 2, 3, 0 …"""
    return [prompt([1] * (at % length) + [at % 4]) for at in range(n)]


def prompt(ids: list[int] | tuple[int, ...]) -> Prompt:
    spans = {"prompt": (0, len(ids))}
    return Prompt(prompt_id="", ids=tuple(ids), prompt_length=len(ids), spans=spans, text="")


def run(ours: Any, theirs: Any, prompts: list[Prompt], seed: int = 0, **options: Any) -> SentenceKL:
    return sentence_kl(
        Voice(model=ours, prompts=prompts),
        Voice(model=theirs, prompts=prompts),
        generator=torch.Generator().manual_seed(seed),
        **options,
    )


@pytest.mark.parametrize("stops", [(), STOPS])
def test_the_known_kl_of_two_chains_is_recovered_at_the_nominal_rate(stops: Any) -> None:
    ours, theirs = Chain(0, stop_ids=stops), Chain(1, stop_ids=stops)
    prompts = starts(200)
    found = run(ours, theirs, prompts, n_samples=128)
    truth = exact(ours, theirs, 8)[[each.ids[-1] for each in prompts]].float()
    z = (found.kl - truth) / found.standard_error
    assert abs(float(z.mean())) < 4 / 200**0.5
    assert 0.88 < float((z.abs() < 1.96).float().mean()) < 0.99


@pytest.mark.parametrize("stops", [(), STOPS])
def test_whole_distributions_on_the_way_give_the_same_mean_with_less_noise(stops: Any) -> None:
    ours, theirs = Chain(2, stop_ids=stops), Chain(3, stop_ids=stops)
    prompts = starts(40)
    found = run(ours, theirs, prompts, n_samples=256)
    truth = exact(ours, theirs, 8)[[each.ids[-1] for each in prompts]].float()
    error = found.by_token.mean(dim=1) - truth
    assert float(error.abs().max()) < 5 * float(found.by_token.std(dim=1).max()) / 16
    assert (found.by_token.std(dim=1) < found.log_ratio.std(dim=1)).all()
    assert (found.by_token >= 0).all()


def test_the_first_token_is_kept_and_its_kl_is_exact() -> None:
    ours, theirs = Chain(4, stop_ids=STOPS), Chain(5, stop_ids=STOPS)
    prompts = starts(8)
    found = run(ours, theirs, prompts, n_samples=4000, n_tokens=1)
    truth = exact(ours, theirs, 1)[[each.ids[-1] for each in prompts]].float()
    assert torch.allclose(found.first_exact, truth, atol=1e-5)
    assert torch.allclose(found.by_token, truth[:, None].expand(-1, 4000), atol=1e-5)
    assert torch.equal(found.first, found.log_ratio)
    assert ((found.kl - truth).abs() < 5 * found.standard_error).all()


@pytest.mark.parametrize("n_samples", [1, 2, 33])
def test_every_sample_is_scored_as_what_it_says(n_samples: int) -> None:
    ours, theirs = Chain(6, stop_ids=STOPS), Chain(7, stop_ids=STOPS)
    prompts = starts(30)
    found = run(ours, theirs, prompts, n_samples=n_samples)
    p, q = (pooled(chain.log_matrix, STOPS).log() for chain in (ours, theirs))
    for row, start in enumerate(prompts):
        for sample in range(n_samples):
            said = [token for token in found.ids[row, sample].tolist() if token >= 0]
            path = list(zip([start.ids[-1], *said], said, strict=False))
            ratio = sum(float(p[a, b] - q[a, b]) for a, b in path)
            assert ratio == pytest.approx(float(found.log_ratio[row, sample]), abs=1e-4)
            # A stop ends it, and only the last token may be one.
            assert all(token not in STOPS for token in said[:-1])
            assert len(said) == 8 or said[-1] == STOPS[0]


def test_one_voice_does_not_part_from_itself() -> None:
    chain = Chain(8)
    found = run(chain, chain, starts(5))
    assert float(found.log_ratio.abs().max()) == 0.0
    assert float(found.by_token.max()) == 0.0


def test_samples_do_not_hang_on_the_batching() -> None:
    ours, theirs = Chain(9, stop_ids=STOPS), Chain(10, stop_ids=STOPS)
    whole = run(ours, theirs, starts(23), n_samples=5)
    single = run(ours, theirs, starts(23), n_samples=5, token_budget=1)
    assert torch.equal(whole.ids, single.ids)
    assert torch.allclose(whole.log_ratio, single.log_ratio, atol=1e-6)


def test_an_edit_makes_the_voice_of_a_steered_model() -> None:
    chain = Chain(11)
    push = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    steered = Chain(11)
    steered.log_matrix = (chain.log_matrix + push @ chain.log_matrix).log_softmax(dim=1)
    edit = Edit(site=Site.RESID_POST, layer=0, hook=add_direction(push, dose=1.0))
    prompts = starts(60)
    found = sentence_kl(
        Voice(model=chain, prompts=prompts, edits=[edit]),
        Voice(model=chain, prompts=prompts),
        generator=torch.Generator().manual_seed(0),
        n_samples=128,
    )
    truth = exact(steered, chain, 8)[[each.ids[-1] for each in prompts]].float()
    z = (found.kl - truth) / found.standard_error
    assert abs(float(z.mean())) < 4 / 60**0.5


def test_what_cannot_be_compared_is_refused() -> None:
    chain, other = Chain(0), Chain(1)
    with pytest.raises(ValueError, match="as many of one voice as of the other, got 0 and 0"):
        run(chain, other, [])
    with pytest.raises(ValueError, match="at least 1 sample of at least 1 token, got n_samples=0"):
        run(chain, other, starts(2), n_samples=0)
    with pytest.raises(ValueError, match="to fit 6 tokens, got 3 \\+ 8"):
        run(Chain(0, n_ctx=6), other, starts(3))
    other.card.tokenizer_hash = "another"
    with pytest.raises(ValueError, match="one vocabulary"):
        run(chain, other, starts(2))


def test_on_a_model_it_is_what_teacher_forcing_gives(
    model: LensModel, make_prompts: Callable[..., list[Prompt]]
) -> None:
    ours, theirs = make_prompts(4, seed=1), make_prompts(4, seed=2)
    direction = torch.randn(model.card.d_model, generator=torch.Generator().manual_seed(3))
    edit = Edit(site=Site.RESID_POST, layer=1, hook=add_direction(direction, dose=0.5))
    found = sentence_kl(
        Voice(model=model, prompts=ours, edits=[edit]),
        Voice(model=model, prompts=theirs),
        generator=torch.Generator().manual_seed(0),
        n_samples=5,
        n_tokens=4,
    )
    stop = set(model.stop_ids)
    for row in range(4):
        said = [[t for t in ids if t >= 0] for ids in found.ids[row].tolist()]
        forced = [
            [
                Prompt(
                    prompt_id="",
                    ids=(*start.ids, *ids),
                    prompt_length=len(start.ids),
                    spans=start.spans,
                    text="",
                )
                for ids in said
            ]
            for start in (ours[row], theirs[row])
        ]
        p = answer_log_probs(model, forced[0], edits=[edit])
        q = answer_log_probs(model, forced[1])
        for sample, ids in enumerate(said):
            assert len(ids) == 4 or ids[-1] in stop
            ratio = float(p[sample].sum() - q[sample].sum())
            assert float(found.log_ratio[row, sample]) == pytest.approx(ratio, abs=2e-4)
    p = map_last_logits(model, ours, lambda logits: logits, edits=[edit])
    q = map_last_logits(model, theirs, lambda logits: logits)
    assert torch.allclose(found.first_exact, last_position_kl(p, q), atol=1e-4)
