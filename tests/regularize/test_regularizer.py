from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeq.errors import ModelError, RecipeError
from edgeq.grid import Function, Grid, quantize_weight
from edgeq.regularize import FUNCTIONS, PeriodicRegularizer
from edgeq.regularize.regularizer import Scale

# A float32 result cannot be nearer to a float64 one than its own rounding, 6e-8; the phase must not add to that.
GRADIENT_ERROR = 1e-6
THROUGH_ERROR = 1e-5  # a float32 sum over a layer's weights


def network() -> nn.Sequential:
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(
        nn.Conv1d(4, 6, 3),
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 10, (1, 3), groups=2),
        nn.ConvTranspose1d(4, 6, 3),
        nn.ConvTranspose2d(6, 8, 2, groups=2),
        nn.Linear(7, 5),
    )
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return model


def weights(model: nn.Sequential) -> list[nn.Parameter]:
    layers = [layer for layer in model if not isinstance(layer, nn.BatchNorm2d)]
    return [layer.weight for layer in layers if isinstance(layer.weight, nn.Parameter)]


def gradient_of(weight: Tensor) -> Tensor:
    assert weight.grad is not None
    return weight.grad


def peak(layer: Any, weight: Tensor, scale: Scale) -> Tensor:
    """c in PyTorch's words: one a tensor, or one an output channel of each layer type."""
    magnitude = weight.abs()
    if scale == "tensor":
        return magnitude.max()
    c = torch.zeros_like(magnitude)
    transposed = isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d)
    for group, rows in enumerate(magnitude.chunk(layer.groups) if transposed else [magnitude]):
        for channel in range(rows.shape[1 if transposed else 0]):
            if transposed:
                start = group * rows.shape[0]
                c[start : start + rows.shape[0], channel] = rows[:, channel].max()
            else:
                c[channel] = rows[channel].max()
    return c


def reference(
    layer: Any, function: Function, frequency: float, amplitude: float, scale: Scale, *, through: bool = False
) -> tuple[float, Tensor]:
    """Value and gradient of eq. (8) or (9) through autograd in float64; c is a constant unless through is set."""
    weight = layer.weight.detach().double().requires_grad_()
    u = frequency * weight / peak(layer, weight if through else weight.detach(), scale)
    value = {
        "sine": torch.sin(math.pi * u) ** 2,
        "cosine": torch.cos(math.pi * u) ** 2,
        "hat": 1 - (2 * (u - torch.floor(u)) - 1).abs(),
    }[function].sum()
    torch.autograd.backward(amplitude * value)
    gradient = gradient_of(weight)
    if function == "hat" and not through:  # the largest weights are on a kink: autograd takes a side, edgeq takes 0
        gradient = torch.where((u - torch.round(u)).abs() < 1e-9, 0.0, gradient)
    return amplitude * value.item(), gradient


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("scale", ["tensor", "channel"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_gradient_is_that_of_autograd_in_float64(
    function: Function, bits: int, scale: Scale, memory_format: torch.memory_format
) -> None:
    model = network()
    for weight in weights(model):
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=memory_format)
    regularizer = PeriodicRegularizer(model, function=function, bits=bits, amplitude=0.3, scale=scale)
    log = regularizer.add_gradient()
    total = 0.0
    for layer in model:
        if not isinstance(layer, nn.BatchNorm2d):
            value, expected = reference(layer, function, regularizer.frequency, 0.3, scale)
            weight = layer.get_parameter("weight")
            gradient = gradient_of(weight)
            total += value
            assert (gradient - expected).norm() <= GRADIENT_ERROR * expected.norm()
            assert gradient.stride() == weight.stride()
    assert sum(parameter.grad is not None for parameter in model.parameters()) == len(weights(model))
    assert float(log.value) == pytest.approx(total, rel=1e-5)
    assert regularizer.value() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("scale", ["tensor", "channel"])
def test_a_differentiated_scale_has_the_gradient_of_autograd_through_the_max(
    function: Function, bits: int, scale: Scale
) -> None:
    model = network()
    if function != "hat":  # two of one size share what goes through the max; on the hat's kink each would take a side
        weight = weights(model)[1].data.view(-1)
        weight[:2] = torch.tensor([-2, 2]) * weight.abs().max()
    regularizer = PeriodicRegularizer(
        model, function=function, bits=bits, amplitude=0.3, scale=scale, differentiate_scale=True
    )
    regularizer.add_gradient()
    for layer in model:
        if not isinstance(layer, nn.BatchNorm2d):
            _, expected = reference(layer, function, regularizer.frequency, 0.3, scale, through=True)
            weight = layer.get_parameter("weight")
            gradient = gradient_of(weight)
            assert (gradient - expected).norm() <= THROUGH_ERROR * expected.norm()
            across = (gradient * weight.detach()).sum().abs()
            assert across <= THROUGH_ERROR * gradient.norm() * weight.norm(), "the term knows no size of weights"


def test_a_held_scale_has_no_gradient() -> None:
    constant, differentiated = (network(), network())
    for model, through in ((constant, False), (differentiated, True)):
        regularizer = PeriodicRegularizer(model, differentiate_scale=through)
        regularizer.hold_scale()
        regularizer.add_gradient()
    for one, other in zip(weights(constant), weights(differentiated), strict=True):
        torch.testing.assert_close(gradient_of(one), gradient_of(other), rtol=0, atol=0)


def test_through_the_max_a_coarse_grid_runs_away_from_the_weights() -> None:
    """What the paper's snippet does at few bits: the largest weight grows until all others round to zero."""
    shares = {}
    for through in (False, True):
        layer = nn.Linear(64, 64, bias=False)
        nn.init.normal_(layer.weight, std=0.1, generator=torch.Generator().manual_seed(0))
        regularizer = PeriodicRegularizer(layer, bits=4, amplitude=1e-3, differentiate_scale=through)
        for _ in range(100):
            layer.weight.grad = None
            regularizer.add_gradient()
            layer.weight.data -= 0.1 * gradient_of(layer.weight)
        codes = quantize_weight(layer.weight.detach().numpy(), Grid(4)).codes
        shares[through] = float((codes != 0).mean())
    assert shares[False] > 0.5
    assert shares[True] < 0.01


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("scale", ["tensor", "channel"])
@pytest.mark.parametrize("through", [False, True])
def test_the_loss_has_the_same_value_and_gradient(function: Function, scale: Scale, through: bool) -> None:
    by_graph, closed = network(), network()
    options: dict[str, Any] = {
        "function": function, "amplitude": 0.01, "scale": scale, "differentiate_scale": through
    }  # fmt: skip
    regularizer = PeriodicRegularizer(closed, **options)
    regularizer.add_gradient()
    loss = PeriodicRegularizer(by_graph, **options).loss()
    torch.autograd.backward(loss)
    assert loss.item() == pytest.approx(regularizer.value(), rel=1e-5)
    for graph, form in zip(weights(by_graph), weights(closed), strict=True):
        error = THROUGH_ERROR if through else GRADIENT_ERROR
        assert (gradient_of(graph) - gradient_of(form)).norm() <= error * gradient_of(form).norm()


def test_the_gradient_is_added_to_the_one_that_is_there() -> None:
    model = network()
    for weight in weights(model):
        weight.grad = torch.ones_like(weight)
    alone = network()
    PeriodicRegularizer(alone, amplitude=0.1).add_gradient()
    PeriodicRegularizer(model, amplitude=0.1).add_gradient()
    for summed, single in zip(weights(model), weights(alone), strict=True):
        torch.testing.assert_close(gradient_of(summed), gradient_of(single) + 1)


def test_the_first_gradient_owns_its_memory() -> None:
    model = network()
    PeriodicRegularizer(model).add_gradient()
    assert len({gradient_of(weight).untyped_storage().data_ptr() for weight in weights(model)}) == len(weights(model))


def test_the_papers_sine_snippet_where_it_is_right() -> None:
    """total += sum(sin(pi f w / max|w|)^2), its value; only its gradient goes through the max."""
    model = network()
    total = sum(torch.sin(w * (1 / w.abs().max()) * 127 * math.pi).square().sum().item() for w in weights(model))
    assert PeriodicRegularizer(model, bits=8, amplitude=1.0).value() == pytest.approx(total, rel=1e-4)


def test_amplitude_and_frequency_may_change_at_any_time() -> None:
    model = network()
    regularizer = PeriodicRegularizer(model, bits=8, amplitude=1.0)
    regularizer.frequency, regularizer.amplitude = 6.5, 2.0
    expected = sum(2 * torch.sin(math.pi * 6.5 * w / w.abs().max()).square().sum().item() for w in weights(model))
    assert regularizer.value() == pytest.approx(expected, rel=1e-5)
    regularizer.amplitude = 0.0
    regularizer.add_gradient()
    assert all(weight.grad is None for weight in weights(model))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("scale", ["tensor", "channel"])
def test_a_layer_of_zeros_contributes_nothing(function: Function, scale: Scale) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5))
    nn.init.zeros_(model.get_parameter("0.weight"))
    alone = nn.Sequential(nn.Linear(4, 5))
    alone.load_state_dict({"0." + key: value for key, value in model[1].state_dict().items()})
    regularizer = PeriodicRegularizer(model, function=function, scale=scale, amplitude=1.0)
    expected = PeriodicRegularizer(alone, function=function, scale=scale, amplitude=1.0)
    regularizer.add_gradient()
    assert not gradient_of(model.get_parameter("0.weight")).any()
    assert regularizer.value() == pytest.approx(expected.value())
    assert regularizer.loss().item() == pytest.approx(regularizer.value(), rel=1e-5)


@pytest.mark.parametrize(("function", "bits"), [("sine", 8), ("sine", 2), ("hat", 5), ("cosine", 7), ("cosine", 1)])
def test_the_distance_is_the_grids(function: Function, bits: int) -> None:
    """Two homes, one figure: what training logs is what snapping will find."""
    model = nn.Sequential(nn.Linear(31, 17))
    codes = quantize_weight(model.get_parameter("0.weight").detach().numpy(), Grid(bits, function))
    log = PeriodicRegularizer(model, function=function, bits=bits).measure()
    assert float(log.distance) == pytest.approx(codes.distance, abs=1e-5)


@pytest.mark.parametrize(("function", "bits"), [("sine", 8), ("hat", 4)])
def test_weights_on_the_grid_are_at_rest(function: Function, bits: int) -> None:
    model = nn.Sequential(nn.Linear(31, 17))
    snapped = quantize_weight(model.get_parameter("0.weight").detach().numpy(), Grid(bits, function)).values
    model.get_parameter("0.weight").data = torch.from_numpy(np.array(snapped))
    log = PeriodicRegularizer(model, function=function, bits=bits, amplitude=1.0).measure()
    assert float(log.distance) < 1e-4  # float32 rounding of c k / f, times f
    assert float(log.share_on_grid) == 1.0


def test_frozen_weights_are_left_out_and_tied_ones_count_once() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model.get_parameter("0.weight")
    model.get_parameter("2.weight").requires_grad_(False)
    alone = nn.Sequential(nn.Linear(4, 4))
    alone[0].weight = model.get_parameter("0.weight")
    regularizer = PeriodicRegularizer(model, amplitude=1.0)
    assert regularizer.value() == pytest.approx(PeriodicRegularizer(alone, amplitude=1.0).value())
    regularizer.add_gradient()
    assert model.get_parameter("2.weight").grad is None
    model.get_parameter("0.weight").requires_grad_(False)
    assert regularizer.value() == 0.0


def test_half_precision_and_double_weights_keep_their_dtype() -> None:
    for dtype, error in ((torch.bfloat16, 1e-2), (torch.float64, 1e-12)):
        layer = nn.Linear(16, 16).to(dtype)
        PeriodicRegularizer(layer, amplitude=0.5).add_gradient()
        _, gradient = reference(layer, "sine", 127, 0.5, "tensor")
        assert gradient_of(layer.weight).dtype == dtype
        assert (gradient_of(layer.weight).double() - gradient).norm() <= error * gradient.norm()


@pytest.mark.parametrize("arguments", [{"scale": "row"}, {"amplitude": -1.0}, {"amplitude": math.nan}, {"bits": 1}])
def test_bad_arguments_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        PeriodicRegularizer(nn.Linear(2, 2), **arguments)


def test_a_network_without_weights_is_refused() -> None:
    with pytest.raises(ModelError, match="no weights to regularize"):
        PeriodicRegularizer(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3)))


def test_gradient_descent_on_the_term_alone_ends_on_the_grid() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 20, bias=False))
    regularizer = PeriodicRegularizer(model, bits=4, amplitude=1.0)
    c = model.get_parameter("0.weight").detach().abs().max().item()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5 / (2 * (math.pi * 7 / c) ** 2))
    for _ in range(60):
        optimizer.zero_grad()
        regularizer.add_gradient()
        optimizer.step()
    assert float(regularizer.measure().share_on_grid) == 1.0
    assert model.get_parameter("0.weight").detach().abs().max().item() == pytest.approx(c)


OWN = {"1": 8, "6": 2}
AMPLITUDE = 1e-3


def alone(model: nn.Sequential, layer: str, bits: int, function: Function) -> PeriodicRegularizer:
    """One layer with nothing but bits of its own, as steep as a layer of 4 bits."""
    frequencies = [PeriodicRegularizer(model, function=function, bits=width).frequency for width in (4, bits)]
    leave = {str(i) for i in range(len(model))} - {layer}
    amplitude = AMPLITUDE * (frequencies[0] / frequencies[1]) ** 2
    return PeriodicRegularizer(model, function=function, bits=bits, amplitude=amplitude, leave=leave)


@pytest.mark.parametrize("function", ["sine", "cosine", "hat"])
def test_layers_of_other_bits_have_a_term_of_their_own(function: Function) -> None:
    own = {layer: min(bits, 7) for layer, bits in OWN.items()}  # the cosine's grid of 8 bits fits no int8
    together, apart = network(), network()
    regularizer = PeriodicRegularizer(together, function=function, bits=4, amplitude=AMPLITUDE, layer_bits=own)
    terms = [alone(apart, layer, own.get(layer, 4), function) for layer in ("0", "1", "3", "4", "5", "6")]
    log = regularizer.add_gradient()
    logs = [term.add_gradient() for term in terms]
    for one, other in zip(weights(together), weights(apart), strict=True):
        torch.testing.assert_close(gradient_of(one), gradient_of(other), rtol=1e-6, atol=0)
    torch.testing.assert_close(log.value, sum(item.value for item in logs), rtol=1e-5, atol=0)
    torch.testing.assert_close(regularizer.loss(), log.value, rtol=1e-5, atol=0)
    counts = [weight.numel() for weight in weights(together)]
    distance = sum(item.distance * count for item, count in zip(logs, counts, strict=True)) / sum(counts)
    torch.testing.assert_close(log.distance, distance, rtol=1e-5, atol=0)


@pytest.mark.parametrize("form", ["pull", "place"])
def test_a_pull_brings_each_layer_to_the_grid_of_its_bits(form: str) -> None:
    model = network()
    regularizer = PeriodicRegularizer(model, bits=4, layer_bits=OWN)
    regularizer.hold_scale(4.0, layer_clips={"1": None, "6": 1.6})
    for _ in range(20):
        getattr(regularizer, form)(1.0)
        if form == "place":
            break
    layers = dict(model.named_children())
    for layer, held in regularizer.held_scales.items():
        weight: Any = layers[layer].weight
        found = quantize_weight(weight.detach().numpy(), Grid(OWN.get(layer, 4)), scale=held.numpy().reshape(1))
        assert found.distance < 1e-3, layer
        assert len(np.unique(found.codes)) <= 2 ** OWN.get(layer, 4) - 1
    before = dict(network().named_parameters())
    assert float(regularizer.held_scales["1"]) == pytest.approx(float(before["1.weight"].detach().abs().max()))
    assert float(regularizer.held_scales["6"]) == pytest.approx(1.6 * float(before["6.weight"].detach().abs().mean()))


def test_other_bits_follow_the_frequency_only_where_they_are_not_given() -> None:
    regularizer = PeriodicRegularizer(network(), bits=4, layer_bits={"1": 8})
    regularizer.frequency = 31
    assert {item.layer: item.frequency for item in regularizer._weights} == {
        "0": 31, "1": 127, "3": 31, "4": 31, "5": 31, "6": 31
    }  # fmt: skip
    regularizer.layer_bits = {"6": 2}
    assert {item.frequency for item in regularizer._weights} == {31, 1}
    with pytest.raises(ModelError, match=r"layer 2.*no weights to regularize|has no weights to regularize"):
        regularizer.layer_bits = {"2": 4}
