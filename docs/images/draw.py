"""Draws the figures of docs/explanation/periodic-functions.md. `python docs/images/draw.py` writes them anew."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from edgeq.grid import Function, bits_to_frequency
from edgeq.regularize import FUNCTIONS
from edgeq.report.svg import BLUE, GREY, ORANGE, dots, drawing, path, text

HERE = Path(__file__).parent


def functions() -> str:
    """The three functions over [-c, c] at 3 bits (the cosine at 2, with as many periods as it has points)."""
    panels: list[str] = []
    rows: tuple[tuple[Function, int, str], ...] = (
        ("sine", 3, "sin²(π f w / c)"),
        ("hat", 3, "a hat for each point"),
        ("cosine", 2, "cos²(π f w / c)"),
    )
    for number, (name, bits, formula) in enumerate(rows):
        left, base, side, height = 20 + 320 * number, 170, 280.0, 90
        frequency = bits_to_frequency(bits, name)
        weights = torch.linspace(-1, 1, 601, dtype=torch.float64)
        values = FUNCTIONS[name].value(weights * frequency)
        places = [left + side * (float(w) + 1) / 2 for w in weights]
        curve = [(x, base - height * float(value)) for x, value in zip(places, values, strict=True)]
        offset = FUNCTIONS[name].offset
        points = [(k + offset) / frequency for k in range(-frequency, frequency + 1) if (k + offset) <= frequency]
        panels += [
            text(left + side / 2, 28, name, size=16, weight=600),
            text(left + side / 2, 50, f"{formula}, {bits} bits, f = {frequency}"),
            path([(left, base), (left + side, base)], GREY, 1),
            path(curve, BLUE),
            *dots(((left + side * (point + 1) / 2, base) for point in points), ORANGE),
            *(text(left + side * (w + 1) / 2, base + 22, word) for w, word in ((-1, "-c"), (0, "0"), (1, "c"))),
        ]
    return drawing(960, 210, "The three periodic functions and the points of their grids", panels)


STRENGTHS = (0.3, 1.0, 1.8, 2.3)


def descent(strength: float, steps: int = 16, start: float = 0.3) -> list[float]:
    """Distance of one weight from its point, in steps of the grid, under plain gradient descent on the term alone.

    ``r <- r - k / (2 pi) sin(2 pi r)`` with ``k = rate * 2 a (pi f / c)^2``: near the point, ``r <- (1 - k) r``.
    """
    found = [start]
    for _ in range(steps):
        found.append(found[-1] - strength / (2 * math.pi) * math.sin(2 * math.pi * found[-1]))
    return found


def overshoot() -> str:
    panels: list[str] = []
    for number, strength in enumerate(STRENGTHS):
        left, middle, side, height = 30 + 240 * number, 125, 190.0, 240.0
        places = [
            (left + side * step / 16, middle - height * distance) for step, distance in enumerate(descent(strength))
        ]
        colour = BLUE if strength <= 1 else ORANGE
        panels += [
            text(left + side / 2, 28, f"k = {strength:g}", size=16, weight=600),
            path([(left, middle), (left + side, middle)], GREY, 1),
            path(places, colour),
            *dots(places, colour, 2.5),
            text(left + side, middle + 78, "16 steps", anchor="end"),
        ]
        if not number:
            panels.append(text(left, middle + 78, "distance 0.3 at first", anchor="start"))
    return drawing(960, 215, "A weight on its way to a grid point, at four strengths", panels)


FIGURES = {"periodic-functions.svg": functions, "overshoot.svg": overshoot}

if __name__ == "__main__":
    for name, draw in FIGURES.items():
        (HERE / name).write_text(draw(), encoding="utf-8")
