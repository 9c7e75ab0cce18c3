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
# # Patch a persona
#
# Two users, one request, the same number of tokens: everything that differs between the two runs
# comes from who asks. Patching puts one state of the one run into the other; attribution foretells
# all patches from one forward and one backward pass; a circuit is a set of edges that carries the
# difference alone. Each is checked against the step before it.

# %%
import numpy as np

from lens_personas.hooks import Site
from lens_personas.interventions import (
    attribution_grid,
    edge_attribution,
    faithfulness,
    head_grid,
    model_graph,
    patch_grid,
    refusal_metric,
    swapped_pairs,
    verify_top,
)
from lens_personas.models import load_model, token_strings
from lens_personas.models.organism import (
    checkpoint_path,
    load_world,
    world_personas,
    world_requests,
)
from lens_personas.views import circuit_diagram, head_heatmap, patch_heatmap

model = load_model("organism:chat")
world = load_world(checkpoint_path("chat"))
sides = {g: [p for p in world_personas(world) if p.group == g] for g in ("pro", "anti")}
# One wording, so that all prompts are equally long and a position means the same in each.
asked = [r for r in world_requests(world) if r.harmful]
asked = [r for r in asked if len(r.text.split()) == len(asked[0].text.split())][:8]

pairs = swapped_pairs(model, list(zip(sides["pro"][:3], sides["anti"][:3], strict=True)), asked)
metric = refusal_metric(model.tokenizer.encode("sorry", add_special_tokens=False))
print(len(pairs.clean), "pairs;", len(pairs.left_out), "left out")
print(pairs.clean[0].text, "|", pairs.corrupted[0].text)

# %% [markdown]
# ## Patching, for real

# %%
patched = patch_grid(model, pairs.clean, pairs.corrupted, metric, site=Site.RESID_PRE)
tokens = token_strings(model, pairs.corrupted[0].ids)
patch_heatmap(patched, tokens, title="Trusted user's states in the distrusted user's run")

# %% [markdown]
# ## Attribution, and how far to trust it
#
# `verify_top` holds the foretold grid against the real one: rank correlation over all cells, and
# the largest cells one by one. Plain gradients are linear; the integrated ones follow the way.

# %%
for method in ("plain", "integrated"):
    foretold = attribution_grid(
        model, pairs.clean, pairs.corrupted, metric, site=Site.RESID_PRE, method=method
    )
    held = verify_top(foretold, patched, k=10)
    print(f"{method:10} rank correlation over {held.n_cells} cells {held.spearman:.2f}")

# %% [markdown]
# ## Heads

# %%
heads = head_grid(model, pairs.clean, pairs.corrupted, metric)
head_heatmap(heads, title="Each head's output alone, from the trusted user's run")

# %% [markdown]
# ## A circuit, and what it leaves out
#
# Edges ranked by attribution; then the model is run with the first so many edges alone, all others
# carrying the other user's states. Faithfulness is the share of the effect that is left;
# completeness asks the reverse: cut the circuit, and nothing should be left. Random circuits of the
# same size stand beside.

# %%
scores = edge_attribution(model, pairs.clean, pairs.corrupted, metric)
curve = faithfulness(
    model,
    pairs.clean,
    pairs.corrupted,
    metric,
    scores.ranking,
    sizes=(5, 10, 20, 40, 80, 160),
    rng=np.random.default_rng(0),
    n_random=5,
)
curve.table()

# %%
effect = dict(zip(scores.edges, scores.values.mean(dim=0).tolist(), strict=True))
strongest = {edge: effect[edge] for edge in scores.ranking[:40]}
circuit_diagram(strongest, graph=model_graph(model), unit="nats", title="Who asks: strongest edges")

# %% [markdown]
# The ranking was made on the pairs it is tested on. The study `lens-personas study persona-circuit`
# finds the circuit on one half of users and requests and verifies it on the other.
