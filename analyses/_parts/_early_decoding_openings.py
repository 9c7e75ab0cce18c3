"""Answers after a first token that is given: read off a layer, drawn, or another request's."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyses._workbench import Workbench
from lens_personas.hooks import Edit
from lens_personas.models import Generation, LensModel, Prompt, generate, map_last_logits
from lens_personas.readouts import logit_lens

Opening = tuple[int, int]
"""Row of a call and the token that its answer begins with."""

EditsOf = Callable[[Sequence[int]], tuple[Edit, ...]]
"""Edits of a call whose prompts are those rows."""

SAMPLED_FROM = 64
"""Likeliest next tokens that a sampled opening is drawn from."""


def no_edits(rows: Sequence[int]) -> tuple[Edit, ...]:
    """Edits of a call that is left alone."""
    return ()


def early_openings(
    work: Workbench, prompts: Sequence[Prompt], layers: Sequence[int], edits: Sequence[Edit] = ()
) -> dict[int, list[int]]:
    """The logit lens's top token at the last prompt token, for each layer and prompt."""
    if not layers or not prompts:
        return {layer: [] for layer in layers}
    lens = logit_lens(
        work.model,
        prompts,
        layers=layers,
        top_k=1,
        edits=edits,
        token_budget=work.config.token_budget,
    )
    return dict(zip(layers, lens.top_ids[:, :, 0].tolist(), strict=True))


def sampled_openings(
    work: Workbench,
    prompts: Sequence[Prompt],
    n_draws: int,
    rng: np.random.Generator,
    edits: Sequence[Edit] = (),
) -> Int[np.ndarray, "draw prompt"]:
    """First tokens drawn at temperature 1 from the :data:`SAMPLED_FROM` likeliest ones."""
    kept = min(SAMPLED_FROM, work.card.d_vocab)

    def likeliest(logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, "batch k"]:
        values, ids = logits.softmax(dim=-1).topk(kept, dim=-1)
        # Token ids are small enough for float32 to hold exactly.
        return torch.cat([values, ids.float()], dim=1)

    found = map_last_logits(
        work.model, prompts, likeliest, edits=edits, token_budget=work.config.token_budget
    ).numpy()
    # Draws are made for all prompts in their order, so they do not hang on the batches.
    drawn = rng.random((n_draws, len(prompts)))
    cumulative = found[:, :kept].cumsum(axis=1)
    wanted = drawn[:, :, None] * cumulative[None, :, -1:]
    chosen = np.minimum((cumulative[None] <= wanted).sum(axis=2), kept - 1)
    return np.asarray(found[np.arange(len(prompts))[None], kept + chosen], dtype=np.int64)


def opened_answers(
    work: Workbench,
    prompts: Sequence[Prompt],
    wanted: Iterable[Opening],
    *,
    known: Mapping[Opening, str],
    edits_of: EditsOf = no_edits,
) -> dict[Opening, str]:
    """The whole text after each opening, the opening included, written greedily.

    Each distinct opening is written once; one that is ``known`` (the greedy answer's own) not
    again, and one that ends the answer is empty.
    """
    stops = set(work.model.stop_ids)
    asked = list(dict.fromkeys(wanted))
    found = {each: known.get(each, "") for each in asked if each in known or each[1] in stops}
    missing = [each for each in asked if each not in found]
    if not missing:
        return found
    forced = [_begun(prompts[row], token) for row, token in missing]
    rest: Sequence[tuple[int, ...]] = [()] * len(missing)
    if work.config.max_new_tokens > 1:
        rest = [
            answer.ids
            for answer in generate(
                work.model,
                forced,
                max_new_tokens=work.config.max_new_tokens - 1,
                edits=edits_of([row for row, _ in missing]),
                token_budget=work.config.token_budget,
            )
        ]
    for each, ids in zip(missing, rest, strict=True):
        found[each] = _text(work.model, (each[1], *ids))
    return found


def greedy_openings(answers: Sequence[Generation]) -> dict[Opening, str]:
    """The texts that are known: each prompt's greedy answer under its own first token."""
    return {(row, each.ids[0]): each.text for row, each in enumerate(answers) if each.ids}


def other_rows(clusters: Sequence[str], rng: np.random.Generator) -> list[int]:
    """For each request one of another unit, drawn evenly; any other where there is one unit."""
    everyone = np.arange(len(clusters))
    units = np.array(clusters, dtype=object)
    out = []
    for row in everyone:
        others = everyone[units != units[row]]
        others = others if len(others) else everyone[everyone != row]
        out.append(int(rng.choice(others)) if len(others) else int(row))
    return out


def any_words(
    work: Workbench, banned: Collection[int], n: int, rng: np.random.Generator
) -> list[int]:
    """Tokens of the vocabulary that are words: with a letter, not special, not banned."""
    tokenizer = work.model.tokenizer
    refused = {*banned, *tokenizer.all_special_ids, *work.model.stop_ids}
    drawn = rng.permutation(min(len(tokenizer), work.card.d_vocab)).tolist()
    words = (t for t in drawn if t not in refused and _is_word(tokenizer.decode([t])))
    return list(islice(words, n))


def _is_word(text: object) -> bool:
    return any(character.isalpha() for character in str(text))


def _begun(prompt: Prompt, token: int) -> Prompt:
    place = (len(prompt.ids), len(prompt.ids) + 1)
    return replace(prompt, ids=(*prompt.ids, token), spans={**prompt.spans, "answer": place})


def _text(model: LensModel, ids: Sequence[int]) -> str:
    return str(model.tokenizer.decode(list(ids), skip_special_tokens=True))
