"""What many tests look at: one small build, and the command line run inside this process."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from small_nets import write_images, write_nets

# A shell starts background jobs deaf to Ctrl-C, and so would be every child that a test wants to interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class Build:
    """A finished build of the small network on the small images."""

    out: Path
    images: str
    nets: str
    arguments: list[str]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The error line, which must be the only one and without a traceback."""
        lines = [line for line in self.err.splitlines() if line and not line.startswith(("== ", "   "))]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("edgeq: error: "), self.err
        assert "Traceback" not in self.err
        return lines[0].removeprefix("edgeq: error: ")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Build:
    from edgeq.cli.options import recipe_from_options
    from edgeq.pipeline import build

    folder = tmp_path_factory.mktemp("built")
    images, nets = write_images(folder / "images"), write_nets(folder)
    options = {"model": f"{nets}:signed", "data": images, "epochs": 2, "batch_size": 8, "learning_rate": 0.02}
    build(recipe_from_options(None, options), folder / "out")
    arguments = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return Build(folder / "out", images, nets, arguments)


@pytest.fixture
def edgeq(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    from edgeq.cli.main import _run

    def run(*arguments: object) -> Ended:
        capfd.readouterr()
        code = _run([str(argument) for argument in arguments])
        return Ended(code, *capfd.readouterr())

    return run
