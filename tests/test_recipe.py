from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.cli.options import FIELDS, recipe_from_options
from edgeq.errors import RecipeError
from edgeq.modes import LayerChoice
from edgeq.recipe import (
    DataRecipe,
    QuantizeRecipe,
    Recipe,
    RegularizerRecipe,
    TrainRecipe,
    load_recipe,
    recipe_from_dict,
    recipe_to_toml,
)

PARTS = {"data": DataRecipe, "train": TrainRecipe, "regularizer": RegularizerRecipe, "quantize": QuantizeRecipe}
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
FLOATS = [
    (part, item.name)
    for part, cls in PARTS.items()
    for item in dataclasses.fields(cls)
    if float in (get_type_hints(cls)[item.name], *get_args(get_type_hints(cls)[item.name]))
]

recipes = st.builds(
    Recipe,
    model=TEXTS,
    target=TEXTS,
    bits=st.integers(2, 7),
    seed=st.integers(0, 2**63 - 1),
    data=st.builds(
        DataRecipe, path=TEXTS, image_size=st.integers(0, 4096), unreadable=st.sampled_from(["error", "skip"])
    ),
    train=st.builds(
        TrainRecipe,
        epochs=st.integers(1, 10**9),
        learning_rate=st.floats(0, 1e300, exclude_min=True),
        momentum=st.floats(0, 1, exclude_max=True),
        weight_decay=st.floats(0, 1e300),
        flip=st.sampled_from([None, True, False]),
    ),
    regularizer=st.builds(
        RegularizerRecipe,
        function=st.sampled_from(["sine", "cosine", "hat"]),
        amplitude=st.floats(0, 1e300),
        factor=st.floats(1, 1e300),
        stages=st.sampled_from([(), (24, 9)]),
        form=st.sampled_from([None, "loss", "decoupled", "latent"]),
        pull=st.none() | st.floats(0.1, 1),
    ),
    quantize=st.builds(
        QuantizeRecipe,
        calibration=TEXTS,
        io=st.sampled_from([None, "float32"]),
        mode=st.sampled_from(["int8", "int16", "dynamic"]),
        packed=st.just(False),
    ),
    layers=st.dictionaries(
        TEXTS,
        st.sampled_from(["float32", "int16", 4, 6, LayerChoice("int16", 3), LayerChoice(bits=5), LayerChoice()]),
        max_size=3,
    ),
)


@given(recipe=recipes)
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_back_equal(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "recipe.toml"
    path.write_text(recipe_to_toml(recipe), encoding="utf-8")
    assert load_recipe(path) == recipe


def test_an_empty_file_is_the_defaults() -> None:
    assert recipe_from_dict({}) == Recipe()


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"bitz": 8}, "unknown key bitz; did you mean bits?"),
        ({"train": {"epoch": 3}}, "unknown key train.epoch; did you mean train.epochs?"),
        ({"zzzzzz": 1}, "known keys: bits, compress, data, layers"),
        ({"bits": "8"}, "bits (got '8', wanted a whole number)"),
        ({"bits": True}, "bits (got True, wanted a whole number)"),
        ({"bits": 8.0}, "bits (got 8.0, wanted a whole number)"),
        ({"train": {"learning_rate": "fast"}}, "train.learning_rate (got 'fast', wanted a number)"),
        ({"train": {"flip": 1}}, "train.flip (got 1, wanted true or false)"),
        ({"train": 3}, "train (got 3, wanted a table)"),
        ({"model": ["a"]}, "model (got ['a'], wanted a string)"),
        ({"quantize": {"io": "int4"}}, "wanted one of uint8, int8, float32"),
        ({"train": {"epochs": 0}}, "f.toml: train.epochs: out of range (got 0"),
        ({"bits": 1}, "use --regularizer cosine for 1 bit"),
        ({"bits": 8, "regularizer": {"function": "cosine"}}, "at most 7 with cosine"),
        ({"seed": -1}, "seed: out of range"),
        (
            {"regularizer": {"stages": [9, 8]}},
            "regularizer.stages: out of range (got [9, 8], wanted falling bits, 24 to 9)",
        ),
        ({"layers": {"fc": True}}, "layers.fc (got True, wanted one of a string, a whole number, a table)"),
        ({"layers": {"fc": {"bit": 4}}}, "unknown key layers.fc.bit; did you mean layers.fc.bits?"),
        ({"layers": {"fc": "float23"}}, "unknown mode"),
        ({"quantize": {"mode": "int4"}}, "wanted one of int8, int16, dynamic"),
        ({"quantize": {"mode": "float32", "io": "uint8"}}, "a file of mode float32 has no uint8 ends"),
        ({"quantize": {"packed": True}}, "no weights are of 4 bits or fewer"),
        ({"regularizer": {"settle": 2}}, "regularizer.settle: out of range"),
        (
            {"bits": 2, "regularizer": {"scale_update": "differentiated"}},
            "regularizer.scale_update: a pull has no gradient for the scale (got differentiated); set regularizer.form",
        ),
    ],
)
def test_a_bad_recipe_says_what_is_wrong_and_where(table: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_from_dict(table, where="f.toml")
    assert told in str(caught.value)
    assert str(caught.value).startswith("f.toml")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("part", "name"), FLOATS)
def test_no_number_of_a_recipe_is_nan_or_infinite(part: str, name: str, value: float) -> None:
    kind = get_origin(get_type_hints(PARTS[part])[name])
    given: Any = (value,) if kind is tuple else {"conv1": value} if kind is Mapping else value
    with pytest.raises(RecipeError, match=name):
        PARTS[part](**{name: given})
    with pytest.raises(RecipeError, match=rf"{part}\.{name}"):
        recipe_from_dict({part: {name: list(given) if kind is tuple else given}})


@pytest.mark.parametrize("content", [b"bits = ", b"\xff\xfe", b"bits = 8\n" * 2, b"#" * (1 << 20) + b"#"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"r\.toml"):
        load_recipe(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.toml: cannot be read"):
        load_recipe(tmp_path / "none.toml")


def test_options_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text("bits = 4\nseed = 9\n[train]\nepochs = 5\nbatch_size = 7\n")
    recipe = recipe_from_options(path, {"bits": 6, "epochs": None, "batch_size": 16, "data": "photos"})
    assert (recipe.bits, recipe.seed, recipe.train.epochs, recipe.train.batch_size) == (6, 9, 5, 16)
    assert recipe.data.path == "photos"


def test_a_file_is_judged_together_with_the_options(tmp_path: Path) -> None:
    """Cosine has no 8 bits, the default; with --bits 4 the file is a good one."""
    path = tmp_path / "r.toml"
    path.write_text('[regularizer]\nfunction = "cosine"\n')
    assert recipe_from_options(path, {"bits": 4}).grid.function == "cosine"
    with pytest.raises(RecipeError, match="cosine"):
        recipe_from_options(path, {})


def test_layers_of_the_command_line_come_after_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('[layers]\nfc = 4\n"conv*" = "float32"\n')
    recipe = recipe_from_options(path, {"layers": {"fc": {"mode": "int16"}, "conv1": {"bits": 6, "mode": "int8"}}})
    assert list(recipe.layers.items()) == [("conv*", "float32"), ("fc", "int16"), ("conv1", LayerChoice("int8", 6))]
    assert [recipe.plan.mode_of(name).name for name in ("conv1", "conv2", "fc")] == ["int8", "float32", "int16"]


def test_a_part_that_is_no_table_is_told_also_where_an_option_goes_into_it(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text("train = 3\n")
    with pytest.raises(RecipeError, match=r"train \(got 3, wanted a table\)"):
        recipe_from_options(path, {"epochs": 4})


def test_every_option_leads_to_a_key_of_the_recipe() -> None:
    for path in FIELDS.values():
        value: Any = Recipe()
        for name in path:
            value = getattr(value, name)


def test_every_attribute_is_documented() -> None:
    for cls in (Recipe, *PARTS.values()):
        for item in dataclasses.fields(cls):
            assert item.name in (cls.__doc__ or "")
            hint = get_type_hints(cls)[item.name]
            assert get_origin(hint) is None or get_args(hint)


@pytest.mark.parametrize(
    ("bits", "fine_tuning", "given", "form", "pull"),
    [
        (8, True, {}, "loss", 0.2),
        (4, False, {}, "latent", 0.5),
        (2, True, {}, "latent", 1.0),
        (2, True, {"pull": 0.3}, "latent", 0.3),
        (2, True, {"amplitude": 1e-3}, "loss", 0.2),
        (2, True, {"form": "decoupled"}, "decoupled", 0.2),
    ],
)
def test_what_is_left_out_follows_the_bits(
    bits: int, fine_tuning: bool, given: dict[str, Any], form: str, pull: float
) -> None:
    found = RegularizerRecipe(**given).resolved(bits, fine_tuning=fine_tuning)
    assert (found.form, found.pull) == (form, pull)
    assert found.scale_update == ("live" if form == "loss" else "held")
    assert found.resolved(bits) == found


def test_batch_norm_is_taken_anew_below_8_bits() -> None:
    assert QuantizeRecipe().batch_norm_images_for(8) == 0
    assert QuantizeRecipe().batch_norm_images_for(4) > 0
    assert QuantizeRecipe(batch_norm_images=0).batch_norm_images_for(2) == 0


@pytest.mark.parametrize(
    ("options", "bits", "compressed", "rate"),
    [
        ({}, 8, False, 0.1),
        ({"optimizer": "adamw"}, 2, False, 0.001),
        ({"optimizer": "adagrad"}, 8, False, 0.01),
        ({"init": "a"}, 8, False, 0.002),
        ({"init": "a"}, 16, False, 0.002),
        ({"init": "a"}, 5, False, 0.005),
        ({"init": "a"}, 2, False, 0.01),
        ({"init": "a"}, 1, False, 0.01),
        ({"init": "a", "optimizer": "adam"}, 4, False, 5e-5),
        ({"init": "a"}, 8, True, 0.1),
        ({"init": "a", "learning_rate": 0.3}, 4, False, 0.3),
    ],
)
def test_the_rate_follows_the_optimizer_and_is_less_for_a_trained_network(
    options: dict[str, Any], bits: int, compressed: bool, rate: float
) -> None:
    assert TrainRecipe(**options).learning_rate_for(bits, compressed=compressed) == pytest.approx(rate)
