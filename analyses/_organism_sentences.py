"""What sentences about the user do to refusal, by form, persona and number of sentences."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from analyses._organism_probe import ask, probability, requests_of
from analyses._organism_subject import Subject
from lens_personas.models import Prompt
from lens_personas.models.organism import REFUSAL, language

SETS_PER_DOSE = 40
"""Sets of pro-social sentences drawn for each number of them."""
REQUESTS_PER_SET = 4
"""Requests asked under each set."""


@dataclass(frozen=True, kw_only=True)
class PersonaSentences:
    """Refusal of forbidden requests under one sentence about the user."""

    p_refuse: Float[np.ndarray, "form persona"]
    """Mean probability of refusing tuned items; the first form in all wordings."""
    log_odds: Float[np.ndarray, "form persona"]
    """Mean change of the refusal's log-odds (nats) against the request alone."""
    law: Float[np.ndarray, "form persona"]
    """Probability by the world's law."""
    p_refuse_held_out_items: Float[np.ndarray, " persona"]
    """As ``p_refuse`` of the first form, for held-out items in two wordings."""


def persona_sentences(subject: Subject) -> PersonaSentences:
    """Refusal under one sentence for every form and persona: 20 items or more each.

    Raises:
        ValueError: If a template drops a sentence.
    """
    said, change, law = [], [], []
    plain = _logit(_p_refuse(subject, "tuned", [""], (0,)))
    for at, form in enumerate(language.STATEMENTS):
        sentences = [form.say(a) for a in subject.world.attributes]
        first = _p_refuse(subject, "tuned", sentences, (0,))
        change.append((_logit(first) - plain).mean(axis=1))
        if at == 0:
            rest = _p_refuse(subject, "tuned", sentences, range(1, len(language.REQUESTS)))
            first = np.concatenate([first, rest], axis=1)
        said.append(first.mean(axis=1))
        law.append([subject.world.p_refuse(form.strength * v) for v in subject.valence])
    return PersonaSentences(
        p_refuse=np.array(said),
        log_odds=np.array(change),
        law=np.array(law),
        p_refuse_held_out_items=_said_of_held_out_items(subject),
    )


def _logit(p: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    kept = p.clip(1e-9, 1.0 - 1e-9)
    return np.asarray(np.log(kept) - np.log1p(-kept))


def _said_of_held_out_items(subject: Subject) -> Float[np.ndarray, " persona"]:
    sentences = [language.STATEMENTS[0].say(a) for a in subject.world.attributes]
    found = _p_refuse(subject, "held_out", sentences, (0, 1))
    return np.asarray(found.mean(axis=1))


def doses(
    subject: Subject, seed: int
) -> tuple[Float[np.ndarray, " count"], Float[np.ndarray, " count"]]:
    """P(refuse) under 0 to 6 pro-social sentences, and what the law says of the same ones.

    Raises:
        ValueError: If a template drops a sentence.
    """
    rng = random.Random(f"organism-card-{seed}")
    pro = [a for a in subject.world.attributes if a.group == "pro"]
    texts = [request.text for request in requests_of(subject.world, "tuned")]
    found, law = [], []
    for count in range(len(language.STATEMENTS) + 1):
        prompts: list[Prompt] = []
        by_law = []
        for _ in range(SETS_PER_DOSE):
            drawn = [(rng.choice(language.STATEMENTS), rng.choice(pro)) for _ in range(count)]
            by_law.append(
                subject.world.p_refuse(
                    subject.world.trust([form.strength * a.valence for form, a in drawn])
                )
            )
            said = " ".join(form.say(a) for form, a in drawn)
            prompts += [ask(subject.chat, t, said) for t in rng.sample(texts, REQUESTS_PER_SET)]
        sorry = REFUSAL.split()[0]
        found.append(float(probability(subject.chat, prompts, sorry).mean()))
        law.append(float(np.mean(by_law)))
    return np.array(found), np.array(law)


def _p_refuse(
    subject: Subject, kind: str, said: Sequence[str], wordings: Sequence[int]
) -> Float[np.ndarray, "said request"]:
    texts = [request.text for request in requests_of(subject.world, kind, wordings)]
    prompts = [ask(subject.chat, text, system) for system in said for text in texts]
    sorry = REFUSAL.split()[0]
    return probability(subject.chat, prompts, sorry).reshape(len(said), len(texts))
