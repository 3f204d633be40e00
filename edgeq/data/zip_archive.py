"""Zip archives from outside, opened and read within limits. Nothing is written to disk."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Generator
from functools import partial
from pathlib import Path

from edgeq.data.limits import MAX_MEMBER_BYTES, MAX_MEMBERS, MAX_TOTAL_BYTES
from edgeq.data.members import Member, Source, member_name, shown
from edgeq.errors import DataError

__all__ = ["open_zip", "read_zip_member", "zip_source"]

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DEFLATE_MAX_RATIO = 1032  # zlib's technical notes: "the limit for the deflate format is 1032:1"


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip file and check its directory.

    Raises:
        DataError: unreadable, truncated, encrypted, too many or too large members, or an unknown compression.
    """
    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise DataError("cannot be read", where=path, got=error.strerror) from error
    except (
        Exception
    ) as error:  # zipfile raises what its parser trips over: struct.error, ValueError, NotImplementedError
        raise DataError("the zip file is truncated or corrupt", where=path, got=error) from error
    try:
        _check_directory(archive.infolist(), path)
    except DataError:
        archive.close()
        raise
    return archive


def _check_directory(infos: list[zipfile.ZipInfo], path: Path) -> None:
    if len(infos) > MAX_MEMBERS:
        raise DataError("too many members", where=path, got=len(infos), wanted=f"at most {MAX_MEMBERS}")
    total = sum(info.file_size for info in infos)
    if total > MAX_TOTAL_BYTES:
        raise DataError("too large when unpacked", where=path, got=total, wanted=f"at most {MAX_TOTAL_BYTES} bytes")
    for info in infos:
        name = shown(info.filename)
        if info.flag_bits & 1:
            raise DataError(
                "the zip file is encrypted", where=path, got=name, remedy="unpack it and pack it without one"
            )
        if info.compress_type not in _METHODS:
            raise DataError(
                "unknown zip compression", where=path, got=f"{name}: {info.compress_type}", wanted="stored or deflate"
            )
        if info.file_size > _DEFLATE_MAX_RATIO * info.compress_size + 1024:
            raise DataError(
                "a member's size is false",
                where=path,
                got=f"{name}: {info.compress_size} bytes that unpack to {info.file_size}",
                wanted=f"a ratio of at most {_DEFLATE_MAX_RATIO}",
            )
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError("a member is no plain file", where=path, got=name, wanted="files and folders, no links")


def read_zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> bytes:
    """The content of a member, never more than the directory says.

    Raises:
        DataError: too large, truncated, or a wrong checksum.
    """
    where = f"{path}: {shown(info.filename)}"
    if info.file_size > MAX_MEMBER_BYTES:
        raise DataError(
            "the file is too large", where=where, got=info.file_size, wanted=f"at most {MAX_MEMBER_BYTES} bytes"
        )
    try:
        with archive.open(info) as stream:
            content = stream.read(info.file_size + 1)
    except Exception as error:  # BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError
        raise DataError("the zip file is truncated or corrupt", where=where, got=error) from error
    if len(content) != info.file_size:
        raise DataError("the zip file is truncated or corrupt", where=where, got=len(content), wanted=info.file_size)
    return content


def zip_source(path: Path) -> Source:
    """The members of a zip file, by name.

    Raises:
        DataError: see :func:`open_zip`; an absolute path, ``..``.
    """
    archive = open_zip(path)
    try:
        named = [(member_name(info.filename.replace("\\", "/"), path), info) for info in archive.infolist()]
    except DataError:
        archive.close()
        raise
    kept = sorted(((name, info) for name, info in named if name is not None), key=lambda pair: pair[0])
    files = tuple(name for name, info in kept if not info.is_dir())

    def members() -> Generator[Member, None, None]:
        with archive:
            for name, info in kept:
                yield Member(name, info.is_dir(), int(not info.is_dir()), partial(read_zip_member, archive, info, path))

    return Source(path, len(files), files, members())
