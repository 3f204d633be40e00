"""What a compression method is: its options, what it does to a network, and what it asks of later trainings."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from edgeq.errors import RecipeError
from edgeq.progress import Progress, Silent

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgeq.data import ImageData
    from edgeq.recipe import Recipe

__all__ = ["Constraint", "Context", "Method"]


@dataclass(frozen=True, slots=True)
class Constraint:
    """What the weights must go on fulfilling after a method was applied.

    Attributes:
        project: puts the weights back to what fulfils it, in place; called after each step of the optimizer, before
            the periodic regularizer moves them, and once before the training. Elementwise rounding with one scale a
            tensor must keep what it makes true: zeros, equal weights.
        penalty: an addition to the loss, a scalar; None for none.
        bits: of layers that are rounded to other bits than the recipe's from now on.
    """

    project: Callable[[], None]
    penalty: Callable[[], Tensor] | None = None
    bits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Context:
    """What a method may look at beside the network.

    Attributes:
        data: the images; methods look at training images only.
        recipe: of the build.
        progress: shown.
        round: how many times the method was applied before; it is once for most.
        memory: the method's own, kept over its rounds; filled in the same way when a build is resumed.
    """

    data: ImageData
    recipe: Recipe
    progress: Progress = field(default_factory=Silent)
    round: int = 0
    memory: dict[str, Any] = field(default_factory=dict)

    def images(self, count: int) -> tuple[Tensor, Tensor]:
        """Training images drawn by the recipe's seed, as the network takes them, with their classes.

        Args:
            count: how many; all where there are fewer.

        Returns:
            Float32 [S, C, H, W] and int64 [S].
        """
        from edgeq.data import normalize

        data = self.data
        chosen = data.drawn(count, self.recipe.seed)
        return normalize(data.as_seen(data.train_images[chosen])), data.train_labels[chosen]


@dataclass(frozen=True, kw_only=True)
class Method:
    """A compression method and its options; the fields of a subclass are the keys of its ``[[compress]]`` table.

    Attributes:
        epochs: of retraining after it; 0 for none.
        learning_rate: of the retraining, falling as a cosine; 0 takes a tenth of ``train.learning_rate``.
        constrains: it leaves a Constraint, so that no later method may replace its layers or tie its weights.
    """

    name: ClassVar[str] = ""
    keeps_zeros: ClassVar[bool] = False  # what it makes zero must be a point of the grid
    constrains: ClassVar[bool] = False
    finds_bits: ClassVar[bool] = False  # layers may have fewer bits after it than the recipe says

    epochs: int = 4
    learning_rate: float = 0.0

    def __post_init__(self) -> None:
        self.require(0 <= self.epochs <= 100_000, "epochs", self.epochs, "0 to 100000")
        self.require(0 <= self.learning_rate < math.inf, "learning_rate", self.learning_rate, "0 or more, finite")
        self.check_options()

    @property
    def rounds(self) -> int:
        """How many times it is applied, each time followed by the epochs of retraining."""
        return 1

    def check_options(self) -> None:
        """Raise a RecipeError for an option out of range; :meth:`require` words it."""

    def check(self, recipe: Recipe) -> None:
        """Raise a RecipeError for a recipe that the method makes no sense in, with the reason."""

    def apply(self, model: nn.Module, context: Context) -> Constraint | None:
        """Change a trained network in place; equal network, recipe and round give an equal result.

        Args:
            model: float32, on the CPU, in eval mode. Replaced layers go through :mod:`edgeq.models.structure`.
            context: data, recipe, progress.

        Returns:
            What later trainings must keep; None for nothing.

        Raises:
            ModelError: the network has nothing that the method is for.
        """
        raise NotImplementedError

    def facts(self, model: nn.Module) -> Mapping[str, float]:
        """Figures of the method's own for the manifest, such as the share of zeros, of the network as it is."""
        return {}

    @classmethod
    def require(cls, fits: bool, key: str, value: object, wanted: str) -> None:
        """Raise a RecipeError naming the key unless its value fits."""
        if not fits:
            raise RecipeError("out of range", where=f"compress {cls.name}: {key}", got=value, wanted=wanted)

    def check_first(self, recipe: Recipe, why: str) -> None:
        """Raise a RecipeError where a method before this one keeps weights as they are."""
        for method in itertools.takewhile(lambda method: method is not self, recipe.compress):
            if method.constrains:
                raise self.refuse(f"after {method.name}: {why}", f"put {self.name} before {method.name}")

    def refuse(self, why: str, remedy: str) -> RecipeError:
        """The error for a combination that makes no sense."""
        return RecipeError(why, where=f"compress {self.name}", remedy=remedy)

    @classmethod
    def from_table(cls, table: dict[str, Any], *, where: str, prefix: str) -> Method:
        """The method that a ``[[compress]]`` table names; see :func:`edgeq.compress.method_from_table`."""
        from edgeq.compress.table import method_from_table

        return method_from_table(table, where=where, prefix=prefix)

    def to_table(self) -> dict[str, Any]:
        """The table that makes this method again."""
        return {"method": self.name, **dataclasses.asdict(self)}
