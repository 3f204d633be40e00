from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.errors import RecipeError
from edgeq.grid import bits_to_frequency
from edgeq.recipe import RegularizerRecipe
from edgeq.regularize import AmplitudeSchedule, FrequencySchedule


def test_a_fixed_amplitude_stays() -> None:
    schedule = AmplitudeSchedule.from_recipe(RegularizerRecipe(amplitude=0.5, schedule="fixed"), 8, 7, 12)
    assert {schedule.at(epoch) for epoch in range(7)} == {0.5}


@given(st.integers(1, 60), st.integers(1, 70), st.floats(1, 10))
def test_a_dynamic_amplitude_ends_at_its_value_after_equal_raises(epochs: int, every: int, factor: float) -> None:
    schedule = AmplitudeSchedule.from_recipe(
        RegularizerRecipe(amplitude=1e-3, factor=factor, every=every), 8, epochs, 12
    )
    values = [schedule.at(epoch) for epoch in range(epochs)]
    assert values[-every:] == [1e-3] * min(every, epochs)
    for before, after in zip(values, values[every:], strict=False):
        assert after == pytest.approx(before * factor)
    assert values == sorted(values)


def test_the_paper_like_example_by_hand() -> None:
    schedule = AmplitudeSchedule(amplitude=0.001, epochs=7, factor=10.0, every=3)
    values = [schedule.at(epoch) for epoch in range(7)]
    assert values == pytest.approx([1e-5, 1e-4, 1e-4, 1e-4, 1e-3, 1e-3, 1e-3])


@given(st.lists(st.integers(2, 12), min_size=1, max_size=5, unique=True), st.integers(1, 60))
def test_stages_take_equal_times_and_the_last_is_at_the_bits(widths: list[int], epochs: int) -> None:
    *before, bits = sorted(widths, reverse=True)
    schedule = FrequencySchedule(bits, epochs, "sine", tuple(before))
    stages = [schedule.stage_at(epoch) for epoch in range(epochs)]
    values = [stage.bits for stage in stages]
    assert values[-1] == bits
    assert values == sorted(values, reverse=True)
    assert all(stage.first <= epoch <= stage.last for epoch, stage in enumerate(stages))
    assert all(values.count(stage.bits) == stage.epochs for stage in stages)
    if epochs >= len(widths):
        assert set(values) == set(widths)
        lengths = [values.count(value) for value in set(values)]
        assert max(lengths) - min(lengths) <= 1
    assert [schedule.at(epoch) for epoch in range(epochs)] == [bits_to_frequency(value) for value in values]


def test_without_stages_the_frequency_stays() -> None:
    schedule = FrequencySchedule.from_recipe(RegularizerRecipe(function="cosine"), 4, 5)
    assert {schedule.at(epoch) for epoch in range(5)} == {8}


@pytest.mark.parametrize("epoch", [-1, 5])
def test_an_epoch_outside_the_training_is_refused(epoch: int) -> None:
    for schedule in (AmplitudeSchedule(1.0, 5), FrequencySchedule(8, 5)):
        with pytest.raises(RecipeError, match="no such epoch"):
            schedule.at(epoch)


def test_the_schedules_need_no_torch_and_the_regularizer_no_lightning() -> None:
    code = (
        "import sys; from edgeq.regularize import AmplitudeSchedule; assert 'torch' not in sys.modules;"
        "from edgeq.regularize import PeriodicRegularizer; assert 'lightning' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
