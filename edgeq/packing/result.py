"""What packing and unpacking return."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeq.display.summary import Result, Summary, Table, table
from edgeq.display.words import size

if TYPE_CHECKING:
    from edgeq.packing.package import Packed

__all__ = ["PackResult", "UnpackResult"]

LEARNED = ("weights", "biases")


@dataclass(frozen=True, slots=True)
class PackResult(Result):
    """A .tflite file that became a package.

    Attributes:
        path: the package.
        size_bytes: of the package.
        tflite_bytes: of the file it unpacks to.
        packed: what became of each part.
    """

    path: Path
    size_bytes: int
    tflite_bytes: int
    packed: Packed = field(repr=False)

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return sum(item.part.values for item in self.packed.parts if item.part.role in LEARNED)

    @property
    def ratio(self) -> float:
        """How many times smaller than the .tflite file."""
        return self.tflite_bytes / self.size_bytes

    @property
    def float32_ratio(self) -> float:
        """How many times smaller than the parameters in float32."""
        return 4 * self.parameters / self.size_bytes

    @property
    def kinds(self) -> dict[str, tuple[int, int]]:
        """Bytes before and after of ``weights``, ``biases``, ``scales``, ``constants``, and of the ``rest``."""
        found: dict[str, tuple[int, int]] = {}
        for item in self.packed.parts:
            before, after = found.get(item.part.role, (0, 0))
            found[item.part.role] = (before + item.part.size, after + item.packed_bytes)
        ends = self.size_bytes - sum(item.packed_bytes for item in self.packed.parts)  # the header is of the rest
        return found | {"rest": (self.packed.rest_bytes, ends)}

    def summary(self) -> Summary:
        rows = [[kind, f"{before:,}", f"{after:,}"] for kind, (before, after) in self.kinds.items()]
        return (
            f"{self.path}  {size(self.size_bytes)}: {self.ratio:.1f} times smaller than the .tflite, "
            f"{self.float32_ratio:.1f} times smaller than {self.parameters:,} parameters in float32",
            table("", ["", "bytes in the .tflite", "in the package"], rows, right={1, 2}),
        )

    def tensor_table(self) -> Table:
        """Every part: its values, those that differ from the most frequent one, how many there are, its form, bytes."""
        rows = [
            [
                f"{item.part.name} ({item.part.role})",
                f"{item.part.values:,}",
                f"{100 * item.used / max(1, item.part.values):.1f}",
                str(item.distinct or ""),
                item.form,
                f"{item.part.size:,}",
                f"{item.packed_bytes:,}",
            ]
            for item in self.packed.parts
        ]
        columns = ["tensor", "values", "% used", "distinct", "form", "bytes", "packed"]
        return table("", columns, rows, right={1, 2, 3, 5, 6})

    def to_dict(self) -> dict[str, Any]:
        """``path``, ``bytes``, ``tflite_bytes``, ``parameters``, both ratios, ``kinds`` and ``tensors``."""
        return {
            "path": str(self.path),
            "bytes": self.size_bytes,
            "tflite_bytes": self.tflite_bytes,
            "parameters": self.parameters,
            "ratio": self.ratio,
            "float32_ratio": self.float32_ratio,
            "kinds": {kind: {"bytes": before, "packed": after} for kind, (before, after) in self.kinds.items()},
            "tensors": [
                {
                    "name": item.part.name,
                    "kind": item.part.role,
                    "values": item.part.values,
                    "used": item.used,
                    "distinct": item.distinct,
                    "form": item.form,
                    "bytes": item.part.size,
                    "packed": item.packed_bytes,
                }
                for item in self.packed.parts
            ],
        }


@dataclass(frozen=True, slots=True)
class UnpackResult(Result):
    """A package that became a .tflite file again.

    Attributes:
        path: the .tflite file.
        size_bytes: of the file.
        package_bytes: of the package.
    """

    path: Path
    size_bytes: int
    package_bytes: int

    def summary(self) -> Summary:
        return (f"{self.path}  {size(self.size_bytes)}, the very bytes that were packed",)

    def to_dict(self) -> dict[str, Any]:
        """``path``, ``bytes`` and ``package_bytes``."""
        return {"path": str(self.path), "bytes": self.size_bytes, "package_bytes": self.package_bytes}
