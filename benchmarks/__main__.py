"""``python -m benchmarks``."""

from benchmarks._cli import app

app()
