"""The machine in words, without a path, a host name or a user in them."""

import os
import platform
from pathlib import Path


def describe(*, threads: int, device: str) -> dict[str, str | int]:
    """Processor, cores, memory, system, threads and, where used, the GPU."""
    said: dict[str, str | int] = {
        "cpu": _processor(),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(_memory() / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "threads": threads,
        "device": device,
    }
    if device.startswith("cuda"):
        import torch

        said["gpu"] = torch.cuda.get_device_name(device)
    return said


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _memory() -> int:
    if not hasattr(os, "sysconf"):
        return 0
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
