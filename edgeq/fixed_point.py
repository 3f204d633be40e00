"""Which recipes can end in fixed point, with every scale a power of two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeq.errors import RecipeError

if TYPE_CHECKING:
    from edgeq.recipe import Recipe

__all__ = ["check_fixed_point"]


def check_fixed_point(recipe: Recipe) -> None:
    """Refuse what leaves a step that is no power of two, or none at all.

    Raises:
        RecipeError: names the key, and why.
    """
    for fits, key, got, why in (
        (recipe.plan.uses <= {"int8", "int16"}, "quantize.mode", recipe.quantize.mode, "floats have no fixed point"),
        (recipe.method in ("periodic", "post-training"), "method", recipe.method, "it has scales of its own"),
        (recipe.regularizer.scale_update in (None, "held"), "regularizer.scale_update",
         recipe.regularizer.scale_update, "a scale is held at a power of two"),
        (not recipe.regularizer.stages, "regularizer.stages", list(recipe.regularizer.stages), "one grid is held"),
    ):  # fmt: skip
        if not fits:
            raise RecipeError(f"does not go with power-of-two scales: {why}", where=key, got=got,
                              remedy="leave it out, or quantize.scale_format")  # fmt: skip
