"""The scored statements of a behaviour, put to a model after a prompt or under a vector."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from analyses._pair_cells_vectors import steering_edits
from lens_personas.hooks import Scope
from lens_personas.interventions import steering_sweep
from lens_personas.models import LensModel
from lens_personas.personas import AskingStyle, Behaviour, Order, PersonaPrompt
from lens_personas.readouts import (
    AskedStatement,
    NoYesNoTokens,
    YesNoTokens,
    ask_statements,
    score_yes_no,
    statement_log_prob,
    token_counter,
    yes_no_columns,
    yes_no_tokens,
)

STATEMENT = ["statement_id", "group", "aligned"]
"""What is kept of a statement."""


@dataclass(frozen=True, kw_only=True)
class Steering:
    """What is added, where and how far."""

    vectors: Mapping[str, Float[Tensor, "layer d_model"]]
    """Directions by name, a row a layer."""
    layers: tuple[int, ...]
    """Blocks, each steered alone."""
    doses: tuple[float, ...]
    """Lengths in residual norms, with sign."""
    resid_norms: Float[Tensor, " layer"]
    """Mean residual norm at each layer."""
    scope: Scope
    """Positions that are touched."""


class Asker:
    """Puts the scored statements of a behaviour to a model."""

    def __init__(
        self,
        model: LensModel,
        behaviour: Behaviour,
        orders: Sequence[Order] | None,
        style: AskingStyle | None,
        token_budget: int,
    ) -> None:
        self._model, self._behaviour = model, behaviour
        self._orders, self._style, self._budget = orders, style, token_budget
        found = yes_no_tokens(model, [each.prompt for each in self.asked("")])
        self.tokens: YesNoTokens | None = None if isinstance(found, NoYesNoTokens) else found

    def asked(self, said: str) -> list[AskedStatement]:
        """Every scored statement in every order, after what is said."""
        asked = ask_statements(
            self._model,
            self._behaviour.scored,
            asking=self._behaviour.asking,
            said=said,
            style=self._style,
        )
        known = self._orders is None or not {each.order for each in asked} & set(self._orders)
        return [each for each in asked if known or each.order in (self._orders or ())]

    def fitting(
        self, prompts: Sequence[PersonaPrompt], lengths: Sequence[int]
    ) -> list[PersonaPrompt]:
        """Prompts of the lengths at which every prompt fits the context."""
        # A token more may come where a text meets the template's.
        room = self._model.card.n_ctx - max(len(each.prompt.ids) for each in self.asked(" . ")) - 2
        most: dict[int, int] = {}
        for prompt in prompts:
            tokens = token_counter(self._model)(prompt.text)
            most[prompt.n_sentences] = max(most.get(prompt.n_sentences, 0), tokens)
        kept = [prompt for prompt in prompts if most[prompt.n_sentences] <= room]
        if not any(prompt.n_sentences for prompt in kept):
            raise ValueError(
                f"{self._behaviour.name}: expected lengths of prompts that it has the sentences "
                f"for and that fit the context of {self._model.card.n_ctx} tokens, got "
                f"{sorted(set(lengths))}; ask for shorter ones"
            )
        return kept

    def scores(self, prompts: Sequence[PersonaPrompt]) -> pd.DataFrame:
        """Scores under each prompt, a row a prompt and statement."""
        if self.tokens is None:
            return pd.concat([self._log_probs(prompt) for prompt in prompts], ignore_index=True)
        asked = [(prompt, each) for prompt in prompts for each in self.asked(prompt.text)]
        found = score_yes_no(
            self._model,
            [each.prompt for _, each in asked],
            self.tokens,
            token_budget=self._budget,
        )
        rows = pd.DataFrame(
            [{**_about(prompt), **_item(each)} for prompt, each in asked],
        ).assign(log_odds=found.log_odds.double().numpy(), mass=found.mass.double().numpy())
        keys = ["arm", "n_sentences", "n_tokens", "assembly", *STATEMENT]
        return rows.groupby(keys, sort=False)[["log_odds", "mass"]].mean().reset_index()

    def _log_probs(self, prompt: PersonaPrompt) -> pd.DataFrame:
        items = self._behaviour.scored
        found = statement_log_prob(
            self._model, items, said=prompt.text, style=self._style, token_budget=self._budget
        )
        rows = [_about(prompt) | {name: getattr(item, name) for name in STATEMENT}
                for item in items]  # fmt: skip
        return pd.DataFrame(rows).assign(log_odds=found.double().numpy(), mass=np.nan)

    def steered(self, steering: Steering) -> Iterator[pd.DataFrame]:
        """Log-odds by statement under each vector, layer and dose, 0 included."""
        found = self._steered_log_probs if self.tokens is None else self._swept
        items, base, values = found(steering)
        for (at, name), (row, layer) in product(
            enumerate(steering.vectors), enumerate(steering.layers)
        ):
            yield _cell(items, base, name, layer, 0.0)
            for number, dose in enumerate(steering.doses):
                yield _cell(items, values[at, row, number], name, layer, dose)

    def _swept(
        self, steering: Steering
    ) -> tuple[pd.DataFrame, Float[Tensor, " row"], Float[Tensor, "name layer dose row"]]:
        assert self.tokens is not None
        yes, no = torch.tensor(self.tokens.yes_ids), torch.tensor(self.tokens.no_ids)

        def log_odds(logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, "batch 1"]:
            return yes_no_columns(logits, yes, no)[:, :1]

        asked = self.asked("")
        found = steering_sweep(
            self._model,
            [each.prompt for each in asked],
            steering.vectors,
            log_odds,
            layers=steering.layers,
            doses=steering.doses,
            resid_norms=steering.resid_norms,
            scope=steering.scope,
        )
        items = pd.DataFrame([_item(each) for each in asked])
        return items, found.base[:, 0], found.values[..., 0]

    def _steered_log_probs(
        self, steering: Steering
    ) -> tuple[pd.DataFrame, Float[Tensor, " row"], Float[Tensor, "name layer dose row"]]:
        """The same from statements' own log-probabilities, one run of the model a cell."""
        items = self._behaviour.scored
        places = product(steering.vectors.values(), range(len(steering.layers)), steering.doses)
        edits = [
            steering_edits(
                self._model,
                vector[row],
                layer=steering.layers[row],
                resid_norm=float(steering.resid_norms[row]),
                dose=dose,
                scope=steering.scope,
            )
            for vector, row, dose in places
        ]
        base, *found = (
            statement_log_prob(
                self._model, items, edits=each, style=self._style, token_budget=self._budget
            )
            for each in [(), *edits]
        )
        rows = pd.DataFrame([{name: getattr(i, name) for name in STATEMENT} for i in items])
        shape = (len(steering.vectors), len(steering.layers), len(steering.doses), len(items))
        return rows, base - base.mean(), (torch.stack(found) - base.mean()).reshape(shape)


def _cell(
    items: pd.DataFrame, log_odds: Float[Tensor, " row"], vector: str, layer: int, dose: float
) -> pd.DataFrame:
    rows = items.assign(log_odds=log_odds.double().numpy())
    means = rows.groupby(STATEMENT, sort=False)["log_odds"].mean().reset_index()
    return means.assign(vector=vector, layer=layer, dose=float(dose))


def _about(prompt: PersonaPrompt) -> dict[str, str | int]:
    return {
        "arm": prompt.arm,
        "n_sentences": prompt.n_sentences,
        "n_tokens": prompt.n_tokens,
        "assembly": prompt.assembly,
    }


def _item(asked: AskedStatement) -> dict[str, str | bool]:
    return {name: getattr(asked.item, name) for name in STATEMENT}
