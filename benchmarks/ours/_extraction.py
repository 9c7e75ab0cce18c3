"""Mean difference of the last token's residual at every layer: even prompts minus odd ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks._serve import Arrays, Call, Prepare, Setting
from benchmarks.ours._models import as_prompts, left_padded, ours, stock
from lens_personas.activations import ReadAt, collect_group_moments
from lens_personas.activations._collect import collect_batches
from lens_personas.hooks import Site
from lens_personas.models import model_batches

_LAST = ReadAt(span="prompt", take="last")


def moments(setting: Setting, options: Mapping[str, Any]) -> Call:
    """``collect_group_moments``, as it comes."""
    model, prompts = ours(setting), as_prompts(options["prompts"])
    groups = ["even" if row % 2 == 0 else "odd" for row in range(len(prompts))]

    def call() -> Arrays:
        found = collect_group_moments(
            model,
            prompts,
            groups=groups,
            site=Site.RESID_POST,
            layers=range(model.card.n_layers),
            read_at=_LAST,
        )
        return {"vectors": (found["even"].mean - found["odd"].mean).float().numpy()}

    return call


def unshared(setting: Setting, options: Mapping[str, Any]) -> Call:
    """The same over batches in which every prompt runs its own prefix."""
    model, prompts = ours(setting), as_prompts(options["prompts"])

    def call() -> Arrays:
        found = collect_batches(
            model,
            prompts,
            model_batches(model, prompts, share=False),
            sites=[Site.RESID_POST],
            layers=range(model.card.n_layers),
            read_at=_LAST,
        )
        return {"vectors": _difference(list(found.values[Site.RESID_POST]))}

    return call


def one_by_one(setting: Setting, options: Mapping[str, Any]) -> Call:
    """The loop of many notebooks: everything cached, prompt after prompt."""
    model = stock(setting)
    tokens = [torch.tensor([ids], device=setting.device) for ids in options["prompts"]]

    def call() -> Arrays:
        rows = []
        for each in tokens:
            with torch.no_grad():
                _, cache = model.run_with_cache(each)
            rows.append(
                torch.stack([cache["resid_post", at][0, -1] for at in range(_depth(model))])
            )
        return {"vectors": _difference(rows)}

    return call


def batches_of_32(setting: Setting, options: Mapping[str, Any]) -> Call:
    """``run_with_cache`` with a names filter, batches of 32 sorted by length."""
    model, prompts = stock(setting), options["prompts"]
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    parts = [order[at : at + 32] for at in range(0, len(order), 32)]

    def call() -> Arrays:
        rows: list[Tensor] = [torch.empty(0)] * len(prompts)
        for part in parts:
            tokens, mask = left_padded([prompts[row] for row in part], setting.device)
            with torch.no_grad():
                _, cache = model.run_with_cache(
                    tokens,
                    attention_mask=mask,
                    names_filter=lambda name: name.endswith("hook_resid_post"),
                )
            last = torch.stack([cache["resid_post", at][:, -1] for at in range(_depth(model))], 1)
            for row, vectors in zip(part, last, strict=True):
                rows[row] = vectors
        return {"vectors": _difference(rows)}

    return call


def _depth(model: Any) -> int:
    return int(model.cfg.n_layers)


def _difference(rows: Sequence[Float[Tensor, "layer d_model"]]) -> Any:
    values = torch.stack(list(rows)).double()
    return (values[::2].mean(0) - values[1::2].mean(0)).float().cpu().numpy()


WAYS: dict[str, Prepare] = {
    "moments": moments,
    "vectors_unshared": unshared,
    "run_with_cache_loop": one_by_one,
    "run_with_cache_batched": batches_of_32,
}
