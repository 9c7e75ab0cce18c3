"""The study "Who's asking?" from settings to result."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch

from analyses._collect import (
    answer_requests,
    build_bench,
    collect_scores,
    find_refusal_tokens,
    fit,
)
from analyses._config import WhosAskingConfig
from analyses._data import study_data
from analyses._vectors import REFUSAL_NAMES, FittedVector
from analyses._workbench import Progress, Workbench
from analyses.hidden_answers import HiddenAnswers, hidden_answers
from analyses.persona_effects import persona_effects
from analyses.persona_geometry import PersonaGeometry, persona_geometry
from analyses.scores import BASELINE, Outcome, mean_changes
from analyses.whos_asking import Baseline, Status, VectorQuality, WhosAsking, finding
from lens_personas.models import Generation, LensModel, Prompt, load_model
from lens_personas.personas import Request
from lens_personas.readouts import RefusalTokens, StringJudge, logit_lens
from lens_personas.statistics import Interval, auroc_interval, wilson

MIN_REFUSALS = 3
"""Refusals below which nothing can be told from chance, whatever the personas do."""


@dataclass(frozen=True, kw_only=True)
class StudyRun:
    """A result with what it rests on."""

    result: WhosAsking
    """The findings."""
    scores: pd.DataFrame
    """Every score behind them, one row for each arm, layer and request."""
    vectors: tuple[FittedVector, ...]
    """Every vector that was fitted."""
    fictional: bool
    """Whether all text is of an invented world and may be shown in full."""


def run_study(
    config: WhosAskingConfig, *, model: LensModel | None = None, progress: Progress | None = None
) -> StudyRun:
    """Carry out the study.

    Args:
        config: What is asked.
        model: A model at hand; None loads the one the settings name.
        progress: Called as the work goes on.

    Raises:
        ConfigError: If the settings do not fit the model or the data.
        ModelLoadError: If the model cannot be loaded.
        DataFileError: If a file is malformed.
        ValueError: If a prompt does not fit the model's context, or a persona lacks what its
            vector is made from.
    """
    tell = progress or (lambda what, done, of: None)
    data = study_data(config)
    tell("loading the model", 0, 1)
    work = Workbench(config=config, data=data, model=model or load(config), tell=tell)
    plain = {request.prompt_id: work.say(request, None) for request in work.requests}
    judge = StringJudge()
    answers = answer_requests(work, plain)
    labels = {i: judge(answer.text) for i, answer in answers.items()}
    tokens, found = find_refusal_tokens(work, answers, judge)
    fitted = fit(work, plain, labels)
    bench = build_bench(work, plain, fitted, tokens, judge)
    scores = collect_scores(work, bench, labels)
    tell("analysing", 0, 1)
    baseline = _baseline(work, scores, answers, labels)
    refused = sum(labels[request.prompt_id] == "refusal" for request in _harmful(work))
    return StudyRun(
        result=_result(
            work,
            scores=scores,
            baseline=baseline,
            fitted=fitted,
            tokens=tokens,
            status="studied" if refused >= MIN_REFUSALS else "nothing_to_study",
            # Where the first token does not tell a refusal, the judge's labels do.
            outcome="refusal_score" if found and refused >= MIN_REFUSALS else "answered",
            hidden=_hidden(work, plain),
            quality=tuple(each.quality(bench.resid_norms) for each in fitted.values()),
        ),
        scores=scores,
        vectors=tuple(fitted.values()),
        fictional=data.fictional,
    )


def load(config: WhosAskingConfig) -> LensModel:
    """The model the settings name.

    Raises:
        ModelLoadError: If it cannot be loaded.
    """
    return load_model(
        config.model,
        dtype=config.dtype,
        device=config.device,
        revision=config.revision,
        backend=config.backend,
    )


def _harmful(work: Workbench) -> tuple[Request, ...]:
    return work.part("test", harmful=True)


def _result(
    work: Workbench,
    *,
    scores: pd.DataFrame,
    baseline: Baseline,
    fitted: Mapping[str, FittedVector],
    tokens: RefusalTokens | None,
    status: Status,
    outcome: Outcome,
    hidden: HiddenAnswers | None,
    quality: tuple[VectorQuality, ...],
) -> WhosAsking:
    effects = persona_effects(
        scores,
        control=work.data.control.name,
        rng=work.rng("effects"),
        outcome=outcome,
        alpha=work.config.alpha,
        claimable=status == "studied",
    )
    geometry = _geometry(work, scores, fitted)
    return WhosAsking(
        status=status,
        message=finding(
            effects, geometry, baseline.refused, status=status, reference=REFUSAL_NAMES[1]
        ),
        model=asdict(work.model.card),
        settings=work.config.model_dump(mode="json"),
        seed=work.config.seed,
        control=work.data.control.name,
        sizes={
            "vector": len(work.data.split.vector),
            "layer": len(work.part("layer", harmful=True)),
            "test": len(_harmful(work)),
            "test_harmless": len(work.part("test", harmful=False)),
        },
        refusal_tokens=() if tokens is None else tokens.tokens,
        refusal_tokens_from=_tokens_from(tokens),
        baseline=baseline,
        effects=effects,
        geometry=geometry,
        hidden=hidden,
        vectors=quality,
    )


def _baseline(
    work: Workbench,
    scores: pd.DataFrame,
    answers: Mapping[str, Generation],
    labels: Mapping[str, str],
) -> Baseline:
    rows = scores[(scores["treatment"] == BASELINE) & (scores["split"] == "test")]
    harmful, harmless = rows[rows["harmful"]], rows[~rows["harmful"]]
    test = work.data.split.test
    return Baseline(
        refused=_share(harmful, "refusal"),
        harmless_answered=_share(harmless, "answer"),
        separation=auroc_interval(
            # None is left where no first token tells a refusal.
            harmful["score"].dropna().to_numpy(float),
            harmless["score"].dropna().to_numpy(float),
            rng=work.rng("separation"),
        ),
        examples=pd.DataFrame(
            {
                "prompt_id": [r.prompt_id for r in test],
                "harmful": [bool(r.harmful) for r in test],
                "text": [r.text for r in test],
                "answer": [answers[r.prompt_id].text for r in test],
                "label": [labels[r.prompt_id] for r in test],
            }
        ),
    )


def _share(rows: pd.DataFrame, label: str) -> Interval:
    return wilson(int((rows["label"] == label).sum()), len(rows))


def _geometry(
    work: Workbench, scores: pd.DataFrame, fitted: Mapping[str, FittedVector]
) -> PersonaGeometry | None:
    groups = {persona.name: persona.group for persona in work.data.personas}
    if len(groups) < 3:
        return None
    effects = mean_changes(scores)
    return persona_geometry(
        {name: fitted[name].vector.vectors for name in groups},
        {name: fitted[name].vector.vectors for name in REFUSAL_NAMES},
        effects[effects["persona"].isin(list(groups))],
        groups=groups,
        layers=work.layers,
        rng=work.rng("geometry"),
    )


def _hidden(work: Workbench, plain: Mapping[str, Prompt]) -> HiddenAnswers | None:
    firsts = {r.prompt_id: _first_token(work, r.target or "") for r in _harmful(work)}
    known = {i: first for i, first in firsts.items() if first is not None}
    if not known:
        return None
    own = list(known.values())
    lens = logit_lens(
        work.model,
        [plain[i] for i in known],
        token_ids=torch.tensor([own, _other_answers(own, work.rng("hidden"))]).T,
        layers=work.layers,
        token_budget=work.config.token_budget,
    )
    log_prob, rank = lens.log_prob.numpy(), lens.rank.numpy()
    return hidden_answers(
        log_prob[:, :, 0].T,
        rank[:, :, 0].T,
        log_prob[:, :, 1].T,
        rank[:, :, 1].T,
        layers=work.layers,
        prompt_ids=list(known),
        rng=work.rng("hidden interval"),
    )


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


def _tokens_from(tokens: RefusalTokens | None) -> str:
    if tokens is None:
        return "none: no word of the vocabulary opens a refusal"
    return f"{tokens.source}: {tokens.rule}"
