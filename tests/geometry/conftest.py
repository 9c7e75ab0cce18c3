"""Seeded draws."""

import pytest
import torch


@pytest.fixture
def torch_rng():
    """Generator with a fixed seed."""
    return torch.Generator().manual_seed(0)
