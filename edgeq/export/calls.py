"""Number the calls of torch functions in a forward pass: alike when a network is traced and when it trains."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["NumberedCalls"]

Around = Callable[[int], AbstractContextManager[Any]]
Visit = Callable[[int, str, Tensor], Tensor]


class NumberedCalls(TorchFunctionMode):
    """Counts, from 0, the calls whose result is a tensor of floats, and may put another tensor in its place.

    Only calls from a module's own code are seen, not those that torch's functions make inside: ``F.batch_norm`` is one,
    in training as in evaluation.

    Args:
        visit: given a call's number, its function's name and its result; what the caller gets instead.
        around: a context to make the call of a number in.

    Attributes:
        count: calls so far.
        paused: above 0, calls are neither counted nor changed.
    """

    def __init__(self, visit: Visit, around: Around = lambda _number: nullcontext()) -> None:
        super().__init__()
        self.count = 0
        self.paused = 0
        self._visit, self._around = visit, around

    def begin(self) -> None:
        """Count from here on: a ``with`` in two halves."""
        self.__enter__()  # type: ignore[no-untyped-call]

    def end(self) -> None:
        """Count no more."""
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.paused:
            return func(*args, **(kwargs or {}))
        with self._around(self.count):
            result = func(*args, **(kwargs or {}))
        if not isinstance(result, Tensor) or not result.dtype.is_floating_point:
            return result
        number, self.count = self.count, self.count + 1
        return self._visit(number, getattr(func, "__name__", type(func).__name__), result)
