from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import Watch, assert_equal_states, images, interrupt_at, network, state, timeless
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LRScheduler, MultiStepLR

from edgeq.errors import DataError, RecipeError
from edgeq.recipe import Recipe, TrainRecipe
from edgeq.train import train
from edgeq.train.batches import split_rows
from edgeq.train.checkpoint import check_fingerprint, fingerprint
from edgeq.train.optimizer import make_optimizer, make_rate_schedule
from edgeq.train.rates import check_rates

STEPS = 12


def recipe(method: Any = "post-training", **options: Any) -> Recipe:
    plain: dict[str, Any] = {"epochs": 2, "batch_size": 16, "crop_padding": 1, "learning_rate": 0.02, "device": "cpu"}
    return Recipe(model="tiny", method=method, train=TrainRecipe(**plain | options))


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("step", lambda optimizer: MultiStepLR(optimizer, [6, 9])),
        ("exponential", lambda optimizer: ExponentialLR(optimizer, 0.01 ** (1 / STEPS))),
        ("cosine", lambda optimizer: CosineAnnealingLR(optimizer, STEPS)),
    ],
)
def test_rates_are_those_of_torch(name: Any, theirs: Any) -> None:
    """Theirs go from rate to rate; 12 epochs of one step."""
    layer = nn.Linear(2, 2)
    ours = make_optimizer(layer, TrainRecipe(rate_schedule=name, epochs=STEPS))
    other = SGD(layer.parameters(), lr=0.1)
    schedules: list[LRScheduler] = [
        make_rate_schedule(ours, TrainRecipe(rate_schedule=name, epochs=STEPS), STEPS), theirs(other)
    ]  # fmt: skip
    for _ in range(STEPS):
        assert ours.param_groups[0]["lr"] == pytest.approx(other.param_groups[0]["lr"], rel=1e-9)
        for optimizer, schedule in zip((ours, other), schedules, strict=True):
            optimizer.step()
            schedule.step()


def test_a_warmup_rises_in_a_line_before_any_schedule() -> None:
    optimizer = make_optimizer(nn.Linear(2, 2), TrainRecipe())
    schedule = make_rate_schedule(optimizer, TrainRecipe(rate_schedule="constant", warmup=0.5), 8)
    rates = []
    for _ in range(8):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.1, 0.1])


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "adam", "rate_schedule": "step", "nesterov": False, "l1": 1e-3, "rates": {"0": 0.5, "1": 0.0}},
        {"optimizer": "rmsprop", "learning_rate": 1e-3, "rate_schedule": "exponential"}
        | {"brightness": 9.0, "contrast": 0.3, "color_offset": 0.1, "crop_scale": 0.5},
        {"optimizer": "adagrad", "rate_schedule": "constant", "warmup": 0.3, "ema": 0.9, "validation": 0.2},
    ],
    ids=lambda options: str(options["optimizer"]),
)
def test_an_interrupted_training_resumes_to_the_same_bits(tmp_path: Path, options: dict[str, Any]) -> None:
    chosen = recipe(**options)
    whole = network()
    watch = Watch()
    expected = train(whole, images(), chosen, tmp_path / "whole", progress=watch)
    with pytest.raises(KeyboardInterrupt):
        train(network(), images(), chosen, tmp_path / "parts", progress=interrupt_at(watch.total // 2 + 1))
    model = network()
    result = train(model, images(), chosen, tmp_path / "parts", resume=True)
    assert_equal_states(state(model), state(whole))
    assert timeless(result.history) == timeless(expected.history)
    again = network()
    assert train(again, images(), chosen, tmp_path / "whole", resume=True) == expected
    assert_equal_states(state(again), state(whole))


def test_l1_adds_the_sign_of_weights_to_their_gradient(tmp_path: Path) -> None:
    """One step with and without: they differ by rate * l1 * sign(w), and biases by nothing."""
    found = []
    for l1 in (0.0, 0.01):
        model = network()
        plain = recipe(
            l1=l1, epochs=1, batch_size=64, momentum=0.0, rate_schedule="constant", learning_rate=0.5, precision="fp32"
        )
        result = train(model, images(), plain, tmp_path)
        found.append((state(model), result.history[-1].loss))
    assert found[0][1] == found[1][1]  # the loss is told without the penalty
    for name, first in state(network()).items():
        moved = -0.5 * 0.01 * first.sign() if first.dim() > 1 else torch.zeros(())
        assert torch.allclose((found[1][0][name] - found[0][0][name]).float(), moved, atol=1e-6), name


def test_rate_0_freezes_a_layer_and_a_norms_statistics(tmp_path: Path) -> None:
    before, model = state(network()), network()
    train(model, images(), recipe(rates={"0": 0.0, "1": 0.0}), tmp_path)
    after = state(model)
    kept = {name for name, value in before.items() if torch.equal(value, after[name])}
    assert kept == {name for name in before if name[0] in "01"}
    assert all(p.requires_grad for p in model.parameters())


def test_the_periodic_term_leaves_frozen_layers(tmp_path: Path) -> None:
    before, model = state(network()), network()
    train(model, images(), recipe("periodic", rates={"0": 0.0}), tmp_path)
    assert torch.equal(state(model)["0.weight"], before["0.weight"])
    assert not torch.equal(state(model)["3.weight"], before["3.weight"])


def test_a_factor_slows_its_layer_and_the_last_pattern_wins(tmp_path: Path) -> None:
    model = network()
    optimizer = make_optimizer(model, TrainRecipe(rates={"*": 0.5, "3": 2.0}))
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == pytest.approx(0.2 if name.startswith("3.") else 0.05)


def test_bad_rates_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"train.rates.*no layer has this name.*got 9"):
        check_rates(network(), {"9": 0.1})
    with pytest.raises(RecipeError, match="every layer is frozen"):
        check_rates(network(), {"*": 0.0})


def test_the_average_is_that_of_every_step(tmp_path: Path) -> None:
    """Against the formula: e = d e + (1 - d) w after each step, from the first step's weights on."""
    model, decay = network(), 0.8
    average: list[torch.Tensor] = []

    def at(_step: int) -> None:
        weight = model.get_parameter("3.weight").detach().clone()
        average[:] = [decay * average[0] + (1 - decay) * weight] if average else [weight]

    result = train(model, images(), recipe(ema=decay), tmp_path, progress=Watch(at))
    assert torch.allclose(model.get_parameter("3.weight"), average[0], atol=1e-6)
    from edgeq.verify.pytorch import run_pytorch

    data = images()
    found = run_pytorch(model, data.test_images).argmax(1) == data.test_labels.numpy()
    assert 100 * found.mean() == pytest.approx(result.test_accuracy)


def test_it_stops_when_the_loss_no_longer_falls(tmp_path: Path) -> None:
    """Labels that say nothing: what is learned of some images makes the loss of the others grow."""
    data = images(60)
    object.__setattr__(data, "train_labels", torch.arange(60) % 3)
    chosen = recipe(epochs=40, validation=0.3, patience=2, learning_rate=0.1)
    model = network()
    result = train(model, data, chosen, tmp_path)
    losses = [log.validation_loss for log in result.history]
    assert len(losses) < 40
    assert losses.index(min(losses)) == len(losses) - 3  # type: ignore[type-var]
    assert result.history[-1].test_accuracy is not None
    again = network()
    assert train(again, data, chosen, tmp_path, resume=True) == result
    assert_equal_states(state(again), state(model))


def test_the_left_out_images_are_of_no_use_to_the_training(tmp_path: Path) -> None:
    """Another label of a left-out image changes nothing but the validation loss."""
    rows, left_out = split_rows(41, 0.2, 0)
    assert len(left_out) == 8
    assert sorted([*rows.tolist(), *left_out.tolist()]) == list(range(41))
    data = images()
    model, other = network(), network()
    first = train(model, data, recipe(validation=0.2), tmp_path / "a")
    changed = copy.deepcopy(data)
    changed.train_labels[left_out] = (changed.train_labels[left_out] + 1) % 3
    second = train(other, changed, recipe(validation=0.2), tmp_path / "b")
    assert_equal_states(state(model), state(other))
    assert first.history[-1].validation_loss != second.history[-1].validation_loss
    with pytest.raises(DataError, match=r"too few images for train.validation.*1 of 8"):
        split_rows(8, 0.1, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ema": 0.99}, "averages of weights on a grid lie beside it"),
        ({"patience": 3, "validation": 0.1}, "its pull ends with the training"),
    ],
)
def test_what_leaves_weights_beside_the_grid_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=f"not with the periodic method: {message}"):
        recipe("periodic", **options)
    recipe("straight-through", **options)


def test_a_checkpoint_from_before_a_key_was_there_is_gone_on_from() -> None:
    made_with = fingerprint(recipe(), images())
    older = {key: value for key, value in made_with.items() if key != "train.ema"}
    check_fingerprint({"edgeq": {"fingerprint": older}}, made_with, Path("last.ckpt"))
    with pytest.raises(RecipeError, match=r"another train\.ema"):
        check_fingerprint({"edgeq": {"fingerprint": older}}, made_with | {"train.ema": 0.5}, Path("last.ckpt"))
