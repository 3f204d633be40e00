"""Names for the functions that a run spent its instructions in: looked up by address where the library that ran has
symbols, else by the code's own bytes in another library of the same build that has them. Nothing is guessed."""

from __future__ import annotations

import shutil
import subprocess
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeq.bench.elf import EM_AARCH64, EM_ARM, Function, read_elf
from edgeq.bench.profile import Block

__all__ = ["KernelNames", "KernelShare", "hot_kernels"]

_KEY_BYTES = 8
_UNIT_BYTES = {EM_AARCH64: 4, EM_ARM: 2}
_LEAST_BYTES = 16  # less code than this may be found in a function by chance
_MOST_PLACES = 4096  # code that occurs more often than this names nothing
_GAP_BYTES = 256  # more than this between two executed blocks, and they are shown as two pieces of code
_TWIN_SHARE = 0.25  # of a library's longer blocks, found in a file of symbols, if the two are of one build
_FILTER_S = 20


class KernelShare(NamedTuple):
    """One function of a run.

    Attributes:
        name: of the function; where it is not known, ``file+0x12ab0``: where a piece of nameless code begins.
        share: of all instructions of the run, 0 to 1.
    """

    name: str
    share: float


@dataclass(frozen=True, slots=True)
class _Place:
    """Where some code was found: in which function (by number), and where in the file of symbols."""

    function: int
    offset: int


class KernelNames:
    """The functions of one library that still has their names.

    Args:
        symbol_file: the library.

    Raises:
        FormatError: it is no ELF file, or a broken one.
    """

    def __init__(self, symbol_file: Path) -> None:
        elf = read_elf(symbol_file)
        self.file_name = symbol_file.name
        self._unit = _UNIT_BYTES.get(elf.machine, 1)
        self._functions = _without_aliases(elf.functions)
        self._starts = [function.offset for function in self._functions]
        self._sections = [_CodeIndex(item.offset, item.code, self._unit) for item in elf.sections]
        self._found: dict[bytes, tuple[_Place, ...]] = {}  # the regions of a run have most of their code in common

    def __len__(self) -> int:
        return len(self._functions)

    def name(self, code: bytes) -> str | None:
        """The function that has this code, if there is exactly one and the code is long enough to tell."""
        found = {place.function for place in self.places(code)}
        return self._functions[found.pop()].name if len(found) == 1 and len(code) >= _LEAST_BYTES else None

    def name_at(self, offset: int) -> str | None:
        """The function at an offset in the library's file."""
        number = self.function_at(offset)
        return None if number is None else self._functions[number].name

    def function(self, number: int) -> Function:
        """A function by the number that the other methods give it."""
        return self._functions[number]

    def function_at(self, offset: int) -> int | None:
        """The number of the function at an offset in the file."""
        number = bisect_right(self._starts, offset) - 1
        if number < 0 or offset >= self._functions[number].offset + self._functions[number].size:
            return None
        return number

    def places(self, code: bytes) -> tuple[_Place, ...]:
        """Where this code occurs, whole and inside one function; none where that is too often to tell anything."""
        if code not in self._found:
            self._found[code] = tuple(self._search(code))
        return self._found[code]

    def _search(self, code: bytes) -> Iterator[_Place]:
        for section in self._sections:
            for offset in section.find(code):
                number = self.function_at(offset)
                if number is not None:
                    function = self._functions[number]
                    if offset + len(code) <= function.offset + function.size:
                        yield _Place(number, offset)


class _CodeIndex:
    """Finds code in a section in the time of a few comparisons: all its 8-byte windows, sorted."""

    def __init__(self, offset: int, code: bytes, unit: int) -> None:
        self._offset, self._code, self._unit = offset, code, unit
        keys = _windows(code, unit)
        self._order = np.argsort(keys, kind="stable").astype(np.uint32)
        self._keys = keys[self._order]

    def find(self, code: bytes) -> list[int]:
        """Offsets in the file of all occurrences."""
        keys = _windows(code, self._unit)
        if not len(keys) or len(code) % self._unit:
            return []
        first, end = np.searchsorted(self._keys, keys, "left"), np.searchsorted(self._keys, keys, "right")
        rarest = int(np.argmin(end - first))
        if end[rarest] - first[rarest] > _MOST_PLACES:
            return []
        starts = (self._order[first[rarest] : end[rarest]].astype(np.int64) - rarest) * self._unit
        return [self._offset + start for start in starts.tolist() if start >= 0 and self._code.startswith(code, start)]


def _windows(code: bytes, unit: int) -> NDArray[np.uint64]:
    """The 8 bytes from each instruction unit on, as numbers."""
    units = np.frombuffer(code, f"<u{unit}", len(code) // unit)
    parts = _KEY_BYTES // unit
    count = max(0, len(units) - parts + 1)
    keys = np.zeros(count, np.uint64)
    for i in range(parts):
        keys |= units[i : i + count].astype(np.uint64) << np.uint64(8 * unit * i)
    return keys


def _without_aliases(functions: Iterable[Function]) -> list[Function]:
    """One function an offset: the largest, then a kernel's name before others, then the first by alphabet."""
    best: dict[int, Function] = {}
    for function in functions:
        other = best.get(function.offset)
        if other is None or _preference(function) < _preference(other):
            best[function.offset] = function
    return [best[offset] for offset in sorted(best)]


def _preference(function: Function) -> tuple[Any, ...]:
    return -function.size, not function.name.startswith("xnn_"), function.name


# --- a run ------------------------------------------------------------------------------------------------------------


def hot_kernels(blocks: Iterable[Block], names: Sequence[KernelNames], limit: int) -> list[KernelShare]:
    """The functions with the most instructions executed.

    A block of a library in ``names`` is named by its offset. Any other is looked up by its code, if much of its
    library's code is found there at all; code that several functions share goes to the one that a block of it, found
    without doubt, says to lie there.

    Args:
        blocks: of one region.
        names: libraries with symbols; of those that ran and of such that have the same functions.
        limit: the most functions to give.

    Returns:
        The most executed first. Nameless code that lies together is one entry.
    """
    blocks = list(blocks)
    own = {item.file_name: item for item in names}
    named: dict[Block, str | None] = {}
    for block in blocks:
        if _file(block) in own:
            named[block] = own[_file(block)].name_at(block.offset)
    for other in names:
        named |= _by_code([block for block in blocks if _file(block) and not named.get(block)], other)
    named |= _addresses([block for block in blocks if not named.get(block)])
    weights: Counter[str] = Counter()
    for block in blocks:
        weights[named[block] or ""] += _weight(block)
    total = sum(weights.values())
    hottest = sorted(((name, count) for name, count in weights.items() if count), key=lambda row: (-row[1], row[0]))
    hottest = hottest[:limit]
    readable = _demangled([name for name, _ in hottest])
    return [KernelShare(readable[name], count / total) for name, count in hottest]


def _by_code(blocks: Sequence[Block], names: KernelNames) -> dict[Block, str | None]:
    """Names for blocks of libraries without symbols; only those that are certain."""
    places = {block: names.places(block.code) for block in blocks}
    long = [block for block in blocks if len(block.code) >= _LEAST_BYTES]
    all_of = Counter(block.image for block in long)
    found_of = Counter(block.image for block in long if places[block])
    twins = {image for image, count in all_of.items() if found_of[image] >= _TWIN_SHARE * count}
    # How far a function lies from its twin in the file of symbols. One found without doubt tells it for all its code.
    distances: dict[tuple[str, int], set[int]] = {}
    for block in long:
        if len(places[block]) == 1:
            (place,) = places[block]
            distances.setdefault((block.image, place.function), set()).add(block.offset - place.offset)
    known = {key: values.pop() for key, values in distances.items() if len(values) == 1}
    named: dict[Block, str | None] = {}
    for block, found in places.items():
        if block.image not in twins:
            continue
        certain = [item for item in found if known.get((block.image, item.function)) == block.offset - item.offset]
        functions = {item.function for item in certain or (found if len(block.code) >= _LEAST_BYTES else ())}
        if len(functions) == 1:
            named[block] = names.function(functions.pop()).name
    return named


def _file(block: Block) -> str:
    return Path(block.image).name if block.offset >= 0 else ""


def _addresses(blocks: Sequence[Block]) -> dict[Block, str | None]:
    """Where the pieces of code begin that blocks lie in; what is further apart than a gap is another piece."""
    label, image, end = "", None, 0
    labels: dict[Block, str | None] = {}
    for block in sorted(blocks, key=lambda item: (item.image, item.address)):
        if block.image != image or block.address > end + _GAP_BYTES:
            label = f"{_file(block)}+{block.offset:#x}" if _file(block) else f"{block.address:#x}"
        labels[block] = label
        image, end = block.image, block.address + len(block.code)
    return labels


def _weight(block: Block) -> int:
    """Instructions executed."""
    if block.instruction_set != "t32":
        return len(block.code) // 4 * block.executions
    count = at = 0
    while at < len(block.code):
        wide = at + 1 < len(block.code) and block.code[at + 1] >> 3 in (0b11101, 0b11110, 0b11111)
        count, at = count + 1, at + (4 if wide else 2)  # DDI 0406C, A6.1
    return count * block.executions


def _demangled(names: Sequence[str]) -> Mapping[str, str]:
    """C++ names as a reader knows them, without parameters, where c++filt is installed."""
    mangled = [name for name in names if name.startswith("_Z") and "\n" not in name]
    same = {name: name for name in names}
    program = shutil.which("c++filt")
    if program is None or not mangled:
        return same
    try:
        text, command = "\n".join(mangled) + "\n", [program, "-p"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=_FILTER_S, check=False)
    except (OSError, subprocess.TimeoutExpired, UnicodeError):
        return same
    lines = done.stdout.splitlines()
    return same | dict(zip(mangled, lines, strict=True)) if len(lines) == len(mangled) else same
