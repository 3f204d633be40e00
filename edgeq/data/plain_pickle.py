"""Pickles from outside that may hold plain containers and numpy arrays of integers, and nothing else.

No code named in the file is ever called: the few globals that an array's pickle needs are answered by stand-ins of our
own, and opcodes are checked before the first one runs.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import DataError

__all__ = ["load_plain_pickle"]

_MAX_OPCODES = 2_000_000
_MAX_TUPLES = 1_000  # an array has four; deep nests of them overflow the stack when hashed
_TUPLES = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}
_OPCODES = {
    *_TUPLES,
    *_PUTS,
    *("PROTO", "FRAME", "STOP", "MARK", "POP", "GET", "BINGET", "LONG_BINGET", "MEMOIZE"),
    *("NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_TUPLE", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS"),
    *("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
}
_DTYPES = {"b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"}
_LATIN = {"latin1", "latin-1", "iso-8859-1"}


class _Dtype:
    """Stands for ``numpy.dtype('u1', 0, 1)`` and its state."""

    __slots__ = ("spec",)

    def __init__(self, spec: str) -> None:
        self.spec = spec

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = _text(state[1])
        if order not in ("|", "<", ">", "=") or any(part is not None for part in state[2:5]):
            raise ValueError("a structured dtype")
        self.spec = ("" if order in "|=" else order) + self.spec[-2:]


class _Array:
    """Stands for an array: empty when made, filled by its state; its bytes must be as many as its shape says."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: NDArray[np.generic] = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes) or not 1 <= len(shape) <= 4:
            raise ValueError("an array that is not of integers")
        if not all(type(side) is int and side >= 0 for side in shape):
            raise ValueError("an array of an impossible shape")
        flat = np.frombuffer(content, dtype.spec)
        self.value = flat.reshape(shape, order="F" if fortran else "C")


class _Global:
    """What a permitted global is answered with; it has no attribute that a pickle's BUILD could change."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise ValueError("a state for a global")


class _Reconstruct(_Global):
    __slots__ = ()

    def __call__(self, kind: object, shape: object, code: object) -> _Array:
        if not isinstance(kind, _NdArray):
            raise ValueError("an array of a foreign type")
        return _Array()


class _NdArray(_Global):
    __slots__ = ()


class _MakeDtype(_Global):
    __slots__ = ()

    def __call__(self, spec: object, align: object = 0, copy: object = 1) -> _Dtype:
        name = _text(spec)
        if name not in _DTYPES:
            raise ValueError(f"an array of dtype {name[:20]!r}, wanted integers")
        return _Dtype(name)


class _Encode(_Global):
    """``_codecs.encode``, in which Python 3 wraps bytes for protocol 2."""

    __slots__ = ()

    def __call__(self, text: object, encoding: object) -> bytes:
        if not isinstance(text, str) or encoding not in _LATIN:
            raise ValueError("bytes in an encoding other than latin1")
        return text.encode("latin1")


class _EmptyBytes(_Global):
    """``bytes()``, as Python 3 writes b"" for protocol 2."""

    __slots__ = ()

    def __call__(self) -> bytes:
        return b""


_GLOBALS: dict[tuple[str, str], _Global] = {
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy._core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy", "ndarray"): _NdArray(),
    ("numpy", "dtype"): _MakeDtype(),
    ("_codecs", "encode"): _Encode(),
    ("__builtin__", "bytes"): _EmptyBytes(),
}


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, content: bytes, where: str) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._where = where

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        found = _GLOBALS.get((module_name, global_name))
        if found is None:
            raise DataError(
                "the pickle asks for code",
                where=self._where,
                got=ascii(f"{module_name}.{global_name}"[:80]),
                wanted="numpy arrays of integers, lists, dicts, strings",
                remedy="do not load it elsewhere either, unless you know who wrote it",
            )
        return found


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin1")
    if not isinstance(value, str):
        raise ValueError("a name that is no string")
    return value


def _check_opcodes(content: bytes) -> None:
    """Refuse opcodes that plain data does not need, and those by which a small file takes much memory."""
    tuples = 0
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if opcode.name not in _OPCODES:
            raise ValueError(f"opcode {opcode.name}")
        tuples += opcode.name in _TUPLES
        if count > _MAX_OPCODES or tuples > _MAX_TUPLES:
            raise ValueError("too many objects")
        if opcode.name in _PUTS and not (isinstance(argument, int) and 0 <= argument <= _MAX_OPCODES):
            raise ValueError("a memo index out of range")  # the unpickler allocates up to the index


def load_plain_pickle(content: bytes, where: str) -> dict[str, Any]:
    """Unpickle a dictionary of strings to plain values and arrays, as CIFAR-10's Python batches are.

    Args:
        content: the file; the caller bounds its size.
        where: the file, for messages.

    Returns:
        The dictionary with its keys as str; integer arrays as numpy arrays, Python 2 strings as bytes.

    Raises:
        DataError: no pickle, truncated, not such a dictionary, or it names a global that data does not need.
    """
    try:
        _check_opcodes(content)
        loaded = _PlainUnpickler(content, where).load()
        if not isinstance(loaded, dict):
            raise ValueError(f"a {type(loaded).__name__} and no dictionary")
        return {_text(key): value.value if isinstance(value, _Array) else value for key, value in loaded.items()}
    except DataError:
        raise
    except Exception as error:  # a broken pickle raises whatever its opcodes run into
        raise DataError("is no pickle of plain data", where=where, got=ascii(str(error))[1:-1]) from error
