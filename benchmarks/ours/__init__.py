"""Our ways, and what else runs in our environment: TransformerLens, Hugging Face."""

from benchmarks._serve import Prepare
from benchmarks.ours import _extraction, _forward, _generation, _lens, _patching, _search

_ROOMS = (_extraction, _forward, _generation, _lens, _patching, _search)
WAYS: dict[str, Prepare] = {name: way for room in _ROOMS for name, way in room.WAYS.items()}
"""By the name that the driver asks for."""
