"""Numbers and blobs in a byte stream: what a package is written to and, from outside and hostile, read from."""

from __future__ import annotations

import lzma
import zlib

from edgeq.errors import FormatError

__all__ = ["MOST_BYTES", "Reader", "Writer", "smallest_blob"]

STORED, DEFLATE, LZMA = range(3)
MOST_BYTES = 2**31 - 1  # of a part, as of a .tflite file
LZMA_DICTIONARY = 1 << 26  # what a decoder sets aside at most: the format's, not the file's choice
LZMA_TRIED = 1 << 22  # bytes: beyond that it takes seconds


class Writer:
    """Appends."""

    def __init__(self) -> None:
        self.content = bytearray()

    def number(self, value: int) -> None:
        """A number from 0, seven bits a byte, the lowest first."""
        while value > 127:
            self.content.append(value & 127 | 128)
            value >>= 7
        self.content.append(value)

    def raw(self, content: bytes) -> None:
        self.content += content

    def blob(self, content: bytes) -> None:
        """Bytes whose number the reader knows, in whichever form is smallest."""
        form, packed = smallest_blob(content)
        self.content.append(form)
        if form != STORED:
            self.number(len(packed))
        self.raw(packed)


class Reader:
    """Reads what :class:`Writer` wrote.

    Args:
        content: the stream.
        where: its name, for messages.
    """

    def __init__(self, content: bytes, where: str) -> None:
        self.content, self.where, self.position = content, where, 0

    def fail(self, what: str = "is damaged", got: object = None, wanted: object = None) -> FormatError:
        return FormatError(what, where=self.where, got=got, wanted=wanted)

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return len(self.content) - self.position

    def number(self, most: int) -> int:
        """A number from 0 to ``most``."""
        value = shift = 0
        while True:
            byte = self.raw(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
            if shift > 63:
                raise self.fail()
        if value > most:
            raise self.fail("is damaged: a number is out of range", got=value, wanted=f"at most {most}")
        return value

    def raw(self, size: int) -> bytes:
        if size > self.left:
            raise self.fail("is truncated", got=f"{self.left} bytes", wanted=size)
        self.position += size
        return self.content[self.position - size : self.position]

    def blob(self, size: int) -> bytes:
        """So many bytes, as :meth:`Writer.blob` wrote them."""
        form = self.raw(1)[0]
        if form == STORED:
            return self.raw(size)
        packed = self.raw(self.number(MOST_BYTES))
        try:
            if form == DEFLATE:
                content = zlib.decompressobj(-15).decompress(packed, size + 1)
            elif form == LZMA:
                content = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_lzma_filters(size)).decompress(
                    packed, size + 1
                )
            else:
                raise self.fail("is damaged: an unknown form", got=form)
        except (zlib.error, lzma.LZMAError, EOFError) as error:
            raise self.fail("is damaged", got=error) from error
        if len(content) != size:
            raise self.fail("is damaged: a part has another size", got=len(content), wanted=size)
        return content


def smallest_blob(content: bytes) -> tuple[int, bytes]:
    """The form, and the bytes in that form."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    tried = [(STORED, content), (DEFLATE, deflate.compress(content) + deflate.flush())]
    if len(content) <= LZMA_TRIED:
        tried.append((LZMA, lzma.compress(content, lzma.FORMAT_RAW, filters=_lzma_filters(len(content)))))
    return min(tried, key=lambda form: len(form[1]) + (form[0] != STORED))


def _lzma_filters(size: int) -> list[dict[str, int]]:
    """LZMA tuned to 32-bit words, which is what a flatbuffer is made of."""
    dictionary = max(4096, min(size, LZMA_DICTIONARY))
    return [{"id": lzma.FILTER_LZMA1, "preset": 9, "dict_size": dictionary, "lc": 0, "lp": 2, "pb": 2}]
