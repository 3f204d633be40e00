"""Where the data files that ship with edgeq lie: inside the package in a wheel, beside it in a checkout."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Literal

from edgeq.errors import RecipeError

__all__ = ["DataKind", "data_folder", "data_names", "find_data_file"]

DataKind = Literal["targets", "calibration"]

_WORDS: dict[DataKind, str] = {"targets": "target", "calibration": "calibration recipe"}
_BARE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def data_folder(kind: DataKind) -> Path:
    """The folder of the TOML files (and, for targets, C sources) that ship with edgeq.

    Raises:
        RecipeError: the installation has lost it.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "_data" / kind, package.parent / kind):
        if folder.is_dir():
            return folder
    raise RecipeError(f"edgeq's own {kind} folder is missing", where=package, remedy="install edgeq again")


def data_names(kind: DataKind) -> list[str]:
    """The names that :func:`find_data_file` knows, sorted."""
    return sorted(path.stem for path in data_folder(kind).glob("*.toml"))


def find_data_file(kind: DataKind, name_or_path: str) -> Path:
    """The TOML file that a name, or a path to one's own file, stands for.

    Args:
        kind: what is looked for.
        name_or_path: a name of :func:`data_names`, or a path; what has a slash or ends in ``.toml`` is a path.

    Raises:
        RecipeError: no such name (the message has the nearest and all known ones), or no such file.
    """
    word = _WORDS[kind]
    if "/" in name_or_path or "\\" in name_or_path or name_or_path.endswith(".toml"):
        path = Path(name_or_path)
        if not path.is_file():
            raise RecipeError(f"no such {word} file", where=repr(name_or_path), remedy="check the path")
        return path
    names = data_names(kind)
    if _BARE_NAME.fullmatch(name_or_path) and name_or_path in names:
        return data_folder(kind) / f"{name_or_path}.toml"
    near = difflib.get_close_matches(name_or_path, names, n=1, cutoff=0.4)
    known = f"known: {', '.join(names)}; or give a path to a .toml file"
    remedy = f"did you mean {near[0]}? {known}" if near else known
    raise RecipeError(f"unknown {word}", got=repr(name_or_path), remedy=remedy)
