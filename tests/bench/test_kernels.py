from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from edgeq.bench.elf import EM_AARCH64, EM_ARM, read_elf
from edgeq.bench.kernels import KernelNames, hot_kernels
from edgeq.bench.profile import Block
from edgeq.errors import FormatError

SOURCE = """
int first(const int *a, int n) { int s = 0; for (int i = 0; i < n; i++) s += a[i] * 3; return s; }
int second(const int *a, int n) { int s = 1; for (int i = 0; i < n; i += 2) s ^= a[i] + 77; return s; }
float third(const float *a, int n) { float s = 0; for (int i = 0; i < n; i++) s = s * a[i] + 1.5f; return s; }
"""
COMPILERS = ("gcc", "aarch64-linux-gnu-gcc", "arm-linux-gnueabihf-gcc")


def write_elf(functions: Mapping[str, bytes], machine: int = EM_AARCH64, shift: int = 0) -> bytes:
    """An ELF file of these functions, as the specification lays it out; 32 bits for ARM. The code begins ``shift``
    bytes later than it must."""
    wide = machine != EM_ARM
    header_bytes, section_bytes = (64, 64) if wide else (52, 40)
    code_at, base = header_bytes + shift, 0x10000
    symbols, strings, offset = bytes(24 if wide else 16), b"\0", 0
    for name, code in functions.items():
        value = base + offset
        fields = (len(strings), value, len(code))
        if wide:
            symbols += struct.pack("<IBBHQQ", fields[0], 2, 0, 1, *fields[1:])
        else:
            symbols += struct.pack("<IIIBBH", *fields, 2, 0, 1)
        strings += name.encode() + b"\0"
        offset += len(code)
    text = b"".join(functions.values())
    parts = [
        (1, 4 | 2, base, text, 0, 0),
        (2, 0, 0, symbols, 3, len(symbols) // (len(functions) + 1)),
        (3, 0, 0, strings, 0, 0),
    ]
    body, headers, at = bytes(shift), bytes(section_bytes), code_at
    for kind, flags, address, content, link, entry in parts:
        form = "<IIQQQQIIQQ" if wide else "<IIIIIIIIII"
        headers += struct.pack(form, 0, kind, flags, address, at, len(content), link, 0, 1, entry)
        body, at = body + content, at + len(content)
    form = "<HHIQQQIHHHHHH" if wide else "<HHIIIIIHHHHHH"
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    rest = struct.pack(form, 3, machine, 1, 0, 0, at, 0, header_bytes, 0, 0, section_bytes, 4, 0)
    return ident + rest + body + headers


def code(*words: int) -> bytes:
    return struct.pack(f"<{len(words)}I", *words)


SHARED = code(11, 12, 13, 14, 15)
ALONE = {"red": code(1, 2, 3, 4), "blue": code(5, 6, 7, 8)}
FUNCTIONS = {name: own + SHARED for name, own in ALONE.items()} | {"tiny": code(9)}


@pytest.fixture(params=[EM_AARCH64, EM_ARM])
def names(request: pytest.FixtureRequest, tmp_path: Path) -> KernelNames:
    (tmp_path / "symbols.so").write_bytes(write_elf(FUNCTIONS, request.param))
    return KernelNames(tmp_path / "symbols.so")


def stripped_blocks(machine: int = EM_AARCH64, image: str = "lib/stripped.so") -> dict[str, list[Block]]:
    """The blocks of the same functions at other offsets, as a run of a library without symbols leaves them: each
    function's own code, what it shares, and of that the last two instructions."""
    blocks, offset = {}, 0x500
    for name, whole in reversed(FUNCTIONS.items()):
        cuts = [0, 16, 28] if len(whole) > 28 else [0]
        parts = [(start, whole[start : 16 if start == 0 else None]) for start in cuts]
        blocks[name] = [Block(0x400000 + offset + i, part, "a64", 10, image, offset + i) for i, part in parts]
        offset += len(whole)
    return blocks


def test_code_of_one_function_names_it(names: KernelNames) -> None:
    assert len(names) == len(FUNCTIONS)
    for name, own in ALONE.items():
        assert names.name(own) == name
        assert names.name(FUNCTIONS[name]) == name


@pytest.mark.parametrize(
    "unknown",
    [b"", b"\1", SHARED, code(9), code(5, 6), code(1, 2, 3, 5), FUNCTIONS["red"][:-3], ALONE["blue"] + code(1)],
)
def test_what_is_shared_short_or_unknown_names_nothing(names: KernelNames, unknown: bytes) -> None:
    assert names.name(unknown) is None


def test_code_across_two_functions_is_of_neither(names: KernelNames) -> None:
    assert names.name(SHARED + ALONE["blue"]) is None


def test_an_offset_of_the_file_names_its_function(tmp_path: Path) -> None:
    content = write_elf(FUNCTIONS)
    (tmp_path / "own.so").write_bytes(content)
    names = KernelNames(tmp_path / "own.so")
    start = content.index(FUNCTIONS["red"])
    ends = [names.name_at(start + i) for i in (-1, 0, 35, 36, 71, 72, 76)]
    assert ends == [None, "red", "red", "blue", "blue", "tiny", None]


def test_a_stripped_library_is_named_by_its_code(names: KernelNames) -> None:
    blocks = stripped_blocks()
    found = hot_kernels([*blocks["red"], *blocks["blue"][:1]], [names], 9)
    # The shared code is red's, for it lies behind red's own: 4 + 5 + 2 of 15 instructions each 10 times.
    assert found == [("red", 11 / 15), ("blue", 4 / 15)]
    assert found[0].name == "red"
    assert found[0].share == pytest.approx(0.733, abs=1e-3)


def test_shared_code_alone_is_not_named(names: KernelNames) -> None:
    shared = stripped_blocks()["red"][1]
    assert [row.name for row in hot_kernels([shared], [names], 9)] == [f"stripped.so+{shared.offset:#x}"]


def test_a_library_of_another_build_is_not_named(names: KernelNames) -> None:
    chance = stripped_blocks()["red"][:1]
    other = [
        Block(0x400000 + i * 64, code(100 + i, 2, 3, 4, 5), "a64", 99, "lib/stripped.so", i * 64) for i in range(9)
    ]
    found = [row.name for row in hot_kernels([*chance, *other], [names], 99)]
    assert found == ["stripped.so+0x0", f"stripped.so+{chance[0].offset:#x}"]


def test_a_library_with_symbols_is_named_by_offset(names: KernelNames, tmp_path: Path) -> None:
    start = (tmp_path / "symbols.so").read_bytes().index(FUNCTIONS["blue"])
    blocks = [Block(0x7000, code(9), "a64", 3, "/cache/symbols.so", start + 4), Block(0x9000, code(9), "a64", 1)]
    assert hot_kernels(blocks, [names], 1) == [("blue", 0.75)]


def test_nameless_code_that_lies_together_is_one_entry() -> None:
    offsets = (0x1000, 0x1010, 0x1100, 0x9000)
    blocks = [Block(0x400000 + at, code(1, 2, 3, 4), "a64", 1, "libc.so.6", at) for at in offsets]
    blocks.append(Block(0x700000, code(1), "a64", 4))
    assert hot_kernels(blocks, [], 9) == [("libc.so.6+0x1000", 0.6), ("0x700000", 0.2), ("libc.so.6+0x9000", 0.2)]
    assert [row.name for row in hot_kernels(blocks, [], 2)] == ["libc.so.6+0x1000", "0x700000"]


def test_thumb_instructions_are_counted_by_their_size() -> None:
    thumb = struct.pack("<HHHH", 0x2000, 0xF000, 0xB800, 0x4770)  # MOVS, B.W, BX: two, four, two bytes
    blocks = [Block(0x1000, thumb, "t32", 1, "a", 0), Block(0x1000, code(1, 2, 3), "a32", 1, "b", 0)]
    assert [row.share for row in hot_kernels(blocks, [], 9)] == [0.5, 0.5]


def test_nothing_ran() -> None:
    assert hot_kernels([], [], 9) == []


@pytest.mark.skipif(shutil.which("c++filt") is None, reason="c++filt is not installed")
def test_cpp_names_are_readable(tmp_path: Path) -> None:
    (tmp_path / "a.so").write_bytes(write_elf({"_ZN3ruy4PackIaEEvi": code(1, 2, 3, 4)}))
    block = Block(0, code(1, 2, 3, 4), "a64", 1, "b.so", 0)
    assert hot_kernels([block], [KernelNames(tmp_path / "a.so")], 1) == [("ruy::Pack<signed char>", 1.0)]


def test_the_index_answers_as_a_plain_search_does(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    functions = {
        f"f{i}": generator.integers(0, 3, 40, np.uint32).tobytes() for i in range(50)
    }  # few values: many twins
    (tmp_path / "a.so").write_bytes(write_elf(functions))
    names = KernelNames(tmp_path / "a.so")
    known = 0
    for name, whole in functions.items():
        for words in (4, 6, 9):
            start = 4 * int(generator.integers(0, 40 - words))
            part = whole[start : start + 4 * words]
            owners = {
                other
                for other, body in functions.items()
                if part in [body[i : i + len(part)] for i in range(0, 160, 4)]
            }
            assert names.name(part) == (name if owners == {name} else None)
            known += owners == {name}
    assert 30 < known < 120


# --- ELF files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_compiled_library_is_read_as_nm_reads_it(tmp_path: Path, compiler: str) -> None:
    if shutil.which(compiler) is None or shutil.which("nm") is None:
        pytest.skip(f"{compiler} or nm is not installed")
    source, library = tmp_path / "a.c", tmp_path / "a.so"
    source.write_text(SOURCE)
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-nostdlib", "-o", library, source], check=True)
    listed = subprocess.run(["nm", "-S", library], capture_output=True, text=True, check=True).stdout
    wanted = {line.split()[3]: int(line.split()[1], 16) for line in listed.splitlines() if line.split()[2] in "tT"}
    elf = read_elf(library)
    assert {item.name: item.size for item in elf.functions} == wanted
    assert {"first", "second", "third"} == set(wanted)
    data, names = library.read_bytes(), KernelNames(library)
    for item in elf.functions:
        assert names.name(data[item.offset : item.offset + item.size]) == item.name
        assert names.name_at(item.offset + item.size - 1) == item.name


@pytest.mark.parametrize("machine", [EM_AARCH64, EM_ARM])
def test_a_truncated_file_is_refused_at_every_length(tmp_path: Path, machine: int) -> None:
    content = write_elf(FUNCTIONS, machine)
    path = tmp_path / "a.so"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(FormatError):
            read_elf(path)


@pytest.mark.parametrize("machine", [EM_AARCH64, EM_ARM])
def test_a_damaged_file_is_refused_or_read_within_its_bounds(tmp_path: Path, machine: int) -> None:
    content = write_elf(FUNCTIONS, machine)
    generator = np.random.default_rng(0)
    path = tmp_path / "a.so"
    refused = 0
    for _ in range(500):
        damaged = bytearray(content)
        for at in generator.integers(0, len(content), 2):
            damaged[at] = int(generator.choice([0, 1, 0x7F, 0x80, 0xFF, int(generator.integers(256))]))
        path.write_bytes(damaged)
        try:
            elf = read_elf(path)
            KernelNames(path).name(ALONE["red"])
        except FormatError:
            refused += 1
            continue
        assert all(item.offset + item.size <= len(damaged) for item in elf.functions)
    assert 20 < refused < 500


def test_a_huge_count_takes_no_memory(tmp_path: Path) -> None:
    content = bytearray(write_elf(FUNCTIONS))
    table = struct.unpack_from("<Q", content, 40)[0]
    struct.pack_into("<Q", content, table + 2 * 64 + 32, 24 << 40)  # size of the symbol table
    (tmp_path / "a.so").write_bytes(content)
    with pytest.raises(FormatError, match="too many symbols"):
        read_elf(tmp_path / "a.so")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"a\.so: cannot be read .*No such file"):
        KernelNames(tmp_path / "a.so")
