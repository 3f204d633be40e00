"""What a runner needs to start as ARM code: a record between whoever puts it together and whoever emulates it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["GuestProgram"]


@dataclass(frozen=True)
class GuestProgram:
    """A runner that takes a job file as its last argument, and all it needs around it.

    Attributes:
        program: what is emulated.
        arguments: before the job file.
        root: folder in which the program's absolute paths are looked up first.
        library_folders: of shared libraries, besides those of the root.
        environment: variables that the program must see.
        symbols: files whose symbols name its kernels.
    """

    program: Path
    arguments: tuple[str, ...]
    root: Path
    library_folders: tuple[Path, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    symbols: tuple[Path, ...] = ()
