"""The XNNPACK runner's graph file: its bytes, the 8-bit tables in it, and what is refused."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from int8_models import artifact_of, float_model, weights
from numpy.typing import NDArray
from single_graphs import activation, constant, single

from edgeq.bench import xnnpack_tables as tables
from edgeq.bench.xnnpack_format import ALIGNMENT, Kind, Node, Value, ValueType, pack_graph
from edgeq.bench.xnnpack_graph import encode_graph
from edgeq.bench.xnnpack_rules import RULES
from edgeq.bench.xnnpack_tables import Codes, Grid
from edgeq.errors import ExportError
from edgeq.tflite.model import Graph, Operator, Quantization, Tensor
from edgeq.tflite.ops import OPERATIONS
from edgeq.tflite.write import write_graph
from edgeq.verify.litert import run

CODES: dict[str, Codes] = {"int8": np.arange(-128, 128), "uint8": np.arange(256)}


def small_graph() -> Graph:
    """Two convolutions of the same weights, one after the other, and softmax."""
    convolutions = "c = Conv <pads = [1, 1, 1, 1]> (x, w, b)\n d = Conv <pads = [1, 1, 1, 1]> (c, w, b)\n"
    body = f"{convolutions} y = Softmax <axis = 1> (d)"
    constants = {"w": weights(3, 3, 3, 3), "b": weights(3)}
    return artifact_of(float_model(body, constants, {"x": (1, 3, 5, 4)})).conversion.graph


def parse(content: bytes) -> dict[str, Any]:
    """The file's tables by its description, not by the writer's code."""
    magic, version, *counts, offset, size = struct.unpack_from("<8s8I", content)
    values, nodes, operands, inputs, outputs = counts
    after = 48 + 64 * values + 96 * nodes
    indices = struct.unpack_from(f"<{operands + inputs + outputs}I", content, after)
    return {
        "magic": magic,
        "version": version,
        "offset": offset,
        "size": size,
        "values": [struct.unpack_from("<8Iif3I", content, 48 + 64 * i) for i in range(values)],
        "nodes": [struct.unpack_from("<4I2f16i", content, 48 + 64 * values + 96 * i) for i in range(nodes)],
        "operands": indices[:operands],
        "inputs": indices[operands : operands + inputs],
        "outputs": indices[operands + inputs :],
        "tables_end": after + 4 * len(indices),
    }


def test_the_file_is_as_it_is_described() -> None:
    data = bytes(range(9))
    values = (
        Value(ValueType.FLOAT32, (1, 9)),
        Value(ValueType.RAW, (9,), data=data),
        Value(ValueType.CHANNEL_INT8, (2,), scales=np.array([0.5, 2], np.float32), axis=0, data=b"\1\2"),
        Value(ValueType.INT8, (1, 9), 0.25, -3),
    )
    content = pack_graph(values, [Node(Kind.ADD, (0, 1), 3, (7, -8), 0.0, 6.0)], [0], [3])
    found = parse(content)
    assert (found["magic"], found["version"]) == (b"EDGEQXNN", 1)
    assert found["offset"] == math.ceil(found["tables_end"] / 16) * 16
    assert len(content) == found["offset"] + found["size"]
    nothing = 0xFFFFFFFF
    assert found["values"][0] == (1, 2, 1, 9, 0, 0, 0, 0, 0, 1.0, nothing, nothing, 0)
    assert found["values"][3] == (2, 2, 1, 9, 0, 0, 0, 0, -3, 0.25, nothing, nothing, 0)
    raw, channel = found["values"][1], found["values"][2]
    assert content[found["offset"] + raw[10] :][:9] == data
    assert struct.unpack_from("<2f", content, found["offset"] + channel[11]) == (0.5, 2.0)
    assert found["nodes"] == [(4, 0, 2, 3, 0.0, 6.0, 7, -8, *(0,) * 14)]
    assert (found["operands"], found["inputs"], found["outputs"]) == ((0, 1), (0,), (3,))


def test_equal_graphs_give_equal_bytes_and_equal_constants_are_stored_once() -> None:
    graph = small_graph()
    content = encode_graph(graph)
    assert content == encode_graph(small_graph())
    found = parse(content)
    filters = [value[10] for value in found["values"] if value[0] == ValueType.CHANNEL_INT8]
    assert len(filters) == 2
    assert len(set(filters)) == 1
    places = {place for value in found["values"] for place in value[10:12]} - {0xFFFFFFFF}
    assert {place % ALIGNMENT for place in places} == {0}


# What edgeq writes and the runner refuses by name: LiteRT's lane runs them.
WITHOUT_RULE = {
    "ARG_MAX", "ARG_MIN", "BATCH_MATMUL", "CAST", "DEPTH_TO_SPACE", "EQUAL", "EXP", "GATHER", "GELU", "GREATER",
    "GREATER_EQUAL", "LESS", "LESS_EQUAL", "LOG", "LOGICAL_AND", "LOGICAL_NOT", "LOGICAL_OR", "MAXIMUM", "MINIMUM",
    "MIRROR_PAD", "PRELU", "REDUCE_MAX", "REDUCE_MIN", "RESIZE_NEAREST_NEIGHBOR", "SELECT_V2", "SPACE_TO_DEPTH",
    "SPLIT", "SPLIT_V", "SQRT", "TILE", "TRANSPOSE_CONV",
}  # fmt: skip


def test_every_operation_that_edgeq_writes_has_a_rule_or_is_known_to_have_none() -> None:
    written = {kind for row in OPERATIONS.values() for kind in row.tflite.replace(",", " ").split()}
    assert {kind for kind in written if kind.isupper()} - set(RULES) == WITHOUT_RULE


# --- the tables: LiteRT is the judge, for every code ------------------------------------------------------------------


def litert_codes(kind: str, before: Grid, after: Grid, options: Any, types: tuple[str, str], version: int) -> Codes:
    """What LiteRT makes of all codes, in order, in whole blocks of 16."""
    source = activation("x", (1, 256), types[0], before.scale, before.zero_point)
    graph = single(kind, [source], activation("y", (1, 256), types[1], after.scale, after.zero_point), options,
                   version=version)  # fmt: skip
    codes = CODES[types[0]].astype(types[0])[None]
    found: Codes = run(write_graph(graph), [codes], workers=1)[0][0].astype(np.int64)
    return found


def grids(seed: int) -> list[tuple[Grid, Grid]]:
    """Pairs of grids, some a power of two apart, so that ties are seen."""
    generator = np.random.default_rng(seed)
    pairs = []
    for i in range(12):
        scale = np.float32(np.exp(generator.uniform(-4, 0)))
        factor = 2.0 ** generator.integers(-2, 2) if i % 2 else np.exp(generator.uniform(-1.2, 1.2))
        zeros = generator.integers(-128, 128, 2)
        pairs.append((Grid(float(scale), int(zeros[0])), Grid(float(np.float32(scale * factor)), int(zeros[1]))))
    return pairs


TABLES: dict[str, tuple[Callable[[Grid, Grid], Codes | None], Any, int]] = {
    "QUANTIZE": (lambda a, b: tables.xnnpack_convert(CODES["int8"], a, b), schema.QuantizeOptionsT(), 2),
    "RELU": (lambda a, b: tables.relu(CODES["int8"], a, b, 0, math.inf), None, 2),
    "RELU6": (lambda a, b: tables.relu(CODES["int8"], a, b, 0, 6), None, 2),
    "RELU_N1_TO_1": (lambda a, b: tables.relu(CODES["int8"], a, b, -1, 1), None, 1),
    "RELU_0_TO_1": (lambda a, b: tables.relu(CODES["int8"], a, b, 0, 1), None, 1),
    "HARD_SWISH": (lambda a, b: tables.hard_swish(CODES["int8"], a, b), schema.HardSwishOptionsT(), 1),
    "LEAKY_RELU": (
        lambda a, b: tables.leaky_relu(CODES["int8"], a, b, float(np.float32(0.2))),
        schema.LeakyReluOptionsT(alpha=0.2),
        2,
    ),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_is_litert_for_every_code(kind: str) -> None:
    make, options, version = TABLES[kind]
    for before, after in grids(seed=1):
        found = make(before, after)
        assert found is not None
        wanted = litert_codes(kind, before, after, options, ("int8", "int8"), version)
        np.testing.assert_array_equal(np.clip(found, -128, 127), wanted, str((before, after)))


@pytest.mark.parametrize(
    ("kind", "make", "after"),
    [("LOGISTIC", tables.logistic, Grid(1 / 256, -128)), ("TANH", tables.tanh, Grid(1 / 128, 0))],
)
def test_a_curve_is_litert_for_every_code(kind: str, make: Callable[[Codes, Grid, Grid], Codes], after: Grid) -> None:
    for before, _ in grids(seed=2):
        found = np.clip(make(CODES["int8"], before, after), -128, 127)
        np.testing.assert_array_equal(found, litert_codes(kind, before, after, None, ("int8", "int8"), 2))


def test_a_leaky_relu_out_of_xnnpacks_range_is_tflites() -> None:
    before, after = Grid(1.0, 3), Grid(1 / 256, 5)
    found = tables.leaky_relu(CODES["int8"], before, after, float(np.float32(0.01)))
    wanted = litert_codes("LEAKY_RELU", before, after, schema.LeakyReluOptionsT(alpha=0.01), ("int8", "int8"), 2)
    np.testing.assert_array_equal(np.clip(found, -128, 127), wanted)


@pytest.mark.parametrize("types", [("uint8", "int8"), ("int8", "uint8")])
def test_requantizing_between_types_is_litert_in_blocks_and_in_the_rest(types: tuple[str, str]) -> None:
    options = schema.QuantizeOptionsT()
    for pair in grids(seed=3):
        before, after = (
            Grid(grid.scale, grid.zero_point + (128 if dtype == "uint8" else 0))
            for grid, dtype in zip(pair, types, strict=True)
        )
        blocks, rest = tables.requantize(CODES[types[0]], before, after)
        limits = np.iinfo(types[1])
        wanted = litert_codes("QUANTIZE", before, after, options, types, 2)
        np.testing.assert_array_equal(np.clip(blocks, limits.min, limits.max), wanted)
        left = [activation("x", (1, 15), types[0], before.scale, before.zero_point)]
        result = activation("y", (1, 15), types[1], after.scale, after.zero_point)
        content = write_graph(single("QUANTIZE", left, result, options))
        for start in range(0, 240, 15):
            codes = CODES[types[0]][start : start + 15]
            found = run(content, [codes.astype(types[0])[None]], workers=1)[0][0]
            np.testing.assert_array_equal(np.clip(rest, limits.min, limits.max)[start : start + 15], found)


@pytest.mark.parametrize(("low", "high"), [(0.0, math.inf), (0.0, 6.0), (-1.0, 1.0), (-math.inf, math.inf)])
def test_codes_of_an_activation_hold_what_is_within_its_limits(low: float, high: float) -> None:
    grid = Grid(0.05, -11)
    least, greatest = tables.code_limits(grid, low, high)
    real = grid.scale * (CODES["int8"] - grid.zero_point)
    inside = CODES["int8"][(real >= low - grid.scale / 2) & (real <= high + grid.scale / 2)]
    assert (least, greatest) == (inside[0], inside[-1])


# --- what is refused --------------------------------------------------------------------------------------------------

IMAGE = (1, 4, 6, 3)
X, Y = activation("x", IMAGE), activation("y", IMAGE)


def filters(grid: Quantization | None = None, dtype: str = "int8", *, data: bool = True) -> Tensor:
    codes: NDArray[Any] = np.ones((3, 1, 1, 3), dtype)
    grid = Quantization.per_tensor(0.5, 0) if grid is None and dtype == "int8" else grid
    return Tensor("w", codes.shape, dtype, grid, codes if data else None)


def conv(weight: Tensor, *more: Tensor, activation_function: int = 0) -> Graph:
    options = schema.Conv2DOptionsT(
        padding=0, strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1,
        fusedActivationFunction=activation_function,
    )  # fmt: skip
    return single("CONV_2D", [X, weight, *more], Y, options)


POOL_1X1 = schema.Pool2DOptionsT(padding=1, strideH=1, strideW=1, filterHeight=1, filterWidth=1)
SLICE = schema.StridedSliceOptionsT()
BOUNDS = [constant(name, np.array(values, np.int32)) for name, values in
          (("begin", [0, 0, 0, 0]), ("end", [1, 4, 6, 3]), ("steps", [1, -1, 1, 1]))]  # fmt: skip
REFUSED: dict[str, tuple[Graph, str]] = {
    "unknown": (single("GATHER", [X], Y), "operation GATHER is not one"),
    "no inputs": (single("RELU", [], Y), "operation RELU is not one"),
    "no options": (single("CONV_2D", [X, filters()], Y), "has no"),
    "type": (single("RELU", [X], activation("y", IMAGE, "int16")), "neither int8 nor float32"),
    "end": (single("RELU", [activation("x", IMAGE, "int32")], Y), "has not"),
    "no grid": (single("RESHAPE", [Tensor("x", IMAGE, "int8")], Y), "without one grid"),
    "zero point": (single("RESHAPE", [activation("x", IMAGE, zero=200)], Y), "bad zero point"),
    "rank": (single("RESHAPE", [activation("x", (1,) * 7)], Y), "too many dimensions"),
    "weights at run time": (conv(filters(data=False)), "weight w that is not constant"),
    "asymmetric weights": (conv(filters(Quantization.per_tensor(1, 5))), "not symmetric int8"),
    "axis of scales": (conv(filters(Quantization.per_channel(np.ones(3, np.float32), 1))), "wrong axis"),
    "bias type": (conv(filters(), constant("b", np.ones(3, np.int64))), "not int32"),
    "activation": (conv(filters(), activation_function=4), "fused activation"),
    "dense shape": (
        single("FULLY_CONNECTED", [X, Tensor("w", (2, 5), "int8", None, np.ones((2, 5), np.int8))], Y),
        "shapes that do not fit",
    ),
    "pool of one pixel": (single("MAX_POOL_2D", [X], Y, POOL_1X1), "one pixel"),
    "mean over nothing": (single("MEAN", [X, constant("a", np.zeros(0, np.int32))], Y), "no axis"),
    "mean over axis 9": (single("MEAN", [X, constant("a", np.array([9], np.int32))], Y), "not there"),
    "negative step": (single("STRIDED_SLICE", [X, *BOUNDS], Y, SLICE), "not positive"),
    "negative pad": (single("PAD", [X, constant("p", np.full((4, 2), -1, np.int32))], Y), "cannot be"),
    "pads of another rank": (single("PAD", [X, constant("p", np.ones((3, 2), np.int32))], Y), "bad input 1"),
    "softmax grid": (single("SOFTMAX", [X], Y, schema.SoftmaxOptionsT(beta=1.0)), "grid or beta"),
    "concatenated grids": (
        single("CONCATENATION", [activation("x", IMAGE, scale=2)], Y, schema.ConcatenationOptionsT(axis=3)),
        "several grids",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_neither_has_is_refused_in_one_line_that_names_it(case: str) -> None:
    graph, what = REFUSED[case]
    with pytest.raises(ExportError, match=what) as caught:
        encode_graph(graph)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("tensor ")


def test_an_input_left_out_is_refused() -> None:
    graph = single("ADD", [X, X], Y, schema.AddOptionsT())
    operator = Operator("ADD", (0, -1), (2,), schema.AddOptionsT())
    with pytest.raises(ExportError, match="lacks an input"):
        encode_graph(Graph(graph.tensors, (operator,), (0,), (2,)))
