"""Durations, rates and counts as people read them."""

from __future__ import annotations

__all__ = ["duration", "rate", "size"]


def duration(seconds: float) -> str:
    """``3.2 s``, ``48 s``, ``4 min 31 s``, ``25 min``, ``2 h 10 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    if seconds < 599.5:
        whole = round(seconds)
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
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


def size(size_bytes: int) -> str:
    """``20 B``, ``9.4 kB``, ``1,107 kB``, ``25.6 MB``; powers of ten, as file managers count."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    if size_bytes < 9950:
        return f"{size_bytes / 1000:.1f} kB"
    return f"{size_bytes / 1000:,.0f} kB" if size_bytes < 9_999_500 else f"{size_bytes / 1e6:,.1f} MB"
