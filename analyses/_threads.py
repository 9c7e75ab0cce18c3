"""How many threads a model gains from."""

import json
from pathlib import Path

import torch

SMALL_WIDTH = 256
"""Width of the residual stream up to which one thread is faster than several."""


def fit_threads(*models: str) -> None:
    """Use one thread where all models are tiny: handing work out costs more than doing it."""
    if all(_width(model) <= SMALL_WIDTH for model in models):
        torch.set_num_threads(1)


def _width(model: str) -> int:
    """Width of the residual stream; more than small where it is not known."""
    if model.startswith("organism:"):
        return 0
    config = Path(model).expanduser() / "config.json"
    if not config.is_file():
        return SMALL_WIDTH + 1
    found = json.loads(config.read_text(encoding="utf-8")).get("hidden_size", SMALL_WIDTH + 1)
    return int(found)
