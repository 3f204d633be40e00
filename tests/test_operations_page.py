"""docs/reference/operations.md is what the table of operations and its test cases say.

python tests/test_operations_page.py     writes it anew
"""

from __future__ import annotations

import re
from pathlib import Path

import onnx
from int8_models import artifact_of, float_model, kinds
from operation_cases import CASES

from edgeq.export.decompose import DECOMPOSED
from edgeq.onnx_file import OPSETS
from edgeq.tflite.ops import OPERATIONS, Operation
from edgeq.verify.litert import delegated_operators

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "operations.md"

HEAD = f"""# Operations

What `edgeq export`, `quantize` and `convert` turn into int8 TFLite. The table is generated from the registry in
`edgeq/tflite/ops/` and its test cases (`python tests/test_operations_page.py`).

- **Tests**: so many small networks of the operation are converted in each run of the tests. Each runs in LiteRT's
  reference kernels, in LiteRT with XNNPACK, and in onnxruntime; every layer may differ by one code at most, and no
  tensor is float. (Of a bilinear resize whose sizes are no multiples, LiteRT's reference kernel differs by more.)
- **XNNPACK**: *yes* where LiteRT's delegate takes the int8 operation; *no* where LiteRT's own kernel computes it;
  *some* where it depends on the case.
- **Opsets**: the versions of the operation in opset {OPSETS.start} to {OPSETS.stop - 1}. An operation in italics is
  replaced by others before calibration.
- **Grid**: *same*: the result is on its input's grid. A pair of numbers is the scale and zero point that TFLite
  prescribes.

A value may have any number of dimensions. Images are NHWC in TFLite, everything else keeps ONNX's order; Reshape and
Transpose cost nothing until an operation needs another order of memory, and a note of the conversion names each
TRANSPOSE.

"""

COLUMNS = ("ONNX", "opsets", "TFLite", "grid", "limits", "XNNPACK", "tests")


def versions(name: str) -> str:
    """The opsets within those that are read in which an operation was defined anew."""
    known = [schema.since_version for schema in onnx.defs.get_all_schemas_with_history()
             if schema.name == name and schema.domain == ""]  # fmt: skip
    first = max((version for version in known if version <= OPSETS.start), default=min(known))
    return ", ".join(str(version) for version in sorted({first, *(v for v in known if v > first and v in OPSETS)}))


def delegated() -> dict[str, set[bool]]:
    """Whether XNNPACK takes each TFLite operation, over the first three cases that it is in."""
    found: dict[str, list[bool]] = {}
    for case in CASES:
        if all(len(found.get(kind, ())) >= 3 for kind in case.becomes.split()):
            continue
        artifact = artifact_of(float_model(case.body, case.constants, case.inputs, case.outputs))
        taken = delegated_operators(artifact.content)
        for i, kind in enumerate(kinds(artifact.conversion.graph)):
            found.setdefault(kind, []).append(i in taken)
    return {kind: set(answers) for kind, answers in found.items()}


def grid(row: Operation) -> str:
    if row.fixed_grid is not None:
        scale, zero_point = row.fixed_grid
        return f"1/{round(1 / scale)}, {zero_point}"
    return "same" if row.grid == "same" else "free"


def answer(tflite: str, taken: dict[str, set[bool]]) -> str:
    answers = set().union(*(taken.get(kind, set()) for kind in re.findall(r"[A-Z][A-Z0-9_]+", tflite)))
    return {(): "", (False,): "no", (True,): "yes"}.get(tuple(sorted(answers)), "some")


def page() -> str:
    taken = delegated()
    count = {name: sum(case.row == name for case in CASES) for name in (*OPERATIONS, *DECOMPOSED)}
    rows = [
        (name, name, row.tflite, grid(row), row.limits) for name, row in OPERATIONS.items()
    ] + [(f"*{name}*", name, kinds, "free", "") for name, kinds in DECOMPOSED.items()]  # fmt: skip
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    for shown, name, tflite, rule, limits in sorted(rows, key=lambda row: row[1]):
        lines.append(
            f"| {shown} | {versions(name)} | {tflite} | {rule} | {limits} | {answer(tflite, taken)} | {count[name]} |"
        )
    return HEAD + "\n".join(lines) + "\n"


def test_the_operations_page_is_what_the_registry_says() -> None:
    remedy = "run: python tests/test_operations_page.py"
    assert PAGE.read_text(encoding="utf-8") == page(), remedy


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
