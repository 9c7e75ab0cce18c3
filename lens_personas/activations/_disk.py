"""Activations to disk while they come: more than memory holds, resumed after a kill."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lens_personas.activations._cached import CachedActivations
from lens_personas.activations._collect import collect
from lens_personas.activations._files import replacing
from lens_personas.activations._provenance import MismatchError, joint_hash, prompt_hash
from lens_personas.activations._read_at import ReadAt
from lens_personas.activations._store import INDEX, check_contents, read_place
from lens_personas.activations._stream import Progress, check_request
from lens_personas.hooks import Site
from lens_personas.models import DEFAULT_TOKEN_BUDGET, LensModel, Prompt, model_batches

DEFAULT_PART_BYTES = 64 * 1024**2
"""Bytes of activations in one part: what a kill can lose, and what memory has to hold."""

_FORMAT = "lens_personas.collection/1"
_PLAN = "collection.json"
_MODEL = (
    "model_id",
    "fingerprint",
    "dtype",
    "weight_processing",
    "tokenizer_hash",
    "chat_template_hash",
)


@dataclass(frozen=True, kw_only=True)
class StoredActivations:
    """Activations in a folder, read from it a part at a time."""

    folder: Path
    """Where they are: ``collection.json`` and one folder a part, as ``CachedActivations.save``
    writes it."""
    part_rows: tuple[tuple[int, ...], ...]
    """Number of each prompt of each part, in the list of prompts that was collected."""

    def parts(self) -> Iterator[CachedActivations]:
        """The parts one by one, each in the order of its ``part_rows``.

        Raises:
            MismatchError: If a file is missing, cut short or does not fit.
        """
        for part in self._folders:
            yield CachedActivations.load(part)

    def at(self, site: Site, layer: int) -> Float[Tensor, "prompt d_model"]:
        """The vectors of one site and layer in prompt order; nothing else is read.

        Raises:
            ValueError: If that place was not read.
            MismatchError: If a file is missing or cut short.
        """
        found = [read_place(part, site, layer) for part in self._folders]
        return torch.cat(found)[self._order]

    def load(self) -> CachedActivations:
        """All of it in memory, in prompt order.

        Raises:
            MismatchError: If a file is missing, cut short or does not fit.
        """
        return _joined(list(self.parts())).take(self._order.tolist())

    @property
    def _folders(self) -> list[Path]:
        return [_part(self.folder, number) for number in range(len(self.part_rows))]

    @property
    def _order(self) -> Tensor:
        return torch.tensor([row for rows in self.part_rows for row in rows]).argsort()


def collect_to_disk(
    model: LensModel,
    prompts: Sequence[Prompt],
    folder: Path | str,
    *,
    sites: Sequence[Site],
    layers: Sequence[int],
    read_at: ReadAt,
    norms: bool = False,
    token_budget: int = DEFAULT_TOKEN_BUDGET,
    part_bytes: int = DEFAULT_PART_BYTES,
    progress: Progress | None = None,
) -> StoredActivations:
    """What :func:`~lens_personas.activations.collect` gives, written as it comes.

    Memory is that of one batch and one part, however many prompts there are. A part is there
    whole or not at all; the same call on the same folder goes on where a killed one stood,
    once it has checked the contents of what is there. One process at a time.

    Args:
        model: The model, without edits: those could not be told apart when going on.
        prompts: Rendered prompts.
        folder: An empty folder, or one that this call began.
        sites: Points of a block, of width ``d_model``.
        layers: Blocks, counted from 0.
        read_at: Position read in each prompt.
        norms: Whether to measure the norms over all positions too.
        token_budget: Most tokens in a batch, padding included.
        part_bytes: Bytes of a part, at least; a part holds whole batches.
        progress: Called with the number of prompts read and of all.

    Raises:
        ValueError: If nothing is asked for, a place does not exist, or a prompt lacks the part.
        MismatchError: If the folder holds something else, or a finished part is broken.
        OSError: If the folder cannot be written.
    """
    check_request(model, prompts, sites, layers)
    request = _request(model, prompts, sites, layers, read_at, norms)
    stored = _open(Path(folder), request)
    if stored is None:
        row_bytes = 4 * len(sites) * len(layers) * model.card.d_model
        part_rows = _part_rows(model, prompts, token_budget, max(part_bytes // row_bytes, 1))
        stored = _begin(Path(folder), request, part_rows)
    done = 0
    for number, rows in enumerate(stored.part_rows):
        part = _part(stored.folder, number)
        if (part / INDEX).is_file():
            check_contents(part)
        else:
            _drop_unfinished(part)
            collect(
                model,
                [prompts[row] for row in rows],
                sites=sites,
                layers=layers,
                read_at=read_at,
                norms=norms,
                token_budget=token_budget,
            ).save(part)
        done += len(rows)
        if progress is not None:
            progress(done, len(prompts))
    return stored


def open_activations(folder: Path | str) -> StoredActivations:
    """A folder that :func:`collect_to_disk` finished.

    Raises:
        FileNotFoundError: If there is none, or it is not finished.
        MismatchError: If it is of another format.
    """
    at = Path(folder)
    stored = _open(at, {"format": _FORMAT})
    missing = [p.name for p in stored._folders if not (p / INDEX).is_file()] if stored else [_PLAN]
    if stored is None or missing:
        raise FileNotFoundError(
            f"expected a finished collection in {at}, it lacks {missing[0]} "
            f"({len(missing)} missing); run collect_to_disk on it again"
        )
    return stored


def _request(
    model: LensModel,
    prompts: Sequence[Prompt],
    sites: Sequence[Site],
    layers: Sequence[int],
    read_at: ReadAt,
    norms: bool,
) -> dict[str, Any]:
    """All that decides what is collected."""
    return {
        "format": _FORMAT,
        **{field: getattr(model.card, field) for field in _MODEL},
        "n_prompts": len(prompts),
        "data_hash": joint_hash(prompt_hash(prompt) for prompt in prompts),
        "sites": [site.value for site in sites],
        "layers": list(layers),
        "read_at": asdict(read_at),
        "norms": norms,
    }


def _open(folder: Path, request: dict[str, Any]) -> StoredActivations | None:
    """What was begun in the folder; None where nothing was."""
    path = folder / _PLAN
    if not path.is_file():
        # A temporary file is what a kill before the first name leaves.
        others = [p.name for p in folder.glob("*") if not p.name.startswith(f".{_PLAN}.")]
        if others:
            raise MismatchError(
                f"expected an empty folder or a collection at {folder}, found {others[0]!r} and no "
                f"{_PLAN}; choose another folder"
            )
        return None
    plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for field, wanted in request.items():
        if plan.get(field) != wanted:
            raise MismatchError(
                f"{folder} was begun with {field}={plan.get(field)!r}, expected {wanted!r}; "
                "give the same request to go on with it, or another folder"
            )
    return StoredActivations(folder=folder, part_rows=tuple(map(tuple, plan["part_rows"])))


def _begin(
    folder: Path, request: dict[str, Any], part_rows: tuple[tuple[int, ...], ...]
) -> StoredActivations:
    with replacing(folder / _PLAN) as temporary:
        temporary.write_text(json.dumps(request | {"part_rows": part_rows}), encoding="utf-8")
    return StoredActivations(folder=folder, part_rows=part_rows)


def _part_rows(
    model: LensModel, prompts: Sequence[Prompt], token_budget: int, n_rows: int
) -> tuple[tuple[int, ...], ...]:
    """Prompts of each part: whole batches, so that what shares a prefix stays together."""
    found: list[tuple[int, ...]] = [()]
    for batch in model_batches(model, prompts, token_budget, share=True):
        if len(found[-1]) >= n_rows:
            found.append(())
        found[-1] += batch.rows
    return tuple(found)


def _part(folder: Path, number: int) -> Path:
    return folder / f"part-{number:06d}"


def _drop_unfinished(part: Path) -> None:
    for path in part.glob(".*.tmp"):
        path.unlink()


def _joined(parts: Sequence[CachedActivations]) -> CachedActivations:
    first = parts[0]
    return CachedActivations(
        values={s: torch.cat([part.values[s] for part in parts]) for s in first.values},
        prompt_norms={
            s: torch.cat([part.prompt_norms[s] for part in parts]) for s in first.prompt_norms
        },
        n_positions=torch.cat([part.n_positions for part in parts]),
        prompt_ids=tuple(i for part in parts for i in part.prompt_ids),
        prompt_hashes=tuple(h for part in parts for h in part.prompt_hashes),
        layers=first.layers,
        read_at=first.read_at,
        provenance=first.provenance,
    )
