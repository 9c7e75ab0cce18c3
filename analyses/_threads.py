"""How many threads a model gains from."""

import json
from pathlib import Path

import torch

SMALL_WIDTH = 256
"""Width of the residual stream up to which one thread is faster than several."""


def fit_threads(model: str) -> None:
    """Use one thread for a tiny model, where handing work out costs more than doing it."""
    config = Path(model).expanduser() / "config.json"
    width = SMALL_WIDTH + 1
    if model.startswith("organism:"):
        width = 0
    elif config.is_file():
        width = json.loads(config.read_text(encoding="utf-8")).get("hidden_size", width)
    if width <= SMALL_WIDTH:
        torch.set_num_threads(1)
