"""What the periodic term adds to a training step of ResNet-20: `make bench`. Exits with 1 if it is more than 2 %.

Steps with and without it alternate in one run, so that a busy machine slows both; medians are compared. Where the limit
is passed, more pairs are taken before that is believed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch.nn.functional import cross_entropy

from edgeq.models import create_model
from edgeq.recipe import TrainRecipe
from edgeq.regularize import PeriodicRegularizer
from edgeq.train.device import resolve_precision
from edgeq.train.optimizer import make_optimizer

LIMIT_PERCENT = 2.0
MOST_PAIRS = 160


def make_step(batch_size: int) -> Callable[[bool], tuple[float, float]]:
    """A training step as `edgeq train` takes it on the CPU; returns its seconds, and those of the term alone."""
    model = create_model("resnet20", num_classes=10, input_shape=(3, 32, 32), seed=0)
    model.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    bf16 = resolve_precision("auto", torch.device("cpu")) == "bf16"
    optimizer = make_optimizer(model, TrainRecipe(learning_rate=1e-3))
    regularizer = PeriodicRegularizer(model, bits=8, amplitude=1e-4)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, 3, 32, 32, generator=generator).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (batch_size,), generator=generator)

    def step(regularized: bool) -> tuple[float, float]:
        start = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(images)
        torch.autograd.backward(cross_entropy(logits.float(), labels))
        term = time.perf_counter()
        if regularized:
            regularizer.add_gradient()
        term = time.perf_counter() - term
        optimizer.step()
        return time.perf_counter() - start, term

    return step


def measure(batch_size: int, pairs: int) -> dict[str, float]:
    """Median milliseconds of a step without and with the term, and what it adds in percent."""
    step = make_step(batch_size)
    for regularized in (False, True, False, True):
        step(regularized)
    plain: list[tuple[float, float]] = []
    regularized_: list[tuple[float, float]] = []
    while True:
        for index in range(pairs):
            order = ((plain, False), (regularized_, True))
            for times, regularized in order if index % 2 else reversed(order):
                times.append(step(regularized))
        without, with_it = (statistics.median(seconds for seconds, _ in times) for times in (plain, regularized_))
        added = 100 * (with_it / without - 1)
        if added <= LIMIT_PERCENT or len(plain) >= MOST_PAIRS:
            return {
                "batch_size": batch_size,
                "pairs": len(plain),
                "without_ms": 1e3 * without,
                "with_ms": 1e3 * with_it,
                "term_ms": 1e3 * statistics.median(term for _, term in regularized_),
                "added_percent": added,
                "limit_percent": LIMIT_PERCENT,
            }


def main() -> int:
    parser = argparse.ArgumentParser(description="what the periodic term adds to a training step of ResNet-20")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--pairs", type=int, default=40, help="steps of each kind (40)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    arguments = parser.parse_args()
    figures = measure(arguments.batch_size, arguments.pairs)
    if arguments.json:
        print(json.dumps(figures))
    else:
        print(f"ResNet-20, batch {arguments.batch_size}, medians of {figures['pairs']:.0f} training steps each")
        print(f"  without regularizer  {figures['without_ms']:8.2f} ms")
        print(f"  with regularizer     {figures['with_ms']:8.2f} ms")
        print(f"  of it the term itself {figures['term_ms']:7.2f} ms")
        print(f"  added                {figures['added_percent']:+8.2f} %   (at most {LIMIT_PERCENT} %)")
    return int(figures["added_percent"] > LIMIT_PERCENT)


if __name__ == "__main__":
    sys.exit(main())
