"""Whether the process that owns a cell is still there."""

import os
import socket
from pathlib import Path


def is_alive(owner: str) -> bool:
    """False only where the owner, ``host:pid:random``, ran on this machine and is gone.

    Of a process on another machine nothing is known; its lease decides.
    """
    host, pid, _ = owner.rsplit(":", 2)
    # On Windows signal 0 is no question but an interrupt.
    if host != socket.gethostname() or os.name != "posix":
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(int(pid))


def _is_zombie(pid: int) -> bool:
    """Whether it was killed and its parent has not asked how it ended: it computes no more."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    # The name in brackets may hold anything, brackets too.
    return status.rpartition(")")[2].split()[:1] == ["Z"]
