"""What each layer's quantization costs: the network with one layer quantized, and with all but one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.onnx_session import open_session
from edgeq.progress import Progress, Silent
from edgeq.verify.switches import switched_model

__all__ = ["Cost", "LayerCost", "layer_costs"]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a choice of quantized layers does to the network's outputs.

    Attributes:
        noise: mean squared error of the outputs over their mean square.
        sqnr_db: the same as signal to quantization noise, in dB; None where there is no noise.
        accuracy: in percent of the labelled samples; None without labels.
    """

    noise: float
    sqnr_db: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class LayerCost:
    """A layer's cost.

    Attributes:
        name: as a recipe names the layer.
        operation: its ONNX kind; ``Input`` for the network's input.
        alone: with this layer quantized and all others in float.
        rest: with all others quantized and this one in float.
    """

    name: str
    operation: str
    alone: Cost
    rest: Cost


def layer_costs(
    qdq: ir.Model,
    reference: ir.Model,
    inputs: Mapping[str, NDArray[np.float32]],
    labels: NDArray[np.int64] | None = None,
    *,
    progress: Progress | None = None,
) -> tuple[Cost, Cost, list[LayerCost]]:
    """Try every layer alone, and all but it.

    Args:
        qdq: the quantized model.
        reference: the float model it was made from, batch norms folded.
        inputs: a float32 array an input, samples first.
        labels: the right class of each sample, where the single output is [1, classes].
        progress: shown a layer at a time.

    Returns:
        The cost of nothing quantized (which is the accuracy) and of everything, and a row a layer; the one that costs
        the most accuracy alone first, and among equals the one that adds the most noise.
    """
    model, layers = switched_model(qdq, reference)
    session = open_session(model, optimize=True)
    count = len(next(iter(inputs.values())))
    feeds = [{name: np.ascontiguousarray(array[i : i + 1]) for name, array in inputs.items()} for i in range(count)]

    def run(flags: Collection[str]) -> NDArray[np.float64]:
        chosen = {layer.flag: np.array(layer.flag in flags) for layer in layers}
        rows = [session.run(None, {**feed, **chosen}) for feed in feeds]
        return np.stack([np.concatenate([part.ravel() for part in row]) for row in rows]).astype(np.float64)

    exact = run(())
    everything = {layer.flag for layer in layers}
    with (progress or Silent()).task("quantizing one layer at a time", len(layers)) as task:
        costs = []
        for layer in layers:
            alone, rest = (_cost(run(flags), exact, labels) for flags in ({layer.flag}, everything - {layer.flag}))
            costs.append(LayerCost(layer.name, layer.operation, alone, rest))
            task.advance(1)
    costs.sort(key=lambda row: (row.alone.accuracy or 0.0, -row.alone.noise))
    return _cost(exact, exact, labels), _cost(run(everything), exact, labels), costs


def _cost(found: NDArray[np.float64], exact: NDArray[np.float64], labels: NDArray[np.int64] | None) -> Cost:
    power = float((exact**2).mean())
    noise = float(((found - exact) ** 2).mean()) / power if power else 0.0
    accuracy = None if labels is None else round(100 * float((found.argmax(axis=1) == labels).mean()), 4)
    return Cost(noise, None if noise == 0 else round(-10 * float(np.log10(noise)), 2), accuracy)
