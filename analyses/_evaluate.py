"""What each kind of cell computes, from the model and the results it needs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from analyses._arms import ArmName, ArmRows, score_arms
from analyses._bench import bench
from analyses._cell_plan import ANSWERS_A_CELL, study_arms
from analyses._cells import Cell, CellKind
from analyses._collect import answer, fit, judged, opening_tokens
from analyses._contents import Contents, answers_table, fitted_tensors, tokens_table
from analyses._parts import part
from analyses._shards import Content, Tensors
from analyses._workbench import Workbench
from analyses.scores import Treatment
from lens_personas.activations import residual_norms
from lens_personas.personas import Request
from lens_personas.readouts import logit_lens

Spec = Mapping[str, Any]


def evaluate(work: Workbench, cell: Cell, inputs: Contents) -> Content:
    """What the cell computes.

    Raises:
        KeyError: If no model is needed for such a cell.
        ValueError: If a prompt does not fit the model's context, or a persona lacks what its
            vector is made from.
    """
    return _EVALUATE[cell.kind](work, cell.spec, inputs)


def _answers(work: Workbench, spec: Spec, inputs: Contents) -> pd.DataFrame:
    first = spec["part"] * ANSWERS_A_CELL
    return answers_table(answer(work, work.requests[first : first + ANSWERS_A_CELL]))


def _tokens(work: Workbench, spec: Spec, inputs: Contents) -> pd.DataFrame:
    tokens, found = opening_tokens(work, inputs.answers)
    return tokens_table(tokens, found=found)


def _norms(work: Workbench, spec: Spec, inputs: Contents) -> Tensors:
    norms = residual_norms(
        work.model,
        [work.plain[r.prompt_id] for r in work.data.split.vector],
        layers=work.layers,
        token_budget=work.config.token_budget,
    )
    return Tensors(tensors={"norms": norms}, about={"layers": work.layers})


def _vector(work: Workbench, spec: Spec, inputs: Contents) -> Tensors:
    return fitted_tensors(fit(work, spec["name"], judged(inputs.answers)))


def _lens(work: Workbench, spec: Spec, inputs: Contents) -> Tensors:
    firsts = {
        r.prompt_id: _first_token(work, r.target or "") for r in work.part("test", harmful=True)
    }
    known = {i: first for i, first in firsts.items() if first is not None}
    about = {"prompt_ids": list(known)}
    if not known:
        return Tensors(tensors={}, about=about)
    own = list(known.values())
    lens = logit_lens(
        work.model,
        [work.plain[i] for i in known],
        token_ids=torch.tensor([own, _other_answers(own, work.rng("hidden"))]).T,
        layers=work.layers,
        token_budget=work.config.token_budget,
    )
    return Tensors(tensors={"log_prob": lens.log_prob, "rank": lens.rank}, about=about)


def _baseline(work: Workbench, spec: Spec, inputs: Contents) -> pd.DataFrame:
    name = ArmName(persona="none", group="none", kind="control")
    arms = [
        ArmRows(name=name, treatment="baseline", layer=-1, split=split, requests=requests)
        for split in ("layer", "test")
        for requests in [getattr(work.data.split, split)]
    ]
    table = score_arms(bench(work, inputs), arms, work.say, answers=False)
    labels = judged(inputs.answers)
    return table.assign(label=table["prompt_id"].map(labels), kind="baseline")


def _sweep(work: Workbench, spec: Spec, inputs: Contents) -> pd.DataFrame:
    # What is not scored on the layer split cannot be chosen there.
    splits = ("layer", "test") if spec["layer"] in (-1, *work.choosable) else ("test",)
    parts = {split: work.part(split, harmful=True) for split in splits}
    names = study_arms(work)[spec["treatment"]]
    arms = _arm_rows(names, spec["treatment"], spec["layer"], parts)
    return score_arms(bench(work, inputs), arms, work.say, answers=False)


def _written(work: Workbench, spec: Spec, inputs: Contents) -> pd.DataFrame:
    names = [n for n in study_arms(work)[spec["treatment"]] if n.persona in spec["names"]]
    arms = _arm_rows(names, spec["treatment"], spec["layer"], {"test": work.data.split.test})
    return score_arms(bench(work, inputs), arms, work.say, answers=True)


def _part(work: Workbench, spec: Spec, inputs: Contents) -> Content:
    return part(spec["part"]).evaluate(work, spec, inputs)


_EVALUATE: Mapping[CellKind, Callable[[Workbench, Spec, Contents], Content]] = {
    "answers": _answers,
    "tokens": _tokens,
    "norms": _norms,
    "vector": _vector,
    "lens": _lens,
    "baseline": _baseline,
    "sweep": _sweep,
    "written": _written,
    "part": _part,
    "part_tensors": _part,
}


def _arm_rows(
    names: Sequence[ArmName],
    treatment: Treatment,
    layer: int,
    parts: Mapping[str, tuple[Request, ...]],
) -> list[ArmRows]:
    return [
        ArmRows(name=name, treatment=treatment, layer=layer, split=split, requests=requests)
        for name in names
        for split, requests in parts.items()
    ]


def _first_token(work: Workbench, target: str) -> int | None:
    ids = work.model.tokenizer.encode(target, add_special_tokens=False)
    return int(ids[0]) if ids and ids[0] != work.model.tokenizer.unk_token_id else None


def _other_answers(own: Sequence[int], rng: np.random.Generator) -> list[int]:
    """For each request the first token of another request's answer, a different one if any is."""
    out = []
    for token in own:
        others = [other for other in own if other != token]
        out.append(int(rng.choice(others)) if others else token)
    return out
