"""A layout is judged by numpy: what is a new name for the same memory, and what has to be moved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeq.tflite.builder import GraphBuilder
from edgeq.tflite.layout import Layout, canonical_order
from edgeq.tflite.model import Quantization, Tensor


def random_shape(generator: np.random.Generator, size: int) -> tuple[int, ...]:
    """A random shape of the size, with some axes of 1."""
    shape = []
    while size > 1:
        divisors = [d for d in range(2, size + 1) if size % d == 0]
        shape.append(int(generator.choice(divisors)))
        size //= shape[-1]
    for _ in range(generator.integers(0, 3)):
        shape.insert(int(generator.integers(0, len(shape) + 1)), 1)
    return tuple(shape) or (1,)


def view_of(generator: np.random.Generator, size: int) -> tuple[Layout, NDArray[Any], NDArray[Any]]:
    """A layout after random reshapes and transposes, the tensor, and the ONNX value by numpy."""
    shape = random_shape(generator, size)
    layout = Layout.arranged(shape, generator.permutation(len(shape)).tolist())
    value = generator.permutation(size).reshape(shape)
    tensor = layout.to_tflite(value)
    for _ in range(6):
        if generator.random() < 0.5:
            permutation = generator.permutation(value.ndim).tolist()
            layout, value = layout.transposed(permutation), value.transpose(permutation)
        else:
            other = random_shape(generator, size)
            if (reshaped := layout.reshaped(other)) is not None:
                layout, value = reshaped, value.reshape(other)
    return layout, tensor, value


@pytest.mark.parametrize("seed", range(60))
def test_reshapes_and_transposes_only_name_the_memory_anew(seed: int) -> None:
    generator = np.random.default_rng(seed)
    layout, tensor, value = view_of(generator, int(generator.choice([1, 12, 36, 120, 210])))
    assert layout.shape == value.shape
    np.testing.assert_array_equal(layout.to_onnx(tensor), value)
    np.testing.assert_array_equal(layout.to_tflite(value), tensor)


def test_memory_in_the_values_own_order_takes_any_shape() -> None:
    assert Layout.arranged((4, 6, 5), range(3)).reshaped((3, 10, 4)) is not None
    assert Layout.arranged((1, 6, 4, 5)).reshaped((1, 6, 20)) is not None  # pixels are neighbours in NHWC
    assert Layout.arranged((1, 6, 4, 5)).reshaped((1, 4, 6, 5)) is None  # rows are taken from channels


def evaluated(graph: GraphBuilder, source: int, values: NDArray[Any], result: int) -> NDArray[Any]:
    """RESHAPE and TRANSPOSE by numpy."""
    known = {source: values}
    for operator in graph.operators:
        constant = graph.tensors[operator.inputs[1]].data
        assert constant is not None
        before = known[operator.inputs[0]]
        after = before.reshape(constant) if operator.kind == "RESHAPE" else before.transpose(constant)
        assert after.shape == graph.tensors[operator.outputs[0]].shape
        known[operator.outputs[0]] = after
    return known[result]


@pytest.mark.parametrize("seed", range(120))
def test_a_tensor_is_brought_into_another_layout_by_one_transpose(seed: int) -> None:
    generator = np.random.default_rng(seed)
    layout, values, value = view_of(generator, int(generator.choice([1, 36, 120, 210])))
    wanted = Layout.arranged(value.shape, generator.permutation(value.ndim).tolist())
    graph = GraphBuilder()
    source = graph.add_tensor(Tensor("x", values.shape, "int8", Quantization.per_tensor(1.0, 0)))
    result = graph.arrange(source, layout, wanted, "y", "here")
    np.testing.assert_array_equal(evaluated(graph, source, values, result), wanted.to_tflite(value))
    kinds = [operator.kind for operator in graph.operators]
    assert kinds.count("TRANSPOSE") == len(graph.notes) <= 1
    assert kinds.count("RESHAPE") <= (2 if "TRANSPOSE" in kinds else 1)
    assert graph.arrange(source, layout, wanted, "y", "here") == result, "what was made once is used again"
    assert len(graph.operators) == len(kinds)


@pytest.mark.parametrize("seed", range(60))
def test_reduced_dimensions_are_those_of_the_reduced_axes(seed: int) -> None:
    generator = np.random.default_rng(seed)
    layout, values, value = view_of(generator, int(generator.choice([36, 120, 210])))
    axes = generator.permutation(value.ndim)[: generator.integers(1, value.ndim + 1)].tolist()
    keep = bool(generator.integers(0, 2))
    if (found := layout.reduced(axes, keep=keep)) is not None:
        dimensions, after = found
        reduced = values.sum(axis=tuple(dimensions), keepdims=keep)
        assert reduced.shape == after.tensor_shape
        np.testing.assert_array_equal(after.to_onnx(reduced), value.sum(axis=tuple(axes), keepdims=keep))


def test_the_canonical_order_is_nhwc_of_images_alone() -> None:
    assert canonical_order(4) == (0, 2, 3, 1)
    assert [canonical_order(rank) for rank in (1, 3, 5)] == [(0,), (0, 1, 2), (0, 1, 2, 3, 4)]
