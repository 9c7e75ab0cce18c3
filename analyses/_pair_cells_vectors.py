"""The steering vector of a behaviour, fitted on the statements that are not scored."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import cycle, takewhile
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.activations import ReadAt
from lens_personas.geometry import random_directions
from lens_personas.hooks import Edit, Scope
from lens_personas.interventions import Intervention, compile_plan, relative_dose
from lens_personas.models import DEFAULT_TOKEN_BUDGET, LensModel, Prompt
from lens_personas.personas import AskingStyle, Behaviour, BehaviourItem, worded
from lens_personas.readouts import (
    AskedStatement,
    NoYesNoTokens,
    YesNoTokens,
    ask_statements,
    yes_no_tokens,
)
from lens_personas.vectors import Contrast, SteeringVector, vector_of

VectorSource = Literal["answers", "sentences"]
"""What the two sides of a vector differ in: the answer given to each statement, or the sentence
that stands before it."""

_ASKED = "asked"
"""Part of a prompt that follows what is said first."""

_READ_AT: Mapping[VectorSource, ReadAt] = {
    "answers": ReadAt(span="answer", take="last"),
    "sentences": ReadAt(span=_ASKED, take="mean"),
}


def behaviour_vector(
    model: LensModel,
    behaviour: Behaviour,
    *,
    layers: Sequence[int],
    source: VectorSource = "sentences",
    style: AskingStyle | None = None,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
) -> SteeringVector:
    """Difference of means from the aligned to the misaligned side; not normalised.

    ``sentences``: statements of the prompt part, asked after a misaligned sentence of the
    behaviour's persona prompts, less the same after an aligned one; the mean over the tokens
    after the sentence. ``answers``: each statement with the misaligned answer teacher-forced,
    less the same with the aligned one, read at the answer (contrastive activation addition,
    https://arxiv.org/abs/2312.06681). To half of the statements the misaligned answer is Yes and
    to half No, so that little of the direction of saying Yes is left in.

    Args:
        model: The model.
        behaviour: Whose vector; none of its scored statements is read.
        layers: Blocks whose output is read, counted from 0.
        source: What the sides differ in.
        style: In a chat turn or in plain text; None for the model's own way.
        token_budget: Tokens in a batch, padding included.

    Raises:
        ValueError: If a layer does not exist, or ``answers`` are asked of a model without tokens
            for Yes and No.
    """
    make = _answers if source == "answers" else _sentences
    to, from_ = make(model, behaviour, style)
    contrast = Contrast(
        name=behaviour.name,
        to=to,
        from_=from_,
        to_label="misaligned",
        from_label="aligned",
        paired=True,
        method=f"behaviour:{source}",
        read_at=_READ_AT[source],
        seed=None,
    )
    return vector_of(model, contrast, layers=layers, token_budget=token_budget)


def with_random_directions(
    vector: SteeringVector, n_random: int, *, seed: int
) -> dict[str, Float[Tensor, "layer d_model"]]:
    """The vector as ``own``, and ``random 1`` … in which every layer has a direction of its own."""
    found = {"own": vector.vectors}
    generator = torch.Generator().manual_seed(seed)
    for number in range(1, n_random + 1):
        drawn = random_directions(len(vector.layers), vector.d_model, generator=generator)
        found[f"random {number}"] = drawn
    return found


def steering_edits(
    model: LensModel,
    direction: Float[Tensor, " d_model"],
    *,
    layer: int,
    resid_norm: float,
    dose: float,
    scope: Scope = "all",
) -> tuple[Edit, ...]:
    """Edits that add a direction at one layer, as long as ``dose`` times the residual norm.

    Raises:
        ValueError: If the direction or the norm is 0, or the layer does not exist.
    """
    added = Intervention(
        op="add",
        vector=direction,
        layers=(layer,),
        scope=scope,
        dose=relative_dose(direction, resid_norm, dose),
    )
    return compile_plan((added,), card=model.card)


def _answers(
    model: LensModel, behaviour: Behaviour, style: AskingStyle | None
) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
    asked = ask_statements(model, behaviour.prompt, asking=behaviour.asking, style=style)
    tokens = yes_no_tokens(model, [each.prompt for each in asked])
    if isinstance(tokens, NoYesNoTokens):
        raise ValueError(
            f"expected tokens for Yes and No to fit a vector from answers, got none: "
            f"{tokens.reason}; or fit it from sentences"
        )
    sides = ((each, _answered(each, tokens)) for each in asked)
    pairs = [(no, yes) if each.item.aligned else (yes, no) for each, (yes, no) in sides]
    return tuple(to for to, _ in pairs), tuple(from_ for _, from_ in pairs)


def _answered(asked: AskedStatement, tokens: YesNoTokens) -> tuple[Prompt, Prompt]:
    """The prompt with Yes and with No, by ids: the spelling that the prompt calls for."""
    prompt = asked.prompt
    end = prompt.prompt_length
    spans = {**prompt.spans, "answer": (end, end + 1)}
    yes, no = (
        replace(
            prompt,
            prompt_id=f"{prompt.prompt_id}/{asked.order}/{text.strip()}",
            ids=(*prompt.ids[:end], token),
            spans=spans,
            text=prompt.text + text,
        )
        for token, text in ((tokens.yes_ids[0], tokens.yes[0]), (tokens.no_ids[0], tokens.no[0]))
    )
    return yes, no


def _sentences(
    model: LensModel, behaviour: Behaviour, style: AskingStyle | None
) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
    said = behaviour.sentences
    n = min(len(said.misaligned), len(said.aligned))

    def asked(item: BehaviourItem, said: str) -> list[Prompt]:
        found = ask_statements(model, [item], asking=behaviour.asking, said=said, style=style)
        return [each.prompt for each in found]

    def side(sentences: Sequence[str]) -> tuple[Prompt, ...]:
        # Every sentence before some statement, every frame and statement about equally often.
        rows = zip(sentences[:n], cycle(said.wordings), cycle(_mixed(behaviour.prompt)))
        return tuple(
            _with_rest(prompt, alone)
            for sentence, wording, item in rows
            for prompt, alone in zip(
                asked(item, worded(sentence, wording)), asked(item, ""), strict=True
            )
        )

    return side(said.misaligned), side(said.aligned)


def _with_rest(prompt: Prompt, alone: Prompt) -> Prompt:
    """The prompt with the part that it ends with in common with the question alone."""
    pairs = zip(reversed(prompt.ids), reversed(alone.ids), strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    spans = {**prompt.spans, _ASKED: (len(prompt.ids) - shared, len(prompt.ids))}
    return replace(prompt, spans=spans)


def _mixed(items: Sequence[BehaviourItem]) -> list[BehaviourItem]:
    """Aligned and misaligned statements in turns, as many of either."""
    halves = [[item for item in items if item.aligned is half] for half in (True, False)]
    return [item for pair in zip(*halves, strict=False) for item in pair]
