"""The result of a study of two models from what its cells computed."""

from dataclasses import asdict, dataclass

import pandas as pd

from analyses._contents import Contents
from analyses._pair_plan import PairOutline, PairStep
from analyses._vectors import FittedVector
from analyses.base_against_tuned import BaseAgainstTuned, base_against_tuned
from analyses.distinguishability import Distinguishability, distinguishability
from analyses.internal_distinguishability import (
    InternalDistinguishability,
    internal_distinguishability,
)
from analyses.sentence_divergence import SentenceDivergence, sentence_divergence
from analyses.shift import PairData, Shift, shift_finding, shift_status
from analyses.steerability import Steerability, steerability


@dataclass(frozen=True, kw_only=True)
class PairRun:
    """A result with what it rests on."""

    result: Shift
    """The findings."""
    scores: pd.DataFrame
    """Every score behind them: statements alone, and under prompts and vectors."""
    vectors: tuple[FittedVector, ...] = ()
    """None: steering vectors are fitted where they are used."""
    fictional: bool
    """Whether all text is of an invented world and may be shown in full."""


def assemble_pair(outline: PairOutline, contents: Contents) -> PairRun:
    """The findings from the results of all cells."""
    made = _Findings(outline=outline, contents=contents)
    apart, steered = made.apart(), made.steered()
    compared = made.compared(apart, steered)
    config, texts = outline.config, outline.texts
    fictional = texts.source == "organism"
    result = Shift(
        study=config.study,
        status=shift_status(apart),
        message=shift_finding(
            config.study,
            distinguishability=apart,
            steerability=steered,
            comparison=compared,
            alpha=config.alpha,
        ),
        seed=config.seed,
        settings=config.model_dump(mode="json"),
        models={side: asdict(card) for side, card in outline.cards.items()},
        data=PairData(
            source=texts.source,
            fictional=fictional,
            behaviours=texts.table,
            templates={side: str(style) for side, style in outline.styles.items()},
            licences=texts.licences,
        ),
        scores=made.scores,
        distinguishability=apart if "distinguishability" in config.asked_parts else None,
        internal=made.inside(),
        divergence=made.diverged(),
        steerability=steered,
        comparison=compared,
    )
    return PairRun(result=result, scores=made.everything(), fictional=fictional)


@dataclass(frozen=True, kw_only=True)
class _Findings:
    """Each question on the tables of its cells."""

    outline: PairOutline
    contents: Contents

    @property
    def scores(self) -> pd.DataFrame:
        """Statements alone."""
        found = self.table("scores")
        assert found is not None
        return found

    def table(self, step: PairStep) -> pd.DataFrame | None:
        """What all cells of a step computed; None where there is none."""
        found = [
            content
            for cell, content in self.contents.read
            if cell.kind == "pair" and cell.spec["step"] == step
        ]
        tables = [each for each in found if isinstance(each, pd.DataFrame) and len(each)]
        return pd.concat(tables, ignore_index=True) if tables else None

    def everything(self) -> pd.DataFrame:
        """Every score of a statement, with the step it is of."""
        steps: tuple[PairStep, ...] = ("scores", "prompts", "vectors")
        tables = {step: self.table(step) for step in steps}
        return pd.concat(
            [table.assign(step=step) for step, table in tables.items() if table is not None],
            ignore_index=True,
        )

    def apart(self) -> Distinguishability:
        config = self.outline.config
        return distinguishability(
            self.scores,
            rng=self.outline.rng("distinguishability"),
            level=1 - config.alpha,
            n_boot=config.n_boot,
            n_perm=config.n_perm,
        )

    def inside(self) -> InternalDistinguishability | None:
        table = self.table("states")
        if table is None:
            return None
        alpha = self.outline.config.alpha
        rng = self.outline.rng("internal")
        return internal_distinguishability(table, rng=rng, level=1 - alpha, alpha=alpha)

    def diverged(self) -> SentenceDivergence | None:
        table = self.table("sentences")
        if table is None:
            return None
        config = self.outline.config
        return sentence_divergence(
            table,
            self.table("prompts"),
            rng=self.outline.rng("divergence"),
            level=1 - config.alpha,
            n_boot=config.n_boot,
        )

    def steered(self) -> Steerability | None:
        prompts, vectors = self.table("prompts"), self.table("vectors")
        if prompts is None and vectors is None:
            return None
        config = self.outline.config
        return steerability(
            prompts,
            vectors,
            rng=self.outline.rng("steerability"),
            level=1 - config.alpha,
            n_boot=config.n_boot,
            n_perm=config.n_perm,
        )

    def compared(
        self, apart: Distinguishability, steered: Steerability | None
    ) -> BaseAgainstTuned | None:
        config = self.outline.config
        if shift_status(apart) == "nothing_to_study":
            return None
        measures = [apart.measures]
        if steered is not None:
            measures.append(steered.measures)
        return base_against_tuned(
            pd.concat(measures, ignore_index=True),
            rng=self.outline.rng("comparison"),
            scores=self.scores,
            lengths=self.table("prompts"),
            by_statement=None if steered is None else steered.by_statement,
            level=1 - config.alpha,
            alpha=config.alpha,
            n_boot=config.n_boot,
            n_perm=config.n_perm,
        )
