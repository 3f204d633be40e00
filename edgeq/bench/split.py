"""One .tflite file an operation: what each operation costs comes from running it alone, in any runtime."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from edgeq.tflite.model import Graph, Operator

__all__ = ["SingleOperation", "split_operations"]

_CONVOLUTIONS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})


@dataclass(frozen=True, slots=True)
class SingleOperation:
    """One operation of a file, as a file of its own.

    A PAD whose only reader is a convolution stays with it: runtimes make one operation of the two.

    Attributes:
        index: of the operation in the whole file.
        kind: the builtin's name, such as CONV_2D, or PAD+CONV_2D.
        name: of its first output.
        graph: the operation with its constants; what it reads at run time are the graph's inputs, in order.
        reads, writes: the tensors of the whole file that the graph's inputs and outputs are; names may repeat there.
    """

    index: int
    kind: str
    name: str
    graph: Graph
    reads: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()


def split_operations(graph: Graph) -> list[SingleOperation]:
    """Every operation of a graph alone, in execution order; constants are shared with the graph, not copied."""
    readers = Counter(index for operator in graph.operators for index in operator.inputs)
    readers.update(graph.outputs)
    producers = graph.producers()
    joined: set[int] = set()
    groups: dict[int, tuple[Operator, ...]] = {}
    for index, operator in enumerate(graph.operators):
        groups[index] = (operator,)
        before = producers.get(operator.inputs[0]) if operator.kind in _CONVOLUTIONS else None
        if before is not None and graph.operators[before].kind == "PAD" and readers[operator.inputs[0]] == 1:
            groups[index] = (graph.operators[before], operator)
            joined.add(before)
    return [_alone(graph, index, group) for index, group in groups.items() if index not in joined]


def _alone(graph: Graph, number: int, group: tuple[Operator, ...]) -> SingleOperation:
    used = list(dict.fromkeys(i for operator in group for i in (*operator.inputs, *operator.outputs) if i >= 0))
    places = {old: new for new, old in enumerate(used)}
    made = {index for operator in group for index in operator.outputs}
    read = dict.fromkeys(
        index
        for operator in group
        for index in operator.inputs
        if index >= 0 and index not in made and graph.tensors[index].data is None
    )
    operators = tuple(operator.renumbered(places) for operator in group)
    alone = Graph(
        tensors=tuple(graph.tensors[index] for index in used),
        operators=operators,
        inputs=tuple(places[index] for index in read),
        outputs=operators[-1].outputs,
    )
    kind, writes = "+".join(operator.kind for operator in group), group[-1].outputs
    return SingleOperation(number, kind, graph.tensors[writes[0]].name if writes else "", alone, tuple(read), writes)
