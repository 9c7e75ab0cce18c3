"""From a model to scores: answers, opening tokens, vectors, and every arm at every layer."""

from collections.abc import Collection, Mapping, Sequence

import pandas as pd
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from analyses._arms import ArmName, Bench, Cell, deal, score_cells
from analyses._vectors import REFUSAL_NAMES, FittedVector, fit_vectors
from analyses._workbench import Workbench
from analyses.scores import Kind, Treatment, chosen_layers
from lens_personas.activations import residual_norms
from lens_personas.geometry import random_directions
from lens_personas.models import Generation, Prompt, generate
from lens_personas.personas import Request
from lens_personas.readouts import (
    NoRefusalTokens,
    RefusalTokens,
    StringJudge,
    derive_refusal_tokens,
    fallback_refusal_tokens,
    opened_answers,
)


def answer_requests(work: Workbench, plain: Mapping[str, Prompt]) -> dict[str, Generation]:
    """Greedy answer to each request alone, by ``prompt_id``.

    Raises:
        ValueError: If a request and its answer do not fit the model's context.
    """
    work.tell("answering the requests", 0, 1)
    written = generate(
        work.model,
        list(plain.values()),
        max_new_tokens=work.config.max_new_tokens,
        token_budget=work.config.token_budget,
    )
    return {answer.prompt_id: answer for answer in written}


def find_refusal_tokens(
    work: Workbench, answers: Mapping[str, Generation], judge: StringJudge
) -> tuple[RefusalTokens | None, bool]:
    """Opening tokens from requests that nothing is tested on; whether they were found so."""
    kept = (*work.data.split.vector, *work.data.split.layer)
    opened = opened_answers(
        [answers[r.prompt_id] for r in kept],
        [bool(r.harmful) for r in kept],
        tokenizer=work.model.tokenizer,
        judge=judge,
    )
    derived = derive_refusal_tokens(opened)
    if not isinstance(derived, NoRefusalTokens):
        return derived, True
    try:
        return fallback_refusal_tokens(work.model.tokenizer), False
    except ValueError:
        # A vocabulary without any word that opens a refusal has no refusal score.
        return None, False


def fit(
    work: Workbench, plain: Mapping[str, Prompt], labels: Mapping[str, str]
) -> dict[str, FittedVector]:
    """Vectors by name; refusal from requests that were answered as expected.

    Raises:
        ValueError: If a persona lacks what its vector is made from.
    """
    work.tell("fitting vectors", 0, 1)
    return fit_vectors(
        work.model,
        work.data,
        layers=work.layers,
        turn=work.turn,
        method=work.config.vector_method,
        read=work.config.read_at,
        seed=work.config.seed,
        harmful=_as_expected(work, "refusal", plain, labels, harmful=True),
        harmless=_as_expected(work, "answer", plain, labels, harmful=False),
        token_budget=work.config.token_budget,
    )


def _as_expected(
    work: Workbench,
    label: str,
    plain: Mapping[str, Prompt],
    labels: Mapping[str, str],
    *,
    harmful: bool,
) -> list[Prompt]:
    """Prompts of the vector split that were answered as expected; all where too few were."""
    ids = [request.prompt_id for request in work.part("vector", harmful=harmful)]
    expected = [i for i in ids if labels[i] == label]
    return [plain[i] for i in (expected if len(expected) >= 2 else ids)]


def build_bench(
    work: Workbench,
    plain: Mapping[str, Prompt],
    fitted: Mapping[str, FittedVector],
    tokens: RefusalTokens | None,
    judge: StringJudge,
) -> Bench:
    """Everything an arm needs: vectors and random directions, doses, tokens, judge.

    Raises:
        ValueError: If no request of the vector split has a second token.
    """
    layers = work.layers
    vectors = {name: each.vector.vectors for name, each in fitted.items()}
    norms = residual_norms(
        work.model,
        [plain[r.prompt_id] for r in work.data.split.vector],
        layers=layers,
        token_budget=work.config.token_budget,
    )
    names = [persona.name for persona in work.data.personas]
    shuffled = work.config.shuffle_labels
    return Bench(
        model=work.model,
        tokens=tokens,
        judge=judge,
        plain=plain,
        vectors=vectors | _random_vectors(work),
        resid_norms=norms,
        layers=layers,
        dose=work.config.dose,
        dealt=deal(names, list(plain), work.rng("deal")) if shuffled else {},
        max_new_tokens=work.config.max_new_tokens,
        token_budget=work.config.token_budget,
    )


def _random_vectors(work: Workbench) -> dict[str, Float[Tensor, "layer d_model"]]:
    n, n_layers = work.config.n_nulls, len(work.layers)
    generator = torch.Generator().manual_seed(work.config.seed)
    drawn = random_directions(n * n_layers, work.model.card.d_model, generator=generator)
    by_name = rearrange(drawn, "(name layer) d_model -> name layer d_model", name=n)
    return {f"random {at + 1}": each for at, each in enumerate(by_name)}


def _arms(work: Workbench, fitted: Collection[str]) -> dict[Treatment, list[ArmName]]:
    """Arms by treatment: text for personas and neutral texts, ablation for refusal alone."""
    control = work.data.control.name
    personas = [
        ArmName(persona=p.name, group=p.group, kind="control" if p.name == control else "persona")
        for p in work.data.personas
    ]
    texts = [ArmName(persona=p.name, group="null", kind="null") for p in work.data.nulls]
    refusal = [ArmName(persona=name, group="refusal", kind="refusal") for name in REFUSAL_NAMES]
    random = [
        ArmName(persona=f"random {at + 1}", group="null", kind="null")
        for at in range(work.config.n_nulls)
    ]
    steered = [*personas, *refusal, *(t for t in texts if t.persona in fitted), *random]
    return {
        "prompt": [*personas, *texts],
        "plus": steered,
        "minus": steered,
        "ablate": [*refusal, *random],
    }


def collect_scores(work: Workbench, bench: Bench, labels: Mapping[str, str]) -> pd.DataFrame:
    """Every arm at every layer; those that are tested also with answers.

    Columns :data:`analyses.scores.SCORE_COLUMNS`, one row for each arm, layer and request.

    Raises:
        ValueError: If a prompt does not fit the model's context.
    """
    arms = _arms(work, bench.vectors)
    sweeps = [
        (treatment, names, layer)
        for treatment, names in arms.items()
        for layer in ((-1,) if treatment == "prompt" else bench.layers)
    ]
    swept = [_baseline_scores(work, bench, labels)]
    for done, (treatment, names, layer) in enumerate(sweeps):
        work.tell("scoring the arms", done, len(sweeps))
        swept.append(_sweep(work, bench, names, treatment, layer))
    table = pd.concat(swept, ignore_index=True)
    chosen = chosen_layers(table, control=work.data.control.name)
    tested = [
        (treatment, names, layer)
        for treatment, names in arms.items()
        for layer in sorted({chosen[name.persona, treatment] for name in names})
    ]
    written = []
    for done, (treatment, names, layer) in enumerate(tested):
        work.tell("writing answers", done, len(tested))
        here = [n for n in names if _is_answered(n, treatment, layer, chosen)]
        written.append(_write(work, bench, here, treatment, layer))
    return _keep_last([table, *written])


def _is_answered(
    name: ArmName, treatment: str, layer: int, chosen: Mapping[tuple[str, str], int]
) -> bool:
    """Whether answers are needed there: the arm is tested, or others are held against it."""
    beside: tuple[Kind, ...] = ("control", "null") if treatment == "ablate" else ("control",)
    return chosen[name.persona, treatment] == layer or name.kind in beside


def _baseline_scores(work: Workbench, bench: Bench, labels: Mapping[str, str]) -> pd.DataFrame:
    name = ArmName(persona="none", group="none", kind="control")
    cells = [
        Cell(name=name, treatment="baseline", layer=-1, split=split, requests=requests)
        for split in ("layer", "test")
        for requests in [getattr(work.data.split, split)]
    ]
    table = score_cells(bench, cells, work.say, answers=False)
    return table.assign(label=table["prompt_id"].map(labels), kind="baseline")


def _sweep(
    work: Workbench, bench: Bench, names: Sequence[ArmName], treatment: Treatment, layer: int
) -> pd.DataFrame:
    # What is not scored on the layer split cannot be chosen there.
    splits = ("layer", "test") if layer in (-1, *work.choosable) else ("test",)
    parts = {split: work.part(split, harmful=True) for split in splits}
    cells = _cells(names, treatment, layer, parts)
    return score_cells(bench, cells, work.say, answers=False)


def _write(
    work: Workbench, bench: Bench, names: Sequence[ArmName], treatment: Treatment, layer: int
) -> pd.DataFrame:
    cells = _cells(names, treatment, layer, {"test": work.data.split.test})
    return score_cells(bench, cells, work.say, answers=True)


def _cells(
    names: Sequence[ArmName],
    treatment: Treatment,
    layer: int,
    parts: Mapping[str, tuple[Request, ...]],
) -> list[Cell]:
    return [
        Cell(name=name, treatment=treatment, layer=layer, split=split, requests=requests)
        for name in names
        for split, requests in parts.items()
    ]


def _keep_last(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One row for each arm and request: the one with an answer where there are two."""
    keys = ["persona", "treatment", "layer", "split", "prompt_id"]
    # Rows of labels alone and of None alone would otherwise disagree in dtype.
    tables = [table.astype({"label": object}) for table in tables]
    return pd.concat(tables, ignore_index=True).drop_duplicates(keys, keep="last")
