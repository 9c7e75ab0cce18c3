"""One request, asked alone and by personas: what is answered, and what goes on inside."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from jaxtyping import Float
from torch import Tensor

from analyses._arms import Action, Bench, arm_edits, arm_prompt
from analyses._bench import bench
from analyses._contents import Contents
from analyses._shards import Tensors
from analyses._vectors import REFUSAL_NAMES
from analyses._workbench import Outline, Workbench
from analyses.conversations import quantised
from lens_personas.hooks import Edit
from lens_personas.models import Prompt, generate
from lens_personas.personas import Request
from lens_personas.readouts import attention_patterns, lens_table, projection_trace, score_refusal

DIRECTION: Final = REFUSAL_NAMES[1]
"""Refusal vector on which tokens are projected."""

_ALONE: Final = "baseline"
_TREATMENTS: Final[tuple[Action, ...]] = ("prompt", "plus", "minus")
_LENS_LAYERS: Final = 8
# A report is passed on: of long prompts the end is kept, where the request stands; the lens is
# read where the answer begins; attention is that of all conversations, before compression.
_TOKENS: Final = 96
_LENS_TOKENS: Final = 16
_LENS_TOP: Final = 5
_ATTENTION_BYTES: Final = 1_300_000

Row = tuple[str, Action]
"""Who asks, ``""`` for nobody, and how that is brought in."""


def rows_of(names: Sequence[str]) -> list[Row]:
    """The request alone, then every persona in each way."""
    return [("", _ALONE), *((name, how) for name in names for how in _TREATMENTS)]


def projected_at(outline: Outline) -> int:
    """Block whose output is projected: the last one that is early enough to be chosen."""
    return outline.choosable[-1]


def spread_layers(layers: Sequence[int], most: int) -> tuple[int, ...]:
    """At most so many of the layers, evenly spread, the last one among them.

    >>> spread_layers(range(8), 3), spread_layers([2, 4], 3)
    ((1, 4, 7), (2, 4))

    """
    if len(layers) <= most:
        return tuple(layers)
    return tuple(layers[(at + 1) * len(layers) // most - 1] for at in range(most))


def look(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> Tensors:
    """Everything of one request: ``about`` holds what is text, the tensors are numbered alike."""
    put = bench(work, inputs)
    (request,) = (r for r in work.requests if r.prompt_id == spec["request"])
    rows = rows_of(spec["names"])
    prompts = [arm_prompt(put, how, name, request, work.say) for name, how in rows]
    layers = _attention_layers(work, prompts, n_requests=spec["of"])
    told = _answers(work, put, request, rows, prompts, spec["layer_all"])
    tensors: dict[str, Tensor] = {}
    for number, ((name, how), prompt) in enumerate(zip(rows, prompts, strict=True)):
        edits = arm_edits(put, how, spec["layer_all"], [(name, request.prompt_id)])
        tensors[f"projection/{number}"] = _projection(work, put, prompt, edits, told[number])
        tensors[f"lens/{number}"] = _lens(work, prompt, edits, told[number])
        if layers:
            seen = attention_patterns(work.model, prompt, layers=layers, edits=edits)
            kept = seen.patterns[:, :, -_TOKENS:, -_TOKENS:]
            tensors[f"attention/{number}"] = quantised(kept)
            told[number]["attention_layers"] = list(layers)
    return Tensors(tensors=tensors, about={"conversations": told})


def _answers(
    work: Workbench,
    put: Bench,
    request: Request,
    rows: Sequence[Row],
    prompts: Sequence[Prompt],
    layer: int,
) -> list[dict[str, Any]]:
    """Score and answer of each row; rows that are edited alike run together."""
    told: list[dict[str, Any]] = [{} for _ in rows]
    alike: tuple[tuple[Action, ...], ...] = ((_ALONE, "prompt"), ("plus",), ("minus",))
    for group in alike:
        at = [i for i, (_, how) in enumerate(rows) if how in group]
        said = [prompts[i] for i in at]
        asked = [(rows[i][0], request.prompt_id) for i in at]
        edits = arm_edits(put, group[0], layer, asked)
        budget = work.config.token_budget
        written = generate(
            work.model,
            said,
            max_new_tokens=work.config.max_new_tokens,
            edits=edits,
            token_budget=budget,
        )
        scores: Sequence[float | None] = [None] * len(at)
        if put.tokens is not None:
            found = score_refusal(work.model, said, put.tokens, edits=edits, token_budget=budget)
            scores = [float(score) for score in found]
        for i, answer, score in zip(at, written, scores, strict=True):
            name, how = rows[i]
            told[i] = {
                "prompt_id": request.prompt_id,
                "request": request.text,
                "harmful": bool(request.harmful),
                "persona": name,
                "treatment": how,
                "score": score,
                "answer": answer.text,
                "label": put.judge(answer.text),
            }
    return told


def _projection(
    work: Workbench, put: Bench, prompt: Prompt, edits: Sequence[Edit], told: dict[str, Any]
) -> Float[Tensor, " pos"]:
    layer = projected_at(work)
    row = work.layers.index(layer)
    direction = put.vectors[DIRECTION][row]
    trace = projection_trace(work.model, prompt, direction, layer=layer, edits=edits)
    told |= {
        "n_tokens": len(prompt.ids),
        "tokens": list(trace.tokens[-_TOKENS:]),
        "roles": list(trace.roles[-_TOKENS:]),
    }
    return trace.values[-_TOKENS:] / float(put.resid_norms[row])


def _lens(
    work: Workbench, prompt: Prompt, edits: Sequence[Edit], told: dict[str, Any]
) -> Float[Tensor, "layer pos k"]:
    layers = spread_layers(range(work.card.n_layers), _LENS_LAYERS)
    k = min(_LENS_TOP, work.card.d_vocab)
    table = lens_table(work.model, prompt, layers=layers, k=k, edits=edits)
    words = [[[table.tokens_of[i] for i in row] for row in of] for of in table.ids.tolist()]
    told["lens_layers"] = list(table.layers)
    told["lens_tokens"] = [of[-_LENS_TOKENS:] for of in words]
    return table.log_probs[:, -_LENS_TOKENS:].float().contiguous()


def _attention_layers(
    work: Workbench, prompts: Sequence[Prompt], *, n_requests: int
) -> tuple[int, ...]:
    """As many layers as there is room for, evenly spread; none where one is too much."""
    n_heads = work.card.n_heads
    a_layer = sum(n_heads * min(len(prompt.ids), _TOKENS) ** 2 // 2 for prompt in prompts)
    room = _ATTENTION_BYTES // n_requests // a_layer
    return spread_layers(range(work.card.n_layers), room) if room else ()
