"""A TFLite graph in the making: its tensors and operations, and the RESHAPE and TRANSPOSE that bring a tensor into
another layout."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeq.errors import ExportError
from edgeq.tflite.layout import Layout, coalesce, memory_blocks, refine
from edgeq.tflite.model import FLOAT, Operator, Quantization, Tensor
from edgeq.tflite.versions import operator_version

__all__ = ["GraphBuilder"]

MAX_TRANSPOSE_RANK = 6  # of TFLite's and XNNPACK's kernels


class GraphBuilder:
    """Tensors and operations, in order."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.names: set[str] = set()
        self.reserved: set[str] = set()  # names that only the ONNX values of that name get
        self.notes: list[str] = []
        self._arranged: dict[tuple[Any, ...], int] = {}

    def add_tensor(self, tensor: Tensor) -> int:
        name, number = tensor.name, 1
        while name in self.names or (name in self.reserved and (number > 1 or tensor.data is not None)):
            name, number = f"{tensor.name}_{number}", number + 1
        self.names.add(name)
        self.tensors.append(replace(tensor, name=name))
        return len(self.tensors) - 1

    def add_activation(self, name: str, shape: Sequence[int], grid: Quantization) -> int:
        """A tensor that an operation computes: codes on a grid, or floats."""
        return self.add_tensor(Tensor(name, tuple(shape), grid.dtype, None if grid.is_float else grid))

    def add_constant(self, name: str, data: NDArray[Any], grid: Quantization | None = None) -> int:
        stored = None if grid is None or grid.is_float else grid
        narrow = stored is not None and stored.dtype in ("int4", "int2")
        dtype = stored.dtype if stored is not None and narrow else data.dtype.name
        stored = None if stored is None else replace(stored, dtype=dtype)
        return self.add_tensor(Tensor(name, data.shape, dtype, stored, data))

    def add_number(self, name: str, value: float, rank: int, dtype: str) -> int:
        """A constant of one number, which is exact: on a grid of its own."""
        grid = Quantization.holding(value, dtype)
        return self.add_constant(name, grid.codes(np.full([1] * rank, value)), grid)

    def add_operator(
        self, kind: str, inputs: Sequence[int], outputs: Sequence[int], options: Any = None, version: int = 1
    ) -> None:
        """Add an operation, whose version is given for int8 operands."""
        version = operator_version(kind, version, [self.tensors[index] for index in inputs])
        self.operators.append(Operator(kind, tuple(inputs), tuple(outputs), options, version))

    def grid(self, tensor: int) -> Quantization:
        """What an activation's codes mean; FLOAT where it has none."""
        return self.tensors[tensor].quantization or FLOAT

    # --- layouts ------------------------------------------------------------------------------------------------

    def arrange(self, tensor: int, held: Layout, wanted: Layout, name: str, where: str) -> int:
        """The tensor with its values in another layout of the same ONNX shape; what was made once is used again.

        Args:
            tensor, held: what there is.
            wanted: where the values shall be; each of its axes has at most the factors that both can be split into.
            name: of the result.
            where: for the note that says where a TRANSPOSE was needed.
        """
        pair = refine(held, wanted)
        if pair is None:  # through the canonical layout, in which every axis is whole
            between = Layout.arranged(held.shape)
            tensor, held = self.arrange(tensor, held, between, f"{name}/between", where), between
            pair = refine(held, wanted)
        assert pair is not None, "an axis that is whole can be split in any way"
        source, target = pair
        place = dict(zip(target.order, source.order, strict=True))
        order = [place[i] for i in range(len(target.factors))]
        return self._rearrange(tensor, source.factors, order, wanted.tensor_shape, name, where)

    def _rearrange(
        self, tensor: int, factors: tuple[int, ...], order: list[int], shape: tuple[int, ...], name: str, where: str
    ) -> int:
        sizes, runs = coalesce(factors, order)
        key = (tensor, sizes, runs, shape)
        if key not in self._arranged:
            if len(runs) < 2:
                result = self.reshape(tensor, shape, name)
            else:
                self.notes.append(f"TRANSPOSE added {where}: it wants the axes in another order")
                result = self._transposed(tensor, factors, order, shape, name)
            self._arranged[key] = result
        return self._arranged[key]

    def _transposed(
        self, tensor: int, factors: tuple[int, ...], order: list[int], shape: tuple[int, ...], name: str
    ) -> int:
        """One TRANSPOSE, with a RESHAPE before or after it only where the shapes need it."""
        before = self.tensors[tensor].shape
        moved = memory_blocks(order, [factors[i] for i in order], shape)
        if moved is not None and len(shape) <= MAX_TRANSPOSE_RANK:
            rank = sorted((part[0], i) for i, part in enumerate(moved) if part)
            from_ones = [i for i, size in enumerate(before) if size == 1]
            from_others = [i for i, size in enumerate(before) if size != 1]
            if len(before) != len(shape) or [before[i] for i in from_others] != [shape[i] for _, i in rank]:
                ones = len(shape) - len(rank)
                before = (*[1] * ones, *(shape[i] for _, i in rank))
                tensor = self.reshape(tensor, before, f"{name}/reshape")
                from_ones, from_others = list(range(ones)), list(range(ones, len(shape)))
            source = {i: from_others[place] for place, (_, i) in enumerate(rank)}
            ones_left = iter(from_ones)
            return self.transpose(tensor, [source[i] if i in source else next(ones_left) for i in range(len(shape))],
                                  name)  # fmt: skip
        split = Layout(before, factors, (tuple(order),)).aligned()
        factors, order = split.factors, list(split.order)
        whole = memory_blocks(list(range(len(factors))), factors, before)
        place = {part[0]: i for i, part in enumerate(whole or []) if part}
        kept = whole is not None and len(before) <= MAX_TRANSPOSE_RANK and _stay_together(whole, order)
        if kept:
            permutation = [place[i] for i in order if i in place]
            empty = [i for i, part in enumerate(whole or []) if not part]
            return self.reshape(self.transpose(tensor, [*empty, *permutation], f"{name}/transpose"), shape, name)
        sizes, runs = coalesce(factors, order)
        if len(sizes) > MAX_TRANSPOSE_RANK:
            raise ExportError("axes in too many parts to be transposed", where=f"value {name}", got=sizes,
                              wanted=f"at most {MAX_TRANSPOSE_RANK}")  # fmt: skip
        tensor = self.reshape(tensor, sizes, f"{name}/reshape")
        return self.reshape(self.transpose(tensor, runs, f"{name}/transpose"), shape, name)

    def reshape(self, tensor: int, shape: Sequence[int], name: str) -> int:
        """A RESHAPE's result; the tensor itself where it has the shape."""
        before = self.tensors[tensor]
        if before.shape == tuple(shape):
            return tensor
        result = self.add_tensor(Tensor(name, tuple(shape), before.dtype, before.quantization))
        target = np.array(shape, np.int32)
        sizes = self.add_constant(f"{name}/shape", target)
        self.add_operator("RESHAPE", [tensor, sizes], [result], schema.ReshapeOptionsT(newShape=target))
        return result

    def transpose(self, tensor: int, permutation: Sequence[int], name: str) -> int:
        """A TRANSPOSE's result."""
        before = self.tensors[tensor]
        shape = tuple(before.shape[i] for i in permutation)
        result = self.add_tensor(Tensor(name, shape, before.dtype, before.quantization))
        order = self.add_constant(f"{name}/permutation", np.array(permutation, np.int32))
        self.add_operator("TRANSPOSE", [tensor, order], [result], schema.TransposeOptionsT(), version=2)
        return result

    def requantize(self, tensor: int, grid: Quantization, name: str) -> int:
        """The same numbers on another grid (QUANTIZE) or as floats (DEQUANTIZE); the tensor itself if it is so."""
        if grid.same_grid(self.grid(tensor)):
            return tensor
        result = self.add_activation(name, self.tensors[tensor].shape, grid)
        self.convert(tensor, result)
        return result

    def convert(self, source: int, result: int) -> None:
        """The QUANTIZE or DEQUANTIZE between two tensors of one shape."""
        if self.grid(result).is_float:
            version = 3 if self.tensors[source].dtype in ("float16", "int16") else 2
            self.add_operator("DEQUANTIZE", [source], [result], schema.DequantizeOptionsT(), version)
        else:
            version = 2 if self.tensors[source].dtype == "int16" or self.tensors[result].dtype == "int16" else 1
            self.add_operator("QUANTIZE", [source], [result], schema.QuantizeOptionsT(), version)


def _stay_together(parts: list[list[int]], order: list[int]) -> bool:
    """Whether the factors of each dimension follow one another in an order too."""
    place = {factor: i for i, factor in enumerate(order)}
    return all(place[b] == place[a] + 1 for part in parts for a, b in itertools.pairwise(part))
