"""Standalone SVG drawings for pages and files: curves, dots, words, bars. Their colours stand out from white and from
dark; the report's own drawings are laid out by :mod:`edgeq.report.charts` and coloured by its page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

__all__ = ["BLUE", "GREY", "ORANGE", "bar", "dots", "drawing", "path", "text"]

GREY: Final = "#7d8590"
BLUE: Final = "#3b82f6"
ORANGE: Final = "#f97316"
FONT: Final = "font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\""


def path(points: Iterable[tuple[float, float]], colour: str, width: float = 2.0, *, dashes: str = "") -> str:
    """A line from point to point; ``dashes`` are lengths of strokes and gaps, "4 3" for instance."""
    places = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<path d="M{places}" fill="none" stroke="{colour}" stroke-width="{width:g}" stroke-linejoin="round"{dashed}/>'
    )


def text(x: float, y: float, words: str, *, size: int = 12, anchor: str = "middle", weight: int = 400) -> str:
    """Words at a place of their base line; ``anchor`` is start, middle or end."""
    style = f'font-size="{size}" font-weight="{weight}" text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{GREY}" {style}>{escape(words)}</text>'


def dots(points: Iterable[tuple[float, float]], colour: str, radius: float = 4) -> list[str]:
    """Filled circles."""
    return [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{colour}"/>' for x, y in points]


def bar(x: float, base: float, width: float, height: float, colour: str, label: str, *, filled: bool = True) -> str:
    """A bar that stands on ``base`` and says its label when pointed at; an outline where it is not filled."""
    paint = f'fill="{colour}"' if filled else f'fill="none" stroke="{colour}" stroke-dasharray="3 2"'
    place = f'x="{x:.1f}" y="{base - height:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f"<rect {place} {paint}><title>{escape(label)}</title></rect>"


def drawing(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    """A whole file."""
    name = escape(title)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return "\n".join([f'{head} role="img" aria-label="{name}" {FONT}>', f"<title>{name}</title>", *parts, "</svg>\n"])
