"""The package file: the constants of a .tflite file each coded for itself, the rest as one blob, and a fingerprint.

    "EQPK", a byte of version, the file's size, its SHA-256,
    the number of parts and of each: bytes since the last, size in bytes (times 2), its constant; or, for the scales of
    biases (size times 2 plus 1), the part whose scales they are times a float32,
    the bytes between the parts as one blob.

Numbers take seven bits a byte. Packing checks itself by unpacking. See docs/how-to/pack.md.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from edgeq.file_kind import PACKAGE_MARK
from edgeq.packing.codes import Coded
from edgeq.packing.numbers import read_constant, write_constant
from edgeq.packing.parts import Part, find_parts
from edgeq.packing.stream import MOST_BYTES, Reader, Writer

__all__ = ["MAGIC", "Packed", "PackedPart", "pack_bytes", "unpack_bytes"]

MAGIC = PACKAGE_MARK
VERSION = 1
MOST_TIMES = 1024  # a package of a real network unpacks to less than this many times its size ...
ALWAYS_BYTES = 1 << 24  # ... or to less than this


@dataclass(frozen=True, slots=True)
class PackedPart:
    """A part, what it takes in the package, and in what form."""

    part: Part
    packed_bytes: int
    form: str
    distinct: int
    used: int


@dataclass(frozen=True, slots=True)
class Packed:
    """A package in memory.

    Attributes:
        content: the package.
        parts: what became of each part.
        rest_bytes, rest_packed_bytes: of what is no part: names, shapes, operations, metadata, labels.
    """

    content: bytes
    parts: tuple[PackedPart, ...]
    rest_bytes: int
    rest_packed_bytes: int


def pack_bytes(content: bytes, *, where: str = "model") -> Packed:
    """Pack a .tflite file.

    Args:
        content: the file.
        where: its name, for messages.

    Returns:
        The package, which unpacks to the very same bytes: that has been tried.

    Raises:
        FormatError: it is no TFLite file, or damaged.
    """
    parts, products = find_parts(content, where)
    writer = Writer()
    writer.raw(MAGIC)
    writer.number(VERSION)
    writer.number(len(content))
    writer.raw(hashlib.sha256(content).digest())
    writer.number(len(parts))
    packed, rest, end = [], bytearray(), 0
    for i, part in enumerate(parts):
        rest += content[end : part.offset]
        before = len(writer.content)
        writer.number(part.offset - end)
        end = part.offset + part.size
        if i in products:
            index, factor = products[i]
            writer.number(2 * part.size + 1)
            writer.number(index)
            writer.raw(np.float32(factor).tobytes())
            coded, form = Coded(0, 0, part.values), "product of scales"
        else:
            writer.number(2 * part.size)
            coded = write_constant(writer, np.frombuffer(content, np.uint8, part.size, part.offset), part.kind)
            form = coded.words
        packed.append(PackedPart(part, len(writer.content) - before, form, coded.distinct, coded.used))
    rest += content[end:]
    before = len(writer.content)
    writer.blob(bytes(rest))
    package = bytes(writer.content)
    if unpack_bytes(package, where=where) != content:
        raise AssertionError(f"{where}: the package does not unpack to the file")
    return Packed(package, tuple(packed), len(rest), len(package) - before)


def unpack_bytes(package: bytes, *, where: str = "package") -> bytes:
    """The .tflite file in a package.

    Raises:
        FormatError: it is no package, of a later version, truncated or damaged.
    """
    reader = Reader(package, where)
    if package[: len(MAGIC)] != MAGIC:
        raise reader.fail("is no edgeq package", got=repr(package[: len(MAGIC)]), wanted=repr(MAGIC))
    reader.raw(len(MAGIC))
    version = reader.number(2**32)
    if version != VERSION:
        raise reader.fail("is a package of another version", got=version, wanted=VERSION)
    size = reader.number(2**63)
    most = min(MOST_BYTES, max(ALWAYS_BYTES, MOST_TIMES * len(package)))
    if size > most:
        raise reader.fail("says that it unpacks to more than a network of its size would", got=size, wanted=most)
    digest = reader.raw(hashlib.sha256().digest_size)
    content = _unpacked(reader, size)
    if reader.left:
        raise reader.fail("is damaged: bytes are left over", got=reader.left)
    if hashlib.sha256(content).digest() != digest:
        raise reader.fail("is damaged: the SHA-256 of its content is another")
    return content


def _unpacked(reader: Reader, size: int) -> bytes:
    content = np.zeros(size, np.uint8)
    is_rest = np.ones(size, bool)
    places: list[slice] = []
    products: list[tuple[int, int, np.float32]] = []
    end = 0
    for i in range(reader.number(reader.left)):
        begin = end + reader.number(size - end)
        length, is_product = divmod(reader.number(2 * (size - begin) + 1), 2)
        end = begin + length
        if not length or end > size:
            raise reader.fail("is damaged: a part has no place", got=length)
        places.append(slice(begin, end))
        is_rest[begin:end] = False
        if is_product:
            products.append((i, reader.number(reader.left), np.frombuffer(reader.raw(4), "<f4")[0]))
        else:
            content[begin:end] = read_constant(reader, length)
    content[is_rest] = np.frombuffer(reader.blob(int(is_rest.sum())), np.uint8)
    multiplied = {i for i, _, _ in products}
    for i, given, factor in products:
        if given >= len(places) or given in multiplied or places[given].stop - places[given].start != _size(places[i]):
            raise reader.fail("is damaged: scales of no part", got=given)
        with np.errstate(all="ignore"):
            scales = factor * np.frombuffer(content[places[given]].tobytes(), "<f4")
        content[places[i]] = np.frombuffer(scales.tobytes(), np.uint8)
    return content.tobytes()


def _size(place: slice) -> int:
    return int(place.stop - place.start)
