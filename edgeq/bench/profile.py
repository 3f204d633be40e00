"""What a run under QEMU leaves: the blocks of instructions that ran, how often, and in which marked region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Block", "InstructionSet", "Region"]

InstructionSet = Literal["a64", "a32", "t32"]


@dataclass(frozen=True, slots=True)
class Block:
    """Instructions that run one after the other, entered at the first.

    Attributes:
        address: of the first instruction, in the emulated process.
        code: the instructions' bytes.
        instruction_set: how to read them.
        executions: how often the block ran in its region.
        image: file name of the program or library it lies in; empty where that is not known.
        offset: of the first instruction in that file; -1 where that is not known.
    """

    address: int
    code: bytes
    instruction_set: InstructionSet
    executions: int
    image: str = ""
    offset: int = -1


@dataclass(frozen=True, slots=True)
class Region:
    """What ran between a begin and its end marker, summed over all passes through the region.

    Attributes:
        index: the number the program marked it with.
        passes: how often the region was entered.
        blocks: all that ran at least once, by address.
    """

    index: int
    passes: int
    blocks: tuple[Block, ...]
