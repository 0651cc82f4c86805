"""Files that are whole or not there: atomic, durable replacement, and disk errors in one sentence."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from controller.errors import TransientError

_REMEDIES = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the quota is used up: free some space",
    errno.EFBIG: "the file may not grow further: raise the file size limit",
    errno.EROFS: "the file system is read-only: mount it writable",
    errno.EACCES: "permission denied: give this user write access",
    errno.EPERM: "permission denied: give this user write access",
    errno.EIO: "the device reported an input/output error: check the disk",
    errno.ENOTDIR: "a part of the path is a file, not a folder: choose another path",
    errno.EISDIR: "it is a folder, not a file: choose another path",
}


_AGAIN = "it is tried again at the next cycle"


def disk_error(error: OSError, path: Path, what: str, then: str = _AGAIN) -> TransientError:
    """What could not be written, where, what to do about it, and what comes `then`."""
    remedy = _REMEDIES.get(error.errno or 0, error.strerror or "the operating system refused")
    return TransientError(f"cannot write the {what} {path}: {remedy}; {then}")


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power loss. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_all(handle: int, content: bytes) -> None:
    """Write every byte, however many calls it takes. Raises OSError with a part possibly written."""
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]


def replace_file(path: Path, content: bytes, keep: Path | None = None) -> None:
    """Put `content` at `path` such that every reader, at every instant, sees the old or the new file, whole.

    With `keep`, the replaced file stays under that name. Raises OSError; `path` is then what it was.
    """
    fresh = path.with_name(f".{path.name}.new")
    try:
        _write_synced(fresh, content)
        if keep is not None and path.exists():
            _link_over(path, keep)
        fresh.replace(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise
    sync_folder(path.parent)


def _write_synced(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    try:
        write_all(handle, content)
        os.fsync(handle)
    finally:
        os.close(handle)


def _link_over(path: Path, name: Path) -> None:
    """Give the file at `path` the second name `name`, replacing what had it."""
    fresh = name.with_name(f".{name.name}.new")
    with suppress(FileNotFoundError):
        fresh.unlink()
    fresh.hardlink_to(path)
    fresh.replace(name)
