"""Tar archives from outside, plain or compressed, read as a stream in one pass. Nothing is written to disk."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from edgeq.data.limits import MAX_MEMBER_BYTES, MAX_MEMBERS, MAX_TOTAL_BYTES
from edgeq.data.members import Member, Source, member_name, shown
from edgeq.errors import DataError

__all__ = ["tar_source"]

_CHUNK = 1 << 18
_HEADER_BYTES = 1 << 22  # what may be read between two members: a pax or long-name header, and the reader's block
_TRAILER_BYTES = 1 << 24  # what may follow the end mark: tape padding
_XZ_MEMORY_BYTES = 1 << 30  # xz -9 needs 65 MiB


class _Reads(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _XzStream:
    """An .xz file unpacked with a memory limit, which :mod:`lzma`'s file objects do not offer."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._unpack = lzma.LZMADecompressor(memlimit=_XZ_MEMORY_BYTES)

    def read(self, size: int, /) -> bytes:
        while True:
            data = b""
            if self._unpack.eof:
                data = self._unpack.unused_data.lstrip(b"\0") or self._raw.read(_CHUNK).lstrip(b"\0")
                if not data:
                    return b""
                self._unpack = lzma.LZMADecompressor(memlimit=_XZ_MEMORY_BYTES)
            elif self._unpack.needs_input and not (data := self._raw.read(_CHUNK)):
                raise EOFError("the compressed data ends too early")
            if content := self._unpack.decompress(data, size):
                return content


class _Bounded:
    """A stream that counts what it hands out and refuses more than was allowed."""

    def __init__(self, stream: _Reads, path: Path) -> None:
        self._stream = stream
        self._path = path
        self.delivered = 0
        self.allowed = _HEADER_BYTES

    def read(self, size: int = -1, /) -> bytes:
        if self.delivered > self.allowed:
            raise DataError("a header is too large", where=self._path, wanted=f"at most {_HEADER_BYTES} bytes")
        if self.delivered > MAX_TOTAL_BYTES:
            raise DataError("too large when unpacked", where=self._path, wanted=f"at most {MAX_TOTAL_BYTES} bytes")
        content = self._stream.read(size if 0 < size < _CHUNK else _CHUNK)
        self.delivered += len(content)
        return content


class _StrictTarInfo(tarfile.TarInfo):
    """Headers read as :mod:`tarfile` does, but a bad or missing one is an error and not a silent end."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> _StrictTarInfo:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the mark that ends a whole tar
            raise
        except tarfile.HeaderError as error:
            raise EOFError(f"no end mark: {error}") from error


class _Tar(tarfile.TarFile):
    """Says that ``members`` is there; it is emptied on the way, or every header would stay in memory."""

    members: list[tarfile.TarInfo]


def _unpacked(raw: BinaryIO) -> _Reads:
    """The stream inside, after the compression that its first bytes tell."""
    magic = raw.read(6)
    raw.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=raw)
    if magic.startswith(b"BZh"):
        return bz2.BZ2File(raw)
    return _XzStream(raw) if magic == b"\xfd7zXZ\0" else raw


def _checked(info: tarfile.TarInfo, path: Path) -> str | None:
    """The clean name of a member; None for one to pass over."""
    name = member_name(info.name, path)
    if info.isdir() or (info.isreg() and not info.issparse()):
        return name
    kind = "link" if info.issym() or info.islnk() else "sparse file" if info.issparse() else "device"
    raise DataError(f"a member is a {kind}", where=path, got=shown(info.name), wanted="files and folders only")


def _read(tar: _Tar, info: tarfile.TarInfo, path: Path) -> bytes:
    where = f"{path}: {shown(info.name)}"
    if info.size > MAX_MEMBER_BYTES:
        raise DataError("the file is too large", where=where, got=info.size, wanted=f"at most {MAX_MEMBER_BYTES} bytes")
    try:
        stream = tar.extractfile(info)
        content = stream.read() if stream else b""
    except DataError:
        raise
    except Exception as error:  # ReadError, EOFError, OSError, zlib.error, LZMAError: each decompressor has its own
        raise DataError("the archive is truncated or corrupt", where=where, got=error) from error
    if len(content) != info.size:
        raise DataError("the archive is truncated", where=where, got=len(content), wanted=f"{info.size} bytes")
    return content


def tar_source(path: Path) -> Source:
    """The members of a tar file, plain or compressed by gzip, bzip2 or xz, in the file's order.

    The members raise DataError: truncated or corrupt (told after which member), an absolute path, ``..``, a link, a
    device, too many or too large members.

    Raises:
        DataError: the file cannot be opened.
    """
    try:
        raw = path.open("rb")
    except OSError as error:
        raise DataError("cannot be read", where=path, got=error.strerror) from error
    return Source(path, path.stat().st_size, None, _members(raw, path))


def _members(raw: BinaryIO, path: Path) -> Generator[Member, None, None]:
    position = 0
    with raw:
        stream = _Bounded(_unpacked(raw), path)
        for tar, info in _headers(stream, path):
            name = _checked(info, path)
            if name is not None:
                units, position = raw.tell() - position, raw.tell()
                yield Member(name, info.isdir(), units, partial(_read, tar, info, path))


def _headers(stream: _Bounded, path: Path) -> Iterator[tuple[_Tar, tarfile.TarInfo]]:
    """The headers one by one, up to the end mark, and then the end of the stream."""
    tar, last, count = None, "its start", 0
    while True:
        try:
            if tar is None:  # in here, as it reads the first header
                tar = _Tar.open(fileobj=cast("Any", stream), mode="r|", tarinfo=_StrictTarInfo)
            info = tar.next()
            if info is None:
                _drain(stream)
                return
        except DataError:
            raise
        except Exception as error:  # as in _read; a bad header can also raise ValueError, LookupError, RecursionError
            raise DataError("the archive is truncated or corrupt", where=f"{path}, after {last}", got=error) from error
        last, count = shown(info.name), count + 1
        if count > MAX_MEMBERS:
            raise DataError("too many members", where=path, wanted=f"at most {MAX_MEMBERS}")
        tar.members.clear()
        stream.allowed = stream.delivered + info.size + _HEADER_BYTES
        yield tar, info


def _drain(stream: _Bounded) -> None:
    """Read what follows the end mark, so that the decompressor reaches and checks its checksum."""
    stream.allowed = stream.delivered + _TRAILER_BYTES
    while stream.read(_CHUNK):
        pass
