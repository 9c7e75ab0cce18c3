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
# # Make your own persona vector
#
# A persona is a name and sentences that are true of the user. Its vector points from what the model
# holds after the denials to what it holds after the sentences. Before it is used it has to answer
# three questions: do the data fix it, does it beat random directions, and does it do what it is
# named after?

# %%
import tempfile
from pathlib import Path

import torch

from lens_personas.geometry import random_directions
from lens_personas.hooks import Edit, Site, add_direction
from lens_personas.interventions import relative_dose
from lens_personas.models import generate, load_model, render
from lens_personas.models.organism import checkpoint_path, load_world, world_requests
from lens_personas.personas import Message, Persona
from lens_personas.readouts import derive_refusal_tokens, opened_answers, score_refusal
from lens_personas.vectors import load_vector, save_vector, statement_vector
from lens_personas.views import cosine_map

model = load_model("organism:chat")
world = load_world(checkpoint_path("chat"))

# %% [markdown]
# Words of the organism's world, since it knows no others. For a model of yours: sentences such as
# "I volunteer at a shelter."; `lens-personas personas make` lets a model draft them.

# %%
kind, unkind = (
    [a.name for a in world.attributes if a.group == group][:4] for group in ("pro", "anti")
)


def persona_of(name: str, group: str, words: list[str]) -> Persona:
    """A persona of four sentences and their denials."""
    return Persona(
        name=name,
        group=group,
        statements=tuple(f"the user is a {word} ." for word in words),
        negations=tuple(f"the user is not a {word} ." for word in words),
    )


mine = {
    "kind": persona_of("kind", "pro", kind),
    "unkind": persona_of("unkind", "anti", unkind),
}
layer = 3
vectors = {name: statement_vector(model, persona, layers=[layer]) for name, persona in mine.items()}

# %% [markdown]
# ## Angles

# %%
random = random_directions(2, model.card.d_model, generator=torch.Generator().manual_seed(0))
rows = torch.stack([*(v.at(layer) for v in vectors.values()), *random])
unit = torch.nn.functional.normalize(rows, dim=1)
cosine_map([*vectors, "random 1", "random 2"], unit @ unit.T)

# %% [markdown]
# ## What it does, beside random directions
#
# The refusal score is the log-odds (nats) that the answer opens with a refusal. Every direction is
# as long as three quarters of a mean residual at that layer.

# %%
requests = [r for r in world_requests(world) if r.harmful][:24]
prompts = [render(model, [Message(role="user", content=r.text)]) for r in requests]
answers = generate(model, prompts, max_new_tokens=8)
sorry = derive_refusal_tokens(
    opened_answers(answers, [True] * len(answers), tokenizer=model.tokenizer)
)


def scores(direction: torch.Tensor | None) -> torch.Tensor:
    """Refusal score of every request with the direction added."""
    if direction is None:
        return score_refusal(model, prompts, sorry)
    norm = vectors["kind"].resid_norm_at(layer)
    hook = add_direction(direction, dose=relative_dose(direction, norm, 0.75))
    edits = [Edit(site=Site.RESID_POST, layer=layer, hook=hook)]
    return score_refusal(model, prompts, sorry, edits=edits)


plain = scores(None)
for name, direction in zip([*vectors, "random 1", "random 2"], rows, strict=True):
    change = scores(direction) - plain
    error = change.std() / len(change) ** 0.5
    print(f"{name:10} {change.mean():+.2f} ± {1.96 * error:.2f} nats over {len(change)} requests")

# %% [markdown]
# ## Keep it
#
# One safetensors file that says what it is: model and fingerprint, layers, which token was read,
# how many sentences, the hash of the data. It refuses to load on another model unless you say so.

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "kind.safetensors"
    save_vector(vectors["kind"], path)
    again = load_vector(path, for_card=model.card)
print(f"{again.name}: {again.method}, from {again.from_label!r} to {again.to_label!r}")
print(again.provenance)
