"""Run a .tflite file one operation at a time in LiteRT; what one gives can be changed before the next reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.tflite.model import Graph, Operator
from edgeq.tflite.write import write_graph
from edgeq.verify.litert import load

__all__ = ["Change", "Steps"]

Change = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]
"""From what a layer reads and what it gives to what it shall give."""


class Steps:
    """The operations of a file, each in an interpreter of its own.

    Args:
        graph: the file, read.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._constants = {i: tensor.data for i, tensor in enumerate(graph.tensors) if tensor.data is not None}
        self._steps = [_Step(graph, operator, self._constants.keys()) for operator in graph.operators]

    def run(
        self, inputs: Sequence[NDArray[Any]], changes: Mapping[int, Change] = {}, reads: Mapping[int, int] = {}
    ) -> list[NDArray[Any]]:
        """One sample through all operations.

        Args:
            inputs: an array [1, ...] an input of the file.
            changes: by operation, what makes another output of its first.
            reads: by operation, the tensor that its change is given.

        Returns:
            The file's outputs.
        """
        values: dict[int, NDArray[Any]] = dict(zip(self._graph.inputs, inputs, strict=True))
        for i, step in enumerate(self._steps):
            values |= step.run(values)
            if i in changes:
                output = self._graph.operators[i].outputs[0]
                values[output] = changes[i](values[reads[i]], values[output])
        return [values[index] for index in self._graph.outputs]


class _Step:
    def __init__(self, graph: Graph, operator: Operator, constants: Any) -> None:
        used = dict.fromkeys(index for index in (*operator.inputs, *operator.outputs) if index >= 0)
        places = {index: place for place, index in enumerate(used)}
        tensors = tuple(replace(graph.tensors[index], name=f"tensor_{index}") for index in used)
        self._inputs = [index for index in dict.fromkeys(operator.inputs) if index >= 0 and index not in constants]
        self._outputs = list(operator.outputs)
        ends = [tuple(places[index] for index in side) for side in (self._inputs, self._outputs)]
        names = [tuple(tensors[place].name for place in side) for side in ends]
        alone = Graph(tensors, (operator.renumbered(places),), ends[0], ends[1], names[0], names[1])
        self._interpreter = load(write_graph(alone))
        slots = {detail["name"]: detail["index"] for detail in self._interpreter.get_input_details()}
        results = {detail["name"]: detail["index"] for detail in self._interpreter.get_output_details()}
        self._slots = [slots[f"tensor_{index}"] for index in self._inputs]
        self._results = [results[f"tensor_{index}"] for index in self._outputs]

    def run(self, values: Mapping[int, NDArray[Any]]) -> dict[int, NDArray[Any]]:
        for index, slot in zip(self._inputs, self._slots, strict=True):
            self._interpreter.set_tensor(slot, np.ascontiguousarray(values[index]))
        self._interpreter.invoke()
        return {
            index: self._interpreter.get_tensor(slot) for index, slot in zip(self._outputs, self._results, strict=True)
        }
