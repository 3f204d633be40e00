"""The table of methods that compute with weights of one or two bits while they train. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from edgeq.grid import Function

__all__ = ["GRID_METHODS", "METHODS", "RoundingMethod"]

GRID_METHODS: Final = ("periodic", "straight-through", "post-training")
"""The methods beside those of the table that round to a grid of any bits."""


@dataclass(frozen=True, slots=True)
class RoundingMethod:
    """A method of the table.

    Attributes:
        name: as ``--method`` has it.
        paper: authors, year, arXiv number.
        rounding: the class that rounds weights, ``module:Class`` below ``edgeq.rounding``.
        function: whose grid the rounded weights lie on: the cosine's has odd codes, the sine's has 0.
        bits: that a weight can have, the default first.
        weights: what they are.
        activations: what happens to what a layer reads: nothing, its sign, or levels from 0 to 1.
        activation_bits: that it can have, the default first; 0 leaves activations at 8 bits.
        ends: bits of the first and the last layer where the paper leaves those in float; 0: they are as all others.
        scale: one size a ``tensor`` or an output ``channel``.
        options: keys of ``[rounding]`` that it takes besides.
        shows: the property that its test shows.
    """

    name: str
    paper: str
    rounding: str
    function: Function
    bits: tuple[int, ...]
    weights: str
    activations: Literal["", "sign", "levels"]
    activation_bits: tuple[int, ...]
    ends: int
    options: tuple[str, ...]
    shows: str
    scale: Literal["tensor", "channel"] = "tensor"


_ROWS: Final = (
    RoundingMethod(
        name="binary-connect",
        paper="Courbariaux et al. 2015, arXiv:1511.00363",
        rounding="binary_connect:BinaryConnect",
        function="cosine",
        bits=(1,),
        weights="+-H, H from the layer's shape",
        activations="",
        activation_bits=(0,),
        ends=0,
        options=("stochastic",),
        shows="weights stay in [-H, H]; a drawn sign is +1 with probability clip((w/H + 1) / 2)",
    ),
    RoundingMethod(
        name="bnn",
        paper="Hubara et al. 2016, arXiv:1602.02830",
        rounding="bnn:BinarizedWeight",
        function="cosine",
        bits=(1,),
        weights="+-H, H from the layer's shape",
        activations="sign",
        activation_bits=(1, 0),
        ends=0,
        options=(),
        shows="gradients of weights and activations pass within [-1, 1] only",
    ),
    RoundingMethod(
        name="bwn",
        paper="Rastegari et al. 2016, arXiv:1603.05279",
        rounding="bwn:BinaryWeight",
        function="cosine",
        bits=(1,),
        weights="+-mean|w| of the output channel",
        activations="",
        activation_bits=(0,),
        ends=8,
        options=(),
        shows="the scale is mean|w| of each output channel, the best one in least squares",
        scale="channel",
    ),
    RoundingMethod(
        name="xnor-net",
        paper="Rastegari et al. 2016, arXiv:1603.05279",
        rounding="bwn:BinaryWeight",
        function="cosine",
        bits=(1,),
        weights="+-mean|w| of the output channel",
        activations="sign",
        activation_bits=(1, 0),
        ends=8,
        options=("input_scale",),
        shows="weights as bwn; layers read -1 and 1 only; with `input_scale` their outputs have the paper's K",
        scale="channel",
    ),
    RoundingMethod(
        name="dorefa",
        paper="Zhou et al. 2016, arXiv:1606.06160",
        rounding="dorefa:DoReFaWeight",
        function="cosine",
        bits=(1, 2, 3, 4, 5, 6, 7),
        weights="+-mean|w| of the layer at 1 bit; above, odd multiples of 1/(2^k - 1)",
        activations="levels",
        activation_bits=(2, 1, 3, 4, 5, 6, 7, 8, 0),
        ends=8,
        options=(),
        shows="the scale is the layer's mean|w|; layers read multiples of 1/(2^k - 1) in [0, 1]",
    ),
    RoundingMethod(
        name="twn",
        paper="Li et al. 2016, arXiv:1605.04711",
        rounding="twn:TernaryWeight",
        function="sine",
        bits=(2,),
        weights="0 and +-mean|w| of the weights beyond 0.7 mean|w|",
        activations="",
        activation_bits=(0,),
        ends=0,
        options=("threshold",),
        shows="the threshold is 0.7 mean|w|, the scale the mean of what is beyond",
    ),
    RoundingMethod(
        name="ttq",
        paper="Zhu et al. 2017, arXiv:1612.01064",
        rounding="ttq:TrainedTernary",
        function="sine",
        bits=(8, 7, 6, 5, 4, 3),
        weights="0, Wp and -Wn, both learned",
        activations="",
        activation_bits=(0,),
        ends=8,
        options=("threshold",),
        shows="three codes a layer; Wp and Wn have the paper's gradients",
    ),
)

METHODS: Final = MappingProxyType({row.name: row for row in _ROWS})
assert len(METHODS) == len(_ROWS), "a name is taken twice"
