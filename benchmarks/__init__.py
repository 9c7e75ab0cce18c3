"""Speed and memory against other ways, side by side: ``python -m benchmarks run``."""
