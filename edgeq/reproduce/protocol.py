"""What the runs of Tables 2 and 3 share: the term in the loss, from scratch, and a network without it beside.

The paper prints no optimizer, but a batch of 256 and 90 epochs on ImageNet, which are the defaults of PyTorch's
ImageNet example: the runs have the rest from there. Its snippet lets the term's gradient through ``max|w|``, and so do
they: few bits then collapse as the paper's do, for the largest weight of a layer grows until the others round to zero.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Final

from edgeq.recipe import QuantizeRecipe, Recipe, RegularizerRecipe
from edgeq.sweep import Run

__all__ = ["BATCH_SIZE", "paper_runs"]

BATCH_SIZE: Final = 256
MOST_RAISES: Final = 10
RISE: Final = 1024.0
EPOCHS_A_RATE: Final = 30
AS_TRAINED: Final = QuantizeRecipe(batch_norm_images=0)  # the paper rounds and changes nothing else


def paper_runs(
    recipe: Recipe,
    epochs: int,
    seeds: Sequence[int],
    cells: Mapping[str, tuple[int, RegularizerRecipe]],
    *,
    of: int,
) -> list[Run]:
    """A run without the term and one a cell, for each seed.

    Args:
        recipe: network, data, device and batches.
        epochs: of each run. A dynamic amplitude rises 1024-fold in them, whatever their number, by ten raises at most.
        seeds: of the repetitions.
        cells: by name, the bits and the function, schedule and amplitude of the term.
        of: the paper's epochs, 30 of which, or as large a share of ``epochs``, have one rate and the next a tenth.
    """
    milestones = tuple(epoch / of for epoch in range(EPOCHS_A_RATE, of, EPOCHS_A_RATE))
    train = dataclasses.replace(
        recipe.train, epochs=epochs, optimizer="sgd", learning_rate=0.1, momentum=0.9, nesterov=False,
        weight_decay=1e-4, rate_schedule="step", milestones=milestones, rate_decay=0.1,
    )  # fmt: skip
    every = math.ceil(epochs / (MOST_RAISES + 1))
    factor = RISE ** (1 / max(1, (epochs - 1) // every))
    runs = []
    for seed in seeds:
        base = dataclasses.replace(recipe, train=train, seed=seed, bits=8, quantize=AS_TRAINED)
        runs.append(Run(f"default-seed{seed}", dataclasses.replace(base, method="post-training")))
        for name, (bits, term) in cells.items():
            regularizer = dataclasses.replace(
                term, form="loss", scale_update="differentiated", factor=factor, every=every
            )
            cell = dataclasses.replace(base, bits=bits, method="periodic", regularizer=regularizer)
            runs.append(Run(f"{name}-seed{seed}", cell))
    return runs
