"""The divergence of one behaviour's sentences, measured on one model."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch

from analyses._divergence_texts import (
    DivergencePlan,
    DivergenceTexts,
    Prefix,
    Stage,
    divergence_texts,
)
from analyses._sentence_divergence_types import BETA_COLUMNS, Reference
from lens_personas.hooks import Edit
from lens_personas.models import LensModel, tuned_copy
from lens_personas.personas import Behaviour, CountTokens
from lens_personas.readouts import DEFAULT_SAMPLE_BUDGET, Voice, sentence_kl

__all__ = ["DivergencePlan", "beta_table"]


def beta_table(
    model: LensModel,
    behaviour: Behaviour,
    *,
    side: str,
    seed: int,
    plan: DivergencePlan | None = None,
    vector: Sequence[Edit] = (),
    count_tokens: CountTokens | None = None,
    plain: bool | None = None,
    token_budget: int = DEFAULT_SAMPLE_BUDGET,
) -> pd.DataFrame:
    """Rows of ``BETA_COLUMNS`` for one side and behaviour.

    References: a misaligned against an aligned persona prompt of as many tokens (and neutral
    against aligned, the null); with ``vector`` the steered model, with ``plan.tune_steps`` a copy
    trained on misaligned sentences, both against the model as it is. Sentences come from the
    prompt part of the behaviour; those of the persona prompt and of the prefix differ. Give both
    sides one seed and one counter: they then see the same texts and share the draws.

    Args:
        model: The model.
        behaviour: What is said.
        side: ``base`` or ``tuned``, for the table.
        seed: Seed of the assemblies and the samples.
        plan: Lengths and numbers; lengths for which the behaviour has too few sentences are
            left out.
        vector: Edits that steer towards the misaligned side; empty for no such reference.
        count_tokens: Tokens of a text; None for the model's own tokenizer.
        plain: Whether texts stand without the chat template; None where the model has none.
        token_budget: Tokens held at a time.

    Raises:
        ValueError: If the behaviour has too few sentences for any length, the texts do not fit
            the context, or the model is too large to be tuned.
    """
    plan = (plan or DivergencePlan()).fitting(behaviour)
    count = count_tokens or _counter(model)
    texts = divergence_texts(behaviour, plan, seed=seed, count_tokens=count)
    bare = model.card.chat_template_hash is None if plain is None else plain
    cell = _Cell(
        stage=Stage(model=model, plain=bare, place=plan.place),
        texts=texts,
        plan=plan,
        # The same on both sides and in every process.
        seed=int(hashlib.sha256(f"{seed} {behaviour.name}".encode()).hexdigest()[:12], 16),
        token_budget=token_budget,
    )
    table = pd.concat([cell.rows(each) for each in cell.contrasts(vector)], ignore_index=True)
    return table.assign(side=side, behaviour=behaviour.name)[list(BETA_COLUMNS)]


def _counter(model: LensModel) -> CountTokens:
    def count(text: str) -> int:
        return len(model.tokenizer(text, add_special_tokens=False)["input_ids"])

    return count


@dataclass(frozen=True, kw_only=True)
class _Contrast:
    """Two voices on the same prefixes."""

    reference: Reference
    prefixes: tuple[Prefix, ...]
    ours: Mapping[int, str]
    """Persona prompt of P− by assembly; none where it is missing."""
    theirs: Mapping[int, str]
    """The same of P+."""
    model: LensModel
    """Whose voice P− is; that of P+ is the model's own."""
    edits: Sequence[Edit] = ()


@dataclass(frozen=True, kw_only=True)
class _Cell:
    stage: Stage
    texts: DivergenceTexts
    plan: DivergencePlan
    seed: int
    token_budget: int

    def contrasts(self, vector: Sequence[Edit]) -> Iterator[_Contrast]:
        said, model = self.texts.personas, self.stage.model
        every = self.texts.of("misaligned", "aligned", "filler")
        yield _Contrast(
            reference="prompt",
            prefixes=every,
            ours=said["misaligned"],
            theirs=said["aligned"],
            model=model,
        )
        if self.plan.with_null:
            yield _Contrast(
                reference="filler",
                prefixes=self.texts.of("misaligned"),
                ours=said["filler"],
                theirs=said["aligned"],
                model=model,
            )
        if vector:
            yield self._plainly("vector", model, vector)
        if self.plan.tune_steps:
            yield self._plainly("tuned_on", self._tuned())

    def _plainly(
        self, reference: Reference, model: LensModel, edits: Sequence[Edit] = ()
    ) -> _Contrast:
        """A changed model against the model as it is, without any persona prompt."""
        prefixes = self.texts.of("misaligned", "filler")
        return _Contrast(
            reference=reference, prefixes=prefixes, ours={}, theirs={}, model=model, edits=edits
        )

    def _tuned(self) -> LensModel:
        prompts = [self.stage.prompt("", text) for text in self.texts.tuning]
        generator = torch.Generator().manual_seed(self.seed)
        return tuned_copy(
            self.stage.model, prompts, generator=generator, steps=self.plan.tune_steps
        )

    def rows(self, contrast: _Contrast) -> pd.DataFrame:
        ours, theirs = (
            [
                self.stage.prompt(said.get(each.assembly, ""), each.text)
                for each in contrast.prefixes
            ]
            for said in (contrast.ours, contrast.theirs)
        )
        pairs = [(mine.ids, other.ids) for mine, other in zip(ours, theirs, strict=True)]
        # Without a sentence all halves of an assembly are the same.
        first = {pair: at for at, pair in reversed(list(enumerate(pairs)))}
        chosen = sorted(first.values())
        found = sentence_kl(
            Voice(model=contrast.model, prompts=[ours[at] for at in chosen], edits=contrast.edits),
            Voice(model=self.stage.model, prompts=[theirs[at] for at in chosen]),
            generator=torch.Generator().manual_seed(self.seed),
            n_samples=self.plan.n_samples,
            n_tokens=self.plan.n_tokens,
            token_budget=self.token_budget,
        )
        at = torch.tensor([chosen.index(first[pair]) for pair in pairs])
        return pd.DataFrame(
            {
                "reference": contrast.reference,
                "half_of_prefix": [prefix.half for prefix in contrast.prefixes],
                "n_sentences": [prefix.n for prefix in contrast.prefixes],
                "prefix": [prefix.assembly for prefix in contrast.prefixes],
                "kl": found.kl[at].double().numpy(),
                "kl_first": found.first.mean(dim=1)[at].double().numpy(),
                "kl_first_exact": found.first_exact[at].double().numpy(),
                "kl_by_token": found.by_token.mean(dim=1)[at].double().numpy(),
                "n_samples": self.plan.n_samples,
            }
        )
