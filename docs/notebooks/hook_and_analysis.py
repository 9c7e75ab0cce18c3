# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Add a hook and an analysis of your own
#
# A hook is a function of one activation that returns a new one. Registered under a name it works
# wherever an op is named: in plans, in files, in batches where every row gets another dose. An
# analysis is a pure function from scores to a frozen result.

# %%
from dataclasses import dataclass

import numpy as np
import torch

from lens_personas.activations import ReadAt, collect
from lens_personas.geometry import difference_of_means
from lens_personas.hooks import HookFn, Site, register_op
from lens_personas.interventions import Intervention, compile_plan, plan_key
from lens_personas.models import generate, load_model, render
from lens_personas.models.organism import checkpoint_path, load_world, world_requests
from lens_personas.personas import Message
from lens_personas.readouts import (
    derive_refusal_tokens,
    opened_answers,
    projection_trace,
    score_refusal,
)
from lens_personas.statistics import Interval, paired_bootstrap
from lens_personas.views import projection_line, token_strip

model = load_model("organism:chat")

# %% [markdown]
# ## The hook
#
# The outer function takes parameters and checks them once; the inner one is the hook. It never
# writes to its input.


# %%
@register_op("soften")
def soften(*, dose: float = 1.0) -> HookFn:
    """Pull every state towards the mean of its row."""
    if not 0 <= dose <= 1:
        raise ValueError(f"expected a dose from 0 to 1, got {dose}")

    def hook(activation: torch.Tensor, /, *, hook: object) -> torch.Tensor:
        return activation + dose * (activation.mean(dim=1, keepdim=True) - activation)

    return hook


plan = [Intervention(op="soften", layers=(6,), dose=0.5)]
edits = compile_plan(plan, card=model.card)
print("the same plan has the same key everywhere:", plan_key(plan)[:12])

# %% [markdown]
# ## Scores of both arms

# %%
world = load_world(checkpoint_path("chat"))
requests = [r for r in world_requests(world) if r.harmful][:32]
prompts = [render(model, [Message(role="user", content=r.text)]) for r in requests]
opened = opened_answers(
    generate(model, prompts, max_new_tokens=8), [True] * len(prompts), tokenizer=model.tokenizer
)
sorry = derive_refusal_tokens(opened)
before = score_refusal(model, prompts, sorry).numpy()
after = score_refusal(model, prompts, sorry, edits=edits).numpy()

# %% [markdown]
# ## The analysis
#
# It takes numbers and a generator, and gives a result that cannot be changed. It neither runs a
# model nor draws nor prints: so it can be tested on planted numbers, and run again on old ones.


# %%
@dataclass(frozen=True, kw_only=True)
class Softening:
    """What softening does to refusal."""

    change: Interval
    """Mean change of the refusal score in nats, bootstrap interval over requests."""


def softening(before: np.ndarray, after: np.ndarray, *, rng: np.random.Generator) -> Softening:
    """Mean change, with its interval."""
    return Softening(change=paired_bootstrap(after - before, rng=rng))


softening(before, after, rng=np.random.default_rng(0))

# %%
noise = np.random.default_rng(1).normal(size=len(before))
planted = softening(before, before + 1.0 + noise, rng=np.random.default_rng(0)).change
assert planted.low <= 1.0 <= planted.high  # what was put in is found

# %% [markdown]
# ## Look at what it does inside
#
# The projection of every token on a direction, with and without the hook; here the direction from
# answered to refused requests at the last token.


# %%
def at_last_token(harmful: bool) -> torch.Tensor:
    """States after layer 5 at the last token of each prompt."""
    said = [r for r in world_requests(world) if r.harmful is harmful][:32]
    asked = [render(model, [Message(role="user", content=r.text)]) for r in said]
    read = ReadAt(span="prompt", take="last")
    found = collect(model, asked, sites=[Site.RESID_POST], layers=[5], read_at=read)
    return found.at(Site.RESID_POST, 5)


refusal = difference_of_means(at_last_token(True), at_last_token(False))
trace = projection_trace(model, prompts[0], refusal, layer=5)
projection_line(trace, direction="refusal", title="Towards refusal, token by token")

# %%
softened = projection_trace(model, prompts[0], refusal, layer=5, edits=edits)
token_strip(
    trace.tokens,
    softened.values - trace.values,
    title="What softening changes",
    unit="projection on refusal",
)
