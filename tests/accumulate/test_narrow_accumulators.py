from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Build, Ended
from int8_models import artifact_of, float_model, weights

import edgeq
from edgeq.accumulate.columns import layer_columns, whole_sums
from edgeq.accumulate.narrow import Narrow, narrowed
from edgeq.accumulate.sums import weighted_sums
from edgeq.errors import DataError, FormatError, RecipeError
from edgeq.grid import Grid
from edgeq.modes import MODES, Plan
from edgeq.tflite.read import read_file, read_graph


def saturated(total: int, low: int, high: int) -> int:
    return max(low, min(high, total))


@pytest.mark.parametrize("bits", [9, 12, 16])
@pytest.mark.parametrize("mode", ["wrap", "clip"])
def test_narrow_sums_are_those_of_integers_one_by_one(mode: Narrow, bits: int) -> None:
    body = "y = Conv <group = 2, pads = [1, 1, 1, 1]> (x, w, b)"
    model = float_model(body, {"w": weights(4, 2, 3, 3), "b": 8 * weights(4)}, {"x": (1, 4, 3, 4)})
    graph = read_graph(artifact_of(model).content)
    item = weighted_sums(graph)[0]
    operator = graph.operators[item.operator]
    codes = np.random.default_rng(0).integers(-128, 128, (1, 3, 4, 4)).astype(np.int8)
    columns = layer_columns(item, operator, codes, (1, 3, 4, 4))
    found = narrowed(item, columns, whole_sums(item, columns), bits, mode)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    padded = np.pad(codes[0].astype(int), ((1, 1), (1, 1), (0, 0)), constant_values=item.zero_point)
    changed = 0
    for y, x, o in np.ndindex(3, 4, 4):
        total = exact = int(item.bias[o])
        total = saturated(total, low, high)
        for (ky, kx), c in ((tap, c) for tap in np.ndindex(3, 3) for c in range(2)):
            product = int(item.codes[o, 3 * ky + kx, c]) * int(padded[y + ky, x + kx, o // 2 * 2 + c] - item.zero_point)
            exact += product
            total = saturated(total + product, low, high)
        wanted = total if mode == "clip" else (exact - low) % 2**bits + low
        assert found[4 * y + x, o] == wanted
        changed += wanted != exact
    assert changed or bits == 16


def test_widths_are_tried_on_the_images_of_a_build(built: Build) -> None:
    proved = edgeq.accumulators(built.out)
    assert proved.samples == 0
    assert proved.accuracy is None
    wide = proved.bits
    result = edgeq.accumulators(built.out, bits=[wide, 8], samples=4)
    assert result.samples == 4
    first, last = result.runs
    assert (first.wrap_share, first.clip_share) == (0, 0)
    assert first.wrap == first.clip == result.accuracy
    assert last.wrap_share > 0
    assert last.clip_share > 0
    for row in result.layers:
        assert row.observed is not None
        assert row.observed_partial is not None
        assert row.bound.low <= row.observed_partial[0] <= row.observed[0]
        assert row.observed[1] <= row.observed_partial[1] <= row.bound.high


def test_sums_that_wrap_need_the_bits_that_are_seen(built: Build) -> None:
    """ACT_y: with these no sum of these images is off, with one fewer some is."""
    seen = edgeq.accumulators(built.out, data=built.images, samples=3).to_dict()
    bits = max(layer["observed"]["bits"] for layer in seen["layers"])
    runs = edgeq.accumulators(built.out, bits=[bits, bits - 1], samples=3).runs
    assert runs[0].wrap_share == 0
    assert runs[1].wrap_share > 0


def test_the_accuracy_is_that_of_the_file(built: Build) -> None:
    """Run an operation at a time, the network is the one that a build measures whole."""
    manifest = json.loads((built.out / "manifest.json").read_text())
    result = edgeq.accumulators(built.out, data=built.images, samples=10**6)
    assert result.samples == manifest["accuracy"]["samples"]
    assert result.accuracy == manifest["accuracy"]["tflite"]


def test_the_command_says_what_is_proved(built: Build, edgeq: Callable[..., Ended]) -> None:
    shown = edgeq("accumulators", built.out, "-q")
    assert shown.code == 0
    assert "int16 chains of 2 products, whichever, cannot overflow" in shown.out
    failing = edgeq("accumulators", built.out / "model.tflite", "--chain", "6", "-q")
    assert "can overflow in layer conv1" in failing.out
    assert "weights of 6 bits hold whatever they are" in failing.out
    found = json.loads(edgeq("accumulators", built.out, "--json", "--bits", "16", "--samples", "2").out)
    assert {"layers", "bits", "longest_chain", "unsafe", "runs"} <= found.keys()
    assert found["runs"][0]["bits"] == 16
    assert [layer["name"] for layer in found["layers"]] == ["conv1", "depthwise", "conv2", "fc1", "fc2"]
    assert found["layers"][0]["chain"]["bounds"]["any"]["unsafe"] == 0


@pytest.mark.parametrize(("bits", "whole"), [(2, True), (5, False)])
def test_a_short_layer_that_holds_whole_limits_no_chain(bits: int, whole: bool, tmp_path: Path) -> None:
    constants = {"one": weights(4, 3, 1, 1), "two": weights(5, 4, 5, 5)}
    model = float_model("a = Conv (x, one)\n y = Conv (a, two)", constants, {"x": (1, 3, 6, 7)})
    (tmp_path / "m.tflite").write_bytes(artifact_of(model, plan=Plan(grid=Grid(bits))).content)
    found = edgeq.accumulators(tmp_path / "m.tflite")
    chains = [row.chain.longest for row in found.layers if row.chain]
    assert chains[0] == 3
    assert (chains[1] == 100) == whole
    assert found.longest_chain == chains[1]
    assert ("all products of every layer" in str(found)) == whole


def test_fused_activations_narrow_the_codes_of_the_next_layer() -> None:
    body = "a = Conv (x, one)\n b = Clip (a, low, high)\n c = Add (b, x)\n y = Conv (b, two)\n z = Conv (c, three)"
    constants = {"one": weights(3, 3, 1, 1), "two": weights(4, 3, 2, 2), "three": weights(2, 3, 1, 1)}
    model = float_model(body, {**constants, "low": 0.0, "high": 6.0}, {"x": (1, 3, 5, 7)}, ("y", "z"))
    graph = read_graph(artifact_of(model).content)
    first, second, third = weighted_sums(graph)
    assert (first.low, first.high) == (third.low, third.high) == (-128, 127)
    assert second.low == second.zero_point


def refusals(built: Build, folder: Path) -> list[tuple[type[Exception], str, object, dict[str, object]]]:
    body, constants, inputs = "y = Conv (x, w)", {"w": weights(2, 3, 1, 1)}, {"x": (1, 3, 4, 4)}
    plan = Plan(MODES["float32"])
    (folder / "float.tflite").write_bytes(
        artifact_of(float_model(body, constants, inputs), io="float32", plan=plan).content
    )
    (folder / "images.tflite").write_bytes(artifact_of(float_model(body, constants, inputs)).content)
    (folder / "broken.tflite").write_bytes((built.out / "model.tflite").read_bytes()[:1000])
    file = built.out / "model.tflite"
    return [
        (FormatError, "no layer with integer weights", folder / "float.tflite", {}),
        (FormatError, "truncated or corrupted", folder / "broken.tflite", {}),
        (FormatError, "cannot be read", folder, {}),
        (RecipeError, "give --data", file, {"bits": [16]}),
        (RecipeError, "2 to 32", built.out, {"bits": [40]}),
        (RecipeError, "--chain", built.out, {"chain": 0}),
        (DataError, "do not fit", built.out, {"data": "digits"}),
        (DataError, "one score a class", folder / "images.tflite", {"data": built.images}),
    ]


@pytest.mark.parametrize("which", range(8))
def test_what_cannot_be_asked_is_refused_in_a_line(built: Build, tmp_path: Path, which: int) -> None:
    kind, message, source, options = refusals(built, tmp_path)[which]
    with pytest.raises(kind, match=message) as caught:
        edgeq.accumulators(source, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_file_whose_shapes_do_not_fit_is_refused(built: Build) -> None:
    from dataclasses import replace

    graph = read_file(built.out / "model.tflite")
    conv = graph.operators[weighted_sums(graph)[0].operator]
    tensors = list(graph.tensors)
    source = tensors[conv.inputs[0]]
    tensors[conv.inputs[0]] = replace(source, shape=(*source.shape[:-1], 5))
    with pytest.raises(FormatError, match="do not fit"):
        weighted_sums(replace(graph, tensors=tuple(tensors)))
