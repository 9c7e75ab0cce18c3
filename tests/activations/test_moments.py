"""Moments in one pass are the moments of all."""

import weakref

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lens_personas.activations import (
    ReadAt,
    collect,
    collect_group_moments,
    collect_moments,
    merge,
    moments_of,
)
from lens_personas.hooks import Site
from lens_personas.models import Prompt

LAST = ReadAt(span="prompt", take="last")
WHOLE = ReadAt(span="prompt", take="mean")
PLACE = {"site": Site.RESID_POST, "layers": (0, 2)}


def assert_same(a, b, tolerance=1e-12):
    assert (a.count, a.layers, a.site) == (b.count, b.layers, b.site)
    for name in ("mean", "squared_deviations", "mean_norm"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), atol=0, rtol=tolerance)


def test_merged_parts_are_numpys_moments():
    rng = np.random.default_rng(0)
    values = rng.normal(loc=1000.0, scale=0.1, size=(257, 2, 5)).astype(np.float32)
    parts = [torch.from_numpy(part) for part in np.array_split(values, 9)]
    merged = moments_of(parts[0], **PLACE)
    for part in parts[1:]:
        merged = merge(merged, moments_of(part, **PLACE))
    exact = values.astype(np.float64)
    np.testing.assert_allclose(merged.mean.numpy(), exact.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(
        merged.squared_deviations.numpy(),
        ((exact - exact.mean(axis=0)) ** 2).sum(axis=0),
        rtol=1e-9,
    )
    np.testing.assert_allclose(merged.variance.numpy(), exact.var(axis=0, ddof=1), rtol=1e-9)
    np.testing.assert_allclose(
        merged.mean_norm.numpy(), np.linalg.norm(exact, axis=-1).mean(axis=0), rtol=1e-12
    )


def test_moments_of_ordinary_numbers_are_numpys_to_1e_12():
    values = np.random.default_rng(1).normal(size=(100, 2, 5))
    halves = [moments_of(torch.from_numpy(half), **PLACE) for half in (values[:33], values[33:])]
    merged = merge(*halves)
    np.testing.assert_allclose(merged.mean.numpy(), values.mean(axis=0), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(merged.variance.numpy(), values.var(axis=0, ddof=1), rtol=1e-12)


def test_merging_does_not_depend_on_order():
    rng = torch.Generator().manual_seed(0)
    a, b, c = (moments_of(torch.randn(n, 2, 3, generator=rng), **PLACE) for n in (1, 4, 7))
    assert_same(merge(merge(a, b), c), merge(a, merge(b, c)))
    assert_same(merge(a, b), merge(b, a))


def test_variance_of_one_prompt_is_undefined():
    assert bool(moments_of(torch.ones(1, 2, 3), **PLACE).variance.isnan().all())


def test_bfloat16_means_keep_the_direction_of_a_small_difference():
    rng = torch.Generator().manual_seed(0)
    truth = torch.randn(64, generator=rng)
    base = torch.randn(1024, 1, 64, generator=rng) + 8.0
    sides = [(base + sign * 0.05 * truth).bfloat16() for sign in (1, -1)]
    exact, rough = (
        torch.cosine_similarity((means[0] - means[1]).double(), truth.double(), dim=-1)
        for means in (
            [moments_of(s, site=Site.RESID_POST, layers=[0]).mean[0] for s in sides],
            [s[:, 0].mean(dim=0) for s in sides],
        )
    )
    assert float(exact) > 0.9995
    assert float(rough) < 0.99, "no trap to avoid"


def test_streamed_moments_are_those_of_the_cached_values(model, prompts):
    cached = collect(model, prompts, sites=[Site.RESID_POST], layers=(0, 2), read_at=LAST)
    streamed = collect_moments(model, prompts, read_at=LAST, token_budget=60, **PLACE)
    whole = moments_of(cached.values[Site.RESID_POST], **PLACE)
    assert_same(streamed, whole, tolerance=1e-4)


def test_groups_partition_the_prompts(model, prompts):
    labels = ["odd" if at % 2 else "even" for at in range(len(prompts))]
    groups = collect_group_moments(
        model, prompts, groups=labels, read_at=LAST, token_budget=60, **PLACE
    )
    assert list(groups) == ["even", "odd"]
    even = collect_moments(model, prompts[::2], read_at=LAST, **PLACE)
    assert_same(groups["even"], even, tolerance=1e-4)
    everything = collect_moments(model, prompts, read_at=LAST, token_budget=60, **PLACE)
    assert_same(merge(groups["even"], groups["odd"]), everything, tolerance=1e-6)


def test_unequal_moments_are_not_merged():
    a = moments_of(torch.ones(2, 2, 3), **PLACE)
    b = moments_of(torch.ones(2, 2, 3), site=Site.RESID_PRE, layers=(0, 2))
    with pytest.raises(ValueError, match=r"one site.*resid_post.*resid_pre"):
        merge(a, b)


def test_every_prompt_needs_a_label(model, prompts):
    with pytest.raises(ValueError, match="expected 6 group labels"):
        collect_group_moments(model, prompts, groups=["a"], read_at=LAST, **PLACE)


def test_no_prompt_has_no_moments():
    with pytest.raises(ValueError, match="at least one prompt and 2 layers"):
        moments_of(torch.ones(0, 2, 3), **PLACE)


class _Live(TorchDispatchMode):
    """Follows the bytes of floating tensors that are alive, views aside, to their peak."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            new = not func.is_view and not any(tensor is arg for arg in args)
            if new and isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                self._follow(tensor)
        return out

    def _follow(self, tensor):
        n_bytes = tensor.untyped_storage().nbytes()
        self.now += n_bytes
        self.peak = max(self.peak, self.now)
        weakref.finalize(tensor, self._drop, n_bytes)

    def _drop(self, n_bytes):
        self.now -= n_bytes


@pytest.mark.parametrize(("read", "grows"), [(collect_moments, False), (collect, True)])
def test_memory_of_moments_does_not_grow_with_the_prompts(model, read, grows):
    place = PLACE if read is collect_moments else {"sites": [PLACE["site"]], "layers": (0, 2)}
    peaks = []
    for n in (2, 16):
        prompts = [
            Prompt(
                prompt_id=str(at),
                ids=(7 + at, *range(3, 12)),
                prompt_length=10,
                spans={"prompt": (0, 10)},
                text="",
            )
            for at in range(n)
        ]
        with _Live() as live:
            read(model, prompts, read_at=LAST, token_budget=20, **place)
        peaks.append(live.peak)
    # Fourteen more prompts of two layers, in four bytes a dimension.
    more = 14 * 2 * model.card.d_model * 4
    assert (peaks[1] - peaks[0] >= more) == grows


def test_a_place_is_dropped_before_the_next_one_is_read(model, prompts):
    peaks = {}
    for layers in [(2,), (0, 1, 2)]:
        with _Live() as live:
            collect_moments(model, prompts, site=Site.RESID_POST, layers=layers, read_at=WHOLE)
        peaks[len(layers)] = live.peak
    n_tokens = sum(len(prompt.ids) for prompt in prompts)
    assert peaks[3] - peaks[1] < n_tokens * model.card.d_model * 4
