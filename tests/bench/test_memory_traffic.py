"""Bytes that come from memory, of networks whose sizes a hand can add up."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgeq.bench.memory_traffic import memory_bytes, weights_stay
from edgeq.targets import Target
from edgeq.tflite.model import Graph, Operator, Tensor

BASE = Target(schema=1, name="board", description="made up", isa="armv8-a")


def board(cache: int) -> Target:
    return dataclasses.replace(BASE, l2_bytes=cache, sources={"l2_bytes": "made up"})


def chain() -> Graph:
    """100 -> 300 -> 10 activations of one byte by 1,000 and 400 bytes of weights; the last operation has none."""
    tensors = (
        Tensor("in", (1, 100), "int8"),
        Tensor("w0", (1000,), "int8", data=np.zeros(1000, np.int8)),
        Tensor("mid", (1, 300), "int8"),
        Tensor("w1", (100,), "int32", data=np.zeros(100, np.int32)),
        Tensor("out", (1, 10), "int8"),
        Tensor("scores", (1, 10), "int8"),
    )
    operators = (
        Operator("FULLY_CONNECTED", (0, 1, -1), (2,)),
        Operator("FULLY_CONNECTED", (2, 3), (4,)),
        Operator("SOFTMAX", (4,), (5,)),
    )
    return Graph(tensors, operators, (0,), (5,))


@pytest.mark.parametrize(
    ("cache", "expected"),
    [
        (1800, 0),  # 1,400 of weights and 400 of activations fit
        (1799, 1400),  # the weights push one another out; all activations stay
        (400, 1400),
        (399, 1400 + 400),  # the first operation's do not fit
        (309, 1400 + 400 + 310),
        (19, 1400 + 400 + 310 + 20),
    ],
)
def test_what_does_not_fit_comes_from_memory(cache: int, expected: int) -> None:
    assert memory_bytes(chain(), board(cache)) == expected


def test_a_target_without_caches_keeps_nothing() -> None:
    assert memory_bytes(chain(), BASE) == 1400 + 400 + 310 + 20


def test_the_last_cache_counts() -> None:
    caches = {"l1d_bytes": 1, "l2_bytes": 2, "l3_bytes": 1800}
    target = dataclasses.replace(BASE, **caches, sources=dict.fromkeys(caches, "made up"))  # type: ignore[arg-type]
    assert weights_stay(chain(), target)
    assert memory_bytes(chain(), target) == 0


def test_operations_alone_add_up_to_the_whole_when_told_of_it() -> None:
    whole = chain()
    parts = [dataclasses.replace(whole, operators=(operator,)) for operator in whole.operators]
    for cache in (1800, 1799, 350, 0x10):
        target = board(cache)
        stay = weights_stay(whole, target)
        assert sum(memory_bytes(part, target, resident=stay) for part in parts) == memory_bytes(whole, target)
