"""Activations read from a model: one vector for each prompt, layer and site."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens_personas.activations._provenance import ActivationProvenance, joint_hash
from lens_personas.activations._read_at import ReadAt
from lens_personas.hooks import Site
from lens_personas.models import ModelCard

DEFAULT_SHARD_BYTES = 512 * 1024**2
"""Most bytes of activations in one file."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CachedActivations:
    """Float32 activations on the CPU, with all that is needed to use them without the model.

    Raises:
        ValueError: If the shapes do not agree with the prompts and layers.
    """

    values: Mapping[Site, Float[Tensor, "prompt layer d_model"]]
    """The vector of each prompt at each layer, by site; in prompt order."""
    prompt_norms: Mapping[Site, Float[Tensor, "prompt layer"]]
    """Mean residual norm over each prompt's positions, the first and any answer left out;
    0 where there is none. Empty unless norms were collected."""
    n_positions: Int[Tensor, " prompt"]
    """Number of positions in that mean."""
    prompt_ids: tuple[str, ...]
    """Identifier of each prompt."""
    prompt_hashes: tuple[str, ...]
    """Hash of each prompt's text and token ids."""
    layers: tuple[int, ...]
    """Block of each entry on the ``layer`` axis, counted from 0."""
    read_at: ReadAt
    """Where in the prompt the vector was read."""
    provenance: ActivationProvenance
    """What it was read from."""

    def __post_init__(self) -> None:
        expected = (len(self.prompt_ids), len(self.layers))
        for site, values in self.values.items():
            if tuple(values.shape[:2]) != expected:
                raise ValueError(
                    f"expected {expected[0]} prompts and {expected[1]} layers at {site.value}, "
                    f"got a tensor of shape {tuple(values.shape)}"
                )

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites that were read."""
        return tuple(self.values)

    @property
    def data_hash(self) -> str:
        """Hash of the prompts, in order."""
        return joint_hash(self.prompt_hashes)

    def at(self, site: Site, layer: int) -> Float[Tensor, "prompt d_model"]:
        """The vectors of one site and layer.

        Raises:
            ValueError: If that place was not read.
        """
        if site not in self.values:
            raise ValueError(
                f"expected one of the sites {[s.value for s in self.sites]}, got {site.value!r}; "
                "collect it as well"
            )
        return self.values[site][:, self._column(layer)]

    def residual_norms(self, site: Site) -> Float[Tensor, " layer"]:
        """Mean norm at each layer over all prompt positions; NaN where no prompt has a second.

        Raises:
            ValueError: If no norms were collected at that site.
        """
        if site not in self.prompt_norms:
            raise ValueError(
                f"expected norms at {site.value}, they were collected at "
                f"{[s.value for s in self.prompt_norms]}; collect with norms=True"
            )
        weights = self.n_positions.double()[:, None]
        total = (self.prompt_norms[site].double() * weights).sum(dim=0)
        return (total / weights.sum()).float()

    def select(
        self,
        *,
        prompt_ids: Sequence[str] | None = None,
        layers: Sequence[int] | None = None,
    ) -> "CachedActivations":
        """A part of the prompts and layers, in the order given.

        Raises:
            ValueError: If a prompt or layer is not there, or an identifier is not unique.
        """
        chosen = self if prompt_ids is None else self.take(self._rows(prompt_ids))
        if layers is None:
            return chosen
        columns = [self._column(layer) for layer in layers]
        return replace(
            chosen,
            values={s: v[:, columns] for s, v in chosen.values.items()},
            prompt_norms={s: v[:, columns] for s, v in chosen.prompt_norms.items()},
            layers=tuple(layers),
        )

    def take(self, rows: Sequence[int]) -> "CachedActivations":
        """The prompts with these numbers, in the order given.

        Raises:
            IndexError: If there is no such row.
        """
        at = torch.tensor(list(rows), dtype=torch.long)
        return replace(
            self,
            values={s: v[at] for s, v in self.values.items()},
            prompt_norms={s: v[at] for s, v in self.prompt_norms.items()},
            n_positions=self.n_positions[at],
            prompt_ids=tuple(self.prompt_ids[row] for row in rows),
            prompt_hashes=tuple(self.prompt_hashes[row] for row in rows),
        )

    def save(self, folder: Path | str, *, max_shard_bytes: int = DEFAULT_SHARD_BYTES) -> None:
        """Write a folder of safetensors shards and an ``index.json``, which comes last.

        Raises:
            ValueError: If the shard size is not positive.
            OSError: If the folder cannot be written.
        """
        from lens_personas.activations._store import save_activations

        save_activations(self, Path(folder), max_shard_bytes=max_shard_bytes)

    @classmethod
    def load(
        cls, folder: Path | str, *, expected_card: ModelCard | None = None
    ) -> "CachedActivations":
        """Read a folder written by :meth:`save`.

        Raises:
            FileNotFoundError: If there is no complete folder of activations.
            MismatchError: If they are of another model than ``expected_card``, or the shards
                do not hold what the index says.
        """
        from lens_personas.activations._store import load_activations

        return load_activations(Path(folder), expected_card=expected_card)

    def _column(self, layer: int) -> int:
        if layer not in self.layers:
            raise ValueError(f"expected one of the layers {list(self.layers)}, got {layer}")
        return self.layers.index(layer)

    def _rows(self, prompt_ids: Sequence[str]) -> list[int]:
        by_id: dict[str, int] = {}
        for row, prompt_id in enumerate(self.prompt_ids):
            if by_id.setdefault(prompt_id, row) != row and prompt_id in prompt_ids:
                raise ValueError(
                    f"expected unique prompt ids to select by, {prompt_id!r} occurs more than "
                    "once; give each prompt an id when rendering, or use take()"
                )
        missing = [prompt_id for prompt_id in prompt_ids if prompt_id not in by_id]
        if missing:
            raise ValueError(
                f"expected prompt ids among the {len(self.prompt_ids)} that were read, "
                f"got {missing[:5]} ({len(missing)} unknown)"
            )
        return [by_id[prompt_id] for prompt_id in prompt_ids]
