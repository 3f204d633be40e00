"""Tell ARM from Thumb code of a 32-bit program, from the blocks that ran. QEMU's plugin interface does not say it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeq.bench.profile import InstructionSet

__all__ = ["ArmCode", "arm_instruction_sets"]

# Arm Architecture Reference Manual ARMv7-A (DDI 0406C), A6.1: a first halfword from here on begins a 32-bit Thumb
# instruction. The byte is its upper half.
_WIDE_THUMB = 0xE8


@dataclass(frozen=True, slots=True)
class ArmCode:
    """A block's code.

    Attributes:
        address: of its first instruction.
        code: its bytes, little endian.
        narrow: whether one of its instructions has two bytes.
    """

    address: int
    code: bytes
    narrow: bool


def arm_instruction_sets(codes: Iterable[ArmCode]) -> dict[ArmCode, InstructionSet]:
    """``a32`` or ``t32`` for each of a program's blocks.

    A two-byte instruction, or one that is not aligned to four, is Thumb; a word whose lower half cannot begin a wide
    Thumb instruction is ARM. Of the few blocks that could be both, the last instruction tells, for it ended the block:
    the reading counts in which it is a branch to where such code ran.
    """
    known = set(codes)
    clear: dict[int, InstructionSet | None] = {code.address: None for code in known}
    found: dict[ArmCode, InstructionSet] = {}
    for code in known:
        certain = _certain(code)
        if certain is not None:
            found[code] = clear[code.address] = certain
    return {code: found.get(code) or _likely(code, clear) for code in known}


def _certain(block: ArmCode) -> InstructionSet | None:
    if block.narrow or block.address % 4 or len(block.code) % 4:
        return "t32"
    return "a32" if any(byte < _WIDE_THUMB for byte in block.code[1::4]) else None


def _likely(block: ArmCode, clear: dict[int, InstructionSet | None]) -> InstructionSet:
    """``clear``: where blocks begin, and of which set they are if that is certain."""

    def ran(address: int | None, instruction_set: InstructionSet) -> bool:
        return address in clear and clear[address] in (None, instruction_set)

    word, end = int.from_bytes(block.code[-4:], "little"), block.address + len(block.code)
    target = _arm_branch_target(word, end - 4)
    if target is None:
        return "a32" if _is_arm_jump(word) else "t32"
    condition = word >> 28
    as_arm = ran(target, "t32" if condition == 0xF else "a32") or (condition < 0xE and ran(end, "a32"))
    exchanges = word >> 28 & 1 == 0  # bit 12 of the second halfword: 0 in Thumb's BLX, 1 in its BL and B.W
    as_thumb = ran(_thumb_call_target(word, end - 4), "a32" if exchanges else "t32")
    return "a32" if as_arm and not as_thumb else "t32"


def _is_arm_jump(word: int) -> bool:
    """DDI 0406C, A8.8.26 BLX (register), A8.8.27 BX, A8.8.63 to A8.8.66 LDR into the PC."""
    register = word & 0x0FFF_FFD0 == 0x012F_FF10
    load = word & 0x0C50_F000 == 0x0410_F000
    return word >> 28 != 0xF and (register or load)


def _arm_branch_target(word: int, address: int) -> int | None:
    """Where the word goes if it is B, BL or BLX with an immediate; DDI 0406C, A8.8.18 and A8.8.25."""
    if word & 0x0E00_0000 != 0x0A00_0000:
        return None
    offset = _signed(word & 0x00FF_FFFF, 24) << 2
    half = (word >> 24 & 1) << 1 if word >> 28 == 0xF else 0
    return (address + 8 + offset + half) & 0xFFFF_FFFF


def _thumb_call_target(word: int, address: int) -> int | None:
    """Where the word goes if it is Thumb's B.W (T4), BL or BLX with an immediate; DDI 0406C, A8.8.18 and A8.8.25."""
    first, second = word & 0xFFFF, word >> 16
    kind = second >> 12 & 0b1101
    if first >> 11 != 0b11110 or kind not in (0b1001, 0b1100, 0b1101):
        return None
    sign = first >> 10 & 1
    i1, i2 = (1 - ((second >> 13 & 1) ^ sign)), (1 - ((second >> 11 & 1) ^ sign))
    offset = _signed(sign << 24 | i1 << 23 | i2 << 22 | (first & 0x3FF) << 12 | (second & 0x7FF) << 1, 25)
    base = address + 4
    return ((base & ~3) + (offset & ~3) if kind == 0b1100 else base + offset) & 0xFFFF_FFFF


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value
