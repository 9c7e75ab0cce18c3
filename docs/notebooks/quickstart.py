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
# # Quickstart: who does the model think it is talking to?
#
# Everything here runs on the *organism*, a chat model of one million parameters that comes with
# the package. It was trained on an invented world in which the model refuses some requests, and
# refuses them less often to users it trusts. No download, no GPU.

# %%
from lens_personas.hooks import Edit, Site, add_direction
from lens_personas.interventions import (
    patch_grid,
    refusal_metric,
    relative_dose,
    swapped_pairs,
)
from lens_personas.models import generate, load_model, render, token_strings
from lens_personas.models.organism import (
    checkpoint_path,
    load_world,
    world_personas,
    world_requests,
)
from lens_personas.personas import Message
from lens_personas.readouts import (
    attention_patterns,
    derive_refusal_tokens,
    lens_table,
    opened_answers,
    score_refusal,
)
from lens_personas.vectors import statement_vector
from lens_personas.views import attention_heads, lens_grid, patch_heatmap

model = load_model("organism:chat")
world = load_world(checkpoint_path("chat"))
personas = world_personas(world)
forbidden = [request for request in world_requests(world) if request.harmful][:12]
ordinary = [request for request in world_requests(world) if not request.harmful][:12]
requests = [*forbidden, *ordinary]
print(model.card.model_id, model.card.n_layers, "layers of", model.card.n_heads, "heads")

# %% [markdown]
# A forbidden request, alone and after a sentence about the user. `render` puts both through the
# model's own chat template and keeps the place of every part.

# %%
asked = forbidden[0].text
trusted, distrusted = (next(p for p in personas if p.group == group) for group in ("pro", "anti"))


def prompt_of(about: str | None):
    """The request after a sentence about the user."""
    said = [Message(role="system", content=about)] if about else []
    return render(model, [*said, Message(role="user", content=asked)])


# Tokens that open this model's refusals, found in answers it gives.
plain = [render(model, [Message(role="user", content=r.text)]) for r in requests]
opened = opened_answers(
    generate(model, plain, max_new_tokens=8),
    [bool(r.harmful) for r in requests],
    tokenizer=model.tokenizer,
)
sorry = derive_refusal_tokens(opened)
for about in (None, " ".join(trusted.statements), " ".join(distrusted.statements)):
    prompt = prompt_of(about)
    answer = generate(model, [prompt], max_new_tokens=8)[0].text
    score = score_refusal(model, [prompt], sorry)[0]
    print(f"{about or 'nothing said'}\n    {asked} -> {answer}   refusal score {score:+.2f} nats\n")

# %% [markdown]
# ## What would it say, layer by layer?
#
# The logit lens reads the residual stream after every layer as if it were the last. Hover, or tab
# through the cells: the refused answer is there in the middle, and gone at the end.

# %%
lens_grid(lens_table(model, prompt_of(distrusted.statements[0])))

# %% [markdown]
# ## Where does each head look?

# %%
attention_heads(attention_patterns(model, prompt_of(distrusted.statements[0])), layer=1)

# %% [markdown]
# ## The persona as a vector
#
# The mean state after sentences about such a user, less the mean state after their denials. Added
# to the residual stream it does what the sentence does.

# %%
layer = 3
vector = statement_vector(model, trusted, layers=[layer])
dose = relative_dose(vector.at(layer), vector.resid_norm_at(layer), 0.75)
steer = Edit(site=Site.RESID_POST, layer=layer, hook=add_direction(vector.at(layer), dose=dose))
alone = [render(model, [Message(role="user", content=r.text)]) for r in forbidden]
for name, edits in (("plain", []), ("steered", [steer])):
    score = score_refusal(model, alone, sorry, edits=edits).mean()
    answer = generate(model, alone[:1], max_new_tokens=8, edits=edits)[0].text
    print(f"{name:8} mean refusal score {score:+.2f} nats over {len(alone)} requests; {answer}")

# %% [markdown]
# ## Where does the persona act?
#
# The same request under two users, in as many tokens. One state at a time is taken from the trusted
# user's run and put into the other's: 1 is where it brings the whole difference with it.

# %%
pairs = swapped_pairs(model, [(trusted, distrusted)], forbidden[:1])
metric = refusal_metric(sorry.token_ids)
grid = patch_grid(model, pairs.clean, pairs.corrupted, metric, site=Site.RESID_PRE)
patch_heatmap(grid, token_strings(model, pairs.corrupted[0].ids), title="Who asks, and where")

# %% [markdown]
# The persona enters at its own word, is read from there, and ends at the last token. The study
# `lens-personas study patching` puts an interval, a corrected p and a neutral pair beside each
# cell: one request and one pair of users are a picture, not a finding.
