"""From a ``--model`` name to a network that is known to fit the data. The table of built-in networks is here."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType

import torch
from torch import nn

from edgeq.errors import ModelError
from edgeq.models.factory import call_factory
from edgeq.models.lenet5 import LeNet5
from edgeq.models.mlp import MLP
from edgeq.models.mobilenet import MobileNetV1
from edgeq.models.resnet import ResNet

__all__ = ["MODELS", "create_model"]

Builder = Callable[[int, tuple[int, int, int]], nn.Module]

MODELS: Mapping[str, Builder] = MappingProxyType(
    {
        "lenet5": LeNet5,
        "mlp": MLP,
        "mobilenet_v1": MobileNetV1,
        "resnet20": partial(ResNet, 3),
        "resnet32": partial(ResNet, 5),
        "resnet44": partial(ResNet, 7),
        "resnet56": partial(ResNet, 9),
    }
)


def create_model(name: str, *, num_classes: int, input_shape: tuple[int, int, int], seed: int) -> nn.Module:
    """Make a network and check that it turns images into class scores.

    Args:
        name: a key of :data:`MODELS`, ``package.module:factory`` or ``FILE.py:factory``; a factory takes no arguments
            and returns the network.
        num_classes: what the network must put out.
        input_shape: (C, H, W) of one image.
        seed: the initial weights depend on it alone; the caller's random state is left as it was.

    Returns:
        The network, as the factory left it, on the CPU for the built-in ones.

    Raises:
        ModelError: an unknown name, a factory that fails, or a network that does not give [1, num_classes].
    """
    if num_classes < 2:
        raise ModelError("too few classes", where=name, got=num_classes, wanted="2 or more")
    if min(input_shape) < 1:
        raise ModelError("images without pixels", where=name, got=input_shape, wanted="(C, H, W), each 1 or more")
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        model = call_factory(name) if ":" in name else _builder(name)(num_classes, input_shape)
        _check_output(model, name, num_classes, input_shape)
    return model


def _builder(name: str) -> Builder:
    builder = MODELS.get(name)
    if builder is None:
        near = difflib.get_close_matches(name, MODELS, n=1, cutoff=0.4)
        known = f"known: {', '.join(MODELS)}, or package.module:factory, or FILE.py:factory"
        remedy = f"did you mean {near[0]}? {known}" if near else known
        raise ModelError("unknown model", got=repr(name), remedy=remedy)
    return builder


def _check_output(model: nn.Module, name: str, num_classes: int, input_shape: tuple[int, int, int]) -> None:
    first = next(model.parameters(), torch.empty(0))
    zeros = torch.zeros((1, *input_shape), device=first.device)
    with _unchanged(model), torch.no_grad():
        model.eval()
        try:
            output = model(zeros)
        except Exception as error:  # a foreign forward can raise anything
            taken = f"[1, {', '.join(map(str, input_shape))}]"
            told = f"{type(error).__name__}: {error}"
            raise ModelError(f"the network cannot take float32 {taken}", where=name, got=told) from error
    shape = list(output.shape) if isinstance(output, torch.Tensor) else None
    if shape != [1, num_classes]:
        found = shape or type(output).__name__
        remedy = f"return a network for {num_classes} classes"
        raise ModelError(
            "the network's output does not fit the data", where=name, got=found, wanted=[1, num_classes], remedy=remedy
        )


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Put training flags and buffers back as they were."""
    flags = [(module, module.training) for module in model.modules()]
    saved = [(buffer, buffer.clone()) for buffer in model.buffers() if not nn.parameter.is_lazy(buffer)]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in saved:
                buffer.copy_(value)
        for module, training in flags:
            module.training = training
