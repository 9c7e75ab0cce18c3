"""The study's result from what its cells computed; no model is needed any more."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from analyses._collect import judged
from analyses._contents import Contents
from analyses._part import Core, PartPlan
from analyses._part_names import EXPLORED
from analyses._part_plan import part_results
from analyses._vectors import REFUSAL_NAMES, FittedVector
from analyses._workbench import Outline
from analyses.hidden_answers import HiddenAnswers, hidden_answers
from analyses.persona_effects import persona_effects
from analyses.persona_geometry import PersonaGeometry, persona_geometry
from analyses.scores import BASELINE, Outcome, mean_changes
from analyses.whos_asking import Baseline, Status, WhosAsking, finding, study_headline
from lens_personas.models import Generation
from lens_personas.personas import Request
from lens_personas.readouts import RefusalTokens
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


def assemble(plan: PartPlan, contents: Contents) -> StudyRun:
    """The findings from the results of all cells."""
    outline = plan.outline
    scores = _keep_last([swept_scores(contents), *contents.tables("written")])
    labels = judged(contents.answers)
    tokens, found = contents.tokens
    baseline = _baseline(outline, scores, contents.answers, labels)
    refused = sum(labels[request.prompt_id] == "refusal" for request in _harmful(outline))
    status: Status = "studied" if refused >= MIN_REFUSALS else "nothing_to_study"
    # Where the first token does not tell a refusal, the judge's labels do.
    outcome: Outcome = "refusal_score" if found and status == "studied" else "answered"
    effects = persona_effects(
        scores,
        control=outline.data.control.name,
        rng=outline.rng("effects"),
        outcome=outcome,
        alpha=outline.config.alpha,
        claimable=status == "studied",
    )
    geometry = _geometry(outline, scores, contents.vectors)
    core = Core(plan=plan, scores=scores, effects=effects, claimable=status == "studied")
    parts, claims = part_results(core, contents)
    claimed = study_headline(
        effects,
        claims,
        parts,
        claimable=core.claimable,
        groups_of_people={p.name for p in outline.data.personas if p.demographic is not None},
    )
    result = WhosAsking(
        status=status,
        message=finding(
            effects,
            geometry,
            baseline.refused,
            status=status,
            reference=REFUSAL_NAMES[1],
            claimed=claimed if {*outline.config.parts} - {*EXPLORED} else None,
        ),
        model=asdict(outline.card),
        settings=outline.config.model_dump(mode="json"),
        seed=outline.config.seed,
        control=outline.data.control.name,
        sizes=_sizes(outline),
        refusal_tokens=() if tokens is None else tokens.tokens,
        refusal_tokens_from=_tokens_from(tokens),
        baseline=baseline,
        effects=effects,
        geometry=geometry,
        hidden=_hidden(outline, contents),
        vectors=tuple(each.quality(contents.norms) for each in contents.vectors.values()),
        parts=parts,
        headline=claimed,
    )
    vectors = tuple(contents.vectors.values())
    return StudyRun(result=result, scores=scores, vectors=vectors, fictional=outline.data.fictional)


def swept_scores(contents: Contents) -> pd.DataFrame:
    """The scores of every arm at every layer, without answers.

    Columns :data:`analyses.scores.SCORE_COLUMNS`, one row for each arm, layer and request.
    """
    return pd.concat(contents.tables("baseline", "sweep"), ignore_index=True)


def _keep_last(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One row for each arm and request: the one with an answer where there are two."""
    keys = ["persona", "treatment", "layer", "split", "prompt_id"]
    # Rows of labels alone and of None alone would otherwise disagree in dtype.
    tables = [table.astype({"label": object}) for table in tables]
    return pd.concat(tables, ignore_index=True).drop_duplicates(keys, keep="last")


def _harmful(outline: Outline) -> tuple[Request, ...]:
    return outline.part("test", harmful=True)


def _sizes(outline: Outline) -> dict[str, int]:
    return {
        "vector": len(outline.data.split.vector),
        "layer": len(outline.part("layer", harmful=True)),
        "test": len(_harmful(outline)),
        "test_harmless": len(outline.part("test", harmful=False)),
    }


def _baseline(
    outline: Outline,
    scores: pd.DataFrame,
    answers: Mapping[str, Generation],
    labels: Mapping[str, str],
) -> Baseline:
    rows = scores[(scores["treatment"] == BASELINE) & (scores["split"] == "test")]
    harmful, harmless = rows[rows["harmful"]], rows[~rows["harmful"]]
    test = outline.data.split.test
    return Baseline(
        refused=_share(harmful, "refusal"),
        harmless_answered=_share(harmless, "answer"),
        separation=auroc_interval(
            # None is left where no first token tells a refusal.
            harmful["score"].dropna().to_numpy(float),
            harmless["score"].dropna().to_numpy(float),
            rng=outline.rng("separation"),
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
    outline: Outline, scores: pd.DataFrame, fitted: Mapping[str, FittedVector]
) -> PersonaGeometry | None:
    groups = {persona.name: persona.group for persona in outline.data.personas}
    if len(groups) < 3:
        return None
    effects = mean_changes(scores)
    return persona_geometry(
        {name: fitted[name].vector.vectors for name in groups},
        {name: fitted[name].vector.vectors for name in REFUSAL_NAMES},
        effects[effects["persona"].isin(list(groups))],
        groups=groups,
        layers=outline.layers,
        rng=outline.rng("geometry"),
    )


def _hidden(outline: Outline, contents: Contents) -> HiddenAnswers | None:
    (lens,) = contents.tensors("lens")
    if not lens.about["prompt_ids"]:
        return None
    log_prob, rank = lens.tensors["log_prob"].numpy(), lens.tensors["rank"].numpy()
    return hidden_answers(
        log_prob[:, :, 0].T,
        rank[:, :, 0].T,
        log_prob[:, :, 1].T,
        rank[:, :, 1].T,
        layers=outline.layers,
        prompt_ids=lens.about["prompt_ids"],
        rng=outline.rng("hidden interval"),
    )


def _tokens_from(tokens: RefusalTokens | None) -> str:
    if tokens is None:
        return "none: no word of the vocabulary opens a refusal"
    return f"{tokens.source}: {tokens.rule}"
