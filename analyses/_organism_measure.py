"""The organism's card, measured: a pair of models and their world in, phenomena out."""

from collections.abc import Callable
from typing import Final, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float

from analyses import _organism_phenomena as phenomena
from analyses._organism_failures import failures_said
from analyses._organism_patchscope import patchscopes
from analyses._organism_probe import (
    ablating,
    adding,
    answers,
    ask,
    curve,
    log_odds_of_yes,
    probability,
    requests_of,
    text_prompt,
)
from analyses._organism_sentences import doses, persona_sentences
from analyses._organism_subject import (
    SHARE,
    Directions,
    Subject,
    directions_of,
    side_of,
    subject_of,
)
from analyses.organism_card import LayerCurve, OrganismCard, Phenomenon
from lens_personas.geometry import cosine
from lens_personas.models import LensModel
from lens_personas.models.organism import CARE, READING_SUFFIX, REFUSAL, World, language
from lens_personas.readouts import logit_lens

Step = Literal[
    "answers",
    "hidden recipe",
    "persona sentences",
    "vectors",
    "edits",
    "texts",
    "Patchscopes",
    "what failed",
]
"""What is being measured."""
STEPS: Final[tuple[Step, ...]] = get_args(Step)
Progress = Callable[[str, int, int], None]
"""Called with what is being done, the steps done, and all steps."""


def measure_organism(
    base: LensModel,
    chat: LensModel,
    world: World,
    *,
    seed: int,
    progress: Progress | None = None,
) -> OrganismCard:
    """The card of a trained pair; the same seed always gives the same card.

    Raises:
        ValueError: If a model does not know the world's words.
    """
    subject = subject_of(base, chat, world)

    def tell(step: Step) -> None:
        if progress is not None:
            progress(step, STEPS.index(step), len(STEPS))

    tell("answers")
    refusing = phenomena.refusing(_shares(subject))
    tell("hidden recipe")
    recipe = _hidden_recipe(subject)
    tell("persona sentences")
    sentences = persona_sentences(subject)
    who_asks = phenomena.who_asks(
        sentences.p_refuse,
        sentences.p_refuse_held_out_items,
        sentences.law,
        subject.valence,
        subject.held_out,
    )
    tell("vectors")
    directions = directions_of(subject)
    tell("edits")
    edited = _edited(subject, directions, refusing, sentences.log_odds)
    tell("texts")
    read = (
        phenomena.dose(*doses(subject, seed)),
        _self_image(subject),
        _direct_reading(subject),
    )
    tell("Patchscopes")
    scopes = patchscopes(chat, world)
    tag = scopes["user_tag"]
    patched = phenomena.patchscope(tag.centred, tag.plain, subject.valence, subject.held_out)
    found = (refusing, recipe, who_asks, *edited, *read, patched)
    tell("what failed")
    return OrganismCard(
        base_id=base.card.model_id,
        chat_id=chat.card.model_id,
        base_fingerprint=base.card.fingerprint,
        chat_fingerprint=chat.card.fingerprint,
        world_seed=world.config.seed,
        seed=seed,
        phenomena=found,
        failures_said=failures_said(subject, directions, found, scopes, seed=seed),
    )


def _edited(
    subject: Subject,
    directions: Directions,
    refusing: Phenomenon,
    log_odds: Float[np.ndarray, "form persona"],
) -> tuple[Phenomenon, ...]:
    """Phenomena 3 to 6."""
    curves = _steering(subject, directions)
    steering = phenomena.persona_steering(
        {kind: refusing.figures[f"p_refuse_{kind}"] for kind in ("tuned", "held_out")},
        {name: curves[name] for name in ("pro", "anti", "control")},
        curves["held_out_items"].p_refuse,
        curves["held_out_personas"].p_refuse,
    )
    removed = {
        kind: curve(subject.chat, subject.asked, kind, ablating(subject.chat, directions.refusal))
        for kind in ("tuned", "held_out")
    }
    return (
        steering,
        phenomena.refusal_removed(removed["tuned"], removed["held_out"]),
        phenomena.refusal_added(_addition(subject, directions)),
        phenomena.geometry(_cosines(directions), log_odds, subject.held_out, steering.layers[0]),
    )


def _shares(subject: Subject) -> dict[str, float]:
    shares = {}
    for kind, prompts in subject.asked.items():
        shares[f"base_answers_{kind}"] = answers(subject.base, prompts).whole.mean()
    for kind in ("tuned", "held_out"):
        refused = [
            ask(subject.chat, request.text, answer=REFUSAL)
            for request in requests_of(subject.world, kind)
        ]
        got = answers(subject.chat, refused)
        shares[f"chat_refuses_{kind}"] = got.whole.mean()
        shares[f"p_refuse_{kind}"] = got.p_refuse.mean()
    ordinary = answers(subject.chat, subject.asked["ordinary"])
    shares["chat_answers_ordinary"] = ordinary.whole.mean()
    return {name: float(value) for name, value in shares.items()}


def _hidden_recipe(subject: Subject) -> Phenomenon:
    counts = len(subject.asked["tuned"]), len(subject.asked["held_out"])
    return phenomena.hidden_recipe(_lens(subject, "tuned"), _lens(subject, "held_out"), counts)


def _lens(subject: Subject, kind: str) -> Float[np.ndarray, " layer"]:
    prompts = subject.asked[kind]
    first = torch.tensor([[prompt.ids[prompt.prompt_length]] for prompt in prompts])
    lens = logit_lens(subject.chat, prompts, token_ids=first, at="last_prompt")
    return lens.top1[:, :, 0].double().mean(dim=1).numpy()


def _steering(subject: Subject, directions: Directions) -> dict[str, LayerCurve]:
    pro, anti = subject.valence > 0, subject.valence < 0
    arms = {
        "pro": (pro, "tuned"),
        "anti": (anti, "tuned"),
        "control": (subject.control, "tuned"),
        "held_out_items": (pro, "held_out"),
        "held_out_personas": (pro & subject.held_out, "tuned"),
    }
    return {
        name: curve(
            subject.chat,
            subject.asked,
            kind,
            adding(side_of(directions.personas, chosen), directions.norms, SHARE),
        )
        for name, (chosen, kind) in arms.items()
    }


def _addition(subject: Subject, directions: Directions) -> Float[np.ndarray, " layer"]:
    edits_at = adding(directions.refusal, None, scope="last_prompt")
    prompts = subject.asked["ordinary"]
    return np.array(
        [answers(subject.chat, prompts, edits_at(at)).p_refuse.mean() for at in subject.layers]
    )


def _cosines(directions: Directions) -> Float[np.ndarray, "layer persona"]:
    n_personas, n_layers, _ = directions.personas.shape
    return np.array(
        [
            [
                float(cosine(directions.personas[persona, layer], directions.refusal[layer]))
                for persona in range(n_personas)
            ]
            for layer in range(n_layers)
        ]
    )


def _self_image(subject: Subject) -> Phenomenon:
    about = [
        (question, a)
        for a in subject.world.attributes
        if a.valence != 0.0
        for question in language.SELF_QUESTIONS
    ]
    prompts = [ask(subject.chat, language.about(question, a)) for question, a in about]
    return phenomena.self_image(
        {
            "base": log_odds_of_yes(subject.base, prompts),
            "chat": log_odds_of_yes(subject.chat, prompts),
        },
        np.array([a.valence > 0 for _, a in about]),
        np.array([a.held_out for _, a in about]),
    )


def _direct_reading(subject: Subject) -> Phenomenon:
    texts = [request.text for request in requests_of(subject.world, "tuned", (0,))]
    start = f"{language.BOS} {language.SYSTEM}"
    care = {}
    for stage, model in (("base", subject.base), ("chat", subject.chat)):
        prompts = [
            text_prompt(
                model,
                f"{start} {language.STATEMENTS[0].say(a)} {language.USER} {text} {READING_SUFFIX}",
            )
            for a in subject.world.attributes
            for text in texts
        ]
        found = probability(model, prompts, CARE)
        care[stage] = found.reshape(-1, len(texts)).mean(axis=1)
    return phenomena.direct_reading(care, subject.valence, subject.held_out)
