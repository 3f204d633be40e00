"""The ONNX operations that edgeq lowers to int8 TFLite: one row each, one file a family. To add one, add its row."""

from __future__ import annotations

from edgeq.tflite.ops.activation import ACTIVATION
from edgeq.tflite.ops.conv import CONV
from edgeq.tflite.ops.conv_transpose import CONV_TRANSPOSE
from edgeq.tflite.ops.dense import DENSE
from edgeq.tflite.ops.elementwise import ELEMENTWISE
from edgeq.tflite.ops.move import MOVE
from edgeq.tflite.ops.norm import NORM
from edgeq.tflite.ops.operation import Operation
from edgeq.tflite.ops.pool import POOL
from edgeq.tflite.ops.reduce import REDUCE
from edgeq.tflite.ops.resize import RESIZE
from edgeq.tflite.ops.select import SELECT
from edgeq.tflite.ops.shape import SHAPE
from edgeq.tflite.ops.table import TABLE

__all__ = ["OPERATIONS", "Operation"]


def _table(*families: tuple[Operation, ...]) -> dict[str, Operation]:
    table: dict[str, Operation] = {}
    for operation in (row for family in families for row in family):
        if operation.onnx in table:
            raise RuntimeError(f"two rows for the operation {operation.onnx}")
        table[operation.onnx] = operation
    return table


OPERATIONS = _table(
    CONV, CONV_TRANSPOSE, DENSE, POOL, REDUCE, RESIZE, ELEMENTWISE, SELECT, ACTIVATION, TABLE, SHAPE, MOVE, NORM
)
