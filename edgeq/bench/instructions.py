"""What the instructions of a block are: their class, multiply-accumulates, bytes and the form that a cost table knows.

The decoding is capstone's; what its text means is decided in :mod:`edgeq.bench.instruction_rules`.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgeq.bench.instruction_rules import Meaning, arm64_meaning, arm_meaning
from edgeq.bench.profile import Block, InstructionSet
from edgeq.cost_table import CLASSES, InstructionClass
from edgeq.errors import EdgeqError

__all__ = ["Counts", "Instruction", "count", "decoded", "disassemble", "macs_by_form"]


MAX_BLOCK_BYTES = 1 << 20
UNDECODED = "undecoded"
_REMEMBERED = 1 << 16


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    Attributes:
        mnemonic: as capstone prints it, without condition or width suffix (``vmla.f32``, ``b``).
        operands: as capstone prints them.
        instruction_class: what it is counted as; bytes that are no known instruction are ``other``.
        macs: multiply-accumulates it does: lanes that multiply and add, four a 32-bit lane of a dot product. A widening
            multiply of bytes counts, for it begins a sum; any other multiply does not.
        bytes_moved: bytes it loads or stores.
        form: the key of a cost table, such as ``sdot.q``, ``fmla.4s``, ``ldr.q``, ``vmlal.s8``; ``undecoded`` for bytes
            that are no known instruction.
    """

    mnemonic: str
    operands: str
    instruction_class: InstructionClass
    macs: int
    bytes_moved: int
    form: str


@dataclass(frozen=True, slots=True)
class Counts:
    """What some blocks did, each instruction as often as it ran.

    Attributes:
        instructions: by class; all classes are keys, and the values add up to ``total``.
        total: instructions.
        macs: multiply-accumulates of vector and floating-point instructions.
        bytes_loaded, bytes_stored: bytes that load and store instructions named, whether from a cache or from memory.
        forms: by form; the values add up to ``total``.
        undecoded: instructions among ``total`` whose bytes capstone does not know. They are in class ``other`` and make
            the other figures too small; whoever shows figures shows this one where it is not 0.
    """

    instructions: Mapping[InstructionClass, int]
    total: int
    macs: int
    bytes_loaded: int
    bytes_stored: int
    forms: Mapping[str, int]
    undecoded: int

    @property
    def macs_per_instruction(self) -> float:
        """Multiply-accumulates an instruction; 0 where nothing ran."""
        return self.macs / self.total if self.total else 0.0


def disassemble(code: bytes, address: int, instruction_set: InstructionSet) -> tuple[Instruction, ...]:
    """The instructions of some code, in order.

    Args:
        code: machine code; bytes that are no known instruction become one with the form ``undecoded``.
        address: of the first instruction; only branch targets in ``operands`` depend on it.
        instruction_set: ``a64``, ``a32`` or ``t32`` (Thumb-2).

    Raises:
        EdgeqError: capstone is not installed, or the code is longer than any block.
    """
    if len(code) > MAX_BLOCK_BYTES:
        raise EdgeqError(
            "too long for a block of instructions", got=len(code), wanted=f"at most {MAX_BLOCK_BYTES} bytes"
        )
    decoder = _decoder(instruction_set)
    found: list[Instruction] = []
    start = 0
    while start < len(code):
        for item in decoder.disasm(code[start:], address + start):
            start += item.size
            found.append(_instruction(item, instruction_set))
        if start < len(code):
            found.append(Instruction(UNDECODED, code[start : start + 4].hex(), "other", 0, 0, UNDECODED))
            start += _skip(code, start, instruction_set)
    return tuple(found)


@functools.lru_cache(maxsize=_REMEMBERED)
def _decoded(code: bytes, instruction_set: InstructionSet) -> tuple[Instruction, ...]:
    return disassemble(code, 0, instruction_set)


def decoded(blocks: Iterable[Block]) -> Iterator[tuple[tuple[Instruction, ...], int]]:
    """Each distinct code of some blocks, in the order of its first, and how often it ran. Its addresses begin at 0.

    What was decoded before is remembered.

    Raises:
        EdgeqError: capstone is not installed.
    """
    executions: Counter[tuple[bytes, InstructionSet]] = Counter()
    for block in blocks:
        executions[block.code, block.instruction_set] += block.executions
    for (code, instruction_set), times in executions.items():
        yield _decoded(code, instruction_set), times


def macs_by_form(blocks: Iterable[Block]) -> dict[str, int]:
    """How many multiply-accumulates each form of instruction did, the most first.

    Raises:
        EdgeqError: capstone is not installed.
    """
    totals: Counter[str] = Counter()
    for instructions, times in decoded(blocks):
        for instruction in instructions:
            if instruction.macs:
                totals[instruction.form] += instruction.macs * times
    return dict(totals.most_common())


def count(blocks: Iterable[Block]) -> Counts:
    """Add up what blocks did.

    Raises:
        EdgeqError: capstone is not installed.
    """
    ran: Counter[Instruction] = Counter()
    for instructions, times in decoded(blocks):
        for instruction in instructions:
            ran[instruction] += times
    classes: dict[InstructionClass, int] = dict.fromkeys(CLASSES, 0)
    forms: Counter[str] = Counter()
    macs = 0
    moved = {"load": 0, "store": 0}
    for instruction, times in ran.items():
        classes[instruction.instruction_class] += times
        forms[instruction.form] += times
        macs += instruction.macs * times
        if instruction.instruction_class in moved:
            moved[instruction.instruction_class] += instruction.bytes_moved * times
    undecoded = forms[UNDECODED]
    return Counts(classes, ran.total(), macs, moved["load"], moved["store"], dict(forms), undecoded)


def _instruction(item: Any, instruction_set: InstructionSet) -> Instruction:
    meaning: Meaning
    if instruction_set == "a64":
        mnemonic = item.mnemonic
        meaning = arm64_meaning(mnemonic, item.op_str)
    else:
        mnemonic = _bare(item.mnemonic, conditional=0 < item.cc < _always())
        meaning = arm_meaning(mnemonic, item.op_str)
    return Instruction(mnemonic, item.op_str, meaning.kind, meaning.macs, meaning.bytes_moved, meaning.form)


def _bare(mnemonic: str, *, conditional: bool) -> str:
    """``vmlaeq.f32`` to ``vmla.f32``, ``add.w`` to ``add``."""
    head, dot, types = mnemonic.removesuffix(".w").partition(".")
    return (head[:-2] if conditional and not head.startswith("it") else head) + dot + types


def _skip(code: bytes, start: int, instruction_set: InstructionSet) -> int:
    if instruction_set != "t32":
        return 4
    half = int.from_bytes(code[start : start + 2], "little")
    return 4 if half >= 0xE800 else 2  # Arm ARM (DDI 0406), A6.1: the first halfword says whether a second follows


@functools.cache
def _always() -> int:
    from capstone.arm_const import ARM_CC_AL

    return int(ARM_CC_AL)


@functools.cache
def _decoder(instruction_set: InstructionSet) -> Any:
    try:
        import capstone
    except ImportError as error:
        raise EdgeqError("counting instructions needs capstone", remedy="pip install 'edgeq[bench]'") from error
    if instruction_set == "a64":
        return capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    mode = capstone.CS_MODE_THUMB if instruction_set == "t32" else capstone.CS_MODE_ARM
    decoder = capstone.Cs(capstone.CS_ARCH_ARM, mode | capstone.CS_MODE_V8)
    decoder.detail = True  # for the condition, which is else only the end of the mnemonic
    return decoder
