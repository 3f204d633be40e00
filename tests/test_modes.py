from __future__ import annotations

import pytest

from edgeq.errors import RecipeError
from edgeq.grid import Grid
from edgeq.modes import MODES, LayerChoice, Plan, check_ends, plan_from_options

NAMES = ["conv1", "layer1.0.conv1", "layer1.0.relu", "layer3.0.conv1", "fc"]


def test_a_pattern_beats_the_network_and_the_last_beats_the_first() -> None:
    plan = plan_from_options("int8", Grid(8), {"layer*": "float32", "layer3.*": "int16", "fc": 4, "conv?": {"bits": 6}})
    assert [plan.mode_of(name).name for name in NAMES] == ["int8", "float32", "float32", "int16", "int8"]
    grids = [plan.grid_of(name) for name in NAMES]
    assert [grid and grid.bits for grid in grids] == [6, None, None, 8, 4]
    assert plan.uses == {"int8", "int16", "float32"}


def test_each_mode_says_what_it_is_made_of() -> None:
    assert {name: (mode.weights, mode.activations, mode.bias) for name, mode in MODES.items()} == {
        "int8": ("int8", "int8", "int32"),
        "int16": ("int8", "int16", "int64"),
        "dynamic": ("int8", "float32", "float32"),
        "float16": ("float16", "float32", "float32"),
        "float32": ("float32", "float32", "float32"),
    }


def test_a_pattern_without_a_layer_names_the_nearest() -> None:
    plan = plan_from_options("int8", Grid(), {"layer1.0.conv2": "float32"})
    with pytest.raises(RecipeError, match=r"layer1\.0\.conv2.*did you mean layer1\.0\.conv1\?"):
        plan.check_names(NAMES)
    plan_from_options("int8", Grid(), {"layer1.*": "float32"}).check_names(NAMES)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"fc": "float23"}, r"unknown mode.*did you mean float32\?"),
        ({"fc": {"bit": 4}}, r"unknown key fc\.bit.*did you mean fc\.bits\?"),
        ({"fc": {"mode": "float32", "bits": 4}}, "weights in float32 have no bits"),
        ({"fc": 9}, "do not fit int8"),
        ({"fc": 1.5}, "a mode, bits or a table"),
    ],
)
def test_layers_that_make_no_sense_are_refused(layers: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        plan_from_options("int8", Grid(), layers)


def test_ends_that_a_mode_cannot_have_are_refused() -> None:
    with pytest.raises(RecipeError, match="a file of mode float32 has no uint8 ends"):
        check_ends(MODES["float32"], "uint8")
    check_ends(MODES["int16"], "int16")
    assert Plan(layers={"x": LayerChoice(bits=4)}).grid_of("x") == Grid(4)
