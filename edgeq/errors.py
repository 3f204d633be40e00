"""The exceptions edgeq raises on purpose, and nothing else.

    EdgeqError
    ├── RecipeError   an option, a recipe key or a target that cannot be used
    ├── DataError     images, archives, pickles and calibration sets from outside
    ├── ModelError    a network that cannot be made, loaded or trained
    ├── ExportError   a network that cannot become an int8 artifact without a loss
    ├── FormatError   a .tflite, .onnx or .safetensors file that is not what it says it is
    └── VerifyError   two runtimes, or two files, that should agree and do not

Each is one line: what went wrong, where, what was found, what was expected, what to do. The command line prints it
after ``edgeq: error:`` and exits with 1. Anything else that escapes is a bug in edgeq and keeps its traceback.
"""

from __future__ import annotations

__all__ = [
    "DataError",
    "EdgeqError",
    "ExportError",
    "FormatError",
    "ModelError",
    "RecipeError",
    "VerifyError",
]


class EdgeqError(Exception):
    """Bad input, told in one line.

    Args:
        what: the fault, as a sentence without a full stop.
        where: the file, layer, node or key at fault.
        got: what was found there.
        wanted: what would have been accepted.
        remedy: what the user can do about it.
    """

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        got: object = None,
        wanted: object = None,
        remedy: str | None = None,
    ) -> None:
        self.what, self.where, self.got, self.wanted, self.remedy = what, where, got, wanted, remedy
        super().__init__(self._line())

    def _line(self) -> str:
        line = self.what if self.where is None else f"{self.where}: {self.what}"
        facts = [f"{word} {value}" for word, value in (("got", self.got), ("wanted", self.wanted)) if value is not None]
        if facts:
            line += f" ({', '.join(facts)})"
        if self.remedy:
            line += f"; {self.remedy}"
        return " ".join(line.split())


class RecipeError(EdgeqError):
    """An option, a recipe key or a target that cannot be used."""


class DataError(EdgeqError):
    """Images, archives, pickles and calibration sets that cannot be read or used."""


class ModelError(EdgeqError):
    """A network that cannot be made, loaded or trained."""


class ExportError(EdgeqError):
    """A network that cannot become an int8 artifact without a loss."""


class FormatError(EdgeqError):
    """A file that is not what it says it is."""


class VerifyError(EdgeqError):
    """Two runtimes, or two files, that should agree and do not."""
