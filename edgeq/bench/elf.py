"""The code and the function symbols of an ELF file, 32 or 64 bits, little-endian. Nothing of it is loaded or run.

The files come out of downloaded packages, so every offset is checked against the file before it is followed.

Source: System V Application Binary Interface, chapter 4 (object files); ELF for the Arm Architecture, section 5.5.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeq.errors import FormatError

__all__ = ["EM_AARCH64", "EM_ARM", "CodeSection", "ElfFile", "Function", "read_elf"]

EM_ARM, EM_AARCH64 = 40, 183
MAX_FILE_BYTES = 1 << 28
MAX_SYMBOLS = 1 << 20
MAX_NAME_BYTES = 1 << 13

_SHT_PROGBITS, _SHT_SYMTAB, _SHT_STRTAB, _SHT_DYNSYM = 1, 2, 3, 11
_SHF_EXECINSTR = 4
_STT_FUNC, _STT_GNU_IFUNC = 2, 10


@dataclass(frozen=True, slots=True)
class Function:
    """A function symbol: its name as in the file, its first byte in the file, and its size in bytes."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class CodeSection:
    """A section of instructions: its first byte in the file, and its bytes."""

    offset: int
    code: bytes


@dataclass(frozen=True, slots=True)
class ElfFile:
    """What is of interest in an ELF file.

    Attributes:
        machine: ``e_machine``.
        sections: those with instructions, by offset.
        functions: symbols in these sections, by offset; several may share one.
    """

    machine: int
    sections: tuple[CodeSection, ...]
    functions: tuple[Function, ...]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the fields of a class of ELF files lie."""

    header: struct.Struct  # e_shoff, e_shentsize, e_shnum after what is skipped
    section: struct.Struct  # sh_type, sh_flags, sh_addr, sh_offset, sh_size, sh_link, sh_entsize
    symbol: struct.Struct
    symbol_fields: tuple[int, int, int, int, int]  # of name, info, shndx, value, size


_Format = struct.Struct
_LAYOUTS = {
    1: _Layout(_Format("<32xI10xHH2x"), _Format("<4xIIIIII8xI"), _Format("<IIIBBH"), (0, 3, 5, 1, 2)),
    2: _Layout(_Format("<40xQ10xHH2x"), _Format("<4xIQQQQI12xQ"), _Format("<IBBHQQ"), (0, 1, 3, 4, 5)),
}


@dataclass(frozen=True, slots=True)
class _Section:
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    entry_size: int


def read_elf(path: Path) -> ElfFile:
    """Read a program or shared library.

    Raises:
        FormatError: no little-endian ELF file, a table beyond its end, or more than this reader takes.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise FormatError("too large", where=path, got=size, wanted=f"at most {MAX_FILE_BYTES} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise FormatError("cannot be read", where=path, got=error.strerror) from error
    try:
        return _parse(data)
    except FormatError as error:
        raise FormatError(error.what, where=path, got=error.got, wanted=error.wanted) from error


def _parse(data: bytes) -> ElfFile:
    layout = _LAYOUTS.get(data[4]) if len(data) > 5 else None
    if data[:4] != b"\x7fELF" or layout is None or data[5] != 1 or len(data) < layout.header.size:
        raise FormatError("no little-endian ELF file")
    (machine,) = struct.unpack_from("<H", data, 18)
    table, entry_size, count = layout.header.unpack_from(data)
    if count and entry_size != layout.section.size:
        raise FormatError("odd size of a section header", got=entry_size, wanted=layout.section.size)
    headers = _part(data, table, count * entry_size, "section headers")
    sections = [_Section(*fields) for fields in layout.section.iter_unpack(headers)]
    code = {i: section for i, section in enumerate(sections) if _is_code(section)}
    tables = [section for section in sections if section.kind in (_SHT_SYMTAB, _SHT_DYNSYM)]
    if len(tables) != len({section.kind for section in tables}) or sum(item.size for item in code.values()) > len(data):
        raise FormatError("sections that no linker writes")  # they would be read over and over
    pieces = [CodeSection(item.offset, _part(data, item.offset, item.size, "code")) for item in code.values()]
    functions = {item for table in tables for item in _functions(data, sections, table, code, machine, layout)}
    return ElfFile(
        machine,
        tuple(sorted(pieces, key=lambda piece: piece.offset)),
        tuple(sorted(functions, key=lambda item: (item.offset, item.size, item.name))),
    )


def _part(data: bytes, offset: int, size: int, what: str) -> bytes:
    if offset + size > len(data):
        raise FormatError(f"the {what} lie beyond its end", got=offset + size, wanted=f"at most {len(data)}")
    return data[offset : offset + size]


def _is_code(section: _Section) -> bool:
    return section.kind == _SHT_PROGBITS and bool(section.flags & _SHF_EXECINSTR)


def _functions(
    data: bytes, sections: list[_Section], table: _Section, code: dict[int, _Section], machine: int, layout: _Layout
) -> Iterator[Function]:
    if table.entry_size != layout.symbol.size or table.size % layout.symbol.size:
        raise FormatError("odd size of a symbol", got=table.entry_size, wanted=layout.symbol.size)
    if table.size // layout.symbol.size > MAX_SYMBOLS:
        raise FormatError("too many symbols", got=table.size // layout.symbol.size, wanted=f"at most {MAX_SYMBOLS}")
    if table.link >= len(sections) or sections[table.link].kind != _SHT_STRTAB:
        raise FormatError("symbols without their names", got=table.link)
    strings = _part(data, sections[table.link].offset, sections[table.link].size, "names")
    name_at, info_at, section_at, value_at, size_at = layout.symbol_fields
    for fields in layout.symbol.iter_unpack(_part(data, table.offset, table.size, "symbols")):
        home = code.get(fields[section_at])
        if home is None or not fields[size_at] or fields[info_at] & 0xF not in (_STT_FUNC, _STT_GNU_IFUNC):
            continue
        value = fields[value_at] & ~1 if machine == EM_ARM else fields[value_at]  # bit 0 tells Thumb code
        start = value - home.address
        if start < 0 or start + fields[size_at] > home.size:
            raise FormatError("a function lies outside its section", got=hex(value))
        end = strings.find(b"\0", fields[name_at], fields[name_at] + MAX_NAME_BYTES)
        if end > fields[name_at]:
            name = strings[fields[name_at] : end].decode(errors="replace")
            yield Function(name, home.offset + start, fields[size_at])
