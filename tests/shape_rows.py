"""Random moves: reshapes, transposes, slices, splits, joins, pads."""

from __future__ import annotations

import numpy as np
from random_graphs import Draft, Row, Shape, Value


def small(shape: Shape) -> bool:
    return int(np.prod(shape)) <= 500


def reshape(draft: Draft, x: Value) -> None:
    """The size in factors drawn from its primes, behind a batch of 1 mostly; maybe one as -1 or 0."""
    sizes = [1] * draft.integer(1, 4)
    left, prime = x.size, 2
    while left > 1:
        while left % prime:
            prime += 1
        sizes[draft.integer(0, len(sizes) - 1)] *= prime
        left //= prime
    shape = [*([1] if draft.integer(0, 3) else []), *sizes]
    if draft.chance():
        shape[draft.integer(0, len(shape) - 1)] = -1
    draft.one("Reshape", [x, shape])


def flatten(draft: Draft, x: Value) -> None:
    draft.one("Flatten", [x], axis=draft.integer(0, len(x.shape)))


def squeeze(draft: Draft, x: Value) -> None:
    ones = [axis for axis, size in enumerate(x.shape) if size == 1 and axis]
    draft.one("Squeeze", [x, [draft.one_of(*ones)]])


def unsqueeze(draft: Draft, x: Value) -> None:
    draft.one("Unsqueeze", [x, [draft.integer(1, len(x.shape))]])


def transpose(draft: Draft, x: Value) -> None:
    order = list(range(len(x.shape)))
    for i in reversed(range(1, len(order))):
        j = draft.integer(0, i)
        order[i], order[j] = order[j], order[i]
    draft.one("Transpose", [x], perm=order)


def nothing(kind: str) -> Row:
    return Row(kind, lambda draft, x: draft.node(kind, [x]))


def strided(draft: Draft, x: Value) -> None:
    """Parts of one or two axes, backwards too, their bounds from either end."""
    axes = sorted({draft.integer(0, len(x.shape) - 1) for _ in range(draft.integer(1, 2))})
    bounds = []
    for axis in axes:
        size = x.shape[axis]
        first = draft.integer(0, size - 1)
        last = draft.integer(first, size - 1)
        step = draft.one_of(1, 1, 2, 3)
        start, end = first, last + 1
        if draft.integer(0, 3) == 3:  # from last to first
            start, end, step = last, first - 1 if first else -size - 1, -step
        bounds.append((start - size if draft.chance() and start >= 0 else start, end, step))
    starts, ends, steps = (list(column) for column in zip(*bounds, strict=True))
    draft.one("Slice", [x, starts, ends, axes, steps])


def split(draft: Draft, x: Value) -> None:
    axis = draft.one_of(*(axis for axis, size in enumerate(x.shape) if size > 1))
    size = x.shape[axis]
    if draft.chance() and size % 2 == 0:
        draft.node("Split", [x], outputs=2, axis=axis, num_outputs=2)
    else:
        first = draft.integer(1, size - 1)
        draft.node("Split", [x, [first, size - first]], outputs=2, axis=axis)


def gather(draft: Draft, x: Value) -> None:
    axis = draft.integer(0, len(x.shape) - 1)
    size = x.shape[axis]
    count = draft.integer(0, 4)
    indices = np.array([draft.integer(-size, size - 1) for _ in range(max(count, 1))], np.int64)
    one = count == 0 and len(x.shape) > 1
    draft.one("Gather", [x, indices[0].reshape(()) if one else indices], axis=axis)


def concat(draft: Draft, x: Value) -> None:
    """With another value that fits along an axis, itself, or a constant."""
    axis = draft.integer(0, len(x.shape) - 1)

    def fits(value: Value) -> bool:
        rest = [size for i, size in enumerate(value.shape) if i != axis]
        return len(value.shape) == len(x.shape) and rest == [s for i, s in enumerate(x.shape) if i != axis]

    parts: list[Value | np.ndarray] = [x, draft.one_of(*draft.others(fits)[:4])]
    if draft.integer(0, 3) == 3:
        parts.append(draft.weights(*(draft.integer(1, 3) if i == axis else size for i, size in enumerate(x.shape))))
    if draft.chance():
        parts.reverse()
    draft.one("Concat", parts, axis=axis)


def pad(draft: Draft, x: Value) -> None:
    mode = draft.one_of("constant", "constant", "reflect", "edge", "wrap")
    most = [size - 1 if mode == "reflect" else size if mode == "wrap" else 3 for size in x.shape]
    amounts = [draft.integer(0, min(2, limit)) if i else 0 for i, limit in enumerate(most)]
    ends = [draft.integer(0, min(2, limit)) if i else 0 for i, limit in enumerate(most)]
    inputs = [x, [*amounts, *ends]]
    if mode == "constant" and draft.chance():
        inputs.append(draft.one_of(0.0, 0.75, -1.5))
    draft.one("Pad", inputs, mode=mode)


def expand(draft: Draft, x: Value) -> None:
    shape = [draft.integer(1, 3) if size == 1 and axis else size for axis, size in enumerate(x.shape)]
    draft.one("Expand", [x, [1, *shape] if draft.chance() and len(shape) < 4 else shape])


def tile(draft: Draft, x: Value) -> None:
    draft.one("Tile", [x, [draft.integer(1, 2) if axis else 1 for axis in range(len(x.shape))]])


SHAPES = (
    Row("Reshape", reshape),
    Row("Flatten", flatten),
    Row("Squeeze", squeeze, lambda shape: 1 in shape[1:] and len(shape) > 2),
    Row("Unsqueeze", unsqueeze, lambda shape: len(shape) < 5),
    Row("Transpose", transpose, lambda shape: len(shape) > 1),
    nothing("Identity"),
    nothing("Dropout"),
    Row("Slice", strided),
    Row("Split", split, lambda shape: max(shape) > 1),
    Row("Gather", gather),
    Row("Concat", concat, small),
    Row("Pad", pad, lambda shape: len(shape) > 1 and small(shape)),
    Row("Expand", expand, small),
    Row("Tile", tile, lambda shape: len(shape) > 1 and small(shape)),
)
