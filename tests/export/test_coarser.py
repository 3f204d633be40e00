"""Results that are far smaller than what they are computed from, because that was zero whenever ranges were taken."""

from __future__ import annotations

import numpy as np
import pytest
from int8_models import Constant, artifact_of, assert_layers_agree, float_model, parity, random_samples, weights

from edgeq.verify.litert import load

ZERO, ONE = np.zeros((8, 8), np.float32), np.eye(8, dtype=np.float32)
NORMAL: dict[str, Constant] = {"z": ZERO, "g": np.ones(8, np.float32), "b": np.linspace(-1, 1, 8).astype(np.float32)}
TINY: dict[str, Constant] = {"z": ZERO, "t": 1e-7 * ONE, "w": ONE, "b": np.full(8, 1e-6, np.float32)}


@pytest.mark.parametrize(
    ("body", "constants"),
    [
        ("a = MatMul (x, z)\n y = LayerNormalization (a, g, b)", NORMAL),
        ("a = MatMul (x, z)\n y = Gemm (a, w, b)", TINY),
        ("a = MatMul (x, z)\n c = MatMul (a, w)\n y = Add (c, b)", TINY),
        ("a = MatMul (x, z)\n c = MatMul (x, t)\n y = Add (a, c)", TINY),
        ("a = MatMul (x, z)\n c = MatMul (x, t)\n y = Sub (c, a)", TINY),
        ("a = MatMul (x, z)\n c = MatMul (x, t)\n d = Gemm (a, w, b)\n y = Gemm (d, w, b)", TINY),
    ],
)
def test_every_runtime_takes_them(body: str, constants: dict[str, Constant]) -> None:
    """Without wider ranges LiteRT's XNNPACK refuses the file, or its ADD stops the process."""
    inputs = {"x": (1, 8)}
    artifact = artifact_of(float_model(body, constants, inputs))
    load(artifact.content)
    rows = parity(artifact.content, artifact.qdq, artifact.conversion.layouts, random_samples(inputs))
    assert_layers_agree(rows)


def test_a_channel_of_zeros_widens_nothing() -> None:
    """Its step is 1, whatever the others are: not a step of the result."""
    small = 1e-4 * weights(8, 8)
    small[:, 3] = 0
    body, inputs = "y = MatMul (x, w)", {"x": (1, 8)}
    with_zeros = artifact_of(float_model(body, {"w": small}, inputs))
    scales = [with_zeros.conversion.graph.tensors[index].quantization for index in with_zeros.conversion.graph.outputs]
    reached = np.abs(random_samples(inputs)["x"] @ small).max()
    assert scales[0] is not None
    assert float(scales[0].scale[0]) < 2 * reached / 127
