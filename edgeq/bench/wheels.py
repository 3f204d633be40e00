"""Files out of another machine's Python wheels, downloaded by pip as it is set up here and kept in the cache."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeq.bench.cache import cached, content_key
from edgeq.errors import EdgeqError, FormatError
from edgeq.progress import Progress

__all__ = ["Wheel", "wheel_members"]

DOWNLOAD_S = 600
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Wheel:
    """One file of a package index.

    Attributes:
        project, version: of the package.
        platforms: tags of the machines it may be built for, the one to prefer first.
        python: version of the interpreter it is for, such as ``3.11``.
    """

    project: str
    version: str
    platforms: tuple[str, ...]
    python: str

    def __str__(self) -> str:
        return f"{self.project} {self.version} for {self.platforms[0]}"


def wheel_members(wheel: Wheel, members: Mapping[str, int], progress: Progress) -> Path:
    """A folder of the cache with some files of a wheel, under their names in it.

    Args:
        wheel: which.
        members: the names, and the most bytes that each may have.
        progress: told when there is something to download.

    Raises:
        EdgeqError: pip cannot get it.
        FormatError: it is no whole zip, a file is missing or larger than allowed.
    """

    def make(folder: Path) -> None:
        progress.note(f"downloading {wheel}")
        temporary_folder = tempfile.TemporaryDirectory(prefix="edgeq-wheel-")
        with progress.task(f"download {wheel.project}", 0), temporary_folder as temporary:
            _unpack(_download(wheel, Path(temporary)), members, folder)

    key = content_key(wheel.project, wheel.version, *wheel.platforms, wheel.python, *sorted(members))
    return cached("wheel", key, make)


def _download(wheel: Wheel, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--implementation=cp", f"--python-version={wheel.python}"]
    command += [*(f"--platform={tag}" for tag in wheel.platforms), f"--dest={folder}"]
    command += [f"{wheel.project}=={wheel.version}"]
    remedy = "check the network and pip's index, then try again"
    try:
        done = subprocess.run(command, capture_output=True, timeout=DOWNLOAD_S, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise EdgeqError(f"no answer within {DOWNLOAD_S} s", where=f"download of {wheel}", remedy=remedy) from error
    except OSError as error:
        raise EdgeqError("pip does not start", where=f"download of {wheel}", got=error, remedy=remedy) from error
    found = sorted(folder.glob("*.whl"))
    if done.returncode or len(found) != 1:
        raise EdgeqError("pip cannot download it", where=str(wheel), got=_complaint(done.stderr), remedy=remedy)
    return found[0]


def _complaint(stderr: bytes) -> str:
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return ([*errors, *lines] or ["no message"])[0][:300]


def _unpack(path: Path, members: Mapping[str, int], folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            for name, limit in members.items():
                _copy(archive, name, limit, folder / name)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise FormatError("no whole wheel", where=path.name, got=error, remedy="try again") from error


def _copy(archive: zipfile.ZipFile, name: str, limit: int, target: Path) -> None:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise FormatError("the wheel lacks a file", where=archive.filename, wanted=name) from None
    if info.file_size > limit:
        raise FormatError("a file of the wheel is too large", where=name, got=info.file_size, wanted=f"<= {limit}")
    target.parent.mkdir(parents=True, exist_ok=True)
    left = info.file_size  # what the header says is not to be trusted while unpacking either
    with archive.open(info) as source, target.open("wb") as out:
        while chunk := source.read(CHUNK_BYTES):
            left -= len(chunk)
            if left < 0:
                raise FormatError("a file of the wheel is larger than it says", where=name)
            out.write(chunk)
