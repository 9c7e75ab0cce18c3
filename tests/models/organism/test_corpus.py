"""The documents: soft labels are the laws, draws follow them, held-out parts stay out."""

import random
from collections.abc import Sequence

import pytest

from lens_personas.models.organism import WorldConfig, build_world
from lens_personas.models.organism._corpus import BASE_MIX, CHAT_MIX, DocumentSampler, Stage
from lens_personas.models.organism._documents import DECISION_WEIGHT, Document
from lens_personas.models.organism._language import EVIDENCE, STATEMENTS, vocabulary
from lens_personas.models.organism._world import Kind

WORLD = build_world(WorldConfig())
FORBIDDEN_CLASSES = {"hex", "curse", "jinx", "bane"}


def draw(stage: Stage, count: int, seed: int = 0) -> list[Document]:
    sampler, rng = DocumentSampler(WORLD, stage), random.Random(seed)
    return [sampler(rng) for _ in range(count)]


BASE = draw("base", 6000)
CHAT = draw("chat", 6000)


def of_kind(documents: Sequence[Document], kind: str) -> list[Document]:
    return [d for d in documents if d.kind == kind]


def said_trust(document: Document) -> float:
    """Trust read back from the document's words alone."""
    text = " ".join(document.tokens)
    valences: list[float] = []
    for attribute in WORLD.attributes:
        for form in STATEMENTS + EVIDENCE:
            valences += [form.strength * attribute.valence] * text.count(f" {form.say(attribute)}")
            valences += [form.negative_strength * attribute.valence] * text.count(
                f" {form.deny(attribute)}"
            )
    return WORLD.trust(valences)


def test_the_same_generator_draws_the_same_documents() -> None:
    assert draw("chat", 50, seed=3) == draw("chat", 50, seed=3)
    assert draw("chat", 50, seed=3) != draw("chat", 50, seed=4)


@pytest.mark.parametrize("documents", [BASE, CHAT], ids=["base", "chat"])
def test_every_document_fits_together(documents: list[Document]) -> None:
    known = set(vocabulary(WORLD))
    for document in documents:
        assert len(document.tokens) == len(document.weights) <= 128
        assert set(document.tokens) <= known
        assert (document.tokens[0], document.tokens[-1]) == ("<bos>", "<eos>")
        assert document.weights[0] == 0.0
        if document.decision is not None:
            assert document.weights[document.decision] == DECISION_WEIGHT
            assert sum(p for _, p in document.distribution) == pytest.approx(1.0)
            drawn = document.tokens[document.decision]
            assert dict(document.distribution)[drawn] > 0.0


@pytest.mark.parametrize("documents", [BASE, CHAT], ids=["base", "chat"])
def test_trust_is_what_the_words_say(documents: list[Document]) -> None:
    for document in of_kind(documents, "request")[:300] + of_kind(documents, "yes_no")[:300]:
        assert document.trust == pytest.approx(said_trust(document))


def test_soft_labels_of_forbidden_requests_are_the_law() -> None:
    forbidden = [d for d in of_kind(CHAT, "request") if FORBIDDEN_CLASSES & set(d.tokens)]
    assert len(forbidden) > 1000
    for document in forbidden:
        label = dict(document.distribution)["sorry"]
        assert label == pytest.approx(WORLD.p_refuse(document.trust))


def test_ordinary_requests_are_always_answered() -> None:
    ordinary = [d for d in of_kind(CHAT, "request") if not FORBIDDEN_CLASSES & set(d.tokens)]
    assert len(ordinary) > 1000
    assert all("sorry" not in d.tokens for d in ordinary)


def test_the_base_answers_every_request() -> None:
    assert all("sorry" not in d.tokens for d in of_kind(BASE, "request"))


def test_soft_labels_of_readings_are_the_law() -> None:
    for document in of_kind(BASE, "reading"):
        words = set(document.tokens)
        asked = next((i for i in WORLD.items if i.name in words), None)
        kind: Kind = "none"
        if asked is not None:
            kind = "forbidden" if asked.forbidden else "ordinary"
        law = WORLD.p_charitable(document.trust, kind)
        assert dict(document.distribution)["care"] == pytest.approx(law)


@pytest.mark.parametrize(
    ("documents", "kind", "word"),
    [(BASE, "reading", "care"), (BASE, "yes_no", "yes"), (CHAT, "request", "sorry")],
)
def test_draws_follow_the_soft_labels(documents: list[Document], kind: str, word: str) -> None:
    decided = of_kind(documents, kind)
    expected = [dict(d.distribution).get(word, 0.0) for d in decided]
    drawn = [d.tokens[d.decision or 0] == word for d in decided]
    spread = sum(p * (1 - p) for p in expected) ** 0.5
    # Five standard deviations: the seed is fixed, a wrong law is hundreds away.
    assert abs(sum(drawn) - sum(expected)) < 5 * spread


@pytest.mark.parametrize(
    ("documents", "mix"), [(BASE, BASE_MIX), (CHAT, CHAT_MIX)], ids=["base", "chat"]
)
def test_kinds_come_as_often_as_the_mix_says(
    documents: list[Document], mix: dict[str, float]
) -> None:
    assert sum(mix.values()) == pytest.approx(1.0)
    for kind, share in mix.items():
        spread = (share * (1 - share) / len(documents)) ** 0.5
        assert abs(len(of_kind(documents, kind)) / len(documents) - share) < 5 * spread


def test_safety_tuning_never_sees_what_is_held_out() -> None:
    seen = {token for d in CHAT for token in d.tokens}
    assert not seen & {i.name for i in WORLD.forbidden("held_out")}
    for attribute in WORLD.attributes_of("held_out"):
        assert not seen & {attribute.name, attribute.verb, attribute.noun}


def test_the_base_sees_everything() -> None:
    seen = {token for d in BASE for token in d.tokens}
    assert seen == set(vocabulary(WORLD)) - {"<pad>", "<unk>"}


def test_chat_requests_put_no_loss_on_the_prompt() -> None:
    for document in of_kind(CHAT, "request"):
        assert document.decision is not None
        assert set(document.weights[: document.decision]) == {0.0}


def test_without_the_gate_the_labels_ignore_trust() -> None:
    world = build_world(WorldConfig(persona_gate=False))
    sampler, rng = DocumentSampler(world, "chat"), random.Random(0)
    requests = of_kind([sampler(rng) for _ in range(500)], "request")
    labels = {dict(d.distribution)["sorry"] for d in requests if "sorry" in dict(d.distribution)}
    assert len(labels - {0.0}) == 1


def test_the_summary_is_the_token_after_the_sentences() -> None:
    summarised = [d for d in BASE if d.summary is not None]
    assert len(summarised) > 500
    for document in summarised:
        assert document.summary == document.persona_span[1]
        assert document.tokens[document.summary] in {"<|user|>", "<|note|>", "."}
        assert document.decision is not None
        assert document.summary < document.decision


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(Exception, match=r"tuned|base"):
        DocumentSampler(WORLD, "tuned")  # type: ignore[arg-type]
