"""ARM and Thumb told apart, on the words that could be both."""

from __future__ import annotations

import pytest

from edgeq.bench.instruction_set import ArmCode, arm_instruction_sets
from edgeq.bench.profile import InstructionSet

AT = 0x10000


def told(code: str, *others: tuple[int, InstructionSet], address: int = AT, narrow: bool = False) -> InstructionSet:
    """The verdict on one block among others that ran: their addresses, and what they clearly are."""
    block = ArmCode(address, bytes.fromhex(code), narrow)
    around = [ArmCode(at, bytes(2 if which == "t32" else 4), which == "t32") for at, which in others]
    return arm_instruction_sets([block, *around])[block]


@pytest.mark.parametrize(
    ("code", "others", "expected"),
    [
        ("0000a0e1", (), "a32"),  # mov r0, r0
        ("1eff2fe1", (), "a32"),  # bx lr; its lower half, ff1e, could begin a wide Thumb instruction
        ("33ff2fe1", (), "a32"),  # blx r3
        ("f8fbbce5", (), "a32"),  # ldr pc, [ip, #0xbf8]!: the end of an entry of a jump table
        ("5df804fb", (), "t32"),  # ldr.w pc, [sp], #4; as ARM code a BLX to where nothing ran
        ("fff752ea", ((0xF4A8, "a32"),), "t32"),  # blx #0xf4a8 in Thumb, where something ran,
        ("fff752ea", ((0x14CE004, "a32"),), "a32"),  # or b #0x14ce004 in ARM; capstone decodes both so
        ("fef7ffea", ((AT + 8 + ((0xFFF7FE - (1 << 24)) << 2), "a32"),), "a32"),  # b: where it goes ran
        ("e1ee109a", ((AT + 4, "t32"),), "t32"),  # vmsr fpscr, r9, which ends a block; as ARM code a conditional branch
        ("10ef10e3", (), "t32"),  # neither reading is a branch: a block cut off at a page's end
        ("00bf", (), "t32"),  # nop.n
    ],
)
def test_a_block_of_one_instruction(
    code: str, others: tuple[tuple[int, InstructionSet], ...], expected: InstructionSet
) -> None:
    assert told(code, *others, narrow=len(code) == 4) == expected


def test_an_address_that_no_arm_instruction_has() -> None:
    assert told("fff752ef", address=AT + 2) == "t32"


def test_one_clear_instruction_settles_the_block() -> None:
    assert told("00c68fe2" + "fff752ef") == "a32"
