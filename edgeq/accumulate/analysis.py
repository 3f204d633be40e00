"""``edgeq accumulators``: the bits of each layer's sums, whether chains in int16 hold, and accuracy with fewer bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeq.accumulate.bounds import (
    ChainBound,
    ChainOrder,
    SumBound,
    bits_for,
    chain_bound,
    formula_bits,
    grid_bits_for_chain,
    longest_chain,
    sum_bound,
)
from edgeq.accumulate.sums import WeightedSum, weighted_sums
from edgeq.display.summary import Result, Summary, table
from edgeq.errors import DataError, FormatError, RecipeError
from edgeq.progress import Progress, Silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeq.accumulate.narrow import Narrow, Observed
    from edgeq.tflite.model import Graph

__all__ = ["Accumulators", "ChainProof", "LayerAccumulator", "NarrowRun", "analyse"]

ORDERS: tuple[ChainOrder, ...] = ("any", "xnnpack", "ruy")


@dataclass(frozen=True, slots=True)
class ChainProof:
    """Chains of int8 products in int16, in one layer.

    Attributes:
        longest: products, whichever, that can be chained without a doubt.
        bounds: by order (``any``, ``xnnpack``, ``ruy``), what chains of the asked length can reach.
        grid_bits: the most bits of a weight grid with which chains of the asked length hold whatever its codes.
    """

    longest: int
    bounds: dict[str, ChainBound]
    grid_bits: int


@dataclass(frozen=True, slots=True)
class LayerAccumulator:
    """A layer's accumulators.

    Attributes:
        name, operation: of the layer.
        products: of one sum.
        formula_bits: by the widths alone (WC_w/WC_d).
        bound: by the actual weights and the worst input (ACT_w/WC_d); proved.
        observed: smallest and largest whole sum over the samples (ACT_y); sums that wrap around need no more bits.
        observed_partial: the same of partial sums in the file's order; sums that saturate need these.
        chain: in int16; None where the input is no int8.
    """

    name: str
    operation: str
    products: int
    formula_bits: int
    bound: SumBound
    observed: tuple[int, int] | None
    observed_partial: tuple[int, int] | None
    chain: ChainProof | None


@dataclass(frozen=True, slots=True)
class NarrowRun:
    """The network with accumulators of a width in all layers.

    Attributes:
        bits: the width.
        wrap, clip: accuracy in percent of the samples.
        wrap_share, clip_share: of the sums that do not come out as they should.
    """

    bits: int
    wrap: float
    clip: float
    wrap_share: float
    clip_share: float


@dataclass(frozen=True, slots=True)
class Accumulators(Result):
    """How wide the accumulators of a file must be.

    Attributes:
        source: the file.
        length: of the int16 chains that were asked about.
        layers: a row each, in order.
        samples: images that were run; 0 for none.
        accuracy: of the file as it is, in percent of them; None without data.
        runs: a row a width that was tried.
    """

    source: str
    length: int
    layers: tuple[LayerAccumulator, ...]
    samples: int = 0
    accuracy: float | None = None
    runs: tuple[NarrowRun, ...] = ()

    @property
    def bits(self) -> int:
        """Of an accumulator that no input overflows in any layer, which is proved."""
        return max(row.bound.bits for row in self.layers)

    @property
    def longest_chain(self) -> int:
        """How many products, whichever, no layer can overflow an int16 with.

        Where all layers hold whole, as many as the largest has; 0 where no layer has int8 inputs.
        """
        chains = [(row.chain.longest, row.products) for row in self.layers if row.chain]
        limits = [longest for longest, products in chains if longest < products]
        return min(limits, default=max((longest for longest, _ in chains), default=0))

    @property
    def unsafe(self) -> tuple[LayerAccumulator, ...]:
        """The layers in which a chain of the asked length can overflow, in the order of a kernel that there is."""
        return tuple(row for row in self.layers if row.chain and not all(_kernel_bounds(row.chain)))

    def summary(self) -> Summary:
        columns = [
            "layer",
            "operation",
            "products",
            "formula",
            "weights",
            "int16 chain",
            f"{self.length} products reach",
        ]
        if self.samples:
            columns += ["seen", "seen, partial"]
        rows = [self._row(row) for row in self.layers]
        title = f"{self.source}: accumulator bits by layer"
        parts: list[Any] = [table(title, columns, rows, right=set(range(2, len(columns)))), *self._proof()]
        if self.runs:
            shown = [
                [
                    str(run.bits),
                    f"{run.wrap:.2f} %",
                    _share(run.wrap_share),
                    f"{run.clip:.2f} %",
                    _share(run.clip_share),
                ]
                for run in self.runs
            ]
            columns = ["bits", "wrap around", "sums off", "saturate", "sums off"]
            title = f"{self.samples} images; as it is {self.accuracy:.2f} %"
            parts.append(table(title, columns, shown, right=set(range(5))))
        return tuple(parts)

    def to_dict(self) -> dict[str, Any]:
        """The attributes, and what follows of them."""
        facts = {"bits": self.bits, "longest_chain": self.longest_chain, "unsafe": [row.name for row in self.unsafe]}
        layers = []
        for row in self.layers:
            layer = dataclasses.asdict(row)
            layer["bound"]["bits"] = row.bound.bits
            for name in ("observed", "observed_partial"):
                ends = getattr(row, name)
                layer[name] = None if ends is None else {"low": ends[0], "high": ends[1], "bits": bits_for(*ends)}
            layers.append(layer)
        return {**dataclasses.asdict(self), "layers": layers, **facts}

    def _row(self, row: LayerAccumulator) -> list[str]:
        chain = row.chain
        reach = "" if chain is None else f"{_reach(chain.bounds['any']):,}"
        longest = "" if chain is None else "all" if chain.longest >= row.products else str(chain.longest)
        cells = [row.name, row.operation, str(row.products), str(row.formula_bits), str(row.bound.bits), longest, reach]
        if row.observed is not None and row.observed_partial is not None:
            cells += [str(bits_for(*row.observed)), str(bits_for(*row.observed_partial))]
        return cells

    def _proof(self) -> list[str]:
        lines = [f"no input overflows an accumulator of {self.bits} bits in any layer"]
        chains = [row.chain for row in self.layers if row.chain]
        if not chains:
            return [*lines, "no layer has int8 inputs: no kernel chains their products in int16"]
        products = f"{self.length} products" if self.length > 1 else "1 product"
        if not self.unsafe:
            order = (
                "whichever" if all(chain.bounds["any"].holds for chain in chains) else "as XNNPACK and ruy chain them"
            )
            used = ORDERS[:1] if order == "whichever" else ORDERS[1:]
            furthest = max((_reach(chain.bounds[name]) for chain in chains for name in used), key=abs)
            lines.append(f"int16 chains of {products}, {order}, cannot overflow: the furthest reaches {furthest:,}")
        for row in self.unsafe[:SHOWN]:
            assert row.chain is not None
            order, bound = next(
                (name, row.chain.bounds[name]) for name in ORDERS[1:] if not row.chain.bounds[name].holds
            )
            grid = row.chain.grid_bits
            cure = f"weights of {grid} bits hold whatever they are" if grid > 1 else "no symmetric grid holds"
            lines.append(
                f"int16 chains of {products} can overflow in layer {row.name}, {bound.unsafe} channels: "
                f"{_reach(bound):,} in channel {bound.channel} by weights {', '.join(map(str, bound.weights))} "
                f"({order}); {cure}"
            )
        if len(self.unsafe) > SHOWN:
            lines.append(f"and in {len(self.unsafe) - SHOWN} more layers")
        every = all(row.chain.longest >= row.products for row in self.layers if row.chain)
        longest = "all products of every layer" if every else f"{self.longest_chain} products, whichever,"
        return [*lines, f"{longest} can be chained in int16 in every layer"]


SHOWN = 4
MODES: tuple[Narrow, ...] = ("wrap", "clip")


def analyse(
    source: Path,
    graph: Graph,
    *,
    inputs: NDArray[Any] | None = None,
    labels: NDArray[np.int64] | None = None,
    bits: Sequence[int] = (),
    length: int = 2,
    progress: Progress | None = None,
) -> Accumulators:
    """Prove, watch and try the accumulators of a file.

    Args:
        source: the file, for messages.
        graph: the same, read.
        inputs: samples as the file takes them, [N, ...]; None proves only.
        labels: their classes, int64 [N].
        bits: widths to try on the samples.
        length: of the int16 chains to prove.
        progress: shown.

    Raises:
        FormatError: the file has no layer of integers, or shapes that do not fit.
        RecipeError: a width or length that cannot be.
        DataError: the samples are not for this file.
    """
    if not 1 <= length <= 1024:
        raise RecipeError("out of range", where="--chain", got=length, wanted="1 to 1024")
    if wrong := [width for width in bits if not 2 <= width <= 32]:
        raise RecipeError("out of range", where="--bits", got=wrong[0], wanted="2 to 32")
    items = weighted_sums(graph)
    progress = progress or Silent()
    if inputs is None or labels is None:
        return Accumulators(str(source), length, tuple(_proved(item, length, None) for item in items))
    _check_inputs(graph, inputs, labels, source)
    from edgeq.accumulate.narrow import observe, run_narrow

    count = len(inputs)
    with progress.task("watching the sums", count) as task:
        seen, classes = observe(graph, items, [inputs], task)
    runs = []
    for width in bits:
        rows = {}
        for mode in MODES:
            with progress.task(f"{width} bits, {mode}", count) as task:
                found, share = run_narrow(graph, items, [inputs], width, mode, task)
            rows[mode] = (_percent(found == labels), share)
        runs.append(NarrowRun(width, rows["wrap"][0], rows["clip"][0], rows["wrap"][1], rows["clip"][1]))
    layers = tuple(_proved(item, length, part) for item, part in zip(items, seen, strict=True))
    return Accumulators(str(source), length, layers, count, _percent(classes == labels), tuple(runs))


def _proved(item: WeightedSum, length: int, seen: Observed | None) -> LayerAccumulator:
    chain = None
    if item.low >= -128 and item.high <= 127:
        bounds = {str(order): chain_bound(item, length, order) for order in ORDERS}
        chain = ChainProof(longest_chain(item), bounds, grid_bits_for_chain(item, length))
    return LayerAccumulator(
        name=item.name,
        operation=item.kind,
        products=item.products,
        formula_bits=formula_bits(item),
        bound=sum_bound(item),
        observed=None if seen is None else (seen.low, seen.high),
        observed_partial=None if seen is None else (seen.partial_low, seen.partial_high),
        chain=chain,
    )


def _check_inputs(graph: Graph, inputs: NDArray[Any], labels: NDArray[np.int64], source: Path) -> None:
    if len(graph.inputs) != 1:
        raise FormatError("images are for a network of one input", where=source, got=f"{len(graph.inputs)} inputs")
    tensor, scores = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    if inputs.shape[1:] != tensor.shape[1:] or not len(inputs):
        raise DataError(
            "the images do not fit the network", where=source, got=inputs.shape[1:], wanted=tensor.shape[1:]
        )
    if len(scores.shape) != 2 or scores.shape[1] <= labels.max():
        raise DataError("labels are for a network with one score a class", where=source,
                        got=f"scores {scores.shape} and {int(labels.max()) + 1} classes")  # fmt: skip


def _kernel_bounds(chain: ChainProof) -> list[bool]:
    return [chain.bounds[order].holds for order in ORDERS[1:]]


def _reach(bound: ChainBound) -> int:
    """The end that lies further out."""
    return bound.high if bound.high >= -bound.low - 1 else bound.low


def _share(share: float) -> str:
    return f"{100 * share:.2f} %" if share else "none"


def _percent(hits: NDArray[np.bool_]) -> float:
    return round(100 * float(hits.mean()), 4)
