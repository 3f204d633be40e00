"""Let a network compute with rounded activations, from hooks around its forward pass, and stop it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from edgeq.activations.rounding import ActivationRounding
from edgeq.export.calls import NumberedCalls

__all__ = ["rounded"]


@contextmanager
def rounded(model: nn.Module, rounding: ActivationRounding | None) -> Iterator[None]:
    """Round the activations of every forward pass of a network, inside of the context.

    Args:
        model: the network that ``rounding`` has the sites of; parametrizations that are on it are left alone.
        rounding: what is done to them; it may be changed from pass to pass. None leaves them float.
    """
    if rounding is None:
        yield
        return
    passes: list[NumberedCalls] = []

    def begin(*_: Any) -> None:
        passes.append(NumberedCalls(rounding.visit))
        passes[-1].begin()

    def end(*_: Any) -> None:
        passes.pop().end()
        rounding.finish()

    def pause(*_: Any) -> None:
        if passes:
            passes[-1].paused += 1

    def go_on(*_: Any) -> None:
        if passes:
            passes[-1].paused -= 1

    handles = [model.register_forward_pre_hook(begin), model.register_forward_hook(end, always_call=True)]
    for module in model.modules():
        if isinstance(module, ParametrizationList):
            handles += [module.register_forward_pre_hook(pause), module.register_forward_hook(go_on, always_call=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        while passes:  # one that Ctrl-C broke off
            passes.pop().end()
