"""Read what the counting plugin ``targets/native/count.c`` writes, strictly; its format is described there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeq.bench.instruction_set import ArmCode, arm_instruction_sets
from edgeq.bench.profile import Block, InstructionSet, Region
from edgeq.errors import EdgeqError, FormatError
from edgeq.targets import Arch

__all__ = ["read_counts"]

MAX_FILE_BYTES = 1 << 30
MAX_LINE_BYTES = 1 << 16  # a block has at most 512 instructions
_VERSION = "1"
_TARGETS: dict[Arch, str] = {"aarch64": "aarch64", "armhf": "arm"}
_HEADER = re.compile(r"edgeq-count (\d{1,4}) (\w+) (\d{1,6})")
_REGION = re.compile(r"region (\d{1,10}) (\d{1,19}) (\d{1,10})")
_BLOCK = re.compile(r"block ([0-9a-f]{1,16}) ([01]) (-1|\d{1,6}) (-1|\d{1,18}) ((?:[0-9a-f]{4})+)")
_SUM = re.compile(r"(\d{1,10}) (\d{1,20})")


@dataclass(frozen=True, slots=True)
class _Place:
    """A block without its counts."""

    code: ArmCode
    image: str
    offset: int


@dataclass(frozen=True, slots=True)
class _Sums:
    """A region as it stands in the file: executions by the block's number."""

    index: int
    passes: int
    executions: dict[int, int]


def read_counts(path: Path, arch: Arch) -> tuple[int, tuple[Region, ...]]:
    """The number of threads and the regions of one counted run, regions by index and their blocks by address.

    Raises:
        EdgeqError: the program's markers do not pair.
        FormatError: the file is cut off, or not of this version and instruction set.
    """
    lines = _lines(path)
    header = _match(_HEADER, next(lines, ""), path)
    if header[1] != _VERSION or header[2] != _TARGETS[arch]:
        raise FormatError("are no counts of this version and instruction set", where=path, got=header[0])
    images, places, regions = [""], list[_Place](), list[_Sums]()  # the last image is "", for -1
    for line in lines:
        if line == "end":
            if next(lines, None) is not None:
                raise FormatError("the counts go on after their end", where=path)
            return int(header[3]), _finished(arch, places, regions)
        kind, _, text = line.partition(" ")
        if kind == "fault":
            raise EdgeqError(f"the program marks its regions wrongly: {text}")
        if kind == "image":
            images.insert(-1, text)
        elif kind == "block":
            places.append(_place(line, images, path))
        else:
            regions.append(_sums(line, lines, len(places), path))
    raise FormatError("the counts are cut off", where=path)


def _lines(path: Path) -> Iterator[str]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise FormatError("the counts are too many", where=path, wanted=f"at most {MAX_FILE_BYTES} bytes")
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES):
                yield line.removesuffix(b"\n").decode(errors="surrogateescape")
    except OSError as error:
        raise FormatError("the counts cannot be read", where=path, got=error.strerror) from error


def _match(pattern: re.Pattern[str], line: str, path: Path) -> re.Match[str]:
    found = pattern.fullmatch(line)
    if found is None:
        raise FormatError("is no file of counts, or it is cut off", where=path, got=repr(line[:80]))
    return found


def _place(line: str, images: list[str], path: Path) -> _Place:
    address, narrow, image, offset, code = _match(_BLOCK, line, path).groups()
    if int(image) >= len(images) - 1:
        raise FormatError("a block of a file that is not listed", where=path, got=image)
    return _Place(ArmCode(int(address, 16), bytes.fromhex(code), narrow == "1"), images[int(image)], int(offset))


def _sums(line: str, lines: Iterator[str], places: int, path: Path) -> _Sums:
    index, passes, count = (int(word) for word in _match(_REGION, line, path).groups())
    executions: dict[int, int] = {}
    for _ in range(count):
        number, times = _match(_SUM, next(lines, ""), path).groups()
        executions[int(number)] = int(times)
    if len(executions) != count or any(number >= places for number in executions):
        raise FormatError(
            "a region with blocks that are not listed, or listed twice", where=path, got=f"region {index}"
        )
    return _Sums(index, passes, executions)


def _finished(arch: Arch, places: list[_Place], regions: list[_Sums]) -> tuple[Region, ...]:
    codes = [place.code for place in places]
    sets: dict[ArmCode, InstructionSet] = (
        dict.fromkeys(codes, "a64") if arch == "aarch64" else arm_instruction_sets(codes)
    )
    in_order = sorted(range(len(places)), key=lambda number: (codes[number].address, codes[number].code))

    def block(number: int, executions: int) -> Block:
        place = places[number]
        code = place.code
        return Block(code.address, code.code, sets[code], executions, place.image, place.offset)

    rank = {number: position for position, number in enumerate(in_order)}
    return tuple(
        Region(
            region.index,
            region.passes,
            tuple(
                block(number, region.executions[number]) for number in sorted(region.executions, key=rank.__getitem__)
            ),
        )
        for region in sorted(regions, key=lambda region: region.index)
    )
