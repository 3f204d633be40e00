"""Dynamic fixed point: grids whose scales are powers of two, through training, both files and every runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from int8_models import artifact_of, assert_layers_agree, float_model, float_proto, parity, weights

import edgeq
from edgeq.cli.main import cli
from edgeq.compress.fold_batch_norm import check_folded, fold_batch_norms
from edgeq.errors import ExportError, ModelError, RecipeError
from edgeq.export.fixed_point import is_power_of_two
from edgeq.grid import Grid, fixed_point_grid, power_of_two_steps, q_format, quantize_weight
from edgeq.modes import MODES, Plan
from edgeq.posttraining import ExportRequest
from edgeq.recipe import recipe_from_dict
from edgeq.regularize import PeriodicRegularizer
from edgeq.tflite.read import read_file, read_graph

BODY = """
    a = Conv <pads = [1, 1, 1, 1]> (x, "one.weight", b1)
    r = Relu (a)
    n = BatchNormalization (r, gamma, beta, mean, variance)
    c = Conv (n, "two.weight")
    m = BatchNormalization (c, gamma2, beta, mean, variance)
    s = Sub (m, k)
    g = GlobalAveragePool (s)
    h = Flatten (g)
    y = Gemm <transB = 1> (h, "three.weight", b3)
"""


def constants() -> dict[str, Any]:
    ones = {name: np.abs(weights(4, seed=i)) + 0.2 for i, name in enumerate(("gamma", "gamma2", "variance"))}
    return {
        "one.weight": weights(4, 3, 3, 3), "b1": weights(4), "two.weight": weights(4, 4, 1, 1), "beta": weights(4),
        "mean": weights(4, seed=3), "k": weights(4, 1, 1), "three.weight": weights(10, 4), "b3": weights(10), **ones,
    }  # fmt: skip


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_a_fixed_point_grid_is_the_finest_that_covers_its_range(dtype: str) -> None:
    random = np.random.default_rng(0)
    kind = np.iinfo(dtype)
    for _ in range(300):
        low, high = sorted(random.normal(size=2) * 10.0 ** random.integers(-5, 6))
        scale, zero = fixed_point_grid(low, high, dtype)
        assert np.frexp(scale)[0] == 0.5
        assert zero == (kind.min if min(low, 0) == 0 and dtype == "int8" else 0)
        ends = [scale * (int(kind.min) - zero), scale * (int(kind.max) - zero)]
        assert ends[0] <= min(low, 0.0) <= max(high, 0.0) <= ends[1]
        assert not ends[0] / 2 <= low <= high <= ends[1] / 2 or max(high, 0) == min(low, 0)
    assert fixed_point_grid(0, 0) == (1.0, -128)
    assert fixed_point_grid(-1, 127 / 128) == (1 / 128, 0)


@pytest.mark.parametrize("function", ["sine", "cosine"])
@pytest.mark.parametrize("bits", [2, 4, 7])
def test_a_step_is_the_better_of_two_powers(bits: int, function: Any) -> None:
    weight = np.random.default_rng(bits).normal(size=(3, 50)).astype(np.float32) * np.array(
        [[0.01], [1], [30]], np.float32
    )
    grid, free = Grid(bits, function, power_of_two=True), Grid(bits, function)
    found, other = quantize_weight(weight, grid, per_channel=True), quantize_weight(weight, free, per_channel=True)
    assert is_power_of_two(found.step)
    assert ((found.step >= other.step / 2) & (found.step < 2 * other.step)).all()
    tried = []
    for shift in (-1, 0, 1):
        step = np.exp2(np.floor(np.log2(other.step)) + shift).astype(np.float32)
        scale = step * np.float32(grid.steps_in_max)
        tried.append(((quantize_weight(weight, free, per_channel=True, scale=scale).values - weight) ** 2).sum(axis=1))
    errors = ((found.values - weight) ** 2).sum(axis=1)
    assert (errors <= np.min(tried[1:], axis=0) * (1 + 1e-6)).all()
    assert power_of_two_steps(np.zeros((1, 4), np.float32), np.zeros(1, np.float32), grid)[0] == 0


@pytest.mark.parametrize("per_channel", [False, True])
def test_every_scale_of_both_files_is_a_power_of_two(tmp_path: Path, per_channel: bool) -> None:
    samples = np.random.default_rng(1).uniform(-1, 1, (8, 3, 6, 5)).astype(np.float32)
    request = ExportRequest(samples, grid=Grid(8, power_of_two=True), per_channel=per_channel)
    proto = float_proto(BODY.replace("n = BatchNormalization (r, gamma, beta, mean, variance)", "n = Identity (r)"),
                        constants(), {"x": (1, 3, 6, 5)})  # fmt: skip
    result = edgeq.quantize(proto, request, tmp_path / "out")
    graph = read_file(result.out / "model.tflite")
    grids = [tensor.quantization for tensor in graph.tensors if tensor.quantization is not None]
    assert all(is_power_of_two(grid.scale) for grid in grids)
    steps = edgeq.load_grid(result.out / "grid.safetensors")
    assert {weight.step.size for weight in steps.values()} == ({4, 10} if per_channel else {1})
    relu = next(tensor for tensor in graph.tensors if tensor.name in ("r", "n"))
    assert relu.quantization is not None
    assert relu.quantization.zero_point[0] == -128
    shown = edgeq.inspect(result.out / "model.tflite")
    assert next(row.format for row in shown.tensors if row.name == relu.name).startswith("UQ")
    assert all(row.format for row in shown.tensors if row.grid and " scales " not in row.grid and row.dtype == "int8")
    assert "UQ" in str(shown.tensor_table())


def test_runtimes_agree_on_fixed_point() -> None:
    """Also of a batch norm that is folded in float before the weights are rounded, and of int16 activations."""
    body = BODY.replace("n = BatchNormalization (r, gamma, beta, mean, variance)", "n = Identity (r)")
    samples = {"x": np.random.default_rng(2).uniform(-1, 1, (4, 3, 6, 5)).astype(np.float32)}
    for mode in ("int8", "int16"):
        plan = Plan(MODES[mode], Grid(8, power_of_two=True))
        artifact = artifact_of(float_model(body, constants(), {"x": (1, 3, 6, 5)}), plan=plan, io=mode)
        assert_layers_agree(parity(artifact.content, artifact.qdq, artifact.conversion.layouts, samples))
        for tensor in read_graph(artifact.content).tensors:
            assert tensor.quantization is None or is_power_of_two(tensor.quantization.scale)


def test_a_batch_norm_without_a_layer_is_refused() -> None:
    plan = Plan(grid=Grid(8, power_of_two=True))
    with pytest.raises(ExportError, match=r"not in fixed point .*wanted a power of two"):
        artifact_of(float_model(BODY, constants(), {"x": (1, 3, 6, 5)}), plan=plan)


def test_the_command_takes_the_format(tmp_path: Path) -> None:
    body = "a = Conv (x, w)\n y = Relu (a)"
    proto = float_proto(body, {"w": weights(5, 3, 2, 2)}, {"x": (1, 3, 6, 5)})
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    np.savez(tmp_path / "x.npz", inputs=np.random.default_rng(0).normal(size=(3, 3, 6, 5)).astype(np.float32))
    arguments = ["quantize", "m.onnx", "--calibration-data", "x.npz", "--scale-format", "power-of-two", "-q"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert CliRunner().invoke(cli, [*arguments, "--out", "out"], catch_exceptions=False).exit_code == 0
    for weight in edgeq.load_grid(tmp_path / "out" / "grid.safetensors").values():
        assert weight.step.size == 1
        assert is_power_of_two(weight.step)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"method": "straight-through"}, "it has scales of its own"),
        ({"regularizer": {"scale_update": "learned"}}, "held at a power of two"),
        ({"bits": 4, "regularizer": {"stages": [8]}}, "one grid is held"),
        ({"quantize": {"mode": "dynamic"}}, "no fixed point"),
        ({"layers": {"conv1": "float32"}}, "no fixed point"),
        ({"compress": [{"method": "fold-batch-norm", "epochs": 0}]}, "pulled onto their grid before the fold"),
    ],
)
def test_what_leaves_another_step_is_refused_with_a_reason(table: dict[str, Any], message: str) -> None:
    quantize = {"scale_format": "power-of-two", **table.get("quantize", {})}
    with pytest.raises(RecipeError, match=message) as caught:
        recipe_from_dict({**table, "quantize": quantize})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("bits", "function"), [(8, "sine"), (4, "hat"), (3, "cosine")])
def test_the_pull_is_towards_the_grid_that_is_rounded_to(bits: int, function: Any) -> None:
    torch.manual_seed(bits)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(8, 5))
    grid = Grid(bits, function, power_of_two=True)
    term = PeriodicRegularizer(model, function=function, bits=bits)
    term.hold_scale(grid=grid)
    for _ in range(60):
        term.pull(1.0)
    for name, c in term.held_scales.items():
        values = model.get_submodule(name).weight.detach().numpy()  # type: ignore[operator]
        found = quantize_weight(values, grid, scale=c.numpy().reshape(1))
        assert is_power_of_two(found.step)
        assert found.distance < 1e-3


class Normed(torch.nn.Module):
    def __init__(self, shared: bool = False) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, groups=1, bias=False)
        self.bn = torch.nn.BatchNorm2d(4)
        self.fc = torch.nn.Linear(4, 5)
        self.norm = torch.nn.BatchNorm1d(5, affine=False)
        self.shared = shared

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.conv(x)
        x = torch.relu(self.bn(made)).mean((2, 3))
        out: torch.Tensor = self.norm(self.fc(x))
        return out + made.mean() if self.shared else out


def normed(shared: bool = False) -> Normed:
    torch.manual_seed(0)
    model = Normed(shared)
    with torch.no_grad():
        for norm in (model.bn, model.norm):
            norm.running_mean.normal_()  # type: ignore[union-attr]
            norm.running_var.uniform_(0.2, 3)  # type: ignore[union-attr]
        model.bn.weight.normal_()
        model.bn.bias.normal_()
    return model.eval()


def test_a_folded_network_computes_the_same_and_can_be_rebuilt(tmp_path: Path) -> None:
    from edgeq.models import load_weights, save_weights

    images = torch.randn(4, 3, 6, 6)
    model, before = normed(), normed()(images)
    assert fold_batch_norms(model, images) == 2
    assert not any(isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d) for module in model.modules())
    torch.testing.assert_close(model(images), before, rtol=1e-4, atol=1e-5)
    save_weights(model, tmp_path / "w.safetensors")
    again = normed()
    load_weights(again, tmp_path / "w.safetensors")
    assert torch.equal(again.eval()(images), model(images))
    check_folded(model, ())


def test_a_network_that_cannot_be_folded_is_refused() -> None:
    images = torch.randn(4, 3, 6, 6)
    with pytest.raises(ModelError, match="something else reads a layer's output"):
        fold_batch_norms(normed(shared=True), images)
    with pytest.raises(ModelError, match="no batch norm"):
        fold_batch_norms(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)).eval(), images)
    alone = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Conv2d(3, 4, 3)).eval()
    with pytest.raises(ModelError, match="no layer of its own"):
        fold_batch_norms(alone, images)
    with pytest.raises(RecipeError, match="add --compress fold-batch-norm"):
        check_folded(alone, ())


def test_formats_are_named_as_the_field_does() -> None:
    assert q_format(1 / 128, 0, 8) == "Q1.7"
    assert q_format(2**-4, -128, 8) == "UQ4.4"
    assert q_format(2.0, 0, 8) == "Q9.-1"
    assert q_format(2**-9, 0, 4) == "Q-5.9"
    assert q_format(0.01, 0, 8) == q_format(0.5, 3, 8) == q_format(0.5, 0, 0) == ""
