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


@given(st.integers(2, 8), st.integers(0, 8), st.integers(1, 60))
def test_the_frequency_goes_down_a_bit_at_a_time(bits: int, extra: int, epochs: int) -> None:
    schedule = FrequencySchedule(bits, epochs, "sine", bits + extra)
    values = [schedule.bits_at(epoch) for epoch in range(epochs)]
    assert values[-1] == bits
    assert values == sorted(values, reverse=True)
    if epochs > extra:
        assert values[0] == bits + extra
        assert set(values) == set(range(bits, bits + extra + 1))
        lengths = [values.count(value) for value in set(values)]
        assert max(lengths) - min(lengths) <= 1
    assert [schedule.at(epoch) for epoch in range(epochs)] == [bits_to_frequency(value) for value in values]


def test_without_start_bits_the_frequency_stays() -> None:
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
