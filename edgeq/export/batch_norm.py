"""The batch norms of a float graph: their parameters, and what each can be folded into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.errors import ExportError
from edgeq.export.layer_parts import step_repeats

__all__ = ["BatchNorm", "array_of", "constant_of", "feeder", "following_norm", "norm_parameters", "present"]


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """An inference batch norm.

    Attributes:
        gamma, beta, mean, variance: float32 [O].
        epsilon: added to the variance.
    """

    gamma: NDArray[np.float32]
    beta: NDArray[np.float32]
    mean: NDArray[np.float32]
    variance: NDArray[np.float32]
    epsilon: float

    def factor(self, name: str) -> NDArray[np.float64]:
        """gamma / sqrt(variance + epsilon), float64 [O].

        Raises:
            ExportError: a parameter is not finite or a variance is negative; names the layer and channel.
        """
        for word in ("gamma", "beta", "mean", "variance"):
            values = getattr(self, word)
            bad = np.flatnonzero(~np.isfinite(values) | ((values < 0) & (word == "variance")))
            if bad.size:
                raise ExportError(
                    f"the batch norm's {word} of channel {bad[0]} cannot be used",
                    where=f"layer {name}",
                    got=values[bad[0]],
                    wanted="a finite number" if word != "variance" else "a finite number, 0 or more",
                )
        factor: NDArray[np.float64] = self.gamma.astype(np.float64) / np.sqrt(
            self.variance.astype(np.float64) + self.epsilon
        )
        return factor


def following_norm(node: ir.Node) -> ir.Node | None:
    """The batch norm that alone reads a node's output."""
    value = node.outputs[0]
    uses = list(value.uses())
    if len(uses) == 1 and uses[0][0].op_type == "BatchNormalization" and not value.is_graph_output():
        norm = uses[0][0]
        return norm if feeder(norm) is node else None
    return None


def feeder(norm: ir.Node) -> ir.Node | None:
    """The convolution or Gemm with constant weights that a batch norm can be folded into."""
    source = norm.inputs[0]
    node = source.producer() if source is not None else None
    if node is None or source is None or node.op_type not in ("Conv", "ConvTranspose", "Gemm"):
        return None
    if step_repeats(node) != 1:
        return None  # a step is shared by a channel of each group
    alone = len(source.uses()) == 1 and not source.is_graph_output()
    return node if alone and constant_of(node.inputs[1]) is not None else None


def norm_parameters(norm: ir.Node) -> BatchNorm:
    gamma, beta, mean, variance = (array_of(present(norm.inputs[i])) for i in range(1, 5))
    return BatchNorm(gamma, beta, mean, variance, norm.attributes.get_float("epsilon", 1e-5))


def present(value: ir.Value | None) -> ir.Value:
    assert value is not None, "the input was checked to be there"
    return value


def constant_of(value: ir.Value | None) -> NDArray[np.float32] | None:
    return None if value is None or value.const_value is None else np.asarray(value.const_value.numpy(), np.float32)


def array_of(value: ir.Value) -> NDArray[np.float32]:
    constant = constant_of(value)
    if constant is None:
        raise ExportError("a parameter is computed, not stored", where=f"value {value.name}")
    return constant
