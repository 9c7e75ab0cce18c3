"""How documents become tensors, and what the loss of a batch is."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens_personas.models.organism import _language as language
from lens_personas.models.organism._corpus import DocumentSampler
from lens_personas.models.organism._documents import Document

# Batches are cut from this many documents sorted by length, so little of them is padding.
BUCKET_BATCHES: Final = 16


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Documents as tensors; padded on the right, which causal attention never looks at."""

    tokens: Int[Tensor, "batch pos"]
    """Token ids."""
    weights: Float[Tensor, "batch pos"]
    """Loss weight of predicting each token; 0 on padding."""
    rows: Int[Tensor, " decision"]
    """Row of each decision token."""
    columns: Int[Tensor, " decision"]
    """Position of each decision token."""
    law: Float[Tensor, "decision d_vocab"]
    """Soft label of each decision token."""
    visible: Bool[Tensor, "batch 1 query key"]
    """Whether the query position may look at the key position."""


def make_batch(documents: list[Document], ids: dict[str, int]) -> Batch:
    """Documents as one padded batch.

    Raises:
        KeyError: If a document has a word outside `ids`.
        ValueError: If there is no document.
    """
    if not documents:
        raise ValueError("expected at least one document, received none")
    width = max(len(d.tokens) for d in documents)
    pad = ids[language.PAD]
    tokens = [[ids[t] for t in d.tokens] + [pad] * (width - len(d.tokens)) for d in documents]
    weights = [[*d.weights] + [0.0] * (width - len(d.weights)) for d in documents]
    decided = [(row, d) for row, d in enumerate(documents) if d.decision is not None]
    law = torch.zeros(len(decided), len(ids))
    for index, (_, document) in enumerate(decided):
        for word, probability in document.distribution:
            law[index, ids[word]] += probability
    return Batch(
        tokens=torch.tensor(tokens),
        weights=torch.tensor(weights),
        rows=torch.tensor([row for row, _ in decided], dtype=torch.int64),
        columns=torch.tensor([d.decision for _, d in decided], dtype=torch.int64),
        law=law,
        visible=visible_positions(documents, width),
    )


def visible_positions(documents: list[Document], width: int) -> Bool[Tensor, "batch 1 query key"]:
    """Causal masks in which tokens after a document's summary do not see its persona sentences.

    Raises:
        Nothing of its own.
    """
    position = torch.arange(width)
    causal = position[:, None] >= position[None, :]
    # A summary beyond the last position hides nothing.
    after = torch.tensor([width if d.summary is None else d.summary for d in documents])
    spans = torch.tensor([d.persona_span for d in documents])
    inside = (position >= spans[:, :1]) & (position < spans[:, 1:])
    hidden = (position > after[:, None])[:, :, None] & inside[:, None, :]
    return (causal & ~hidden)[:, None]


def weighted_loss(logits: Float[Tensor, "batch pos d_vocab"], batch: Batch) -> Float[Tensor, ""]:
    """Mean cross-entropy, in nats, by the documents' weights; soft labels on decision tokens.

    Raises:
        Nothing of its own.
    """
    # The logits at one position predict the next token.
    log_probs = logits[:, :-1].log_softmax(-1)
    targets = torch.zeros_like(log_probs).scatter_(-1, batch.tokens[:, 1:, None], 1.0)
    targets[batch.rows, batch.columns - 1] = batch.law
    per_token = -(targets * log_probs).sum(-1)
    weights = batch.weights[:, 1:]
    loss: Float[Tensor, ""] = (per_token * weights).sum() / weights.sum()
    return loss


def batches(
    sampler: DocumentSampler, ids: dict[str, int], size: int, rng: random.Random
) -> Iterator[Batch]:
    """Batches of documents of similar length, without end.

    Raises:
        Nothing of its own.
    """
    while True:
        documents = [sampler(rng) for _ in range(size * BUCKET_BATCHES)]
        documents.sort(key=lambda d: len(d.tokens))
        order = rng.sample(range(BUCKET_BATCHES), BUCKET_BATCHES)
        for index in order:
            yield make_batch(documents[index * size : (index + 1) * size], ids)
