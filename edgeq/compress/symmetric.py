"""Symmetric weights: channels, or places of the kernel, share their weights with those they are mirrored to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from edgeq.compress.method import Constraint, Context, Method
from edgeq.compress.symmetry import TIES, Axes, Tie, tied_places
from edgeq.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgeq.recipe import Recipe

__all__ = ["Symmetric"]

TWO_ROUNDS: Final = ("soft", "eigen", "ldl")


@dataclass(frozen=True, kw_only=True)
class Symmetric(Method):
    """Tie weights that are mirrored to each other, from now on.

    Tied weights are averaged after each step of the optimizer. That is what the paper's average parameterization does,
    to the bit of its rounding; its triangular one steps by the sum of their gradients instead, at twice that rate.

    The forms ``soft``, ``eigen`` and ``ldl`` take two trainings of ``epochs``: the first with the penalty or by the
    factors, the second with what came of it tied, for only tied weights are equal after their rounding.

    Attributes:
        form: ``average`` (start from the mean of what is tied), ``triangular`` (from the upper triangle), ``soft``
            (from the upper triangle, after a training in which a penalty makes the weights nearly symmetric), ``eigen``
            and ``ldl`` (from a training of the factors of ``V diag(l) V^T``, with half the columns in V, or
            ``L diag(d) L^T``), or N-way: ``chunks`` (the first rows repeated), ``blocks`` (a quarter mirrored to the
            others), ``triangles`` (a triangle mirrored along both diagonals, with 8 ways also left to right).
        ways: of an N-way form: 2, 4 or 8 for chunks, 4 for blocks, 4 or 8 for triangles.
        axes: ``channel`` (outputs and inputs, at each place of the kernel), ``spatial`` (rows and columns of the
            kernel, for each pair of channels), or ``both``.
        rho: of ``soft``: the penalty is ``rho * |vec(W) - vec(W^T)|``, summed over layers and places of the kernel.
        norm: of ``soft``: ``l1`` or ``l2``.
        skip: layers left alone, by pattern; so are those that are not square there, and the log says which.

    Source: Hu, Zagoruyko and Komodakis 2018, "Exploring Weight Symmetry in Deep Neural Networks", arXiv:1812.11027.
    """

    name: ClassVar[str] = "symmetric"
    constrains: ClassVar[bool] = True

    form: Literal["average", "triangular", "soft", "eigen", "ldl", "chunks", "blocks", "triangles"] = "average"
    ways: int = 0
    axes: Axes = "channel"
    rho: float = 1e-2
    norm: Literal["l1", "l2"] = "l1"
    skip: tuple[str, ...] = ()

    def check_options(self) -> None:
        ways = TIES[self.tie]
        if self.form == self.tie:
            self.require(not self.ways or self.ways in ways, "ways", self.ways, f"of {self.form}: one of {list(ways)}")
        else:
            self.require(not self.ways, "ways", self.ways, "an N-way form beside it: chunks, blocks or triangles")
        self.require(0 <= self.rho < 1e6, "rho", self.rho, "0 or more, finite")
        factored = self.form in ("eigen", "ldl")
        self.require(not factored or self.axes == "channel", "axes", self.axes, f"channel with form {self.form}")

    def check(self, recipe: Recipe) -> None:
        self.check_first(recipe, "tied weights would not stay as it keeps them")
        if recipe.regularizer.scale == "channel":
            raise self.refuse("with a scale a channel, weights that are equal get codes that are not",
                              'set regularizer.scale = "tensor"')  # fmt: skip

    @property
    def rounds(self) -> int:
        return 2 if self.form in TWO_ROUNDS else 1

    @property
    def tie(self) -> Tie:
        """The symmetry that the weights end with."""
        return cast(Tie, self.form) if self.form in TIES else "transpose"

    def places(self, shape: tuple[int, ...]) -> NDArray[np.int64] | None:
        """Which places of a weight share a value; see :func:`edgeq.compress.symmetry.tied_places`."""
        return tied_places(shape, self.tie, self.ways or TIES[self.tie][0], self.axes)

    def apply(self, model: nn.Module, context: Context) -> Constraint | None:
        from edgeq.compress.factored_weight import take_factors_off, train_by_factors

        last = context.round == self.rounds - 1
        for path in self._paths(model):
            take_factors_off(model.get_submodule(path))
        tied = dict(self._tied(model, context))
        if last:
            return _tie(model, tied, from_first=self.form in ("triangular", "soft"))
        if self.form == "soft":
            return Constraint(lambda: None, lambda: self._penalty(model, tied))
        for path in tied:
            train_by_factors(model.get_submodule(path), self.form)
        return None

    def facts(self, model: nn.Module) -> dict[str, float]:
        shapes = [tuple(model.get_submodule(path).weight.shape) for path in self._paths(model)]  # type: ignore[arg-type]
        found = [places for places in map(self.places, shapes) if places is not None]
        saved = sum(places.size - int(places.max()) - 1 for places in found)
        return {"symmetric_layers": len(found), "parameters_saved": saved}

    def _paths(self, model: nn.Module) -> list[str]:
        """Of the layers that are not skipped, whether they compute their weight from factors or not."""
        import fnmatch

        from torch import nn as layers

        kinds = (layers.Conv2d, layers.Linear)
        paths = [path for path, layer in model.named_modules() if isinstance(layer, kinds)]
        return [path for path in paths if not any(fnmatch.fnmatchcase(path, pattern) for pattern in self.skip)]

    def _tied(self, model: nn.Module, context: Context) -> Iterator[tuple[str, NDArray[np.int64]]]:
        from edgeq.compress.masks import prunable

        other, count = [], 0
        for path, weight in prunable(model, self.name, self.skip):
            places = self.places(tuple(weight.shape))
            square = self.form not in ("eigen", "ldl") or weight.shape[0] == weight.shape[1]
            if places is None or not square:
                other.append(path)
                continue
            count += 1
            yield path, places
        if not count:
            raise ModelError("no layer can be symmetric", where=f"compress {self.name}", got=", ".join(other[:8]),
                             wanted=f"as many {'inputs as outputs' if self.axes == 'channel' else 'rows as columns'}",
                             remedy="skip fewer layers, or choose other axes")  # fmt: skip
        if other and not context.round:
            context.progress.note(f"{self.name}: left alone, as they are not square: {', '.join(other)}")

    def _penalty(self, model: nn.Module, tied: dict[str, NDArray[np.int64]]) -> Tensor:
        import torch

        from edgeq.compress.weights import trained_weight

        order = 1 if self.norm == "l1" else 2
        total = torch.zeros(())
        for path in tied:
            weight = trained_weight(model, path)
            for part, axes in (("channel", (0, 1)), ("spatial", (2, 3))):
                fits = self.axes in (part, "both") and weight.dim() > axes[1]
                if fits and weight.shape[axes[0]] == weight.shape[axes[1]]:
                    difference = weight - weight.transpose(*axes)
                    total = total.to(weight.device) + torch.linalg.vector_norm(difference, order, axes).sum()
        return self.rho * total


def _tie(model: nn.Module, tied: dict[str, NDArray[np.int64]], *, from_first: bool) -> Constraint:
    """Give tied places one value, now the mean or the first of theirs, and after each later step the mean."""
    import torch

    from edgeq.compress.weights import trained_weight

    groups = {path: torch.from_numpy(places) for path, places in tied.items()}
    counts = {path: torch.bincount(places.flatten()).float() for path, places in groups.items()}

    @torch.no_grad()
    def project() -> None:
        for path in groups:
            weight = trained_weight(model, path)
            if groups[path].device != weight.device:
                groups[path], counts[path] = groups[path].to(weight.device), counts[path].to(weight.device)
            sums = torch.zeros_like(counts[path]).index_add_(0, groups[path].flatten(), weight.flatten())
            weight.copy_((sums / counts[path])[groups[path]])

    if from_first:
        with torch.no_grad():
            for path, places in tied.items():
                weight = trained_weight(model, path)
                firsts = torch.from_numpy(np.unique(places, return_index=True)[1])
                weight.copy_(weight.flatten()[firsts][groups[path]])
    project()
    return Constraint(project)
