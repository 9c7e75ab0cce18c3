"""The part on conversations: a few requests under a few personas, to be looked into."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pandas as pd
from torch import Tensor

from analyses._cells import Cell
from analyses._contents import Contents
from analyses._part import Core, Part, PartPlan, Passes
from analyses._parts._conversations_look import DIRECTION, look, projected_at, rows_of
from analyses._workbench import Outline, Workbench
from analyses.conversations import Conversations, Transcripts, pack_attention
from lens_personas.personas import Request

_PART: Final = "conversations"
_SAID: Final = (
    "prompt_id",
    "request",
    "harmful",
    "persona",
    "treatment",
    "score",
    "answer",
    "label",
)


def shown_requests(outline: Outline) -> tuple[Request, ...]:
    """Test requests that are looked into: one in four harmless, categories in turn."""
    n = min(outline.config.conversation_requests, len(outline.studied))
    n_harmless = min(n // 4, len(outline.harmless))
    harmful, harmless = _by_category(outline.studied), _by_category(outline.harmless)
    return (*harmful[: n - n_harmless], *harmless[:n_harmless])


def shown_personas(outline: Outline) -> tuple[str, ...]:
    """Personas that ask, sides in turn, the control last."""
    control = outline.data.control.name
    others = [each for each in outline.data.personas if each.name != control]
    sides = [[each.name for each in others if each.group == side] for side in ("pro", "anti")]
    rest = [each.name for each in others if each.group not in ("pro", "anti")]
    return (*[*_in_turn(sides), *rest][: outline.config.conversation_personas], control)


def cells(plan: PartPlan) -> tuple[Cell, ...]:
    """One cell a request."""
    names, requests = shown_personas(plan.outline), shown_requests(plan.outline)
    # Where names are dealt anew, any persona's vector may stand for one of these.
    vectors = None if plan.outline.config.shuffle_labels else [*names, DIRECTION]
    needs = (*plan.needs("tokens", "norms"), *plan.needs("vector", names=vectors))
    return tuple(
        plan.cell(
            "conversations",
            "look",
            needs,
            tensors=True,
            request=each.prompt_id,
            of=len(requests),
            names=list(names),
        )
        for each in requests
    )


def assemble(core: Core, contents: Contents) -> Conversations:
    """The conversations of all requests, numbered through."""
    outline = core.plan.outline
    groups = {each.name: each.group for each in outline.data.personas}
    found = [
        (about, {name: each.tensors.get(f"{name}/{at}") for name in _TENSORS})
        for _, each in contents.part_tensors(_PART, "look")
        for at, about in enumerate(each.about["conversations"])
    ]
    said = pd.DataFrame([[about[name] for name in _SAID] for about, _ in found], columns=_SAID)
    said = said.assign(
        conversation=range(len(said)),
        group=said["persona"].map(groups).fillna("none"),
        n_tokens=[about["n_tokens"] for about, _ in found],
        score=said["score"].astype("float64"),
    )
    return Conversations(
        n=len(said),
        control=outline.data.control.name,
        steered_at=core.plan.layer,
        projected_at=projected_at(outline),
        direction=DIRECTION,
        lens_is_exact=outline.card.lens_is_exact,
        by_request=Transcripts(
            conversations=said,
            tokens=_table(found, _tokens, ("position", "token", "role", "projection")),
            lens=_table(found, _lens, ("layer", "position", "rank", "token", "log_prob")),
            attention=_table(found, _attention, ("layer", "n_heads", "n_tokens", "weights")),
        ),
    )


def passes(work: Workbench, spec: Mapping[str, Any]) -> Passes:
    """What a cell puts through the model: each prompt is read four times, and answered."""
    (request,) = (each for each in work.requests if each.prompt_id == spec["request"])
    prompts = [
        work.say(request, name) if how == "prompt" else work.plain[request.prompt_id]
        for name, how in rows_of(spec["names"])
    ]
    return Passes(prompts=prompts * 4, answers=prompts)


_TENSORS: Final = ("projection", "lens", "attention")
About = Mapping[str, Any]
Found = tuple[About, Mapping[str, Tensor | None]]


def _table(found: Sequence[Found], rows: Any, columns: Sequence[str]) -> pd.DataFrame:
    made = [(n, *row) for n, (about, tensors) in enumerate(found) for row in rows(about, tensors)]
    return pd.DataFrame(made, columns=["conversation", *columns])


def _tokens(about: About, tensors: Mapping[str, Tensor]) -> Iterator[tuple[Any, ...]]:
    n = about["n_tokens"]
    yield from zip(
        range(n - len(about["tokens"]), n),
        about["tokens"],
        about["roles"],
        tensors["projection"].tolist(),
        strict=True,
    )


def _lens(about: About, tensors: Mapping[str, Tensor]) -> Iterator[tuple[Any, ...]]:
    for layer, words, numbers in zip(
        about["lens_layers"], about["lens_tokens"], tensors["lens"].tolist(), strict=True
    ):
        first = about["n_tokens"] - len(words)
        for at, (top, log_probs) in enumerate(zip(words, numbers, strict=True)):
            for rank, (word, log_prob) in enumerate(zip(top, log_probs, strict=True)):
                yield layer, first + at, rank, word, log_prob


def _attention(about: About, tensors: Mapping[str, Tensor | None]) -> Iterator[tuple[Any, ...]]:
    weights = tensors["attention"]
    if weights is None:
        return
    for layer, of_layer in zip(about["attention_layers"], weights, strict=True):
        n_heads, n_tokens, _ = of_layer.shape
        yield layer, n_heads, n_tokens, pack_attention(of_layer)


def _by_category(requests: Sequence[Request]) -> list[Request]:
    """The requests, categories in turn."""
    groups: dict[str | None, list[Request]] = {}
    for each in requests:
        groups.setdefault(each.category, []).append(each)
    return _in_turn(list(groups.values()))


def _in_turn(groups: Sequence[Sequence[Any]]) -> list[Any]:
    longest = max(map(len, groups), default=0)
    return [group[at] for at in range(longest) for group in groups if at < len(group)]


PART = Part(
    name="conversations",
    doing="looking into conversations",
    cells=cells,
    evaluate=look,
    assemble=assemble,
    claims=lambda found: (),
    passes=passes,
)
