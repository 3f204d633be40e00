from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Build, Ended
from safetensors.numpy import load_file
from small_training import images, network

import edgeq
from edgeq.errors import DataError, FormatError, RecipeError
from edgeq.grid import Grid, quantize_weight
from edgeq.progress import Silent
from edgeq.recipe import Recipe, load_recipe
from edgeq.snap import load_grid, quantized_layers
from edgeq.widths.search import search, traffic
from edgeq.widths.source import start_search
from edgeq.widths.trial import Layer, Score, Trial, Widths

LAYERS = (Layer("a", 10, 100), Layer("b", 1000, 10), Layer("c", 50, 50))


class Counted:
    """A made-up network: each layer loses something for each bit below what it needs."""

    def __init__(self, needs: Widths) -> None:
        self.needs = needs
        self.seen: dict[Widths, Score] = {}

    def __call__(self, widths: Widths) -> Score:
        if widths not in self.seen:
            lost = sum(
                max(0, need - own) for pair, wanted in zip(widths, self.needs, strict=True)
                for own, need in zip(pair, wanted, strict=True)
            )  # fmt: skip
            missing = sum(16 - own - data for own, data in widths)
            self.seen[widths] = Score(100.0 - lost, lost + missing / 1e6)
        return self.seen[widths]


def walk(measure: Counted, *, limit: float = 100.0, budget: int = 10_000) -> list[Widths]:
    with Silent().task("", 0) as task:
        states = search(
            LAYERS, measure, limit=limit, least=(2, 2), budget=budget, task=task, measured=lambda: len(measure.seen)
        )
    return [state.widths for state in states]


def test_each_layer_ends_at_what_it_needs() -> None:
    needs = ((5, 3), (2, 7), (6, 2))
    measure = Counted(needs)
    found = walk(measure)
    assert found[-1] == needs
    assert ((6, 7),) * 3 in found, "the least uniform widths are where it starts"
    assert len(measure.seen) < 60, "of 7^6"
    amounts = [traffic(LAYERS, widths) for widths in found[found.index(((6, 7),) * 3) :]]
    assert amounts == sorted(amounts, reverse=True)


def test_what_may_be_lost_is_spent_where_it_saves_most() -> None:
    """One point: layer b stores most, so its weights get the bit less."""
    found = walk(Counted(((5, 5), (5, 5), (5, 5))), limit=99.0)
    assert found[-1] == ((5, 5), (4, 5), (5, 5))


def test_a_budget_ends_the_search_and_a_limit_out_of_reach_gives_nothing() -> None:
    measure = Counted(((5, 3), (2, 7), (6, 2)))
    walk(measure, budget=20)
    assert len(measure.seen) <= 21
    assert walk(Counted(((9, 9),) * 3)) == []


def test_traffic_is_over_32_bits() -> None:
    assert traffic(LAYERS, ((0, 0),) * 3) == traffic(LAYERS, ((32, 32),) * 3) == 1
    assert traffic(LAYERS, ((8, 8),) * 3) == 0.25
    assert traffic(LAYERS, ((8, 4),) * 3) == pytest.approx((1060 * 8 + 160 * 4) / 32 / 1220)


def test_a_trial_rounds_as_a_build_does_and_puts_the_network_back() -> None:
    data, model = images(), network().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trial = Trial(model, Grid(), per_channel=False, calibration=data.train_images)
    assert [layer.name for layer in trial.layers] == list(quantized_layers(model))
    floats = trial.score(((0, 0),) * len(trial.layers), data.test_images, data.test_labels)
    for bits in (2, 8):
        copy = network().eval()
        copy.load_state_dict(before)
        for name, module in quantized_layers(copy).items():
            values = quantize_weight(before[f"{name}.weight"].numpy(), Grid(bits)).values
            module.weight.data = torch.from_numpy(values)
        exact = Trial(copy, Grid(), per_channel=False, calibration=data.train_images)
        wanted = exact.score(((0, 0),) * len(trial.layers), data.test_images, data.test_labels)
        assert trial.score(((bits, 0),) * len(trial.layers), data.test_images, data.test_labels) == wanted
        assert wanted != floats
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    losses = [
        abs(trial.score(((0, bits),) * len(trial.layers), data.test_images, data.test_labels).loss - floats.loss)
        for bits in (2, 12)
    ]
    assert losses[1] < losses[0] / 20
    count = trial.measured
    trial.score(((2, 0),) * len(trial.layers), data.test_images, data.test_labels)
    assert trial.measured == count


def test_a_build_takes_the_bits_that_were_found(built: Build, edgeq: Callable[..., Ended], tmp_path: Path) -> None:
    bits = tmp_path / "bits.toml"
    options = ["--tolerance", "30", "--tolerance", "60", "--samples", "8", "--out", bits, "-q"]
    shown = edgeq("search-bits", built.out, *options)
    assert shown.code == 0, shown.err
    assert "[layers]" in shown.out
    assert "fewer bits of data are simulated" in shown.out
    recipe = load_recipe(bits)
    found = json.loads(edgeq("search-bits", built.out, *options, "--json").out)
    chosen = {row["name"]: row["weight_bits"] for row in found["points"][0]["layers"]}
    assert {name: recipe.plan.grid_of(name) for name in chosen} == {name: Grid(count) for name, count in chosen.items()}
    assert found["points"][1]["traffic"] <= found["points"][0]["traffic"] < 0.25
    assert found["front"][-1][0] >= found["points"][0]["accuracy"]
    built_again = edgeq("build", "--recipe", bits, "--out", tmp_path / "out", "-q")
    assert built_again.code == 0, built_again.err
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert {row["name"]: row["bits"] for row in manifest["layers"]} == chosen
    floats = load_file(built.out / "checkpoint.safetensors")
    for name, weight in load_grid(tmp_path / "out" / "grid.safetensors").items():
        wanted = quantize_weight(floats[f"{name}.weight"], Grid(chosen[name]))
        assert np.array_equal(weight.codes, wanted.codes), "the network that was measured is the one that is built"


def test_data_can_be_left_at_8_bits(built: Build) -> None:
    result = edgeq.search_bits(built.out, 50, samples=8, data_bits=False, budget=30)
    assert {layer.data_bits for layer in result.points[0].layers} == {8}
    assert result.points[0].data_traffic == 0.25
    assert result.measured <= 31


def test_what_cannot_be_searched_is_refused_in_a_line(built: Build, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"recipe\.toml"):
        edgeq.search_bits(tmp_path)
    with pytest.raises(RecipeError, match="--tolerance"):
        edgeq.search_bits(built.out, -1)
    with pytest.raises(RecipeError, match="--tolerance"):
        edgeq.search_bits(built.out, [])
    with pytest.raises(DataError, match=r"too few|cannot|no "):
        edgeq.search_bits(built.out, data=tmp_path / "none")


def test_training_images_are_cut_as_the_network_sees_them() -> None:
    whole = images()
    larger = torch.nn.functional.pad(whole.train_images, (1, 1, 1, 1))
    data = dataclasses.replace(whole, train_images=larger, crop=8)
    model = network().eval()  # which takes 8x8 and nothing else
    start = start_search(model, Recipe(model="tiny"), data, samples=10, where="here")
    assert start.images.shape == (10, 3, 8, 8)
    assert any(torch.equal(start.images[0], image) for image in whole.train_images)
    assert [layer.name for layer in start.trial.layers] == ["0", "3", "6"]
    only = start_search(model, Recipe(model="tiny"), data, samples=10, where="here", names=["3"])
    assert [layer.name for layer in only.trial.layers] == ["3"]
