"""One way to run blocks with hooks, for both of TransformerLens' model classes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import linear
from transformers import PreTrainedTokenizerBase

from lens_personas.hooks import HookFn, Site
from lens_personas.models._cache import BridgeCache, HookedCache
from lens_personas.models._types import ModelCard, Tokens

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
        counted = Counted(hooks)
        with counted.attached(self._points), nullcontext() if cache is None else cache.in_use():
            resid: Tensor = self.wrapped(
                tokens,
                attention_mask=mask,
                past_kv_cache=cache,
                stop_at_layer=last_layer + 1,
            )
        counted.check(last_layer)
        return resid

    def logits(
        self, resid: Float[Tensor, "row d_model"], tokens: Tokens = None
    ) -> Float[Tensor, "row chosen"]:
        """Final norm, unembedding and soft cap, of the whole vocabulary or of ``tokens``."""
        cfg = self.wrapped.cfg
        normed = (
            resid[None] if cfg.normalization_type is None else self.wrapped.ln_final(resid[None])
        )
        return _soft_cap(_unembedded(self.wrapped.unembed, normed, tokens)[0], cfg)

    def new_cache(self, batch_size: int) -> Any:
        """An empty key-value cache."""
        return HookedCache(self.wrapped, batch_size)

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

        # Blocks may lie on several devices: what is edited and read lies on that of the tokens.
        counted = Counted({**hooks, last: keep_and_stop}, device=self.device)
        options = {} if cache is None else {"past_key_values": cache, "use_cache": True}
        with counted.attached(self._points), suppress(_StopForwardError):
            # Left-padded tokens without a mask give wrong numbers: it always goes along.
            self.wrapped(tokens, attention_mask=(positions >= 0).long(), **options)
        counted.check(last_layer)
        return kept[0]

    def logits(
        self, resid: Float[Tensor, "row d_model"], tokens: Tokens = None
    ) -> Float[Tensor, "row chosen"]:
        """Final norm, unembedding and soft cap, of the whole vocabulary or of ``tokens``."""
        normed = self.wrapped.ln_final(beside(self.wrapped.ln_final, resid[None]))
        normed = beside(self.wrapped.unembed, normed)
        logits = _unembedded(self.wrapped.unembed, normed, tokens)[0].to(resid.device)
        return _soft_cap(logits, self.wrapped.cfg)

    def new_cache(self, batch_size: int) -> Any:
        """An empty key-value cache; it takes its size from the first pass."""
        return BridgeCache()

    @cached_property
    def _points(self) -> dict[str, Any]:
        # Asked for once: the bridge builds this table anew each time, milliseconds a hook.
        return dict(self.wrapped.hook_dict)


class Counted:
    """Hooks that count their calls: TransformerLens skips some hook points in silence."""

    def __init__(
        self, hooks: Mapping[Place, HookFn], *, device: torch.device | None = None
    ) -> None:
        self._hooks = hooks
        self._device = device
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
            seen = activation if self._device is None else activation.to(self._device)
            return self._hooks[place](seen, hook=hook).to(activation.device)

        return call

    def check(self, last_layer: int) -> None:
        for (site, layer), calls in self._calls.items():
            if calls != 1:
                raise HookCountError(
                    f"expected the hook at {site.value} of layer {layer} to fire once, it fired "
                    f"{calls} times in a pass over layers 0 to {last_layer}; "
                    "choose a site this model has and a layer inside the pass"
                )


def beside(module: Any, resid: Float[Tensor, "1 row d_model"]) -> Float[Tensor, "1 row d_model"]:
    """The same on the device of the module's weights, which may be another's."""
    weight = next(module.parameters(), resid)
    # A weight that is kept on disk comes to where it is used.
    return resid if weight.is_meta else resid.to(weight.device)


def _unembedded(
    unembed: Any, normed: Float[Tensor, "1 row d_model"], tokens: Tokens
) -> Float[Tensor, "1 row chosen"]:
    if tokens is None:
        whole: Tensor = unembed(normed)
        return whole
    weight = unembed.W_U
    if isinstance(tokens, Tensor):
        tokens = tokens.to(weight.device)
    # Rows of the transposed matrix: in memory they lie together, and a slice copies none.
    return linear(normed, weight.T[tokens], unembed.b_U[tokens])


def _soft_cap(logits: Float[Tensor, "row chosen"], cfg: Any) -> Float[Tensor, "row chosen"]:
    cap = getattr(cfg, "output_logits_soft_cap", None)
    return cap * torch.tanh(logits / cap) if cap is not None and cap > 0 else logits
