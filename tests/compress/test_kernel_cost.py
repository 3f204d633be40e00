"""The cost of a convolution beside its multiply-adds: against what QEMU counted of XNNPACK's kernels."""

from __future__ import annotations

import itertools

import pytest
from torch import nn

from edgeq.compress.count import places
from edgeq.compress.kernel_cost import KernelCost, Layer, kernel_cost
from edgeq.compress.replacements import Depthwise, Replacement, Spatial, Tucker
from edgeq.models import create_model
from edgeq.targets import load_target

# Outputs, inputs, taps, places; instructions of the operation on a Cortex-A75 (LiteRT) and an A7 (XNNPACK), as
# `edgeq bench --json` counts them in a ResNet-20 and in what low-rank, spatial-separable and depthwise-separable
# make of it.
COUNTED = (
    (16, 16, 9, 1024, 277_710, 1_074_901),
    (32, 32, 9, 256, 229_582, 969_173),
    (64, 64, 9, 64, 207_918, 920_917),
    (16, 32, 1, 256, 26_230, 63_125),
    (32, 16, 1, 256, 34_230, 73_237),
    (32, 64, 1, 64, 20_502, 53_413),
    (64, 32, 1, 64, 24_502, 58_469),
    (64, 16, 1, 64, 19_446, 35_173),
    (16, 16, 9, 256, 73_806, 268_885),
    (32, 32, 9, 64, 61_774, 242_453),
    (16, 16, 3, 1024, 125_646, 399_061),
    (32, 32, 3, 256, 92_878, 339_413),
    (48, 64, 3, 64, 60_830, 236_085),
    (64, 48, 3, 64, 63_726, 241_237),
    (32, 64, 3, 64, 42_766, 157_973),
    (64, 32, 3, 64, 48_558, 168_277),
    (16, 32, 3, 256, 50_958, 172_885),
    (32, 16, 3, 256, 62_542, 193_493),
    (16, 1, 9, 1024, 162_352, 301_482),
    (32, 1, 9, 256, 70_240, 116_282),
    (64, 1, 9, 64, 34_552, 49_602),
    (16, 16, 1, 1024, 67_254, 158_677),
    (32, 32, 1, 256, 44_342, 119_829),
    (64, 64, 1, 64, 34_614, 105_061),
)
A75, A7 = (kernel_cost(load_target(name)) for name in ("cortex-a75", "cortex-a7"))


@pytest.mark.parametrize("row", COUNTED)
def test_an_operation_costs_what_was_counted(row: tuple[int, ...]) -> None:
    """Within 5 %; a depthwise one within 30 %: its kernels take 16 channels on one core and 8 on the other."""
    *sizes, on_a75, on_a7 = row
    layer = Layer(*sizes)
    allowed = 0.05 if layer.inputs > 1 else 0.3
    assert A75.instructions([layer]) == pytest.approx(on_a75, rel=allowed)
    assert A7.instructions([layer]) == pytest.approx(on_a7, rel=allowed)


@pytest.mark.parametrize(("cost", "now", "then"), [(A75, 207_918, 106_778), (A7, 920_917, 354_335)])
def test_the_gain_is_that_of_the_counts(cost: KernelCost, now: int, then: int) -> None:
    """Tucker-2 of the widest layer at half its channels."""
    before, after = Layer(64, 64, 9, 64), [Layer(32, 64, 1, 64), Layer(32, 32, 9, 64), Layer(64, 32, 1, 64)]
    fall = before.macs - sum(layer.macs for layer in after)
    assert cost.gain(before, after) == pytest.approx((now - then) / fall, rel=0.05)


def test_what_saves_nothing_gains_nothing() -> None:
    layer = Layer(8, 8, 9, 4)
    assert A75.gain(layer, [layer]) == float("-inf")


@pytest.mark.parametrize(("kind", "wanted"), [(Tucker, 0.76), (Spatial, 0.75), (Depthwise, 0.66)])
def test_the_most_that_any_rank_can_gain_on_a_resnet20_is_what_the_page_says(
    kind: type[Replacement[nn.Conv2d]], wanted: float
) -> None:
    """Of the instructions that a multiply-add takes on average on the A75, what one saved can save."""
    shape = (3, 32, 32)
    model = create_model("resnet20", num_classes=10, input_shape=shape, seed=0)
    items = [
        kind(path, layer, place)
        for path, place in places(model, shape).items()
        if isinstance(layer := model.get_submodule(path), nn.Conv2d) and layer.weight[0, 0].numel() > 1
    ]
    now = [item.cost_now for item in items]
    average = A75.instructions(now) / sum(layer.macs for layer in now)
    gains = []
    for item in items:
        outputs, inputs = item.layer.weight.shape[:2]
        ranks: list[tuple[int, ...]]
        if kind is Depthwise:
            ranks = [(1,), (2,), (3,)]
        elif kind is Spatial:
            ranks = [(rank,) for rank in range(16, 3 * outputs, 16)]
        else:
            ranks = list(itertools.product(range(16, outputs + 1, 16), (*range(16, inputs, 16), inputs)))
        gains += [A75.gain(item.cost_now, item.costs(rank)) / average for rank in ranks]
    assert max(gains) == pytest.approx(wanted, abs=0.01)
