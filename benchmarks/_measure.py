"""Seconds, peak memory and the machine's own speed, inside the process that does the work."""

import contextlib
import ctypes
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

T = TypeVar("T")
_GEMM_SIZE = {"cpu": 1024, "cuda": 8192}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one call cost."""

    seconds: float
    """Wall-clock time."""
    memory: int | None
    """Bytes by which the call raised memory at its peak; None where that cannot be seen."""


def measured(call: Callable[[], T], device: str) -> tuple[T, Cost]:
    """What ``call`` gives, and what it cost."""
    gc.collect()
    before = _start_peak(device)
    started = time.perf_counter()
    result = call()
    _synchronize(device)
    seconds = time.perf_counter() - started
    peak = _peak(device)
    memory = None if before is None or peak is None else max(peak - before, 0)
    return result, Cost(seconds=seconds, memory=memory)


def gemm_peak(device: str, dtype: torch.dtype) -> float:
    """Floating-point operations a second in a large matrix product: the best of three."""
    size = _GEMM_SIZE[device.split(":")[0]]
    a = torch.randn(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(3):
        _synchronize(device)
        started = time.perf_counter()
        a @ a
        _synchronize(device)
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def _synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _start_peak(device: str) -> int | None:
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.memory_allocated())
    with contextlib.suppress(OSError, AttributeError):
        # Give freed memory back, or a second call would find room left by the first.
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with contextlib.suppress(OSError):
        # Linux: 5 sets the high-water mark back to what is held now.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return _status("VmRSS")
    return None


def _peak(device: str) -> int | None:
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated())
    return _status("VmHWM")


def _status(name: str) -> int | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None
