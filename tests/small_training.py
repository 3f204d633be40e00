"""A training of seconds: a network with something of all, images of three classes, and a watcher."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from edgeq.data import ImageData
from edgeq.train import EpochLog

__all__ = ["Watch", "assert_equal_states", "images", "interrupt_at", "network", "state", "timeless"]


def network(width: int = 6) -> nn.Sequential:
    """Something of all: convolution, batch norm, dropout, linear."""
    generator = torch.Generator().manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 5, 3, stride=2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(45, 3),
    )
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 3
    return model


def images(count: int = 41, seed: int = 0) -> ImageData:
    """Classes that differ in brightness, 8x8; 41 make two batches of 16 and one of 9."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count + 12,), generator=generator)
    noise = torch.randint(0, 60, (count + 12, 3, 8, 8), generator=generator)
    pixels = (noise + labels[:, None, None, None] * 90).to(torch.uint8)
    return ImageData("noise", pixels[:count], labels[:count], pixels[count:], labels[count:], ("a", "b", "c"))


class Watch:
    """A Progress that records, and calls ``at(steps done)`` after each step."""

    def __init__(self, at: Callable[[int], None] = lambda step: None) -> None:
        self.steps, self.total, self.at = 0, 0, at
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def stage(self, title: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    @contextmanager
    def task(self, label: str, total: int, done: int = 0) -> Iterator[Watch]:
        self.total, self.steps = total, done
        yield self

    def advance(self, units: int = 1, note: str = "") -> None:
        self.steps += units
        self.notes += [note] if note else []
        if units == 1:
            self.at(self.steps)


def interrupt_at(step: int) -> Watch:
    def at(done: int) -> None:
        if done == step:
            raise KeyboardInterrupt

    return Watch(at)


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_equal_states(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(got[name], value), name


def timeless(history: tuple[EpochLog, ...]) -> list[EpochLog]:
    return [dataclasses.replace(log, seconds=0.0) for log in history]
