"""IDX files, as MNIST and its relatives come: pairs of images and labels, plain or gzipped."""

from __future__ import annotations

import math
import re
import struct
import zlib

import numpy as np
import torch
from numpy.typing import NDArray

from edgeq.data.image_data import ImageData
from edgeq.data.limits import MAX_MEMBER_BYTES
from edgeq.data.members import Member, Source
from edgeq.errors import DataError

__all__ = ["IdxReader", "is_idx_file"]

_FILE = re.compile(r"(?:\w+-){0,3}(?P<split>train|test|t10k)-(?P<what>images|labels)[-.]idx[13]-ubyte(?:\.gz)?")
_FOLDERS = 2  # around the files: torchvision has MNIST/raw
_GZIP = b"\x1f\x8b"
_BYTES = 8  # the type code of unsigned bytes
_DIMENSIONS = {"images": 3, "labels": 1}


def _match(name: str) -> re.Match[str] | None:
    return _FILE.fullmatch(name.rsplit("/", 1)[-1]) if name.count("/") <= _FOLDERS else None


def is_idx_file(name: str) -> bool:
    """Whether a file is named as MNIST's are: ``train-images-idx3-ubyte``, ``t10k-labels-idx1-ubyte.gz``."""
    return _match(name) is not None


class IdxReader:
    """Takes the files one by one and makes an :class:`ImageData` of them at the end.

    Source: http://yann.lecun.com/exdb/mnist, "The IDX file format".
    """

    def __init__(self, source: Source) -> None:
        self._where = source.path
        self._found: dict[tuple[str, str], NDArray[np.uint8]] = {}
        self.count = 0

    def add(self, member: Member) -> None:
        """Read one file of the set; a second one must hold the same, as where a .gz lies beside what came out of it.

        Raises:
            DataError: it is not what its name says, or two files differ.
        """
        match = _match(member.name)
        assert match is not None, "the caller asks is_idx_file first"
        where = f"{self._where}: {member.name}"
        array = _parse(_plain(member.read(), where), _DIMENSIONS[match["what"]], where)
        key = ("train" if match["split"] == "train" else "test", match["what"])
        self.count += 1
        if not np.array_equal(self._found.setdefault(key, array), array):
            raise DataError(f"there are two different files of {key[0]} {key[1]}", where=where)

    def finish(self) -> ImageData:
        """The data set: grey images uint8 [N, 1, H, W], classes by number, not to be mirrored.

        Raises:
            DataError: a file is missing, or images and labels do not fit.
        """
        for split in ("train", "test"):
            for what in _DIMENSIONS:
                if (split, what) not in self._found:
                    wanted = f"{'train' if split == 'train' else 't10k'}-{what}-idx{_DIMENSIONS[what]}-ubyte[.gz]"
                    raise DataError(f"the {what} for {split} are missing", where=self._where, wanted=wanted)
        labels = {split: self._found[split, "labels"].astype(np.int64) for split in ("train", "test")}
        classes = 1 + max(int(part.max(initial=0)) for part in labels.values())
        images = {split: torch.from_numpy(self._found[split, "images"]).unsqueeze(1) for split in ("train", "test")}
        return ImageData(
            name=self._where.resolve().name,
            train_images=images["train"],
            train_labels=torch.from_numpy(labels["train"]),
            test_images=images["test"],
            test_labels=torch.from_numpy(labels["test"]),
            classes=tuple(map(str, range(classes))),
            mirrors=False,
        )


def _plain(content: bytes, where: str) -> bytes:
    """What is in a gzip file, no more than a file may hold; other content as it is."""
    if not content.startswith(_GZIP):
        return content
    unpack = zlib.decompressobj(wbits=31)
    try:
        plain = unpack.decompress(content, MAX_MEMBER_BYTES + 1)
    except zlib.error as error:
        raise DataError("the gzip file is corrupt", where=where, got=error) from error
    if len(plain) > MAX_MEMBER_BYTES:
        raise DataError("too large when unpacked", where=where, wanted=f"at most {MAX_MEMBER_BYTES} bytes")
    if not unpack.eof:
        raise DataError("the gzip file is truncated", where=where)
    return plain


def _parse(content: bytes, dimensions: int, where: str) -> NDArray[np.uint8]:
    """Two zero bytes, a type, the number of dimensions, their sizes as 32-bit big-endian numbers, the values."""
    head = 4 + 4 * dimensions
    if len(content) < head or content[:4] != bytes([0, 0, _BYTES, dimensions]):
        wanted = f"0000{_BYTES:02x}{dimensions:02x}, unsigned bytes of {dimensions} dimensions"
        raise DataError("is no IDX file of this kind", where=where, got=content[:4].hex() or "nothing", wanted=wanted)
    shape = struct.unpack(f">{dimensions}I", content[4:head])
    if math.prod(shape) != len(content) - head:
        got, wanted = f"{len(content) - head} bytes of values", f"{math.prod(shape)} for {list(shape)}"
        raise DataError("the IDX file is truncated or too long", where=where, got=got, wanted=wanted)
    return np.frombuffer(bytearray(content), np.uint8, offset=head).reshape(shape)
