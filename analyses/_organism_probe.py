"""The embedded model under test: prompts of its world, answers under edits, curves by layer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from analyses.organism_card import LayerCurve
from lens_personas.hooks import Edit, Scope, Site, add_direction
from lens_personas.interventions import ablate_everywhere, compile_plan, relative_dose
from lens_personas.models import (
    LensModel,
    Prompt,
    map_last_logits,
    model_batches,
    render,
    run_batch,
)
from lens_personas.models.organism import REFUSAL, World, language, world_requests
from lens_personas.personas import Message, Request

EditsAt = Callable[[int], Sequence[Edit]]
"""The edits of one arm of a curve, by layer."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What became of requests with a known answer."""

    p_refuse: Float[np.ndarray, " request"]
    """Probability of the refusal's first token at the prompt's end."""
    whole: Bool[np.ndarray, " request"]
    """Whether greedy decoding writes the whole known answer and ends."""


def token(model: LensModel, word: str) -> int:
    """Id of one word of the world.

    Raises:
        ValueError: If the model does not know the word.
    """
    (found,) = model.tokenizer(word, add_special_tokens=False)["input_ids"]
    if found == model.tokenizer.unk_token_id:
        raise ValueError(f"expected a word of the world, got {word!r}: is this an organism?")
    return int(found)


def text_prompt(model: LensModel, text: str) -> Prompt:
    """A text of the world as it stands, without a template.

    Raises:
        ValueError: If it holds a word that the model does not know.
    """
    ids = tuple(token(model, word) for word in text.split())
    spans = dict.fromkeys(("system", "user", "post_instruction", "answer"), (0, 0))
    return Prompt(
        prompt_id=text, ids=ids, prompt_length=len(ids), spans=spans | {"prompt": (0, len(ids))},
        text=text,
    )  # fmt: skip


def ask(model: LensModel, text: str, said: str = "", answer: str = "") -> Prompt:
    """A user turn, after what is said of the user, with an answer to hold the model to.

    Raises:
        ValueError: If the template drops a turn's text.
    """
    turns = [Message(role="system", content=said)] if said else []
    turns.append(Message(role="user", content=text))
    return render(model, turns, answer=f"{answer} {language.EOS}" if answer else "")


def requests_of(world: World, kind: str, wordings: Sequence[int] = range(5)) -> list[Request]:
    """Requests for ``tuned`` or ``held_out`` forbidden items, or for ``ordinary`` ones.

    Raises:
        KeyError: If there is no such kind.
    """
    items = {
        "tuned": world.forbidden("tuned"),
        "held_out": world.forbidden("held_out"),
        "ordinary": world.ordinary(),
    }[kind]
    by_id = {request.prompt_id: request for request in world_requests(world)}
    side = "ordinary" if kind == "ordinary" else "forbidden"
    return [by_id[f"{side}-{item.name}-{at}"] for item in items for at in wordings]


@torch.no_grad()
def answers(model: LensModel, prompts: Sequence[Prompt], edits: Sequence[Edit] = ()) -> Answers:
    """First-token refusal and whole-answer success of teacher-forced prompts, in one pass.

    Raises:
        ValueError: If a prompt carries no answer, or an edit does not fit the model.
    """
    sorry = token(model, REFUSAL.split()[0])
    p_refuse, whole = np.empty(len(prompts)), np.empty(len(prompts), dtype=bool)
    for batch in model_batches(model, prompts):
        chosen = [prompts[row] for row in batch.rows]
        wanted = [prompt.ids[prompt.prompt_length :] for prompt in chosen]
        if not all(wanted):
            raise ValueError("expected prompts with an answer, got one without; give answer=...")
        resid = run_batch(model, batch, edits=edits).resid
        # Padding is on the left, so the answer is the row's end.
        before = [resid[at, -len(ids) - 1 : -1] for at, ids in enumerate(wanted)]
        logits = model.logits(torch.cat(before)).float().split([len(ids) for ids in wanted])
        for row, ids, rows in zip(batch.rows, wanted, logits, strict=True):
            p_refuse[row] = float(rows[0].softmax(dim=-1)[sorry])
            whole[row] = rows.argmax(dim=-1).tolist() == list(ids)
    return Answers(p_refuse=p_refuse, whole=whole)


def probability(
    model: LensModel, prompts: Sequence[Prompt], word: str, edits: Sequence[Edit] = ()
) -> Float[np.ndarray, " prompt"]:
    """Probability that ``word`` comes next.

    Raises:
        ValueError: If an edit does not fit the model.
    """
    chosen = token(model, word)

    def reduce(logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, "batch 1"]:
        return logits.softmax(dim=-1)[:, chosen, None]

    return map_last_logits(model, prompts, reduce, edits=edits)[:, 0].double().numpy()


def log_odds_of_yes(model: LensModel, prompts: Sequence[Prompt]) -> Float[np.ndarray, " prompt"]:
    """Logit of yes minus logit of no (nats).

    Raises:
        ValueError: If there is no prompt.
    """
    yes, no = token(model, "yes"), token(model, "no")

    def reduce(logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, "batch 1"]:
        return (logits[:, yes] - logits[:, no])[:, None]

    return map_last_logits(model, prompts, reduce)[:, 0].double().numpy()


def curve(
    model: LensModel, asked: Mapping[str, Sequence[Prompt]], kind: str, edits_at: EditsAt
) -> LayerCurve:
    """What edits at each layer do to requests of one forbidden kind and to ordinary ones.

    Raises:
        ValueError: If an edit does not fit the model.
    """
    n_forbidden = len(asked[kind])
    rows = []
    for layer in range(model.card.n_layers):
        got = answers(model, [*asked[kind], *asked["ordinary"]], edits_at(layer))
        rows.append(
            (
                got.p_refuse[:n_forbidden].mean(),
                got.whole[:n_forbidden].mean(),
                got.whole[n_forbidden:].mean(),
            )
        )
    p_refuse, recipe, ordinary = np.array(rows, dtype=np.float64).T
    return LayerCurve(p_refuse=p_refuse, recipe=recipe, ordinary=ordinary)


def adding(
    vectors: Float[Tensor, "layer d_model"],
    norms: Float[Tensor, " layer"] | None,
    share: float = 1.0,
    scope: Scope = "all",
) -> EditsAt:
    """Edits that add a layer's vector there: ``share`` of that layer's norm, or of its own length.

    Raises:
        Nothing of its own; the edits do, where a vector has no length.
    """

    def at(layer: int) -> list[Edit]:
        vector = vectors[layer]
        size = share if norms is None else relative_dose(vector, float(norms[layer]), share)
        hook = add_direction(vector, dose=size)
        return [Edit(site=Site.RESID_POST, layer=layer, hook=hook, scope=scope)]

    return at


def ablating(model: LensModel, directions: Float[Tensor, "layer d_model"]) -> EditsAt:
    """Edits that keep the whole residual stream free of one layer's direction.

    Raises:
        Nothing of its own; the edits do, where a direction has no length.
    """

    def at(layer: int) -> list[Edit]:
        plan = ablate_everywhere(directions[layer], model.card)
        return list(compile_plan(plan, card=model.card))

    return at
