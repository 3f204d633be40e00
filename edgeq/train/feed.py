"""Batches from images on disk, read by a thread while the network works on the batch before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from torch import Tensor

__all__ = ["Feed"]

AHEAD: Final = 2


class Feed:
    """Goes through batches once, in order.

    Args:
        images: uint8 [N, C, H, W], mapped from a file.
        batches: the rows of each batch, int64.
    """

    def __init__(self, images: Tensor, batches: Iterable[Tensor]) -> None:
        self._images, self._left = images, iter(batches)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="edgeq-feed")
        self._waiting: deque[Future[Tensor]] = deque()
        for _ in range(AHEAD):
            self._read_on()

    def __iter__(self) -> Iterator[Tensor]:
        return self

    def __next__(self) -> Tensor:
        if not self._waiting:
            raise StopIteration
        self._read_on()
        return self._waiting.popleft().result()

    def _read_on(self) -> None:
        rows = next(self._left, None)
        if rows is None:
            self._reader.shutdown(wait=False)
        else:
            self._waiting.append(self._reader.submit(self._read, rows))

    def _read(self, rows: Tensor) -> Tensor:
        rows, order = rows.sort()  # in the file's order, which reads ahead
        found = self._images[rows]
        back = order.argsort()
        return found[back]
