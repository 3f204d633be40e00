"""What an instruction's text says: class, multiply-accumulates, bytes moved and cost form. No decoding, no counting.

Source of the lane counts and access sizes: Arm Architecture Reference Manuals, DDI 0487 (A64) and DDI 0406 (A32, T32).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgeq.cost_table import InstructionClass

__all__ = ["Meaning", "arm64_meaning", "arm_meaning"]


@dataclass(frozen=True, slots=True)
class Meaning:
    """Class, multiply-accumulates, bytes moved and form of an instruction; see
    :class:`edgeq.bench.instructions.Instruction`."""

    kind: InstructionClass
    form: str
    macs: int = 0
    bytes_moved: int = 0


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ELEMENT_BYTES = {"b": 1, "h": 2, "s": 4, "d": 8, "q": 16, "w": 4, "x": 8}
_IMMEDIATE_LAST = re.compile(r"(?:^|, )#-?(?:0x)?[0-9a-f]+$")
_ALU = _names(
    "add adds sub subs rsb rsbs and ands orr orrs eor eors bic bics mov movs movw movt movz movk movn mvn mvns "
    "cmp cmn tst teq adr adrp addw subw sxtb sxth uxtb uxth"
)

# --- A64 ------------------------------------------------------------------------------------------------------------

_A64_BRANCHES = _names("b bl br blr ret cbz cbnz tbz tbnz braa brab blraa blrab retaa retab")
_A64_DOT = {"sdot": 4, "udot": 4, "usdot": 4, "sudot": 4, "bfdot": 2, "smmla": 8, "ummla": 8, "usmmla": 8, "bfmmla": 4}
_A64_MAC = _names(
    "fmla fmls fmlal fmlal2 fmlsl fmlsl2 mla mls smlal smlal2 umlal umlal2 smlsl smlsl2 umlsl umlsl2 "
    "sqdmlal sqdmlal2 sqdmlsl sqdmlsl2 sqrdmlah sqrdmlsh"
)
_A64_SCALAR_MAC = _names("fmadd fmsub fnmadd fnmsub")
_A64_BYTE_MULTIPLY = _names("smull smull2 umull umull2")
_A64_ATOMIC_STORE = ("swp", "cas")
_VECTOR = re.compile(r"\bv\d+\.(\d+)([bhsd])\b")
_LANE = re.compile(r"\bv\d+\.([bhsd])\b")
_SCALAR_SIMD = re.compile(r"\b([bhsdq])\d+\b")
_A64_FIRST = re.compile(r"^([bhsdqwx])(?:\d+|zr)\b")


def arm64_meaning(mnemonic: str, operands: str) -> Meaning:
    """The meaning of an A64 instruction as capstone 5 prints it."""
    base = mnemonic.partition(".")[0]
    if base in _A64_BRANCHES:
        return Meaning("branch", "b.cond" if "." in mnemonic else base)
    if base.startswith("ld"):
        return _a64_access("load", base, operands)
    if base.startswith("st") or base.startswith(_A64_ATOMIC_STORE):
        return _a64_access("store", base, operands)
    vector = _VECTOR.search(operands)
    if vector:
        return _a64_vector(base, int(vector[1]), vector[2])
    scalar = _SCALAR_SIMD.search(operands)
    if scalar:
        mac = base in _A64_SCALAR_MAC or base in _A64_MAC
        return Meaning("mac" if mac else "neon", f"{base}.{scalar[1]}", macs=int(mac))
    if _LANE.search(operands):
        return Meaning("neon", f"{base}.lane")
    return Meaning("other", _integer_form(base, operands))


def _a64_vector(base: str, lanes: int, element: str) -> Meaning:
    form = f"{base}.{lanes}{element}"
    if base in _A64_DOT:
        width = "q" if lanes * _ELEMENT_BYTES[element] == 16 else "d"
        return Meaning("mac", f"{base}.{width}", macs=lanes * _A64_DOT[base])
    if base in _A64_MAC or (base in _A64_BYTE_MULTIPLY and element == "h"):
        return Meaning("mac", form, macs=lanes)
    return Meaning("neon", form)


def _a64_access(kind: InstructionClass, base: str, operands: str) -> Meaning:
    listed = operands.partition("}")[0] if operands.startswith("{v") else ""
    if listed:
        registers = listed.count("v")
        whole = _VECTOR.search(listed)
        if whole is None or base.endswith("r"):  # one lane of each, or one element to all lanes
            element = (whole[2] if whole else None) or _LANE.findall(listed)[0]
            form = base if base.endswith("r") else f"{base}.lane"
            return Meaning(kind, form, bytes_moved=registers * _ELEMENT_BYTES[element])
        size = int(whole[1]) * _ELEMENT_BYTES[whole[2]]
        return Meaning(kind, f"{base}.{'q' if size == 16 else 'd'}{registers}", bytes_moved=registers * size)
    status = base.startswith(("stxr", "stlxr", "stxp", "stlxp"))  # the first operand is the outcome
    text = operands.split(", ", 1)[-1] if status else operands
    first = _A64_FIRST.match(text)
    register = first[1] if first else "x"
    pair = 2 if base.startswith(("ldp", "stp", "ldnp", "stnp", "ldxp", "stxp", "ldaxp", "stlxp", "casp")) else 1
    size = _named_size(base) or _ELEMENT_BYTES[register]
    form = f"{base}.{register}" if register in "bhsdq" else base
    return Meaning(kind, form, bytes_moved=pair * size)


def _named_size(base: str) -> int:
    """The bytes that the mnemonic's end names, 0 where the register decides."""
    if base.endswith("sw"):
        return 4
    if base.endswith("b"):
        return 1
    return 2 if base.endswith("h") else 0


# --- A32 and T32 ----------------------------------------------------------------------------------------------------

_ARM_BRANCHES = _names("b bl bx blx bxj cbz cbnz tbb tbh")
_ARM_LONG_MAC = _names("vmlal vmlsl vqdmlal vqdmlsl")
_ARM_LONG = _ARM_LONG_MAC | {"vmull", "vqdmull"}
_ARM_MAC = _names("vmla vmls vnmla vnmls vfma vfms vfnma vfnms vqrdmlah vqrdmlsh")
_ARM_DOT = _names("vsdot vudot vusdot vsudot")
_ARM_VECTOR = re.compile(r"\b([sdq])\d+\b")
_ARM_RANK = "sdq"
_TYPE_BITS = re.compile(r"[a-z]*(\d+)")
_MULTIPLE = re.compile(r"^(v?)(ldm|stm|push|pop)(?:ia|ib|da|db|fd|ea)?$")
_STRUCTURE = re.compile(r"^v(ld|st)([1-4])$")


def arm_meaning(mnemonic: str, operands: str) -> Meaning:
    """The meaning of an A32 or T32 instruction as capstone 5 prints it, without its condition."""
    head, _, types = mnemonic.partition(".")
    if head in _ARM_BRANCHES or (operands.startswith("pc,") and not head.startswith("ldr")):
        return Meaning("branch", head)
    multiple = _MULTIPLE.match(head)
    if multiple:
        return _arm_multiple(multiple[1], multiple[2], operands)
    structure = _STRUCTURE.match(head)
    if structure:
        return _arm_structure(head, structure[1], types, operands)
    if head.startswith(("vldr", "vstr", "ldr", "str", "ldc", "stc", "lda", "stl")):
        return _arm_access(head, operands)
    if head.startswith("v"):
        return _arm_vector(head, types, operands)
    return Meaning("other", _integer_form(head, operands))


def _arm_multiple(vector: str, base: str, operands: str) -> Meaning:
    kind: InstructionClass = "load" if base in ("ldm", "pop") else "store"
    registers = operands[operands.find("{") :].count(",") + 1
    letter = _ARM_VECTOR.findall(operands)[0] if vector else "r"
    return Meaning(kind, f"{vector}{base}.{letter}{registers}", bytes_moved=registers * (8 if letter == "d" else 4))


def _arm_structure(head: str, direction: str, types: str, operands: str) -> Meaning:
    listed = operands.partition("}")[0]
    registers = len(_ARM_VECTOR.findall(listed))
    kind: InstructionClass = "load" if direction == "ld" else "store"
    form = f"{head}.{types}"
    element = _bits(types) // 8
    if "[]" in listed:  # one structure to all lanes, whichever number of registers takes it
        return Meaning(kind, f"{form}.dup", bytes_moved=element * int(head[-1]))
    if "[" in listed:
        return Meaning(kind, f"{form}.lane", bytes_moved=element * registers)
    return Meaning(kind, f"{form}.d{registers}", bytes_moved=8 * registers)


def _arm_access(head: str, operands: str) -> Meaning:
    vector = head.startswith("v")
    kind: InstructionClass = "load" if head.removeprefix("v").startswith("ld") else "store"
    if vector:
        letter = operands[:1]
        return Meaning(kind, f"{head}.{letter}", bytes_moved=8 if letter == "d" else 4)
    size = {"d": 8, "b": 1, "h": 2}.get(head.removeprefix("ldr").removeprefix("str").lstrip("sex")[:1], 4)
    return Meaning(kind, head, bytes_moved=size)


def _arm_vector(head: str, types: str, operands: str) -> Meaning:
    letters = _ARM_VECTOR.findall(operands)
    form = f"{head}.{types}" if types else head
    if head in _ARM_LONG:
        bits = _bits(types)
        mac = head in _ARM_LONG_MAC or bits == 8
        return Meaning("mac" if mac else "neon", form, macs=64 // bits if mac else 0)
    if not letters:
        return Meaning("neon", form)
    if head in _ARM_DOT:
        return Meaning("mac", f"{form}.{letters[0]}", macs=16 if letters[0] == "q" else 8)
    form = f"{form}.{max(letters, key=_ARM_RANK.index)}"
    if head in _ARM_MAC:
        scalar = letters[0] == "s" or (letters[0] == "d" and types == "f64")
        return Meaning("mac", form, macs=1 if scalar else {"d": 64, "q": 128}[letters[0]] // _bits(types))
    return Meaning("neon", form)


def _bits(types: str) -> int:
    match = _TYPE_BITS.match(types)
    return int(match[1]) if match and int(match[1]) else 8


# --- both -----------------------------------------------------------------------------------------------------------


def _integer_form(base: str, operands: str) -> str:
    """``alu.imm`` and ``alu.mov`` for what in-order cores can take as the second of a pair, else the mnemonic."""
    if base in _ALU:
        if _IMMEDIATE_LAST.search(operands) and not re.search(r"\b(lsl|lsr|asr|ror) #", operands):
            return "alu.imm"
        if base in ("mov", "movs") and operands.count(",") == 1:
            return "alu.mov"
    return base
