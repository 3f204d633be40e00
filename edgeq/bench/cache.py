"""What the bench downloads and compiles once: folders by content under the user's cache, each whole or absent."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from edgeq.errors import EdgeqError

__all__ = ["cache_folder", "cached", "content_key"]


def cache_folder() -> Path:
    """``$EDGEQ_CACHE``, else ``edgeq`` in ``$XDG_CACHE_HOME`` or ``~/.cache``; may not exist yet."""
    own = os.environ.get("EDGEQ_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeq"


def content_key(*parts: str | bytes) -> str:
    """A short name for what something is made from: the first 16 hex digits of a SHA-256 over the parts."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:16]


def cached(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder ``kind/key`` of the cache, made on first use.

    Two processes that make the same folder at once do no harm: the first to finish wins. What a killed one left behind
    is removed when the next folder of the kind is made.

    Args:
        kind: what is kept, such as ``sysroot``.
        key: of :func:`content_key`.
        make: fills an empty folder; what it raises leaves no trace in the cache.

    Raises:
        EdgeqError: the cache cannot be written.
    """
    folder = cache_folder() / kind / key
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(folder.parent)
        temporary, lock = _make_temporary(folder.parent, key)
    except OSError as error:
        raise EdgeqError(
            "the cache cannot be written", where=folder.parent, got=error.strerror, remedy="set EDGEQ_CACHE"
        ) from error
    try:
        make(temporary)
        temporary.chmod(0o755)
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if lock is not None:
            os.close(lock)
    return folder


# Whoever fills a temporary folder holds a lock on it, which ends with the process however that ends.


def _make_temporary(parent: Path, key: str) -> tuple[Path, int | None]:
    """An empty folder and the handle of its lock; None on a file system without locks, where nothing is stale."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=parent))
        try:
            lock = _lock(path)
        except OSError:
            return path, None
        if lock is not None:
            return path, lock
        # else another process took it for a stale one in between


def _remove_stale(parent: Path) -> None:
    for path in parent.glob(".*-*"):
        with contextlib.suppress(OSError):
            lock = _lock(path)
            if lock is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)


def _lock(path: Path) -> int | None:
    """The handle of a folder's lock; None where another has it or the folder is gone."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), os.stat(path)):
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        os.close(handle)
        raise
    os.close(handle)
    return None
