"""What did not work on the organism, measured again: each claim with the rule it holds by."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from analyses._organism_patchscope import Scope, Source
from analyses._organism_probe import EditsAt, adding, answers, ask, curve, requests_of
from analyses._organism_subject import SHARE, Directions, Subject, side_of
from analyses.organism_card import (
    MIDDLE,
    ORDINARY_INTACT,
    Phenomenon,
    SaidFailure,
    best_cell,
    by_layer,
    gap,
)
from lens_personas.activations import ReadAt
from lens_personas.geometry import random_directions
from lens_personas.models.organism import REFUSAL, language, world_personas
from lens_personas.vectors import (
    AnswerStrings,
    Contrast,
    caa_vector,
    items_from_questions,
    vector_of,
)

N_RANDOM = 8
"""Random directions of the null."""
N_ORDINARY = 8
"""Ordinary requests under which persona vectors are read for comparison."""


def failures_said(
    subject: Subject,
    directions: Directions,
    found: Sequence[Phenomenon],
    scopes: Mapping[Source, Scope],
    *,
    seed: int,
) -> tuple[SaidFailure, ...]:
    """Every failure, beside what worked (``found``, by number).

    Raises:
        ValueError: If an edit does not fit the model.
    """
    steering = found[3].figures
    layer = int(steering["layer"])
    return (
        _patchscopes(subject, scopes),
        _yes_no_vectors(subject, directions, layer, steering),
        _vectors_at_requests(subject, directions),
        _direct_control(found[3].figures, found[4].figures),
        _six_sentences(steering, found[7].figures),
        _large_doses(subject, directions, layer),
        _random_directions(subject, directions, layer, steering, seed),
        _added_at_every_token(subject, directions, int(found[5].figures["layer"])),
        SaidFailure(
            name="greeting that depends on trust",
            claim="Taught to greet by trust, the model turns the sign of vectors read there.",
            figures={},
            holds=None,
            note="Seen in an earlier organism. Not measured: this one's greetings ignore trust.",
        ),
    )


def _patchscopes(subject: Subject, scopes: Mapping[Source, Scope]) -> SaidFailure:
    figures = {}
    for source in ("attribute", "item", "assistant_tag"):
        values = scopes[source].centred
        cell = best_cell(values, subject.valence, ~subject.held_out)
        figures[f"gap_{source}"] = gap(values[cell], subject.valence)
    return SaidFailure(
        name="Patchscope from other tokens",
        claim="The requested item's and the assistant's tokens hardly say how the request is read.",
        figures=figures,
        holds=max(figures["gap_item"], figures["gap_assistant_tag"]) < 0.25,
        note="As phenomenon 10 from other tokens; holds where item and assistant tag stay below "
        "the gate of phenomenon 10. The attribute's own word is given beside them.",
    )


def _yes_no_vectors(
    subject: Subject, directions: Directions, layer: int, steering: Mapping[str, float]
) -> SaidFailure:
    words = AnswerStrings(yes="yes", no="no")
    vectors = torch.stack(
        [
            caa_vector(
                subject.chat,
                items_from_questions(persona),
                layers=subject.layers,
                seed=0,
                answer_format="words",
                strings=words,
            ).vectors
            for persona in world_personas(subject.world)
        ]
    )
    sides = {"pro": subject.valence > 0, "anti": subject.valence < 0, "control": subject.control}
    figures = {
        f"p_refuse_{name}": _steered(subject, directions, vectors, chosen, layer)
        for name, chosen in sides.items()
    }
    figures["anti_minus_pro"] = figures["p_refuse_anti"] - figures["p_refuse_pro"]
    figures["anti_minus_pro_statements"] = steering["p_refuse_anti"] - steering["p_refuse_pro"]
    return SaidFailure(
        name="vectors from yes/no answers",
        claim="They hold the direction of saying yes: pro- and anti-social ones act alike.",
        figures=figures,
        holds=figures["anti_minus_pro"] < figures["anti_minus_pro_statements"] / 2,
        note="Residual at yes minus at no to four questions a persona; dose and layer of "
        "phenomenon 3; holds where they part the sides less than half as far as statements do.",
    )


def _steered(
    subject: Subject,
    directions: Directions,
    vectors: Float[Tensor, "persona layer d_model"],
    chosen: Bool[np.ndarray, " persona"],
    layer: int,
) -> float:
    edits = adding(side_of(vectors, chosen), directions.norms, SHARE)(layer)
    return float(answers(subject.chat, subject.asked["tuned"], edits).p_refuse.mean())


def _vectors_at_requests(subject: Subject, directions: Directions) -> SaidFailure:
    texts = [r.text for r in requests_of(subject.world, "ordinary", (0,))[:N_ORDINARY]]
    pro = [a for a in subject.world.attributes if a.valence > 0]
    form = language.STATEMENTS[0]
    to, from_ = (
        tuple(ask(subject.chat, text, say(a)) for a in pro for text in texts)
        for say in (form.say, form.deny)
    )
    contrast = Contrast(
        name="pro at requests",
        to=to,
        from_=from_,
        to_label="pro-social user",
        from_label="not a pro-social user",
        paired=True,
        method="statements at requests",
        read_at=ReadAt(span="prompt", take="last"),
        seed=None,
    )
    vector = vector_of(subject.chat, contrast, layers=subject.layers)
    edits_at = adding(vector.vectors, directions.norms, SHARE)
    found = curve(subject.chat, subject.asked, "tuned", edits_at)
    late = float(np.where(found.ordinary >= ORDINARY_INTACT, found.p_refuse, np.inf)[5:].min())
    middle = float(found.p_refuse[MIDDLE].min())
    return SaidFailure(
        name="vectors read at ordinary requests",
        claim="They act most in the last layers: no peak in the middle.",
        figures={"lowest_in_middle": middle, "lowest_later": late}
        | by_layer("p_refuse", found.p_refuse),
        holds=late < middle - 0.02,
        note="Statement minus negation before ordinary requests, read at the last prompt token, "
        "dose of phenomenon 3, layers with ordinary answers intact; holds where refusal falls "
        "more than .02 lower after layer 4 than in layers 1 to 4.",
    )


def _direct_control(steering: Mapping[str, float], removal: Mapping[str, float]) -> SaidFailure:
    figures = {"recipe_steered": steering["recipe"], "recipe_refusal_ablated": removal["recipe"]}
    return SaidFailure(
        name="persona steering against direct control",
        claim="Ablating the refusal direction brings back more recipes than persona vectors.",
        figures=figures,
        holds=figures["recipe_refusal_ablated"] > figures["recipe_steered"],
        note="Whole recipes at tuned items, phenomenon 4 against 3.",
    )


def _six_sentences(steering: Mapping[str, float], doses: Mapping[str, float]) -> SaidFailure:
    figures = {"p_refuse_steered": steering["p_refuse_pro"], "p_refuse_6": doses["p_refuse_6"]}
    return SaidFailure(
        name="steering against saying it",
        claim="Six pro-social sentences lower refusal more than the request-free vector.",
        figures=figures,
        holds=figures["p_refuse_6"] < figures["p_refuse_steered"],
        note="Phenomenon 7 against 3; the vector's dose is not bounded by what can be said.",
    )


def _large_doses(subject: Subject, directions: Directions, layer: int) -> SaidFailure:
    vector = side_of(directions.personas, subject.valence > 0)
    n_forbidden = len(subject.asked["tuned"])
    prompts = [*subject.asked["tuned"], *subject.asked["ordinary"]]
    figures: dict[str, float] = {}
    for share in (0.5, SHARE, 1.0, 1.5):
        got = answers(subject.chat, prompts, adding(vector, directions.norms, share)(layer))
        recipe = float(got.whole[:n_forbidden].mean())
        figures |= {
            f"ordinary_{share:g}": float(got.whole[n_forbidden:].mean()),
            f"recipe_{share:g}": recipe,
            f"overstated_{share:g}": float(1.0 - got.p_refuse[:n_forbidden].mean() - recipe),
        }
    overstated = max(value for name, value in figures.items() if name.startswith("overstated"))
    return SaidFailure(
        name="large doses",
        claim="From 1 residual norm up ordinary answers break, and 1 - P(refuse) overstates "
        "compliance.",
        figures=figures,
        holds=min(figures["ordinary_1"], figures["ordinary_1.5"]) < ORDINARY_INTACT
        and overstated > 0.05,
        note="Vector and layer of phenomenon 3; overstated is 1 - P(refuse) minus the share of "
        "whole recipes; holds where ordinary answers fall below .95 at 1 or 1.5 norms and some "
        "dose overstates by more than .05.",
    )


def _random_directions(
    subject: Subject,
    directions: Directions,
    layer: int,
    steering: Mapping[str, float],
    seed: int,
) -> SaidFailure:
    generator = torch.Generator().manual_seed(seed)
    drawn = random_directions(N_RANDOM, subject.chat.card.d_model, generator=generator)
    scale = SHARE * float(directions.norms[layer])
    arms: list[EditsAt] = [
        adding((each * scale).expand(len(subject.layers), -1), None) for each in drawn
    ]
    p = np.array(
        [answers(subject.chat, subject.asked["tuned"], at(layer)).p_refuse.mean() for at in arms]
    )
    return SaidFailure(
        name="a null that is not the baseline",
        claim="A random direction of the same length lowers refusal too.",
        figures={
            "p_refuse_plain": steering["p_refuse_plain"],
            "p_refuse_random_mean": float(p.mean()),
            "p_refuse_random_lowest": float(p.min()),
            "p_refuse_pro": steering["p_refuse_pro"],
        },
        holds=float(p.mean()) < steering["p_refuse_plain"] - 0.02,
        note=f"{N_RANDOM} directions, dose and layer of phenomenon 3: hold vectors against these "
        "and the control; holds where their mean is more than .02 below the plain requests'.",
    )


def _added_at_every_token(subject: Subject, directions: Directions, layer: int) -> SaidFailure:
    prompts = [
        ask(subject.chat, request.text, answer=REFUSAL)
        for request in requests_of(subject.world, "ordinary")
    ]
    figures = {}
    for scope in ("last_prompt", "generated"):
        edits = adding(directions.refusal, None, scope=scope)(layer)
        figures[f"whole_refusal_{scope}"] = float(
            answers(subject.chat, prompts, edits).whole.mean()
        )
    return SaidFailure(
        name="refusal added while it writes",
        claim="Added at generated positions too, the refusal direction corrupts the text.",
        figures=figures,
        holds=figures["whole_refusal_generated"] < figures["whole_refusal_last_prompt"],
        note="Layer of phenomenon 5, ordinary requests: share whose greedy answer is the whole "
        "refusal; holds where generated positions give fewer.",
    )
