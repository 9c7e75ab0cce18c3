"""Seeded draws."""

import numpy as np
import pytest


@pytest.fixture
def rng():
    """Generator with a fixed seed."""
    return np.random.default_rng(0)
