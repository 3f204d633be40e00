"""``[rounding]`` of a recipe: what the methods of the table take, and what does not go together. No torch."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from edgeq.rounding.table import METHODS
from edgeq.strict_toml import require

__all__ = ["PROGRESSIVE", "RoundingRecipe"]

PROGRESSIVE = "bit-progressive"
FLOAT_MODES = ("float16", "float32")


@dataclass(frozen=True, slots=True)
class RoundingRecipe:
    """Of the methods that compute with rounded weights of one and two bits.

    Attributes:
        ends: bits of the first and the last layer, by any method; 0: they are as all others; left out, what the
            method's paper does: 8 where it leaves them in float, else 0.
        activations: bits of what layers read; 0 leaves that at 8; left out, what the method's paper has.
        stochastic: ``binary-connect`` draws signs while it trains.
        input_scale: ``xnor-net`` multiplies what a layer gives by K, the mean size of what it has seen there.
        threshold: below which a weight becomes 0: ``twn`` in means of ``|w|``, left out 0.7; ``ttq`` in ``max|w|``,
            left out 0.05.
        widths: of ``bit-progressive``: the numbers of bits, falling, each with an artifact of its own.
    """

    ends: int | None = None
    activations: int | None = None
    stochastic: bool = False
    input_scale: bool = False
    threshold: float | None = None
    widths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        require(self.ends is None or 0 <= self.ends <= 8, "rounding.ends", self.ends, "0 to 8 bits")
        if self.threshold is not None:
            require(0 <= self.threshold < math.inf, "rounding.threshold", self.threshold, "0 or more, finite")
        falling = all(first > second for first, second in itertools.pairwise(self.widths))
        fits = falling and all(2 <= bits <= 8 for bits in self.widths)
        require(fits, "rounding.widths", list(self.widths), "falling bits, 8 to 2")

    def check(self, method: str, bits: int, mode: str) -> None:
        """Refuse what a method does not have.

        Raises:
            RecipeError: names the key and the method.
        """
        row, beside = METHODS.get(method), f"beside method = {method}"
        options = row.options if row else ()
        switches = {"stochastic": self.stochastic or None, "input_scale": self.input_scale or None}
        for key, value in {**switches, "threshold": self.threshold}.items():
            require(value is None or key in options, f"rounding.{key}", value, f"left out {beside}")
        if method == PROGRESSIVE:
            require(len(self.widths) > 1, "rounding.widths", list(self.widths), f"two widths or more {beside}")
            require(bits in self.widths, "bits", bits, f"left out, or one of {list(self.widths)}, {beside}")
            require(mode not in FLOAT_MODES, "quantize.mode", mode, f"a mode with integer weights {beside}")
        else:
            require(not self.widths, "rounding.widths", list(self.widths), f"left out {beside}")
        if row is None:
            require(self.activations is None, "rounding.activations", self.activations, f"left out {beside}")
            return
        require(bits in row.bits, "bits", bits, f"left out, or {_listed(row.bits)}, {beside}")
        fits = self.activations is None or self.activations in row.activation_bits
        require(fits, "rounding.activations", self.activations, f"{_listed(row.activation_bits)} {beside}")
        reads = not self.input_scale or self.activations_for(method) > 0
        require(reads, "rounding.activations", self.activations, "1 beside rounding.input_scale")
        wanted = f"a mode with integer weights {beside}"
        require(mode not in FLOAT_MODES, "quantize.mode", mode, wanted)
        if self.activations_for(method):
            require(mode == "int8", "quantize.mode", mode, f"int8 {beside}, or rounding.activations = 0")

    def ends_for(self, method: str) -> int:
        """Bits of the first and the last layer, or where they are left out the paper's; 0: they are as all others."""
        row = METHODS.get(method)
        if self.ends is not None:
            return self.ends
        return row.ends if row else 0

    def activations_for(self, method: str) -> int:
        """Bits of what the method's layers read, or where they are left out the paper's; 0: 8, as everywhere."""
        row = METHODS.get(method)
        if self.activations is not None:
            return self.activations
        return row.activation_bits[0] if row else 0


def _listed(bits: tuple[int, ...]) -> str:
    return " or ".join(map(str, sorted(bits)))
