"""Vectors of both ways of asking, and what chance and their own data allow of their cosines."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import comb
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from analyses._collect import contrast, judged
from analyses._contents import Contents
from analyses._shards import Tensors
from analyses._vectors import REFUSAL_NAMES, FitSettings, contrast_of
from analyses._workbench import Outline, Workbench
from analyses.vector_geometry import VectorSet, Yes
from lens_personas.activations import collect
from lens_personas.geometry import (
    permuted_differences,
    project_out_rows,
    remove_direction_by_layer,
    split_half_cosine,
    unit_vector,
)
from lens_personas.hooks import Site
from lens_personas.vectors import Contrast

REFUSAL_YES, FULFILMENT_YES = "refusal (yes)", "fulfilment (yes)"
"""Vectors of answering yes to questions on refusing, and to those on helping."""

NAMES_A_CELL = 8
"""Vectors whose bands are computed in one cell."""

_Rows = tuple[Float[Tensor, "to layer d_model"], Float[Tensor, "from layer d_model"]]

_DRAWS = 300
_SPLITS = 25
# With fewer ways to exchange labels the observed one alone is more than a twentieth of them.
_FEWEST_EXCHANGES = 40


def families(outline: Outline) -> tuple[str, ...]:
    """Ways in which the personas' vectors are made: the study's, and yes/no questions."""
    asked = ("questions",) if len(questioned(outline)) >= 2 else ()
    return (
        asked if asked and outline.config.vector_method == "questions" else ("statements", *asked)
    )


def questioned(outline: Outline) -> tuple[str, ...]:
    """Personas that have yes/no questions."""
    return tuple(persona.name for persona in outline.data.personas if persona.questions)


def family_names(outline: Outline, family: str) -> tuple[str, ...]:
    """The vectors of a family: the personas', then those of refusal and fulfilment."""
    if family == "statements":
        return (*(persona.name for persona in outline.data.personas), *REFUSAL_NAMES)
    return (*questioned(outline), REFUSAL_YES, FULFILMENT_YES, *REFUSAL_NAMES)


def family_contrast(work: Workbench, family: str, name: str, labels: Mapping[str, str]) -> Contrast:
    """The prompts that a vector of the family is read from."""
    if family == "statements" or name in REFUSAL_NAMES:
        return contrast(work, name, labels)
    # Refusal and fulfilment are asked about as personas are: every "yes" on one side.
    asked = (
        replace(work.data.refusal, name=REFUSAL_YES),
        replace(work.data.fulfilment, name=FULFILMENT_YES),
    )
    data = replace(work.data, personas=(*work.data.personas, *asked))
    settings = FitSettings(
        layers=work.layers,
        turn=work.turn,
        method="questions",
        read=work.config.read_at,
        seed=work.config.seed,
        token_budget=work.config.token_budget,
    )
    return contrast_of(work.model, data, name, settings, ((), ()))


def yes_no(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> Tensors:
    """Vectors of answering yes: for each persona, for refusal and for fulfilment."""
    names = [n for n in family_names(work, "questions") if n not in REFUSAL_NAMES]
    found = [family_contrast(work, "questions", name, {}) for name in names]
    fitted = [(to - from_).mean(0, dtype=torch.float64).float() for to, from_ in _read(work, found)]
    return Tensors(tensors={"vectors": torch.stack(fitted)}, about={"names": names})


def family_vectors(
    outline: Outline, family: str, inputs: Contents
) -> tuple[Float[Tensor, "vector layer d_model"], Float[Tensor, "layer d_model"] | None]:
    """The vectors of :func:`family_names`, and the direction of saying yes.

    That is the mean over all personas of the vectors of answering yes: what a persona is like
    differs, that "yes" was said does not.
    """
    study = {name: each.vector.vectors for name, each in inputs.vectors.items()}
    asked = inputs.part_tensors("geometry", "yes-no")
    yes, said = None, {}
    if asked:
        ((_, found),) = asked
        said = dict(zip(found.about["names"], found.tensors["vectors"], strict=True))
        yes = torch.stack([said[name] for name in questioned(outline)]).mean(0)
    both = study | said if family == "questions" else study
    return torch.stack([both[name] for name in family_names(outline, family)]), yes


def variants(
    vectors: Float[Tensor, "vector layer d_model"], yes: Float[Tensor, "layer d_model"] | None
) -> dict[Yes, Float[Tensor, "vector layer d_model"]]:
    """The vectors as they are, and without the direction of saying yes."""
    out: dict[Yes, Tensor] = {"kept": vectors}
    if yes is not None:
        out["removed"] = torch.stack([remove_direction_by_layer(v, yes) for v in vectors])
    return out


def bands(work: Workbench, spec: Mapping[str, Any], inputs: Contents) -> Tensors:
    """Bands of the cosines with every vector, and reliability, of some vectors of a family."""
    vectors, yes = family_vectors(work, spec["family"], inputs)
    known = variants(vectors, yes)
    generator = torch.Generator().manual_seed(work.config.seed)
    labels = judged(inputs.answers)
    band, halves, exchanges = [], [], []
    contrasts = [family_contrast(work, spec["family"], name, labels) for name in spec["names"]]
    for found, rows in zip(contrasts, _read(work, contrasts), strict=True):
        sizes = (len(found.to), len(found.from_))
        exchanges.append(2 ** sizes[0] if found.paired else comb(sum(sizes), sizes[0]))
        each = [
            _of_rows(rows, known[way], yes if way == "removed" else None, found, generator)
            for way in known
        ]
        band.append(torch.stack([b for b, _ in each]))
        halves.append(torch.stack([h for _, h in each]))
    return Tensors(
        tensors={"bands": torch.stack(band, 1), "reliability": torch.stack(halves, 1)},
        about={
            "small": [
                n for n, e in zip(spec["names"], exchanges, strict=True) if e < _FEWEST_EXCHANGES
            ]
        },
    )


def vector_sets(outline: Outline, family: str, inputs: Contents) -> tuple[VectorSet, ...]:
    """The family's vectors with and without the direction of saying yes."""
    vectors, yes = family_vectors(outline, family, inputs)
    parts = [t for s, t in inputs.part_tensors("geometry", "bands") if s["family"] == family]
    names = family_names(outline, family)
    return tuple(
        VectorSet(
            family=family,
            yes=way,
            names=names,
            n_personas=sum(name in outline.data.texts for name in names),
            layers=outline.layers,
            vectors=each,
            bands=torch.cat([part.tensors["bands"][at] for part in parts]),
            reliability=torch.cat([part.tensors["reliability"][at] for part in parts]),
        )
        for at, (way, each) in enumerate(variants(vectors, yes).items())
    )


def _read(work: Workbench, contrasts: Sequence[Contrast]) -> list[_Rows]:
    """Activations of both sides of each contrast; those that are read alike in one pass."""
    out: list[_Rows] = [(torch.empty(0), torch.empty(0))] * len(contrasts)
    for read_at in dict.fromkeys(each.read_at for each in contrasts):
        alike = [at for at, each in enumerate(contrasts) if each.read_at == read_at]
        read = collect(
            work.model,
            [prompt for at in alike for prompt in (*contrasts[at].to, *contrasts[at].from_)],
            sites=[Site.RESID_POST],
            layers=work.layers,
            read_at=read_at,
            token_budget=work.config.token_budget,
        ).values[Site.RESID_POST]
        sizes = [len(side) for at in alike for side in (contrasts[at].to, contrasts[at].from_)]
        sides = read.split(sizes)
        for number, at in enumerate(alike):
            out[at] = (sides[2 * number], sides[2 * number + 1])
    return out


def _of_rows(
    rows: _Rows,
    references: Float[Tensor, "vector layer d_model"],
    yes: Float[Tensor, "layer d_model"] | None,
    found: Contrast,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "vector layer 2"], Float[Tensor, " layer"]]:
    """Band of the cosine with each reference, and reliability, by layer."""
    n_layers = references.shape[1]
    band = torch.full((len(references), n_layers, 2), torch.nan)
    halves = torch.full((n_layers,), torch.nan)
    if min(len(side) for side in rows) < 2:
        return band, halves
    for at in range(n_layers):
        to, from_ = (side[:, at].float() for side in rows)
        if yes is not None:
            unit = unit_vector(yes[at])
            to, from_ = project_out_rows(to, unit), project_out_rows(from_, unit)
        drawn = permuted_differences(
            to, from_, generator=generator, n_permutations=_DRAWS, paired=found.paired
        )
        units = torch.nn.functional.normalize(references[:, at].double(), dim=-1, eps=1e-300)
        cosines = torch.nn.functional.normalize(drawn, dim=-1, eps=1e-300) @ units.T
        band[:, at] = cosines.quantile(torch.tensor([0.025, 0.975]).double(), dim=0).T.float()
        halves[at] = split_half_cosine(
            to, from_, generator=generator, n_splits=_SPLITS, paired=found.paired
        ).corrected
    return band, halves
