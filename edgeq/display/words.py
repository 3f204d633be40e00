"""Durations, rates and counts as people read them."""

from __future__ import annotations

__all__ = ["duration", "rate"]


def duration(seconds: float) -> str:
    """``3.2 s``, ``48 s``, ``5 min``, ``2 h 10 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def rate(done: float, seconds: float) -> str:
    """``1,234/s``, ``12.3/s``, or for what takes long ``4.5 s each``; empty before there is something to tell."""
    if not (done > 0 and seconds > 0):
        return ""
    a_second = done / seconds
    if a_second >= 99.95:
        return f"{a_second:,.0f}/s"
    return f"{a_second:.1f}/s" if a_second >= 0.95 else f"{duration(seconds / done)} each"
