"""What cells compute, as tables and tensors for their shards, and back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from analyses._cells import Cell, CellKind
from analyses._part_names import PartName
from analyses._shards import Content, Tensors
from analyses._vectors import FittedVector
from lens_personas.geometry import SplitHalf
from lens_personas.hooks import Site
from lens_personas.models import Generation
from lens_personas.readouts import RefusalTokens
from lens_personas.vectors import SteeringVector, VectorProvenance

_VECTOR_TENSORS = ("vectors", "resid_norms")
_HALVES = tuple(field.name for field in fields(SplitHalf))


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """Results of some cells, by what they mean."""

    read: tuple[tuple[Cell, Content], ...]
    """Cells with what they computed, in order."""

    def tables(self, *kinds: CellKind) -> list[pd.DataFrame]:
        """Tables of the cells of these kinds, in order."""
        return [
            content
            for cell, content in self.read
            if cell.kind in kinds and isinstance(content, pd.DataFrame)
        ]

    def tensors(self, kind: CellKind) -> list[Tensors]:
        """Tensors of the cells of that kind, in order."""
        return [
            content
            for cell, content in self.read
            if cell.kind == kind and isinstance(content, Tensors)
        ]

    def part(self, name: PartName, step: str) -> list[tuple[Mapping[str, Any], pd.DataFrame]]:
        """Specs and tables of one step of a part, in order."""
        return [
            (cell.spec, content)
            for cell, content in self._of_part(name, step)
            if isinstance(content, pd.DataFrame)
        ]

    def part_tensors(self, name: PartName, step: str) -> list[tuple[Mapping[str, Any], Tensors]]:
        """Specs and tensors of one step of a part, in order."""
        return [
            (cell.spec, content)
            for cell, content in self._of_part(name, step)
            if isinstance(content, Tensors)
        ]

    def _of_part(self, name: PartName, step: str) -> list[tuple[Cell, Content]]:
        return [
            (cell, content)
            for cell, content in self.read
            if cell.kind in ("part", "part_tensors")
            and (cell.spec["part"], cell.spec["step"]) == (name, step)
        ]

    @cached_property
    def answers(self) -> dict[str, Generation]:
        """Answers to the requests alone, by ``prompt_id``."""
        rows = [row for table in self.tables("answers") for row in table.to_dict(orient="records")]
        return {
            row["prompt_id"]: Generation(
                prompt_id=row["prompt_id"],
                ids=tuple(int(each) for each in row["ids"]),
                text=row["text"],
                finished=bool(row["finished"]),
            )
            for row in rows
        }

    @cached_property
    def tokens(self) -> tuple[RefusalTokens | None, bool]:
        """Tokens that open a refusal, and whether the model's own answers gave them."""
        (table,) = self.tables("tokens")
        (row,) = table.to_dict(orient="records")
        if row["tokens"] is None:
            return None, bool(row["found"])
        known = json.loads(row["tokens"])
        for name in ("token_ids", "tokens"):
            known[name] = tuple(known[name])
        tokens = RefusalTokens(**known | {"prompt_ids": frozenset(known["prompt_ids"])})
        return tokens, bool(row["found"])

    @cached_property
    def norms(self) -> Float[Tensor, " layer"]:
        """Mean residual norm at each layer."""
        (found,) = self.tensors("norms")
        return found.tensors["norms"]

    @cached_property
    def vectors(self) -> dict[str, FittedVector]:
        """Vectors by name."""
        found = [_fitted(each) for each in self.tensors("vector")]
        return {each.vector.name: each for each in found}


def answers_table(answers: Sequence[Generation]) -> pd.DataFrame:
    """Answers, one row each."""
    columns = [field.name for field in fields(Generation)]
    rows = [[getattr(answer, name) for name in columns] for answer in answers]
    return pd.DataFrame(rows, columns=columns)


def tokens_table(tokens: RefusalTokens | None, *, found: bool) -> pd.DataFrame:
    """Tokens that open a refusal, one row."""
    known = None
    if tokens is not None:
        # NaN where there is no share: of JSON only Python's own, which reads it again.
        known = json.dumps(asdict(tokens) | {"prompt_ids": sorted(tokens.prompt_ids)})
    return pd.DataFrame({"found": [found], "tokens": pd.Series([known], dtype=object)})


def fitted_tensors(fitted: FittedVector) -> Tensors:
    """A vector, how far its data fix it, and all that is known of it."""
    vector = fitted.vector
    about = {
        field.name: getattr(vector, field.name)
        for field in fields(SteeringVector)
        if field.name not in _VECTOR_TENSORS
    }
    about |= {"site": vector.site.value, "provenance": asdict(vector.provenance)}
    halves = [[getattr(fitted.halves[layer], n) for n in _HALVES] for layer in vector.layers]
    tensors = {name: getattr(vector, name) for name in _VECTOR_TENSORS}
    return Tensors(
        tensors=tensors | {"halves": torch.tensor(halves, dtype=torch.float64)}, about=about
    )


def _fitted(found: Tensors) -> FittedVector:
    about = dict(found.about)
    layers = tuple(about.pop("layers"))
    site, provenance = Site(about.pop("site")), VectorProvenance(**about.pop("provenance"))
    halves = found.tensors["halves"].tolist()
    return FittedVector(
        vector=SteeringVector(
            vectors=found.tensors["vectors"],
            resid_norms=found.tensors["resid_norms"],
            layers=layers,
            site=site,
            provenance=provenance,
            **about,
        ),
        halves={
            layer: SplitHalf(**dict(zip(_HALVES, row, strict=True)))
            for layer, row in zip(layers, halves, strict=True)
        },
    )
