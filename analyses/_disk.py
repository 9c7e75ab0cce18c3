"""What a disk may do to a run: be full, or lie on a network where locks do not hold."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NETWORK_TYPES = frozenset(
    (
        *("9p", "afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs"),
        *("nfs", "nfs4", "ocfs2", "orangefs", "pvfs2", "smb3", "smbfs"),
        *("fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs"),
    )
)
"""File systems on which SQLite's locks are not to be trusted."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFullError(OSError):
    """There is no room for what has to be written; the text is one line."""


@contextmanager
def full_disk_said(folder: Path) -> Iterator[None]:
    """Turn whatever a full disk raises into one line that says what to do.

    Raises:
        DiskFullError: If the disk is full or a quota is used up.
    """
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        if not is_full(error):
            raise
        raise DiskFullError(
            f"the disk that holds {str(folder)!r} is full; free some space and give the same "
            "command again: what is finished is kept"
        ) from error


def is_full(error: BaseException) -> bool:
    """Whether an error says that there is no room left."""
    if isinstance(error, sqlite3.OperationalError):
        return "full" in str(error)
    return isinstance(error, DiskFullError) or (isinstance(error, OSError) and error.errno in _FULL)


def network_type(folder: Path, mounts: Path = Path("/proc/mounts")) -> str | None:
    """Type of the network file system that holds the folder; None where it is a local disk.

    None also where the system does not tell.
    """
    if not mounts.is_file():
        return None
    place = folder.expanduser().resolve()
    found, longest = None, -1
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        _, point, kind, *_ = line.split(" ")
        at = Path(point.replace(r"\040", " "))
        # Of two mounts at one point the later one is seen.
        if place.is_relative_to(at) and len(at.parts) >= longest:
            found, longest = kind, len(at.parts)
    return found if found in NETWORK_TYPES else None
