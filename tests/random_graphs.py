"""Random float ONNX graphs of the operations that edgeq lowers; how each is drawn is in ``graph_rows``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import onnx
from hypothesis import assume
from hypothesis import strategies as st
from int8_models import Arrays
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Draft", "Drawn", "Row", "Shape", "Value", "graphs"]

Shape = tuple[int, ...]
OPSETS = (20, 22)
LARGEST = 1500  # elements of a value that others are made from
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
BEFORE_PLACING = ("BatchNormalization", "LayerNormalization")  # edgeq takes them apart, and no other quantizer
STEEPEST = 300.0  # magnitude above which only bounded functions go on


@dataclass(frozen=True)
class Value:
    """A value of the graph: about how large its numbers are is kept, so that products of products stay finite."""

    name: str
    shape: Shape
    kind: int = TensorProto.FLOAT
    large: float = 4.0

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


class Draw(Protocol):
    def __call__(self, strategy: st.SearchStrategy[Any]) -> Any: ...


@dataclass
class Draft:
    """A graph as it is drawn, node by node."""

    draw: Draw
    opset: int
    values: list[Value] = field(default_factory=list)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: Arrays = field(default_factory=dict)

    def one_of(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def integer(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def chance(self) -> bool:
        return bool(self.draw(st.booleans()))

    def weights(self, *shape: int, axis: int = 0, fan_in: int = 1) -> NDArray[np.float32]:
        """Normal values that keep a signal's size: plain, of many sizes along an axis, or with zeros in a channel."""
        generator = np.random.default_rng(self.integer(0, 999))
        values = generator.standard_normal(shape) / np.sqrt(fan_in)
        style = self.one_of("plain", "plain", "channels", "zeros")
        if style != "plain" and shape:
            factors = generator.uniform(0.05, 3, shape[axis])
            factors[0] = 0 if style == "zeros" else factors[0]
            values = values * factors.reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))])
        weights: NDArray[np.float32] = values.astype(np.float32)
        return weights

    def node(
        self,
        kind: str,
        inputs: Sequence[Value | NDArray[Any] | Sequence[int] | float | None],
        *,
        outputs: int = 1,
        large: float | None = None,
        **attributes: Any,
    ) -> list[Value]:
        """Add a node; arrays, lists of integers (int64) and numbers (float32) among its inputs become initializers."""
        names = []
        for item in inputs:
            if isinstance(item, Value):
                names.append(item.name)
            elif item is None:
                names.append("")
            else:
                array = np.asarray(item)
                if not isinstance(item, np.ndarray | np.generic):
                    array = array.astype(np.float32 if isinstance(item, float) else np.int64)
                names.append(f"c{len(self.constants)}")
                self.constants[names[-1]] = array
        number = len(self.nodes)
        results = [f"v{number}" if outputs == 1 else f"v{number}_{i}" for i in range(outputs)]
        given = {key: value for key, value in attributes.items() if value is not None}
        node = helper.make_node(kind, names, results, name=f"{kind.lower()}_{number}", **given)
        self.nodes.append(node)
        known = [item for item in inputs if isinstance(item, Value)]
        size = max(item.large for item in known) if large is None else large
        found = [Value(name, shape, element, size) for name, (shape, element) in zip(
            results, self._infer(node, known), strict=True)]  # fmt: skip
        self.values += found
        return found

    def one(self, kind: str, inputs: Sequence[Any], **more: Any) -> Value:
        return self.node(kind, inputs, **more)[0]

    def _infer(self, node: onnx.NodeProto, known: list[Value]) -> list[tuple[Shape, int]]:
        """Shapes and types of a node's results, by onnx itself."""
        ends = {value.name: helper.make_tensor_value_info(value.name, value.kind, value.shape) for value in known}
        results = [helper.make_empty_tensor_value_info(name) for name in node.output]
        named = {name: self.constants[name] for name in node.input if name in self.constants}
        constants = [numpy_helper.from_array(array, name) for name, array in named.items()]
        graph = helper.make_graph([node], "node", list(ends.values()), results, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)
        outputs = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph.output
        types = [item.type.tensor_type for item in outputs]
        return [(tuple(size.dim_value for size in item.shape.dim), item.elem_type) for item in types]

    def others(self, fits: Callable[[Value], bool]) -> list[Value]:
        """The float values that fit, the newest first."""
        return [value for value in reversed(self.values) if value.kind == TensorProto.FLOAT and fits(value)]


@dataclass(frozen=True)
class Row:
    """How an operation is drawn.

    Attributes:
        onnx: the operation; one node of it at least is added.
        add: adds it behind a value.
        fits: whether it can go behind a value of this shape.
        bounded: whether its results are small however large its input is.
    """

    onnx: str
    add: Callable[[Draft, Value], object]
    fits: Callable[[Shape], object] = lambda shape: True
    bounded: bool = False

    def __str__(self) -> str:
        return self.onnx

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # hypothesis asks for it
        printer.text(self.onnx)


@dataclass(frozen=True)
class Drawn:
    """A float model and what it is quantized with.

    Attributes:
        proto: the model.
        calibration, samples: arrays an input: what the grids are made of, and others to compare the runtimes on.
        foreign: onnxruntime's placing of Q and DQ with these options; None for edgeq's own.
    """

    proto: onnx.ModelProto
    calibration: Arrays
    samples: Arrays
    foreign: dict[str, bool] | None = None

    @property
    def kinds(self) -> list[str]:
        return [node.op_type for node in self.proto.graph.node]

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # what a failing test shows
        printer.text(str(self))

    def __str__(self) -> str:
        return f"{onnx.printer.to_text(self.proto)}\nforeign={self.foreign}"


INPUTS = st.one_of(
    st.tuples(st.just(1), st.integers(1, 6), st.integers(2, 9), st.integers(2, 9)),
    st.tuples(st.just(1), st.sampled_from((4, 8)), st.sampled_from((4, 6)), st.sampled_from((4, 8))),
    st.tuples(st.just(1), st.integers(1, 7), st.integers(2, 12)),
    st.tuples(st.just(1), st.integers(2, 16)),
)


@st.composite
def graphs(draw: Draw, rows: Sequence[Row], *, most: int = 7, foreign: bool | None = None) -> Drawn:
    """A graph of one to ``most`` steps, each a row, behind a recent value.

    Args:
        draw: hypothesis's.
        rows: to draw from.
        most: steps.
        foreign: whether Q and DQ are placed by onnxruntime; None for either.
    """
    draft = Draft(draw, draft_opset := draw(st.sampled_from(OPSETS)))
    first = draw(INPUTS)
    shapes = [first] + [draw(st.one_of(st.just(first), INPUTS)) for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2))))]
    sizes = [draw(st.sampled_from((1.0, 1.0, 1.0, 0.004, 60.0))) for _ in shapes]
    draft.values += [Value(f"x{i}", shape, large=4 * sizes[i]) for i, shape in enumerate(shapes)]
    if foreign is None:
        foreign = draw(st.booleans())
    for step in range(draw(st.integers(1, most))):
        recent = draft.others(lambda value: value.size <= LARGEST)[:4]
        if not recent:
            break
        value = draw(st.sampled_from(recent))
        fitting = [row for row in rows if row.fits(value.shape) and (row.bounded or value.large < STEEPEST)]
        if foreign:
            fitting = [row for row in fitting if row.onnx not in BEFORE_PLACING]
        if foreign and not step:  # it must have a layer: onnxruntime leaves out the pairs that it has no use for
            fitting = [row for row in fitting if row.onnx in LAYERS]
        assume(fitting or draft.nodes)
        if not fitting:
            break
        row = draw(st.sampled_from(fitting))
        before = len(draft.nodes)
        row.add(draft, value)
        assert row.onnx in {node.op_type for node in draft.nodes[before:]}, f"the row of {row.onnx} adds none"
    proto = _model(draft, len(shapes), draft_opset)
    seed = draw(st.integers(0, 999))
    kinds = st.fixed_dictionaries({"per_channel": st.booleans(), "unsigned": st.booleans()})
    if foreign is None:
        foreign = draw(st.booleans())
    used = {item.name for item in proto.graph.input}
    calibration, samples = (
        {name: array for name, array in _samples(shapes, sizes, count, start).items() if name in used}
        for count, start in ((6, seed), (3, seed + 1000))
    )
    return Drawn(proto, calibration, samples, draw(kinds) if foreign else None)


def _model(draft: Draft, inputs: int, opset: int) -> onnx.ModelProto:
    """All that nothing reads are outputs, and maybe one that something does; the batch maybe by name."""
    read = {name for node in draft.nodes for name in node.input}
    computed = draft.values[inputs:]
    ends = [value for value in computed if value.name not in read]
    inner = [value for value in computed if value.name in read and value.kind == TensorProto.FLOAT]
    if inner and draft.draw(st.integers(0, 4)) == 4:
        ends.append(draft.draw(st.sampled_from(inner)))
    used = [value for value in draft.values[:inputs] if value.name in read]
    batch = draft.one_of(1, 1, 1, "N")
    graph = helper.make_graph(
        draft.nodes,
        "random",
        [helper.make_tensor_value_info(v.name, TensorProto.FLOAT, [batch, *v.shape[1:]]) for v in used],
        [helper.make_tensor_value_info(value.name, value.kind, None) for value in ends],
        [numpy_helper.from_array(array, name) for name, array in draft.constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    onnx.checker.check_model(model)
    return model


def _samples(shapes: list[Shape], sizes: list[float], count: int, seed: int) -> Arrays:
    """Normal values about one that is not zero; those to compare on are larger, past what was calibrated."""
    generator = np.random.default_rng(seed)
    more = 1.3 if seed >= 1000 else 1.0
    return {
        f"x{i}": (more * size * (generator.standard_normal((count, *shape[1:])) + 0.25 * i)).astype(np.float32)
        for i, (shape, size) in enumerate(zip(shapes, sizes, strict=True))
    }
