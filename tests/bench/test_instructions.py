"""What instructions are counted as: encodings of every kind that kernels are made of, and sums that must add up."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.bench.instructions import Instruction, count, disassemble, macs_by_form
from edgeq.bench.profile import Block, InstructionSet
from edgeq.cost_table import InstructionClass
from edgeq.errors import EdgeqError

pytest.importorskip("capstone", reason="counting instructions needs capstone")

SETS: tuple[InstructionSet, ...] = ("a64", "a32", "t32")


class Row(NamedTuple):
    """An instruction's bytes as GNU as writes them, its text, and what the manuals (DDI 0487, DDI 0406) make of it."""

    instruction_set: InstructionSet
    code: str
    text: str
    instruction_class: InstructionClass
    macs: int
    bytes_moved: int
    form: str


ROWS = (
    Row("a64", "30e2824f", "sdot v16.4s, v17.16b, v2.4b[0]", "mac", 16, 0, "sdot.q"),
    Row("a64", "4194832e", "udot v1.2s, v2.8b, v3.8b", "mac", 8, 0, "udot.d"),
    Row("a64", "2010a24f", "fmla v0.4s, v1.4s, v2.s[1]", "mac", 4, 0, "fmla.4s"),
    Row("a64", "200c424e", "fmla v0.8h, v1.8h, v2.8h", "mac", 8, 0, "fmla.8h"),
    Row("a64", "200c021f", "fmadd s0, s1, s2, s3", "mac", 1, 0, "fmadd.s"),
    Row("a64", "2080220e", "smlal v0.8h, v1.8b, v2.8b", "mac", 8, 0, "smlal.8h"),
    Row("a64", "2020524f", "smlal2 v0.4s, v1.8h, v2.h[1]", "mac", 4, 0, "smlal2.4s"),
    Row("a64", "20c0220e", "smull v0.8h, v1.8b, v2.8b", "mac", 8, 0, "smull.8h"),
    Row("a64", "20c0620e", "smull v0.4s, v1.4h, v2.4h", "neon", 0, 0, "smull.4s"),
    Row("a64", "2068604e", "sadalp v0.4s, v1.8h", "neon", 0, 0, "sadalp.4s"),
    Row("a64", "2090824f", "fmul v0.4s, v1.4s, v2.s[0]", "neon", 0, 0, "fmul.4s"),
    Row("a64", "20b4a26e", "sqrdmulh v0.4s, v1.4s, v2.4s", "neon", 0, 0, "sqrdmulh.4s"),
    Row("a64", "20b4a24e", "sqdmulh v0.4s, v1.4s, v2.4s", "neon", 0, 0, "sqdmulh.4s"),
    Row("a64", "2020034e", "tbl v0.16b, {v1.16b, v2.16b}, v3.16b", "neon", 0, 0, "tbl.16b"),
    Row("a64", "003c0c0e", "umov w0, v0.s[1]", "neon", 0, 0, "mov.lane"),
    Row("a64", "2000271e", "fmov s0, w1", "neon", 0, 0, "fmov.s"),
    Row("a64", "0028df4c", "ld1 {v0.4s, v1.4s, v2.4s, v3.4s}, [x0], #64", "load", 0, 64, "ld1.q4"),
    Row("a64", "0070df0c", "ld1 {v0.8b}, [x0], #8", "load", 0, 8, "ld1.d1"),
    Row("a64", "0080df4d", "ld1 {v0.s}[2], [x0], #4", "load", 0, 4, "ld1.lane"),
    Row("a64", "0090600d", "ld2 {v0.s, v1.s}[1], [x0]", "load", 0, 8, "ld2.lane"),
    Row("a64", "00c8404d", "ld1r {v0.4s}, [x0]", "load", 0, 4, "ld1r"),
    Row("a64", "0004c13c", "ldr q0, [x0], #16", "load", 0, 16, "ldr.q"),
    Row("a64", "0004c1ac", "ldp q0, q1, [x0], #32", "load", 0, 32, "ldp.q"),
    Row("a64", "0004406d", "ldp d0, d1, [x0]", "load", 0, 16, "ldp.d"),
    Row("a64", "010840a9", "ldp x1, x2, [x0]", "load", 0, 16, "ldp"),
    Row("a64", "01004039", "ldrb w1, [x0]", "load", 0, 1, "ldrb"),
    Row("a64", "010080b9", "ldrsw x1, [x0]", "load", 0, 4, "ldrsw"),
    Row("a64", "20fc5f88", "ldaxr w0, [x1]", "load", 0, 4, "ldaxr"),
    Row("a64", "41fc0008", "stlxrb w0, w1, [x2]", "store", 0, 1, "stlxrb"),
    Row("a64", "000c000d", "st1 {v0.b}[3], [x0]", "store", 0, 1, "st1.lane"),
    Row("a64", "000400ad", "stp q0, q1, [x0]", "store", 0, 32, "stp.q"),
    Row("a64", "01000079", "strh w1, [x0]", "store", 0, 2, "strh"),
    Row("a64", "01000054", "b.ne .", "branch", 0, 0, "b.cond"),
    Row("a64", "000000b4", "cbz x0, .", "branch", 0, 0, "cbz"),
    Row("a64", "c0035fd6", "ret", "branch", 0, 0, "ret"),
    Row("a64", "60003fd6", "blr x3", "branch", 0, 0, "blr"),
    Row("a64", "200c029b", "madd x0, x1, x2, x3", "other", 0, 0, "madd"),
    Row("a64", "004000f1", "subs x0, x0, #16", "other", 0, 0, "alu.imm"),
    Row("a64", "0008018b", "add x0, x0, x1, lsl #2", "other", 0, 0, "add"),
    Row("a64", "000080f9", "prfm pldl1keep, [x0]", "other", 0, 0, "prfm"),
    Row("a32", "c001e2f3", "vmla.f32 q8, q9, d0[0]", "mac", 4, 0, "vmla.f32.q"),
    Row("a32", "108d09f2", "vmla.f32 d8, d9, d0", "mac", 2, 0, "vmla.f32.d"),
    Row("a32", "810a00ee", "vmla.f32 s0, s1, s2", "mac", 1, 0, "vmla.f32.s"),
    Row("a32", "f40c42f2", "vfma.f32 q8, q9, q10", "mac", 4, 0, "vfma.f32.q"),
    Row("a32", "440912f2", "vmla.i16 q0, q1, q2", "mac", 8, 0, "vmla.i16.q"),
    Row("a32", "030882f2", "vmlal.s8 q0, d2, d3", "mac", 8, 0, "vmlal.s8"),
    Row("a32", "4b0292f2", "vmlal.s16 q0, d2, d3[1]", "mac", 4, 0, "vmlal.s16"),
    Row("a32", "030c82f2", "vmull.s8 q0, d2, d3", "mac", 8, 0, "vmull.s8"),
    Row("a32", "030ca2f2", "vmull.s32 q0, d2, d3", "neon", 0, 0, "vmull.s32"),
    Row("a32", "420ca2f3", "vqdmulh.s32 q0, q1, d2[0]", "neon", 0, 0, "vqdmulh.s32.q"),
    Row("a32", "440b22f3", "vqrdmulh.s32 q0, q1, q2", "neon", 0, 0, "vqrdmulh.s32.q"),
    Row("a32", "8202b6f3", "vqmovn.s32 d0, q1", "neon", 0, 0, "vqmovn.s32.q"),
    Row("a32", "4206bbf3", "vcvt.f32.s32 q0, q1", "neon", 0, 0, "vcvt.f32.s32.q"),
    Row("a32", "100a10ee", "vmov r0, s0", "neon", 0, 0, "vmov.s"),
    Row("a32", "810a000e", "vmlaeq.f32 s0, s1, s2", "mac", 1, 0, "vmla.f32.s"),
    Row("a32", "8d0720f4", "vld1.32 {d0}, [r0]!", "load", 0, 8, "vld1.32.d1"),
    Row("a32", "0d0220f4", "vld1.8 {d0-d3}, [r0]!", "load", 0, 32, "vld1.8.d4"),
    Row("a32", "ad0ca0f4", "vld1.32 {d0[], d1[]}, [r0]!", "load", 0, 4, "vld1.32.dup"),
    Row("a32", "4d04a0f4", "vld1.16 {d0[1]}, [r0]!", "load", 0, 2, "vld1.16.lane"),
    Row("a32", "100bb0ec", "vldm r0!, {d0-d7}", "load", 0, 64, "vldm.d8"),
    Row("a32", "000b90ed", "vldr d0, [r0]", "load", 0, 8, "vldr.d"),
    Row("a32", "000a90ed", "vldr s0, [r0]", "load", 0, 4, "vldr.s"),
    Row("a32", "0d0a00f4", "vst1.8 {d0, d1}, [r0]!", "store", 0, 16, "vst1.8.d2"),
    Row("a32", "108b2ded", "vpush {d8-d15}", "store", 0, 64, "vpush.d8"),
    Row("a32", "f0402de9", "push {r4-r7, lr}", "store", 0, 20, "push.r5"),
    Row("a32", "f080bde8", "pop {r4-r7, pc}", "load", 0, 20, "pop.r5"),
    Row("a32", "060090e8", "ldm r0, {r1, r2}", "load", 0, 8, "ldm.r2"),
    Row("a32", "d000c2e1", "ldrd r0, r1, [r2]", "load", 0, 8, "ldrd"),
    Row("a32", "b000d101", "ldrheq r0, [r1]", "load", 0, 2, "ldrh"),
    Row("a32", "0000c1e5", "strb r0, [r1]", "store", 0, 1, "strb"),
    Row("a32", "feffff1a", "bne .", "branch", 0, 0, "b"),
    Row("a32", "1eff2fe1", "bx lr", "branch", 0, 0, "bx"),
    Row("a32", "01f0a0e1", "mov pc, r1", "branch", 0, 0, "mov"),
    Row("a32", "913220e0", "mla r0, r1, r2, r3", "other", 0, 0, "mla"),
    Row("a32", "01008002", "addeq r0, r0, #1", "other", 0, 0, "alu.imm"),
    Row("a32", "0100a0e1", "mov r0, r1", "other", 0, 0, "alu.mov"),
    Row("a32", "020181e0", "add r0, r1, r2, lsl #2", "other", 0, 0, "add"),
    Row("a32", "910210e0", "muls r0, r1, r2", "other", 0, 0, "muls"),
    Row("a32", "00f0d0f5", "pld [r0]", "other", 0, 0, "pld"),
    Row("t32", "e2ffc001", "vmla.f32 q8, q9, d0[0]", "mac", 4, 0, "vmla.f32.q"),
    Row("t32", "92ef4b02", "vmlal.s16 q0, d2, d3[1]", "mac", 4, 0, "vmlal.s16"),
    Row("t32", "20f90d07", "vld1.8 {d0}, [r0]!", "load", 0, 8, "vld1.8.d1"),
    Row("t32", "51f8049b", "ldr.w r9, [r1], #4", "load", 0, 4, "ldr"),
    Row("t32", "f0b5", "push {r4-r7, lr}", "store", 0, 20, "push.r5"),
    Row("t32", "2de9f043", "push.w {r4-r9, lr}", "store", 0, 28, "push.r7"),
    Row("t32", "0130", "adds r0, #1", "other", 0, 0, "alu.imm"),
    Row("t32", "08f10108", "add.w r8, r8, #1", "other", 0, 0, "alu.imm"),
    Row("t32", "00b1", "cbz r0, .+4", "branch", 0, 0, "cbz"),
    Row("t32", "18bf", "it ne", "other", 0, 0, "it"),
    Row("t32", "01fb02f0", "mul r0, r1, r2", "other", 0, 0, "mul"),
)
DIRECTIVES = {
    "a64": ".arch armv8.2-a+fp16+dotprod\n",
    "a32": ".syntax unified\n.arch armv7ve\n.fpu neon-vfpv4\n",
    "t32": ".syntax unified\n.arch armv7ve\n.fpu neon-vfpv4\n.thumb\n",
}


def assembler(instruction_set: str) -> str:
    return ("aarch64-linux-gnu" if instruction_set == "a64" else "arm-linux-gnueabihf") + "-as"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.instruction_set} {row.text}")
def test_an_instruction_is_what_the_manual_says(row: Row) -> None:
    (found,) = disassemble(bytes.fromhex(row.code), 0x1000, row.instruction_set)
    assert (found.instruction_class, found.macs, found.bytes_moved, found.form) == row[3:]


@pytest.mark.parametrize("instruction_set", SETS)
def test_the_encodings_are_the_assemblers(instruction_set: InstructionSet, tmp_path: Path) -> None:
    tool = assembler(instruction_set)
    if shutil.which(tool) is None:
        pytest.skip(f"needs {tool}")
    rows = [row for row in ROWS if row.instruction_set == instruction_set and not row.text.startswith("it ")]
    source, linked, raw = (tmp_path / name for name in ("code.s", "code.o", "code.bin"))
    source.write_text(DIRECTIVES[instruction_set] + "".join(f"{row.text}\n" for row in rows))
    subprocess.run([tool, source, "-o", linked], check=True)
    subprocess.run([tool[:-2] + "objcopy", "-O", "binary", "-j", ".text", linked, raw], check=True)
    assert raw.read_bytes() == bytes.fromhex("".join(row.code for row in rows))


@given(st.binary(max_size=64), st.sampled_from(SETS), st.integers(0, 10**12))
@settings(max_examples=300, deadline=None)
def test_any_bytes_add_up(code: bytes, instruction_set: InstructionSet, executions: int) -> None:
    instructions = disassemble(code, 0, instruction_set)
    counts = count([Block(0, code, instruction_set, executions)])
    assert counts.total == len(instructions) * executions
    assert sum(counts.instructions.values()) == sum(counts.forms.values()) == counts.total
    assert counts.undecoded == counts.forms.get("undecoded", 0) <= counts.instructions["other"]
    moved = sum(item.bytes_moved for item in instructions if item.instruction_class in ("load", "store"))
    assert counts.bytes_loaded + counts.bytes_stored == moved * executions
    assert counts.macs == sum(item.macs for item in instructions) * executions
    assert all((item.macs > 0) == (item.instruction_class == "mac") for item in instructions)


def test_bytes_that_are_no_instruction_are_said_to_be_so() -> None:
    good = bytes.fromhex("c0035fd6")  # ret
    bad = b"\xff\xff\xff\xff"
    counts = count([Block(0, bad + good + bad, "a64", 3)])
    assert (counts.total, counts.undecoded, counts.instructions["branch"]) == (9, 6, 3)
    found = disassemble(bad + good, 0, "a64")
    assert found[0] == Instruction("undecoded", "ffffffff", "other", 0, 0, "undecoded")


def test_blocks_of_one_code_count_together_and_passes_add() -> None:
    sdot, load = bytes.fromhex("30e2824f"), bytes.fromhex("0004c13c")
    counts = count([Block(0, sdot + load, "a64", 5), Block(64, sdot + load, "a64", 7), Block(128, load, "a64", 1)])
    assert (counts.total, counts.macs, counts.bytes_loaded, counts.bytes_stored) == (25, 12 * 16, 13 * 16, 0)
    assert counts.forms == {"sdot.q": 12, "ldr.q": 13}
    assert counts.macs_per_instruction == pytest.approx(12 * 16 / 25)


def test_nothing_counts_as_nothing() -> None:
    counts = count([])
    assert counts.total == counts.macs == counts.undecoded == 0
    assert counts.macs_per_instruction == 0
    assert set(counts.instructions.values()) == {0}


def test_a_block_of_a_mebibyte_is_refused() -> None:
    with pytest.raises(EdgeqError, match="too long for a block"):
        disassemble(bytes((1 << 20) + 4), 0, "a64")


def test_multiply_accumulates_are_told_by_form_the_most_first() -> None:
    sdot, fmla, ret = (bytes.fromhex(code) for code in ("30e2824f", "20cc224e", "c0035fd6"))
    blocks = [Block(0, fmla + ret, "a64", 10), Block(64, sdot + fmla, "a64", 5), Block(128, fmla + ret, "a64", 1)]
    found = macs_by_form(blocks)
    assert list(found.items()) == [("sdot.q", 5 * 16), ("fmla.4s", 16 * 4)]
    assert sum(found.values()) == count(blocks).macs
