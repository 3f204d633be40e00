"""A calibration recipe: how many samples are looked at and how a range is made of what is seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgeq.errors import RecipeError
from edgeq.resources import find_data_file
from edgeq.strict_toml import read_toml, table_to_dataclass

__all__ = ["CalibrationRecipe", "load_calibration"]


@dataclass(frozen=True, slots=True)
class CalibrationRecipe:
    """How activations get their ranges.

    Attributes:
        method: ``minmax``: all that was seen; ``percentile``: the share of that name; ``mse``: the least
            mean squared error of clipping and rounding.
        samples: training images looked at, evenly spread over a seeded permutation; all of them when there are fewer.
        percentile: share of the values that ``percentile`` keeps, in percent.
        bins: the most that a histogram has; of all methods but ``minmax``.
        equalize: even the channels of each weight against those of the next layer's; of weights that were not trained.
        correct_bias: put the mean error of each layer's output over the samples into its bias.
        description: for people.
    """

    method: Literal["minmax", "percentile", "mse"] = "minmax"
    samples: int = 512
    percentile: float = 99.99
    bins: int = 2048
    equalize: bool = False
    correct_bias: bool = False
    description: str = ""

    @property
    def moves_floats(self) -> bool:
        """Whether batch norms must be folded before weights are rounded."""
        return self.correct_bias or self.equalize

    def __post_init__(self) -> None:
        if not 1 <= self.samples <= 1_000_000:
            raise RecipeError("out of range", where="samples", got=self.samples, wanted="1 to 1000000")
        if not 50 < self.percentile <= 100:
            raise RecipeError("out of range", where="percentile", got=self.percentile, wanted="above 50, at most 100")
        if not 128 <= self.bins <= 65536:
            raise RecipeError("out of range", where="bins", got=self.bins, wanted="128 to 65536")


def load_calibration(name_or_path: str) -> CalibrationRecipe:
    """A recipe of ``calibration/`` by name, or one's own TOML file.

    Raises:
        RecipeError: no such recipe or file, an unknown key, or a value out of range.
    """
    path = find_data_file("calibration", name_or_path)
    return table_to_dataclass(CalibrationRecipe, read_toml(path), where=str(path))
