"""One way to run blocks with hooks, for both of TransformerLens' model classes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedTokenizerBase

from lens_personas.hooks import HookFn, Site
from lens_personas.models._types import ModelCard

Place = tuple[Site, int]


class HookCountError(RuntimeError):
    """A hook did not fire exactly once in a forward pass, so its numbers cannot be trusted."""


class _StopForwardError(Exception):
    """Leaves the forward pass once the last wanted residual is there."""


@dataclass(frozen=True, kw_only=True)
class HookedModel:
    """A ``HookedTransformer`` behind the :class:`LensModel` protocol."""

    wrapped: Any
    """The ``HookedTransformer``."""
    tokenizer: PreTrainedTokenizerBase
    """The model's own tokenizer."""
    card: ModelCard
    """What the model is and can do."""
    stop_ids: tuple[int, ...]
    """Token ids that end an answer."""

    @property
    def device(self) -> torch.device:
        """Where token ids have to lie."""
        return self.wrapped.W_E.device  # type: ignore[no-any-return]

    def run(
        self,
        tokens: Int[Tensor, "batch pos"],
        positions: Int[Tensor, "batch total"],
        *,
        hooks: Mapping[Place, HookFn],
        cache: Any | None,
        last_layer: int,
    ) -> Float[Tensor, "batch pos d_model"]:
        """Give ``resid_post`` of ``last_layer``; see :class:`LensModel`.

        Raises:
            HookCountError: If a hook did not fire exactly once.
        """
        # TransformerLens keeps the mask of the cached columns itself.
        mask = (positions[:, -tokens.shape[1] :] >= 0).int()
        counted = _Counted(hooks)
        with counted.attached(self._points):
            resid: Tensor = self.wrapped(
                tokens,
                attention_mask=mask,
                past_kv_cache=cache,
                stop_at_layer=last_layer + 1,
            )
        counted.check(last_layer)
        return resid

    def logits(self, resid: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_vocab"]:
        """Final norm, unembedding and soft cap."""
        cfg = self.wrapped.cfg
        normed = (
            resid[None] if cfg.normalization_type is None else self.wrapped.ln_final(resid[None])
        )
        return _soft_cap(self.wrapped.unembed(normed)[0], cfg)

    def new_cache(self, batch_size: int) -> Any:
        """An empty key-value cache."""
        from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache

        return TransformerLensKeyValueCache.init_cache(self.wrapped.cfg, self.device, batch_size)

    @cached_property
    def _points(self) -> dict[str, Any]:
        return dict(self.wrapped.hook_dict)


@dataclass(frozen=True, kw_only=True)
class BridgeModel:
    """A ``TransformerBridge`` behind the :class:`LensModel` protocol."""

    wrapped: Any
    """The ``TransformerBridge``."""
    tokenizer: PreTrainedTokenizerBase
    """The model's own tokenizer."""
    card: ModelCard
    """What the model is and can do."""
    stop_ids: tuple[int, ...]
    """Token ids that end an answer."""

    @property
    def device(self) -> torch.device:
        """Where token ids have to lie."""
        return self.wrapped.embed.weight.device  # type: ignore[no-any-return]

    def run(
        self,
        tokens: Int[Tensor, "batch pos"],
        positions: Int[Tensor, "batch total"],
        *,
        hooks: Mapping[Place, HookFn],
        cache: Any | None,
        last_layer: int,
    ) -> Float[Tensor, "batch pos d_model"]:
        """Give ``resid_post`` of ``last_layer``; see :class:`LensModel`.

        Raises:
            HookCountError: If a hook did not fire exactly once.
        """
        kept: list[Tensor] = []
        last: Place = (Site.RESID_POST, last_layer)

        def keep_and_stop(activation: Tensor, /, *, hook: object) -> Tensor:
            edited = hooks[last](activation, hook=hook) if last in hooks else activation
            kept.append(edited)
            raise _StopForwardError

        counted = _Counted({**hooks, last: keep_and_stop})
        options = {} if cache is None else {"past_key_values": cache, "use_cache": True}
        with counted.attached(self._points), suppress(_StopForwardError):
            # Left-padded tokens without a mask give wrong numbers: it always goes along.
            self.wrapped(tokens, attention_mask=(positions >= 0).long(), **options)
        counted.check(last_layer)
        return kept[0]

    def logits(self, resid: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_vocab"]:
        """Final norm, unembedding and soft cap."""
        return _soft_cap(
            self.wrapped.unembed(self.wrapped.ln_final(resid[None]))[0], self.wrapped.cfg
        )

    def new_cache(self, batch_size: int) -> Any:
        """An empty key-value cache; it takes its size from the first pass."""
        return DynamicCache()

    @cached_property
    def _points(self) -> dict[str, Any]:
        # Asked for once: the bridge builds this table anew each time, milliseconds a hook.
        return dict(self.wrapped.hook_dict)


class _Counted:
    """Hooks that count their calls: TransformerLens skips some hook points in silence."""

    def __init__(self, hooks: Mapping[Place, HookFn]) -> None:
        self._hooks = hooks
        self._calls = dict.fromkeys(hooks, 0)

    @contextmanager
    def attached(self, points: Mapping[str, Any]) -> Iterator[None]:
        """Put the hooks on; take off exactly these whatever happens, also half-way through."""
        added: list[tuple[Any, Any]] = []
        try:
            for site, layer in self._hooks:
                point = points.get(site.hook_name(layer))
                if point is None:
                    raise HookCountError(
                        f"expected a hook point {site.hook_name(layer)!r} for {site.value} of "
                        f"layer {layer}, this model has none; choose another site"
                    )
                point.add_hook(self._counting((site, layer)))
                added.append((point, point.fwd_hooks[-1]))
            yield
        finally:
            for point, handle in added:
                handle.hook.remove()
                point.fwd_hooks.remove(handle)

    def _counting(self, place: Place) -> Callable[..., Tensor]:
        def call(activation: Tensor, hook: object) -> Tensor:
            self._calls[place] += 1
            return self._hooks[place](activation, hook=hook)

        return call

    def check(self, last_layer: int) -> None:
        for (site, layer), calls in self._calls.items():
            if calls != 1:
                raise HookCountError(
                    f"expected the hook at {site.value} of layer {layer} to fire once, it fired "
                    f"{calls} times in a pass over layers 0 to {last_layer}; "
                    "choose a site this model has and a layer inside the pass"
                )


def _soft_cap(logits: Float[Tensor, "row d_vocab"], cfg: Any) -> Float[Tensor, "row d_vocab"]:
    cap = getattr(cfg, "output_logits_soft_cap", None)
    return cap * torch.tanh(logits / cap) if cap is not None and cap > 0 else logits
