"""Latency of .tflite files in LiteRT on this machine, one thread; turns make its drift hit all files alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeq.verify.litert import load

__all__ = ["Latency", "host_latencies"]

WARM_UP = 10


@dataclass(frozen=True, slots=True)
class Latency:
    """Of a file, among others measured in the same run.

    Attributes:
        median_ms: of an inference; noisy where other work runs.
        ratio: the median over the turns of its time to the first file's.
    """

    median_ms: float
    ratio: float


def host_latencies(contents: Sequence[bytes], *, rounds: int = 20, invokes: int = 100) -> list[Latency]:
    """Run files of random inputs in turns.

    Args:
        contents: of the files; ratios are to the first.
        rounds: turns of each file.
        invokes: inferences a turn, whose median counts.
    """
    interpreters = [_prepare(content) for content in contents]
    turns: list[list[float]] = [[] for _ in interpreters]
    for first in range(rounds):
        for i in range(len(interpreters)):
            which = (i + first) % len(interpreters)
            turns[which].append(_turn_ms(interpreters[which], invokes))
    found = []
    for times in turns:
        ratios = [mine / first for mine, first in zip(times, turns[0], strict=True)]
        found.append(Latency(statistics.median(times), statistics.median(ratios)))
    return found


def _prepare(content: bytes) -> Any:
    """An interpreter with random inputs in place."""
    interpreter = load(content)
    generator = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        if np.issubdtype(detail["dtype"], np.integer):
            limits = np.iinfo(detail["dtype"])
            values = generator.integers(limits.min, limits.max + 1, detail["shape"])
        else:
            values = generator.standard_normal(detail["shape"])
        interpreter.set_tensor(detail["index"], values.astype(detail["dtype"]))
    return interpreter


def _turn_ms(interpreter: Any, invokes: int) -> float:
    for _ in range(WARM_UP):
        interpreter.invoke()
    times = []
    for _ in range(invokes):
        start = time.perf_counter_ns()
        interpreter.invoke()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1e6
