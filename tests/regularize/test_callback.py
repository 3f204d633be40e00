from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers.logger import Logger
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from edgeq.errors import RecipeError
from edgeq.recipe import RegularizerRecipe
from edgeq.regularize import AmplitudeSchedule, PeriodicRegularizer, PeriodicRegularizerCallback

BATCHES, BATCH, EPOCHS = 4, 8, 3
RATE = 0.01


class Plain(pl.LightningModule):
    """Anyone's module: it knows nothing of edgeq."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = layers()

    def training_step(self, batch: list[torch.Tensor], _index: int) -> torch.Tensor:
        return functional.cross_entropy(self.layers(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=RATE)


def layers() -> nn.Sequential:
    generator = torch.Generator().manual_seed(1)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(36, 3))
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 4
    return model


def batches() -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(BATCHES * BATCH, 1, 5, 5, generator=generator)
    labels = torch.randint(3, (BATCHES * BATCH,), generator=generator)
    return DataLoader(TensorDataset(images, labels), batch_size=BATCH)


def fit(callback: pl.Callback, tmp_path: Path, **options: Any) -> Plain:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    module = Plain()
    trainer = pl.Trainer(
        **{"max_epochs": EPOCHS, "accelerator": "cpu", "logger": False, **options},
        callbacks=[callback],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, batches())
    return module


def by_hand(recipe: RegularizerRecipe, accumulate: int = 1, clip: float | None = None) -> nn.Sequential:
    """The same training as a plain loop with the three lines."""
    model = layers()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    amplitudes = AmplitudeSchedule.from_recipe(recipe, 8, EPOCHS, 32)
    through = recipe.scale_update == "differentiated"
    regularizer = PeriodicRegularizer(model, bits=8, differentiate_scale=through)
    for epoch in range(EPOCHS):
        regularizer.amplitude = amplitudes.at(epoch)
        for index, (images, labels) in enumerate(batches()):
            torch.autograd.backward(functional.cross_entropy(model(images), labels) / accumulate)
            if (index + 1) % accumulate == 0:
                regularizer.add_gradient()
                if clip is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
                optimizer.zero_grad()
    return model


@pytest.mark.parametrize(("accumulate", "clip"), [(1, None), (2, None), (1, 0.5), (2, 0.5)])
@pytest.mark.parametrize("scale_update", ["live", "differentiated"])
@pytest.mark.filterwarnings("ignore:.*(many workers|smaller than the logging|LeafSpec)")
def test_it_is_the_three_lines_in_a_loop(
    tmp_path: Path, scale_update: Literal["live", "differentiated"], accumulate: int, clip: float | None
) -> None:
    recipe = RegularizerRecipe(amplitude=1e-3, factor=3.0, every=1, scale_update=scale_update)
    options = {"accumulate_grad_batches": accumulate, "gradient_clip_val": clip}
    module = fit(PeriodicRegularizerCallback(recipe, bits=8), tmp_path, **options)
    for trained, expected in zip(
        module.layers.parameters(), by_hand(recipe, accumulate, clip).parameters(), strict=True
    ):
        torch.testing.assert_close(trained, expected)


class Recorder(Logger):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[int | None, dict[str, float]]] = []

    name = version = "recorder"

    def log_hyperparams(self, *_args: Any, **_options: Any) -> None:
        pass

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.lines.append((step, metrics))


@pytest.mark.filterwarnings("ignore:.*(many workers|smaller than the logging|LeafSpec)")
def test_it_logs_every_n_steps_and_follows_both_schedules(tmp_path: Path) -> None:
    recipe = RegularizerRecipe(amplitude=1e-3, factor=10.0, every=1, stages=(6, 5))
    recorder = Recorder()
    fit(PeriodicRegularizerCallback(recipe, bits=4), tmp_path, logger=recorder, log_every_n_steps=BATCHES)
    lines = [(step, metrics) for step, metrics in recorder.lines if "regularizer/value" in metrics]
    assert [step for step, _ in lines] == [0, BATCHES, 2 * BATCHES]
    assert [metrics["regularizer/amplitude"] for _, metrics in lines] == pytest.approx([1e-5, 1e-4, 1e-3])
    assert [metrics["regularizer/frequency"] for _, metrics in lines] == [31, 15, 7]
    assert all(0 <= metrics["regularizer/distance"] <= 0.5 for _, metrics in lines)


@pytest.mark.filterwarnings("ignore:.*(many workers|smaller than the logging|LeafSpec)")
def test_it_needs_to_know_the_number_of_epochs(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="number of epochs"):
        fit(PeriodicRegularizerCallback(RegularizerRecipe()), tmp_path, max_epochs=-1, max_steps=3)


def test_layers_of_other_bits_have_those_of_an_earlier_stage_of_more(tmp_path: Path) -> None:
    seen = []

    class Watch(PeriodicRegularizerCallback):
        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            super().on_train_epoch_start(trainer, pl_module)
            assert self.regularizer is not None
            seen.append((self.regularizer.frequency, dict(self.regularizer.layer_bits)))

    recipe = RegularizerRecipe(form="decoupled", stages=(6, 4))
    other = {"layers.0": 5, "layers.2": 8}
    fit(Watch(recipe, bits=2, layer_bits=other), tmp_path)
    assert seen == [
        (31, {"layers.0": 6, "layers.2": 8}),
        (7, {"layers.0": 5, "layers.2": 8}),
        (1, {"layers.0": 5, "layers.2": 8}),
    ]


def test_each_layer_is_clipped_as_its_bits_are(tmp_path: Path) -> None:
    callback = PeriodicRegularizerCallback(
        RegularizerRecipe(form="decoupled", pull=1.0), bits=8, layer_bits={"layers.2": 2}
    )
    fit(callback, tmp_path)
    assert callback.regularizer is not None
    first = {name: float(layers().get_parameter(f"{name[-1]}.weight").abs().max()) for name in ("layers.0", "layers.2")}
    held = {name: float(scale) for name, scale in callback.regularizer.held_scales.items()}
    assert held["layers.0"] > 0.9 * first["layers.0"]  # of 8 bits: all of it
    assert held["layers.2"] < 0.8 * first["layers.2"]
