"""A ViT block and an MLP-Mixer block from torch to int8, trained codes kept, every operation within a code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from int8_models import Arrays, assert_layers_agree, file_inputs, kinds, parity, run_onnxruntime, to_values
from onnx_ir import to_proto
from torch import Tensor, nn

from edgeq.artifact import make_artifact
from edgeq.calibrate import CalibrationRecipe
from edgeq.export.float_onnx import export_float
from edgeq.grid import Grid
from edgeq.snap import snap
from edgeq.tflite.read import read_graph
from edgeq.verify.integers import compare_integers
from edgeq.verify.litert import run

DIM, HEADS = 12, 3


class Attention(nn.Module):
    """As timm has it: one product for query, key and value."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(DIM, 3 * DIM)
        self.proj = nn.Linear(DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, HEADS, DIM // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q @ k.transpose(-2, -1) * (DIM // HEADS) ** -0.5).softmax(-1)
        return self.proj((scores @ v).transpose(1, 2).reshape(batch, tokens, DIM))  # type: ignore[no-any-return]


class VisionTransformer(nn.Module):
    """Patches, a class token, one block, a head."""

    def __init__(self, *, built_in: bool) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, DIM, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, DIM))
        self.position = nn.Parameter(torch.randn(1, 7, DIM))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(DIM) for _ in range(3))
        self.attention = nn.MultiheadAttention(DIM, HEADS, batch_first=True) if built_in else Attention()
        self.fc1, self.fc2, self.head = nn.Linear(DIM, 20), nn.Linear(20, DIM), nn.Linear(DIM, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        y = self.norm1(x)
        if isinstance(self.attention, nn.MultiheadAttention):
            x = x + self.attention(y, y, y, need_weights=False)[0]
        else:
            x = x + self.attention(y)
        x = x + self.fc2(nn.functional.gelu(self.fc1(self.norm2(x))))
        return self.head(self.norm3(x)[:, 0])  # type: ignore[no-any-return]


class Mixer(nn.Module):
    """MLPs over tokens and over channels (Tolstikhin et al. 2021, arXiv:2105.01601)."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, DIM, 4, 4)
        self.norm1, self.norm2 = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.token1, self.token2 = nn.Linear(6, 9), nn.Linear(9, 6)
        self.channel1, self.channel2, self.head = nn.Linear(DIM, 20), nn.Linear(20, DIM), nn.Linear(DIM, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        y = nn.functional.gelu(self.token1(self.norm1(x).transpose(1, 2)))
        x = x + self.token2(y).transpose(1, 2)
        x = x + self.channel2(nn.functional.gelu(self.channel1(self.norm2(x)), approximate="tanh"))
        return self.head(x.mean(1))  # type: ignore[no-any-return]


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    model = Mixer() if name == "mixer" else VisionTransformer(built_in=name == "torch's attention")
    with torch.no_grad():  # parameters as training leaves them
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                module.weight.uniform_(0.3, 2)
                module.bias.uniform_(-1, 1)
                module.weight[3], module.weight[5] = 0, -0.7
    return model


@pytest.mark.parametrize(("name", "transposes"), [("vit", 2), ("torch's attention", 4), ("mixer", 2)])
def test_a_block_is_int8_within_a_code_and_keeps_its_weights(name: str, transposes: int) -> None:
    model = network(name)
    trained = snap(model, Grid(8))
    assert "head" in trained
    exported = export_float(model, [(3, 8, 12)])
    samples: Arrays = {"input": np.random.default_rng(0).standard_normal((8, 3, 8, 12)).astype(np.float32)}
    wanted = run_onnxruntime(to_proto(exported), samples)[0]
    with torch.no_grad():
        np.testing.assert_allclose(wanted, model.eval()(torch.from_numpy(samples["input"])).numpy(), atol=1e-4)
    artifact = make_artifact(exported, trained, samples, CalibrationRecipe())
    graph = read_graph(artifact.content)
    assert {tensor.dtype for tensor in graph.tensors} <= {"int8", "int32", "uint8"}  # uint8: the index of a table
    assert kinds(graph).count("TRANSPOSE") == transposes == len(artifact.notes)
    layouts = artifact.conversion.layouts
    count = compare_integers(trained, artifact.qdq, graph, layouts)
    assert count == sum(weight.codes.size for weight in trained.values())
    rows = parity(artifact.content, artifact.qdq, layouts, samples)
    assert_layers_agree(rows)
    assert {row.operation for row in rows if row.onnx_difference is None} <= {"CAST", "RESHAPE", "TRANSPOSE"}
    (index,) = graph.outputs
    found = to_values(run(artifact.content, file_inputs(graph, samples), workers=1)[0], graph, index)
    assert np.abs(found - wanted).max() <= 0.06 * np.ptp(wanted)  # some fifty roundings to 8 bits
