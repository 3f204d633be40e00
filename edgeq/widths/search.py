"""The search: all layers at their fewest uniform bits, then bit by bit from the layer that loses least for what it
saves.

Source: Judd et al. 2016, "Reduced-Precision Strategies for Bounded Memory in Deep Neural Nets", arXiv:1511.05236,
section 2.5. There every layer is tried before each step. Here a trial's cost is remembered, and only the cheapest is
tried again at the widths there are by then; it is taken if it is still the cheapest.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeq.progress import Task
from edgeq.widths.trial import Layer, Score, Widths

__all__ = ["MOST_BITS", "State", "least_traffic", "search", "traffic"]

MOST_BITS = 8
FLOAT_BITS = 32
Measure = Callable[[Widths], Score]


@dataclass(frozen=True, slots=True)
class State:
    """Widths that were come to, and what they are worth."""

    widths: Widths
    score: Score
    traffic: float


def least_traffic(states: Sequence[State]) -> State:
    """The state that moves the fewest bits; of several the most accurate."""
    return min(states, key=lambda state: (state.traffic, -state.score.accuracy))


def traffic(layers: tuple[Layer, ...], widths: Widths) -> float:
    """Bits that the layers read for one image, weights once, over those of 32-bit numbers (TR)."""
    numbers = sum(layer.weights + layer.reads for layer in layers)
    bits = sum(
        layer.weights * (own or FLOAT_BITS) + layer.reads * (data or FLOAT_BITS)
        for layer, (own, data) in zip(layers, widths, strict=True)
    )
    return bits / (FLOAT_BITS * numbers)


def search(
    layers: tuple[Layer, ...],
    measure: Measure,
    *,
    limit: float,
    least: tuple[int, int],
    most: int = MOST_BITS,
    budget: int,
    task: Task,
    measured: Callable[[], int],
) -> list[State]:
    """Walk from 8 bits everywhere to the fewest that stay at or above an accuracy.

    Args:
        layers: what each moves.
        measure: of any widths.
        limit: the accuracy in percent not to fall below.
        least: the fewest bits of weights and of data.
        most: the most bits of weights.
        budget: the most measurements.
        task: advanced by one a measurement.
        measured: how many were made.

    Returns:
        The states come to, in order: uniform ones that hold, the least uniform one, and each step from there. Empty
        where 8 bits everywhere do not hold.
    """

    def state(widths: Widths) -> State:
        before = measured()
        score = measure(widths)
        task.advance(measured() - before)
        return State(widths, score, traffic(layers, widths))

    def uniform(weights: int, data: int) -> State:
        return state(((weights, data),) * len(layers))

    first = uniform(most, MOST_BITS)
    if first.score.accuracy < limit:
        return []
    states = [first]
    fewest, ceiling = [most, MOST_BITS], (most, MOST_BITS)
    for kind in (0, 1):  # one at a time, the other at 8 bits
        for bits in range(ceiling[kind] - 1, least[kind] - 1, -1):
            found = uniform(*((bits, MOST_BITS) if kind == 0 else (most, bits)))
            if found.score.accuracy < limit:
                break
            fewest[kind] = bits
            states.append(found)
    start = uniform(*fewest)
    while start.score.accuracy < limit:  # together they lose more than each alone
        kind = 0 if ceiling[0] - fewest[0] >= ceiling[1] - fewest[1] else 1
        fewest[kind] += 1
        start = uniform(*fewest)
    states.append(start)
    return states + _greedy(layers, state, start, limit, least, budget, measured)


def _greedy(
    layers: tuple[Layer, ...], state: Callable[[Widths], State], start: State, limit: float, least: tuple[int, int],
    budget: int, measured: Callable[[], int],
) -> list[State]:  # fmt: skip
    """Each time the bit less that costs the least loss for the traffic it saves, until none holds."""
    current, steps = start, []
    heap: list[tuple[float, int, int]] = []  # cost when it was last tried, layer, kind

    def cost(found: State) -> float:
        return (found.score.loss - current.score.loss) / (current.traffic - found.traffic)

    for index in range(len(layers)):
        for kind in (0, 1):
            heap.append((float("-inf"), index, kind))
    heapq.heapify(heap)
    while heap and measured() < budget:
        _, index, kind = heapq.heappop(heap)
        widths = _one_less(current.widths, index, kind)
        if widths[index][kind] < least[kind]:
            continue
        found = state(widths)
        if found.score.accuracy < limit:  # it would lose more from fewer bits elsewhere
            continue
        price = cost(found)
        if heap and price > heap[0][0]:
            heapq.heappush(heap, (price, index, kind))
            continue
        current = found
        steps.append(found)
        heapq.heappush(heap, (price, index, kind))
    return steps


def _one_less(widths: Widths, index: int, kind: int) -> Widths:
    pair = list(widths[index])
    pair[kind] -= 1
    return (*widths[:index], (pair[0], pair[1]), *widths[index + 1 :])
